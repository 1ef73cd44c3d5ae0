//! Cgroups by files, for version 1, version 2 and both at once (hybrid).
//!
//! A cgroup is a path such as `/rhizome/1a2b3c4d/pod<uid>/<container>`, the same below the mount of every
//! hierarchy that this machine has. In hybrid set-ups the container is also in the (controller-less) version
//! 2 tree, which gives it `cgroup.kill` and makes it findable by one path.
//!
//! Why not the `libcgroups` crate (0.7 looked at): it brings nix and procfs along; on a hybrid machine it uses
//! version 1 alone, so that there is neither `cgroup.kill` nor `CLONE_INTO_CGROUP`; and it adds a task by its pid.
//! How a cgroup is joined matters to a container's start time: a write to version 1's `cgroup.procs` waits for an
//! RCU grace period (16 ms measured), a task that writes `0` to `tasks`, moving *itself*, does not
//! (`cgroup_procs_write_start()`, kernel/cgroup/cgroup.c), and version 2 takes the child at clone3.
//!
//! Device access: version 1's devices controller gets a list, a version 2 directory a program of a few
//! instructions that says the same ([`devices`]); a machine with neither hierarchy leaves it to who has which
//! nodes.
//!
//! Deliberately absent: asking systemd for a scope. The tree is made beside systemd's own, as kubelets with
//! the cgroupfs driver and podman do.

pub mod devices;
mod hierarchy;
mod limits;
mod usage;

pub use devices::Devices;
pub use hierarchy::{Hierarchies, Hierarchy, Version, WANTED_CONTROLLERS, parse_hierarchies};
pub use limits::{Limits, weight_of_shares};
pub use usage::Usage;

use crate::fault;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a cgroup may take to become empty after everything in it was killed.
const EMPTY_TIMEOUT: Duration = Duration::from_secs(5);
/// The deepest tree of cgroups that a container may have made and that is still removed.
const DEPTH_MAX: usize = 64;
/// How often a parent is made again that somebody else removes.
const PARENT_TRIES: u32 = 16;

/// A cgroup operation that failed.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// On a file or directory.
    #[error("{action} {}{}", path.display(), value.as_ref().map(|v| format!(" ({v:?})")).unwrap_or_default())]
    File {
        /// What was done.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What was written, where it was a write.
        value: Option<String>,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A limit whose controller this machine does not offer.
    #[error("this machine has no {controller} cgroup controller, which a {limit} limit needs")]
    NoController {
        /// `memory`, `cpu` or `pids`.
        controller: &'static str,
        /// What was to be limited.
        limit: &'static str,
    },
    /// Processes stay although they were killed (uninterruptible, for instance in a dead file system).
    #[error("processes {pids:?} in cgroup {} do not end", path.display())]
    NotEmpty {
        /// The cgroup.
        path: PathBuf,
        /// Who.
        pids: Vec<i32>,
    },
    /// A path that leaves the hierarchy.
    #[error("cgroup path {path:?} is not absolute and plain")]
    BadPath {
        /// The path.
        path: String,
    },
    /// A fault point.
    #[error("fault point {0}")]
    Fault(&'static str),
}

impl CgroupError {
    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            CgroupError::File { path, source, .. }
                if path.ends_with("cgroup.subtree_control")
                    && source.raw_os_error() == Some(Errno::BUSY.raw_os_error()) =>
            {
                Some(format!(
                    "cgroup v2 gives controllers only to cgroups without processes of their own: move those in {} into a child of it",
                    path.parent().unwrap_or(path).join("cgroup.procs").display()
                ))
            }
            CgroupError::NotEmpty { .. } => {
                Some("look at the processes' wchan in /proc: a dead mount must be detached first".to_owned())
            }
            _ => None,
        }
    }
}

fn file_error<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> CgroupError + 'a {
    move |source| CgroupError::File { action, path: path.to_path_buf(), value: None, source }
}

/// One cgroup, in every hierarchy.
#[derive(Debug, Clone)]
pub struct Cgroup {
    hierarchies: Hierarchies,
    path: String,
}

/// What a child needs to be in a cgroup from its first instruction on.
#[derive(Debug)]
pub struct Entrance {
    /// The version 2 directory, for `CLONE_INTO_CGROUP`.
    pub v2: Option<OwnedFd>,
    /// `tasks` of each version 1 directory, for the child to write `0` to.
    v1_tasks: Vec<OwnedFd>,
}

impl Entrance {
    /// Moves the calling task, which must be its process's only one, into the version 1 cgroups.
    pub fn enter_v1(&self) -> Result<(), Errno> {
        self.v1_tasks.iter().try_for_each(|tasks| rustix::io::write(tasks, b"0").map(drop))
    }
}

