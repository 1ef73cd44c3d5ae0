//! openat2(2), mkdir(2), rmdir(2), unlink(2), rename(2): what they do to mounts, and to the names that mounts hang
//! on.

use crate::effect::{Change, Effects};
use crate::errno::check;
use crate::files::{Kind, NAME_MAX_BYTES};
use crate::mounts::{DentryIx, NamespaceIx, attribute};
use crate::unmount::How;
use crate::walk::{Links, Start};
use crate::world::{Held, Place, TaskId, World};
use crate::{Handle, Missing, Node, Refused, RuleId};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

impl Missing {
    fn kind(self) -> Kind {
        match self {
            Missing::Directory => Kind::Directory,
            Missing::File => Kind::File,
        }
    }
}

/// Whether what a path ends in is no name: at the root, or dots.
fn is_nameless(name: &[u8]) -> bool {
    matches!(name, b"" | b"." | b"..")
}

impl World {
    /// The names in a directory, and whether each is a directory: `None` if what the file system holds is not known.
    /// No call of the kernel's: nobody has looked into it.
    ///
    /// # Errors
    /// The path leads nowhere, or to no directory.
    pub fn names(&mut self, task: TaskId, path: &Path) -> Result<Option<Vec<(OsString, bool)>>, Refused> {
        let place = self.walk_task(task, path)?;
        let kind = &self.files[place.dentry].kind;
        check(matches!(kind, Kind::Directory | Kind::Assumed), RuleId::PathNotDirectory)?;
        if !self.files[self.files[place.dentry].file_system].known {
            return Ok(None);
        }
        let names = self
            .files
            .names_in(place.dentry)
            .map(|(name, kind)| (OsStr::from_bytes(name).to_owned(), matches!(kind, Kind::Directory)));
        Ok(Some(names.collect()))
    }

    /// Whether two paths lead to one file or directory, whatever mounts show it; not if one of them leads nowhere. No call of
    /// the kernel's, but what tools ask by the numbers of device and inode.
    pub fn is_same_file(&mut self, task: TaskId, one: &Path, other: &Path) -> bool {
        match (self.walk_task(task, one), self.walk_task(task, other)) {
            (Ok(one), Ok(other)) => one.dentry == other.dentry,
            _ => false,
        }
    }

    /// Tells the world of a symbolic link that exists: in a file system whose contents are assumed, every name is
    /// taken for what is needed unless this says otherwise. `path` is walked from the first task's root.
    ///
    /// # Errors
    /// As symlink(2).
    pub fn add_link(&mut self, path: &Path, target: &Path) -> Result<(), Refused> {
        let start = Start::of(self.task(World::FIRST_TASK)?);
        let (directory, name) = self.walk_to_parent(start, path, Links::Follow)?;
        check(!is_nameless(name), RuleId::PathExists)?;
        check(self.files.existing(directory.dentry, name).is_none(), RuleId::PathExists)?;
        self.files.create(directory.dentry, name, Kind::Link(target.as_os_str().as_bytes().into()))?;
        Ok(())
    }

    pub(crate) fn check_free(&self, handle: Handle) -> Result<(), Refused> {
        check(handle != Handle::HOST && !self.handles.contains_key(&handle), RuleId::HandleInUse)
    }

    /// openat2(2) with `O_PATH` below a handle, making what is missing.
    pub(crate) fn open_below(
        &mut self,
        root: Place,
        path: &Path,
        follow: bool,
        missing: Option<Missing>,
        out: Handle,
        effects: &mut Effects,
    ) -> Result<(), Refused> {
        self.check_free(out)?;
        let links = if follow { Links::Follow } else { Links::Refuse };
        let place = if path.as_os_str().is_empty() {
            root
        } else {
            match (self.walk(Start::below(root), path, links), missing) {
                (Err(refused), Some(missing)) if refused.rule == RuleId::PathMissing => {
                    self.make_path(root, path, links, missing, effects)?
                }
                (walked, _) => walked?,
            }
        };
        self.open(out, Held::Place { place, owns_tree: false });
        effects.push(RuleId::Opened, Change::Other);
        Ok(())
    }

