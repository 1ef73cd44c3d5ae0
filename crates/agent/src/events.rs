//! A pod's events in the API's shape (`v1.Event`), for `kubectl get events`, `describe` and whoever watches. Pure.
//!
//! They are part of the pod's state ([`PodState::events`]): bounded (the 64 that came last), on the disk with it, and in
//! every status that a subscriber gets. So whoever watches a pod's status ([`crate::client::Watch`]) has its events, and
//! [`crate::client::PodView::events`] gives them to a command. They go with the pod.
//!
//! The shape is the kubelet's: `involvedObject` with `fieldPath` (`spec.containers{NAME}`, `spec.initContainers{NAME}`),
//! `reason`, `message`, `type` (`Normal`, `Warning`), `count`, `firstTimestamp`, `lastTimestamp`, `source` and
//! `reportingComponent`. `Scheduled` alone has the scheduler's. What the user can do about it is the annotation
//! `rhizome.dev/hint`. An event that comes again keeps name and uid, and has another `count` and `lastTimestamp`: that is
//! all that ever changes of one. `resourceVersion` is left to whoever serves them.
//!
//! They are given by when they came last, the oldest first.

use crate::lifecycle::{Kind, PodEvent, PodState, SCHEDULED};
use crate::record::{PodKey, whole_seconds};
use k8s_openapi::api::core::v1 as api;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, Time};
use std::collections::BTreeMap;

/// The annotation with what the user can do about an event.
pub const HINT: &str = "rhizome.dev/hint";

const KUBELET: &str = "kubelet";
const SCHEDULER: &str = "default-scheduler";

/// The events of a pod.
pub fn of_pod(pod: &api::Pod, state: &PodState) -> Vec<api::Event> {
    state.events.iter().map(|event| one(pod, state, event)).collect()
}

fn one(pod: &api::Pod, state: &PodState, event: &PodEvent) -> api::Event {
    let key = PodKey::of(pod);
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    let node = state.rules.node.clone();
    let hint = |hint: &String| BTreeMap::from([(HINT.to_owned(), hint.clone())]);
    let at = |time| Some(Time(whole_seconds(time)));
    let common = api::Event {
        metadata: ObjectMeta {
            // Unique: no other event of this pod has the number, and no other pod the uid.
            name: Some(format!("{}.{}{:08x}", key.name, uid.get(..8).unwrap_or_default(), event.number)),
            uid: Some(format!("{}{:012x}", uid.get(..24).unwrap_or_default(), event.number)),
            namespace: Some(key.namespace.clone()),
            creation_timestamp: at(event.first),
            annotations: event.hint.as_ref().map(hint),
            ..ObjectMeta::default()
        },
        involved_object: api::ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Pod".into()),
            name: Some(key.name),
            namespace: Some(key.namespace),
            uid: pod.metadata.uid.clone(),
            field_path: event.container.as_deref().map(|name| field_path(state, name)),
            resource_version: None,
        },
        reason: Some(event.reason.clone()),
        message: Some(event.message.clone()),
        type_: Some(if event.warning { "Warning" } else { "Normal" }.to_owned()),
        ..api::Event::default()
    };
    if event.reason == SCHEDULED {
        return api::Event {
            action: Some("Binding".into()),
            event_time: Some(MicroTime(event.first)),
            reporting_component: Some(SCHEDULER.into()),
            reporting_instance: Some(format!("{SCHEDULER}-{node}")),
            ..common
        };
    }
    api::Event {
        count: Some(i32::try_from(event.count).unwrap_or(i32::MAX)),
        first_timestamp: at(event.first),
        last_timestamp: at(event.last),
        source: Some(api::EventSource { component: Some(KUBELET.into()), host: Some(node.clone()) }),
        reporting_component: Some(KUBELET.into()),
        reporting_instance: Some(node),
        ..common
    }
}

fn field_path(state: &PodState, container: &str) -> String {
    let list = match state.container(container).map(|c| c.kind) {
        Some(Kind::Init | Kind::Sidecar) => "initContainers",
        Some(Kind::Ephemeral) => "ephemeralContainers",
        Some(Kind::Main) | None => "containers",
    };
    format!("spec.{list}{{{container}}}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::{Event, Now, Uptime, step};
    use expect_test::expect;

    #[test]
    fn as_the_kubelet_sends_them() {
        let pod: api::Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "good", "namespace": "ev", "uid": "0a1b2c3d-0000-4000-8000-00000000abcd"},
            "spec": {"nodeName": "node1", "initContainers": [{"name": "setup", "image": "busybox"}],
                     "containers": [{"name": "main"}]},
        }))
        .unwrap();
        let now = Now { wall: "2026-11-23T06:10:00.123456789Z".parse().unwrap(), uptime: Uptime(0) };
        let started = Event::ContainerStarted {
            name: "setup".into(),
            id: String::new(),
            image: String::new(),
            image_id: String::new(),
        };
        let events = [Event::Begin, Event::VolumesReady, Event::SandboxReady, started];
        let state = PodState::new(crate::status::rules(&pod));
        let state = events.into_iter().fold(state, |state, event| step(state, event, now).0);
        let all = of_pod(&pod, &state);
        let lines: Vec<String> = all
            .iter()
            .map(|e| {
                let field = e.involved_object.field_path.clone().unwrap_or("-".into());
                format!("{} {field} {}", e.reason.as_deref().unwrap(), e.message.as_deref().unwrap())
            })
            .collect();
        expect![[r#"
            Scheduled - Successfully assigned ev/good to node1
            Pulled spec.initContainers{setup} Container image "busybox" already present on machine and can be accessed by the pod
            Created spec.initContainers{setup} Container created
            Started spec.initContainers{setup} Container started"#]]
        .assert_eq(&lines.join("\n"));
        expect![[r#"
            {
              "apiVersion": "v1",
              "kind": "Event",
              "count": 1,
              "firstTimestamp": "2026-11-23T06:10:00Z",
              "involvedObject": {
                "apiVersion": "v1",
                "fieldPath": "spec.initContainers{setup}",
                "kind": "Pod",
                "name": "good",
                "namespace": "ev",
                "uid": "0a1b2c3d-0000-4000-8000-00000000abcd"
              },
              "lastTimestamp": "2026-11-23T06:10:00Z",
              "message": "Container started",
              "metadata": {
                "creationTimestamp": "2026-11-23T06:10:00Z",
                "name": "good.0a1b2c3d00000004",
                "namespace": "ev",
                "uid": "0a1b2c3d-0000-4000-8000-000000000004"
              },
              "reason": "Started",
              "reportingComponent": "kubelet",
              "reportingInstance": "node1",
              "source": {
                "component": "kubelet",
                "host": "node1"
              },
              "type": "Normal"
            }"#]]
        .assert_eq(&serde_json::to_string_pretty(&all[3]).unwrap());
    }
}
