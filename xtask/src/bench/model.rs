//! What the model of the kernel costs: its own measuring program, `cargo bench -p subtree-model`.

use anyhow::{Context, Result, bail};

use super::figures::Figure;
use crate::host;

/// Runs the program, built in release mode, and reads its figures.
pub(super) fn figures() -> Result<Vec<Figure>> {
    let mut command = host::cargo();
    command.args(["bench", "--quiet", "--package", "subtree-model", "--bench", "apply", "--", "--figures"]);
    parse(&String::from_utf8(host::output(&mut command)?).context("the model's figures are no text")?)
}

fn parse(text: &str) -> Result<Vec<Figure>> {
    let mut operation = None;
    let mut receivers = Vec::new();
    for line in text.lines() {
        let (name, numbers) = line.split_once(' ').unwrap_or((line, ""));
        let numbers: Vec<f64> = numbers.split(' ').filter_map(|number| number.parse().ok()).collect();
        match (name, &numbers[..]) {
            ("operation", [us]) => operation = Some(*us),
            ("receivers", [count, mounting, unmounting]) => {
                receivers.push((format!("{count}"), vec![*mounting, *unmounting]));
            }
            _ => bail!("the model's figures have a line that is none: {line}"),
        }
    }
    let operation = operation.context("the model's figures lack the operation")?;
    Ok(vec![
        Figure {
            title: "The model: an operation",
            about: "One of mount, bind, change of type and unmount in a world of 100 mounts, on one processor (the kernel itself \
                    takes about 30 to 70 µs)."
                .to_owned(),
            columns: vec!["µs"],
            rows: vec![("an operation".to_owned(), vec![operation])],
            drawn: None,
        },
        Figure {
            title: "The model: receivers",
            about: "A mount, and its unmount, that so many peers receive, divided by their number (the kernel itself takes 2 to \
                    3 µs each)."
                .to_owned(),
            columns: vec!["mount, µs a receiver", "unmount, µs a receiver"],
            rows: receivers,
            drawn: None,
        },
    ])
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn figures_are_read() {
        let figures =
            parse("operation 0.2544\nreceivers 10 0.0849 0.0841\nreceivers 100000 0.1 0.2\n").unwrap();
        assert_eq!(figures[0].rows, [("an operation".to_owned(), vec![0.2544])]);
        assert_eq!(figures[1].rows[1], ("100000".to_owned(), vec![0.1, 0.2]));
        assert!(parse("receivers 10 0.0849 0.0841\n").is_err() && parse("operation\n").is_err());
    }
}
