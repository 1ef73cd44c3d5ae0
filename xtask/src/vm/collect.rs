//! Which tests there are and how cargo would run each: folder, environment, arguments.
//!
//! cargo is asked to run the tests with this program as the runner (`target.*.runner`). Instead of running, it writes
//! a shell script a test, which the guest runs later. So the choice of packages and targets, and the environment, are
//! cargo's own and need no parsing.

use crate::host;
use anyhow::{Context, Result, bail};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The word that makes this program the runner.
pub(super) const RECORD: &str = "--record";

/// Packages whose tests ask the kernel for nothing; they are not run unless they are named.
const WITHOUT_A_KERNEL: &[&str] = &["explain", "manifest", "mount-table", "view", "xtask"];

/// A test program to run in the guest.
pub(super) struct Test {
    /// The package and the target, such as `runtime-mounts`.
    pub(super) name: String,
    /// The program.
    pub(super) program: PathBuf,
    /// The shell script that runs it.
    pub(super) script: PathBuf,
}

/// A variable of the tests' environment that names something on the disk.
pub(super) type Variable = (&'static str, PathBuf);

/// Builds the tests that `options` choose (all of the workspace's if they choose none) and records them, each with
/// `variables`.
pub(super) fn collect(folder: &Path, variables: &[Variable], options: &[String]) -> Result<Vec<Test>> {
    let records = folder.join("tests");
    if records.exists() {
        std::fs::remove_dir_all(&records).with_context(|| format!("remove {}", records.display()))?;
    }
    std::fs::create_dir_all(&records).with_context(|| format!("create {}", records.display()))?;
    println!("building the tests");
    let status = cargo_test(&records, variables, options)?.status().context("cannot start cargo")?;
    if !status.success() {
        bail!("the tests do not build: see what cargo says above");
    }
    let tests = read(&records)?;
    if tests.is_empty() {
        bail!("these options choose no test: {}", options.join(" "));
    }
    Ok(tests)
}

fn cargo_test(records: &Path, variables: &[Variable], options: &[String]) -> Result<Command> {
    let us = std::env::current_exe().context("cannot find this program's own path")?;
    let runner = format!("target.'cfg(all())'.runner=[{us:?},'vm',{RECORD:?},{records:?}]");
    let (ours, theirs) = options.split_at(options.iter().position(|o| o == "--").unwrap_or(options.len()));
    let chosen = |names: &[&str]| ours.iter().any(|o| names.iter().any(|name| o.starts_with(name)));
    let mut command = host::cargo();
    // As in an ordinary run: whatever the machine's configuration of networks is, it is not the tests'.
    command.env("RHIZOME_CNI_CONF_DIR", "none");
    command.envs(variables.iter().cloned()).args(["test", "--quiet", "--no-fail-fast", "--config", &runner]);
    if !chosen(&["-p", "--package", "--workspace", "--all"]) {
        command.arg("--workspace");
        WITHOUT_A_KERNEL.iter().for_each(|package| {
            command.args(["--exclude", package]);
        });
    }
    if !chosen(&["--lib", "--bin", "--test", "--example", "--all-targets"]) {
        command.arg("--tests");
    }
    command.args(ours).args(theirs);
    Ok(command)
}

/// Being the runner: writes how cargo runs the test; `args` are the folder, the program and its arguments.
pub(super) fn record(args: &[String]) -> Result<()> {
    let [folder, program, rest @ ..] = args else { bail!("{RECORD} needs a folder and a program") };
    let cwd = std::env::current_dir().context("no working directory")?;
    let mut script = format!("cd {}\n", quoted(&cwd.to_string_lossy()));
    for (name, value) in std::env::vars() {
        if name.starts_with("CARGO_") || name.starts_with("RHIZOME_") || name == "OUT_DIR" {
            writeln!(script, "export {name}={}", quoted(&value))?;
        }
    }
    write!(script, "exec {}", quoted(program))?;
    for arg in rest {
        write!(script, " {}", quoted(arg))?;
    }
    script.push('\n');
    let package = std::env::var("CARGO_PKG_NAME").unwrap_or_default();
    let name = test_name(&package, Path::new(program));
    let write = |name: &str, text: &str| {
        let path = Path::new(folder).join(name);
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    };
    write(&format!("{name}.sh"), &script)?;
    write(&format!("{name}.program"), program)
}

/// `mounts-0123456789abcdef` of the package `runtime` is `runtime-mounts`; a package's unit tests are its name.
fn test_name(package: &str, program: &Path) -> String {
    let stem = program.file_stem().unwrap_or_default().to_string_lossy();
    let target = stem.rsplit_once('-').map_or(&*stem, |(target, _)| target);
    match target.replace('_', "-") == package {
        true => package.to_owned(),
        false => format!("{package}-{target}"),
    }
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn read(records: &Path) -> Result<Vec<Test>> {
    let mut tests = Vec::new();
    for entry in std::fs::read_dir(records).with_context(|| format!("read {}", records.display()))? {
        let script = entry?.path();
        if script.extension().is_some_and(|ending| ending == "sh") {
            let program = script.with_extension("program");
            let program = std::fs::read_to_string(&program).context("read a test's record")?;
            let name = script.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            tests.push(Test { name, program: PathBuf::from(program), script });
        }
    }
    tests.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tests)
}

#[cfg(test)]
mod tests {
    use super::{quoted, test_name};
    use std::path::Path;

    #[test]
    fn names() {
        let name = |package: &str, program: &str| test_name(package, Path::new(program));
        assert_eq!(name("runtime", "/t/deps/mounts-0123456789abcdef"), "runtime-mounts");
        assert_eq!(name("mount-table", "/t/deps/mount_table-0123456789abcdef"), "mount-table");
        assert_eq!(name("cli", "/t/deps/rhizome-0123456789abcdef"), "cli-rhizome");
    }

    #[test]
    fn quotes() {
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
