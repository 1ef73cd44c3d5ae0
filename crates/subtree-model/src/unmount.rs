//! Unmounting a tree, and what goes with it elsewhere (`umount_tree()` in `fs/namespace.c`, `propagate_umount()`
//! in `fs/pnode.c` as rewritten in Linux 6.17).

use crate::RuleId;
use crate::effect::{Change, Effects};
use crate::mounts::{MountIx, NamespaceIx, Stage};
use crate::world::World;

/// How a tree is unmounted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct How {
    /// What receives from the parents loses its mounts too.
    pub(crate) propagate: bool,
    /// Mounts inside the tree stay connected to each other for whoever still holds one.
    pub(crate) connected: bool,
    /// All are disconnected, locked ones too (not lazily).
    pub(crate) sync: bool,
    /// Why the mounts of the tree go.
    pub(crate) rule: RuleId,
    /// Why those below the top go.
    pub(crate) below: RuleId,
}

impl How {
    /// Without propagation, everything for one reason.
    pub(crate) fn without_propagation(rule: RuleId, connected: bool) -> How {
        How { propagate: false, connected, sync: false, rule, below: rule }
    }
}

impl World {
    /// Why an unmount that is not lazy would find the mount busy, if it would.
    pub(crate) fn busy(&self, mount: MountIx) -> Option<RuleId> {
        let entry = &self.mounts[mount];
        if entry.first_kid.is_some() {
            return Some(RuleId::UnmountHasChildren);
        }
        if entry.holds > 0 {
            return Some(RuleId::UnmountInUse);
        }
        let parent = entry.parent.get()?;
        let mut receiver = self.next_receiver(parent, parent);
        while let Some(at) = receiver {
            if let Some(child) = self.child_at(at, entry.point) {
                // One with children elsewhere than on its root stays anyway; covered, it would be pulled out.
                let child = &self.mounts[child];
                let goes =
                    child.first_kid.is_none() || (child.first_kid == child.last_kid && child.cover.is_some());
                if goes && child.holds > 0 {
                    return Some(RuleId::UnmountReceiverInUse);
                }
            }
            receiver = self.next_receiver(at, parent);
        }
        None
    }

    /// Unmounts a whole namespace that is dying.
    pub(crate) fn unmount_namespace(&mut self, root: MountIx, effects: &mut Effects) {
        self.unmount_tree(root, How::without_propagation(RuleId::NamespaceDeath, false), effects);
    }

    /// Unmounts a tree. Whether that is allowed has been asked.
    pub(crate) fn unmount_tree(&mut self, top: MountIx, how: How, effects: &mut Effects) {
        let propagate = how.propagate && self.mounts[top].parent.is_some();
        if propagate {
            self.unlock_counterparts(top, effects);
        }
        let mut set: Vec<MountIx> = self.mounts.tree(top).collect();
        for &mount in &set {
            self.mounts[mount].stage = Stage::Taken;
        }
        if self.kernel.unmounts_by_marks() {
            return self.unmount_by_marks(set, how, propagate, effects);
        }
        let own = set.len();
        if propagate {
            let received = self.received_unmounts(&set, effects);
            set.extend(received);
        }
        self.make_private_together(&set, effects);
        for (index, &mount) in set.iter().enumerate() {
            let rule = match index {
                0 => how.rule,
                index if index < own => how.below,
                _ => RuleId::UnmountReceived,
            };
            self.take_out(mount, how, rule, effects);
        }
        self.forget_unmounted(set);
    }

    pub(crate) fn forget_unmounted(&mut self, set: Vec<MountIx>) {
        for &mount in &set {
            self.mounts[mount].stage = Stage::Idle;
        }
        // Only now: while any was of the set, its slot must not be given to another.
        for mount in set {
            if self.mounts[mount].id != 0 {
                self.drop_if_unused(mount);
            }
        }
    }

    fn unlock_counterparts(&mut self, top: MountIx, effects: &mut Effects) {
        let (parent, point) = (self.mounts[top].parent, self.mounts[top].point);
        let mut receiver = self.next_receiver(parent, parent);
        while let Some(at) = receiver {
            if let Some(child) = self.child_at(at, point)
                && self.mounts[child].locked
            {
                self.mounts[child].locked = false;
                effects.push(RuleId::UnmountUnlocks, Change::Unlocked { mount: self.id(child) });
            }
            receiver = self.next_receiver(at, parent);
        }
    }

