//! How far each namespace is from the host: over peer groups, masters and copies.

use super::select::Chosen;
use crate::topology::Topology;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The layer of each namespace that is tied to the host, directly or over others, or that has rows of its own to show.
pub(super) fn layers(topology: &Topology<'_>, host: usize, chosen: &[Chosen]) -> BTreeMap<usize, usize> {
    // A namespace and the groups that its rows name are neighbours.
    let mut by_group: BTreeMap<u64, BTreeSet<usize>> = BTreeMap::new();
    let mut groups: Vec<BTreeSet<u64>> = vec![BTreeSet::new(); chosen.len()];
    for (namespace, chosen) in chosen.iter().enumerate() {
        for at in &chosen.rows {
            let propagation = topology.mount(*at).propagation;
            for group in [propagation.shared, propagation.master].into_iter().flatten() {
                by_group.entry(group.0).or_default().insert(namespace);
                groups[namespace].insert(group.0);
            }
        }
    }
    let mut found = BTreeMap::from([(host, 0)]);
    let mut next = VecDeque::from([host]);
    let copies = (0..chosen.len()).filter(|namespace| !chosen[*namespace].copy_of.is_empty());
    let copies: BTreeSet<usize> = copies.collect();
    loop {
        while let Some(namespace) = next.pop_front() {
            let layer = found[&namespace] + 1;
            let tied = groups[namespace].iter().flat_map(|group| &by_group[group]).copied();
            let copied = if namespace == host { copies.clone() } else { BTreeSet::new() };
            for other in tied.chain(copied) {
                if let std::collections::btree_map::Entry::Vacant(entry) = found.entry(other) {
                    entry.insert(layer);
                    next.push_back(other);
                }
            }
        }
        // Islands: tied to each other, and not to the host.
        let island = (0..chosen.len()).find(|at| !chosen[*at].rows.is_empty() && !found.contains_key(at));
        match island {
            Some(at) => {
                found.insert(at, 1);
                next.push_back(at);
            }
            None => return found,
        }
    }
}
