//! `rhizome unshare`: the article's program, on the kernel.

mod support;

use rustix::process::{Pid, Signal};
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};
use support::{is_root, rhizome, run, skipped};

/// The lines between `Container [...]` and `Parent - container stopped!`, after a look at those two.
fn inside(stdout: &str) -> Vec<&str> {
    let lines: Vec<&str> = stdout.lines().collect();
    assert!(lines[0].starts_with("Parent [") && lines[0].ends_with("] - start a container!"), "{stdout}");
    assert!(
        lines[1].starts_with("Container [") && lines[1].ends_with("] - inside the container!"),
        "{stdout}"
    );
    assert_eq!(*lines.last().unwrap(), "Parent - container stopped!");
    lines[2..lines.len() - 1].to_vec()
}

#[test]
fn says_what_the_article_says_and_gives_the_exit_status() {
    if !is_root("says_what_the_article_says_and_gives_the_exit_status") {
        return;
    }
    let ran = run(&["unshare", "--", "sh", "-c", "echo $PPID; exit 7"]);
    assert_eq!((ran.status, ran.stderr.as_str()), (7, ""));
    let parent = inside(&ran.stdout)[0];
    assert!(
        ran.stdout.starts_with(&format!("Parent [{parent:>5}] - start a container!\n")),
        "{}",
        ran.stdout
    );
    assert_eq!(run(&["unshare", "sh", "-c", "kill -9 $$"]).status, 128 + 9);
    let missing = run(&["unshare", "--", "no-such-program"]);
    assert_eq!(
        (missing.status, missing.stderr.as_str()),
        (127, "error: no-such-program: no such program in $PATH\n")
    );
    let directory = run(&["unshare", "--", "/"]);
    assert_eq!((directory.status, directory.stderr.as_str()), (126, "error: running /: Permission denied\n"));
}

#[test]
fn every_kind_of_namespace_is_new() {
    if !is_root("every_kind_of_namespace_is_new") {
        return;
    }
    let kinds = [
        ("--mount", "mnt"),
        ("--pid", "pid"),
        ("--uts", "uts"),
        ("--ipc", "ipc"),
        ("--net", "net"),
        ("--user", "user"),
        ("--cgroup", "cgroup"),
        ("--time", "time"),
    ];
    for (flag, kind) in kinds {
        let ran = run(&["unshare", flag, "--", "sh", "-c", "readlink /proc/self/ns/*"]);
        assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{flag}");
        for line in inside(&ran.stdout) {
            let (name, _) = line.split_once(':').unwrap();
            let ours = std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
            assert_eq!(ours.to_str() != Some(line), name == kind, "{flag}: {name}");
        }
    }
    let flags: Vec<&str> = kinds.map(|(flag, _)| flag).to_vec();
    let args =
        [&["unshare"], flags.as_slice(), &["--mount-proc", "--", "sh", "-c", "echo $$; id -u"]].concat();
    let ran = run(&args);
    assert_eq!(inside(&ran.stdout), ["1", "0"], "{ran:?}");
    assert!(ran.stdout.contains("Container [    1] - inside the container!\n"));
}

/// The propagation of every mount in a new mount namespace that was copied from one where all is shared.
#[test]
fn propagation_is_what_was_asked() {
    if !is_root("propagation_is_what_was_asked") {
        return;
    }
    let cases = [
        (&[][..], "private", "private"),
        (&["--propagation", "slave"], "slave", "slave"),
        (&["--propagation", "shared"], "shared", "shared"),
        (&["--propagation", "unbindable"], "unbindable", "unbindable"),
        (&["--propagation", "unchanged"], "shared", "shared"),
        (&["--propagation", "private", "--no-recursive"], "private", "shared"),
    ];
    for (flags, root, below) in cases {
        let binary = env!("CARGO_BIN_EXE_rhizome");
        let inner = "grep -c . /proc/self/mountinfo >/dev/null; cat /proc/self/mountinfo";
        // The outer namespace keeps the machine's own mounts out of it.
        let outer =
            [&["unshare", "--propagation", "shared", "--", binary, "unshare"], flags, &["sh", "-c", inner]];
        let ran = run(&outer.concat());
        assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{flags:?}");
        let rows = ran.stdout.lines().filter(|line| line.starts_with(|first: char| first.is_ascii_digit()));
        let mut seen = 0;
        for row in rows {
            let fields: Vec<&str> = row.split(' ').collect();
            let tags: Vec<&str> = fields[6..].iter().take_while(|field| **field != "-").copied().collect();
            let expected = if fields[4] == "/" { root } else { below };
            let words = match tags.as_slice() {
                [] => "private",
                [tag] if tag.starts_with("shared:") => "shared",
                [tag] if tag.starts_with("master:") => "slave",
                [tag] => tag,
                _ => row,
            };
            assert_eq!(words, expected, "{flags:?}: {row}");
            seen += 1;
        }
        assert!(seen > 1, "{flags:?}");
    }
}

