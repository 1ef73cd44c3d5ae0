//! Requests and limits (`validateResourceRequirements`).

use super::{names, text};
use crate::field::{FieldErrors, Path};
use crate::quantity::Quantity;
use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceClaim, ResourceRequirements};
use std::collections::{BTreeMap, BTreeSet};

type Amounts = BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>;

/// Resources that a name without a domain may be.
const STANDARD: [&str; 20] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "storage",
    "requests.storage",
    "services.nodeports",
    "services.loadbalancers",
];

/// Resources that come in wholes only.
const COUNTED: [&str; 9] = [
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];

fn is_huge_pages(name: &str) -> bool {
    name.starts_with("hugepages-")
}

fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

fn is_extended(name: &str) -> bool {
    !is_native(name)
        && !name.starts_with("requests.")
        && names::label_key(&format!("requests.{name}")).is_empty()
}

/// A request may be less than the limit.
fn may_overcommit(name: &str) -> bool {
    is_native(name) && !is_huge_pages(name)
}

/// Resources of a container.
pub(super) fn of_container(errors: &mut FieldErrors, path: &Path, container: &Container, spec: &PodSpec) {
    if let Some(resources) = &container.resources {
        let claims: BTreeSet<&str> = spec
            .resource_claims
            .iter()
            .flatten()
            .map(|claim| claim.name.as_str())
            .filter(|name| !name.is_empty())
            .collect();
        requirements(errors, path, resources, container_resource, &claims);
    }
}

/// `spec.overhead`
pub(super) fn overhead(errors: &mut FieldErrors, path: &Path, overhead: &Amounts) {
    let resources =
        ResourceRequirements { limits: Some(overhead.clone()), ..ResourceRequirements::default() };
    requirements(errors, path, &resources, container_resource, &BTreeSet::new());
}

/// Resources of the whole Pod.
pub(super) fn pod_level(errors: &mut FieldErrors, path: &Path, spec: &PodSpec) {
    let Some(resources) = &spec.resources else { return };
    if resources.claims.is_some() {
        errors.forbidden(&path.child("claims"), "claims may not be set for Resources at pod-level");
    }
    requirements(errors, path, resources, pod_resource, &BTreeSet::new());
    let total = |name: &str| {
        let requests = spec
            .containers
            .iter()
            .filter_map(|container| container.resources.as_ref()?.requests.as_ref()?.get(name));
        requests.filter_map(|amount| Quantity::parse(&amount.0).ok()).reduce(Quantity::plus)
    };
    for (name, amount) in resources.requests.iter().flatten() {
        if let (Some(total), Ok(amount)) = (total(name), Quantity::parse(&amount.0))
            && total > amount
        {
            let detail = format!(
                "must be greater than or equal to aggregate container requests of {}",
                total.canonical()
            );
            errors.invalid(&path.child("requests").key(name), amount.canonical(), detail);
        }
    }
    for (index, container) in spec.containers.iter().enumerate() {
        let limits = container.resources.iter().flat_map(|resources| resources.limits.iter().flatten());
        for (name, limit) in limits {
            let whole = resources.limits.as_ref().and_then(|limits| limits.get(name));
            let (Some(whole), Ok(limit)) =
                (whole.and_then(|whole| Quantity::parse(&whole.0).ok()), Quantity::parse(&limit.0))
            else {
                continue;
            };
            if limit > whole {
                let here = path.child("containers").index(index).key(name).child("limits");
                let detail = format!("must be less than or equal to pod limits of {}", whole.canonical());
                errors.invalid(&here, limit.canonical(), detail);
            }
        }
    }
}

fn resource(errors: &mut FieldErrors, path: &Path, name: &str) -> bool {
    let wrong = names::label_key(name);
    let fits = wrong.is_empty();
    errors.invalid_all(path, name, wrong);
    let huge = is_huge_pages(name) || name.starts_with("requests.hugepages-");
    if fits && !name.contains('/') && !STANDARD.contains(&name) && !huge {
        errors.invalid(path, name, "must be a standard resource type or fully qualified");
        return false;
    }
    fits
}

fn container_resource(errors: &mut FieldErrors, path: &Path, name: &str) {
    resource(errors, path, name);
    if name.split('/').count() == 1 {
        if !["cpu", "memory", "ephemeral-storage"].contains(&name) && !is_huge_pages(name) {
            errors.invalid(path, name, "must be a standard resource for containers");
        }
    } else if !is_native(name) && !is_extended(name) {
        errors.invalid(path, name, "doesn't follow extended resource name standard");
    }
}

fn pod_resource(errors: &mut FieldErrors, path: &Path, name: &str) {
    if resource(errors, path, name) && !["cpu", "memory"].contains(&name) && !is_huge_pages(name) {
        errors.unsupported(path, name, &["cpu", "memory"]);
    }
}

fn amount(errors: &mut FieldErrors, path: &Path, name: &str, amount: Quantity) {
    if amount.is_negative() {
        errors.invalid(path, amount.canonical(), "must be greater than or equal to 0");
    }
    if (COUNTED.contains(&name) || is_extended(name)) && amount.milli_value() % 1000 != 0 {
        errors.invalid(path, amount.canonical(), "must be an integer");
    }
}

