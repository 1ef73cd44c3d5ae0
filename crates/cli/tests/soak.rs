//! Many pods by many clients at once, and very many pods one after the other: no update is lost, nobody waits for ever,
//! and what is there after the last pod is what was there after the first.
//!
//! `cargo xtask soak pods` and `cargo xtask soak churn` run the long forms, by the variables that are read here.

#[path = "support/node.rs"]
mod node;
mod support;
#[path = "support/world.rs"]
mod world;

use node::Node;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::{Ran, ran};
use world::World;

/// Seconds that a command may take on a machine that is busy, and a node until a pod runs or is gone; what takes longer
/// hangs.
const PATIENCE_S: u64 = 240;

/// A count of the long form, or that of the short one.
fn count(variable: &str, short: usize) -> usize {
    std::env::var(variable).map_or(short, |text| text.parse().unwrap_or_else(|_| panic!("{variable}={text}")))
}

/// A line that is seen also where the test passes.
fn tell(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Runs a command to its end, which must come.
fn in_time(world: &World, args: &[&str]) -> Ran {
    let command = world.command(args);
    let mut timed = Command::new("timeout");
    timed.args(["-s", "KILL", &PATIENCE_S.to_string()]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => timed.env(name, value),
            None => timed.env_remove(name),
        };
    }
    let ran = ran(timed.stdin(std::process::Stdio::null()).output().unwrap());
    assert_ne!(ran.status, -9, "{args:?} hangs: {ran:?}");
    ran
}

fn must(world: &World, args: &[&str]) -> Ran {
    let ran = in_time(world, args);
    assert_eq!(ran.status, 0, "{args:?}: {ran:?}");
    ran
}

/// `clients` threads do the jobs, as they come; each job is a command line's worth of work.
fn at_once(clients: usize, jobs: usize, work: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                loop {
                    let job = next.fetch_add(1, Ordering::Relaxed);
                    if job >= jobs {
                        return;
                    }
                    work(job);
                }
            });
        }
    });
}

/// A pod that has part in everything that pods share: a volume that is made shared for it, or a range of users.
fn manifest(name: &str, number: usize, volume: &Path) -> String {
    let (annotations, spec, security, mode) = match number % 3 {
        0 => ("", "", "privileged: true", "HostToContainer"),
        1 => ("rhizome.dev/make-shared: 'true'", "", "privileged: true", "Bidirectional"),
        _ => ("", "hostUsers: false", "privileged: false", "None"),
    };
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, annotations: {{{annotations}}}}}\nspec:\n  \
         {spec}\n  terminationGracePeriodSeconds: 0\n  containers:\n  - name: main\n    image: busybox\n    \
         command: [sleep, \"100000\"]\n    securityContext: {{{security}}}\n    volumeMounts:\n    \
         - {{name: v, mountPath: /v, mountPropagation: {mode}}}\n    - {{name: own, mountPath: /own}}\n  volumes:\n  \
         - {{name: v, hostPath: {{path: {}}}}}\n  - {{name: own, emptyDir: {{}}}}\n",
        volume.display()
    )
}

