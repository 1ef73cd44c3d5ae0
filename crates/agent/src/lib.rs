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
//! Deliberately absent: validation and defaulting (room `manifest`), pulling of images (room `image`), and a
//! daemon: the commands read the files and talk to each pod's supervisor.
#![forbid(unsafe_code)]

mod atomic_file;
pub mod client;
mod clock;
pub mod lifecycle;
pub mod logs;
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
