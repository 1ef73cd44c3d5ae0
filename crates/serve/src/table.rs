//! Objects as the tables that `kubectl get` prints: the API server's columns
//! (`pkg/printers/internalversion`, Kubernetes 1.36). Pure.

use crate::kinds::Resource;
use crate::object::{items, text};
use crate::query::Query;
use jiff::Timestamp;
use serde_json::{Value, json};
use view::text::duration;

/// What of an object goes with its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Include {
    Nothing,
    Metadata,
    Object,
}

impl Include {
    /// The parameter `includeObject`.
    pub(crate) fn of(query: &Query) -> Include {
        match query.text("includeObject") {
            "None" => Include::Nothing,
            "Object" => Include::Object,
            _ => Include::Metadata,
        }
    }
}

/// A column: name, format, whether it is only for `-o wide`, what it is.
type Column = (&'static str, &'static str, bool, &'static str);

const NAME: Column = (
    "Name",
    "name",
    false,
    "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names",
);
const AGE: Column = ("Age", "", false, "The time since the object was made.");

fn columns(resource: Resource) -> &'static [Column] {
    match resource {
        Resource::Pods => &[
            NAME,
            ("Ready", "", false, "The aggregate readiness state of this pod for accepting traffic."),
            ("Status", "", false, "The aggregate status of the containers in this pod."),
            (
                "Restarts",
                "",
                false,
                "The number of times the containers in this pod have been restarted and when the last container in this pod has restarted.",
            ),
            AGE,
            ("IP", "", true, "The pod's address."),
            ("Node", "", true, "The node that the pod is on."),
            ("Nominated Node", "", true, "Has no meaning with one node."),
            ("Readiness Gates", "", true, "Conditions that must hold before the pod is ready."),
        ],
        Resource::Namespaces => &[NAME, ("Status", "", false, "The status of the namespace"), AGE],
        Resource::Nodes => &[
            NAME,
            ("Status", "", false, "The status of the node"),
            ("Roles", "", false, "The roles of the node"),
            AGE,
            ("Version", "", false, "The version of the API that the node speaks."),
            ("Internal-IP", "", true, "The node's address."),
            ("External-IP", "", true, "An address from outside; there is none."),
            ("OS-Image", "", true, "The system, from /etc/os-release."),
            ("Kernel-Version", "", true, "The kernel and the architecture."),
            ("Container-Runtime", "", true, "What runs the containers."),
        ],
        Resource::Events => &[
            (
                "Last Seen",
                "",
                false,
                "The time at which the most recent occurrence of this event was recorded.",
            ),
            (
                "Type",
                "",
                false,
                "Type of this event (Normal, Warning), new types could be added in the future",
            ),
            ("Reason", "", false, "The reason, in a word."),
            ("Object", "", false, "The object that this event is about."),
            ("Subobject", "", true, "The part of the object that it is about."),
            (
                "Source",
                "",
                true,
                "The component reporting this event. Should be a short machine understandable string.",
            ),
            ("Message", "", false, "A human-readable description of the status of this operation."),
            ("First Seen", "", true, "The time at which the event was first recorded."),
            ("Count", "", true, "The number of times this event has occurred."),
            ("Name", "name", true, "The event's own name."),
        ],
        Resource::DaemonSets => &[
            NAME,
            ("Desired", "", false, "How many pods there should be."),
            ("Current", "", false, "How many there are."),
            ("Ready", "", false, "How many are ready."),
            ("Up-to-date", "", false, "How many are of the template as it is."),
            ("Available", "", false, "How many have been ready for long enough."),
            ("Node Selector", "", false, "Has no meaning with one node."),
            AGE,
            ("Containers", "", true, "Names of each container in the template."),
            ("Images", "", true, "Images referenced by each container in the template."),
            ("Selector", "", true, "Whose pods they are."),
        ],
        Resource::ConfigMaps => &[NAME, ("Data", "", false, "How many keys it has."), AGE],
        Resource::Secrets => &[
            NAME,
            ("Type", "", false, "Used to facilitate programmatic handling of secret data."),
            ("Data", "", false, "How many keys it has."),
            AGE,
        ],
        Resource::PersistentVolumes => &[
            NAME,
            ("Capacity", "", false, "How much there is room for."),
            ("Access Modes", "", false, "The ways in which it may be used."),
            ("Reclaim Policy", "", false, "What becomes of it when its claim goes."),
            ("Status", "", false, "Whether it is a claim's."),
            ("Claim", "", false, "The claim that it is bound to."),
            ("StorageClass", "", false, "The class that a claim has to ask for."),
            ("VolumeAttributesClass", "", false, "Has no meaning on one machine."),
            ("Reason", "", false, "Why it is in its state."),
            AGE,
            ("VolumeMode", "", true, "Whether it is a file system or a device."),
        ],
        Resource::PersistentVolumeClaims => &[
            NAME,
            ("Status", "", false, "Whether it has a volume."),
            ("Volume", "", false, "The volume that it is bound to."),
            ("Capacity", "", false, "What the volume has."),
            ("Access Modes", "", false, "The ways in which the volume may be used."),
            ("StorageClass", "", false, "The class that it asks for."),
            ("VolumeAttributesClass", "", false, "Has no meaning on one machine."),
            AGE,
            ("VolumeMode", "", true, "Whether it asks for a file system or a device."),
        ],
        Resource::ServiceAccounts => &[NAME, ("Secrets", "", false, "How many secrets it has."), AGE],
    }
}

