//! The arena of mounts and their lists: ordered children, peer rings, slave lists, mounts on one dentry. Every
//! list is intrusive (indices inside the mounts), so that each change takes constant time.

use std::ops::{Index, IndexMut};

macro_rules! index_type {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) struct $name(pub(crate) u32);

        #[allow(dead_code, reason = "one set of methods for every kind of index")]
        impl $name {
            pub(crate) const NONE: $name = $name(u32::MAX);

            pub(crate) fn is_some(self) -> bool {
                self != Self::NONE
            }

            pub(crate) fn is_none(self) -> bool {
                self == Self::NONE
            }

            pub(crate) fn get(self) -> Option<$name> {
                self.is_some().then_some(self)
            }
        }
    )*};
}

index_type! {
    /// A mount in the arena; reused after the mount is gone.
    MountIx;
    /// A dentry (a name in a file system); never reused.
    DentryIx;
    /// A superblock; never reused.
    SuperIx;
    /// A mount namespace, also an anonymous one; never reused.
    NamespaceIx;
    /// A user namespace; never reused.
    UserIx;
}

/// Attribute bits of a mount, and their locks in the same order.
pub(crate) mod attribute {
    pub(crate) const READ_ONLY: u8 = 1;
    pub(crate) const NO_SUID: u8 = 2;
    pub(crate) const NO_DEV: u8 = 4;
    pub(crate) const NO_EXEC: u8 = 8;
}

/// What an unmount in progress has decided about a mount; [`Stage::Idle`] between operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Idle,
    Candidate,
    Taken,
}

#[derive(Debug, Clone)]
pub(crate) struct Mount {
    /// The id shown. Never reused.
    pub(crate) id: u64,
    /// Counts creations.
    pub(crate) age: u64,
    pub(crate) root: DentryIx,
    /// The mount it is on and the dentry of that. Both none for a namespace's first mount, and for what was
    /// disconnected.
    pub(crate) parent: MountIx,
    pub(crate) point: DentryIx,
    /// The namespace; none while it is being made and after it was unmounted.
    pub(crate) namespace: NamespaceIx,
    pub(crate) first_kid: MountIx,
    pub(crate) last_kid: MountIx,
    pub(crate) next_kid: MountIx,
    pub(crate) prev_kid: MountIx,
    /// The child mounted on this mount's own root.
    pub(crate) cover: MountIx,
    /// Others on the same dentry, whatever their parents.
    pub(crate) next_on_dentry: MountIx,
    pub(crate) prev_on_dentry: MountIx,
    /// The peer group's id, 0 for none. A mount can have one without being shared *yet* (while it is being
    /// attached), and the difference decides what a receiver inside the attached tree becomes.
    pub(crate) group: u64,
    pub(crate) shared: bool,
    /// The ring of peers; itself when alone.
    pub(crate) next_peer: MountIx,
    pub(crate) prev_peer: MountIx,
    /// The mount (not group) it is a slave of, and its neighbours in that one's list.
    pub(crate) master: MountIx,
    pub(crate) next_slave: MountIx,
    pub(crate) prev_slave: MountIx,
    pub(crate) first_slave: MountIx,
    pub(crate) unbindable: bool,
    pub(crate) locked: bool,
    pub(crate) expiry_mark: bool,
    pub(crate) attributes: u8,
    pub(crate) attribute_locks: u8,
    /// Descriptors, roots and working directories that keep it in use.
    pub(crate) holds: u32,
    /// What mountinfo shows beside: an index into the world's labels.
    pub(crate) label: u32,
    // Marks of the operation in progress.
    pub(crate) stage: Stage,
    /// A candidate that keeps a child which is no candidate, somewhere below.
    pub(crate) trimmed: bool,
    /// The last walk that met it.
    pub(crate) seen: u64,
    /// Its copy by the last tree copy, or its heir in an unmount.
    pub(crate) twin: MountIx,
}

/// All mounts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mounts {
    slots: Vec<Mount>,
    free: Vec<MountIx>,
}

impl Index<MountIx> for Mounts {
    type Output = Mount;

    fn index(&self, at: MountIx) -> &Mount {
        &self.slots[at.0 as usize]
    }
}

impl IndexMut<MountIx> for Mounts {
    fn index_mut(&mut self, at: MountIx) -> &mut Mount {
        &mut self.slots[at.0 as usize]
    }
}

