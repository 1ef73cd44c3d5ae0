//! DaemonSet, Deployment, ReplicaSet, StatefulSet, Job and CronJob: their Pod template and what holds it. A CronJob is
//! validated and not run.

use super::{metadata, not_negative, scheduling, spec, text};
use crate::field::{FieldErrors, Path};
use k8s_openapi::api::apps::v1::StatefulSetOrdinals;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;

/// What the workload kinds have in common.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Workload {
    /// `DaemonSet`, `Deployment`, …
    pub kind: String,
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Spec.
    pub spec: WorkloadSpec,
}

/// The spec of a workload.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadSpec {
    /// How many Pods.
    pub replicas: Option<i32>,
    /// Whose Pods they are.
    pub selector: Option<LabelSelector>,
    /// The Pods.
    pub template: PodTemplateSpec,
    /// Seconds that a Pod has to be ready.
    pub min_ready_seconds: Option<i32>,
    /// How many old versions are kept.
    pub revision_history_limit: Option<i32>,
    /// Seconds in which a Deployment has to come about.
    pub progress_deadline_seconds: Option<i32>,
    /// A Job's Pods at one time.
    pub parallelism: Option<i32>,
    /// A Job's Pods that have to end well.
    pub completions: Option<i32>,
    /// A Job's seconds.
    pub active_deadline_seconds: Option<i64>,
    /// A Job's failures that it bears.
    pub backoff_limit: Option<i32>,
    /// The same for each of its indexes.
    pub backoff_limit_per_index: Option<i32>,
    /// Seconds that an ended Job is kept.
    pub ttl_seconds_after_finished: Option<i32>,
    /// The service of a StatefulSet's Pods.
    pub service_name: Option<String>,
    /// Whether a Job's Pods have numbers: `Indexed`, or `NonIndexed`.
    pub completion_mode: Option<String>,
    /// The claims of each of a StatefulSet's Pods.
    pub volume_claim_templates: Option<Vec<PersistentVolumeClaim>>,
    /// The first number of a StatefulSet's Pods.
    pub ordinals: Option<StatefulSetOrdinals>,
    /// A CronJob's Jobs.
    pub job_template: Option<JobTemplate>,
}

/// The Jobs of a CronJob. Its schedule is not looked at.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JobTemplate {
    /// Spec.
    pub spec: Box<WorkloadSpec>,
}

impl WorkloadSpec {
    /// The Pod template: that of a CronJob's Jobs, else this one's.
    pub fn template_mut(&mut self) -> &mut PodTemplateSpec {
        match &mut self.job_template {
            Some(jobs) => &mut jobs.spec.template,
            None => &mut self.template,
        }
    }
}

/// Whether a kind is one that holds a Pod template.
#[must_use]
pub fn is_workload(kind: &str) -> bool {
    matches!(kind, "DaemonSet" | "Deployment" | "ReplicaSet" | "StatefulSet" | "Job" | "CronJob")
}

/// The schema's name of a kind that is read besides Pods, ConfigMaps and Secrets.
#[must_use]
pub fn schema_of(api_version: &str, kind: &str) -> Option<&'static str> {
    Some(match (api_version, kind) {
        ("apps/v1", "DaemonSet") => "apps.DaemonSet",
        ("apps/v1", "Deployment") => "apps.Deployment",
        ("apps/v1", "ReplicaSet") => "apps.ReplicaSet",
        ("apps/v1", "StatefulSet") => "apps.StatefulSet",
        ("batch/v1", "Job") => "batch.Job",
        ("batch/v1", "CronJob") => "batch.CronJob",
        ("v1", "PersistentVolume") => "v1.PersistentVolume",
        ("v1", "PersistentVolumeClaim") => "v1.PersistentVolumeClaim",
        _ => return None,
    })
}

/// What is wrong with a workload whose template has its defaults.
#[must_use]
pub fn workload(workload: &Workload) -> FieldErrors {
    let mut errors = FieldErrors::default();
    metadata::object(&mut errors, &workload.metadata);
    let (errors_of, path) = (&mut errors, Path::new("spec"));
    match workload.kind.as_str() {
        "DaemonSet" => daemon_set(errors_of, &path, &workload.spec),
        "Job" => job(errors_of, &path, &workload.spec),
        "CronJob" => {
            let none = JobTemplate::default();
            let jobs = workload.spec.job_template.as_ref().unwrap_or(&none);
            job(errors_of, &path.child("jobTemplate").child("spec"), &jobs.spec);
        }
        kind => replicated(errors_of, &path, &workload.spec, kind),
    }
    errors
}

