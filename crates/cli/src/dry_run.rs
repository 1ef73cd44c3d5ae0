//! `run --dry-run`: the mount operations of a container that is not there, without making anything for it.
//!
//! The real planner (`runtime::mounts`) plans; what the agent would make first (the folders of volumes, /etc/hosts
//! and the like) is stood in for by empty files and folders in a scratch folder, whose paths are then replaced by
//! the ones that those things would have. Where the agent would bind a volume on itself as a shared mount, the
//! planner gets a mount table in which it has.

use crate::exit::{Context as _, Failure, Result};
use agent::Root;
use agent::node::Node;
use agent::volumes::Place;
use explain::build::Build;
use k8s_openapi::api::core::v1::{ConfigMap, HostPathVolumeSource, Pod, PodSpec, Secret, Volume};
use manifest::annotations::Annotations;
use manifest::claims::ClaimPlace;
use manifest::cri::{
    self, ContainerConfig, EnvSources, Mount, NamespaceMode, ResolvedVolume, ResolvedVolumes,
};
use mount_table::{MountId, MountTable, PeerGroup, Propagation};
use runtime::cgroup::{Cgroup, Hierarchies};
use runtime::mounts::{CgroupView, MountRequest, Users, prepare_on};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use subtree_model::Op;
use view::operations::ContainerPlan;

/// What stands for the uid that the pod would get.
const UID: &str = "UID";

/// What a plan is made from besides the pod.
pub(crate) struct Given<'a> {
    /// Where the pod would be.
    pub(crate) root: &'a Root,
    /// For variables in subPathExpr.
    pub(crate) config_maps: &'a BTreeMap<String, ConfigMap>,
    /// The same.
    pub(crate) secrets: &'a BTreeMap<String, Secret>,
    /// Where the claims of the pod's namespace are.
    pub(crate) claims: &'a BTreeMap<String, ClaimPlace>,
    /// Images by reference as the pod has it.
    pub(crate) images: &'a BTreeMap<String, image::Image>,
}

/// What would be mounted in every container of the pod.
pub(crate) fn plan(pod: &Pod, given: &Given<'_>) -> Result<Vec<ContainerPlan>> {
    let spec = pod.spec.clone().unwrap_or_default();
    let mut stage = Stage::new(given.root)?;
    let volumes = stage.volumes(pod, &spec, given)?;
    let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    let mut plans = Vec::new();
    for container in containers {
        let plan = stage.container(pod, &spec, &container.name, volumes.clone(), given);
        plans.push(plan.map_err(|failure| failure.said(format!("container {}", container.name)))?);
    }
    Ok(plans)
}

/// The scratch folder, and what its entries stand for.
struct Stage {
    scratch: tempfile::TempDir,
    lib: PathBuf,
    run: PathBuf,
    /// Scratch path → the path that it stands for.
    stands_for: Vec<(PathBuf, PathBuf)>,
    host: MountTable,
}

impl Stage {
    fn new(root: &Root) -> Result<Stage> {
        let scratch = tempfile::tempdir().context("making a scratch folder")?;
        Ok(Stage {
            lib: root.pods().join(UID),
            run: root.runtime_dirs().state,
            scratch,
            stands_for: Vec::new(),
            host: observe::read_own_mounts()?,
        })
    }

    /// An empty folder or file that stands for `path`.
    fn stand_in(&mut self, path: PathBuf, directory: bool) -> Result<PathBuf> {
        let own = self.scratch.path().join(self.stands_for.len().to_string());
        match directory {
            true => std::fs::create_dir(&own)?,
            false => std::fs::write(&own, "")?,
        }
        self.stands_for.push((own.clone(), path));
        Ok(own)
    }

    /// As if `path` were a mount point, of this propagation.
    fn assume_mount(&mut self, path: &Path, propagation: Propagation) {
        let Some(carrier) = self.host.carrier(path) else { return };
        let mut mount = carrier.clone();
        mount.parent = carrier.id;
        mount.id = MountId(u64::MAX - self.host.mounts.len() as u64);
        mount.mount_point = path.to_owned();
        mount.propagation = propagation;
        self.host.mounts.push(mount);
    }

    /// A peer group that nobody else is in.
    fn assume_shared(&mut self, path: &Path) {
        let group = PeerGroup(u64::MAX - self.host.mounts.len() as u64);
        self.assume_mount(path, Propagation { shared: Some(group), ..Propagation::PRIVATE });
    }