#[test]
fn mounts_go_when_the_container_stops() {
    if !is_root("mounts_go_when_the_container_stops") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let script = format!("mount -t tmpfs none {0} && touch {0}/in && ls {0}", directory.path().display());
    let ran = run(&["unshare", "--", "sh", "-c", &script]);
    assert_eq!(inside(&ran.stdout), ["in"], "{ran:?}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn any_user_may_with_a_user_namespace() {
    if !is_root("any_user_may_with_a_user_namespace") {
        return;
    }
    let as_nobody = |args: &[&str]| {
        use std::os::unix::process::CommandExt as _;
        // A copy that the user can reach: the build folder may not be.
        let directory = tempfile::tempdir().unwrap();
        let binary = directory.path().join("rhizome");
        // Not by ourselves: a file that a test's child inherits open for writing cannot be run.
        let copied =
            std::process::Command::new("cp").arg(env!("CARGO_BIN_EXE_rhizome")).arg(&binary).status();
        assert!(copied.unwrap().success());
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(directory.path(), mode).unwrap();
        let mut command = std::process::Command::new(binary);
        support::ran(command.args(args).current_dir("/").uid(65534).gid(65534).output().unwrap())
    };
    let refused = as_nobody(&["unshare", "--", "true"]);
    assert_eq!(refused.status, 2);
    let expected = "error: making a new namespace (mount): clone3: Operation not permitted\n\
                    hint: run it as root, or add --user: in a user namespace of your own you may\n";
    assert_eq!(refused.stderr, expected);
    let ran = as_nobody(&[
        "unshare",
        "--user",
        "--mount",
        "--",
        "sh",
        "-c",
        "id -u; mount -t tmpfs none /mnt && echo yes",
    ]);
    if ran.status == 2 {
        return skipped("any_user_may_with_a_user_namespace", &ran.stderr);
    }
    assert_eq!(inside(&ran.stdout), ["0", "yes"], "{ran:?}");
}

/// Starts it, waits for a line that the command prints, and sends a signal to our process alone.
fn signalled(args: &[&str], signal: Signal) -> (i32, Duration) {
    let mut child = rhizome(args).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "ready"));
    let sent = Instant::now();
    rustix::process::kill_process(Pid::from_child(&child), signal).unwrap();
    // Until the end, or the child would get SIGPIPE for its last words.
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert_eq!(rest.last().map(String::as_str), Some("Parent - container stopped!"), "{rest:?}");
    (child.wait().unwrap().code().unwrap(), sent.elapsed())
}

#[test]
fn signals_reach_the_command() {
    if !is_root("signals_reach_the_command") {
        return;
    }
    let sleep = "echo ready; exec sleep 60";
    let trap = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done";
    let cases: [(&[&str], &str, Signal, i32); 5] = [
        (&["--mount"], sleep, Signal::TERM, 128 + 15),
        (&["--mount"], trap, Signal::TERM, 5),
        (&["--pid"], trap, Signal::TERM, 5),
        // Process 1 without a handler never gets the signal: it is ended all the same.
        (&["--pid"], sleep, Signal::TERM, 128 + 9),
        (&["--pid", "--fork"], sleep, Signal::INT, 128 + 2),
    ];
    for (flags, script, signal, expected) in cases {
        let args = [&["unshare"], flags, &["--", "sh", "-c", script]].concat();
        let (status, took) = signalled(&args, signal);
        assert_eq!(status, expected, "{flags:?} {script}");
        assert!(took < Duration::from_secs(20), "{flags:?} took {took:?}");
    }
}

#[test]
fn fork_reaps_orphans() {
    if !is_root("fork_reaps_orphans") {
        return;
    }
    // Looked at again for as long as there is one: on a busy machine the reaping takes a moment.
    let script = "sh -c 'true & exec true'; for n in $(seq 100); do sleep 0.3; \
                  cat /proc/[0-9]*/stat 2>/dev/null | grep -q ' Z ' || { echo none; exit; }; done; echo zombies";
    let args = ["unshare", "--mount", "--pid", "--mount-proc", "--fork", "--", "sh", "-c", script];
    let ran = run(&args);
    assert_eq!(inside(&ran.stdout), ["none"], "{ran:?}");
}

#[test]
fn nothing_outlives_a_killed_parent() {
    if !is_root("nothing_outlives_a_killed_parent") {
        return;
    }
    let mut child = rhizome(&["unshare", "--", "sh", "-c", "echo $$; exec sleep 600"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let inside = lines.find(|line| line.parse::<u32>().is_ok()).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let path = format!("/proc/{inside}/comm");
    let deadline = Instant::now() + Duration::from_secs(60);
    while std::fs::read_to_string(&path).is_ok_and(|name| name == "sleep\n") {
        assert!(Instant::now() < deadline, "{inside} is still there");
        std::thread::sleep(Duration::from_millis(10));
    }
}
