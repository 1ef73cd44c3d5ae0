//! A pod's volumes: made once a pod, before its sandbox, as the kubelet does; taken away with the pod.
//!
//! emptyDir, configMap and secret lie below `<lib>/pods/<uid>/volumes`, where the kubelet has them. Where a container
//! asks for propagation on one of them, that folder is first bound on itself as a shared mount of its own: so
//! propagation works whatever the propagation of the mount that carries the root folder, and reaches no one else.
//!
//! Every step can be done again: a set-up that was cut off is repeated, and what an earlier one has made is kept.

pub mod host_path;
pub mod huge_pages;
pub mod left;
mod make;
mod nested;
pub mod node_files;
mod ownership;
pub mod payload;
pub mod pinned;
mod shared_paths;
pub mod sub_path;

use crate::record::{PodRecord, PodUid, RecordError};
use crate::removal::{self, RemovalError};
use crate::root::{Root, make_private_directory};
use crate::status_file::LeftMount;
use jiff::Timestamp;
use k8s_openapi::api::core::v1 as api;
use left::Before;
pub(crate) use make::is_claim;
pub use make::{is_read_only, plugin_of};
use manifest::annotations::{Annotations, MountsAtEnd};
use manifest::claims::ClaimPlace;
use manifest::cri::ResolvedVolume;
use mount_table::MountTable;
use ownership::Ownership;
use runtime::atomic_file::{self, Survives};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// A volume that could not be made; shown in the kubelet's words.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// What it is to be filled with is not there.
    #[error(transparent)]
    Files(#[from] manifest::volume_files::VolumeError),
    /// It could not be set up.
    #[error("MountVolume.SetUp failed for volume {volume:?} : {cause}")]
    SetUp {
        /// The volume.
        volume: String,
        /// Why.
        #[source]
        cause: VolumeCause,
    },
}

