//! Strategic merge patches (`apimachinery/pkg/util/strategicpatch`): as merge patches, but lists whose type names a key are
//! merged item by item, lists of plain values that are sets are united, and `$patch`, `$deleteFromPrimitiveList/…`,
//! `$setElementOrder/…` and `$retainKeys` say what a plain patch cannot.

use crate::error::{ApiError, Result};
use serde_json::{Map, Value};

/// How a list is merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// By the value of this field.
    By(&'static str),
    /// As a set of plain values.
    Union,
    /// It is not: the patch's takes its place.
    Replace,
}

/// The lists of the API that are merged, by the field that they are in (`patchMergeKey`, `patchStrategy` in the API's Go
/// types). A name means the same list in every kind that is served here, but for those that are looked at more closely.
fn how(path: &[&str]) -> How {
    let field = path.last().copied().unwrap_or_default();
    let parent = path.len().checked_sub(2).map(|at| path[at]);
    match (field, parent) {
        ("ownerReferences", Some("metadata")) => How::By("uid"),
        ("finalizers", _) => How::Union,
        (
            "containers"
            | "initContainers"
            | "ephemeralContainers"
            | "env"
            | "volumes"
            | "imagePullSecrets"
            | "resourceClaims",
            _,
        ) => How::By("name"),
        ("secrets", None) => How::By("name"),
        ("volumeMounts", _) => How::By("mountPath"),
        ("volumeDevices", _) => How::By("devicePath"),
        ("ports", _) => How::By("containerPort"),
        ("hostAliases", _) => How::By("ip"),
        ("hostIPs" | "podIPs", Some("status")) => How::By("ip"),
        ("topologySpreadConstraints", _) => How::By("topologyKey"),
        ("conditions" | "addresses", Some("status")) => How::By("type"),
        ("podCIDRs", Some("spec")) => How::Union,
        _ => How::Replace,
    }
}

const RETAIN: &str = "$retainKeys";
const DIRECTIVE: &str = "$patch";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const ORDER: &str = "$setElementOrder/";

/// The object that a patch makes of another.
pub(super) fn apply(object: &Value, patch: &Value) -> Result<Value> {
    let (Value::Object(object), Value::Object(patch)) = (object, patch) else {
        return Err(ApiError::bad_request("the patch is no object"));
    };
    Ok(Value::Object(merge_objects(object, patch, &mut Vec::new())?))
}

fn merge_objects<'a>(
    object: &Map<String, Value>,
    patch: &'a Map<String, Value>,
    path: &mut Vec<&'a str>,
) -> Result<Map<String, Value>> {
    let mut made = match patch.get(DIRECTIVE).and_then(Value::as_str) {
        None | Some("merge") => object.clone(),
        Some("replace") => return Ok(without_directives(patch)),
        Some("delete") => return Ok(Map::new()),
        Some(other) => return Err(bad(format!("unknown patch type: {other}"))),
    };
    if let Some(keys) = patch.get(RETAIN) {
        let keys = keys.as_array().ok_or_else(|| bad(format!("{RETAIN} must be a list")))?;
        made.retain(|key, _| keys.iter().any(|kept| kept == key));
    }
    for (key, change) in patch {
        if let Some(field) = key.strip_prefix(DELETE_FROM) {
            delete_from(&mut made, field, change)?;
        } else if !key.starts_with('$') {
            let had = made.get(key).cloned();
            path.push(key);
            let merged = merged(had.as_ref(), change, path);
            path.pop();
            match merged? {
                Some(value) => drop(made.insert(key.clone(), value)),
                None => drop(made.shift_remove(key)),
            }
        }
    }
    for (key, order) in patch {
        if let Some(field) = key.strip_prefix(ORDER) {
            path.push(field);
            let how = how(path);
            path.pop();
            if let (Some(Value::Array(items)), Value::Array(order)) = (made.get_mut(field), order) {
                set_order(items, order, how);
            }
        }
    }
    Ok(made)
}

/// A field with its change; none if it goes.
fn merged<'a>(had: Option<&Value>, change: &'a Value, path: &mut Vec<&'a str>) -> Result<Option<Value>> {
    match (had, change) {
        (_, Value::Null) => Ok(None),
        (Some(Value::Object(had)), Value::Object(change)) => {
            let gone = change.get(DIRECTIVE).is_some_and(|directive| directive == "delete");
            let made = merge_objects(had, change, path)?;
            Ok((!gone).then_some(Value::Object(made)))
        }
        (_, Value::Object(change)) => Ok(Some(Value::Object(merge_objects(&Map::new(), change, path)?))),
        (had, Value::Array(changes)) => {
            let none = Vec::new();
            let had = had.and_then(Value::as_array).unwrap_or(&none);
            merge_lists(had, changes, how(path), path).map(|items| Some(Value::Array(items)))
        }
        (_, plain) => Ok(Some(plain.clone())),
    }
}

fn merge_lists<'a>(
    had: &[Value],
    changes: &'a [Value],
    how: How,
    path: &mut Vec<&'a str>,
) -> Result<Vec<Value>> {
    match how {
        How::Replace => Ok(changes.iter().map(plain).collect()),
        How::Union => {
            let mut made = had.to_vec();
            let new = changes.iter().filter(|change| !had.contains(change));
            made.extend(new.cloned());
            Ok(made)
        }
        How::By(key) => merge_by(had, changes, key, path),
    }
}