fn counts(errors: &mut FieldErrors, path: &Path, fields: &[(&str, Option<i64>)]) {
    for (name, value) in fields {
        not_negative(errors, &path.child(name), value.unwrap_or_default());
    }
}

fn daemon_set(errors: &mut FieldErrors, path: &Path, spec: &WorkloadSpec) {
    selector(errors, path, spec, "daemonset", false);
    template(errors, path, spec);
    always(errors, path, spec, "DaemonSet");
    let fields =
        [("minReadySeconds", spec.min_ready_seconds), ("revisionHistoryLimit", spec.revision_history_limit)];
    counts(errors, path, &fields.map(|(name, value)| (name, value.map(i64::from))));
}

fn replicated(errors: &mut FieldErrors, path: &Path, spec: &WorkloadSpec, kind: &str) {
    let number = |value: Option<i32>| value.map(i64::from);
    counts(errors, path, &[("replicas", number(spec.replicas))]);
    if kind != "Deployment" {
        counts(errors, path, &[("minReadySeconds", number(spec.min_ready_seconds))]);
    }
    let word = if kind == "StatefulSet" { "statefulset" } else { "deployment" };
    selector(errors, path, spec, word, true);
    template(errors, path, spec);
    always(errors, path, spec, if kind == "StatefulSet" { kind } else { "ReplicaSet" });
    if kind == "Deployment" {
        let fields = [
            ("minReadySeconds", spec.min_ready_seconds),
            ("revisionHistoryLimit", spec.revision_history_limit),
            ("progressDeadlineSeconds", spec.progress_deadline_seconds),
        ];
        counts(errors, path, &fields.map(|(name, value)| (name, number(value))));
        if let Some(deadline) = spec.progress_deadline_seconds
            && deadline <= spec.min_ready_seconds.unwrap_or_default()
        {
            let here = path.child("progressDeadlineSeconds");
            errors.invalid(&here, deadline, "must be greater than minReadySeconds");
        }
    }
}

fn job(errors: &mut FieldErrors, path: &Path, spec: &WorkloadSpec) {
    let number = |value: Option<i32>| value.map(i64::from);
    let fields = [
        ("parallelism", number(spec.parallelism)),
        ("completions", number(spec.completions)),
        ("activeDeadlineSeconds", spec.active_deadline_seconds),
        ("backoffLimit", number(spec.backoff_limit)),
        ("backoffLimitPerIndex", number(spec.backoff_limit_per_index)),
        ("ttlSecondsAfterFinished", number(spec.ttl_seconds_after_finished)),
    ];
    counts(errors, path, &fields);
    completion_mode(errors, path, spec);
    if let Some(limit) = spec.backoff_limit_per_index
        && spec.completion_mode.as_deref() != Some("Indexed")
    {
        let here = path.child("backoffLimitPerIndex");
        errors.invalid(&here, limit, "requires indexed completion mode");
    }
    template(errors, path, spec);
    let policy = spec.template.spec.as_ref().map_or("", |spec| text(&spec.restart_policy));
    let here = path.child("template").child("spec").child("restartPolicy");
    match policy {
        "Always" | "" => errors.required_because(&here, "valid values: \"OnFailure\", \"Never\""),
        "OnFailure" | "Never" => {}
        other => errors.unsupported(&here, other, &["OnFailure", "Never"]),
    }
}

fn completion_mode(errors: &mut FieldErrors, path: &Path, spec: &WorkloadSpec) {
    match spec.completion_mode.as_deref() {
        None | Some("NonIndexed") => {}
        Some("Indexed") if spec.completions.is_some() => {}
        Some("Indexed") => {
            errors.required_because(&path.child("completions"), "when completion mode is Indexed");
        }
        Some(other) => {
            errors.unsupported(&path.child("completionMode"), other, &["Indexed", "NonIndexed"]);
        }
    }
}

