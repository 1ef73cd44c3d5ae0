//! A world for one case: a mount namespace, a root file system of busybox, directories for the runtime,
//! cgroups of its own.

// Each test program uses a part of it.
#![allow(dead_code)]

use image::Image;
use manifest::cri::{ContainerConfig, NamespaceMode, NamespaceOption, PodSandboxConfig};
use runtime::cgroup::{Cgroup, Hierarchies};
use runtime::{Container, Dirs, ExecConfig, ExecStdio, Exit, Io, Sandbox};
use rustix::fd::{AsFd, OwnedFd};
use rustix::mount::{MountFlags, MountPropagationFlags};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use sys::namespace::Namespaces;
use sys::process::{exit, spawn};

/// How long a case may take, in seconds: as many times as long on a machine that is emulated (`RHIZOME_TEST_SLOWER`).
fn case_timeout_s() -> i64 {
    let slower = std::env::var("RHIZOME_TEST_SLOWER").ok().and_then(|times| times.parse::<i64>().ok());
    120 * slower.unwrap_or(1)
}

/// A named case.
pub(crate) type Case = (&'static str, fn(&World));

/// Runs the cases that the arguments name (all, if none), each in a world of its own, and ends this process.
pub(crate) fn run(program: &str, cases: &[Case]) -> ! {
    if !rustix::process::geteuid().is_root() || !Path::new(BUSYBOX).exists() {
        let line = format!("test {program} ... SKIPPED: needs root and {BUSYBOX}");
        writeln!(std::io::stdout(), "{line}").expect("write");
        println!("0 passed, 0 failed, {} skipped", cases.len());
        std::process::exit(0);
    }
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    // Named here, where our pid is one of the machine's.
    let top = cgroup_top();
    let (mut passed, mut failed) = (0, 0);
    for (name, case) in cases {
        if !wanted.is_empty() && !wanted.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        let begin = Instant::now();
        let ok = run_apart(*case);
        println!("test {name} ... {} ({} ms)", if ok { "ok" } else { "FAILED" }, begin.elapsed().as_millis());
        if ok { passed += 1 } else { failed += 1 }
    }
    let hierarchies = Hierarchies::read().expect("hierarchies");
    let cgroups = Cgroup::at(&hierarchies, top).expect("cgroup");
    if let Some((_, dir)) = cgroups.directories().find(|(_, dir)| dir.exists()) {
        println!("{} was left{}", dir.display(), if failed == 0 { "" } else { " by a failed case" });
        failed += i32::from(failed == 0);
        cgroups.remove().expect("remove cgroups");
    }
    println!("{passed} passed, {failed} failed");
    std::process::exit(i32::from(failed > 0));
}

/// Runs a case in a child that is pid 1 of its own pid namespace, so that nothing outlives it; true if it
/// neither panicked nor took too long.
fn run_apart(case: fn(&World)) -> bool {
    let child = spawn(Namespaces::MOUNT | Namespaces::PROCESS_ID, None, || {
        let world = World::new();
        case(&world);
        exit(0)
    })
    .expect("spawn");
    let timeout = rustix::event::Timespec { tv_sec: case_timeout_s(), tv_nsec: 0 };
    let poll_fd = rustix::event::PollFd::new(&child.pidfd, rustix::event::PollFlags::IN);
    if rustix::event::poll(&mut [poll_fd], Some(&timeout)).expect("poll") == 0 {
        println!("  took more than {} s", case_timeout_s());
        sys::process::send_signal(child.pidfd.as_fd(), 9).expect("kill");
    }
    let status = rustix::process::waitpid(Some(child.pid), rustix::process::WaitOptions::empty());
    status.expect("waitpid").and_then(|(_, status)| status.exit_status()) == Some(0)
}

pub(crate) const BUSYBOX: &str = "/bin/busybox";

/// What a container did.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) exit: Exit,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    pub(crate) fn code(&self) -> i32 {
        self.exit.code.expect("an exit code")
    }

    pub(crate) fn lines(&self) -> Vec<&str> {
        self.stdout.lines().collect()
    }
}

/// The cgroup of all worlds of one run of a test program: another run, of another checkout, has another. Known from the
/// first call on, which must be outside of the worlds' pid namespaces; programs that are started in a world are told.
pub(crate) fn cgroup_top() -> &'static str {
    static TOP: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let new = || format!("/rhizome-test-{}", std::process::id());
    TOP.get_or_init(|| std::env::var(CGROUP_TOP).unwrap_or_else(|_| new()))
}

/// The variable that tells a program in a world of its [`cgroup_top`].
pub(crate) const CGROUP_TOP: &str = "RHIZOME_TEST_CGROUP";

pub(crate) struct World {
    pub(crate) base: PathBuf,
    pub(crate) dirs: Dirs,
    pub(crate) image: Image,
    pub(crate) cgroup_parent: String,
}

