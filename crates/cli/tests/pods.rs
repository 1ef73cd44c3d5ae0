//! Pods from the command line to the kernel and back.

mod support;
#[path = "support/world.rs"]
mod world;

use rustix::process::{Pid, Signal};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::{Ran, skipped};
use world::World;

/// A Pod of one container, which runs a shell script.
fn pod(name: &str, script: &str, restart: &str, grace: u32) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  restartPolicy: {restart}\n  \
         terminationGracePeriodSeconds: {grace}\n  containers:\n  - name: main\n    image: busybox\n    \
         command: [sh, -c, {script:?}]\n---\n"
    )
}

/// A Pod that runs until it is told to stop, which it does at once, with 0.
fn service(name: &str) -> String {
    pod(name, "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.1; done", "Always", 10)
}

/// A Pod with the world's volume at /home.
fn with_volume(world: &World, name: &str, propagation: &str) -> String {
    let privileged = propagation == "Bidirectional";
    let volume = world.volume();
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 0\n  \
         containers:\n  - name: main\n    image: busybox\n    command: [sleep, \"1000\"]\n    \
         securityContext: {{privileged: {privileged}}}\n    \
         volumeMounts: [{{name: v, mountPath: /home, mountPropagation: {propagation}}}]\n  \
         volumes: [{{name: v, hostPath: {{path: {}}}}}]\n---\n",
        volume.display()
    )
}

