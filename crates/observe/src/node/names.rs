//! What containers and pods are called: told by whoever runs them, or read from the folders of other runtimes.
//!
//! In this order: what rhizome's own state says ([`Names`]), the runtimes' files, which are there without a daemon that answers
//! ([`super::folders`]), and for those that neither names the CRI sockets ([`super::cri`]).

use mount_table::node::{Container, Pod};
use std::collections::HashMap;

/// Names by id. What is not in here is called by its id.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// Pods by uid.
    pub pods: HashMap<String, Pod>,
    /// Containers by id.
    pub containers: HashMap<String, Container>,
}

impl Names {
    /// Completes what a cgroup said of a container.
    pub(super) fn complete(&self, container: &mut Container) {
        if let Some(known) = self.containers.get(&container.id) {
            container.name = known.name.clone().or(container.name.take());
            container.runtime = container.runtime.or(known.runtime);
            match (&mut container.pod, &known.pod) {
                (Some(pod), Some(known)) => {
                    pod.name = known.name.clone().or(pod.name.take());
                    pod.namespace = known.namespace.clone().or(pod.namespace.take());
                }
                (pod @ None, Some(known)) => *pod = Some(known.clone()),
                _ => {}
            }
        }
        let Some(pod) = &mut container.pod else { return };
        if let Some(known) = pod.uid.as_ref().and_then(|uid| self.pods.get(uid)) {
            pod.name = known.name.clone().or(pod.name.take());
            pod.namespace = known.namespace.clone().or(pod.namespace.take());
        }
    }
}
