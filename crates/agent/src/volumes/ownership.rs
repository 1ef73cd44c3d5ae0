//! fsGroup: what a volume has is given to the pod's group, as the kubelet does (`pkg/volume/volume_linux.go`
//! `SetVolumeOwnership`): the group may read and write every file (only read where the volume is only read), and
//! what is made in a directory later is the group's too (setgid).
//!
//! The walk is by file descriptor: no link is followed, no mount is entered, and what is exchanged meanwhile is not
//! changed elsewhere.

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use std::ffi::{CStr, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Directories deeper than this are not walked: each level holds a descriptor.
const DEPTH_MAX: usize = 256;

const READ_WRITE: u32 = 0o660;
const READ_ONLY: u32 = 0o440;
const ENTER: u32 = 0o110;
const SET_GID: u32 = 0o2000;

/// To whom a volume is given, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ownership {
    /// `fsGroup`
    pub(super) group: u32,
    /// The volume is only read.
    pub(super) read_only: bool,
    /// Leave it where the volume's root is right already: `fsGroupChangePolicy: OnRootMismatch`.
    pub(super) only_if_root_differs: bool,
}

impl Ownership {
    /// Gives the volume at `root`, a directory or file, with all that is in it; the root last, so that a walk that
    /// was cut off is done again.
    ///
    /// # Errors
    /// With the path that could not be changed.
    pub(super) fn give(&self, root: &Path) -> Result<(), (PathBuf, io::Error)> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |errno: Errno| (path, io::Error::from(errno))
        };
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let place = rustix::fs::open(root, flags, Mode::empty()).map_err(failed(root))?;
        let stat = rustix::fs::fstat(&place).map_err(failed(root))?;
        if self.only_if_root_differs && self.has(&stat) {
            return Ok(());
        }
        self.give_one(place.as_fd(), &stat, root, 0)
    }

    /// Whether a place is the group's, with all that the group may do there.
    fn has(&self, stat: &Stat) -> bool {
        let wanted = self.bits(stat);
        stat.st_gid == self.group && stat.st_mode & wanted == wanted
    }

    fn bits(&self, stat: &Stat) -> u32 {
        let bits = if self.read_only { READ_ONLY } else { READ_WRITE };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => bits | ENTER | SET_GID,
            _ => bits,
        }
    }

    fn give_one(
        &self,
        place: BorrowedFd<'_>,
        stat: &Stat,
        path: &Path,
        depth: usize,
    ) -> Result<(), (PathBuf, io::Error)> {
        let failed = |errno: Errno| (path.to_owned(), io::Error::from(errno));
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            self.give_below(place, path, depth)?;
        }
        let group = Some(Gid::from_raw(self.group));
        rustix::fs::chownat(place, c"", None, group, AtFlags::EMPTY_PATH).map_err(failed)?;
        if kind == FileType::Symlink {
            return Ok(());
        }
        // Through /proc, since fchmod(2) takes no O_PATH: the descriptor itself, not what is at its path by now.
        let mode = Mode::from_raw_mode(stat.st_mode & 0o7777 | self.bits(stat));
        let itself = format!("/proc/self/fd/{}", place.as_raw_fd());
        rustix::fs::chmodat(CWD, itself, mode, AtFlags::empty()).map_err(failed)
    }

    fn give_below(
        &self,
        directory: BorrowedFd<'_>,
        path: &Path,
        depth: usize,
    ) -> Result<(), (PathBuf, io::Error)> {
        let failed = |errno: Errno| (path.to_owned(), io::Error::from(errno));
        if depth >= DEPTH_MAX {
            let text = format!("more than {DEPTH_MAX} directories in one another");
            return Err((path.to_owned(), io::Error::other(text)));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(directory, c".", flags, Mode::empty()).map_err(failed)?;
        for entry in Dir::read_from(&opened).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let below = path.join(OsStr::from_bytes(name.to_bytes()));
            match hold(opened.as_fd(), name) {
                Ok((place, stat)) => self.give_one(place.as_fd(), &stat, &below, depth + 1)?,
                // Somebody's mount, or gone meanwhile.
                Err(Errno::XDEV | Errno::NOENT) => {}
                Err(errno) => return Err((below, errno.into())),
            }
        }
        Ok(())
    }
}

