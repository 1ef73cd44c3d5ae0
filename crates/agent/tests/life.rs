//! The life of a pod as the kubelet leads it, end to end: real supervisors, real containers with busybox in them.

mod support;

use agent::client::PodRef;
use agent::lifecycle::Phase;
use agent::supervisor;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use support::{Case, MINUTE, World, eventually, run_cases};

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next().is_some_and(|first| first == supervisor::SUBCOMMAND) {
        true => supervisor::main(args),
        false => run_cases(CASES),
    }
}

const CASES: &[Case] = &[
    ("init_containers_run_before_the_others", init_containers_run_before_the_others),
    ("an_init_container_that_fails", an_init_container_that_fails),
    ("sidecars_stay_until_the_others_have_ended", sidecars_stay_until_the_others_have_ended),
    ("a_supervisor_takes_over_in_the_middle_of_init", a_supervisor_takes_over_in_the_middle_of_init),
];

/// A container with the world's folder at /host.
fn container(name: &str, script: &str) -> Value {
    json!({"name": name, "image": "busybox", "command": ["sh", "-c", script],
           "volumeMounts": [{"name": "host", "mountPath": "/host"}]})
}

fn with(mut container: Value, field: &str, value: Value) -> Value {
    container[field] = value;
    container
}

fn spec(world: &World, policy: &str, init: Value, main: Value) -> Value {
    json!({"restartPolicy": policy, "initContainers": init, "containers": main,
           "volumes": [{"name": "host", "hostPath": {"path": world.host}}]})
}

