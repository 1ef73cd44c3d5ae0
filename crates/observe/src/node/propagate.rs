//! `propagate_from`, derived. The kernel would say it (`STATMOUNT_PROPAGATE_FROM`), but walks all masters for it under its
//! lock, mount by mount: seconds for 25,000 mounts.

use mount_table::{MountTable, NamespaceId, Node, PeerGroup};
use std::collections::{BTreeSet, HashMap, HashSet};

/// Fills it in for these namespaces: of a slave, the nearest group above it that has a member in the same namespace, if
/// that is not its master's own (`get_dominating_id()`, fs/pnode.c).
pub(super) fn derive(node: &mut Node, namespaces: &BTreeSet<NamespaceId>) {
    if namespaces.is_empty() {
        return;
    }
    // All members of a group have the same master group, so one of them says it.
    let mut masters: HashMap<PeerGroup, Option<PeerGroup>> = HashMap::new();
    for place in node.mounts() {
        if let Some(group) = place.mount.propagation.shared {
            masters.insert(group, place.mount.propagation.master);
        }
    }
    for view in node.namespaces.iter_mut().filter(|view| namespaces.contains(&view.id)) {
        fill(&mut view.mounts, &masters);
    }
}

fn fill(table: &mut MountTable, masters: &HashMap<PeerGroup, Option<PeerGroup>>) {
    let members: HashSet<PeerGroup> =
        table.mounts.iter().filter_map(|mount| mount.propagation.shared).collect();
    for mount in &mut table.mounts {
        let Some(master) = mount.propagation.master else { continue };
        let above = std::iter::successors(Some(master), |group| masters.get(group).copied().flatten());
        // No chain is longer than there are groups, whatever the tables say.
        let nearest = above.take(masters.len() + 1).find(|group| members.contains(group));
        mount.propagation.propagate_from = nearest.filter(|nearest| *nearest != master);
    }
}
