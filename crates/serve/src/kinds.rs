//! The kinds that this node serves, as data: what discovery tells and what paths mean. A kind that is not here is absent,
//! not faked.

/// A kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Resource {
    ConfigMaps,
    DaemonSets,
    Events,
    Namespaces,
    Nodes,
    PersistentVolumeClaims,
    PersistentVolumes,
    Pods,
    Secrets,
    ServiceAccounts,
}

/// What is known of a kind.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) singular: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) namespaced: bool,
    pub(crate) short_names: &'static [&'static str],
    pub(crate) categories: &'static [&'static str],
    pub(crate) verbs: &'static [&'static str],
    pub(crate) subresources: &'static [Subresource],
    /// Its name in `manifest`'s schema.
    pub(crate) schema: &'static str,
}

/// Something below an object.
#[derive(Debug)]
pub(crate) struct Subresource {
    pub(crate) name: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) verbs: &'static [&'static str],
    /// Of the kind, where that is not the object's.
    pub(crate) group_version: Option<(&'static str, &'static str)>,
}

const fn part(name: &'static str, kind: &'static str, verbs: &'static [&'static str]) -> Subresource {
    Subresource { name, kind, verbs, group_version: None }
}

const ALL: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const NAMESPACE: &[&str] = &["create", "delete", "get", "list", "patch", "update", "watch"];
const NODE: &[&str] = &["get", "list", "patch", "update", "watch"];
const EVENT: &[&str] = &["delete", "deletecollection", "get", "list", "watch"];

const POD_PARTS: &[Subresource] = &[
    part("attach", "PodAttachOptions", &["create", "get"]),
    part("ephemeralcontainers", "Pod", &["get", "patch", "update"]),
    Subresource { group_version: Some(("policy", "v1")), ..part("eviction", "Eviction", &["create"]) },
    part("exec", "PodExecOptions", &["create", "get"]),
    part("log", "Pod", &["get"]),
    part("portforward", "PodPortForwardOptions", &["create", "get"]),
    part("status", "Pod", &["get"]),
];

impl Resource {
    /// All, in the order of discovery.
    pub(crate) const EVERY: [Resource; 10] = [
        Resource::ConfigMaps,
        Resource::DaemonSets,
        Resource::Events,
        Resource::Namespaces,
        Resource::Nodes,
        Resource::PersistentVolumeClaims,
        Resource::PersistentVolumes,
        Resource::Pods,
        Resource::Secrets,
        Resource::ServiceAccounts,
    ];

    /// The resource of a path.
    pub(crate) fn find(group: &str, version: &str, plural: &str) -> Option<Resource> {
        Resource::EVERY.into_iter().find(|resource| {
            let about = resource.about();
            (about.group, about.version, about.plural) == (group, version, plural)
        })
    }

    /// By the name that the journal has for it.
    pub(crate) fn of_plural(plural: &str) -> Option<Resource> {
        Resource::EVERY.into_iter().find(|resource| resource.about().plural == plural)
    }

    pub(crate) fn about(self) -> &'static About {
        match self {
            Resource::ConfigMaps => &CONFIG_MAPS,
            Resource::DaemonSets => &DAEMON_SETS,
            Resource::Events => &EVENTS,
            Resource::Namespaces => &NAMESPACES,
            Resource::Nodes => &NODES,
            Resource::PersistentVolumeClaims => &CLAIMS,
            Resource::PersistentVolumes => &VOLUMES,
            Resource::Pods => &PODS,
            Resource::Secrets => &SECRETS,
            Resource::ServiceAccounts => &SERVICE_ACCOUNTS,
        }
    }
}

impl About {
    /// `v1`, `apps/v1`
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    pub(crate) fn allows(&self, verb: &str) -> bool {
        self.verbs.contains(&verb)
    }

    pub(crate) fn subresource(&self, name: &str) -> Option<&'static Subresource> {
        self.subresources.iter().find(|sub| sub.name == name)
    }
}

const CORE: About = About {
    group: "",
    version: "v1",
    plural: "",
    singular: "",
    kind: "",
    namespaced: true,
    short_names: &[],
    categories: &[],
    verbs: ALL,
    subresources: &[],
    schema: "",
};

static CONFIG_MAPS: About = About {
    plural: "configmaps",
    singular: "configmap",
    kind: "ConfigMap",
    short_names: &["cm"],
    schema: "v1.ConfigMap",
    ..CORE
};
static DAEMON_SETS: About = About {
    group: "apps",
    plural: "daemonsets",
    singular: "daemonset",
    kind: "DaemonSet",
    short_names: &["ds"],
    categories: &["all"],
    subresources: &[part("status", "DaemonSet", &["get"])],
    schema: "apps.DaemonSet",
    ..CORE
};
static EVENTS: About =
    About { plural: "events", singular: "event", kind: "Event", short_names: &["ev"], verbs: EVENT, ..CORE };
static NAMESPACES: About = About {
    plural: "namespaces",
    singular: "namespace",
    kind: "Namespace",
    namespaced: false,
    short_names: &["ns"],
    verbs: NAMESPACE,
    schema: "v1.Namespace",
    ..CORE
};
static NODES: About = About {
    plural: "nodes",
    singular: "node",
    kind: "Node",
    namespaced: false,
    short_names: &["no"],
    verbs: NODE,
    schema: "v1.Node",
    ..CORE
};
static CLAIMS: About = About {
    plural: "persistentvolumeclaims",
    singular: "persistentvolumeclaim",
    kind: "PersistentVolumeClaim",
    short_names: &["pvc"],
    subresources: &[part("status", "PersistentVolumeClaim", &["get"])],
    schema: "v1.PersistentVolumeClaim",
    ..CORE
};
static VOLUMES: About = About {
    plural: "persistentvolumes",
    singular: "persistentvolume",
    kind: "PersistentVolume",
    namespaced: false,
    short_names: &["pv"],
    subresources: &[part("status", "PersistentVolume", &["get"])],
    schema: "v1.PersistentVolume",
    ..CORE
};
static PODS: About = About {
    plural: "pods",
    singular: "pod",
    kind: "Pod",
    short_names: &["po"],
    categories: &["all"],
    subresources: POD_PARTS,
    schema: "v1.Pod",
    ..CORE
};
static SECRETS: About =
    About { plural: "secrets", singular: "secret", kind: "Secret", schema: "v1.Secret", ..CORE };
static SERVICE_ACCOUNTS: About = About {
    plural: "serviceaccounts",
    singular: "serviceaccount",
    kind: "ServiceAccount",
    short_names: &["sa"],
    schema: "v1.ServiceAccount",
    ..CORE
};
