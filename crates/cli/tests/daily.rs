//! `wait`, `top`, `events`, `run --replace`, `detach-mounts`.

mod support;
#[path = "support/world.rs"]
mod world;

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};
use support::Ran;
use world::World;

/// A Pod of one container that runs a shell script.
fn pod(name: &str, script: &str, restart: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  restartPolicy: {restart}\n  \
         terminationGracePeriodSeconds: 5\n  containers:\n  - {{name: main, image: busybox, command: [sh, -c, \
         {script:?}]}}\n---\n"
    )
}

const SLEEP: &str = "trap 'exit 0' TERM; echo up; while :; do sleep 0.1; done";

fn said(ran: &Ran) -> (i32, &str, &str) {
    (ran.status, &ran.stdout, &ran.stderr)
}

#[test]
fn wait_until_something_holds() {
    let Some(world) = World::isolated("wait_until_something_holds") else { return };
    world.start(&(pod("a", SLEEP, "Always") + &pod("b", SLEEP, "Always")));
    let wait = |args: &[&str]| world.run(&[&["wait"], args].concat());
    let ready = wait(&["--for", "condition=Ready", "a", "pod/b"]);
    assert_eq!(said(&ready), (0, "pod/a condition met\npod/b condition met\n", ""));
    let phase = wait(&["--for=jsonpath={.status.phase}=Running", "--all", "--timeout", "60s"]);
    assert_eq!(said(&phase), (0, "pod/a condition met\npod/b condition met\n", ""));
    let late = wait(&["--for=condition=Foo", "a", "--timeout=100ms"]);
    assert_eq!(said(&late), (1, "", "error: timed out waiting for the condition on pods/a\n"));
    let missing = wait(&["--for", "condition=Ready", "nosuch"]);
    assert_eq!(said(&missing), (1, "", "error: pods \"nosuch\" not found\n"));
    assert_eq!(said(&wait(&["--for=delete", "nosuch"])), (0, "", ""));
    let wrong = wait(&["--for=never", "a"]);
    assert!(wrong.status == 2 && wrong.stderr.contains("unrecognized condition: \"never\""), "{wrong:?}");
    // What changes while it is waited for.
    let waiting = |args: &[&str]| {
        world.command(&[&["wait", "--timeout=60s"], args].concat()).stdout(Stdio::piped()).spawn().unwrap()
    };
    let succeeded = waiting(&["--for=jsonpath={.status.phase}=Succeeded", "a"]);
    let created = waiting(&["--for=create", "c"]);
    let deleted = waiting(&["--for=delete", "b"]);
    assert_eq!(world.run(&["stop", "a"]).status, 0);
    world.start(&pod("c", "exit 0", "Never"));
    assert_eq!(world.run(&["rm", "-f", "b"]).status, 0);
    for (child, name) in [(succeeded, "a"), (created, "c"), (deleted, "b")] {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{name}");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("pod/{name} condition met\n"));
    }
}

#[test]
fn top_shows_what_containers_use() {
    let Some(world) = World::isolated("top_shows_what_containers_use") else { return };
    assert_eq!(said(&world.run(&["top"])), (0, "", "No running containers found in default namespace.\n"));
    // One that works, one that holds 32 MiB in its pipe-fed variable.
    let hold = "x=$(head -c 33554432 /dev/zero | tr '\\0' x); echo held; while :; do sleep 1; done";
    world.start(&(pod("busy", "while :; do :; done", "Always") + &pod("full", hold, "Always")));
    let deadline = Instant::now() + Duration::from_secs(120);
    while world.run(&["logs", "full"]).stdout != "held\n" {
        assert!(Instant::now() < deadline);
    }
    let top = |args: &[&str]| {
        let ran = world.run(&[&["top", "--no-headers", "--interval", "500ms"], args].concat());
        assert_eq!(ran.status, 0, "{ran:?}");
        let rows = ran.stdout.lines().map(|line| line.split_whitespace().map(str::to_owned).collect());
        rows.collect::<Vec<Vec<String>>>()
    };
    let number = |cell: &str, unit: &str| cell.strip_suffix(unit).unwrap().parse::<u64>().unwrap();
    let rows = top(&[]);
    assert_eq!((rows[0][0].as_str(), rows[1][0].as_str()), ("busy", "full"));
    // This machine may be busy with other things, so little is asked.
    assert!(number(&rows[0][1], "m") >= 50, "{rows:?}");
    assert!(number(&rows[1][1], "m") < number(&rows[0][1], "m"), "{rows:?}");
    assert!((32..200).contains(&number(&rows[1][2], "Mi")), "{rows:?}");
    assert!(number(&rows[0][2], "Mi") < 32, "{rows:?}");
    let one = top(&["--containers", "full"]);
    assert_eq!((one.len(), one[0][0].as_str(), one[0][1].as_str()), (1, "full", "main"));
    let header = world.run(&["top", "-A", "--interval", "0"]).stdout;
    assert_eq!(
        header.lines().next().unwrap().split_whitespace().collect::<Vec<_>>(),
        ["NAMESPACE", "NAME", "CPU(cores)", "MEMORY(bytes)"]
    );
    assert_eq!(world.run(&["top", "nosuch"]).status, 1);
}