/// Without the notes, which tell of the mounts of an isolated root.
fn without_notes(ran: &Ran) -> String {
    ran.stderr.lines().filter(|line| !line.starts_with("note: ")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_foreground_shows_logs_and_gives_the_first_failures_status() {
    let name = "the_foreground_shows_logs_and_gives_the_first_failures_status";
    let Some(world) = World::isolated(name) else { return };
    let good = world.file("good.yaml", &pod("good", "echo one; printf two", "Never", 1));
    let bad = pod("failing", "echo out; echo err >&2; exit 3", "Never", 1);
    let ran = world.run_with_input(&world.run_args(&[&good, "-"]), bad.as_bytes());
    assert_eq!((ran.status, without_notes(&ran).as_str()), (3, ""), "{ran:?}");
    let mut lines: Vec<&str> = ran.stdout.lines().collect();
    lines.sort_unstable();
    let expected = ["failing/main | err", "failing/main | out", "good/main    | one", "good/main    | two"];
    assert_eq!(lines, expected);
    world.assert_nothing_left();
}

#[test]
fn detached_pods_live_without_us() {
    let Some(world) = World::isolated("detached_pods_live_without_us") else { return };
    let both = service("a") + &service("b");
    let ran = world.run_with_input(&world.run_args(&["-d", "-"]), both.as_bytes());
    assert_eq!((ran.status, ran.stdout.as_str()), (0, "pod/a\npod/b\n"), "{ran:?}");
    world.remember_pods();

    let list = world.run(&["ps"]);
    let lines: Vec<&str> = list.stdout.lines().collect();
    assert_eq!(
        lines[0].split_whitespace().collect::<Vec<_>>(),
        ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    );
    assert_eq!(lines[1].split_whitespace().collect::<Vec<_>>()[..4], ["a", "1/1", "Running", "0"]);
    assert_eq!(world.run(&["ps", "-o", "name"]).stdout, "pod/a\npod/b\n");
    let object: serde_json::Value =
        serde_json::from_str(&world.run(&["inspect", "pod/a", "-o", "json"]).stdout).unwrap();
    assert_eq!(object["kind"], "Pod");
    assert_eq!(object["status"]["phase"], "Running");
    assert_eq!(object["status"]["containerStatuses"][0]["ready"], true);
    assert!(world.run(&["inspect", "a"]).stdout.starts_with("apiVersion: v1\nkind: Pod\nmetadata:\n"));

    let taken = world.run_with_input(&world.run_args(&["-d", "-"]), service("a").as_bytes());
    assert_eq!((taken.status, taken.stdout.as_str()), (1, ""));
    assert!(taken.stderr.starts_with("error: pods \"a\" already exists\n"), "{}", taken.stderr);

    let refused = world.run(&["rm", "a"]);
    assert_eq!((refused.status, refused.stdout.as_str()), (1, ""));
    assert!(refused.stderr.starts_with("error: pod \"a\" is running\nhint: "), "{}", refused.stderr);
    let stopped = world.run(&["stop", "a"]);
    assert_eq!((stopped.status, stopped.stdout.as_str()), (0, "pod/a stopped\n"), "{stopped:?}");
    assert_eq!(world.run(&["ps", "-o", "name"]).stdout, "pod/b\n");
    assert_eq!(world.run(&["ps", "-a", "-o", "name"]).stdout, "pod/a\npod/b\n");
    assert_eq!(world.run(&["logs", "a"]).stdout, "ready\nbye\n");
    let again = world.run(&["start", "a"]);
    assert_eq!((again.status, again.stdout.as_str()), (0, "pod/a started\n"), "{again:?}");
    assert_eq!(world.run(&["ps", "-o", "name"]).stdout, "pod/a\npod/b\n");
    let removed = world.run(&["rm", "-f", "a", "nosuch", "b"]);
    assert_eq!(
        (removed.status, removed.stdout.as_str()),
        (0, "pod/a removed\npod/b removed\n"),
        "{removed:?}"
    );
    let missing = world.run(&["rm", "a"]);
    assert_eq!((missing.status, missing.stderr.as_str()), (1, "error: pods \"a\" not found\n"));
    world.assert_nothing_left();
}

#[test]
fn exec_carries_everything_both_ways() {
    let Some(world) = World::isolated("exec_carries_everything_both_ways") else { return };
    world.start(&service("a"));
    let exec = |args: &[&str]| world.run(&[&["exec"], args].concat());
    let cases: [(&[&str], i32, &str, &str); 9] = [
        (&["a", "--", "sh", "-c", "echo out; echo err >&2; exit 7"], 7, "out\n", "err\n"),
        (&["pod/a/main", "--", "hostname"], 0, "a\n", ""),
        (&["a", "-c", "main", "--", "id", "-u"], 0, "0\n", ""),
        (&["a", "--", "sh", "-c", "kill -9 $$"], 137, "", ""),
        (&["a", "--", "nosuch"], 127, "", "error: exec: \"nosuch\": executable file not found in $PATH\n"),
        (&["a/x", "--", "id"], 1, "", "error: container x is not valid for pod a out of: main\n"),
        (&["nosuch", "--", "id"], 1, "", "error: pods \"nosuch\" not found\n"),
        (&["a"], 2, "", "error: you must specify at least one command for the container\n"),
        (
            &["-it", "a", "--", "echo", "hi"],
            0,
            "hi\n",
            "Unable to use a TTY - input is not a terminal or the right kind of file\n",
        ),
    ];
    for (args, status, stdout, stderr) in cases {
        let ran = exec(args);
        assert_eq!(
            (ran.status, ran.stdout.as_str(), ran.stderr.as_str()),
            (status, stdout, stderr),
            "{args:?}"
        );
    }
    // The article's form.
    let old = exec(&["a", "sh", "-c", "echo $#", "--", "x"]);
    assert_eq!((old.status, old.stdout.as_str()), (0, "1\n"), "{old:?}");
    assert_eq!(old.stderr.lines().count(), 1, "{old:?}");
    assert!(old.stderr.starts_with("warning: exec POD COMMAND is deprecated"), "{old:?}");

    let bytes: Vec<u8> = (0..300_000_u32).map(|n| (n % 10) as u8 + b'0').collect();
    let echoed = world.run_with_input(&["exec", "-i", "a", "--", "cat"], &bytes);
    assert_eq!(echoed.status, 0);
    assert!(echoed.stdout.as_bytes() == bytes);
    // Without -i nothing is read.
    let silent = world.run_with_input(&["exec", "a", "--", "cat"], b"x");
    assert_eq!((silent.status, silent.stdout.as_str()), (0, ""));
}

#[test]
fn exec_passes_signals_on() {
    let Some(world) = World::isolated("exec_passes_signals_on") else { return };
    world.start(&service("a"));
    let script = "trap 'echo got; exit 5' TERM; echo ready; while :; do sleep 0.1; done";
    let mut child =
        world.command(&["exec", "a", "--", "sh", "-c", script]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().as_deref(), Some("ready"));
    rustix::process::kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(lines.next().as_deref(), Some("got"));
    assert_eq!(child.wait().unwrap().code(), Some(5));
}

#[test]
fn exec_on_a_terminal() {
    let name = "exec_on_a_terminal";
    let Some(world) = World::isolated(name) else { return };
    if Command::new("script").arg("--version").output().is_err() {
        return skipped(name, "no script(1), which makes a terminal");
    }
    world.start(&service("a"));
    let exec =
        format!("{} --root {} exec -it a -- sh", env!("CARGO_BIN_EXE_rhizome"), world.root().display());
    // What the terminal is before and after, as the shell that has it sees it.
    let script = format!("stty rows 33 cols 77; stty -g; {exec}; echo status=$?; stty -g");
    let mut child = Command::new("script")
        .args(["-qec", &script, "/dev/null"])
        .env("SHELL", "/bin/sh")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut before = String::new();
    output.read_line(&mut before).unwrap();
    input.write_all(b"tty; stty size; exit 3\n").unwrap();
    let rest: Vec<String> = output.lines().map(|line| line.unwrap().trim_end().to_owned()).collect();
    assert!(child.wait().unwrap().success());
    let has = |wanted: &str| rest.iter().any(|line| line == wanted);
    assert!(has("/dev/pts/0") && has("33 77") && has("status=3"), "{rest:?}");
    assert_eq!(rest.last().map(String::as_str), Some(before.trim_end()), "{rest:?}");
}

/// Runs in the foreground until the pod says that it is ready, and sends signals to us alone, half a second apart.
fn signalled(world: &World, manifest: &str, signals: &[Signal]) -> (i32, String, Duration) {
    let file = world.file("pod.yaml", manifest);
    let mut child = world
        .command(&world.run_args(&[&file]))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().as_deref(), Some("a/main | ready"));
    world.remember_pods();
    let begun = Instant::now();
    for signal in signals {
        rustix::process::kill_process(Pid::from_child(&child), *signal).unwrap();
        std::thread::sleep(Duration::from_millis(500));
    }
    let rest: String = lines.map(|line| line + "\n").collect();
    (child.wait().unwrap().code().unwrap(), rest, begun.elapsed())
}

#[test]
fn a_signal_stops_and_removes_all_of_it() {
    let Some(world) = World::isolated("a_signal_stops_and_removes_all_of_it") else { return };
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let (status, rest, _) = signalled(&world, &service("a"), &[signal]);
        assert_eq!((status, rest.as_str()), (0, "a/main | bye\n"), "{signal:?}");
        world.assert_nothing_left();
    }
}

