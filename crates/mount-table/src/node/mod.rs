//! A node: every mount namespace of a machine at one moment, with whom it belongs to and what keeps it, what could not
//! be read, and the questions that need more than one namespace: who is in a peer group, who is a slave of it, which
//! namespace a target names.
//!
//! It is filled by `observe`, written to a file and read back ([`Node::to_json`], [`Node::parse_json`]), and asked by
//! whoever explains, draws or predicts; none of them cares where it came from.

mod diff;
mod document;
pub mod event;
mod groups;
mod owner;
mod pseudonym;
mod target;
#[cfg(test)]
mod tests;

pub use diff::{Changed, Diff, MountChange, NamespaceChange};
pub use document::{DocumentError, MAX_DOCUMENT_BYTES, MAX_NAMESPACES};
pub use groups::{Groups, Place};
pub use owner::{Container, Labels, Owner, Pod, Runtime};
pub use target::TargetError;

use crate::{Mount, MountId, MountTable, NamespaceId, NamespaceTable, Snapshot, text};
use document::{Kind, Version};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

/// Every mount namespace of a machine that its reader could see, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    #[serde(rename = "apiVersion")]
    version: Version,
    kind: Kind,
    /// When it was read.
    pub taken: Timestamp,
    /// The kernel's release, as `uname -r`.
    pub kernel: String,
    /// `/proc/sys/kernel/random/boot_id`: unique mount ids of two readings can be compared if it is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// The namespace of process 1, which is what `host` means. None if the reader may not know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<NamespaceId>,
    /// The namespace that the reader was in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reader: Option<NamespaceId>,
    /// `fs.mount-max`: how many mounts one namespace may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount_max: Option<u64>,
    /// The namespaces: the host's first, the others by number.
    pub namespaces: Vec<NamespaceView>,
    /// What could not be read, and why. Empty: this is all there is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Gap>,
}

/// A mount namespace, what is mounted in it, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceView {
    /// The inode number, as in `mnt:[4026531840]`; see [`NamespaceId::has_number`].
    pub id: NamespaceId,
    /// The 64-bit id, never reused while the machine runs (`NS_MNT_GET_INFO`, Linux 6.11; `mnt_ns_id` of statmount(2)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unique_id: Option<u64>,
    /// The inode number of the user namespace that owns it: mounts that cross from one owner to another are slaves, and
    /// locked (mount_namespaces(7)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_namespace: Option<u64>,
    /// Its mounts in order of creation, from the namespace's own root where that could be read (else see `seen_from`).
    pub mounts: MountTable,
    /// The unique 64-bit ids of the mounts, in the order of `mounts` (Linux 6.8); empty if they are not known. They
    /// are never reused, and grow with every mount of the machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unique_mount_ids: Vec<MountId>,
    /// Where the mounts were read only as a process sees them whose root directory is not the namespace's: that
    /// directory. What lies outside of it is missing, and paths begin there.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_path")]
    pub seen_from: Option<PathBuf>,
    /// Whether it changed during each of the readings, so that the rows are not of one moment.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub moved: bool,
    /// Whose it is.
    pub owner: Owner,
    /// The processes in it that were seen, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<Process>,
    /// Descriptors and bind mounts that keep it, looked for only where no process is in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept_by: Vec<Keeper>,
    /// When the oldest of its processes started: the namespace may be older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

/// A process in a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// Its id, in the reader's PID namespace.
    pub pid: u32,
    /// Its name, proc_pid_comm(5). Any process chooses its own: it may hold anything but NUL.
    pub comm: String,
    /// Its root directory within the namespace, where that is not the namespace's (chroot(2)).
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_path")]
    pub root: Option<PathBuf>,
    /// The container that its cgroup says it is in, where that is not the namespace's owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
}

/// What keeps a namespace that no process is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "by")]
pub enum Keeper {
    /// A descriptor of a process.
    #[serde(rename_all = "camelCase")]
    Descriptor {
        /// Whose.
        pid: u32,
        /// The process' name.
        comm: String,
        /// Its number.
        fd: u32,
    },
    /// A thread of a process whose other threads are elsewhere.
    #[serde(rename_all = "camelCase")]
    Thread {
        /// Whose.
        pid: u32,
        /// The thread's id.
        tid: u32,
        /// The thread's name.
        comm: String,
    },
    /// A bind mount of the namespace's file in another namespace.
    #[serde(rename_all = "camelCase")]
    Bind {
        /// In which.
        namespace: NamespaceId,
        /// Where.
        #[serde(with = "text::path_as_text")]
        mount_point: PathBuf,
    },
}

/// Something that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gap {
    /// What.
    pub what: Missing,
    /// Why, in words.
    pub why: String,
}

/// What a [`Gap`] is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Missing {
    /// The namespaces of these processes: which they are in is not known.
    Processes(Vec<u32>),
    /// The mounts of this namespace, which is therefore not in the list.
    Mounts(NamespaceId),
    /// Namespaces that no process is in, if there are any.
    KeptNamespaces,
    /// The unique ids of the mounts of this namespace.
    UniqueIds(NamespaceId),
    /// What names the containers of this runtime.
    Names(Runtime),
}

