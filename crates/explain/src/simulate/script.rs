//! A script: from its text to what each line asks for.

use super::mount::{self, MountLine};
use super::tools::{self, ToolLine};
use super::words::{self, Word};
use super::{ScriptError, ScriptFault};
use std::collections::BTreeSet;

/// The most lines that a script may have.
pub const MAX_LINES: usize = 100_000;
/// The namespace where everything begins.
pub const HOST: &str = "host";

/// A script that can be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    pub(crate) lines: Vec<Line>,
}

/// A line that asks for something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its number in the script, from 1.
    pub number: usize,
    /// As written, without blanks around it and without a comment.
    pub text: String,
    /// The namespace in which it is run.
    pub namespace: String,
    /// The command's words, without `@NAME`.
    pub words: Vec<String>,
    pub(crate) command: Command,
}

/// What a line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    Namespace { name: String, user: bool },
    Mount(MountLine),
    Tool(ToolLine),
}

impl Line {
    /// The namespace that the line makes, and whether it belongs to a user namespace of its own.
    pub fn makes_namespace(&self) -> Option<(&str, bool)> {
        match &self.command {
            Command::Namespace { name, user } => Some((name, *user)),
            _ => None,
        }
    }

    /// `mount --beneath SOURCE TARGET`, which util-linux 2.38 does not know.
    pub fn beneath(&self) -> Option<(&std::path::Path, &std::path::Path)> {
        match &self.command {
            Command::Mount(MountLine::Calls { calls, .. }) => match calls.as_slice() {
                [mount::MountCall::MoveBeneath { source, target }] => Some((source, target)),
                _ => None,
            },
            _ => None,
        }
    }
}

impl Script {
    /// Parses a script. Lines end with a line feed, or both characters of DOS.
    ///
    /// # Errors
    /// The first line that is not one of a script's, and where in it.
    pub fn parse(text: &str) -> Result<Script, ScriptError> {
        Script::parse_with(text, [HOST])
    }

    /// [`Script::parse`] for a world that has these namespaces already.
    ///
    /// # Errors
    /// The first line that is not one of a script's, and where in it.
    pub fn parse_with<'a>(
        text: &str,
        namespaces: impl IntoIterator<Item = &'a str>,
    ) -> Result<Script, ScriptError> {
        let mut known: BTreeSet<String> = namespaces.into_iter().map(str::to_owned).collect();
        let mut lines = Vec::new();
        // Editors of other systems begin a file with a mark of the order of bytes.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (index, text) in text.lines().enumerate() {
            if index >= MAX_LINES {
                return Err(ScriptError::new(index + 1, "", 0, format!("more than {MAX_LINES} lines")));
            }
            lines.extend(parse_line(text, index + 1, &mut known)?);
        }
        Ok(Script { lines })
    }

    /// The lines that ask for something.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }
}

fn parse_line(text: &str, number: usize, known: &mut BTreeSet<String>) -> Result<Option<Line>, ScriptError> {
    let (mut words, command_text) = words::split(text, number)?;
    let error = |word: &Word, what: String| ScriptError::new(number, text, word.column, what);
    let mut namespace = HOST.to_owned();
    if let Some(name) = words.first().and_then(|word| word.text.strip_prefix('@')) {
        namespace = name.to_owned();
        let at = words.remove(0);
        if namespace.is_empty() {
            return Err(error(&at, "in which namespace? @NAME COMMAND".to_owned()));
        }
        if !known.contains(&namespace) {
            return Err(error(&at, unknown(&namespace, known)));
        }
        if words.is_empty() {
            return Err(error(&at, format!("nothing to run in {namespace}")));
        }
    }
    let Some(first) = words.first().cloned() else { return Ok(None) };
    let command = if first.text == "ns" {
        let (name, from, user) =
            parse_namespace(&words, &namespace, known).map_err(|(at, what)| error(&at, what))?;
        namespace = from;
        known.insert(name.clone());
        Command::Namespace { name, user }
    } else {
        let arguments: Vec<String> = words[1..].iter().map(|word| word.text.clone()).collect();
        parse_tool(&first.text, &arguments).map_err(|ScriptFault(what)| error(&first, what))?
    };
    let words = words.into_iter().map(|word| word.text).collect();
    Ok(Some(Line { number, text: command_text, namespace, words, command }))
}

fn parse_tool(tool: &str, words: &[String]) -> Result<Command, ScriptFault> {
    match tool {
        "mount" => mount::read(words).map(Command::Mount),
        "umount" => tools::umount(words).map(Command::Tool),
        "pivot_root" | "mkdir" | "rmdir" | "touch" | "mv" => tools::other(tool, words).map(Command::Tool),
        _ => Err(ScriptFault(format!(
            "no command of a script is called `{tool}`; these are: ns, mount, umount, pivot_root, mkdir, touch, \
             rmdir, mv"
        ))),
    }
}

/// `ns NAME [from NS] [--user]`: the name, where it is copied from, and the flag.
fn parse_namespace(
    words: &[Word],
    current: &str,
    known: &BTreeSet<String>,
) -> Result<(String, String, bool), (Word, String)> {
    let (mut name, mut from, mut user) = (None, None, false);
    let mut rest = words[1..].iter();
    while let Some(word) = rest.next() {
        match word.text.as_str() {
            "--user" => user = true,
            "from" if name.is_some() && from.is_none() => {
                let source = rest.next().ok_or((word.clone(), "from which namespace?".to_owned()))?;
                if !known.contains(&source.text) {
                    return Err((source.clone(), unknown(&source.text, known)));
                }
                from = Some(source.text.clone());
            }
            new if name.is_none() && !new.starts_with('-') => {
                let fine = |letter: char| letter.is_alphanumeric() || "._-".contains(letter);
                if new.is_empty() || !new.chars().all(fine) {
                    let what = "a namespace's name has letters, digits, `.`, `_` and `-`";
                    return Err((word.clone(), what.to_owned()));
                }
                if known.contains(new) {
                    return Err((word.clone(), format!("there is a namespace {new} already")));
                }
                name = Some(new.to_owned());
            }
            _ => return Err((word.clone(), "expected: ns NAME [from NS] [--user]".to_owned())),
        }
    }
    let name = name.ok_or((words[0].clone(), "which name? ns NAME [from NS] [--user]".to_owned()))?;
    Ok((name, from.unwrap_or_else(|| current.to_owned()), user))
}

fn unknown(name: &str, known: &BTreeSet<String>) -> String {
    const TOLD: usize = 20;
    let told: Vec<&str> = known.iter().take(TOLD).map(String::as_str).collect();
    let more = known.len().saturating_sub(TOLD);
    let more = if more == 0 { String::new() } else { format!(", and {more} more") };
    format!("there is no namespace `{name}` yet; there is: {}{more}", told.join(", "))
}
