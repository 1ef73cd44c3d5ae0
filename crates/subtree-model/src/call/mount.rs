//! mount(2), open_tree(2), move_mount(2), mount_setattr(2), fsmount(2).

use crate::attach::Destination;
use crate::copy::CopyFlags;
use crate::effect::{Change, Effects};
use crate::errno::check;
use crate::files::Kind;
use crate::mounts::{DentryIx, MountIx, attribute};
use crate::walk::{Links, Start};
use crate::world::{Held, Label, Place, Task, TaskId, World};
use crate::{Attributes, Handle, PropagationType, Refused, RuleId};
use std::path::Path;

impl Attributes {
    pub(crate) fn bits(self) -> u8 {
        let bit = |on: bool, bit: u8| if on { bit } else { 0 };
        bit(self.read_only, attribute::READ_ONLY)
            | bit(self.no_suid, attribute::NO_SUID)
            | bit(self.no_dev, attribute::NO_DEV)
            | bit(self.no_exec, attribute::NO_EXEC)
    }
}

impl World {
    /// Where a task's path leads.
    pub(crate) fn walk_task(&mut self, task: TaskId, path: &Path) -> Result<Place, Refused> {
        let start = Start::of(self.task(task)?);
        let place = self.walk(start, path, Links::Follow)?;
        self.note_use(place);
        Ok(place)
    }

    /// A new file system's only mount, private, in no namespace.
    fn make_file_system(&mut self, fs_type: &str, source: &str, attributes: Attributes) -> MountIx {
        let device = self.new_device();
        let known = matches!(fs_type, "tmpfs" | "ramfs");
        let file_system = self.files.add_super(device, Kind::Directory, known);
        let label = self.add_label(Label {
            options: "relatime".to_owned(),
            fs_type: fs_type.to_owned(),
            source: if source.is_empty() { "none".to_owned() } else { source.to_owned() },
            super_options: "rw".to_owned(),
        });
        let mount = self.add_mount(self.files[file_system].root, label);
        self.mounts[mount].attributes = attributes.bits();
        mount
    }

    /// fsopen(2) … fsmount(2).
    pub(crate) fn new_file_system(
        &mut self,
        task: TaskId,
        fs_type: &str,
        source: &str,
        attributes: Attributes,
        out: Handle,
        effects: &mut Effects,
    ) -> Result<(), Refused> {
        self.check_free(out)?;
        self.may_mount(self.task(task)?)?;
        check(self.has_room(1), RuleId::TooLarge)?;
        let mount = self.make_file_system(fs_type, source, attributes);
        effects.push(RuleId::NewMount, Change::Created { mount: self.id(mount) });
        self.hold_detached(task, mount, None, out)
    }

    /// Puts a tree into an anonymous namespace that lives as long as the handle.
    fn hold_detached(
        &mut self,
        task: TaskId,
        top: MountIx,
        origin: Option<mount_table::NamespaceId>,
        out: Handle,
    ) -> Result<(), Refused> {
        let owner = self.namespace(self.task(task)?.namespace).owner;
        let anonymous = self.add_namespace(owner, Some(origin));
        self.settle(top, anonymous);
        let place = Place { mount: top, dentry: self.mounts[top].root };
        self.open(out, Held::Place { place, owns_tree: true });
        Ok(())
    }

    /// open_tree(2) with `OPEN_TREE_CLONE`.
    pub(crate) fn clone_tree(
        &mut self,
        task: TaskId,
        from: Handle,
        recursive: bool,
        out: Handle,
        effects: &mut Effects,
    ) -> Result<(), Refused> {
        self.check_free(out)?;
        let acting = self.task(task)?;
        self.may_mount(acting)?;
        let from = self.held_place(task, from)?;
        self.check_copy(acting, from, recursive)?;
        let source_namespace = self.namespace(self.mounts[from.mount].namespace);
        let origin =
            if source_namespace.anonymous { source_namespace.origin } else { Some(source_namespace.id) };
        let top = self.copy_source(from, recursive, effects);
        effects.push(RuleId::DetachedCopy, Change::Created { mount: self.id(top) });
        self.hold_detached(task, top, origin, out)
    }

