//! Pods: one pure state machine a pod ([`lifecycle`]) and the supervisor process that alone runs it.
//!
//! This is the kubelet's part of a node: volumes, the order of things, restarts, logs, the record of what was
//! asked and what became of it. What a container *is* (namespaces, mounts, cgroups) is the room `runtime`.
//!
//! Architecture invariant: there is one life cycle. Whoever wants something done to a pod sends an event to the
//! state machine through the pod's supervisor; nobody else restarts, stops or starts a container behind it.
//! Architecture invariant: the state machine reads no clock and touches nothing; time comes in with each event.
//! Architecture invariant: no mount system call is made here; every one goes through `runtime`.
//! Architecture invariant: no async, no threads: the supervisor may clone children that run ordinary code.
//! Architecture invariant: nothing is removed across a mount point (see [`removal`]).
//!
//! Architecture invariant: whatever is killed, and whenever, what is said of a pod is true and the pod can be removed.
//! Who acts on a pod holds its lock; a supervisor holds another for as long as it lives, which tells that it does.
//! What is about to be made is written down before it is made, and forgotten after it is gone.
//!
//! Who does what: a command writes the record ([`record`]) and starts the pod's [`supervisor`], which shares the command's
//! lock until it has its own. The supervisor makes the [`volumes`], runs sandbox and containers through `runtime`, writes
//! their [`logs`] and the state ([`status_file`]), and listens on its socket ([`protocol`]). Commands go through
//! [`client`], which asks the supervisor where there is one and the runtime's records where there is none.
//!
//! A supervisor that was killed: its containers go on (their pipes have a reader of their own, see `runtime`), are not
//! restarted, and wait when 64 KiB of output are not read. `start` gives the pod another supervisor, which takes over the
//! sandbox, the containers and the pipes with what is in them, and learns exit codes from pidfds (Linux 6.15; before, an
//! exit that nobody saw is `ContainerStatusUnknown`). What cannot be taken over: a terminal, whose master is gone, and
//! standard input, which has ended.
//!
//! Deliberately absent: validation and defaulting (room `manifest`), pulling of images (the command does it before the
//! pod is created: a supervisor has one thread and waits for nobody), and a daemon.
#![forbid(unsafe_code)]

mod check;
pub mod client;
mod clock;
pub mod copy;
mod disk_usage;
pub mod events;
pub mod lifecycle;
pub mod logs;
pub mod names;
pub mod node;
mod orphan;
pub mod protocol;
pub mod record;
pub mod removal;
pub mod root;
pub mod status;
pub mod status_file;
pub mod supervisor;
pub mod volumes;

pub use client::Client;
pub use root::Root;
