//! Deleting: at once, or, for what has an end of its own (a pod, a namespace, what has finalizers), by saying so and
//! letting it come to its end.

use crate::accept::Form;
use crate::daemon_sets;
use crate::decode::{self, DeleteOptions};
use crate::error::{ApiError, Result};
use crate::http::Answer;
use crate::kinds::Resource;
use crate::list;
use crate::object::{self, Key, text};
use crate::query::Query;
use crate::selector::Selector;
use crate::server::Shared;
use crate::store::{Durability, Next, Stored};
use crate::verbs::{blocking, dry_run};
use hyper::StatusCode;
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};
use std::sync::Arc;

/// Namespaces that are always there.
pub(crate) const LASTING_NAMESPACES: [&str; 3] = ["default", "kube-public", "kube-system"];

/// What body and parameters say; the body counts for more.
pub(crate) fn options(query: &Query, body: &[u8], content_type: &str) -> Result<DeleteOptions> {
    let mut options = decode::delete_options(body, decode::format(content_type)?)?;
    options.dry_run |= dry_run("DeleteOptions", query)?;
    if options.grace_seconds.is_none() {
        options.grace_seconds = query.number("gracePeriodSeconds")?;
    }
    Ok(options)
}

/// Deletes one object.
pub(crate) async fn one(
    shared: &Arc<Shared>,
    key: &Key,
    query: &Query,
    form: Form,
    options: &DeleteOptions,
) -> Result<Answer> {
    let (shared, key, options) = (shared.clone(), key.clone(), options.clone());
    let (resource, name) = (key.resource, key.name.clone());
    let (stored, gone) = blocking(move || delete(&shared, &key, &options)).await?;
    if !gone || resource == Resource::Pods {
        return Ok(list::one(resource, &stored, query, form));
    }
    let uid = text(&stored.value(), "/metadata/uid").to_owned();
    let details = json!({"name": name, "kind": resource.about().plural, "uid": uid});
    Ok(Answer::json(&json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
    })))
}

/// Deletes a pod as `kubectl drain` asks for it: there are no disruption budgets that could speak against it.
pub(crate) async fn evict(
    shared: &Arc<Shared>,
    key: &Key,
    query: &Query,
    body: &[u8],
    content_type: &str,
) -> Result<Answer> {
    let mut options = decode::eviction(body, decode::format(content_type)?, &key.name)?;
    options.dry_run |= dry_run("CreateOptions", query)?;
    let (shared, key) = (shared.clone(), key.clone());
    blocking(move || delete(&shared, &key, &options)).await?;
    let status =
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    Ok(Answer::json(&status).code(StatusCode::CREATED))
}

/// Deletes all that are meant.
pub(crate) async fn collection(
    shared: &Arc<Shared>,
    resource: Resource,
    namespace: Option<&str>,
    query: &Query,
    options: &DeleteOptions,
) -> Result<Answer> {
    let selector = Selector::parse(resource, query.text("labelSelector"), query.text("fieldSelector"))?;
    let (objects, version) = shared.store.list(resource, namespace);
    let meant: Vec<Key> =
        objects.into_iter().filter(|(_, stored)| selector.selects(stored)).map(|(key, _)| key).collect();
    let (shared, options) = (shared.clone(), options.clone());
    let deleted = blocking(move || {
        let mut deleted = Vec::new();
        for key in meant {
            match delete(&shared, &key, &options) {
                Ok((stored, _)) => deleted.push(stored.value()),
                // Somebody else was quicker.
                Err(error) if error.code.as_u16() == 404 => {}
                Err(error) => return Err(error),
            }
        }
        Ok(deleted)
    })
    .await?;
    let about = resource.about();
    Ok(Answer::json(&json!({
        "kind": format!("{}List", about.kind), "apiVersion": about.api_version(),
        "metadata": {"resourceVersion": version.to_string()}, "items": deleted,
    })))
}

/// The object as it is then, and whether it is gone.
pub(crate) fn delete(
    shared: &Arc<Shared>,
    key: &Key,
    options: &DeleteOptions,
) -> Result<(Arc<Stored>, bool)> {
    let about = key.resource.about();
    let missing = || ApiError::not_found(about.plural, about.group, &key.name);
    if key.resource == Resource::Namespaces && LASTING_NAMESPACES.contains(&key.name.as_str()) {
        return Err(ApiError::forbidden(about.plural, &key.name, "this namespace may not be deleted"));
    }
    let mut gone = false;
    let mut step = |now: Option<Value>| {
        let mut now = now.ok_or_else(missing)?;
        preconditions(about.kind, &now, options)?;
        let finalizers = !object::items(&now, "/metadata/finalizers").is_empty();
        let ends = matches!(key.resource, Resource::Pods | Resource::Namespaces);
        if !ends && !finalizers {
            gone = true;
            return Ok(Next::Remove);
        }
        let grace = match key.resource {
            Resource::Pods => Some(grace(&now, options)),
            _ => None,
        };
        Ok::<_, ApiError>(match mark(key.resource, &mut now, grace) {
            true => Next::Put(now),
            false => Next::Keep,
        })
    };
    if options.dry_run {
        let stored = shared.store.get(key).ok_or_else(missing)?;
        step(Some(stored.value()))?;
        return Ok((stored, gone));
    }
    // Before it goes: pods of a DaemonSet that is not there any more are deleted.
    if options.orphan && key.resource == Resource::DaemonSets {
        daemon_sets::let_go(shared, key);
    }
    let stored = shared.store.change(key, Durability::Lasting, step)?.ok_or_else(missing)?;
    shared.changed(key);
    Ok((stored, gone))
}