#[test]
fn a_second_signal_kills() {
    let Some(world) = World::isolated("a_second_signal_kills") else { return };
    let stubborn = pod("a", "trap '' TERM; echo ready; while :; do sleep 0.1; done", "Always", 120);
    let (status, _, took) = signalled(&world, &stubborn, &[Signal::INT, Signal::INT]);
    assert_eq!(status, 137);
    assert!(took < Duration::from_secs(60), "{took:?}");
    world.assert_nothing_left();
}

#[test]
fn the_articles_volumes() {
    let Some(world) = World::isolated("the_articles_volumes") else { return };
    let manifest = with_volume(&world, "none", "None")
        + &with_volume(&world, "follows", "HostToContainer")
        + &with_volume(&world, "shares", "Bidirectional");
    world.start(&manifest);
    let volume = world.volume().display().to_string();
    let sees = |pod: &str, place: &str| {
        let ran = world.run(&["exec", pod, "--", "sh", "-c", &format!("test -e /home/{place}/in")]);
        assert!(ran.status <= 1, "{ran:?}");
        ran.status == 0
    };
    let mount = |path: &str| format!("mkdir -p {path} && mount -t tmpfs none {path} && touch {path}/in");
    let host = world.on_host(&mount(&format!("{volume}/host")));
    assert_eq!(host.status, 0, "{host:?}");
    assert_eq!(["none", "follows", "shares"].map(|pod| sees(pod, "host")), [false, true, true]);
    let inside = world.run(&["exec", "shares", "--", "sh", "-c", &mount("/home/inside")]);
    assert_eq!(inside.status, 0, "{inside:?}");
    assert_eq!(["none", "follows", "shares"].map(|pod| sees(pod, "inside")), [false, true, true]);
    assert_eq!(world.on_host(&format!("test -e {volume}/inside/in")).status, 0);
    let down = world.on_host(&format!("umount {volume}/inside {volume}/host"));
    assert_eq!(down.status, 0, "{down:?}");
    assert_eq!(["none", "follows", "shares"].map(|pod| sees(pod, "inside")), [false; 3]);
    // What is left is named, with what would detach it.
    let left = world.run(&["exec", "shares", "--", "sh", "-c", "mount -t tmpfs none /home/inside"]);
    assert_eq!(left.status, 0, "{left:?}");
    let stopped = world.run(&["stop", "shares"]);
    let keeper = world.keeper().unwrap();
    let command = format!(
        "nsenter --target {keeper} --mount sh -c 'mount --make-rprivate {volume}/inside && umount {volume}/inside'\n"
    );
    assert!(stopped.stderr.starts_with("note: ") && stopped.stderr.ends_with(&command), "{stopped:?}");
    let inspected = world.run(&["inspect", "shares"]);
    assert!(inspected.stdout.contains(&format!("rhizome.dev/left-mounts: '[\"{volume}/inside\"]'\n")));
    world.remember_pods();
    let removed = world.run(&["rm", "-fa"]);
    assert_eq!(removed.stdout, "pod/follows removed\npod/none removed\npod/shares removed\n");
    assert_eq!(removed.stderr, "", "what was mounted has gone with the root's own mounts");
    world.assert_nothing_left();
    assert_eq!(world.keeper(), None);
}