impl Cgroup {
    /// The cgroup of that path; nothing is created. The path begins with `/` and has no `..`.
    pub fn at(hierarchies: &Hierarchies, path: &str) -> Result<Cgroup, CgroupError> {
        let plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
        let below = path.strip_prefix('/').filter(|below| below.split('/').all(plain));
        match below {
            Some(_) => Ok(Cgroup { hierarchies: hierarchies.clone(), path: path.to_owned() }),
            None => Err(CgroupError::BadPath { path: path.to_owned() }),
        }
    }

    /// Its path below each hierarchy's mount.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Each hierarchy with this cgroup's directory in it.
    pub fn directories(&self) -> impl Iterator<Item = (&Hierarchy, PathBuf)> {
        self.hierarchies.0.iter().map(|hierarchy| (hierarchy, hierarchy.mount_point.join(&self.path[1..])))
    }

    fn directory_with(&self, controller: &str) -> Option<(Version, PathBuf)> {
        self.directories()
            .find(|(hierarchy, _)| hierarchy.controllers.iter().any(|name| name == controller))
            .map(|(hierarchy, dir)| (hierarchy.version, dir))
    }

    /// Creates it in every hierarchy, and what is missing above it: controllers are enabled down the path
    /// (version 2), CPUs and memory nodes are taken from the parent (v1 cpuset). What is there already is
    /// kept.
    pub fn create(&self) -> Result<(), CgroupError> {
        for (hierarchy, dir) in self.directories() {
            fault::point("cgroup.create").map_err(|_| CgroupError::Fault("cgroup.create"))?;
            create_in(hierarchy, &dir)?;
        }
        Ok(())
    }

    /// Sets limits and device rules.
    pub fn limit(&self, limits: &Limits) -> Result<(), CgroupError> {
        limits::apply(self, limits)
    }

    /// Opens what a child needs to enter it.
    pub fn entrance(&self) -> Result<Entrance, CgroupError> {
        let mut entrance = Entrance { v2: None, v1_tasks: Vec::new() };
        for (hierarchy, dir) in self.directories() {
            let (path, flags) = match hierarchy.version {
                Version::V1 => (dir.join("tasks"), OFlags::WRONLY | OFlags::CLOEXEC),
                Version::V2 => (dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC),
            };
            let fd = rustix::fs::open(&path, flags, Mode::empty())
                .map_err(|errno| file_error("open", &path)(errno.into()))?;
            match hierarchy.version {
                Version::V1 => entrance.v1_tasks.push(fd),
                Version::V2 => entrance.v2 = Some(fd),
            }
        }
        Ok(entrance)
    }

