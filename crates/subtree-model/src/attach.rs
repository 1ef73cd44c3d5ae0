//! Attaching a tree to a place, and what that gives to every mount that receives from the place: the heart of
//! mount, bind, move and move_mount (`attach_recursive_mnt()` in `fs/namespace.c`, `propagate_mnt()` in
//! `fs/pnode.c`).
//!
//! Two steps. [`World::survey`] walks the receivers, counts, and refuses; nothing changes. [`World::attach`] then
//! cannot fail.

use crate::copy::CopyFlags;
use crate::effect::{Change, Effects};
use crate::errno::check;
use crate::mounts::{DentryIx, MountIx, NamespaceIx};
use crate::world::{Place, World};
use crate::{Refused, RuleId};

/// A mount that receives a copy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Receiver {
    mount: MountIx,
    /// The first of a group of slaves: its copy needs a master. Other members' copies are peers of the copy before.
    first_slave: bool,
}

/// Where a tree goes: a mount and a dentry of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Destination {
    pub(crate) parent: MountIx,
    pub(crate) point: DentryIx,
}

impl World {
    /// Where something mounted at a place goes: onto the root of the topmost mount there.
    pub(crate) fn destination(&self, place: Place) -> Destination {
        match self.child_at(place.mount, place.dentry) {
            Some(child) => {
                let top = self.mounts.topmost(child);
                Destination { parent: top, point: self.mounts[top].root }
            }
            None => Destination { parent: place.mount, point: place.dentry },
        }
    }

    /// Collects the receivers of a tree of `size` mounts and checks that all namespaces have room.
    /// `counted`: whether the tree itself is new in its namespace (a move within one is not).
    pub(crate) fn survey(
        &mut self,
        destination: Destination,
        size: u32,
        counted: bool,
        effects: &mut Effects,
    ) -> Result<(), Refused> {
        let mut receivers = std::mem::take(&mut self.receivers);
        receivers.clear();
        if self.mounts[destination.parent].shared {
            self.collect_receivers(destination, &mut receivers, effects);
        }
        let result = self.check_room(destination.parent, &receivers, size, counted);
        self.receivers = receivers;
        result
    }

    fn check_room(
        &mut self,
        parent: MountIx,
        receivers: &[Receiver],
        size: u32,
        counted: bool,
    ) -> Result<(), Refused> {
        let own = counted.then_some(parent);
        let receiving = || own.into_iter().chain(receivers.iter().map(|receiver| receiver.mount));
        let mut fits = true;
        for mount in receiving() {
            let namespace = self.mounts[mount].namespace;
            let Some(namespace) = self.namespaces.get_mut(namespace.0 as usize) else { continue };
            namespace.pending = namespace.pending.saturating_add(size);
            fits &= namespace.mounts.saturating_add(namespace.pending) <= self.mount_max;
        }
        for mount in receiving() {
            let namespace = self.mounts[mount].namespace;
            if let Some(namespace) = self.namespaces.get_mut(namespace.0 as usize) {
                namespace.pending = 0;
            }
        }
        check(fits, RuleId::MountMax)
    }

    /// Walks everything that receives from the destination, group by group: a group's members in the order of
    /// their ring from the first met, then the groups of their slaves.
    fn collect_receivers(
        &mut self,
        destination: Destination,
        receivers: &mut Vec<Receiver>,
        effects: &mut Effects,
    ) {
        let origin = destination.parent;
        self.walks += 1;
        let walk = self.walks;
        let mut met = Some(origin);
        while let Some(first) = met {
            if self.mounts[first].seen != walk {
                let mut needs_master = first != origin;
                let mut member = first;
                loop {
                    self.mounts[member].seen = walk;
                    if member != origin && self.receives(member, destination.point, effects) {
                        receivers.push(Receiver { mount: member, first_slave: needs_master });
                        needs_master = false;
                    }
                    member = self.mounts[member].next_peer;
                    if member == first {
                        break;
                    }
                }
            }
            met = self.next_receiver(first, origin);
        }
    }

