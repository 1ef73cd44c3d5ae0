//! What the rules look at: containers with their mounts, each mount with its volume.

use super::paths::{clean, within};
use k8s_openapi::api::core::v1::{PodSpec, Volume, VolumeMount};
use manifest::load::Surveyed;
use std::collections::HashMap;

/// A Pod, or the Pod of a workload.
#[derive(Debug)]
pub(super) struct Pod<'a> {
    pub(super) object: &'a Surveyed,
    pub(super) spec: &'a PodSpec,
    /// Init containers and ephemeral containers too.
    pub(super) containers: Vec<ContainerOf<'a>>,
}

/// A container of a Pod.
#[derive(Debug)]
pub(super) struct ContainerOf<'a> {
    pub(super) name: &'a str,
    /// Where it says why it ended, if the manifest says where that is.
    pub(super) termination_log: Option<&'a str>,
    pub(super) mounts: Vec<MountOf<'a>>,
}

/// A volume where a container mounts it.
#[derive(Debug)]
pub(super) struct MountOf<'a> {
    /// API path.
    pub(super) path: String,
    pub(super) mount: &'a VolumeMount,
    pub(super) volume: Option<&'a Volume>,
    pub(super) mode: Mode,
    /// Where in the container, clean.
    pub(super) target: String,
    /// Which folder of the node, clean, `subPath` included; none if it is no hostPath.
    pub(super) host_path: Option<String>,
}

/// `mountPropagation`, as far as it is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Unset,
    None,
    HostToContainer,
    Bidirectional,
    Unknown,
}

/// The Bidirectional folders of nodes, clean, of all Pods of the input, each with one container that has it.
#[derive(Debug, Default)]
pub(super) struct Makers<'a> {
    folders: HashMap<&'a str, (&'a str, &'a Surveyed)>,
}

/// Folders of a node of which everybody has a part, so that who has one need not be who mounts in it.
const SYSTEMS: [&str; 6] = ["/dev", "/etc", "/proc", "/run", "/sys", "/var/lib/kubelet"];

impl<'a> Makers<'a> {
    pub(super) fn of(pods: &'a [Pod<'a>]) -> Self {
        let mounts =
            pods.iter().flat_map(|pod| pod.mounts().map(move |(container, mount)| (pod, container, mount)));
        let shared = mounts.filter(|(_, _, mount)| mount.mode == Mode::Bidirectional);
        let folders = shared.filter_map(|(pod, container, mount)| {
            Some((mount.host_path.as_deref()?, (container.name, pod.object)))
        });
        Self { folders: folders.collect() }
    }

    /// Who has a folder above this one Bidirectional, and so may have mounted it.
    pub(super) fn of_mount_at(&self, host_path: &str) -> Option<String> {
        if SYSTEMS.iter().any(|folder| within(host_path, folder)) {
            return None;
        }
        let above =
            host_path.rmatch_indices('/').map(|(at, _)| &host_path[..at]).filter(|path| !path.is_empty());
        let (container, object) = above.into_iter().find_map(|folder| self.folders.get(folder))?;
        Some(format!("container {container} of {} {}", object.id.kind, object.id.name))
    }
}

/// Volumes by name.
type Volumes<'a> = HashMap<&'a str, &'a Volume>;

/// Mounts of a container that are looked at, so that pairs of them stay countable.
const MAX_MOUNTS: usize = 1000;

impl<'a> Pod<'a> {
    /// The Pod that an object is or makes.
    pub(super) fn of(object: &'a Surveyed) -> Option<Self> {
        let pod = object.pod.as_ref()?;
        let spec = pod.spec.as_ref();
        let volumes: Volumes<'a> =
            spec.volumes.iter().flatten().map(|volume| (volume.name.as_str(), volume)).collect();
        let containers = |list: &str, index: usize, parts: Parts<'a>| {
            let path = format!("{}.{list}[{index}].volumeMounts", pod.path);
            ContainerOf::of(&path, parts, &volumes)
        };
        let init = spec.init_containers.iter().flatten().enumerate();
        let init = init.map(|(index, c)| {
            let parts = (c.name.as_str(), c.termination_message_path.as_deref(), c.volume_mounts.as_deref());
            containers("initContainers", index, parts)
        });
        let main = spec.containers.iter().enumerate().map(|(index, c)| {
            let parts = (c.name.as_str(), c.termination_message_path.as_deref(), c.volume_mounts.as_deref());
            containers("containers", index, parts)
        });
        let ephemeral = spec.ephemeral_containers.iter().flatten().enumerate();
        let ephemeral = ephemeral.map(|(index, c)| {
            let parts = (c.name.as_str(), c.termination_message_path.as_deref(), c.volume_mounts.as_deref());
            containers("ephemeralContainers", index, parts)
        });
        Some(Self { object, spec, containers: init.chain(main).chain(ephemeral).collect() })
    }

    /// Every mount with its container.
    pub(super) fn mounts(&self) -> impl Iterator<Item = (&ContainerOf<'a>, &MountOf<'a>)> {
        self.containers
            .iter()
            .flat_map(|container| container.mounts.iter().map(move |mount| (container, mount)))
    }
}

