//! Completions in real shells, and man pages.

mod support;
#[path = "support/world.rs"]
mod world;

use std::process::Command;
use support::{ran, run, skipped};
use world::World;

/// A shell that has our completions, with ours first on the path and the world's root. What it prints is one offer a line.
fn offers(world: &World, mut shell: Command) -> Vec<String> {
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_rhizome"));
    let path = format!("{}:{}", binary.parent().unwrap().display(), std::env::var("PATH").unwrap());
    shell.env("PATH", path).env("RHIZOME_ROOT", world.root()).env("TERM", "xterm");
    let ran = ran(shell.output().unwrap());
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    ran.stdout.lines().map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect()
}

/// What bash offers for a line; its last word is the one that is typed.
fn bash(world: &World, line: &[&str]) -> Vec<String> {
    let script = r#"
        source <(rhizome completions bash)
        function=$(complete -p rhizome | sed 's/.* -F \([^ ]*\) .*/\1/')
        COMP_WORDS=(rhizome "$@"); COMP_CWORD=$#; COMP_LINE="${COMP_WORDS[*]}"; COMP_POINT=${#COMP_LINE}; COMP_TYPE=9
        $function rhizome "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let mut shell = Command::new("bash");
    shell.args(["--norc", "-c", script, "bash"]).args(line);
    offers(world, shell)
}

/// The same of fish, which can be asked; what is behind the tab is the help.
fn fish(world: &World, line: &[&str]) -> Vec<String> {
    let script = "rhizome completions fish | source; complete --do-complete \"rhizome $argv\"";
    let mut shell = Command::new("fish");
    shell.args(["--no-config", "-c", script, "--"]).args(line);
    let values = offers(world, shell).into_iter();
    values.map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect()
}

/// The same of zsh, which completes only in a terminal: a shell in one of its own (zpty) is typed to, puts all that
/// matches on its line, and writes the line down.
fn zsh(world: &World, line: &[&str]) -> Vec<String> {
    const STARTUP: &str = r#"
        autoload -Uz compinit && compinit -u -D
        source <(rhizome completions zsh)
        zstyle ':completion:all-matches::::' completer _all_matches _complete
        zstyle ':completion:all-matches:*' insert true
        zle -C all-matches complete-word _generic
        said() { print -rl -- ${(z)BUFFER} >$ZDOTDIR/said.new; mv $ZDOTDIR/said.new $ZDOTDIR/said }
        zle -N said
        bindkey -e; bindkey '^Xa' all-matches; bindkey '^G' said
        zle-line-init() { : >$ZDOTDIR/ready }
        zle -N zle-line-init
    "#;
    const SCRIPT: &str = r#"
        zmodload zsh/zpty
        zpty shell zsh -d -i
        wait_for() {
            repeat 1200; do
                [[ -e $ZDOTDIR/$1 ]] && return
                zpty -r -t shell output
                sleep 0.05
            done
            print -u2 "zsh is not $1: $output"
            exit 1
        }
        wait_for ready
        zpty -w -n shell "rhizome $*"$'\C-Xa\C-G'
        wait_for said
        tail -n +$(($# + 1)) $ZDOTDIR/said
        zpty -d shell
    "#;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(".zshrc"), STARTUP).unwrap();
    let mut shell = Command::new("zsh");
    shell.args(["-f", "-c", SCRIPT, "zsh"]).args(line).env("ZDOTDIR", folder.path());
    offers(world, shell)
}

fn is_installed(test: &str, shell: &str) -> bool {
    let there = Command::new(shell).arg("--version").output().is_ok();
    if !there {
        skipped(test, &format!("no {shell}"));
    }
    there
}

fn pod(name: &str, namespace: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  \
         terminationGracePeriodSeconds: 0\n  containers:\n  - {{name: main, image: busybox, command: [sleep, \"1000\"]}}\n  \
         - {{name: side, image: busybox, command: [sleep, \"1000\"]}}\n---\n"
    )
}

/// What must be offered whatever the shell.
fn completes(test: &str, name: &str, shell: fn(&World, &[&str]) -> Vec<String>) {
    let Some(world) = World::isolated(test) else { return };
    if !is_installed(test, name) {
        return;
    }
    world.start(&(pod("mount-a", "default") + &pod("mount-b", "default") + &pod("else", "there")));
    assert_eq!(shell(&world, &["exec", "mou"]), ["mount-a", "mount-b"]);
    assert_eq!(shell(&world, &["logs", "mount-a/"]), ["mount-a/main", "mount-a/side"]);
    assert_eq!(shell(&world, &["-n", "there", "rm", "e"]), ["else"]);
    assert_eq!(shell(&world, &["-n", "t"]), ["there"]);
    assert_eq!(shell(&world, &["cp", "mount-b/s"]), ["mount-b/side:"]);
    assert_eq!(shell(&world, &["image", "inspect", "docker.io/"]), ["docker.io/library/busybox:latest"]);
    assert_eq!(shell(&world, &["detach"]), ["detach-mounts"]);
    assert!(shell(&world, &["logs", "--t"]).starts_with(&["--tail".to_owned(), "--timestamps".to_owned()]));
    let _ = world.run(&["-n", "there", "rm", "-fa"]);
}

#[test]
fn bash_completes_pods_containers_and_images() {
    completes("bash_completes_pods_containers_and_images", "bash", bash);
}

#[test]
fn zsh_completes_pods_containers_and_images() {
    completes("zsh_completes_pods_containers_and_images", "zsh", zsh);
}

#[test]
fn fish_completes_pods_containers_and_images() {
    completes("fish_completes_pods_containers_and_images", "fish", fish);
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
