//! Removing a folder without ever deleting what is mounted in it: the walk is by file descriptor, each step is
//! openat2(2) with `RESOLVE_NO_XDEV`, `RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS`, so that it ends at a mount
//! point before the file system behind it is touched (a dead FUSE mount cannot hang it), and no exchange of a
//! directory for a link can lead it elsewhere.

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A tree could not be removed whole.
#[derive(Debug, thiserror::Error)]
pub enum RemovalError {
    /// Something is mounted in it: what is behind is not ours to delete.
    #[error("{path} is a mount point: what is mounted there is not deleted")]
    Mounted {
        /// The mount point.
        path: PathBuf,
    },
    /// The kernel refused.
    #[error("cannot remove {path}")]
    Io {
        /// What.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

impl RemovalError {
    /// The path and an [`io::Error`], for errors of another shape.
    pub(crate) fn into_parts(self) -> (PathBuf, io::Error) {
        match self {
            RemovalError::Mounted { path } => (
                path,
                io::Error::new(
                    io::ErrorKind::ResourceBusy,
                    "a mount point: what is mounted there is not deleted",
                ),
            ),
            RemovalError::Io { path, source } => (path, source),
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            RemovalError::Mounted { path } => {
                Some(format!("see what it is with `findmnt {0}`, then `umount {0}`", path.display()))
            }
            RemovalError::Io { .. } => None,
        }
    }
}

/// How deep a tree may be: each level holds a file descriptor while the walk is below it.
const MAX_DEPTH: usize = 512;

/// Removes `path` with all below; that it is not there is fine.
///
/// # Errors
/// A mount point in the tree, or what the kernel says. The rest of the tree may be gone by then.
pub fn remove_tree(path: &Path) -> Result<(), RemovalError> {
    let io_error = |e: Errno| RemovalError::Io { path: path.to_owned(), source: e.into() };
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io_error(Errno::INVAL));
    };
    let name = c_name(name).ok_or_else(|| io_error(Errno::INVAL))?;
    let parent =
        match rustix::fs::open(parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(parent) => parent,
            Err(Errno::NOENT) => return Ok(()),
            Err(e) => return Err(io_error(e)),
        };
    remove_entry(&parent, &name, path, None, 0)
}

fn c_name(name: &OsStr) -> Option<CString> {
    CString::new(name.as_bytes()).ok()
}

fn remove_entry(
    parent: &impl AsFd,
    name: &CString,
    path: &Path,
    kind: Option<FileType>,
    depth: usize,
) -> Result<(), RemovalError> {
    let io_error = |e: Errno| match e {
        Errno::XDEV | Errno::BUSY => RemovalError::Mounted { path: path.to_owned() },
        e => RemovalError::Io { path: path.to_owned(), source: e.into() },
    };
    if depth > MAX_DEPTH {
        return Err(io_error(Errno::NAMETOOLONG));
    }
    if kind.is_none_or(|kind| kind != FileType::Directory) {
        // unlinkat(2) says EISDIR for a directory, so that no stat is needed first.
        match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(e) => return Err(io_error(e)),
        }
    }
    match open_directory(parent, name) {
        Ok(directory) => remove_children(&directory, path, depth)?,
        Err(Errno::NOENT) => return Ok(()),
        Err(e) => return Err(io_error(e)),
    }
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(io_error(e)),
    }
}

fn open_directory(parent: &impl AsFd, name: &CString) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_XDEV | ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    // EAGAIN: a rename or mount elsewhere raced with the walk (openat2(2)); bounded, since it is the caller's path.
    for _ in 0..64 {
        match rustix::fs::openat2(parent, name, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

fn remove_children(directory: &OwnedFd, path: &Path, depth: usize) -> Result<(), RemovalError> {
    let io_error = |e: Errno| RemovalError::Io { path: path.to_owned(), source: e.into() };
    let mut children = Vec::new();
    for entry in Dir::read_from(directory).map_err(io_error)? {
        let entry = entry.map_err(io_error)?;
        let name = entry.file_name().to_owned();
        if name.as_bytes() != b"." && name.as_bytes() != b".." {
            children.push((name, entry.file_type()));
        }
    }
    for (name, kind) in children {
        let child = path.join(OsStr::from_bytes(name.as_bytes()));
        let kind = (kind != FileType::Unknown).then_some(kind);
        remove_entry(directory, &name, &child, kind, depth + 1)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_tree_goes_and_what_links_point_to_stays() {
        let dir = tempfile::tempdir().unwrap();
        let kept = dir.path().join("kept");
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join("file"), "x").unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("a/b/c")).unwrap();
        fs::write(tree.join("a/b/file"), "x").unwrap();
        std::os::unix::fs::symlink(&kept, tree.join("a/link")).unwrap();
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
        assert!(kept.join("file").exists());
        remove_tree(&tree).unwrap();
    }

    #[test]
    fn a_mount_point_ends_the_walk_before_what_is_behind_it() {
        // /proc is a mount on every machine where these tests can run; nothing in it is opened.
        let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        assert_eq!(open_directory(&root, &CString::new("proc").unwrap()).unwrap_err(), Errno::XDEV);
    }
}
