//! Everything that can be read of a source, whatever is wrong with it: for rules that look at manifests which nobody
//! is about to run.

use super::{Loader, Options, Place, Problem, Source, ValidationMode, decode};
use crate::claims::{self, ClaimPlace};
use crate::problem::ObjectId;
use crate::source::Span;
use crate::tree::{Mapping, Node, Value};
use k8s_openapi::api::core::v1::{HostPathVolumeSource, PersistentVolume, PersistentVolumeClaim, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::DeserializeOwned;
use std::collections::HashMap;

/// An object, of any kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Surveyed {
    /// Kind and name.
    pub id: ObjectId,
    /// Which document of the source, from 0; items of a List share theirs.
    pub document: usize,
    /// Which object of the document, from 0.
    pub item: usize,
    /// All of it, as it is written.
    pub node: Node,
    /// The Pod that it is or makes.
    pub pod: Option<PodTemplate>,
}

/// The Pod that an object is, or the one that it makes.
#[derive(Debug, Clone, PartialEq)]
pub struct PodTemplate {
    /// API path of the PodSpec: `spec`, `spec.template.spec`, `spec.jobTemplate.spec.template.spec`.
    pub path: &'static str,
    /// As written, without defaults, without what does not fit the type.
    pub spec: Box<PodSpec>,
}

/// What [`survey`] found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Survey {
    /// Every object that has a kind, in the order of the source.
    pub objects: Vec<Surveyed>,
    /// All that [`super::load`] says against the source, unknown fields and repeated keys included.
    pub problems: Vec<Problem>,
}

/// Reads all that can be read of a source. Kinds that are not run here are validated as well as the others.
#[must_use]
pub fn survey(source: &Source<'_>) -> Survey {
    // So that an unknown field does not keep the rest from being validated.
    let options = Options { validation: ValidationMode::Warn, namespace: None };
    let mut loader = Loader { surveyed: Some(Vec::new()), ..Loader::new(&options) };
    loader.source(source);
    let mut problems = loader.loaded.warnings;
    problems.append(&mut loader.problems);
    Survey { objects: loader.surveyed.unwrap_or_default(), problems }
}

/// Puts what a claim is bound to in the place of the claim, in the Pods of all these objects: the folder of a
/// PersistentVolume that is one of the node's, if that is among them. The volumes of a StatefulSet's claim templates are
/// put in, as its controller does. A claim whose volume is not here, or is some driver's, stays a claim.
pub fn look_through_claims(objects: &mut [&mut Surveyed]) {
    for object in objects.iter_mut().filter(|object| object.id.kind == "StatefulSet") {
        object.add_templates();
    }
    let claims: Vec<PersistentVolumeClaim> = objects.iter().flat_map(|object| object.claims()).collect();
    let volumes: Vec<PersistentVolume> = objects
        .iter()
        .filter_map(|object| object.read_as("PersistentVolume", "v1.PersistentVolume"))
        .collect();
    if claims.is_empty() || volumes.is_empty() {
        return;
    }
    let places = claims::bind(&volumes.iter().collect::<Vec<_>>(), &claims.iter().collect::<Vec<_>>());
    let mut found: HashMap<(String, String), HostPathVolumeSource> = HashMap::new();
    for (claim, place) in claims.into_iter().zip(places) {
        if let Ok(ClaimPlace::HostPath(source) | ClaimPlace::Local(source)) = place {
            let ObjectMeta { namespace, name, .. } = claim.metadata;
            found.insert((namespace.unwrap_or_default(), name.unwrap_or_default()), source);
        }
    }
    for object in objects {
        let namespace = namespace_of(&object.id);
        let Some(pod) = &mut object.pod else { continue };
        let mut read_only = Vec::new();
        for volume in pod.spec.volumes.iter_mut().flatten() {
            let Some(claim) = &volume.persistent_volume_claim else { continue };
            let Some(source) = found.get(&(namespace.clone(), claim.claim_name.clone())) else { continue };
            if claim.read_only == Some(true) {
                read_only.push(volume.name.clone());
            }
            (volume.host_path, volume.persistent_volume_claim) = (Some(source.clone()), None);
        }
        let spec = pod.spec.as_mut();
        let of_init = spec.init_containers.iter_mut().flatten().map(|container| &mut container.volume_mounts);
        let of_main = spec.containers.iter_mut().map(|container| &mut container.volume_mounts);
        for mount in of_init.chain(of_main).flatten().flatten() {
            if read_only.contains(&mount.name) {
                mount.read_only = Some(true);
            }
        }
    }
}

fn namespace_of(id: &ObjectId) -> String {
    if id.namespace.is_empty() { "default".to_owned() } else { id.namespace.clone() }
}

impl Surveyed {
    /// The object as one of these types.
    fn read_as<T: DeserializeOwned>(&self, kind: &str, schema: &'static str) -> Option<T> {
        if self.id.api_version != "v1" || self.id.kind != kind {
            return None;
        }
        serde_json::from_value(decode::decode(&self.node, schema).json).ok()
    }

