//! Says what failed.

use crate::exit::{Exit, Failure, Result};
use crate::output;

/// Says why on standard error, and gives the exit status.
pub(crate) fn status(result: Result) -> u8 {
    let Failure { status, error, hint } = match result {
        Ok(Exit(status)) => return status,
        Err(failure) => failure,
    };
    let paint = output::stderr_paint();
    if let Some(error) = error {
        output::stderr_line(&format!("{} {}", paint.bad("error:"), joined(&error)));
    }
    if let Some(hint) = hint {
        output::stderr_line(&format!("{} {hint}", paint.label("hint:")));
    }
    status
}

/// Does the same for each, says what fails, goes on with the others, and gives the status of the first failure.
pub(crate) fn each<T>(all: &[T], mut one: impl FnMut(&T) -> Result<()>) -> Result {
    let mut status = 0;
    for item in all {
        if let Err(failure) = one(item) {
            let quiet = failure.error.is_none();
            let failed = self::status(Err(failure));
            if quiet {
                return Err(Failure::quiet(failed));
            }
            status = if status == 0 { failed } else { status };
        }
    }
    Ok(Exit(status))
}

/// `error: cause: cause of that`, each once: errors that already say their cause are not said twice.
fn joined(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for part in error.chain().map(|part| without_number(&part.to_string()).to_owned()) {
        if text.is_empty() {
            text = part;
        } else if !text.ends_with(&part) {
            text = format!("{text}: {part}");
        }
    }
    text
}

/// The standard library adds the errno's number to the words; the words are enough.
fn without_number(text: &str) -> &str {
    match text.rsplit_once(" (os error ") {
        Some((words, number)) if number.strip_suffix(')').is_some_and(|n| n.parse::<i32>().is_ok()) => words,
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn causes_are_said_once() {
        let error = anyhow::Error::from(io::Error::other("no space"));
        assert_eq!(joined(&error.context("writing a: no space")), "writing a: no space");
        let error = anyhow::Error::from(io::Error::other("no space"));
        assert_eq!(joined(&error.context("writing a").context("b")), "b: writing a: no space");
    }

    #[test]
    fn the_kernels_words_without_its_numbers() {
        let error = anyhow::Error::from(io::Error::from_raw_os_error(13)).context("opening a");
        assert_eq!(joined(&error), "opening a: Permission denied");
    }
}
