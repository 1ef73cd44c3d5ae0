//! Events: what happened to pods and volumes, as objects that are kept for an hour, not more than [`MOST`] of them, and only
//! in memory, as they tell of what was.

use crate::kinds::Resource;
use crate::object::{self, Key, text};
use crate::store::{Durability, Next, Store, WriteError};
use jiff::{Timestamp, ToSpan};
use k8s_openapi::api::core::v1 as api;
use serde_json::{Value, json};

/// How long an event is kept, as by the API server.
const KEPT_SECONDS: i64 = 3600;
/// How many are kept, about a kilobyte each; of more, those go that happened longest ago.
pub(crate) const MOST: usize = 2000;
/// How many go at a time, so that it is not looked for them at each event.
const GO_AT_ONCE: usize = MOST / 8;

/// Who tells of something; the names are those of a cluster's components.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reporter {
    Kubelet,
    Scheduler,
    VolumeController,
}

/// Something that happened to an object.
#[derive(Debug, Clone)]
pub(crate) struct Happened<'a> {
    pub(crate) by: Reporter,
    pub(crate) warning: bool,
    pub(crate) reason: &'a str,
    pub(crate) message: &'a str,
    pub(crate) container: Option<&'a str>,
    /// What the user can do about it.
    pub(crate) hint: Option<&'a str>,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    pub(crate) count: u32,
}

impl<'a> Happened<'a> {
    /// Now, once, told by the kubelet.
    pub(crate) fn now(
        warning: bool,
        reason: &'a str,
        message: &'a str,
        container: Option<&'a str>,
    ) -> Happened<'a> {
        let now = Timestamp::now();
        let by = Reporter::Kubelet;
        Happened { by, warning, reason, message, container, hint: None, first: now, last: now, count: 1 }
    }
}

/// Takes an event of a pod's supervisor in, which counts for itself.
pub(crate) fn put(store: &Store, event: &api::Event) {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let key = Key::new(Resource::Events, &text(&event.metadata.namespace), &text(&event.metadata.name));
    let Ok(object) = serde_json::to_value(event) else { return };
    let put = store.change::<WriteError>(&key, Durability::Passing, |now| {
        let had = now.map(|mut now| {
            object::set_metadata(&mut now, "resourceVersion", None);
            now
        });
        Ok(if had.as_ref() == Some(&object) { Next::Keep } else { Next::Put(object) })
    });
    match put {
        Ok(_) => keep_few(store),
        Err(error) => tracing::warn!(%error, "an event cannot be recorded"),
    }
}

/// Records what happened; the same that happened again is counted.
pub(crate) fn record(store: &Store, node: &str, object: &Value, what: &Happened<'_>) {
    let (namespace, name) = (text(object, "/metadata/namespace"), text(object, "/metadata/name"));
    // Of what is in no namespace it is told in this one.
    let namespace = if namespace.is_empty() { "default" } else { namespace };
    let key = Key::new(Resource::Events, namespace, &format!("{name}.{:016x}", identity(object, what)));
    let recorded = store.change::<WriteError>(&key, Durability::Passing, |now| {
        let mut event = event(node, object, what, &key);
        if let Some(now) = now {
            // Told by us more than once: counted here. On the supervisor's record it is counted there.
            let counted = now["count"].as_u64().or_else(|| now["series"]["count"].as_u64()).unwrap_or(1);
            let again = what.count == 1 && what.last > last_seen(&now) && what.first == what.last;
            if again && what.by == Reporter::Scheduler {
                event["series"] = json!({"count": counted + 1, "lastObservedTime": micro_text(what.last)});
                event["eventTime"] = now["eventTime"].clone();
            } else if again {
                event["count"] = json!(counted + 1);
                event["firstTimestamp"] = now["firstTimestamp"].clone();
            }
            event["metadata"] = now["metadata"].clone();
        }
        Ok(Next::Put(event))
    });
    match recorded {
        Ok(_) => keep_few(store),
        Err(error) => tracing::warn!(%error, "an event cannot be recorded"),
    }
}

/// Forgets the oldest where there are too many.
fn keep_few(store: &Store) {
    if store.count(Resource::Events) <= MOST {
        return;
    }
    let mut all = store.list(Resource::Events, None).0;
    // Versions grow: what has the lowest was told, or counted, longest ago.
    all.sort_unstable_by_key(|(_, stored)| stored.version);
    let left = MOST - GO_AT_ONCE;
    let gone = all.len().saturating_sub(left);
    for (key, _) in all.into_iter().take(gone) {
        forget(store, &key);
    }
}

fn forget(store: &Store, key: &Key) {
    // What is only in memory can always be forgotten, but for the journal's count of versions; then it goes later.
    let _ = store.change::<WriteError>(key, Durability::Passing, |_| Ok(Next::Remove));
}

