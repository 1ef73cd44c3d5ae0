//! Requests and limits to cgroup figures, with the kubelet's formulas, and the quality of service that follows.

use super::LinuxContainerResources;
use crate::quantity::Quantity;
use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use std::collections::BTreeMap;

/// Microseconds of a CPU quota's period.
const PERIOD_US: i64 = 100_000;
/// Fewest microseconds that the kernel takes as a quota.
const MIN_QUOTA_US: i64 = 1000;
/// Bounds of `cpu.shares`.
const SHARES: std::ops::RangeInclusive<i64> = 2..=262_144;

/// Quality of service class of a Pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QosClass {
    /// Every container has limits of CPU and memory, and requests equal to them.
    Guaranteed,
    /// Some container has a request or a limit.
    Burstable,
    /// None has.
    BestEffort,
}

impl QosClass {
    /// The API's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
}

type Amounts = Option<BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>>;

/// An amount of a list of resources, if it is there and more than nothing.
fn amount(list: &Amounts, name: &str) -> Option<Quantity> {
    let quantity = Quantity::parse(&list.as_ref()?.get(name)?.0).ok()?;
    (!quantity.is_zero()).then_some(quantity)
}

fn requests(container: &Container, name: &str) -> Option<Quantity> {
    container.resources.as_ref().and_then(|resources| amount(&resources.requests, name))
}

fn limits(container: &Container, name: &str) -> Option<Quantity> {
    container.resources.as_ref().and_then(|resources| amount(&resources.limits, name))
}

/// Resources of the whole Pod (KEP-2837), if it says any.
fn of_pod(spec: &PodSpec) -> Option<&ResourceRequirements> {
    let says = |list: &Amounts| list.as_ref().is_some_and(|list| !list.is_empty());
    spec.resources.as_ref().filter(|resources| says(&resources.requests) || says(&resources.limits))
}

/// What the containers of a Pod request together: the main ones and the sidecars, or an init container with the sidecars
/// before it where that is more (`AggregateContainerRequests` of `k8s.io/component-helpers/resource`).
pub(crate) fn requests_together(spec: &PodSpec, name: &str) -> Option<Quantity> {
    let plus = |a: Option<Quantity>, b: Option<Quantity>| match (a, b) {
        (Some(a), Some(b)) => Some(a.plus(b)),
        (a, b) => a.or(b),
    };
    let (mut sidecars, mut most) = (None, None);
    for init in spec.init_containers.iter().flatten() {
        let own = requests(init, name);
        if init.restart_policy.as_deref() == Some("Always") {
            sidecars = plus(sidecars, own);
            most = most.max(sidecars);
        } else {
            most = most.max(plus(sidecars, own));
        }
    }
    let main = spec.containers.iter().map(|container| requests(container, name)).fold(None, plus);
    most.max(plus(main, sidecars))
}

/// The figures of a Pod's cgroup, if it has resources of its own (`ResourceConfigForPod` of the kubelet).
#[must_use]
pub fn pod_resources(spec: &PodSpec) -> Option<LinuxContainerResources> {
    let resources = of_pod(spec)?;
    let milli_cpu = |list: &Amounts| amount(list, "cpu").map_or(0, Quantity::milli_value);
    Some(LinuxContainerResources {
        cpu_period: PERIOD_US,
        cpu_quota: quota(milli_cpu(&resources.limits)),
        cpu_shares: shares(milli_cpu(&resources.requests)),
        memory_limit_in_bytes: amount(&resources.limits, "memory").map_or(0, Quantity::value),
        oom_score_adj: 0,
    })
}

