//! What mount(8) does: real paths, the mount that a line is about, file systems that there are and are not.

use super::super::mount::{MountCall, Types};
use super::super::outcome::{Fault, errno, refused_by_tool};
use super::super::told::call_text;
use super::file_system_types::{DEVICE_TYPES, NO_DEVICE_TYPES, is_tmpfs_option};
use super::{Run, There, absolute};
use mount_table::Mount;
use std::path::{Component, Path, PathBuf};
use subtree_model::{Attributes, Op};

impl Run<'_> {
    pub(super) fn mount_calls(&mut self, calls: &[MountCall]) -> Result<(), Fault> {
        let found = match calls.first() {
            Some(MountCall::Remount { target, known: true, .. }) => self.mounted_as(target),
            _ => None,
        };
        // Once, before the first: what that mounts may hide what a later path goes through.
        let calls: Vec<MountCall> = calls.iter().map(|call| self.with_real_paths(call.clone())).collect();
        calls.into_iter().try_for_each(|call| self.mount_call(call, found.as_ref()))
    }

    fn with_real_paths(&mut self, mut call: MountCall) -> MountCall {
        let paths = match &mut call {
            MountCall::New { target, .. }
            | MountCall::ChangeType { target, .. }
            | MountCall::Remount { target, .. } => vec![target],
            MountCall::Bind { source, target, .. } | MountCall::Move { source, target } => {
                vec![source, target]
            }
            MountCall::MoveBeneath { .. } => Vec::new(),
        };
        for path in paths {
            *path = self.real_path(std::mem::take(path));
        }
        call
    }

    /// A path as mount(8) gives it to the kernel: by names from the root, if it leads somewhere. So `/a/..` is `/`, which
    /// is not what covers the root.
    fn real_path(&mut self, path: PathBuf) -> PathBuf {
        let mut real = PathBuf::from("/");
        for component in path.components() {
            match component {
                Component::Normal(name) => {
                    real.push(name);
                    if self.there(&real).is_err() {
                        return path;
                    }
                }
                Component::ParentDir => drop(real.pop()),
                _ => {}
            }
        }
        // A file does not go by a name that ends as a directory's.
        let ends = path.as_os_str().as_encoded_bytes();
        let as_directory = ends.ends_with(b"/") || ends.ends_with(b"/.");
        if as_directory && self.there(&real) == Ok(There::NoDirectory) { path } else { real }
    }

    /// `found` is the mount that the line is about, if the tool looked for it in the mount table.
    fn mount_call(&mut self, call: MountCall, found: Option<&Mount>) -> Result<(), Fault> {
        let op = match call {
            MountCall::New { types, source, target, attributes, data } => {
                return self.new_mount(&types, &source, &target, attributes, &data);
            }
            MountCall::Bind { source, target, recursive } => Op::Bind { source, target, recursive },
            MountCall::Move { source, target } => Op::Move { source, target },
            MountCall::MoveBeneath { source, target } => Op::MoveBeneath { source, target },
            MountCall::ChangeType { target, to, recursive } => {
                let target = found.map_or(target, |row| row.mount_point.clone());
                Op::ChangeType { target, to, recursive }
            }
            MountCall::Remount { target, bind, asked, known: _ } => {
                let mut attributes = found.map_or(Attributes::default(), attributes_of);
                asked.iter().for_each(|(which, on)| which.set(&mut attributes, *on));
                let target = found.map_or(target, |row| row.mount_point.clone());
                Op::Remount { target, attributes, bind }
            }
        };
        self.call(&op)
    }

    /// The row that the tools find for a word: the latest at that place, or else the latest of that source.
    fn mounted_as(&self, word: &Path) -> Option<Mount> {
        let path = absolute(word);
        let rows = self.table().mounts;
        let by_place = rows.iter().rev().find(|row| row.mount_point == path);
        by_place.or_else(|| rows.iter().rev().find(|row| Path::new(&row.source) == word)).cloned()
    }

    fn new_mount(
        &mut self,
        types: &Types,
        source: &str,
        target: &Path,
        attributes: Attributes,
        data: &[String],
    ) -> Result<(), Fault> {
        let guessed = ["ext3".to_owned()];
        let types = match types {
            Types::Listed(types) => types.as_slice(),
            Types::Guessed => &guessed,
        };
        let mut result = Err(refused_by_tool("no file system type"));
        for fs_type in types {
            let op = Op::Mount {
                fs_type: fs_type.clone(),
                source: source.to_owned(),
                target: target.to_path_buf(),
                attributes,
            };
            result = match self.file_system_fault(fs_type, source, target, data) {
                Some(fault) => self.fails(call_text(&op), fault),
                None => self.call(&op),
            };
            if result.is_ok() {
                break;
            }
        }
        result
    }

    /// Why there is no such file system, after the target was found and before anything else is checked.
    fn file_system_fault(
        &mut self,
        fs_type: &str,
        source: &str,
        target: &Path,
        data: &[String],
    ) -> Option<Fault> {
        if let Err(refused) = self.there(target) {
            return Some(refused.into());
        }
        if fs_type == "tmpfs" {
            let bad = data.iter().find(|option| !is_tmpfs_option(option))?;
            return Some(errno("EINVAL", &format!("tmpfs has no option {bad}")));
        }
        if NO_DEVICE_TYPES.contains(&fs_type) || !self.simulation.known {
            return None;
        }
        if !DEVICE_TYPES.contains(&fs_type) {
            return Some(errno("ENODEV", &format!("no file system type is called {fs_type}")));
        }
        Some(match self.there(Path::new(source)) {
            Ok(_) => errno("ENOTBLK", "the source is not a block device"),
            Err(refused) => refused.into(),
        })
    }
}

/// As the mount table has them for whoever wants to keep them.
fn attributes_of(row: &Mount) -> Attributes {
    let has = |word: &str| row.options.split(',').any(|option| option == word);
    Attributes {
        read_only: has("ro") || row.super_options.split(',').any(|option| option == "ro"),
        no_suid: has("nosuid"),
        no_dev: has("nodev"),
        no_exec: has("noexec"),
    }
}
