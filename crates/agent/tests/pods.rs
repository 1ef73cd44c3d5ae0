//! Pods, end to end: real supervisors, real containers with busybox in them, the client's verbs.
//!
//! Every case runs in a process of its own, in a mount namespace of its own, with a root of its own on a tmpfs. The
//! supervisors are this program too.

mod support;

use agent::Root;
use agent::client::{Client, ClientError, ForegroundEvent, PodRef, Progress};
use agent::lifecycle::{Current, Goal, Phase};
use agent::record::NewPod;
use rustix::mount::MountPropagationFlags;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use support::{Case, MINUTE, World, eventually, wait};
use sys::namespace::Namespaces;
use sys::process::{Child, exit, spawn};

fn main() -> ExitCode {
    if std::env::args().nth(1).is_some_and(|first| first == START) {
        return start_all(std::env::args_os().skip(2).map(PathBuf::from).collect());
    }
    support::main(CASES)
}

/// As a subcommand of this program: starts the pods of a root, so that their supervisors inherit its environment.
const START: &str = "start-pods";

fn start_all(root: Vec<PathBuf>) -> ExitCode {
    let [lib, run] = <[PathBuf; 2]>::try_from(root).expect("LIB RUN");
    let client = Client::open(&Root { lib, run }).expect("root");
    for view in client.list(None).expect("list").pods {
        client.start(&view.pod).expect("start");
    }
    ExitCode::SUCCESS
}

const CASES: &[Case] = &[
    ("a_pod_that_completes", a_pod_that_completes),
    ("a_pod_that_stays_is_stopped_and_removed", a_pod_that_stays_is_stopped_and_removed),
    ("two_containers_share_what_a_pod_shares", two_containers_share_what_a_pod_shares),
    ("a_container_is_restarted", a_container_is_restarted),
    ("a_pod_is_started_again", a_pod_is_started_again),
    ("what_cannot_start_is_said", what_cannot_start_is_said),
    ("volumes_reach_the_container", volumes_reach_the_container),
    ("one_name_one_pod", one_name_one_pod),
    ("the_foreground_shows_everything", the_foreground_shows_everything),
    ("a_killed_supervisor_leaves_the_truth", a_killed_supervisor_leaves_the_truth),
    ("a_killed_supervisors_pod_can_be_removed", a_killed_supervisors_pod_can_be_removed),
    ("a_container_outlives_its_supervisors_pipes", a_container_outlives_its_supervisors_pipes),
    ("another_supervisor_takes_over", another_supervisor_takes_over),
    ("another_supervisor_goes_on_with_a_stop", another_supervisor_goes_on_with_a_stop),
    ("a_mount_that_stays_is_named_and_keeps_its_layer", a_mount_that_stays_is_named_and_keeps_its_layer),
    ("a_user_namespace_and_every_volume", a_user_namespace_and_every_volume),
    ("what_must_not_be_root", what_must_not_be_root),
    ("what_is_ours_is_private", what_is_ours_is_private),
    ("a_container_that_fills_logs", a_container_that_fills_logs),
    ("a_terminal", a_terminal),
    ("a_supervisor_killed_while_it_makes_its_sandbox", a_supervisor_killed_while_it_makes_its_sandbox),
    ("supervisors_killed_at_any_moment", supervisors_killed_at_any_moment),
    ("commands_killed_at_any_moment", commands_killed_at_any_moment),
    ("commands_at_once_on_one_pod", commands_at_once_on_one_pod),
    ("a_stop_waits_for_the_run_that_it_ends", a_stop_waits_for_the_run_that_it_ends),
];

fn a_pod_that_completes(world: &World) {
    let script = "echo out; echo err >&2; echo bye > /dev/termination-log; exit 3";
    let pod = world.create(world.shell("p", "Never", script));
    let status = world.client.wait(&pod, MINUTE).unwrap();
    assert!(status.state.done(), "{:?}", status.state);
    let Current::Terminated { run } = &status.state.containers[0].current else {
        panic!("{:?}", status.state)
    };
    assert_eq!((run.exit_code, run.reason.as_str(), run.message.as_deref()), (3, "Error", Some("bye\n")));
    assert_eq!(status.state.phase(), Phase::Failed);
    let mut log: Vec<String> = world.log(&pod, "main", 0).lines().map(str::to_owned).collect();
    log.sort();
    assert_eq!(log, ["err", "out"]);
    // The same from the disk, when its supervisor has gone.
    eventually("the supervisor ends", || !world.client.view(&pod).unwrap().supervised);
    assert_eq!(world.client.view(&pod).unwrap().state().exit_code(), 3);
    assert_eq!(world.client.remove(&pod, false).unwrap().left, []);
}

