//! From a manifest's Pod to containers with mounts, as the kubelet makes them; nothing is looked at.

use super::Fault;
use super::node::{Node, There};
use k8s_openapi::api::core::v1::{Container, PodSpec, Volume, VolumeMount};
use manifest::annotations::MAKE_SHARED;
use manifest::cri::container::propagation;
use manifest::cri::{Mount, MountPropagation};
use manifest::load::Surveyed;
use std::path::{Component, Path, PathBuf};

/// When a container runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// Before the others, to its end.
    Init,
    /// From before the others on (an init container with `restartPolicy: Always`).
    Sidecar,
    /// While the pod runs.
    Main,
    /// Added to a pod that runs.
    Ephemeral,
}

/// What a volume is, as far as mounts go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VolumeKind {
    /// A path of the node.
    HostPath,
    /// A directory of the pod's, on the node's disk.
    Directory,
    /// An emptyDir.
    EmptyDir,
    /// An emptyDir in memory.
    Memory,
    /// Files that the node writes into a tmpfs: secrets and the like.
    Files,
    /// What a driver mounts: a claim, CSI, NFS and so on.
    Driver,
    /// None of that name.
    Missing,
}

/// A volume in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountAsked {
    /// What the runtime is told.
    pub mount: Mount,
    /// What is at its source.
    pub kind: VolumeKind,
    /// The mode as it is written.
    pub mode: Option<String>,
    /// The folder of the node that is mounted: that of the volume, `subPath` included.
    pub place: PathBuf,
    /// Whether it is a hostPath without a type: what is missing is then made.
    pub untyped: bool,
    /// `subPath`, or `subPathExpr` as it is written.
    pub sub_path: Option<PathBuf>,
    /// Whether it is taken for a directory.
    pub directory: bool,
}

/// A container as its manifest asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerAsked {
    /// The pod's name; of a workload `kind/name`.
    pub pod: String,
    /// The container's name.
    pub name: String,
    /// When it runs.
    pub sort: Sort,
    /// `securityContext.privileged`
    pub privileged: bool,
    /// `securityContext.readOnlyRootFilesystem`
    pub read_only_root: bool,
    /// Its volumes, as they are written.
    pub mounts: Vec<MountAsked>,
    /// Where it says why it ended.
    pub termination_log: PathBuf,
    /// Whether the kubelet mounts a service account's token in it.
    pub token: bool,
    /// Whether it is in a user namespace of the pod's (`hostUsers: false`).
    pub user_namespace: bool,
    /// Why the kubelet would not hand it to a runtime.
    pub fault: Option<Fault>,
}

impl ContainerAsked {
    /// `POD/CONTAINER`
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}/{}", self.pod, self.name)
    }

    /// Whether a volume has this propagation.
    pub(super) fn has(&self, propagation: MountPropagation) -> bool {
        self.mounts.iter().any(|mount| mount.mount.propagation == propagation)
    }
}

/// A pod as its manifest asks for it.
#[derive(Debug, Clone)]
pub(super) struct PodAsked {
    pub(super) name: String,
    /// Its own folder on the node.
    pub(super) folder: PathBuf,
    pub(super) volumes: Vec<VolumeAsked>,
    pub(super) containers: Vec<ContainerAsked>,
    pub(super) make_shared: bool,
}

/// A volume on the node.
#[derive(Debug, Clone)]
pub(super) struct VolumeAsked {
    pub(super) name: String,
    pub(super) kind: VolumeKind,
    pub(super) path: PathBuf,
    pub(super) directory: bool,
    /// A hostPath without a type.
    untyped: bool,
    /// Whether a container asks for propagation on it.
    pub(super) propagates: bool,
    /// Why the kubelet would not set it up.
    fault: Option<Fault>,
}

