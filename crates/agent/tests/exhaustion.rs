//! A machine that runs out of something (disk, `/run`, mounts, memory, descriptors), or whose clock is set. Each is an error that names it, in
//! bounded time; then the truth is told, `rm` succeeds while it is still so, nothing is left, and with what was missing
//! there again the next pod runs.

mod support;

use agent::Root;
use agent::client::{Client, PodRef, Progress};
use agent::lifecycle::PodState;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use serde_json::json;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use support::{Case, MINUTE, World, eventually, wait};
use sys::namespace::Namespaces;
use sys::process::{exit, spawn};

fn main() -> ExitCode {
    support::main(CASES)
}

const CASES: &[Case] = &[
    ("a_full_disk", a_full_disk),
    ("a_full_run", a_full_run),
    ("as_many_mounts_as_there_may_be", as_many_mounts_as_there_may_be),
    ("a_memory_limit_that_is_too_small", a_memory_limit_that_is_too_small),
    ("too_few_descriptors", too_few_descriptors),
    ("a_clock_that_is_set", a_clock_that_is_set),
];

/// Longer than anything may take here.
const BOUND: Duration = Duration::from_secs(100);

/// What a pod that cannot start says, with causes and hints.
fn failure(world: &World, pod: &PodRef) -> String {
    let (progress, status) = world.client.wait_started(pod, MINUTE).expect("an answer");
    let Progress::Failed(failures) = progress else { panic!("it started: {:?}", status.state) };
    failures
        .iter()
        .map(|f| format!("{}: {} [{}]", f.reason, f.message, f.hint.clone().unwrap_or_default()))
        .collect()
}

