//! The life of a pod from the command line: init containers, sidecars, probes, hooks, and a container added later.

mod support;
#[path = "support/world.rs"]
mod world;

use std::time::{Duration, Instant};
use world::World;

const POD: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  terminationGracePeriodSeconds: 5
  volumes: [{name: v, emptyDir: {}}]
  initContainers:
  - name: side
    image: busybox
    restartPolicy: Always
    command: [sh, -c, "trap 'exit 0' TERM; while :; do sleep 0.1; done"]
    startupProbe: {exec: {command: ["true"]}, periodSeconds: 1}
  - name: setup
    image: busybox
    command: [sh, -c, "while [ ! -e /v/go ]; do sleep 0.1; done"]
    volumeMounts: [{name: v, mountPath: /v}]
  containers:
  - name: main
    image: busybox
    command: [sh, -c, "trap 'exit 0' TERM; while :; do sleep 0.1; done"]
    volumeMounts: [{name: v, mountPath: /v}]
    readinessProbe: {exec: {command: [cat, /v/ready]}, periodSeconds: 1, failureThreshold: 1}
    lifecycle: {postStart: {exec: {command: [touch, /v/started]}}}
"#;

/// READY and STATUS of the pod.
fn row(world: &World) -> String {
    let ran = world.run(&["ps", "-a", "--no-headers"]);
    ran.stdout.split_whitespace().skip(1).take(2).collect::<Vec<_>>().join(" ")
}

fn eventually(world: &World, expected: &str) {
    let until = Instant::now() + Duration::from_secs(60);
    while row(world) != expected {
        assert!(Instant::now() < until, "{expected}: {:?}", world.run(&["inspect", "p"]));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_pod_with_all_that_the_kubelet_does() {
    let Some(world) = World::isolated("a_pod_with_all_that_the_kubelet_does") else { return };
    world.start(POD);
    eventually(&world, "1/2 Init:1/2");
    let refused = world.run(&["logs", "p"]);
    assert!(
        refused.stderr.contains("Defaulted container \"main\" out of: main, side (init), setup (init)"),
        "{refused:?}"
    );
    // It may be on its way still.
    let until = Instant::now() + Duration::from_secs(60);
    while world.run(&["exec", "p/setup", "--", "touch", "/v/go"]).status != 0 {
        assert!(Instant::now() < until, "{:?}", world.run(&["inspect", "p"]));
        std::thread::sleep(Duration::from_millis(20));
    }
    eventually(&world, "1/2 Running");
    assert_eq!(world.run(&["exec", "p", "--", "ls", "/v"]).stdout, "go\nstarted\n");
    assert_eq!(world.run(&["exec", "p", "--", "touch", "/v/ready"]).status, 0);
    eventually(&world, "2/2 Running");
    world.run(&["rm", "-f", "p"]);
    world.assert_nothing_left();
}

#[test]
fn a_container_is_added_to_a_pod_that_runs() {
    let Some(world) = World::isolated("a_container_is_added_to_a_pod_that_runs") else { return };
    world.start("apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: main, image: busybox, command: [sleep, \"4321\"]}]}\n");
    let look = ["debug", "p", "--image", "busybox", "--target", "main", "-i", "-c", "look", "--"];
    let script = ["sh", "-c", "cat; tr '\\0' ' ' < /proc/1/cmdline; exit 7"];
    let ran = world.run_with_input(&[&look[..], &script[..]].concat(), b"typed\n");
    assert_eq!((ran.status, ran.stdout.trim_end()), (7, "typed\nsleep 4321"), "{ran:?}");
    let again = world.run(&["debug", "p", "--image", "busybox", "-c", "look", "--", "true"]);
    assert_ne!(again.status, 0);
    assert!(
        again.stderr.contains("spec.ephemeralContainers[1].name: Duplicate value: \"look\""),
        "{again:?}"
    );
    let missing = world.run(&["debug", "p", "--image", "busybox", "--", "/nosuch"]);
    assert_ne!(missing.status, 0);
    assert!(missing.stderr.contains("Defaulting debug container name to debugger-"), "{missing:?}");
    assert!(missing.stderr.contains("StartError") && missing.stderr.contains("/nosuch"), "{missing:?}");
    assert_eq!(row(&world), "1/1 Running");
    world.run(&["rm", "-f", "p"]);
    world.assert_nothing_left();
}

/// What the newer fields say: a stop signal, exit codes that are followed by another run, resources of the whole pod, a
/// label that only some machines have.
#[test]
fn signals_rules_of_exit_codes_and_the_pods_own_resources() {
    let Some(world) = World::isolated("signals_rules_of_exit_codes_and_the_pods_own_resources") else {
        return;
    };
    let text = r#"
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  os: {name: linux}
  restartPolicy: Never
  resources: {limits: {cpu: "1", memory: 96Mi}}
  securityContext: {seLinuxOptions: {level: "s0"}}
  volumes: [{name: v, emptyDir: {}}]
  containers:
  - name: main
    image: busybox
    command: [sh, -c, "trap 'echo told; exit 7' USR1; touch /v/ready; while :; do sleep 0.1; done"]
    volumeMounts: [{name: v, mountPath: /v}]
    lifecycle: {stopSignal: SIGUSR1}
  - name: worker
    image: busybox
    restartPolicy: Never
    restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [42]}}]
    command: [sh, -c, "test -e /v/once && exit 3; touch /v/once; exit 42"]
    volumeMounts: [{name: v, mountPath: /v}]
