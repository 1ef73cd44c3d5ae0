//! Shells in mount namespaces of their own, which run what they are told and end with the test.
#![allow(dead_code, unreachable_pub, missing_docs)]

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A shell in a mount namespace, on a tmpfs of its own at /tmp that nobody else sees.
pub struct Namespace {
    child: Child,
    tell: Option<ChildStdin>,
    hear: Lines<BufReader<ChildStdout>>,
}

impl Namespace {
    /// Private, with an empty tmpfs at /tmp, which is shared.
    pub fn new() -> Namespace {
        let namespace = Namespace::spawn(Command::new("unshare"), &["--mount", "--propagation", "private"]);
        namespace.setup()
    }

    /// A copy of this one, whose mounts are peers of the same (as unshare(2) makes it), or what `propagation` says.
    pub fn copy(&self, propagation: &str) -> Namespace {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.pid().to_string(), "--mount", "unshare"]);
        Namespace::spawn(command, &["--mount", "--propagation", propagation])
    }

    /// A shell in this very namespace.
    pub fn other_shell(&self) -> Namespace {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.pid().to_string()]);
        Namespace::spawn(command, &["--mount"])
    }

    fn setup(mut self) -> Namespace {
        self.run("mount -t tmpfs base /tmp && mount --make-shared /tmp");
        self
    }

    pub fn spawn(mut command: Command, args: &[&str]) -> Namespace {
        let mut child = command
            .args(args)
            .args([
                "sh",
                "-c",
                "while read -r line; do if eval \"$line\"; then echo done; else echo FAILED; fi; done",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare(1) and nsenter(1) of util-linux");
        let tell = child.stdin.take();
        let hear = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut namespace = Namespace { child, tell, hear };
        // From here on it is where it is to be.
        namespace.run("true");
        namespace
    }

    /// Runs a line of shell, which must succeed and print nothing.
    pub fn run(&mut self, line: &str) {
        assert!(self.succeeds(line), "{line}");
    }

    /// Runs a line of shell, which must print nothing.
    pub fn succeeds(&mut self, line: &str) -> bool {
        let tell = self.tell.as_mut().unwrap();
        writeln!(tell, "{line}").unwrap();
        let answer = self.hear.next().expect("the shell lives").unwrap();
        assert!(matches!(answer.as_str(), "done" | "FAILED"), "{line}: {answer}");
        answer == "done"
    }

    /// The shell's pid: unshare(1) and nsenter(1) become it.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The namespace's number.
    pub fn number(&self) -> u64 {
        use std::os::unix::fs::MetadataExt as _;
        std::fs::metadata(format!("/proc/{}/ns/mnt", self.pid())).unwrap().ino()
    }

    pub fn mountinfo(&self) -> Vec<u8> {
        std::fs::read(format!("/proc/{}/mountinfo", self.pid())).unwrap()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // At the end of its input it ends.
        drop(self.tell.take());
        let _ = self.child.wait();
    }
}