/// Gives pods of one name different ones.
pub(super) fn tell_apart(pods: &mut [PodAsked]) {
    let mut seen = std::collections::HashMap::<String, u32>::new();
    for pod in pods {
        let count = seen.entry(pod.name.clone()).or_default();
        *count += 1;
        if *count > 1 {
            pod.name = format!("{}#{count}", pod.name);
            pod.containers.iter_mut().for_each(|container| container.pod.clone_from(&pod.name));
        }
    }
}

/// Containers of a pod, and mounts of a container, that are looked at.
const MAX: usize = 1000;

impl PodAsked {
    /// The Pod that an object is or makes.
    pub(super) fn of(object: &Surveyed, node: &Node) -> Option<PodAsked> {
        let spec = object.pod.as_ref()?.spec.as_ref();
        let written = if object.id.name.is_empty() { "unnamed" } else { &object.id.name };
        let name = match object.id.kind.as_str() {
            "Pod" => written.to_owned(),
            kind => format!("{}/{written}", kind.to_lowercase()),
        };
        let folder = node.pods.join(format!("uid-of-{}", name.replace('/', "-")));
        let volumes: Vec<VolumeAsked> = spec
            .volumes
            .iter()
            .flatten()
            .take(MAX)
            .map(|volume| VolumeAsked::of(volume, spec, &folder, node))
            .collect();
        let make_shared = object.annotations(MAKE_SHARED).iter().any(|(value, _)| *value == "true");
        let mut pod = PodAsked { name, folder, volumes, containers: Vec::new(), make_shared };
        pod.add_containers(spec, node);
        Some(pod)
    }

    fn add_containers(&mut self, spec: &PodSpec, node: &Node) {
        for c in spec.init_containers.iter().flatten().take(MAX) {
            let sort = if c.restart_policy.as_deref() == Some("Always") { Sort::Sidecar } else { Sort::Init };
            self.add(spec, Parts::of(c, sort), node);
        }
        for c in spec.containers.iter().take(MAX) {
            self.add(spec, Parts::of(c, Sort::Main), node);
        }
        for c in spec.ephemeral_containers.iter().flatten().take(MAX) {
            let security = c.security_context.as_ref();
            let parts = Parts {
                name: &c.name,
                sort: Sort::Ephemeral,
                mounts: c.volume_mounts.as_deref(),
                log: c.termination_message_path.as_deref(),
                privileged: security.and_then(|s| s.privileged),
                read_only_root: security.and_then(|s| s.read_only_root_filesystem),
            };
            self.add(spec, parts, node);
        }
        // The kubelet sets up all volumes that some container mounts before it starts any.
        let used = |volume: &&VolumeAsked| {
            let named = |mount: &MountAsked| mount.mount.volume.as_ref() == Some(&volume.name);
            self.containers.iter().any(|c| c.fault == volume.fault || c.mounts.iter().any(named))
        };
        let faulty =
            self.volumes.iter().filter(|volume| volume.fault.as_ref().is_some_and(|f| f.who == "kubelet"));
        if let Some(fault) = faulty.filter(used).find_map(|volume| volume.fault.clone()) {
            for container in &mut self.containers {
                container.fault.get_or_insert_with(|| fault.clone());
            }
        }
    }

    fn add(&mut self, spec: &PodSpec, parts: Parts<'_>, node: &Node) {
        let log = parts.log.filter(|path| !path.is_empty()).unwrap_or(TERMINATION_LOG);
        let mut container = ContainerAsked {
            pod: self.name.clone(),
            name: parts.name.to_owned(),
            sort: parts.sort,
            privileged: parts.privileged.unwrap_or_default(),
            read_only_root: parts.read_only_root.unwrap_or_default(),
            mounts: Vec::new(),
            termination_log: absolute(log),
            token: spec.automount_service_account_token.unwrap_or(true),
            user_namespace: spec.host_users == Some(false),
            fault: None,
        };
        for (index, written) in parts.mounts.unwrap_or_default().iter().enumerate().take(MAX) {
            match self.mount(&container, index, written) {
                Ok(mount) => container.mounts.push(mount),
                Err(fault) => drop(container.fault.get_or_insert(fault)),
            }
        }
        if let Some(fault) = missing_mount_point(&container, node) {
            container.fault.get_or_insert(fault);
        }
        for mount in &container.mounts {
            let target = node.in_image(&mount.mount.container_path);
            if target == Path::new("/") {
                let text = format!(
                    "cannot mount at {}: that is the root of the container",
                    mount.mount.container_path.display()
                );
                container.fault.get_or_insert(Fault { who: "runtime", text, hint: None });
                break;
            }
        }
        self.containers.push(container);
    }