#[test]
fn what_is_made_for_a_pod_is_told() {
    let Some(world) = World::isolated("what_is_made_for_a_pod_is_told") else { return };
    let manifest = |name: &str, missing: &str| {
        let pod = pod(name, "test -d /home", "Never", 1).replace("\n---\n", "\n");
        let path = world.volume().join(missing).display().to_string();
        let mounts = "    volumeMounts: [{name: v, mountPath: /home}]\n";
        format!("{pod}{mounts}  volumes: [{{name: v, hostPath: {{path: {path}}}}}]\n---\n")
    };
    let both =
        [("one", "missing/one"), ("two", "missing/two")].map(|(name, path)| manifest(name, path)).concat();
    let told = |ran: &Ran, name: &str| {
        let path = world.volume().join("missing").join(name).display().to_string();
        let says = |line: &&str| {
            line.starts_with(&format!(
                "warning: pod {name}: hostPath {path} was missing and is now an empty directory"
            ))
        };
        let stays =
            |line: &&str| line.contains("an isolated root has mounts of its own, not files: it stays");
        ran.stderr.lines().filter(says).filter(stays).count()
    };
    let ran = world.run_with_input(&world.run_args(&["-"]), both.as_bytes());
    assert_eq!((ran.status, told(&ran, "one"), told(&ran, "two")), (0, 1, 1), "{ran:?}");
    std::fs::remove_dir_all(world.volume().join("missing")).unwrap();
    let detached = world.run_with_input(&world.run_args(&["-d", "-"]), both.as_bytes());
    assert_eq!((detached.status, told(&detached, "one"), told(&detached, "two")), (0, 1, 1), "{detached:?}");
    world.remember_pods();
    world.run(&["rm", "-fa"]);
    world.assert_nothing_left();
}

