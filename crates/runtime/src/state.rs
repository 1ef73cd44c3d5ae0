//! What is remembered of a container and of a sandbox: one JSON file each, written atomically, believed only
//! together with what `/proc` says.

use crate::atomic_file::{self, Survives};
use crate::error::{Error, Result};
use crate::user::User;
use jiff::Timestamp;
use manifest::cri::{ContainerConfig, PodSandboxConfig, SeccompProfile};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Where the runtime keeps what it knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dirs {
    /// `<run>/runtime`: state, gone with a reboot as the processes are.
    pub state: PathBuf,
    /// `<lib>/containers`: the containers' writable layers.
    pub data: PathBuf,
}

impl Dirs {
    /// `<lib>/seccomp`: profiles of the user's, as a kubelet has them in its own folder of that name.
    pub fn seccomp_profiles(&self) -> PathBuf {
        self.data.with_file_name("seccomp")
    }

    /// `<lib>/networks`: what CNI plugins have done for sandboxes. Their own books outlive a reboot, so this does.
    pub(crate) fn networks(&self) -> PathBuf {
        self.data.with_file_name("networks")
    }

    pub(crate) fn state_of(&self, id: &str) -> PathBuf {
        self.state.join(id)
    }

    /// A sandbox's containers: an empty file for each, there before anything of it and gone after everything.
    pub(crate) fn members_of(&self, sandbox: &str) -> PathBuf {
        self.state.join(sandbox).join("containers")
    }

    pub(crate) fn data_of(&self, id: &str) -> PathBuf {
        self.data.join(id)
    }
}

/// The life of a container, CRI's `ContainerState` with the moment before the first process is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Being created, or the creation was cut short.
    Creating,
    /// Everything is set up, the program does not run yet.
    Created,
    /// The program runs.
    Running,
    /// It ended.
    Exited,
}

impl Status {
    /// In one word.
    pub fn in_words(self) -> &'static str {
        match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Exited => "exited",
        }
    }
}

/// A process, in a way that survives the reuse of its pid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// In the pid namespace of the supervisor.
    pub pid: i32,
    /// Field 22 of `/proc/PID/stat`: clock ticks after boot.
    pub start_time: u64,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Exit code, or 128 and the signal; none if nobody was there to see it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether the kernel killed a process of it for want of memory.
    pub oom_killed: bool,
    /// When; none if nobody was there to see it.
    pub at: Option<Timestamp>,
    /// Why the program could not be started, where that is how it ended.
    pub start_error: Option<String>,
}

/// What `exec` needs to make a second process like the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// Who.
    pub user: User,
    /// `NAME=value` lines.
    pub env: Vec<String>,
    /// Working directory.
    pub cwd: String,
    /// Capability bits.
    pub capabilities: u64,
    /// PR_SET_NO_NEW_PRIVS.
    pub no_new_privs: bool,
    /// seccomp.
    pub seccomp: SeccompProfile,
    /// AppArmor profile to change to, if any.
    #[serde(default)]
    pub app_armor: Option<String>,
    /// SELinux label to change to, if any.
    #[serde(default)]
    pub se_linux: Option<String>,
    /// The value that the first process got (what this machine permitted).
    pub oom_score_adj: i32,
}

/// `<state>/<container-id>/state.json`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerRecord {
    /// The container.
    pub id: String,
    /// Its sandbox.
    pub sandbox_id: String,
    /// As last written; see [`status`](crate::status) for the truth.
    pub status: Status,
    /// The first process.
    pub init: Option<ProcessId>,
    /// Whether it is pid 1 of a namespace of its own, so that all others die with it.
    pub own_pid_namespace: bool,
    /// The first id of its pod's user namespace on the machine, if it is in one.
    #[serde(default)]
    pub user_base: Option<u32>,
    /// Cgroup path below each hierarchy.
    pub cgroup: String,
    /// How to make processes in it; from `created` on.
    pub process: Option<ProcessSpec>,
    /// Inode numbers of its output pipes, by which a later supervisor knows them again; none with a terminal.
    #[serde(default)]
    pub output_pipes: Option<[u64; 2]>,
    /// Signal that asks it to stop.
    pub stop_signal: i32,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its program was started.
    pub started_at: Option<Timestamp>,
    /// How it ended.
    pub exit: Option<Exit>,
    /// What was asked for.
    pub config: ContainerConfig,
}

/// `<state>/<sandbox-id>/sandbox.json`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxRecord {
    /// The sandbox.
    pub id: String,
    /// The pid 1 of a shared pid namespace.
    pub init: Option<ProcessId>,
    /// The first id of its user namespace on the machine, if it has one.
    #[serde(default)]
    pub user_base: Option<u32>,
    /// When it was created.
    pub created_at: Timestamp,
    /// What was asked for.
    pub config: PodSandboxConfig,
}

pub(crate) const CONTAINER_FILE: &str = "state.json";
pub(crate) const SANDBOX_FILE: &str = "sandbox.json";

/// 32 random bytes in hexadecimal, as CRI runtimes name things.
pub(crate) fn new_id() -> Result<String> {
    let mut bytes = [0u8; 32];
    let mut filled = 0;
    while filled < bytes.len() {
        let rest = &mut bytes[filled..];
        filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())
            .map_err(Error::system("get random bytes"))?;
    }
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// An id becomes a path: only what [`new_id`] makes is one.
pub(crate) fn check_id(kind: &'static str, id: &str) -> Result<()> {
    let good = !id.is_empty()
        && id.len() <= 128
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if good { Ok(()) } else { Err(Error::NotFound { kind, id: id.to_owned() }) }
}

/// A directory of ours, mode 0700, with its parents.
pub(crate) fn make_private_directory(path: &Path) -> Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(Error::file("make directory", path))
}

