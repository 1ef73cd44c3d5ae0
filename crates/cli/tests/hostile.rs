//! A container that plays tricks: ten thousand mounts, names that terminals and pages obey, mounts that come and go while
//! they are read. Nothing breaks, hangs, or gets through to a terminal.
#[path = "support/namespace.rs"]
mod namespace;
mod support;

use namespace::Namespace;
use serde_json::Value;
use std::io::Read as _;
use std::process::Stdio;
use std::time::{Duration, Instant};
use support::{Ran, is_root, rhizome};

/// More than anybody waits for; a machine with many tests is slow.
const LIMIT: Duration = Duration::from_secs(120);

/// Runs it to its end, which must come.
fn run_in_time(args: &[&str]) -> Ran {
    // What it advises is kept in its root: one of its own, not the machine's.
    let root = tempfile::tempdir().unwrap();
    let mut command = rhizome(args);
    command.env("RHIZOME_ROOT", root.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let read = move || {
        let mut bytes = Vec::new();
        out.read_to_end(&mut bytes).unwrap();
        bytes
    };
    let out = std::thread::spawn(read);
    let err = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        err.read_to_end(&mut bytes).unwrap();
        bytes
    });
    let deadline = Instant::now() + LIMIT;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            panic!("{args:?} did not end within {LIMIT:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8 whatever the names are");
    Ran {
        status: status.code().unwrap_or(-1),
        stdout: text(out.join().unwrap()),
        stderr: text(err.join().unwrap()),
    }
}

/// Nothing in it moves a cursor, changes a colour or ends a line early.
fn assert_harmless(what: &str, text: &str) {
    let obeyed = text.chars().find(|c| {
        c.is_control() && *c != '\n' || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    });
    assert_eq!(obeyed, None, "{what}");
    assert!(!text.lines().any(|line| line.starts_with("evil")), "{what}: a name has made a line of its own");
}

/// With a newline, an escape sequence that clears the screen, one that sets the title, bytes that are not UTF-8, marks that
/// turn the direction of writing, and markup, in the names of mount points and of sources.
fn hostile() -> Namespace {
    let mut namespace = Namespace::new();
    namespace.run("mkdir /tmp/h && mount -t tmpfs h /tmp/h && mount --make-private /tmp/h");
    // Names come through a variable: what the shell is told is one line.
    for name in [
        "a\\nevil line",
        "\\033[2J",
        "\\033]0;title\\007",
        "\\377\\376",
        "\\342\\200\\256gnp",
        "<script>alert(1)",
        "%s%n",
    ] {
        namespace.run(&format!(
            "dir=$(printf '/tmp/h/%b.' '{name}') && mkdir \"$dir\" && mount -t tmpfs \"$(printf '%b' '{name}')\" \"$dir\""
        ));
    }
    namespace
}

#[test]
fn names_do_not_get_through() {
    if !is_root("names_do_not_get_through") {
        return;
    }
    let mut namespace = hostile();
    namespace.run("printf '\\033[31mevil' > /proc/$$/comm");
    let target = format!("ns:{}", namespace.number());
    for format in ["table", "wide", "tree", "json", "yaml", "name", "+fsroot,source,unique-id"] {
        for which in [target.as_str(), "-A"] {
            let ran = run_in_time(&["mounts", which, "-o", format]);
            assert_eq!(ran.status, 0, "{ran:?}");
            assert_harmless(format, &ran.stdout);
            assert_harmless(format, &ran.stderr);
        }
    }
    let document = run_in_time(&["mounts", &target, "-o", "json", "-T", "/tmp/h"]);
    let document: Value = serde_json::from_str(&document.stdout).unwrap();
    assert_eq!(document["namespaces"][0]["mounts"].as_array().unwrap().len(), 8);
    // What is taken away is the same, and comes back.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("node").to_str().unwrap().to_owned();
    assert_eq!(run_in_time(&["snapshot", "-o", &file]).status, 0);
    assert_harmless("snapshot", &std::fs::read_to_string(&file).unwrap());
    let offline = run_in_time(&["mounts", &target, "--snapshot", &file, "-T", "/tmp/h"]);
    assert_eq!(offline.stdout, run_in_time(&["mounts", &target, "-T", "/tmp/h"]).stdout);
    namespace.run("for dir in /tmp/h/*; do umount \"$dir\"; done");
    let diff = run_in_time(&["diff", &file]);
    assert_eq!(diff.status, 1, "{diff:?}");
    assert!(diff.stdout.contains("\\x1b[2J"), "{diff:?}");
    assert_harmless("diff", &diff.stdout);
}

/// A source, which may hold slashes, that would end a page's script and begin an image.
const MARKUP: &str = "</script><img src=x onerror=alert(1)>";