impl Node {
    /// A node without namespaces.
    pub fn new(taken: Timestamp, kernel: String) -> Node {
        Node {
            version: Version,
            kind: Kind,
            taken,
            kernel,
            boot_id: None,
            host: None,
            reader: None,
            mount_max: None,
            namespaces: Vec::new(),
            gaps: Vec::new(),
        }
    }

    /// The namespace of this number.
    pub fn namespace(&self, id: NamespaceId) -> Option<&NamespaceView> {
        self.namespaces.iter().find(|namespace| namespace.id == id)
    }

    /// The host's namespace: that of process 1.
    pub fn host(&self) -> Option<&NamespaceView> {
        self.namespace(self.host?)
    }

    /// The namespace that a process is in, and what is known of the process.
    pub fn process(&self, pid: u32) -> Option<(&NamespaceView, &Process)> {
        self.namespaces.iter().find_map(|namespace| {
            let process = namespace.processes.iter().find(|process| process.pid == pid)?;
            Some((namespace, process))
        })
    }

    /// All mounts, with where they are.
    pub fn mounts(&self) -> impl Iterator<Item = Place<'_>> {
        self.namespaces
            .iter()
            .flat_map(|namespace| namespace.mounts.mounts.iter().map(move |mount| Place { namespace, mount }))
    }

    /// Only the mounts, for the model: the host's namespace first.
    ///
    /// Namespaces are read one after the other, and the kernel gives a mount's id to the next one as soon as it is free:
    /// what was met in an earlier namespace has an id of its own in a later one, above all others.
    pub fn to_snapshot(&self) -> Snapshot {
        let table = |view: &NamespaceView| NamespaceTable { id: view.id, mounts: view.mounts.clone() };
        let is_host = |view: &&NamespaceView| Some(view.id) == self.host;
        let host = self.namespaces.iter().filter(is_host);
        let others = self.namespaces.iter().filter(|view| !is_host(view));
        let mut namespaces: Vec<NamespaceTable> = host.chain(others).map(table).collect();
        number_apart(&mut namespaces);
        Snapshot { namespaces }
    }
}

/// Gives the mounts of a namespace that have an id of an earlier one another.
fn number_apart(namespaces: &mut [NamespaceTable]) {
    let rows = namespaces.iter().flat_map(|namespace| &namespace.mounts.mounts);
    let mut next = rows.map(|row| row.id.0).max().map_or(0, |last| last.saturating_add(1));
    let mut met: HashSet<MountId> = HashSet::new();
    for namespace in namespaces {
        let rows = &mut namespace.mounts.mounts;
        let mut others: HashMap<MountId, MountId> = HashMap::new();
        for row in rows.iter().filter(|row| met.contains(&row.id)) {
            others.entry(row.id).or_insert_with(|| {
                next = next.saturating_add(1);
                MountId(next - 1)
            });
        }
        if !others.is_empty() {
            let other = |id: MountId| others.get(&id).copied().unwrap_or(id);
            rows.iter_mut().for_each(|row| (row.id, row.parent) = (other(row.id), other(row.parent)));
        }
        met.extend(rows.iter().map(|row| row.id));
    }
}

impl NamespaceView {
    /// A namespace of which only the mounts are known.
    pub fn new(id: NamespaceId, mounts: MountTable) -> NamespaceView {
        NamespaceView {
            id,
            unique_id: None,
            user_namespace: None,
            mounts,
            unique_mount_ids: Vec::new(),
            seen_from: None,
            moved: false,
            owner: Owner::Unknown,
            processes: Vec::new(),
            kept_by: Vec::new(),
            since: None,
        }
    }

    /// The unique id of one of its mounts, if it is known. Takes a look at every row.
    pub fn unique_mount_id(&self, mount: &Mount) -> Option<MountId> {
        let at = self.mounts.mounts.iter().position(|known| known.id == mount.id)?;
        self.unique_mount_ids.get(at).copied()
    }
}

/// Above every inode number (32 bits) and below what JSON's readers take for an integer (53 bits).
const WITHOUT_NUMBER: u64 = 1 << 52;

impl NamespaceId {
    /// For a namespace whose number its reader may not ask for, but whose mounts it could read: told apart by the id of
    /// the first of them, which no other namespace has.
    pub fn without_number(first: MountId) -> NamespaceId {
        NamespaceId(WITHOUT_NUMBER | first.0)
    }

    /// Whether it is the kernel's number, and not [`NamespaceId::without_number`].
    pub fn has_number(self) -> bool {
        self.0 < WITHOUT_NUMBER
    }
}

/// [`text::path_as_text`] for a path that may be absent.
mod optional_path {
    use super::{PathBuf, text};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct AsText(#[serde(with = "text::path_as_text")] PathBuf);

    pub(super) fn serialize<S: Serializer>(path: &Option<PathBuf>, to: S) -> Result<S::Ok, S::Error> {
        match path {
            Some(path) => text::path_as_text::serialize(path, to),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
        Ok(Option::<AsText>::deserialize(from)?.map(|path| path.0))
    }
}