    /// Makes a path below `root`, name by name; the last as `missing` says.
    fn make_path(
        &mut self,
        root: Place,
        path: &Path,
        links: Links,
        missing: Missing,
        effects: &mut Effects,
    ) -> Result<Place, Refused> {
        let bytes = path.as_os_str().as_bytes();
        let names: Vec<&[u8]> = bytes.split(|&byte| byte == b'/').filter(|name| !name.is_empty()).collect();
        check(names.iter().all(|name| name.len() <= NAME_MAX_BYTES), RuleId::PathTooLong)?;
        let mut place = root;
        for (index, &name) in names.iter().enumerate() {
            let next = Path::new(std::ffi::OsStr::from_bytes(name));
            // A link may lead anywhere below the root; what it leads to is walked from there.
            let start = Start { root, directory: place };
            place = match self.walk(start, next, links) {
                Err(refused) if refused.rule == RuleId::PathMissing => {
                    check(self.files.existing(place.dentry, name).is_none(), RuleId::PathMissing)?;
                    let kind = if index + 1 < names.len() { Kind::Directory } else { missing.kind() };
                    let dentry = self.make_entry(place, name, kind, effects)?;
                    Place { mount: place.mount, dentry }
                }
                walked => walked?,
            };
        }
        Ok(place)
    }

    /// Whether the mount or its file system keeps names from being changed in a directory.
    fn is_read_only(&self, directory: Place) -> bool {
        let mount = self.mounts[directory.mount].attributes & attribute::READ_ONLY != 0;
        mount || self.files.is_read_only(directory.dentry)
    }

    fn make_entry(
        &mut self,
        directory: Place,
        name: &[u8],
        kind: Kind,
        effects: &mut Effects,
    ) -> Result<DentryIx, Refused> {
        let read_only = self.is_read_only(directory);
        check(!read_only, RuleId::PathReadOnly)?;
        let dentry = self.files.create(directory.dentry, name, kind)?;
        effects.push(RuleId::FileMade, Change::Other);
        Ok(dentry)
    }

    /// mknodat(2), mkdirat(2) or symlinkat(2) below a handle. In a file system whose contents are assumed,
    /// something of that name may turn out to exist on a real machine.
    pub(crate) fn make_node(
        &mut self,
        root: Place,
        path: &Path,
        node: &Node,
        effects: &mut Effects,
    ) -> Result<(), Refused> {
        let (directory, name) = self.walk_to_parent(Start::below(root), path, Links::Refuse)?;
        let kind = match node {
            Node::Directory { .. } => Kind::Directory,
            Node::Symlink { target } => Kind::Link(target.as_os_str().as_bytes().into()),
            Node::File { .. } | Node::CharDevice { .. } | Node::BlockDevice { .. } => Kind::File,
        };
        self.make_new(directory, name, kind, effects)
    }

    fn make_new(
        &mut self,
        directory: Place,
        name: &[u8],
        kind: Kind,
        effects: &mut Effects,
    ) -> Result<(), Refused> {
        check(!is_nameless(name), RuleId::PathExists)?;
        check(self.files.existing(directory.dentry, name).is_none(), RuleId::PathExists)?;
        self.make_entry(directory, name, kind, effects).map(|_| ())
    }

    /// mkdir(2) or creat(2).
    pub(crate) fn create(
        &mut self,
        task: TaskId,
        path: &Path,
        kind: Missing,
        effects: &mut Effects,
    ) -> Result<(), Refused> {
        let start = Start::of(self.task(task)?);
        let (directory, name) = self.walk_to_parent(start, path, Links::Follow)?;
        self.make_new(directory, name, kind.kind(), effects)
    }

    /// An existing last name, and whether the task's namespace has something mounted on it. `nameless` says what is
    /// wrong with a path that has no last name.
    fn find_entry(
        &mut self,
        task: TaskId,
        path: &Path,
        nameless: impl Fn(&[u8]) -> RuleId,
    ) -> Result<(DentryIx, bool), Refused> {
        let acting = self.task(task)?;
        let (start, namespace) = (Start::of(acting), acting.namespace);
        let (directory, name) = self.walk_to_parent(start, path, Links::Follow)?;
        check(!is_nameless(name), nameless(name))?;
        let read_only = self.is_read_only(directory);
        check(!read_only, RuleId::PathReadOnly)?;
        let dentry = self.files.look_up(directory.dentry, name)?;
        Ok((dentry, self.is_mount_point_in(dentry, namespace)))
    }

    fn is_mount_point_in(&self, dentry: DentryIx, namespace: NamespaceIx) -> bool {
        let mut mount = self.files[dentry].first_mount;
        while let Some(at) = mount.get() {
            if self.mounts[at].namespace == namespace {
                return true;
            }
            mount = self.mounts[at].next_on_dentry;
        }
        false
    }

