//! unshare(2), setns(2), pivot_root(2), chroot(2), chdir(2).

use crate::attach::Destination;
use crate::copy::CopyFlags;
use crate::effect::{Change, Effects};
use crate::errno::check;
use crate::files::Kind;
use crate::mounts::{MountIx, UserIx};
use crate::unmount::How;
use crate::world::{Held, Place, TaskId, World};
use crate::{Handle, Refused, RuleId};
use mount_table::MountId;
use std::path::Path;

impl World {
    /// unshare(2) with `CLONE_NEWNS`, and `CLONE_NEWUSER` if `new_user`.
    pub(crate) fn unshare(
        &mut self,
        task: TaskId,
        new_user: bool,
        effects: &mut Effects,
    ) -> Result<(), Refused> {
        let acting = self.task(task)?.clone();
        let old = self.namespace(acting.namespace).clone();
        check(self.has_room(old.mounts as usize), RuleId::TooLarge)?;
        let owner = if new_user {
            self.users.push(acting.user);
            UserIx(self.users.len() as u32 - 1)
        } else {
            acting.user
        };
        // Told apart by the twin: a root or working directory outside the copied tree stays where it is.
        self.mounts[acting.root.mount].twin = MountIx::NONE;
        self.mounts[acting.directory.mount].twin = MountIx::NONE;
        let crosses = owner != old.owner;
        let flags = CopyFlags { slave: crosses, shared: false, unbindable: true };
        let top = self.copy_tree(old.root, self.mounts[old.root].root, flags);
        let new = self.add_namespace(owner, None);
        self.settle(top, new);
        self.tell_namespace_copy(old.root, top, crosses, effects);
        if crosses {
            self.lock_tree(top);
            effects.push(RuleId::NamespaceCopyLocks, Change::Locked { mount: self.id(top) });
        }
        effects.push(RuleId::NamespaceCopy, Change::NamespaceMade { namespace: self.namespace_id(new) });
        let entered = |world: &World, place: Place| match world.mounts[place.mount].twin.get() {
            Some(twin) => Place { mount: twin, ..place },
            None => place,
        };
        let (root, directory) = (entered(self, acting.root), entered(self, acting.directory));
        self.task_mut(task)?.user = owner;
        self.switch_namespace(task, new, root, directory, effects)
    }

    fn tell_namespace_copy(&self, old: MountIx, top: MountIx, crosses: bool, effects: &mut Effects) {
        // Copies are made in the order of the originals, none is left out: the two trees run in step.
        for (from, to) in self.mounts.tree(old).zip(self.mounts.tree(top)) {
            let (from, entry) = (&self.mounts[from], &self.mounts[to]);
            let rule = if from.unbindable && !entry.unbindable {
                RuleId::NamespaceDropsUnbindable
            } else if crosses && from.shared {
                RuleId::NamespaceCopySlave
            } else {
                RuleId::NamespaceCopy
            };
            effects.push(rule, Change::Copied { from: MountId(from.id), to: self.id(to) });
        }
    }

    /// Moves a task to another namespace; the one it leaves may die of it.
    fn switch_namespace(
        &mut self,
        task: TaskId,
        namespace: crate::mounts::NamespaceIx,
        root: Place,
        directory: Place,
        effects: &mut Effects,
    ) -> Result<(), Refused> {
        self.namespaces[namespace.0 as usize].holds += 1;
        self.hold(root.mount);
        self.hold(directory.mount);
        let entry = self.task_mut(task)?;
        let old = std::mem::replace(&mut entry.namespace, namespace);
        let old_root = std::mem::replace(&mut entry.root, root);
        let old_directory = std::mem::replace(&mut entry.directory, directory);
        self.release(old_root.mount);
        self.release(old_directory.mount);
        self.leave_namespace(old, effects);
        Ok(())
    }