/// Why a volume could not be made.
#[derive(Debug, thiserror::Error)]
pub enum VolumeCause {
    /// A hostPath that is not what its type says.
    #[error(transparent)]
    HostPath(#[from] host_path::HostPathError),
    /// A sizeLimit is no quantity.
    #[error("sizeLimit {text:?} is no quantity")]
    Quantity {
        /// As written.
        text: String,
    },
    /// A kind of volume that is not done yet.
    #[error("volumes of this kind are not done yet: {kind}")]
    NotDone {
        /// The field.
        kind: String,
    },
    /// Huge pages that cannot be had.
    #[error(transparent)]
    HugePages(#[from] huge_pages::HugePagesError),
    /// A claim's name is no name of a file.
    #[error("{name:?} cannot be the name of a claim")]
    ClaimName {
        /// The name.
        name: String,
    },
    /// A file could not be made or read.
    #[error("cannot {action} {path}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The image of an image volume cannot be had.
    #[error("image {reference:?} is not to be had")]
    Image {
        /// As the pod names it.
        reference: String,
        /// Why.
        #[source]
        source: Box<image::Error>,
    },
    /// A mount could not be made.
    #[error("cannot mount: {0}")]
    Mount(#[from] runtime::mounts::ExecuteError),
    /// The mount table could not be read.
    #[error(transparent)]
    Table(#[from] observe::Error),
    /// The state could not be locked or read.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl VolumeError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        use manifest::volume_files::VolumeError as Files;
        match self {
            VolumeError::SetUp { cause: VolumeCause::HostPath(error), .. } => error.hint(),
            VolumeError::SetUp { cause: VolumeCause::HugePages(error), .. } => error.hint(),
            VolumeError::Files(Files::NotFound { kind, name, .. }) => Some(format!(
                "give the {kind} {name:?} in the same set of files as the pod, or set `optional: true`"
            )),
            _ => None,
        }
    }

    fn of(volume: &api::Volume) -> impl FnOnce(VolumeCause) -> VolumeError + use<> {
        let volume = volume.name.clone();
        move |cause| VolumeError::SetUp { volume, cause }
    }
}

fn io_cause(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> VolumeCause + use<> {
    let path = path.to_owned();
    move |source| VolumeCause::Io { action, path, source }
}

fn written(failed: (PathBuf, io::Error)) -> VolumeCause {
    VolumeCause::Io { action: "write", path: failed.0, source: failed.1 }
}

/// This process' mount table.
fn read_table() -> Result<MountTable, VolumeCause> {
    Ok(observe::read_own_mounts()?)
}

/// What was done for a pod that has to be undone or remembered: `<run>/pods/<uid>/volumes.json`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ledger {
    /// Below the sources of Bidirectional hostPaths, before the pod began.
    before: Vec<Before>,
}

/// The volumes of a pod, made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Volumes {
    /// Where each volume is, by name.
    pub resolved: BTreeMap<String, ResolvedVolume>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// Where a volume's files are.
#[derive(Debug, Clone, PartialEq)]
pub enum Place<'a> {
    /// On the host, where the user says: a hostPath, also that of a PersistentVolume.
    Host(&'a api::HostPathVolumeSource),
    /// A folder of the root that stays when the pod goes.
    Claim(PathBuf),
    /// Below the pod's own folder, gone with it.
    Own,
}

impl<'a> Place<'a> {
    /// The place of a volume of a pod in `namespace`, of which these claims are bound.
    pub fn of(
        root: &Root,
        namespace: &str,
        claims: &'a BTreeMap<String, ClaimPlace>,
        volume: &'a api::Volume,
    ) -> Place<'a> {
        let claim = volume.persistent_volume_claim.as_ref().map(|source| &source.claim_name);
        match (&volume.host_path, claim) {
            (Some(source), _) => Place::Host(source),
            (None, Some(claim)) => match claims.get(claim) {
                Some(ClaimPlace::HostPath(source) | ClaimPlace::Local(source)) => Place::Host(source),
                _ => Place::Claim(root.claim(namespace, claim)),
            },
            (None, None) => Place::Own,
        }
    }
}

/// The volumes of one pod.
#[derive(Debug, Clone, Copy)]
pub struct PodVolumes<'a> {
    /// Where it is.
    pub root: &'a Root,
    /// Which.
    pub uid: &'a PodUid,
    /// What it asks.
    pub record: &'a PodRecord,
}

impl PodVolumes<'_> {
    fn spec(&self) -> Option<&api::PodSpec> {
        self.record.pod.spec.as_ref()
    }

    /// What does not parse was refused with the manifest; here it counts as not said.
    fn annotations(&self) -> Annotations {
        manifest::annotations::read(&self.record.pod).unwrap_or_default()
    }

    fn folder(&self) -> PathBuf {
        self.root.pod_lib(self.uid).join("volumes")
    }

    fn ledger_path(&self) -> PathBuf {
        self.root.pod_run(self.uid).join("volumes.json")
    }

    fn own_folders(&self) -> [&Path; 2] {
        [&self.root.lib, &self.root.run]
    }

    /// The propagations that containers ask of a volume.
    fn asked_of<'b>(&'b self, volume: &'b str) -> impl Iterator<Item = &'b str> {
        let containers =
            self.spec().into_iter().flat_map(|s| s.init_containers.iter().flatten().chain(&s.containers));
        let mounts = containers.flat_map(|c| c.volume_mounts.as_deref().unwrap_or_default());
        mounts.filter(move |m| m.name == volume).filter_map(|m| m.mount_propagation.as_deref())
    }

    fn propagates(&self, volume: &str) -> bool {
        self.asked_of(volume).any(|mode| matches!(mode, "HostToContainer" | "Bidirectional"))
    }

    fn place<'b>(&'b self, volume: &'b api::Volume) -> Place<'b> {
        Place::of(self.root, &self.record.key().namespace, &self.record.claims, volume)
    }

