//! The Pods of workloads: a DaemonSet's one, the others' as many as they ask for, made at once.
//!
//! A cluster's controllers give most Pods names that end in random characters. Here the characters are worked out from
//! kind, namespace, name and number, so that the same file always makes the same Pods: run twice, it is told that they
//! are there; and they are found again by the file. What else a controller writes into a Pod (labels,
//! `ownerReferences`, a StatefulSet's host names) is as in Kubernetes 1.36 (`pkg/controller`).

use crate::defaults;
use crate::generate::generated_name;
use crate::validate::Workload;
use k8s_openapi::api::core::v1::{
    EnvVar, EnvVarSource, ObjectFieldSelector, PersistentVolumeClaim, Pod, PodSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Pods of one workload that are made: as many as a large node has, with room. Each is a process at least.
pub const MAX_PODS: usize = 500;

/// The label by which the Pods of one version of a Deployment are known, and the end of their ReplicaSet's name.
const TEMPLATE_HASH: &str = "pod-template-hash";
const COMPLETION_INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// How many Pods a workload with its defaults makes.
#[must_use]
pub fn count(workload: &Workload) -> usize {
    let spec = &workload.spec;
    let count = match workload.kind.as_str() {
        "DaemonSet" => 1,
        "Job" => match (spec.completions, spec.parallelism) {
            (_, Some(0)) => 0,
            (Some(completions), _) => completions,
            (None, parallelism) => parallelism.unwrap_or(1),
        },
        _ => spec.replicas.unwrap_or(1),
    };
    usize::try_from(count).unwrap_or_default()
}

/// What a Job asks of its Pods together: their supervisors keep to it, since nobody else is there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobTerms {
    /// Worked out from the Job's name, as in its Pods' `ownerReferences`.
    pub uid: String,
    /// How many Pods it has.
    pub pods: u32,
    /// How many of them run at one time.
    pub parallelism: u32,
    /// How many failures it bears.
    pub backoff_limit: u32,
    /// Whether that is of each Pod (`backoffLimitPerIndex`), not of all together.
    pub limit_is_per_pod: bool,
    /// Seconds from its start to its end, whatever its Pods do.
    pub active_deadline_seconds: Option<u64>,
}

/// The terms of a Job with its defaults; none of other kinds.
#[must_use]
pub fn job_terms(workload: &Workload) -> Option<JobTerms> {
    let spec = &workload.spec;
    let number = |value: Option<i32>| value.and_then(|value| u32::try_from(value).ok());
    (workload.kind == "Job").then(|| JobTerms {
        uid: Maker::new(workload).owner.uid,
        pods: u32::try_from(count(workload)).unwrap_or(u32::MAX),
        parallelism: number(spec.parallelism).unwrap_or(1).max(1),
        backoff_limit: number(spec.backoff_limit_per_index.or(spec.backoff_limit)).unwrap_or(6),
        limit_is_per_pod: spec.backoff_limit_per_index.is_some(),
        active_deadline_seconds: spec.active_deadline_seconds.and_then(|s| u64::try_from(s).ok()),
    })
}

/// What a workload makes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Made {
    /// Its Pods, in their order.
    pub pods: Vec<Pod>,
    /// The claims that a StatefulSet makes for each of its Pods.
    pub claims: Vec<PersistentVolumeClaim>,
}

/// The Pods of a valid workload with its defaults, at most [`MAX_PODS`].
#[must_use]
pub fn make(workload: &Workload) -> Made {
    let maker = Maker::new(workload);
    let (mut taken, mut made) = (BTreeSet::new(), Made::default());
    for index in 0..count(workload).min(MAX_PODS) {
        let pod = maker.pod(index, &mut taken, &mut made.claims);
        made.pods.push(pod);
    }
    made
}

/// The workload that a Pod is of: kind and name. A Deployment's Pods are a ReplicaSet's in between.
#[must_use]
pub fn owner(pod: &Pod) -> Option<(&str, &str)> {
    let owners = pod.metadata.owner_references.iter().flatten();
    let owner = owners.into_iter().find(|owner| owner.controller == Some(true))?;
    let hash = pod.metadata.labels.as_ref().and_then(|labels| labels.get(TEMPLATE_HASH));
    let deployment = hash
        .filter(|_| owner.kind == "ReplicaSet")
        .and_then(|hash| owner.name.strip_suffix(hash.as_str()))
        .and_then(|name| name.strip_suffix('-'));
    match deployment {
        Some(deployment) => Some(("Deployment", deployment)),
        None => Some((&owner.kind, &owner.name)),
    }
}

/// What the Pods of one workload have in common.
struct Maker<'a> {
    workload: &'a Workload,
    /// What their names and hashes are worked out from.
    identity: String,
    /// Who is said to have made them, and the beginning of their names.
    owner: OwnerReference,
}

