//! Sandboxes: what a pod's containers share. CRI's RunPodSandbox, StopPodSandbox, RemovePodSandbox.
//!
//! The network, IPC and UTS namespaces are made by this process for itself, set up from within, kept by
//! descriptor, and left again: no process is needed to hold them while the supervisor lives, and no fork to
//! make them. A shared pid namespace needs a pid 1: a child that only reaps.

use crate::cgroup::{Cgroup, CgroupError, Devices, Hierarchies, Limits};
use crate::control::read_hierarchies;
use crate::error::{Error, Result, Step, StepFailure};
use crate::fault;
use crate::mounts::Users;
use crate::program::limits;
use crate::state::{
    Dirs, ProcessId, SANDBOX_FILE, SandboxRecord, check_id, make_private_directory, new_id, write_record,
};
use crate::user_namespace;
use jiff::Timestamp;
use manifest::cri::{NamespaceMode, PodSandboxConfig};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::Pid;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::Write;
use std::path::{Path, PathBuf};
use sys::namespace::Namespaces;
use sys::process::{Child, SpawnError};

/// The size of a pod's `/dev/shm`, as containerd has it.
const SHM_BYTES: &str = "67108864";
/// Hexadecimal digits at the beginning of an id.
const MARK_DIGITS: usize = 12;

/// How ids of a mark begin.
pub(crate) fn mark_of_id(mark: u64) -> String {
    format!("{:012x}", mark & 0xffff_ffff_ffff)
}

/// Below the sandbox's state directory.
pub(crate) const SHM_DIRECTORY: &str = "shm";

/// A pod's sandbox, held by the process that made it.
#[derive(Debug)]
pub struct Sandbox {
    dirs: Dirs,
    record: SandboxRecord,
    hierarchies: Hierarchies,
    /// Network, IPC, UTS: those that are not the node's.
    namespaces: Vec<OwnedFd>,
    /// The pod's user namespace, if it has one (`hostUsers: false`).
    users: Option<OwnedFd>,
    /// The pid 1 of a shared pid namespace.
    init: Option<Init>,
    shm: Option<PathBuf>,
}

#[derive(Debug)]
struct Init {
    child: Child,
    namespace: OwnedFd,
    /// Whether it is our child, so that its exit status is ours to take.
    ours: bool,
}

impl Sandbox {
    /// RunPodSandbox. In order: the state directory and record, the pod's cgroup, the namespaces with
    /// loopback up and the host name, `/dev/shm`, the pid 1 of a shared pid namespace. On failure nothing is
    /// left.
    ///
    /// The calling process must have one thread; it comes back in its own namespaces.
    pub fn run(dirs: &Dirs, config: PodSandboxConfig) -> Result<Sandbox> {
        Sandbox::run_as(dirs, new_id()?, config)
    }

    /// An id for [`Sandbox::run_as`]. Ids of one `mark` (its lower 48 bits) begin alike, so that a pod's sandboxes are found
    /// among those of many by their names: [`list_sandboxes_marked`](crate::list_sandboxes_marked).
    pub fn new_id(mark: u64) -> Result<String> {
        Ok(mark_of_id(mark) + &new_id()?[MARK_DIGITS..])
    }

    /// As [`Sandbox::run`], with an id that the caller has written down before: until the record is there, whoever
    /// removes what a killed supervisor has left can know the sandbox by nothing else.
    pub fn run_as(dirs: &Dirs, id: String, config: PodSandboxConfig) -> Result<Sandbox> {
        check_id("sandbox", &id)?;
        let hierarchies = read_hierarchies()?;
        let cgroup = Cgroup::at(&hierarchies, &config.cgroup_parent)?;
        let record = SandboxRecord {
            id: id.clone(),
            init: None,
            user_base: None,
            created_at: Timestamp::now(),
            config,
        };
        let mut sandbox = Sandbox {
            dirs: dirs.clone(),
            record,
            hierarchies,
            namespaces: Vec::new(),
            users: None,
            init: None,
            shm: None,
        };
        match sandbox.set_up(&cgroup) {
            Ok(()) => Ok(sandbox),
            Err(error) => {
                if let Err(left) = crate::control::remove_sandbox(dirs, &id) {
                    tracing::warn!(sandbox = id, error = %left, "a sandbox that could not be made left something");
                }
                Err(error)
            }
        }
    }