fn merge_by<'a>(
    had: &[Value],
    changes: &'a [Value],
    key: &str,
    path: &mut Vec<&'a str>,
) -> Result<Vec<Value>> {
    let is_replaced =
        |change: &Value| change.get(DIRECTIVE).is_some_and(|d| d == "replace") && change.get(key).is_none();
    let mut made = if changes.iter().any(is_replaced) { Vec::new() } else { had.to_vec() };
    for change in changes.iter().filter(|change| !is_replaced(change)) {
        let Value::Object(fields) = change else {
            return Err(bad(format!(
                "{}: an item of a list that is merged by {key} must be an object",
                path.join(".")
            )));
        };
        let wanted = fields
            .get(key)
            .ok_or_else(|| bad(format!("map: {change} does not contain declared merge key: {key}")))?;
        let at = made.iter().position(|item| item.get(key) == Some(wanted));
        let goes = fields.get(DIRECTIVE).is_some_and(|directive| directive == "delete");
        match (at, goes) {
            (Some(at), true) => drop(made.remove(at)),
            (None, true) => {}
            (Some(at), false) => {
                let none = Map::new();
                let item = made[at].as_object().unwrap_or(&none);
                made[at] = Value::Object(merge_objects(item, fields, path)?);
            }
            (None, false) => made.push(Value::Object(merge_objects(&Map::new(), fields, path)?)),
        }
    }
    Ok(made)
}

fn delete_from(object: &mut Map<String, Value>, field: &str, gone: &Value) -> Result<()> {
    let gone = gone.as_array().ok_or_else(|| bad(format!("{DELETE_FROM}{field} must be a list")))?;
    if let Some(Value::Array(items)) = object.get_mut(field) {
        items.retain(|item| !gone.contains(item));
    }
    Ok(())
}

/// Puts the items that an order names in that order, in the places that they have together; others stay where they are.
fn set_order(items: &mut [Value], order: &[Value], how: How) {
    let rank = |item: &Value| {
        order.iter().position(|wanted| match how {
            How::By(key) => item.get(key).is_some() && item.get(key) == wanted.get(key),
            _ => item == wanted,
        })
    };
    let places: Vec<usize> = (0..items.len()).filter(|at| rank(&items[*at]).is_some()).collect();
    let mut named: Vec<Value> = places.iter().map(|at| items[*at].clone()).collect();
    named.sort_by_key(|item| rank(item));
    for (at, item) in places.into_iter().zip(named) {
        items[at] = item;
    }
}

fn without_directives(object: &Map<String, Value>) -> Map<String, Value> {
    let fields = object.iter().filter(|(key, _)| !key.starts_with('$'));
    fields.map(|(key, value)| (key.clone(), plain(value))).collect()
}

fn plain(value: &Value) -> Value {
    match value {
        Value::Object(object) => Value::Object(without_directives(object)),
        Value::Array(items) => Value::Array(items.iter().map(plain).collect()),
        value => value.clone(),
    }
}

fn bad(message: String) -> ApiError {
    ApiError::bad_request(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn patched(object: Value, patch: Value) -> Value {
        apply(&object, &patch).unwrap()
    }

    #[test]
    fn lists_are_merged_by_their_keys() {
        let pod = json!({"metadata": {"labels": {"a": "1"}, "finalizers": ["x"]}, "spec": {"containers": [
            {"name": "main", "image": "a", "volumeMounts": [{"mountPath": "/home", "name": "v"}], "args": ["1"]},
            {"name": "side", "image": "b"},
        ]}});
        let made = patched(
            pod,
            json!({"metadata": {"labels": {"a": null, "b": "2"}, "finalizers": ["y", "x"]}, "spec": {"containers": [
                {"name": "main", "args": ["2"], "volumeMounts": [{"mountPath": "/home", "readOnly": true}, {"mountPath": "/new", "name": "w"}]},
                {"name": "side", "$patch": "delete"},
                {"name": "third", "image": "c"},
            ]}}),
        );
        assert_eq!(
            made,
            json!({"metadata": {"labels": {"b": "2"}, "finalizers": ["x", "y"]}, "spec": {"containers": [
                {"name": "main", "image": "a", "volumeMounts": [{"mountPath": "/home", "name": "v", "readOnly": true}, {"mountPath": "/new", "name": "w"}], "args": ["2"]},
                {"name": "third", "image": "c"},
            ]}})
        );
    }

    #[test]
    fn directives_do_what_they_say() {
        let pod = json!({"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/a"}}, {"name": "w"}], "nodeSelector": {"a": "b"}}});
        let made = patched(
            pod.clone(),
            json!({"spec": {"$setElementOrder/volumes": [{"name": "w"}, {"name": "v"}],
                "volumes": [{"name": "v", "$retainKeys": ["name", "emptyDir"], "emptyDir": {}}]}}),
        );
        assert_eq!(made["spec"]["volumes"], json!([{"name": "w"}, {"name": "v", "emptyDir": {}}]));
        let made = patched(pod.clone(), json!({"spec": {"nodeSelector": {"$patch": "replace", "c": "d"}}}));
        assert_eq!(made["spec"]["nodeSelector"], json!({"c": "d"}));
        let made =
            patched(pod.clone(), json!({"spec": {"volumes": [{"$patch": "replace"}, {"name": "only"}]}}));
        assert_eq!(made["spec"]["volumes"], json!([{"name": "only"}]));
        let made = patched(
            json!({"metadata": {"finalizers": ["a", "b"]}}),
            json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}),
        );
        assert_eq!(made["metadata"]["finalizers"], json!(["b"]));
        let made = patched(pod.clone(), json!({"spec": {"nodeSelector": {"$patch": "delete"}}}));
        assert_eq!(made["spec"].get("nodeSelector"), None);
        for bad in [
            json!({"spec": {"volumes": [{"emptyDir": {}}]}}),
            json!({"spec": {"volumes": [3]}}),
            json!({"spec": {"$patch": "explode"}}),
            json!({"spec": {"$retainKeys": 3}}),
        ] {
            assert_eq!(apply(&pod, &bad).unwrap_err().code.as_u16(), 400, "{bad}");
        }
    }
}
