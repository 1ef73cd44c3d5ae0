//! What is mounted, kept up to date by events; and which events are one mount and its copies.

use mount_table::node::event::{Action, Actor, Done, Event, Missed, Party, Spot, What, Why};
use mount_table::node::{Container, Labels, Node};
use mount_table::{Device, Mount, MountId, NamespaceId, NamespaceView, PeerGroup, Propagation};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Ids that are ours where the kernel has no unique ones: the id in mountinfo, which is unique at one moment.
const NOT_UNIQUE: u64 = 1 << 63;

/// For so many mounts of one moment it is looked for who missed them; beyond, nobody reads it.
const MAX_LOOKED_FOR: usize = 256;
/// Of those who missed a mount, so many are named.
const MAX_MISSED: usize = 16;
/// Ids of mounts that were gone before they could be read, until they are known to be gone.
const MAX_UNREAD: usize = 1 << 17;

/// A mount that is there.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) namespace: NamespaceId,
    pub(super) mount: Mount,
    /// The parent's unique id.
    pub(super) parent: u64,
}

#[derive(Debug)]
struct Space {
    unique: Option<u64>,
    party: Party,
}

/// A mount event with what is known of the mount.
#[derive(Debug, Clone)]
pub(super) struct Hit {
    pub(super) action: Action,
    pub(super) pid: u32,
    pub(super) id: u64,
    pub(super) known: Known,
    moved_from: Option<PathBuf>,
    /// When it was told: events of several groups are read one group after the other.
    pub(super) order: usize,
}

/// What the copies of a mount have in common: the uppermost peer group that the place belongs to, and the place inside of
/// the file system.
pub(super) type Common = (PeerGroup, Device, PathBuf);

/// What tells a mount with its copies from others of one moment: what was done, by whom, and what is mounted where.
type Family = (Action, u32, Device, PathBuf, Common);

#[derive(Debug, Default)]
pub(super) struct State {
    mounts: HashMap<u64, Known>,
    spaces: BTreeMap<NamespaceId, Space>,
    /// The mounts of each namespace; events may tell of some before it was read.
    members: HashMap<NamespaceId, HashSet<u64>>,
    by_unique: HashMap<u64, NamespaceId>,
    devices: HashMap<Device, BTreeSet<u64>>,
    /// The master's group of each group, which all its members have in common.
    masters: HashMap<PeerGroup, Option<PeerGroup>>,
    unread: HashSet<u64>,
}

impl State {
    /// The namespace of this 64-bit id.
    pub(super) fn namespace_of(&self, unique: u64) -> Option<NamespaceId> {
        self.by_unique.get(&unique).copied()
    }

    /// A namespace is marked, and will be read.
    pub(super) fn expect(&mut self, id: NamespaceId, unique: u64) {
        self.by_unique.insert(unique, id);
    }

    /// Forgets the 64-bit ids of all other namespaces: some ended before they could be read.
    pub(super) fn expect_only(&mut self, there: &HashSet<u64>) {
        self.by_unique.retain(|unique, _| there.contains(unique));
    }

    /// The container of this id, named.
    pub(super) fn container(&self, id: &str) -> Option<&Container> {
        self.spaces.values().find_map(|space| space.party.container.as_ref().filter(|known| known.id == id))
    }

    /// What the place of a mount has in common with those of its copies; to be asked while the parent is still known.
    pub(super) fn common_of(&self, id: u64) -> Option<Common> {
        let known = self.mounts.get(&id)?;
        let parent = &self.mounts.get(&known.parent)?.mount;
        Some((self.top(parent.propagation)?, parent.device, parent.inner(&known.mount.mount_point)?))
    }

    fn insert(&mut self, id: u64, known: Known) {
        let propagation = known.mount.propagation;
        if let Some(group) = propagation.shared {
            self.masters.insert(group, propagation.master);
        }
        self.devices.entry(known.mount.device).or_default().insert(id);
        let namespace = known.namespace;
        if let Some(old) = self.mounts.insert(id, known) {
            self.left(id, &old);
        }
        self.members.entry(namespace).or_default().insert(id);
    }

    fn remove(&mut self, id: u64) -> Option<Known> {
        let known = self.mounts.remove(&id)?;
        if let Some(on_device) = self.devices.get_mut(&known.mount.device) {
            on_device.remove(&id);
            if on_device.is_empty() {
                self.devices.remove(&known.mount.device);
            }
        }
        self.left(id, &known);
        Some(known)
    }

