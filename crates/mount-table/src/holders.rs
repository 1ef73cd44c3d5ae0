//! What keeps mounts and file systems in use, and whether they answer: what `observe` reads and `explain` judges. Values only.

use crate::{Device, MountId};
use std::path::PathBuf;

/// How a process uses a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Use {
    /// A descriptor of this number.
    File(u32),
    /// Its working directory.
    WorkingDirectory,
    /// Its root directory.
    Root,
    /// The program that it runs.
    Program,
    /// A file that is mapped into its memory.
    Mapping,
    /// A socket that is bound to a path, which holds the file there.
    Socket(u32),
}

/// A process that uses a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its id.
    pub pid: u32,
    /// Its name, proc_pid_comm(5).
    pub comm: String,
    /// How.
    pub how: Use,
    /// The mount; none for a mapping, of which only the file system is known, and for a socket, of which only the path is.
    pub mount: Option<MountId>,
    /// The file system of a mapping, and of a mount that is in no namespace.
    pub device: Option<Device>,
    /// What it uses, as the kernel names it for the process.
    pub path: PathBuf,
}

/// All that was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Held {
    /// Processes.
    pub holders: Vec<Holder>,
    /// Loop devices with the files behind them.
    pub loops: Vec<(String, PathBuf)>,
    /// Files and devices that are swapped to.
    pub swaps: Vec<PathBuf>,
    /// How many processes could not be looked into.
    pub unreadable: usize,
}

/// What a file system whose server is a process (FUSE) said when it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Health {
    /// It answered.
    Alive,
    /// Its server is gone: ENOTCONN, "Transport endpoint is not connected".
    Dead,
    /// It did not answer in time.
    Hangs,
}