    /// The next mount, depth first, that receives from `origin`.
    pub(crate) fn next_receiver(&self, at: MountIx, origin: MountIx) -> Option<MountIx> {
        let through_detached = self.kernel.detached_trees_are_usable();
        self.mounts.next_receiver(at, origin, |mount| {
            mount.namespace.is_some()
                && (through_detached || !self.namespaces[mount.namespace.0 as usize].anonymous)
        })
    }

    /// Whether a receiver can show what is mounted at this dentry.
    fn receives(&self, mount: MountIx, point: DentryIx, effects: &mut Effects) -> bool {
        let entry = &self.mounts[mount];
        let Some(namespace) = entry.namespace.get() else { return false };
        let skip = if self.namespaces[namespace.0 as usize].anonymous {
            RuleId::SkipAnonymous
        } else if !self.files.is_below(point, entry.root) {
            RuleId::SkipOutsideRoot
        } else {
            return true;
        };
        effects.push(skip, Change::Untouched { mount: self.id(mount) });
        false
    }

    /// Attaches a tree (new, from a detached one, or moved) and its copies to the surveyed receivers. `actor` is
    /// the acting task's mount namespace: what goes to a namespace of another owner than that one's is locked.
    pub(crate) fn attach(
        &mut self,
        source: MountIx,
        destination: Destination,
        actor: NamespaceIx,
        effects: &mut Effects,
    ) {
        let is_move = self.mounts[source].parent.is_some();
        let onto_shared = self.mounts[destination.parent].shared;
        let mut copies = Vec::new();
        if onto_shared {
            self.number_groups(source);
            copies = self.copy_to_receivers(source, destination);
            self.share_tree(source, effects);
        }
        if is_move {
            let parent = self.mounts[source].parent;
            effects.push(RuleId::MoveTree, Change::Left { mount: self.id(source), parent: self.id(parent) });
            self.displace(source);
        } else if let Some(anonymous) = self.mounts[source].namespace.get() {
            self.empty_anonymous(source, anonymous);
        }
        let rule = match self.child_at(destination.parent, destination.point) {
            Some(_) => RuleId::AttachBeneath,
            None => RuleId::AttachOnTop,
        };
        self.commit(source, destination, actor, rule, effects);
        for (copy, receiver) in copies.into_iter().rev() {
            let is_peer = self.mounts.are_peers(receiver.mount, destination.parent);
            let rule = match (is_peer, self.mounts[copy].shared) {
                (true, _) => RuleId::ReceivePeer,
                (false, true) => RuleId::ReceiveSlaveShared,
                (false, false) => RuleId::ReceiveSlave,
            };
            let there = Destination { parent: receiver.mount, point: destination.point };
            self.commit(copy, there, actor, rule, effects);
        }
    }

    /// Gives every mount of a tree that goes to a shared place a group id; shared they become later.
    fn number_groups(&mut self, top: MountIx) {
        let mut at = Some(top);
        while let Some(mount) = at {
            if self.mounts[mount].group == 0 {
                self.mounts[mount].group = self.new_group();
            }
            at = self.mounts.next_in_tree(mount, top);
        }
    }

    fn share_tree(&mut self, top: MountIx, effects: &mut Effects) {
        let mut at = Some(top);
        while let Some(mount) = at {
            if !self.mounts[mount].shared {
                let from = self.propagation(mount);
                self.mounts[mount].shared = true;
                self.mounts[mount].unbindable = false;
                let to = self.propagation(mount);
                effects
                    .push(RuleId::SourceBecomesShared, Change::Retyped { mount: self.id(mount), from, to });
            }
            at = self.mounts.next_in_tree(mount, top);
        }
    }