/// The class of a Pod, its defaults filled in.
#[must_use]
pub fn qos_class(spec: &PodSpec) -> QosClass {
    if let Some(resources) = of_pod(spec) {
        let same = |name: &&str| {
            let limit = amount(&resources.limits, name);
            limit.is_some() && limit == amount(&resources.requests, name)
        };
        let any = |name: &&str| {
            amount(&resources.limits, name).or_else(|| amount(&resources.requests, name)).is_some()
        };
        return match ["cpu", "memory"] {
            names if !names.iter().any(any) => QosClass::BestEffort,
            names if names.iter().all(same) => QosClass::Guaranteed,
            _ => QosClass::Burstable,
        };
    }
    let containers: Vec<&Container> =
        spec.containers.iter().chain(spec.init_containers.iter().flatten()).collect();
    let has_any = |container: &&Container| {
        ["cpu", "memory"]
            .iter()
            .any(|name| requests(container, name).is_some() || limits(container, name).is_some())
    };
    let is_full = |container: &&Container| {
        ["cpu", "memory"].iter().all(|name| match (requests(container, name), limits(container, name)) {
            (Some(request), Some(limit)) => request.cmp(&limit).is_eq(),
            (None, Some(_)) => true,
            _ => false,
        })
    };
    if !containers.iter().any(has_any) {
        QosClass::BestEffort
    } else if containers.iter().all(is_full) {
        QosClass::Guaranteed
    } else {
        QosClass::Burstable
    }
}

/// The figures of a container. `node_memory` in bytes.
#[must_use]
pub fn linux_resources(spec: &PodSpec, container: &Container, node_memory: i64) -> LinuxContainerResources {
    // A container without a limit of its own has the Pod's.
    let limit = |name: &str| limits(container, name).or_else(|| amount(&of_pod(spec)?.limits, name));
    let cpu_limit = limit("cpu").map_or(0, Quantity::milli_value);
    let cpu_request = match container.resources.as_ref().and_then(|resources| resources.requests.as_ref()) {
        Some(list) if list.contains_key("cpu") => requests(container, "cpu").map_or(0, Quantity::milli_value),
        _ => cpu_limit,
    };
    LinuxContainerResources {
        cpu_period: PERIOD_US,
        cpu_quota: quota(cpu_limit),
        cpu_shares: shares(cpu_request),
        memory_limit_in_bytes: limit("memory").map_or(0, Quantity::value),
        oom_score_adj: oom_score_adj(spec, container, node_memory),
    }
}

/// `MilliCPUToShares`
fn shares(milli_cpu: i64) -> i64 {
    (milli_cpu.saturating_mul(1024) / 1000).clamp(*SHARES.start(), *SHARES.end())
}

/// `MilliCPUToQuota`; 0 is none.
fn quota(milli_cpu: i64) -> i64 {
    if milli_cpu <= 0 { 0 } else { (milli_cpu.saturating_mul(PERIOD_US) / 1000).max(MIN_QUOTA_US) }
}

/// `GetContainerOOMScoreAdjust`
fn oom_score_adj(spec: &PodSpec, container: &Container, node_memory: i64) -> i64 {
    if spec.priority_class_name.as_deref() == Some("system-node-critical") {
        return -997;
    }
    match qos_class(spec) {
        QosClass::Guaranteed => -997,
        QosClass::BestEffort => 1000,
        QosClass::Burstable => {
            let request = requests(container, "memory").map_or(0, Quantity::value);
            let request = request.saturating_add(rest_of_pod(spec));
            let share = i128::from(request) * 1000 / i128::from(node_memory.max(1));
            // Between a guaranteed container that uses all memory and a best-effort one.
            i64::try_from(1000 - share).unwrap_or(i64::MIN).clamp(3, 999)
        }
    }
}

