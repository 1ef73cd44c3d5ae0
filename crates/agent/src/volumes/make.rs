//! One volume, made: what is below the pod's own folder, what is on the host, and the folders of claims.

use super::{
    Place, PodVolumes, VolumeCause, VolumeError, bytes_of, host_path, io_cause, kind_of, payload, sub_path,
    unenforced_limit, written,
};
use crate::root::{Root, make_private_directory};
use jiff::Timestamp;
use k8s_openapi::api::core::v1 as api;
use manifest::cri::ResolvedVolume;
use manifest::volume_files;
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
        let of_claim = volume.persistent_volume_claim.as_ref().and_then(|source| source.read_only);
        let made = |host_path| ResolvedVolume { host_path, read_only: of_claim.unwrap_or_default() };
        match self.place(volume) {
            Place::Host(source) => {
                let path = PathBuf::from(&source.path);
                let checked = host_path::check(&path, source.type_.as_deref().unwrap_or_default());
                warnings.extend(checked.map_err(|e| of(e.into()))?);
                Ok(made(path))
            }
            Place::Claim(path) => make_claim(self.root, &path).map(|()| made(path)).map_err(of),
            Place::Own => self.make_own(volume, now, warnings),
        }
    }

    /// A volume below the pod's own folder.
    fn make_own(
        &self,
        volume: &api::Volume,
        now: Timestamp,
        warnings: &mut Vec<String>,
    ) -> Result<ResolvedVolume, VolumeError> {
        let writable = |host_path| ResolvedVolume { host_path, read_only: false };
        let of = VolumeError::of(volume);
        if let Some(source) = &volume.empty_dir {
            warnings.extend(unenforced_limit(&volume.name, source));
            self.make_empty_dir(&volume.name, source).map(writable).map_err(of)
        } else if let Some(source) = &volume.config_map {
            let object = self.record.config_maps.get(&source.name);
            let files = volume_files::config_map_files(&volume.name, source, object)?;
            self.write_files("configmap", &volume.name, &files, now).map_err(of)
        } else if let Some(source) = &volume.secret {
            let object = source.secret_name.as_ref().and_then(|name| self.record.secrets.get(name));
            let files = volume_files::secret_files(&volume.name, source, object)?;
            self.write_files("secret", &volume.name, &files, now).map_err(of)
        } else {
            Err(of(VolumeCause::NotDone { kind: kind_of(volume) }))
        }
    }

    /// The folder of a ConfigMap or Secret with its files; a secret's in memory, so that it never reaches the disk.
    fn write_files(
        &self,
        plugin: &str,
        volume: &str,
        files: &[volume_files::VolumeFile],
        now: Timestamp,
    ) -> Result<ResolvedVolume, VolumeCause> {
        let host_path = self.volume_folder(plugin, volume)?;
        if plugin == "secret" {
            self.mount_tmpfs(volume, &host_path, None)?;
        }
        payload::write(&host_path, files, now).map_err(written)?;
        Ok(ResolvedVolume { host_path, read_only: true })
    }

    /// The folder of a volume, named as the kubelet does; mode 0777 since any user of a container may write.
    fn volume_folder(&self, plugin: &str, volume: &str) -> Result<PathBuf, VolumeCause> {
        let parent = self.folder().join(format!("kubernetes.io~{plugin}"));
        let path = parent.join(volume);
        make_private_directory(&path).map_err(io_cause("make", &path))?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o777)).map_err(io_cause("change", &path))?;
        Ok(path)
    }

    fn make_empty_dir(
        &self,
        volume: &str,
        source: &api::EmptyDirVolumeSource,
    ) -> Result<PathBuf, VolumeCause> {
        let path = self.volume_folder("empty-dir", volume)?;
        match source.medium.as_deref().unwrap_or_default() {
            // A sizeLimit on disk is enforced by measuring, which is still to come: see `unenforced_limit`.
            "" => {}
            "Memory" => {
                let size = source.size_limit.as_ref().map(|limit| bytes_of(&limit.0)).transpose()?;
                let size =
                    size.filter(|bytes| *bytes > 0).map(|bytes| ("size".to_owned(), Some(bytes.to_string())));
                self.mount_tmpfs(volume, &path, size)?;
            }
            other => return Err(VolumeCause::NotDone { kind: format!("emptyDir.medium: {other}") }),
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