/// Name, termination log, mounts: what all sorts of containers have.
type Parts<'a> = (&'a str, Option<&'a str>, Option<&'a [VolumeMount]>);

impl<'a> ContainerOf<'a> {
    fn of(path: &str, (name, termination_log, mounts): Parts<'a>, volumes: &Volumes<'a>) -> Self {
        let mounts = mounts.unwrap_or_default().iter().enumerate().take(MAX_MOUNTS);
        let mounts =
            mounts.map(|(index, mount)| MountOf::of(format!("{path}[{index}]"), mount, volumes)).collect();
        Self { name, termination_log, mounts }
    }

    /// Every pair of different mounts, in both orders.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&MountOf<'a>, &MountOf<'a>)> {
        let others = |at: usize| self.mounts.iter().enumerate().filter(move |(other, _)| *other != at);
        self.mounts
            .iter()
            .enumerate()
            .flat_map(move |(at, one)| others(at).map(move |(_, other)| (one, other)))
    }
}

impl<'a> MountOf<'a> {
    fn of(path: String, mount: &'a VolumeMount, volumes: &Volumes<'a>) -> Self {
        let volume = volumes.get(mount.name.as_str()).copied();
        let mode = match mount.mount_propagation.as_deref() {
            None => Mode::Unset,
            Some("None") => Mode::None,
            Some("HostToContainer") => Mode::HostToContainer,
            Some("Bidirectional") => Mode::Bidirectional,
            Some(_) => Mode::Unknown,
        };
        let host_path = volume.and_then(|volume| volume.host_path.as_ref()).map(|host_path| {
            clean(&format!("{}/{}", host_path.path, mount.sub_path.as_deref().unwrap_or_default()))
        });
        let target = clean(&mount.mount_path);
        Self { path, mount, volume, mode, target, host_path }
    }

    /// Mounts arrive, or are let out.
    pub(super) fn propagates(&self) -> bool {
        matches!(self.mode, Mode::HostToContainer | Mode::Bidirectional)
    }

    /// `readOnly: true`
    pub(super) fn is_read_only(&self) -> bool {
        self.mount.read_only == Some(true)
    }

    /// The part of the volume that is mounted; a folder of it that is not known is none.
    pub(super) fn source(&self) -> Option<String> {
        if self.mount.sub_path_expr.is_some() {
            return None;
        }
        let sub_path = self.mount.sub_path.as_deref().unwrap_or_default();
        let of_volume = || format!("{}{}", self.mount.name, clean(sub_path));
        Some(self.host_path.clone().unwrap_or_else(of_volume))
    }

    /// A path of the node or of the container for people: `hostPath /a at /b`, `volume data at /b`.
    pub(super) fn named(&self) -> String {
        let target = &self.mount.mount_path;
        // As they are written, so that they are found.
        match self.volume.and_then(|volume| volume.host_path.as_ref()) {
            Some(host_path) if host_path.path == *target => format!("hostPath {target}"),
            Some(host_path) => format!("hostPath {} at {target}", host_path.path),
            None => format!("volume {} at {target}", self.mount.name),
        }
    }

    /// The hostPath's `type`, empty if it has none.
    pub(super) fn host_path_type(&self) -> &str {
        let host_path = self.volume.and_then(|volume| volume.host_path.as_ref());
        host_path.and_then(|host_path| host_path.type_.as_deref()).unwrap_or_default()
    }
}
