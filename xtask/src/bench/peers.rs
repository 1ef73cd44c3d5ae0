//! The programs that do the same, as they are set up for a fair comparison: the same root file system, the same program.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sys::namespace::Namespaces;

use super::measure::{self, Sample};
use crate::host;

/// Something that is run again and again.
pub(crate) struct Contender {
    pub(crate) name: String,
    command: Box<dyn Fn() -> Command>,
}

impl Contender {
    pub(crate) fn new(name: impl Into<String>, command: impl Fn() -> Command + 'static) -> Contender {
        Contender { name: name.into(), command: Box::new(command) }
    }

    /// One run, with this machine's cgroups as somebody sees them.
    pub(crate) fn run(&self, cgroups: Option<&Cgroups>) -> Result<Sample> {
        let Some(cgroups) = cgroups else { return measure::run(&mut (self.command)()) };
        sys::namespace::enter(cgroups.seen.as_fd()).context("enter a mount namespace")?;
        let sample = measure::run(&mut (self.command)());
        sys::namespace::enter(cgroups.before.as_fd()).context("go back to the mount namespace")?;
        sample
    }
}

/// A mount namespace in which this machine's cgroups look otherwise. The mounts that were there when it was made are in it.
pub(crate) struct Cgroups {
    seen: OwnedFd,
    before: OwnedFd,
}

impl Cgroups {
    /// Of a machine that has both versions: the first alone, or the second alone as most machines have it. `None` where
    /// there are not both.
    pub(crate) fn of_version(version: u8) -> Result<Option<Cgroups>> {
        if !Path::new(UNIFIED).join("cgroup.procs").exists() {
            return Ok(None);
        }
        let before = sys::namespace::open_own("mnt").context("open the mount namespace")?;
        sys::namespace::unshare(Namespaces::MOUNT).context("make a mount namespace")?;
        let hide = || -> Result<OwnedFd> {
            host::run(Command::new("mount").args(["--make-rprivate", "/"]))?;
            match version {
                1 => host::run(Command::new("umount").arg(UNIFIED))?,
                _ => {
                    host::run(Command::new("umount").args(["--recursive", CGROUPS]))?;
                    host::run(Command::new("mount").args(["-t", "cgroup2", "cgroup2", CGROUPS]))?;
                }
            }
            sys::namespace::open_own("mnt").context("open the new mount namespace")
        };
        let seen = hide();
        sys::namespace::enter(before.as_fd()).context("go back to the mount namespace")?;
        Ok(Some(Cgroups { seen: seen?, before }))
    }
}

/// The first line of `PROGRAM --version`.
pub(crate) fn version(program: &str) -> String {
    let output = Command::new(program).arg("--version").output();
    let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("of unknown version").trim().to_owned()
}

/// A directory with busybox's `true` and `sleep`, and nothing else.
pub(crate) fn make_layer(layer: &Path) -> Result<()> {
    for directory in ["bin", "proc", "sys", "dev", "tmp", "etc"] {
        std::fs::create_dir_all(layer.join(directory))?;
    }
    let busybox = host::find("busybox").context("busybox is not installed")?;
    std::fs::copy(&busybox, layer.join("bin/busybox")).context("cannot copy busybox")?;
    for applet in ["true", "sleep", "sh"] {
        std::os::unix::fs::symlink("busybox", layer.join("bin").join(applet))?;
    }
    Ok(())
}

/// A bundle for the OCI runtimes: what `runc spec` writes, without a terminal and without resource limits that a process
/// without CAP_SYS_RESOURCE may not set.
fn make_bundle(bundle: &Path, layer: &Path) -> Result<()> {
    std::fs::create_dir_all(bundle)?;
    let layer = layer.display();
    let config = format!(
        r#"{{"ociVersion":"1.0.2",
"process":{{"terminal":false,"user":{{"uid":0,"gid":0}},"args":["/bin/true"],"env":["PATH=/bin"],"cwd":"/","noNewPrivileges":true,
"capabilities":{{"bounding":["CAP_KILL"],"effective":["CAP_KILL"],"permitted":["CAP_KILL"]}}}},
"root":{{"path":"{layer}","readonly":true}},"hostname":"bench",
"mounts":[
{{"destination":"/proc","type":"proc","source":"proc"}},
{{"destination":"/dev","type":"tmpfs","source":"tmpfs","options":["nosuid","mode=755","size=65536k"]}},
{{"destination":"/dev/pts","type":"devpts","source":"devpts","options":["nosuid","noexec","newinstance","ptmxmode=0666","mode=0620"]}},
{{"destination":"/dev/shm","type":"tmpfs","source":"shm","options":["nosuid","noexec","nodev","mode=1777","size=65536k"]}},
{{"destination":"/sys","type":"sysfs","source":"sysfs","options":["nosuid","noexec","nodev","ro"]}}],
"linux":{{"namespaces":[{{"type":"pid"}},{{"type":"network"}},{{"type":"ipc"}},{{"type":"uts"}},{{"type":"mount"}}],
"maskedPaths":["/proc/kcore","/proc/keys"],"readonlyPaths":["/proc/bus","/proc/sys"]}}}}"#
    );
    std::fs::write(bundle.join("config.json"), config).context("cannot write the bundle")
}

