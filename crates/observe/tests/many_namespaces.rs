//! A watcher of more namespaces than this process may have files open. Alone in its program: the limit is the process's.

use observe::{Names, Watcher};
use rustix::process::{Resource, Rlimit, geteuid, getrlimit, setrlimit};
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

/// More than files may be open; of these the groups of events take some.
const NAMESPACES: usize = 120;
const FILES: u64 = 100;

#[test]
fn marks_more_namespaces_than_files_may_be_open() {
    let name = "marks_more_namespaces_than_files_may_be_open";
    if !geteuid().is_root() {
        return writeln!(std::io::stdout(), "SKIPPED: {name}: needs root").unwrap();
    }
    // All wait for one pipe to be closed.
    let script = format!(
        "for i in $(seq {NAMESPACES}); do unshare --mount sh -c 'echo; exec cat' <&3 & done 3<&0; wait"
    );
    let mut shell = Command::new("sh")
        .args(["-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("unshare(1) of util-linux");
    let mut made = [0; NAMESPACES];
    shell.stdout.as_mut().unwrap().read_exact(&mut made).expect("a line from each");
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(FILES), maximum }).unwrap();

    let watcher = Watcher::new(Names::default, None);
    drop(shell.stdin.take());
    shell.wait().unwrap();
    let watcher = watcher.expect("a watcher");
    if let Some(why) = watcher.without_events() {
        writeln!(std::io::stdout(), "SKIPPED: {name}: {why}").unwrap();
    }
}
