//! Object metadata (`ValidateObjectMeta`).

use super::names;
use crate::field::{FieldErrors, Path};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::BTreeMap;

/// Bytes that an object's annotations may have in all.
const MAX_ANNOTATIONS: usize = 256 << 10;

/// Metadata of a namespaced object whose name is a domain name.
pub(super) fn object(errors: &mut FieldErrors, metadata: &ObjectMeta) {
    let path = Path::new("metadata");
    name(errors, &path, metadata, names::dns_subdomain);
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    if namespace.is_empty() {
        errors.required(&path.child("namespace"));
    } else {
        errors.invalid_all(&path.child("namespace"), namespace, names::dns_label(namespace));
    }
    rest(errors, &path, metadata);
}

/// Metadata of an object that is in no namespace.
pub(super) fn cluster_object(errors: &mut FieldErrors, metadata: &ObjectMeta, name_is_label: bool) {
    let path = Path::new("metadata");
    name(errors, &path, metadata, if name_is_label { names::dns_label } else { names::dns_subdomain });
    if metadata.namespace.as_deref().is_some_and(|namespace| !namespace.is_empty()) {
        errors.forbidden(&path.child("namespace"), "not allowed on this type");
    }
    rest(errors, &path, metadata);
}

fn name(errors: &mut FieldErrors, path: &Path, metadata: &ObjectMeta, check: fn(&str) -> Vec<String>) {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let (name, prefix) = (text(&metadata.name), text(&metadata.generate_name));
    if !prefix.is_empty() {
        let wrong = check(&names::prefix_as_name(&prefix));
        errors.invalid_all(&path.child("generateName"), &prefix, wrong);
    }
    if !name.is_empty() {
        errors.invalid_all(&path.child("name"), &name, check(&name));
    } else if prefix.is_empty() {
        errors.required_because(&path.child("name"), "name or generateName is required");
    }
}

fn rest(errors: &mut FieldErrors, path: &Path, metadata: &ObjectMeta) {
    labels(errors, &path.child("labels"), metadata.labels.as_ref());
    annotations(errors, &path.child("annotations"), metadata.annotations.as_ref());
    owners(errors, &path.child("ownerReferences"), metadata);
    for finalizer in metadata.finalizers.iter().flatten() {
        let wrong = names::label_key(finalizer);
        let standard = ["orphan", "foregroundDeletion"].contains(&finalizer.as_str());
        if wrong.is_empty() && !finalizer.contains('/') && !standard {
            errors.invalid(
                &path.child("finalizers"),
                finalizer.as_str(),
                "name is neither a standard finalizer name nor is it fully qualified",
            );
        }
        errors.invalid_all(&path.child("finalizers"), finalizer, wrong);
    }
}

/// A map of labels; the API server does not say which of them is wrong.
pub(super) fn labels(errors: &mut FieldErrors, path: &Path, labels: Option<&BTreeMap<String, String>>) {
    for (key, value) in labels.into_iter().flatten() {
        let here = path.at(&path.child(key));
        errors.invalid_all(&here, key, names::label_key(key));
        errors.invalid_all(&here, value, names::label_value(value));
    }
}

pub(super) fn annotations(
    errors: &mut FieldErrors,
    path: &Path,
    annotations: Option<&BTreeMap<String, String>>,
) {
    for key in annotations.into_iter().flat_map(BTreeMap::keys) {
        errors.invalid_all(&path.at(&path.child(key)), key, names::label_key(&key.to_lowercase()));
    }
    let size: usize = annotations.into_iter().flatten().map(|(key, value)| key.len() + value.len()).sum();
    if size > MAX_ANNOTATIONS {
        errors.too_long(path, MAX_ANNOTATIONS);
    }
}

fn owners(errors: &mut FieldErrors, path: &Path, metadata: &ObjectMeta) {
    for (index, owner) in metadata.owner_references.iter().flatten().enumerate() {
        let here = path.silent_index(index);
        if owner.api_version.is_empty() {
            errors.invalid(&here.child("apiVersion"), "", "version must not be empty");
        }
        for (name, value) in [("kind", &owner.kind), ("name", &owner.name), ("uid", &owner.uid)] {
            if value.is_empty() {
                errors.invalid(&here.child(name), "", "must not be empty");
            }
        }
    }
}
