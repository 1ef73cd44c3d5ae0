//! The mounts that every container gets besides its volumes: `/proc`, `/sys`, `/dev` and what is below, the
//! cgroup view, and what is masked or read-only; and the order in which all are mounted. As containerd has them.

use crate::build::{Bind, FileSystem, ReadOnly, What};
use manifest::cri::MountPropagation;
use std::path::{Path, PathBuf};
use subtree_model::{Attributes, Node};

const NO_SUID_DEV_EXEC: Attributes =
    Attributes { no_suid: true, no_dev: true, no_exec: true, ..Attributes::NONE };

/// Where what the kernel and the runtime say of the container is found; each on a directory, never on what a link of
/// the image leads to.
pub const OF_THE_KERNEL: [&str; 3] = ["/proc", "/sys", "/dev"];

/// What `/sys/fs/cgroup` shows in the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CgroupView {
    /// Nothing: no cgroup hierarchy is mounted on this machine.
    None,
    /// A cgroup2 mount; the container is in a cgroup namespace of its own.
    V2,
    /// The container's directory of each version 1 hierarchy: (name below `/sys/fs/cgroup`, host path).
    V1 {
        /// Name and source.
        hierarchies: Vec<(String, PathBuf)>,
    },
}

/// What the defaults depend on.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// All of `/sys` and the cgroups writable.
    pub privileged: bool,
    /// With `/dev/console`.
    pub tty: bool,
    /// The pod's `/dev/shm` on the host; none gives the container one of its own.
    pub shm: Option<&'a Path>,
    /// The cgroup view.
    pub cgroup: &'a CgroupView,
    /// Nodes of `/dev` beside the usual ones, parents first.
    pub devices: &'a [(PathBuf, Node)],
}

/// All that is mounted in a container, in containerd's order: by number of path components, else as given, the
/// defaults before the volumes. A volume at a default's path replaces it; one at `/dev` replaces everything below as
/// well, and so does one at `/sys/fs/cgroup`, which is one default to containerd, of however many mounts.
pub fn in_order(defaults: Vec<(PathBuf, What)>, volumes: Vec<(PathBuf, What)>) -> Vec<(PathBuf, What)> {
    let whole = ["/dev", "/sys/fs/cgroup"].map(Path::new);
    let own: Vec<&Path> =
        whole.into_iter().filter(|top| volumes.iter().any(|(volume, _)| is_same(volume, top))).collect();
    let mut all: Vec<(PathBuf, What)> = defaults
        .into_iter()
        .filter(|(path, _)| !volumes.iter().any(|(volume, _)| is_same(volume, path)))
        .filter(|(path, _)| !own.iter().any(|top| path.starts_with(top)))
        .collect();
    all.extend(volumes);
    all.sort_by_key(|(path, _)| path.components().count());
    all
}

/// The same path but for slashes and dots.
fn is_same(a: &Path, b: &Path) -> bool {
    a.components().eq(b.components())
}

/// The default mounts, parents before children.
pub fn default_mounts(wanted: &Wanted<'_>) -> Vec<(PathBuf, What)> {
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
        read_only: ReadOnly::No,
        propagation: MountPropagation::Private,
        volume: None,
        map_ids: false,
        layers: Vec::new(),
    })
}

/// A tmpfs with the usual nodes and links, and those asked for.
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
    nodes.extend(wanted.devices.iter().cloned());
    let options =
        vec![("mode".to_owned(), Some("0755".to_owned())), ("size".to_owned(), Some("65536k".to_owned()))];
    let attributes = Attributes { no_suid: true, ..Attributes::NONE };
    What::FileSystem(FileSystem {
        fs_type: "tmpfs".to_owned(),
        options,
        attributes,
        nodes,
        read_only_at_end: false,
    })
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
                bind.read_only = if privileged { ReadOnly::No } else { ReadOnly::Yes };
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
pub fn mask(directory: bool) -> What {
    if directory {
        return new("tmpfs", &["size=0"], Attributes { read_only: true, ..NO_SUID_DEV_EXEC });
    }
    What::Bind(Bind {
        source: PathBuf::from("/dev/null"),
        directory: false,
        read_only: ReadOnly::No,
        propagation: MountPropagation::Private,
        volume: None,
        map_ids: false,
        layers: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_for_the_cgroups_replaces_all_hierarchies() {
        let view = CgroupView::V1 { hierarchies: vec![("cpu".to_owned(), "/sys/fs/cgroup/cpu/x".into())] };
        let wanted = Wanted { privileged: false, tty: false, shm: None, cgroup: &view, devices: &[] };
        let below = |volumes: &[&str]| -> Vec<PathBuf> {
            let volumes = volumes.iter().map(|path| (PathBuf::from(path), own_directory(Path::new("/"))));
            let all = in_order(default_mounts(&wanted), volumes.collect()).into_iter().map(|(path, _)| path);
            all.filter(|path| path.starts_with("/sys/fs/cgroup")).collect()
        };
        let [top, cpu] = ["/sys/fs/cgroup", "/sys/fs/cgroup/cpu"].map(PathBuf::from);
        assert_eq!(below(&[]), [top.clone(), cpu.clone()]);
        assert_eq!(below(&["/sys"]), [top.clone(), cpu]);
        assert_eq!(below(&["/sys/fs/cgroup/"]), [PathBuf::from("/sys/fs/cgroup/")]);
    }
}
