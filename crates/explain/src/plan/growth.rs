//! What each runtime leaves on the node when a container starts, and starts again.
//!
//! The kubelet's runtimes make a container's mounts with the same few calls: a mount namespace is copied, typed as the
//! strongest mode asks for, the root bound on itself, then every mount bound with all below and typed after that
//! (runc's `prepareRootfs()`, crun's `libcrun_set_mounts()`). What they mount below a Bidirectional volume is then
//! mounted on a peer of the node's. Their differences are those of their sources, as of August 2026; of each is told only
//! what the model of the kernel says of its calls.

use super::Fault;
use super::pods::{ContainerAsked, MountAsked, VolumeKind};
use super::stage::{PROBE, Planned, Stage, node_files};
use crate::build::{Bind, Facts, ReadOnly, What, build};
use manifest::cri::MountPropagation;
use mount_table::MountTable;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use subtree_model::{Attributes, Handle, Missing, Op, PropagationType, Refused, RuleId, World};

/// What runs containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// This one.
    Rhizome,
    /// containerd with runc.
    Containerd,
    /// CRI-O with crun.
    CriO,
    /// `podman kube play` with crun.
    Podman,
}

/// All of them.
pub const RUNTIMES: [Runtime; 4] = [Runtime::Rhizome, Runtime::Containerd, Runtime::CriO, Runtime::Podman];

impl Runtime {
    /// What people call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Runtime::Rhizome => "rhizome",
            Runtime::Containerd => "runc/containerd",
            Runtime::CriO => "crun/CRI-O",
            Runtime::Podman => "podman",
        }
    }
}

/// What one runtime would do with all containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeReport {
    /// Which.
    pub runtime: Runtime,
    /// Container by container.
    pub containers: Vec<Growth>,
}

/// A container's starts with a runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Growth {
    /// `POD/CONTAINER`
    pub container: String,
    /// Why the runtime refuses it.
    pub fault: Option<Fault>,
    /// The places of the node at which something of the first start appears.
    pub places: Vec<PathBuf>,
    /// Start by start, the first being 0.
    pub starts: Vec<Start>,
    /// What the runtime makes of a mode that is not what was asked for: mountPath and what it is.
    pub otherwise: Vec<(PathBuf, &'static str)>,
}

/// One start of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// Mounts on the node while it runs that were not there before the first start.
    pub mounts: usize,
    /// Of these the ones in the container's Bidirectional volumes. (The others are where what was mounted came from.)
    pub in_volumes: usize,
    /// And after it has ended.
    pub left: usize,
    /// The error at which it stops, if it does.
    pub refused: Option<RuleId>,
}

/// One report a runtime.
pub(super) fn reports(bare: &Stage<'_>, all: &Stage<'_>, restarts: u32) -> Vec<RuntimeReport> {
    let host = bare.host();
    let report = |runtime| RuntimeReport {
        runtime,
        containers: all
            .containers
            .iter()
            .map(|planned| growth((bare, &host), planned, runtime, restarts))
            .collect(),
    };
    RUNTIMES.into_iter().map(report).collect()
}

