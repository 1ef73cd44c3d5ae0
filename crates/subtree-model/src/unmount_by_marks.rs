//! What goes with an unmounted tree elsewhere, in Linux 4.13 to 6.16 (`propagate_umount()` in `fs/pnode.c`).
//!
//! A candidate without children that stay is marked and, unless it is locked, taken at once; then its parent is looked at
//! again if that was met before. What was marked or kept, but not taken, is restored in the end: what hung on something
//! taken slides down to where that hung. On simple shapes this comes to the same as the rules of 6.17; on some nests of
//! locked and covering mounts it does not.

use crate::RuleId;
use crate::effect::{Change, Effects};
use crate::mounts::{MountIx, Stage};
use crate::unmount::How;
use crate::world::World;
use std::collections::HashMap;

/// What the walk has met and not taken.
#[derive(Default)]
struct Met {
    /// By mount: whether it is to be restored, and when it was last put there.
    mounts: HashMap<MountIx, Option<usize>>,
    /// In the order of restoring; only the last entry of each counts.
    restore: Vec<MountIx>,
}

impl Met {
    fn visit(&mut self, mount: MountIx) {
        self.mounts.insert(mount, None);
    }

    fn has(&self, mount: MountIx) -> bool {
        self.mounts.contains_key(&mount)
    }

    fn restore(&mut self, mount: MountIx) {
        self.mounts.insert(mount, Some(self.restore.len()));
        self.restore.push(mount);
    }

    fn forget(&mut self, mount: MountIx) {
        self.mounts.remove(&mount);
    }
}

impl World {
    /// Unmounts the mounts of a tree (parents first, marked as taken) one after the other, and what goes with them.
    pub(crate) fn unmount_by_marks(
        &mut self,
        tree: Vec<MountIx>,
        how: How,
        propagate: bool,
        effects: &mut Effects,
    ) {
        let (top, own) = (tree[0], tree.len());
        let mut list = tree;
        if self.kernel.lists_unmounts_backwards() {
            list.reverse();
        }
        if propagate {
            let received = self.receive_unmounts(&list, effects);
            list.extend(received);
        }
        for (index, &mount) in list.iter().enumerate() {
            let rule = match index {
                _ if mount == top => how.rule,
                index if index < own => how.below,
                _ => RuleId::UnmountReceived,
            };
            self.take_out(mount, how, rule, effects);
            self.make_alone(mount, false, effects);
        }
        self.forget_unmounted(list);
    }

    /// The mounts that go because those of `list` go, walked from its end.
    fn receive_unmounts(&mut self, list: &[MountIx], effects: &mut Effects) -> Vec<MountIx> {
        let (mut met, mut taken) = (Met::default(), Vec::new());
        for &mount in list.iter().rev() {
            if met.has(mount) {
                continue;
            }
            met.visit(mount);
            let point = self.mounts[mount].point;
            let Some(parent) = self.mounts[mount].parent.get() else { continue };
            let mut receiver = self.next_receiver(parent, parent);
            while let Some(at) = receiver {
                let mut from = at;
                if let Some(child) = self.child_at(at, point) {
                    if met.has(child) {
                        // What receives from here was met with it: on behind its last slave.
                        from = self.last_slave(at);
                    } else if self.mounts[child].stage == Stage::Taken {
                        met.visit(child);
                    } else {
                        self.take_upwards(child, &mut met, &mut taken);
                    }
                }
                receiver = self.next_receiver(from, parent);
            }
        }
        self.take_children(&mut met, &mut taken);
        self.restore_met(&met, effects);
        taken
    }

    fn last_slave(&self, mount: MountIx) -> MountIx {
        let entry = &self.mounts[mount];
        let is_new =
            entry.namespace.get().is_none_or(|namespace| self.namespaces[namespace.0 as usize].anonymous);
        let first = if is_new { MountIx::NONE } else { entry.first_slave };
        std::iter::successors(first.get(), |&slave| self.mounts[slave].next_slave.get())
            .last()
            .unwrap_or(mount)
    }

    /// Takes a candidate if it can go, then its parent if that was met before, and so on.
    fn take_upwards(&mut self, candidate: MountIx, met: &mut Met, taken: &mut Vec<MountIx>) {
        let mut at = candidate;
        while self.take_if_empty(at, met, taken) {
            match self.mounts[at].parent.get() {
                Some(parent) if met.has(parent) => at = parent,
                _ => return,
            }
        }
    }

    /// Marks a mount none of whose children stays (but a cover), and takes it unless it is locked; whether it was marked.
    fn take_if_empty(&mut self, mount: MountIx, met: &mut Met, taken: &mut Vec<MountIx>) -> bool {
        let entry = &self.mounts[mount];
        if entry.stage == Stage::Taken || entry.trimmed {
            return false;
        }
        let mut kid = entry.first_kid;
        while let Some(at) = kid.get() {
            let child = &self.mounts[at];
            let goes =
                child.stage == Stage::Taken || child.point == entry.root || (met.has(at) && child.trimmed);
            if !goes {
                met.restore(mount);
                return false;
            }
            kid = child.next_kid;
        }
        if entry.locked {
            self.mounts[mount].trimmed = true;
            met.restore(mount);
        } else {
            self.take_marked(mount, met, taken);
        }
        true
    }

    fn take_marked(&mut self, mount: MountIx, met: &mut Met, taken: &mut Vec<MountIx>) {
        self.mounts[mount].trimmed = false;
        self.mounts[mount].stage = Stage::Taken;
        met.forget(mount);
        taken.push(mount);
    }

    /// With what was taken goes what is in it; its covers are restored.
    fn take_children(&mut self, met: &mut Met, taken: &mut Vec<MountIx>) {
        let mut next = 0;
        while let Some(&mount) = taken.get(next) {
            next += 1;
            let mut kid = self.mounts[mount].first_kid;
            while let Some(at) = kid.get() {
                kid = self.mounts[at].next_kid;
                if self.mounts[at].stage == Stage::Taken {
                    continue;
                }
                if self.mounts[at].point == self.mounts[mount].root {
                    met.restore(at);
                } else {
                    self.take_marked(at, met, taken);
                }
            }
        }
    }

    fn restore_met(&mut self, met: &Met, effects: &mut Effects) {
        for (index, &mount) in met.restore.iter().enumerate() {
            if met.mounts.get(&mount) != Some(&Some(index)) {
                continue;
            }
            self.mounts[mount].trimmed = false;
            let own = self.mounts[mount].parent;
            let (mut parent, mut point) = (own, self.mounts[mount].point);
            while let Some(at) = parent.get()
                && self.mounts[at].stage == Stage::Taken
            {
                (parent, point) = (self.mounts[at].parent, self.mounts[at].point);
            }
            if parent == own {
                let rule = if self.mounts[mount].locked {
                    RuleId::UnmountKeptLocked
                } else {
                    RuleId::UnmountKeptChild
                };
                effects.push(rule, Change::Untouched { mount: self.id(mount) });
                continue;
            }
            let Some(onto) = parent.get() else { continue };
            self.displace(mount);
            self.place(mount, onto, point);
            effects.push(
                RuleId::UnmountSlidesDown,
                Change::SlidDown { mount: self.id(mount), onto: self.id(onto) },
            );
        }
    }
}