    /// open(2) of `/proc/self/ns/mnt`.
    pub(crate) fn open_namespace(
        &mut self,
        task: TaskId,
        out: Handle,
        effects: &mut Effects,
    ) -> Result<(), Refused> {
        self.check_free(out)?;
        let namespace = self.task(task)?.namespace;
        self.open(out, Held::Namespace(namespace));
        effects.push(RuleId::Opened, Change::Other);
        Ok(())
    }

    /// setns(2).
    pub(crate) fn enter_namespace(
        &mut self,
        task: TaskId,
        handle: Handle,
        effects: &mut Effects,
    ) -> Result<(), Refused> {
        let Held::Namespace(namespace) = self.held(handle)? else { return Err(RuleId::BadHandle.into()) };
        let acting = self.task(task)?;
        check(self.is_capable(acting, self.namespace(namespace).owner), RuleId::NamespaceNotPermitted)?;
        let top = self.mounts.topmost(self.namespace(namespace).root);
        let root = Place { mount: top, dentry: self.mounts[top].root };
        effects.push(RuleId::NamespaceEnter, Change::Other);
        self.switch_namespace(task, namespace, root, root, effects)
    }

    /// pivot_root(2).
    pub(crate) fn pivot_root_to(
        &mut self,
        task: TaskId,
        new_root: &Path,
        put_old: &Path,
        effects: &mut Effects,
    ) -> Result<(), Refused> {
        self.may_mount(self.task(task)?)?;
        let new = self.walk_task(task, new_root)?;
        self.check_directory_at(new)?;
        let old = self.walk_task(task, put_old)?;
        self.check_directory_at(old)?;
        let old = self.check_pivot(task, new, old)?;
        self.pivot(task, new, old, effects)
    }

    fn check_directory_at(&self, place: Place) -> Result<(), Refused> {
        check(
            matches!(self.files[place.dentry].kind, Kind::Directory | Kind::Assumed),
            RuleId::PathNotDirectory,
        )
    }

    /// pivot_root(2)'s checks in order; the place where the old root goes.
    fn check_pivot(&self, task: TaskId, new: Place, old: Place) -> Result<Destination, Refused> {
        let acting = self.task(task)?;
        let root = acting.root;
        let old = self.destination(old);
        self.check_target(old)?;
        let parent_shared =
            |mount: MountIx| self.mounts[mount].parent.get().is_some_and(|parent| self.mounts[parent].shared);
        // A namespace's first mount counts as its own parent.
        let above_shared = |mount: MountIx| {
            parent_shared(mount) || self.mounts[mount].parent.is_none() && self.mounts[mount].shared
        };
        let shared = self.mounts[old.parent].shared || above_shared(new.mount) || above_shared(root.mount);
        check(!shared, RuleId::PivotShared)?;
        let ours = self.is_ours(acting, root.mount) && self.is_ours(acting, new.mount);
        check(ours, RuleId::PivotElsewhere)?;
        check(!self.mounts[new.mount].locked, RuleId::PivotLocked)?;
        check(!self.files[new.dentry].removed, RuleId::PivotRemoved)?;
        check(new.mount != root.mount && old.parent != root.mount, RuleId::PivotOnRoot)?;
        check(self.is_mount_root(root), RuleId::PivotRootNotMountRoot)?;
        check(self.mounts[root.mount].parent.is_some(), RuleId::PivotRootNoParent)?;
        check(self.is_mount_root(new), RuleId::PivotNewNotMountRoot)?;
        check(self.mounts[new.mount].parent.is_some(), RuleId::PivotNewNoParent)?;
        let below = |mount, dentry, top| self.is_reachable(Place { mount, dentry }, top);
        check(below(old.parent, old.point, new), RuleId::PivotOldNotBelowNew)?;
        check(below(new.mount, new.dentry, root), RuleId::PivotNewNotBelowRoot)?;
        Ok(old)
    }