    /// Takes over a sandbox whose supervisor is gone: its namespaces are opened from a container of it that
    /// runs.
    ///
    /// # Errors
    /// Nothing runs in it: then the namespaces are gone, and there is nothing to take over.
    pub fn adopt(dirs: &Dirs, id: &str) -> Result<Sandbox> {
        let record = crate::state::read_sandbox(dirs, id)?;
        let hierarchies = read_hierarchies()?;
        let inside = find_inside(dirs, id)?;
        let open = |kind: &&str| {
            sys::namespace::open_of(inside, kind).map_err(Error::system("open the pod's namespaces"))
        };
        let namespaces = namespace_kinds(&record.config).iter().map(open).collect::<Result<_>>()?;
        let users = record.user_base.map(|_| open(&"user")).transpose()?;
        let init = record.init.map(adopt_init).transpose()?.flatten();
        let own_shm = dirs.state_of(id).join(SHM_DIRECTORY);
        let shm = match record.config.namespace_options.ipc {
            NamespaceMode::Node => Some(PathBuf::from("/dev/shm")).filter(|host| host.is_dir()),
            _ => Some(own_shm),
        };
        Ok(Sandbox { dirs: dirs.clone(), record, hierarchies, namespaces, users, init, shm })
    }

    fn set_up(&mut self, cgroup: &Cgroup) -> Result<()> {
        point("sandbox.state")?;
        make_private_directory(&self.dirs.members_of(&self.record.id))?;
        point("sandbox.record")?;
        self.write()?;
        point("sandbox.cgroup")?;
        cgroup.create()?;
        if let Some(resources) = &self.record.config.resources {
            cgroup.limit(&limits(resources, Devices::All))?;
        }
        self.limit_pids(cgroup)?;
        point("sandbox.namespaces")?;
        self.make_namespaces()?;
        point("sandbox.shm")?;
        self.make_shm()?;
        if self.record.config.namespace_options.pid == NamespaceMode::Pod {
            point("sandbox.init")?;
            let init = self.start_init(cgroup)?;
            self.record.init = Some(ProcessId::of_child(init.child.pid)?);
            self.init = Some(init);
            self.write()?;
        }
        Ok(())
    }

    /// With a user namespace the others are its own, so that its root is root of them.
    fn make_namespaces(&mut self) -> Result<()> {
        if !self.record.config.user_namespace {
            self.namespaces = new_namespaces(&self.record.config)?;
            return Ok(());
        }
        let base = user_namespace::allocate(&self.dirs, &self.record.id)?;
        self.record.user_base = Some(base);
        self.write()?;
        let kinds = namespace_kinds(&self.record.config);
        let mut made = user_namespace::make(base, flags_of(&kinds), &kinds)?;
        self.users = Some(made.remove(0));
        set_up_in(&made, &kinds, &self.record.config, base)?;
        self.namespaces = made;
        Ok(())
    }

    /// A protection of the others, not something that was asked for: a machine without the controller goes without.
    fn limit_pids(&self, cgroup: &Cgroup) -> Result<()> {
        // The devices of a pod are its containers' business.
        let limits =
            Limits { pids: self.record.config.pids_limit, devices: Devices::All, ..Limits::default() };
        match cgroup.limit(&limits) {
            Err(error @ CgroupError::NoController { .. }) => {
                tracing::warn!(sandbox = self.record.id, %error, "the pod can have any number of processes");
                Ok(())
            }
            other => Ok(other?),
        }
    }

    fn write(&self) -> Result<()> {
        write_record(&self.dirs.state_of(&self.record.id), SANDBOX_FILE, &self.record)
    }

    fn make_shm(&mut self) -> Result<()> {
        if self.record.config.namespace_options.ipc == NamespaceMode::Node {
            let host = Path::new("/dev/shm");
            self.shm = host.is_dir().then(|| host.to_path_buf());
            return Ok(());
        }
        let path = self.dirs.state_of(&self.record.id).join(SHM_DIRECTORY);
        make_private_directory(&path)?;
        let option = |key: &str, value: &str| (key.to_owned(), Some(value.to_owned()));
        crate::mounts::mount_tmpfs(&path, &[option("mode", "1777"), option("size", SHM_BYTES)], false)?;
        self.shm = Some(path);
        Ok(())
    }

