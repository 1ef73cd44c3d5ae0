//! The few mounts that volumes need on the host before any container is: a directory shared on itself, a file system, and
//! the bind of a subPath. What `runtime` executes and `plan` predicts.

use std::path::{Path, PathBuf};
use subtree_model::{Attributes, Handle, Op, PropagationType};

fn open(path: &Path, out: Handle) -> Op {
    Op::Open { root: Handle::HOST, path: path.to_path_buf(), follow: false, missing: None, out }
}

/// A mount (`recursive`: and all below it) of another propagation type.
pub fn change(mount: Handle, recursive: bool, propagation: PropagationType) -> Op {
    let (set, clear) = (Attributes::NONE, Attributes::NONE);
    Op::SetAttributes { mount, recursive, set, clear, propagation: Some(propagation) }
}

/// A directory (or file) bound on itself as a shared mount with a peer group of its own: containers can then
/// share what is mounted below, whatever the propagation of the mount that carries it. With `recursive` the
/// mounts that are already below come along and become shared too; else they are hidden.
pub fn share_directory(path: &Path, recursive: bool) -> Vec<Op> {
    let [at, clone] = [Handle(1), Handle(2)];
    vec![
        open(path, at),
        Op::CloneTree { from: at, recursive, out: clone },
        // Out of the carrier's group, so that what is mounted below reaches only who asked for it.
        change(clone, true, PropagationType::Private),
        Op::MoveMount { from: clone, to: at },
        change(clone, true, PropagationType::Shared),
    ]
}

/// A tmpfs with these options (`size=64m`, `mode=1777`), nosuid and nodev; shared if asked.
pub fn tmpfs(path: &Path, options: &[(String, Option<String>)], shared: bool) -> Vec<Op> {
    let attributes = Attributes { no_suid: true, no_dev: true, ..Attributes::NONE };
    file_system("tmpfs", options.to_vec(), attributes, path, shared)
}

/// An image as a volume is only read, and nothing of it is executed, as in Kubernetes.
pub const OF_IMAGE_VOLUMES: Attributes =
    Attributes { read_only: true, no_suid: true, no_dev: true, no_exec: true };

/// An overlay's options for its lower directories, topmost first.
pub fn lower_directories(paths: &[PathBuf]) -> Vec<(String, Option<String>)> {
    paths.iter().map(|path| ("lowerdir+".to_owned(), Some(path.to_string_lossy().into_owned()))).collect()
}

/// A new file system; shared if asked.
pub fn file_system(
    fs_type: &str,
    options: Vec<(String, Option<String>)>,
    attributes: Attributes,
    path: &Path,
    shared: bool,
) -> Vec<Op> {
    let [at, new] = [Handle(1), Handle(2)];
    let propagation = if shared { PropagationType::Shared } else { PropagationType::Private };
    let (fs_type, source) = (fs_type.to_owned(), fs_type.to_owned());
    vec![
        open(path, at),
        Op::NewFileSystem { fs_type, source, options, attributes, out: new },
        Op::MoveMount { from: new, to: at },
        change(new, false, propagation),
    ]
}

/// `source` bound on `target`, without the mounts below it; it stays a peer of what it was copied from, as a
/// subPath of Kubernetes does. No symbolic link is followed in either path.
pub fn bind(source: &Path, target: &Path) -> Vec<Op> {
    let [from, to, clone] = [Handle(1), Handle(2), Handle(3)];
    vec![
        open(source, from),
        open(target, to),
        Op::CloneTree { from, recursive: false, out: clone },
        Op::MoveMount { from: clone, to },
    ]
}
