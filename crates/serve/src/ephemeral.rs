//! `pods/NAME/ephemeralcontainers`: how containers are added to a pod that runs (`kubectl debug`). Pure.

use crate::decode::Given;
use crate::error::{ApiError, Result};
use crate::kinds::Resource;
use crate::object::{self, items, text};
use crate::static_pods::MIRROR;
use crate::verbs;
use manifest::field::{FieldErrors, Path};
use serde_json::{Value, json};

/// The pod with the ephemeral containers that a client wants it to have; whatever else it sent means nothing. None may be
/// changed or taken away (`ValidatePodEphemeralContainersUpdate`).
pub(crate) fn replaced(_: Resource, now: &Value, given: Given) -> Result<Value> {
    verbs::preconditions(Resource::Pods, now, &given)?;
    let wanted = items(&given.object, "/spec/ephemeralContainers");
    let had = items(now, "/spec/ephemeralContainers");
    let mut errors = FieldErrors::default();
    if now["metadata"]["annotations"][MIRROR].is_string() {
        errors.forbidden(&Path::new(""), "static pods do not support ephemeral containers");
    }
    for container in had {
        let name = text(container, "/name");
        let path = Path::new("spec").child("ephemeralContainers");
        match wanted.iter().find(|wanted| text(wanted, "/name") == name) {
            None => {
                let why = format!("existing ephemeral containers {name:?} may not be removed\n");
                errors.forbidden(&path, &why);
            }
            Some(wanted) if !verbs::same(container, wanted) => {
                let why = format!("existing ephemeral containers {name:?} may not be changed\n");
                errors.forbidden(&path, &why);
            }
            Some(_) => {}
        }
    }
    if !errors.is_empty() {
        return Err(ApiError::invalid("Pod", "", text(now, "/metadata/name"), &errors));
    }
    let mut object = now.clone();
    if wanted.len() > had.len() {
        object["spec"]["ephemeralContainers"] = json!(wanted);
        let generation = now["metadata"]["generation"].as_i64().unwrap_or(1);
        object::set_metadata(&mut object, "generation", Some(json!(generation + 1)));
    }
    Ok(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(containers: Value) -> Value {
        json!({"metadata": {"name": "a", "uid": "u", "resourceVersion": "5", "generation": 1},
            "spec": {"nodeName": "n", "containers": [{"name": "main"}], "ephemeralContainers": containers}})
    }

    fn changed(now: &Value, wanted: Value) -> Result<Value> {
        let given =
            Given { object: wanted, uid: String::new(), version: "5".to_owned(), warnings: Vec::new() };
        replaced(Resource::Pods, now, given)
    }

    #[test]
    fn containers_are_added_and_nothing_else_is_changed() {
        let now = pod(json!([{"name": "a", "image": "x"}]));
        let mut wanted = pod(json!([{"name": "a", "image": "x"}, {"name": "b", "image": "y"}]));
        wanted["spec"]["containers"][0]["image"] = "other".into();
        let made = changed(&now, wanted).unwrap();
        assert_eq!(made["spec"]["ephemeralContainers"].as_array().unwrap().len(), 2);
        assert_eq!(
            (&made["spec"]["containers"][0]["image"], &made["metadata"]["generation"]),
            (&Value::Null, &json!(2))
        );
        assert_eq!(changed(&now, now.clone()).unwrap(), now);
    }

    #[test]
    fn those_that_are_there_stay_as_they_are() {
        let now = pod(json!([{"name": "a", "image": "x"}]));
        let refused = changed(&now, pod(json!([]))).unwrap_err();
        assert_eq!(
            refused.message(),
            "Pod \"a\" is invalid: spec.ephemeralContainers: Forbidden: existing ephemeral containers \"a\" may not be removed\n"
        );
        let refused = changed(&now, pod(json!([{"name": "a", "image": "y"}]))).unwrap_err();
        assert!(
            refused.message().contains("ephemeral containers \"a\" may not be changed"),
            "{}",
            refused.message()
        );
        let mut mirror = now.clone();
        mirror["metadata"]["annotations"] = json!({MIRROR: "hash"});
        let refused = changed(&mirror, pod(json!([{"name": "a", "image": "x"}, {"name": "b"}]))).unwrap_err();
        assert!(refused.message().contains("static pods do not support ephemeral containers"));
    }
}