fn growth(
    (bare, host): (&Stage<'_>, &MountTable),
    planned: &Planned,
    runtime: Runtime,
    restarts: u32,
) -> Growth {
    let mut asked = planned.asked.clone();
    let otherwise = rewrite(&mut asked, runtime, host);
    let mut growth = Growth {
        container: asked.id(),
        fault: asked.fault.clone(),
        places: Vec::new(),
        starts: Vec::new(),
        otherwise,
    };
    // containerd looks at what is asked; what runc makes of it comes after.
    let checked = if runtime == Runtime::Containerd { &planned.asked } else { &asked };
    if growth.fault.is_none() && runtime != Runtime::Podman {
        growth.fault = check(bare, host, checked);
    }
    // Without a mount that is shared with the node nothing of a container's can get there.
    if growth.fault.is_some() || !asked.has(MountPropagation::Bidirectional) {
        return growth;
    }
    let mut stage = bare.clone();
    if runtime != Runtime::Rhizome {
        share_pods(&mut stage);
    }
    let before = counts(&stage);
    let bidirectional = |mount: &&MountAsked| mount.mount.propagation == MountPropagation::Bidirectional;
    let volumes: Vec<&Path> =
        asked.mounts.iter().filter(bidirectional).map(|mount| mount.place.as_path()).collect();
    for start in 0..=restarts {
        let (new, refused) = match start_once(&mut stage, &asked, runtime, &before) {
            Ok(new) => (new, None),
            Err(refused) => (BTreeMap::new(), Some(refused.rule)),
        };
        let left = beyond(&stage, &before);
        if start == 0 {
            growth.places = new.keys().cloned().collect();
        }
        let inside = new.iter().filter(|(place, _)| volumes.iter().any(|volume| place.starts_with(volume)));
        growth.starts.push(Start {
            mounts: new.values().sum(),
            in_volumes: inside.map(|(_, count)| count).sum(),
            left: left.values().sum(),
            refused,
        });
        if refused.is_some() {
            break;
        }
    }
    growth
}

/// The kubelet's folder of pods is on a shared mount, of its own making if need be (`MakeRShared()`), so that all it
/// mounts in it is shared.
fn share_pods(stage: &mut Stage<'_>) {
    let pods = stage.node.pods.clone();
    let shared = stage.host().carrier(&pods).is_some_and(|mount| mount.propagation.is_shared());
    if !shared {
        let _ = stage.apply(World::FIRST_TASK, &crate::volume::share_directory(&pods, true));
    }
    let below: Vec<PathBuf> =
        stage.host().below(&pods).iter().map(|mount| mount.mount_point.clone()).collect();
    for target in below {
        let share = Op::ChangeType { target, to: PropagationType::Shared, recursive: false };
        let _ = stage.apply(World::FIRST_TASK, &[share]);
    }
}

/// What a runtime makes of a mode that is not what the API says.
fn rewrite(asked: &mut ContainerAsked, runtime: Runtime, host: &MountTable) -> Vec<(PathBuf, &'static str)> {
    let mut otherwise = Vec::new();
    for mount in &mut asked.mounts {
        let path = mount.mount.container_path.clone();
        if runtime == Runtime::Podman
            && let Some(what) = inert(mount, host)
        {
            otherwise.push((path, what));
            continue;
        }
        let private = mount.mount.propagation == MountPropagation::Private;
        // server/container_create_linux.go: the storage root must not be held.
        if runtime == Runtime::CriO && private && Path::new(CRI_O_STORAGE).starts_with(&mount.place) {
            mount.mount.propagation = MountPropagation::HostToContainer;
            otherwise.push((path, "HostToContainer: the hostPath includes the container storage root"));
        } else if runtime == Runtime::Containerd && asked.user_namespace && !private {
            // In a copy of the mounts that another user namespace owns nothing is a peer any more. (crun clones the
            // sources before.)
            if mount.mount.propagation == MountPropagation::Bidirectional {
                mount.mount.propagation = MountPropagation::HostToContainer;
                otherwise.push((
                    path,
                    "HostToContainer: in a user namespace (hostUsers: false) runc's copy is a slave",
                ));
            }
        } else if runtime == Runtime::Podman && mount.mode.as_deref() == Some("None") {
            // pkg/specgen/generate/kube: `private`, to which pkg/util/mount_opts.go adds `rbind`. crun 1.8.1 makes all of
            // it private all the same, runc 1.1.5 only the mount itself.
            let below = host.below(&mount.place).into_iter().filter(|m| m.mount_point != mount.place);
            if below.into_iter().any(|mount| mount.propagation.is_shared() || mount.propagation.is_slave()) {
                otherwise.push((
                    path,
                    "private without its submounts if runc is its runtime: what is mounted in it goes on propagating",
                ));
            }
        }
    }
    otherwise
}

/// What becomes of a mode that its source does not allow, where nobody checks that.
fn inert(mount: &MountAsked, host: &MountTable) -> Option<&'static str> {
    // What is below the pods' folder is made shared.
    let carrier = host.carrier(&mount.place).filter(|_| mount.kind == VolumeKind::HostPath)?.propagation;
    match mount.mount.propagation {
        MountPropagation::Bidirectional if carrier.is_shared() => None,
        MountPropagation::Bidirectional if carrier.is_slave() => {
            Some("HostToContainer: the source is a slave, and it does not check")
        }
        MountPropagation::HostToContainer if carrier.is_shared() || carrier.is_slave() => None,
        MountPropagation::Private => None,
        _ => Some("None: the source is not shared, and it does not check"),
    }
}

