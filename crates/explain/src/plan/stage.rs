//! The node with the pods' volumes and containers in it, in the model.

use super::node::{Node, There};
use super::pods::{ContainerAsked, MountAsked, NODE_FILES, PodAsked, Sort, VolumeAsked, VolumeKind};
use super::{ContainerPlan, Fault};
use crate::build::{Bind, BuildError, ContainerMounts, Facts, Placed, RootFileSystem, What, build};
use crate::defaults::{CgroupView, Wanted, default_mounts, in_order};
use crate::volume;
use manifest::cri::{Mount, MountPropagation};
use mount_table::{MountId, MountTable, NamespaceId};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use subtree_model::{Change, Effects, Handle, Missing, Op, Refused, RuleId, TaskId, World};

/// A world in which pods come to be.
#[derive(Debug, Clone)]
pub(super) struct Stage<'a> {
    pub(super) node: &'a Node,
    pub(super) world: World,
    /// Why each mount is of the type that it is.
    pub(super) types: HashMap<MountId, RuleId>,
    pub(super) containers: Vec<Planned>,
}

/// A container, with how it is in the world if it runs.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub(super) asked: ContainerAsked,
    pub(super) fault: Option<Fault>,
    pub(super) started: Option<Started>,
    /// Its operations, also of one that has ended by now.
    pub(super) ops: Vec<Op>,
    /// All that is mounted in it, in order.
    pub(super) placed: Vec<Placed>,
}

/// A container that runs.
#[derive(Debug, Clone)]
pub(super) struct Started {
    pub(super) task: TaskId,
    pub(super) namespace: NamespaceId,
    /// What it sees.
    pub(super) table: MountTable,
}