"#;
    let ran = world.run_with_input(&world.run_args(&["-d", "-"]), text.as_bytes());
    assert_eq!(ran.status, 0, "{ran:?}");
    world.remember_pods();
    if !std::path::Path::new("/sys/fs/selinux/enforce").exists() {
        assert!(ran.stderr.contains("seLinuxOptions do nothing: this machine has no SELinux"), "{ran:?}");
    }
    let object = || -> serde_json::Value {
        serde_json::from_str(&world.run(&["inspect", "p", "-o", "json"]).stdout).expect("JSON")
    };
    let until = Instant::now() + Duration::from_secs(60);
    let worker = loop {
        let status = object()["status"].clone();
        let worker = status["containerStatuses"][1].clone();
        if worker["state"]["terminated"].is_object() {
            break worker;
        }
        assert!(Instant::now() < until, "{status}");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!((&worker["restartCount"], &worker["state"]["terminated"]["exitCode"]), (&1.into(), &3.into()));
    let made = object();
    assert_eq!(made["status"]["qosClass"], "Guaranteed");
    let uid = made["metadata"]["uid"].as_str().expect("uid");
    let limits = format!(
        "find /sys/fs/cgroup -path '*/pod{uid}*/memory.limit_in_bytes' -o -path '*/pod{uid}*/memory.max' | xargs cat"
    );
    let limits = world.on_host(&limits).stdout;
    // The pod's, and that of each container that is there.
    assert!(limits.lines().count() >= 2 && limits.lines().all(|line| line == "100663296"), "{limits}");

    while world.run(&["exec", "p/main", "--", "test", "-e", "/v/ready"]).status != 0 {
        assert!(Instant::now() < until);
    }
    let stopped = world.run(&["stop", "p"]);
    assert_eq!(stopped.status, 0, "{stopped:?}");
    assert_eq!(object()["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"], 7);
    world.run(&["rm", "-f", "p"]);
    world.assert_nothing_left();

    let without = text.replace("  os: {name: linux}\n", "");
    let refused = world.run_with_input(&world.run_args(&["--dry-run", "-"]), without.as_bytes());
    assert!(
        refused
            .stderr
            .contains("stopSignal: Forbidden: may not be set for containers with empty `spec.os.name`"),
        "{refused:?}"
    );
}
