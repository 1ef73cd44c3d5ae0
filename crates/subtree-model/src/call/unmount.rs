//! umount2(2) and close(2) of what a detached tree lives by.

use crate::effect::{Change, Effects};
use crate::errno::check;
use crate::unmount::How;
use crate::walk::{Links, Start};
use crate::world::{Held, Place, TaskId, World};
use crate::{Handle, Refused, RuleId};
use std::path::Path;

impl World {
    /// umount2(2) by path.
    pub(crate) fn unmount_path(
        &mut self,
        task: TaskId,
        target: &Path,
        detach: bool,
        expire: bool,
        effects: &mut Effects,
    ) -> Result<(), Refused> {
        // Not as other walks: this one leaves the expiry mark.
        let start = Start::of(self.task(task)?);
        let place = self.walk(start, target, Links::Follow)?;
        self.unmount(task, place, detach, expire, effects)
    }

    /// umount2(2) of what is seen at a place: unlike other calls, it also goes onto what covers the start itself.
    pub(crate) fn unmount(
        &mut self,
        task: TaskId,
        place: Place,
        detach: bool,
        expire: bool,
        effects: &mut Effects,
    ) -> Result<(), Refused> {
        let place = self.onto_mounts(place);
        let mount = place.mount;
        let acting = self.task(task)?;
        self.may_mount(acting)?;
        check(self.is_mount_root(place), RuleId::UnmountNotMountRoot)?;
        check(self.is_ours(acting, mount), RuleId::UnmountElsewhere)?;
        check(!self.mounts[mount].locked, RuleId::UnmountLocked)?;
        let is_root = mount == acting.root.mount;
        if expire {
            check(!is_root && !detach, RuleId::UnmountExpireFlags)?;
            let entry = &self.mounts[mount];
            check(entry.first_kid.is_none(), RuleId::UnmountHasChildren)?;
            check(entry.holds == 0, RuleId::UnmountInUse)?;
            if !entry.expiry_mark {
                // The one refusal that leaves something behind: the mark that makes the next call succeed.
                self.mounts[mount].expiry_mark = true;
                return Err(RuleId::UnmountExpireMarked.into());
            }
        }
        if is_root && !detach {
            self.check_may_be_read_only(place.dentry)?;
            self.files.set_read_only(place.dentry, true);
            effects.push(RuleId::UnmountRootReadOnly, Change::Other);
            return Ok(());
        }
        check(self.mounts[mount].parent.is_some(), RuleId::UnmountNoParent)?;
        if !detach && let Some(why) = self.busy(mount) {
            return Err(why.into());
        }
        let rule = if expire { RuleId::UnmountExpired } else { RuleId::UnmountTarget };
        let how =
            How { propagate: true, connected: false, sync: !detach, rule, below: RuleId::UnmountLazySubtree };
        self.unmount_tree(mount, how, effects);
        Ok(())
    }

    /// close(2).
    pub(crate) fn close(&mut self, handle: Handle, effects: &mut Effects) -> Result<(), Refused> {
        let held = self.handles.remove(&handle).ok_or(RuleId::BadHandle)?;
        match held {
            Held::Namespace(namespace) => self.leave_namespace(namespace, effects),
            Held::Place { place, owns_tree } => {
                let namespace = self.mounts[place.mount].namespace;
                let is_detached = namespace.is_some() && {
                    let namespace = self.namespace(namespace);
                    namespace.anonymous && namespace.root == place.mount
                };
                if owns_tree && is_detached {
                    let how = How::without_propagation(RuleId::CloseDissolves, true);
                    self.unmount_tree(place.mount, how, effects);
                    self.namespaces[namespace.0 as usize].root = crate::mounts::MountIx::NONE;
                }
                self.release(place.mount);
            }
        }
        Ok(())
    }
}
