//! `rhizome why`, `why-not`, `why-busy`, `audit` and `mend` on the running kernel: the cases in `tests/cases/why`.

#[path = "support/scenario.rs"]
mod scenario;
mod support;

use scenario::{World, cases};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use support::is_root;

/// Runs the cases of a file; `RHIZOME_CASE` names the beginning of those that are wanted.
fn group(name: &str, file: &str) {
    if !is_root(name) {
        return;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/why").join(file);
    let wanted = std::env::var("RHIZOME_CASE").unwrap_or_default();
    let mut failed = Vec::new();
    for case in cases(&path) {
        if !case.title.starts_with(&wanted) {
            continue;
        }
        let mut world = World::new();
        for (number, line) in &case.lines {
            if catch_unwind(AssertUnwindSafe(|| world.line(line))).is_err() {
                failed.push(format!("{}:{number}: {} ({line})", case.file, case.title));
                break;
            }
        }
    }
    assert!(failed.is_empty(), "\n{}", failed.join("\n"));
}

#[test]
fn a_source_not_shared() {
    group("a_source_not_shared", "a-source-not-shared.txt");
}

#[test]
fn b_node_in_a_container() {
    group("b_node_in_a_container", "b-node-in-a-container.txt");
}

#[test]
fn c_daemon_in_another_namespace() {
    group("c_daemon_in_another_namespace", "c-daemon-in-another-namespace.txt");
}

#[test]
fn f_frozen_view() {
    group("f_frozen_view", "f-frozen-view.txt");
}

#[test]
fn h_subpath() {
    group("h_subpath", "h-subpath.txt");
}

#[test]
fn k_user_namespaces() {
    group("k_user_namespaces", "k-user-namespaces.txt");
}

#[test]
fn m_wrong_reports() {
    group("m_wrong_reports", "m-wrong-reports.txt");
}

#[test]
fn d_stale_fuse() {
    group("d_stale_fuse", "d-stale-fuse.txt");
}

#[test]
fn e_pinned_copies() {
    group("e_pinned_copies", "e-pinned-copies.txt");
}

#[test]
fn g_emptydir_sidecars() {
    group("g_emptydir_sidecars", "g-emptydir-sidecars.txt");
}

#[test]
fn j_privileged() {
    group("j_privileged", "j-privileged.txt");
}

#[test]
fn l_csi_setup() {
    group("l_csi_setup", "l-csi-setup.txt");
}

#[test]
fn i_explosion() {
    group("i_explosion", "i-explosion.txt");
}

#[test]
fn n_audit() {
    group("n_audit", "n-audit.txt");
}

#[test]
fn o_busy() {
    group("o_busy", "o-busy.txt");
}

#[test]
fn every_cause_is_tried() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/why");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let all: Vec<scenario::Case> = files.flat_map(|path| cases(&path)).collect();
    assert!(all.len() >= 60, "{}", all.len());
    let lines: Vec<&str> = all.iter().flat_map(|case| &case.lines).map(|(_, line)| line.as_str()).collect();
    // What only a machine with other things than mounts has: loop devices, swap, very many mounts.
    let elsewhere = ["busy-loop-device", "busy-swap", "mount-count"];
    let rules = explain::why::RULES.iter().chain(explain::audit::RULES).chain(explain::busy::RULES);
    for rule in rules.filter(|rule| !elsewhere.contains(&rule.id)) {
        let tried = lines.iter().any(|line| {
            let words: Vec<&str> = scenario::condition(line).1.split_whitespace().collect();
            words.len() > 2 && ["cause", "finds"].contains(&words[1]) && words[2] == rule.id
        });
        assert!(tried, "no case expects {}", rule.id);
    }
}