const CGROUPS: &str = "/sys/fs/cgroup";
/// Version 2 of cgroups beside version 1, where systemd and others have it.
const UNIFIED: &str = "/sys/fs/cgroup/unified";

/// The runtimes that are installed, and of the others why not.
pub(crate) fn for_one_life(work: &Path, layer: &Path) -> Result<(Vec<Contender>, Vec<String>)> {
    let bundle = work.join("bundle");
    make_bundle(&bundle, layer)?;
    let (mut present, mut absent) = (Vec::new(), Vec::new());
    for program in ["crun", "runc", "youki"] {
        match host::find(program) {
            Some(_) => present.push(of_oci(program, work, &bundle)),
            None => absent.push(format!("{program}: not installed")),
        }
    }
    match host::find("bwrap") {
        Some(_) => present.push(bwrap(layer.to_owned())),
        None => absent.push("bwrap: not installed".to_owned()),
    }
    Ok((present, absent))
}

fn of_oci(program: &'static str, work: &Path, bundle: &Path) -> Contender {
    let (state, bundle) = (work.join(program), bundle.to_owned());
    Contender::new(program, move || {
        let mut command = Command::new(program);
        command.arg("--root").arg(&state).args(["run", "--bundle"]).arg(&bundle).arg("bench-once");
        command
    })
}

fn bwrap(layer: PathBuf) -> Contender {
    Contender::new("bwrap", move || {
        let mut command = Command::new("bwrap");
        command
            .args(["--unshare-all", "--ro-bind"])
            .arg(&layer)
            .args(["/", "--proc", "/proc", "--dev", "/dev"]);
        command.arg("/bin/true");
        command
    })
}

/// podman with a state of its own.
pub(crate) struct Podman {
    work: PathBuf,
}

impl Drop for Podman {
    /// podman leaves the cgroup that its pods had above them; where others have something in it, it stays.
    fn drop(&mut self) {
        for hierarchy in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            let _ = std::fs::remove_dir(hierarchy.path().join("libpod_parent"));
        }
    }
}

impl Podman {
    /// Sets it up and tries one pod; `Err` says why it cannot run here.
    pub(crate) fn new(work: &Path, images: &Path, manifest: &Path) -> Result<Podman> {
        host::find("podman").context("not installed")?;
        std::fs::create_dir_all(work)?;
        let podman = Podman { work: work.to_owned() };
        let runtime = podman.write_runtime()?;
        let config = format!(
            "[containers]\nlog_driver = \"k8s-file\"\n[engine]\nruntime = \"{}\"\nevents_logger = \"none\"\n",
            runtime.display()
        );
        std::fs::write(podman.config(), config)?;
        measure::run(podman.command().args(["load", "-i"]).arg(images.join("busybox.tar")))?;
        measure::run(&mut podman.play(manifest))?;
        measure::run(&mut podman.remove("bench"))?;
        Ok(podman)
    }

    /// podman raises limits of the pause container that a machine without CAP_SYS_RESOURCE refuses: they are taken out of
    /// the bundle before runc sees it. That is a shell and a sed more than podman's own way.
    fn write_runtime(&self) -> Result<PathBuf> {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.work.join("runtime");
        std::fs::write(&path, include_str!("runc-without-rlimits.sh"))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        Ok(path)
    }

    fn config(&self) -> PathBuf {
        self.work.join("containers.conf")
    }

    fn command(&self) -> Command {
        let mut command = Command::new("podman");
        command.env("CONTAINERS_CONF", self.config());
        command.arg("--root").arg(self.work.join("root")).arg("--runroot").arg(self.work.join("run"));
        command
    }

