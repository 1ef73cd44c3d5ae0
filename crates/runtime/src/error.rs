//! What can go wrong between a `ContainerConfig` and a running process.

use crate::cgroup::CgroupError;
use crate::mounts::{DetachError, ExecuteError, MountError};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;

/// The exit code that Kubernetes shows for a container whose program could not be started (reason
/// `StartError`).
pub const START_ERROR_EXIT_CODE: i32 = 128;

/// A step of the container's first process, or of an exec'd one, before the program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Signals, session, keyring, dumpable.
    Process,
    /// Into the cgroups.
    Cgroup,
    /// Into the pod's (or the container's) namespaces.
    Namespaces,
    /// The mounts.
    Mounts,
    /// The pseudo-terminal.
    Terminal,
    /// stdin, stdout, stderr and no other descriptor.
    Descriptors,
    /// Who the process is.
    User,
    /// The working directory.
    WorkingDirectory,
    /// The AppArmor profile.
    AppArmor,
    /// The SELinux label.
    SeLinux,
    /// Capabilities.
    Capabilities,
    /// no_new_privs and the seccomp filter.
    Seccomp,
    /// Waiting to be started.
    Start,
    /// execve(2).
    Execute,
}

impl Step {
    fn in_words(self) -> &'static str {
        match self {
            Step::Process => "set up the process",
            Step::Cgroup => "enter the cgroups",
            Step::Namespaces => "enter the namespaces",
            Step::Mounts => "make the mounts",
            Step::Terminal => "open a terminal",
            Step::Descriptors => "arrange the file descriptors",
            Step::User => "become the user",
            Step::WorkingDirectory => "enter the working directory",
            Step::AppArmor => "take the AppArmor profile",
            Step::SeLinux => "take the SELinux label",
            Step::Capabilities => "set capabilities",
            Step::Seccomp => "load the seccomp filter",
            Step::Start => "wait for the start",
            Step::Execute => "execute the program",
        }
    }
}

/// A step that failed in a child, as it reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{}{}: {message}", step.in_words(), path.as_ref().map(|p| format!(" {}", p.display())).unwrap_or_default())]
pub struct StepFailure {
    /// Which.
    pub step: Step,
    /// On what.
    pub path: Option<PathBuf>,
    /// The errno, where it was a system call.
    pub errno: Option<i32>,
    /// Why.
    pub message: String,
    /// What the user can do.
    pub hint: Option<String>,
}

impl StepFailure {
    pub(crate) fn new(step: Step, errno: Errno) -> StepFailure {
        StepFailure::with_message(step, errno, io::Error::from(errno).to_string())
    }

    pub(crate) fn at(step: Step, path: impl Into<PathBuf>, errno: Errno) -> StepFailure {
        StepFailure { path: Some(path.into()), ..StepFailure::new(step, errno) }
    }

    pub(crate) fn with_message(step: Step, errno: Errno, message: String) -> StepFailure {
        StepFailure { step, path: None, errno: Some(errno.raw_os_error()), message, hint: None }
    }
}

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No container or sandbox of that id has a state here.
    #[error("no such {kind}: {id}")]
    NotFound {
        /// `container` or `sandbox`.
        kind: &'static str,
        /// The id.
        id: String,
    },
    /// The verb needs another state.
    #[error("container {id} is {is}, not {wanted}")]
    WrongState {
        /// The container.
        id: String,
        /// What it is.
        is: String,
        /// What it would have to be.
        wanted: &'static str,
    },
    /// A field of the configuration that cannot be.
    #[error("{field}: {reason}")]
    Config {
        /// Which.
        field: &'static str,
        /// Why.
        reason: String,
    },
    /// A kernel parameter of the pod's namespaces that the kernel does not have, or not with that value.
    #[error("set the kernel parameter {name} to {value:?}")]
    Sysctl {
        /// With dots.
        name: String,
        /// What it should be.
        value: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file or directory of ours.
    #[error("{action} {}", path.display())]
    File {
        /// What was done.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A state file that is not one.
    #[error("{} is not a state file", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A system call of the supervisor.
    #[error("{action}")]
    System {
        /// What was done.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The child could not be made.
    #[error("make a process of container {id}")]
    Spawn {
        /// The container.
        id: String,
        /// Why.
        #[source]
        source: sys::process::SpawnError,
    },
    /// A step in the child.
    #[error("container {id}")]
    Child {
        /// The container.
        id: String,
        /// Which step, and why.
        #[source]
        source: StepFailure,
    },
    /// The child ended without a word (killed, for instance for want of memory).
    #[error("the first process of container {id} ended before it could {before}: {how}")]
    ChildDied {
        /// The container.
        id: String,
        /// What it should have done.
        before: &'static str,
        /// Exit code or signal.
        how: String,
    },
    /// The kernel killed the child for want of memory in the container's (or its pod's) cgroup.
    #[error("the memory limit of container {id}, {bytes} bytes, is too small for it to be started")]
    NoMemory {
        /// The container.
        id: String,
        /// Its own limit; 0 if it has none, and then it is the pod's.
        bytes: u64,
        /// What it did not come to.
        #[source]
        source: Box<Error>,
    },
    /// The child is stuck, for instance in a dead file system.
    #[error("the first process of container {id} did not {before} within {seconds} s")]
    ChildStuck {
        /// The container.
        id: String,
        /// What it should have done.
        before: &'static str,
        /// How long it was given.
        seconds: u64,
    },
    /// The program could not be executed; the text is the one that runc gives.
    #[error("{message}")]
    Execute {
        /// Such as `exec: "foo": executable file not found in $PATH`.
        message: String,
        /// 126 (cannot be executed) or 127 (not found), what a shell and `kubectl exec` give.
        exit_code: i32,
    },
    /// The first process is ready, and is not what it should be: a bug in this program, or somebody worked against it.
    #[error("container {id} is not as planned and is not started: {}", differences.join("; "))]
    NotAsPlanned {
        /// The container.
        id: String,
        /// In what.
        differences: Vec<String>,
    },
    /// The host's mounts kept changing.
    #[error("the mounts below {} changed during each of {attempts} attempts to make the container's", source_path.display())]
    MountsChange {
        /// The volume's source.
        source_path: PathBuf,
        /// How often it was tried.
        attempts: u32,
    },
    /// Mounts.
    #[error(transparent)]
    Mounts(#[from] MountError),
    /// One of the node's own mounts.
    #[error("mount")]
    Mount(#[from] ExecuteError),
    /// Detaching one of the node's own mounts.
    #[error(transparent)]
    Detach(#[from] DetachError),
    /// Cgroups.
    #[error("cgroup")]
    Cgroup(#[from] CgroupError),
    /// The pod's network.
    #[error(transparent)]
    Network(#[from] crate::cni::NetworkError),
}

/// What a verb answers.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Mounts(error) => error.hint(),
            Error::Cgroup(error) => error.hint(),
            Error::Network(error) => error.hint(),
            Error::Child { source, .. } => source.hint.clone(),
            Error::NoMemory { .. } => {
                Some("raise resources.limits.memory: some MiB are needed before the program runs".to_owned())
            }
            Error::ChildStuck { .. } => {
                Some("look for a dead FUSE or network file system among the pod's volumes".to_owned())
            }
            _ => None,
        }
    }

    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::File { action, path, source }
    }

    pub(crate) fn system(action: &'static str) -> impl FnOnce(Errno) -> Error {
        move |errno| Error::System { action, source: errno.into() }
    }
}
