//! subPath: one directory or file of a volume instead of its root.
//!
//! The place is resolved once, below the volume and never out of it (openat2(2) with `RESOLVE_BENEATH`), whatever
//! links a container has put there; what was resolved is then bound, not recursively, to a path of the pod's own,
//! once a pod and not once a container start. So the runtime gets a path that no container can exchange.
//! As in Kubernetes (`pkg/volume/util/subpath/subpath_linux.go`), what is mounted below the volume before is not
//! seen through it, and what is mounted later on a shared volume is.

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Why a subPath could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum SubPathError {
    /// It leads out of the volume (through a symbolic link or `..`).
    #[error("subPath {sub_path} leads out of its volume {volume}")]
    Escapes {
        /// The volume's directory.
        volume: PathBuf,
        /// The subPath.
        sub_path: PathBuf,
    },
    /// The kernel refused.
    #[error("cannot {action} subPath {sub_path} of {volume}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// The volume's directory.
        volume: PathBuf,
        /// The subPath.
        sub_path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// It was exchanged between being resolved and being bound.
    #[error("subPath {sub_path} of {volume} was exchanged while it was bound")]
    Exchanged {
        /// The volume's directory.
        volume: PathBuf,
        /// The subPath.
        sub_path: PathBuf,
    },
    /// It could not be bound.
    #[error("cannot bind subPath to {target}")]
    Bind {
        /// The pod's own path for it.
        target: PathBuf,
        /// The operation that failed.
        #[source]
        source: runtime::mounts::ExecuteError,
    },
}

impl SubPathError {
    /// The kubelet's words, which do not say why.
    pub fn kubelet_text(&self, volume: &str, container: &str) -> String {
        let what = match self {
            SubPathError::Io { action: "make", .. } => "create subPath directory",
            _ => "prepare subPath",
        };
        format!("failed to {what} for volumeMount {volume:?} of container {container:?}")
    }
}

/// A subPath to prepare.
#[derive(Debug, Clone, Copy)]
pub struct SubPath<'a> {
    /// The volume's directory.
    pub volume: &'a Path,
    /// Relative, without `..`.
    pub sub_path: &'a Path,
    /// Where it is bound: `<pod>/volume-subpaths/<volume>/<container>/<index>`.
    pub target: &'a Path,
}

/// Makes the subPath where it is missing (a directory with the volume's mode) and binds it.
///
/// Steps: 1. resolve below the volume, making what is missing; 2. make the target, a directory or a file as the
/// source is; 3. bind; 4. see that what is bound is what was resolved.
///
/// # Errors
/// It leads out of the volume, cannot be made, or was exchanged meanwhile.
pub fn prepare(request: &SubPath<'_>) -> Result<(), SubPathError> {
    let place = resolve(request)?;
    let wanted = identity(&place).map_err(|e| request.error("look at", e))?;
    if bound_to(request.target) == Some(wanted) {
        return Ok(());
    }
    let bind_error = |source| SubPathError::Bind { target: request.target.to_owned(), source };
    if is_mount_point(request.target) {
        runtime::mounts::detach_bind(request.target).map_err(bind_error)?;
    }
    make_target(request, &place)?;
    let path = path_of(&place).map_err(|e| request.error("name", e))?;
    runtime::mounts::bind(&path, request.target).map_err(bind_error)?;
    // The bind walked a path again; a link cannot be in it (it refuses links), but a directory could be another.
    if bound_to(request.target) == Some(wanted) {
        return Ok(());
    }
    runtime::mounts::detach_bind(request.target).map_err(bind_error)?;
    Err(SubPathError::Exchanged { volume: request.volume.to_owned(), sub_path: request.sub_path.to_owned() })
}

impl SubPath<'_> {
    fn error(&self, action: &'static str, errno: Errno) -> SubPathError {
        let (volume, sub_path) = (self.volume.to_owned(), self.sub_path.to_owned());
        match errno {
            Errno::XDEV | Errno::LOOP => SubPathError::Escapes { volume, sub_path },
            errno => SubPathError::Io { action, volume, sub_path, source: errno.into() },
        }
    }
}

fn resolve(request: &SubPath<'_>) -> Result<OwnedFd, SubPathError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let volume = rustix::fs::open(request.volume, flags, Mode::empty())
        .map_err(|e| request.error("open the volume of", e))?;
    match open_beneath(&volume, request.sub_path) {
        Err(Errno::NOENT) => make_beneath(request, &volume),
        other => other.map_err(|e| request.error("open", e)),
    }
}