    /// As the kubelet does it (`makeMounts()`).
    fn mount(
        &self,
        container: &ContainerAsked,
        index: usize,
        written: &VolumeMount,
    ) -> Result<MountAsked, Fault> {
        let kubelet = |text: String| Fault { who: "kubelet", text, hint: None };
        let volume = self.volumes.iter().find(|volume| volume.name == written.name).ok_or_else(|| {
            kubelet(format!(
                "cannot find volume {:?} to mount into container {:?}",
                written.name, container.name
            ))
        })?;
        if let Some(fault) = &volume.fault {
            return Err(fault.clone());
        }
        let propagation = propagation(written).map_err(|error| kubelet(error.to_string()))?;
        let recursive_read_only = manifest::cri::container::recursive_read_only(written, true)
            .map_err(|error| kubelet(error.to_string()))?;
        let sub_path = written.sub_path.as_deref().or(written.sub_path_expr.as_deref());
        let sub_path = sub_path.filter(|path| !path.is_empty()).map(PathBuf::from);
        let place = sub_path.iter().fold(volume.path.clone(), |place, sub_path| place.join(inside(sub_path)));
        let host_path = match &sub_path {
            None => place.clone(),
            Some(_) => self
                .folder
                .join("volume-subpaths")
                .join(&volume.name)
                .join(&container.name)
                .join(index.to_string()),
        };
        let files = matches!(volume.kind, VolumeKind::Files | VolumeKind::Directory);
        Ok(MountAsked {
            mount: Mount {
                container_path: absolute(&written.mount_path),
                host_path,
                readonly: written.read_only.unwrap_or_default() || files,
                recursive_read_only,
                propagation,
                volume: Some(written.name.clone()),
                layers: Vec::new(),
            },
            kind: volume.kind,
            untyped: volume.untyped,
            mode: written.mount_propagation.clone(),
            place,
            directory: if sub_path.is_some() { !files } else { volume.directory },
            sub_path,
        })
    }
}

/// The files that the node mounts into every container, beside the one for why it ended.
pub(super) const NODE_FILES: [&str; 3] = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];

/// What a container has mounted in a read-only volume of the node's: the place there, and the mount point.
fn points_in_read_only<'a>(
    mounts: impl Iterator<Item = (&'a Path, &'a Path, bool)> + Clone,
    log: &Path,
) -> Vec<(PathBuf, PathBuf)> {
    let own = NODE_FILES.map(Path::new).into_iter().chain([log]);
    let points = mounts.clone().map(|(path, ..)| path).chain(own);
    let below = points.filter_map(|point| {
        let above = mounts.clone().filter(|(path, ..)| *path != point && point.starts_with(path));
        let (path, place, read_only) = above.max_by_key(|(path, ..)| path.components().count())?;
        let rest = point.strip_prefix(path).ok()?;
        read_only.then(|| (place.join(rest), point.to_path_buf()))
    });
    below.collect()
}