fn a_pod_that_stays_is_stopped_and_removed(world: &World) {
    let pod =
        world.run(world.shell("p", "Always", "trap 'exit 7' TERM; echo up; while :; do sleep 0.1; done"));
    let view = world.client.view(&pod).unwrap();
    assert_eq!(view.to_api().status.unwrap().phase.as_deref(), Some("Running"));
    assert!(matches!(world.client.remove(&pod, false), Err(ClientError::Running { supervised: true, .. })));
    assert!(matches!(world.client.start(&pod), Err(ClientError::Running { supervised: true, .. })));
    eventually("it is up", || world.log(&pod, "main", 0) == "up\n");
    let stopped = world.client.stop(&pod, Some(20)).unwrap();
    assert_eq!(stopped.status.state.exit_code(), 7);
    assert!(!world.client.view(&pod).unwrap().supervised);
    world.client.remove(&pod, false).unwrap();
    assert!(world.client.resolve("default", "p").unwrap_err().to_string().contains("pods \"p\" not found"));
}

fn two_containers_share_what_a_pod_shares(world: &World) {
    let container =
        |name: &str, script: &str| json!({"name": name, "image": "busybox", "command": ["sh", "-c", script]});
    let spec = json!({"restartPolicy": "Never", "containers": [
        container("a", "hostname; readlink /proc/self/ns/net; readlink /proc/self/ns/ipc; readlink /proc/self/ns/uts"),
        container("b", "hostname; readlink /proc/self/ns/net; readlink /proc/self/ns/ipc; readlink /proc/self/ns/uts"),
    ]});
    let pod = world.create(world.pod("p", spec));
    assert_eq!(world.client.wait(&pod, MINUTE).unwrap().state.phase(), Phase::Succeeded);
    let (a, b) = (world.log(&pod, "a", 0), world.log(&pod, "b", 0));
    assert!(a.starts_with("p\n"), "{a}");
    assert_eq!(a, b);
}

fn a_container_is_restarted(world: &World) {
    let pod = world.create(world.shell("p", "OnFailure", "echo run; exit 1"));
    let waits = |status: &agent::status_file::StatusFile| matches!(&status.state.containers[0].current, Current::Waiting { reason, .. } if reason == "CrashLoopBackOff");
    let status = world.client.wait_until(&pod, MINUTE, waits).unwrap();
    let container = &status.state.containers[0];
    assert_eq!(container.restart_count(), 1);
    assert_eq!(container.last.as_ref().unwrap().exit_code, 1);
    assert_eq!((world.log(&pod, "main", 0), world.log(&pod, "main", 1)), ("run\n".into(), "run\n".into()));
    // It waits ten seconds by now: a stop must not.
    let begun = Instant::now();
    assert_eq!(world.client.stop(&pod, None).unwrap().status.state.exit_code(), 1);
    assert!(begun.elapsed() < Duration::from_secs(9));
}

fn a_pod_is_started_again(world: &World) {
    let volumes = json!([{"name": "v", "emptyDir": {}}]);
    let spec = json!({"restartPolicy": "Never", "volumes": volumes, "containers": [{
        "name": "main", "image": "busybox", "command": ["sh", "-c", "echo x >> /v/f; cat /v/f"],
        "volumeMounts": [{"name": "v", "mountPath": "/v"}],
    }]});
    let pod = world.create(world.pod("p", spec));
    world.client.wait(&pod, MINUTE).unwrap();
    world.client.start(&pod).unwrap();
    let status = world.client.wait(&pod, MINUTE).unwrap();
    assert_eq!(status.state.containers[0].restart_count(), 1);
    assert_eq!(world.log(&pod, "main", 1), "x\nx\n");
}

fn what_cannot_start_is_said(world: &World) {
    let host = world.host.display().to_string();
    let container = |change: serde_json::Value| {
        let mut container = json!({"name": "main", "image": "busybox", "command": ["sleep", "1000"]});
        container.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        json!([container])
    };
    let bidirectional = json!({
        "securityContext": {"privileged": true},
        "volumeMounts": [{"name": "v", "mountPath": "/v", "mountPropagation": "Bidirectional"}],
    });
    let volume = |path: &str, kind: &str| json!([{"name": "v", "hostPath": {"path": path, "type": kind}}]);
    let none = json!([]);
    let table = [
        (none.clone(), container(json!({"image": "nosuch"})), "ErrImagePull", "rhizome image pull"),
        (none.clone(), container(json!({"command": ["/nosuch"]})), "RunContainerError", ""),
        (volume(&host, "File"), container(json!({})), "FailedMount", ""),
        (volume(&host, ""), container(bidirectional), "CreateContainerError", "make-shared"),
    ];
    for (volumes, containers, reason, hint) in table {
        let pod = world.create(world.pod("p", json!({"volumes": volumes, "containers": containers})));
        let (progress, status) = world.client.wait_started(&pod, MINUTE).unwrap();
        let Progress::Failed(failures) = progress else { panic!("{reason}: {:?}", status.state) };
        assert_eq!(failures[0].reason, reason, "{failures:?}");
        assert!(failures[0].hint.as_deref().unwrap_or_default().contains(hint), "{failures:?}");
        world.client.remove(&pod, true).unwrap();
    }
}