    fn volumes(&mut self, pod: &Pod, spec: &PodSpec, given: &Given<'_>) -> Result<ResolvedVolumes> {
        let annotations = manifest::annotations::read(pod).unwrap_or_default();
        let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
        let mut resolved = ResolvedVolumes::default();
        for volume in spec.volumes.iter().flatten() {
            let propagates = asks_for_propagation(spec, &volume.name);
            let host_path = match Place::of(given.root, namespace, given.claims, volume) {
                Place::Host(source) => self.host_path(volume, source, annotations, propagates)?,
                Place::Claim(folder) => self.folder(folder, propagates)?,
                Place::Own => self.own_volume(volume, propagates)?,
            };
            let read_only = agent::volumes::is_read_only(volume);
            resolved.volumes.insert(
                volume.name.clone(),
                ResolvedVolume { host_path, read_only, ..ResolvedVolume::default() },
            );
        }
        Ok(resolved)
    }

    /// What is there is used itself. What the agent would make is stood in for, on the mount that would carry it.
    fn host_path(
        &mut self,
        volume: &Volume,
        source: &HostPathVolumeSource,
        annotations: Annotations,
        propagates: bool,
    ) -> Result<PathBuf> {
        let path = PathBuf::from(&source.path);
        let kind = source.type_.as_deref().unwrap_or_default();
        let makes = matches!(kind, "" | "DirectoryOrCreate" | "FileOrCreate");
        let shares = annotations.make_shared && propagates;
        if path.exists() || !makes {
            // Nothing is made where it exists, nor where its type makes nothing.
            agent::volumes::host_path::check(&path, kind).map_err(|error| {
                let hint = error.hint();
                let failure = Failure::no(error).said(format!("volume {}", volume.name));
                hint.into_iter().fold(failure, Failure::hint)
            })?;
            let canonical = path.canonicalize()?;
            if shares {
                self.assume_shared(&canonical);
            }
            return Ok(canonical);
        }
        let existing = path.ancestors().find_map(|part| part.canonicalize().ok());
        let carrier = existing.and_then(|part| self.host.carrier(&part)).map(|mount| mount.propagation);
        let own = self.stand_in(path, kind != "FileOrCreate")?;
        match carrier {
            _ if shares => self.assume_shared(&own),
            Some(propagation) => self.assume_mount(&own, propagation),
            None => {}
        }
        Ok(own)
    }

    /// A volume below the pod's own folder.
    fn own_volume(&mut self, volume: &Volume, propagates: bool) -> Result<PathBuf> {
        let plugin = agent::volumes::plugin_of(volume);
        let plugin =
            plugin.ok_or_else(|| Failure::no(anyhow::anyhow!("volume {}: not done yet", volume.name)))?;
        let folder = self.lib.join("volumes").join(format!("kubernetes.io~{plugin}"));
        self.folder(folder.join(&volume.name), propagates)
    }

    fn folder(&mut self, path: PathBuf, propagates: bool) -> Result<PathBuf> {
        let own = self.stand_in(path, true)?;
        if propagates {
            self.assume_shared(&own);
        }
        Ok(own)
    }

    fn container(
        &mut self,
        pod: &Pod,
        spec: &PodSpec,
        name: &str,
        mut volumes: ResolvedVolumes,
        given: &Given<'_>,
    ) -> Result<ContainerPlan> {
        self.sub_paths(spec, name, &mut volumes)?;
        let extra = self.node_files(spec, name)?;
        let sources = EnvSources::new(given.config_maps, given.secrets);
        let node = Node::read(given.root);
        let mut config = cri::container_config(pod, name, 0, &volumes, &sources, &node.facts(), &extra)
            .map_err(Failure::no)?;
        let image = given.images.get(&config.image);
        let image =
            image.ok_or_else(|| Failure::no(anyhow::anyhow!("image {} is not here", config.image)))?;
        let mut build = self.mounts(spec, &config, image)?;
        for op in &mut build.ops {
            self.say_the_real_paths(op);
        }
        for section in &mut build.sections {
            section.title = self.with_real_paths(&section.title);
        }
        for mount in &mut config.mounts {
            mount.host_path = self.with_real_paths(&mount.host_path.display().to_string()).into();
        }
        Ok(ContainerPlan { container: name.to_owned(), mounts: config.mounts, build })
    }

    fn mounts(&mut self, spec: &PodSpec, config: &ContainerConfig, image: &image::Image) -> Result<Build> {
        let container = self.run.join("CONTAINER-ID");
        let staging = self.stand_in(container, true)?;
        let writable = self.stand_in(self.lib.join("containers").join("CONTAINER-ID"), true)?;
        let shm = match cri::sandbox::namespace_options(spec).ipc {
            NamespaceMode::Node => PathBuf::from("/dev/shm"),
            _ => self.stand_in(self.run.join("SANDBOX-ID").join("shm"), true)?,
        };
        let cgroup = self.cgroup_view()?;
        // Which range a pod gets is not known before it has one.
        let users = (spec.host_users == Some(false)).then(|| Users { path: "POD-USERS".into(), base: 0 });
        let request = MountRequest {
            layers: &image.layers,
            writable: &writable,
            staging: &staging,
            config,
            shm: Some(&shm),
            cgroup: &cgroup,
            users: users.as_ref(),
            file_label: None,
        };
        let prepared = prepare_on(&request, self.host.clone()).map_err(|error| {
            let hint = error.hint().map(|hint| self.with_real_paths(&hint));
            let text = self.with_real_paths(
                &anyhow::Error::new(error)
                    .chain()
                    .map(|part| part.to_string())
                    .collect::<Vec<_>>()
                    .join(": "),
            );
            hint.into_iter().fold(Failure::no(anyhow::Error::msg(text)), Failure::hint)
        })?;
        Ok(prepared.plan().clone())
    }