impl World {
    /// In a process of its own, in a mount namespace of its own.
    pub(crate) fn new() -> World {
        let none: Option<&std::ffi::CStr> = None;
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        rustix::mount::mount_change("/", private).expect("private");
        rustix::mount::mount("proc", "/proc", "proc", MountFlags::empty(), none).expect("proc");
        // Not at /tmp: some of these tests start this very program again, which may be in a checkout there.
        let base = PathBuf::from("/media");
        rustix::mount::mount("tmpfs", &base, "tmpfs", MountFlags::empty(), none).expect("tmpfs");
        let world = World::at(base);
        world.make_image();
        world
    }

    /// The world that [`World::new`] made, from a process started in it.
    pub(crate) fn at(base: PathBuf) -> World {
        let dirs = Dirs { state: base.join("run/runtime"), data: base.join("lib/containers") };
        let image = Image {
            reference: "test".to_owned(),
            id: image::Digest::of(b"test"),
            config: image::ImageConfig::default(),
            layers: vec![base.join("image")],
            size: 0,
        };
        let cgroup_parent = format!("{}/pod", cgroup_top());
        World { base, dirs, image, cgroup_parent }
    }

    fn make_image(&self) {
        let root = self.base.join("image");
        for dir in ["bin", "etc", "tmp", "proc", "sys", "dev", "root"] {
            std::fs::create_dir_all(root.join(dir)).expect("mkdir");
        }
        std::fs::copy(BUSYBOX, root.join("bin/busybox")).expect("copy busybox");
        let list = Command::new(BUSYBOX).arg("--list").output().expect("busybox --list");
        for applet in String::from_utf8_lossy(&list.stdout).lines().filter(|applet| *applet != "busybox") {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).expect("symlink");
        }
        let passwd = "root:x:0:0::/root:/bin/sh\nwww:x:33:34::/var/www:/bin/sh\n";
        std::fs::write(root.join("etc/passwd"), passwd).expect("passwd");
        std::fs::write(root.join("etc/group"), "root:x:0:\nwww:x:34:\nextra:x:77:www\n").expect("group");
        std::fs::write(root.join("etc/plain"), "not a program").expect("plain");
    }

    pub(crate) fn image_path(&self, path: &str) -> PathBuf {
        self.base.join("image").join(path)
    }

    pub(crate) fn pod(&self, options: NamespaceOption) -> Sandbox {
        Sandbox::run(&self.dirs, self.pod_config(options))
            .unwrap_or_else(|error| panic!("sandbox: {}", chain(&error)))
    }

    pub(crate) fn pod_config(&self, namespace_options: NamespaceOption) -> PodSandboxConfig {
        PodSandboxConfig {
            hostname: "pod-name".to_owned(),
            cgroup_parent: self.cgroup_parent.clone(),
            namespace_options,
            ..PodSandboxConfig::default()
        }
    }

    pub(crate) fn usual_pod(&self) -> Sandbox {
        self.pod(usual())
    }

    pub(crate) fn create(&self, pod: &Sandbox, config: &ContainerConfig) -> Container {
        pod.create_container(config, &self.image).unwrap_or_else(|error| panic!("create: {}", chain(&error)))
    }

    pub(crate) fn start(&self, pod: &Sandbox, config: &ContainerConfig) -> Container {
        let mut container = self.create(pod, config);
        container.start().unwrap_or_else(|error| panic!("start: {}", chain(&error)));
        if config.command.first().is_some_and(|program| program == "sleep") {
            check_running(&container);
        }
        container
    }

    /// Runs a container to its end and removes it.
    pub(crate) fn run(&self, pod: &Sandbox, config: &ContainerConfig) -> Outcome {
        let mut container = self.start(pod, config);
        let outcome = finish(&mut container);
        runtime::remove_container(&self.dirs, &container.id)
            .unwrap_or_else(|error| panic!("remove: {}", chain(&error)));
        outcome
    }

    /// Runs a container in a pod of its own and checks that nothing stays.
    pub(crate) fn run_alone(&self, config: &ContainerConfig) -> Outcome {
        let pod = self.usual_pod();
        let outcome = self.run(&pod, config);
        self.remove(pod);
        outcome
    }

    /// Without looking at what is left: where a case has mounts of its own.
    pub(crate) fn remove_pod(&self, pod: Sandbox) {
        pod.remove().unwrap_or_else(|error| panic!("remove: {}", chain(&error)));
    }

    pub(crate) fn remove(&self, pod: Sandbox) {
        self.remove_pod(pod);
        self.check_nothing_left();
    }

    /// No file, cgroup, mount or process of ours.
    pub(crate) fn check_nothing_left(&self) {
        assert_eq!(tree(&self.dirs.state), Vec::<PathBuf>::new(), "state");
        assert_eq!(tree(&self.dirs.data), Vec::<PathBuf>::new(), "data");
        let hierarchies = Hierarchies::read().expect("hierarchies");
        let cgroup = Cgroup::at(&hierarchies, &self.cgroup_parent).expect("cgroup");
        for (_, dir) in cgroup.directories() {
            assert!(!dir.exists(), "{} is left", dir.display());
        }
        let mountinfo = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        let below = self.base.to_str().expect("UTF-8").to_owned() + "/";
        let left: Vec<&str> = mountinfo.lines().filter(|line| line.contains(&below)).collect();
        assert_eq!(left, Vec::<&str>::new(), "mounts");
        let children = rustix::process::waitid(
            rustix::process::WaitId::All,
            rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOHANG,
        );
        assert!(matches!(children, Err(rustix::io::Errno::CHILD)), "a child is left: {children:?}");
    }

    /// Runs a command in a container to its end.
    pub(crate) fn exec(&self, id: &str, command: &[&str]) -> (i32, String) {
        self.try_exec(id, command).unwrap_or_else(|error| panic!("exec: {}", chain(&error)))
    }

    /// As [`World::exec`], where it may be refused.
    pub(crate) fn try_exec(&self, id: &str, command: &[&str]) -> runtime::Result<(i32, String)> {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("pipe");
        let stdio = ExecStdio { stdin: None, stdout: write.as_fd(), stderr: write.as_fd() };
        let config = ExecConfig { command: strings(command), ..ExecConfig::default() };
        let process = runtime::exec(&self.dirs, id, &config, stdio)?;
        drop(write);
        let output = read_all(read);
        Ok((process.wait().expect("wait"), output))
    }
}

