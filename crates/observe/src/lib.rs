//! What is on this machine: the mounts of a process or of every mount namespace, and the facts that decide
//! about pods and propagation.
//!
//! Architecture invariant: only reads. It mounts nothing, signals nobody but its own child, enters no namespace; what
//! it asks of the kernel leaves no trace.
//!
//! Architecture invariant: it runs with whatever rights the caller has. What could not be read is absent in
//! the values (`None`, [`mount_table::node::Gap`]), never made up.
//!
//! Architecture invariant: kernel versions, cgroup kinds and distributions are told apart here and in `sys`
//! only; whoever reads the values sees what there is, not which release has it.
//!
//! Deliberately absent: judging what is seen (`explain`), and asking daemons: kernels and files say enough.
#![forbid(unsafe_code)]

mod answer;
mod error;
mod health;
mod holders;
pub mod machine;
mod mounts;
pub mod node;
pub mod watch;

pub use answer::{Silent, is_fuse, require_answer, require_answer_among};
pub use error::Error;
pub use health::{Asked, MAX_ASKED, read_health};
pub use holders::{MAX_HOLDERS, Wanted, read_holders};
pub use mounts::{MAX_READS, read_mounts_of, read_own_mounts};
pub use node::{Names, NodeReader, read_node};
pub use watch::Watcher;

/// What reading gives.
pub type Result<T> = std::result::Result<T, Error>;
