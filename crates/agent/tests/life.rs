//! The life of a pod as the kubelet leads it, end to end: real supervisors, real containers with busybox in them.

mod support;

use agent::client::PodRef;
use agent::lifecycle::Phase;
use rustix::fd::AsFd;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use support::{Case, MINUTE, World, eventually};

fn main() -> ExitCode {
    support::main(CASES)
}

const CASES: &[Case] = &[
    ("init_containers_run_before_the_others", init_containers_run_before_the_others),
    ("an_init_container_that_fails", an_init_container_that_fails),
    ("sidecars_stay_until_the_others_have_ended", sidecars_stay_until_the_others_have_ended),
    ("hooks_run_before_and_after", hooks_run_before_and_after),
    ("a_post_start_hook_that_fails", a_post_start_hook_that_fails),
    ("readiness_follows_its_probe", readiness_follows_its_probe),
    ("liveness_restarts", liveness_restarts),
    ("probes_over_the_pods_own_network", probes_over_the_pods_own_network),
    ("a_probe_that_hangs_holds_nobody_up", a_probe_that_hangs_holds_nobody_up),
    ("commands_of_probes_leave_nothing", commands_of_probes_leave_nothing),
    ("a_deadline_passes", a_deadline_passes),
    ("too_much_on_disk_is_evicted", too_much_on_disk_is_evicted),
    ("a_gate_that_nobody_opens", a_gate_that_nobody_opens),
    ("last_words", last_words),
    ("an_ephemeral_container", an_ephemeral_container),
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
    // Where nobody can say how it ended it is run again.
    let runs = if tells_how_others_ended() { 1 } else { 2 };
    let lines_until_main = lines(world);
    assert_eq!(lines_until_main.iter().filter(|line| *line == "init").count(), runs, "{lines_until_main:?}");
    let begun = Instant::now();
    world.client.stop(&pod, Some(30)).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
    assert_eq!(lines(world)[lines_until_main.len()..], ["main ends", "side ends"]);
}

/// Whether the kernel tells more than a parent (Linux 6.15).
fn tells_how_others_ended() -> bool {
    let mut child = std::process::Command::new("true").spawn().unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
    child.wait().unwrap();
    sys::process::exit_status_of(pidfd.as_fd()).is_some()
}

fn exec(script: &str) -> Value {
    json!({"exec": {"command": ["sh", "-c", script]}})
}

fn probe(does: Value, rules: Value) -> Value {
    let mut probe = rules;
    probe.as_object_mut().unwrap().extend(does.as_object().unwrap().clone());
    probe
}

fn pod_of(world: &World, name: &str, container: Value) -> PodRef {
    world.create(world.pod(name, spec(world, "Always", json!([]), json!([container]))))
}

fn reasons(world: &World, pod: &PodRef) -> Vec<String> {
    let usual = ["Scheduled", "Pulled", "Created", "Started"];
    events(world, pod).into_iter().filter(|line| !usual.iter().any(|word| line.starts_with(word))).collect()
}

fn hooks_run_before_and_after(world: &World) {
    let hooks = json!({
        "postStart": exec("echo begins >> /host/log; while [ ! -e /host/go ]; do sleep 0.05; done"),
        "preStop": exec("echo stops >> /host/log"),
    });
    let main = with(container("main", &service("main")), "lifecycle", hooks);
    let pod = pod_of(world, "p", main);
    eventually("both have begun", || lines(world).len() == 2);
    assert_eq!(row(world, &pod), "0/1 ContainerCreating");
    std::fs::write(world.host.join("go"), "").unwrap();
    eventually("the hook is done", || row(world, &pod) == "1/1 Running");
    world.client.stop(&pod, Some(30)).unwrap();
    assert_eq!(lines(world)[2..], ["stops", "main ends"]);
    assert_eq!(reasons(world, &pod), ["Killing Stopping container main"]);
    // A sleep needs nothing of the container's, and is cut where the grace period ends.
    let sleepy =
        with(container("main", "sleep 1000"), "lifecycle", json!({"preStop": {"sleep": {"seconds": 1}}}));
    let pod = pod_of(world, "q", sleepy);
    eventually("it runs", || row(world, &pod) == "1/1 Running");
    let begun = Instant::now();
    world.client.stop(&pod, Some(2)).unwrap();
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(2) && took < Duration::from_secs(25), "{took:?}");
}