#[test]
fn events_of_a_pod() {
    let Some(world) = World::isolated("events_of_a_pod") else { return };
    assert_eq!(said(&world.run(&["events"])), (0, "", "No events found in default namespace.\n"));
    world.start(&pod("a", SLEEP, "Always"));
    let events = world.run(&["events", "a"]);
    assert_eq!(events.status, 0);
    let first = events.stdout.lines().next().unwrap().split("   ").map(str::trim).filter(|c| !c.is_empty());
    assert_eq!(first.collect::<Vec<_>>(), ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]);
    let reason = |line: &str| line.split_whitespace().nth(2).unwrap().to_owned();
    let reasons: Vec<String> = events.stdout.lines().skip(1).map(reason).collect();
    for wanted in ["Created", "Started"] {
        assert!(reasons.iter().any(|is| is == wanted), "{events:?}");
    }
    assert!(events.stdout.contains("Pod/a"), "{events:?}");
    let document = world.run(&["events", "a", "-o", "json"]).stdout;
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["items"][0]["involvedObject"]["name"], "a");
    assert_eq!(said(&world.run(&["events", "--types", "warning", "a"])), (0, "", "No events found.\n"));
    // What comes is told when it comes.
    let mut watch =
        world.command(&["events", "-w", "--no-headers", "a"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!((0..reasons.len()).all(|_| lines.next().is_some()));
    assert_eq!(world.run(&["stop", "a"]).status, 0);
    assert_eq!(reason(&lines.next().unwrap()), "Killing");
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[test]
fn run_replaces_what_runs() {
    let Some(world) = World::isolated("run_replaces_what_runs") else { return };
    world.start(&pod("a", SLEEP, "Always"));
    let uid =
        || world.run(&["inspect", "a"]).stdout.lines().find(|l| l.contains(" uid: ")).unwrap().to_owned();
    let first = uid();
    let again = |manifest: &str| {
        world.run_with_input(&world.run_args(&["-d", "--replace", "-"]), manifest.as_bytes())
    };
    // Nothing goes unless the new one can come.
    let invalid = again(&pod("a", SLEEP, "Sometimes"));
    assert_eq!((invalid.status, uid()), (1, first.clone()), "{invalid:?}");
    let absent = again(
        &pod("a", SLEEP, "Always")
            .replace("image: busybox", "image: localhost:1/none, imagePullPolicy: Never"),
    );
    assert_eq!((absent.status, uid()), (1, first.clone()), "{absent:?}");
    let ran = again(&(pod("a", "echo new; sleep 1000", "Always") + &pod("b", SLEEP, "Always")));
    assert_eq!((ran.status, ran.stdout.as_str()), (0, "pod/a removed\npod/a\npod/b\n"), "{ran:?}");
    assert_ne!(uid(), first);
    let deadline = Instant::now() + Duration::from_secs(60);
    while world.run(&["logs", "a"]).stdout != "new\n" {
        assert!(Instant::now() < deadline);
    }
    world.remember_pods();
    assert_eq!(world.run(&["rm", "-fa"]).status, 0);
    world.assert_nothing_left();
}

#[test]
fn mounts_that_were_left_are_detached() {
    let Some(world) = World::isolated("mounts_that_were_left_are_detached") else { return };
    let volume = world.volume().display().to_string();
    let manifest = |name: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 0\n  \
             containers:\n  - {{name: main, image: busybox, command: [sleep, \"1000\"], securityContext: {{privileged: \
             true}}, volumeMounts: [{{name: v, mountPath: /home, mountPropagation: Bidirectional}}]}}\n  volumes: \
             [{{name: v, hostPath: {{path: {volume}}}}}]\n---\n"
        )
    };
    world.start(&(manifest("a") + &manifest("other")));
    let script = "mkdir /home/m; mount -t tmpfs none /home/m; mkdir /home/m/n; mount -t tmpfs none /home/m/n; \
                  mount -t tmpfs none /home/m/n";
    assert_eq!(world.run(&["exec", "a", "--", "sh", "-c", script]).status, 0);
    let running = world.run(&["detach-mounts", "a"]);
    assert_eq!((running.status, running.stdout.as_str()), (1, ""));
    assert!(running.stderr.starts_with("error: pod \"a\" is running\nhint: "), "{running:?}");
    assert_eq!(world.run(&["stop", "a"]).status, 0);
    let count = || world.on_host(&format!("grep -c ' {volume}/m' /proc/self/mountinfo")).stdout;
    assert_eq!(count(), "3\n");
    let dry = world.run(&["detach-mounts", "--dry-run", "a"]);
    let lines: Vec<&str> = dry.stdout.lines().collect();
    assert_eq!((dry.status, lines.len(), count().as_str()), (0, 3, "3\n"), "{dry:?}");
    assert!(lines.iter().all(|line| line.contains("mount --make-rprivate ")), "{dry:?}");
    let done = world.run(&["detach-mounts", "a"]);
    let expected = format!("{volume}/m/n detached\n{volume}/m/n detached\n{volume}/m detached\n");
    assert_eq!(said(&done), (0, expected.as_str(), ""));
    assert_eq!(count(), "0\n");
    // With it go the copies that it gave to others, as with every umount(8) at a shared place.
    let copies = world.run(&["exec", "other", "--", "grep", "-c", " /home/m", "/proc/self/mountinfo"]).stdout;
    assert_eq!(copies, "0\n");
    assert_eq!(said(&world.run(&["detach-mounts", "a"])), (0, "", ""));
}
