//! Mount namespaces with an index of their peer groups: who sends to whom.

use crate::mend::Seen;
use mount_table::holders::Health;
use mount_table::node::Labels;
use mount_table::{Device, Mount, MountId, MountTable, NamespaceId, NamespaceView, Node, PeerGroup, join};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// A mount, by position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct At {
    /// The namespace's position.
    pub namespace: usize,
    /// The row's position in its table.
    pub row: usize,
}

/// What is known of a namespace beside its mounts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Named {
    /// What people call it: `host`, a pod's container, a process.
    pub name: String,
    /// A process that is in it.
    pub pid: Option<u32>,
    /// Whether it is the caller's own, so that commands need not enter it.
    pub own: bool,
    /// Whether it is a container's.
    pub container: bool,
    /// The number of the user namespace that owns it, if that is known.
    pub user_namespace: Option<u64>,
}

/// A namespace.
#[derive(Debug)]
struct Space<'a> {
    id: NamespaceId,
    mounts: &'a [Mount],
    table: &'a MountTable,
    named: Named,
    by_id: HashMap<MountId, usize>,
    /// Rows by what they are mounted on, each mount's in order of creation; a root that is its own parent is nobody's.
    children: Vec<(MountId, usize)>,
    visible: Vec<bool>,
    /// Unique ids, which grow with every mount of the machine; empty if they are not known.
    unique: &'a [MountId],
}

/// Namespaces with their names, and an index of their peer groups.
#[derive(Debug)]
pub struct Topology<'a> {
    spaces: Vec<Space<'a>>,
    members: HashMap<PeerGroup, Vec<At>>,
    slaves: HashMap<PeerGroup, Vec<At>>,
    /// The master's group of groups that have one: all members have the same.
    masters: HashMap<PeerGroup, PeerGroup>,
    health: BTreeMap<Device, Health>,
}

impl<'a> Space<'a> {
    fn new(id: NamespaceId, table: &'a MountTable, named: Named, unique: &'a [MountId]) -> Space<'a> {
        let mounts = table.mounts.as_slice();
        let by_id = mounts.iter().enumerate().map(|(row, mount)| (mount.id, row)).collect();
        let children = mounts.iter().enumerate().filter(|(_, mount)| mount.parent != mount.id);
        let mut children: Vec<(MountId, usize)> = children.map(|(row, mount)| (mount.parent, row)).collect();
        children.sort_unstable();
        Space { id, mounts, table, named, by_id, children, visible: table.visible(), unique }
    }
}

/// How one mount stands to another, as propagation goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Relation {
    /// In one peer group: mounts and unmounts go both ways.
    Peers,
    /// The second receives from the first, through these groups, the first one's own at the head.
    Receives(Vec<PeerGroup>),
    /// The first receives from the second: nothing of the first goes to the second.
    Sends(Vec<PeerGroup>),
    /// Both receive from this group, and neither from the other.
    Siblings(PeerGroup),
    /// Nothing goes from one to the other.
    Strangers,
}

/// The most groups that are climbed: longer chains than any real one end there.
const CLIMB_MAX: usize = 4096;

impl<'a> Topology<'a> {
    /// Of a node.
    pub fn of_node(node: &'a Node) -> Topology<'a> {
        let labels = Labels::of(node);
        let space = |view: &'a NamespaceView| {
            let named = Named {
                name: labels.get(view.id).into_owned(),
                pid: view.first_process().map(|process| process.pid),
                own: node.reader == Some(view.id),
                container: view.container().is_some(),
                user_namespace: view.user_namespace,
            };
            Space::new(view.id, &view.mounts, named, &view.unique_mount_ids)
        };
        Topology::new(node.namespaces.iter().map(space).collect())
    }