    /// A child that is pid 1 of a new pid namespace and in a cgroup of its own below the pod's.
    fn start_init(&self, pod: &Cgroup) -> Result<Init> {
        let cgroup = Cgroup::at(&self.hierarchies, &format!("{}/{}", pod.path(), self.record.id))?;
        cgroup.create()?;
        let entrance = cgroup.entrance()?;
        let (ours, theirs) = crate::channel::pair().map_err(Error::system("make a socket pair"))?;
        let v2 = entrance.v2.as_ref().map(AsFd::as_fd);
        let users = self.users.as_ref().map(AsFd::as_fd);
        let child = sys::process::spawn(Namespaces::PROCESS_ID, v2, || {
            let entered = entrance.enter_v1().and_then(|()| users.map_or(Ok(()), user_namespace::enter));
            if entered.is_err() {
                sys::process::exit(1);
            }
            reap_forever(theirs.as_fd())
        });
        drop(theirs);
        let child = child.map_err(|source| Error::Spawn { id: self.record.id.clone(), source })?;
        let namespace =
            sys::namespace::open_of(child.pid, "pid").map_err(Error::system("open the pod's pid namespace"));
        // Until it closes its descriptors, which is when signals are blocked too.
        let heard = crate::channel::receive(ours.as_fd(), std::time::Duration::from_secs(10));
        match (namespace, heard) {
            (Ok(namespace), Ok(crate::channel::Heard::End)) => Ok(Init { child, namespace, ours: true }),
            (namespace, _) => {
                crate::container::end(&self.record.id, &child)?;
                Err(namespace.err().unwrap_or(Error::System {
                    action: "start the pod's first process",
                    source: std::io::ErrorKind::TimedOut.into(),
                }))
            }
        }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.record.id
    }

    /// What it was made from.
    pub fn config(&self) -> &PodSandboxConfig {
        &self.record.config
    }

    /// What is on record.
    pub fn record(&self) -> &SandboxRecord {
        &self.record
    }

    /// StopPodSandbox: kills what is in it and lets go of its namespaces. The containers must have been
    /// stopped.
    pub fn stop(&mut self) -> Result<()> {
        Cgroup::at(&self.hierarchies, &self.record.config.cgroup_parent)?.kill()?;
        self.let_go()
    }

    fn let_go(&mut self) -> Result<()> {
        // One that was taken over has gone with the cgroup; it is another's to wait for.
        if let Some(init) = self.init.take().filter(|init| init.ours) {
            crate::container::end(&self.record.id, &init.child)?;
        }
        self.namespaces.clear();
        Ok(())
    }

    /// RemoveContainer, as [`remove_container`](crate::remove_container), of a container of this sandbox: without having to find
    /// out again where this machine's cgroups are.
    pub fn remove_container(&self, id: &str) -> Result<()> {
        crate::control::remove_container_in(&self.dirs, id, Some(&self.hierarchies))
    }

    /// Where its network namespace is while this process has the sandbox: for CNI plugins. None with the node's network.
    pub fn network_path(&self) -> Option<String> {
        let index = namespace_kinds(&self.record.config).iter().position(|kind| *kind == "net")?;
        let namespace = self.namespaces.get(index)?;
        Some(format!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd()))
    }

    /// RemovePodSandbox: stops it, gives its network back and removes its cgroup, `/dev/shm` and state, and its containers where
    /// there are any left.
    pub fn remove(mut self) -> Result<()> {
        let network = self.network_path();
        let id = &self.record.id;
        crate::control::remove_sandbox_in(&self.dirs, id, Some(&self.hierarchies), network.as_deref())?;
        self.let_go()
    }

    pub(crate) fn dirs(&self) -> &Dirs {
        &self.dirs
    }

    pub(crate) fn hierarchies(&self) -> &Hierarchies {
        &self.hierarchies
    }

    /// What its containers' mounts need to know of its user namespace.
    pub(crate) fn users(&self) -> Option<Users> {
        let (fd, base) = (self.users.as_ref()?, self.record.user_base?);
        let path = format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd());
        Some(Users { path: path.into(), base })
    }

    pub(crate) fn shm(&self) -> Option<&Path> {
        self.shm.as_deref()
    }

    /// Whether a container's first process is pid 1 of its own namespace.
    pub(crate) fn gives_own_pid_namespace(&self) -> bool {
        self.record.config.namespace_options.pid == NamespaceMode::Container
    }

    /// Clones a container's first process, in the pid namespace that it belongs to: `target`, if there is one, else as
    /// the pod has it.
    pub(crate) fn clone_child(
        &self,
        target: Option<BorrowedFd<'_>>,
        cgroup: Option<BorrowedFd<'_>>,
        child: impl FnOnce() -> Infallible,
    ) -> Result<Child, SpawnError> {
        if let Some(target) = target {
            return spawn_in(target, cgroup, child);
        }
        match &self.init {
            Some(init) => spawn_in(init.namespace.as_fd(), cgroup, child),
            None if self.gives_own_pid_namespace() => {
                sys::process::spawn(Namespaces::PROCESS_ID, cgroup, child)
            }
            None => sys::process::spawn(Namespaces::empty(), cgroup, child),
        }
    }

    /// In the child: into the pod's namespaces, and into a cgroup namespace whose root is the container's
    /// cgroup.
    pub(crate) fn enter_namespaces(&self, own_cgroup_namespace: bool) -> Result<(), StepFailure> {
        let fail = |errno| StepFailure::new(Step::Namespaces, errno);
        fault::point("child.namespaces").map_err(fail)?;
        for namespace in &self.namespaces {
            sys::namespace::enter(namespace.as_fd()).map_err(fail)?;
        }
        if own_cgroup_namespace {
            sys::namespace::unshare(Namespaces::CONTROL_GROUP).map_err(fail)?;
        }
        Ok(())
    }
}