fn huge_pages(errors: &mut FieldErrors, path: &Path, name: &str, amount: Quantity) {
    let page = name.strip_prefix("hugepages-").and_then(|size| Quantity::parse(size).ok());
    let fits =
        page.is_some_and(|page| page.value() > 0 && page.is_whole() && amount.value() % page.value() == 0);
    if !fits {
        let detail = format!("{} is not positive integer multiple of {name}", amount.canonical());
        errors.invalid(path, amount.canonical(), detail);
    }
}

fn requirements(
    errors: &mut FieldErrors,
    path: &Path,
    resources: &ResourceRequirements,
    check_name: fn(&mut FieldErrors, &Path, &str),
    claims: &BTreeSet<&str>,
) {
    let parsed = |list: &Option<Amounts>| -> BTreeMap<String, Quantity> {
        let parse = |(name, amount): (&String, &k8s_openapi::apimachinery::pkg::api::resource::Quantity)| {
            Quantity::parse(&amount.0).ok().map(|amount| (name.clone(), amount))
        };
        list.iter().flatten().filter_map(parse).collect()
    };
    let (limits, requests) = (parsed(&resources.limits), parsed(&resources.requests));
    for (name, limit) in &limits {
        let here = path.child("limits").key(name);
        check_name(errors, &here, name);
        amount(errors, &here, name, *limit);
        if is_huge_pages(name) {
            huge_pages(errors, &here, name, *limit);
        }
    }
    for (name, request) in &requests {
        let here = path.child("requests").key(name);
        check_name(errors, &here, name);
        amount(errors, &here, name, *request);
        request_within_limit(errors, path, name, *request, limits.get(name).copied());
        if is_huge_pages(name) {
            huge_pages(errors, &here, name, *request);
        }
    }
    let any = |test: fn(&str) -> bool| limits.keys().chain(requests.keys()).any(|name| test(name));
    if any(is_huge_pages) && !any(|name| name == "cpu" || name == "memory") {
        errors.forbidden(path, "HugePages require cpu or memory");
    }
    claim_names(errors, &path.child("claims"), resources.claims.as_deref().unwrap_or_default(), claims);
}

fn request_within_limit(
    errors: &mut FieldErrors,
    path: &Path,
    name: &str,
    request: Quantity,
    limit: Option<Quantity>,
) {
    // Said of all requests; where it is, is the one.
    let here = path.child("requests").at(&path.child("requests").key(name));
    match limit {
        Some(limit) if request.cmp(&limit).is_ne() && !may_overcommit(name) => {
            let detail = format!("must be equal to {name} limit of {}", limit.canonical());
            errors.invalid(&here, request.canonical(), detail);
        }
        Some(limit) if request > limit => {
            let detail = format!("must be less than or equal to {name} limit of {}", limit.canonical());
            errors.invalid(&here, request.canonical(), detail);
        }
        None if !may_overcommit(name) => {
            let limits = path.child("limits").at(&here);
            errors.required_because(&limits, "Limit must be set for non overcommitable resources");
        }
        _ => {}
    }
}

fn claim_names(errors: &mut FieldErrors, path: &Path, used: &[ResourceClaim], known: &BTreeSet<&str>) {
    let mut seen = BTreeSet::new();
    for (index, claim) in used.iter().enumerate() {
        let path = path.index(index);
        if claim.name.is_empty() {
            errors.required(&path);
            continue;
        }
        let request = text(&claim.request);
        let key = if request.is_empty() { claim.name.clone() } else { format!("{}/{request}", claim.name) };
        if !request.is_empty() {
            errors.invalid_all(&path.child("request"), request, names::dns_label(request));
        }
        if seen.contains(&claim.name) || !seen.insert(key.clone()) {
            errors.duplicate(&path, key);
        }
        if !known.contains(claim.name.as_str()) {
            let end = if known.is_empty() {
                " which is empty".to_owned()
            } else {
                format!(": {}", known.iter().copied().collect::<Vec<_>>().join(", "))
            };
            let name = crate::problem::go_quote(&claim.name);
            errors.other(
                &path,
                &format!("Not found: {name}: must be one of the names in pod.spec.resourceClaims{end}"),
            );
        }
    }
}

/// What a change of resources does to a running container.
pub(super) fn resize_policy(errors: &mut FieldErrors, path: &Path, container: &Container, pod_policy: &str) {
    let mut seen = BTreeSet::new();
    for (index, policy) in container.resize_policy.iter().flatten().enumerate() {
        let (name, restart) = (policy.resource_name.as_str(), policy.restart_policy.as_str());
        if !seen.insert(name) {
            errors.duplicate(&path.index(index), name);
        }
        let here = path.silent_index(index);
        super::spec::one_of(errors, &here, name, &["cpu", "memory"]);
        super::spec::one_of(errors, &here, restart, &["NotRequired", "RestartContainer"]);
        if pod_policy == "Never" && restart != "NotRequired" {
            errors.invalid(&here, restart, "must be 'NotRequired' when pod `restartPolicy` is 'Never'");
        }
    }
}