    /// Whether a bind or open_tree may copy from here; in the kernel's order.
    fn check_copy(&self, task: &Task, from: Place, recursive: bool) -> Result<u32, Refused> {
        let source = &self.mounts[from.mount];
        check(!source.unbindable, RuleId::SourceUnbindable)?;
        self.check_usable(task, from.mount, RuleId::SourceElsewhere)?;
        let size = if recursive {
            self.measure_copy(from.mount, from.dentry)?
        } else {
            check(!self.covers_locked(from.mount, from.dentry), RuleId::SourceCoversLocked)?;
            1
        };
        check(self.has_room(size as usize), RuleId::TooLarge)?;
        Ok(size)
    }

    /// Whether a mount is in the task's namespace or in a detached tree that came from it.
    fn check_usable(&self, task: &Task, mount: MountIx, otherwise: RuleId) -> Result<(), Refused> {
        if self.is_ours(task, mount) {
            return Ok(());
        }
        let namespace = self.mounts[mount].namespace.get().ok_or(otherwise)?;
        let namespace = self.namespace(namespace);
        check(namespace.anonymous, otherwise)?;
        check(self.kernel.detached_trees_are_usable(), RuleId::DetachedUnsupported)?;
        let ours = self.namespace(task.namespace).id;
        check(namespace.origin.is_none_or(|origin| origin == ours), otherwise)
    }

    fn copy_source(&mut self, from: Place, recursive: bool, effects: &mut Effects) -> MountIx {
        let flags = CopyFlags::default();
        let top = if recursive {
            self.copy_tree(from.mount, from.dentry, flags)
        } else {
            self.copy_mount(from.mount, from.dentry, flags)
        };
        self.tell_copies(from.mount, from.dentry, recursive, effects);
        top
    }

    /// Whether numbers are left for so many more mounts (and what comes with them).
    pub(crate) fn has_room(&self, mounts: usize) -> bool {
        let bound = u32::MAX as usize / 4;
        self.mounts.count() + mounts < bound
            && self.namespaces.len() < bound
            && self.labels.len() < bound
            && self.files.has_room()
    }

    /// What is asked of a destination before anything else.
    pub(crate) fn check_target(&self, at: Destination) -> Result<(), Refused> {
        check(!self.files[at.point].removed, RuleId::TargetRemoved)?;
        // Older kernels refuse it too, but later: it is in no namespace, so not in the caller's.
        let asks = self.kernel.asks_whether_the_target_is_mounted();
        check(!asks || self.mounts[at.parent].namespace.is_some(), RuleId::TargetGone)
    }

    /// What is asked of a tree about to be attached: where something would go that it is tucked under.
    fn check_top(&self, top: DentryIx) -> Result<(), Refused> {
        check(!self.files[top].removed, RuleId::SourceRemoved)
    }

    /// mount(2) of a new file system.
    pub(crate) fn mount(
        &mut self,
        task: TaskId,
        fs_type: &str,
        source: &str,
        target: &Path,
        attributes: Attributes,
        effects: &mut Effects,
    ) -> Result<(), Refused> {
        let place = self.walk_task(task, target)?;
        let acting = self.task(task)?;
        let actor = acting.namespace;
        self.may_mount(acting)?;
        let to = self.destination(place);
        self.check_target(to)?;
        check(self.is_ours(acting, to.parent), RuleId::TargetElsewhere)?;
        check(!matches!(self.files[to.point].kind, Kind::File | Kind::Link(_)), RuleId::TypeMismatch)?;
        check(self.has_room(1), RuleId::TooLarge)?;
        self.survey(to, 1, true, effects)?;
        check(self.has_room(self.receivers.len()), RuleId::TooLarge)?;
        let mount = self.make_file_system(fs_type, source, attributes);
        // mount(2)'s MS_RDONLY is for the file system as well as for the mount.
        self.files.set_read_only(self.mounts[mount].root, attributes.read_only);
        effects.push(RuleId::NewMount, Change::Created { mount: self.id(mount) });
        self.attach(mount, to, actor, effects);
        Ok(())
    }

