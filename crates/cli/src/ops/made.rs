//! `--file`: the pods that manifests make, or made once.
//!
//! They are looked for by what is sure to stay: a Pod by its name, a workload's by the workload. So a file may have been
//! changed since, as long as its names have not.

use crate::args::Global;
use crate::exit::{Failure, Result};
use crate::ops::run;
use agent::Client;
use agent::client::PodRef;
use manifest::{Object, ValidationMode};
use std::path::PathBuf;

/// A Pod, or a workload that makes Pods, as a manifest names it.
pub(crate) struct Made {
    namespace: String,
    /// The workload's kind; none is a Pod.
    workload: Option<String>,
    name: String,
}

/// What the manifests say that there is, in their order.
pub(crate) fn read(global: &Global, files: &[PathBuf]) -> Result<Vec<Made>> {
    let loaded = run::objects(global, &run::read(files)?, ValidationMode::Ignore, "nothing was done")?;
    let mut all = Vec::new();
    for object in &loaded.objects {
        let metadata = object.object.metadata();
        let workload = match &object.object {
            // The workload stands for its Pods.
            Object::Pod(pod) if manifest::workloads::owner(pod).is_some() => continue,
            Object::Pod(_) => None,
            Object::Workload(workload) => Some(workload.kind.clone()),
            _ => continue,
        };
        let Some(name) = metadata.name.clone().filter(|name| !name.is_empty()) else {
            return Err(Failure::wrong_use(format!(
                "a Pod of {} has only a generateName: name the pod itself",
                object.source_name
            )));
        };
        all.push(Made { namespace: object.id.namespace.clone(), workload, name });
    }
    Ok(all)
}

impl Made {
    /// The pods that are there of it.
    pub(crate) fn find(&self, client: &Client) -> Result<Vec<PodRef>> {
        Ok(match &self.workload {
            Some(kind) => client.pods_of(&self.namespace, kind, &self.name)?,
            None => vec![client.resolve(&self.namespace, &self.name)?.pod],
        })
    }
}