/// Opens with `O_PATH` what a relative path leads to, links followed, never out of `root`.
fn open_beneath(root: &impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..64 {
        // EAGAIN: a rename or mount elsewhere on the machine raced with a `..` in a link (openat2(2)).
        match rustix::fs::openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

/// Makes the missing directories of the path, each in the parent that was opened before.
fn make_beneath(request: &SubPath<'_>, volume: &OwnedFd) -> Result<OwnedFd, SubPathError> {
    let error = |e| request.error("make", e);
    let mode = Mode::from_raw_mode(rustix::fs::fstat(volume).map_err(error)?.st_mode & 0o7777);
    let mut parent = open_beneath(volume, Path::new(".")).map_err(error)?;
    let mut so_far = PathBuf::new();
    for component in request.sub_path.iter() {
        so_far.push(component);
        parent = match open_beneath(volume, &so_far) {
            Err(Errno::NOENT) => {
                match rustix::fs::mkdirat(&parent, component, mode) {
                    Ok(()) => set_mode(&parent, component, mode).map_err(error)?,
                    // Somebody else made it meanwhile.
                    Err(Errno::EXIST) => {}
                    Err(e) => return Err(error(e)),
                }
                open_beneath(volume, &so_far).map_err(error)?
            }
            other => other.map_err(error)?,
        };
    }
    Ok(parent)
}

/// The mode without the umask, on the directory just made (not on a link put in its place).
fn set_mode(parent: &OwnedFd, name: &std::ffi::OsStr, mode: Mode) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    rustix::fs::fchmod(made, mode)
}

fn make_target(request: &SubPath<'_>, place: &OwnedFd) -> Result<(), SubPathError> {
    let failed = |source| SubPathError::Io {
        action: "make the target of",
        volume: request.volume.to_owned(),
        sub_path: request.sub_path.to_owned(),
        source,
    };
    let kind = rustix::fs::fstat(place).map_err(|e| request.error("look at", e))?.st_mode;
    let is_directory = rustix::fs::FileType::from_raw_mode(kind).is_dir();
    // What a former life left may be of the other kind.
    if request.target.symlink_metadata().is_ok_and(|m| m.is_dir() != is_directory) {
        crate::removal::remove_tree(request.target).map_err(|e| failed(e.into_parts().1))?;
    }
    if is_directory {
        return crate::root::make_private_directory(request.target).map_err(failed);
    }
    if let Some(parent) = request.target.parent() {
        crate::root::make_private_directory(parent).map_err(failed)?;
    }
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(request.target)
        .map(drop)
        .map_err(failed)
}

/// What tells two files apart.
fn identity(place: &OwnedFd) -> Result<(u64, u64), Errno> {
    let stat = rustix::fs::fstat(place)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// What is mounted on a target, if it is a mount point.
fn bound_to(target: &Path) -> Option<(u64, u64)> {
    let metadata = is_mount_point(target).then(|| target.symlink_metadata().ok()).flatten()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Whether something is mounted at this very path: openat2(2) with `RESOLVE_NO_XDEV` refuses to step on it.
pub(super) fn is_mount_point(path: &Path) -> bool {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return false };
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let Ok(parent) = rustix::fs::openat(rustix::fs::CWD, parent, flags, Mode::empty()) else { return false };
    let resolve = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    rustix::fs::openat2(parent, name, flags, Mode::empty(), resolve).is_err_and(|e| e == Errno::XDEV)
}

/// The path that the kernel gives for an open file, from our root.
fn path_of(place: &OwnedFd) -> Result<PathBuf, Errno> {
    use std::os::fd::AsRawFd;
    use std::os::unix::ffi::OsStringExt;
    let link = format!("/proc/self/fd/{}", place.as_raw_fd());
    let path = rustix::fs::readlinkat(rustix::fs::CWD, link, Vec::new())?;
    // The link itself must still be there: a removed place has a name that is no path.
    let path = PathBuf::from(std::ffi::OsString::from_vec(path.into_bytes()));
    rustix::fs::statat(rustix::fs::CWD, &path, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    /// Resolves and gives the path that was found, or the kind of refusal.
    fn resolved(volume: &Path, sub_path: &str) -> Result<PathBuf, SubPathError> {
        let request = SubPath { volume, sub_path: Path::new(sub_path), target: Path::new("/unused") };
        resolve(&request).map(|fd| path_of(&fd).unwrap())
    }

    #[test]
    fn links_are_followed_inside_and_never_out() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        let volume = dir.path().join("volume");
        std::fs::create_dir_all(volume.join("real/deep")).unwrap();
        std::fs::create_dir(&outside).unwrap();
        symlink("real/deep", volume.join("inside")).unwrap();
        symlink("../outside", volume.join("out")).unwrap();
        symlink(&outside, volume.join("absolute")).unwrap();
        symlink("loop", volume.join("loop")).unwrap();
        symlink("/proc/self/root", volume.join("magic")).unwrap();
        let volume = volume.canonicalize().unwrap();
        assert_eq!(resolved(&volume, "inside").unwrap(), volume.join("real/deep"));
        for bad in ["out", "absolute", "loop", "magic", "magic/etc", "out/made"] {
            let error = resolved(&volume, bad).unwrap_err();
            assert!(matches!(error, SubPathError::Escapes { .. }), "{bad}: {error:?}");
        }
        assert!(!outside.join("made").exists());
    }

    #[test]
    fn what_is_missing_is_made_with_the_mode_of_the_volume() {
        let dir = tempfile::tempdir().unwrap();
        let volume = dir.path().canonicalize().unwrap();
        std::fs::set_permissions(&volume, std::fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(resolved(&volume, "a/b").unwrap(), volume.join("a/b"));
        assert_eq!(volume.join("a/b").metadata().unwrap().permissions().mode() & 0o777, 0o777);
        symlink("nowhere", volume.join("dangling")).unwrap();
        assert!(matches!(resolved(&volume, "dangling"), Err(SubPathError::Io { .. })));
        std::fs::write(volume.join("file"), "").unwrap();
        assert_eq!(resolved(&volume, "file").unwrap(), volume.join("file"));
        assert!(resolved(&volume, "file/below").is_err());
    }
}