    /// Of tables with names, as a simulation has them.
    pub fn of_tables(tables: &'a [(String, MountTable)]) -> Topology<'a> {
        let space = |(index, (name, table)): (usize, &'a (String, MountTable))| {
            let named = Named { name: name.clone(), ..Named::default() };
            Space::new(NamespaceId(index as u64), table, named, &[])
        };
        Topology::new(tables.iter().enumerate().map(space).collect())
    }

    fn new(spaces: Vec<Space<'a>>) -> Topology<'a> {
        let (mut members, mut slaves): (HashMap<_, Vec<At>>, HashMap<_, Vec<At>>) = Default::default();
        let mut masters = HashMap::new();
        for (namespace, space) in spaces.iter().enumerate() {
            for (row, mount) in space.mounts.iter().enumerate() {
                let at = At { namespace, row };
                let propagation = &mount.propagation;
                propagation.shared.iter().for_each(|group| members.entry(*group).or_default().push(at));
                propagation.master.iter().for_each(|group| slaves.entry(*group).or_default().push(at));
                masters.extend(propagation.shared.zip(propagation.master));
            }
        }
        Topology { spaces, members, slaves, masters, health: BTreeMap::new() }
    }

    /// With what FUSE file systems said.
    pub fn with_health(mut self, health: BTreeMap<Device, Health>) -> Topology<'a> {
        self.health = health;
        self
    }

    /// Whether the first is older than the second: in one namespace rows are in order of creation (Linux 6.8), in two
    /// only unique ids tell.
    pub fn is_older(&self, first: At, second: At) -> Option<bool> {
        let unique = |at: At| self.spaces[at.namespace].unique.get(at.row);
        match (unique(first), unique(second)) {
            (Some(first), Some(second)) => Some(first < second),
            _ if first.namespace == second.namespace => Some(first.row < second.row),
            _ => None,
        }
    }

    /// What a file system said; none if it was not asked.
    pub fn health(&self, device: Device) -> Option<Health> {
        self.health.get(&device).copied()
    }

    /// How many namespaces there are.
    pub fn count(&self) -> usize {
        self.spaces.len()
    }

    /// The position of a namespace.
    pub fn position(&self, id: NamespaceId) -> Option<usize> {
        self.spaces.iter().position(|space| space.id == id)
    }

    /// What is known of a namespace.
    pub fn named(&self, namespace: usize) -> &Named {
        &self.spaces[namespace].named
    }

    /// What a namespace is called.
    pub fn name(&self, namespace: usize) -> &str {
        &self.spaces[namespace].named.name
    }

    /// The row.
    pub fn mount(&self, at: At) -> &'a Mount {
        &self.spaces[at.namespace].mounts[at.row]
    }

    /// A row as what an action relies on.
    pub fn seen(&self, at: At) -> Seen {
        let Space { id, named, .. } = &self.spaces[at.namespace];
        Seen { namespace: *id, name: named.name.clone(), mount: self.mount(at).clone() }
    }

    /// Whether a path walk can end in it.
    pub fn is_visible(&self, at: At) -> bool {
        self.spaces[at.namespace].visible[at.row]
    }

    /// All rows of a namespace.
    pub fn rows(&self, namespace: usize) -> impl Iterator<Item = At> + use<> {
        (0..self.spaces[namespace].mounts.len()).map(move |row| At { namespace, row })
    }