fn preconditions(kind: &str, now: &Value, options: &DeleteOptions) -> Result<()> {
    let name = text(now, "/metadata/name");
    let (uid, version) = (text(now, "/metadata/uid"), text(now, "/metadata/resourceVersion"));
    if let Some(wanted) = options.uid.as_deref().filter(|wanted| *wanted != uid) {
        let why = format!(
            "the UID in the precondition ({wanted}) does not match the UID in record ({uid}). The object might have been deleted and then recreated"
        );
        return Err(ApiError::conflict(kind, "", name, &why));
    }
    if let Some(wanted) = options.version.as_deref().filter(|wanted| *wanted != version) {
        let why = format!(
            "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record ({version}). The object might have been modified"
        );
        return Err(ApiError::conflict(kind, "", name, &why));
    }
    Ok(())
}

/// Seconds that the pod has for its end; never more than an earlier delete gave it.
fn grace(pod: &Value, options: &DeleteOptions) -> i64 {
    let own = || pod.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(30);
    let ended = ["Succeeded", "Failed"].contains(&text(pod, "/status/phase"));
    let asked = match options.grace_seconds {
        _ if ended => 0,
        // As the API server takes a negative one.
        Some(seconds) if seconds < 0 => 1,
        Some(seconds) => seconds,
        None => own(),
    };
    let before = pod.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64);
    before.map_or(asked, |before| before.min(asked))
}

/// Says in an object's metadata that it is to go; false if that says so already.
fn mark(resource: Resource, object: &mut Value, grace: Option<i64>) -> bool {
    let before = object["metadata"]["deletionGracePeriodSeconds"].as_i64();
    if object::is_going(object) && before == grace {
        return false;
    }
    let seconds = grace.unwrap_or(0);
    let at = Timestamp::now().checked_add(seconds.seconds()).unwrap_or(Timestamp::MAX);
    let metadata = object::metadata_mut(object);
    metadata.insert("deletionTimestamp".into(), object::time_text(at).into());
    if let Some(grace) = grace {
        metadata.insert("deletionGracePeriodSeconds".into(), grace.into());
        let generation = metadata.get("generation").and_then(Value::as_i64).unwrap_or(1);
        if before.is_none() {
            metadata.insert("generation".into(), (generation + 1).into());
        }
    }
    if resource == Resource::Namespaces {
        object["status"]["phase"] = "Terminating".into();
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grace_is_the_pods_own_unless_said_and_never_grows() {
        let options = |seconds| DeleteOptions { grace_seconds: seconds, ..DeleteOptions::default() };
        let mut pod = json!({"spec": {"terminationGracePeriodSeconds": 7}, "metadata": {"name": "a"}});
        assert_eq!(grace(&pod, &options(None)), 7);
        assert_eq!(grace(&pod, &options(Some(0))), 0);
        assert_eq!(grace(&pod, &options(Some(-1))), 1);
        assert!(mark(Resource::Pods, &mut pod, Some(5)));
        assert_eq!(grace(&pod, &options(None)), 5);
        assert!(!mark(Resource::Pods, &mut pod, Some(5)) && mark(Resource::Pods, &mut pod, Some(0)));
        pod["status"] = json!({"phase": "Failed"});
        assert_eq!(grace(&pod, &options(None)), 0);
    }

    #[test]
    fn preconditions_are_held_against_what_is() {
        let now = json!({"metadata": {"name": "a", "uid": "u", "resourceVersion": "3"}});
        let with = |uid: Option<&str>, version: Option<&str>| {
            let options = DeleteOptions {
                uid: uid.map(str::to_owned),
                version: version.map(str::to_owned),
                ..DeleteOptions::default()
            };
            preconditions("Pod", &now, &options).map_err(|error| error.message().to_owned())
        };
        assert_eq!(with(Some("u"), Some("3")), Ok(()));
        assert_eq!(
            with(Some("v"), None).unwrap_err(),
            "Operation cannot be fulfilled on Pod \"a\": the UID in the precondition (v) does not match the UID in record (u). The object might have been deleted and then recreated"
        );
        assert!(with(None, Some("4")).is_err());
    }
}