/// Holds an entry of a directory that is on the same mount, a link itself.
fn hold(directory: BorrowedFd<'_>, name: &CStr) -> Result<(OwnedFd, Stat), Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let place = rustix::fs::openat2(directory, name, flags, Mode::empty(), resolve)?;
    let stat = rustix::fs::fstat(&place)?;
    Ok((place, stat))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    fn mode_and_group(path: &Path) -> (u32, u32) {
        let metadata = path.symlink_metadata().unwrap();
        (metadata.mode() & 0o7777, metadata.gid())
    }

    /// A group that we may give files to: any as root, else our own.
    fn group() -> u32 {
        if rustix::process::geteuid().is_root() { 4242 } else { rustix::process::getegid().as_raw() }
    }

    /// A directory with a file, a directory with a file, and a link that leads out; and what it leads to.
    fn tree() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
        std::fs::create_dir_all(root.join("sub")).unwrap();
        std::fs::write(&outside, "").unwrap();
        for name in ["file", "sub/file"] {
            std::fs::write(root.join(name), "").unwrap();
            std::fs::set_permissions(root.join(name), PermissionsExt::from_mode(0o4700)).unwrap();
        }
        for path in [&root, &root.join("sub")] {
            std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
        }
        std::fs::set_permissions(&outside, PermissionsExt::from_mode(0o600)).unwrap();
        symlink("../outside", root.join("link")).unwrap();
        (dir, root, outside)
    }

    #[test]
    fn everything_is_the_groups_and_nothing_outside() {
        let (_dir, root, outside) = tree();
        let before = mode_and_group(&outside);
        let ownership = Ownership { group: group(), read_only: false, only_if_root_differs: false };
        ownership.give(&root).unwrap();
        assert_eq!(mode_and_group(&root), (0o2775, group()));
        assert_eq!(mode_and_group(&root.join("sub")), (0o2775, group()));
        assert_eq!(mode_and_group(&root.join("file")), (0o4760, group()));
        assert_eq!(mode_and_group(&root.join("sub/file")), (0o4760, group()));
        assert_eq!(mode_and_group(&root.join("link")).1, group());
        assert_eq!(mode_and_group(&outside), before);
    }

    #[test]
    fn what_is_only_read_is_only_read_by_the_group() {
        let (_dir, root, _) = tree();
        std::fs::set_permissions(root.join("file"), PermissionsExt::from_mode(0o400)).unwrap();
        let ownership = Ownership { group: group(), read_only: true, only_if_root_differs: false };
        ownership.give(&root).unwrap();
        assert_eq!(mode_and_group(&root.join("file")), (0o440, group()));
        assert_eq!(mode_and_group(&root.join("sub")), (0o2755, group()));
    }

    #[test]
    fn a_root_that_is_right_is_left_alone_on_request() {
        let (_dir, root, _) = tree();
        let ownership = Ownership { group: group(), read_only: false, only_if_root_differs: true };
        ownership.give(&root).unwrap();
        std::fs::set_permissions(root.join("file"), PermissionsExt::from_mode(0o600)).unwrap();
        ownership.give(&root).unwrap();
        assert_eq!(mode_and_group(&root.join("file")), (0o600, group()), "the root is right");
        std::fs::set_permissions(&root, PermissionsExt::from_mode(0o775)).unwrap();
        ownership.give(&root).unwrap();
        assert_eq!(mode_and_group(&root.join("file")), (0o660, group()), "the root has no setgid");
    }

    #[test]
    fn what_is_very_deep_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let mut at = rustix::fs::open(dir.path(), OFlags::PATH, Mode::empty()).unwrap();
        for _ in 0..300 {
            rustix::fs::mkdirat(&at, c"d", Mode::from_raw_mode(0o700)).unwrap();
            at = rustix::fs::openat(&at, c"d", OFlags::PATH, Mode::empty()).unwrap();
        }
        let group = rustix::process::getegid().as_raw();
        let ownership = Ownership { group, read_only: false, only_if_root_differs: false };
        let (_, error) = ownership.give(dir.path()).unwrap_err();
        assert!(error.to_string().contains("directories in one another"), "{error}");
    }
}