fn a_post_start_hook_that_fails(world: &World) {
    let table = [
        ("exec", exec("echo because; exit 3"), "because"),
        ("tcp", json!({"tcpSocket": {"port": 1}}), "invalid handler"),
        ("http", json!({"httpGet": {"path": "/", "port": 1}}), "connection refused"),
        ("missing", json!({"exec": {"command": ["/nosuch"]}}), "/nosuch"),
    ];
    for (name, hook, why) in table {
        let main = with(container("main", "sleep 1000"), "lifecycle", json!({"postStart": hook}));
        let pod = world.create(world.pod(
            name,
            json!({"restartPolicy": "Never", "terminationGracePeriodSeconds": 1,
            "containers": [with(main, "volumeMounts", json!([]))]}),
        ));
        let last = world.client.wait(&pod, MINUTE).unwrap();
        assert_eq!(last.state.phase(), Phase::Failed, "{name}");
        let expected = ["FailedPostStartHook PostStartHook failed", "Killing FailedPostStartHook"];
        assert_eq!(reasons(world, &pod), expected, "{name}");
        let hint = last.state.events.iter().find_map(|e| e.hint.clone()).unwrap();
        assert!(hint.contains(why), "{name}: {hint}");
    }
}

fn readiness_follows_its_probe(world: &World) {
    let rules = json!({"periodSeconds": 1, "failureThreshold": 1});
    let main = with(container("main", "sleep 1000"), "readinessProbe", probe(exec("cat /host/ready"), rules));
    let pod = pod_of(world, "p", main);
    eventually("it runs and is not ready", || row(world, &pod) == "0/1 Running");
    eventually("why is told", || !reasons(world, &pod).is_empty());
    assert_eq!(
        reasons(world, &pod),
        ["Unhealthy Readiness probe failed: cat: can't open '/host/ready': No such file or directory"]
    );
    let now = status(world, &pod);
    assert_eq!(now["conditions"][2]["message"], "containers with unready status: [main]");
    assert_eq!(now["containerStatuses"][0]["started"], true);
    std::fs::write(world.host.join("ready"), "").unwrap();
    eventually("it is ready", || row(world, &pod) == "1/1 Running");
    assert_eq!(status(world, &pod)["conditions"][2]["status"], "True");
    // Another supervisor believes the last result until it has its own.
    world.kill_supervisor(&pod);
    world.client.start(&pod).unwrap();
    assert_eq!(row(world, &pod), "1/1 Running");
    std::fs::remove_file(world.host.join("ready")).unwrap();
    eventually("it is not any more", || row(world, &pod) == "0/1 Running");
    assert_eq!(status(world, &pod)["containerStatuses"][0]["restartCount"], 0);
}

fn liveness_restarts(world: &World) {
    let rules = json!({"periodSeconds": 1, "failureThreshold": 2, "terminationGracePeriodSeconds": 1});
    let main =
        with(container("main", "sleep 1000"), "livenessProbe", probe(exec("echo not alive; exit 1"), rules));
    let pod = pod_of(world, "p", main);
    eventually("it is restarted", || status(world, &pod)["containerStatuses"][0]["restartCount"] == 1);
    let last = &status(world, &pod)["containerStatuses"][0]["lastState"]["terminated"];
    assert_eq!((&last["exitCode"], &last["reason"]), (&json!(137), &json!("Error")));
    assert_eq!(
        reasons(world, &pod)[..2],
        [
            "Unhealthy Liveness probe failed: not alive",
            "Killing Container main failed liveness probe, will be restarted"
        ]
    );
    eventually("and then waits", || row(world, &pod) == "0/1 CrashLoopBackOff");
}

