//! What is wrong with a manifest: where, in Kubernetes' words, and what was probably meant.
//!
//! One [`Problem`] is one cause. `kubectl` joins the causes of one object in one message; [`kubectl_text`] does the same.

use crate::field::Check;
use crate::source::{Lines, Position, Span};
use std::collections::{HashMap, HashSet};

/// How far an object came before it was refused; each stage has its own form of message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// There is nothing.
    Nothing,
    /// Where one document ends and the next begins cannot be told.
    Separator,
    /// No YAML or JSON.
    Parse,
    /// No object: no mapping, or without kind or apiVersion.
    Shape,
    /// `kubectl` cannot read its metadata.
    Metadata,
    /// No such kind.
    Kind,
    /// It says another namespace than the user.
    Namespace,
    /// The API server cannot read it: a value of a wrong type.
    Decode,
    /// The API server would leave something out: unknown fields.
    Strict,
    /// A key is given twice. `kubectl` sends the last one; nobody is told of the others.
    Repeated,
    /// The API server reads it and finds it invalid.
    Invalid,
    /// There is one of this name already.
    Exists,
    /// The API server takes it, with a warning.
    Warned,
    /// Valid, but this version of rhizome cannot run it.
    Unsupported,
}

/// The object that a problem is of.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub struct ObjectId {
    /// `v1`, `apps/v1`.
    pub api_version: String,
    /// `Pod`.
    pub kind: String,
    /// `metadata.name`, may be empty.
    pub name: String,
    /// `metadata.namespace` as written, may be empty.
    pub namespace: String,
}

/// One cause.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// Name of the source.
    pub source_name: String,
    /// Which document of the source, from 0; items of a List share their document.
    pub document: usize,
    /// Which object of the document, from 0.
    pub item: usize,
    /// How far it came.
    pub stage: Stage,
    /// Bytes in the source.
    pub span: Span,
    /// Line and column of its start.
    pub position: Position,
    /// API path as Kubernetes writes it, quirks included; may be empty.
    pub path: String,
    /// The bare cause: `spec.containers[0].image: Required value`, `unknown field "metadata.label"`.
    pub message: String,
    /// What was probably meant: `labels`.
    pub suggestion: Option<String>,
    /// What can be done about it, where Kubernetes' words do not say.
    pub hint: Option<String>,
    /// The API server's check that found it, if it has a name.
    pub check: Option<Check>,
    /// The object, as far as it could be read.
    pub object: ObjectId,
    /// Kubernetes would tell of this one; it leaves out wrong types after the first.
    pub told_by_kubernetes: bool,
    line: String,
    line_start: usize,
}

/// How a [`Problem`] is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Red.
    Error,
    /// Yellow.
    Warning,
    /// Blue.
    Note,
}

impl Level {
    /// `error`, `warning`, `note`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }

    fn color(self) -> &'static str {
        match self {
            Self::Error => "\x1b[1;31m",
            Self::Warning => "\x1b[1;33m",
            Self::Note => "\x1b[1;36m",
        }
    }
}

impl Problem {
    /// What is to be said of the bytes `span` of a source, which has these lines.
    #[must_use]
    pub fn new(source_name: &str, lines: &Lines<'_>, stage: Stage, span: Span, message: String) -> Self {
        let (line_start, line) = lines.line(span.start);
        Self {
            source_name: source_name.to_owned(),
            document: 0,
            item: 0,
            stage,
            span,
            position: lines.position(span.start),
            path: String::new(),
            message,
            suggestion: None,
            hint: None,
            check: None,
            object: ObjectId::default(),
            told_by_kubernetes: true,
            // A line of a minified file can be as long as the file.
            line: line.chars().take(MAX_LINE).collect(),
            line_start,
        }
    }

    /// The cause with what its stage puts before it, as it is drawn: `strict decoding error: unknown field "metadata.label"`.
    #[must_use]
    pub fn headline(&self) -> String {
        if self.stage == Stage::Strict {
            return format!("{STRICT}{}", self.message);
        }
        self.message.clone()
    }