/// The pods' names by their phase and the containers that ran or run in each.
fn pods(world: &World) -> BTreeMap<String, (String, BTreeSet<String>)> {
    let list: Value = serde_json::from_str(&must(world, &["ps", "-a", "-o", "json"]).stdout).unwrap();
    let items = list["items"].as_array().unwrap();
    let names = |pod: &Value, list: &str| {
        let all = pod["status"][list].as_array().cloned().unwrap_or_default();
        all.iter().map(|c| c["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    items
        .iter()
        .map(|pod| {
            let mut containers = names(pod, "containerStatuses");
            containers.extend(names(pod, "ephemeralContainerStatuses"));
            let phase = pod["status"]["phase"].as_str().unwrap().to_owned();
            let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
            (name, (phase, containers.into_iter().collect()))
        })
        .collect()
}

/// Pods are started, entered, changed and removed by many at once: each pod by several clients at the same moment.
#[test]
fn many_clients_at_once() {
    let Some(world) = World::isolated("many_clients_at_once") else { return };
    let (count_of_pods, clients) = (count("RHIZOME_SOAK_PODS", 6), count("RHIZOME_SOAK_CLIENTS", 4));
    let rounds = count("RHIZOME_SOAK_ROUNDS", 2);
    let names: Vec<String> = (0..count_of_pods).map(|n| format!("p{n}")).collect();
    let volume = world.volume();
    for round in 0..rounds {
        let begun = Instant::now();
        let files: Vec<String> = (0..count_of_pods)
            .map(|n| world.file(&format!("{n}.yaml"), &manifest(&names[n], n, &volume)))
            .collect();
        at_once(clients, count_of_pods, |n| {
            must(&world, &world.run_args(&["-d", &files[n]]));
        });
        world.remember_pods();
        let running = pods(&world);
        assert_eq!(running.keys().collect::<BTreeSet<_>>(), names.iter().collect(), "round {round}");
        assert!(running.values().all(|(phase, _)| phase == "Running"), "round {round}: {running:?}");
        // Each pod is entered by four at once, and two of them add a container to it.
        at_once(clients, count_of_pods * 4, |job| {
            let (name, way) = (&names[job / 4], job % 4);
            if way < 2 {
                let text = format!("{name} {way}");
                let script = format!("echo {way} >> /own/log; echo {text}");
                let ran = must(&world, &["exec", name, "--", "sh", "-c", &script]);
                assert_eq!(ran.stdout.trim_end(), text);
            } else {
                let container = format!("added{way}");
                must(&world, &["debug", name, "--image", "busybox", "-c", &container, "--", "true"]);
            }
        });
        let all = ["main", "added2", "added3"].map(str::to_owned).into();
        for (name, (phase, containers)) in pods(&world) {
            assert_eq!((phase.as_str(), &containers), ("Running", &all), "round {round}: {name}");
            let log = must(&world, &["exec", &name, "--", "cat", "/own/log"]).stdout;
            assert_eq!(log.lines().collect::<BTreeSet<_>>(), ["0", "1"].into(), "round {round}: {name}");
        }
        // Two remove each pod: one does, the other does as well or finds that it is gone.
        let removed: Vec<AtomicUsize> = names.iter().map(|_| AtomicUsize::new(0)).collect();
        at_once(clients, count_of_pods * 2, |job| {
            let ran = in_time(&world, &["rm", "-f", &names[job / 2]]);
            match ran.status {
                0 => drop(removed[job / 2].fetch_add(1, Ordering::Relaxed)),
                _ => assert!(ran.stderr.contains("not found"), "{ran:?}"),
            }
        });
        assert!(
            removed.iter().all(|count| count.load(Ordering::Relaxed) > 0),
            "round {round}: nobody removed it"
        );
        assert_eq!(pods(&world), BTreeMap::new(), "round {round}");
        world.assert_nothing_left();
        assert!(!world.root().join("run/user-ranges").exists(), "round {round}: a range of users is kept");
        let register =
            std::fs::read_to_string(world.root().join("run/shared-paths.json")).unwrap_or_default();
        assert!(register.is_empty() || register.trim_end() == "{}", "round {round}: {register}");
        tell(&format!(
            "round {round}: {count_of_pods} pods by {clients} clients, {} commands in {:.1} s, nothing left",
            count_of_pods * 8 + 3,
            begun.elapsed().as_secs_f64()
        ));
    }
    // Nobody has it pinned any more.
    must(&world, &["image", "rm", "busybox"]);
}

/// What may not grow: of the machine, and of processes of ours that stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sample {
    /// Mounts in the root's namespace.
    mounts: usize,
    /// Directories of cgroups of this root's pods, in all hierarchies.
    cgroups: usize,
    /// Processes of ours.
    processes: usize,
    /// Files and folders below the root.
    files: usize,
    /// Their blocks, in KiB.
    disk_kib: u64,
    /// Descriptors of all that stays.
    descriptors: usize,
    /// Memory of all that stays, in KiB: what is theirs alone (`Private_Dirty` of smaps_rollup).
    memory_kib: u64,
}

impl Sample {
    fn take(world: &World, stay: &[u32]) -> Sample {
        let keeper = world.keeper().expect("a keeper");
        let mounts = std::fs::read_to_string(format!("/proc/{keeper}/mountinfo")).unwrap().lines().count();
        let (mut files, mut disk_kib, mut inodes) = (0, 0, BTreeSet::new());
        walk(world.root(), &mut |metadata| {
            files += 1;
            // What has several names is on the disk once.
            if inodes.insert((metadata.dev(), metadata.ino())) {
                disk_kib += metadata.blocks() / 2;
            }
        });
        let stay: Vec<u32> = stay.iter().copied().chain([keeper]).collect();
        let descriptors =
            stay.iter().map(|pid| std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()).sum();
        Sample {
            mounts,
            cgroups: world.cgroups(),
            processes: world.processes().len(),
            files,
            disk_kib,
            descriptors,
            memory_kib: stay.iter().map(|pid| private_kib(*pid)).sum(),
        }
    }

    /// Counts are what they were; sizes may be a little more: a heap's last pages, a journal between two clean-ups.
    fn assert_flat(&self, before: &Sample, lives: usize, more_kib: u64) {
        let shown = format!("after {lives} lives {self:?}, before them {before:?}");
        let counts = |s: &Sample| (s.mounts, s.cgroups, s.processes, s.files, s.descriptors);
        assert_eq!(counts(self), counts(before), "{shown}");
        assert!(self.disk_kib <= before.disk_kib + more_kib, "{shown}");
        assert!(self.memory_kib <= before.memory_kib + before.memory_kib / 10 + more_kib, "{shown}");
    }
}

fn walk(folder: &Path, see: &mut impl FnMut(&std::fs::Metadata)) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        // What goes away meanwhile is not there.
        let Ok(metadata) = entry.path().symlink_metadata() else { continue };
        see(&metadata);
        if metadata.is_dir() {
            walk(&entry.path(), see);
        }
    }
}