    /// Makes all volumes.
    ///
    /// Steps: 1. the folder, shared if a container asks for it; 2. each volume; 3. hostPaths and claims that are to be shared;
    /// 4. a note of what is mounted below Bidirectional hostPaths before any container runs.
    ///
    /// # Errors
    /// The first volume that cannot be made, in the kubelet's words.
    pub fn set_up(&self, now: Timestamp) -> Result<Volumes, VolumeError> {
        let volumes = self.spec().and_then(|s| s.volumes.as_deref()).unwrap_or_default();
        let mut made = Volumes::default();
        if let Some(first) = volumes.iter().find(|v| self.place(v) == Place::Own) {
            self.make_folder().map_err(VolumeError::of(first))?;
        }
        // Later, containers may be at work in them.
        let first_time = !self.ledger_path().exists();
        for volume in volumes {
            runtime::fault::point("volume.make")
                .map_err(io::Error::from)
                .map_err(io_cause("make", &self.root.pod_lib(self.uid)))
                .map_err(VolumeError::of(volume))?;
            let resolved = self.make(volume, now, &mut made.warnings)?;
            self.give(volume, first_time, &resolved.host_path)?;
            made.resolved.insert(volume.name.clone(), resolved);
        }
        for volume in volumes {
            let asked = match self.place(volume) {
                Place::Host(_) => self.annotations().make_shared,
                // Nobody else's: it needs no asking.
                Place::Claim(_) => true,
                Place::Own => false,
            };
            if asked && self.propagates(&volume.name) {
                let path = &made.resolved[&volume.name].host_path;
                self.share(path).map_err(VolumeError::of(volume))?;
            }
        }
        if let Some(first) = volumes.first() {
            self.note_before(volumes, &made).map_err(VolumeError::of(first))?;
        }
        Ok(made)
    }

    /// Writes those of the `made` volumes anew that are files of ours and not what they were by the record `before`; what
    /// could not be, which keeps what it had.
    pub fn refresh(&self, made: &Volumes, before: &PodRecord, now: Timestamp) -> Vec<VolumeError> {
        let was = PodVolumes { record: before, ..*self };
        let volumes = self.spec().and_then(|s| s.volumes.as_deref()).unwrap_or_default();
        let there = volumes.iter().filter(|volume| made.resolved.contains_key(&volume.name));
        there.filter_map(|volume| self.refresh_one(volume, &was, now).err()).collect()
    }

    fn refresh_one(
        &self,
        volume: &api::Volume,
        was: &PodVolumes<'_>,
        now: Timestamp,
    ) -> Result<(), VolumeError> {
        let Some(files) = self.files(volume)? else { return Ok(()) };
        if was.files(volume).is_ok_and(|before| before.as_ref() == Some(&files)) {
            return Ok(());
        }
        let folder = self.write_files(volume, &files, now).map_err(VolumeError::of(volume))?;
        self.give(volume, false, &folder)
    }

    /// Gives a volume to the pod's fsGroup, if that is to have it.
    fn give(&self, volume: &api::Volume, first_time: bool, path: &Path) -> Result<(), VolumeError> {
        let Some(ownership) = self.ownership(volume, first_time) else { return Ok(()) };
        let given = ownership.give(path);
        given.map_err(|(path, e)| VolumeError::of(volume)(io_cause("give to fsGroup", &path)(e)))
    }

    /// How a volume is given to the pod's fsGroup, if it is: not what the user has on the host, nor an image.
    fn ownership(&self, volume: &api::Volume, first_time: bool) -> Option<Ownership> {
        let context = self.spec()?.security_context.as_ref()?;
        let group = u32::try_from(context.fs_group?).ok()?;
        let claim = volume.persistent_volume_claim.as_ref();
        let local = claim.is_some_and(|source| {
            matches!(self.record.claims.get(&source.claim_name), Some(ClaimPlace::Local(_)))
        });
        let ours = match self.place(volume) {
            Place::Host(_) => local,
            Place::Claim(_) => true,
            Place::Own => volume.image.is_none(),
        };
        // What is written anew is given anew; the policy is for what lasts, where a walk can be long.
        let written = volume.config_map.is_some()
            || volume.secret.is_some()
            || volume.downward_api.is_some()
            || volume.projected.is_some();
        let read_only = is_read_only(volume);
        let policy = context.fs_group_change_policy.as_deref();
        let only_if_root_differs = claim.is_some() && policy == Some("OnRootMismatch");
        let given = ours && !(claim.is_some() && read_only) && (written || first_time);
        given.then_some(Ownership { group, read_only, only_if_root_differs })
    }

