//! The world of a test of pods: a root on a tmpfs, in a mount namespace and a process of its own, with busybox in it. The
//! supervisors are the test's program itself.
#![allow(dead_code, unreachable_pub, missing_docs)]

use agent::client::{Client, PodRef, Progress};
use agent::record::NewPod;
use agent::{Root, supervisor};
use rustix::mount::{MountFlags, MountPropagationFlags};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use sys::namespace::Namespaces;
use sys::process::{Child, exit, spawn};

/// A test's name, and the test.
pub type Case = (&'static str, fn(&World));

/// What a test program does: the cases, unless it is started as the supervisor of one of their pods.
pub fn main(cases: &[Case]) -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next().is_some_and(|first| first == supervisor::SUBCOMMAND) {
        true => supervisor::main(args),
        false => run_cases(cases),
    }
}

/// Runs the cases whose names the command line has a part of, or all.
fn run_cases(cases: &[Case]) -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let before = mounts();
    let (mut passed, mut failed) = (0, 0);
    for (name, case) in cases {
        if !wanted.is_empty() && !wanted.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        let begun = Instant::now();
        let ok = run_apart(*case);
        println!("test {name} ... {} ({} ms)", if ok { "ok" } else { "FAILED" }, begun.elapsed().as_millis());
        if ok { passed += 1 } else { failed += 1 }
    }
    assert_eq!(before, mounts(), "mounts were left behind");
    println!("{passed} passed, {failed} failed");
    ExitCode::from(u8::from(failed > 0))
}

/// The machine's own mounts where the worlds are, which must be after the tests what they were before. Elsewhere others
/// may mount things meanwhile.
fn mounts() -> Vec<String> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    table.lines().filter(|line| line.contains(" /media")).map(str::to_owned).collect()
}

pub fn run_apart(case: fn(&World)) -> bool {
    let child = spawn(Namespaces::MOUNT, None, || {
        let world = World::new();
        let passed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            case(&world);
            world.check_empty();
        }));
        // A case that failed leaves no processes either.
        for pod in world.client.list(None).map(|listed| listed.pods).unwrap_or_default() {
            let _ = world.client.remove(&pod.pod, true);
        }
        exit(i32::from(passed.is_err()))
    });
    wait(&child.expect("spawn")) == 0
}

/// The exit status of a case; one that hangs is killed after some minutes, and has failed.
pub fn wait(child: &Child) -> i32 {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let long = Timespec { tv_sec: 600, tv_nsec: 0 };
    let ended = poll(&mut [PollFd::new(&child.pidfd, PollFlags::IN)], Some(&long)).expect("poll");
    if ended == 0 {
        eprintln!("it hangs");
        rustix::process::pidfd_send_signal(&child.pidfd, rustix::process::Signal::KILL).expect("kill");
    }
    let status = rustix::process::waitpid(Some(child.pid), rustix::process::WaitOptions::empty());
    status.expect("waitpid").and_then(|(_, status)| status.exit_status()).unwrap_or(-1)
}

/// A host with an image store.
pub struct World {
    pub client: Client,
    pub host: PathBuf,
}

pub const MINUTE: Option<Duration> = Some(Duration::from_secs(60));

impl World {
    pub fn new() -> World {
        let none: Option<&std::ffi::CStr> = None;
        let recursive = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        rustix::mount::mount_change("/", recursive).expect("private");
        // Not at /tmp: this very program, which the supervisors are, may be in a checkout there.
        rustix::mount::mount("tmpfs", "/media", "tmpfs", MountFlags::empty(), none).expect("tmpfs");
        // A path of its own, since cgroups are named after it.
        let base = Path::new("/media").join(std::process::id().to_string());
        std::fs::create_dir(&base).expect("mkdir");
        let host = base.join("host");
        std::fs::create_dir(&host).expect("mkdir");
        let client = Client::open(&Root::at(&base.join("root"))).expect("root");
        import_busybox(client.root());
        World { client, host }
    }

