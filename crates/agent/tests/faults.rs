//! Every step of create, start, exec, restart, stop and rm, at which a process of ours fails or is killed: a first run
//! writes down the fault points that it passes, and then each of them is made to happen, in the command and in the
//! supervisor. After each the next command tells the truth, the pod can be started again and removed, and nothing is left.

mod support;

use agent::Root;
use agent::client::{Client, PodRef, Progress};
use agent::lifecycle::Current;
use runtime::{ExecConfig, ExecStdio};
use rustix::fd::AsFd;
use serde_json::json;
use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};
use support::{Case, MINUTE, World, eventually};

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|first| first == ACT) {
        let words: Vec<String> = args.map(|word| word.into_string().expect("UTF-8")).collect();
        let [verb, lib, run, host] = <[String; 4]>::try_from(words).expect("VERB LIB RUN HOST");
        return act(&verb, Root { lib: lib.into(), run: run.into() }, PathBuf::from(host));
    }
    if !cfg!(debug_assertions) {
        let line = "test faults ... SKIPPED: there are no fault points in a release build";
        writeln!(std::io::stdout(), "{line}").expect("write");
        println!("0 passed, 0 failed, {} skipped", CASES.len());
        return ExitCode::SUCCESS;
    }
    support::main(CASES)
}

/// As a subcommand of this program: does something to a pod of a root, with the faults of its environment, which its
/// supervisor inherits.
const ACT: &str = "act";

const CASES: &[Case] = &[
    ("errors_in_start", |world| walk(world, "start", "error")),
    ("kills_in_start", |world| walk(world, "start", "kill")),
    ("errors_in_exec", |world| walk(world, "exec", "error")),
    ("kills_in_exec", |world| walk(world, "exec", "kill")),
    ("errors_in_restart", |world| walk(world, "restart", "error")),
    ("kills_in_restart", |world| walk(world, "restart", "kill")),
    ("errors_in_stop", |world| walk(world, "stop", "error")),
    ("kills_in_stop", |world| walk(world, "stop", "kill")),
    ("errors_in_rm", |world| walk(world, "rm", "error")),
    ("kills_in_rm", |world| walk(world, "rm", "kill")),
    ("errors_in_rm_without_a_supervisor", |world| walk(world, "rm-orphan", "error")),
    ("kills_in_rm_without_a_supervisor", |world| walk(world, "rm-orphan", "kill")),
];

/// A pod with something of everything that has to be undone. Its container ends when there is a file `end`, once.
fn pod(world: &World) -> agent::record::NewPod {
    let volumes = json!([
        {"name": "shared", "emptyDir": {}},
        {"name": "memory", "emptyDir": {"medium": "Memory"}},
        {"name": "map", "configMap": {"name": "cm"}},
        {"name": "host", "hostPath": {"path": world.host}},
    ]);
    let script = "while ! rm /host/end 2>/dev/null; do sleep 0.02; done; exit 1";
    let spec = json!({"volumes": volumes, "terminationGracePeriodSeconds": 0, "containers": [{
        "name": "main", "image": "busybox", "command": ["sh", "-c", script], "securityContext": {"privileged": true},
        "volumeMounts": [
            {"name": "shared", "mountPath": "/shared", "mountPropagation": "Bidirectional"},
            {"name": "memory", "mountPath": "/memory"},
            {"name": "map", "mountPath": "/map"},
            {"name": "host", "mountPath": "/sub", "subPath": "sub"},
            {"name": "host", "mountPath": "/host"},
        ],
    }]});
    let mut pod = world.pod("p", spec);
    pod.network = Some(network(world));
    let map = serde_json::from_value(json!({"metadata": {"name": "cm"}, "data": {"key": "value"}}));
    pod.config_maps.insert("cm".into(), map.expect("a map"));
    pod
}

/// A network whose one plugin only keeps a book of whom it has wired, so that nothing of the machine's is needed for it.
fn network(world: &World) -> runtime::cni::Places {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = world.host.join("cni");
    let plugin = folder.join("bookkeeper");
    if !plugin.exists() {
        std::fs::create_dir_all(folder.join("book")).expect("mkdir");
        let script = format!(
            "#!/bin/sh\ncase $CNI_COMMAND in\n\
             ADD) : > {book}/$CNI_CONTAINERID; echo '{{\"cniVersion\": \"1.0.0\", \"ips\": [{{\"address\": \"10.1.2.3/24\"}}]}}';;\n\
             DEL) rm -f {book}/$CNI_CONTAINERID;;\nesac\n",
            book = folder.join("book").display()
        );
        std::fs::write(&plugin, script).expect("plugin");
        std::fs::set_permissions(&plugin, std::fs::Permissions::from_mode(0o755)).expect("chmod");
        let list = json!({"cniVersion": "1.0.0", "name": "net", "plugins": [{"type": "bookkeeper"}]});
        std::fs::write(folder.join("10.conflist"), list.to_string()).expect("configuration");
    }
    runtime::cni::Places { configurations: folder.clone(), plugins: vec![folder] }
}