    /// mount(2) with `MS_REMOUNT`.
    pub(crate) fn remount(
        &mut self,
        task: TaskId,
        target: &Path,
        attributes: Attributes,
        bind: bool,
        effects: &mut Effects,
    ) -> Result<(), Refused> {
        let place = self.walk_task(task, target)?;
        let acting = self.task(task)?;
        self.may_mount(acting)?;
        check(self.is_mount_root(place), RuleId::TargetNotMountRoot)?;
        check(self.is_ours(acting, place.mount), RuleId::TargetElsewhere)?;
        let entry = &self.mounts[place.mount];
        check(!attributes.bits() & entry.attributes & entry.attribute_locks == 0, RuleId::AttributeLocked)?;
        if !bind && attributes.read_only {
            self.check_may_be_read_only(place.dentry)?;
        }
        let entry = &mut self.mounts[place.mount];
        let mut changed = std::mem::replace(&mut entry.attributes, attributes.bits()) != attributes.bits();
        if !bind {
            changed |= self.files.set_read_only(place.dentry, attributes.read_only);
        }
        if changed {
            effects.push(RuleId::SetAttributes, Change::AttributesChanged { mount: self.id(place.mount) });
        }
        Ok(())
    }

    /// A file system becomes read-only only if nothing that was removed from it is in use: that is to be written when it is
    /// let go of (`sb_prepare_remount_readonly()`, fs/namespace.c). Looks at all that holds something, as few calls do.
    pub(crate) fn check_may_be_read_only(&self, dentry: DentryIx) -> Result<(), Refused> {
        if self.files.is_read_only(dentry) {
            return Ok(());
        }
        let file_system = self.files[dentry].file_system;
        let is_removed = |at: DentryIx| self.files[at].removed && self.files[at].file_system == file_system;
        // Nothing is mounted on what was removed: that was detached.
        let mounts = self.mounts.all().any(|(_, mount)| is_removed(mount.root));
        let tasks = self.tasks.iter().flatten().flat_map(|task| [task.root.dentry, task.directory.dentry]);
        let handles = self.handles.values().filter_map(|held| match held {
            Held::Place { place, .. } => Some(place.dentry),
            Held::Namespace(_) => None,
        });
        check(!mounts && !tasks.chain(handles).any(is_removed), RuleId::RemountRemovedInUse)
    }

    /// mount(2) with `MS_BIND`.
    pub(crate) fn bind(
        &mut self,
        task: TaskId,
        source: &Path,
        target: &Path,
        recursive: bool,
        effects: &mut Effects,
    ) -> Result<(), Refused> {
        let place = self.walk_task(task, target)?;
        self.may_mount(self.task(task)?)?;
        let from = self.walk_task(task, source)?;
        let acting = self.task(task)?;
        let actor = acting.namespace;
        let to = self.destination(place);
        self.check_target(to)?;
        check(self.is_ours(acting, to.parent), RuleId::TargetElsewhere)?;
        let size = self.check_copy(acting, from, recursive)?;
        check(!self.files.differ_in_type(from.dentry, to.point), RuleId::TypeMismatch)?;
        let topmost = recursive && !self.kernel.tucks_onto_the_root();
        self.check_top(if topmost { self.copied_top(from) } else { from.dentry })?;
        self.survey_tree(to, size, true, effects)?;
        let top = self.copy_source(from, recursive, effects);
        self.attach(top, to, actor, effects);
        Ok(())
    }