/// What has to be at places of the node so that containers can start: it is mounted on, and cannot be made.
pub(super) fn mount_points(spec: &PodSpec) -> Vec<PathBuf> {
    let place = |name: &str| {
        let volume = spec.volumes.iter().flatten().find(|volume| volume.name == name)?;
        Some(PathBuf::from(&volume.host_path.as_ref()?.path))
    };
    let mut found = Vec::new();
    let all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    for container in all {
        let mounts = container.volume_mounts.iter().flatten().filter(|mount| mount.sub_path.is_none());
        let mounts: Vec<(PathBuf, PathBuf, bool)> = mounts
            .map(|mount| {
                let read_only = mount.read_only.unwrap_or_default();
                let place = place(&mount.name);
                (absolute(&mount.mount_path), place.clone().unwrap_or_default(), read_only && place.is_some())
            })
            .take(MAX)
            .collect();
        let log = absolute(container.termination_message_path.as_deref().unwrap_or(TERMINATION_LOG));
        let mounts =
            mounts.iter().map(|(path, place, read_only)| (path.as_path(), place.as_path(), *read_only));
        found.extend(points_in_read_only(mounts, &log).into_iter().map(|(place, _)| place));
    }
    found
}

/// A mount point in a read-only volume that is not there.
fn missing_mount_point(container: &ContainerAsked, node: &Node) -> Option<Fault> {
    let mounts = container.mounts.iter().map(|mount| {
        let read_only = mount.mount.readonly && mount.kind == VolumeKind::HostPath;
        (mount.mount.container_path.as_path(), mount.place.as_path(), read_only)
    });
    let missing = |place: &Path| node.source(place).is_some_and(|source| source.there == There::Missing);
    let (place, point) = points_in_read_only(mounts, &container.termination_log)
        .into_iter()
        .find(|(place, _)| missing(place))?;
    let point = point.display();
    Some(Fault {
        who: "runtime",
        text: format!(
            "cannot mount at {point}: mkdir {point}: read-only file system (the volume that it is in is readOnly)"
        ),
        hint: Some(format!("make {} on the node, or mount elsewhere", mount_table::shell_word(&place))),
    })
}

/// Where a container says why it ended, unless told otherwise.
const TERMINATION_LOG: &str = "/dev/termination-log";

/// What all sorts of containers have.
struct Parts<'a> {
    name: &'a str,
    sort: Sort,
    mounts: Option<&'a [VolumeMount]>,
    log: Option<&'a str>,
    privileged: Option<bool>,
    read_only_root: Option<bool>,
}

impl<'a> Parts<'a> {
    fn of(c: &'a Container, sort: Sort) -> Parts<'a> {
        let security = c.security_context.as_ref();
        Parts {
            name: &c.name,
            sort,
            mounts: c.volume_mounts.as_deref(),
            log: c.termination_message_path.as_deref(),
            privileged: security.and_then(|s| s.privileged),
            read_only_root: security.and_then(|s| s.read_only_root_filesystem),
        }
    }
}

/// A path that is below another, whatever it says; the API server refuses `..`.
fn inside(path: &Path) -> PathBuf {
    path.components().filter(|part| matches!(part, Component::Normal(_))).collect()
}

/// A path from the root, without dots.
fn absolute(path: &str) -> PathBuf {
    Path::new("/").join(inside(Path::new(path)))
}

impl VolumeAsked {
    fn of(volume: &Volume, spec: &PodSpec, folder: &Path, node: &Node) -> VolumeAsked {
        let propagates = asks_for_propagation(spec, &volume.name);
        let own =
            |plugin: &str| folder.join("volumes").join(format!("kubernetes.io~{plugin}")).join(&volume.name);
        let made = |kind, plugin: &str| VolumeAsked {
            name: volume.name.clone(),
            kind,
            path: own(plugin),
            directory: true,
            untyped: false,
            propagates,
            fault: None,
        };
        match volume {
            Volume { host_path: Some(source), .. } => {
                let kind = source.type_.as_deref().unwrap_or_default();
                VolumeAsked::host_path(volume, Path::new(&source.path), kind, propagates, node)
            }
            Volume { empty_dir: Some(source), .. } => match source.medium.as_deref().unwrap_or_default() {
                "" => made(VolumeKind::EmptyDir, "empty-dir"),
                _ => made(VolumeKind::Memory, "empty-dir"),
            },
            Volume { config_map: Some(_), .. } => made(VolumeKind::Directory, "configmap"),
            Volume { secret: Some(_), .. } => made(VolumeKind::Files, "secret"),
            Volume { projected: Some(_), .. } => made(VolumeKind::Files, "projected"),
            Volume { downward_api: Some(_), .. } => made(VolumeKind::Files, "downward-api"),
            _ => made(VolumeKind::Driver, "csi"),
        }
    }

