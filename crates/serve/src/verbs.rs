//! Writing: create and update. What is answered is on the disk.

use crate::accept::Form;
use crate::claims;
use crate::decode::{self, Format, Given};
use crate::error::{ApiError, Result};
use crate::http::Answer;
use crate::kinds::Resource;
use crate::list;
use crate::object::{self, Key, text};
use crate::patch;
use crate::propagation;
use crate::query::Query;
use crate::server::Shared;
use crate::store::{Durability, Next, Stored, WriteError};
use hyper::StatusCode;
use hyper::body::Bytes;
use manifest::field::{FieldErrors, Path};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};

/// A request that writes.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) query: Query,
    pub(crate) form: Form,
    pub(crate) format: Format,
    pub(crate) body: Bytes,
}

/// Whether only to say what would be.
pub(crate) fn dry_run(options: &str, query: &Query) -> Result<bool> {
    match query.text("dryRun") {
        "" => Ok(false),
        "All" => Ok(true),
        other => Err(ApiError::unsupported_option(options, "dryRun", other, &["All"])),
    }
}

impl From<WriteError> for ApiError {
    fn from(error: WriteError) -> ApiError {
        ApiError::internal(crate::error::with_causes(&error))
    }
}

/// Runs something that waits for the disk where it may.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(ApiError::internal(error)),
    }
}

/// Makes an object.
pub(crate) async fn create(
    shared: &Arc<Shared>,
    resource: Resource,
    namespace: &str,
    call: Call,
) -> Result<Answer> {
    let dry_run = dry_run("CreateOptions", &call.query)?;
    let mode = decode::validation("CreateOptions", call.query.text("fieldValidation"))?;
    let given = decode::object(resource, namespace, &call.body, call.format, mode)?;
    let Given { object, warnings, .. } = given;
    let shared_then = shared.clone();
    let namespace = namespace.to_owned();
    let stored = blocking(move || create_object(&shared_then, resource, &namespace, object, dry_run)).await?;
    let answer = list::one(resource, &stored, &call.query, call.form);
    Ok(answer.code(StatusCode::CREATED).warnings(warnings))
}

/// Takes a valid object in.
pub(crate) fn create_object(
    shared: &Arc<Shared>,
    resource: Resource,
    namespace: &str,
    mut object: Value,
    dry_run: bool,
) -> Result<Arc<Stored>> {
    let about = resource.about();
    let uid = agent::record::PodUid::random().map_err(ApiError::internal)?;
    let name = match text(&object, "/metadata/name") {
        "" => manifest::generate::generated_name(text(&object, "/metadata/generateName"), uid.dice()),
        name => name.to_owned(),
    };
    if about.namespaced {
        require_namespace(shared, resource, namespace, &name)?;
    }
    let metadata = object::metadata_mut(&mut object);
    metadata.insert("name".into(), name.clone().into());
    metadata.insert("uid".into(), uid.to_string().into());
    metadata.insert("creationTimestamp".into(), object::now_text().into());
    begin(resource, &mut object);
    let key = Key::new(resource, namespace, &name);
    let exists = || ApiError::already_exists(about.plural, about.group, &name);
    if dry_run {
        return match shared.store.get(&key) {
            Some(_) => Err(exists()),
            None => Ok(Arc::new(Stored::unkept(&object))),
        };
    }
    let stored = shared.store.change(&key, Durability::Lasting, |now| match now {
        Some(_) => Err(exists()),
        None => Ok(Next::Put(object)),
    })?;
    shared.created(&key);
    stored.ok_or_else(|| ApiError::internal("the object is gone"))
}

fn require_namespace(shared: &Shared, resource: Resource, namespace: &str, name: &str) -> Result<()> {
    let there = shared.store.get(&Key::new(Resource::Namespaces, "", namespace));
    let there = there.ok_or_else(|| ApiError::not_found("namespaces", "", namespace))?;
    match object::is_going(&there.value()) {
        true => Err(ApiError::terminating(resource.about().plural, name, namespace)),
        false => Ok(()),
    }
}