    pub(crate) fn play(&self, manifest: &Path) -> Command {
        let mut command = self.command();
        command.args(["play", "kube", "--network", "none"]).arg(manifest);
        command
    }

    pub(crate) fn remove(&self, pod: &str) -> Command {
        let mut command = self.command();
        command.args(["pod", "rm", "--force", "--time", "0", pod]);
        command
    }

    /// conmon and the pause containers of all pods of this state.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let monitors = measure::processes_with(&["conmon", &self.work.display().to_string()]);
        let pauses = monitors.iter().flat_map(|pid| {
            let path = format!("/proc/{pid}/task/{pid}/children");
            let children = std::fs::read_to_string(path).unwrap_or_default();
            children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>()
        });
        let is_pause = |pid: &u32| {
            std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == "catatonit")
        };
        let mut all: Vec<u32> = pauses.filter(is_pause).collect();
        all.extend(&monitors);
        all
    }
}

/// containerd with a root, a state and a socket of its own, through its client `ctr`: one container is what a pod is here.
/// crictl, which knows pods, is in no package of Debian's.
pub(crate) struct Containerd {
    work: PathBuf,
    daemon: Child,
}

impl Containerd {
    const IMAGE: &str = "docker.io/library/busybox:latest";
    /// How long it may take to answer.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// Starts the daemon and tries one container; `Err` says why it cannot run here.
    pub(crate) fn start(work: &Path, images: &Path) -> Result<Containerd> {
        host::find("containerd").and(host::find("ctr")).context("not installed")?;
        std::fs::create_dir_all(work)?;
        let shown = work.display();
        let config = format!(
            "version = 2\nroot = \"{shown}/root\"\nstate = \"{shown}/state\"\ndisabled_plugins = \
             [\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\"]\n\
             [grpc]\naddress = \"{shown}/socket\"\n[ttrpc]\naddress = \"{shown}/ttrpc\"\n"
        );
        std::fs::write(work.join("config.toml"), config)?;
        let log = std::fs::File::create(work.join("log"))?;
        let mut command = Command::new("containerd");
        command.arg("--config").arg(work.join("config.toml")).stdin(Stdio::null()).stdout(Stdio::null());
        let containerd = Containerd { work: work.to_owned(), daemon: command.stderr(log).spawn()? };
        // For the shell around us, where we are killed.
        std::fs::write(work.join("pid"), containerd.daemon.id().to_string())?;
        containerd.wait_for_answer()?;
        measure::run(containerd.client().args(["images", "import"]).arg(images.join("busybox.tar")))?;
        measure::run(&mut containerd.begin("bench"))?;
        measure::run(&mut containerd.remove("bench"))?;
        Ok(containerd)
    }

    fn wait_for_answer(&self) -> Result<()> {
        let until = Instant::now() + Containerd::PATIENCE;
        loop {
            match measure::run(self.client().arg("version")) {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > until => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    fn client(&self) -> Command {
        let mut command = Command::new("ctr");
        command.arg("--address").arg(self.work.join("socket"));
        command
    }

    pub(crate) fn begin(&self, name: &str) -> Command {
        let mut command = self.client();
        // A cgroup without parents of its own, so that nothing is left of them.
        let cgroup = format!("/rz-{name}-{}", std::process::id());
        command.args(["run", "--detach", "--null-io", "--cgroup", &cgroup, Containerd::IMAGE, name]);
        command.args(["sleep", "100000"]);
        command
    }

    /// The task with its processes, then the container: two commands of the client's.
    pub(crate) fn remove(&self, name: &str) -> Command {
        let mut command = Command::new("sh");
        let script = r#"ctr --address "$0" task rm --force "$1"; exec ctr --address "$0" container rm "$1""#;
        command.args(["-c", script]).arg(self.work.join("socket")).arg(name);
        command
    }

    /// The shims; the daemon is not in it.
    pub(crate) fn processes(&self) -> Vec<u32> {
        measure::processes_with(&["containerd-shim", &self.work.display().to_string()])
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let listed = self.client().args(["containers", "list", "--quiet"]).output();
        let listed = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        for name in listed.unwrap_or_default().lines() {
            let _ = measure::run(&mut self.remove(name));
        }
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
        let _ = std::fs::remove_file(self.work.join("pid"));
    }
}