/// The selector, and whether it selects the template's own Pods.
fn selector(errors: &mut FieldErrors, path: &Path, spec: &WorkloadSpec, word: &str, required: bool) {
    let here = path.child("selector");
    let labels = spec.template.metadata.as_ref().and_then(|metadata| metadata.labels.as_ref());
    let shown = json!(labels);
    let mismatch = |errors: &mut FieldErrors| {
        let here = path.child("template").child("metadata").child("labels");
        errors.invalid(&here, shown.clone(), "`selector` does not match template `labels`");
    };
    let Some(selector) = &spec.selector else {
        if required {
            errors.required(&here);
        }
        return mismatch(errors);
    };
    scheduling::label_selector(errors, &here, Some(selector));
    let empty = selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty)
        && selector.match_expressions.as_ref().is_none_or(Vec::is_empty);
    let matched = selects(selector, labels);
    // A DaemonSet's is said after what does not match, the others' before.
    if !required && matched == Some(false) {
        mismatch(errors);
    }
    if empty {
        errors.invalid(&here, json!(selector), format!("empty selector is invalid for {word}"));
    }
    match matched {
        Some(false) if required => mismatch(errors),
        None if required => errors.invalid(&here, json!(selector), "invalid label selector"),
        _ => {}
    }
}

/// Whether a selector selects these labels; none if it is no selector.
pub(crate) fn selects(selector: &LabelSelector, labels: Option<&BTreeMap<String, String>>) -> Option<bool> {
    let get = |key: &str| labels.and_then(|labels| labels.get(key));
    let mut all = selector.match_labels.iter().flatten().all(|(key, value)| get(key) == Some(value));
    for expression in selector.match_expressions.iter().flatten() {
        let values = expression.values.as_deref().unwrap_or_default();
        let value = get(&expression.key);
        all &= match expression.operator.as_str() {
            "In" => value.is_some_and(|value| values.contains(value)),
            "NotIn" => value.is_none_or(|value| !values.contains(value)),
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => return None,
        };
    }
    Some(all)
}

fn template(errors: &mut FieldErrors, path: &Path, spec: &WorkloadSpec) {
    let (path, default) = (path.child("template"), PodSpec::default());
    let pod = spec.template.spec.as_ref().unwrap_or(&default);
    let pod = &with_claims(pod, spec.volume_claim_templates.as_deref().unwrap_or_default());
    let metadata = path.child("metadata");
    if let Some(of) = &spec.template.metadata {
        // Said without `metadata`, as the API server says them.
        let said = |name: &str| path.child(name).at(&metadata.child(name));
        metadata::labels(errors, &said("labels"), of.labels.as_ref());
        metadata::annotations(errors, &said("annotations"), of.annotations.as_ref());
        spec::annotations(errors, &said("annotations"), of, Some(pod));
    }
    spec::pod_spec(errors, &path.child("spec"), pod, None);
    if pod.ephemeral_containers.as_ref().is_some_and(|containers| !containers.is_empty()) {
        let here = path.child("spec").child("ephemeralContainers");
        errors.forbidden(&here, "ephemeral containers not allowed in pod template");
    }
}

/// The Pod with volumes for the claims that each Pod gets, so that its containers may mount them.
fn with_claims(pod: &PodSpec, templates: &[PersistentVolumeClaim]) -> PodSpec {
    let mut pod = pod.clone();
    for name in templates.iter().filter_map(|template| template.metadata.name.as_deref()) {
        let volumes = pod.volumes.get_or_insert_default();
        if !volumes.iter().any(|volume| volume.name == name) {
            volumes.push(crate::claims::volume(name, name));
        }
    }
    pod
}

/// Pods of these kinds are always started again.
fn always(errors: &mut FieldErrors, path: &Path, spec: &WorkloadSpec, kind: &str) {
    let Some(pod) = &spec.template.spec else { return };
    let here = path.child("template").child("spec");
    let policy = text(&pod.restart_policy);
    if policy != "Always" {
        errors.unsupported(&here.child("restartPolicy"), policy, &["Always"]);
    }
    if pod.active_deadline_seconds.is_some() {
        let detail = format!("activeDeadlineSeconds in {kind} is not Supported");
        errors.forbidden(&here.child("activeDeadlineSeconds"), detail);
    }
}
