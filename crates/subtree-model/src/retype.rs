//! Changes of propagation type (`change_mnt_propagation()` in `fs/pnode.c`).

use crate::effect::{Change, Effects};
use crate::mounts::MountIx;
use crate::world::World;
use crate::{PropagationType, RuleId};

impl World {
    /// Changes one mount's type, or a tree's: parents first, covered mounts too.
    pub(crate) fn change_types(
        &mut self,
        top: MountIx,
        recursive: bool,
        to: PropagationType,
        effects: &mut Effects,
    ) {
        let mut at = Some(top);
        while let Some(mount) = at {
            self.change_type(mount, to, effects);
            at = if recursive { self.mounts.next_in_tree(mount, top) } else { None };
        }
    }

    fn change_type(&mut self, mount: MountIx, to: PropagationType, effects: &mut Effects) {
        let from = self.propagation(mount);
        let rule = match to {
            PropagationType::Shared => self.make_shared(mount),
            PropagationType::Slave => self.make_slave(mount, effects),
            PropagationType::Private => {
                self.make_alone(mount, false, effects);
                RuleId::MakePrivate
            }
            PropagationType::Unbindable => {
                self.make_alone(mount, true, effects);
                RuleId::MakeUnbindable
            }
        };
        let to = self.propagation(mount);
        effects.push(rule, Change::Retyped { mount: self.id(mount), from, to });
    }

    fn make_shared(&mut self, mount: MountIx) -> RuleId {
        if self.mounts[mount].shared {
            return RuleId::MakeSharedAlready;
        }
        let group = self.new_group();
        let entry = &mut self.mounts[mount];
        if entry.group == 0 {
            entry.group = group;
        }
        entry.shared = true;
        if std::mem::replace(&mut entry.unbindable, false) {
            RuleId::MakeSharedBindable
        } else {
            RuleId::MakeSharedNewGroup
        }
    }

    fn make_slave(&mut self, mount: MountIx, effects: &mut Effects) -> RuleId {
        let was_shared = self.mounts[mount].shared;
        let had_peers = self.mounts[mount].next_peer != mount;
        let master = self.leave_group(mount, effects);
        self.mounts.leave_master(mount);
        if let Some(master) = master.get() {
            self.mounts.join_slaves(master, mount);
        }
        match (was_shared, had_peers, master.is_some()) {
            (false, ..) => RuleId::MakeSlaveUnchanged,
            (true, true, _) => RuleId::MakeSlaveOfPeer,
            (true, false, true) => RuleId::MakeSlaveOfMaster,
            (true, false, false) => RuleId::MakeSlaveAlone,
        }
    }

    pub(crate) fn make_alone(&mut self, mount: MountIx, unbindable: bool, effects: &mut Effects) {
        self.leave_group(mount, effects);
        self.mounts.leave_master(mount);
        self.mounts[mount].unbindable = unbindable;
    }

    /// Leaves the peer group, if in one: its slaves go to a peer that stays or, if there is none, to its master.
    /// Returns what is above it then: that peer, or its master as it was.
    fn leave_group(&mut self, mount: MountIx, effects: &mut Effects) -> MountIx {
        let master = self.mounts[mount].master;
        if !self.mounts[mount].shared {
            return master;
        }
        let peer = self.peer_that_stays(mount);
        let heir = if peer == mount { master } else { peer };
        self.mounts.leave_ring(mount);
        self.mounts[mount].group = 0;
        self.mounts[mount].shared = false;
        let rule = match (peer == mount, master.is_some()) {
            (false, _) => RuleId::SlavesToPeer,
            (true, true) => RuleId::SlavesToMaster,
            (true, false) => RuleId::SlavesOrphaned,
        };
        self.hand_over(mount, heir, rule, effects);
        heir
    }

    fn peer_that_stays(&self, mount: MountIx) -> MountIx {
        let next = self.mounts[mount].next_peer;
        if !self.kernel.prefers_master_of_same_root() {
            return next;
        }
        let root = self.mounts[mount].root;
        self.mounts.ring(mount).skip(1).find(|&peer| self.mounts[peer].root == root).unwrap_or(next)
    }

    /// Gives a mount's slaves to its heir and says so of each.
    pub(crate) fn hand_over(&mut self, from: MountIx, to: MountIx, rule: RuleId, effects: &mut Effects) {
        let mut slave = self.mounts[from].first_slave;
        while let Some(at) = slave.get() {
            let master = to.get().map(|to| self.id(to));
            effects.push(rule, Change::Handed { mount: self.id(at), master });
            slave = self.mounts[at].next_slave;
        }
        self.mounts.hand_over_slaves(from, to, self.kernel.hands_slaves_to_the_end());
    }
}
