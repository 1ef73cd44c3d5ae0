//! Finding pods and containers of a root by the names that were typed.

use crate::args::Global;
use crate::exit::{Failure, Result};
use crate::output;
use crate::target::{Target, without_kind};
use agent::Root;
use agent::lifecycle::{ContainerState, PodState};
use agent::record::{self, PodKey, PodRecord, PodUid};
use agent::status_file::StatusFile;
use serde_json::Value;

/// The namespace of pods that is meant.
pub(crate) fn namespace(global: &Global) -> &str {
    global.namespace.as_deref().unwrap_or("default")
}

/// A pod as it is on record.
#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) record: PodRecord,
    pub(crate) state: PodState,
}

impl Pod {
    /// The pod of that name.
    pub(crate) fn find(root: &Root, global: &Global, name: &str) -> Result<Pod> {
        let key = PodKey { namespace: namespace(global).to_owned(), name: without_kind(name).to_owned() };
        Pod::load(root, record::require(root, &key)?)
    }

    /// The pod of that uid.
    pub(crate) fn load(root: &Root, uid: PodUid) -> Result<Pod> {
        let record = record::load(root, &uid)?;
        let state = match StatusFile::read(root, &uid)? {
            Some(file) => file.state,
            None => PodState::new(agent::status::rules(&record.pod)),
        };
        Ok(Pod { record, state })
    }

    /// All pods of a namespace, or of all, in the order of their names. One that is removed meanwhile is left out.
    pub(crate) fn list(root: &Root, namespace: Option<&str>) -> Result<Vec<Pod>> {
        let mut pods = Vec::new();
        for (key, uid) in record::list(root, namespace)? {
            match Pod::load(root, uid) {
                Ok(pod) => pods.push(pod),
                Err(_) if record::find(root, &key)?.is_none() => {}
                Err(failure) => return Err(failure.said(format!("pod {key}"))),
            }
        }
        Ok(pods)
    }

    /// The Kubernetes object, with its status.
    pub(crate) fn object(&self) -> Result<Value> {
        let mut object = serde_json::to_value(agent::status::pod_with_status(&self.record.pod, &self.state))?;
        object["apiVersion"] = "v1".into();
        object["kind"] = "Pod".into();
        Ok(object)
    }

    /// The container that is meant: the one named, else the one that the pod's annotation names, else the first,
    /// which is said where there are several (kubectl's rules and words).
    pub(crate) fn container(&self, target: &Target) -> Result<&ContainerState> {
        let names =
            || self.state.containers.iter().map(|container| container.name.as_str()).collect::<Vec<_>>();
        if let Some(name) = &target.container {
            return self.state.container(name).ok_or_else(|| {
                let names = names().join(", ");
                Failure::no(anyhow::anyhow!(
                    "container {name} is not valid for pod {} out of: {names}",
                    target.pod
                ))
            });
        }
        let annotations = self.record.pod.metadata.annotations.as_ref();
        let annotated = annotations.and_then(|all| all.get("kubectl.kubernetes.io/default-container"));
        if let Some(container) = annotated.and_then(|name| self.state.container(name)) {
            return Ok(container);
        }
        let first = self.state.containers.first();
        let first =
            first.ok_or_else(|| Failure::no(anyhow::anyhow!("pod {} has no containers", target.pod)))?;
        if self.state.containers.len() > 1 {
            output::stderr_line(&format!(
                "Defaulted container {:?} out of: {}",
                first.name,
                names().join(", ")
            ));
        }
        Ok(first)
    }
}