    /// The mounts that go because `set` goes, marked as taken, and what covered them slid down.
    fn received_unmounts(&mut self, set: &[MountIx], effects: &mut Effects) -> Vec<MountIx> {
        let candidates = self.gather_candidates(set);
        let mut taken = Vec::new();
        let undecided = self.trim_shifting(&candidates, &mut taken, effects);
        self.trim_revealing(&undecided, &mut taken, effects);
        for &candidate in &candidates {
            self.mounts[candidate].trimmed = false;
        }
        for &mount in &taken {
            if let Some(cover) = self.mounts[mount].cover.get()
                && self.mounts[cover].stage != Stage::Taken
            {
                self.slide_down(cover, effects);
            }
        }
        taken
    }

    /// For each mount of the set, what is mounted at its place in every mount that receives from its parent,
    /// latest found first.
    fn gather_candidates(&mut self, set: &[MountIx]) -> Vec<MountIx> {
        let mut candidates = Vec::new();
        for &mount in set {
            let (parent, point) = (self.mounts[mount].parent, self.mounts[mount].point);
            // Only a mount at the root of a namespace has no parent, and that one is not unmounted with this.
            let Some(parent) = parent.get() else { continue };
            let mut receiver = self.next_receiver(parent, parent);
            while let Some(at) = receiver {
                if let Some(child) = self.child_at(at, point)
                    && self.mounts[child].stage == Stage::Idle
                {
                    self.mounts[child].stage = Stage::Candidate;
                    candidates.push(child);
                }
                receiver = self.next_receiver(at, parent);
            }
        }
        candidates.reverse();
        candidates
    }

    /// Drops candidates that keep a child which does not go, unless that child covers them (it would shift to
    /// another place), and the candidates above them for the same reason. Takes the certain ones. Returns the rest.
    fn trim_shifting(
        &mut self,
        candidates: &[MountIx],
        taken: &mut Vec<MountIx>,
        effects: &mut Effects,
    ) -> Vec<MountIx> {
        let mut undecided = Vec::new();
        for &mount in candidates {
            if self.mounts[mount].stage != Stage::Candidate {
                continue;
            }
            let (mut stays, mut keeps_cover, mut has_kids) = (false, false, false);
            let mut kid = self.mounts[mount].first_kid;
            while let Some(at) = kid.get() {
                has_kids |= self.mounts[at].stage != Stage::Taken;
                if self.mounts[at].stage == Stage::Idle {
                    if at == self.mounts[mount].cover {
                        keeps_cover = true;
                    } else {
                        stays = true;
                        break;
                    }
                }
                kid = self.mounts[at].next_kid;
            }
            if stays || keeps_cover {
                self.trim_ancestors(mount, effects);
            }
            if stays {
                self.keep(mount, RuleId::UnmountKeptChild, effects);
            } else if !keeps_cover && !has_kids && !self.mounts[mount].locked {
                self.take(mount, taken);
            } else {
                undecided.push(mount);
            }
        }
        undecided
    }

    fn trim_ancestors(&mut self, from: MountIx, effects: &mut Effects) {
        let mut below = from;
        loop {
            let above = self.mounts[below].parent;
            let Some(above) = above.get() else { return };
            if self.mounts[above].stage != Stage::Candidate || self.mounts[below].trimmed {
                return;
            }
            self.mounts[below].trimmed = true;
            if self.mounts[above].cover != below {
                self.keep(above, RuleId::UnmountKeptChild, effects);
            }
            below = above;
        }
    }

    /// Of each chain of candidates, takes those below (and with) the uppermost that is not locked, or all if what
    /// the chain hangs on goes.
    fn trim_revealing(&mut self, undecided: &[MountIx], taken: &mut Vec<MountIx>, effects: &mut Effects) {
        for &mount in undecided {
            if self.mounts[mount].stage != Stage::Candidate {
                continue;
            }
            let mut end_of_taken = mount;
            let mut at = mount;
            let mut chain = Vec::new();
            while at.is_some() && self.mounts[at].stage == Stage::Candidate {
                chain.push(at);
                let entry = &mut self.mounts[at];
                entry.stage = Stage::Idle;
                at = entry.parent;
                if !entry.locked {
                    end_of_taken = at;
                }
            }
            if at.is_some() && self.mounts[at].stage == Stage::Taken {
                end_of_taken = at;
            }
            let mut goes = mount != end_of_taken;
            for link in chain {
                goes &= link != end_of_taken;
                if goes {
                    self.take(link, taken);
                } else {
                    self.keep(link, RuleId::UnmountKeptLocked, effects);
                }
            }
        }
    }