    fn left(&mut self, id: u64, known: &Known) {
        if let Some(members) = self.members.get_mut(&known.namespace) {
            members.remove(&id);
            if members.is_empty() {
                self.members.remove(&known.namespace);
            }
        }
    }

    fn count(&self, namespace: NamespaceId) -> usize {
        self.members.get(&namespace).map_or(0, HashSet::len)
    }

    /// A mount is at a place.
    pub(super) fn attached(&mut self, id: u64, pid: u32, known: Known, order: usize) -> Option<Hit> {
        let before = self.mounts.get(&id);
        if let Some(before) = before
            && before.mount.mount_point == known.mount.mount_point
            && before.parent == known.parent
        {
            // It was read already.
            return None;
        }
        let moved_from = before.map(|before| before.mount.mount_point.clone());
        let action = if moved_from.is_some() { Action::Move } else { Action::Mount };
        self.insert(id, known.clone());
        Some(Hit { action, pid, id, known, moved_from, order })
    }

    /// A mount has left its place.
    pub(super) fn detached(&mut self, id: u64, pid: u32, order: usize) -> Option<Hit> {
        let known = self.remove(id)?;
        Some(Hit { action: Action::Unmount, pid, id, known, moved_from: None, order })
    }

    /// A mount could not be read: it will be told that it has gone, or it has been.
    pub(super) fn unread(&mut self, id: u64) {
        if self.unread.len() < MAX_UNREAD {
            self.unread.insert(id);
        }
    }

    /// A mount that could not be read is gone.
    pub(super) fn forget_unread(&mut self, id: u64) {
        self.unread.remove(&id);
    }

    /// The uppermost group from which a mount at this place comes.
    fn top(&self, propagation: Propagation) -> Option<PeerGroup> {
        let first = propagation.shared.or(propagation.master)?;
        let above = |group: &PeerGroup| self.masters.get(group).copied().flatten();
        std::iter::successors(Some(first), above).take(self.masters.len() + 1).last()
    }

    /// Makes events of hits: a mount and its copies are one.
    pub(super) fn families(hits: Vec<(Hit, Option<Common>)>) -> Vec<Vec<Hit>> {
        let mut families: Vec<Vec<Hit>> = Vec::new();
        // By what all of a family have in common; a second one at a place begins the next family.
        let mut open: HashMap<Family, (usize, HashSet<u64>)> = HashMap::new();
        for (hit, common) in hits {
            let Some(common) = common else {
                families.push(vec![hit]);
                continue;
            };
            let mount = &hit.known.mount;
            let key = (hit.action, hit.pid, mount.device, mount.root.clone(), common);
            let parent = hit.known.parent;
            match open.get_mut(&key).filter(|(_, parents)| !parents.contains(&parent)) {
                Some((at, parents)) => {
                    parents.insert(parent);
                    families[*at].push(hit);
                }
                None => {
                    open.insert(key, (families.len(), HashSet::from([parent])));
                    families.push(vec![hit]);
                }
            }
        }
        families
    }

    /// The hit with what its place has in common with others.
    pub(super) fn with_common(&self, hit: Hit) -> (Hit, Option<Common>) {
        let common = self.common_of(hit.id);
        (hit, common)
    }

    /// An event of a family: where it was done is where the actor is, else what came first.
    pub(super) fn done(
        &self,
        mut hits: Vec<Hit>,
        actor: Option<Actor>,
        home: Option<NamespaceId>,
        looks: &mut usize,
    ) -> Option<Done> {
        let first = hits.iter().position(|hit| Some(hit.known.namespace) == home);
        let first = first.or_else(|| self.made_first(&hits)).unwrap_or(0);
        if hits.is_empty() {
            return None;
        }
        let origin = hits.remove(first);
        let mut missed = Vec::new();
        if origin.action == Action::Mount && *looks < MAX_LOOKED_FOR {
            *looks += 1;
            missed = self.missed(&origin, &hits);
        }
        Some(Done {
            action: origin.action,
            actor,
            moved_from: origin.moved_from.clone(),
            receivers: hits.iter().map(|hit| self.spot(hit)).collect(),
            missed,
            origin: self.spot(&origin),
        })
    }

