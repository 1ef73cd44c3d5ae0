//! What only a scheduler gives a meaning to, validated all the same.

use super::{names, text};
use crate::field::{FieldErrors, Path};
use k8s_openapi::api::core::v1::{
    Affinity, NodeSelectorRequirement, NodeSelectorTerm, PodAffinityTerm, PodResourceClaim, PodSpec,
    Toleration, TopologySpreadConstraint, WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::json;
use std::collections::BTreeSet;

/// Claims of devices.
pub(super) fn resource_claims(errors: &mut FieldErrors, path: &Path, claims: Option<&[PodResourceClaim]>) {
    let mut seen = BTreeSet::new();
    for (index, claim) in claims.unwrap_or_default().iter().enumerate() {
        let path = path.index(index);
        if claim.name.is_empty() {
            errors.required(&path.child("name"));
        } else if !seen.insert(claim.name.as_str()) {
            errors.duplicate(&path.child("name"), claim.name.as_str());
        } else {
            errors.invalid_all(&path.child("name"), &claim.name, names::dns_label(&claim.name));
        }
        let shown = || {
            json!({"Name": claim.name, "ResourceClaimName": claim.resource_claim_name,
                "ResourceClaimTemplateName": claim.resource_claim_template_name})
        };
        let sources = [
            ("resourceClaimName", &claim.resource_claim_name),
            ("resourceClaimTemplateName", &claim.resource_claim_template_name),
        ];
        match sources.iter().filter(|(_, name)| name.is_some()).count() {
            0 => errors.invalid(
                &path,
                shown(),
                "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
            ),
            1 => {}
            _ => errors.invalid(
                &path,
                shown(),
                "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified",
            ),
        }
        for (field, name) in sources {
            if let Some(name) = name {
                errors.invalid_all(&path.child(field), name, names::dns_subdomain(name));
            }
        }
    }
}

/// Which nodes and Pods a Pod likes.
pub(super) fn affinity(errors: &mut FieldErrors, path: &Path, affinity: Option<&Affinity>) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
    let Some(affinity) = affinity else { return };
    if let Some(node) = &affinity.node_affinity {
        let path = path.child("nodeAffinity");
        if let Some(required) = &node.required_during_scheduling_ignored_during_execution {
            let path = path.child(REQUIRED).child("nodeSelectorTerms");
            if required.node_selector_terms.is_empty() {
                errors.required_because(&path, "must have at least one node selector term");
            }
            for (index, term) in required.node_selector_terms.iter().enumerate() {
                node_term(errors, &path.index(index), term, true);
            }
        }
        for (index, term) in
            node.preferred_during_scheduling_ignored_during_execution.iter().flatten().enumerate()
        {
            let path = path.child(PREFERRED).index(index);
            weight(errors, &path, term.weight);
            node_term(errors, &path.child("preference"), &term.preference, false);
        }
    }
    let mut pods =
        |name: &str, required: Option<&[PodAffinityTerm]>, preferred: Option<&[WeightedPodAffinityTerm]>| {
            let path = path.child(name);
            for (index, term) in required.unwrap_or_default().iter().enumerate() {
                pod_term(errors, &path.child(REQUIRED).index(index), term);
            }
            for (index, term) in preferred.unwrap_or_default().iter().enumerate() {
                let path = path.child(PREFERRED).index(index);
                weight(errors, &path, term.weight);
                pod_term(errors, &path.child("podAffinityTerm"), &term.pod_affinity_term);
            }
        };
    if let Some(pod) = &affinity.pod_affinity {
        pods(
            "podAffinity",
            pod.required_during_scheduling_ignored_during_execution.as_deref(),
            pod.preferred_during_scheduling_ignored_during_execution.as_deref(),
        );
    }
    if let Some(pod) = &affinity.pod_anti_affinity {
        pods(
            "podAntiAffinity",
            pod.required_during_scheduling_ignored_during_execution.as_deref(),
            pod.preferred_during_scheduling_ignored_during_execution.as_deref(),
        );
    }
}

fn weight(errors: &mut FieldErrors, path: &Path, weight: i32) {
    if !(1..=100).contains(&weight) {
        errors.invalid(&path.child("weight"), weight, "must be in the range 1-100");
    }
}

fn node_term(errors: &mut FieldErrors, path: &Path, term: &NodeSelectorTerm, check_values: bool) {
    for (index, requirement) in term.match_expressions.iter().flatten().enumerate() {
        node_requirement(errors, &path.child("matchExpressions").index(index), requirement, check_values);
    }
    for (index, requirement) in term.match_fields.iter().flatten().enumerate() {
        node_field(errors, &path.child("matchFields").index(index), requirement);
    }
}