    /// Opens the version 2 directory that a process of it is in, which is it or below it; none where there is
    /// no version 2, or the process has gone elsewhere.
    pub fn open_inner_v2(&self, pid: i32) -> Result<Option<OwnedFd>, CgroupError> {
        let Some((hierarchy, own)) =
            self.directories().find(|(hierarchy, _)| hierarchy.version == Version::V2)
        else {
            return Ok(None);
        };
        let text = read(Path::new(&format!("/proc/{pid}/cgroup")))?;
        let Some(path) = text.lines().find_map(|line| line.strip_prefix("0::/")) else { return Ok(None) };
        let dir = hierarchy.mount_point.join(path);
        if !dir.starts_with(&own) || path.split('/').any(|part| part == "..") {
            return Ok(None);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(&dir, flags, Mode::empty());
        fd.map(Some).map_err(|errno| file_error("open", &dir)(errno.into()))
    }

    /// The processes in it and below it, in any hierarchy.
    pub fn pids(&self) -> Result<Vec<i32>, CgroupError> {
        let mut pids = Vec::new();
        for (_, dir) in self.directories() {
            walk(&dir, 0, &mut |dir| {
                let text = read_if_there(&dir.join("cgroup.procs"))?.unwrap_or_default();
                pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
                Ok(())
            })?;
        }
        pids.sort_unstable();
        pids.dedup();
        // 0 is a process that is not in our pid namespace.
        pids.retain(|pid| *pid > 0);
        Ok(pids)
    }

    /// Kills everything in it and below it, until nothing is left (bounded): `cgroup.kill` (Linux 5.14) where
    /// there is a version 2 tree, and SIGKILL to each process, frozen first so that none can fork away.
    pub fn kill(&self) -> Result<(), CgroupError> {
        fault::point("cgroup.kill").map_err(|_| CgroupError::Fault("cgroup.kill"))?;
        let deadline = Instant::now() + EMPTY_TIMEOUT;
        let mut pause = Duration::from_micros(200);
        loop {
            let pids = self.pids()?;
            if pids.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                let path = self.directories().next().map_or_else(PathBuf::new, |(_, dir)| dir);
                return Err(CgroupError::NotEmpty { path, pids });
            }
            self.kill_once(&pids);
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    /// Sends every process in it a signal, once. Who has gone meanwhile is passed over.
    pub fn signal(&self, signal: i32) -> Result<(), CgroupError> {
        send_each(&self.pids()?, signal);
        Ok(())
    }

    fn kill_once(&self, pids: &[i32]) {
        // What fails here is tried again by the loop in `kill`, which knows when to give up.
        for (hierarchy, dir) in self.directories() {
            if hierarchy.version == Version::V2 {
                let _ = write(&dir.join("cgroup.kill"), "1");
            }
        }
        let freezer = self.directory_with("freezer").map(|(_, dir)| dir.join("freezer.state"));
        if let Some(state) = &freezer {
            let _ = write(state, "FROZEN");
        }
        send_each(pids, KILL);
        if let Some(state) = &freezer {
            let _ = write(state, "THAWED");
        }
    }

    /// Removes it and what is below it from every hierarchy. A cgroup stays busy for a moment after its last
    /// process was reaped: bounded retries.
    pub fn remove(&self) -> Result<(), CgroupError> {
        fault::point("cgroup.remove").map_err(|_| CgroupError::Fault("cgroup.remove"))?;
        for (_, dir) in self.directories() {
            remove_tree(&dir)?;
        }
        Ok(())
    }

    /// Kills what is in it, if there is something, and removes it: mostly there is nothing, and nothing needs
    /// to be looked at.
    pub fn kill_and_remove(&self) -> Result<(), CgroupError> {
        if self.remove_if_empty() {
            return Ok(());
        }
        self.kill()?;
        self.remove()
    }

    /// Removes it where it is empty, and leaves it where it is not. Whether it is gone everywhere.
    pub fn remove_if_empty(&self) -> bool {
        let gone = |dir: PathBuf| match rustix::fs::rmdir(dir) {
            Ok(()) | Err(Errno::NOENT) => true,
            Err(_) => false,
        };
        self.directories().fold(true, |all, (_, dir)| gone(dir) && all)
    }

    /// The cgroup above, if that is not the root.
    pub fn parent(&self) -> Option<Cgroup> {
        let (parent, _) = self.path.rsplit_once('/').filter(|(parent, _)| !parent.is_empty())?;
        Some(Cgroup { hierarchies: self.hierarchies.clone(), path: parent.to_owned() })
    }

    /// How many of its processes the kernel has killed for want of memory.
    pub fn oom_kills(&self) -> u64 {
        let Some((version, dir)) = self.directory_with("memory") else { return 0 };
        let file = match version {
            Version::V1 => "memory.oom_control",
            Version::V2 => "memory.events",
        };
        let text = std::fs::read_to_string(dir.join(file)).unwrap_or_default();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok());
        count.unwrap_or(0)
    }
}

const KILL: i32 = 9;

fn send_each(pids: &[i32], signal: i32) {
    for pid in pids {
        let Some(pid) = rustix::process::Pid::from_raw(*pid) else { continue };
        // A pid that was reused between the reading and here is opened now; what is signalled is what is in
        // the cgroup's list a moment ago. The window is the one that every runtime has without cgroup.kill.
        let Ok(pidfd) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) else {
            continue;
        };
        let _ = sys::process::send_signal(rustix::fd::AsFd::as_fd(&pidfd), signal);
    }
}

fn is_gone(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::NOENT | Errno::NODEV))
}

/// Makes one cgroup in one hierarchy, its parents first where they are missing.
fn create_in(hierarchy: &Hierarchy, dir: &Path) -> Result<(), CgroupError> {
    let Some(parent) = dir.parent().filter(|_| dir != hierarchy.mount_point) else { return Ok(()) };
    let mut made = rustix::fs::mkdir(dir, Mode::from_raw_mode(0o755));
    for _ in 0..PARENT_TRIES {
        if made != Err(Errno::NOENT) {
            break;
        }
        // Again and again, because the end of another pod removes what is empty.
        create_in(hierarchy, parent)?;
        made = rustix::fs::mkdir(dir, Mode::from_raw_mode(0o755));
    }
    let new = match made {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        Err(errno) => return Err(file_error("make cgroup", dir)(errno.into())),
    };
    match hierarchy.version {
        Version::V2 => enable_controllers(&hierarchy.mount_point, parent, &hierarchy.controllers),
        Version::V1 if hierarchy.controllers.iter().any(|name| name == "cpuset") => {
            inherit_cpuset(&hierarchy.mount_point, dir, new)
        }
        Version::V1 => Ok(()),
    }
}

