//! `cargo xtask adopt [REVISION]`: builds the program of an earlier commit, and tests whether this one goes on with the
//! pods that it started.

use std::io::{self, Write as _};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::{host, images, setup};

/// Runs crates/cli/tests/adoption.rs with the program of a revision, the one before this one if none is named.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    let asked = args.first().map_or("HEAD~1", String::as_str);
    let Some(revision) = find(asked)? else {
        writeln!(io::stdout(), "SKIPPED: adoption: there is no {asked} here (a copy without its history)")?;
        return Ok(ExitCode::SUCCESS);
    };
    setup::run()?;
    let images = images::assemble()?;
    let folder = host::target_dir().join("adopt");
    let source = folder.join("source");
    // What an interrupted run has left.
    let _ = git().args(["worktree", "remove", "--force"]).arg(&source).output();
    let _ = git().args(["worktree", "prune"]).output();
    host::run(git().args(["worktree", "add", "--quiet", "--detach"]).arg(&source).arg(&revision))?;
    let built = build(&source, &folder);
    let removed = host::run(git().args(["worktree", "remove", "--force"]).arg(&source));
    let program = built?;
    removed?;
    println!("pods of {revision} under this version");
    let mut test = host::cargo();
    test.args(["test", "--quiet", "--package", "rhizome", "--test", "adoption"]);
    test.env("RHIZOME_OLD", program).env("RHIZOME_TEST_IMAGES", images);
    Ok(if test.status().context("cannot start cargo")?.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn git() -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(host::workspace());
    command
}

/// The commit's full name; none where there is no such commit or no git.
fn find(revision: &str) -> Result<Option<String>> {
    if host::find("git").is_none() {
        return Ok(None);
    }
    let name = format!("{revision}^{{commit}}");
    let output =
        git().args(["rev-parse", "--verify", "--quiet", &name]).output().context("cannot start git")?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok(output.status.success().then_some(text).filter(|text| !text.is_empty()))
}

fn build(source: &std::path::Path, folder: &std::path::Path) -> Result<std::path::PathBuf> {
    let target = folder.join("target");
    let mut cargo = host::cargo();
    cargo
        .args(["build", "--quiet", "--package", "rhizome"])
        .current_dir(source)
        .env("CARGO_TARGET_DIR", &target);
    host::run(&mut cargo)?;
    let program = target.join("debug/rhizome");
    if !program.is_file() {
        bail!("{} was not built", program.display());
    }
    Ok(program)
}
