//! Completions in a real shell, and man pages.

mod support;
#[path = "support/world.rs"]
mod world;

use std::process::Command;
use support::{ran, run, skipped};
use world::World;

/// What bash offers for a line; its last word is the one that is typed.
fn bash(world: &World, line: &[&str]) -> Vec<String> {
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_rhizome"));
    let script = r#"
        source <(rhizome completions bash)
        function=$(complete -p rhizome | sed 's/.* -F \([^ ]*\) .*/\1/')
        COMP_WORDS=(rhizome "$@"); COMP_CWORD=$#; COMP_LINE="${COMP_WORDS[*]}"; COMP_POINT=${#COMP_LINE}; COMP_TYPE=9
        $function rhizome "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let path = format!("{}:{}", binary.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("bash");
    command
        .args(["--norc", "-c", script, "bash"])
        .args(line)
        .env("PATH", path)
        .env("RHIZOME_ROOT", world.root());
    let ran = ran(command.output().unwrap());
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    ran.stdout.lines().map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect()
}

#[test]
fn bash_completes_pods_containers_and_images() {
    let name = "bash_completes_pods_containers_and_images";
    let Some(world) = World::isolated(name) else { return };
    if Command::new("bash").arg("--version").output().is_err() {
        return skipped(name, "no bash");
    }
    let pod = |name: &str, namespace: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  \
             terminationGracePeriodSeconds: 0\n  containers:\n  - {{name: main, image: busybox, command: [sleep, \"1000\"]}}\n  \
             - {{name: side, image: busybox, command: [sleep, \"1000\"]}}\n---\n"
        )
    };
    world.start(&(pod("mount-a", "default") + &pod("mount-b", "default") + &pod("else", "there")));
    assert_eq!(bash(&world, &["exec", "mou"]), ["mount-a", "mount-b"]);
    assert_eq!(bash(&world, &["logs", "mount-a/"]), ["mount-a/main", "mount-a/side"]);
    assert_eq!(
        bash(&world, &["-n", "there", "rm", ""])
            .iter()
            .filter(|name| !name.starts_with('-'))
            .collect::<Vec<_>>(),
        ["else"]
    );
    assert_eq!(bash(&world, &["-n", "t"]), ["there"]);
    assert_eq!(bash(&world, &["cp", "mount-b/s"]), ["mount-b/side:"]);
    assert_eq!(bash(&world, &["image", "inspect", "docker.io/"]), ["docker.io/library/busybox:latest"]);
    assert_eq!(bash(&world, &["detach"]), ["detach-mounts"]);
    assert!(bash(&world, &["logs", "--t"]).starts_with(&["--tail".to_owned(), "--timestamps".to_owned()]));
    let _ = world.run(&["-n", "there", "rm", "-fa"]);
}

#[test]
fn every_shell_and_every_page() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&["completions", shell]);
        assert!(script.status == 0 && script.stdout.contains("COMPLETE"), "{script:?}");
    }
    assert_eq!(run(&["completions", "csh"]).status, 2);
    let page = run(&["man"]);
    assert!(page.status == 0 && page.stdout.contains(".TH rhizome 1"), "{page:?}");
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    let written = run(&["man", pages.to_str().unwrap()]);
    assert_eq!((written.status, written.stdout.as_str()), (0, ""), "{written:?}");
    for page in ["rhizome.1", "rhizome-run.1", "rhizome-detach-mounts.1", "rhizome-image-pull.1"] {
        let text = std::fs::read_to_string(pages.join(page)).unwrap();
        assert!(text.contains("Examples:") && text.contains(".SH OPTIONS"), "{page}");
    }
    // What is hidden is no page.
    assert!(!pages.join("rhizome-supervise.1").exists());
}