    /// All that `kubectl create` would print of this cause alone.
    #[must_use]
    pub fn kubectl(&self) -> String {
        kubectl_text(std::slice::from_ref(self))
    }

    /// Draws the cause with the line that it is on:
    ///
    /// ```text
    /// error: strict decoding error: unknown field "metadata.label"
    ///   --> mount-a.yaml:6:5
    ///    |
    ///  6 |     label:
    ///    |     ^^^^^ did you mean "labels"?
    /// ```
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        self.drawn(Level::Error, "", &self.headline(), color)
    }

    /// [`Problem::render`] as a warning, which begins as kubectl's does: `unknown field "metadata.label"`.
    #[must_use]
    pub fn render_warning(&self, color: bool) -> String {
        self.drawn(Level::Warning, "", &self.message, color)
    }

    /// [`Problem::render`] at a level, the level followed by the name of the rule: `warning[rule]: …`.
    #[must_use]
    pub fn render_as(&self, level: Level, rule: &str, color: bool) -> String {
        self.drawn(level, rule, &self.headline(), color)
    }

    fn drawn(&self, level: Level, rule: &str, headline: &str, color: bool) -> String {
        let (strong, bar, plain) =
            if color { (level.color(), "\x1b[1;34m", "\x1b[0m") } else { ("", "", "") };
        let Position { line, column } = self.position;
        let width = line.to_string().len();
        let subject = self.subject(level);
        let level =
            if rule.is_empty() { level.word().to_owned() } else { format!("{}[{rule}]", level.word()) };
        if self.source_name.is_empty() {
            return format!("{strong}{level}{plain}: {}\n", printable(headline));
        }
        let mut out = format!(
            "{strong}{level}{plain}: {subject}{}\n{:width$}{bar}-->{plain} {}:{line}:{column}\n",
            printable(headline),
            "",
            one_line(&self.source_name),
            width = width + 1
        );
        if !self.line.trim().is_empty() {
            let (before, marked) = self.marks();
            out.push_str(&format!("{:width$} {bar}|{plain}\n", "", width = width + 1));
            out.push_str(&format!(" {bar}{line} |{plain} {}\n", printable(&self.line)));
            let note = self.note();
            out.push_str(&format!(
                "{:width$} {bar}|{plain} {before}{strong}{marked}{note}{plain}\n",
                "",
                width = width + 1
            ));
        } else if let Some(suggestion) = &self.suggestion {
            out.push_str(&format!("{:width$} did you mean {suggestion:?}?\n", "", width = width + 1));
        }
        if let Some(hint) = &self.hint {
            for line in hint.lines() {
                out.push_str(&format!(
                    "{:width$} {bar}={plain} {}\n",
                    "",
                    printable(line),
                    width = width + 1
                ));
            }
        }
        out
    }

    /// Of what it is said. A warning is of something valid.
    fn subject(&self, level: Level) -> String {
        let (kind, name) = (printable(&self.object.kind), go_quote(&self.object.name));
        match self.stage {
            _ if kind.is_empty() => String::new(),
            Stage::Invalid if level == Level::Error => format!("The {kind} {name} is invalid: "),
            Stage::Invalid | Stage::Warned | Stage::Unsupported => format!("{kind} {name}: "),
            _ => String::new(),
        }
    }

    fn note(&self) -> String {
        self.suggestion.as_ref().map_or_else(String::new, |word| format!(" did you mean {word:?}?"))
    }

    /// Blanks up to the place, tabs kept so that the caret stands below, and the caret itself.
    fn marks(&self) -> (String, String) {
        let before: String = self
            .line
            .chars()
            .take(self.position.column - 1)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        let in_line = self.span.end.min(self.line_start + self.line.len()).saturating_sub(self.span.start);
        let marked = self.line.chars().skip(self.position.column - 1);
        let mut bytes = 0;
        let carets = marked
            .take_while(|c| {
                bytes += c.len_utf8();
                bytes <= in_line
            })
            .count();
        (before, "^".repeat(carets.max(1)))
    }
}