const CRI_O_STORAGE: &str = "/var/lib/containers/storage";

/// The check that containerd, CRI-O and rhizome make of sources. (podman and the OCI runtimes make none.)
fn check(bare: &Stage<'_>, host: &MountTable, asked: &ContainerAsked) -> Option<Fault> {
    let facts = Facts { host, set_group: bare.node.set_group };
    build(&bare.layout(asked), facts).err().map(|error| super::stage::build_fault(&error))
}

/// The node's mounts, by place.
fn counts(stage: &Stage<'_>) -> BTreeMap<PathBuf, usize> {
    let mut counts = BTreeMap::new();
    for mount in stage.host().mounts {
        *counts.entry(mount.mount_point).or_insert(0) += 1;
    }
    counts
}

fn beyond(stage: &Stage<'_>, before: &BTreeMap<PathBuf, usize>) -> BTreeMap<PathBuf, usize> {
    let mut now = counts(stage);
    now.retain(|place, count| {
        *count = count.saturating_sub(before.get(place).copied().unwrap_or_default());
        *count > 0
    });
    now
}

/// Starts a container, sees what is new on the node, and ends it. (Everything the runtime itself mounts on the node for a
/// container it takes away with it.)
fn start_once(
    stage: &mut Stage<'_>,
    asked: &ContainerAsked,
    runtime: Runtime,
    before: &BTreeMap<PathBuf, usize>,
) -> Result<BTreeMap<PathBuf, usize>, Refused> {
    let root = stage.layout(asked).root.staging;
    let task = stage.world.fork(World::FIRST_TASK)?;
    let ops = match runtime {
        Runtime::Rhizome => {
            let host = stage.host();
            let facts = Facts { host: &host, set_group: stage.node.set_group };
            build(&stage.layout(asked), facts).map(|build| build.ops).unwrap_or_default()
        }
        _ => {
            stage.make(World::FIRST_TASK, &root, true);
            stage.apply(World::FIRST_TASK, &[overlay(&root)])?;
            calls(stage, asked, runtime, &root)
        }
    };
    let made = stage.apply(task, &ops);
    let mut new = beyond(stage, before);
    new.remove(&root);
    stage.world.exit(task)?;
    if runtime != Runtime::Rhizome {
        let unmount = Op::UnmountPath { target: root, detach: true, expire: false };
        let _ = stage.apply(World::FIRST_TASK, &[unmount]);
    }
    made.map(|_| new)
}

fn overlay(at: &Path) -> Op {
    Op::Mount {
        fs_type: "overlay".to_owned(),
        source: "overlay".to_owned(),
        target: at.to_owned(),
        attributes: Attributes::default(),
    }
}