impl<'a> Maker<'a> {
    fn new(workload: &'a Workload) -> Self {
        let name = workload.metadata.name.as_deref().unwrap_or_default();
        let namespace = workload.metadata.namespace.as_deref().unwrap_or_default();
        let identity = format!("{}/{namespace}/{name}", workload.kind);
        let owner = |kind: &str, name: String| OwnerReference {
            api_version: if kind == "Job" { "batch/v1" } else { "apps/v1" }.to_owned(),
            uid: uid(&format!("{kind}/{namespace}/{name}")),
            kind: kind.to_owned(),
            name,
            controller: Some(true),
            block_owner_deletion: Some(true),
        };
        let owner = match workload.kind.as_str() {
            "Deployment" => owner("ReplicaSet", format!("{name}-{}", short_hash(&identity))),
            kind => owner(kind, name.to_owned()),
        };
        Self { workload, identity, owner }
    }

    fn pod(
        &self,
        index: usize,
        taken: &mut BTreeSet<String>,
        claims: &mut Vec<PersistentVolumeClaim>,
    ) -> Pod {
        let template = &self.workload.spec.template;
        let of_template = template.metadata.clone().unwrap_or_default();
        let mut metadata = ObjectMeta {
            namespace: self.workload.metadata.namespace.clone(),
            labels: of_template.labels,
            annotations: of_template.annotations,
            owner_references: Some(vec![self.owner.clone()]),
            ..ObjectMeta::default()
        };
        let mut spec = template.spec.clone().unwrap_or_default();
        match self.workload.kind.as_str() {
            "StatefulSet" => self.numbered(index, &mut metadata, &mut spec),
            "Job" => self.of_job(index, &mut metadata, &mut spec, taken),
            kind => {
                let labels = metadata.labels.get_or_insert_default();
                match kind {
                    "Deployment" => drop(labels.insert(TEMPLATE_HASH.into(), short_hash(&self.identity))),
                    "DaemonSet" => {
                        labels.insert("controller-revision-hash".into(), short_hash(&self.identity));
                        labels.insert("pod-template-generation".into(), "1".into());
                    }
                    _ => {}
                }
                self.name(&mut metadata, &format!("{}-", self.owner.name), index, taken);
            }
        }
        if let Some(templates) = &self.workload.spec.volume_claim_templates {
            let name = metadata.name.as_deref().unwrap_or_default();
            let namespace = metadata.namespace.as_deref();
            claims.extend(crate::claims::of_templates(templates, namespace, name, &mut spec));
        }
        let mut pod = Pod { metadata, spec: Some(spec), status: None };
        defaults::pod(&mut pod);
        pod
    }

    /// `prefix` with five characters that no other Pod of this workload has.
    fn name(&self, metadata: &mut ObjectMeta, prefix: &str, index: usize, taken: &mut BTreeSet<String>) {
        let tries = (0..=MAX_PODS).map(|salt| {
            let salt = if salt == 0 { String::new() } else { format!("/{salt}") };
            generated_name(prefix, fnv_64(&format!("{}/{index}{salt}", self.identity)))
        });
        let name = tries.into_iter().find(|name| taken.insert(name.clone()));
        metadata.name = name;
        metadata.generate_name = Some(prefix.to_owned());
    }

    /// A StatefulSet's Pods have numbers, and host names that stay.
    fn numbered(&self, index: usize, metadata: &mut ObjectMeta, spec: &mut PodSpec) {
        let start = self.workload.spec.ordinals.as_ref().and_then(|ordinals| ordinals.start);
        let number = index + usize::try_from(start.unwrap_or_default()).unwrap_or_default();
        let name = format!("{}-{number}", self.owner.name);
        let labels = metadata.labels.get_or_insert_default();
        labels.insert("apps.kubernetes.io/pod-index".into(), number.to_string());
        let revision = format!("{}-{}", self.owner.name, short_hash(&self.identity));
        labels.insert("controller-revision-hash".into(), revision);
        labels.insert("statefulset.kubernetes.io/pod-name".into(), name.clone());
        spec.hostname = Some(name.clone());
        let service = self.workload.spec.service_name.clone();
        spec.subdomain = service.filter(|service| !service.is_empty()).or(spec.subdomain.take());
        metadata.generate_name = Some(format!("{}-", self.owner.name));
        metadata.name = Some(name);
    }