    /// The claims that it is or makes for its first Pod.
    fn claims(&self) -> Vec<PersistentVolumeClaim> {
        let own = self.read_as::<PersistentVolumeClaim>("PersistentVolumeClaim", "v1.PersistentVolumeClaim");
        let mut claims: Vec<PersistentVolumeClaim> = own.into_iter().collect();
        claims.extend(self.templates().into_iter().map(|mut template| {
            let name = template.metadata.name.take().unwrap_or_default();
            template.metadata.name = Some(format!("{name}-{}-0", self.id.name));
            template
        }));
        for claim in &mut claims {
            claim.metadata.namespace = Some(namespace_of(&self.id));
        }
        claims
    }

    /// The claim templates of a StatefulSet.
    fn templates(&self) -> Vec<PersistentVolumeClaim> {
        if self.id.kind != "StatefulSet" {
            return Vec::new();
        }
        let Some(Value::Sequence(items)) =
            self.node.find("spec.volumeClaimTemplates").map(|found| &found.value)
        else {
            return Vec::new();
        };
        let claim = |node| decode::decode(node, "v1.PersistentVolumeClaim").json;
        items.iter().filter_map(|node| serde_json::from_value(claim(node)).ok()).collect()
    }

    fn add_templates(&mut self) {
        let templates = self.templates();
        let name = format!("{}-0", self.id.name);
        if let Some(pod) = &mut self.pod {
            claims::of_templates(&templates, None, &name, &mut pod.spec);
        }
    }

    pub(super) fn read(place: &Place<'_>, id: &ObjectId, node: &Node) -> Self {
        let path = match (id.api_version.as_str(), id.kind.as_str()) {
            ("v1", "Pod") => Some("spec"),
            ("apps/v1", "DaemonSet" | "Deployment" | "ReplicaSet" | "StatefulSet") | ("batch/v1", "Job") => {
                Some("spec.template.spec")
            }
            ("batch/v1", "CronJob") => Some("spec.jobTemplate.spec.template.spec"),
            _ => None,
        };
        let pod = path.and_then(|path| {
            let spec = decode::decode(node.find(path)?, "v1.PodSpec").json;
            let spec = serde_json::from_value(spec).ok()?;
            Some(PodTemplate { path, spec })
        });
        Self { id: id.clone(), document: place.document, item: place.item, node: node.clone(), pod }
    }

    /// An annotation of the object and that of its Pod template, as far as they are there: their texts and places.
    #[must_use]
    pub fn annotations(&self, name: &str) -> Vec<(&str, Span)> {
        let template = self.pod.as_ref().and_then(|pod| pod.path.strip_suffix(".spec"));
        let holders = [Some(""), template];
        holders
            .into_iter()
            .flatten()
            .filter_map(|holder| {
                let value = self.node.find(holder)?.find("metadata.annotations")?.get(name)?;
                Some((value.as_str()?, value.span))
            })
            .collect()
    }

    /// The mapping in which the last field of an API path stands.
    #[must_use]
    pub fn mapping_of(&self, path: &str) -> Option<&Mapping> {
        let end = path.rfind('.').map_or("", |at| &path[..at]);
        match &self.node.find(end)?.value {
            Value::Mapping(mapping) => Some(mapping),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survey_of(text: &str) -> Survey {
        survey(&Source { name: "f.yaml", bytes: text.as_bytes() })
    }

    #[test]
    fn pods_of_workloads_are_found_whatever_is_wrong() {
        let text = "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: c, annotations: {a: b}}\nspec:\n  schedule: '* * * * *'\n  jobTemplate:\n    spec:\n      template:\n        metadata: {annotations: {a: c}}\n        spec:\n          restartPolicy: Never\n          hostnetwork: true\n          containers:\n          - name: main\n            image: busybox\n            volumeMounts: [{name: v, mountPath: /m, mountPropagation: Shared}]\n          volumes: [{name: v, emptyDir: {}}]\n";
        let survey = survey_of(text);
        let object = &survey.objects[0];
        let pod = object.pod.as_ref().unwrap();
        assert_eq!(pod.path, "spec.jobTemplate.spec.template.spec");
        assert_eq!(pod.spec.containers[0].volume_mounts.as_ref().unwrap()[0].mount_path, "/m");
        let annotations: Vec<_> = object.annotations("a").into_iter().map(|(text, _)| text).collect();
        assert_eq!(annotations, ["b", "c"]);
        let messages: Vec<_> = survey.problems.iter().map(|problem| problem.message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "unknown field \"spec.jobTemplate.spec.template.spec.hostnetwork\"",
                "spec.jobTemplate.spec.template.spec.containers[0].volumeMounts.mountPropagation: Unsupported value: \"Shared\": supported values: \"Bidirectional\", \"HostToContainer\", \"None\"",
            ]
        );
    }

    #[test]
    fn what_is_no_object_is_only_a_problem() {
        let survey = survey_of("replicas: 1\n---\nkind: Pod\napiVersion: v1\nspec: 3\n");
        assert_eq!(survey.objects.len(), 1);
        assert_eq!(survey.problems.len(), 3, "{:?}", survey.problems);
    }
}