    fn make_folder(&self) -> Result<(), VolumeCause> {
        let folder = self.folder();
        make_private_directory(&folder).map_err(io_cause("make", &folder))?;
        let volumes = self.spec().and_then(|s| s.volumes.as_deref()).unwrap_or_default();
        let wanted = volumes.iter().any(|v| self.place(v) == Place::Own && self.propagates(&v.name));
        if wanted && !sub_path::is_mount_point(&folder) {
            runtime::mounts::share_directory(&folder, false)?;
        }
        Ok(())
    }

    fn share(&self, path: &Path) -> Result<(), VolumeCause> {
        let path = path.canonicalize().map_err(io_cause("resolve", path))?;
        shared_paths::share(self.root, self.uid, &path)
    }

    fn note_before(&self, volumes: &[api::Volume], made: &Volumes) -> Result<(), VolumeCause> {
        let path = self.ledger_path();
        // A repeated set-up keeps the first note: what the pod has left since is the pod's.
        if atomic_file::read_json::<Ledger>(&path).map_err(io_cause("read", &path))?.is_some() {
            return Ok(());
        }
        let table = read_table()?;
        let mut ledger = Ledger::default();
        for volume in volumes.iter().filter(|v| matches!(self.place(v), Place::Host(_))) {
            if self.asked_of(&volume.name).any(|mode| mode == "Bidirectional") {
                let source = &made.resolved[&volume.name].host_path;
                let source = source.canonicalize().map_err(io_cause("resolve", source))?;
                ledger.before.push(Before::note(&volume.name, &source, &table));
            }
        }
        atomic_file::write_json(&path, &ledger, Survives::Process).map_err(io_cause("write", &path))
    }

    /// What containers have left on the host by now.
    ///
    /// # Errors
    /// The note or the mount table cannot be read.
    pub fn left_mounts(&self) -> Result<Vec<LeftMount>, VolumeCause> {
        let path = self.ledger_path();
        let ledger: Option<Ledger> = atomic_file::read_json(&path).map_err(io_cause("read", &path))?;
        match ledger.filter(|ledger| !ledger.before.is_empty()) {
            Some(ledger) => Ok(left::left_mounts(&ledger.before, &self.own_folders(), &read_table()?)),
            None => Ok(Vec::new()),
        }
    }

    /// At the end of the pod's run: detaches what containers have left where the pod asks for it, and gives what
    /// stays.
    ///
    /// # Errors
    /// A mount that the kernel does not let go.
    pub fn end_mounts(&self) -> Result<Vec<LeftMount>, VolumeCause> {
        let left = self.left_mounts()?;
        if self.annotations().mounts_at_end != MountsAtEnd::Detach {
            return Ok(left);
        }
        // In the order in which they can be detached. One that does not go is no error: the second look says what stays.
        for mount in &left {
            let _ = runtime::mounts::detach_bind(&mount.mount_point);
        }
        self.left_mounts()
    }

    /// Prepares the subPath of one volume mount and gives the path to hand to the runtime.
    ///
    /// # Errors
    /// It leads out of the volume or cannot be bound.
    pub fn sub_path(
        &self,
        volume: (&str, &Path),
        container: &str,
        index: usize,
        sub_path: &str,
    ) -> Result<PathBuf, sub_path::SubPathError> {
        let (name, source) = volume;
        let target = self
            .root
            .pod_lib(self.uid)
            .join("volume-subpaths")
            .join(name)
            .join(container)
            .join(index.to_string());
        sub_path::prepare(&sub_path::SubPath {
            volume: source,
            sub_path: Path::new(sub_path),
            target: &target,
        })?;
        Ok(target)
    }