    fn of_job(
        &self,
        index: usize,
        metadata: &mut ObjectMeta,
        spec: &mut PodSpec,
        taken: &mut BTreeSet<String>,
    ) {
        let labels = metadata.labels.get_or_insert_default();
        for prefix in ["", "batch.kubernetes.io/"] {
            labels.insert(format!("{prefix}controller-uid"), self.owner.uid.clone());
            labels.insert(format!("{prefix}job-name"), self.owner.name.clone());
        }
        if self.workload.spec.completion_mode.as_deref() != Some("Indexed") {
            return self.name(metadata, &format!("{}-", self.owner.name), index, taken);
        }
        labels.insert(COMPLETION_INDEX.into(), index.to_string());
        metadata.annotations.get_or_insert_default().insert(COMPLETION_INDEX.into(), index.to_string());
        spec.hostname = Some(format!("{}-{index}", self.owner.name));
        let containers = spec.init_containers.iter_mut().flatten().chain(&mut spec.containers);
        for container in containers {
            let env = container.env.get_or_insert_default();
            if !env.iter().any(|variable| variable.name == "JOB_COMPLETION_INDEX") {
                env.push(completion_index());
            }
        }
        self.name(metadata, &format!("{}-{index}-", self.owner.name), index, taken);
    }
}

fn completion_index() -> EnvVar {
    let field_path = format!("metadata.labels['{COMPLETION_INDEX}']");
    let field_ref = Some(ObjectFieldSelector { api_version: Some("v1".into()), field_path });
    EnvVar {
        name: "JOB_COMPLETION_INDEX".into(),
        value: None,
        value_from: Some(EnvVarSource { field_ref, ..EnvVarSource::default() }),
    }
}

