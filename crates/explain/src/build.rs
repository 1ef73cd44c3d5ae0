//! A container's mounts as a list of [`Op`]s: what `runtime` executes, `subtree-model` predicts and
//! `run --dry-run` prints.
//!
//! The list, in order:
//! 1. in the host's mount namespace, every source is opened and cloned (open_tree), and gets its propagation
//!    type and attributes while it is still detached;
//! 2. the task unshares its mount namespace and makes all of the copy private;
//! 3. the root file system is mounted and attached;
//! 4. everything else is attached below it, in the order given. A Bidirectional mount that is about to carry
//!    one of ours is made private first, its place in the peer group being kept by a detached clone of it;
//! 5. those mounts join their groups again (`MOVE_MOUNT_SET_GROUP`);
//! 6. the new root becomes the root, and the copy of the host's tree is dissolved.
//!
//! In a user namespace (`hostUsers: false`), of which the mounts must be, so that its root may mount and unmount: sources
//! and image layers get their ids mapped while they are detached, and an image's volume is put together of such layers,
//! since ids of an overlay cannot be mapped; the root and all new file systems are made before the
//! namespace is entered, by who may make devices in them; step 2 happens once more as the namespace is entered, and a
//! Bidirectional source, being detached, keeps its peers where a copy of the namespace would have made it a slave.
//!
//! Steps 4 and 5 are why nothing of ours appears on the host: at no time is there a mount of ours on a
//! mount that is shared.

use crate::volume::{OF_IMAGE_VOLUMES, lower_directories};
use manifest::cri::{Mount, MountPropagation};
use mount_table::{MountTable, join};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use subtree_model::{Attributes, Handle, Missing, Node, Op, PropagationType};

/// The container's root file system, an overlay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootFileSystem {
    /// Lower directories, topmost first.
    pub lower: Vec<PathBuf>,
    /// Upper directory.
    pub upper: PathBuf,
    /// Work directory, on the same file system as `upper`.
    pub work: PathBuf,
    /// A directory of the host on which the root file system is attached, in the container's namespace only.
    pub staging: PathBuf,
    /// `readOnlyRootFilesystem`
    pub read_only: bool,
}

/// Whether a mount is read-only, and how far down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReadOnly {
    /// Writable.
    #[default]
    No,
    /// Only the mount itself: mounts below it stay writable, as in Kubernetes.
    Yes,
    /// With all mounts below.
    Recursive,
}

/// A source on the host, bound into the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// Canonical path on the host (no symbolic links).
    pub source: PathBuf,
    /// Whether the source is a directory.
    pub directory: bool,
    /// Read-only.
    pub read_only: ReadOnly,
    /// Propagation.
    pub propagation: MountPropagation,
    /// The pod's volume it is of, for messages.
    pub volume: Option<String>,
    /// Whether, in a user namespace, its ids are mapped: of what the pod owns, not of the kernel's.
    pub map_ids: bool,
    /// Of an image: what the source shows, topmost first. In a user namespace these get their ids mapped instead.
    pub layers: Vec<PathBuf>,
}

impl Bind {
    /// What a mount of the configuration asks for, its source being found.
    pub fn of(mount: &Mount, source: PathBuf, directory: bool) -> Bind {
        Bind {
            source,
            directory,
            read_only: match (mount.readonly, mount.recursive_read_only) {
                (_, true) => ReadOnly::Recursive,
                (true, false) => ReadOnly::Yes,
                (false, false) => ReadOnly::No,
            },
            propagation: mount.propagation,
            volume: mount.volume.clone(),
            map_ids: true,
            layers: mount.layers.clone(),
        }
    }
}

/// What to put at a place in the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A bind of something of the host.
    Bind(Bind),
    /// A new file system.
    FileSystem(FileSystem),
    /// The place itself again, read-only with all below.
    ReadOnlyAgain,
}

/// A new file system, filled with nodes before it is attached.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileSystem {
    /// Type, such as `proc`.
    pub fs_type: String,
    /// Options.
    pub options: Vec<(String, Option<String>)>,
    /// Mount attributes.
    pub attributes: Attributes,
    /// Nodes to make in it, parents first.
    pub nodes: Vec<(PathBuf, Node)>,
    /// Set read-only once all else is in place.
    pub read_only_at_end: bool,
}

/// One mount of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Canonical path in the container (no symbolic links of the image or of volumes).
    pub target: PathBuf,
    /// What is mounted there.
    pub what: What,
}

