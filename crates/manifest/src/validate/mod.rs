//! Validation as the API server of Kubernetes 1.36 does it when an object is created: the same checks, in the same order,
//! in the same words (`pkg/apis/core/validation`), feature gates as they are by default. The object is valid JSON of its
//! type and has its defaults.

mod claims;
mod containers;
mod metadata;
mod names;
mod probes;
mod resources;
mod scheduling;
mod security;
mod spec;
mod volumes;
mod warnings;
mod workloads;

use crate::field::{FieldErrors, Path};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::BTreeMap;

pub(crate) use claims::claim_spec;
pub use claims::{claim, persistent_volume};
pub(crate) use names::dns_subdomain;
pub(crate) use workloads::selects;
pub use workloads::{JobTemplate, Workload, WorkloadSpec, is_workload, schema_of, workload};

/// Bytes of data that a ConfigMap or Secret may have.
const MAX_DATA: usize = 1 << 20;

/// What is wrong with a Pod that is to be made.
#[must_use]
pub fn pod(pod: &Pod) -> FieldErrors {
    let mut errors = changed_pod(pod);
    if let Some(spec) = &pod.spec {
        spec::only_on_create(&mut errors, &Path::new("spec"), spec);
    }
    errors
}

/// What is wrong with what a Pod that is there is to become, whatever it was before.
#[must_use]
pub fn changed_pod(pod: &Pod) -> FieldErrors {
    let mut errors = FieldErrors::default();
    metadata::object(&mut errors, &pod.metadata);
    let path = Path::new("metadata").child("annotations");
    spec::annotations(&mut errors, &path, &pod.metadata, pod.spec.as_ref());
    if let Some(spec) = &pod.spec {
        spec::pod_spec(&mut errors, &Path::new("spec"), spec, Some(text(&pod.metadata.name)));
        spec::only_for_pods(&mut errors, &Path::new("spec"), spec);
    }
    errors
}

/// What is wrong with the ephemeral containers of a Pod, which are added while it runs.
#[must_use]
pub fn ephemeral_containers(pod: &Pod) -> FieldErrors {
    let (mut errors, path) = (FieldErrors::default(), Path::new("spec"));
    if let Some(spec) = &pod.spec {
        let name = text(&pod.metadata.name);
        let volumes = spec.volumes.as_deref().unwrap_or_default();
        // What was wrong with the volumes was said when the Pod was made.
        let volumes = volumes::volumes(&mut FieldErrors::default(), &path.child("volumes"), volumes, name);
        containers::ephemeral_containers(&mut errors, &path.child("ephemeralContainers"), spec, &volumes);
    }
    errors
}

/// What the API server warns of in a valid Pod.
#[must_use]
pub fn pod_warnings(pod: &Pod) -> FieldErrors {
    pod.spec.as_ref().map_or_else(FieldErrors::default, |spec| warnings::pod(&Path::new("spec"), spec))
}

/// What the API server warns of in a valid workload: what it would warn of in its Pods.
#[must_use]
pub fn workload_warnings(workload: &Workload) -> FieldErrors {
    let path = Path::new("spec").child("template").child("spec");
    let spec = workload.spec.template.spec.as_ref();
    spec.map_or_else(FieldErrors::default, |spec| warnings::pod(&path, spec))
}

/// What is wrong with a ConfigMap.
#[must_use]
pub fn config_map(map: &ConfigMap) -> FieldErrors {
    let mut errors = FieldErrors::default();
    metadata::object(&mut errors, &map.metadata);
    let binary = |key: &str| map.binary_data.as_ref().is_some_and(|data| data.contains_key(key));
    let mut size = 0;
    for (key, value) in map.data.iter().flatten() {
        let path = Path::new("data").key(key);
        errors.invalid_all(&path, key, names::config_key(key));
        if binary(key) {
            errors.invalid(&path, key.as_str(), "duplicate of key present in binaryData");
        }
        size += value.len();
    }
    for (key, value) in map.binary_data.iter().flatten() {
        errors.invalid_all(&Path::new("binaryData").key(key), key, names::config_key(key));
        size += value.0.len();
    }
    if size > MAX_DATA {
        errors.too_long(&Path::new(""), MAX_DATA);
    }
    errors
}

