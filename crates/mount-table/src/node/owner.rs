//! Whose a mount namespace is, and the words for it.

use super::{NamespaceView, Node, Process};
use crate::NamespaceId;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

/// Whose a mount namespace is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Owner {
    /// The machine's own: process 1 is in it.
    Host,
    /// A container's, as the cgroup of its processes says.
    Container(Container),
    /// A service of systemd with a mount namespace of its own (`PrivateTmp=`, `ProtectSystem=`, `MountFlags=`).
    Service {
        /// The unit: `systemd-udevd.service`.
        name: String,
    },
    /// Processes that no container runtime has put into a cgroup of a container: `unshare`, a chroot
    /// tool; or that made it inside a container.
    Processes,
    /// No process is in it: a descriptor or a bind mount keeps it.
    Kept,
    /// Not known to its reader.
    Unknown,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    /// What runs it, where that can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<Runtime>,
    /// The runtime's id of it.
    pub id: String,
    /// Its name: of a pod's container that of the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The pod that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Pod>,
}

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pod {
    /// `metadata.uid`, which cgroups are named by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// `metadata.namespace`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// `metadata.name`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// What runs a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Runtime {
    /// This one.
    Rhizome,
    /// containerd through CRI or `ctr`.
    Containerd,
    /// CRI-O.
    CriO,
    /// Docker.
    Docker,
    /// podman, also as the maker of CRI-O's conmon.
    Podman,
    /// systemd-nspawn and what else registers a machine.
    Machine,
    /// LXC and Incus.
    Lxc,
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Runtime::Rhizome => "rhizome",
            Runtime::Containerd => "containerd",
            Runtime::CriO => "cri-o",
            Runtime::Docker => "docker",
            Runtime::Podman => "podman",
            Runtime::Machine => "machine",
            Runtime::Lxc => "lxc",
        })
    }
}

/// As many characters of an id as runtimes' own tools print.
const SHORT_ID: usize = 12;

impl Container {
    /// Its name, else its id as short as runtimes' own tools print it.
    pub fn name_or_id(&self) -> &str {
        let short = || self.id.char_indices().nth(SHORT_ID).map_or(&*self.id, |(at, _)| &self.id[..at]);
        self.name.as_deref().unwrap_or_else(short)
    }

    /// `POD/CONTAINER` as the targets of commands are written, or the name of a container without a pod. Parts
    /// whose name is not known stand as their ids.
    pub fn in_words(&self) -> String {
        match &self.pod {
            Some(pod) => format!("{}/{}", pod.name_or_uid(), self.name_or_id()),
            None => self.name_or_id().to_owned(),
        }
    }
}

impl Pod {
    /// Its name, else its uid.
    pub fn name_or_uid(&self) -> &str {
        self.name.as_deref().or(self.uid.as_deref()).unwrap_or("?")
    }
}

impl NamespaceView {
    /// The container whose namespace it is.
    pub fn container(&self) -> Option<&Container> {
        match &self.owner {
            Owner::Container(container) => Some(container),
            _ => None,
        }
    }

    /// The process that stands for it: the first one (the lowest id) that sees all of it.
    pub fn first_process(&self) -> Option<&Process> {
        self.processes.iter().find(|process| process.root.is_none()).or_else(|| self.processes.first())
    }
}

/// The namespaces of a node in words, made once: O(namespaces).
///
/// `host`, `POD` or, where several containers of the pod are there, `POD/CONTAINER`, a container's name, a unit,
/// `pid 812 (bash)`, `ns:4026532200`. Text from containers stands as it is: whoever prints it makes it printable.
#[derive(Debug, Clone, Default)]
pub struct Labels {
    labels: HashMap<NamespaceId, String>,
}

impl Labels {
    /// The labels of all namespaces of a node.
    pub fn of(node: &Node) -> Labels {
        let mut containers: HashMap<&str, usize> = HashMap::new();
        for view in &node.namespaces {
            if let Some(pod) = view.container().and_then(|container| container.pod.as_ref()) {
                *containers.entry(pod.name_or_uid()).or_default() += 1;
            }
        }
        let label = |view: &NamespaceView| match &view.owner {
            Owner::Host => "host".to_owned(),
            Owner::Container(container) => match &container.pod {
                Some(pod) if containers.get(pod.name_or_uid()) == Some(&1) => pod.name_or_uid().to_owned(),
                _ => container.in_words(),
            },
            Owner::Service { name } => name.clone(),
            Owner::Processes | Owner::Unknown | Owner::Kept => by_process(view),
        };
        Labels { labels: node.namespaces.iter().map(|view| (view.id, label(view))).collect() }
    }

    /// The words for a namespace; of one that is not the node's, its number.
    pub fn get(&self, id: NamespaceId) -> Cow<'_, str> {
        match self.labels.get(&id) {
            Some(label) => Cow::Borrowed(label),
            None => Cow::Owned(format!("ns:{}", id.0)),
        }
    }
}

fn by_process(view: &NamespaceView) -> String {
    match view.first_process() {
        Some(Process { pid, comm, container: Some(container), .. }) => {
            format!("pid {pid} ({comm}) in {}", container.in_words())
        }
        Some(Process { pid, comm, .. }) => format!("pid {pid} ({comm})"),
        None => format!("ns:{}", view.id.0),
    }
}

impl Node {
    /// [`Labels`] of one namespace. To be asked rarely: it looks at all.
    pub fn label(&self, namespace: &NamespaceView) -> String {
        Labels::of(self).get(namespace.id).into_owned()
    }

    /// The namespace as a target that [`Node::resolve`] takes: `host`, `POD/CONTAINER`, `pid:N`, `ns:ID`. By number where
    /// a name would be another's too, or has what a target cannot have.
    pub fn target(&self, namespace: &NamespaceView) -> String {
        let by_name = match &namespace.owner {
            Owner::Host => Some("host".to_owned()),
            Owner::Container(container) => Some(container.in_words()),
            _ => None,
        };
        let kubernetes_namespace =
            namespace.container().and_then(|container| container.pod.as_ref()?.namespace.as_deref());
        let is_it = |target: &String| {
            let found = self.resolve_one(target, kubernetes_namespace.unwrap_or("default"));
            found.is_ok_and(|found| found.id == namespace.id)
        };
        by_name.filter(is_it).unwrap_or_else(|| format!("ns:{}", namespace.id.0))
    }
}