/// Writes a record so that a reader sees the old one or the new one, whenever this process dies. Not synced
/// to disk: the state lives in a tmpfs, and processes do not survive what a tmpfs does not.
pub(crate) fn write_record<T: Serialize>(directory: &Path, name: &str, record: &T) -> Result<()> {
    let path = directory.join(name);
    atomic_file::write_json(&path, record, Survives::Process).map_err(|source| Error::File {
        action: "write",
        path,
        source,
    })
}

pub(crate) fn read_record<T: DeserializeOwned>(
    directory: &Path,
    name: &str,
    kind: &'static str,
    id: &str,
) -> Result<T> {
    check_id(kind, id)?;
    let path = directory.join(name);
    let text = std::fs::read(&path).map_err(|source| match source.kind() {
        ErrorKind::NotFound => Error::NotFound { kind, id: id.to_owned() },
        _ => Error::File { action: "read", path: path.clone(), source },
    })?;
    serde_json::from_slice(&text).map_err(|source| Error::State { path, source })
}

pub(crate) fn read_container(dirs: &Dirs, id: &str) -> Result<ContainerRecord> {
    read_record(&dirs.state_of(id), CONTAINER_FILE, "container", id)
}

pub(crate) fn read_sandbox(dirs: &Dirs, id: &str) -> Result<SandboxRecord> {
    read_record(&dirs.state_of(id), SANDBOX_FILE, "sandbox", id)
}

impl ContainerRecord {
    pub(crate) fn write(&self, dirs: &Dirs) -> Result<()> {
        write_record(&dirs.state_of(&self.id), CONTAINER_FILE, self)
    }
}

impl ProcessId {
    /// Of a child that was not waited for yet, so that its pid cannot have been reused.
    pub(crate) fn of_child(pid: Pid) -> Result<ProcessId> {
        let pid = pid.as_raw_nonzero().get();
        let path = PathBuf::from(format!("/proc/{pid}/stat"));
        let text = std::fs::read(&path).map_err(Error::file("read", &path))?;
        let stat = parse_stat(&text).ok_or_else(|| Error::File {
            action: "parse",
            path,
            source: std::io::Error::from(ErrorKind::InvalidData),
        })?;
        Ok(ProcessId { pid, start_time: stat.start_time })
    }

    /// Looks at the process, if it is still there and still the same.
    pub(crate) fn look(&self) -> Result<Liveness> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(Liveness::Gone) };
        // First the pidfd, then the look at whom it is: after that the pid cannot change owners unnoticed.
        let pidfd = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(rustix::io::Errno::SRCH | rustix::io::Errno::INVAL) => return Ok(Liveness::Gone),
            Err(errno) => return Err(Error::system("open the container's first process")(errno)),
        };
        let Ok(text) = std::fs::read(format!("/proc/{}/stat", self.pid)) else { return Ok(Liveness::Gone) };
        Ok(match parse_stat(&text) {
            Some(stat) if stat.start_time != self.start_time => Liveness::Gone,
            Some(Stat { state: 'Z' | 'X', exit_code, .. }) => Liveness::Ended { wait_status: exit_code },
            Some(_) => Liveness::Alive(pidfd),
            None => Liveness::Gone,
        })
    }

    /// Opens the process if it is still there, alive and the same.
    pub(crate) fn open(&self) -> Result<Option<OwnedFd>> {
        Ok(match self.look()? {
            Liveness::Alive(pidfd) => Some(pidfd),
            Liveness::Ended { .. } | Liveness::Gone => None,
        })
    }
}

/// What became of a process.
#[derive(Debug)]
pub(crate) enum Liveness {
    /// It lives.
    Alive(OwnedFd),
    /// It has ended and nobody has waited for it yet.
    Ended {
        /// As wait(2) has it.
        wait_status: i32,
    },
    /// It is no more.
    Gone,
}

/// What `/proc/PID/stat` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    state: char,
    start_time: u64,
    /// As wait(2) has it; zero while the process runs, and to those who may not see it.
    exit_code: i32,
}

/// State letter, start time and exit code of a `/proc/PID/stat` line. The name in it may hold anything, also
/// parentheses and spaces: the fields begin after the last `)`.
fn parse_stat(text: &[u8]) -> Option<Stat> {
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let mut fields = str::from_utf8(&text[end + 1..]).ok()?.split_ascii_whitespace();
    // Field 3, 22 and 52 of proc_pid_stat(5).
    let state = fields.next()?.chars().next()?;
    let start_time = fields.nth(18)?.parse().ok()?;
    let exit_code = fields.nth(29).and_then(|field| field.parse().ok()).unwrap_or(0);
    Some(Stat { state, start_time, exit_code })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_with_a_nasty_name() {
        let line =
            b"42 (a) R 1) x) Z 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 123456 1 2 3 4 5 6 7 8 9 10 11 \
            12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 768";
        assert_eq!(parse_stat(line), Some(Stat { state: 'Z', start_time: 123_456, exit_code: 768 }));
        assert_eq!(parse_stat(b"42 (a"), None);
        assert_eq!(parse_stat(b"42 (a) S 1 2"), None);
    }

    #[test]
    fn this_process_is_itself() {
        let me = ProcessId::of_child(rustix::process::getpid()).unwrap();
        assert!(me.open().unwrap().is_some());
        let other = ProcessId { start_time: me.start_time + 1, ..me };
        assert!(other.open().unwrap().is_none());
    }

    #[test]
    fn ids_are_no_paths() {
        let id = new_id().unwrap();
        assert_eq!(id.len(), 64);
        assert!(check_id("container", &id).is_ok());
        for bad in ["", "..", "a/b", "a.b", "ä"] {
            assert!(check_id("container", bad).is_err(), "{bad}");
        }
    }
}
