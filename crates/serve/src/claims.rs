//! PersistentVolumes and the claims on them: bound to one another as a cluster's volume controller binds what is there
//! (which goes to which is decided by [`manifest::claims`], as for `rhizome run`), kept for as long as they are used, and
//! found for the pods that name them. Nothing is provisioned: a claim that nothing fits waits.

use crate::error::with_causes;
use crate::events::{self, Happened, Reporter};
use crate::images::Obstacle;
use crate::kinds::Resource;
use crate::object::{self, Key, items, text};
use crate::server::Shared;
use crate::store::{Durability, Next, Store, WriteError};
use k8s_openapi::api::core::v1 as api;
use manifest::claims::{ClaimPlace, Unbound, choose, place, refers};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// That a claim, or a volume, has been bound to the end, as Kubernetes' controller notes it.
const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
/// What keeps a claim that a pod uses, and a volume that a claim has.
const CLAIM_PROTECTION: &str = "kubernetes.io/pvc-protection";
const VOLUME_PROTECTION: &str = "kubernetes.io/pv-protection";

/// What a volume or claim has from its beginning.
pub(crate) fn begin(resource: Resource, object: &mut Value) {
    let protection = match resource {
        Resource::PersistentVolumes => VOLUME_PROTECTION,
        _ => CLAIM_PROTECTION,
    };
    let finalizers = object::metadata_mut(object).entry("finalizers").or_insert_with(|| json!([]));
    if let Some(finalizers) = finalizers.as_array_mut()
        && !finalizers.iter().any(|had| had == protection)
    {
        finalizers.push(protection.into());
    }
    object["status"] = json!({"phase": "Pending"});
}

/// Where the claims of a pod are, by name; or what keeps it from any node.
pub(crate) fn of_pod(store: &Store, pod: &api::Pod) -> Result<BTreeMap<String, ClaimPlace>, Obstacle> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let mut places = BTreeMap::new();
    for name in names_of(pod) {
        let found = store.get(&Key::new(Resource::PersistentVolumeClaims, namespace, name));
        let claim = found.map(|stored| stored.value());
        let obstacle = |why: String| Err(Obstacle::of_scheduling(&why));
        let Some(claim) = claim else {
            return obstacle(format!("persistentvolumeclaim {name:?} not found"));
        };
        if object::is_going(&claim) {
            return obstacle(format!("persistentvolumeclaim {name:?} is being deleted"));
        }
        let volume = text(&claim, "/spec/volumeName");
        match text(&claim, "/status/phase") {
            "Bound" => {}
            "Lost" => {
                let why = format!(
                    "persistentvolumeclaim {name:?} bound to non-existent persistentvolume {volume:?}"
                );
                return obstacle(why);
            }
            _ => return obstacle("pod has unbound immediate PersistentVolumeClaims".to_owned()),
        }
        let volume = store.get(&Key::new(Resource::PersistentVolumes, "", volume));
        let volume =
            volume.and_then(|stored| serde_json::from_slice::<api::PersistentVolume>(&stored.text).ok());
        match volume {
            Some(volume) => drop(places.insert(name.to_owned(), place(&volume))),
            None => return obstacle("pod has unbound immediate PersistentVolumeClaims".to_owned()),
        }
    }
    Ok(places)
}

fn names_of(pod: &api::Pod) -> impl Iterator<Item = &str> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter_map(|volume| Some(volume.persistent_volume_claim.as_ref()?.claim_name.as_str()))
}

/// An object with its type beside it.
struct Typed<T> {
    key: Key,
    object: Value,
    typed: T,
}

fn typed<T: serde::de::DeserializeOwned>(store: &Store, resource: Resource) -> Vec<Typed<T>> {
    let read = |(key, stored): (Key, Arc<crate::store::Stored>)| {
        let typed = serde_json::from_slice(&stored.text).ok()?;
        Some(Typed { key, object: stored.value(), typed })
    };
    store.list(resource, None).0.into_iter().filter_map(read).collect()
}

/// Who binds, and what it has told of which object, so that it does not tell the same at every look.
#[derive(Debug, Default)]
pub(crate) struct Binder {
    told: HashMap<String, String>,
}

impl Binder {
    /// Brings all volumes and claims to what they should be. Steps: 1. claims that have a volume; 2. claims that want
    /// one; 3. what volumes say of themselves; 4. what was only waiting for its last user.
    pub(crate) fn look_at_all(&mut self, shared: &Arc<Shared>) {
        if let Err(error) = self.bind_all(shared).and_then(|()| let_go(shared)) {
            tracing::warn!(error = with_causes(&error), "volumes and claims cannot be looked after");
        }
    }