#[test]
fn a_killed_keeper_is_replaced() {
    let Some(world) = World::isolated("a_killed_keeper_is_replaced") else { return };
    world.start(&with_volume(&world, "a", "Bidirectional"));
    let volume = world.volume().display().to_string();
    let first = world.keeper().unwrap();
    assert_eq!(world.on_host(&format!("mount -t tmpfs none {volume}")).status, 0);
    let pid = Pid::from_raw(first as i32).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
    while world.keeper().is_some() {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(world.run(&["ps", "-o", "name"]).stdout, "pod/a\n");
    let second = world.keeper().unwrap();
    assert_ne!(second, first);
    assert_eq!(
        world.on_host(&format!("grep -q ' {volume} ' /proc/self/mountinfo")).status,
        0,
        "the same mounts"
    );
    world.remember_pods();
    assert_eq!(world.run(&["rm", "-f", "a"]).status, 0);
    world.assert_nothing_left();
    assert_eq!(world.keeper(), None);
}

#[test]
fn a_command_that_is_killed_leaves_what_rm_removes() {
    let Some(world) = World::isolated("a_command_that_is_killed_leaves_what_rm_removes") else { return };
    let file = world.file("pod.yaml", &service("a"));
    for after_ms in [2, 5, 10, 15, 20, 30, 40, 60, 90, 130] {
        let mut child = world.command(&world.run_args(&["-d", &file])).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(after_ms));
        child.kill().unwrap();
        child.wait().unwrap();
        world.remember_pods();
        let removed = world.run(&["rm", "-fa"]);
        assert_eq!((removed.status, removed.stderr.as_str()), (0, ""), "killed after {after_ms} ms");
        world.assert_nothing_left();
    }
}

#[test]
fn a_source_that_is_not_shared_is_refused_with_the_mend() {
    let name = "a_source_that_is_not_shared_is_refused_with_the_mend";
    let Some(world) = World::new(name, false) else { return };
    let file = world.file("pod.yaml", &with_volume(&world, "a", "HostToContainer"));
    let root = world.root().to_str().unwrap().to_owned();
    // In a copy of the mounts in which all is private.
    let binary = env!("CARGO_BIN_EXE_rhizome");
    let ran = support::run(&["unshare", "--", binary, "--root", &root, "run", "-d", &file]);
    assert_eq!(ran.status, 1, "{ran:?}");
    let words = "error: pod a: container main: CreateContainerError: path";
    assert!(ran.stderr.contains(words), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("but it is not a shared or slave mount\nhint: make a shared mount of"),
        "{}",
        ran.stderr
    );
    world.assert_nothing_left();
}

#[test]
fn pods_outside_keep_a_root_from_being_isolated() {
    let Some(world) = World::new("pods_outside_keep_a_root_from_being_isolated", false) else { return };
    world.start(&service("a"));
    let file = world.file("b.yaml", &service("b"));
    let ran = world.run(&["run", "-d", "--isolated", &file]);
    assert_eq!((ran.status, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.starts_with("error: this root has pods already"), "{}", ran.stderr);
    world.remember_pods();
    assert_eq!(world.run(&["rm", "-f", "a"]).status, 0);
    world.assert_nothing_left();
}

#[test]
fn a_reader_that_goes_away_leaves_no_pod() {
    let Some(world) = World::isolated("a_reader_that_goes_away_leaves_no_pod") else { return };
    let file = world.file("pod.yaml", &pod("a", "while :; do echo x; sleep 0.01; done", "Always", 0));
    let mut child = world.command(&world.run_args(&[&file])).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    output.read_line(&mut String::new()).unwrap();
    drop(output);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    world.assert_nothing_left();
}

#[test]
fn a_layer_that_is_kept_is_told_once() {
    let Some(world) = World::isolated("a_layer_that_is_kept_is_told_once") else { return };
    let manifest = with_volume(&world, "stays", "None")
        + &with_volume(&world, "one", "Bidirectional")
        + &with_volume(&world, "two", "Bidirectional");
    world.start(&manifest);
    let bound =
        world.run(&["exec", "one", "--", "sh", "-c", "mkdir /home/of-one && mount --bind /bin /home/of-one"]);
    assert_eq!(bound.status, 0, "{bound:?}");
    let removed = world.run(&["rm", "-f", "one", "two"]);
    assert_eq!(removed.status, 0, "{removed:?}");
    let told =
        removed.stderr.lines().filter(|line| line.ends_with("stays until the mounts that show it are gone"));
    assert_eq!(told.count(), 1, "{removed:?}");
    assert_eq!(world.on_host(&format!("umount -l {}/of-one", world.volume().display())).status, 0);
    let last = world.run(&["rm", "-f", "stays"]);
    assert_eq!(last.status, 0, "{last:?}");
    world.assert_nothing_left();
}
