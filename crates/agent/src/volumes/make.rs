//! One volume, made: what is below the pod's own folder, what is on the host, and the folders of claims.

use super::nested::{make_place, nested_places};
use super::{
    Place, PodVolumes, VolumeCause, VolumeError, bytes_of, host_path, huge_pages, io_cause, kind_of, payload,
    pinned, sub_path, written,
};
use crate::node::Node;
use crate::root::{Root, make_private_directory};
use jiff::Timestamp;
use k8s_openapi::api::core::v1 as api;
use manifest::cri::{EnvSources, ResolvedVolume};
use manifest::volume_files;
use runtime::atomic_file::{self, Survives};
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

impl PodVolumes<'_> {
    pub(super) fn make(
        &self,
        volume: &api::Volume,
        now: Timestamp,
        warnings: &mut Vec<String>,
    ) -> Result<ResolvedVolume, VolumeError> {
        let of = VolumeError::of(volume);
        let made =
            |host_path| ResolvedVolume { host_path, read_only: is_read_only(volume), layers: Vec::new() };
        match self.place(volume) {
            Place::Host(source) => {
                let path = PathBuf::from(&source.path);
                let checked = host_path::check(&path, source.type_.as_deref().unwrap_or_default());
                let warning = checked.map_err(|e| of(e.into()))?;
                // Who asks for a world of its own may think that what is made is made there.
                let isolated = self.root.keeper_record().exists();
                let rest = if isolated {
                    "; an isolated root has mounts of its own, not files: it stays"
                } else {
                    ""
                };
                warnings.extend(warning.map(|warning| warning + rest));
                Ok(made(path))
            }
            Place::Claim(path) => make_claim(self.root, &path).map(|()| made(path)).map_err(of),
            Place::Own => self.make_own(volume, now),
        }
    }

    /// A volume below the pod's own folder.
    fn make_own(&self, volume: &api::Volume, now: Timestamp) -> Result<ResolvedVolume, VolumeError> {
        let of = VolumeError::of(volume);
        let mut layers = Vec::new();
        let host_path = if let Some(source) = &volume.empty_dir {
            self.make_empty_dir(volume, source).map_err(of)?
        } else if let Some(files) = self.files(volume)? {
            self.write_files(volume, &files, now).map_err(of)?
        } else if volume.ephemeral.is_some() {
            self.volume_folder(volume).map_err(of)?
        } else if let Some(source) = &volume.image {
            let (path, of_image) = self.mount_image(volume, source).map_err(of)?;
            if self.spec().is_some_and(|spec| spec.host_users == Some(false)) {
                layers = of_image;
            }
            path
        } else {
            return Err(of(VolumeCause::NotDone { kind: kind_of(volume) }));
        };
        Ok(ResolvedVolume { host_path, read_only: is_read_only(volume), layers })
    }

    /// The files of a volume that is nothing but files of ours.
    pub(super) fn files(
        &self,
        volume: &api::Volume,
    ) -> Result<Option<Vec<volume_files::VolumeFile>>, VolumeError> {
        let (name, pod) = (volume.name.as_str(), &self.record.pod);
        let files = if let Some(source) = &volume.config_map {
            volume_files::config_map_files(name, source, self.record.config_maps.get(&source.name))
        } else if let Some(source) = &volume.secret {
            let object = source.secret_name.as_ref().and_then(|name| self.record.secrets.get(name));
            volume_files::secret_files(name, source, object)
        } else if let Some(source) = &volume.downward_api {
            let (node, items) = (Node::read(self.root), source.items.as_deref().unwrap_or_default());
            volume_files::downward_api_files(name, items, source.default_mode, pod, &node.facts())
        } else if let Some(source) = &volume.projected {
            let node = Node::read(self.root);
            let objects = EnvSources::new(&self.record.config_maps, &self.record.secrets);
            volume_files::projected_files(name, source, &objects, pod, &node.facts())
        } else {
            return Ok(None);
        };
        Ok(Some(files?))
    }

    /// The folder of a volume with its files; in memory where they may be secret, so that they never reach the disk.
    pub(super) fn write_files(
        &self,
        volume: &api::Volume,
        files: &[volume_files::VolumeFile],
        now: Timestamp,
    ) -> Result<PathBuf, VolumeCause> {
        let folder = self.volume_folder(volume)?;
        if volume.config_map.is_none() {
            self.mount_tmpfs(&volume.name, &folder, None)?;
        }
        payload::write(&folder, files, now).map_err(written)?;
        for place in self.spec().map_or_else(Vec::new, |spec| nested_places(spec, &volume.name)) {
            make_place(&folder, &place).map_err(io_cause("make", &folder.join(&place)))?;
        }
        Ok(folder)
    }

    /// The folder of a volume, named as the kubelet does; mode 0777 since any user of a container may write.
    fn volume_folder(&self, volume: &api::Volume) -> Result<PathBuf, VolumeCause> {
        let plugin = plugin_of(volume).ok_or_else(|| VolumeCause::NotDone { kind: kind_of(volume) })?;
        let path = self.folder().join(format!("kubernetes.io~{plugin}")).join(&volume.name);
        make_private_directory(&path).map_err(io_cause("make", &path))?;
        // What was done to it since stays: the mode is ours only as long as it is the one that it was made with.
        let mode = std::fs::metadata(&path).map_err(io_cause("look at", &path))?.permissions().mode();
        if mode & 0o7777 == 0o700 {
            let open = Permissions::from_mode(0o777);
            std::fs::set_permissions(&path, open).map_err(io_cause("change", &path))?;
        }
        Ok(path)
    }

    /// The layers of an image, one over the other, as a volume that is only read. They stay in the store for as long as
    /// the pod is there, and are written down: the image's name may lead to others tomorrow.
    fn mount_image(
        &self,
        volume: &api::Volume,
        source: &api::ImageVolumeSource,
    ) -> Result<(PathBuf, Vec<PathBuf>), VolumeCause> {
        let folder = self.volume_folder(volume)?;
        let written = self.folder().join(format!("kubernetes.io~image-layers.{}", volume.name));
        if sub_path::is_mount_point(&folder) {
            let layers = atomic_file::read_json(&written).map_err(io_cause("read", &written))?;
            return Ok((folder, layers.unwrap_or_default()));
        }
        let reference = source.reference.clone().unwrap_or_default();
        let failed = |error| VolumeCause::Image { reference: reference.clone(), source: Box::new(error) };
        let store = image::Store::open(self.root.images()).map_err(failed)?;
        let image = store.get(&reference).map_err(failed)?;
        store.pin(&image.id, &pinned::owner_of_volume(self.uid, &volume.name)).map_err(failed)?;
        // An overlay that nobody writes to has at least two layers.
        let bottom = self.folder().join("kubernetes.io~image-bottom");
        make_private_directory(&bottom).map_err(io_cause("make", &bottom))?;
        let layers: Vec<PathBuf> = image.layers.into_iter().rev().chain([bottom]).collect();
        atomic_file::write_json(&written, &layers, Survives::Process).map_err(io_cause("write", &written))?;
        runtime::mounts::mount_layers(&layers, &folder, self.propagates(&volume.name))?;
        Ok((folder, layers))
    }

    fn make_empty_dir(
        &self,
        volume: &api::Volume,
        source: &api::EmptyDirVolumeSource,
    ) -> Result<PathBuf, VolumeCause> {
        let path = self.volume_folder(volume)?;
        match source.medium.as_deref().unwrap_or_default() {
            // A sizeLimit on disk is enforced by measuring: see `disk_usage`.
            "" => {}
            "Memory" => {
                let size = source.size_limit.as_ref().map(|limit| bytes_of(&limit.0)).transpose()?;
                let size =
                    size.filter(|bytes| *bytes > 0).map(|bytes| ("size".to_owned(), Some(bytes.to_string())));
                self.mount_tmpfs(&volume.name, &path, size)?;
            }
            medium => {
                let page_bytes = huge_pages::page_bytes(medium, self.spec())?;
                huge_pages::check(Path::new(huge_pages::OF_THE_KERNEL), page_bytes)?;
                if !sub_path::is_mount_point(&path) {
                    runtime::mounts::mount_huge_pages(&path, page_bytes, self.propagates(&volume.name))?;
                }
            }
        }
        Ok(path)
    }

    fn mount_tmpfs(
        &self,
        volume: &str,
        path: &Path,
        size: Option<(String, Option<String>)>,
    ) -> Result<(), VolumeCause> {
        if sub_path::is_mount_point(path) {
            return Ok(());
        }
        let mode = ("mode".to_owned(), Some("0777".to_owned()));
        let options: Vec<_> = std::iter::once(mode).chain(size).collect();
        Ok(runtime::mounts::mount_tmpfs(path, &options, self.propagates(volume))?)
    }
}