    /// Where a mount was made, if nobody says: in the uppermost group, and before its copies. Unmounts and moves have come in
    /// the order in which they were done.
    fn made_first(&self, hits: &[Hit]) -> Option<usize> {
        let rank = |hit: &Hit| {
            let parent = self.mounts.get(&hit.known.parent).map(|parent| parent.mount.propagation);
            let is_top = parent.is_some_and(|it| it.shared.is_some() && it.shared == self.top(it));
            (!is_top, hit.id)
        };
        let made = hits.iter().enumerate().filter(|(_, hit)| hit.action == Action::Mount);
        made.min_by_key(|(_, hit)| rank(hit)).map(|(at, _)| at)
    }

    fn spot(&self, hit: &Hit) -> Spot {
        Spot {
            namespace: self.party(hit.known.namespace),
            mount: hit.known.mount.clone(),
            unique_id: (hit.id & NOT_UNIQUE == 0).then_some(MountId(hit.id)),
        }
    }

    fn party(&self, id: NamespaceId) -> Party {
        let unknown = || Party { id, name: format!("ns:{}", id.0), container: None };
        self.spaces.get(&id).map_or_else(unknown, |space| space.party.clone())
    }

    /// Who has a mount that shows the place where this was mounted, and did not receive it.
    fn missed(&self, origin: &Hit, receivers: &[Hit]) -> Vec<Missed> {
        let Some(parent) = self.mounts.get(&origin.known.parent) else { return Vec::new() };
        let Some(place) = parent.mount.inner(&origin.known.mount.mount_point) else { return Vec::new() };
        let from = parent.mount.propagation;
        let mut named: BTreeSet<NamespaceId> = receivers.iter().map(|hit| hit.known.namespace).collect();
        named.insert(origin.known.namespace);
        let mut missed = Vec::new();
        for id in self.devices.get(&parent.mount.device).into_iter().flatten() {
            let Some(other) = self.mounts.get(id) else { continue };
            if named.contains(&other.namespace) || !is_at_or_below(&place, &other.mount.root) {
                continue;
            }
            named.insert(other.namespace);
            let why = why(from, other.mount.propagation);
            missed.push(Missed { namespace: self.party(other.namespace), why });
            if missed.len() == MAX_MISSED {
                break;
            }
        }
        missed
    }

    /// Takes over what was read, and says what was not known of it: all but what `touched` has told just now. `anew` are the
    /// namespaces whose mounts may be others than when they were read before; none if that is not known.
    pub(super) fn reconcile(
        &mut self,
        node: &Node,
        anew: Option<&BTreeSet<NamespaceId>>,
        touched: &HashSet<u64>,
        first: bool,
    ) -> Reconciled {
        let labels = Labels::of(node);
        let mut result = Reconciled::default();
        self.end_spaces(node, &mut result);
        for view in &node.namespaces {
            let party = Party {
                id: view.id,
                name: labels.get(view.id).into_owned(),
                container: view.container().cloned(),
            };
            let is_new = !self.spaces.contains_key(&view.id);
            self.spaces.insert(view.id, Space { unique: view.unique_id, party: party.clone() });
            if let Some(unique) = view.unique_id {
                self.by_unique.insert(unique, view.id);
            }
            if is_new && !first {
                let mounts = view.mounts.mounts.len();
                result.others.push(What::Began { namespace: party, mounts });
            }
            if is_new || anew.is_none_or(|anew| anew.contains(&view.id)) {
                self.take_over(view, touched, is_new, &mut result);
            }
        }
        result
    }

    fn end_spaces(&mut self, node: &Node, result: &mut Reconciled) {
        let is_there = |id: &NamespaceId, space: &Space| {
            node.namespace(*id).is_some_and(|view| view.unique_id == space.unique)
        };
        let ended: Vec<NamespaceId> =
            self.spaces.iter().filter(|(id, space)| !is_there(id, space)).map(|(id, _)| *id).collect();
        for id in ended {
            result.others.extend(self.end(id));
        }
    }

    /// Forgets a namespace; none if it was not known.
    pub(super) fn end(&mut self, id: NamespaceId) -> Option<What> {
        let space = self.spaces.remove(&id)?;
        if let Some(unique) = space.unique {
            self.by_unique.remove(&unique);
        }
        let own = self.members.remove(&id).unwrap_or_default();
        for mount in &own {
            self.remove(*mount);
        }
        Some(What::Ended { namespace: space.party, mounts: own.len() })
    }

    /// Namespaces that have no mounts any more, of those that had some.
    pub(super) fn emptied(&self, among: &BTreeSet<NamespaceId>) -> Vec<NamespaceId> {
        let is_empty = |id: &&NamespaceId| self.spaces.contains_key(id) && self.count(**id) == 0;
        among.iter().filter(is_empty).copied().collect()
    }