    /// Copies the source for each receiver. The copies' groups mirror the receivers' groups: peers' copies are
    /// peers, slaves' copies slaves of the copy for the nearest master that got one.
    fn copy_to_receivers(&mut self, source: MountIx, destination: Destination) -> Vec<(MountIx, Receiver)> {
        let receivers = std::mem::take(&mut self.receivers);
        // Marks the masters of those that have a copy; the destination counts as one.
        self.walks += 1;
        self.mark_master(destination.parent);
        let mut copies = Vec::with_capacity(receivers.len());
        let mut last = source;
        for &receiver in &receivers {
            // What is copied for a peer has a group, which the copy joins.
            let mut flags = CopyFlags::default();
            if receiver.first_slave {
                last = self.master_for(receiver.mount, last, source);
                flags = CopyFlags { slave: true, shared: self.mounts[receiver.mount].shared, ..flags };
            }
            let copy = self.copy_tree(last, self.mounts[last].root, flags);
            self.mounts[copy].parent = receiver.mount;
            self.mark_master(receiver.mount);
            copies.push((copy, receiver));
            last = copy;
        }
        // The source's place is not in these, so the parents were only noted for `master_for`.
        for &(copy, _) in &copies {
            self.mounts[copy].parent = MountIx::NONE;
        }
        self.receivers = receivers;
        copies
    }

    fn mark_master(&mut self, mount: MountIx) {
        if let Some(master) = self.mounts[mount].master.get() {
            self.mounts[master].seen = self.walks;
        }
    }

    /// The copy that the copy for a slave receiver becomes a slave of (or is made from): climb to the nearest
    /// ancestor whose master stands above something that has a copy; then go back from the last copy through its
    /// masters to the one on that level.
    fn master_for(&self, receiver: MountIx, last: MountIx, source: MountIx) -> MountIx {
        let mut climbed = receiver;
        let master = loop {
            match self.mounts[climbed].master.get() {
                Some(master) if self.mounts[master].seen != self.walks => climbed = master,
                master => break master.unwrap_or(MountIx::NONE),
            }
        };
        let mut copy = last;
        while !self.mounts.are_peers(copy, source) {
            let on = self.mounts[copy].parent;
            let level = on.is_some() && self.mounts[on].master == master;
            if level && self.mounts.are_peers(on, climbed) {
                break;
            }
            // A chain of copies ends at a peer of the source; should one not, the source is the answer.
            let Some(above) = self.mounts[copy].master.get() else { return source };
            copy = above;
            if level {
                break;
            }
        }
        copy
    }

    /// Takes the mounts of a detached tree out of its anonymous namespace, which is then no more.
    fn empty_anonymous(&mut self, top: MountIx, anonymous: NamespaceIx) {
        let mut at = Some(top);
        while let Some(mount) = at {
            self.mounts[mount].namespace = NamespaceIx::NONE;
            at = self.mounts.next_in_tree(mount, top);
        }
        let namespace = &mut self.namespaces[anonymous.0 as usize];
        namespace.mounts = 0;
        namespace.root = MountIx::NONE;
    }

    /// Puts one tree to its place. What is there already goes on top of it.
    fn commit(
        &mut self,
        top: MountIx,
        at: Destination,
        actor: NamespaceIx,
        rule: RuleId,
        effects: &mut Effects,
    ) {
        let namespace = self.mounts[at.parent].namespace;
        if self.namespace(namespace).owner != self.namespace(actor).owner {
            self.lock_tree(top);
            effects.push(RuleId::LockReceived, Change::Locked { mount: self.id(top) });
        }
        let pushed = self.child_at(at.parent, at.point);
        if let Some(pushed) = pushed {
            self.displace(pushed);
        }
        self.place(top, at.parent, at.point);
        if self.mounts[top].namespace.is_none() {
            self.join_namespace(top, namespace);
        }
        let (mount, parent) = (self.id(top), self.id(at.parent));
        let namespace = self.namespace_id(namespace);
        effects.push(rule, Change::Attached { mount, parent, namespace });
        if let Some(pushed) = pushed {
            self.push_up(pushed, top, effects);
        }
    }

    fn push_up(&mut self, pushed: MountIx, newcomer: MountIx, effects: &mut Effects) {
        let onto = if self.kernel.tucks_onto_the_root() { newcomer } else { self.mounts.topmost(newcomer) };
        self.place(pushed, onto, self.mounts[onto].root);
        if self.kernel.tuck_passes_lock() {
            self.mounts[newcomer].locked |= self.mounts[pushed].locked;
            self.mounts[pushed].locked = false;
        }
        effects.push(RuleId::TuckUnder, Change::PushedUp { mount: self.id(pushed), onto: self.id(onto) });
    }
}
