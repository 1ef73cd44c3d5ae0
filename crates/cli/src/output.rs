//! Standard output for data, standard error for the rest; colours; readers that have gone away.

use crate::args::Object;
use crate::exit::{Failure, Result};
use std::io::{self, IsTerminal, Write};
use view::text::Paint;

/// Writes data to standard output. A reader that went away (`rhizome ps | head -1`) ends us without a word.
pub(crate) fn stdout(text: &str) -> Result<()> {
    stdout_bytes(text.as_bytes())
}

/// As [`stdout`], for data that need not be text.
pub(crate) fn stdout_bytes(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::quiet(0)),
        Err(error) => Err(anyhow::Error::from(error).context("writing to standard output").into()),
    }
}

/// Writes a line to standard error. Nobody can be told when that fails.
pub(crate) fn stderr_line(line: &str) {
    let mut err = io::stderr().lock();
    let _ = err.write_all(line.as_bytes()).and_then(|()| err.write_all(b"\n"));
}

/// Bytes of a program's standard error to ours. Nobody can be told when that fails.
pub(crate) fn stderr_bytes(bytes: &[u8]) {
    let mut err = io::stderr().lock();
    let _ = err.write_all(bytes);
}

/// `warning: …` on standard error.
pub(crate) fn warning(text: &str) {
    stderr_line(&format!("{} {text}", stderr_paint().warn("warning:")));
}

/// `note: …` on standard error.
pub(crate) fn note(text: &str) {
    stderr_line(&format!("{} {text}", stderr_paint().label("note:")));
}

/// `hint: …` on standard error.
pub(crate) fn hint(text: &str) {
    stderr_line(&format!("{} {text}", stderr_paint().label("hint:")));
}

/// Colours for what goes to standard output.
pub(crate) fn stdout_paint() -> Paint {
    Paint { colour: wants_colour(io::stdout().is_terminal()) }
}

/// Colours for what goes to standard error.
pub(crate) fn stderr_paint() -> Paint {
    Paint { colour: wants_colour(io::stderr().is_terminal()) }
}

/// <https://no-color.org>: set and not empty means none, whatever the terminal can do.
fn wants_colour(terminal: bool) -> bool {
    terminal
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|value| value != "dumb")
}

/// How many columns text for reading may take: the terminal's, at most 100 (longer lines are hard to read), and
/// 100 where there is no terminal.
pub(crate) fn columns() -> usize {
    const MOST: u16 = 100;
    let terminal = rustix::termios::tcgetwinsize(io::stdout()).map_or(0, |size| size.ws_col);
    usize::from(if terminal == 0 { MOST } else { terminal.min(MOST) })
}

/// Prints a report as JSON or YAML.
pub(crate) fn document(value: &serde_json::Value, format: Object) -> Result<()> {
    stdout(&match format {
        Object::Json => view::document::json(value),
        Object::Yaml => view::document::yaml(value),
    })
}