fn write(path: &Path, value: &str) -> Result<(), CgroupError> {
    write_all(path, &[value])
}

/// Writes several values to one file, each in a write of its own.
fn write_all(path: &Path, values: &[&str]) -> Result<(), CgroupError> {
    let fail = |value: &str, errno: Errno| CgroupError::File {
        action: "write",
        path: path.to_path_buf(),
        value: Some(value.to_owned()),
        source: errno.into(),
    };
    // Never created: a file that is not there is a controller that is not there.
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| fail(values.first().unwrap_or(&""), errno))?;
    values.iter().try_for_each(|value| {
        rustix::io::write(&file, value.as_bytes()).map(drop).map_err(|errno| fail(value, errno))
    })
}

fn read(path: &Path) -> Result<String, CgroupError> {
    std::fs::read_to_string(path).map_err(file_error("read", path))
}

fn read_if_there(path: &Path) -> Result<Option<String>, CgroupError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(file_error("read", path)(error)),
    }
}

/// Enables for the children of a version 2 cgroup those controllers that they lack. A cgroup above it whose maker was
/// killed, or is not done yet, between making it and giving it controllers has none to hand on: it gets them first.
fn enable_controllers(top: &Path, dir: &Path, controllers: &[String]) -> Result<(), CgroupError> {
    if controllers.is_empty() {
        return Ok(());
    }
    let control = dir.join("cgroup.subtree_control");
    let enabled = read(&control)?;
    let missing: Vec<String> = controllers
        .iter()
        .filter(|name| !enabled.split_ascii_whitespace().any(|there| there == name.as_str()))
        .map(|name| format!("+{name}"))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    match (write(&control, &missing.join(" ")), dir.parent().filter(|_| dir != top)) {
        (Err(CgroupError::File { source, .. }), Some(parent)) if is_gone(&source) => {
            enable_controllers(top, parent, controllers)?;
            write(&control, &missing.join(" "))
        }
        (result, _) => result,
    }
}

/// A new v1 cpuset has no CPUs and no memory nodes, and no task can enter it before it has. Neither has one above it
/// whose maker was killed, or is not done yet, between making and filling it: that is filled first.
fn inherit_cpuset(top: &Path, dir: &Path, new: bool) -> Result<(), CgroupError> {
    let Some(parent) = dir.parent().filter(|_| dir != top) else { return Ok(()) };
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if !new && !read(&dir.join(file))?.trim().is_empty() {
            continue;
        }
        let mut value = read(&parent.join(file))?;
        if value.trim().is_empty() {
            inherit_cpuset(top, parent, false)?;
            value = read(&parent.join(file))?;
        }
        write(&dir.join(file), value.trim())?;
    }
    Ok(())
}

fn try_to_remove(dir: &Path) -> Option<CgroupError> {
    match rustix::fs::rmdir(dir) {
        Ok(()) | Err(Errno::NOENT) => None,
        Err(errno) => Some(file_error("remove cgroup", dir)(errno.into())),
    }
}

fn remove_tree(dir: &Path) -> Result<(), CgroupError> {
    let deadline = Instant::now() + EMPTY_TIMEOUT;
    let mut pause = Duration::from_micros(500);
    loop {
        let mut busy = try_to_remove(dir);
        if busy.is_some() {
            // Children first, so that the last answer is that of the whole.
            walk(dir, 0, &mut |dir| {
                busy = try_to_remove(dir);
                Ok(())
            })?;
        }
        match busy {
            None => return Ok(()),
            Some(error) if Instant::now() > deadline => return Err(error),
            Some(_) => {}
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Visits a cgroup directory and those below it, children first; one that is gone is passed over.
fn walk(
    dir: &Path,
    depth: usize,
    visit: &mut dyn FnMut(&Path) -> Result<(), CgroupError>,
) -> Result<(), CgroupError> {
    // A directory of the kernel's has two links and one for each directory in it.
    let has_children = rustix::fs::stat(dir).is_ok_and(|stat| stat.st_nlink > 2);
    if has_children && depth < DEPTH_MAX {
        let entries = match std::fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if is_gone(&error) => return Ok(()),
            Err(error) => return Err(file_error("read", dir)(error)),
        };
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                walk(&entry.path(), depth + 1, visit)?;
            }
        }
    }
    visit(dir)
}