/// What is wrong with a Secret.
#[must_use]
pub fn secret(secret: &Secret) -> FieldErrors {
    let mut errors = FieldErrors::default();
    metadata::object(&mut errors, &secret.metadata);
    let data = Path::new("data");
    let mut size = 0;
    for (key, value) in secret.data.iter().flatten() {
        errors.invalid_all(&data.key(key), key, names::config_key(key));
        size += value.0.len();
    }
    if size > MAX_DATA {
        errors.too_long(&data, MAX_DATA);
    }
    secret_keys(&mut errors, secret);
    errors
}

/// The keys that a type of Secret must have.
fn secret_keys(errors: &mut FieldErrors, secret: &Secret) {
    let none = BTreeMap::new();
    let data: &BTreeMap<String, ByteString> = secret.data.as_ref().unwrap_or(&none);
    let path = Path::new("data");
    let required: &[&str] = match text(&secret.type_) {
        "kubernetes.io/service-account-token" => {
            let key = "kubernetes.io/service-account.name";
            let account = secret.metadata.annotations.as_ref().and_then(|all| all.get(key));
            if account.is_none_or(String::is_empty) {
                errors.required(&Path::new("metadata").child("annotations").key(key));
            }
            &[]
        }
        "kubernetes.io/dockercfg" => return docker_config(errors, &path, data, ".dockercfg"),
        "kubernetes.io/dockerconfigjson" => return docker_config(errors, &path, data, ".dockerconfigjson"),
        "kubernetes.io/basic-auth" if data.contains_key("username") || data.contains_key("password") => &[],
        "kubernetes.io/basic-auth" => &["username", "password"],
        "kubernetes.io/ssh-auth" => {
            if data.get("ssh-privatekey").is_none_or(|key| key.0.is_empty()) {
                errors.required(&path.key("ssh-privatekey"));
            }
            &[]
        }
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        _ => &[],
    };
    for key in required {
        if !data.contains_key(*key) {
            errors.required(&path.key(key));
        }
    }
}

fn docker_config(errors: &mut FieldErrors, path: &Path, data: &BTreeMap<String, ByteString>, key: &str) {
    match data.get(key) {
        None => errors.required(&path.key(key)),
        Some(value) => {
            if let Err(error) = serde_json::from_slice::<BTreeMap<String, serde_json::Value>>(&value.0) {
                let error = error.to_string();
                errors.invalid(&path.key(key), "<secret contents redacted>", error);
            }
        }
    }
}

/// What is wrong with the metadata of a Namespace or a Node: of an object that is in no namespace. A Namespace's name is a
/// label of a domain name.
#[must_use]
pub fn cluster_metadata(metadata: &ObjectMeta, name_is_label: bool) -> FieldErrors {
    let mut errors = FieldErrors::default();
    metadata::cluster_object(&mut errors, metadata, name_is_label);
    errors
}

/// What is wrong with the metadata of an object that is in a namespace.
#[must_use]
pub fn namespaced_metadata(metadata: &ObjectMeta) -> FieldErrors {
    let mut errors = FieldErrors::default();
    metadata::object(&mut errors, metadata);
    errors
}

/// What is wrong with a key of a label.
#[must_use]
pub fn label_key(key: &str) -> Vec<String> {
    names::label_key(key)
}

/// What is wrong with the value of a label.
#[must_use]
pub fn label_value(value: &str) -> Vec<String> {
    names::label_value(value)
}

/// Go's zero value of a string that may be left out.
fn text(field: &Option<String>) -> &str {
    field.as_deref().unwrap_or_default()
}

/// No element of a path is `..`.
fn no_backsteps(errors: &mut FieldErrors, path: &Path, value: &str) {
    if value.split('/').any(|part| part == "..") {
        errors.invalid(path, value, "must not contain '..'");
    }
}

/// A path inside a volume that does not begin with `..`, which the kubelet keeps for itself.
fn local_path(errors: &mut FieldErrors, path: &Path, value: &str) {
    volumes::descending_path(errors, path, value);
    if value.starts_with("..") && !value.starts_with("../") {
        errors.invalid(path, value, "must not start with '..'");
    }
}

fn file_mode(errors: &mut FieldErrors, path: &Path, mode: Option<i32>) {
    if let Some(mode) = mode
        && !(0..=0o777).contains(&mode)
    {
        errors.invalid(path, mode, "must be a number between 0 and 0777 (octal), both inclusive");
    }
}

fn not_negative(errors: &mut FieldErrors, path: &Path, value: i64) {
    if value < 0 {
        errors.invalid(path, value, "must be greater than or equal to 0");
    }
}