/// The calls that an OCI runtime makes, in the container's process.
fn calls(stage: &Stage<'_>, asked: &ContainerAsked, runtime: Runtime, root: &Path) -> Vec<Op> {
    let all = if asked.has(MountPropagation::Bidirectional) {
        PropagationType::Shared
    } else if asked.has(MountPropagation::HostToContainer) || runtime == Runtime::Containerd {
        PropagationType::Slave
    } else {
        PropagationType::Private
    };
    let change = |target: &Path, to, recursive| Op::ChangeType { target: target.to_owned(), to, recursive };
    let mut ops = vec![
        Op::UnshareMounts,
        change(Path::new("/"), all, true),
        change(root, PropagationType::Private, false),
        Op::Bind { source: root.to_owned(), target: root.to_owned(), recursive: true },
    ];
    let mut layout = stage.layout(asked);
    add_node_mounts(&mut layout.placed, stage, asked, runtime);
    for placed in layout.placed {
        let target = root.join(placed.target.strip_prefix("/").unwrap_or(&placed.target));
        match placed.what {
            What::Bind(bind) => add_bind(&mut ops, &bind, &target),
            What::FileSystem(new) => {
                ops.extend(make(&target, true));
                ops.push(Op::Mount {
                    fs_type: new.fs_type.clone(),
                    source: new.fs_type,
                    target,
                    attributes: new.attributes,
                });
            }
            What::ReadOnlyAgain => {}
        }
    }
    let old = root.join(".old");
    ops.extend(make(&old, true));
    ops.extend([
        Op::PivotRootTo { new_root: root.to_owned(), put_old: old },
        change(Path::new("/.old"), PropagationType::Slave, true),
        Op::UnmountPath { target: "/.old".into(), detach: true, expire: false },
    ]);
    ops
}

/// What the kubelet and its runtimes mount into containers that rhizome does not.
fn add_node_mounts(
    placed: &mut Vec<crate::build::Placed>,
    stage: &Stage<'_>,
    asked: &ContainerAsked,
    runtime: Runtime,
) {
    if runtime == Runtime::Podman || !asked.token {
        return;
    }
    let path = Path::new("/var/run/secrets/kubernetes.io/serviceaccount");
    if asked.mounts.iter().any(|mount| mount.mount.container_path == path) {
        return;
    }
    // Like a file of the pod's own, but a directory.
    let Some(file) = node_files(asked, &stage.node.pods).pop() else { return };
    let source = file.host_path.with_file_name("serviceaccount");
    let bind = Bind {
        source,
        directory: true,
        read_only: ReadOnly::Yes,
        propagation: MountPropagation::Private,
        volume: None,
        map_ids: true,
        layers: Vec::new(),
    };
    placed.push(crate::build::Placed { target: stage.node.in_image(path), what: What::Bind(bind) });
    placed.sort_by_key(|placed| placed.target.components().count());
}

fn make(path: &Path, directory: bool) -> [Op; 2] {
    let missing = Some(if directory { Missing::Directory } else { Missing::File });
    let open = Op::Open { root: Handle::HOST, path: path.to_owned(), follow: false, missing, out: PROBE };
    [open, Op::Close { handle: PROBE }]
}

/// A bind with all below, and then the type of all of it: two calls, so that between them it is what the bind made it.
fn add_bind(ops: &mut Vec<Op>, bind: &Bind, target: &Path) {
    ops.extend(make(target, bind.directory));
    ops.push(Op::Bind { source: bind.source.clone(), target: target.to_owned(), recursive: true });
    let to = match bind.propagation {
        MountPropagation::Private => PropagationType::Private,
        MountPropagation::HostToContainer => PropagationType::Slave,
        MountPropagation::Bidirectional => PropagationType::Shared,
    };
    ops.push(Op::ChangeType { target: target.to_owned(), to, recursive: true });
    if bind.read_only != ReadOnly::No {
        let attributes = Attributes { read_only: true, ..Attributes::default() };
        ops.push(Op::Remount { target: target.to_owned(), attributes, bind: true });
    }
}

impl Growth {
    /// Whether anything gets to the node.
    #[must_use]
    pub fn leaks(&self) -> bool {
        self.starts.iter().any(|start| start.mounts > 0 || start.left > 0 || start.refused.is_some())
    }
}
