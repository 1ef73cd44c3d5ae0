//! Volumes (`ValidateVolumes`).

use super::{file_mode, local_path, names, no_backsteps, text};
use crate::field::{FieldErrors, Path};
use crate::quantity::Quantity;
use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, DownwardAPIVolumeFile, HostPathVolumeSource, KeyToPath, ProjectedVolumeSource,
    SecretVolumeSource, ServiceAccountTokenProjection, Volume, VolumeProjection,
};
use std::collections::{BTreeMap, BTreeSet};

/// hostPath's types, in the order in which the API server names them.
const HOST_PATH_TYPES: [&str; 8] =
    ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];

/// The volumes that are valid, by name. Mounts of others are "Not found", as for the API server.
pub(super) type Volumes<'a> = BTreeMap<&'a str, &'a Volume>;

pub(super) fn volumes<'a>(
    errors: &mut FieldErrors,
    path: &Path,
    volumes: &'a [Volume],
    pod_name: &str,
) -> Volumes<'a> {
    let mut valid = Volumes::new();
    for (index, volume) in volumes.iter().enumerate() {
        let path = path.index(index);
        let before = errors.len();
        source(errors, &path, volume, pod_name);
        if volume.name.is_empty() {
            errors.required(&path.child("name"));
        } else {
            errors.invalid_all(&path.child("name"), &volume.name, names::dns_label(&volume.name));
        }
        if valid.contains_key(volume.name.as_str()) {
            errors.duplicate(&path.child("name"), volume.name.as_str());
        }
        if errors.len() == before {
            valid.insert(&volume.name, volume);
        }
    }
    valid
}

/// Counts the sources of a volume: all after the first are refused.
struct Sources<'e> {
    errors: &'e mut FieldErrors,
    path: Path,
    seen: bool,
}

impl Sources<'_> {
    fn one<T>(&mut self, name: &str, source: Option<&T>, check: impl FnOnce(&mut FieldErrors, &Path, &T)) {
        self.one_said(name, name, source, check);
    }

    /// A source whose path the API server writes in another way when it is one too many.
    fn one_said<T>(
        &mut self,
        name: &str,
        said: &str,
        source: Option<&T>,
        check: impl FnOnce(&mut FieldErrors, &Path, &T),
    ) {
        let Some(source) = source else { return };
        let path = self.path.child(name);
        if self.seen {
            self.errors
                .forbidden(&self.path.child(said).at(&path), "may not specify more than 1 volume type");
        } else {
            self.seen = true;
            check(self.errors, &path, source);
        }
    }
}

fn unchecked<T>(_: &mut FieldErrors, _: &Path, _: &T) {}

