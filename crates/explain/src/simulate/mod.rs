//! What a script of mount commands does, without doing it: a script's text is parsed, each line becomes the system
//! calls that the tool makes for it, and those are given to the model of the kernel.
//!
//! Everything is run by root in a shell that each namespace has to itself: its root and its working directory are the
//! namespace's `/` from when it was made, and pivot_root(2) takes them along. `ns NAME --user` makes a namespace
//! that belongs to a user namespace of its own; what is run in it is still run by the machine's root, as
//! `nsenter --mount` would.
//!
//! What the tools do before and between the calls is theirs: how their lines are read is in the modules `mount` and `tools`,
//! how they are run in `run`.

mod mount;
mod options;
mod outcome;
mod pictures;
mod run;
mod script;
mod simulation;
#[cfg(test)]
mod tests;
mod told;
mod tools;
mod words;

pub use outcome::{Call, Event, Fault, Outcome, Row, Step, rows};
pub use pictures::{PICTURES_MAX, Picture};
pub use script::{HOST, Line, MAX_LINES, Script};
pub use simulation::{Simulation, simulate};

/// A line that is not one of a script's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {}{}", short(what), self.drawn())]
pub struct ScriptError {
    /// The line, from 1.
    pub line: usize,
    /// Where in it, in characters from 0.
    pub column: usize,
    /// What is wrong; control characters stand as blanks.
    pub what: String,
    /// The line's text, likewise.
    pub text: String,
}

impl ScriptError {
    pub(crate) fn new(line: usize, text: &str, column: usize, what: String) -> ScriptError {
        let printable = |letter: char| if letter.is_control() { ' ' } else { letter };
        let [what, text] = [what.as_str(), text].map(|text| text.chars().map(printable).collect());
        ScriptError { line, column, what, text }
    }

    /// The line, of a long one the part around the place, and a mark below that.
    fn drawn(&self) -> String {
        const AROUND: usize = 60;
        let start = self.column.saturating_sub(AROUND);
        let mut part: String = self.text.chars().skip(start).take(2 * AROUND).collect();
        if self.text.chars().nth(start + 2 * AROUND).is_some() {
            part.push('…');
        }
        let (lead, column) = if start == 0 { ("", self.column) } else { ("…", AROUND + 1) };
        format!("\n  {lead}{part}\n  {}^", " ".repeat(column))
    }
}

/// A text that may hold a word of any length.
fn short(text: &str) -> String {
    const MOST: usize = 400;
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// What is wrong with a command that is not simulated or known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScriptFault(pub(crate) String);