/// In a process of its own. Fails where anything does that it asks for.
fn act(verb: &str, root: Root, host: PathBuf) -> ExitCode {
    match try_act(verb, root, &host) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn try_act(verb: &str, root: Root, host: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::open(&root)?;
    let world = World { client, host: host.to_owned() };
    let client = &world.client;
    let made = client.create(vec![pod(&world)])?.remove(0);
    client.start(&made)?;
    let (progress, status) = client.wait_started(&made, PATIENCE)?;
    if progress != Progress::Started {
        return Err(format!("{progress:?}").into());
    }
    match verb {
        "start" => {}
        "exec" => {
            let null = std::fs::File::open("/dev/null")?;
            let stdio = ExecStdio { stdin: None, stdout: null.as_fd(), stderr: null.as_fd() };
            let config = ExecConfig { command: vec!["true".into()], ..ExecConfig::default() };
            let process =
                runtime::exec(&root.runtime_dirs(), &status.state.containers[0].id, &config, stdio)?;
            let code = process.wait()?;
            assert_eq!(code, 0);
        }
        "restart" => {
            std::fs::write(host.join("end"), "")?;
            let again = |status: &agent::status_file::StatusFile| {
                let container = &status.state.containers[0];
                container.restart_count() == 1 && container.running()
            };
            // After an error that is said it is tried again only ten seconds later.
            let refused = |status: &agent::status_file::StatusFile| {
                matches!(agent::client::progress(&status.state), Progress::Failed(_))
            };
            let status = client.wait_until(&made, PATIENCE, |status| again(status) || refused(status))?;
            if !again(&status) {
                return Err("not restarted".into());
            }
        }
        "stop" => drop(client.stop(&made, None)?),
        "rm" => drop(client.remove(&made, true)?),
        "rm-orphan" => {
            let killed =
                rustix::process::kill_process(world.supervisor_pid(&made), rustix::process::Signal::KILL);
            killed?;
            eventually("the supervisor is gone", || client.view(&made).is_ok_and(|view| !view.supervised));
            client.remove(&made, true)?;
        }
        other => panic!("{other}?"),
    }
    Ok(())
}

/// How long a command waits for a start that is neither done nor refused.
const PATIENCE: Option<Duration> = MINUTE;

/// Longer than anything takes that we wait for: the commands' own limits are 30 s.
const BOUND: Duration = Duration::from_secs(100);

/// Runs a verb with a fault; whether it did all that it was asked for, and the points that it passed.
fn run(world: &World, verb: &str, fault: &str) -> (bool, Vec<String>) {
    let trace = world.host.join("trace");
    std::fs::write(&trace, "").expect("trace");
    let mut command = Command::new(std::env::current_exe().expect("exe"));
    let root = world.client.root();
    command.args([ACT, verb]).args([&root.lib, &root.run, &world.host]);
    command.env("RHIZOME_FAULT", fault).env("RHIZOME_FAULT_TRACE", &trace);
    let begun = Instant::now();
    let ran = command.output().expect("act");
    assert!(begun.elapsed() < BOUND, "{verb} with {fault} took {:?}", begun.elapsed());
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(!said.contains("panicked"), "{verb} with {fault}: {said}");
    let text = std::fs::read_to_string(&trace).expect("trace");
    (ran.status.success(), text.lines().map(str::to_owned).collect())
}

/// The points of a verb: those of the start are its own case, and those of a container's first process are walked by
/// the runtime's tests (each such process passes them for the first time). What is done for each hierarchy of cgroups
/// is taken for the first of them, one in the middle and the last.
fn points(world: &World, verb: &str) -> BTreeSet<String> {
    let passed = |verb: &str| {
        let (good, lines) = run(world, verb, "");
        assert!(good, "{verb} without a fault");
        clean_up(world, verb);
        lines.into_iter().map(|line| line.trim_end().to_owned()).collect::<BTreeSet<_>>()
    };
    let mut all = passed(verb);
    if verb != "start" {
        all = all.difference(&passed("start")).cloned().collect();
    }
    all.retain(|point| !point.starts_with("child."));
    let turns = |name: &str| {
        let of_name =
            |point: &String| point.split_once('#').filter(|(at, _)| *at == name)?.1.parse::<u32>().ok();
        let mut turns: Vec<u32> = all.iter().filter_map(of_name).collect();
        turns.sort_unstable();
        turns
    };
    let few = |point: &&String| {
        let (name, turn) = point.split_once('#').expect("a turn");
        let (turns, turn) = (turns(name), turn.parse().expect("a number"));
        !name.starts_with("cgroup.")
            || [turns[0], turns[turns.len() / 2], turns[turns.len() - 1]].contains(&turn)
    };
    all.iter().filter(few).cloned().collect()
}

fn walk(world: &World, verb: &str, action: &str) {
    std::fs::create_dir(world.host.join("sub")).expect("mkdir");
    let points = points(world, verb);
    assert!(points.len() >= 2, "{verb}: {points:?}");
    let mut hits = 0;
    for (number, point) in points.iter().enumerate() {
        let fault = format!("{point}:{action}");
        let begun = Instant::now();
        let (good, lines) = run(world, verb, &fault);
        hits += usize::from(lines.contains(&format!("{point} {action}")));
        let _ = std::fs::remove_file(world.host.join("end"));
        tell_the_truth(world, &fault);
        // Some are begun again first: the first by what waits for its back-off, which is ten seconds of real time.
        if number % 4 == 0 || point.starts_with("file.") {
            begin_again(world, &fault, number == 0);
        }
        clean_up(world, &fault);
        if std::env::var_os("RHIZOME_SHOW").is_some() {
            let how = if good { "done all the same" } else { "failed" };
            println!("  {verb} {fault}: {how}, {:.1} s", begun.elapsed().as_secs_f64());
        }
    }
    println!("  {verb}: {action} at {hits} of {} points", points.len());
    // What comes in another order another time may not be met.
    assert!(hits * 10 >= points.len() * 8, "{hits} of {points:?}");
}

/// What the next command says of the pod is so.
fn tell_the_truth(world: &World, fault: &str) {
    let listed = world.client.list(None).unwrap_or_else(|e| panic!("{fault}: {e}"));
    assert!(listed.problems.is_empty(), "{fault}: {:?}", listed.problems);
    let dirs = world.client.root().runtime_dirs();
    for view in listed.pods {
        for container in view.state().containers.iter().filter(|c| c.running()) {
            let status = runtime::status(&dirs, &container.id).unwrap_or_else(|e| panic!("{fault}: {e}"));
            if status.status != runtime::Status::Running {
                // It ended after the list was read, as one does whose supervisor was killed before it let it go.
                let again = world.client.view(&view.pod).unwrap_or_else(|e| panic!("{fault}: {e}"));
                let said = again.state().containers.iter().any(|c| c.id == container.id && c.running());
                assert!(!said, "{fault}: {:?}, {container:?}", status.status);
            }
        }
        if view.supervised {
            continue;
        }
        // Nothing runs that is not said to.
        for id in runtime::list_containers(&dirs).expect("list") {
            let runs = runtime::status(&dirs, &id).is_ok_and(|s| s.status == runtime::Status::Running);
            let said = view.state().containers.iter().any(|c| {
                c.id == id && c.running()
                    || matches!(c.current, Current::Starting { .. } | Current::Waiting { .. })
            });
            assert!(!runs || said, "{fault}: {:?}", view.state());
        }
    }
}

/// A pod that was created runs when it is told to. One whose supervisor waits for its next try is left to it, or ended
/// and begun again at once.
fn begin_again(world: &World, fault: &str, patiently: bool) {
    for view in world.client.list(None).expect("list").pods {
        // The network is wired by a child of the supervisor, which comes to the point for the first time at every try.
        let waits = matches!(agent::client::progress(view.state()), Progress::Failed(_));
        let patiently = patiently && !fault.starts_with("network.");
        if view.supervised && waits && !patiently {
            world.client.stop(&view.pod, None).unwrap_or_else(|e| panic!("{fault}: {e}"));
        }
        if !view.supervised || (waits && !patiently) {
            world.client.start(&view.pod).unwrap_or_else(|e| panic!("{fault}: {e}"));
        }
        let started = |pod: &PodRef| {
            let (progress, status) =
                world.client.wait_started(pod, MINUTE).unwrap_or_else(|e| panic!("{fault}: {e}"));
            progress == Progress::Started || {
                // Said, and tried again.
                assert!(!status.state.events.is_empty(), "{fault}: {status:?}");
                false
            }
        };
        let until = Instant::now() + BOUND;
        while !started(&view.pod) {
            assert!(Instant::now() < until, "{fault}: it does not start");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn clean_up(world: &World, fault: &str) {
    for view in world.client.list(None).expect("list").pods {
        world.client.remove(&view.pod, true).unwrap_or_else(|e| panic!("{fault}: {e:?}"));
    }
    // The next create sweeps what has no name.
    world.client.sweep();
    world.check_empty();
    let book = std::fs::read_dir(world.host.join("cni/book")).into_iter().flatten();
    assert_eq!(book.count(), 0, "{fault}: addresses are not given back");
}
