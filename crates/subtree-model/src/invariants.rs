//! What always holds between operations. For tests: a full check, linear in the world.

use crate::mounts::{MountIx, Stage};
use crate::world::{Held, World};
use std::collections::HashMap;

impl World {
    /// Checks every invariant of the state: rings closed and of one group and one master, slave lists and masters
    /// in step and without circles, children lists and the map of places in step, one child a place, every
    /// namespace a tree whose mounts are counted, uses counted.
    ///
    /// # Errors
    /// The first that does not hold, in words.
    pub fn check_invariants(&self) -> Result<(), String> {
        let mut members: HashMap<u64, usize> = HashMap::new();
        let mut placed = 0;
        for (at, mount) in self.mounts.all() {
            let what = |what: &str| Err(format!("mount {}: {what}", mount.id));
            self.check_ring(at)?;
            self.check_slaves(at)?;
            self.check_kids(at)?;
            if mount.shared != (mount.group != 0) {
                return what("shared and group do not go together");
            }
            if mount.shared && mount.unbindable {
                return what("shared and unbindable");
            }
            if mount.stage != Stage::Idle || mount.trimmed {
                return what("left over from an unmount");
            }
            if mount.group != 0 {
                *members.entry(mount.group).or_default() += 1;
            }
            if mount.namespace.is_none() && mount.parent.is_none() && mount.holds == 0 {
                return what("unmounted and unused, but there");
            }
            if let Some(parent) = mount.parent.get() {
                placed += usize::from(self.child_at(parent, mount.point) == Some(at));
            }
        }
        if placed != self.children.len() {
            return Err("the map of places has other mounts than the mounts have places".to_owned());
        }
        for (at, mount) in self.mounts.all().filter(|(_, mount)| mount.group != 0) {
            if self.mounts.ring(at).count() != members[&mount.group] {
                return Err(format!("peer group {} is more than one ring", mount.group));
            }
        }
        self.check_namespaces()?;
        self.check_holds()
    }

    fn check_ring(&self, at: MountIx) -> Result<(), String> {
        let (mount, limit) = (&self.mounts[at], self.mounts.count());
        let next = &self.mounts[mount.next_peer];
        if next.prev_peer != at || self.mounts.ring(at).take(limit + 1).count() > limit {
            return Err(format!("mount {}: its ring is not closed", mount.id));
        }
        if mount.next_peer != at && (next.group != mount.group || next.master != mount.master) {
            return Err(format!("mount {}: its peer has another group or master", mount.id));
        }
        Ok(())
    }

    fn check_slaves(&self, at: MountIx) -> Result<(), String> {
        let mount = &self.mounts[at];
        let what = |what: &str| Err(format!("mount {}: {what}", mount.id));
        let limit = self.mounts.count();
        let (mut slave, mut before, mut count) = (mount.first_slave, MountIx::NONE, 0);
        while let Some(each) = slave.get() {
            let entry = &self.mounts[each];
            count += 1;
            if entry.master != at || entry.prev_slave != before || count > limit {
                return what("its list of slaves is broken");
            }
            (before, slave) = (each, entry.next_slave);
        }
        if mount.first_slave.is_some() && !mount.shared {
            return what("not shared, but a master");
        }
        let (mut above, mut steps) = (mount.master, 0);
        while let Some(master) = above.get() {
            steps += 1;
            if steps > limit || self.mounts.are_peers(master, at) {
                return what("is above itself");
            }
            above = self.mounts[master].master;
        }
        let is_listed = |master: MountIx| {
            std::iter::successors(self.mounts[master].first_slave.get(), |&s| self.mounts[s].next_slave.get())
                .any(|slave| slave == at)
        };
        match mount.master.get() {
            Some(master) if !is_listed(master) => what("not in its master's list"),
            None if mount.prev_slave.is_some() || mount.next_slave.is_some() => {
                what("linked without a master")
            }
            _ => Ok(()),
        }
    }

    fn check_kids(&self, at: MountIx) -> Result<(), String> {
        let mount = &self.mounts[at];
        let what = |what: &str| Err(format!("mount {}: {what}", mount.id));
        let (mut kid, mut before, mut cover) = (mount.first_kid, MountIx::NONE, MountIx::NONE);
        while let Some(each) = kid.get() {
            let entry = &self.mounts[each];
            if entry.parent != at || entry.prev_kid != before {
                return what("its list of children is broken");
            }
            let (there, may_hide) = (self.child_at(at, entry.point), self.kernel.tucks_onto_the_root());
            if there != Some(each) && !(may_hide && there.is_some()) {
                return what("a child is not in the map of places");
            }
            if entry.namespace.is_some() && entry.namespace != mount.namespace {
                return what("a child is in another namespace");
            }
            if entry.point == mount.root {
                // The latest, where several may be.
                cover = each;
            }
            (before, kid) = (each, entry.next_kid);
        }
        if mount.last_kid != before || mount.cover != cover {
            return what("its last child or its cover is another");
        }
        Ok(())
    }

    fn check_namespaces(&self) -> Result<(), String> {
        let mut in_namespaces = 0;
        for namespace in self.namespaces.iter().filter(|namespace| namespace.root.is_some()) {
            let mounts = self.mounts.tree(namespace.root).count();
            in_namespaces += mounts;
            if mounts != namespace.mounts as usize || namespace.pending != 0 {
                return Err(format!("namespace {}: its mounts are counted wrong", namespace.id.0));
            }
            if self.mounts[namespace.root].parent.is_some() {
                return Err(format!("namespace {}: its root has a parent", namespace.id.0));
            }
        }
        if in_namespaces != self.mounts.all().filter(|(_, mount)| mount.namespace.is_some()).count() {
            return Err("a mount is in a namespace, but not in its tree".to_owned());
        }
        Ok(())
    }

    fn check_holds(&self) -> Result<(), String> {
        let mut holds: HashMap<MountIx, u32> = HashMap::new();
        let tasks = self.tasks.iter().flatten().flat_map(|task| [task.root.mount, task.directory.mount]);
        let handles = self.handles.values().filter_map(|held| match held {
            Held::Place { place, .. } => Some(place.mount),
            Held::Namespace(_) => None,
        });
        for mount in tasks.chain(handles) {
            *holds.entry(mount).or_default() += 1;
        }
        for (at, mount) in self.mounts.all() {
            if mount.holds != holds.get(&at).copied().unwrap_or(0) {
                return Err(format!("mount {}: its uses are counted wrong", mount.id));
            }
        }
        Ok(())
    }
}