/// A server that only the pod can reach: the probes are made from inside its network.
fn probes_over_the_pods_own_network(world: &World) {
    let rules = || json!({"periodSeconds": 1, "failureThreshold": 1});
    let serve = "mkdir -p /www/d; echo ok | tee /www/index.html >/www/d/index.html; exec httpd -f -p 127.0.0.1:8123 -h /www";
    let ports = json!([{"name": "web", "containerPort": 8123}]);
    let main = with(container("main", serve), "ports", ports);
    let get = |path: &str| json!({"httpGet": {"path": path, "port": "web"}});
    let good = with(main.clone(), "readinessProbe", probe(get("/index.html"), rules()));
    let good =
        with(good, "livenessProbe", probe(json!({"tcpSocket": {"port": 8123}}), json!({"periodSeconds": 1})));
    let good = pod_of(
        world,
        "good",
        // Redirected to "/d/".
        with(good, "startupProbe", probe(get("/d"), json!({"periodSeconds": 1, "failureThreshold": 60}))),
    );
    eventually("it is ready", || row(world, &good) == "1/1 Running");
    let table = [
        ("status", get("/nosuch"), "HTTP probe failed with statuscode: 404"),
        (
            "refused",
            json!({"httpGet": {"path": "/x?y", "port": 81}}),
            "Get \"http://127.0.0.1:81/x?y\": dial tcp 127.0.0.1:81: connect: connection refused",
        ),
        ("tcp", json!({"tcpSocket": {"port": 82}}), "dial tcp 127.0.0.1:82: connect: connection refused"),
        ("port", json!({"tcpSocket": {"port": "nosuch"}}), "couldn't find port: nosuch"),
        (
            "tls",
            json!({"httpGet": {"path": "/", "port": 8123, "scheme": "HTTPS"}}),
            "Get \"https://127.0.0.1:8123/\": ",
        ),
        ("grpc", json!({"grpc": {"port": 8123}}), "error: health rpc probe failed"),
    ];
    for (name, does, text) in table {
        let pod = pod_of(world, name, with(main.clone(), "readinessProbe", probe(does, rules())));
        let said = || reasons(world, &pod).iter().any(|line| line.contains(text));
        eventually(name, said);
        assert_eq!(row(world, &pod), "0/1 Running", "{name}");
        world.client.remove(&pod, true).unwrap();
    }
    assert_eq!(row(world, &good), "1/1 Running");
    assert!(
        !reasons(world, &good).iter().any(|line| line.contains("Liveness")),
        "{:?}",
        reasons(world, &good)
    );
}

