//! The command line itself: help, exit statuses, where words go, readers that go away.

mod support;

use std::process::Stdio;
use support::{rhizome, run};

#[test]
fn version_and_help_are_data() {
    let version = run(&["--version"]);
    assert_eq!((version.status, version.stderr.as_str()), (0, ""));
    assert_eq!(version.stdout, format!("rhizome {}\n", env!("CARGO_PKG_VERSION")));
    for command in [
        &["--help"][..],
        &["run", "--help"],
        &["ps", "--help"],
        &["inspect", "--help"],
        &["exec", "--help"],
        &["logs", "--help"],
        &["stop", "--help"],
        &["rm", "--help"],
        &["image", "import", "--help"],
        &["image", "pull", "--help"],
        &["image", "inspect", "--help"],
        &["image", "prune", "--help"],
        &["unshare", "--help"],
        &["lint", "--help"],
        &["doctor", "--help"],
        &["simulate", "--help"],
    ] {
        let help = run(command);
        assert_eq!((help.status, help.stderr.as_str()), (0, ""), "{command:?}");
        assert!(help.stdout.contains("Examples:"), "{command:?} teaches by example");
        assert!(!help.stdout.contains('\x1b'), "{command:?} has no colours where nobody sees them");
        let longest = help.stdout.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(longest <= 100, "{command:?} has a line of {longest}");
    }
}

#[test]
fn wrong_use_is_2_and_says_so_on_standard_error() {
    for args in [
        &[][..],
        &["frobnicate"],
        &["run"],
        &["run", "--no-such-flag", "x.yaml"],
        &["run", "--validate=perhaps", "x.yaml"],
        &["ps", "-o", "xml"],
        &["exec"],
        &["rm"],
        &["lint"],
        &["lint", "--fix", "-"],
        &["lint", "no-such-file.yaml"],
        &["lint", "--explain", "no-such-rule"],
        &["rm", "--all", "pod"],
        &["simulate"],
        &["simulate", "--here", "--check", "-"],
        &["unshare", "--pid", "--propagation", "slave", "--", "true"],
        &["unshare", "--propagation", "unchanged", "--no-recursive", "--", "true"],
    ] {
        let ran = run(args);
        assert_eq!(ran.status, 2, "{args:?}: {ran:?}");
        assert_eq!(ran.stdout, "", "{args:?}");
        assert!(!ran.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn a_near_miss_is_suggested() {
    let ran = run(&["inspec", "a"]);
    assert!(ran.stderr.contains("inspect"), "{}", ran.stderr);
    let ran = run(&["run", "--detatch", "a"]);
    assert!(ran.stderr.contains("--detach"), "{}", ran.stderr);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child =
        rhizome(&["doctor", "-o", "json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    // 1 if it had nothing more to write: the answer on most machines.
    assert!(matches!(output.status.code(), Some(0 | 1)), "{:?}", output.status);
}

#[test]
fn a_full_disk_is_an_error() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let ran = support::ran(rhizome(&["doctor"]).stdout(full).output().unwrap());
    assert_eq!(
        (ran.status, ran.stderr.as_str()),
        (2, "error: writing to standard output: No space left on device\n")
    );
}

#[test]
fn doctor_reports_what_it_says() {
    let json = run(&["doctor", "-o", "json"]);
    let report: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(report["apiVersion"], "rhizome.dev/v1");
    let findings = report["findings"].as_array().unwrap();
    let problems = findings.iter().filter(|finding| finding["severity"] == "problem");
    assert_eq!(json.status, i32::from(problems.count() > 0));
    let text = run(&["doctor"]);
    assert_eq!(text.status, json.status);
    for finding in findings {
        assert!(finding["title"].as_str().is_some_and(|title| !title.is_empty()));
        assert!(
            finding["severity"] == "fine"
                || text.stdout.contains(&format!("[{}]", finding["id"].as_str().unwrap()))
        );
    }
}

#[test]
fn doctor_looks_at_the_root_that_is_meant() {
    let ran = run(&["--root", "/proc/nowhere", "doctor", "-o", "json"]);
    assert!(ran.stdout.contains("/proc/nowhere/lib"), "{}", ran.stdout);
    let by_environment =
        rhizome(&["doctor", "-o", "json"]).env("RHIZOME_ROOT", "/proc/nowhere").output().unwrap();
    assert_eq!(ran.stdout, String::from_utf8(by_environment.stdout).unwrap());
}

#[test]
fn a_mistyped_root_is_not_made() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("tpyo");
    for command in [&["ps"][..], &["inspect", "a"], &["rm", "-f", "a"], &["stop", "a"], &["logs", "a"]] {
        let ran = run(&[&["--root", root.to_str().unwrap()], command].concat());
        assert_eq!((ran.status, ran.stdout.as_str()), (2, ""), "{command:?}");
        let expected = format!("error: the root {} does not exist\nhint: ", root.display());
        assert!(ran.stderr.starts_with(&expected), "{command:?}: {}", ran.stderr);
    }
    assert!(!root.exists());
}