    fn take(&mut self, mount: MountIx, taken: &mut Vec<MountIx>) {
        self.mounts[mount].stage = Stage::Taken;
        taken.push(mount);
    }

    fn keep(&mut self, mount: MountIx, rule: RuleId, effects: &mut Effects) {
        self.mounts[mount].stage = Stage::Idle;
        effects.push(rule, Change::Untouched { mount: self.id(mount) });
    }

    /// A mount that covers the root of a taken one goes to where the bottom of the taken stack hangs.
    fn slide_down(&mut self, cover: MountIx, effects: &mut Effects) {
        let mut at = cover;
        let (onto, point) = loop {
            let (parent, point) = (self.mounts[at].parent, self.mounts[at].point);
            match parent.get() {
                Some(parent) if self.mounts[parent].stage == Stage::Taken => at = parent,
                _ => break (parent, point),
            }
        };
        let Some(onto) = onto.get() else { return };
        self.displace(cover);
        self.displace(at);
        self.place(cover, onto, point);
        effects
            .push(RuleId::UnmountSlidesDown, Change::SlidDown { mount: self.id(cover), onto: self.id(onto) });
    }

    /// All of the set leave their groups and masters at once: each one's slaves go to the nearest that stays,
    /// first along its ring, then up.
    fn make_private_together(&mut self, set: &[MountIx], effects: &mut Effects) {
        self.walks += 1;
        let walk = self.walks;
        let mut chain = Vec::new();
        for &first in set {
            if self.mounts[first].seen == walk {
                continue;
            }
            chain.clear();
            let mut at = first;
            let heir = loop {
                chain.push(at);
                let next = self.next_heir(at);
                self.mounts[at].seen = walk;
                match next.get() {
                    Some(next) if self.mounts[next].stage == Stage::Taken => {
                        if self.mounts[next].seen == walk {
                            break self.mounts[next].twin;
                        }
                        at = next;
                    }
                    _ => break next,
                }
            };
            for &link in &chain {
                self.mounts[link].twin = heir;
            }
        }
        for &mount in set {
            let heir = self.mounts[mount].twin;
            let rule = match heir.get() {
                Some(heir) if self.mounts.are_peers(mount, heir) => RuleId::SlavesToPeer,
                Some(_) => RuleId::SlavesToMaster,
                None => RuleId::SlavesOrphaned,
            };
            self.hand_over(mount, heir, rule, effects);
            self.mounts[mount].unbindable = false;
            self.mounts[mount].group = 0;
        }
    }

    /// Takes a mount out of its ring and its master's list; returns the peer after it or else the master.
    fn next_heir(&mut self, mount: MountIx) -> MountIx {
        let entry = &self.mounts[mount];
        let (peer, master) = (entry.next_peer, entry.master);
        self.mounts.leave_ring(mount);
        self.mounts.leave_master(mount);
        // The group's number stays a little: it tells a peer from a master in what is said about the slaves.
        self.mounts[mount].shared = false;
        if peer == mount { master } else { peer }
    }

    /// Out of the namespace and, unless it stays connected to an unmounted parent, from its place.
    pub(crate) fn take_out(&mut self, mount: MountIx, how: How, rule: RuleId, effects: &mut Effects) {
        let namespace = std::mem::replace(&mut self.mounts[mount].namespace, NamespaceIx::NONE);
        if let Some(namespace) = namespace.get() {
            self.namespaces[namespace.0 as usize].mounts -= 1;
            let namespace = self.namespace_id(namespace);
            effects.push(rule, Change::Detached { mount: self.id(mount), namespace });
        }
        let Some(parent) = self.mounts[mount].parent.get() else { return };
        // Whether before or after it: of what is received, children may go first.
        let parent_goes = self.mounts[parent].stage == Stage::Taken;
        let stays = !how.sync && parent_goes && (how.connected || self.mounts[mount].locked);
        if !stays {
            self.displace(mount);
        }
    }
}
