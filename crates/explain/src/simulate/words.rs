//! A line of a script as words, the way a shell would see a simple command.

use super::ScriptError;

/// A word and where it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    /// What it says, without its quotes.
    pub(crate) text: String,
    /// Its first column, from 0, in characters.
    pub(crate) column: usize,
}

/// The words of a line up to a comment, and the line up to it. Quotes and backslashes are a shell's; what a shell would
/// expand, or take for more than one command, is an error.
pub(crate) fn split(line: &str, number: usize) -> Result<(Vec<Word>, String), ScriptError> {
    let error = |column, what: String| ScriptError::new(number, line, column, what);
    let mut words: Vec<Word> = Vec::new();
    let mut word: Option<Word> = None;
    let mut letters = line.chars().enumerate().peekable();
    let mut end = usize::MAX;
    while let Some((column, letter)) = letters.next() {
        if letter == '#' && word.is_none() {
            end = column;
            break;
        }
        if letter.is_ascii_whitespace() {
            words.extend(word.take());
            continue;
        }
        let text = &mut word.get_or_insert_with(|| Word { text: String::new(), column }).text;
        match letter {
            '\\' => match letters.next() {
                Some((_, escaped)) => text.push(escaped),
                None => return Err(error(column, "a backslash at the end of the line".to_owned())),
            },
            '\'' => loop {
                match letters.next() {
                    Some((_, '\'')) => break,
                    Some((_, inside)) => text.push(inside),
                    None => return Err(error(column, "a quote that is not closed".to_owned())),
                }
            },
            '"' => loop {
                match letters.next() {
                    Some((_, '"')) => break,
                    Some((_, '\\')) if letters.peek().is_some_and(|&(_, next)| "\"\\$`".contains(next)) => {
                        text.extend(letters.next().map(|(_, escaped)| escaped));
                    }
                    Some((at, inside @ ('$' | '`'))) => return Err(error(at, not_a_shell(inside))),
                    Some((_, inside)) => text.push(inside),
                    None => return Err(error(column, "a quote that is not closed".to_owned())),
                }
            },
            ';' | '&' | '|' | '<' | '>' | '(' | ')' | '$' | '`' | '*' | '?' | '{' | '}' => {
                return Err(error(column, not_a_shell(letter)));
            }
            plain => text.push(plain),
        }
    }
    words.extend(word);
    let text: String = line.chars().take(end).collect();
    if let Some(column) = text.chars().position(|letter| letter == '\0') {
        return Err(error(column, "a byte that no path can hold".to_owned()));
    }
    Ok((words, text.trim().to_owned()))
}

fn not_a_shell(letter: char) -> String {
    format!("no shell reads this, so `{letter}` must be quoted: one command a line, paths written out")
}
