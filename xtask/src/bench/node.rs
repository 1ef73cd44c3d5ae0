//! Reading and watching a whole node: measured by examples of `observe`, which make the namespaces and print the figures.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::figures::Figure;
use crate::host;

/// Namespaces that are read; each has [`MOUNTS`] mounts, and half are slaves of the others.
const NAMESPACES: [usize; 3] = [200, 400, 800];
const MOUNTS: usize = 125;

/// `program` is rhizome in release mode: the examples are beside it.
fn output(program: &Path, example: &str, args: &[usize]) -> Result<String> {
    let path = program.parent().context("rhizome is in no folder")?.join("examples").join(example);
    let text = host::output(Command::new(path).args(args.iter().map(ToString::to_string)))?;
    Ok(String::from_utf8(text)?)
}

/// A line of an example: a name, numbers, and what is to be said beside them.
fn line(text: &str, numbers: usize) -> Result<(&str, Vec<f64>, &str)> {
    let fields: Vec<&str> = text.split('\t').collect();
    let (Some(name), Some(figures)) = (fields.first(), fields.get(1..=numbers)) else {
        bail!("an example printed {text:?}");
    };
    let figures = figures.iter().map(|it| it.parse().with_context(|| format!("{it:?} of {text:?}")));
    Ok((name, figures.collect::<Result<_>>()?, fields.get(numbers + 1).copied().unwrap_or_default()))
}

/// A whole node, in one reading and in a second one, beside findmnt.
pub(crate) fn snapshot(program: &Path) -> Result<Figure> {
    let mut rows = Vec::new();
    for namespaces in NAMESPACES {
        for text in output(program, "read_node", &[namespaces, MOUNTS, namespaces / 2])?.lines() {
            let (name, figures, beside) = line(text, 2)?;
            rows.push((format!("{namespaces} namespaces: {name} ({beside})"), figures));
        }
    }
    Ok(Figure {
        title: "A snapshot of a node",
        about: format!(
            "All mounts of all mount namespaces, with owners and peer groups, in so many namespaces of {MOUNTS} mounts each \
             beside those of the machine, half of them slaves of the other half. `findmnt -N` is run for each namespace \
             in turn."
        ),
        columns: vec!["wall ms", "CPU ms"],
        rows,
        drawn: None,
    })
}

/// A watcher: how soon it tells, what it makes of a burst, what it costs.
pub(crate) fn watch(program: &Path) -> Result<Figure> {
    let text = output(program, "watch_node", &[NAMESPACES[0]])?;
    let row = |text: &str| {
        let (name, figures, unit) = line(text, 1)?;
        let unit = if unit.is_empty() { String::new() } else { format!(", {unit}") };
        Ok((format!("{name}{unit}"), figures))
    };
    Ok(Figure {
        title: "Watching a node",
        about: format!(
            "{} namespaces of {MOUNTS} mounts, half of which receive each single mount. Half of the burst's mounts are unmounted at once.",
            NAMESPACES[0]
        ),
        columns: vec!["figure"],
        rows: text.lines().map(row).collect::<Result<_>>()?,
        drawn: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_examples() {
        let (name, figures, beside) = line("25146 rows\t60.12\t81.50\t20.8 MiB at most", 2).unwrap();
        assert_eq!((name, figures, beside), ("25146 rows", vec![60.12, 81.5], "20.8 MiB at most"));
        assert_eq!(line("overflows\t0\t", 1).unwrap(), ("overflows", vec![0.0], ""));
        assert!(line("no figure", 1).is_err() && line("a\tb", 1).is_err());
    }
}