    fn bind_all(&mut self, shared: &Arc<Shared>) -> Result<(), WriteError> {
        let claims = typed::<api::PersistentVolumeClaim>(&shared.store, Resource::PersistentVolumeClaims);
        let volumes = typed::<api::PersistentVolume>(&shared.store, Resource::PersistentVolumes);
        let there: HashSet<&str> =
            claims.iter().map(|c| &c.object).chain(volumes.iter().map(|v| &v.object)).map(uid_of).collect();
        self.told.retain(|uid, _| there.contains(uid.as_str()));
        let (bound, unbound): (Vec<_>, Vec<_>) = claims
            .iter()
            .partition(|claim| claim.object["metadata"]["annotations"].get(BIND_COMPLETED).is_some());
        for claim in bound {
            self.look_at_bound(shared, claim, &volumes)?;
        }
        let wanting: Vec<_> = unbound.into_iter().filter(|claim| !object::is_going(&claim.object)).collect();
        let free: Vec<_> = volumes.iter().filter(|volume| !object::is_going(&volume.object)).collect();
        let found = choose(
            &free.iter().map(|volume| &volume.typed).collect::<Vec<_>>(),
            &wanting.iter().map(|claim| &claim.typed).collect::<Vec<_>>(),
        );
        for (claim, found) in wanting.into_iter().zip(found) {
            match found {
                Ok(Some(index)) => bind(shared, claim, free[index])?,
                Ok(None) => self.tell_unbound(shared, claim, &Unbound::NoVolume),
                Err(why) => self.tell_unbound(shared, claim, &why),
            }
        }
        self.look_at_volumes(shared)
    }

    /// A claim that was bound keeps its volume, or has lost it.
    fn look_at_bound(
        &mut self,
        shared: &Arc<Shared>,
        claim: &Typed<api::PersistentVolumeClaim>,
        volumes: &[Typed<api::PersistentVolume>],
    ) -> Result<(), WriteError> {
        let name = text(&claim.object, "/spec/volumeName");
        let volume = volumes.iter().find(|volume| volume.key.name == name);
        if volume.is_some_and(|volume| has(&volume.typed, &claim.typed)) {
            return Ok(());
        }
        let message = "Bound claim has lost its PersistentVolume. Data on the volume is lost!";
        self.tell(shared, &claim.object, true, "ClaimLost", message);
        change(shared, &claim.key, &claim.object, Durability::Lasting, |now| {
            now["status"] = json!({"phase": "Lost"});
        })
    }

    fn tell_unbound(
        &mut self,
        shared: &Arc<Shared>,
        claim: &Typed<api::PersistentVolumeClaim>,
        why: &Unbound,
    ) {
        let class = text(&claim.object, "/spec/storageClassName");
        let (warning, reason, message) = match why {
            // A cluster's controller waits without a word for a volume that is named.
            Unbound::NotFound(_) => return,
            Unbound::NoVolume if !class.is_empty() => {
                (true, "ProvisioningFailed", format!("storageclass.storage.k8s.io {class:?} not found"))
            }
            Unbound::NoVolume => (false, "FailedBinding", why.to_string()),
            Unbound::Taken(_) => (true, "FailedBinding", why.to_string()),
            Unbound::Mismatch { .. } => (true, "VolumeMismatch", why.to_string()),
        };
        self.tell(shared, &claim.object, warning, reason, &message);
    }

    fn tell(&mut self, shared: &Arc<Shared>, object: &Value, warning: bool, reason: &str, message: &str) {
        let told = format!("{reason} {message}");
        if self.told.insert(uid_of(object).to_owned(), told.clone()) != Some(told) {
            let what = Happened::now(warning, reason, message, None);
            let what = Happened { by: Reporter::VolumeController, ..what };
            events::record(&shared.store, &shared.facts.name, object, &what);
        }
    }

    /// What volumes say of themselves.
    fn look_at_volumes(&mut self, shared: &Arc<Shared>) -> Result<(), WriteError> {
        let claims = typed::<api::PersistentVolumeClaim>(&shared.store, Resource::PersistentVolumeClaims);
        for volume in typed::<api::PersistentVolume>(&shared.store, Resource::PersistentVolumes) {
            let given = !text(&volume.object, "/spec/claimRef/uid").is_empty();
            let claimed = given && claims.iter().any(|claim| has(&volume.typed, &claim.typed));
            let kept = text(&volume.object, "/spec/persistentVolumeReclaimPolicy") == "Retain";
            let mut status = match (given, claimed, kept) {
                (false, _, _) => json!({"phase": "Available"}),
                (true, true, _) => json!({"phase": "Bound"}),
                (true, false, true) => json!({"phase": "Released"}),
                (true, false, false) => {
                    let message = "nothing of a volume is deleted by this node: remove what is in it, and the PersistentVolume, by hand";
                    self.tell(shared, &volume.object, true, "VolumeFailedDelete", message);
                    json!({"phase": "Failed", "message": message})
                }
            };
            let before = &volume.object["status"];
            let same = before["phase"] == status["phase"];
            let since = before.get("lastPhaseTransitionTime").filter(|_| same).cloned();
            status["lastPhaseTransitionTime"] = since.unwrap_or_else(|| object::now_text().into());
            change(shared, &volume.key, &volume.object, Durability::Passing, |now| now["status"] = status)?;
        }
        Ok(())
    }
}