    /// The root of the topmost mount at the root of what a recursive copy from here would be.
    fn copied_top(&self, from: Place) -> DentryIx {
        let mut at = from;
        while let Some(child) = self.child_at(at.mount, at.dentry)
            && !self.mounts[child].unbindable
        {
            at = Place { mount: child, dentry: self.mounts[child].root };
        }
        at.dentry
    }

    /// [`World::survey`], and whether the model has numbers for all copies.
    fn survey_tree(
        &mut self,
        to: Destination,
        size: u32,
        counted: bool,
        effects: &mut Effects,
    ) -> Result<(), Refused> {
        self.survey(to, size, counted, effects)?;
        let copies = self.receivers.len().saturating_add(1).saturating_mul(size as usize);
        check(self.has_room(copies), RuleId::TooLarge)
    }

    /// mount(2) with `MS_MOVE`, or move_mount(2) by paths.
    pub(crate) fn move_path(
        &mut self,
        task: TaskId,
        source: &Path,
        target: &Path,
        beneath: bool,
        effects: &mut Effects,
    ) -> Result<(), Refused> {
        check(!beneath || self.kernel.has_beneath(), RuleId::BeneathUnsupported)?;
        let to = self.walk_task(task, target)?;
        self.may_mount(self.task(task)?)?;
        let from = self.walk_task(task, source)?;
        self.move_mount(task, from, to, beneath, effects)
    }

    /// move_mount(2), for attached and detached trees.
    pub(crate) fn move_mount(
        &mut self,
        task: TaskId,
        from: Place,
        to: Place,
        beneath: bool,
        effects: &mut Effects,
    ) -> Result<(), Refused> {
        let acting = self.task(task)?;
        let actor = acting.namespace;
        self.may_mount(acting)?;
        check(!beneath || self.kernel.has_beneath(), RuleId::BeneathUnsupported)?;
        if !beneath && self.kernel.locks_the_target_first() {
            self.check_target(self.destination(to))?;
        }
        check(self.is_mount_root(from), RuleId::MoveNotMountRoot)?;
        check(!self.files.differ_in_type(from.dentry, to.dentry), RuleId::MoveTypeMismatch)?;
        let (at, over) = if beneath { self.destination_beneath(to)? } else { (self.destination(to), None) };
        if beneath && self.kernel.going_beneath_uses_the_parent() {
            self.mounts[at.parent].expiry_mark = false;
        }
        self.check_target(at)?;
        let acting = self.task(task)?;
        let is_ours = self.is_ours(acting, from.mount);
        if is_ours {
            self.check_move_within(acting, from.mount, at.parent)?;
        } else {
            self.check_move_detached(acting, from.mount, at.parent)?;
        }
        if let Some(over) = over {
            // Who is asked is on what the tree goes onto. To the kernel a mount without parent is on itself: so the covered root of
            // a detached tree is asked in place of its cover.
            let is_root = self.mounts[to.mount].parent.is_none() && at.parent == to.mount;
            let over = if is_root && self.kernel.going_beneath_uses_the_parent() { to.mount } else { over };
            self.check_beneath(acting, from.mount, over, at, is_ours)?;
        }
        let onto_shared = self.mounts[at.parent].shared;
        let mut size = 0;
        for mount in self.mounts.tree(from.mount) {
            size += 1;
            check(!(onto_shared && self.mounts[mount].unbindable), RuleId::MoveUnbindableToShared)?;
        }
        check(!self.mounts.is_ancestor(from.mount, at.parent), RuleId::MoveLoop)?;
        let own_root = self.kernel.tucks_onto_the_root();
        self.check_top(
            self.mounts[if own_root { from.mount } else { self.mounts.topmost(from.mount) }].root,
        )?;
        self.survey_tree(at, size, !is_ours, effects)?;
        self.attach(from.mount, at, actor, effects);
        Ok(())
    }

    fn check_move_within(&self, task: &Task, from: MountIx, onto: MountIx) -> Result<(), Refused> {
        let parent = self.mounts[from].parent.get().ok_or(RuleId::MoveNoParent)?;
        check(!self.mounts[from].locked, RuleId::MoveLocked)?;
        check(!self.mounts[parent].shared, RuleId::MoveParentShared)?;
        check(self.is_ours(task, onto), RuleId::TargetElsewhere)
    }