fn last_seen(event: &Value) -> Timestamp {
    let times = ["/lastTimestamp", "/series/lastObservedTime", "/eventTime", "/metadata/creationTimestamp"];
    let time = times.iter().find_map(|pointer| text(event, pointer).parse().ok());
    time.unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A time as the API writes it where it counts microseconds.
fn micro_text(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// What makes an event the same as another: the object, the words, the container.
fn identity(object: &Value, what: &Happened<'_>) -> u64 {
    let parts =
        [text(object, "/metadata/uid"), what.reason, what.message, what.container.unwrap_or_default()];
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
    bytes
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn event(node: &str, object: &Value, what: &Happened<'_>, key: &Key) -> Value {
    let mut about = json!({
        "kind": text(object, "/kind"),
        "namespace": text(object, "/metadata/namespace"),
        "name": text(object, "/metadata/name"),
        "uid": text(object, "/metadata/uid"),
        "apiVersion": text(object, "/apiVersion"),
        "resourceVersion": text(object, "/metadata/resourceVersion"),
    });
    if let Some(container) = what.container {
        let has = |list: &&str| {
            object::items(&object["spec"], &format!("/{list}")).iter().any(|c| c["name"] == container)
        };
        let list = ["initContainers", "ephemeralContainers"].into_iter().find(has).unwrap_or("containers");
        about["fieldPath"] = format!("spec.{list}{{{container}}}").into();
    }
    let mut event = json!({
        "kind": "Event",
        "apiVersion": "v1",
        "metadata": {
            "name": key.name,
            "namespace": key.namespace,
            "uid": agent::record::PodUid::random().map(|uid| uid.to_string()).unwrap_or_default(),
            "creationTimestamp": object::time_text(what.first),
        },
        "involvedObject": about,
        "reason": what.reason,
        "message": what.message,
        "type": if what.warning { "Warning" } else { "Normal" },
    });
    if let Some(hint) = what.hint {
        event["metadata"]["annotations"] = json!({agent::events::HINT: hint});
    }
    let told = match what.by {
        Reporter::Scheduler => json!({
            "source": {}, "firstTimestamp": null, "lastTimestamp": null,
            "eventTime": micro_text(what.first), "action": "Scheduling",
            "reportingComponent": "default-scheduler", "reportingInstance": format!("default-scheduler-{node}"),
        }),
        Reporter::Kubelet | Reporter::VolumeController => {
            let (component, host) = match what.by {
                Reporter::VolumeController => ("persistentvolume-controller", ""),
                _ => ("kubelet", node),
            };
            let mut source = json!({"component": component});
            if !host.is_empty() {
                source["host"] = host.into();
            }
            json!({
                "source": source,
                "firstTimestamp": object::time_text(what.first), "lastTimestamp": object::time_text(what.last),
                "count": what.count, "eventTime": null,
                "reportingComponent": component, "reportingInstance": host,
            })
        }
    };
    if let (Value::Object(event), Value::Object(told)) = (&mut event, told) {
        event.extend(told);
    }
    event
}

/// Forgets what is older than an hour.
pub(crate) fn forget_old(store: &Store) {
    let limit = Timestamp::now().checked_sub(KEPT_SECONDS.seconds()).unwrap_or(Timestamp::MIN);
    for (key, stored) in store.list(Resource::Events, None).0 {
        if last_seen(&stored.value()) < limit {
            forget(store, &key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_again_is_counted_and_named_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("journal")).unwrap();
        let pod =
            json!({"kind": "Pod", "metadata": {"name": "a", "namespace": "default", "uid": "u"}, "spec": {}});
        for second in 0..3 {
            let now = Timestamp::from_second(second).unwrap();
            let what =
                Happened { first: now, last: now, ..Happened::now(true, "BackOff", "m", Some("main")) };
            record(&store, "n", &pod, &what);
        }
        record(&store, "n", &pod, &Happened::now(false, "Started", "m", None));
        let events: Vec<Value> =
            store.list(Resource::Events, Some("default")).0.iter().map(|(_, s)| s.value()).collect();
        assert_eq!(events.len(), 2);
        let again = events.iter().find(|event| event["reason"] == "BackOff").unwrap();
        assert_eq!((&again["count"], &again["lastTimestamp"]), (&json!(3), &json!("1970-01-01T00:00:02Z")));
        assert_eq!(again["involvedObject"]["fieldPath"], "spec.containers{main}");
        forget_old(&store);
        assert_eq!(store.list(Resource::Events, None).0.len(), 1);
    }

    #[test]
    fn the_newest_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("journal")).unwrap();
        let pod =
            json!({"kind": "Pod", "metadata": {"name": "a", "namespace": "default", "uid": "u"}, "spec": {}});
        let tell = |message: &str| record(&store, "n", &pod, &Happened::now(false, "R", message, None));
        tell("again and again");
        for number in 0..MOST + 10 {
            tell(&number.to_string());
            if number % 100 == 0 {
                tell("again and again");
            }
        }
        let kept: Vec<Value> =
            store.list(Resource::Events, None).0.iter().map(|(_, stored)| stored.value()).collect();
        assert!((MOST - GO_AT_ONCE..=MOST).contains(&kept.len()), "{}", kept.len());
        let has = |message: &str| kept.iter().any(|event| event["message"] == message);
        assert!(has("again and again") && has(&(MOST + 9).to_string()) && !has("0"));
    }
}