/// What an object has from its beginning that its maker does not say.
fn begin(resource: Resource, object: &mut Value) {
    match resource {
        Resource::Pods => {
            let spec: Option<k8s_openapi::api::core::v1::PodSpec> =
                serde_json::from_value(object["spec"].clone()).ok();
            let class = spec.map(|spec| manifest::cri::qos_class(&spec).as_str().to_owned());
            object::set_metadata(object, "generation", Some(json!(1)));
            object["status"] = json!({"phase": "Pending", "qosClass": class});
        }
        Resource::DaemonSets => {
            object::set_metadata(object, "generation", Some(json!(1)));
            object["status"] = json!({
                "currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0,
            });
        }
        Resource::Namespaces => object["status"] = json!({"phase": "Active"}),
        Resource::PersistentVolumeClaims | Resource::PersistentVolumes => claims::begin(resource, object),
        _ => {}
    }
}

/// What an object becomes by what a client wants of it.
pub(crate) type Becomes = fn(Resource, &Value, Given) -> Result<Value>;

/// Replaces an object.
pub(crate) async fn update(shared: &Arc<Shared>, key: &Key, call: Call) -> Result<Answer> {
    update_by(shared, key, call, replaced).await
}

/// Replaces what `becomes` lets be replaced.
pub(crate) async fn update_by(
    shared: &Arc<Shared>,
    key: &Key,
    call: Call,
    becomes: Becomes,
) -> Result<Answer> {
    let dry_run = dry_run("UpdateOptions", &call.query)?;
    let mode = decode::validation("UpdateOptions", call.query.text("fieldValidation"))?;
    let given = decode::changed(key.resource, &key.namespace, &call.body, call.format, mode)?;
    let name = text(&given.object, "/metadata/name");
    if name != key.name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            key.name
        )));
    }
    let (shared, key_then) = (shared.clone(), key.clone());
    let warnings = given.warnings.clone();
    let stored = blocking(move || {
        change(&shared, &key_then, dry_run, |now| becomes(key_then.resource, now, given.clone()))
    })
    .await?;
    Ok(list::one(key.resource, &stored, &call.query, call.form).warnings(warnings))
}

/// Patches an object.
pub(crate) async fn patch(
    shared: &Arc<Shared>,
    key: &Key,
    query: &Query,
    form: Form,
    content_type: &str,
    body: Bytes,
) -> Result<Answer> {
    patch_by(shared, key, (query, form), content_type, body, replaced).await
}

/// Patches what `becomes` lets be patched.
pub(crate) async fn patch_by(
    shared: &Arc<Shared>,
    key: &Key,
    (query, form): (&Query, Form),
    content_type: &str,
    body: Bytes,
    becomes: Becomes,
) -> Result<Answer> {
    let dry_run = dry_run("PatchOptions", query)?;
    let mode = decode::validation("PatchOptions", query.text("fieldValidation"))?;
    let kind = patch::form(content_type)?;
    let (shared, key_then) = (shared.clone(), key.clone());
    let (stored, warnings) = blocking(move || {
        let warned = Mutex::new(Vec::new());
        let stored = change(&shared, &key_then, dry_run, |now| {
            let made = patch::apply(kind, now, &body)?;
            let json = made.to_string();
            let namespace = &key_then.namespace;
            let given = decode::changed(key_then.resource, namespace, json.as_bytes(), Format::Json, mode)?;
            if text(&given.object, "/metadata/name") != key_then.name {
                return Err(ApiError::bad_request("the name of the object may not be changed"));
            }
            *warned.lock().unwrap_or_else(PoisonError::into_inner) = given.warnings.clone();
            becomes(key_then.resource, now, given)
        })?;
        Ok((stored, warned.into_inner().unwrap_or_else(PoisonError::into_inner)))
    })
    .await?;
    Ok(list::one(key.resource, &stored, query, form).warnings(warnings))
}

/// Changes an object that is there, by what `step` makes of it.
pub(crate) fn change(
    shared: &Arc<Shared>,
    key: &Key,
    dry_run: bool,
    step: impl Fn(&Value) -> Result<Value>,
) -> Result<Arc<Stored>> {
    let about = key.resource.about();
    let missing = || ApiError::not_found(about.plural, about.group, &key.name);
    if dry_run {
        let now = shared.store.get(key).ok_or_else(missing)?;
        return Ok(Arc::new(Stored::unkept(&step(&now.value())?)));
    }
    let changed = shared.store.change(key, Durability::Lasting, |now| {
        let made = step(&now.ok_or_else(missing)?)?;
        // What was only waiting for its finalizers goes with the last of them.
        let waited = key.resource != Resource::Pods && object::is_going(&made);
        let finalized = object::items(&made, "/metadata/finalizers").is_empty();
        Ok::<_, ApiError>(if waited && finalized && key.resource != Resource::Namespaces {
            Next::Remove
        } else {
            Next::Put(made)
        })
    })?;
    shared.changed(key);
    changed.ok_or_else(missing)
}

