//! Sandboxes and containers in CRI's verbs.
//!
//! A [`Sandbox`] is what a pod's containers share; a [`Container`] is one of them, held by the supervisor
//! that is its parent. The other verbs ([`status`], [`kill`], [`stop_container`], [`remove_container`],
//! [`exec()`], …) work from the records alone, in any process.
//!
//! How a container comes to be: the supervisor makes the cgroup, plans the mounts ([`mounts`]), clones the
//! first process into namespaces and cgroup at once (`sys::process::spawn`), which makes the mounts, becomes
//! the user and waits (`child`); then it is started, which is one word over a socket and an execve.
//!
//! Architecture invariant: whoever calls [`Sandbox::run`], [`Sandbox::create_container`] or [`exec()`] has
//! one thread: the child of a fork runs normal code. `sys::process::spawn` refuses otherwise.
//!
//! Architecture invariant: what is on record is never believed alone. A process is its pid with its start
//! time; a record is written before what it announces can happen ("running" before execve), and removed after
//! what it tells of is gone.
//!
//! Architecture invariant: nothing of ours is in a container: three descriptors, an environment of its own,
//! and an executable that is not ours. Supervisors and exec'ing commands run from a read-only path
//! (`sys::process::ensure_read_only_exe`, CVE-2019-5736).
//!
//! Deliberately absent: a network beyond loopback other than by CNI plugins ([`cni`]), restarts, logs, and waiting for several containers at once (that is `agent`).
#![forbid(unsafe_code)]

mod app_armor;
mod assurance;
pub mod atomic_file;
pub mod capability;
pub mod cgroup;
mod channel;
mod child;
pub mod cni;
mod container;
mod control;
mod error;
mod exec;
pub mod fault;
mod inside;
mod io;
pub mod mounts;
mod network;
mod program;
pub mod removal;
mod sandbox;
mod se_linux;
pub mod seccomp;
pub mod signal;
mod state;
pub mod user;
pub mod user_namespace;

pub use container::Container;
pub use control::{
    kill, list_containers, list_containers_of, list_sandboxes, list_sandboxes_marked, remove_container,
    remove_sandbox, remove_sandbox_of_network, sandbox_status, status, stop_container, stop_sandbox,
};
pub use error::{Error, Result, START_ERROR_EXIT_CODE, Step, StepFailure};
pub use exec::{ExecConfig, ExecProcess, ExecStdio, Execution, exec};
pub use inside::inside;
pub use io::Io;
pub use network::{Network, network, network_of_sandbox};
pub use sandbox::Sandbox;
pub use state::{ContainerRecord, Dirs, Exit, ProcessId, ProcessSpec, SandboxRecord, Status};