    fn take_over(
        &mut self,
        view: &NamespaceView,
        touched: &HashSet<u64>,
        is_new: bool,
        result: &mut Reconciled,
    ) {
        if view.moved && view.unique_mount_ids.is_empty() && !is_new {
            // Which row is which mount is not known of this reading; the next one, or events, will tell.
            return;
        }
        let ids = ids(view);
        let parents: HashMap<MountId, u64> =
            view.mounts.mounts.iter().zip(&ids).map(|(mount, id)| (mount.id, *id)).collect();
        let now: HashSet<u64> = ids.iter().copied().collect();
        if !is_new {
            let members = self.members.get(&view.id).into_iter().flatten();
            let gone = members.filter(|id| !now.contains(id) && !touched.contains(id));
            let mut gone: Vec<u64> = gone.copied().collect();
            gone.sort_unstable();
            for id in gone {
                let common = self.common_of(id);
                result.hits.extend(self.detached(id, 0, usize::MAX).map(|hit| (hit, common)));
            }
        }
        for (mount, id) in view.mounts.mounts.iter().zip(&ids) {
            if touched.contains(id) {
                continue;
            }
            let parent = parents.get(&mount.parent).copied().unwrap_or(0);
            let known = Known { namespace: view.id, mount: mount.clone(), parent };
            self.take_row(*id, known, is_new, result);
        }
    }

    fn take_row(&mut self, id: u64, known: Known, is_new: bool, result: &mut Reconciled) {
        let Some(before) = self.mounts.get(&id) else {
            if is_new {
                self.insert(id, known);
            } else if let Some(hit) = self.attached(id, 0, known, usize::MAX) {
                result.hits.push(self.with_common(hit));
            }
            return;
        };
        // An id of mountinfo can be another mount's now.
        let (was, is) = (before.mount.clone(), &known.mount);
        if (was.device, &was.root, &was.fs_type) != (is.device, &is.root, &is.fs_type) {
            result.hits.extend(self.detached(id, 0, usize::MAX).map(|hit| (hit, None)));
            result.hits.extend(self.attached(id, 0, known, usize::MAX).map(|hit| (hit, None)));
            return;
        }
        let fields = changed_fields(&was, is);
        if was.mount_point != is.mount_point {
            if let Some(hit) = self.attached(id, 0, known.clone(), usize::MAX) {
                result.hits.push(self.with_common(hit));
            }
        } else if !fields.is_empty() {
            let spot = Spot {
                namespace: self.party(known.namespace),
                mount: known.mount.clone(),
                unique_id: (id & NOT_UNIQUE == 0).then_some(MountId(id)),
            };
            result.others.push(What::Changed { spot: Box::new(spot), before: Box::new(was), fields });
        }
        self.insert(id, known);
    }
}

/// What a reading found that no event had told.
#[derive(Debug, Default)]
pub(super) struct Reconciled {
    /// Mounts that came and went.
    pub(super) hits: Vec<(Hit, Option<Common>)>,
    /// The rest.
    pub(super) others: Vec<What>,
}

/// Keys of the rows: unique ids, or ours.
fn ids(view: &NamespaceView) -> Vec<u64> {
    match view.unique_mount_ids.is_empty() {
        false => view.unique_mount_ids.iter().map(|id| id.0).collect(),
        true => view.mounts.mounts.iter().map(|mount| mount.id.0 | NOT_UNIQUE).collect(),
    }
}

fn changed_fields(was: &Mount, is: &Mount) -> Vec<&'static str> {
    let fields = [
        (
            was.propagation.shared != is.propagation.shared
                || was.propagation.master != is.propagation.master
                || was.propagation.unbindable != is.propagation.unbindable,
            "propagation",
        ),
        (was.options != is.options, "options"),
        (was.super_options != is.super_options, "super options"),
    ];
    fields.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect()
}

fn is_at_or_below(path: &Path, above: &Path) -> bool {
    above.as_os_str().as_bytes() == b"/" || path.starts_with(above)
}

fn why(from: Propagation, to: Propagation) -> Why {
    if !from.is_shared() {
        return if from.is_slave() { Why::FromSlave } else { Why::FromPrivate };
    }
    match to {
        to if to.unbindable => Why::Unbindable,
        to if to.is_private() => Why::Private,
        _ => Why::OtherGroup,
    }
}

/// An event of now.
pub(super) fn event(what: What) -> Event {
    Event { at: jiff::Timestamp::now(), what }
}
