//! Where a mountPath really leads: the symbolic links of the image and of the volumes mounted before it are
//! followed, never out of the container. Used to plan; the executor follows no link at all, so that a link
//! exchanged meanwhile is an error and not a way out.

use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// As many as the kernel follows in one walk (`MAXSYMLINKS`, include/linux/namei.h).
const LINKS_MAX: usize = 40;

/// A mountPath that leads nowhere.
#[derive(Debug, thiserror::Error)]
#[error("mountPath {}: {errno}", path.display())]
pub struct ResolveError {
    /// The path as written.
    pub path: PathBuf,
    /// What the walk met.
    pub errno: Errno,
}

/// What the container will see, as far as it is known before it exists: the trees that will be mounted and
/// where, in mounting order.
pub(super) struct View {
    trees: Vec<(PathBuf, Option<OwnedFd>)>,
}

impl View {
    /// A view with only a root file system.
    pub(super) fn new(root: OwnedFd) -> View {
        View { trees: vec![(PathBuf::from("/"), Some(root))] }
    }

    /// Puts a tree at `place` (canonical); without an fd it is new, and nothing in it is a link.
    pub(super) fn put(&mut self, place: PathBuf, tree: Option<OwnedFd>) {
        self.trees.push((place, tree));
    }

    /// The canonical path that `path` leads to. Names that do not exist are kept as they are.
    pub(super) fn resolve(&self, path: &Path) -> Result<PathBuf, ResolveError> {
        let fail = |errno| ResolveError { path: path.to_path_buf(), errno };
        let mut todo: VecDeque<OsString> = names(path).collect();
        let mut done = PathBuf::from("/");
        let mut links = 0;
        while let Some(name) = todo.pop_front() {
            if name == ".." {
                done.pop();
                continue;
            }
            let next = done.join(&name);
            let Some(link) = self.read_link(&next).map_err(fail)? else {
                done = next;
                continue;
            };
            links += 1;
            if links > LINKS_MAX {
                return Err(fail(Errno::LOOP));
            }
            if link.is_absolute() {
                done = PathBuf::from("/");
            }
            for name in names(&link).collect::<Vec<_>>().into_iter().rev() {
                todo.push_front(name);
            }
        }
        Ok(done)
    }

    /// Whether `path` (canonical) is in a tree that is not there yet, so that nothing can be said of it.
    pub(super) fn is_new(&self, path: &Path) -> bool {
        self.tree_of(path).0.is_none()
    }

    /// Whether anything is at `path` (canonical), as far as the trees tell; `None` where they do not.
    pub(super) fn is_directory(&self, path: &Path) -> Option<bool> {
        let (tree, inside) = self.tree_of(path);
        let fd = sys::mount::open_path_in(tree?.as_fd(), &inside, false).ok()?;
        let stat = rustix::fs::fstat(&fd).ok()?;
        Some(rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir())
    }

    fn read_link(&self, path: &Path) -> Result<Option<PathBuf>, Errno> {
        let (tree, inside) = self.tree_of(path);
        let Some(tree) = tree else { return Ok(None) };
        if inside.as_os_str().is_empty() {
            return Ok(None);
        }
        match sys::mount::read_link_in(tree.as_fd(), &inside) {
            // What is missing will be created; what is no directory is for the executor to refuse.
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            other => other,
        }
    }

    /// The tree that shows at `path`, and the path inside it: the longest place that `path` begins with, of
    /// equal ones the last.
    fn tree_of(&self, path: &Path) -> (Option<&OwnedFd>, PathBuf) {
        let longest = self
            .trees
            .iter()
            .filter(|(place, _)| path.starts_with(place))
            .max_by_key(|(place, _)| place.as_os_str().as_bytes().len());
        match longest {
            Some((place, tree)) => (tree.as_ref(), path.strip_prefix(place).unwrap_or(path).to_path_buf()),
            None => (None, path.to_path_buf()),
        }
    }
}

/// The names of a path, without `.` and slashes.
fn names(path: &Path) -> impl Iterator<Item = OsString> + '_ {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_os_string()),
        Component::ParentDir => Some(OsString::from("..")),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn view() -> (tempfile::TempDir, View) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("run/lock")).unwrap();
        std::fs::create_dir_all(dir.path().join("var")).unwrap();
        symlink("/run", dir.path().join("var/run")).unwrap();
        symlink("../../../../run", dir.path().join("var/up")).unwrap();
        symlink("loop", dir.path().join("loop")).unwrap();
        symlink("/nowhere/at/all", dir.path().join("dangling")).unwrap();
        let root = sys::mount::open_root(dir.path()).unwrap();
        (dir, View::new(root))
    }

    #[test]
    fn links_of_the_image_are_followed_and_never_leave_it() {
        let (_dir, view) = view();
        let check = |path: &str, expected: &str| {
            assert_eq!(view.resolve(Path::new(path)).unwrap(), Path::new(expected), "{path}");
        };
        check("/var/run/secrets", "/run/secrets");
        check("/var/run/../lock", "/lock");
        check("/var/up/lock", "/run/lock");
        check("/../../etc/./x//y/", "/etc/x/y");
        check("/dangling/x", "/nowhere/at/all/x");
        assert_eq!(view.resolve(Path::new("/loop/x")).unwrap_err().errno, Errno::LOOP);
    }

    #[test]
    fn a_volume_hides_the_image_and_brings_its_own_links() {
        let (_dir, mut view) = view();
        let volume = tempfile::tempdir().unwrap();
        symlink("/var/run", volume.path().join("there")).unwrap();
        view.put(PathBuf::from("/run"), Some(sys::mount::open_root(volume.path()).unwrap()));
        view.put(PathBuf::from("/proc"), None);
        assert_eq!(view.resolve(Path::new("/run/there/x")).unwrap(), Path::new("/run/x"));
        assert_eq!(view.resolve(Path::new("/proc/self/x")).unwrap(), Path::new("/proc/self/x"));
        assert_eq!(view.is_directory(Path::new("/run/lock")), None);
        assert_eq!(view.is_directory(Path::new("/var")), Some(true));
    }
}