/// What the API server puts before unknown fields.
const STRICT: &str = "strict decoding error: ";
/// Characters of a line that are drawn.
const MAX_LINE: usize = 400;

/// A manifest is not trusted: its text must not steer the terminal, nor turn the direction of writing.
fn printable(text: &str) -> String {
    let obeyed = |c: char| match c {
        '\n' | '\t' => false,
        '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        c => c.is_control(),
    };
    text.chars().map(|c| if obeyed(c) { '\u{fffd}' } else { c }).collect()
}

/// [`printable`], of what must not begin a line of its own, as a file's name could.
fn one_line(text: &str) -> String {
    printable(text).replace(['\n', '\t'], "\u{fffd}")
}

/// What `kubectl create -f` prints on standard error for these problems, line break at the end included.
#[must_use]
pub fn kubectl_text(problems: &[Problem]) -> String {
    let mut groups: Vec<Vec<&Problem>> = Vec::new();
    let mut places = HashMap::new();
    for problem in problems.iter().filter(|problem| problem.told_by_kubernetes) {
        let key = (&problem.source_name, problem.document, problem.item, problem.stage, &problem.object);
        let place = *places.entry(key).or_insert(groups.len());
        if place == groups.len() {
            groups.push(Vec::new());
        }
        groups[place].push(problem);
    }
    match groups.as_slice() {
        [] => String::new(),
        [group] => alone(group),
        groups => groups.iter().map(|group| among_others(group) + "\n").collect(),
    }
}

/// The causes without repetitions, as `kubectl` lists them.
fn causes(group: &[&Problem]) -> Vec<String> {
    let mut seen = HashSet::new();
    group
        .iter()
        .filter(|problem| seen.insert(&problem.message))
        .map(|problem| problem.message.clone())
        .collect()
}

fn alone(group: &[&Problem]) -> String {
    let Some(first) = group.first() else { return String::new() };
    match first.stage {
        Stage::Invalid => {
            let head = format!("The {} {} is invalid: ", first.object.kind, go_quote(&first.object.name));
            match causes(group).as_slice() {
                [cause] => format!("{head}{cause}\n"),
                causes => causes.iter().fold(format!("{head}\n"), |text, cause| format!("{text}* {cause}\n")),
            }
        }
        Stage::Decode | Stage::Strict | Stage::Repeated | Stage::Exists => among_others(group) + "\n",
        Stage::Warned => among_others(group) + "\n",
        _ => format!("error: {}\n", among_others(group)),
    }
}

/// The message of one object where there are several, or where one is said as among several.
fn among_others(group: &[&Problem]) -> String {
    let Some(first) = group.first() else { return String::new() };
    let source = &first.source_name;
    let causes = causes(group);
    let (kind, name) = (&first.object.kind, &first.object.name);
    match first.stage {
        Stage::Nothing | Stage::Namespace => causes.join(", "),
        Stage::Separator => format!("error parsing {source}: {}", causes.join(", ")),
        Stage::Parse => {
            format!("error parsing {source}: error converting YAML to JSON: {}", causes.join(", "))
        }
        Stage::Shape => format!(
            "error validating {}: error validating data: {}; if you choose to ignore these errors, turn validation off with --validate=false",
            go_quote(source),
            joined(&causes)
        ),
        Stage::Metadata => format!("unable to decode {}: {}", go_quote(source), causes.join(", ")),
        Stage::Kind => format!(
            "resource mapping not found for name: {} namespace: {} from {}: {}\nensure CRDs are installed first",
            go_quote(name),
            go_quote(&first.object.namespace),
            go_quote(source),
            causes.join(", ")
        ),
        Stage::Decode | Stage::Strict | Stage::Repeated => {
            let version = first.object.api_version.rsplit('/').next().unwrap_or_default();
            let strict = if first.stage == Stage::Strict { STRICT } else { "" };
            // A kind in lower case is found by kubectl, and handled as the real one by the server.
            let handled = crate::kinds::canonical(kind);
            format!(
                "Error from server (BadRequest): error when creating {}: {kind} in version {} cannot be handled as a {handled}: {strict}{}",
                go_quote(source),
                go_quote(version),
                causes.join(", ")
            )
        }
        Stage::Invalid => format!(
            "Error from server (Invalid): error when creating {}: {kind} {} is invalid: {}",
            go_quote(source),
            go_quote(name),
            joined(&causes)
        ),
        Stage::Exists => {
            format!(
                "Error from server (AlreadyExists): error when creating {}: {}",
                go_quote(source),
                causes.join(", ")
            )
        }
        Stage::Warned => format!("Warning: {}", causes.join("\nWarning: ")),
        Stage::Unsupported => format!("{source}: {kind} {}: {}", go_quote(name), joined(&causes)),
    }
}

