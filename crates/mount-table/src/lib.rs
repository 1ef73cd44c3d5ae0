//! Values that describe mounts: a [`Mount`], its [`Propagation`], a [`MountTable`] (one namespace) and a
//! [`Snapshot`] (many). Parses `/proc/PID/mountinfo` from bytes.
//!
//! Architecture invariant: pure. No files, no clock, no threads, no logging, no unsafe.
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A mount's id: the field of `/proc/PID/mountinfo` (reused by the kernel at once), or the unique 64-bit id
/// of statmount(2) (never reused, above 2^31) where a table says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MountId(pub u64);

/// A peer group's id, as `shared:N` and `master:N` in mountinfo. Reused by the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PeerGroup(pub u64);

/// A mount's propagation as the kernel prints it, mount_namespaces(7). Nothing set means private.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Propagation {
    /// `shared:N`
    pub shared: Option<PeerGroup>,
    /// `master:N`
    pub master: Option<PeerGroup>,
    /// `propagate_from:N`: the nearest dominating group with a member under the reader's root.
    pub propagate_from: Option<PeerGroup>,
    /// `unbindable`
    pub unbindable: bool,
}

/// A device number (`major:minor`), which identifies a superblock here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Device {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

/// One mount: a row of mountinfo, unescaped. Paths are bytes (not necessarily UTF-8).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// This mount.
    pub id: MountId,
    /// The mount it is mounted on (itself or one outside the table for a namespace's root).
    pub parent: MountId,
    /// The superblock.
    pub device: Device,
    /// The path inside the file system that is this mount's root.
    pub root: PathBuf,
    /// Where it is mounted, from the reader's root.
    pub mount_point: PathBuf,
    /// Per-mount options, such as `rw,nosuid`.
    pub options: String,
    /// Peer group, master, unbindable.
    pub propagation: Propagation,
    /// File system type with subtype, such as `ext4` or `fuse.sshfs`.
    pub fs_type: String,
    /// The source, as the file system shows it.
    pub source: String,
    /// Per-superblock options.
    pub super_options: String,
}

/// The mounts of one namespace in order of creation (the order of mountinfo since Linux 6.8).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MountTable {
    /// The rows.
    pub mounts: Vec<Mount>,
}