fn source(errors: &mut FieldErrors, path: &Path, volume: &Volume, pod_name: &str) {
    let mut sources = Sources { errors, path: path.clone(), seen: false };
    sources.one("emptyDir", volume.empty_dir.as_ref(), |errors, path, source| {
        let limit = source.size_limit.as_ref().and_then(|limit| Quantity::parse(&limit.0).ok());
        if limit.is_some_and(Quantity::is_negative) {
            errors.forbidden(&path.child("sizeLimit"), "SizeLimit field must be a valid resource quantity");
        }
    });
    sources.one("hostPath", volume.host_path.as_ref(), host_path);
    sources.one("gitRepo", volume.git_repo.as_ref(), |errors, path, source| {
        require(errors, path, "repository", &source.repository);
        descending_path(errors, &path.child("directory"), text(&source.directory));
    });
    sources.one("gcePersistentDisk", volume.gce_persistent_disk.as_ref(), unchecked);
    sources.one("awsElasticBlockStore", volume.aws_elastic_block_store.as_ref(), unchecked);
    sources.one("secret", volume.secret.as_ref(), secret);
    sources.one("nfs", volume.nfs.as_ref(), |errors, path, source| {
        require(errors, path, "server", &source.server);
        require(errors, path, "path", &source.path);
        if !source.path.is_empty() && !source.path.starts_with('/') {
            errors.invalid(&path.child("path"), source.path.as_str(), "must be an absolute path");
        }
    });
    sources.one("iscsi", volume.iscsi.as_ref(), unchecked);
    sources.one("glusterfs", volume.glusterfs.as_ref(), unchecked);
    sources.one("flocker", volume.flocker.as_ref(), unchecked);
    sources.one("persistentVolumeClaim", volume.persistent_volume_claim.as_ref(), |errors, path, source| {
        require(errors, path, "claimName", &source.claim_name);
    });
    sources.one("rbd", volume.rbd.as_ref(), unchecked);
    sources.one("cinder", volume.cinder.as_ref(), unchecked);
    sources.one_said("cephfs", "cephFS", volume.cephfs.as_ref(), unchecked);
    sources.one("quobyte", volume.quobyte.as_ref(), unchecked);
    sources.one_said("downwardAPI", "downwarAPI", volume.downward_api.as_ref(), |errors, path, source| {
        mode(errors, &path.child("defaultMode"), source.default_mode);
        for (index, file) in source.items.iter().flatten().enumerate() {
            downward_file(errors, path, &path.child("items").index(index), file);
        }
    });
    sources.one("fc", volume.fc.as_ref(), unchecked);
    sources.one("flexVolume", volume.flex_volume.as_ref(), unchecked);
    sources.one("configMap", volume.config_map.as_ref(), config_map);
    sources.one("azureFile", volume.azure_file.as_ref(), unchecked);
    sources.one("vsphereVolume", volume.vsphere_volume.as_ref(), unchecked);
    sources.one("photonPersistentDisk", volume.photon_persistent_disk.as_ref(), unchecked);
    sources.one("portworxVolume", volume.portworx_volume.as_ref(), unchecked);
    sources.one("azureDisk", volume.azure_disk.as_ref(), unchecked);
    sources.one("storageos", volume.storageos.as_ref(), unchecked);
    sources.one("projected", volume.projected.as_ref(), projected);
    sources.one("scaleIO", volume.scale_io.as_ref(), unchecked);
    sources.one("csi", volume.csi.as_ref(), |errors, path, source| {
        require(errors, path, "driver", &source.driver)
    });
    sources.one("ephemeral", volume.ephemeral.as_ref(), |errors, path, source| {
        match &source.volume_claim_template {
            None => errors.required(&path.child("volumeClaimTemplate")),
            Some(template) => {
                let path = path.child("volumeClaimTemplate").child("spec");
                super::claims::claim_spec(errors, &path, &template.spec);
            }
        }
        let _ = pod_name;
    });
    sources.one("image", volume.image.as_ref(), |errors, path, source| {
        require(errors, path, "reference", text(&source.reference));
        super::containers::pull_policy(errors, &path.child("pullPolicy"), text(&source.pull_policy));
    });
    let seen = sources.seen;
    if !seen {
        errors.required_because(path, "must specify a volume type");
    }
}

fn require(errors: &mut FieldErrors, path: &Path, name: &str, value: &str) {
    if value.is_empty() {
        errors.required(&path.child(name));
    }
}

pub(super) fn host_path(errors: &mut FieldErrors, path: &Path, source: &HostPathVolumeSource) {
    if source.path.is_empty() {
        return errors.required(&path.child("path"));
    }
    no_backsteps(errors, &path.child("path"), &source.path);
    if let Some(kind) = source.type_.as_deref()
        && !HOST_PATH_TYPES.contains(&kind)
    {
        errors.unsupported(&path.child("type"), kind, &HOST_PATH_TYPES);
    }
}

fn config_map(errors: &mut FieldErrors, path: &Path, source: &ConfigMapVolumeSource) {
    require(errors, path, "name", &source.name);
    mode(errors, &path.child("defaultMode"), source.default_mode);
    items(errors, path, source.items.as_deref());
}

fn secret(errors: &mut FieldErrors, path: &Path, source: &SecretVolumeSource) {
    require(errors, path, "secretName", text(&source.secret_name));
    mode(errors, &path.child("defaultMode"), source.default_mode);
    items(errors, path, source.items.as_deref());
}

fn items(errors: &mut FieldErrors, path: &Path, items: Option<&[KeyToPath]>) {
    for (index, item) in items.unwrap_or_default().iter().enumerate() {
        key_to_path(errors, &path.child("items").index(index), item);
    }
}

fn key_to_path(errors: &mut FieldErrors, path: &Path, item: &KeyToPath) {
    require(errors, path, "key", &item.key);
    require(errors, path, "path", &item.path);
    local_path(errors, &path.child("path"), &item.path);
    mode(errors, &path.child("mode"), item.mode);
}

fn mode(errors: &mut FieldErrors, path: &Path, mode: Option<i32>) {
    file_mode(errors, path, mode);
}