    /// The kubelet binds them beforehand, so each is a mount of its own.
    fn sub_paths(&mut self, spec: &PodSpec, name: &str, volumes: &mut ResolvedVolumes) -> Result<()> {
        let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
        let container = containers.into_iter().find(|container| container.name == name);
        let mounts = container.and_then(|container| container.volume_mounts.as_deref()).unwrap_or_default();
        for (index, mount) in mounts.iter().enumerate() {
            if mount.sub_path.is_none() && mount.sub_path_expr.is_none() {
                continue;
            }
            let folder = self.lib.join("volume-subpaths").join(&mount.name).join(name);
            let own = self.stand_in(folder.join(index.to_string()), true)?;
            let volume =
                volumes.volumes.get(&mount.name).and_then(|volume| self.host.carrier(&volume.host_path));
            if let Some(propagation) = volume.map(|mount| mount.propagation) {
                self.assume_mount(&own, propagation);
            }
            volumes.sub_paths.insert((name.to_owned(), index), own);
        }
        Ok(())
    }

    /// The files that the agent mounts into every container.
    fn node_files(&mut self, spec: &PodSpec, name: &str) -> Result<Vec<Mount>> {
        let container =
            spec.containers.iter().chain(spec.init_containers.iter().flatten()).find(|c| c.name == name);
        let log = container.map(|container| cri::container::termination_message_path(container).to_owned());
        let files = [
            (Some(PathBuf::from("/etc/hosts")), self.lib.join("etc-hosts")),
            (Some("/etc/hostname".into()), self.lib.join("etc-hostname")),
            (Some("/etc/resolv.conf".into()), self.lib.join("etc-resolv.conf")),
            (log, self.lib.join("containers").join(name).join("termination-log")),
        ];
        let mut mounts = Vec::new();
        for (container_path, real) in files {
            let Some(container_path) = container_path else { continue };
            mounts.push(Mount { container_path, host_path: self.stand_in(real, false)?, ..Mount::default() });
        }
        Ok(mounts)
    }

    fn cgroup_view(&mut self) -> Result<CgroupView> {
        let hierarchies = Hierarchies::read().context("reading /proc/self/mountinfo")?;
        if hierarchies.is_v2_only() {
            return Ok(CgroupView::V2);
        }
        let cgroup = Cgroup::at(&hierarchies, &format!("/rhizome/ROOT/pod{UID}/CONTAINER-ID"))?;
        let mut view = Vec::new();
        for (hierarchy, folder) in cgroup.directories() {
            if let Some(name) = hierarchy.mount_point.file_name() {
                view.push((name.to_string_lossy().into_owned(), self.stand_in(folder, true)?));
            }
        }
        Ok(if view.is_empty() { CgroupView::None } else { CgroupView::V1 { hierarchies: view } })
    }

    /// In what an operation opens, or gives as an option of a file system.
    fn say_the_real_paths(&self, op: &mut Op) {
        match op {
            Op::Open { path, .. } => {
                let real = self.stands_for.iter().find_map(|(own, real)| {
                    path.strip_prefix(own).ok().map(|below| match below.as_os_str().is_empty() {
                        true => real.clone(),
                        false => real.join(below),
                    })
                });
                if let Some(real) = real {
                    *path = real;
                }
            }
            Op::NewFileSystem { options, .. } => {
                for value in options.iter_mut().filter_map(|(_, value)| value.as_mut()) {
                    *value = self.with_real_paths(value);
                }
            }
            _ => {}
        }
    }

    /// In a text. The longest first: /tmp/x/1 is the beginning of /tmp/x/10.
    fn with_real_paths(&self, text: &str) -> String {
        self.stands_for.iter().rev().fold(text.to_owned(), |text, (own, real)| {
            text.replace(&own.display().to_string(), &real.display().to_string())
        })
    }
}

fn asks_for_propagation(spec: &PodSpec, volume: &str) -> bool {
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let mounts = containers.flat_map(|container| container.volume_mounts.iter().flatten());
    let modes =
        mounts.filter(|mount| mount.name == volume).filter_map(|mount| mount.mount_propagation.as_deref());
    modes.into_iter().any(|mode| mode != "None")
}