fn private_kib(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Private_Dirty:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Lives that are led before the first sample: until then caches fill.
fn warm_up(lives: usize) -> usize {
    (lives / 10).clamp(5, 500)
}

/// Lives between two samples that are told.
fn report_every(lives: usize) -> usize {
    (lives / 10).max(100).min(lives)
}

/// Pod after pod by the command line, beside one that stays: after the last one everything is as after the first.
#[test]
fn many_lives_by_commands() {
    let Some(world) = World::isolated("many_lives_by_commands") else { return };
    let lives = count("RHIZOME_SOAK_LIVES", 20);
    let volume = world.volume();
    let stays = world.file("stays.yaml", &manifest("stays", 0, &volume));
    must(&world, &world.run_args(&["-d", &stays]));
    let files: Vec<String> =
        (0..3).map(|n| world.file(&format!("{n}.yaml"), &manifest("p", n, &volume))).collect();
    let [supervisor] = world.supervisors()[..] else { panic!("{:?}", world.processes()) };
    let begun = Instant::now();
    let mut before = None;
    for life in 0..lives + warm_up(lives) {
        must(&world, &world.run_args(&["-d", &files[life % 3]]));
        if life % 4 == 0 {
            must(&world, &["exec", "p", "--", "true"]);
        }
        must(&world, &["rm", "-f", "p"]);
        let led = (life + 1).saturating_sub(warm_up(lives));
        if life + 1 == warm_up(lives) || (led > 0 && led % report_every(lives) == 0) {
            let sample = Sample::take(&world, &[supervisor]);
            tell(&format!("{led} lives by commands, {:.0} s: {sample:?}", begun.elapsed().as_secs_f64()));
            before.get_or_insert(sample);
        }
    }
    Sample::take(&world, &[supervisor]).assert_flat(&before.expect("a sample"), lives, 512);
    must(&world, &["exec", "stays", "--", "true"]);
    world.remember_pods();
    must(&world, &["rm", "-fa"]);
    world.assert_nothing_left();
}

/// The same through a node, which stays all the time: requests over its socket, as kubectl makes them.
#[test]
fn many_lives_by_a_node() {
    let Some(mut node) = Node::start("many_lives_by_a_node") else { return };
    let lives = count("RHIZOME_SOAK_LIVES", 20);
    let pod = |number: usize| {
        let spec = serde_json::json!({
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "main", "image": "busybox", "command": ["sleep", "100000"],
                            "volumeMounts": [{"name": "own", "mountPath": "/own"}]}],
            "volumes": [{"name": "own", "emptyDir": {}}],
        });
        let metadata = serde_json::json!({"name": format!("p{number}")});
        serde_json::json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}).to_string()
    };
    let all = "/api/v1/namespaces/default/pods";
    // The store remembers its last changes (4,096 of them, 8 MiB at most), and rewrites its journal when it has grown by
    // 4 MiB. Until it is full that is what the node grows by.
    let more_kib = if warm_up(lives) < 500 { 12 << 10 } else { 5 << 10 };
    let begun = Instant::now();
    let mut before = None;
    for life in 0..lives + warm_up(lives) {
        let path = format!("{all}/p{life}");
        let (code, body) =
            node.request("POST", all, "Content-Type: application/json\r\n", pod(life).as_bytes());
        assert_eq!(code, 201, "{body}");
        until(&node, &path, |code, body| code == 200 && body.contains("\"phase\":\"Running\""));
        let (code, body) = node.request("DELETE", &path, "", b"");
        assert_eq!(code, 200, "{body}");
        until(&node, &path, |code, _| code == 404);
        let led = (life + 1).saturating_sub(warm_up(lives));
        if life + 1 == warm_up(lives) || (led > 0 && led % report_every(lives) == 0) {
            // They are kept for an hour, which is longer than this takes.
            let (code, body) = node.request("DELETE", "/api/v1/namespaces/default/events", "", b"");
            assert_eq!(code, 200, "{body}");
            settle(&node);
            let sample = Sample::take(&node.world, &[node.pid()]);
            tell(&format!("{led} lives by a node, {:.0} s: {sample:?}", begun.elapsed().as_secs_f64()));
            before.get_or_insert(sample);
        }
    }
    Sample::take(&node.world, &[node.pid()]).assert_flat(&before.expect("a sample"), lives, more_kib);
    assert_eq!(node.end(rustix::process::Signal::TERM).status, 0);
    node.world.assert_nothing_left();
}

fn until(node: &Node, path: &str, reached: impl Fn(u16, &str) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(PATIENCE_S);
    loop {
        let (code, body) = node.request("GET", path, "", b"");
        if reached(code, &body) {
            return;
        }
        assert!(Instant::now() < deadline, "{path}: {code} {body}\n{:?}", node.world.processes());
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// The last pod's object is gone a moment before its supervisor is.
fn settle(node: &Node) {
    let deadline = Instant::now() + Duration::from_secs(PATIENCE_S);
    while !node.world.supervisors().is_empty() {
        assert!(Instant::now() < deadline, "{:?}", node.world.processes());
        std::thread::sleep(Duration::from_millis(10));
    }
}