impl Mounts {
    /// A new mount, alone in its ring, in no list.
    pub(crate) fn add(&mut self, id: u64, age: u64, root: DentryIx, label: u32) -> MountIx {
        let at = self.free.pop().unwrap_or(MountIx(self.slots.len() as u32));
        let mount = Mount {
            id,
            age,
            root,
            parent: MountIx::NONE,
            point: DentryIx::NONE,
            namespace: NamespaceIx::NONE,
            first_kid: MountIx::NONE,
            last_kid: MountIx::NONE,
            next_kid: MountIx::NONE,
            prev_kid: MountIx::NONE,
            cover: MountIx::NONE,
            next_on_dentry: MountIx::NONE,
            prev_on_dentry: MountIx::NONE,
            group: 0,
            shared: false,
            next_peer: at,
            prev_peer: at,
            master: MountIx::NONE,
            next_slave: MountIx::NONE,
            prev_slave: MountIx::NONE,
            first_slave: MountIx::NONE,
            unbindable: false,
            locked: false,
            expiry_mark: false,
            attributes: 0,
            attribute_locks: 0,
            holds: 0,
            label,
            stage: Stage::Idle,
            trimmed: false,
            seen: 0,
            twin: MountIx::NONE,
        };
        match self.slots.get_mut(at.0 as usize) {
            Some(slot) => *slot = mount,
            None => self.slots.push(mount),
        }
        at
    }

    /// Gives the slot back. The mount must be in no list.
    pub(crate) fn remove(&mut self, at: MountIx) {
        self.slots[at.0 as usize].id = 0;
        self.free.push(at);
    }

    /// How many there are, unmounted ones that are still in use included.
    pub(crate) fn count(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// All that exist.
    pub(crate) fn all(&self) -> impl Iterator<Item = (MountIx, &Mount)> {
        self.slots.iter().enumerate().filter(|(_, m)| m.id != 0).map(|(at, m)| (MountIx(at as u32), m))
    }

    /// Appends to the children of its parent (which is set).
    pub(crate) fn link_kid(&mut self, kid: MountIx) {
        let parent = self[kid].parent;
        let last = self[parent].last_kid;
        self[kid].prev_kid = last;
        self[kid].next_kid = MountIx::NONE;
        match last.get() {
            Some(last) => self[last].next_kid = kid,
            None => self[parent].first_kid = kid,
        }
        self[parent].last_kid = kid;
    }

    pub(crate) fn unlink_kid(&mut self, kid: MountIx) {
        let Mount { parent, prev_kid, next_kid, .. } = self[kid];
        match prev_kid.get() {
            Some(prev) => self[prev].next_kid = next_kid,
            None => self[parent].first_kid = next_kid,
        }
        match next_kid.get() {
            Some(next) => self[next].prev_kid = prev_kid,
            None => self[parent].last_kid = prev_kid,
        }
        self[kid].prev_kid = MountIx::NONE;
        self[kid].next_kid = MountIx::NONE;
    }

    /// The next mount of the tree below `top`, parents first, children in order.
    pub(crate) fn next_in_tree(&self, at: MountIx, top: MountIx) -> Option<MountIx> {
        match self[at].first_kid.get() {
            Some(kid) => Some(kid),
            None => self.next_past_tree(at, top),
        }
    }

    /// As [`Mounts::next_in_tree`], passing over what is below `at`.
    pub(crate) fn next_past_tree(&self, mut at: MountIx, top: MountIx) -> Option<MountIx> {
        while at != top {
            if let Some(next) = self[at].next_kid.get() {
                return Some(next);
            }
            at = self[at].parent;
        }
        None
    }

    /// A tree in pre-order.
    pub(crate) fn tree(&self, top: MountIx) -> impl Iterator<Item = MountIx> + '_ {
        std::iter::successors(Some(top), move |&at| self.next_in_tree(at, top))
    }

    /// The mount on the root of the mount on the root of… `at`.
    pub(crate) fn topmost(&self, mut at: MountIx) -> MountIx {
        while let Some(cover) = self[at].cover.get() {
            at = cover;
        }
        at
    }

    /// Whether `above` is `at` or one of its ancestors.
    pub(crate) fn is_ancestor(&self, above: MountIx, mut at: MountIx) -> bool {
        while at != above {
            at = self[at].parent;
            if at.is_none() {
                return false;
            }
        }
        true
    }

    pub(crate) fn are_peers(&self, a: MountIx, b: MountIx) -> bool {
        self[a].group != 0 && self[a].group == self[b].group
    }

