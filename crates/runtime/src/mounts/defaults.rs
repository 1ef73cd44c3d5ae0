//! The mounts that every container gets besides its volumes: `/proc`, `/sys`, `/dev` and what is below, the
//! cgroup view, and what is masked or read-only. As containerd gives them.

use super::CgroupView;
use explain::build::{Bind, FileSystem, What};
use manifest::cri::MountPropagation;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use subtree_model::{Attributes, Node};

const NOTHING: Attributes = Attributes { read_only: false, no_suid: false, no_dev: false, no_exec: false };
const NO_SUID_DEV_EXEC: Attributes = Attributes { no_suid: true, no_dev: true, no_exec: true, ..NOTHING };

/// Where what the kernel and the runtime say of the container is found; each on a directory, never on what a link of
/// the image leads to.
pub(super) const OF_THE_KERNEL: [&str; 3] = ["/proc", "/sys", "/dev"];

/// The most device nodes of the host that a privileged container gets.
const DEVICES_MAX: usize = 10_000;

/// What the defaults depend on.
pub(super) struct Wanted<'a> {
    pub(super) privileged: bool,
    pub(super) tty: bool,
    pub(super) shm: Option<&'a Path>,
    pub(super) cgroup: &'a CgroupView,
}

/// The default mounts, parents before children.
pub(super) fn default_mounts(wanted: &Wanted<'_>) -> Vec<(PathBuf, What)> {
    let sys_attributes = Attributes { read_only: !wanted.privileged, ..NO_SUID_DEV_EXEC };
    let mut mounts = vec![
        (PathBuf::from("/proc"), new("proc", &[], NO_SUID_DEV_EXEC)),
        (PathBuf::from("/dev"), dev(wanted)),
        (
            PathBuf::from("/dev/pts"),
            new(
                "devpts",
                &["newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
                Attributes { no_dev: false, ..NO_SUID_DEV_EXEC },
            ),
        ),
        (PathBuf::from("/dev/mqueue"), new("mqueue", &[], NO_SUID_DEV_EXEC)),
        (PathBuf::from("/sys"), new("sysfs", &[], sys_attributes)),
    ];
    match wanted.shm {
        Some(source) => mounts.push((PathBuf::from("/dev/shm"), own_directory(source))),
        None => mounts
            .push((PathBuf::from("/dev/shm"), new("tmpfs", &["mode=1777", "size=65536k"], NO_SUID_DEV_EXEC))),
    }
    mounts.extend(cgroup(wanted.cgroup, wanted.privileged));
    mounts
}

fn new(fs_type: &str, options: &[&str], attributes: Attributes) -> What {
    let options = options
        .iter()
        .map(|option| match option.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => ((*option).to_owned(), None),
        })
        .collect();
    What::FileSystem(FileSystem { fs_type: fs_type.to_owned(), options, attributes, ..FileSystem::default() })
}

/// A directory of the node's own, private.
fn own_directory(source: &Path) -> What {
    What::Bind(Bind {
        source: source.to_path_buf(),
        directory: true,
        read_only: explain::build::ReadOnly::No,
        propagation: MountPropagation::Private,
        volume: None,
    })
}

/// A tmpfs with the usual nodes and links; for a privileged container with all device nodes of the host.
fn dev(wanted: &Wanted<'_>) -> What {
    let mut nodes: Vec<(PathBuf, Node)> = Vec::new();
    for (name, major, minor) in
        [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)]
    {
        nodes.push((PathBuf::from(name), Node::CharDevice { mode: 0o666, major, minor }));
    }
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
        ("core", "/proc/kcore"),
    ] {
        nodes.push((PathBuf::from(name), Node::Symlink { target: PathBuf::from(target) }));
    }
    if wanted.tty {
        nodes.push((PathBuf::from("console"), Node::File { mode: 0o620 }));
    }
    if wanted.privileged {
        host_devices(Path::new("/dev"), Path::new(""), &mut nodes);
    }
    let options =
        vec![("mode".to_owned(), Some("0755".to_owned())), ("size".to_owned(), Some("65536k".to_owned()))];
    let attributes = Attributes { no_suid: true, ..NOTHING };
    What::FileSystem(FileSystem {
        fs_type: "tmpfs".to_owned(),
        options,
        attributes,
        nodes,
        read_only_at_end: false,
    })
}

/// Adds the device nodes below `dir`, except those that the container has its own of. What vanishes or cannot
/// be read meanwhile is left out: devices come and go.
fn host_devices(dir: &Path, below: &Path, nodes: &mut Vec<(PathBuf, Node)>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        if nodes.len() >= DEVICES_MAX {
            return;
        }
        let path = below.join(entry.file_name());
        let own = ["pts", "shm", "fd", "mqueue", "console", "hugepages"];
        if own.iter().any(|name| path == Path::new(name)) || nodes.iter().any(|(there, _)| *there == path) {
            continue;
        }
        let Ok(metadata) = entry.metadata() else { continue };
        let kind = metadata.file_type();
        let (mode, device) = (metadata.mode() & 0o7777, metadata.rdev());
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        if kind.is_char_device() {
            nodes.push((path, Node::CharDevice { mode, major, minor }));
        } else if kind.is_block_device() {
            nodes.push((path, Node::BlockDevice { mode, major, minor }));
        } else if kind.is_dir() {
            let before = nodes.len();
            nodes.push((path.clone(), Node::Directory { mode }));
            host_devices(&entry.path(), &path, nodes);
            if nodes.len() == before + 1 {
                nodes.pop();
            }
        }
    }
}

/// `/sys/fs/cgroup`: the container's own part of each hierarchy, read-only unless privileged.
fn cgroup(view: &CgroupView, privileged: bool) -> Vec<(PathBuf, What)> {
    let top = PathBuf::from("/sys/fs/cgroup");
    match view {
        CgroupView::None => Vec::new(),
        CgroupView::V2 => {
            vec![(top, new("cgroup2", &[], Attributes { read_only: !privileged, ..NO_SUID_DEV_EXEC }))]
        }
        CgroupView::V1 { hierarchies } => {
            let mut nodes: Vec<(PathBuf, Node)> = Vec::new();
            let mut binds = Vec::new();
            for (name, source) in hierarchies {
                nodes.push((PathBuf::from(name), Node::Directory { mode: 0o755 }));
                let What::Bind(mut bind) = own_directory(source) else { continue };
                bind.read_only =
                    if privileged { explain::build::ReadOnly::No } else { explain::build::ReadOnly::Yes };
                binds.push((top.join(name), What::Bind(bind)));
            }
            let attributes = NO_SUID_DEV_EXEC;
            let options = vec![("mode".to_owned(), Some("0755".to_owned()))];
            let read_only_at_end = !privileged;
            let tmpfs =
                FileSystem { fs_type: "tmpfs".to_owned(), options, attributes, nodes, read_only_at_end };
            std::iter::once((top, What::FileSystem(tmpfs))).chain(binds).collect()
        }
    }
}

/// What hides a masked path: nothing to read for a file (the host's null device), an empty read-only
/// directory for a directory.
pub(super) fn mask(directory: bool) -> What {
    if directory {
        return new("tmpfs", &["size=0"], Attributes { read_only: true, ..NO_SUID_DEV_EXEC });
    }
    What::Bind(Bind {
        source: PathBuf::from("/dev/null"),
        directory: false,
        read_only: explain::build::ReadOnly::No,
        propagation: MountPropagation::Private,
        volume: None,
    })
}