fn a_probe_that_hangs_holds_nobody_up(world: &World) {
    let rules = || json!({"periodSeconds": 1, "timeoutSeconds": 1});
    let main = container("main", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done");
    let main = with(main, "readinessProbe", probe(exec("sleep 1000"), rules()));
    let pod = pod_of(world, "p", main);
    eventually("it is told", || !reasons(world, &pod).is_empty());
    assert_eq!(
        reasons(world, &pod),
        ["Unhealthy Readiness probe failed: command timed out: \"sh -c sleep 1000\" timed out after 1s"]
    );
    let count = || world.log(&pod, "main", 0).lines().count();
    let before = count();
    eventually("the log goes on", || count() > before + 10);
    // Each that was killed is taken leave of: there are the container's first process, a probe's, and one on its way out.
    let supervisor = world.supervisor_pid(&pod).as_raw_nonzero();
    for _ in 0..40 {
        let path = format!("/proc/{supervisor}/task/{supervisor}/children");
        let children = std::fs::read_to_string(path).unwrap();
        assert!(children.split_whitespace().count() <= 3, "{children}");
        std::thread::sleep(Duration::from_millis(100));
    }
    let begun = Instant::now();
    world.client.stop(&pod, Some(0)).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

/// Each prints a MiB, leaves a daemon in the container, and ends by a signal.
fn commands_of_probes_leave_nothing(world: &World) {
    // A number that no other process of this machine sleeps for.
    let long = (1_000_000 + std::process::id()).to_string();
    let does = format!(
        "head -c 1048576 /dev/zero | busybox tr '\\0' x; busybox setsid sleep {long} >/dev/null 2>&1 & kill -SEGV $$"
    );
    let rules = json!({"periodSeconds": 1, "timeoutSeconds": 30, "failureThreshold": 1});
    let main = with(container("main", "sleep 1000"), "readinessProbe", probe(exec(&does), rules));
    let pod = pod_of(world, "p", main);
    eventually("it is told", || !reasons(world, &pod).is_empty());
    let told = reasons(world, &pod);
    let said = told[0].strip_prefix("Unhealthy Readiness probe failed: ").expect(&told[0]);
    assert!(said.len() <= 10 << 10 && said.bytes().all(|byte| byte == b'x'), "{} bytes", said.len());
    let supervisor = world.supervisor_pid(&pod).as_raw_nonzero();
    // Of many looks the least: between two of them.
    let least_open = || {
        let count = || std::fs::read_dir(format!("/proc/{supervisor}/fd")).expect("fds").count();
        (0..40).map(|_| (std::thread::sleep(Duration::from_millis(50)), count()).1).min()
    };
    let before = least_open();
    let daemons = || {
        let wanted = format!("sleep\0{long}\0");
        let processes = std::fs::read_dir("/proc").expect("proc").flatten();
        let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
        lines.filter(|line| line == wanted.as_bytes()).count()
    };
    let there = daemons();
    eventually("more of them", || daemons() > there + 3);
    assert_eq!(least_open(), before, "descriptors of the supervisor");
    world.client.remove(&pod, true).unwrap();
    eventually("the daemons are gone with the container", || daemons() == 0);
}

fn a_deadline_passes(world: &World) {
    let mut spec = spec(world, "Always", json!([]), json!([container("main", "sleep 1000")]));
    spec["activeDeadlineSeconds"] = json!(1);
    spec["terminationGracePeriodSeconds"] = json!(1);
    let pod = world.create(world.pod("p", spec));
    world.client.wait(&pod, MINUTE).unwrap();
    let now = status(world, &pod);
    let message = "Pod was active on the node longer than the specified deadline";
    assert_eq!(
        (&now["phase"], &now["reason"], &now["message"]),
        (&json!("Failed"), &json!("DeadlineExceeded"), &json!(message))
    );
    // As kubectl shows it: what the container ended with comes before the pod's reason.
    assert_eq!(row(world, &pod), "0/1 Error");
    assert_eq!(
        reasons(world, &pod),
        [format!("DeadlineExceeded {message}"), "Killing Stopping container main".into()]
    );
}

fn too_much_on_disk_is_evicted(world: &World) {
    let fill = |path: &str| format!("dd if=/dev/zero of={path} bs=1024 count=200 2>/dev/null; sleep 1000");
    let volume = |limit: &str| {
        json!({"terminationGracePeriodSeconds": 60,
        "volumes": [{"name": "v", "emptyDir": {"sizeLimit": limit}}],
        "containers": [{"name": "main", "image": "busybox", "command": ["sh", "-c", fill("/v/file")],
                        "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]})
    };
    let stays = world.create(world.pod("stays", volume("1Mi")));
    let container = json!({"containers": [{"name": "main", "image": "busybox", "command": ["sh", "-c", fill("/tmp/file")],
        "resources": {"limits": {"ephemeral-storage": "100Ki"}}}]});
    let table = [
        ("volume", volume("100Ki"), "Usage of EmptyDir volume \"v\" exceeds the limit \"100Ki\". "),
        (
            "layer",
            container,
            "Pod ephemeral local storage usage exceeds the total limit of containers 100Ki. ",
        ),
    ];
    let pods: Vec<_> =
        table.map(|(name, spec, message)| (world.create(world.pod(name, spec)), message)).into();
    for (pod, message) in pods {
        world.client.wait(&pod, MINUTE).unwrap();
        let now = status(world, &pod);
        assert_eq!(
            (&now["phase"], &now["reason"], &now["message"]),
            (&json!("Failed"), &json!("Evicted"), &json!(message))
        );
        assert_eq!(now["conditions"][5]["type"], "DisruptionTarget");
        assert_eq!(
            reasons(world, &pod),
            [format!("Evicted {}", message.trim_end()), "Killing Stopping container main".into()]
        );
    }
    assert_eq!(row(world, &stays), "1/1 Running");
}

fn a_gate_that_nobody_opens(world: &World) {
    let mut spec = spec(world, "Always", json!([]), json!([container("main", "sleep 1000")]));
    spec["readinessGates"] = json!([{"conditionType": "example.org/gate"}]);
    let pod = world.run(world.pod("p", spec));
    let conditions = status(world, &pod)["conditions"].clone();
    assert_eq!((&conditions[2]["status"], &conditions[3]["status"]), (&json!("False"), &json!("True")));
    assert_eq!(conditions[2]["reason"], "ReadinessGatesNotReady");
    assert_eq!(
        conditions[2]["message"],
        "corresponding condition of pod readiness gate \"example.org/gate\" does not exist."
    );
}

/// What containers leave behind: of a file, of their logs, and not more than a pod's status has room for.
fn last_words(world: &World) {
    let falls_back = |name: &str, script: &str| {
        with(container(name, script), "terminationMessagePolicy", json!("FallbackToLogsOnError"))
    };
    let long = |name: &str| {
        container(name, "dd if=/dev/zero bs=5000 count=1 2>/dev/null | tr '\\0' x > /dev/termination-log")
    };
    let own = with(container("own", "echo here > /here; exit 1"), "terminationMessagePath", json!("/here"));
    let main = json!([
        falls_back("fails", "echo out; echo err >&2; exit 1"),
        falls_back("succeeds", "echo out"),
        falls_back("both", "echo out; echo said > /dev/termination-log; exit 1"),
        own,
        long("long"),
        long("longer"),
    ]);
    let pod = world.create(world.pod("p", spec(world, "Never", json!([]), main)));
    world.client.wait(&pod, MINUTE).unwrap();
    let statuses = status(world, &pod)["containerStatuses"].clone();
    let message = |index: usize| statuses[index]["state"]["terminated"]["message"].clone();
    let words = message(0);
    assert!(["out\nerr", "err\nout"].contains(&words.as_str().unwrap_or_default().trim_end()), "{words}");
    assert_eq!((message(1), message(2), message(3)), (json!(null), json!("said\n"), json!("here\n")));
    let bytes = [4, 5].map(|index| message(index).as_str().map(str::len));
    assert_eq!(bytes, [Some(2048), Some(2048)], "12 KiB for six containers");
}

fn an_ephemeral_container(world: &World) {
    let pod = pod_of(world, "p", container("main", "sleep 1234"));
    eventually("it runs", || row(world, &pod) == "1/1 Running");
    let add =
        |value: Value| world.client.add_ephemeral_container(&pod, serde_json::from_value(value).unwrap());
    let look = "cat /proc/1/cmdline | tr '\\0' ' ' > /host/seen; sleep 1000";
    let debugger =
        |name: &str, script: &str| with(container(name, script), "targetContainerName", json!("main"));
    add(debugger("dbg", look)).unwrap();
    eventually("it has looked", || {
        std::fs::read_to_string(world.host.join("seen")).is_ok_and(|text| !text.is_empty())
    });
    assert_eq!(std::fs::read_to_string(world.host.join("seen")).unwrap(), "sleep 1234 ");
    // Its program is there before its supervisor has written down that it runs.
    let runs = || status(world, &pod)["ephemeralContainerStatuses"][0]["state"]["running"].is_object();
    eventually("its status says so", runs);
    assert_eq!(row(world, &pod), "1/1 Running");
    // What is wrong is said in the API server's words, and nothing is added.
    let said = |value: Value| add(value).unwrap_err().to_string();
    assert_eq!(
        said(debugger("dbg", "true")),
        "The Pod \"p\" is invalid: spec.ephemeralContainers[1].name: Duplicate value: \"dbg\""
    );
    let bidirectional = json!([{"name": "host", "mountPath": "/home", "mountPropagation": "Bidirectional"}]);
    assert_eq!(
        said(with(container("other", "true"), "volumeMounts", bidirectional)),
        "The Pod \"p\" is invalid: spec.ephemeralContainers[1].volumeMounts.mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers"
    );
    // Another supervisor knows it, and it ends with the pod.
    world.kill_supervisor(&pod);
    world.client.start(&pod).unwrap();
    eventually("the other knows it", runs);
    add(container("short", "exit 3")).unwrap();
    let ended =
        || status(world, &pod)["ephemeralContainerStatuses"][1]["state"]["terminated"]["exitCode"] == 3;
    eventually("the second has ended", ended);
    assert!(events(world, &pod).iter().any(|line| line.starts_with("Started")));
    world.client.stop(&pod, Some(0)).unwrap();
    assert!(status(world, &pod)["ephemeralContainerStatuses"][0]["state"]["terminated"].is_object());
    assert!(said(container("late", "true")).contains("no supervisor"), "a pod that does not run takes none");
}
