//! Ephemeral containers: those that the object has and the pod has not are brought to it, images first.

use super::{RETRY_FIRST, RETRY_MOST, Worker};
use crate::error::with_causes;
use crate::images::{self, Obstacle};
use crate::object::{items, text};
use agent::client::ClientError;
use agent::lifecycle::{Kind, PodState};
use k8s_openapi::api::core::v1 as api;
use manifest::cri::container::of_ephemeral;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;

/// What a worker knows of the containers that are to be added.
#[derive(Debug, Default)]
pub(super) struct Adding {
    /// The object has changed.
    pub(super) wake: Notify,
    /// Why the next one does not run yet.
    obstacle: Mutex<Option<Obstacle>>,
}

impl Adding {
    fn set(&self, obstacle: Option<Obstacle>) {
        *self.obstacle.lock().unwrap_or_else(PoisonError::into_inner) = obstacle;
    }

    /// Says in a pod's status that containers wait which the pod has not got yet.
    pub(super) fn complete(&self, status: &mut Value, spec: &Value) {
        let there = items(status, "/ephemeralContainerStatuses").to_vec();
        let known = |name: &str| there.iter().any(|status| text(status, "/name") == name);
        let obstacle = self.obstacle.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting: Vec<Value> = items(spec, "/ephemeralContainers")
            .iter()
            .filter(|container| !known(text(container, "/name")))
            .map(|container| {
                let obstacle = obstacle.as_ref().filter(|obstacle| {
                    obstacle.container.as_deref().is_none_or(|name| name == text(container, "/name"))
                });
                let why = match obstacle {
                    Some(Obstacle { reason, message, .. }) => json!({"reason": reason, "message": message}),
                    None => json!({"reason": "ContainerCreating"}),
                };
                json!({
                    "name": container["name"], "image": container["image"], "imageID": "", "ready": false,
                    "restartCount": 0, "state": {"waiting": why}, "lastState": {},
                })
            })
            .collect();
        if !waiting.is_empty() {
            status["ephemeralContainerStatuses"] = json!([there, waiting].concat());
        }
    }
}

impl Worker {
    /// Adds what is to be added, one after the other. Never ends.
    pub(super) async fn add_ephemeral(&self) {
        let mut pause = RETRY_FIRST;
        loop {
            let added = self.add_next().await;
            let failed = added.is_err();
            match added {
                Ok(true) => {
                    self.adding.set(None);
                    continue;
                }
                Ok(false) => self.adding.set(None),
                Err(obstacle) => {
                    for (reason, message) in &obstacle.events {
                        self.tell(true, reason, message, obstacle.container.as_deref());
                    }
                    self.adding.set(Some(obstacle));
                }
            }
            self.change(crate::store::Durability::Passing, |object| {
                let spec = object["spec"].clone();
                forget_waiting(&mut object["status"]);
                self.adding.complete(&mut object["status"], &spec);
            });
            tokio::select! {
                () = tokio::time::sleep(pause), if failed => pause = (pause * 2).min(RETRY_MOST),
                () = self.adding.wake.notified() => {}
            }
        }
    }

    /// Whether there was one.
    async fn add_next(&self) -> Result<bool, Obstacle> {
        let pod = self.object().and_then(|object| serde_json::from_value::<api::Pod>(object).ok());
        let Some(pod) = pod.filter(|pod| !of(pod).is_empty() && self.going().is_none()) else {
            return Ok(false);
        };
        let named = self.pod.clone();
        let Ok(view) = self.agent(move |client| client.view(&named)).await else { return Ok(false) };
        let there = of(&view.record.pod);
        let next =
            of(&pod).iter().find(|wanted| there.iter().all(|there| there.name != wanted.name)).cloned();
        let Some(container) = next else { return Ok(false) };
        let secrets = images::with_objects(&self.shared.store, &pod)?.secrets;
        let (shared, only) = (self.shared.clone(), with_only(&pod, &container));
        let pulled = tokio::task::spawn_blocking(move || images::ensure(&shared, &only, &secrets)).await;
        pulled.unwrap_or_else(|error| Err(Obstacle::of_pod("Failed", error.to_string())))?;
        let (named, name) = (self.pod.clone(), container.name.clone());
        match self.agent(move |client| client.add_ephemeral_container(&named, container)).await {
            Ok(_) => Ok(true),
            Err(error) => Err(cannot_add(name, &error)),
        }
    }

    /// Whether the pod has ephemeral containers that the object has not.
    fn others_added(&self, state: &PodState) -> bool {
        let added: Vec<&str> =
            state.containers.iter().filter(|c| c.kind == Kind::Ephemeral).map(|c| c.name.as_str()).collect();
        let object = (!added.is_empty()).then(|| self.object()).flatten().unwrap_or_default();
        let known = items(&object, "/spec/ephemeralContainers");
        object.is_object() && added.iter().any(|name| known.iter().all(|known| text(known, "/name") != *name))
    }

    /// Takes into the object what was added by others (`rhizome debug`).
    pub(super) async fn take_ephemeral(&self, state: &PodState) {
        if !self.others_added(state) {
            return;
        }
        let named = self.pod.clone();
        let Ok(view) = self.agent(move |client| client.view(&named)).await else { return };
        let Ok(containers) = serde_json::to_value(of(&view.record.pod)) else { return };
        self.change(crate::store::Durability::Lasting, |object| {
            let mut all = items(object, "/spec/ephemeralContainers").to_vec();
            let news = containers.as_array().into_iter().flatten();
            for new in news {
                if all.iter().all(|known| known["name"] != new["name"]) {
                    all.push(new.clone());
                }
            }
            object["spec"]["ephemeralContainers"] = all.into();
        });
    }
}

fn of(pod: &api::Pod) -> &[api::EphemeralContainer] {
    pod.spec.as_ref().and_then(|spec| spec.ephemeral_containers.as_deref()).unwrap_or_default()
}

/// A record with the containers that were added since it was read.
pub(super) fn with_those_of<'a>(record: &'a api::Pod, object: Option<&Value>) -> Cow<'a, api::Pod> {
    let added = object.map_or(&Value::Null, |object| &object["spec"]["ephemeralContainers"]);
    let Ok(added) = serde_json::from_value::<Vec<api::EphemeralContainer>>(added.clone()) else {
        return Cow::Borrowed(record);
    };
    let mut record = record.clone();
    record.spec.get_or_insert_default().ephemeral_containers = Some(added);
    Cow::Owned(record)
}

/// The pod as if this container were all that there is of it: what is to be pulled for it.
fn with_only(pod: &api::Pod, container: &api::EphemeralContainer) -> api::Pod {
    let mut only = pod.clone();
    let spec = only.spec.get_or_insert_default();
    spec.containers = vec![of_ephemeral(container)];
    (spec.init_containers, spec.volumes) = (None, None);
    only
}

fn cannot_add(container: String, error: &ClientError) -> Obstacle {
    let message = with_causes(error);
    let told = Obstacle::of_pod("CreateContainerError", message.clone());
    let events = vec![("Failed".to_owned(), format!("Error: {message}"))];
    Obstacle { container: Some(container), events, ..told }
}

/// Takes away what was said of containers that waited.
fn forget_waiting(status: &mut Value) {
    // By index, what is not there would be made, as null.
    if let Some(Value::Array(all)) = status.get_mut("ephemeralContainerStatuses") {
        all.retain(|status| status["imageID"] != "" || status["state"]["waiting"].is_null());
    }
}
