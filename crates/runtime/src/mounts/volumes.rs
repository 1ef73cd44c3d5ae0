//! The few mounts that volumes need on the host: a directory shared on itself, a tmpfs, and taking both away
//! again. All through [`execute`](super::execute()); what is made is planned by `explain::volume`.

use super::{ExecuteError, MountError, execute, open_on_host, read_own_table};
use explain::volume::{OF_IMAGE_VOLUMES, change, file_system, lower_directories};
use mount_table::{Mount, MountTable};
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use subtree_model::{Attributes, Handle, Op, PropagationType};

/// More mounts than this below one volume are not detached in one go.
const DETACH_ROUNDS_MAX: usize = 100_000;

/// Binds a directory (or file) on itself as a shared mount with a peer group of its own: containers can then
/// share what is mounted below, whatever the propagation of the mount that carries it. With `recursive` the
/// mounts that are already below come along and become shared too; else they are hidden.
pub fn share_directory(path: &Path, recursive: bool) -> Result<(), ExecuteError> {
    execute(&explain::volume::share_directory(path, recursive)).map(drop)
}

/// Mounts a tmpfs with these options (`size=64m`, `mode=1777`), nosuid and nodev; shared if asked.
pub fn mount_tmpfs(
    path: &Path,
    options: &[(String, Option<String>)],
    shared: bool,
) -> Result<(), ExecuteError> {
    execute(&explain::volume::tmpfs(path, options, shared)).map(drop)
}

/// Mounts a file system of huge pages of so many bytes, writable by everybody; shared if asked.
pub fn mount_huge_pages(path: &Path, page_bytes: u64, shared: bool) -> Result<(), ExecuteError> {
    let page = format!("{}K", page_bytes / 1024);
    let options =
        [("pagesize", page), ("mode", "0777".to_owned())].map(|(key, value)| (key.to_owned(), Some(value)));
    let attributes = Attributes { no_suid: true, no_dev: true, ..Attributes::NONE };
    execute(&file_system("hugetlbfs", options.into(), attributes, path, shared)).map(drop)
}

/// Mounts the layers of an image, topmost first and at least two, one over the other, read-only and noexec as Kubernetes
/// has image volumes; shared if asked.
pub fn mount_layers(layers: &[PathBuf], path: &Path, shared: bool) -> Result<(), ExecuteError> {
    execute(&file_system("overlay", lower_directories(layers), OF_IMAGE_VOLUMES, path, shared)).map(drop)
}

/// Binds `source` on `target`, without the mounts below it; it stays a peer of what it was copied from, as a
/// subPath of Kubernetes does. No symbolic link is followed in either path.
pub fn bind(source: &Path, target: &Path) -> Result<(), ExecuteError> {
    execute(&explain::volume::bind(source, target)).map(drop)
}

/// Takes away the one mount that shows at `path`, with what is mounted on it: the opposite of [`bind`] and
/// [`share_directory`]. Made private first, all of it, so that nothing goes from the places it shared with.
pub fn detach_bind(path: &Path) -> Result<(), ExecuteError> {
    let at = Handle(1);
    execute(&[
        open_on_host(path, at),
        change(at, true, PropagationType::Private),
        Op::Unmount { at, detach: true },
    ])
    .map(drop)
}

/// Takes away all mounts that are stacked at `path`, with what is mounted on them: for a place of which it is known that
/// nothing else is below it, since the mount table, which is as long as the machine has mounts, is not looked at.
pub fn detach_all_at(path: &Path) -> Result<(), DetachError> {
    for _ in 0..DETACH_ROUNDS_MAX {
        match detach_bind(path) {
            Ok(()) => {}
            // No mount point, or nothing at all.
            Err(error) if matches!(error.errno, Errno::INVAL | Errno::NOENT) => return Ok(()),
            Err(source) => return Err(DetachError::Execute { path: path.to_path_buf(), source }),
        }
    }
    Err(DetachError::NeverEmpty { path: path.to_path_buf() })
}

/// What [`detach_tree`] took away, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Detached {
    /// Mount points, the last mounted first.
    pub mount_points: Vec<PathBuf>,
}

/// Why a tree could not be detached.
#[derive(Debug, thiserror::Error)]
pub enum DetachError {
    /// The mount table could not be read.
    #[error(transparent)]
    Table(#[from] MountError),
    /// The kernel refused.
    #[error("detach what is mounted below {}", path.display())]
    Execute {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: ExecuteError,
    },
    /// Mounts keep appearing as fast as they are detached.
    #[error("mounts keep appearing below {}", path.display())]
    NeverEmpty {
        /// The directory.
        path: PathBuf,
    },
}

/// Detaches every mount at or below `path`, stacked ones too, the last mounted first, one by one and lazily.
/// Only mounts without children are detached, and a mount that has a peer or slave elsewhere in this
/// namespace (a recursive bind's) is made private before anything below it goes: so nothing is torn out of
/// the original. Copies that propagation made in containers go with what they were copied from.
pub fn detach_tree(path: &Path) -> Result<Detached, DetachError> {
    let mut detached = Detached::default();
    // Nothing can be mounted on or below what is not there.
    if std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
        return Ok(detached);
    }
    let fail = |path: &Path| {
        let path = path.to_path_buf();
        move |source| DetachError::Execute { path, source }
    };
    for _ in 0..DETACH_ROUNDS_MAX {
        let table = read_own_table()?;
        let inside = |mount: &&Mount| mount.mount_point.starts_with(path);
        let is_leaf = |mount: &&Mount| table.children(mount.id).next().is_none();
        let Some(leaf) = table.mounts.iter().filter(inside).rfind(is_leaf) else { return Ok(detached) };
        if let Some(parent) = table.get(leaf.parent).filter(inside)
            && would_tear(parent, &table, path)
        {
            make_private(&parent.mount_point).map_err(fail(&parent.mount_point))?;
        }
        detach_topmost(&leaf.mount_point).map_err(fail(&leaf.mount_point))?;
        detached.mount_points.push(leaf.mount_point.clone());
    }
    Err(DetachError::NeverEmpty { path: path.to_path_buf() })
}

/// Whether an unmount on `parent` would reach another place of this namespace that is not below `path`. A
/// parent that is covered cannot be opened by its path, and is left as it is: what covers it was mounted after
/// the bind, and so came to those other places by propagation too.
fn would_tear(parent: &Mount, table: &MountTable, path: &Path) -> bool {
    let Some(group) = parent.propagation.shared else { return false };
    let visible = table.topmost_at(&parent.mount_point).is_some_and(|top| top.id == parent.id);
    let receives =
        |mount: &Mount| mount.propagation.shared == Some(group) || mount.propagation.master == Some(group);
    visible && table.mounts.iter().any(|mount| receives(mount) && !mount.mount_point.starts_with(path))
}

/// Makes the mount that shows at `path` private.
fn make_private(path: &Path) -> Result<(), ExecuteError> {
    let at = Handle(1);
    execute(&[open_on_host(path, at), change(at, false, PropagationType::Private)]).map(drop)
}

/// Detaches what shows at a mount point.
fn detach_topmost(path: &Path) -> Result<(), ExecuteError> {
    let at = Handle(1);
    let result = execute(&[open_on_host(path, at), Op::Unmount { at, detach: true }]);
    match result {
        // Gone meanwhile, with a peer's unmount.
        Err(error) if matches!(error.errno, Errno::INVAL | Errno::NOENT) => Ok(()),
        other => other.map(drop),
    }
}
