//! What a pod needs before it can be made: its images, by their pull policies, and the ConfigMaps and Secrets that it names;
//! or the obstacle, in the kubelet's words.

use crate::events::{self, Happened, Reporter};
use crate::kinds::Resource;
use crate::object::Key;
use crate::server::Shared;
use crate::store::Store;
use agent::record::NewPod;
use image::{DockerConfig, PullDecision, PullOptions, PullPolicy, Registries, message};
use k8s_openapi::api::core::v1 as api;
use manifest::images::PodImage;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

/// Why a pod is not made yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Obstacle {
    /// Of which container; none if of the pod.
    pub(crate) container: Option<String>,
    /// Why that container waits: `ErrImagePull`.
    pub(crate) reason: String,
    pub(crate) message: String,
    /// Reasons and messages of the warnings to be told.
    pub(crate) events: Vec<(String, String)>,
    /// Who tells them: what the scheduler tells keeps the pod from being any node's.
    pub(crate) by: Reporter,
}

impl Obstacle {
    pub(crate) fn of_pod(reason: &str, message: impl Into<String>) -> Obstacle {
        let message = message.into();
        let events = vec![(reason.to_owned(), message.clone())];
        Obstacle { container: None, reason: reason.to_owned(), message, events, by: Reporter::Kubelet }
    }

    /// Why a pod cannot be this node's, in the words of a cluster's scheduler that has no other.
    pub(crate) fn of_scheduling(why: &str) -> Obstacle {
        let message = format!(
            "0/1 nodes are available: {why}. no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
        );
        Obstacle { by: Reporter::Scheduler, ..Obstacle::of_pod("FailedScheduling", message) }
    }

    fn of_container(
        container: Option<&str>,
        reason: &str,
        message: String,
        events: Vec<(&str, String)>,
    ) -> Obstacle {
        let events = events.into_iter().map(|(reason, message)| (reason.to_owned(), message)).collect();
        let by = Reporter::Kubelet;
        Obstacle { container: container.map(str::to_owned), reason: reason.to_owned(), message, events, by }
    }
}

/// Pulls what is to be pulled, image by image. As `rhizome run`, an image that was imported is not asked for.
pub(crate) fn ensure(
    shared: &Shared,
    pod: &api::Pod,
    secrets: &BTreeMap<String, api::Secret>,
) -> Result<(), Obstacle> {
    let store = image::Store::open(shared.root.images());
    let store = store.map_err(|error| Obstacle::of_pod("Failed", message::cause(&error)))?;
    let Some(spec) = &pod.spec else { return Ok(()) };
    for image in manifest::images::of(spec) {
        ensure_one(shared, &store, pod, image, secrets)?;
    }
    Ok(())
}

fn ensure_one(
    shared: &Shared,
    store: &image::Store,
    pod: &api::Pod,
    image: PodImage<'_>,
    secrets: &BTreeMap<String, api::Secret>,
) -> Result<(), Obstacle> {
    let PodImage { reference, policy, container } = image;
    let tell = |reason: &str, text: &str| {
        if let Ok(object) = serde_json::to_value(pod) {
            let what = Happened::now(false, reason, text, container);
            events::record(&shared.store, &shared.facts.name, &object, &what);
        }
    };
    let obstacle =
        |reason: &str, text: String, events| Err(Obstacle::of_container(container, reason, text, events));
    match store.pull_decision(reference, policy.parse().unwrap_or(PullPolicy::IfNotPresent)) {
        Err(error @ image::Error::Reference { .. }) => {
            let text = message::invalid_name(reference, &error);
            let events =
                vec![("InspectFailed", text.clone()), ("Failed", "Error: InvalidImageName".to_owned())];
            return obstacle("InvalidImageName", text, events);
        }
        Err(error) => return obstacle("ImageInspectError", message::cause(&error), Vec::new()),
        // Its supervisor tells that it is there.
        Ok(PullDecision::Use) => {}
        Ok(PullDecision::Refuse) => {
            let text = message::never(reference);
            let events =
                vec![("ErrImageNeverPull", text.clone()), ("Failed", "Error: ErrImageNeverPull".to_owned())];
            return obstacle("ErrImageNeverPull", text, events);
        }
        Ok(PullDecision::Pull) => {
            tell("Pulling", &message::pulling(reference));
            let begun = Instant::now();
            let pulled = options(&shared.root.lib, pod, secrets)
                .and_then(|options| store.pull(reference, &options, &|_| {}));
            match pulled {
                Ok(pulled) => {
                    let took = begun.elapsed();
                    tell("Pulled", &message::pulled(reference, took, took, pulled.downloaded));
                }
                Err(error) => {
                    let text = message::failed(reference, &error);
                    let events = vec![("Failed", text), ("Failed", "Error: ErrImagePull".to_owned())];
                    return obstacle("ErrImagePull", message::cause(&error), events);
                }
            }
        }
    }
    Ok(())
}

/// How images are pulled for a pod: the root's registries, or the machine's, and the pod's secrets.
fn options(
    lib: &Path,
    pod: &api::Pod,
    secrets: &BTreeMap<String, api::Secret>,
) -> Result<PullOptions, image::Error> {
    let registries = Registries::of_root(lib)?;
    let wanted = pod.spec.as_ref().and_then(|spec| spec.image_pull_secrets.as_deref()).unwrap_or_default();
    let credentials = wanted.iter().filter_map(|reference| {
        let data = secrets.get(&reference.name)?.data.as_ref()?;
        let value = data.get(".dockerconfigjson").or_else(|| data.get(".dockercfg"))?;
        DockerConfig::parse_secret(&value.0, "pull secret").ok()
    });
    Ok(PullOptions { registries, secrets: credentials.collect(), ..PullOptions::default() })
}

