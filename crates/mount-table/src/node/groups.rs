//! Peer groups over all namespaces: who is in one, who is a slave of it.

use super::{NamespaceView, Node};
use crate::{Mount, PeerGroup};
use std::collections::HashMap;

/// A mount and the namespace that it is in.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The namespace.
    pub namespace: &'a NamespaceView,
    /// The mount.
    pub mount: &'a Mount,
}

impl Place<'_> {
    /// Whether both are the same mount. (Two namespaces never share one.)
    pub fn is(&self, other: &Place<'_>) -> bool {
        self.namespace.id == other.namespace.id && self.mount.id == other.mount.id
    }
}

/// The peer groups of a [`Node`], indexed once: O(rows).
///
/// Which *mount* of a group is a slave's master cannot be read from a kernel, only which group is; so slaves are here
/// slaves of the group.
#[derive(Debug)]
pub struct Groups<'a> {
    groups: HashMap<PeerGroup, Group<'a>>,
}

#[derive(Debug, Default)]
struct Group<'a> {
    members: Vec<Place<'a>>,
    slaves: Vec<Place<'a>>,
}

impl<'a> Groups<'a> {
    /// The groups of a node.
    pub fn of(node: &'a Node) -> Groups<'a> {
        let mut groups: HashMap<PeerGroup, Group<'a>> = HashMap::new();
        for place in node.mounts() {
            if let Some(group) = place.mount.propagation.shared {
                groups.entry(group).or_default().members.push(place);
            }
            if let Some(master) = place.mount.propagation.master {
                groups.entry(master).or_default().slaves.push(place);
            }
        }
        Groups { groups }
    }

    /// The mounts of a peer group, by namespace (the host's first) and in order of creation. None may be left that is
    /// visible: the members of a master group can be in namespaces that were not read, or in detached trees.
    pub fn members(&self, group: PeerGroup) -> &[Place<'a>] {
        self.groups.get(&group).map_or(&[], |group| &group.members)
    }

    /// The mounts that have this group as their master.
    pub fn slaves(&self, group: PeerGroup) -> &[Place<'a>] {
        self.groups.get(&group).map_or(&[], |group| &group.slaves)
    }

    /// The other mounts of this one's peer group.
    pub fn peers(&self, place: &Place<'a>) -> impl Iterator<Item = Place<'a>> + '_ {
        let own = *place;
        let members = place.mount.propagation.shared.map_or(&[][..], |group| self.members(group));
        members.iter().copied().filter(move |other| !other.is(&own))
    }

    /// The mounts of the group that this one receives from.
    pub fn masters(&self, place: &Place<'a>) -> &[Place<'a>] {
        place.mount.propagation.master.map_or(&[], |group| self.members(group))
    }

    /// Every mount that receives what is mounted on a mount of this group: its members, its slaves, the peers and slaves
    /// of those, and so on; each once. (Whether a place receives also depends on its root, see
    /// mount_namespaces(7): a mount whose root does not hold the place receives nothing, but passes on.)
    pub fn receivers(&self, group: PeerGroup) -> Vec<Place<'a>> {
        let mut seen = std::collections::HashSet::from([group]);
        let mut next = vec![group];
        let mut found = Vec::new();
        while let Some(group) = next.pop() {
            found.extend_from_slice(self.members(group));
            for slave in self.slaves(group) {
                match slave.mount.propagation.shared {
                    Some(shared) if seen.insert(shared) => next.push(shared),
                    Some(_) => {}
                    None => found.push(*slave),
                }
            }
        }
        found
    }

    /// All groups that a row names, in no order.
    pub fn all(&self) -> impl Iterator<Item = PeerGroup> + '_ {
        self.groups.keys().copied()
    }
}
