//! `cargo xtask test`: everything that `cargo test` needs, the tests, and what must be true afterwards.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result, bail};

use crate::leftovers::Machine;
use crate::{host, images, kubectl, setup};

/// A test that cannot run here says so on a line of its own, with its name and the reason. Where libtest runs it, past
/// its capture: a `writeln!` to `std::io::stdout()`, not `println!` (tidy sees to that).
pub(crate) const SKIPPED: &str = "SKIPPED";

/// Random sequences in which the model is compared with the kernel: a minute's. `cargo test` alone runs 300.
const MODEL_SEQUENCES: (&str, &str) = ("RHIZOME_MODEL_SEQUENCES", "5000");

/// Runs the tests. `args` are cargo's.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    let sequences = std::env::var(MODEL_SEQUENCES.0).unwrap_or_else(|_| MODEL_SEQUENCES.1.to_owned());
    let variables = [(MODEL_SEQUENCES.0.to_owned(), sequences)];
    run_with(&[&["--workspace".to_owned()], args].concat(), &variables)
}

/// Runs what `args` choose, with these variables.
pub(crate) fn run_with(args: &[String], variables: &[(String, String)]) -> Result<ExitCode> {
    setup::run()?;
    if !host::is_root() && host::find("sudo").is_none() {
        bail!("the tests make mounts and namespaces, which needs root: run this as root, or install sudo");
    }
    let images = images::assemble()?;
    let temporary = Temporary::new()?;
    let before = Machine::read()?;
    let (passed, skipped, totals) = run_cargo(args, variables, &images, &temporary.path)?;
    // Supervisors run from the target directory; everything else has files in the temporary one.
    let ours = [temporary.path.clone(), host::target_dir().join("debug/rhizome")];
    let left = before.leftovers(&ours, &temporary.path)?;
    for line in &left {
        eprintln!("left behind: {line}");
    }
    temporary.remove(&left)?;
    let unlisted = unlisted(&skipped)?;
    if !skipped.is_empty() {
        eprintln!("{} tests were skipped:", skipped.len());
        skipped.iter().for_each(|line| eprintln!("  {line}"));
    }
    println!("{} passed, {} failed, {} skipped", totals.passed, totals.failed, skipped.len());
    if !passed {
        return Ok(ExitCode::FAILURE);
    }
    if !left.is_empty() {
        bail!("the tests passed, but left {} things behind on this machine (see above)", left.len());
    }
    if is_ci() && !unlisted.is_empty() {
        bail!(
            "the tests passed, but these were skipped without being listed in .ci/allowed-skips: {}",
            unlisted.join("; ")
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Tests of all programs together.
#[derive(Debug, Default, PartialEq, Eq)]
struct Totals {
    passed: usize,
    failed: usize,
}

impl Totals {
    /// Adds a program's closing line: libtest's, or the plain one of those that bring their own `main`.
    fn add(&mut self, line: &str) {
        let line = line.trim();
        let counts = match line.strip_prefix("test result: ") {
            Some(rest) => rest.split_once(". ").map(|(_, counts)| counts),
            None => line.starts_with(|first: char| first.is_ascii_digit()).then_some(line),
        };
        for count in counts.into_iter().flat_map(|counts| counts.split([';', ','])) {
            match count.trim().split_once(' ') {
                Some((number, "passed")) => self.passed += number.parse::<usize>().unwrap_or(0),
                Some((number, "failed")) => self.failed += number.parse::<usize>().unwrap_or(0),
                _ => {}
            }
        }
    }
}

/// Whether all tests passed, the lines of those that were skipped, and how many there were.
fn run_cargo(
    args: &[String],
    variables: &[(String, String)],
    images: &Path,
    temporary: &Path,
) -> Result<(bool, BTreeSet<String>, Totals)> {
    let mut command = host::cargo();
    command.arg("test").args(args).envs(variables.iter().map(|(name, value)| (name, value)));
    // Whatever this machine's configuration of networks is, it is not the tests'.
    command.env("RHIZOME_CNI_CONF_DIR", "none");
    command.env("RHIZOME_TEST_IMAGES", images).env("TMPDIR", temporary).stdin(Stdio::null());
    command.envs(kubectl::variables());
    if !host::is_root() {
        // Built as the user, run as root: cargo calls this before every test program.
        let target = format!("{}_UNKNOWN_LINUX_GNU", std::env::consts::ARCH.to_uppercase());
        command.env(format!("CARGO_TARGET_{target}_RUNNER"), "sudo --preserve-env");
    }
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let mut skipped = BTreeSet::new();
    let mut totals = Totals::default();
    if let Some(stdout) = child.stdout.take() {
        let mut terminal = io::stdout().lock();
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line.context("cannot read what cargo prints")?;
            let text = String::from_utf8_lossy(&line);
            if text.contains(SKIPPED) {
                skipped.insert(text.trim().to_owned());
            }
            totals.add(&text);
            let shown = terminal.write_all(&line).and_then(|()| terminal.write_all(b"\n"));
            shown.context("cannot write to standard output")?;
        }
    }
    let status = child.wait().context("cannot wait for cargo")?;
    Ok((status.success(), skipped, totals))
}

fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false")
}

/// Skipped tests whose name is not in the list. A line there is `test name: reason`.
fn unlisted(skipped: &BTreeSet<String>) -> Result<Vec<String>> {
    let path = host::workspace().join(".ci/allowed-skips");
    let list = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let names: Vec<_> = list
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(':').next().unwrap_or_default().trim())
        .filter(|name| !name.is_empty())
        .collect();
    let is_listed = |line: &&String| names.iter().any(|name| line.contains(name));
    Ok(skipped.iter().filter(|line| !is_listed(line)).cloned().collect())
}

/// Where the tests' own temporary directories go. Goes away with this value while it is empty. Short, since sockets are in them (108 bytes).
struct Temporary {
    path: PathBuf,
}

impl Temporary {
    fn new() -> Result<Temporary> {
        let path = std::env::temp_dir().join(format!("rz-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Temporary { path })
    }

    /// Never while something of it is still mounted or runs.
    fn remove(&self, left: &[String]) -> Result<()> {
        if left.iter().any(|line| !line.starts_with("a temporary file")) {
            eprintln!("{} is kept, since something may still use it", self.path.display());
            return Ok(());
        }
        let mut command = host::as_root("rm")?;
        host::run(command.args(["-rf", "--one-file-system", "--"]).arg(&self.path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // What is in it was spoken of by then, or nothing ran at all.
        let _ = fs::remove_dir(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_of_all_programs_are_added_up() {
        let mut totals = Totals::default();
        for line in [
            "running 3 tests",
            "test result: FAILED. 28 passed; 1 failed; 0 ignored; 0 measured; 4 filtered out; finished in 0.30s",
            "33 passed, 2 failed, 1 skipped",
            "20 mounts, 3 passed on",
            "",
        ] {
            totals.add(line);
        }
        assert_eq!(totals, Totals { passed: 61, failed: 3 });
    }
}
