//! The mounts of several namespaces at one moment, and the numbering in which two of them can be compared.

use crate::{MountId, MountTable, PeerGroup, Propagation};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::hash::Hash;

/// A mount namespace: its inode number (`mnt:[4026531840]`), or its 64-bit id (`NS_MNT_GET_INFO`), as the
/// snapshot's maker says. Not reused while the namespace lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NamespaceId(pub u64);

/// One namespace of a [`Snapshot`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceTable {
    /// Which.
    pub id: NamespaceId,
    /// Its mounts, in order of creation.
    pub mounts: MountTable,
}

/// The mounts of several namespaces at one moment.
///
/// In JSON it is a list of `{"id": …, "mounts": […]}`, rows as in `docs/reference/node-snapshot.md`.
///
/// ```
/// use mount_table::{MountTable, NamespaceId, NamespaceTable, Snapshot};
///
/// let of = |row: &str| MountTable::parse_mountinfo(row.as_bytes());
/// let namespace = |id, mounts| NamespaceTable { id: NamespaceId(id), mounts };
/// let mut before = Snapshot { namespaces: vec![namespace(1, of("21 1 8:1 / / rw shared:7 - ext4 /dev/sda1 rw\n")?)] };
/// let mut after = Snapshot { namespaces: vec![namespace(1, of("90 5 8:1 / / rw shared:3 - ext4 /dev/sda1 rw\n")?)] };
/// assert_ne!(before, after);
/// before.renumber();
/// after.renumber();
/// assert_eq!(before, after, "ids and group numbers apart, it is the same");
/// # Ok::<(), mount_table::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Snapshot {
    /// The namespaces, in an order of the maker's choice.
    pub namespaces: Vec<NamespaceTable>,
}

impl Snapshot {
    /// The namespace of this id.
    pub fn namespace(&self, id: NamespaceId) -> Option<&MountTable> {
        self.namespaces.iter().find(|namespace| namespace.id == id).map(|namespace| &namespace.mounts)
    }

    /// Numbers mounts and peer groups 1, 2, 3… by first appearance (namespaces and rows in order; in a row the
    /// mount, then its groups as shared, master, propagate_from), so that two snapshots of the same shape become
    /// equal. One numbering for all namespaces. A parent that is in no table becomes 0, as does the parent of a
    /// mount that is its own parent.
    pub fn renumber(&mut self) {
        let mut numbers = Numbers::default();
        self.namespaces.iter().for_each(|namespace| numbers.count(&namespace.mounts));
        self.namespaces.iter_mut().for_each(|namespace| numbers.apply(&mut namespace.mounts));
    }
}

impl MountTable {
    /// [`Snapshot::renumber`] for one namespace.
    pub fn renumber(&mut self) {
        let mut numbers = Numbers::default();
        numbers.count(self);
        numbers.apply(self);
    }
}

#[derive(Default)]
struct Numbers {
    mounts: HashMap<MountId, u64>,
    groups: HashMap<PeerGroup, u64>,
}

impl Numbers {
    fn count(&mut self, table: &MountTable) {
        for mount in &table.mounts {
            number(&mut self.mounts, mount.id);
            for group in groups(&mut mount.propagation.clone()) {
                number(&mut self.groups, *group);
            }
        }
    }

    fn apply(&self, table: &mut MountTable) {
        for mount in &mut table.mounts {
            let parent = if mount.parent == mount.id { None } else { self.mounts.get(&mount.parent) };
            mount.parent = MountId(parent.copied().unwrap_or(0));
            mount.id = MountId(self.mounts.get(&mount.id).copied().unwrap_or(0));
            for group in groups(&mut mount.propagation) {
                group.0 = self.groups.get(group).copied().unwrap_or(0);
            }
        }
    }
}

/// The groups that a row names, in the order in which they are numbered.
fn groups(propagation: &mut Propagation) -> impl Iterator<Item = &mut PeerGroup> {
    [&mut propagation.shared, &mut propagation.master, &mut propagation.propagate_from].into_iter().flatten()
}

fn number<Id: Eq + Hash>(numbers: &mut HashMap<Id, u64>, id: Id) {
    let next = numbers.len() as u64 + 1;
    numbers.entry(id).or_insert(next);
}
