//! Which namespaces a target means: `host`, `pid:N`, `ns:ID`, `POD[/CONTAINER]`, a container's name or id.

use super::{Container, NamespaceView, Node};

/// A target that names no namespace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// A number is expected after `pid:` or `ns:`.
    #[error("{target:?} is not host, pid:N, ns:ID, POD or POD/CONTAINER")]
    NotATarget {
        /// As it was written.
        target: String,
    },
    /// Which namespace process 1 is in is not known.
    #[error("the mount namespace of the host is not known: that of process 1 may not be read")]
    NoHost,
    /// No process of this id was seen.
    #[error("process {pid} is in no mount namespace that could be read")]
    NoProcess {
        /// Its id.
        pid: u32,
    },
    /// No namespace of this number was seen.
    #[error("there is no mount namespace {id} that could be read")]
    NoNamespace {
        /// The inode number, or the 64-bit id.
        id: u64,
    },
    /// No pod and no container is called so.
    #[error("no pod or container {target:?} has a mount namespace here")]
    NotFound {
        /// As it was written.
        target: String,
        /// What is called nearly so: in another Kubernetes namespace.
        elsewhere: Vec<String>,
    },
    /// Several namespaces where one is wanted.
    #[error("{target:?} means several mount namespaces: {}", of.join(", "))]
    Several {
        /// As it was written.
        target: String,
        /// What they are called.
        of: Vec<String>,
    },
}

impl TargetError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            TargetError::NotFound { elsewhere, .. } if !elsewhere.is_empty() => {
                Some(format!("it is in the namespace {}: give that with -n", elsewhere.join(", ")))
            }
            TargetError::NotFound { .. } => {
                Some("`rhizome mounts -A -o name` lists what there is".to_owned())
            }
            TargetError::NoHost => Some("run it as root".to_owned()),
            _ => None,
        }
    }
}

/// Fewer characters of an id are rather a mistake.
const SHORTEST_ID: usize = 4;

impl Node {
    /// The namespaces that a target means, in the node's order; never none. A pod without `/CONTAINER` means all of its
    /// containers' namespaces. `kubernetes_namespace` is where a pod's name is looked up; containers without a pod are in
    /// none.
    ///
    /// # Errors
    /// See [`TargetError`].
    pub fn resolve(
        &self,
        target: &str,
        kubernetes_namespace: &str,
    ) -> Result<Vec<&NamespaceView>, TargetError> {
        let not_a_target = || TargetError::NotATarget { target: target.to_owned() };
        if target == "host" {
            return Ok(vec![self.host().ok_or(TargetError::NoHost)?]);
        }
        if let Some(pid) = target.strip_prefix("pid:") {
            let pid = pid.parse().map_err(|_| not_a_target())?;
            let (namespace, _) = self.process(pid).ok_or(TargetError::NoProcess { pid })?;
            return Ok(vec![namespace]);
        }
        if let Some(id) = target.strip_prefix("ns:") {
            let id = id.parse().map_err(|_| not_a_target())?;
            let is = |view: &&NamespaceView| view.id.0 == id || view.unique_id == Some(id);
            let found = self.namespaces.iter().find(is).ok_or(TargetError::NoNamespace { id })?;
            return Ok(vec![found]);
        }
        let name =
            ["pod/", "pods/", "po/"].iter().find_map(|kind| target.strip_prefix(kind)).unwrap_or(target);
        if name.is_empty() {
            return Err(not_a_target());
        }
        self.named(name, kubernetes_namespace)
    }

    /// [`Node::resolve`] where one namespace is wanted: of a pod with several containers the one must be named.
    ///
    /// # Errors
    /// See [`TargetError`].
    pub fn resolve_one(
        &self,
        target: &str,
        kubernetes_namespace: &str,
    ) -> Result<&NamespaceView, TargetError> {
        match self.resolve(target, kubernetes_namespace)?[..] {
            [one] => Ok(one),
            ref several => {
                let of = several.iter().map(|view| self.label(view)).collect();
                Err(TargetError::Several { target: target.to_owned(), of })
            }
        }
    }

    /// By the name of a pod, of a container in it, or of a container without a pod; ids can be cut short.
    fn named(&self, name: &str, kubernetes_namespace: &str) -> Result<Vec<&NamespaceView>, TargetError> {
        let (pod, container) = match name.split_once('/') {
            Some((pod, container)) => (pod, Some(container)),
            None => (name, None),
        };
        let all = || self.namespaces.iter().filter_map(|view| Some((view, view.container()?)));
        let is_meant = |of: &Container| {
            let by_pod = of.pod.as_ref().is_some_and(|known| {
                let by_name = known.name.as_deref() == Some(pod)
                    && known.namespace.as_deref().is_none_or(|known| known == kubernetes_namespace);
                by_name || known.uid.as_deref().is_some_and(|uid| is_id(pod, uid))
            });
            let wanted = container.unwrap_or(pod);
            let by_container = of.name.as_deref() == Some(wanted) || is_id(wanted, &of.id);
            match container {
                Some(_) => by_pod && by_container,
                None => by_pod || by_container && (of.pod.is_none() || is_id(pod, &of.id)),
            }
        };
        let found: Vec<_> = all().filter(|(_, of)| is_meant(of)).map(|(view, _)| view).collect();
        if !found.is_empty() {
            return Ok(found);
        }
        let mut elsewhere: Vec<String> = all()
            .filter_map(|(_, of)| {
                of.pod.as_ref().filter(|known| known.name.as_deref() == Some(pod))?.namespace.clone()
            })
            .filter(|known| known != kubernetes_namespace)
            .collect();
        elsewhere.sort();
        elsewhere.dedup();
        Err(TargetError::NotFound { target: name.to_owned(), elsewhere })
    }
}

/// Whether the text is an id or its beginning.
fn is_id(text: &str, id: &str) -> bool {
    text.len() >= SHORTEST_ID.min(id.len()) && id.starts_with(text)
}