impl<'a> Stage<'a> {
    pub(super) fn new(node: &'a Node, mounts: &MountTable) -> Stage<'a> {
        let mut world = World::from_table(mounts).unwrap_or_default();
        world.set_kernel(node.kernel);
        world.set_mount_max(node.mount_max);
        Stage { node, world, types: HashMap::new(), containers: Vec::new() }
    }

    /// The node's own mounts as they are now.
    pub(super) fn host(&self) -> MountTable {
        self.world.table(World::FIRST_TASK).unwrap_or_default()
    }

    /// The containers that run.
    pub(super) fn running(&self) -> impl Iterator<Item = (&Planned, &Started)> {
        self.containers.iter().filter_map(|planned| Some((planned, planned.started.as_ref()?)))
    }

    /// Does operations, noting what became of types, and lets go of what they hold.
    pub(super) fn apply(&mut self, task: TaskId, ops: &[Op]) -> Result<Effects, Refused> {
        let mut all = Effects::default();
        let result = ops.iter().try_for_each(|op| {
            let mut effects = self.world.apply(task, op)?;
            self.note(&effects);
            all.list.append(&mut effects.list);
            Ok(())
        });
        for handle in ops.iter().filter_map(opened) {
            // Most are closed by the list itself.
            let _ = self.world.apply(task, &Op::Close { handle });
        }
        result.map(|()| all)
    }

    fn note(&mut self, effects: &Effects) {
        for effect in &effects.list {
            match effect.change {
                Change::Retyped { mount, .. } => self.types.insert(mount, effect.rule),
                Change::Copied { to, .. } => self.types.insert(to, effect.rule),
                _ => continue,
            };
        }
    }

    /// The kubelet's part: the pod's volumes, as `agent` makes them.
    pub(super) fn prepare(&mut self, pod: &PodAsked) {
        let own = |volume: &&VolumeAsked| volume.kind != VolumeKind::HostPath;
        if pod.volumes.iter().filter(own).any(|volume| volume.propagates) {
            self.on_host(&volume::share_directory(&pod.folder.join("volumes"), false));
        }
        for volume in &pod.volumes {
            match volume.kind {
                VolumeKind::Memory => self.on_host(&volume::tmpfs(&volume.path, &[], volume.propagates)),
                VolumeKind::Files | VolumeKind::Driver => {
                    self.on_host(&filled(volume::tmpfs(&volume.path, &[], volume.propagates)));
                }
                VolumeKind::HostPath if pod.make_shared && volume.propagates => {
                    let shared = self.host().carrier(&volume.path).is_some_and(|m| m.propagation.is_shared());
                    if !shared {
                        self.on_host(&volume::share_directory(&volume.path, true));
                    }
                }
                _ => {}
            }
        }
        for container in &pod.containers {
            for mount in container.mounts.iter().filter(|mount| mount.sub_path.is_some()) {
                self.make(World::FIRST_TASK, &mount.place, mount.directory);
                self.on_host(&volume::bind(&mount.place, &mount.mount.host_path));
            }
        }
    }

    /// What cannot be done on the host here (a path through a file, say) shows where a container needs it.
    fn on_host(&mut self, ops: &[Op]) {
        let _ = self.apply(World::FIRST_TASK, ops);
    }

    /// Makes a directory or file if it is not there.
    pub(super) fn make(&mut self, task: TaskId, path: &Path, directory: bool) {
        let missing = Some(if directory { Missing::Directory } else { Missing::File });
        let op =
            Op::Open { root: Handle::HOST, path: path.to_path_buf(), follow: false, missing, out: PROBE };
        let _ = self.apply(task, &[op]);
    }

    /// A container's start; an init container's end, too.
    pub(super) fn start(&mut self, asked: &ContainerAsked) {
        let mut planned = Planned {
            asked: asked.clone(),
            fault: asked.fault.clone(),
            started: None,
            ops: Vec::new(),
            placed: Vec::new(),
        };
        if planned.fault.is_none() {
            match self.try_start(&mut planned) {
                Ok(started) if asked.sort == Sort::Init => drop(self.world.exit(started.task)),
                Ok(started) => planned.started = Some(started),
                Err(fault) => planned.fault = Some(fault),
            }
        }
        self.containers.push(planned);
    }

    fn try_start(&mut self, planned: &mut Planned) -> Result<Started, Fault> {
        let host = self.host();
        let mounts = self.layout(&planned.asked);
        let facts = Facts { host: &host, set_group: self.node.set_group };
        let built = build(&mounts, facts);
        planned.placed = mounts.placed;
        planned.ops = built.map_err(|error| build_fault(&error))?.ops;
        let refused = |error: Refused| Fault { who: "kernel", text: error.to_string(), hint: None };
        let task = self.world.fork(World::FIRST_TASK).map_err(refused)?;
        if let Err(error) = self.apply(task, &planned.ops) {
            let _ = self.world.exit(task);
            return Err(refused(error));
        }
        let namespace = self.world.namespace_of(task).unwrap_or(NamespaceId(0));
        let table = self.world.table(task).map_err(refused)?;
        Ok(Started { task, namespace, table })
    }

    /// All that is mounted in a container, as `runtime` has it; but what an image has is not looked at: its links are
    /// those that the node is told of, and nothing of `/proc` and `/sys` is masked.
    pub(super) fn layout(&self, asked: &ContainerAsked) -> ContainerMounts {
        let own = self.node.run.join("containers").join(asked.id());
        let files = node_files(asked, &self.node.pods);
        let all = asked.mounts.iter().map(|mount| (&mount.mount, mount.directory));
        let all = all.chain(files.iter().map(|mount| (mount, false)));
        let volumes = all.map(|(mount, directory)| {
            let bind = Bind::of(mount, mount.host_path.clone(), directory);
            (mount.container_path.clone(), What::Bind(bind))
        });
        let wanted = Wanted {
            privileged: asked.privileged,
            tty: false,
            shm: None,
            cgroup: &CgroupView::V2,
            devices: &[],
        };
        let placed = in_order(default_mounts(&wanted), volumes.collect())
            .into_iter()
            .map(|(path, what)| Placed { target: self.node.in_image(&path), what })
            .collect();
        let root = RootFileSystem {
            lower: vec!["IMAGE".into()],
            upper: own.join("upper"),
            work: own.join("work"),
            staging: own.join("root"),
            read_only: asked.read_only_root,
        };
        ContainerMounts { root, placed, user_namespace: asked.user_namespace }
    }

    /// Where a volume is in its container, without symbolic links.
    pub(super) fn target(&self, mount: &MountAsked) -> PathBuf {
        self.node.in_image(&mount.mount.container_path)
    }

    /// What lies at a hostPath, if that is known.
    pub(super) fn there(&self, mount: &MountAsked) -> Option<There> {
        let found = self.node.sources.values().find(|source| source.canonical == mount.place);
        found.map(|source| source.there)
    }

    pub(super) fn into_containers(self) -> Vec<ContainerPlan> {
        let plan = |planned: Planned| ContainerPlan {
            asked: planned.asked,
            fault: planned.fault,
            operations: planned.ops.len(),
        };
        self.containers.into_iter().map(plan).collect()
    }
}

/// As if what is in the new file system were not known: somebody fills it.
fn filled(mut ops: Vec<Op>) -> Vec<Op> {
    for op in &mut ops {
        if let Op::NewFileSystem { fs_type, .. } = op {
            "filled".clone_into(fs_type);
        }
    }
    ops
}

/// A handle of our own; those of the builder begin with 1.
pub(super) const PROBE: Handle = Handle(u32::MAX - 1);

/// What an operation opens.
fn opened(op: &Op) -> Option<Handle> {
    match op {
        Op::Open { out, .. }
        | Op::CloneTree { out, .. }
        | Op::NewFileSystem { out, .. }
        | Op::OpenNamespace { out } => Some(*out),
        _ => None,
    }
}

/// The files that the node mounts into every container, but where a volume is mounted.
pub(super) fn node_files(asked: &ContainerAsked, pods: &Path) -> Vec<Mount> {
    let folder = pods.join(format!("uid-of-{}", asked.pod.replace('/', "-")));
    let own = NODE_FILES.map(|path| (PathBuf::from(path), folder.join(path[1..].replace('/', "-"))));
    let files = [(
        asked.termination_log.clone(),
        folder.join("containers").join(&asked.name).join("termination-log"),
    )];
    let taken = |path: &Path| asked.mounts.iter().any(|mount| mount.mount.container_path == path);
    let free = own.into_iter().chain(files).filter(|(path, _)| !taken(path));
    free.map(|(container_path, host_path)| Mount { container_path, host_path, ..Mount::default() }).collect()
}

pub(super) fn build_fault(error: &BuildError) -> Fault {
    let (who, text) = match error {
        BuildError::NotShared { .. } | BuildError::NotSharedOrSlave { .. } => {
            ("containerd", format!("failed to generate spec: {error}"))
        }
        _ => ("runtime", error.to_string()),
    };
    Fault { who, text, hint: error.hint() }
}

/// A mode in the API's words.
pub(super) fn mode_name(propagation: MountPropagation) -> &'static str {
    match propagation {
        MountPropagation::Private => "None",
        MountPropagation::HostToContainer => "HostToContainer",
        MountPropagation::Bidirectional => "Bidirectional",
    }
}