    pub fn pod(&self, name: &str, spec: serde_json::Value) -> NewPod {
        let mut pod = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec,
        }))
        .expect("pod");
        manifest::defaults::pod(&mut pod);
        NewPod { pod, ..NewPod::default() }
    }

    /// A pod with one container that runs a shell command.
    pub fn shell(&self, name: &str, policy: &str, script: &str) -> NewPod {
        let container = json!({"name": "main", "image": "busybox", "command": ["sh", "-c", script]});
        self.pod(name, json!({"restartPolicy": policy, "containers": [container]}))
    }

    pub fn create(&self, pod: NewPod) -> PodRef {
        let made = self.client.create(vec![pod]).unwrap_or_else(|e| panic!("create: {e}")).remove(0);
        self.client.start(&made).unwrap_or_else(|e| panic!("start: {e}"));
        made
    }

    /// Creates a pod and waits until it is started.
    pub fn run(&self, pod: NewPod) -> PodRef {
        let made = self.create(pod);
        let (progress, status) = self.client.wait_started(&made, MINUTE).expect("wait");
        assert_eq!(progress, Progress::Started, "{:?}", status.state.events);
        made
    }

    pub fn log(&self, pod: &PodRef, container: &str, attempt: u32) -> String {
        let path = agent::logs::log_path(self.client.root(), &pod.uid, container, attempt);
        let mut reader = agent::logs::LogReader::new(path);
        let lines = reader.read().expect("log");
        lines.iter().map(|line| String::from_utf8_lossy(&line.content) + "\n").collect()
    }

    pub fn supervisor_pid(&self, pod: &PodRef) -> rustix::process::Pid {
        let uid = pod.uid.as_str().as_bytes().to_vec();
        let ours = |pid: i32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let words: Vec<&[u8]> = line.split(|b| *b == 0).collect();
            words.get(1) == Some(&supervisor::SUBCOMMAND.as_bytes()) && words.get(4) == Some(&uid.as_slice())
        };
        let pids = std::fs::read_dir("/proc").expect("proc").flatten();
        let found = pids.filter_map(|e| e.file_name().to_str()?.parse().ok()).find(|pid| ours(*pid));
        rustix::process::Pid::from_raw(found.expect("no supervisor")).expect("pid")
    }

    pub fn kill_supervisor(&self, pod: &PodRef) {
        let pid = self.supervisor_pid(pod);
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("kill");
        eventually("the supervisor is gone", || !self.client.view(pod).expect("view").supervised);
    }

    /// After the pods are gone nothing of them may be there.
    pub fn check_empty(&self) {
        for pod in self.client.list(None).expect("list").pods {
            self.client.remove(&pod.pod, true).unwrap_or_else(|e| panic!("rm {}: {e}", pod.pod.key));
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        // Below this world's own folder only: other roots on this machine have mounts too, which we have inherited.
        let base = self.host.parent().expect("parent").join("root").display().to_string();
        let ours: Vec<&str> = mounts.lines().filter(|l| l.contains(&base)).collect();
        assert_eq!(ours, [] as [&str; 0], "mounts are left");
        let root = self.client.root();
        let folders = [
            root.pods(),
            root.run.join("pods"),
            root.names(),
            root.runtime_dirs().state,
            root.runtime_dirs().data,
            root.lib.join("networks"),
        ];
        for folder in folders {
            let left: Vec<_> =
                std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
            assert_eq!(left, [] as [PathBuf; 0], "left in {}", folder.display());
        }
        assert_eq!(image::Store::open(root.images()).unwrap().pins().unwrap().len(), 0, "a pin is left");
        let hash = root.root_hash();
        let cgroups = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
        let left: Vec<_> =
            cgroups.map(|h| h.path().join("rhizome").join(&hash)).filter(|p| p.exists()).collect();
        assert_eq!(left, [] as [PathBuf; 0], "cgroups are left");
    }
}

/// An image of the machine's own static busybox.
fn import_busybox(root: &Root) {
    let busybox =
        std::fs::read("/bin/busybox").expect("these tests need a static /bin/busybox (`cargo xtask setup`)");
    let folder = PathBuf::from("/media/rootfs");
    for dir in ["bin", "tmp", "etc", "proc", "sys", "dev"] {
        std::fs::create_dir_all(folder.join(dir)).expect("mkdir");
    }
    std::fs::write(folder.join("bin/busybox"), busybox).expect("write");
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder.join("bin/busybox"), std::fs::Permissions::from_mode(0o755))
        .expect("chmod");
    for applet in [
        "sh", "sleep", "cat", "echo", "true", "false", "mount", "hostname", "ls", "id", "tty", "seq", "grep",
        "tail", "nc", "httpd", "kill", "head", "dd", "wc", "rm", "touch", "sync",
    ] {
        std::os::unix::fs::symlink("busybox", folder.join("bin").join(applet)).expect("link");
    }
    let archive = PathBuf::from("/media/busybox.tar");
    let packed =
        std::process::Command::new("tar").arg("-C").arg(&folder).arg("-cf").arg(&archive).arg(".").status();
    assert!(packed.expect("tar").success());
    let store = image::Store::open(root.images()).expect("store");
    store.import(&archive, "busybox").unwrap_or_else(|e| panic!("import: {e}"));
}

pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < until, "not within 60 s: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