    /// rmdir(2).
    pub(crate) fn remove_directory(
        &mut self,
        task: TaskId,
        path: &Path,
        effects: &mut Effects,
    ) -> Result<(), Refused> {
        let nameless = |name: &[u8]| match name {
            b"." => RuleId::PathLastDot,
            b".." => RuleId::DirectoryNotEmpty,
            _ => RuleId::PathNoName,
        };
        let (dentry, is_mount_point) = self.find_entry(task, path, nameless)?;
        let is_directory = matches!(self.files[dentry].kind, Kind::Directory | Kind::Assumed);
        check(is_directory, RuleId::PathNotDirectory)?;
        check(!is_mount_point, RuleId::MountPointInUse)?;
        check(self.files[dentry].entries == 0, RuleId::DirectoryNotEmpty)?;
        self.remove(dentry, effects);
        Ok(())
    }

    /// unlink(2).
    pub(crate) fn unlink(&mut self, task: TaskId, path: &Path, effects: &mut Effects) -> Result<(), Refused> {
        let (dentry, is_mount_point) = self.find_entry(task, path, |_| RuleId::IsDirectory)?;
        check(self.files[dentry].kind != Kind::Directory, RuleId::IsDirectory)?;
        check(!is_mount_point, RuleId::MountPointInUse)?;
        self.remove(dentry, effects);
        Ok(())
    }

    fn remove(&mut self, dentry: DentryIx, effects: &mut Effects) {
        self.files.remove(dentry);
        effects.push(RuleId::FileRemoved, Change::Other);
        self.detach_all(dentry, effects);
    }

    /// Detaches what any namespace has mounted on a name that is gone, the latest first, without propagation.
    fn detach_all(&mut self, dentry: DentryIx, effects: &mut Effects) {
        while let Some(mount) = self.files[dentry].first_mount.get() {
            if self.mounts[mount].namespace.is_some() {
                let how = How::without_propagation(RuleId::RemoveDetaches, true);
                self.unmount_tree(mount, how, effects);
            }
            // What was unmounted before, and only hung on for whoever holds it, is let go too.
            if self.files[dentry].first_mount == mount {
                self.displace(mount);
                self.drop_if_unused(mount);
            }
        }
    }

    /// rename(2).
    pub(crate) fn rename(
        &mut self,
        task: TaskId,
        from: &Path,
        to: &Path,
        effects: &mut Effects,
    ) -> Result<(), Refused> {
        let acting = self.task(task)?;
        let (start, namespace) = (Start::of(acting), acting.namespace);
        let (from_directory, from_name) = self.walk_to_parent(start, from, Links::Follow)?;
        let (to_directory, to_name) = self.walk_to_parent(start, to, Links::Follow)?;
        check(from_directory.mount == to_directory.mount, RuleId::PathAcrossMounts)?;
        check(!is_nameless(from_name) && !is_nameless(to_name), RuleId::PathNoName)?;
        let read_only = self.is_read_only(from_directory);
        check(!read_only, RuleId::PathReadOnly)?;
        let moved = self.files.look_up(from_directory.dentry, from_name)?;
        check(!self.files.is_below(to_directory.dentry, moved), RuleId::RenameIntoItself)?;
        let replaced = self.files.existing(to_directory.dentry, to_name);
        if replaced == Some(moved) {
            return Ok(());
        }
        check(self.files.has_room(), RuleId::TooLarge)?;
        check(to_name.len() <= NAME_MAX_BYTES, RuleId::PathTooLong)?;
        check(!self.files[to_directory.dentry].removed, RuleId::PathMissing)?;
        if let Some(replaced) = replaced {
            self.check_replace(moved, replaced, from_directory.dentry)?;
        }
        let in_use = self.is_mount_point_in(moved, namespace)
            || replaced.is_some_and(|replaced| self.is_mount_point_in(replaced, namespace));
        check(!in_use, RuleId::MountPointInUse)?;
        check(replaced.is_none_or(|at| self.files[at].entries == 0), RuleId::DirectoryNotEmpty)?;
        if let Some(replaced) = replaced {
            self.files.remove(replaced);
        }
        self.files.rename(moved, to_directory.dentry, to_name);
        effects.push(RuleId::RenameCarries, Change::Other);
        if let Some(replaced) = replaced {
            self.detach_all(replaced, effects);
        }
        Ok(())
    }

    fn check_replace(&self, moved: DentryIx, replaced: DentryIx, from: DentryIx) -> Result<(), Refused> {
        check(!self.files.is_below(from, replaced), RuleId::DirectoryNotEmpty)?;
        if self.files.differ_in_type(moved, replaced) {
            let rule = match self.files[moved].kind {
                Kind::Directory => RuleId::PathNotDirectory,
                _ => RuleId::IsDirectory,
            };
            return Err(rule.into());
        }
        Ok(())
    }
}
