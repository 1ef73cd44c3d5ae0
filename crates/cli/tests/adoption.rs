//! Pods of an earlier version under this one. The earlier program is `RHIZOME_OLD`; `cargo xtask adopt` builds it.

mod support;
#[path = "support/world.rs"]
mod world;

use rustix::process::{Pid, Signal};
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::{Ran, ran, skipped};
use world::World;

/// A Pod that says a word a second, and ends when it is told to.
fn pod(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 5\n  containers:\n  \
         - {{name: main, image: busybox, stdin: true, command: [sh, -c, \"trap 'echo bye; exit 0' TERM; echo {name}; \
         while :; do sleep 0.1; done\"]}}\n---\n"
    )
}

/// A command of the earlier program, in this world.
fn old(program: &str, world: &World, args: &[&str], input: &str) -> Ran {
    let mut command = Command::new(program);
    command.arg("--root").arg(world.root()).args(args).env_remove("RHIZOME_ROOT");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    ran(child.wait_with_output().unwrap())
}

fn json(world: &World, pod: &str) -> serde_json::Value {
    serde_json::from_str(&world.run(&["inspect", pod, "-o", "json"]).stdout).unwrap()
}

fn container(world: &World, pod: &str) -> String {
    json(world, pod)["status"]["containerStatuses"][0]["containerID"].as_str().unwrap().to_owned()
}

/// The process that supervises a pod.
fn supervisor(world: &World, uid: &str) -> Option<Pid> {
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        let of_root =
            words.iter().any(|word| String::from_utf8_lossy(word).contains(world.root().to_str().unwrap()));
        if of_root && words.contains(&&b"supervise"[..]) && words.contains(&uid.as_bytes()) {
            return entry.file_name().to_str().and_then(|pid| Pid::from_raw(pid.parse().ok()?));
        }
    }
    None
}

#[test]
fn pods_of_an_earlier_version_go_on() {
    let name = "pods_of_an_earlier_version_go_on";
    let Ok(program) = std::env::var("RHIZOME_OLD") else {
        return skipped(name, "no earlier program in RHIZOME_OLD; cargo xtask adopt builds one");
    };
    let Some(world) = World::new(name, false) else { return };
    let manifest = pod("kept") + &pod("orphan") + &pod("forced");
    let started = old(&program, &world, &["run", "-d", "-"], &manifest);
    assert_eq!(
        (started.status, started.stdout.as_str()),
        (0, "pod/kept\npod/orphan\npod/forced\n"),
        "{started:?}"
    );
    world.remember_pods();
    // What is asked of every version.
    let list = world.run(&["ps", "--no-headers"]).stdout;
    let states: Vec<&str> = list.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
    assert_eq!(states, ["Running"; 3], "{list}");
    assert_eq!(world.run(&["logs", "kept"]).stdout, "kept\n");
    assert_eq!(world.run(&["exec", "kept", "--", "echo", "in"]).stdout, "in\n");
    assert_eq!(world.run(&["wait", "--for", "condition=Ready", "kept"]).status, 0);
    // What only later ones have works, or says what to do.
    let mut attach = world.command(&["attach", "-i", "kept"]);
    let mut attach =
        attach.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(2));
    if attach.try_wait().unwrap().is_none() {
        // It is attached, and would be until the container ends.
        attach.kill().unwrap();
    }
    let attached = ran(attach.wait_with_output().unwrap());
    let refused = attached.stderr.contains("which could not attach yet\nhint: `rhizome stop ");
    assert!(attached.stderr.is_empty() || attached.status == 2 && refused, "{attached:?}");
    // Its supervisor ends it, ours begins its next life.
    let stopped = world.run(&["stop", "kept"]);
    assert_eq!((stopped.status, stopped.stdout.as_str()), (0, "pod/kept stopped\n"), "{stopped:?}");
    assert_eq!(world.run(&["logs", "kept"]).stdout, "kept\nbye\n");
    let again = world.run(&["start", "kept"]);
    assert_eq!((again.status, again.stdout.as_str()), (0, "pod/kept started\n"), "{again:?}");
    // A supervisor that was killed: ours takes its container over, which runs on.
    let before = container(&world, "orphan");
    let uid = json(&world, "orphan")["metadata"]["uid"].as_str().unwrap().to_owned();
    rustix::process::kill_process(supervisor(&world, &uid).unwrap(), Signal::KILL).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while supervisor(&world, &uid).is_some() {
        assert!(Instant::now() < deadline);
    }
    let adopted = world.run(&["start", "orphan"]);
    assert_eq!((adopted.status, adopted.stdout.as_str()), (0, "pod/orphan started\n"), "{adopted:?}");
    assert_eq!(container(&world, "orphan"), before);
    assert_eq!(world.run(&["stop", "orphan"]).status, 0);
    assert_eq!(world.run(&["logs", "orphan"]).stdout, "orphan\nbye\n");
    let removed = world.run(&["rm", "-f", "forced", "orphan", "kept"]);
    assert_eq!((removed.status, removed.stderr.as_str()), (0, ""), "{removed:?}");
    world.assert_nothing_left();
}