    /// Whether a place can be reached from `top` going down.
    pub(crate) fn is_reachable(&self, mut place: Place, top: Place) -> bool {
        while place.mount != top.mount {
            let mount = &self.mounts[place.mount];
            match mount.parent.get() {
                Some(parent) => place = Place { mount: parent, dentry: mount.point },
                None => return false,
            }
        }
        self.files.is_below(place.dentry, top.dentry)
    }

    fn pivot(
        &mut self,
        task: TaskId,
        new: Place,
        old: Destination,
        effects: &mut Effects,
    ) -> Result<(), Refused> {
        let root = self.task(task)?.root;
        let (root_parent, root_point) = (self.mounts[root.mount].parent, self.mounts[root.mount].point);
        self.displace(new.mount);
        let locked = std::mem::replace(&mut self.mounts[root.mount].locked, false);
        self.mounts[new.mount].locked |= locked;
        self.displace(root.mount);
        self.place(new.mount, root_parent, root_point);
        self.place(root.mount, old.parent, old.point);
        for index in 0..self.tasks.len() {
            let Some(task) = &self.tasks[index] else { continue };
            let (at_root, in_root) = (task.root == root, task.directory == root);
            for _ in 0..u32::from(at_root) + u32::from(in_root) {
                self.hold(new.mount);
                self.release(root.mount);
            }
            let Some(task) = &mut self.tasks[index] else { continue };
            if at_root {
                task.root = new;
            }
            if in_root {
                task.directory = new;
            }
        }
        for (mount, parent) in [(new.mount, root_parent), (root.mount, old.parent)] {
            let namespace = self.namespace_id(self.mounts[mount].namespace);
            let change = Change::Attached { mount: self.id(mount), parent: self.id(parent), namespace };
            effects.push(RuleId::PivotRoot, change);
        }
        Ok(())
    }

    /// [`crate::Op::PivotRoot`]: fchdir, pivot_root onto itself, lazy umount of the old root, chdir.
    pub(crate) fn pivot_and_drop(
        &mut self,
        task: TaskId,
        new_root: Handle,
        effects: &mut Effects,
    ) -> Result<(), Refused> {
        let new = self.held_place(task, new_root)?;
        self.check_directory_at(new)?;
        self.may_mount(self.task(task)?)?;
        let old = self.check_pivot(task, new, new)?;
        self.pivot(task, new, old, effects)?;
        // Nothing keeps this from happening: what lies there now is ours, a whole mount and not locked.
        let top = self.onto_mounts(new).mount;
        let how = How {
            propagate: true,
            connected: false,
            sync: false,
            rule: RuleId::UnmountTarget,
            below: RuleId::UnmountLazySubtree,
        };
        self.unmount_tree(top, how, effects);
        let root = self.task(task)?.root;
        self.set_directory(task, root)
    }

    fn set_directory(&mut self, task: TaskId, to: Place) -> Result<(), Refused> {
        self.hold(to.mount);
        let old = std::mem::replace(&mut self.task_mut(task)?.directory, to);
        self.release(old.mount);
        Ok(())
    }

    /// chroot(2).
    pub(crate) fn change_root(
        &mut self,
        task: TaskId,
        path: &Path,
        effects: &mut Effects,
    ) -> Result<(), Refused> {
        let to = self.walk_task(task, path)?;
        self.check_directory_at(to)?;
        self.hold(to.mount);
        let old = std::mem::replace(&mut self.task_mut(task)?.root, to);
        self.release(old.mount);
        effects.push(RuleId::ChangeRoot, Change::Other);
        Ok(())
    }

    /// chdir(2).
    pub(crate) fn change_directory(
        &mut self,
        task: TaskId,
        path: &Path,
        effects: &mut Effects,
    ) -> Result<(), Refused> {
        let to = self.walk_task(task, path)?;
        self.check_directory_at(to)?;
        self.set_directory(task, to)?;
        effects.push(RuleId::ChangeDirectory, Change::Other);
        Ok(())
    }
}
