//! Values that describe mounts: a [`Mount`], its [`Propagation`], a [`MountTable`] (one namespace), a
//! [`Snapshot`] (many) and a [`Node`] (many, with whose they are). Parses `/proc/PID/mountinfo` from bytes, prints it
//! back, and answers the questions that a table alone can answer: which mount carries a path, what is visible below it.
//!
//! ```
//! use mount_table::MountTable;
//! use std::path::Path;
//!
//! let table = MountTable::parse_mountinfo(
//!     b"21 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n\
//!       30 21 0:25 / /mnt/a\\040b rw master:7 - tmpfs none rw\n",
//! )?;
//! let mount = table.carrier(Path::new("/mnt/a b/file")).expect("the root carries every path");
//! assert_eq!(mount.id.0, 30);
//! assert_eq!(mount.propagation.to_string(), "slave");
//! # Ok::<(), mount_table::ParseError>(())
//! ```
//!
//! In JSON (serde), rows, tables, snapshots and nodes are as `docs/reference/node-snapshot.md` describes and
//! `docs/reference/node-snapshot.schema.json` (JSON Schema 2020-12) says; a test holds them against it.
//!
//! Architecture invariant: pure. No files, no clock, no threads, no logging, no unsafe. Whoever has the bytes
//! (`observe` from `/proc` or statmount(2), a user from a file) brings them.
//!
//! Architecture invariant: a row that the kernel printed is never refused for what is *in* it. Paths need not
//! be UTF-8, optional fields that are not known are passed over, options are not interpreted. Only a row
//! without the documented shape is an error, which names the line and the field.
//!
//! Architecture invariant: nothing here guesses what a mountinfo does not say. Locks, the particular master
//! mount, the order of a peer ring: these are not fields, and no field stands in for them.
//!
//! Deliberately absent: reading files, following symbolic links (paths given to the queries are taken as
//! canonical), and what a change would do (that is `subtree-model`).
#![forbid(unsafe_code)]

pub mod holders;
pub mod machine;
pub mod node;
mod parse;
mod query;
mod snapshot;
#[cfg(test)]
mod tests;
mod text;

pub use node::{NamespaceView, Node};
pub use parse::{Field, MAX_OPTIONAL_FIELDS, MAX_ROWS, ParseError, ParseErrorKind, split_deleted};
pub use query::join;
pub use snapshot::{NamespaceId, NamespaceTable, Snapshot};
pub use text::{path_as_text, readable, shell_word, text_of_path};

use serde::{Deserialize, Serialize};
use std::fmt;
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

impl Propagation {
    /// Private: neither shared nor slave nor unbindable.
    pub const PRIVATE: Propagation =
        Propagation { shared: None, master: None, propagate_from: None, unbindable: false };

    /// Whether it belongs to a peer group (perhaps beside having a master).
    pub fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// Whether it has a master (perhaps beside being shared).
    pub fn is_slave(&self) -> bool {
        self.master.is_some()
    }

    /// Whether it neither sends nor receives and may be bound.
    pub fn is_private(&self) -> bool {
        !self.is_shared() && !self.is_slave() && !self.unbindable
    }

    /// The state in the kernel's words: `shared`, `slave`, `shared+slave`, `private` or `unbindable`
    /// (`slave+unbindable` exists too: MOVE_MOUNT_SET_GROUP can make it, Linux 5.15 to 6.18).
    pub fn in_words(&self) -> &'static str {
        match (self.is_shared(), self.is_slave(), self.unbindable) {
            (true, true, _) => "shared+slave",
            (true, false, _) => "shared",
            (false, true, false) => "slave",
            (false, true, true) => "slave+unbindable",
            (false, false, true) => "unbindable",
            (false, false, false) => "private",
        }
    }
}

impl fmt::Display for Propagation {
    /// [`Propagation::in_words`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.in_words())
    }
}

/// A device number (`major:minor`), which identifies a superblock here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Device {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

/// One mount: a row of mountinfo, unescaped, proc_pid_mountinfo(5). Paths are bytes (not necessarily UTF-8);
/// serialised, a backslash in them stands as `\134` and a byte that is not UTF-8 as `\ooo`, so that every path
/// survives JSON.
///
/// [`Display`](fmt::Display) gives the row back, in a form that parses to the same value.
///
/// ```
/// let json = r#"{
///     "id": 30, "parent": 21, "device": {"major": 0, "minor": 25}, "root": "/", "deleted": false,
///     "mount_point": "/mnt/a b", "options": "rw,relatime",
///     "propagation": {"shared": null, "master": 7, "propagate_from": null, "unbindable": false},
///     "fs_type": "tmpfs", "source": "none", "super_options": "rw"
/// }"#;
/// let mount: mount_table::Mount = serde_json::from_str(json)?;
/// assert_eq!(mount.to_string(), "30 21 0:25 / /mnt/a\\040b rw,relatime master:7 - tmpfs none rw");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// This mount.
    pub id: MountId,
    /// The mount it is mounted on (itself or one outside the table for a namespace's root).
    pub parent: MountId,
    /// The superblock.
    pub device: Device,
    /// The path inside the file system that is this mount's root, without the `//deleted` that mountinfo adds
    /// when it was removed (see [`Mount::deleted`]). For nsfs it is no path but a name (`mnt:[4026531840]`).
    #[serde(with = "text::path_as_text")]
    pub root: PathBuf,
    /// Whether the root directory was removed from its file system (`//deleted` in mountinfo).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    /// Where it is mounted, from the reader's root.
    #[serde(with = "text::path_as_text")]
    pub mount_point: PathBuf,
    /// Per-mount options, such as `rw,nosuid`, as mountinfo prints them.
    pub options: String,
    /// Peer group, master, unbindable.
    pub propagation: Propagation,
    /// File system type with subtype, such as `ext4` or `fuse.sshfs`.
    pub fs_type: String,
    /// The source, as the file system shows it, unescaped; bytes that are not UTF-8 stand as `\ooo`.
    pub source: String,
    /// Per-superblock options **as mountinfo prints them**, still escaped: file systems escape a comma inside a
    /// value (`\054`), which unescaping would make a separator. Bytes that are not UTF-8 stand as `\ooo`.
    pub super_options: String,
}

/// The mounts of one namespace in order of creation (the order of mountinfo since Linux 6.8).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MountTable {
    /// The rows.
    pub mounts: Vec<Mount>,
}