/// All mounts of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerMounts {
    /// The root.
    pub root: RootFileSystem,
    /// The others, in the order in which they are mounted.
    pub placed: Vec<Placed>,
    /// Whether the container is in a user namespace of its pod's (`hostUsers: false`).
    pub user_namespace: bool,
}

/// What the builder must know of the machine.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The mounts of the namespace that the container is started from.
    pub host: &'a MountTable,
    /// Whether the kernel has `MOVE_MOUNT_SET_GROUP` (Linux 5.15).
    pub set_group: bool,
}

/// A part of the list, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Index of its first operation.
    pub first: usize,
    /// What it is for.
    pub title: String,
}

/// The list, and what must be said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// The operations.
    pub ops: Vec<Op>,
    /// What each part of it is for, in order.
    pub sections: Vec<Section>,
    /// Places in the container whose mount will also appear on the host, because this kernel cannot do
    /// better (before Linux 5.15).
    pub leaks: Vec<PathBuf>,
}

/// Why a container's mounts cannot be built; the first two in containerd's words
/// (`internal/cri/opts/spec_linux_opts.go`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// A Bidirectional volume whose source is on a mount that is not shared.
    #[error("path {source_path:?} is mounted on {carrier:?} but it is not a shared mount")]
    NotShared {
        /// The volume's source.
        source_path: PathBuf,
        /// Mount point of the mount that carries it.
        carrier: PathBuf,
    },
    /// A HostToContainer volume whose source is on a mount that is neither shared nor a slave.
    #[error("path {source_path:?} is mounted on {carrier:?} but it is not a shared or slave mount")]
    NotSharedOrSlave {
        /// The volume's source.
        source_path: PathBuf,
        /// Mount point of the mount that carries it.
        carrier: PathBuf,
    },
    /// A source on an unbindable mount: open_tree(2) with OPEN_TREE_CLONE refuses it as mount(2) with MS_BIND does
    /// (mount_namespaces(7)), with no more than EINVAL.
    #[error("path {source_path:?} is mounted on {carrier:?}, which is unbindable")]
    Unbindable {
        /// The volume's source.
        source_path: PathBuf,
        /// Mount point of the mount that carries it.
        carrier: PathBuf,
    },
    /// No mount of the namespace carries the path.
    #[error("path {source_path:?} is on no mount of this mount namespace")]
    NoCarrier {
        /// The volume's source.
        source_path: PathBuf,
    },
}

impl BuildError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            BuildError::NotShared { source_path, .. } | BuildError::NotSharedOrSlave { source_path, .. } => {
                let path = mount_table::shell_word(source_path);
                Some(format!(
                    "make a shared mount of just this directory: mount --bind {path} {path} && mount --make-shared {path} \
                     (mounts already below it stay outside), or let rhizome do and undo that: annotate the pod with \
                     rhizome.dev/make-shared: \"true\""
                ))
            }
            BuildError::Unbindable { carrier, .. } => {
                Some(format!("let it be bound: mount --make-private {}", mount_table::shell_word(carrier)))
            }
            BuildError::NoCarrier { .. } => None,
        }
    }
}

/// Makes the list of operations for a container. Pure: `facts` is all it knows of the machine.
pub fn build(mounts: &ContainerMounts, facts: Facts<'_>) -> Result<Build, BuildError> {
    for placed in &mounts.placed {
        if let What::Bind(bind) = &placed.what {
            check_source(bind, facts.host)?;
        }
    }
    let mut list = List { user_namespace: mounts.user_namespace, ..List::default() };
    let mut ready: Vec<Ready<'_>> =
        mounts.placed.iter().map(|placed| list.make_ready(&placed.what)).collect();
    list.enter_new_namespace();
    if mounts.user_namespace {
        list.map_layers(mounts);
    }
    let root = list.make_root(&mounts.root);
    if mounts.user_namespace {
        for (placed, ready) in mounts.placed.iter().zip(&mut ready) {
            match ready {
                Ready::FileSystem(new, made @ None) => {
                    *made = Some(list.make_file_system(new, &placed.target));
                }
                Ready::Layers(bind) => {
                    let made = list.make_image(bind, inside_image(bind, facts.host));
                    *ready = Ready::Clone(bind, made);
                }
                _ => {}
            }
        }
        list.section("the pod's user namespace, and a mount namespace of it");
        list.ops.push(Op::UnshareUserAndMounts);
    }
    list.move_to(Handle::HOST, &mounts.root.staging, None, root);
    let carriers = find_carriers(&mounts.placed, facts.host);
    let mut leaks = Vec::new();
    let mut parked = Vec::new();
    for ((placed, ready), carrier) in mounts.placed.iter().zip(ready).zip(carriers) {
        match carrier {
            Some(_) if !facts.set_group => leaks.push(placed.target.clone()),
            Some(carrier) if !parked.iter().any(|(path, _, _)| *path == carrier) => {
                parked.push(list.park(root, &carrier));
            }
            _ => {}
        }
        list.attach(root, &placed.target, ready);
    }
    list.join_again(parked);
    list.finish(root, mounts);
    Ok(Build { ops: list.ops, sections: list.sections, leaks })
}

