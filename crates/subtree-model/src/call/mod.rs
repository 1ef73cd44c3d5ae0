//! The system calls: for each its checks in the kernel's order, then the change.

mod file;
mod mount;
mod namespace;
mod unmount;

use crate::effect::Effects;
use crate::world::{TaskId, World};
use crate::{Op, Refused};

impl World {
    /// Does what the kernel would do when `task` makes this call.
    ///
    /// # Errors
    /// What the kernel would refuse, with its errno and the first check that fails. Nothing has changed then.
    pub fn apply(&mut self, task: TaskId, op: &Op) -> Result<Effects, Refused> {
        let mut effects = Effects::default();
        self.task(task)?;
        self.dispatch(task, op, &mut effects)?;
        Ok(effects)
    }

    fn dispatch(&mut self, task: TaskId, op: &Op, effects: &mut Effects) -> Result<(), Refused> {
        match op {
            Op::Open { root, path, follow, missing, out } => {
                let root = self.held_place(task, *root)?;
                self.open_below(root, path, *follow, *missing, *out, effects)
            }
            Op::CloneTree { from, recursive, out } => self.clone_tree(task, *from, *recursive, *out, effects),
            Op::NewFileSystem { fs_type, source, options: _, attributes, out } => {
                self.new_file_system(task, fs_type, source, *attributes, *out, effects)
            }
            Op::Make { root, path, node } => {
                let root = self.held_place(task, *root)?;
                self.make_node(root, path, node, effects)
            }
            Op::SetAttributes { mount, recursive, set, clear, propagation } => {
                let place = self.held_place(task, *mount)?;
                self.set_attributes(task, place, *recursive, (*set, *clear), *propagation, effects)
            }
            Op::MapIds { mount, recursive: _ } => {
                let place = self.held_place(task, *mount)?;
                crate::errno::check(self.is_mount_root(place), crate::RuleId::TargetNotMountRoot)
            }
            Op::MoveMount { from, to } => {
                let (from, to) = (self.held_place(task, *from)?, self.held_place(task, *to)?);
                self.move_mount(task, from, to, false, effects)
            }
            Op::MoveMountBeneath { from, to } => {
                let (from, to) = (self.held_place(task, *from)?, self.held_place(task, *to)?);
                self.move_mount(task, from, to, true, effects)
            }
            Op::SetGroup { from, to } => {
                let (from, to) = (self.held_place(task, *from)?, self.held_place(task, *to)?);
                self.set_group(task, from, to, effects)
            }
            Op::Unmount { at, detach } => {
                let place = self.held_place(task, *at)?;
                self.unmount(task, place, *detach, false, effects)
            }
            Op::UnshareMounts => self.unshare(task, false, effects),
            Op::UnshareUserAndMounts => self.unshare(task, true, effects),
            Op::OpenNamespace { out } => self.open_namespace(task, *out, effects),
            Op::EnterNamespace { namespace } => self.enter_namespace(task, *namespace, effects),
            Op::PivotRoot { new_root } => self.pivot_and_drop(task, *new_root, effects),
            Op::Close { handle } => self.close(*handle, effects),
            Op::Mount { fs_type, source, target, attributes } => {
                self.mount(task, fs_type, source, target, *attributes, effects)
            }
            Op::Remount { target, attributes, bind } => {
                self.remount(task, target, *attributes, *bind, effects)
            }
            Op::Bind { source, target, recursive } => self.bind(task, source, target, *recursive, effects),
            Op::Move { source, target } => self.move_path(task, source, target, false, effects),
            Op::MoveBeneath { source, target } => self.move_path(task, source, target, true, effects),
            Op::ChangeType { target, to, recursive } => {
                self.change_type_at(task, target, *to, *recursive, effects)
            }
            Op::UnmountPath { target, detach, expire } => {
                self.unmount_path(task, target, *detach, *expire, effects)
            }
            Op::PivotRootTo { new_root, put_old } => self.pivot_root_to(task, new_root, put_old, effects),
            Op::ChangeRoot { path } => self.change_root(task, path, effects),
            Op::ChangeDirectory { path } => self.change_directory(task, path, effects),
            Op::Create { path, kind } => self.create(task, path, *kind, effects),
            Op::RemoveDirectory { path } => self.remove_directory(task, path, effects),
            Op::Unlink { path } => self.unlink(task, path, effects),
            Op::Rename { from, to } => self.rename(task, from, to, effects),
        }
    }
}
