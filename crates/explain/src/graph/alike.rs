//! Namespaces that look alike become one; then rows get their places.

use super::select::Chosen;
use super::{Change, Focus, Graph, Group, Kind, Port, Row, Space};
use crate::topology::{At, Topology};
use mount_table::{Mount, PeerGroup};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// As many namespaces are drawn one by one.
const FEW: usize = 12;
/// The most rows of a namespace that are shown: of a node, and of the steps of a script.
const ROWS_MAX: usize = 16;
const ROWS_MAX_OF_STEP: usize = 40;

pub(super) fn graph(
    topology: &Topology<'_>,
    host: usize,
    chosen: &[Chosen],
    layers: &BTreeMap<usize, usize>,
    left_out: usize,
    focus: Focus<'_>,
) -> Graph {
    let all = focus.all || layers.len() <= FEW;
    let mut order: Vec<usize> = layers.keys().copied().collect();
    order.sort_by_key(|namespace| {
        (layers[namespace], *namespace != host, topology.name(*namespace).to_owned())
    });
    let mut alike: BTreeMap<Vec<String>, usize> = BTreeMap::new();
    let mut shown: Vec<(usize, Vec<String>)> = Vec::new();
    for namespace in order {
        let look = look(topology, layers[&namespace], namespace, &chosen[namespace]);
        match alike.get(&look).filter(|_| !all && namespace != host) {
            Some(first) => shown[*first].1.push(topology.name(namespace).to_owned()),
            None => {
                alike.insert(look, shown.len());
                shown.push((namespace, Vec::new()));
            }
        }
    }
    let mut ports: HashMap<At, Port> = HashMap::new();
    for (index, (namespace, _)) in shown.iter().enumerate() {
        for (row, at) in drawn(topology, &chosen[*namespace].rows, focus).into_iter().enumerate() {
            ports.insert(at, (index, row));
        }
    }
    let spaces = shown.into_iter().map(|(namespace, alike)| {
        let rows = drawn(topology, &chosen[namespace].rows, focus);
        let row = |at: &At| {
            let mount = topology.mount(*at);
            let copy_of = chosen[namespace].copy_of.get(at).and_then(|source| ports.get(source));
            let change = focus.marks.and_then(|marks| *marks.get(&mount.id)?);
            Row { copy_of: copy_of.map(|(_, row)| *row), change, ..Row::of(mount) }
        };
        Space {
            name: topology.name(namespace).to_owned(),
            kind: match namespace {
                _ if namespace == host => Kind::Host,
                _ if topology.named(namespace).container => Kind::Container,
                _ => Kind::Other,
            },
            layer: layers[&namespace],
            alike,
            mounts: rows.iter().map(row).collect(),
            more: chosen[namespace].rows.len() - rows.len(),
        }
    });
    let spaces: Vec<Space> = spaces.collect();
    let groups = groups(topology, &spaces);
    Graph { spaces, groups, left_out }
}

/// What makes two namespaces look the same: the types of their mounts and what those are tied to, not the paths, which
/// hold the uids of pods.
fn look(topology: &Topology<'_>, layer: usize, namespace: usize, chosen: &Chosen) -> Vec<String> {
    let own = |group: PeerGroup| topology.members(group).iter().all(|member| member.namespace == namespace);
    let mut look: Vec<String> = chosen
        .rows
        .iter()
        .map(|at| {
            let mount = topology.mount(*at);
            let shared =
                mount.propagation.shared.map(|group| match own(group) && topology.slaves(group).is_empty() {
                    true => "own".to_owned(),
                    false => group.0.to_string(),
                });
            let master = mount.propagation.master.map(|group| group.0);
            let copy = chosen.copy_of.get(at).map(|source| source.row);
            format!("{shared:?} {master:?} {copy:?} {}", mount.propagation.in_words())
        })
        .collect();
    look.sort();
    look.dedup();
    look.push(format!("{layer} {}", topology.named(namespace).container));
    look
}

/// The rows that there is room for: those in which something changed come before the others.
fn drawn(topology: &Topology<'_>, rows: &[At], focus: Focus<'_>) -> Vec<At> {
    let Some(marks) = focus.marks else { return rows.iter().take(ROWS_MAX).copied().collect() };
    let changed = |at: &At| matches!(marks.get(&topology.mount(*at).id), Some(Some(_)));
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|index| !changed(&rows[*index]));
    order.truncate(ROWS_MAX_OF_STEP);
    order.sort_unstable();
    order.into_iter().map(|index| rows[index]).collect()
}

impl Row {
    fn of(mount: &Mount) -> Row {
        Row {
            id: mount.id.0,
            path: mount.mount_point.to_string_lossy().into_owned(),
            file_system: format!("{} {}", mount.fs_type, mount.source),
            root: mount.root.to_string_lossy().into_owned(),
            propagation: mount.propagation.in_words(),
            shared: mount.propagation.shared.map(|group| group.0),
            master: mount.propagation.master.map(|group| group.0),
            copy_of: None,
            change: None,
        }
    }
}

impl Space {
    /// A namespace of which nothing is shown that is still there.
    pub(super) fn of_nothing(name: &str) -> Space {
        let name = name.to_owned();
        Space { name, kind: Kind::Other, layer: 1, alike: Vec::new(), mounts: Vec::new(), more: 0 }
    }

    /// Adds what was there before.
    pub(super) fn add_gone<'a>(&mut self, rows: impl Iterator<Item = &'a Mount>) {
        for mount in rows {
            if self.mounts.len() < 2 * ROWS_MAX_OF_STEP {
                let change = Some(Change::Gone);
                self.mounts.push(Row { change, shared: None, master: None, ..Row::of(mount) });
            } else {
                self.more += 1;
            }
        }
    }
}

/// The groups that tie rows of the picture, or that have a master or slave in it.
fn groups(topology: &Topology<'_>, spaces: &[Space]) -> Vec<Group> {
    let (mut members, mut slaves): (BTreeMap<u64, Vec<Port>>, BTreeMap<u64, Vec<Port>>) = Default::default();
    for (index, space) in spaces.iter().enumerate() {
        for (row, mount) in space.mounts.iter().enumerate() {
            mount.shared.into_iter().for_each(|group| members.entry(group).or_default().push((index, row)));
            mount.master.into_iter().for_each(|group| slaves.entry(group).or_default().push((index, row)));
        }
    }
    let ids: BTreeSet<u64> = members.keys().chain(slaves.keys()).copied().collect();
    let group = |id: u64| Group {
        id,
        members: members.get(&id).cloned().unwrap_or_default(),
        slaves: slaves.get(&id).cloned().unwrap_or_default(),
        all_members: topology.members(PeerGroup(id)).len(),
        all_slaves: topology.slaves(PeerGroup(id)).len(),
    };
    // One that only one mount of the picture is in says no more than the row does.
    ids.into_iter().map(group).filter(|group| group.members.len() > 1 || !group.slaves.is_empty()).collect()
}