/// What of its image a bind is of: its whole, or what a subPath leads to, which is bound to a place of the pod's own.
fn inside_image(bind: &Bind, host: &MountTable) -> PathBuf {
    let carrier = host.carrier(&bind.source);
    let inside = carrier.and_then(|mount| {
        Some(join(mount.root.strip_prefix("/").ok()?, bind.source.strip_prefix(&mount.mount_point).ok()?))
    });
    inside.unwrap_or_default()
}

/// containerd's rule: the mount that carries the source must be shared for Bidirectional, shared or a slave
/// for HostToContainer. Only that mount is looked at, not those below it. And the kernel's: it must not be unbindable.
fn check_source(bind: &Bind, host: &MountTable) -> Result<(), BuildError> {
    let source_path = bind.source.clone();
    let Some(mount) = host.carrier(&bind.source) else {
        // A plan may be of a source that is yet to be made; who receives mounts needs to know from where.
        let private = bind.propagation == MountPropagation::Private;
        return if private { Ok(()) } else { Err(BuildError::NoCarrier { source_path }) };
    };
    let carrier = mount.mount_point.clone();
    let shared = mount.propagation.shared.is_some();
    match bind.propagation {
        MountPropagation::Bidirectional if !shared => Err(BuildError::NotShared { source_path, carrier }),
        MountPropagation::HostToContainer if !shared && mount.propagation.master.is_none() => {
            Err(BuildError::NotSharedOrSlave { source_path, carrier })
        }
        _ if mount.propagation.unbindable => Err(BuildError::Unbindable { source_path, carrier }),
        _ => Ok(()),
    }
}

/// For each mount, the shared mount of the container (by its path there) that it would be mounted on, if any:
/// only Bidirectional volumes bring shared mounts, at their target and wherever the source has a shared mount
/// below it.
fn find_carriers(placed: &[Placed], host: &MountTable) -> Vec<Option<PathBuf>> {
    (0..placed.len())
        .map(|index| {
            let target = &placed[index].target;
            let below = placed[..index].iter().rev().filter(|other| target.starts_with(&other.target));
            // The longest prefix carries; of equal ones the later covers the earlier (`rev` and a strict
            // comparison keep the later).
            let carrier = below.fold(None::<&Placed>, |best, other| match best {
                Some(best) if best.target.as_os_str().len() >= other.target.as_os_str().len() => Some(best),
                _ => Some(other),
            })?;
            match &carrier.what {
                What::Bind(bind) if bind.propagation == MountPropagation::Bidirectional => {
                    shared_carrier_in(bind, &carrier.target, target, host)
                }
                _ => None,
            }
        })
        .collect()
}

/// Within the volume `bind` at `at`: where the mount begins that carries `target`, if it is shared.
fn shared_carrier_in(bind: &Bind, at: &Path, target: &Path, host: &MountTable) -> Option<PathBuf> {
    let inside = target.strip_prefix(at).ok()?;
    let on_host = join(&bind.source, inside);
    let mount = host.carrier(&on_host)?;
    mount.propagation.shared?;
    match mount.mount_point.strip_prefix(&bind.source) {
        Ok(rest) => Some(join(at, rest)),
        Err(_) => Some(at.to_path_buf()),
    }
}

const READ_ONLY: Attributes = Attributes { read_only: true, ..Attributes::NONE };

