//! Copies of mounts and trees of mounts (`clone_mnt()`, `copy_tree()` in `fs/namespace.c`).

use crate::effect::{Change, Effects};
use crate::errno::check;
use crate::mounts::{DentryIx, MountIx, NamespaceIx};
use crate::world::World;
use crate::{Refused, RuleId};

/// How a copy is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct CopyFlags {
    /// Slaves of the originals instead of peers.
    pub(crate) slave: bool,
    /// In a group of their own if they have none by being peers.
    pub(crate) shared: bool,
    /// Unbindable mounts too (for a new namespace).
    pub(crate) unbindable: bool,
}

impl World {
    /// A copy of one mount with `root` as its root, in no namespace and at no place.
    pub(crate) fn copy_mount(&mut self, old: MountIx, root: DentryIx, flags: CopyFlags) -> MountIx {
        let new = self.add_mount(root, self.mounts[old].label);
        let from = &self.mounts[old];
        let (group, was_slave) = (from.group, from.master.is_some());
        let (attributes, locks) = (from.attributes, from.attribute_locks);
        let unbindable = from.unbindable && flags.unbindable && self.kernel.copies_unbindable();
        let own_group = match group {
            group if group != 0 && !flags.slave => group,
            _ if flags.shared => self.new_group(),
            _ => 0,
        };
        let entry = &mut self.mounts[new];
        entry.group = own_group;
        entry.shared = own_group != 0;
        entry.unbindable = unbindable && !entry.shared;
        entry.attributes = attributes;
        entry.attribute_locks = locks;
        if self.mounts.are_peers(old, new) {
            self.mounts.join_ring(old, new);
        }
        if flags.slave && group != 0 {
            self.mounts.join_slaves(old, new);
        } else if was_slave {
            self.mounts.join_slaves_after(old, new);
        }
        self.mounts[old].twin = new;
        new
    }

    /// A copy of a mount from `root` down, with all mounts below; unbindable ones are left out with what is below
    /// them unless `flags` says otherwise. [`World::measure_copy`] comes first: it says whether this may be done.
    pub(crate) fn copy_tree(&mut self, top: MountIx, root: DentryIx, flags: CopyFlags) -> MountIx {
        let new_top = self.copy_mount(top, root, flags);
        let mut kid = self.mounts[top].first_kid;
        while let Some(branch) = kid.get() {
            if self.files.is_below(self.mounts[branch].point, root) {
                self.copy_branch(branch, new_top, flags);
            }
            kid = self.mounts[branch].next_kid;
        }
        new_top
    }

    fn copy_branch(&mut self, branch: MountIx, new_top: MountIx, flags: CopyFlags) {
        let mut at = Some(branch);
        while let Some(mount) = at {
            if self.mounts[mount].unbindable && !flags.unbindable {
                at = self.mounts.next_past_tree(mount, branch);
                continue;
            }
            let parent = self.mounts[mount].parent;
            let new_parent = if mount == branch { new_top } else { self.mounts[parent].twin };
            let new = self.copy_mount(mount, self.mounts[mount].root, flags);
            self.mounts[new].locked = self.mounts[mount].locked;
            self.place(new, new_parent, self.mounts[mount].point);
            at = self.mounts.next_in_tree(mount, branch);
        }
    }

    /// The mounts that a recursive copy from `root` down takes, parents first, the top first; an unbindable one is
    /// there too, as the last of its branch: it is left out with all below.
    fn to_be_copied(&self, top: MountIx, root: DentryIx) -> impl Iterator<Item = MountIx> + '_ {
        std::iter::successors(Some(top), move |&at| {
            let mut next = match at != top && self.mounts[at].unbindable {
                true => self.mounts.next_past_tree(at, top),
                false => self.mounts.next_in_tree(at, top),
            };
            while let Some(branch) = next
                && self.mounts[branch].parent == top
                && !self.files.is_below(self.mounts[branch].point, root)
            {
                next = self.mounts.next_past_tree(branch, top);
            }
            next
        })
    }

    /// How many mounts a recursive copy without the unbindable would have, or why there can be none.
    pub(crate) fn measure_copy(&self, top: MountIx, root: DentryIx) -> Result<u32, Refused> {
        check(!self.mounts[top].unbindable, RuleId::SourceUnbindable)?;
        let mut size = 0;
        for mount in self.to_be_copied(top, root) {
            let entry = &self.mounts[mount];
            check(!(entry.unbindable && entry.locked), RuleId::CopyLockedUnbindable)?;
            size += u32::from(!entry.unbindable);
        }
        Ok(size)
    }

    /// Whether a locked mount lies on `mount` at or below `root`.
    pub(crate) fn covers_locked(&self, mount: MountIx, root: DentryIx) -> bool {
        let mut kid = self.mounts[mount].first_kid;
        while let Some(child) = kid.get() {
            let entry = &self.mounts[child];
            if entry.locked && self.files.is_below(entry.point, root) {
                return true;
            }
            kid = entry.next_kid;
        }
        false
    }

    /// Locks a tree that crossed to another user namespace: all attributes, and all mounts but the top.
    pub(crate) fn lock_tree(&mut self, top: MountIx) {
        let mut at = Some(top);
        while let Some(mount) = at {
            let entry = &mut self.mounts[mount];
            entry.attribute_locks |= entry.attributes;
            entry.locked |= mount != top;
            at = self.mounts.next_in_tree(mount, top);
        }
    }

    /// Says of each mount of a tree just copied what its copy became, and what was left out.
    pub(crate) fn tell_copies(&self, top: MountIx, root: DentryIx, recursive: bool, effects: &mut Effects) {
        let count = if recursive { usize::MAX } else { 1 };
        for mount in self.to_be_copied(top, root).take(count) {
            let from = self.id(mount);
            if self.mounts[mount].unbindable {
                effects.push(RuleId::CopySkipsUnbindable, Change::Untouched { mount: from });
                continue;
            }
            let copy = self.mounts[mount].twin;
            let rule = match (self.mounts[copy].shared, self.mounts[copy].master.is_some()) {
                (true, _) => RuleId::CopyPeer,
                (false, true) => RuleId::CopySlave,
                (false, false) => RuleId::CopyPrivate,
            };
            effects.push(rule, Change::Copied { from, to: self.id(copy) });
        }
    }

    /// A namespace's id.
    pub(crate) fn namespace_id(&self, at: NamespaceIx) -> mount_table::NamespaceId {
        self.namespace(at).id
    }
}