/// A container's part of the memory that its Pod requests and no container does.
fn rest_of_pod(spec: &PodSpec) -> i64 {
    let Some(whole) = of_pod(spec).and_then(|resources| amount(&resources.requests, "memory")) else {
        return 0;
    };
    let said = requests_together(spec, "memory").map_or(0, Quantity::value);
    let sidecars = spec.init_containers.iter().flatten();
    let sidecars = sidecars.filter(|init| init.restart_policy.as_deref() == Some("Always")).count();
    let count = i64::try_from(spec.containers.len() + sidecars).unwrap_or(i64::MAX).max(1);
    whole.value().saturating_sub(said).max(0) / count
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(resources: serde_json::Value) -> (QosClass, LinuxContainerResources) {
        let mut pod: k8s_openapi::api::core::v1::Pod =
            serde_json::from_value(json!({"spec": {"containers": [{"name": "a", "resources": resources}]}}))
                .unwrap();
        crate::defaults::pod(&mut pod);
        let spec = pod.spec.unwrap();
        (qos_class(&spec), linux_resources(&spec, &spec.containers[0], 8 << 30))
    }

    #[test]
    fn a_pods_own_resources_are_its_cgroups_and_its_containers() {
        let mut pod: k8s_openapi::api::core::v1::Pod = serde_json::from_value(json!({"spec": {
            "resources": {"limits": {"cpu": "2", "memory": "2Gi"}},
            "containers": [{"name": "a", "resources": {"requests": {"memory": "1Gi"}, "limits": {"cpu": "1"}}}, {"name": "b"}],
        }}))
        .unwrap();
        crate::defaults::pod(&mut pod);
        let spec = pod.spec.unwrap();
        let requests = spec.resources.as_ref().unwrap().requests.as_ref().unwrap();
        // What containers request together; the limit where none does. A container's limit is a request of its own.
        assert_eq!((requests["memory"].0.as_str(), requests["cpu"].0.as_str()), ("1Gi", "1"));
        assert_eq!(qos_class(&spec), QosClass::Burstable);
        let whole = pod_resources(&spec).unwrap();
        assert_eq!(
            (whole.cpu_quota, whole.cpu_shares, whole.memory_limit_in_bytes),
            (200_000, 1024, 2 << 30)
        );
        let of = |index: usize| linux_resources(&spec, &spec.containers[index], 8 << 30);
        assert_eq!((of(0).cpu_quota, of(0).memory_limit_in_bytes), (100_000, 2 << 30));
        assert_eq!((of(1).cpu_quota, of(1).memory_limit_in_bytes), (200_000, 2 << 30));
        assert_eq!((of(0).oom_score_adj, of(1).oom_score_adj), (875, 999));
        assert_eq!(pod_resources(&PodSpec::default()), None);

        let mut alone: k8s_openapi::api::core::v1::Pod = serde_json::from_value(json!({"spec": {
            "resources": {"limits": {"cpu": "2", "memory": "2Gi"}}, "containers": [{"name": "a"}, {"name": "b"}],
        }}))
        .unwrap();
        crate::defaults::pod(&mut alone);
        let spec = alone.spec.unwrap();
        assert_eq!(qos_class(&spec), QosClass::Guaranteed);
    }

    #[test]
    fn figures_are_the_kubelets() {
        let (class, figures) = of(json!({}));
        assert_eq!(
            (class, figures.cpu_quota, figures.cpu_shares, figures.oom_score_adj),
            (QosClass::BestEffort, 0, 2, 1000)
        );

        let (class, figures) = of(json!({"limits": {"cpu": "500m", "memory": "1Gi"}}));
        assert_eq!(class, QosClass::Guaranteed);
        assert_eq!((figures.cpu_quota, figures.cpu_period, figures.cpu_shares), (50_000, 100_000, 512));
        assert_eq!((figures.memory_limit_in_bytes, figures.oom_score_adj), (1 << 30, -997));

        let (class, figures) = of(json!({"requests": {"memory": "2Gi"}, "limits": {"cpu": "1m"}}));
        assert_eq!((class, figures.oom_score_adj, figures.cpu_quota), (QosClass::Burstable, 750, 1000));

        let (_, figures) = of(json!({"requests": {"memory": "100Ei", "cpu": "9999"}}));
        assert_eq!((figures.oom_score_adj, figures.cpu_shares), (3, 262_144));
    }
}