fn volumes_reach_the_container(world: &World) {
    std::fs::create_dir(world.host.join("sub")).unwrap();
    std::fs::write(world.host.join("sub/file"), "from the host\n").unwrap();
    let volumes = json!([
        {"name": "host", "hostPath": {"path": world.host}},
        {"name": "memory", "emptyDir": {"medium": "Memory"}},
        {"name": "map", "configMap": {"name": "cm"}},
    ]);
    let script = "cat /host/sub/file /sub/file; echo in memory > /memory/x; cat /memory/x; cat /map/key; \
                  (echo no > /map/key) 2>/dev/null || echo read-only; cat /etc/hostname; cat /etc/hosts | tail -n 1";
    let spec = json!({"restartPolicy": "Never", "volumes": volumes, "containers": [{
        "name": "main", "image": "busybox", "command": ["/bin/busybox", "sh", "-c", script],
        "volumeMounts": [
            {"name": "host", "mountPath": "/host"},
            {"name": "host", "mountPath": "/sub", "subPath": "sub"},
            {"name": "memory", "mountPath": "/memory"},
            {"name": "map", "mountPath": "/map"},
        ],
    }]});
    let mut pod = world.pod("p", spec);
    let map = serde_json::from_value(json!({"metadata": {"name": "cm"}, "data": {"key": "from the map\n"}}));
    pod.config_maps.insert("cm".into(), map.unwrap());
    let pod = world.create(pod);
    let status = world.client.wait(&pod, MINUTE).unwrap();
    assert_eq!(status.state.exit_code(), 0, "{:?}\n{}", status.state, world.log(&pod, "main", 0));
    let log = world.log(&pod, "main", 0);
    let expected =
        ["from the host", "from the host", "in memory", "from the map", "read-only", "p", "127.0.0.1\tp"];
    assert_eq!(log.lines().collect::<Vec<_>>(), expected);
}

fn one_name_one_pod(world: &World) {
    let pod = world.run(world.shell("p", "Never", "sleep 1000"));
    let error =
        world.client.create(vec![world.shell("q", "Never", "true"), world.shell("p", "Never", "true")]);
    assert_eq!(error.unwrap_err().to_string(), "pods \"p\" already exists");
    assert_eq!(world.client.list(None).unwrap().pods.len(), 1);
    let error = world.client.resolve("default", "p/side").unwrap_err();
    assert_eq!(error.to_string(), "container side is not valid for pod p out of: main");
    let error = world.client.resolve("other", "p").unwrap_err();
    assert!(error.hint().unwrap().contains("-n default"), "{:?}", error.hint());
    world.client.remove(&pod, true).unwrap();
}

fn the_foreground_shows_everything(world: &World) {
    let pods = [
        world.shell("one", "Never", "seq 1 20000; exit 4"),
        world.shell("two", "Never", "echo -n 'no newline'; sleep 0.3; echo ' more' >&2"),
    ];
    let pods = world.client.create(pods.into()).unwrap();
    for pod in &pods {
        world.client.start(pod).unwrap();
    }
    let mut foreground = world.client.foreground(&pods).unwrap();
    let (mut seen, mut ended) = ([String::new(), String::new()], 0);
    while !foreground.over() {
        foreground.wait(None).unwrap();
        for event in foreground.read(&world.client).unwrap() {
            match event {
                ForegroundEvent::Line { pod, line, .. } => {
                    seen[pod].push_str(&String::from_utf8_lossy(&line.content));
                    seen[pod].push_str(if line.whole { "\n" } else { "" });
                }
                ForegroundEvent::Ended { .. } => ended += 1,
                ForegroundEvent::NotStarted { failures, .. } => panic!("{failures:?}"),
                ForegroundEvent::Remark { event, .. } => panic!("{event:?}"),
            }
        }
    }
    let numbers: String = (1..=20000).map(|n| format!("{n}\n")).collect();
    assert!(seen[0] == numbers, "{} bytes of {}", seen[0].len(), numbers.len());
    assert_eq!(seen[1], "no newline more\n");
    assert_eq!((ended, foreground.exit_code()), (2, 4));
}