/// The name under which the kubelet keeps volumes of this kind below a pod's folder; none if it keeps none there, or if
/// the kind is not done yet.
#[must_use]
pub fn plugin_of(volume: &api::Volume) -> Option<&'static str> {
    let plugins = [
        (volume.empty_dir.is_some(), "empty-dir"),
        (volume.config_map.is_some(), "configmap"),
        (volume.secret.is_some(), "secret"),
        (volume.downward_api.is_some(), "downward-api"),
        (volume.projected.is_some(), "projected"),
        (volume.ephemeral.is_some(), "ephemeral"),
        (volume.image.is_some(), "image"),
    ];
    plugins.into_iter().find(|(is, _)| *is).map(|(_, plugin)| plugin)
}

/// Whether a volume can only be mounted read-only: what the kubelet writes itself, an image, a claim that says so.
#[must_use]
pub fn is_read_only(volume: &api::Volume) -> bool {
    let of_claim = volume.persistent_volume_claim.as_ref().and_then(|source| source.read_only);
    volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.downward_api.is_some()
        || volume.projected.is_some()
        || volume.image.is_some()
        || of_claim.unwrap_or_default()
}

/// The folder of a claim: made with the mode that a provisioner gives it, and left alone after.
fn make_claim(root: &Root, path: &Path) -> Result<(), VolumeCause> {
    // Validation lets no other name through; a hand-made record must not walk away.
    let plain = is_claim(root, path);
    let parent = path.parent().filter(|_| plain);
    let parent = parent.ok_or_else(|| VolumeCause::ClaimName { name: path.display().to_string() })?;
    make_private_directory(parent).map_err(io_cause("make", parent))?;
    match std::fs::create_dir(path) {
        Ok(()) => {
            std::fs::set_permissions(path, Permissions::from_mode(0o777)).map_err(io_cause("change", path))
        }
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(io_cause("make", path)(e)),
    }
}

/// Whether a path is the folder of a claim: two steps below that of all claims, and nothing else.
pub(crate) fn is_claim(root: &Root, path: &Path) -> bool {
    let normal = |part| matches!(part, Component::Normal(_));
    path.strip_prefix(root.claims())
        .is_ok_and(|below| below.components().count() == 2 && below.components().all(normal))
}