/// That it is the object which the client means, as it last saw it.
pub(crate) fn preconditions(resource: Resource, now: &Value, given: &Given) -> Result<()> {
    let about = resource.about();
    let name = text(now, "/metadata/name");
    if !given.version.is_empty() && given.version != text(now, "/metadata/resourceVersion") {
        return Err(ApiError::modified(about.plural, about.group, name));
    }
    let uid = text(now, "/metadata/uid");
    if !given.uid.is_empty() && given.uid != uid {
        let why =
            format!("Precondition failed: UID in precondition: {}, UID in object meta: {uid}", given.uid);
        return Err(ApiError::conflict(about.plural, about.group, name, &why));
    }
    Ok(())
}

/// An object as a client wants it to be now, with all that a client cannot change.
pub(crate) fn replaced(resource: Resource, now: &Value, given: Given) -> Result<Value> {
    let about = resource.about();
    let name = text(now, "/metadata/name").to_owned();
    preconditions(resource, now, &given)?;
    let mut object = given.object;
    for field in [
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generateName",
    ] {
        let kept = now["metadata"].get(field).cloned();
        object::set_metadata(&mut object, field, kept);
    }
    if let Some(status) = now.get("status") {
        object["status"] = status.clone();
    }
    // The node's own word, which no client changes.
    let told = &now["metadata"]["annotations"][propagation::CONDITION];
    if resource == Resource::Pods && told.is_string() {
        let annotations = object::metadata_mut(&mut object).entry("annotations").or_insert_with(|| json!({}));
        annotations[propagation::CONDITION] = told.clone();
    }
    let errors = match resource {
        Resource::Pods => pod_update(now, &object),
        Resource::Nodes => {
            object["spec"] = with_field(&now["spec"], "unschedulable", object["spec"].get("unschedulable"));
            FieldErrors::default()
        }
        Resource::Namespaces => {
            object["spec"] = now["spec"].clone();
            FieldErrors::default()
        }
        Resource::DaemonSets => daemon_set_update(now, &mut object),
        Resource::ConfigMaps | Resource::Secrets => immutable_data(now, &object),
        Resource::PersistentVolumeClaims => claim_update(now, &object),
        Resource::PersistentVolumes => volume_update(now, &object),
        _ => FieldErrors::default(),
    };
    if errors.is_empty() {
        Ok(object)
    } else {
        Err(ApiError::invalid(about.kind, about.group, &name, &errors))
    }
}

fn with_field(object: &Value, field: &str, value: Option<&Value>) -> Value {
    let mut object = object.as_object().cloned().unwrap_or_default();
    match value {
        Some(value) => drop(object.insert(field.to_owned(), value.clone())),
        None => drop(object.shift_remove(field)),
    }
    Value::Object(object)
}

/// The fields of a pod that Kubernetes lets be changed. Of these this node can only do what needs no running container to
/// become another.
const POD_IMMUTABLE: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

fn pod_update(now: &Value, object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::default();
    let spec = Path::new("spec");
    let wanted = object["spec"].clone();
    let mut compared = wanted.clone();
    let added = object::items(&wanted, "/tolerations");
    if object::items(&now["spec"], "/tolerations").iter().all(|had| added.contains(had)) {
        compared["tolerations"] = now["spec"]["tolerations"].clone();
    }
    let images = |spec: &Value| {
        let containers =
            object::items(spec, "/containers").iter().chain(object::items(spec, "/initContainers"));
        containers.map(|container| container["image"].clone()).collect::<Vec<_>>()
    };
    let other_images = images(&compared) != images(&now["spec"]);
    for list in ["containers", "initContainers"] {
        let had = now["spec"][list].as_array().cloned().unwrap_or_default();
        for (container, had) in compared[list].as_array_mut().into_iter().flatten().zip(had) {
            container["image"] = had["image"].clone();
        }
    }
    if !same(&compared, &now["spec"]) {
        errors.forbidden(&spec, POD_IMMUTABLE);
    } else if other_images {
        let why = "changing the image of a container that was made is not supported yet by this version of rhizome: delete the pod and create it again";
        errors.forbidden(&spec.child("containers"), why);
    }
    errors
}