fn point(name: &'static str) -> Result<()> {
    fault::point(name).map_err(Error::system(name))
}

/// Clones a child into an existing pid namespace: the caller's children go there for a moment.
pub(crate) fn spawn_in(
    pid_namespace: BorrowedFd<'_>,
    cgroup: Option<BorrowedFd<'_>>,
    child: impl FnOnce() -> Infallible,
) -> Result<Child, SpawnError> {
    let own = sys::namespace::open_own("pid")?;
    sys::namespace::enter(pid_namespace)?;
    let child = sys::process::spawn(Namespaces::empty(), cgroup, child);
    // Back, or later children would be in the pod's namespace as well.
    match (sys::namespace::enter(own.as_fd()), child) {
        (Ok(()), child) => child,
        (Err(errno), Ok(child)) => {
            let _ = sys::process::send_signal(child.pidfd.as_fd(), crate::signal::KILL);
            Err(errno.into())
        }
        (Err(_), Err(error)) => Err(error),
    }
}

/// In the child: the whole life of a pod's pid 1. It takes no signal (none can be sent to a pid 1 from inside
/// its namespace without a handler anyway; SIGKILL from outside ends it) and holds no descriptor.
fn reap_forever(channel: BorrowedFd<'_>) -> Infallible {
    sys::process::reset_signals();
    sys::process::block_signals();
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    let _ = rustix::process::setsid();
    let _ = rustix::thread::set_name(c"rhizome-init");
    let _ = rustix::process::chdir("/");
    sys::process::close_all_and(channel, || {
        loop {
            match rustix::process::waitid(
                rustix::process::WaitId::All,
                rustix::process::WaitIdOptions::EXITED,
            ) {
                Ok(_) | Err(Errno::INTR) => {}
                // No child yet: orphans come at any time. Nothing tells of their coming but SIGCHLD.
                Err(_) => sys::process::wait_for_child_signal(),
            }
        }
    })
}

/// The namespaces that a pod has of its own, beside those of its containers.
fn namespace_kinds(config: &PodSandboxConfig) -> Vec<&'static str> {
    let mut kinds = Vec::new();
    if config.namespace_options.network != NamespaceMode::Node {
        // With the node's network goes the node's name, as the kubelet has it.
        kinds.extend(["net", "uts"]);
    }
    if config.namespace_options.ipc != NamespaceMode::Node {
        kinds.push("ipc");
    }
    kinds
}

/// The first process of a container of a sandbox that runs.
fn find_inside(dirs: &Dirs, sandbox: &str) -> Result<Pid> {
    for id in crate::control::list_containers_of(dirs, sandbox)? {
        let record = match crate::control::status(dirs, &id) {
            Err(Error::NotFound { .. }) => continue,
            record => record?,
        };
        let runs = record.status == crate::state::Status::Running;
        if let Some(pid) = record.init.filter(|_| runs).and_then(|init| Pid::from_raw(init.pid)) {
            return Ok(pid);
        }
    }
    Err(Error::NotFound { kind: "running container of sandbox", id: sandbox.to_owned() })
}

/// The pid 1 of a shared pid namespace, if it still is there.
fn adopt_init(init: ProcessId) -> Result<Option<Init>> {
    let (Some(pidfd), Some(pid)) = (init.open()?, Pid::from_raw(init.pid)) else { return Ok(None) };
    let namespace =
        sys::namespace::open_of(pid, "pid").map_err(Error::system("open the pod's pid namespace"))?;
    Ok(Some(Init { child: Child { pid, pidfd }, namespace, ours: false }))
}