fn told(state: &PodState, reason: &str) -> Option<String> {
    state.events.iter().find(|event| event.reason == reason).map(|event| event.message.clone())
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

/// A root on two small file systems.
struct Small {
    world: World,
    disk: PathBuf,
    run: PathBuf,
}

impl Small {
    fn new(outer: &World) -> Small {
        let base = outer.host.parent().expect("parent");
        let (disk, run) = (base.join("disk"), base.join("small-run"));
        for (folder, size) in [(&disk, c"size=16m"), (&run, c"size=1m")] {
            std::fs::create_dir(folder).expect("mkdir");
            rustix::mount::mount("tmpfs", folder, "tmpfs", MountFlags::empty(), Some(size)).expect("tmpfs");
        }
        let (root, host) = (disk.join("root"), disk.join("host"));
        std::fs::create_dir(&host).expect("mkdir");
        let client = Client::open(&Root { lib: root.join("lib"), run: run.join("run") }).expect("root");
        let store = image::Store::open(client.root().images()).expect("store");
        store.import(Path::new("/media/busybox.tar"), "busybox").expect("import");
        Small { world: World { client, host }, disk, run }
    }

    /// Without its tmpfs, what is in it goes.
    fn end(self) {
        self.world.check_empty();
        for folder in [&self.disk, &self.run] {
            rustix::mount::unmount(folder, UnmountFlags::empty()).expect("nobody uses it any more");
        }
    }
}

/// Takes all space of a file system, down to the last byte.
fn fill(folder: &Path) -> PathBuf {
    let path = folder.join("fill");
    let mut file = File::create(&path).expect("create");
    for size in [1 << 20, 4096, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
    path
}

/// A pod that says something now and then, and writes into a volume on disk.
fn busy(world: &World, name: &str) -> agent::record::NewPod {
    let script = "while :; do echo line; echo x >> /v/file; sleep 0.02; done";
    let spec = json!({"terminationGracePeriodSeconds": 0, "volumes": [{"name": "v", "emptyDir": {}}], "containers": [{
        "name": "main", "image": "busybox", "command": ["sh", "-c", script],
        "volumeMounts": [{"name": "v", "mountPath": "/v"}],
    }]});
    world.pod(name, spec)
}

/// A pod runs, and goes again without a trace.
fn all_is_well(world: &World) {
    let pod = world.run(busy(world, "well"));
    world.client.stop(&pod, Some(0)).expect("stop");
    world.client.remove(&pod, false).expect("rm");
    world.client.sweep();
    world.check_empty();
}

const NO_SPACE: &str = "No space left on device";

/// A pod that was made and does not start, since this file system is full; it is removed while it is.
fn starts_not_when_full(world: &World, folder: &Path) {
    let pod = world.client.create(vec![busy(world, "p")]).expect("create").remove(0);
    let filler = fill(folder);
    match world.client.start(&pod) {
        Ok(()) => {
            let text = failure(world, &pod);
            assert!(text.contains(NO_SPACE), "{text}");
        }
        Err(error) => assert!(chain(&error).contains(NO_SPACE), "{}", chain(&error)),
    }
    world.client.remove(&pod, true).unwrap_or_else(|e| panic!("rm: {}", chain(&e)));
    world.check_empty();
    std::fs::remove_file(&filler).expect("rm");
}

fn a_full_disk(outer: &World) {
    let small = Small::new(outer);
    let world = &small.world;
    // Nothing is made of it.
    let filler = fill(&small.disk);
    let error = world.client.create(vec![busy(world, "p")]).expect_err("no space");
    assert!(chain(&error).contains(NO_SPACE), "{}", chain(&error));
    assert_eq!(world.client.list(None).expect("list").pods.len(), 0);
    let store = image::Store::open(world.client.root().images()).expect("store");
    let error = store.import(Path::new("/media/busybox.tar"), "other").expect_err("no space");
    assert!(chain(&error).contains(NO_SPACE), "{}", chain(&error));
    std::fs::remove_file(&filler).expect("rm");
    world.client.sweep();
    world.check_empty();
    // Made and not begun.
    let begun = Instant::now();
    starts_not_when_full(world, &small.disk);
    // It runs, and the disk fills up: the log loses lines, which is said, and that is all.
    let pod = world.run(busy(world, "p"));
    let filler = fill(&small.disk);
    eventually("the log is said to lose lines", || {
        let view = world.client.view(&pod).expect("view");
        told(view.state(), "LogLost").is_some_and(|message| message.contains(NO_SPACE))
    });
    assert!(world.client.view(&pod).expect("view").state().containers[0].running());
    world.client.stop(&pod, Some(0)).unwrap_or_else(|e| panic!("stop: {}", chain(&e)));
    assert!(!world.client.view(&pod).expect("view").state().containers[0].running());
    world.client.remove(&pod, false).unwrap_or_else(|e| panic!("rm: {}", chain(&e)));
    world.check_empty();
    std::fs::remove_file(&filler).expect("rm");
    // A supervisor that is killed while it is full leaves a pod that can be removed all the same.
    let pod = world.run(busy(world, "p"));
    let filler = fill(&small.disk);
    world.kill_supervisor(&pod);
    assert!(world.client.view(&pod).expect("view").state().containers[0].running());
    world.client.remove(&pod, true).unwrap_or_else(|e| panic!("rm: {}", chain(&e)));
    std::fs::remove_file(&filler).expect("rm");
    all_is_well(world);
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
    small.end();
}

fn a_full_run(outer: &World) {
    let small = Small::new(outer);
    let world = &small.world;
    let begun = Instant::now();
    starts_not_when_full(world, &small.run);
    // It runs, and then /run is full: what is told is still true, and it can be ended.
    for force in [false, true] {
        let pod = world.run(busy(world, "p"));
        let filler = fill(&small.run);
        assert!(world.client.view(&pod).expect("view").state().containers[0].running());
        if !force {
            world.client.stop(&pod, Some(0)).unwrap_or_else(|e| panic!("stop: {}", chain(&e)));
            assert!(!world.client.view(&pod).expect("view").state().containers[0].running());
        }
        world.client.remove(&pod, force).unwrap_or_else(|e| panic!("rm: {}", chain(&e)));
        world.check_empty();
        std::fs::remove_file(&filler).expect("rm");
    }
    all_is_well(world);
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
    small.end();
}

/// `fs.mount-max` is one for the whole machine and is not touched: the namespace is filled until the kernel refuses.
fn as_many_mounts_as_there_may_be(world: &World) {
    let most = std::fs::read_to_string("/proc/sys/fs/mount-max").expect("mount-max");
    let most: usize = most.trim().parse().expect("a number");
    if most > 200_000 {
        let line = format!("test as_many_mounts_as_there_may_be ... SKIPPED: fs.mount-max is {most}");
        writeln!(std::io::stdout(), "{line}").expect("write");
        return;
    }
    // A volume of the pod's, so that not only our own namespace is full.
    let pod = world
        .client
        .create(vec![world.pod(
            "p",
            json!({
        "volumes": [{"name": "v", "emptyDir": {"medium": "Memory"}}],
        "containers": [{"name": "main", "image": "busybox", "command": ["sleep", "1000"],
                        "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]}),
        )])
        .expect("create")
        .remove(0);
    let many = Path::new("/media/many");
    std::fs::create_dir(many).expect("mkdir");
    let none: Option<&std::ffi::CStr> = None;
    rustix::mount::mount("tmpfs", many, "tmpfs", MountFlags::empty(), none).expect("tmpfs");
    rustix::mount::mount_change(many, MountPropagationFlags::PRIVATE).expect("private");
    // Each copies the tree into itself, until it does not fit; then the largest of them that does, and the next.
    let bind = |from: &Path, number: usize| {
        let at = many.join(number.to_string());
        std::fs::create_dir(&at).expect("mkdir");
        rustix::mount::mount_bind_recursive(from, &at)
    };
    let mut doubled = 0;
    while bind(many, doubled).is_ok() {
        doubled += 1;
    }
    let mut made = doubled;
    for part in (0..doubled).rev() {
        loop {
            made += 1;
            match bind(&many.join(part.to_string()), made) {
                Ok(()) => {}
                Err(rustix::io::Errno::NOSPC) => break,
                Err(errno) => panic!("{errno}"),
            }
        }
    }
    let begun = Instant::now();
    match world.client.start(&pod) {
        Ok(()) => {
            let text = failure(world, &pod);
            assert!(text.contains("fs.mount-max"), "{text}");
        }
        Err(error) => assert!(chain(&error).contains("fs.mount-max"), "{}", chain(&error)),
    }
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
    world.client.remove(&pod, true).unwrap_or_else(|e| panic!("rm: {}", chain(&e)));
    rustix::mount::unmount(many, UnmountFlags::DETACH).expect("detach");
    world.check_empty();
    all_is_well(world);
}

/// From what is too small for a process to what is enough: an error that says so, or a pod that runs.
fn a_memory_limit_that_is_too_small(world: &World) {
    let (mut refused, mut ran) = (0, 0);
    for kib in [4, 16, 64, 128, 256, 512, 1024, 65_536] {
        let container = json!({"name": "main", "image": "busybox", "command": ["sleep", "1000"],
                               "resources": {"limits": {"memory": format!("{kib}Ki")}}});
        let spec =
            json!({"terminationGracePeriodSeconds": 0, "restartPolicy": "Never", "containers": [container]});
        let begun = Instant::now();
        let pod = world.create(world.pod("p", spec));
        let (progress, status) = world.client.wait_started(&pod, MINUTE).expect("an answer");
        let state = format!("{:?}", status.state);
        match progress {
            Progress::Started => ran += 1,
            Progress::Failed(failures) => {
                let text = format!("{failures:?}").to_lowercase();
                assert!(text.contains("memory"), "{kib} KiB: {text}");
                refused += 1;
            }
            Progress::Starting => panic!("{kib} KiB: {state}"),
        }
        assert!(begun.elapsed() < BOUND, "{kib} KiB: {:?}", begun.elapsed());
        world.client.remove(&pod, true).unwrap_or_else(|e| panic!("{kib} KiB: {}", chain(&e)));
        world.check_empty();
    }
    assert!(refused > 0 && ran > 0, "{refused} refused, {ran} ran");
}

/// A command with room for so few descriptors, and the supervisor that it starts.
fn too_few_descriptors(world: &World) {
    let (mut refused, mut ran) = (0, 0);
    for most in (4..=40).step_by(2).chain([64]) {
        let begun = Instant::now();
        let command = spawn(Namespaces::empty(), None, || {
            // What is inherited stays open above the limit.
            let _ = sys::process::close_on_exec_from(3);
            let limit = rustix::process::Rlimit { current: Some(most), maximum: Some(most) };
            rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).expect("setrlimit");
            let outcome = || -> Result<(), String> {
                let client = Client::open(world.client.root()).map_err(|e| chain(&e))?;
                let pod = client.create(vec![busy(world, "p")]).map_err(|e| chain(&e))?.remove(0);
                client.start(&pod).map_err(|e| chain(&e))?;
                let patience = Some(Duration::from_secs(10));
                match client.wait_started(&pod, patience).map_err(|e| chain(&e))? {
                    (Progress::Started, _) => Ok(()),
                    (Progress::Failed(failures), _) => Err(format!("{failures:?}")),
                    (Progress::Starting, status) => Err(format!("still starting: {:?}", status.state)),
                }
            };
            match outcome() {
                Ok(()) => exit(0),
                Err(text) if text.contains("Too many open files") => {
                    if std::env::var_os("RHIZOME_SHOW").is_some() {
                        println!("  {most} descriptors: {text}");
                    }
                    exit(3)
                }
                Err(text) => {
                    println!("  {most} descriptors: {text}");
                    exit(4)
                }
            }
        });
        match wait(&command.expect("spawn")) {
            0 => ran += 1,
            3 => refused += 1,
            other => panic!("{most} descriptors: exit status {other}"),
        }
        assert!(begun.elapsed() < BOUND, "{most} descriptors: {:?}", begun.elapsed());
        for view in world.client.list(None).expect("list").pods {
            world.client.remove(&view.pod, true).unwrap_or_else(|e| panic!("{most}: {}", chain(&e)));
        }
        world.client.sweep();
        world.check_empty();
    }
    assert!(refused > 3 && ran > 0, "{refused} refused, {ran} ran");
    all_is_well(world);
}

/// There is one wall clock, so only a machine of our own is asked (the virtual machine of `cargo xtask vm`); the state
/// machine's part is a test of `lifecycle`.
fn a_clock_that_is_set(world: &World) {
    use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};
    if std::env::var_os("RHIZOME_TEST_OWN_MACHINE").is_none() {
        let line =
            "test a_clock_that_is_set ... SKIPPED: it is the clock of all; cargo xtask vm has one of its own";
        writeln!(std::io::stdout(), "{line}").expect("write");
        return;
    }
    let jump = |seconds: i64| {
        let now = clock_gettime(ClockId::Realtime);
        let then = Timespec { tv_sec: now.tv_sec + seconds, tv_nsec: now.tv_nsec };
        clock_settime(ClockId::Realtime, then).expect("settime");
    };
    let year = 365 * 24 * 3600;
    let probe = json!({"exec": {"command": ["true"]}, "periodSeconds": 1});
    let stays = json!({"name": "stays", "image": "busybox", "readinessProbe": probe, "livenessProbe": probe,
        "command": ["sh", "-c", "trap 'exit 7' TERM; while :; do echo line; sleep 0.1; done"]});
    let fails = json!({"name": "fails", "image": "busybox", "command": ["false"]});
    let spec = json!({"activeDeadlineSeconds": 3600, "containers": [stays, fails]});
    let pod = world.create(world.pod("p", spec));
    let state = || world.client.view(&pod).expect("view").state().clone();
    // The second restart is ten seconds after the first.
    eventually("it fails twice", || state().containers[1].restart_count() >= 1);
    for seconds in [10 * year, -20 * year, 3600, 10 * year - 3600] {
        jump(seconds);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(1) {
            let state = state();
            assert!(state.containers[0].running() && !state.done(), "after {seconds} s: {state:?}");
            assert_eq!(state.containers[0].restart_count(), 0, "after {seconds} s");
            assert!(state.containers[1].restart_count() <= 2, "after {seconds} s: {state:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    jump(-20 * year);
    let begun = Instant::now();
    let stopped = world.client.stop(&pod, Some(60)).expect("stop");
    assert!(begun.elapsed() < Duration::from_secs(50), "{:?}", begun.elapsed());
    assert!(stopped.status.state.done());
    assert!(world.log(&pod, "stays", 0).starts_with("line\nline\n"));
    world.client.remove(&pod, false).expect("rm");
    all_is_well(world);
    jump(20 * year);
}
