//! What is known of the node.

use super::pods::PodAsked;
use mount_table::{Device, Mount, MountId, MountTable, PeerGroup, Propagation, join};
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use subtree_model::Kernel;

/// Where a [`Node`]'s mounts come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// From this machine.
    Here,
    /// From a file.
    Snapshot,
    /// From nowhere: a node as systemd makes them.
    Assumed,
}

/// A node, as far as plans need it.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where what follows is from.
    pub origin: Origin,
    /// The mounts of the namespace that containers are started from.
    pub mounts: MountTable,
    /// What lies at hostPaths, by the path as the manifests have it. A path that is not here is taken to be what its
    /// type says, without symbolic links.
    pub sources: BTreeMap<PathBuf, Source>,
    /// Whose rules are followed.
    pub kernel: Kernel,
    /// Whether the kernel has MOVE_MOUNT_SET_GROUP (Linux 5.15).
    pub set_group: bool,
    /// `fs.mount-max`.
    pub mount_max: u32,
    /// The folder of the pods' own folders.
    pub pods: PathBuf,
    /// A folder in which containers' roots are attached.
    pub run: PathBuf,
    /// Symbolic links of images, with what they lead to.
    pub links: Vec<(PathBuf, PathBuf)>,
}

/// What lies at a path of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The path without symbolic links; as given, where nothing is there.
    pub canonical: PathBuf,
    /// What it is.
    pub there: There,
}

/// A sort of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum There {
    /// Nothing.
    Missing,
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// Something else.
    Other,
    /// A FUSE mount whose server is gone (`ENOTCONN`).
    Dead,
    /// Something on a file system that does not answer.
    Silent,
}

/// The node's mounts as far as they concern these pods: those on the way to what they have, those below it, those
/// that are tied to one of these as peers or slaves, and what all of them are mounted on. A node has many mounts, and
/// most are of other pods.
pub(super) fn concerned(node: &Node, pods: &[PodAsked]) -> MountTable {
    let volumes = pods.iter().flat_map(|pod| &pod.volumes).map(|volume| volume.path.as_path());
    let mut places: Vec<&Path> = volumes.chain([node.pods.as_path(), node.run.as_path()]).collect();
    let rows = &node.mounts.mounts;
    places.sort_unstable();
    places.dedup();
    let places: Vec<&[u8]> = places.into_iter().map(|place| place.as_os_str().as_encoded_bytes()).collect();
    let is_near = |mount: &Mount| {
        let point = mount.mount_point.as_os_str().as_encoded_bytes();
        places.iter().any(|place| is_at_or_below(place, point) || is_at_or_below(point, place))
    };
    let mut kept: HashSet<MountId> =
        rows.iter().filter(|mount| is_near(mount)).map(|mount| mount.id).collect();
    // A tie brings what it is mounted on, and that perhaps a tie: each round keeps one more or is the last.
    loop {
        let before = kept.len();
        let own = rows.iter().filter(|mount| kept.contains(&mount.id));
        let groups: HashSet<PeerGroup> = own.flat_map(groups_of).collect();
        let parents: HashSet<MountId> =
            rows.iter().filter(|mount| kept.contains(&mount.id)).map(|mount| mount.parent).collect();
        let is_tied = |mount: &&Mount| {
            parents.contains(&mount.id) || groups_of(mount).any(|group| groups.contains(&group))
        };
        kept.extend(rows.iter().filter(is_tied).map(|mount| mount.id));
        if kept.len() == before {
            break;
        }
    }
    MountTable { mounts: rows.iter().filter(|mount| kept.contains(&mount.id)).cloned().collect() }
}

/// [`Path::starts_with`] for clean paths, of which this asks a million times.
fn is_at_or_below(path: &[u8], above: &[u8]) -> bool {
    let above = above.strip_suffix(b"/").unwrap_or(above);
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

fn groups_of(mount: &Mount) -> impl Iterator<Item = PeerGroup> + use<> {
    let groups = mount.propagation;
    [groups.shared, groups.master, groups.propagate_from].into_iter().flatten()
}

impl Node {
    /// A node with these mounts; the rest as on most.
    #[must_use]
    pub fn new(origin: Origin, mounts: MountTable) -> Node {
        Node {
            origin,
            mounts,
            sources: BTreeMap::new(),
            kernel: Kernel::default(),
            set_group: true,
            mount_max: subtree_model::MOUNT_MAX,
            pods: "/var/lib/rhizome/pods".into(),
            run: "/run/rhizome".into(),
            // Debian's, Alpine's, Fedora's images, and most that are made from them.
            links: vec![("/var/run".into(), "/run".into())],
        }
    }

    /// A node as systemd makes them: `/` and what is mounted on it is shared.
    #[must_use]
    pub fn assumed() -> Node {
        let row = |id: u64, point: &str, fs_type: &str| Mount {
            id: MountId(id),
            // The root's is outside of the table, as where an initial RAM disk was.
            parent: MountId(match point {
                "/" => 0,
                "/sys/fs/cgroup" => 3,
                "/dev/shm" | "/dev/pts" => 4,
                _ => 1,
            }),
            device: Device { major: 0, minor: id as u32 + 20 },
            root: "/".into(),
            deleted: false,
            mount_point: point.into(),
            options: "rw,relatime".to_owned(),
            propagation: Propagation { shared: Some(PeerGroup(id)), ..Propagation::PRIVATE },
            fs_type: fs_type.to_owned(),
            source: fs_type.to_owned(),
            super_options: "rw".to_owned(),
        };
        let rows = [
            ("/", "ext4"),
            ("/proc", "proc"),
            ("/sys", "sysfs"),
            ("/dev", "devtmpfs"),
            ("/dev/shm", "tmpfs"),
            ("/run", "tmpfs"),
            ("/sys/fs/cgroup", "cgroup2"),
            ("/dev/pts", "devpts"),
        ];
        let rows = rows.into_iter().zip(1..).map(|((point, fs_type), id)| row(id, point, fs_type));
        Node::new(Origin::Assumed, MountTable { mounts: rows.collect() })
    }

    pub(super) fn source(&self, path: &Path) -> Option<&Source> {
        self.sources.get(path)
    }

    /// A path in a container, the image's links put in. Each is followed once.
    pub(super) fn in_image(&self, path: &Path) -> PathBuf {
        let path: PathBuf = path.components().collect();
        self.links.iter().fold(path, |path, (from, to)| match path.strip_prefix(from) {
            Ok(rest) => join(to, rest),
            Err(_) => path,
        })
    }
}