/// FNV-1a, the hash that Kubernetes' controllers use, here of 64 bits.
fn fnv_64(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// As many characters as a controller's hash has, of the same letters.
fn short_hash(identity: &str) -> String {
    let number = fnv_64(identity) >> 32;
    number.to_string().bytes().map(|digit| char::from(crate::generate::letter(digit.into()))).collect()
}

/// A UUID of a workload that is not stored anywhere: version 8 of RFC 9562, made of its name.
fn uid(identity: &str) -> String {
    let (high, low) = (fnv_64(identity), fnv_64(&format!("{identity}/uid")));
    let high = high & !0xf000 | 0x8000;
    let low = low & !(0b11 << 62) | 0b10 << 62;
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

/// Kinds as they are named on the command line, with kubectl's plural and short forms: `ds` of `ds/debug-agent`.
#[must_use]
pub fn kind_of_word(word: &str) -> Option<&'static str> {
    let names: BTreeMap<&str, &'static str> = BTreeMap::from([
        ("ds", "DaemonSet"),
        ("deploy", "Deployment"),
        ("rs", "ReplicaSet"),
        ("sts", "StatefulSet"),
    ]);
    let kinds = ["DaemonSet", "Deployment", "ReplicaSet", "StatefulSet", "Job"];
    let lower = word.to_lowercase();
    let singular = lower.strip_suffix('s').unwrap_or(&lower);
    names.get(lower.as_str()).copied().or_else(|| {
        kinds.into_iter().find(|kind| kind.to_lowercase() == singular || kind.to_lowercase() == lower)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn made(kind: &str, mut spec: serde_json::Value) -> Vec<Pod> {
        spec["template"] = json!({
            "metadata": {"labels": {"app": "a"}, "annotations": {"x": "y"}},
            "spec": {"containers": [{"name": "c", "image": "i", "resources": {"limits": {"cpu": 1}}}]}
        });
        let value = json!({"kind": kind, "metadata": {"name": "web", "namespace": "default"}, "spec": spec});
        let mut workload: Workload = serde_json::from_value(value).unwrap();
        defaults::workload(&mut workload);
        make(&workload).pods
    }

    fn names(pods: &[Pod]) -> Vec<&str> {
        pods.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect()
    }

    #[test]
    fn each_kind_names_its_pods_as_in_kubernetes_and_always_the_same() {
        let daemon = made("DaemonSet", json!({}));
        assert_eq!(names(&daemon), ["web-xkf99"]);
        assert_eq!(names(&made("DaemonSet", json!({}))), names(&daemon));
        let deployed = made("Deployment", json!({"replicas": 2}));
        assert_eq!(names(&deployed), ["web-68fb6d8587-vl885", "web-68fb6d8587-l75cz"]);
        assert_eq!(names(&made("ReplicaSet", json!({}))).len(), 1);
        assert_eq!(names(&made("StatefulSet", json!({"replicas": 3}))), ["web-0", "web-1", "web-2"]);
        let later = made("StatefulSet", json!({"replicas": 2, "ordinals": {"start": 5}}));
        assert_eq!(names(&later), ["web-5", "web-6"]);
        let service = made("StatefulSet", json!({"serviceName": "db"})).remove(0);
        assert_eq!(service.spec.unwrap().subdomain.as_deref(), Some("db"));
        assert_eq!(later[0].spec.as_ref().unwrap().hostname.as_deref(), Some("web-5"));
        assert_eq!(made("Deployment", json!({"replicas": 0})), []);
        let many = made("ReplicaSet", json!({"replicas": 500}));
        assert_eq!(names(&many).into_iter().collect::<BTreeSet<_>>().len(), 500);
    }

    #[test]
    fn pods_know_whose_they_are() {
        for kind in ["DaemonSet", "Deployment", "ReplicaSet", "StatefulSet", "Job"] {
            let pod = made(kind, json!({})).remove(0);
            assert_eq!(owner(&pod), Some((kind, "web")));
            let reference = &pod.metadata.owner_references.as_ref().unwrap()[0];
            assert_eq!((reference.controller, reference.uid.len()), (Some(true), 36));
            assert_eq!(pod.metadata.labels.as_ref().unwrap()["app"], "a");
            assert_eq!(pod.metadata.annotations.as_ref().unwrap()["x"], "y");
            assert_eq!(pod.metadata.namespace.as_deref(), Some("default"));
        }
        assert_eq!(owner(&Pod::default()), None);
    }

    #[test]
    fn a_stateful_set_makes_claims_for_each_pod() {
        let value = json!({"kind": "StatefulSet", "metadata": {"name": "db", "namespace": "n"}, "spec": {
            "replicas": 2,
            "template": {"spec": {"containers": [], "volumes": [{"name": "data", "emptyDir": {}}, {"name": "x", "emptyDir": {}}]}},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"storageClassName": "fast"}}],
        }});
        let made = make(&serde_json::from_value(value).unwrap());
        let claims: Vec<_> =
            made.claims.iter().map(|claim| claim.metadata.name.as_deref().unwrap()).collect();
        assert_eq!(claims, ["data-db-0", "data-db-1"]);
        assert_eq!(made.claims[0].metadata.namespace.as_deref(), Some("n"));
        let volumes = made.pods[1].spec.as_ref().unwrap().volumes.as_ref().unwrap();
        assert_eq!((volumes.len(), volumes[0].name.as_str()), (2, "x"));
        assert_eq!(volumes[1].persistent_volume_claim.as_ref().unwrap().claim_name, "data-db-1");
    }

    #[test]
    fn a_pod_of_a_template_has_the_defaults_of_a_pod() {
        let pod = made("DaemonSet", json!({})).remove(0);
        let resources = pod.spec.unwrap().containers[0].resources.clone().unwrap();
        assert_eq!(resources.requests.unwrap()["cpu"].0, "1");
    }

    #[test]
    fn a_job_makes_as_many_pods_as_have_to_end_well() {
        let count = |spec| made("Job", spec).len();
        assert_eq!(count(json!({})), 1);
        assert_eq!(count(json!({"parallelism": 3})), 3);
        assert_eq!(count(json!({"completions": 4, "parallelism": 2})), 4);
        assert_eq!(count(json!({"completions": 4, "parallelism": 0})), 0);
        let workload = json!({"kind": "Job", "metadata": {"name": "j"}, "spec": {
            "completions": 4, "completionMode": "Indexed", "backoffLimitPerIndex": 2, "activeDeadlineSeconds": 5,
            "template": {"spec": {"containers": []}},
        }});
        let mut job: Workload = serde_json::from_value(workload).unwrap();
        crate::defaults::workload(&mut job);
        let terms = job_terms(&job).unwrap();
        assert_eq!((terms.pods, terms.parallelism, terms.backoff_limit), (4, 1, 2));
        assert_eq!((terms.limit_is_per_pod, terms.active_deadline_seconds), (true, Some(5)));
        assert_eq!(job.spec.backoff_limit, Some(i32::MAX));
        let indexed = made("Job", json!({"completions": 2, "completionMode": "Indexed"}));
        let pod = indexed[1].spec.as_ref().unwrap();
        assert!(names(&indexed)[1].starts_with("web-1-"), "{:?}", names(&indexed));
        assert_eq!(pod.hostname.as_deref(), Some("web-1"));
        assert_eq!(pod.containers[0].env.as_ref().unwrap()[0].name, "JOB_COMPLETION_INDEX");
        assert_eq!(indexed[1].metadata.labels.as_ref().unwrap()[COMPLETION_INDEX], "1");
    }

    #[test]
    fn kinds_are_named_as_for_kubectl() {
        let words = ["ds", "daemonset", "DaemonSets", "deploy", "sts", "jobs", "job", "rs", "pod", ""];
        let kinds: Vec<_> = words.iter().map(|word| kind_of_word(word).unwrap_or("-")).collect();
        let expected = [
            "DaemonSet",
            "DaemonSet",
            "DaemonSet",
            "Deployment",
            "StatefulSet",
            "Job",
            "Job",
            "ReplicaSet",
            "-",
            "-",
        ];
        assert_eq!(kinds, expected);
    }
}