/// A container's root directory, seen from the host.
pub(crate) fn root_of(container: &Container) -> PathBuf {
    PathBuf::from(format!("/proc/{}/root", container.pid.as_raw_nonzero()))
}

/// What must be so of every container, seen from the host once its program runs: nothing of ours is in it. Of programs
/// that only sleep, and so have opened nothing themselves. (What can be known before that the runtime checks of every
/// container itself, `assurance`.)
pub(crate) fn check_running(container: &Container) {
    let folder = PathBuf::from(format!("/proc/{}", container.pid.as_raw_nonzero()));
    let deadline = Instant::now() + Duration::from_secs(60);
    // "Started" is told when the channel closes, at execve; the new program's files show a moment later.
    let exe = loop {
        let exe = std::fs::read_link(folder.join("exe")).expect("exe");
        if exe.ends_with("bin/busybox") || Instant::now() > deadline {
            break exe;
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    assert_eq!(exe, Path::new("/bin/busybox"));
    let mut descriptors: Vec<String> = tree(&folder.join("fd"))
        .iter()
        .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
        .collect();
    descriptors.sort();
    assert_eq!(descriptors, ["0", "1", "2"]);
    let spec = container.record().process.as_ref().expect("process");
    let environ = std::fs::read_to_string(folder.join("environ")).expect("environ");
    let mut variables: Vec<&str> = environ.split_terminator('\0').collect();
    variables.retain(|variable| !variable.starts_with("HOME="));
    let planned: Vec<&str> =
        spec.env.iter().map(String::as_str).filter(|line| !line.starts_with("HOME=")).collect();
    assert_eq!(variables, planned);
    let maps = std::fs::read_to_string(folder.join("maps")).expect("maps");
    let files: Vec<&str> = maps.lines().filter_map(|line| line.split_whitespace().nth(5)).collect();
    assert!(files.iter().all(|file| file.starts_with('[') || *file == "/bin/busybox"), "{files:?}");
    assert_eq!(std::fs::read_link(folder.join("cwd")).expect("cwd"), Path::new(&spec.cwd));
    let status = std::fs::read_to_string(folder.join("status")).expect("status");
    assert!(status.contains("Umask:\t0022\n"), "{status}");
}

fn tree(path: &Path) -> Vec<PathBuf> {
    let entries =
        std::fs::read_dir(path).map(|entries| entries.flatten().map(|entry| entry.path()).collect());
    entries.unwrap_or_default()
}

pub(crate) fn usual() -> NamespaceOption {
    NamespaceOption { network: NamespaceMode::Pod, pid: NamespaceMode::Container, ipc: NamespaceMode::Pod }
}

pub(crate) fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

pub(crate) fn command(list: &[&str]) -> ContainerConfig {
    ContainerConfig { name: "c".to_owned(), command: strings(list), ..ContainerConfig::default() }
}

pub(crate) fn shell(script: &str) -> ContainerConfig {
    command(&["sh", "-c", script])
}

/// Reads to the end; a terminal whose other side is closed answers EIO.
pub(crate) fn read_all(fd: OwnedFd) -> String {
    let mut bytes = Vec::new();
    let _ = std::fs::File::from(fd).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Takes what a container says to its end (stderr must be short), and its exit.
pub(crate) fn finish(container: &mut Container) -> Outcome {
    let null = || OwnedFd::from(std::fs::File::open("/dev/null").expect("null"));
    let io = std::mem::replace(&mut container.io, Io::Terminal { master: null() });
    let (stdout, stderr) = match io {
        Io::Pipes { stdout, stderr, .. } => (read_all(stdout), read_all(stderr)),
        Io::Terminal { master } => (read_all(master), String::new()),
    };
    let exit = container.wait().unwrap_or_else(|error| panic!("wait: {}", chain(&error)));
    Outcome { exit, stdout, stderr }
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}