fn uid_of(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

/// Whether a volume is a claim's.
fn has(volume: &api::PersistentVolume, claim: &api::PersistentVolumeClaim) -> bool {
    let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    reference.is_some_and(|reference| refers(reference, claim))
}

/// First the volume, then the claim: if it ends in between, the volume still knows whose it is.
fn bind(
    shared: &Arc<Shared>,
    claim: &Typed<api::PersistentVolumeClaim>,
    volume: &Typed<api::PersistentVolume>,
) -> Result<(), WriteError> {
    let reference = json!({
        "kind": "PersistentVolumeClaim", "apiVersion": "v1",
        "namespace": claim.key.namespace, "name": claim.key.name, "uid": uid_of(&claim.object),
        "resourceVersion": text(&claim.object, "/metadata/resourceVersion"),
    });
    change(shared, &volume.key, &volume.object, Durability::Lasting, |now| {
        if now["spec"].get("claimRef").is_none() {
            annotate(now, BOUND_BY_CONTROLLER);
        }
        now["spec"]["claimRef"] = reference;
    })?;
    let spec = &volume.object["spec"];
    let status = json!({"phase": "Bound", "accessModes": spec["accessModes"], "capacity": spec["capacity"]});
    change(shared, &claim.key, &claim.object, Durability::Lasting, |now| {
        if text(now, "/spec/volumeName").is_empty() {
            annotate(now, BOUND_BY_CONTROLLER);
        }
        annotate(now, BIND_COMPLETED);
        now["spec"]["volumeName"] = volume.key.name.clone().into();
        now["status"] = status;
    })?;
    shared.pods.wake_namespace(&claim.key.namespace);
    Ok(())
}

fn annotate(object: &mut Value, annotation: &str) {
    let annotations = object::metadata_mut(object).entry("annotations").or_insert_with(|| json!({}));
    annotations[annotation] = "yes".into();
}

/// Changes an object that is still the one that was looked at.
fn change(
    shared: &Arc<Shared>,
    key: &Key,
    seen: &Value,
    durability: Durability,
    change: impl FnOnce(&mut Value),
) -> Result<(), WriteError> {
    let changed = shared.store.change::<WriteError>(key, durability, |now| {
        let mine = now.filter(|now| uid_of(now) == uid_of(seen));
        Ok(mine.map_or(Next::Keep, |mut now| {
            change(&mut now);
            Next::Put(now)
        }))
    });
    changed.map(drop)
}

/// Lets what is to go and is not used any more go: claims that no pod has, volumes that no claim has.
fn let_go(shared: &Arc<Shared>) -> Result<(), WriteError> {
    let is_going = |(key, stored): (Key, Arc<crate::store::Stored>)| {
        let object = stored.value();
        object::is_going(&object).then_some((key, object))
    };
    let going = |resource| shared.store.list(resource, None).0.into_iter().filter_map(is_going);
    for (key, _) in going(Resource::PersistentVolumeClaims) {
        let pods = shared.store.list(Resource::Pods, Some(&key.namespace)).0;
        let uses = |pod: api::Pod| names_of(&pod).any(|name| name == key.name);
        let used = pods.iter().any(|(_, pod)| serde_json::from_slice(&pod.text).is_ok_and(uses));
        if !used {
            unprotect(shared, &key, CLAIM_PROTECTION)?;
        }
    }
    for (key, volume) in going(Resource::PersistentVolumes) {
        if text(&volume, "/status/phase") != "Bound" {
            unprotect(shared, &key, VOLUME_PROTECTION)?;
        }
    }
    Ok(())
}

fn unprotect(shared: &Arc<Shared>, key: &Key, protection: &str) -> Result<(), WriteError> {
    shared.store.change::<WriteError>(key, Durability::Lasting, |now| {
        let Some(mut now) = now.filter(object::is_going) else { return Ok(Next::Keep) };
        let left: Vec<Value> =
            items(&now, "/metadata/finalizers").iter().filter(|had| *had != protection).cloned().collect();
        if left.is_empty() {
            return Ok(Next::Remove);
        }
        object::set_metadata(&mut now, "finalizers", Some(left.into()));
        Ok(Next::Put(now))
    })?;
    // Its namespace may have waited for it.
    shared.is_gone(key);
    Ok(())
}