/// The lines that containers wrote to a file of the world's folder.
fn lines(world: &World) -> Vec<String> {
    let text = std::fs::read_to_string(world.host.join("log")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// A script that writes a line when it starts and one when it is told to end.
fn service(name: &str) -> String {
    format!(
        "trap 'echo {name} ends >> /host/log; exit 0' TERM; echo {name} >> /host/log; while :; do sleep 0.05; done"
    )
}

fn status(world: &World, pod: &PodRef) -> Value {
    let view = world.client.view(pod).unwrap();
    serde_json::to_value(view.to_api()).unwrap()["status"].clone()
}

/// READY and STATUS of `kubectl get pods`.
fn row(world: &World, pod: &PodRef) -> String {
    let object = serde_json::to_value(world.client.view(pod).unwrap().to_api()).unwrap();
    let columns = view::pods::Columns::default();
    let row = view::pods::list(&[object], columns, jiff::Timestamp::now());
    row.split_whitespace().skip(1).take(2).collect::<Vec<_>>().join(" ")
}

/// `REASON(count) message` of the pod's events, in the order of their numbers.
fn events(world: &World, pod: &PodRef) -> Vec<String> {
    let mut events = world.client.view(pod).unwrap().events();
    events.sort_by_key(|e| e.metadata.name.clone());
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let line = |e: &k8s_openapi::api::core::v1::Event| {
        format!("{} {}", text(&e.reason), text(&e.message).trim_end())
    };
    events.iter().map(line).collect()
}

fn init_containers_run_before_the_others(world: &World) {
    let init = json!([
        container("one", "sleep 0.3; echo one >> /host/log"),
        container("two", "echo two >> /host/log; while [ ! -e /host/go ]; do sleep 0.05; done"),
    ]);
    let main = json!([container("main", "echo main >> /host/log; sleep 1000")]);
    let pod = world.run(world.pod("p", spec(world, "Always", init, main)));
    eventually("the second is at work", || lines(world).len() == 2);
    eventually("it is shown", || row(world, &pod) == "0/1 Init:1/2");
    let now = status(world, &pod);
    assert_eq!(now["phase"], "Pending");
    assert_eq!(now["containerStatuses"][0]["state"]["waiting"]["reason"], "PodInitializing");
    assert_eq!(now["initContainerStatuses"][0]["ready"], true);
    let initialized = &now["conditions"][1];
    assert_eq!(
        (&initialized["status"], &initialized["reason"], &initialized["message"]),
        (
            &json!("False"),
            &json!("ContainersNotInitialized"),
            &json!("containers with incomplete status: [two]")
        )
    );
    std::fs::write(world.host.join("go"), "").unwrap();
    eventually("the main one runs", || row(world, &pod) == "1/1 Running");
    eventually("and has begun", || lines(world).len() == 3);
    assert_eq!(lines(world), ["one", "two", "main"]);
    world.client.stop(&pod, Some(0)).unwrap();
    let told = events(world, &pod);
    let of_main = |line: &&String| !line.contains("Pulled");
    let expected = ["Scheduled", "Created", "Started", "Created", "Started", "Created", "Started", "Killing"];
    let reasons: Vec<&str> =
        told.iter().filter(of_main).map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(reasons, expected, "{told:?}");
    // Begun again, they run again.
    world.client.start(&pod).unwrap();
    eventually("again", || lines(world).len() == 6);
    world.client.remove(&pod, true).unwrap();
}

fn an_init_container_that_fails(world: &World) {
    let init = || json!([container("setup", "echo no; exit 4")]);
    let main = || json!([container("main", "echo main >> /host/log")]);
    let pod = world.create(world.pod("never", spec(world, "Never", init(), main())));
    let last = world.client.wait(&pod, MINUTE).unwrap();
    assert_eq!((last.state.phase(), last.state.exit_code()), (Phase::Failed, 4));
    assert_eq!(row(world, &pod), "0/1 Init:Error");
    let pod = world.create(world.pod("always", spec(world, "Always", init(), main())));
    eventually("it is tried again, later", || row(world, &pod) == "0/1 Init:CrashLoopBackOff");
    assert_eq!(status(world, &pod)["initContainerStatuses"][0]["restartCount"], 1);
    world.client.stop(&pod, None).unwrap();
    assert_eq!(status(world, &pod)["phase"], "Failed");
    assert_eq!(lines(world), [] as [&str; 0], "the main container must not have run");
    let told = events(world, &pod);
    assert!(
        told.iter().any(|line| line
            .starts_with("BackOff Back-off restarting failed container setup in pod always_default(")),
        "{told:?}"
    );
}

fn sidecars_stay_until_the_others_have_ended(world: &World) {
    let sidecar = |name: &str| with(container(name, &service(name)), "restartPolicy", json!("Always"));
    let wait = "while [ \"$(grep -c . /host/log)\" -lt 2 ]; do sleep 0.05; done; echo init >> /host/log";
    let init = json!([sidecar("s"), sidecar("t"), container("init", wait)]);
    let main =
        json!([container("main", "echo main >> /host/log; while [ ! -e /host/go ]; do sleep 0.05; done")]);
    let pod = world.run(world.pod("p", spec(world, "Never", init, main)));
    eventually("all run", || row(world, &pod) == "3/3 Running" && lines(world).len() == 4);
    assert_eq!(lines(world)[2..], ["init", "main"]);
    std::fs::write(world.host.join("go"), "").unwrap();
    let last = world.client.wait(&pod, MINUTE).unwrap();
    assert_eq!((last.state.phase(), last.state.exit_code()), (Phase::Succeeded, 0));
    assert_eq!(lines(world)[4..], ["t ends", "s ends"]);
    assert_eq!(row(world, &pod), "0/3 Completed");
}

fn a_supervisor_takes_over_in_the_middle_of_init(world: &World) {
    let init = json!([
        with(container("side", &service("side")), "restartPolicy", json!("Always")),
        container("init", "echo init >> /host/log; while [ ! -e /host/go ]; do sleep 0.05; done"),
    ]);
    let main = json!([container("main", &service("main"))]);
    let pod = world.run(world.pod("p", spec(world, "Always", init, main)));
    eventually("init is at work", || lines(world).contains(&"init".to_owned()));
    world.kill_supervisor(&pod);
    assert_eq!(row(world, &pod), "1/2 Init:1/2");
    world.client.start(&pod).unwrap();
    std::fs::write(world.host.join("go"), "").unwrap();
    eventually("the main one runs", || row(world, &pod) == "2/2 Running");
    eventually("and has begun", || lines(world).last().is_some_and(|line| line == "main"));
    assert_eq!(lines(world).iter().filter(|line| *line == "init").count(), 1, "init was not run again");
    let begun = Instant::now();
    world.client.stop(&pod, Some(30)).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
    assert_eq!(lines(world)[3..], ["main ends", "side ends"]);
}
