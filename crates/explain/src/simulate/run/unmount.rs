//! What umount(8) does: which mount a word means, and in which order a tree goes.

use super::super::outcome::{Fault, refused_by_tool};
use super::super::tools::Unmount;
use super::file_system_types::is_of_a_device;
use super::{Run, There, absolute};
use mount_table::{Mount, MountId, MountTable};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use subtree_model::{Attributes, Op};

impl Run<'_> {
    pub(super) fn unmount(&mut self, line: &Unmount) -> Result<(), Fault> {
        if line.recursive {
            return self.each(&line.targets, |run, target| run.unmount_below(target, line));
        }
        self.each(&line.targets, |run, target| run.unmount_one(target, line))
    }

    fn unmount_one(&mut self, target: &str, line: &Unmount) -> Result<(), Fault> {
        let path = Path::new(target);
        let direct = line.plain && path.is_absolute() && self.there(path) == Ok(There::Directory);
        let table = self.table();
        let mounted = |path: &Path| table.mounts.iter().rev().find(|row| row.mount_point == path);
        if direct || target.is_empty() {
            return self.unmount_path(path, line);
        }
        let named = self.canonical(path);
        if let Some(row) = mounted(&named) {
            return self.unmount_path(&row.mount_point, line);
        }
        // Perhaps the name of what is mounted.
        match table.mounts.iter().rev().find(|row| row.source == target) {
            Some(row) if mounted(&row.mount_point).is_some_and(|top| top.id == row.id) => {
                self.unmount_path(&row.mount_point, line)
            }
            Some(_) => Err(refused_by_tool("umount failed: something is mounted over it at the same place")),
            None => self.unmount_path(path, line),
        }
    }

    /// As umount(8) looks for a path in the mount table: without dots if it leads somewhere, else as it is.
    fn canonical(&mut self, path: &Path) -> PathBuf {
        if self.there(path).is_ok() { absolute(path) } else { path.to_path_buf() }
    }

    fn unmount_path(&mut self, path: &Path, line: &Unmount) -> Result<(), Fault> {
        let op = Op::UnmountPath { target: path.to_path_buf(), detach: line.lazy, expire: false };
        let has_device = line.or_read_only
            && self
                .table()
                .mounts
                .iter()
                .rev()
                .find(|row| row.mount_point == path)
                .is_some_and(is_of_a_device);
        match self.call(&op) {
            Err(fault) if has_device && fault.errno == "EBUSY" => {
                let attributes = Attributes { read_only: true, ..Attributes::default() };
                self.call(&Op::Remount { target: path.to_path_buf(), attributes, bind: false })
            }
            result => result,
        }
    }

    /// `umount -R`: from the table as it was at the beginning, what covers a mount first, then what is below it.
    fn unmount_below(&mut self, target: &str, line: &Unmount) -> Result<(), Fault> {
        let table = self.table();
        let path = self.canonical(Path::new(target));
        let Some(top) = table.mounts.iter().rev().find(|row| row.mount_point == path) else {
            return Err(refused_by_tool("not mounted"));
        };
        for id in unmount_order(&table, top) {
            let Some(row) = table.mounts.iter().find(|row| row.id == id) else { continue };
            // An earlier one may have taken it along.
            if self.table().mounts.iter().any(|now| now.mount_point == row.mount_point) {
                self.unmount_path(&row.mount_point, line)?;
            }
        }
        Ok(())
    }
}

/// A tree's mounts, each after what covers it and after its other children.
fn unmount_order(table: &MountTable, top: &Mount) -> Vec<MountId> {
    let mut children: HashMap<MountId, Vec<&Mount>> = HashMap::new();
    for row in table.mounts.iter().filter(|row| row.parent != row.id) {
        children.entry(row.parent).or_default().push(row);
    }
    let mut order = Vec::new();
    let mut stack = vec![(top, false)];
    while let Some((row, done)) = stack.pop() {
        if done {
            order.push(row.id);
            continue;
        }
        stack.push((row, true));
        let below = children.remove(&row.id).unwrap_or_default();
        let (over, others): (Vec<&Mount>, Vec<&Mount>) =
            below.into_iter().partition(|child| child.mount_point == row.mount_point);
        stack.extend(others.into_iter().rev().map(|child| (child, false)));
        stack.extend(over.into_iter().rev().map(|child| (child, false)));
    }
    order
}