fn a_killed_supervisor_leaves_the_truth(world: &World) {
    let script =
        |end: &str| format!("trap 'exit 0' TERM; while [ ! -e /host/{end} ]; do sleep 0.05; done; exit 9");
    let container = |name: &str| {
        json!({"name": name, "image": "busybox", "command": ["sh", "-c", script(name)],
               "volumeMounts": [{"name": "host", "mountPath": "/host"}]})
    };
    let volumes = json!([{"name": "host", "hostPath": {"path": world.host}}]);
    let spec = json!({"restartPolicy": "Always", "volumes": volumes, "containers": [container("a"), container("b")]});
    let pod = world.run(world.pod("p", spec));
    world.kill_supervisor(&pod);
    let view = world.client.view(&pod).unwrap();
    assert!(view.state().containers.iter().all(|c| c.running()), "{:?}", view.state());
    std::fs::write(world.host.join("a"), "").unwrap();
    let a_ended = || !world.client.view(&pod).unwrap().state().containers[0].running();
    eventually("the end of a container without a supervisor is seen", a_ended);
    let view = world.client.view(&pod).unwrap();
    let Current::Terminated { run } = &view.state().containers[0].current else {
        panic!("{:?}", view.state())
    };
    // Whoever inherits it may not have waited for it yet; then the kernel still knows.
    let seen = (run.exit_code, run.reason.as_str());
    assert!([(9, "Error"), (137, "ContainerStatusUnknown")].contains(&seen), "{seen:?}");
    assert!(view.state().containers[1].running());
    let stopped = world.client.stop(&pod, Some(20)).unwrap();
    assert!(stopped.status.state.done(), "{:?}", stopped.status.state);
    assert_eq!(world.client.view(&pod).unwrap().status, stopped.status);
    world.client.start(&pod).unwrap();
    std::fs::remove_file(world.host.join("a")).unwrap();
    let (progress, _) = world.client.wait_started(&pod, MINUTE).unwrap();
    assert_eq!(progress, Progress::Started);
}

fn a_killed_supervisors_pod_can_be_removed(world: &World) {
    let pod = world.run(world.shell("p", "Always", "sleep 1000"));
    world.kill_supervisor(&pod);
    assert!(matches!(world.client.remove(&pod, false), Err(ClientError::Running { supervised: false, .. })));
    world.client.remove(&pod, true).unwrap();
    world.check_empty();
}

fn a_container_outlives_its_supervisors_pipes(world: &World) {
    let volumes = json!([{"name": "host", "hostPath": {"path": world.host}}]);
    let script = "while :; do echo line; echo >> /host/beats; sleep 0.05; done";
    let spec = json!({"volumes": volumes, "containers": [{
        "name": "main", "image": "busybox", "command": ["sh", "-c", script],
        "volumeMounts": [{"name": "host", "mountPath": "/host"}],
    }]});
    let pod = world.run(world.pod("p", spec));
    world.kill_supervisor(&pod);
    let beats = || std::fs::metadata(world.host.join("beats")).map(|m| m.len()).unwrap_or_default();
    let before = beats();
    eventually("it writes on", || beats() > before + 10);
    world.client.remove(&pod, true).unwrap();
}

fn another_supervisor_takes_over(world: &World) {
    let container = |name: &str, script: &str| {
        json!({"name": name, "image": "busybox", "command": ["sh", "-c", script],
               "volumeMounts": [{"name": "host", "mountPath": "/host"}]})
    };
    let volumes = json!([{"name": "host", "hostPath": {"path": world.host}}]);
    let a = "readlink /proc/self/ns/net; n=0; while [ ! -e /host/end ]; do n=$((n+1)); echo $n; sleep 0.05; done; exit 9";
    let spec = json!({"volumes": volumes, "containers": [container("a", a), container("b", "sleep 1000")]});
    let pod = world.run(world.pod("p", spec));
    let lines = || world.log(&pod, "a", 0).lines().count();
    eventually("it writes", || lines() > 3);
    world.kill_supervisor(&pod);
    let before = world.client.view(&pod).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    world.client.start(&pod).unwrap();
    let after = world.client.view(&pod).unwrap();
    assert!(after.supervised);
    let ids = |view: &agent::client::PodView| {
        view.state().containers.iter().map(|c| c.id.clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&before), ids(&after));
    // What was written while nobody read is there too, in order and whole.
    let count = lines();
    eventually("it is read on", || lines() > count + 3);
    let log = world.log(&pod, "a", 0);
    let numbers: Vec<u32> = log.lines().skip(1).map(|line| line.parse().unwrap()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u32).collect::<Vec<_>>());
    // Its end is seen, with its code where the kernel tells (Linux 6.15), and it is started again in the same sandbox.
    std::fs::write(world.host.join("end"), "").unwrap();
    let restarted = |status: &agent::status_file::StatusFile| status.state.containers[0].restart_count() > 0;
    let status = world.client.wait_until(&pod, MINUTE, restarted).unwrap();
    let last = status.state.containers[0].last.as_ref().unwrap();
    assert!([9, 137].contains(&last.exit_code), "{last:?}");
    assert_eq!(status.sandbox_id, before.status.sandbox_id);
    eventually("it runs again", || world.log(&pod, "a", 1).starts_with("net:"));
    let network = |attempt| world.log(&pod, "a", attempt).lines().next().map(str::to_owned);
    assert_eq!(network(0), network(1));
    assert!(world.client.view(&pod).unwrap().state().containers[1].running());
    world.client.stop(&pod, Some(0)).unwrap();
}