#[test]
fn pictures_findings_and_answers_are_not_injected_into() {
    if !is_root("pictures_findings_and_answers_are_not_injected_into") {
        return;
    }
    let mut namespace = hostile();
    namespace
        .run(&format!("mkdir /tmp/h/m && mount -t tmpfs '{MARKUP}' /tmp/h/m && mount --make-rshared /tmp/h"));
    // Tied to each other, so that they are drawn; and on top of each other, so that they are found.
    let mut receiver = namespace.copy("slave");
    receiver.run("printf '\\033[31mevil<img>' > /proc/$$/comm");
    namespace.run("for n in 1 2 3 4; do for dir in /tmp/h/*; do mount --bind \"$dir\" \"$dir\"; done; done");
    let [from, into] = [&namespace, &receiver].map(|one| format!("ns:{}", one.number()));
    let mut seen = String::new();
    for args in [
        &["graph", &from, &into, "--all", "--host", &from, "-o", "text"][..],
        &["graph", &from, &into, "--all", "--host", &from, "-o", "svg"],
        &["graph", &from, &into, "--all", "--host", &from, "-o", "html"],
        &["graph", &from, &into, "--all", "--host", &from, "-o", "json"],
        &["audit", &from, &into, "--host", &from, "-o", "text"],
        &["audit", &from, &into, "--host", &from, "-o", "json"],
        &["audit", &from, &into, "--host", &from, "-o", "sarif"],
        &["why", "/tmp/h/m", "--from", &from, "--in", &into],
        &["why", "/tmp/h/m", "--from", &from, "--in", &into, "-o", "json"],
        &["why-busy", "/tmp/h", "--in", &from],
        &["why-busy", "/tmp/h", "--in", &from, "-o", "yaml"],
    ] {
        let ran = run_in_time(args);
        assert!((0..=1).contains(&ran.status), "{args:?}: {ran:?}");
        assert_harmless(&args.join(" "), &ran.stdout);
        assert_harmless(&args.join(" "), &ran.stderr);
        let is_page = args.last().is_some_and(|format| ["svg", "html"].contains(format));
        if is_page {
            assert!(!ran.stdout.contains("<img"), "{args:?}");
            let count = |tag: &str| ran.stdout.matches(tag).count();
            assert_eq!(count("<script"), count("</script"), "{args:?}");
            assert!(count("<script") <= 1, "{args:?}");
        }
        seen.push_str(&ran.stdout);
    }
    assert!(seen.contains("img src"), "the name is in what was printed, as text");
}

#[test]
fn a_watch_is_not_injected_into() {
    if !is_root("a_watch_is_not_injected_into") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for format in ["text", "json"] {
        let said = folder.path().join(format);
        let out = std::fs::File::create(&said).unwrap();
        let mut watch = rhizome(&["watch", "-o", format]).stdout(out).stderr(Stdio::null()).spawn().unwrap();
        let mut namespace = Namespace::new();
        let deadline = Instant::now() + LIMIT;
        // It may not watch yet when the first ones are mounted.
        let text = loop {
            let name = "'\\nevil \\033[2J<img>'";
            namespace.run(&format!(
                "dir=$(printf '/tmp/%b.' {name}) && mkdir -p \"$dir\" && mount -t tmpfs \"$(printf '%b' {name})\" \"$dir\""
            ));
            // Long enough to be read.
            std::thread::sleep(Duration::from_secs(1));
            namespace.run("umount \"$dir\"");
            let text = String::from_utf8(std::fs::read(&said).unwrap()).expect("UTF-8");
            if text.contains("<img>") && text.ends_with('\n') {
                break text;
            }
            assert!(Instant::now() < deadline, "{text}");
        };
        watch.kill().unwrap();
        watch.wait().unwrap();
        assert_harmless(format, &text);
    }
}

#[test]
fn ten_thousand_mounts() {
    if !is_root("ten_thousand_mounts") {
        return;
    }
    let mut namespace = hostile();
    // Each copies the tree into itself: 8 mounts become 16,384.
    for step in 0..11 {
        namespace.run(&format!("mkdir /tmp/h/r{step} && mount --rbind /tmp/h /tmp/h/r{step}"));
    }
    let target = format!("ns:{}", namespace.number());
    let count = |ran: &Ran| ran.stdout.lines().filter(|line| line.contains("/tmp/h")).count();
    for format in ["table", "tree", "json", "name"] {
        let ran = run_in_time(&["mounts", &target, "-o", format, "--no-headers"]);
        assert_eq!(ran.status, 0, "{format}");
        assert_harmless(format, &ran.stdout);
        match format {
            "name" => assert_eq!(ran.stdout.lines().count(), 1),
            "json" => drop(serde_json::from_str::<Value>(&ran.stdout).unwrap()),
            _ => assert!(count(&ran) > 10_000, "{format}: {}", count(&ran)),
        }
        // Deep trees are not indented for ever.
        assert!(ran.stdout.len() < 100 << 20, "{format}: {} bytes", ran.stdout.len());
    }
}

/// The whole machine is read while a container mounts and unmounts as fast as it can.
#[test]
fn churn_while_it_is_read() {
    if !is_root("churn_while_it_is_read") {
        return;
    }
    let (mut churning, still) = (Namespace::new(), Namespace::new());
    churning.run("mkdir /tmp/d && (while :; do mount -t tmpfs c /tmp/d; umount /tmp/d; done) & churn=$!");
    let target = format!("ns:{}", still.number());
    let expected = run_in_time(&["mounts", &target]).stdout;
    for _ in 0..5 {
        let all = run_in_time(&["mounts", "-A", "-o", "json"]);
        assert_eq!(all.status, 0, "{all:?}");
        assert_eq!(run_in_time(&["mounts", &target]).stdout, expected);
    }
    churning.run("kill $churn; wait $churn; true");
}