fn flags_of(kinds: &[&str]) -> Namespaces {
    let flag = |kind: &&str| match *kind {
        "net" => Namespaces::NETWORK,
        "uts" => Namespaces::HOST_NAME_AND_NIS_DOMAIN_NAME,
        _ => Namespaces::INTER_PROCESS_COMMUNICATION,
    };
    kinds.iter().map(flag).collect()
}

fn open_own(kinds: &[&str]) -> Result<Vec<OwnedFd>, Errno> {
    kinds.iter().map(|kind| sys::namespace::open_own(kind)).collect()
}

/// A process that cannot go back is of no use as a supervisor: that error is the caller's end.
fn go_back(before: &[OwnedFd]) -> Result<()> {
    let back = |namespace: &OwnedFd| sys::namespace::enter(namespace.as_fd());
    before.iter().try_for_each(back).map_err(Error::system("go back to the node's namespaces"))
}

/// Makes the namespaces that the pod has of its own, in four steps:
/// 1. the present ones are opened, to come back to;
/// 2. unshare(2);
/// 3. loopback up, host name, the sysctls that containerd sets, and the pod's own;
/// 4. the new ones are opened, and this process goes back.
fn new_namespaces(config: &PodSandboxConfig) -> Result<Vec<OwnedFd>> {
    let kinds = namespace_kinds(config);
    let before = open_own(&kinds).map_err(Error::system("open this process's namespaces"))?;
    sys::namespace::unshare(flags_of(&kinds)).map_err(Error::system("make the pod's namespaces"))?;
    let made = set_up_network(&kinds, config)
        .and_then(|()| set_sysctls(&config.sysctls, None))
        .and_then(|()| open_own(&kinds).map_err(Error::system("open the pod's namespaces")));
    go_back(&before)?;
    made
}

/// Sets up namespaces that are there and a user namespace's, and comes back.
fn set_up_in(namespaces: &[OwnedFd], kinds: &[&str], config: &PodSandboxConfig, base: u32) -> Result<()> {
    let before = open_own(kinds).map_err(Error::system("open this process's namespaces"))?;
    let enter = |namespace: &OwnedFd| sys::namespace::enter(namespace.as_fd());
    let entered = namespaces.iter().try_for_each(enter).map_err(Error::system("enter the pod's namespaces"));
    let made = entered
        .and_then(|()| set_up_network(kinds, config))
        .and_then(|()| set_sysctls(&config.sysctls, Some(base)));
    go_back(&before)?;
    made
}

/// Of this process's namespaces, which are the pod's at this moment: what `/proc/sys/net`, `/proc/sys/kernel` and
/// `/proc/sys/fs/mqueue` show depends on who looks. Which names may come here `manifest::sysctl` decides.
fn set_sysctls(sysctls: &BTreeMap<String, String>, user_base: Option<u32>) -> Result<()> {
    for (name, value) in sysctls {
        let below = manifest::sysctl::path_of(name);
        if Path::new(&below).components().any(|part| !matches!(part, std::path::Component::Normal(_))) {
            return Err(Error::Config {
                field: "sysctls",
                reason: format!("{name:?} is no kernel parameter"),
            });
        }
        let path = Path::new("/proc/sys").join(below);
        // Without creating: what is not there is not a parameter of this kernel.
        let write = || {
            let file = std::fs::File::options().write(true).open(&path);
            file.and_then(|mut file| file.write_all(value.as_bytes()))
        };
        let written = match (write(), user_base) {
            // Those of a network ask for a capability, those of IPC for the user.
            (Err(error), Some(base)) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                user_namespace::as_root_of(base, write)?
            }
            (written, _) => written,
        };
        written.map_err(|source| Error::Sysctl { name: name.clone(), value: value.clone(), source })?;
    }
    Ok(())
}

/// Where the network is the pod's own.
fn set_up_network(kinds: &[&str], config: &PodSandboxConfig) -> Result<()> {
    if !kinds.contains(&"net") {
        return Ok(());
    }
    let hostname = &config.hostname;
    sys::namespace::loopback_up().map_err(Error::system("bring the pod's loopback interface up"))?;
    if !hostname.is_empty() {
        rustix::system::sethostname(hostname.as_bytes()).map_err(Error::system("set the pod's host name"))?;
    }
    // As containerd 2 does: a pod's ports and pings are its own, so nobody needs to be root for them. A
    // kernel that has not these files goes without.
    for (path, value) in [
        ("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0"),
        ("/proc/sys/net/ipv4/ping_group_range", "0 2147483647"),
    ] {
        if let Err(error) = std::fs::write(path, value) {
            tracing::debug!(path, %error, "not set");
        }
    }
    Ok(())
}