/// Whether two values are the same, whatever the order of their fields; what is null is not there.
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let null = Value::Null;
            a.iter().all(|(key, value)| same(value, b.get(key).unwrap_or(&null)))
                && b.iter().all(|(key, value)| a.contains_key(key) || value.is_null())
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (a, b) => a == b,
    }
}

/// Another spec is another generation, which the pod is of.
fn daemon_set_update(now: &Value, object: &mut Value) -> FieldErrors {
    let mut errors = FieldErrors::default();
    if !same(&now["spec"]["selector"], &object["spec"]["selector"]) {
        let path = Path::new("spec").child("selector");
        errors.invalid(&path, object["spec"]["selector"].clone(), "field is immutable");
    }
    if !same(&now["spec"], &object["spec"]) {
        let generation = now["metadata"]["generation"].as_i64().unwrap_or(1);
        object::set_metadata(object, "generation", Some(json!(generation + 1)));
    }
    errors
}

/// A claim may only be told, once, which volume is to be its.
fn claim_update(now: &Value, object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::default();
    let mut compared = object["spec"].clone();
    if text(now, "/spec/volumeName").is_empty() {
        compared["volumeName"] = now["spec"]["volumeName"].clone();
    }
    if !same(&compared, &now["spec"]) {
        let why = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        errors.forbidden(&Path::new("spec"), why);
    }
    errors
}

fn volume_update(now: &Value, object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::default();
    let spec = Path::new("spec");
    if ["hostPath", "local"].iter().any(|source| !same(&now["spec"][*source], &object["spec"][*source])) {
        let why = "spec.persistentvolumesource is immutable after creation";
        errors.forbidden(&spec.child("persistentvolumesource"), why);
    }
    if !same(&now["spec"]["volumeMode"], &object["spec"]["volumeMode"]) {
        let mode = object["spec"]["volumeMode"].clone();
        errors.invalid(&spec.child("volumeMode"), mode, "field is immutable");
    }
    errors
}

fn immutable_data(now: &Value, object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::default();
    if now["immutable"] != true {
        return errors;
    }
    if object["immutable"] != true {
        errors.forbidden(&Path::new("immutable"), "field is immutable when `immutable` is set");
    }
    for field in ["data", "binaryData"] {
        if !same(&now[field], &object[field]) {
            errors.forbidden(&Path::new(field), "field is immutable when `immutable` is set");
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Value {
        json!({"metadata": {"name": "a", "uid": "u", "resourceVersion": "5"},
            "spec": {"nodeName": "n", "containers": [{"name": "main", "image": "x", "resources": {}}],
                "tolerations": [{"key": "k"}]}, "status": {"phase": "Running"}})
    }

    fn given(change: impl FnOnce(&mut Value)) -> Given {
        let mut object = pod();
        change(&mut object);
        let version = text(&object, "/metadata/resourceVersion").to_owned();
        Given { uid: String::new(), version, warnings: Vec::new(), object }
    }

    #[test]
    fn a_pod_may_change_only_what_kubernetes_lets_change() {
        let update = |change: fn(&mut Value)| replaced(Resource::Pods, &pod(), given(change));
        let labelled = update(|pod| pod["metadata"]["labels"] = json!({"a": "b"})).unwrap();
        assert_eq!(
            (&labelled["metadata"]["uid"], &labelled["status"]["phase"]),
            (&json!("u"), &json!("Running"))
        );
        assert!(update(|pod| pod["spec"]["tolerations"] = json!([{"key": "k"}, {"key": "l"}])).is_ok());
        let refused = |change: fn(&mut Value)| update(change).unwrap_err().message().to_owned();
        assert!(
            refused(|pod| pod["spec"]["nodeName"] = json!("other"))
                .starts_with(&format!("Pod \"a\" is invalid: spec: Forbidden: {POD_IMMUTABLE}"))
        );
        assert!(refused(|pod| pod["spec"]["tolerations"] = json!([])).contains(POD_IMMUTABLE));
        assert!(
            refused(|pod| pod["spec"]["containers"][0]["image"] = json!("y")).contains("not supported yet")
        );
        assert!(refused(|pod| pod["metadata"]["resourceVersion"] = json!("4")).contains("has been modified"));
    }
}
