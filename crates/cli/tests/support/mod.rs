//! Running the built binary. Each test file uses its part of this.
#![allow(dead_code, unreachable_pub, missing_docs)]

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

/// What a run of the binary gave.
#[derive(Debug)]
pub struct Ran {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

/// The binary with arguments, in an environment that does not depend on who runs the tests.
pub fn rhizome(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rhizome"));
    command
        .args(args)
        .env_remove("RHIZOME_ROOT")
        .env_remove("NO_COLOR")
        // Whoever runs the tests may have a network configuration; only a test of networks has one of its own.
        .env("RHIZOME_CNI_CONF_DIR", "none")
        .env("TERM", "xterm")
        .stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub fn run(args: &[&str]) -> Ran {
    ran(rhizome(args).output().unwrap())
}

/// Runs it to its end with something on standard input.
pub fn run_with_input(args: &[&str], input: &[u8]) -> Ran {
    let mut command = rhizome(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    ran(child.wait_with_output().unwrap())
}

pub fn ran(output: Output) -> Ran {
    use std::os::unix::process::ExitStatusExt as _;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran {
        status: output.status.code().unwrap_or_else(|| -output.status.signal().unwrap()),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// Says that a test cannot run here, where `cargo xtask test` counts it. The caller returns.
pub fn skipped(name: &str, reason: &str) {
    // Past libtest, which keeps what a passing test prints with `println!`.
    let _ = writeln!(std::io::stdout(), "SKIPPED: {name}: {reason}");
}

/// Whether we are root; if not, says that the test is skipped.
pub fn is_root(name: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skipped(name, "needs root");
    }
    root
}

/// The folder of OCI archives that `cargo xtask test` assembles, or says that the test is skipped.
pub fn images(name: &str) -> Option<std::path::PathBuf> {
    let images = std::env::var_os("RHIZOME_TEST_IMAGES").map(std::path::PathBuf::from);
    let images = images.filter(|folder| folder.join("busybox.tar").exists());
    if images.is_none() {
        skipped(name, "no images in RHIZOME_TEST_IMAGES; cargo xtask test assembles them");
    }
    images
}
