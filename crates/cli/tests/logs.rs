//! `rhizome logs`: runs, restarts, rotation, and what kubectl's flags choose.

mod support;
#[path = "support/world.rs"]
mod world;

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};
use world::World;

/// A Pod of containers that run a shell script each.
fn pod(name: &str, restart: &str, containers: &[(&str, &str)]) -> String {
    let container = |(name, script): &(&str, &str)| {
        format!("  - {{name: {name}, image: busybox, command: [sh, -c, {script:?}]}}\n")
    };
    let containers: String = containers.iter().map(container).collect();
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  restartPolicy: {restart}\n  \
         terminationGracePeriodSeconds: 0\n  containers:\n{containers}"
    )
}

/// Asks until the answer is this.
fn until(world: &World, args: &[&str], stdout: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while world.run(args).stdout != stdout {
        assert!(Instant::now() < deadline, "{:?}", world.run(args));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn logs_of_a_run() {
    let Some(world) = World::isolated("logs_of_a_run") else { return };
    let script = "for i in 1 2 3; do echo $i; done; while [ ! -e /go ]; do sleep 0.05; done; printf end";
    world.start(&pod("a", "Never", &[("main", script)]));
    until(&world, &["logs", "a"], "1\n2\n3\n");
    let mut follow =
        world.command(&["logs", "-f", "--tail", "2", "a"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!([lines.next(), lines.next()], [Some("2".to_owned()), Some("3".to_owned())]);
    assert_eq!(world.run(&["exec", "a", "--", "sh", "-c", ": > /go"]).status, 0);
    assert_eq!((lines.next(), lines.next()), (Some("end".to_owned()), None));
    assert!(follow.wait().unwrap().success());
    let out = |args: &[&str]| world.run(&[&["logs"], args].concat()).stdout;
    assert_eq!(out(&["a"]), "1\n2\n3\nend\n");
    assert_eq!(out(&["--tail", "1", "a/main"]), "end\n");
    assert_eq!(out(&["--tail=-1", "a", "-c", "main"]), "1\n2\n3\nend\n");
    assert_eq!(out(&["--tail", "0", "a"]), "");
    assert_eq!(out(&["--prefix", "--tail", "2", "pod/a"]), "[pod/a/main] 3\n[pod/a/main] end\n");
    assert_eq!(out(&["--limit-bytes", "5", "a"]), "1\n2\n3");
    assert_eq!(out(&["--since", "10m", "a"]), "1\n2\n3\nend\n");
    assert_eq!(out(&["--since", "0", "a"]), "");
    assert_eq!(out(&["--since-time", "2099-01-01T00:00:00Z", "a"]), "");
    let stamped = out(&["--timestamps", "a"]);
    let (times, text): (Vec<&str>, Vec<&str>) = stamped.lines().filter_map(|l| l.split_once(' ')).unzip();
    assert_eq!(text, ["1", "2", "3", "end"]);
    assert!(times.iter().all(|time| time.len() == "2026-01-01T00:00:00.000000000Z".len()), "{stamped}");
    // The time of a line is one of those since which it was written.
    assert_eq!(out(&["--since-time", times[3], "a"]), "end\n");
    let list = world.run(&["ps", "-a", "--no-headers"]).stdout;
    assert_eq!(list.split_whitespace().collect::<Vec<_>>()[..3], ["a", "0/1", "Completed"]);
}

#[test]
fn logs_of_several_containers() {
    let Some(world) = World::isolated("logs_of_several_containers") else { return };
    let two = [("c1", "echo one; echo err >&2; exec sleep 1000"), ("c2", "echo two")];
    world.start(
        &(pod("two", "Never", &two) + "---\n" + &pod("b", "Always", &[("main", "echo b; sleep 1000")])),
    );
    until(&world, &["logs", "two/c2"], "two\n");
    until(&world, &["logs", "b"], "b\n");
    let first = world.run(&["logs", "two"]);
    assert_eq!(first.stderr, "Defaulted container \"c1\" out of: c1, c2\n");
    let all = world.run(&["logs", "--all-containers", "--prefix", "two", "b"]);
    let mut lines: Vec<&str> = all.stdout.lines().collect();
    lines.sort_unstable();
    let expected = ["[pod/b/main] b", "[pod/two/c1] err", "[pod/two/c1] one", "[pod/two/c2] two"];
    assert_eq!((all.status, lines.as_slice()), (0, expected.as_slice()), "{all:?}");
    // A container that has ended for good is not waited for, though its pod runs.
    let over = world.run(&["logs", "-f", "two/c2"]);
    assert_eq!((over.status, over.stdout.as_str()), (0, "two\n"));
    let cases: [(&[&str], i32, &str); 6] = [
        (&["two", "-c", "x"], 1, "error: container x is not valid for pod two out of: c1, c2\n"),
        (&["nosuch"], 1, "error: pods \"nosuch\" not found\n"),
        (&["two/c1", "-p"], 1, "error: previous terminated container \"c1\" in pod \"two\" not found\n"),
        (&["--all-containers", "two/c1"], 2, "error: --all-containers, or container c1 of pod two?\n"),
        (&["b", "--since", "abc"], 2, "time: invalid duration \"abc\""),
        (&["b", "--tail", "-2"], 2, "-2 is not in -1.."),
    ];
    for (args, status, words) in cases {
        let ran = world.run(&[&["logs"], args].concat());
        assert_eq!((ran.status, ran.stdout.as_str()), (status, ""), "{args:?} {ran:?}");
        assert!(ran.stderr.contains(words), "{ran:?}");
    }
}

#[test]
fn following_goes_on_over_restarts_and_the_run_before_is_there() {
    let name = "following_goes_on_over_restarts_and_the_run_before_is_there";
    let Some(world) = World::isolated(name) else { return };
    // The first two runs fail, the third waits.
    let script = "n=$(ls /home | wc -l); echo run $n; [ $n -ge 2 ] && exec sleep 1000; : > /home/$n; exit 3";
    let manifest = pod("a", "Always", &[("main", script)]);
    let manifest = manifest
        .replace("image: busybox,", "image: busybox, volumeMounts: [{name: v, mountPath: /home}],")
        + "  volumes: [{name: v, emptyDir: {}}]\n";
    world.start(&manifest);
    let mut follow = world.command(&["logs", "-f", "a"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines().map(Result::unwrap);
    // It may have been started again before we ask.
    let first = lines.next().unwrap();
    if first == "run 0" {
        assert_eq!(lines.next().as_deref(), Some("run 1"));
    }
    // In the back-off, ten seconds, the run that ended is the one before too. Its words may be there before its end is.
    until(&world, &["logs", "-p", "a"], "run 1\n");
    assert_eq!(world.run(&["logs", "a"]).stdout, "run 1\n");
    assert_eq!(lines.next().as_deref(), Some("run 2"));
    until(&world, &["logs", "a"], "run 2\n");
    assert_eq!(world.run(&["logs", "-p", "a"]).stdout, "run 1\n");
    assert_eq!(world.run(&["stop", "a"]).status, 0);
    assert_eq!(lines.next(), None);
    assert!(follow.wait().unwrap().success());
}

#[test]
fn following_goes_on_over_rotation() {
    let Some(world) = World::isolated("following_goes_on_over_rotation") else { return };
    // Some 25 MiB with the times: the log is rotated twice.
    let script = "while [ ! -e /go ]; do sleep 0.05; done; seq 1 550000; while :; do sleep 1; done";
    world.start(&pod("a", "Always", &[("main", script)]));
    let mut follow = world.command(&["logs", "-f", "a"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(world.run(&["exec", "a", "--", "sh", "-c", ": > /go"]).status, 0);
    for number in 1..=550_000 {
        assert_eq!(lines.next(), Some(number.to_string()));
    }
    assert_eq!(world.run(&["logs", "--tail", "3", "a"]).stdout, "549998\n549999\n550000\n");
    let whole = world.run(&["logs", "a"]).stdout;
    assert!(whole.lines().eq((1..=550_000).map(|n| n.to_string())), "{}", whole.len());
    let uid = world.run(&["inspect", "a", "-o", "json"]).stdout;
    let uid: serde_json::Value = serde_json::from_str(&uid).unwrap();
    let logs = world.root().join("lib/pods").join(uid["metadata"]["uid"].as_str().unwrap()).join("logs/main");
    let mut names: Vec<_> =
        std::fs::read_dir(logs).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["0.log", "0.log.1", "0.log.2"]);
    assert_eq!(world.run(&["rm", "-f", "a"]).status, 0);
    assert_eq!(lines.next(), None);
    follow.wait().unwrap();
}