fn another_supervisor_goes_on_with_a_stop(world: &World) {
    let pod = world.run(world.shell("p", "Always", "trap '' TERM; while :; do sleep 0.1; done"));
    assert!(world.client.ask_to_stop(&pod, Some(2)).unwrap());
    world.kill_supervisor(&pod);
    // On disk before it was answered, whenever the supervisor dies.
    let written = agent::status_file::StatusFile::read(world.client.root(), &pod.uid).unwrap().unwrap();
    assert!(matches!(written.state.goal, Goal::Stop { .. }), "{:?}", written.state.goal);
    world.client.start(&pod).unwrap();
    let status = world.client.wait(&pod, MINUTE).unwrap();
    assert!(status.state.done(), "a stop that was asked for is not forgotten: {:?}", status.state);
    assert_eq!(status.state.exit_code(), 137);
}

fn a_mount_that_stays_is_named_and_keeps_its_layer(world: &World) {
    rustix::mount::mount_bind(&world.host, &world.host).unwrap();
    rustix::mount::mount_change(&world.host, MountPropagationFlags::SHARED).unwrap();
    let spec = json!({
        "restartPolicy": "Never",
        "volumes": [{"name": "host", "hostPath": {"path": world.host}}],
        "containers": [{
            "name": "main", "image": "busybox", "securityContext": {"privileged": true},
            "command": ["sh", "-c", "busybox mkdir -p /host/left /own; echo kept > /own/file; mount -o bind /own /host/left"],
            "volumeMounts": [{"name": "host", "mountPath": "/host", "mountPropagation": "Bidirectional"}],
        }],
    });
    let pod = world.create(world.pod("p", spec));
    let status = world.client.wait(&pod, MINUTE).unwrap();
    assert_eq!(status.state.exit_code(), 0, "{}", world.log(&pod, "main", 0));
    let left = world.host.join("left");
    assert_eq!(status.left_mounts.len(), 1, "{:?}", status.left_mounts);
    assert_eq!(status.left_mounts[0].mount_point, left);
    let removed =
        world.client.remove(&pod, false).expect("the end has kept the layer; to remove finds it kept");
    assert_eq!(removed.left, status.left_mounts);
    assert_eq!(removed.kept_layers.len(), 1);
    assert_eq!(std::fs::read_to_string(left.join("file")).unwrap(), "kept\n");
    let store = image::Store::open(world.client.root().images()).unwrap();
    assert_eq!(store.pins().unwrap().len(), 1, "the image is pinned for as long");
    // By the command that is given for it; then the next removal takes the layer.
    let command = removed.left[0].command();
    let detached = std::process::Command::new("sh").args(["-c", &command]).status().unwrap();
    assert!(detached.success(), "{command}");
    let next = world.create(world.shell("q", "Never", "true"));
    world.client.remove(&next, true).unwrap();
    assert_eq!(std::fs::read_dir(world.client.root().lib.join("kept")).unwrap().count(), 0);
    rustix::mount::unmount(&world.host, rustix::mount::UnmountFlags::DETACH).unwrap();
}