    fn check_move_detached(&self, task: &Task, from: MountIx, onto: MountIx) -> Result<(), Refused> {
        let namespace = self.mounts[from].namespace.get().ok_or(RuleId::MoveElsewhere)?;
        let is_root = self.namespace(namespace).anonymous && self.namespace(namespace).root == from;
        check(is_root, RuleId::MoveElsewhere)?;
        check(self.mounts[onto].namespace != namespace, RuleId::MoveIntoItself)?;
        self.check_usable(task, onto, RuleId::TargetElsewhere)
    }

    /// The place of the topmost mount at `to`, and that mount, under which something is to go.
    fn destination_beneath(&self, to: Place) -> Result<(Destination, Option<MountIx>), Refused> {
        check(self.is_mount_root(to), RuleId::BeneathNotMountRoot)?;
        let over = self.mounts.topmost(to.mount);
        check(self.mounts[over].namespace.is_some(), RuleId::TargetGone)?;
        let Some(parent) = self.mounts[over].parent.get() else {
            // To the kernel it is on its own root, of which it asks what it asks of every target.
            check(!self.files[self.mounts[over].root].removed, RuleId::TargetRemoved)?;
            return Err(RuleId::BeneathNoParent.into());
        };
        Ok((Destination { parent, point: self.mounts[over].point }, Some(over)))
    }

    fn check_beneath(
        &self,
        task: &Task,
        from: MountIx,
        over: MountIx,
        at: Destination,
        from_is_ours: bool,
    ) -> Result<(), Refused> {
        let lenient = self.kernel.beneath_is_lenient();
        check(lenient || !self.mounts[over].locked, RuleId::BeneathLocked)?;
        check(self.mounts[from].cover.is_none(), RuleId::BeneathCovered)?;
        let is_root = over == task.root.mount || at.parent == self.namespace(task.namespace).root;
        check(lenient || !is_root, RuleId::BeneathRoot)?;
        check(!self.mounts.is_ancestor(over, from), RuleId::BeneathDescendant)?;
        check(!self.would_cover(at, over), RuleId::BeneathPropagates)?;
        check(!from_is_ours || !self.would_cover(at, from), RuleId::BeneathPropagates)
    }

    /// Whether a mount at `at` would propagate onto the root of `onto`, a mount that receives from there.
    fn would_cover(&self, at: Destination, onto: MountIx) -> bool {
        if !self.mounts[at.parent].shared || self.mounts[onto].root != at.point {
            return false;
        }
        let mut above = Some(onto);
        while let Some(mount) = above {
            if self.mounts.are_peers(at.parent, mount) {
                return true;
            }
            above = self.mounts[mount].master.get();
        }
        false
    }

    /// move_mount(2) with `MOVE_MOUNT_SET_GROUP`.
    pub(crate) fn set_group(
        &mut self,
        task: TaskId,
        from: Place,
        to: Place,
        effects: &mut Effects,
    ) -> Result<(), Refused> {
        let acting = self.task(task)?;
        self.may_mount(acting)?;
        self.check_changeable(acting, from.mount)?;
        self.check_changeable(acting, to.mount)?;
        check(self.is_mount_root(from) && self.is_mount_root(to), RuleId::SetGroupNotMountRoot)?;
        let (model, joining) = (&self.mounts[from.mount], &self.mounts[to.mount]);
        let same = self.files[from.dentry].file_system == self.files[to.dentry].file_system;
        check(same, RuleId::SetGroupOtherFileSystem)?;
        check(self.files.is_below(to.dentry, from.dentry), RuleId::SetGroupNotBelow)?;
        check(!self.covers_locked(from.mount, to.dentry), RuleId::SetGroupCoversLocked)?;
        check(!joining.shared && joining.master.is_none(), RuleId::SetGroupNotPrivate)?;
        check(model.shared || model.master.is_some(), RuleId::SetGroupNothingToJoin)?;
        let unbindable = joining.unbindable && self.kernel.set_group_refuses_unbindable();
        check(!unbindable, RuleId::SetGroupUnbindable)?;
        self.join_group(from.mount, to.mount, effects);
        Ok(())
    }