/// The definitions of a resource's columns.
fn definitions(resource: Resource) -> Value {
    let one = |(name, format, wide, description): &Column| json!({"name": name, "type": "string", "format": format, "description": description, "priority": i32::from(*wide)});
    columns(resource).iter().map(one).collect()
}

/// A table of objects. `metadata` is the list's; of the later tables of a watch only the first has `headed`.
pub(crate) fn table(
    resource: Resource,
    api_version: &str,
    objects: &[Value],
    metadata: Value,
    include: Include,
    headed: bool,
) -> Value {
    let now = Timestamp::now();
    let row = |object: &Value| {
        let part = match include {
            Include::Nothing => Value::Null,
            Include::Metadata => partial(object, api_version),
            Include::Object => object.clone(),
        };
        json!({"cells": cells(resource, object, now), "object": part})
    };
    json!({
        "kind": "Table",
        "apiVersion": api_version,
        "metadata": metadata,
        "columnDefinitions": if headed { definitions(resource) } else { Value::Null },
        "rows": objects.iter().map(row).collect::<Vec<_>>(),
    })
}

/// Only an object's metadata.
pub(crate) fn partial(object: &Value, api_version: &str) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": api_version, "metadata": object["metadata"]})
}

/// A time ago, in words.
fn ago(object: &Value, pointer: &str, now: Timestamp) -> String {
    match text(object, pointer).parse::<Timestamp>() {
        Ok(time) => duration(now.as_second() - time.as_second()),
        Err(_) => "<unknown>".to_owned(),
    }
}

fn cells(resource: Resource, object: &Value, now: Timestamp) -> Value {
    let name = || text(object, "/metadata/name").to_owned();
    let age = || ago(object, "/metadata/creationTimestamp", now);
    let count = |field: &str| match &object[field] {
        Value::Object(entries) => entries.len(),
        Value::Array(entries) => entries.len(),
        _ => 0,
    };
    match resource {
        Resource::Pods => {
            let cells = view::pods::cells(object, now);
            // The namespace is kubectl's own column.
            json!(cells[1..])
        }
        Resource::Namespaces => json!([name(), text(object, "/status/phase"), age()]),
        Resource::Nodes => {
            let ready = items(object, "/status/conditions")
                .iter()
                .any(|c| c["type"] == "Ready" && c["status"] == "True");
            let info = |field: &str| text(object, &format!("/status/nodeInfo/{field}")).to_owned();
            let address = items(object, "/status/addresses").iter().find(|a| a["type"] == "InternalIP");
            let mut status = if ready { "Ready" } else { "NotReady" }.to_owned();
            if object["spec"]["unschedulable"] == true {
                status.push_str(",SchedulingDisabled");
            }
            json!([
                name(),
                status,
                roles(object),
                age(),
                info("kubeletVersion"),
                address.map_or("<none>", |address| text(address, "/address")),
                "<none>",
                info("osImage"),
                format!("{} ({})", info("kernelVersion"), info("architecture")),
                info("containerRuntimeVersion"),
            ])
        }
        Resource::DaemonSets => {
            let number = |field: &str| object["status"][field].as_i64().unwrap_or(0);
            let containers = items(object, "/spec/template/spec/containers");
            let all = |field: &str| containers.iter().map(|c| text(c, field)).collect::<Vec<_>>().join(",");
            json!([
                name(),
                number("desiredNumberScheduled"),
                number("currentNumberScheduled"),
                number("numberReady"),
                number("updatedNumberScheduled"),
                number("numberAvailable"),
                pairs(&object["spec"]["template"]["spec"]["nodeSelector"]),
                age(),
                all("/name"),
                all("/image"),
                pairs(&object["spec"]["selector"]["matchLabels"]),
            ])
        }
        Resource::Events => event_cells(object, now),
        Resource::ConfigMaps => json!([name(), (count("data") + count("binaryData")).to_string(), age()]),
        Resource::Secrets => json!([name(), text(object, "/type"), count("data").to_string(), age()]),
        Resource::PersistentVolumes => volume_cells(object, age()),
        Resource::PersistentVolumeClaims => claim_cells(object, age()),
        Resource::ServiceAccounts => json!([name(), count("secrets").to_string(), age()]),
    }
}

/// `a=b,c=d`
fn pairs(map: &Value) -> String {
    let pairs: Vec<String> = map
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    if pairs.is_empty() { "<none>".to_owned() } else { pairs.join(",") }
}