    fn host_path(volume: &Volume, path: &Path, kind: &str, propagates: bool, node: &Node) -> VolumeAsked {
        let found = node.source(path);
        let (canonical, there) = match found {
            Some(source) => (source.canonical.clone(), Some(source.there)),
            None => (absolute(&path.to_string_lossy()), None),
        };
        let file_type = matches!(kind, "File" | "FileOrCreate" | "Socket" | "CharDevice" | "BlockDevice");
        let named_as_file =
            kind.is_empty() && canonical.extension().is_some_and(|word| word == "sock" || word == "socket");
        let directory = match there {
            None => !file_type && !named_as_file,
            Some(There::Missing) => kind != "FileOrCreate",
            Some(there) => there == There::Directory,
        };
        let text = there.and_then(|there| type_fault(path, kind, there));
        let fault = text.map(|text| Fault {
            who: if kind.is_empty() { "runtime" } else { "kubelet" },
            text: match kind {
                "" => format!("failed to generate spec: {text}"),
                _ => format!("MountVolume.SetUp failed for volume {:?} : {text}", volume.name),
            },
            hint: (there == Some(There::Dead)).then(|| {
                let path = mount_table::shell_word(path);
                format!("the FUSE server behind it is gone: umount -l {path}, and mount it again")
            }),
        });
        VolumeAsked {
            name: volume.name.clone(),
            kind: VolumeKind::HostPath,
            path: canonical,
            directory,
            untyped: kind.is_empty(),
            propagates,
            fault,
        }
    }
}

/// The kubelet's check of a hostPath's type (`pkg/volume/host_path/host_path.go`), and what a runtime says of a dead one.
fn type_fault(path: &Path, kind: &str, there: There) -> Option<String> {
    let path = path.display();
    if there == There::Dead {
        return Some(match kind {
            "DirectoryOrCreate" | "FileOrCreate" => format!("mkdir {path}: file exists"),
            _ => format!("failed to stat {path:?}: stat {path}: transport endpoint is not connected"),
        });
    }
    if there == There::Silent {
        return Some(format!("stat {path}: the file system does not answer"));
    }
    let (expected, fits) = match kind {
        "" => return None,
        "DirectoryOrCreate" => ("a directory", matches!(there, There::Directory | There::Missing)),
        "Directory" => ("a directory", there == There::Directory),
        "FileOrCreate" => ("a file", matches!(there, There::File | There::Missing)),
        "File" => ("a file", there == There::File),
        "Socket" => ("a socket file", there == There::Socket),
        "CharDevice" => ("a character device", there == There::CharDevice),
        "BlockDevice" => ("a block device", there == There::BlockDevice),
        other => return Some(format!("{other} is an invalid volume type")),
    };
    (!fits).then(|| format!("hostPath type check failed: {path} is not {expected}"))
}

fn asks_for_propagation(spec: &PodSpec, volume: &str) -> bool {
    let asks = |mounts: &Option<Vec<VolumeMount>>| {
        mounts.iter().flatten().filter(|mount| mount.name == volume).any(|mount| {
            matches!(mount.mount_propagation.as_deref(), Some("HostToContainer" | "Bidirectional"))
        })
    };
    spec.containers.iter().any(|container| asks(&container.volume_mounts))
        || spec.init_containers.iter().flatten().any(|container| asks(&container.volume_mounts))
}
