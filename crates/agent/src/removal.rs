//! Removing a folder without ever deleting what is mounted in it: the walk of [`runtime::removal`] is by file
//! descriptor and ends at a mount point before the file system behind it is touched (a dead FUSE mount cannot hang
//! it), and no exchange of a directory for a link can lead it elsewhere. Here its refusals get words.

use rustix::io::Errno;
use std::io;
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
            RemovalError::Mounted { path } => {
                let text = "a mount point: what is mounted there is not deleted";
                (path, io::Error::new(io::ErrorKind::ResourceBusy, text))
            }
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

/// Removes `path`, a file or a directory with all below; that it is not there is fine.
///
/// # Errors
/// A mount point in the tree, or what the kernel says. The rest of the tree may be gone by then.
pub fn remove_tree(path: &Path) -> Result<(), RemovalError> {
    let removed =
        runtime::fault::point("tree.remove").and_then(|()| match runtime::removal::remove_tree(path) {
            Err(Errno::NOTDIR) => rustix::fs::unlink(path),
            other => other,
        });
    match removed {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::XDEV | Errno::BUSY) => Err(RemovalError::Mounted { path: mount_below(path) }),
        Err(errno) => Err(RemovalError::Io { path: path.to_owned(), source: errno.into() }),
    }
}

/// The first mount at or below a path; the path itself where the table cannot tell.
fn mount_below(path: &Path) -> PathBuf {
    let table = observe::read_own_mounts().unwrap_or_default();
    let found = table.mounts.iter().find(|mount| mount.mount_point.starts_with(path));
    found.map_or_else(|| path.to_owned(), |mount| mount.mount_point.clone())
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
        remove_tree(&kept.join("file")).unwrap();
        assert!(!kept.join("file").exists());
    }
}
