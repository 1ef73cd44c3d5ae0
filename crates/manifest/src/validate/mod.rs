//! stub
use crate::field::FieldErrors;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
/// Pod
pub fn pod(_: &Pod) -> FieldErrors {
    FieldErrors::default()
}
/// ConfigMap
pub fn config_map(_: &ConfigMap) -> FieldErrors {
    FieldErrors::default()
}
/// Secret
pub fn secret(_: &Secret) -> FieldErrors {
    FieldErrors::default()
}