fn volume_cells(volume: &Value, age: String) -> Value {
    let claim = match volume["spec"].get("claimRef") {
        Some(claim) => format!("{}/{}", text(claim, "/namespace"), text(claim, "/name")),
        None => String::new(),
    };
    json!([
        text(volume, "/metadata/name"),
        text(volume, "/spec/capacity/storage"),
        access_modes(items(volume, "/spec/accessModes")),
        text(volume, "/spec/persistentVolumeReclaimPolicy"),
        phase_or_going(volume),
        claim,
        text(volume, "/spec/storageClassName"),
        unset(text(volume, "/spec/volumeAttributesClassName")),
        text(volume, "/status/reason"),
        age,
        unset(text(volume, "/spec/volumeMode")),
    ])
}

fn claim_cells(claim: &Value, age: String) -> Value {
    let volume = text(claim, "/spec/volumeName");
    // What it has is told of one that has a volume.
    let (capacity, modes) = match volume {
        "" => ("", String::new()),
        _ => (text(claim, "/status/capacity/storage"), access_modes(items(claim, "/status/accessModes"))),
    };
    json!([
        text(claim, "/metadata/name"),
        phase_or_going(claim),
        volume,
        capacity,
        modes,
        text(claim, "/spec/storageClassName"),
        unset(text(claim, "/spec/volumeAttributesClassName")),
        age,
        unset(text(claim, "/spec/volumeMode")),
    ])
}

fn phase_or_going(object: &Value) -> &str {
    if crate::object::is_going(object) { "Terminating" } else { text(object, "/status/phase") }
}

fn unset(text: &str) -> &str {
    if text.is_empty() { "<unset>" } else { text }
}

/// `RWO,RWX`, each once and in the API server's order.
fn access_modes(modes: &[Value]) -> String {
    let all = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let there = all.iter().filter(|(mode, _)| modes.iter().any(|had| had == mode));
    there.map(|(_, short)| *short).collect::<Vec<_>>().join(",")
}

fn roles(node: &Value) -> String {
    let labels = node["metadata"]["labels"].as_object().into_iter().flatten();
    let roles: Vec<&str> =
        labels.filter_map(|(key, _)| key.strip_prefix("node-role.kubernetes.io/")).collect();
    if roles.is_empty() { "<none>".to_owned() } else { roles.join(",") }
}

fn event_cells(event: &Value, now: Timestamp) -> Value {
    let count = event["count"].as_u64().unwrap_or(1);
    // What has only the time of an event has it for both.
    let seen_at = |pointer| match text(event, pointer) {
        "" => ago(event, "/eventTime", now),
        _ => ago(event, pointer, now),
    };
    let (first, last) = (seen_at("/firstTimestamp"), seen_at("/lastTimestamp"));
    let seen = if count > 1 { format!("{last} (x{count} over {first})") } else { last };
    let object = &event["involvedObject"];
    let about = format!("{}/{}", text(object, "/kind").to_lowercase(), text(object, "/name"));
    let source = match text(event, "/source/component") {
        "" => [text(event, "/reportingComponent"), text(event, "/reportingInstance")],
        component => [component, text(event, "/source/host")],
    };
    let source: Vec<&str> = source.into_iter().filter(|part| !part.is_empty()).collect();
    json!([
        seen,
        text(event, "/type"),
        text(event, "/reason"),
        about,
        text(object, "/fieldPath"),
        source.join(", "),
        text(event, "/message").trim_end(),
        first,
        count.to_string(),
        text(event, "/metadata/name"),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_resource_has_a_cell_for_each_column() {
        for resource in Resource::EVERY {
            let object = json!({"metadata": {"name": "x", "creationTimestamp": "2020-01-01T00:00:00Z"}});
            let made = table(resource, "meta.k8s.io/v1", &[object], json!({}), Include::Metadata, true);
            let cells = made["rows"][0]["cells"].as_array().unwrap().len();
            assert_eq!(cells, made["columnDefinitions"].as_array().unwrap().len(), "{resource:?}");
        }
    }

    #[test]
    fn an_event_that_came_again_says_how_often() {
        let now: Timestamp = "2020-01-01T00:02:00Z".parse().unwrap();
        let event = json!({"metadata": {"name": "a.1"}, "type": "Warning", "reason": "BackOff", "message": "m\n",
            "count": 3, "firstTimestamp": "2020-01-01T00:00:00Z", "lastTimestamp": "2020-01-01T00:01:50Z",
            "involvedObject": {"kind": "Pod", "name": "a", "fieldPath": "spec.containers{main}"},
            "source": {"component": "kubelet", "host": "n"}});
        let cells = event_cells(&event, now);
        assert_eq!(cells[0], "10s (x3 over 2m)");
        assert_eq!((&cells[3], &cells[5], &cells[6]), (&json!("pod/a"), &json!("kubelet, n"), &json!("m")));
    }
}