    /// All rows of all namespaces.
    pub fn all(&self) -> impl Iterator<Item = At> + '_ {
        (0..self.spaces.len()).flat_map(|namespace| self.rows(namespace))
    }

    /// The mount on which another is mounted.
    pub fn parent(&self, at: At) -> Option<At> {
        let mount = self.mount(at);
        let known = &self.spaces[at.namespace].by_id;
        let row = *known.get(&mount.parent).filter(|_| mount.parent != mount.id)?;
        Some(At { namespace: at.namespace, row })
    }

    /// What is mounted on a mount, in order of creation.
    pub fn children(&self, at: At) -> impl Iterator<Item = At> + '_ {
        let id = self.mount(at).id;
        let all = &self.spaces[at.namespace].children;
        let from = all.partition_point(|(parent, _)| *parent < id);
        let own = all[from..].iter().take_while(move |(parent, _)| *parent == id);
        own.map(move |(_, row)| At { namespace: at.namespace, row: *row })
    }

    /// The visible mount that carries a path (absolute, canonical) in a namespace.
    pub fn carrier(&self, namespace: usize, path: &Path) -> Option<At> {
        let space = &self.spaces[namespace];
        let row = *space.by_id.get(&space.table.carrier(path)?.id)?;
        Some(At { namespace, row })
    }

    /// Whether the first is inside of the second, as a container is inside of its node: the cgroup says so, or its root
    /// file system is mounted nowhere in the other.
    pub fn is_inside(&self, first: usize, second: usize) -> bool {
        let (inner, outer) = (self.named(first).container, self.named(second).container);
        if inner != outer {
            return inner;
        }
        let Some(root) = self.carrier(first, Path::new("/")) else { return false };
        let device = self.mount(root).device;
        !outer && self.rows(second).all(|row| self.mount(row).device != device)
    }

    /// The mounts of a peer group.
    pub fn members(&self, group: PeerGroup) -> &[At] {
        self.members.get(&group).map_or(&[], Vec::as_slice)
    }

    /// The mounts whose master is of a peer group.
    pub fn slaves(&self, group: PeerGroup) -> &[At] {
        self.slaves.get(&group).map_or(&[], Vec::as_slice)
    }

    /// All groups, by number.
    pub fn groups(&self) -> BTreeSet<PeerGroup> {
        self.members.keys().chain(self.slaves.keys()).copied().collect()
    }

    /// The groups that a mount receives from, its own first and then up through its masters. Ends where a group has no
    /// member that is seen.
    pub fn sources(&self, at: At) -> Vec<PeerGroup> {
        let propagation = self.mount(at).propagation;
        let mut groups: Vec<PeerGroup> = propagation.shared.into_iter().collect();
        let mut next = propagation.master;
        while let Some(group) = next.filter(|group| groups.len() < CLIMB_MAX && !groups.contains(group)) {
            groups.push(group);
            next = self.masters.get(&group).copied();
        }
        groups
    }

    /// How the second stands to the first.
    pub fn relation(&self, first: At, second: At) -> Relation {
        let (a, b) = (self.mount(first).propagation, self.mount(second).propagation);
        if a.shared.is_some() && a.shared == b.shared {
            return Relation::Peers;
        }
        let (above_first, above_second) = (self.sources(first), self.sources(second));
        let up_to = |above: &[PeerGroup], group: Option<PeerGroup>| {
            let end = above.iter().position(|above| Some(*above) == group)?;
            Some(above[..=end].iter().rev().copied().collect())
        };
        if let Some(groups) = up_to(&above_second, a.shared) {
            return Relation::Receives(groups);
        }
        if let Some(groups) = up_to(&above_first, b.shared) {
            return Relation::Sends(groups);
        }
        match above_second.iter().find(|group| above_first.contains(group)) {
            Some(group) => Relation::Siblings(*group),
            None => Relation::Strangers,
        }
    }

    /// Whether unmounting the first takes the second along: it is at the same place of a mount that receives from the
    /// first one's parent (umount(2) propagates by place, whoever mounted it).
    pub fn goes_with(&self, first: At, second: At) -> bool {
        let (Some(above), Some(receiver)) = (self.parent(first), self.parent(second)) else { return false };
        let place = |parent: At, child: At| self.mount(parent).inner(&self.mount(child).mount_point);
        let (from, to) = (self.mount(above), self.mount(receiver));
        first != second
            && from.device == to.device
            && place(above, first) == place(receiver, second)
            && matches!(self.relation(above, receiver), Relation::Peers | Relation::Receives(_))
            && above != receiver
    }

    /// The mounts that another is tied to: its peers, the members of the group that it receives from, its group's slaves.
    pub fn tied(&self, at: At) -> Vec<At> {
        let propagation = self.mount(at).propagation;
        let peers = propagation.shared.map_or(&[][..], |group| self.members(group));
        let above = propagation.master.map_or(&[][..], |group| self.members(group));
        let below = propagation.shared.map_or(&[][..], |group| self.slaves(group));
        let all = peers.iter().chain(above).chain(below);
        all.copied().filter(|other| *other != at).collect()
    }

    /// The mounts that a mount made on this one is copied to: peers first, then slaves and their slaves.
    pub fn receivers(&self, at: At) -> Vec<At> {
        let mut found: Vec<At> = Vec::new();
        let Some(group) = self.mount(at).propagation.shared else { return found };
        let (mut groups, mut next) = (BTreeSet::from([group]), vec![group]);
        found.extend(self.members(group).iter().filter(|member| **member != at));
        while let Some(group) = next.pop() {
            for slave in self.slaves(group) {
                found.push(*slave);
                if let Some(own) = self.mount(*slave).propagation.shared
                    && groups.insert(own)
                {
                    next.push(own);
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        found.retain(|receiver| *receiver != at);
        found
    }
}

/// Where a place of a file system is seen through a mount of it.
pub(crate) fn place(mount: &Mount, inner: &Path) -> Option<PathBuf> {
    let rest = inner.strip_prefix(&mount.root).ok()?;
    (!mount.deleted).then(|| join(&mount.mount_point, rest))
}