    /// Takes away all that was made for the pod. All its containers have ended. What is mounted inside goes first,
    /// the last mounted first; files are removed after, never across a mount.
    ///
    /// # Errors
    /// Something is still mounted, or the kernel refused; it can be called again.
    pub fn tear_down(&self) -> Result<TornDown, TearDownError> {
        let left = self.end_mounts().map_err(TearDownError::Cause)?;
        let result = tear_down_folders(self.root, self.uid)?;
        let kept = shared_paths::unshare(self.root, self.uid).map_err(TearDownError::Cause)?.kept;
        Ok(TornDown { left, still_shared: kept, detached: result })
    }
}

/// What a tear-down did and what it left.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TornDown {
    /// Mounts of containers that stay on the host.
    pub left: Vec<LeftMount>,
    /// hostPaths that stay shared, each with a mount that is on it and was not before.
    pub still_shared: Vec<(PathBuf, PathBuf)>,
    /// What was detached inside the pod's own volumes.
    pub detached: Vec<PathBuf>,
}

/// Why the volumes could not be taken away.
#[derive(Debug, thiserror::Error)]
pub enum TearDownError {
    /// A mount does not go.
    #[error(transparent)]
    Detach(#[from] runtime::mounts::DetachError),
    /// A subPath's bind does not go.
    #[error("cannot detach {path}")]
    SubPath {
        /// The bind.
        path: PathBuf,
        /// The operation that failed.
        #[source]
        source: runtime::mounts::ExecuteError,
    },
    /// Files cannot be removed.
    #[error(transparent)]
    Remove(#[from] RemovalError),
    /// Something else.
    #[error(transparent)]
    Cause(VolumeCause),
}

impl TearDownError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            TearDownError::Remove(error) => error.hint(),
            _ => None,
        }
    }
}

/// Detaches all mounts below a pod's lasting folder and removes the volumes; also for a pod without a readable record.
///
/// # Errors
/// As [`PodVolumes::tear_down`].
pub fn tear_down_folders(root: &Root, uid: &PodUid) -> Result<Vec<PathBuf>, TearDownError> {
    let pod = root.pod_lib(uid);
    let sub_paths = pod.join("volume-subpaths");
    let failed = |errno: rustix::io::Errno| TearDownError::Cause(io_cause("detach", &pod)(errno.into()));
    runtime::fault::point("volumes.detach").map_err(failed)?;
    detach_sub_paths(&sub_paths)?;
    let volumes = pod.join("volumes");
    let detached = runtime::mounts::detach_tree(&volumes)?.mount_points;
    removal::remove_tree(&sub_paths)?;
    removal::remove_tree(&volumes)?;
    Ok(detached)
}

/// Binds of subPaths are peers of the volumes: made private before they go, so that nothing goes from those.
fn detach_sub_paths(folder: &Path) -> Result<(), TearDownError> {
    if !folder.exists() {
        return Ok(());
    }
    let table = read_table().map_err(TearDownError::Cause)?;
    let binds = table.mounts.iter().filter(|m| m.mount_point.starts_with(folder));
    // The direct ones only: what has arrived on them goes with them.
    let is_direct = |m: &&mount_table::Mount| {
        !table.get(m.parent).is_some_and(|parent| parent.mount_point.starts_with(folder))
    };
    for bind in binds.filter(is_direct) {
        let path = &bind.mount_point;
        // Bounded by what may be stacked at one place in a lifetime; each round takes the topmost.
        for _ in 0..1000 {
            if !sub_path::is_mount_point(path) {
                break;
            }
            runtime::mounts::detach_bind(path)
                .map_err(|source| TearDownError::SubPath { path: path.clone(), source })?;
        }
    }
    Ok(())
}

/// The field that says what kind a volume is, for messages.
fn kind_of(volume: &api::Volume) -> String {
    let json = serde_json::to_value(volume).unwrap_or_default();
    let mut fields = json.as_object().into_iter().flatten().map(|(name, _)| name);
    fields.find(|name| *name != "name").cloned().unwrap_or_else(|| "none".to_owned())
}

fn bytes_of(quantity: &str) -> Result<i64, VolumeCause> {
    manifest::quantity::Quantity::parse(quantity)
        .map(manifest::quantity::Quantity::value)
        .map_err(|_| VolumeCause::Quantity { text: quantity.to_owned() })
}