    fn join_group(&mut self, model: MountIx, joining: MountIx, effects: &mut Effects) {
        let before = self.propagation(joining);
        let (group, shared) = (self.mounts[model].group, self.mounts[model].shared);
        if self.mounts[model].master.is_some() {
            self.mounts.join_slaves_after(model, joining);
        }
        if shared {
            self.mounts[joining].group = group;
            self.mounts[joining].shared = true;
            self.mounts[joining].unbindable = false;
            self.mounts.join_ring(model, joining);
        }
        let to = self.propagation(joining);
        let mount = self.id(joining);
        effects.push(RuleId::SetGroupJoins, Change::Retyped { mount, from: before, to });
    }

    /// mount(2) and MOVE_MOUNT_SET_GROUP change mounts of any namespace that the task is capable over.
    fn check_changeable(&self, task: &Task, mount: MountIx) -> Result<(), Refused> {
        let namespace = self.mounts[mount].namespace.get().ok_or(RuleId::TargetUnmounted)?;
        check(self.is_capable(task, self.namespace(namespace).owner), RuleId::NotPermitted)
    }

    /// mount(2) with a propagation type.
    pub(crate) fn change_type_at(
        &mut self,
        task: TaskId,
        target: &Path,
        to: PropagationType,
        recursive: bool,
        effects: &mut Effects,
    ) -> Result<(), Refused> {
        let place = self.walk_task(task, target)?;
        let acting = self.task(task)?;
        self.may_mount(acting)?;
        check(self.is_mount_root(place), RuleId::TargetNotMountRoot)?;
        self.check_changeable(acting, place.mount)?;
        self.change_types(place.mount, recursive, to, effects);
        Ok(())
    }

    /// mount_setattr(2).
    pub(crate) fn set_attributes(
        &mut self,
        task: TaskId,
        place: Place,
        recursive: bool,
        (set, clear): (Attributes, Attributes),
        propagation: Option<PropagationType>,
        effects: &mut Effects,
    ) -> Result<(), Refused> {
        let acting = self.task(task)?;
        self.may_mount(acting)?;
        if set.bits() | clear.bits() == 0 && propagation.is_none() {
            // Nothing asked for: the kernel does not even look at the place.
            return Ok(());
        }
        check(self.is_mount_root(place), RuleId::TargetNotMountRoot)?;
        let namespace = self.mounts[place.mount].namespace.get().ok_or(RuleId::ChangeElsewhere)?;
        let is_detached =
            self.namespace(namespace).anonymous && self.namespace(namespace).root == place.mount;
        check(is_detached || self.is_ours(acting, place.mount), RuleId::ChangeElsewhere)?;
        let (set, clear) = (set.bits(), clear.bits());
        for mount in self.mounts.tree(place.mount).take(if recursive { usize::MAX } else { 1 }) {
            let entry = &self.mounts[mount];
            check(clear & !set & entry.attribute_locks == 0, RuleId::AttributeLocked)?;
        }
        let mut at = (set | clear != 0).then_some(place.mount);
        while let Some(mount) = at {
            let entry = &mut self.mounts[mount];
            let attributes = entry.attributes & !clear | set;
            if std::mem::replace(&mut entry.attributes, attributes) != attributes {
                effects.push(RuleId::SetAttributes, Change::AttributesChanged { mount: self.id(mount) });
            }
            at = if recursive { self.mounts.next_in_tree(mount, place.mount) } else { None };
        }
        if let Some(to) = propagation {
            self.change_types(place.mount, recursive, to, effects);
        }
        Ok(())
    }
}