/// `hostUsers: false`: every kind of volume is the container's to use, and on disk there are no strange owners.
fn a_user_namespace_and_every_volume(world: &World) {
    use std::os::unix::fs::MetadataExt;
    std::fs::create_dir(world.host.join("sub")).unwrap();
    let volumes = json!([
        {"name": "host", "hostPath": {"path": world.host}},
        {"name": "disk", "emptyDir": {}},
        {"name": "memory", "emptyDir": {"medium": "Memory"}},
        {"name": "map", "configMap": {"name": "cm"}},
        {"name": "secret", "secret": {"secretName": "s"}},
    ]);
    let script = "cat /proc/self/uid_map | busybox awk '{print $1, $3}'; cat /map/key /secret/key; \
        for d in /host /sub /disk /memory; do echo x > $d/own && busybox stat -c %u:%g $d/own; done; \
        echo '1.2.3.4 more' >> /etc/hosts && echo hosts; busybox grep -c ' /proc/' /proc/mounts; echo said > /dev/termination-log; exit 0";
    let spec = json!({"restartPolicy": "Never", "hostUsers": false, "volumes": volumes, "containers": [{
        "name": "main", "image": "busybox", "command": ["/bin/busybox", "sh", "-c", script],
        "securityContext": {"procMount": "Unmasked"},
        "volumeMounts": [
            {"name": "host", "mountPath": "/host"},
            {"name": "host", "mountPath": "/sub", "subPath": "sub"},
            {"name": "disk", "mountPath": "/disk"},
            {"name": "memory", "mountPath": "/memory"},
            {"name": "map", "mountPath": "/map"},
            {"name": "secret", "mountPath": "/secret"},
        ],
    }]});
    let mut pod = world.pod("p", spec);
    let map = serde_json::from_value(json!({"metadata": {"name": "cm"}, "data": {"key": "from the map\n"}}));
    pod.config_maps.insert("cm".into(), map.unwrap());
    let secret = serde_json::from_value(
        json!({"metadata": {"name": "s"}, "stringData": {"key": "x"}, "data": {"key": "c2VjcmV0Cg=="}}),
    );
    pod.secrets.insert("s".into(), secret.unwrap());
    let pod = world.create(pod);
    if let (Progress::Failed(failures), _) = world.client.wait_started(&pod, MINUTE).unwrap() {
        let text = format!("{failures:?}");
        assert!(text.contains("the kernel cannot map the ids of a file system"), "{text}");
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
        assert!((numbers.next(), numbers.next()) < (Some(6), Some(3)), "{release}: {text}");
        println!(
            "  a_user_namespace_and_every_volume: SKIPPED, tmpfs maps no ids before Linux 6.3, and it was said"
        );
        return;
    }
    let status = world.client.wait(&pod, MINUTE).unwrap();
    let log = world.log(&pod, "main", 0);
    assert_eq!(status.state.exit_code(), 0, "{:?}\n{log}", status.state);
    let owner = "0:0";
    // Nothing of /proc is hidden or read-only: procMount Unmasked.
    let expected = ["0 65536", "from the map", "secret", owner, owner, owner, owner, "hosts", "0"];
    assert_eq!(log.lines().collect::<Vec<_>>(), expected);
    for name in ["own", "sub/own"] {
        assert_eq!(std::fs::metadata(world.host.join(name)).unwrap().uid(), 0, "{name} on disk");
    }
    world.check_empty();
    assert!(!world.client.root().run.join("user-ranges").exists(), "a range is kept");
}

/// Nobody may run as root, and the image says nothing.
fn what_must_not_be_root(world: &World) {
    let container = json!({"name": "main", "image": "busybox", "command": ["true"]});
    let spec = json!({"restartPolicy": "Never", "securityContext": {"runAsNonRoot": true}, "containers": [container]});
    let pod = world.create(world.pod("p", spec));
    let said = "container has runAsNonRoot and image will run as root (pod: \"p_default(";
    eventually("the reason is told", || {
        let view = world.client.view(&pod).expect("view");
        view.state().containers.iter().any(|container| match &container.current {
            Current::Waiting { reason, message, .. } => {
                reason == "CreateContainerConfigError"
                    && message.as_ref().is_some_and(|text| text.contains(said))
            }
            _ => false,
        })
    });
    world.check_empty();
}

/// Nobody but root may look into what is ours or speak to a supervisor, which has no more than it needs.
fn what_is_ours_is_private(world: &World) {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};
    let container = |name: &str, more: serde_json::Value| json!({"name": name, "image": "busybox", "command": ["sleep", "1000"], "securityContext": more});
    let pod = world.run(world.pod("usual", json!({"containers": [container("main", json!({}))]})));
    let root = world.client.root();
    for folder in [
        &root.lib,
        &root.run,
        &root.pods(),
        &root.run.join("pods"),
        &root.pod_lib(&pod.uid),
        &root.pod_run(&pod.uid),
    ] {
        assert_eq!(
            folder.metadata().expect("stat").permissions().mode() & 0o777,
            0o700,
            "{}",
            folder.display()
        );
    }
    let run = [root.pod_run(&pod.uid), root.runtime_dirs().state];
    let (mut todo, mut sockets) = (Vec::from(run), 0);
    while let Some(path) = todo.pop() {
        let metadata = path.symlink_metadata().expect("stat");
        let mode = metadata.permissions().mode();
        if metadata.is_dir() && !path.ends_with("shm") {
            assert_eq!(mode & 0o777, 0o700, "{}", path.display());
            todo.extend(std::fs::read_dir(&path).expect("read").flatten().map(|entry| entry.path()));
        } else if metadata.file_type().is_socket() {
            sockets += 1;
            assert_eq!(mode & 0o777, 0o600, "{}", path.display());
        } else if metadata.is_file() {
            assert_eq!(mode & 0o022, 0, "{}", path.display());
        }
    }
    assert_eq!(sockets, 1);
    let capabilities = |pod: &PodRef| {
        let status = format!("/proc/{}/status", world.supervisor_pid(pod).as_raw_nonzero());
        let status = std::fs::read_to_string(status).expect("status");
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a field");
            u64::from_str_radix(line.trim(), 16).expect("a set")
        };
        assert_eq!(field("CapPrm:") & !field("CapBnd:"), 0);
        field("CapBnd:")
    };
    let ours = runtime::capability::read_bounding_set().expect("bounding").bits();
    let [module, time] =
        ["SYS_MODULE", "SYS_TIME"].map(|name| runtime::capability::parse_name(name).expect("name").bits());
    assert_eq!(capabilities(&pod) & (module | time), 0);
    let adds = json!({"capabilities": {"add": ["SYS_TIME"]}});
    let other = world.run(world.pod("adds", json!({"containers": [container("main", adds)]})));
    assert_eq!(capabilities(&other) & (module | time), time & ours);
    let privileged = json!({"privileged": true});
    let privileged = world.run(world.pod("all", json!({"containers": [container("main", privileged)]})));
    assert_eq!(capabilities(&privileged), ours);
    world.check_empty();
}