/// Several errors in one, as Go's aggregate prints them.
fn joined(causes: &[String]) -> String {
    match causes {
        [cause] => cause.clone(),
        causes => format!("[{}]", causes.join(", ")),
    }
}

/// Go's `%q`.
#[must_use]
pub fn go_quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            c if c.is_ascii_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if c.is_control() || (c.is_whitespace() && c != ' ') || c == '\u{feff}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(stage: Stage, text: &str, at: std::ops::Range<usize>, message: &str) -> Problem {
        let span = Span { start: at.start, end: at.end };
        let mut problem = Problem::new("f.yaml", &Lines::new(text), stage, span, message.into());
        problem.object = ObjectId {
            api_version: "v1".into(),
            kind: "Pod".into(),
            name: "p".into(),
            namespace: String::new(),
        };
        problem
    }

    #[test]
    fn a_problem_is_drawn_with_its_line() {
        let mut label =
            problem(Stage::Strict, "metadata:\n    label:\n", 14..19, "unknown field \"metadata.label\"");
        label.suggestion = Some("labels".into());
        assert_eq!(
            label.render(false),
            "error: strict decoding error: unknown field \"metadata.label\"\n  --> f.yaml:2:5\n   |\n 2 |     label:\n   |     ^^^^^ did you mean \"labels\"?\n"
        );
        assert!(label.render(true).contains("\x1b[1;31merror\x1b[0m"));
    }

    #[test]
    fn a_manifest_cannot_steer_the_terminal() {
        let text = "a: \x1b[2Jx\n";
        assert!(!problem(Stage::Parse, text, 3..7, "bad \x1b[2J").render(false).contains('\x1b'));
    }

    #[test]
    fn carets_stay_on_the_line() {
        let text = "a: |\n  x\n  y\n";
        let drawn = problem(Stage::Parse, text, 3..12, "bad").render(false);
        assert!(drawn.ends_with(" 1 | a: |\n   |    ^\n"), "{drawn}");
    }

    #[test]
    fn causes_of_one_object_are_joined_as_kubectl_joins_them() {
        let one = problem(Stage::Invalid, "x", 0..1, "spec.a: Required value");
        let two = problem(Stage::Invalid, "x", 0..1, "spec.b: Required value");
        assert_eq!(one.kubectl(), "The Pod \"p\" is invalid: spec.a: Required value\n");
        assert_eq!(
            kubectl_text(&[one.clone(), two.clone(), one.clone()]),
            "The Pod \"p\" is invalid: \n* spec.a: Required value\n* spec.b: Required value\n"
        );
        let mut other = problem(Stage::Strict, "x", 0..1, "unknown field \"a\"");
        other.document = 1;
        assert_eq!(
            kubectl_text(&[one, two, other]),
            "Error from server (Invalid): error when creating \"f.yaml\": Pod \"p\" is invalid: [spec.a: Required value, spec.b: Required value]\n\
             Error from server (BadRequest): error when creating \"f.yaml\": Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: unknown field \"a\"\n"
        );
    }
}