/// Relative and without `..`.
pub(super) fn descending_path(errors: &mut FieldErrors, path: &Path, value: &str) {
    if value.starts_with('/') {
        errors.invalid(path, value, "must be a relative path");
    }
    no_backsteps(errors, path, value);
}

/// The API server leaves out the index of a downwardAPI item; `at` is where it is.
fn downward_file(errors: &mut FieldErrors, path: &Path, at: &Path, file: &DownwardAPIVolumeFile) {
    const FIELDS: [&str; 5] =
        ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
    let child = |name: &str| path.child(name).at(&at.child(name));
    if file.path.is_empty() {
        errors.required(&child("path"));
    }
    local_path(errors, &child("path"), &file.path);
    match (&file.field_ref, &file.resource_field_ref) {
        (Some(field), resource) => {
            super::containers::field_ref(errors, &child("fieldRef"), field, &FIELDS);
            if resource.is_some() {
                errors.invalid(
                    &path.at(at),
                    "resource",
                    "fieldRef and resourceFieldRef can not be specified simultaneously",
                );
            }
        }
        (None, Some(resource)) => {
            super::containers::resource_field_ref(errors, &child("resourceFieldRef"), resource, true);
        }
        (None, None) => {
            errors.required_because(&path.at(at), "one of fieldRef and resourceFieldRef is required")
        }
    }
    mode(errors, &child("mode"), file.mode);
}

fn projected(errors: &mut FieldErrors, path: &Path, source: &ProjectedVolumeSource) {
    mode(errors, &path.child("defaultMode"), source.default_mode);
    let mut paths = BTreeSet::new();
    for (index, source) in source.sources.iter().flatten().enumerate() {
        let here = path.child("sources").index(index);
        let count = projection(errors, path, &here, source, &mut paths);
        if count > 1 {
            errors.forbidden(&here, "may not specify more than 1 volume type per source");
        }
    }
}

/// Checks one projected source; gives how many kinds it names.
fn projection(
    errors: &mut FieldErrors,
    all: &Path,
    here: &Path,
    source: &VolumeProjection,
    paths: &mut BTreeSet<String>,
) -> usize {
    let mut count = 0;
    let mut keyed = |errors: &mut FieldErrors, kind: &str, name: &str, items: Option<&[KeyToPath]>| {
        let path = here.child(kind);
        require(errors, &path, "name", name);
        for (index, item) in items.unwrap_or_default().iter().enumerate() {
            key_to_path(errors, &path.child("items").index(index), item);
            if !item.path.is_empty() && !paths.insert(item.path.clone()) {
                errors.invalid(&all.at(&path), name, "conflicting duplicate paths");
            }
        }
    };
    if let Some(secret) = &source.secret {
        count += 1;
        keyed(errors, "secret", &secret.name, secret.items.as_deref());
    }
    if let Some(config_map) = &source.config_map {
        count += 1;
        keyed(errors, "configMap", &config_map.name, config_map.items.as_deref());
    }
    if let Some(downward) = &source.downward_api {
        count += 1;
        let path = here.child("downwardAPI");
        for (index, file) in downward.items.iter().flatten().enumerate() {
            downward_file(errors, &path, &path.child("items").index(index), file);
            if !file.path.is_empty() && !paths.insert(file.path.clone()) {
                errors.invalid(&all.at(&path), file.path.as_str(), "conflicting duplicate paths");
            }
        }
    }
    if let Some(token) = &source.service_account_token {
        count += 1;
        service_account_token(errors, all, &here.child("serviceAccountToken"), token);
    }
    count +=
        usize::from(source.cluster_trust_bundle.is_some()) + usize::from(source.pod_certificate.is_some());
    count
}

fn service_account_token(
    errors: &mut FieldErrors,
    all: &Path,
    path: &Path,
    token: &ServiceAccountTokenProjection,
) {
    let seconds = token.expiration_seconds.unwrap_or_default();
    if seconds < 600 {
        errors.invalid(
            &path.child("expirationSeconds"),
            seconds,
            "may not specify a duration less than 10 minutes",
        );
    }
    if seconds > 1 << 32 {
        errors.invalid(
            &path.child("expirationSeconds"),
            seconds,
            "may not specify a duration larger than 2^32 seconds",
        );
    }
    let said = all.child("path").at(&path.child("path"));
    if token.path.is_empty() {
        errors.required(&said);
    } else {
        local_path(errors, &said, &token.path);
    }
}
