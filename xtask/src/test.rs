//! `cargo xtask test`: everything that `cargo test` needs, the tests, and what must be true afterwards.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result, bail};

use crate::leftovers::Machine;
use crate::{host, images, setup};

/// A test that cannot run here says so on a line of its own, with its name and the reason. Where libtest runs it, past
/// its capture: a `writeln!` to `std::io::stdout()`, not `println!` (tidy sees to that).
pub(crate) const SKIPPED: &str = "SKIPPED";

/// Runs the tests. `args` are cargo's.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    setup::run()?;
    if !host::is_root() && host::find("sudo").is_none() {
        bail!("the tests make mounts and namespaces, which needs root: run this as root, or install sudo");
    }
    let images = images::assemble()?;
    let temporary = Temporary::new()?;
    let before = Machine::read()?;
    let (passed, skipped) = run_cargo(args, &images, &temporary.path)?;
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

/// Whether all tests passed, and the lines of those that were skipped.
fn run_cargo(args: &[String], images: &Path, temporary: &Path) -> Result<(bool, BTreeSet<String>)> {
    let mut command = host::cargo();
    command.args(["test", "--workspace"]).args(args);
    command.env("RHIZOME_TEST_IMAGES", images).env("TMPDIR", temporary).stdin(Stdio::null());
    if !host::is_root() {
        // Built as the user, run as root: cargo calls this before every test program.
        let target = format!("{}_UNKNOWN_LINUX_GNU", std::env::consts::ARCH.to_uppercase());
        command.env(format!("CARGO_TARGET_{target}_RUNNER"), "sudo --preserve-env");
    }
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let mut skipped = BTreeSet::new();
    if let Some(stdout) = child.stdout.take() {
        let mut terminal = io::stdout().lock();
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line.context("cannot read what cargo prints")?;
            let text = String::from_utf8_lossy(&line);
            if text.contains(SKIPPED) {
                skipped.insert(text.trim().to_owned());
            }
            let shown = terminal.write_all(&line).and_then(|()| terminal.write_all(b"\n"));
            shown.context("cannot write to standard output")?;
        }
    }
    let status = child.wait().context("cannot wait for cargo")?;
    Ok((status.success(), skipped))
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