/// 70 MB, in the longest lines that are one record, and in the shortest.
fn a_container_that_fills_logs(world: &World) {
    let script = "line=x; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13; do line=$line$line; done; \
        busybox yes $line | busybox head -c 65000000; busybox yes '' | busybox head -c 100000";
    let pod = world.run(world.shell("talks", "Never", script));
    eventually("it has said all", || {
        world.client.view(&pod).expect("view").state().phase() == Phase::Succeeded
    });
    let log = agent::logs::log_path(world.client.root(), &pod.uid, "main", 0);
    let files: Vec<_> = std::fs::read_dir(log.parent().expect("folder")).expect("logs").flatten().collect();
    let bytes: u64 = files.iter().map(|file| file.metadata().expect("stat").len()).sum();
    assert_eq!(files.len(), 5, "{files:?}");
    assert!(bytes > 40 << 20 && bytes <= 50 << 20, "{bytes} bytes");
    assert!(std::fs::read(&log).expect("log").ends_with(b" stdout F \n"), "the end is in the log");
    world.check_empty();
}

fn a_terminal(world: &World) {
    let spec = json!({"restartPolicy": "Never", "containers": [{
        "name": "main", "image": "busybox", "tty": true, "stdin": true,
        "command": ["sh", "-c", "tty; echo done"],
    }]});
    let pod = world.create(world.pod("p", spec));
    let status = world.client.wait(&pod, MINUTE).unwrap();
    assert_eq!(status.state.exit_code(), 0);
    let log = world.log(&pod, "main", 0);
    assert!(log.starts_with("/dev/") && log.contains("done"), "{log:?}");
}

/// A pod with something of everything that has to be undone.
fn busy_pod(world: &World, name: &str) -> NewPod {
    let volumes = json!([
        {"name": "shared", "emptyDir": {}},
        {"name": "memory", "emptyDir": {"medium": "Memory"}},
        {"name": "host", "hostPath": {"path": world.host}},
    ]);
    let spec = json!({"volumes": volumes, "containers": [{
        "name": "main", "image": "busybox", "command": ["sleep", "1000"], "securityContext": {"privileged": true},
        "volumeMounts": [
            {"name": "shared", "mountPath": "/shared", "mountPropagation": "Bidirectional"},
            {"name": "memory", "mountPath": "/memory"},
            {"name": "host", "mountPath": "/sub", "subPath": "sub"},
        ],
    }]});
    world.pod(name, spec)
}

/// Delays that spread over the time that something takes, and are the same in every run.
fn delays(count: u32, longest: Duration) -> impl Iterator<Item = Duration> {
    (0..count).map(move |n| longest * (n * 7 % count) / count)
}

/// What it has made of the sandbox is found by the id that was written down before, with or without a record.
fn a_supervisor_killed_while_it_makes_its_sandbox(world: &World) {
    if !cfg!(debug_assertions) {
        println!(
            "  a_supervisor_killed_while_it_makes_its_sandbox: SKIPPED, there are no fault points in a release build"
        );
        return;
    }
    for point in ["sandbox.state", "sandbox.record", "sandbox.cgroup", "sandbox.namespaces", "sandbox.shm"] {
        let pod = world.client.create(vec![busy_pod(world, "p")]).unwrap().remove(0);
        // By a process of its own, so that only this supervisor inherits the fault.
        let root = world.client.root();
        let mut starter = std::process::Command::new(std::env::current_exe().unwrap());
        starter.arg(START).args([&root.lib, &root.run]).env("RHIZOME_FAULT", format!("{point}:kill"));
        assert!(starter.status().unwrap().success(), "at {point}");
        eventually("the supervisor is gone", || !world.client.view(&pod).expect("view").supervised);
        assert!(
            !world.client.view(&pod).unwrap().state().sandbox_ready,
            "the fault at {point} did not happen"
        );
        world.client.remove(&pod, true).unwrap_or_else(|e| panic!("at {point}: {e:?}"));
        world.check_empty();
    }
}