    /// Puts a lone mount into the ring right after `at`.
    pub(crate) fn join_ring(&mut self, at: MountIx, new: MountIx) {
        let next = self[at].next_peer;
        self[new].prev_peer = at;
        self[new].next_peer = next;
        self[at].next_peer = new;
        self[next].prev_peer = new;
    }

    pub(crate) fn leave_ring(&mut self, at: MountIx) {
        let Mount { prev_peer, next_peer, .. } = self[at];
        self[prev_peer].next_peer = next_peer;
        self[next_peer].prev_peer = prev_peer;
        self[at].prev_peer = at;
        self[at].next_peer = at;
    }

    /// Makes a mount without master the first slave of `master`.
    pub(crate) fn join_slaves(&mut self, master: MountIx, slave: MountIx) {
        let first = self[master].first_slave;
        self[slave].master = master;
        self[slave].prev_slave = MountIx::NONE;
        self[slave].next_slave = first;
        if let Some(first) = first.get() {
            self[first].prev_slave = slave;
        }
        self[master].first_slave = slave;
    }

    /// Makes a mount without master a slave of the same master as `at`, right after it.
    pub(crate) fn join_slaves_after(&mut self, at: MountIx, slave: MountIx) {
        let Mount { master, next_slave, .. } = self[at];
        self[slave].master = master;
        self[slave].prev_slave = at;
        self[slave].next_slave = next_slave;
        if let Some(next) = next_slave.get() {
            self[next].prev_slave = slave;
        }
        self[at].next_slave = slave;
    }

    pub(crate) fn leave_master(&mut self, at: MountIx) {
        let Mount { master, prev_slave, next_slave, .. } = self[at];
        let Some(master) = master.get() else { return };
        match prev_slave.get() {
            Some(prev) => self[prev].next_slave = next_slave,
            None => self[master].first_slave = next_slave,
        }
        if let Some(next) = next_slave.get() {
            self[next].prev_slave = prev_slave;
        }
        self[at].master = MountIx::NONE;
        self[at].prev_slave = MountIx::NONE;
        self[at].next_slave = MountIx::NONE;
    }

    /// Gives all slaves of `from` to `to` (in front of its own, in order; or behind them), or makes them
    /// masterless.
    pub(crate) fn hand_over_slaves(&mut self, from: MountIx, to: MountIx, to_the_end: bool) {
        let Some(first) = std::mem::replace(&mut self[from].first_slave, MountIx::NONE).get() else { return };
        let mut at = first;
        let last = loop {
            self[at].master = to;
            let next = self[at].next_slave;
            if to.is_none() {
                self[at].prev_slave = MountIx::NONE;
                self[at].next_slave = MountIx::NONE;
            }
            match next.get() {
                Some(next) => at = next,
                None => break at,
            }
        };
        let Some(to) = to.get() else { return };
        match self[to].first_slave.get() {
            Some(own) if to_the_end => {
                let end =
                    std::iter::successors(Some(own), |&at| self[at].next_slave.get()).last().unwrap_or(own);
                self[end].next_slave = first;
                self[first].prev_slave = end;
            }
            Some(own) => {
                self[last].next_slave = own;
                self[own].prev_slave = last;
                self[to].first_slave = first;
            }
            None => self[to].first_slave = first,
        }
    }

    /// The ring of peers, from `at`, itself first.
    pub(crate) fn ring(&self, at: MountIx) -> impl Iterator<Item = MountIx> + '_ {
        std::iter::successors(Some(at), move |&peer| {
            let next = self[peer].next_peer;
            (next != at).then_some(next)
        })
    }

    /// The next mount that receives from `origin`, depth first: slaves of a peer before the next peer. What is
    /// below a mount of no namespace (or, for older kernels, an anonymous one) is not met: `descends` says.
    pub(crate) fn next_receiver(
        &self,
        mut at: MountIx,
        origin: MountIx,
        descends: impl Fn(&Mount) -> bool,
    ) -> Option<MountIx> {
        if let Some(slave) = self[at].first_slave.get()
            && descends(&self[at])
        {
            return Some(slave);
        }
        let own_master = self[origin].master;
        while self[at].master != own_master {
            if let Some(next) = self[at].next_slave.get() {
                return Some(next);
            }
            at = self[at].master.get()?;
        }
        let next = self[at].next_peer;
        (next != origin).then_some(next)
    }
}
