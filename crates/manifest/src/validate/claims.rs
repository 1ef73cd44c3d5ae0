//! PersistentVolumes and claims on them (`ValidatePersistentVolume`, `ValidatePersistentVolumeClaim`).

use super::{metadata, names, no_backsteps, scheduling, text, volumes};
use crate::field::{FieldErrors, Path};
use crate::quantity::Quantity;
use k8s_openapi::api::core::v1::{
    PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeSpec,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;
use serde_json::json;

const ACCESS_MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
const VOLUME_MODES: [&str; 2] = ["Block", "Filesystem"];
const RECLAIM_POLICIES: [&str; 3] = ["Delete", "Recycle", "Retain"];
const STORAGE: &str = "storage";

/// What is wrong with a claim.
#[must_use]
pub fn claim(claim: &PersistentVolumeClaim) -> FieldErrors {
    let mut errors = FieldErrors::default();
    metadata::object(&mut errors, &claim.metadata);
    let none = PersistentVolumeClaimSpec::default();
    claim_spec(&mut errors, &Path::new("spec"), claim.spec.as_ref().unwrap_or(&none));
    errors
}

pub(crate) fn claim_spec(errors: &mut FieldErrors, path: &Path, spec: &PersistentVolumeClaimSpec) {
    let modes = spec.access_modes.as_deref().unwrap_or_default();
    access_modes(errors, path, modes);
    scheduling::label_selector(errors, &path.child("selector"), spec.selector.as_ref());
    let (one_pod, others): (Vec<&str>, Vec<&str>) =
        modes.iter().map(String::as_str).partition(|mode| *mode == "ReadWriteOncePod");
    if !one_pod.is_empty() && others.iter().any(|mode| ACCESS_MODES.contains(mode)) {
        let detail = "may not use ReadWriteOncePod with other access modes";
        errors.forbidden(&path.child("accessModes"), detail);
    }
    let here = path.child("resources").key(STORAGE);
    let requests = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    match requests.and_then(|requests| requests.get(STORAGE)) {
        None => errors.required(&here),
        Some(amount) => positive(errors, &here, amount),
    }
    class_and_mode(errors, path, text(&spec.storage_class_name), text(&spec.volume_mode));
}

/// What is wrong with a volume.
#[must_use]
pub fn persistent_volume(volume: &PersistentVolume) -> FieldErrors {
    let mut errors = FieldErrors::default();
    metadata::cluster_object(&mut errors, &volume.metadata, false);
    let none = PersistentVolumeSpec::default();
    volume_spec(&mut errors, &Path::new("spec"), volume.spec.as_ref().unwrap_or(&none));
    errors
}

fn volume_spec(errors: &mut FieldErrors, path: &Path, spec: &PersistentVolumeSpec) {
    access_modes(errors, path, spec.access_modes.as_deref().unwrap_or_default());
    let capacity = spec.capacity.clone().unwrap_or_default();
    let here = path.child("capacity");
    if capacity.is_empty() {
        errors.required(&here);
    } else if capacity.len() > 1 || !capacity.contains_key(STORAGE) {
        errors.unsupported(&here, &json!(capacity).to_string(), &[STORAGE]);
    }
    for (name, amount) in &capacity {
        positive(errors, &here.key(name), amount);
    }
    let policy = text(&spec.persistent_volume_reclaim_policy);
    if !policy.is_empty() && !RECLAIM_POLICIES.contains(&policy) {
        errors.unsupported(&path.child("persistentVolumeReclaimPolicy"), policy, &RECLAIM_POLICIES);
    }
    sources(errors, path, spec);
    let is_root = |path: &str| !path.is_empty() && path.split('/').all(|part| part.is_empty() || part == ".");
    if policy == "Recycle" && spec.host_path.as_ref().is_some_and(|source| is_root(&source.path)) {
        let detail = "may not be 'recycle' for a hostPath mount of '/'";
        errors.forbidden(&path.child("persistentVolumeReclaimPolicy"), detail);
    }
    class_and_mode(errors, path, text(&spec.storage_class_name), text(&spec.volume_mode));
}

/// Of the sources only those that are run are looked into; of the others one is known to be there.
fn sources(errors: &mut FieldErrors, path: &Path, spec: &PersistentVolumeSpec) {
    let json = json!(spec);
    let given = json.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    let others: Vec<&str> =
        given.filter(|name| !NOT_SOURCES.contains(name) && !["hostPath", "local"].contains(name)).collect();
    let mut count = 0;
    if let Some(source) = &spec.host_path {
        count += 1;
        volumes::host_path(errors, &path.child("hostPath"), source);
    }
    let here = path.child("local");
    match &spec.local {
        Some(_) if count > 0 => errors.forbidden(&here, "may not specify more than 1 volume type"),
        Some(source) => {
            count += 1;
            if source.path.is_empty() {
                errors.required(&here.child("path"));
            } else {
                no_backsteps(errors, &here.child("path"), &source.path);
            }
            if spec.node_affinity.is_none() {
                errors.required_because(&path.child("nodeAffinity"), "Local volume requires node affinity");
            }
        }
        None => {}
    }
    for name in others {
        if count > 0 {
            errors.forbidden(&path.child(name), "may not specify more than 1 volume type");
        }
        count += 1;
    }
    if count == 0 {
        errors.required_because(path, "must specify a volume type");
    }
}

/// Fields of a PersistentVolumeSpec that are no source.
const NOT_SOURCES: [&str; 9] = [
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];

fn access_modes(errors: &mut FieldErrors, path: &Path, modes: &[String]) {
    let path = path.child("accessModes");
    if modes.is_empty() {
        errors.required_because(&path, "at least 1 access mode is required");
    }
    for mode in modes.iter().filter(|mode| !ACCESS_MODES.contains(&mode.as_str())) {
        errors.unsupported(&path, mode, &ACCESS_MODES);
    }
}

fn positive(errors: &mut FieldErrors, path: &Path, amount: &ApiQuantity) {
    if let Ok(quantity) = Quantity::parse(&amount.0)
        && (quantity.is_negative() || quantity.is_zero())
    {
        errors.invalid(path, amount.0.as_str(), "must be greater than zero");
    }
}

fn class_and_mode(errors: &mut FieldErrors, path: &Path, class: &str, mode: &str) {
    if !class.is_empty() {
        errors.invalid_all(&path.child("storageClassName"), class, names::dns_subdomain(class));
    }
    if !mode.is_empty() && !VOLUME_MODES.contains(&mode) {
        errors.unsupported(&path.child("volumeMode"), mode, &VOLUME_MODES);
    }
}