/// What is about to be attached.
enum Ready<'a> {
    Clone(&'a Bind, Handle),
    /// To be put together in the new namespace.
    Layers(&'a Bind),
    /// With its handle where it is made already.
    FileSystem(&'a FileSystem, Option<Handle>),
    ReadOnlyAgain,
}

/// A mount whose peer group is kept by a clone: (path in the container, clone, the mount itself).
type Parked = (PathBuf, Handle, Handle);

#[derive(Default)]
struct List {
    ops: Vec<Op>,
    sections: Vec<Section>,
    last_handle: u32,
    user_namespace: bool,
}

impl List {
    fn handle(&mut self) -> Handle {
        self.last_handle += 1;
        Handle(self.last_handle)
    }

    fn section(&mut self, title: impl Into<String>) {
        self.sections.push(Section { first: self.ops.len(), title: title.into() });
    }

    fn open(&mut self, root: Handle, path: &Path, missing: Option<Missing>) -> Handle {
        let out = self.handle();
        self.ops.push(Op::Open { root, path: path.to_path_buf(), follow: false, missing, out });
        out
    }

    fn close(&mut self, handle: Handle) {
        self.ops.push(Op::Close { handle });
    }

    fn set(&mut self, mount: Handle, recursive: bool, set: Attributes, propagation: Option<PropagationType>) {
        self.ops.push(Op::SetAttributes { mount, recursive, set, clear: Attributes::NONE, propagation });
    }

    /// Step 1, for what needs one.
    fn make_ready<'a>(&mut self, what: &'a What) -> Ready<'a> {
        match what {
            What::Bind(bind) if self.user_namespace && !bind.layers.is_empty() => Ready::Layers(bind),
            What::Bind(bind) => Ready::Clone(bind, self.clone_source(bind)),
            What::FileSystem(new) => Ready::FileSystem(new, None),
            What::ReadOnlyAgain => Ready::ReadOnlyAgain,
        }
    }

    /// A detached clone of a bind's source, typed.
    fn clone_source(&mut self, bind: &Bind) -> Handle {
        let name = bind.volume.as_ref().map_or(String::new(), |volume| format!(" of volume {volume}"));
        self.section(format!("source {}{name}", bind.source.display()));
        let source = self.open(Handle::HOST, &bind.source, None);
        let out = self.handle();
        self.ops.push(Op::CloneTree { from: source, recursive: true, out });
        self.close(source);
        if self.user_namespace && bind.map_ids {
            self.ops.push(Op::MapIds { mount: out, recursive: true });
        }
        let propagation = match bind.propagation {
            MountPropagation::Private => Some(PropagationType::Private),
            MountPropagation::HostToContainer => Some(PropagationType::Slave),
            MountPropagation::Bidirectional => None,
        };
        if bind.read_only == ReadOnly::Recursive {
            self.set(out, true, READ_ONLY, propagation);
        } else {
            if propagation.is_some() {
                self.set(out, true, Attributes::NONE, propagation);
            }
            if bind.read_only == ReadOnly::Yes {
                self.set(out, false, READ_ONLY, None);
            }
        }
        out
    }

    /// Step 2.
    fn enter_new_namespace(&mut self) {
        self.section("a mount namespace of its own, private");
        self.ops.push(Op::UnshareMounts);
        self.set(Handle::HOST, true, Attributes::NONE, Some(PropagationType::Private));
    }

    /// The layers of images, each on itself with its ids mapped, once: there overlays find them. (Not the writable layer,
    /// which is the container's alone and may hold its ids as they are: an overlay writes as who has mounted it, whom a
    /// mapped mount would not know.)
    fn map_layers(&mut self, mounts: &ContainerMounts) {
        let of_volumes = mounts.placed.iter().flat_map(|placed| match &placed.what {
            What::Bind(bind) => bind.layers.as_slice(),
            _ => &[],
        });
        let mut mapped = BTreeSet::new();
        for path in mounts.root.lower.iter().chain(of_volumes) {
            if !mapped.insert(path) {
                continue;
            }
            self.section(format!("{} with ids mapped", path.display()));
            let place = self.open(Handle::HOST, path, None);
            let out = self.handle();
            self.ops.push(Op::CloneTree { from: place, recursive: false, out });
            self.ops.push(Op::MapIds { mount: out, recursive: false });
            self.ops.push(Op::MoveMount { from: out, to: place });
            self.close(out);
            self.close(place);
        }
    }

    /// Step 3, but for its place.
    fn make_root(&mut self, root: &RootFileSystem) -> Handle {
        self.section("root file system");
        let text = |path: &Path| Some(path.to_string_lossy().into_owned());
        let mut options = lower_directories(&root.lower);
        options.push(("upperdir".to_owned(), text(&root.upper)));
        options.push(("workdir".to_owned(), text(&root.work)));
        let (fs_type, source) = ("overlay".to_owned(), "overlay".to_owned());
        let out = self.handle();
        self.ops.push(Op::NewFileSystem { fs_type, source, options, attributes: Attributes::NONE, out });
        out
    }

    /// An image as a volume of layers whose ids are mapped, or what is at `inside` of it, detached. A part of a mount can
    /// only be cloned where that is attached (before Linux 6.15): that is on one of its own layers, for a moment.
    fn make_image(&mut self, bind: &Bind, inside: PathBuf) -> Handle {
        let name = bind.volume.as_deref().unwrap_or_default();
        self.section(format!("image of volume {name}, of layers with ids mapped"));
        let (fs_type, source) = ("overlay".to_owned(), "overlay".to_owned());
        let options = lower_directories(&bind.layers);
        let out = self.handle();
        self.ops.push(Op::NewFileSystem { fs_type, source, options, attributes: OF_IMAGE_VOLUMES, out });
        let Some(place) = bind.layers.first().filter(|_| !inside.as_os_str().is_empty()) else { return out };
        self.move_to(Handle::HOST, place, None, out);
        let part = self.open(out, &inside, None);
        let clone = self.handle();
        self.ops.push(Op::CloneTree { from: part, recursive: false, out: clone });
        self.close(part);
        self.ops.push(Op::Unmount { at: out, detach: true });
        self.close(out);
        clone
    }

    /// A new file system with its nodes, detached.
    fn make_file_system(&mut self, new: &FileSystem, target: &Path) -> Handle {
        self.section(format!("{} at {}", new.fs_type, target.display()));
        let out = self.handle();
        self.ops.push(Op::NewFileSystem {
            fs_type: new.fs_type.clone(),
            source: new.fs_type.clone(),
            options: new.options.clone(),
            attributes: new.attributes,
            out,
        });
        for (path, node) in &new.nodes {
            self.ops.push(Op::Make { root: out, path: path.clone(), node: node.clone() });
        }
        out
    }

    fn move_to(&mut self, root: Handle, path: &Path, missing: Option<Missing>, from: Handle) {
        let to = self.open(root, path, missing);
        self.ops.push(Op::MoveMount { from, to });
        self.close(to);
    }

    /// Step 4, before a child is attached on the shared mount at `path`.
    fn park(&mut self, root: Handle, path: &Path) -> Parked {
        self.section(format!("{} carries a mount of ours: private until that is in place", path.display()));
        let mount = self.open(root, path, None);
        let out = self.handle();
        self.ops.push(Op::CloneTree { from: mount, recursive: false, out });
        self.set(mount, false, Attributes::NONE, Some(PropagationType::Private));
        (path.to_path_buf(), out, mount)
    }

    /// Step 4.
    fn attach(&mut self, root: Handle, target: &Path, ready: Ready<'_>) {
        match ready {
            Ready::Clone(bind, clone) => {
                self.section(format!("{} at {}", bind.source.display(), target.display()));
                let missing = if bind.directory { Missing::Directory } else { Missing::File };
                self.move_to(root, target, Some(missing), clone);
                self.close(clone);
            }
            Ready::FileSystem(new, made) => {
                let out = made.unwrap_or_else(|| self.make_file_system(new, target));
                self.move_to(root, target, Some(Missing::Directory), out);
                self.close(out);
            }
            Ready::ReadOnlyAgain => {
                self.section(format!("{} read-only", target.display()));
                let place = self.open(root, target, None);
                let out = self.handle();
                self.ops.push(Op::CloneTree { from: place, recursive: true, out });
                self.set(out, true, READ_ONLY, Some(PropagationType::Private));
                self.ops.push(Op::MoveMount { from: out, to: place });
                self.close(out);
                self.close(place);
            }
            // There are none any more.
            Ready::Layers(_) => {}
        }
    }

    /// Step 5.
    fn join_again(&mut self, parked: Vec<Parked>) {
        for (path, clone, mount) in parked {
            self.section(format!("{} joins its peer group again", path.display()));
            self.ops.push(Op::SetGroup { from: clone, to: mount });
            self.close(clone);
            self.close(mount);
        }
    }

    /// Step 6.
    fn finish(&mut self, root: Handle, mounts: &ContainerMounts) {
        for placed in &mounts.placed {
            if matches!(&placed.what, What::FileSystem(new) if new.read_only_at_end) {
                self.section(format!("{} read-only", placed.target.display()));
                let mount = self.open(root, &placed.target, None);
                self.set(mount, false, READ_ONLY, None);
                self.close(mount);
            }
        }
        if mounts.root.read_only {
            self.section("root file system read-only");
            self.set(root, false, READ_ONLY, None);
        }
        self.section("the new root");
        self.ops.push(Op::PivotRoot { new_root: root });
        self.close(root);
    }
}