/// A ConfigMap or Secret that a pod names.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named<'a> {
    resource: Resource,
    name: &'a str,
    optional: bool,
    /// The volume or the container that wants it; none for who only pulls.
    by: By<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By<'a> {
    Volume(&'a str),
    Container(&'a str),
    Pull,
}

/// The pod with the objects that its volumes and variables are made from.
pub(crate) fn with_objects(store: &Store, pod: &api::Pod) -> Result<NewPod, Obstacle> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let mut new = NewPod { pod: pod.clone(), ..NewPod::default() };
    for named in named(pod) {
        let found = store.get(&Key::new(named.resource, namespace, named.name));
        match (found, named.resource) {
            (Some(stored), Resource::ConfigMaps) => insert(&mut new.config_maps, named.name, &stored.text),
            (Some(stored), _) => insert(&mut new.secrets, named.name, &stored.text),
            (None, _) if named.optional || named.by == By::Pull => {}
            (None, resource) => return Err(missing(resource, &named)),
        }
    }
    Ok(new)
}

fn insert<T: DeserializeOwned>(into: &mut BTreeMap<String, T>, name: &str, text: &[u8]) {
    into.extend(serde_json::from_slice(text).ok().map(|object| (name.to_owned(), object)));
}

fn missing(resource: Resource, named: &Named<'_>) -> Obstacle {
    let text = format!("{} {:?} not found", resource.about().singular, named.name);
    match named.by {
        By::Volume(volume) => {
            let text = format!("MountVolume.SetUp failed for volume {volume:?} : {text}");
            Obstacle::of_pod("FailedMount", text)
        }
        By::Container(container) => {
            let events = vec![("Failed", format!("Error: {text}"))];
            Obstacle::of_container(Some(container), "CreateContainerConfigError", text, events)
        }
        By::Pull => Obstacle::of_pod("FailedToRetrieveImagePullSecret", text),
    }
}

fn named(pod: &api::Pod) -> Vec<Named<'_>> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let mut found = Vec::new();
    let mut add = |resource, name, optional: Option<bool>, by| {
        found.push(Named { resource, name, optional: optional.unwrap_or(false), by });
    };
    for volume in spec.volumes.iter().flatten() {
        let by = By::Volume(&volume.name);
        if let Some(source) = &volume.config_map {
            add(Resource::ConfigMaps, source.name.as_str(), source.optional, by);
        }
        if let Some(source) = &volume.secret {
            add(Resource::Secrets, source.secret_name.as_deref().unwrap_or_default(), source.optional, by);
        }
        let projected = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        for source in projected {
            if let Some(source) = &source.config_map {
                add(Resource::ConfigMaps, source.name.as_str(), source.optional, by);
            }
            if let Some(source) = &source.secret {
                add(Resource::Secrets, source.name.as_str(), source.optional, by);
            }
        }
    }
    for container in spec.init_containers.iter().flatten().chain(&spec.containers) {
        let by = By::Container(&container.name);
        for source in container.env_from.iter().flatten() {
            if let Some(source) = &source.config_map_ref {
                add(Resource::ConfigMaps, source.name.as_str(), source.optional, by);
            }
            if let Some(source) = &source.secret_ref {
                add(Resource::Secrets, source.name.as_str(), source.optional, by);
            }
        }
        for from in container.env.iter().flatten().filter_map(|env| env.value_from.as_ref()) {
            if let Some(source) = &from.config_map_key_ref {
                add(Resource::ConfigMaps, source.name.as_str(), source.optional, by);
            }
            if let Some(source) = &from.secret_key_ref {
                add(Resource::Secrets, source.name.as_str(), source.optional, by);
            }
        }
    }
    for secret in spec.image_pull_secrets.iter().flatten() {
        add(Resource::Secrets, secret.name.as_str(), Some(true), By::Pull);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Durability, Next, WriteError};
    use serde_json::json;

    #[test]
    fn what_a_pod_names_is_gathered_or_missed_in_the_kubelets_words() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("journal")).unwrap();
        let pod: api::Pod = serde_json::from_value(json!({
            "metadata": {"name": "a", "namespace": "default"},
            "spec": {
                "volumes": [{"name": "v", "configMap": {"name": "c"}}, {"name": "w", "secret": {"secretName": "s", "optional": true}}],
                "containers": [{"name": "main", "env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "k", "key": "x"}}}]}],
            },
        }))
        .unwrap();
        let put = |resource, name: &str| {
            let object = json!({"metadata": {"name": name, "namespace": "default"}});
            let key = Key::new(resource, "default", name);
            store.change::<WriteError>(&key, Durability::Passing, |_| Ok(Next::Put(object))).unwrap();
        };
        let missed = with_objects(&store, &pod).unwrap_err();
        assert_eq!(missed.message, "MountVolume.SetUp failed for volume \"v\" : configmap \"c\" not found");
        put(Resource::ConfigMaps, "c");
        let missed = with_objects(&store, &pod).unwrap_err();
        assert_eq!(
            (missed.reason.as_str(), missed.message.as_str()),
            ("CreateContainerConfigError", "secret \"k\" not found")
        );
        assert_eq!(missed.events, [("Failed".to_owned(), "Error: secret \"k\" not found".to_owned())]);
        put(Resource::Secrets, "k");
        let new = with_objects(&store, &pod).unwrap();
        assert_eq!((new.config_maps.len(), new.secrets.len()), (1, 1));
    }
}