fn supervisors_killed_at_any_moment(world: &World) {
    for delay in delays(24, Duration::from_millis(60)) {
        let pod = world.client.create(vec![busy_pod(world, "p")]).unwrap().remove(0);
        world.client.start(&pod).unwrap();
        let pid = world.supervisor_pid(&pod);
        std::thread::sleep(delay);
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        eventually("the supervisor is gone", || !world.client.view(&pod).unwrap().supervised);
        // What is told is true: a container that is said to run does.
        let view = world.client.view(&pod).unwrap();
        for container in view.state().containers.iter().filter(|c| c.running()) {
            let record = runtime::status(&world.client.root().runtime_dirs(), &container.id).unwrap();
            assert_eq!(record.status, runtime::Status::Running);
        }
        // Every other one is given another supervisor first.
        if delay.as_millis() % 2 == 0 {
            world.client.start(&pod).unwrap_or_else(|e| panic!("after {delay:?}: {e}"));
            let (progress, status) = world.client.wait_started(&pod, MINUTE).unwrap();
            assert_eq!(progress, Progress::Started, "after {delay:?}: {status:?}");
        }
        world.client.remove(&pod, true).unwrap_or_else(|e| panic!("after {delay:?}: {e:?}"));
        world.check_empty();
    }
}

fn commands_killed_at_any_moment(world: &World) {
    for delay in delays(24, Duration::from_millis(250)) {
        let command = spawn(Namespaces::empty(), None, || {
            let pod = world.client.create(vec![busy_pod(world, "p")]).unwrap().remove(0);
            world.client.start(&pod).unwrap();
            world.client.wait_started(&pod, MINUTE).unwrap();
            world.client.remove(&pod, true).unwrap();
            exit(0)
        });
        let command = command.unwrap();
        std::thread::sleep(delay);
        let _ = rustix::process::pidfd_send_signal(&command.pidfd, rustix::process::Signal::KILL);
        wait(&command);
        // A supervisor that was just being started may still be on its way; the pod then has it, or never will.
        let pods = world.client.list(None).unwrap();
        assert!(pods.problems.is_empty(), "{:?}", pods.problems);
        for view in pods.pods {
            world.client.remove(&view.pod, true).unwrap_or_else(|e| panic!("after {delay:?}: {e:?}"));
        }
        // The next create sweeps what has no name.
        let next = world.create(world.shell("next", "Never", "true"));
        world.client.remove(&next, true).unwrap();
        world.check_empty();
    }
}

fn commands_at_once_on_one_pod(world: &World) {
    type Verb = fn(&Client, &PodRef);
    let verbs: [Verb; 5] = [
        |client, pod| drop(client.stop(pod, Some(0))),
        |client, pod| drop(client.start(pod)),
        |client, pod| drop(client.view(pod)),
        |client, pod| drop(client.wait_started(pod, Some(Duration::from_secs(1)))),
        |client, pod| drop(client.remove(pod, false)),
    ];
    for round in 0..6 {
        let pod = world.run(busy_pod(world, "p"));
        let commands: Vec<Child> = (0..10)
            .map(|n| {
                let verb = verbs[(n + round) % verbs.len()];
                let command = spawn(Namespaces::empty(), None, || {
                    verb(&Client::open(world.client.root()).unwrap(), &pod);
                    exit(0)
                });
                command.unwrap()
            })
            .collect();
        assert!(commands.iter().map(wait).all(|status| status == 0));
        match world.client.remove(&pod, true) {
            Ok(_) | Err(ClientError::Record(_)) => {}
            Err(error) => panic!("round {round}: {error}"),
        }
        world.check_empty();
    }
}

/// Somebody starts the pod again the moment that it has ended: the stop is done nevertheless, and does not wait for the
/// new run, whose containers would go on for 1000 s.
fn a_stop_waits_for_the_run_that_it_ends(world: &World) {
    let pod = world.run(busy_pod(world, "p"));
    let starter = spawn(Namespaces::empty(), None, || {
        let client = Client::open(world.client.root()).unwrap();
        loop {
            match client.start(&pod) {
                Ok(()) | Err(ClientError::Running { .. }) => {}
                Err(_) => exit(0),
            }
        }
    });
    let starter = starter.unwrap();
    for round in 0..20 {
        // The first container of this round may be on its way still.
        world.client.wait_until(&pod, MINUTE, |status| status.state.containers[0].running()).unwrap();
        let begun = Instant::now();
        world.client.stop(&pod, Some(0)).unwrap_or_else(|e| panic!("round {round}: {e}"));
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(25), "round {round}: {took:?}, less than an END_TIMEOUT");
    }
    let _ = rustix::process::pidfd_send_signal(&starter.pidfd, rustix::process::Signal::KILL);
    wait(&starter);
    world.client.remove(&pod, true).unwrap();
    world.check_empty();
}
