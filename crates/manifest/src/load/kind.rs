//! What the loader does with each kind: its defaults, its checks, what of it is done.

use super::Object;
use crate::field::FieldErrors;
use crate::support::{self, Verdict};
use crate::tree::Node;
use crate::validate::Workload;
use crate::{defaults, validate};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::HashSet;

/// What the loader needs of a kind.
pub(super) trait Kind: serde::de::DeserializeOwned {
    /// Whether it is in a namespace.
    const NAMESPACED: bool = true;
    fn metadata(&self) -> &ObjectMeta;
    fn metadata_mut(&mut self) -> &mut ObjectMeta;
    /// Fills in what it leaves out.
    fn default(&mut self) {}
    fn validate(&self) -> FieldErrors;
    /// What is valid and all the same probably not meant.
    fn warnings(&self) -> FieldErrors {
        FieldErrors::default()
    }
    /// What of it is not done, and what else there is to say; the paths `left_out` are no fields of it.
    fn support(&self, _node: &Node, _left_out: &HashSet<String>) -> Verdict {
        Verdict::default()
    }
    fn into_object(self) -> Object;
}

macro_rules! metadata {
    () => {
        fn metadata(&self) -> &ObjectMeta {
            &self.metadata
        }
        fn metadata_mut(&mut self) -> &mut ObjectMeta {
            &mut self.metadata
        }
    };
}

impl Kind for Pod {
    metadata!();
    fn default(&mut self) {
        defaults::pod(self);
    }
    fn validate(&self) -> FieldErrors {
        validate::pod(self)
    }
    fn warnings(&self) -> FieldErrors {
        validate::pod_warnings(self)
    }
    fn support(&self, node: &Node, left_out: &HashSet<String>) -> Verdict {
        support::pod(self, node, left_out)
    }
    fn into_object(self) -> Object {
        Object::Pod(Box::new(self))
    }
}

impl Kind for ConfigMap {
    metadata!();
    fn validate(&self) -> FieldErrors {
        validate::config_map(self)
    }
    fn into_object(self) -> Object {
        Object::ConfigMap(self)
    }
}

impl Kind for Secret {
    metadata!();
    fn default(&mut self) {
        defaults::secret(self);
    }
    fn validate(&self) -> FieldErrors {
        validate::secret(self)
    }
    fn into_object(self) -> Object {
        Object::Secret(self)
    }
}

impl Kind for Workload {
    metadata!();
    fn default(&mut self) {
        defaults::workload(self);
    }
    fn validate(&self) -> FieldErrors {
        validate::workload(self)
    }
    fn warnings(&self) -> FieldErrors {
        validate::workload_warnings(self)
    }
    fn support(&self, node: &Node, left_out: &HashSet<String>) -> Verdict {
        support::workload(self, node, left_out)
    }
    fn into_object(self) -> Object {
        Object::Workload(Box::new(self))
    }
}

impl Kind for PersistentVolume {
    const NAMESPACED: bool = false;
    metadata!();
    fn default(&mut self) {
        defaults::persistent_volume(self);
    }
    fn validate(&self) -> FieldErrors {
        validate::persistent_volume(self)
    }
    fn support(&self, node: &Node, left_out: &HashSet<String>) -> Verdict {
        support::persistent_volume(node, left_out)
    }
    fn into_object(self) -> Object {
        Object::PersistentVolume(Box::new(self))
    }
}

impl Kind for PersistentVolumeClaim {
    metadata!();
    fn default(&mut self) {
        defaults::claim(self);
    }
    fn validate(&self) -> FieldErrors {
        validate::claim(self)
    }
    fn support(&self, node: &Node, left_out: &HashSet<String>) -> Verdict {
        support::claim(node, left_out)
    }
    fn into_object(self) -> Object {
        Object::PersistentVolumeClaim(Box::new(self))
    }
}