fn node_requirement(
    errors: &mut FieldErrors,
    path: &Path,
    requirement: &NodeSelectorRequirement,
    check_values: bool,
) {
    let values = requirement.values.as_deref().unwrap_or_default();
    let here = path.child("values");
    match requirement.operator.as_str() {
        "In" | "NotIn" => {
            if values.is_empty() {
                errors.required_because(&here, "must be specified when `operator` is 'In' or 'NotIn'");
            }
        }
        "Exists" | "DoesNotExist" => {
            if !values.is_empty() {
                errors.forbidden(&here, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
            }
        }
        "Gt" | "Lt" => {
            if values.len() != 1 {
                errors.required_because(
                    &here,
                    "must be specified single value when `operator` is 'Lt' or 'Gt'",
                );
            }
        }
        other => errors.invalid(&path.child("operator"), other, "not a valid selector operator"),
    }
    errors.invalid_all(&path.child("key"), &requirement.key, names::label_key(&requirement.key));
    if check_values {
        for (index, value) in values.iter().enumerate() {
            errors.invalid_all(&here.index(index), value, names::label_value(value));
        }
    }
}

fn node_field(errors: &mut FieldErrors, path: &Path, requirement: &NodeSelectorRequirement) {
    let values = requirement.values.as_deref().unwrap_or_default();
    match requirement.operator.as_str() {
        "In" | "NotIn" => {
            if values.len() != 1 {
                let detail =
                    "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
                errors.required_because(&path.child("values"), detail);
            }
        }
        other => errors.invalid(&path.child("operator"), other, "not a valid selector operator"),
    }
    if requirement.key != "metadata.name" {
        return errors.invalid(
            &path.child("key"),
            requirement.key.as_str(),
            "not a valid field selector key",
        );
    }
    for (index, value) in values.iter().enumerate() {
        errors.invalid_all(&path.child("values").index(index), value, names::dns_subdomain(value));
    }
}

fn pod_term(errors: &mut FieldErrors, path: &Path, term: &PodAffinityTerm) {
    label_selector(errors, &path.child("labelSelector"), term.label_selector.as_ref());
    label_selector(errors, &path.child("namespaceSelector"), term.namespace_selector.as_ref());
    for (index, namespace) in term.namespaces.iter().flatten().enumerate() {
        let here = path.child("namespace").at(&path.child("namespaces").index(index));
        errors.invalid_all(&here, namespace, names::dns_label(namespace));
    }
    let (matching, mismatching) = (
        term.match_label_keys.as_deref().unwrap_or_default(),
        term.mismatch_label_keys.as_deref().unwrap_or_default(),
    );
    label_keys(errors, path, matching, mismatching, term.label_selector.as_ref());
    let here = path.child("topologyKey");
    if term.topology_key.is_empty() {
        errors.required_because(&here, "can not be empty");
    }
    errors.invalid_all(&here, &term.topology_key, names::label_key(&term.topology_key));
}

/// A selector of labels.
pub(super) fn label_selector(errors: &mut FieldErrors, path: &Path, selector: Option<&LabelSelector>) {
    let Some(selector) = selector else { return };
    super::metadata::labels(errors, &path.child("matchLabels"), selector.match_labels.as_ref());
    for (index, expression) in selector.match_expressions.iter().flatten().enumerate() {
        let path = path.child("matchExpressions").index(index);
        let values = expression.values.as_deref().unwrap_or_default();
        match expression.operator.as_str() {
            "In" | "NotIn" => {
                if values.is_empty() {
                    let detail = "must be specified when `operator` is 'In' or 'NotIn'";
                    errors.required_because(&path.child("values"), detail);
                }
            }
            "Exists" | "DoesNotExist" => {
                if !values.is_empty() {
                    let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                    errors.forbidden(&path.child("values"), detail);
                }
            }
            other => errors.invalid(&path.child("operator"), other, "not a valid selector operator"),
        }
        errors.invalid_all(&path.child("key"), &expression.key, names::label_key(&expression.key));
        for (index, value) in values.iter().enumerate() {
            errors.invalid_all(&path.child("values").index(index), value, names::label_value(value));
        }
    }
}

fn label_keys(
    errors: &mut FieldErrors,
    path: &Path,
    matching: &[String],
    mismatching: &[String],
    selector: Option<&LabelSelector>,
) {
    for (name, keys) in [("matchLabelKeys", matching), ("mismatchLabelKeys", mismatching)] {
        if !keys.is_empty() && selector.is_none() {
            errors.forbidden(&path.child(name), "must not be specified when labelSelector is not set");
            continue;
        }
        for (index, key) in keys.iter().enumerate() {
            errors.invalid_all(&path.child(name).index(index), key, names::label_key(key));
        }
    }
    if let Some(selector) = selector {
        let mut seen: BTreeSet<&str> =
            selector.match_labels.iter().flatten().map(|(key, _)| key.as_str()).collect();
        for expression in selector.match_expressions.iter().flatten() {
            let key = expression.key.as_str();
            if let Some(index) = matching.iter().rposition(|match_key| match_key == key)
                && seen.contains(key)
            {
                let here = path.index(index).at(&path.child("matchLabelKeys").index(index));
                errors.invalid(&here, key, "exists in both matchLabelKeys and labelSelector");
            }
            seen.insert(key);
        }
    }
    for (index, key) in matching.iter().enumerate().filter(|(_, key)| mismatching.contains(key)) {
        let here = path.child("matchLabelKeys").index(index);
        errors.invalid(&here, key.as_str(), "exists in both matchLabelKeys and mismatchLabelKeys");
    }
}

/// What keeps a Pod from being scheduled.
pub(super) fn gates(errors: &mut FieldErrors, path: &Path, spec: &PodSpec) {
    let mut seen = BTreeSet::new();
    for (index, gate) in spec.scheduling_gates.iter().flatten().enumerate() {
        errors.invalid_all(&path.index(index), &gate.name, names::label_key(&gate.name));
        if !seen.insert(gate.name.as_str()) {
            errors.duplicate(&path.index(index), gate.name.as_str());
        }
    }
}

/// Taints that a Pod tolerates.
pub(super) fn tolerations(errors: &mut FieldErrors, path: &Path, tolerations: Option<&[Toleration]>) {
    for (index, toleration) in tolerations.unwrap_or_default().iter().enumerate() {
        let path = path.index(index);
        let (key, value) = (text(&toleration.key), text(&toleration.value));
        let (operator, effect) = (text(&toleration.operator), text(&toleration.effect));
        let here = path.child("operator");
        if !key.is_empty() {
            errors.invalid_all(&path.child("key"), key, names::label_key(key));
        } else if operator != "Exists" {
            let detail =
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.invalid(&here, operator, detail);
        }
        if toleration.toleration_seconds.is_some() && effect != "NoExecute" {
            errors.invalid(
                &path.child("effect"),
                effect,
                "effect must be 'NoExecute' when `tolerationSeconds` is set",
            );
        }
        match operator {
            "Equal" | "" => {
                let wrong = names::label_value(value);
                if !wrong.is_empty() {
                    errors.invalid(&here, value, wrong.join(";"));
                }
            }
            "Exists" if value.is_empty() => {}
            "Exists" => errors.invalid(&here, value, "value must be empty when `operator` is 'Exists'"),
            "Lt" | "Gt" => errors.unsupported(&here, operator, &["Equal", "Exists", "Lt", "Gt"]),
            other => errors.unsupported(&here, other, &["Equal", "Exists"]),
        }
        let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        if !effect.is_empty() && !effects.contains(&effect) {
            errors.unsupported(&path.child("effect"), effect, &effects);
        }
    }
}

/// How Pods are spread.
pub(super) fn topology_spread(errors: &mut FieldErrors, path: &Path, spec: &PodSpec) {
    let constraints: &[TopologySpreadConstraint] =
        spec.topology_spread_constraints.as_deref().unwrap_or_default();
    for (index, constraint) in constraints.iter().enumerate() {
        let path = path.index(index);
        if constraint.max_skew <= 0 {
            errors.invalid(&path.child("maxSkew"), constraint.max_skew, "must be greater than zero");
        }
        if constraint.topology_key.is_empty() {
            errors.required_because(&path.child("topologyKey"), "can not be empty");
        }
        let action = constraint.when_unsatisfiable.as_str();
        if !["DoNotSchedule", "ScheduleAnyway"].contains(&action) {
            errors.unsupported(
                &path.child("whenUnsatisfiable"),
                action,
                &["DoNotSchedule", "ScheduleAnyway"],
            );
        }
        let same = |other: &TopologySpreadConstraint| {
            other.topology_key == constraint.topology_key && other.when_unsatisfiable == action
        };
        if constraints[index + 1..].iter().any(same) {
            let pair = format!("{{{}, {action}}}", constraint.topology_key);
            errors.duplicate(&path.child("{topologyKey, whenUnsatisfiable}").at(&path), pair);
        }
        if let Some(domains) = constraint.min_domains {
            let here = path.child("minDomains");
            if domains <= 0 {
                errors.invalid(&here, domains, "must be greater than zero");
            }
            if action != "DoNotSchedule" {
                let detail =
                    format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}");
                errors.invalid(&here, domains, detail);
            }
        }
        let policies = [
            ("nodeAffinityPolicy", &constraint.node_affinity_policy),
            ("nodeTaintsPolicy", &constraint.node_taints_policy),
        ];
        for (name, policy) in policies {
            if let Some(policy) = policy.as_deref()
                && !["Honor", "Ignore"].contains(&policy)
            {
                errors.unsupported(&path.child(name), policy, &["Honor", "Ignore"]);
            }
        }
        let keys = constraint.match_label_keys.as_deref().unwrap_or_default();
        label_keys(errors, &path, keys, &[], constraint.label_selector.as_ref());
        label_selector(errors, &path.child("labelSelector"), constraint.label_selector.as_ref());
    }
}
