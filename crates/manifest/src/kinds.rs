//! The kinds that a Kubernetes 1.36 API server knows without extensions, so that an unknown kind and one that is not
//! run here yet are told apart.

/// A kind by group and version.
struct Kind {
    api_version: &'static str,
    kinds: &'static [&'static str],
}

const KINDS: &[Kind] = &[
    Kind {
        api_version: "v1",
        kinds: &[
            "Binding",
            "ComponentStatus",
            "ConfigMap",
            "Endpoints",
            "Event",
            "LimitRange",
            "Namespace",
            "Node",
            "PersistentVolume",
            "PersistentVolumeClaim",
            "Pod",
            "PodTemplate",
            "ReplicationController",
            "ResourceQuota",
            "Secret",
            "Service",
            "ServiceAccount",
        ],
    },
    Kind {
        api_version: "apps/v1",
        kinds: &["ControllerRevision", "DaemonSet", "Deployment", "ReplicaSet", "StatefulSet"],
    },
    Kind { api_version: "batch/v1", kinds: &["CronJob", "Job"] },
    Kind { api_version: "autoscaling/v1", kinds: &["HorizontalPodAutoscaler"] },
    Kind { api_version: "autoscaling/v2", kinds: &["HorizontalPodAutoscaler"] },
    Kind { api_version: "policy/v1", kinds: &["PodDisruptionBudget"] },
    Kind {
        api_version: "networking.k8s.io/v1",
        kinds: &["IPAddress", "Ingress", "IngressClass", "NetworkPolicy", "ServiceCIDR"],
    },
    Kind {
        api_version: "rbac.authorization.k8s.io/v1",
        kinds: &["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"],
    },
    Kind {
        api_version: "storage.k8s.io/v1",
        kinds: &[
            "CSIDriver",
            "CSINode",
            "CSIStorageCapacity",
            "StorageClass",
            "VolumeAttachment",
            "VolumeAttributesClass",
        ],
    },
    Kind { api_version: "scheduling.k8s.io/v1", kinds: &["PriorityClass"] },
    Kind { api_version: "coordination.k8s.io/v1", kinds: &["Lease"] },
    Kind { api_version: "node.k8s.io/v1", kinds: &["RuntimeClass"] },
    Kind { api_version: "discovery.k8s.io/v1", kinds: &["EndpointSlice"] },
    Kind { api_version: "events.k8s.io/v1", kinds: &["Event"] },
    Kind {
        api_version: "admissionregistration.k8s.io/v1",
        kinds: &[
            "MutatingAdmissionPolicy",
            "MutatingAdmissionPolicyBinding",
            "MutatingWebhookConfiguration",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
            "ValidatingWebhookConfiguration",
        ],
    },
    Kind { api_version: "apiextensions.k8s.io/v1", kinds: &["CustomResourceDefinition"] },
    Kind { api_version: "apiregistration.k8s.io/v1", kinds: &["APIService"] },
    Kind { api_version: "certificates.k8s.io/v1", kinds: &["CertificateSigningRequest"] },
    Kind {
        api_version: "flowcontrol.apiserver.k8s.io/v1",
        kinds: &["FlowSchema", "PriorityLevelConfiguration"],
    },
    Kind {
        api_version: "resource.k8s.io/v1",
        kinds: &["DeviceClass", "ResourceClaim", "ResourceClaimTemplate", "ResourceSlice"],
    },
];

/// Whether an API server knows the kind; kinds in lower case are found too.
#[must_use]
pub fn is_known(api_version: &str, kind: &str) -> bool {
    KINDS.iter().any(|group| {
        group.api_version == api_version
            && group.kinds.iter().any(|known| *known == kind || known.to_lowercase() == kind)
    })
}

/// Kinds that say something to a cluster (who may do what, how it is reached from outside, when something is moved) and
/// nothing to one machine whose Pods are all run at once.
const WITHOUT_MEANING: [&str; 17] = [
    "CSIDriver",
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "HorizontalPodAutoscaler",
    "Ingress",
    "IngressClass",
    "Namespace",
    "NetworkPolicy",
    "PodDisruptionBudget",
    "PriorityClass",
    "Role",
    "RoleBinding",
    "Service",
    "ServiceAccount",
    "StorageClass",
    "VolumeAttributesClass",
];

/// Whether a known kind is accepted though nothing is done with it.
#[must_use]
pub(crate) fn has_no_meaning(kind: &str) -> bool {
    WITHOUT_MEANING.contains(&kind)
}

/// Whether a version of an API group is one of Kubernetes' own.
#[must_use]
pub fn serves(api_version: &str) -> bool {
    KINDS.iter().any(|group| group.api_version == api_version)
}

/// Whether an API version is one of a group of Kubernetes' own that is no longer served, or not yet by default.
#[must_use]
pub fn is_of_an_own_group(api_version: &str) -> bool {
    let Some((group, _)) = api_version.split_once('/') else { return false };
    let own = |known: &Kind| known.api_version.split_once('/').is_some_and(|(known, _)| known == group);
    !serves(api_version) && (group == "extensions" || KINDS.iter().any(own))
}

/// The kind as it is really written: `Pod` for `pod`.
#[must_use]
pub fn canonical(kind: &str) -> &str {
    KINDS
        .iter()
        .flat_map(|group| group.kinds)
        .find(|known| known.to_lowercase() == kind)
        .copied()
        .unwrap_or(kind)
}

/// The kind that was probably meant.
#[must_use]
pub(crate) fn nearest(kind: &str) -> Option<&'static str> {
    crate::nearest::nearest(kind, KINDS.iter().flat_map(|group| group.kinds.iter().copied()))
}

/// The apiVersion under which a kind is known.
#[must_use]
pub(crate) fn api_version_of(kind: &str) -> Option<&'static str> {
    KINDS.iter().find(|group| group.kinds.contains(&kind)).map(|group| group.api_version)
}

/// The resource's name, as messages use it: `pods`.
#[must_use]
pub fn plural(kind: &str) -> String {
    let lower = kind.to_lowercase();
    match lower.as_bytes().last() {
        Some(b's') => format!("{lower}es"),
        Some(b'y') => format!("{}ies", &lower[..lower.len() - 1]),
        _ => format!("{lower}s"),
    }
}

/// The resource with its group, as messages use it where the group has a name: `daemonsets.apps`.
#[must_use]
pub fn resource(kind: &str) -> String {
    let group = api_version_of(kind).and_then(|version| version.split_once('/')).map(|(group, _)| group);
    let plural = plural(kind);
    group.map_or_else(|| plural.clone(), |group| format!("{plural}.{group}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_apart() {
        let old = ["extensions/v1beta1", "apps/v1beta2", "apps/v1", "v2", "example.com/v1"];
        assert_eq!(old.map(is_of_an_own_group), [true, true, false, false, false]);
        assert!(is_known("v1", "Pod") && is_known("v1", "pod") && is_known("apps/v1", "DaemonSet"));
        assert!(!is_known("v1", "POD") && !is_known("v2", "Pod") && !is_known("apps/v1", "Pod"));
        assert_eq!(canonical("pod"), "Pod");
        assert_eq!(nearest("Pood"), Some("Pod"));
        assert_eq!(api_version_of("Deployment"), Some("apps/v1"));
        assert_eq!(plural("Ingress"), "ingresses");
        assert_eq!((resource("Job"), resource("Pod")), ("jobs.batch".into(), "pods".into()));
        assert_eq!(plural("NetworkPolicy"), "networkpolicies");
    }
}
