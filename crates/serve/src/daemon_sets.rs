//! DaemonSets: one pod each, since there is one node. The pod is made from the template, of its generation, and made again
//! when it is deleted or the template changes; it goes with its DaemonSet.
//!
//! It is looked at all of them whenever something in the store has changed ([`crate::controllers`]).

use crate::decode::{DeleteOptions, workload_of};
use crate::delete;
use crate::error::Result;
use crate::kinds::Resource;
use crate::object::{self, Key, items, text};
use crate::server::Shared;
use crate::store::{Durability, Next, WriteError};
use crate::verbs::create_object;
use serde_json::{Value, json};
use std::sync::Arc;

/// The label by which a pod is known to be of a template's generation, as in Kubernetes.
const GENERATION: &str = "pod-template-generation";
/// Brings the pods to what their DaemonSets are.
pub(crate) fn look_at_all(shared: &Arc<Shared>) {
    let sets: Vec<(Key, Value)> = shared
        .store
        .list(Resource::DaemonSets, None)
        .0
        .into_iter()
        .map(|(key, stored)| (key, stored.value()))
        .collect();
    let pods = owned_pods(shared);
    for (key, pod) in &pods {
        let owner = owner(pod).unwrap_or_default();
        let is_there = sets.iter().any(|(_, set)| text(set, "/metadata/uid") == owner);
        if !is_there && !object::is_going(pod) {
            let _ = delete::delete(shared, key, &DeleteOptions::default());
        }
    }
    for (key, set) in &sets {
        let own: Vec<&(Key, Value)> =
            pods.iter().filter(|(_, pod)| owner(pod) == Some(text(set, "/metadata/uid"))).collect();
        if let Err(error) = look_at(shared, key, set, &own) {
            tracing::warn!(set = %key, error = error.message(), "a DaemonSet cannot be looked after");
        }
    }
}

/// The pods that some DaemonSet of this node has made.
fn owned_pods(shared: &Shared) -> Vec<(Key, Value)> {
    let pods = shared.store.list(Resource::Pods, None).0;
    // Most pods are nobody's: they need not be read whole.
    let may_be = |text: &[u8]| text.windows(GENERATION.len()).any(|window| window == GENERATION.as_bytes());
    pods.into_iter()
        .filter(|(_, stored)| may_be(&stored.text))
        .map(|(key, stored)| (key, stored.value()))
        .filter(|(_, pod)| owner(pod).is_some())
        .collect()
}

/// The uid of the DaemonSet that a pod is of. Those that `rhizome run` makes have no generation, and are left alone.
fn owner(pod: &Value) -> Option<&str> {
    pod["metadata"]["labels"].get(GENERATION)?;
    let owner = items(pod, "/metadata/ownerReferences")
        .iter()
        .find(|owner| owner["controller"] == true && owner["kind"] == "DaemonSet")?;
    owner["uid"].as_str()
}

fn look_at(shared: &Arc<Shared>, key: &Key, set: &Value, own: &[&(Key, Value)]) -> Result<()> {
    let generation = set["metadata"]["generation"].as_i64().unwrap_or(1).to_string();
    let is_current = |pod: &Value| pod["metadata"]["labels"][GENERATION] == generation.as_str();
    let by_hand = set["spec"]["updateStrategy"]["type"] == "OnDelete";
    for (key, _) in own.iter().filter(|(_, pod)| !by_hand && !is_current(pod) && !object::is_going(pod)) {
        delete::delete(shared, key, &DeleteOptions::default())?;
    }
    if own.is_empty()
        && let Some(pod) = pod_of(set, &generation)
    {
        create_object(shared, Resource::Pods, &key.namespace, pod, false)?;
    }
    let living: Vec<&Value> = own.iter().map(|(_, pod)| pod).filter(|pod| !object::is_going(pod)).collect();
    let count = |test: &dyn Fn(&Value) -> bool| living.iter().filter(|pod| test(pod)).count().min(1);
    let ready = |pod: &Value| {
        items(pod, "/status/conditions").iter().any(|c| c["type"] == "Ready" && c["status"] == "True")
    };
    let status = json!({
        "currentNumberScheduled": count(&|_| true),
        "numberMisscheduled": 0,
        "desiredNumberScheduled": 1,
        "numberReady": count(&ready),
        "observedGeneration": set["metadata"]["generation"],
        "updatedNumberScheduled": count(&is_current),
        "numberAvailable": count(&ready),
        "numberUnavailable": 1 - count(&ready),
    });
    let uid = text(set, "/metadata/uid").to_owned();
    shared.store.change::<WriteError>(key, Durability::Passing, |now| {
        let mine = now.filter(|now| text(now, "/metadata/uid") == uid);
        Ok(mine.map_or(Next::Keep, |mut now| {
            now["status"] = status;
            Next::Put(now)
        }))
    })?;
    Ok(())
}

/// The pod of a DaemonSet, as it is to be created.
fn pod_of(set: &Value, generation: &str) -> Option<Value> {
    let workload = workload_of(set)?;
    let mut pod = manifest::workloads::make(&workload).pods.into_iter().next()?;
    manifest::defaults::admit(&mut pod);
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(GENERATION.to_owned(), generation.to_owned());
    for owner in pod.metadata.owner_references.iter_mut().flatten() {
        text(set, "/metadata/uid").clone_into(&mut owner.uid);
    }
    // Another one each time, as a controller's: the last may not be gone yet.
    pod.metadata.name = None;
    pod.metadata.generate_name = Some(format!("{}-", text(set, "/metadata/name")));
    let mut object = serde_json::to_value(&pod).ok()?;
    object::set_metadata(&mut object, "creationTimestamp", None);
    Some(object)
}

/// Makes the pods of a DaemonSet nobody's, so that they stay when it goes.
pub(crate) fn let_go(shared: &Arc<Shared>, key: &Key) {
    let Some(set) = shared.store.get(key) else { return };
    let set = set.value();
    let uid = text(&set, "/metadata/uid");
    for (key, _) in owned_pods(shared).into_iter().filter(|(_, pod)| owner(pod) == Some(uid)) {
        let freed = shared.store.change::<WriteError>(&key, Durability::Lasting, |now| {
            Ok(now.map_or(Next::Keep, |mut pod| {
                object::set_metadata(&mut pod, "ownerReferences", None);
                Next::Put(pod)
            }))
        });
        if let Err(error) = freed {
            tracing::warn!(pod = %key, %error, "a pod cannot be let go");
        }
    }
}
