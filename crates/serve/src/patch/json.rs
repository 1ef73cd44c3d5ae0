//! JSON patches (RFC 6902).

use crate::error::{ApiError, Result};
use serde_json::Value;

/// Operations of one patch, as the API server has it (`maxJSONPatchOperations`).
const MOST: usize = 10_000;

/// Does all of a patch, or nothing. What does not apply is refused without a reason, as by the API server.
pub(super) fn apply(object: &Value, patch: &Value) -> Result<Value> {
    let wrong = || ApiError::bad_request("error decoding patch: it is no list of operations");
    let operations = patch.as_array().ok_or_else(wrong)?;
    if operations.len() > MOST {
        return Err(ApiError::too_large_patch(MOST, operations.len()));
    }
    let mut object = object.clone();
    for operation in operations {
        one(&mut object, operation).ok_or_else(ApiError::unprocessable)?;
    }
    Ok(object)
}

/// One operation; none if it does not apply.
fn one(object: &mut Value, operation: &Value) -> Option<()> {
    let path = operation.get("path")?.as_str()?;
    let value = || operation.get("value").cloned();
    match operation.get("op")?.as_str()? {
        "add" => add(object, path, value()?),
        "remove" => remove(object, path).map(drop),
        "replace" => {
            *object.pointer_mut(path)? = value()?;
            Some(())
        }
        "move" => {
            let from = operation.get("from")?.as_str()?;
            // A value cannot be put below itself.
            if path.strip_prefix(from).is_some_and(|below| below.starts_with('/')) {
                return None;
            }
            let moved = remove(object, from)?;
            add(object, path, moved)
        }
        "copy" => {
            let copied = object.pointer(operation.get("from")?.as_str()?)?.clone();
            add(object, path, copied)
        }
        "test" => (object.pointer(path) == Some(&value()?)).then_some(()),
        _ => None,
    }
}

/// The parent of what a pointer names, and the last step to it.
fn parent<'a>(object: &'a mut Value, path: &str) -> Option<(&'a mut Value, String)> {
    let (parent, last) = path.rsplit_once('/')?;
    Some((object.pointer_mut(parent)?, last.replace("~1", "/").replace("~0", "~")))
}

fn index(step: &str, length: usize) -> Option<usize> {
    let plain = step == "0" || (!step.starts_with('0') && step.bytes().all(|b| b.is_ascii_digit()));
    step.parse().ok().filter(|index| plain && *index <= length)
}

fn add(object: &mut Value, path: &str, value: Value) -> Option<()> {
    if path.is_empty() {
        *object = value;
        return Some(());
    }
    match parent(object, path)? {
        (Value::Object(fields), step) => drop(fields.insert(step, value)),
        (Value::Array(items), step) if step == "-" => items.push(value),
        (Value::Array(items), step) => {
            let at = index(&step, items.len())?;
            items.insert(at, value);
        }
        _ => return None,
    }
    Some(())
}

fn remove(object: &mut Value, path: &str) -> Option<Value> {
    match parent(object, path)? {
        (Value::Object(fields), step) => fields.shift_remove(&step),
        (Value::Array(items), step) => {
            let at = index(&step, items.len()).filter(|at| *at < items.len())?;
            Some(items.remove(at))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Most of the examples of RFC 6902, appendix A.
    #[test]
    fn json_patches_are_those_of_the_rfc() {
        let ok = |object: Value, patch: Value, result: Value| {
            assert_eq!(apply(&object, &json!([patch])).unwrap(), result, "{patch}");
        };
        ok(
            json!({"foo":"bar"}),
            json!({"op":"add","path":"/baz","value":"qux"}),
            json!({"foo":"bar","baz":"qux"}),
        );
        ok(
            json!({"foo":["bar","baz"]}),
            json!({"op":"add","path":"/foo/1","value":"qux"}),
            json!({"foo":["bar","qux","baz"]}),
        );
        ok(json!({"baz":"qux","foo":"bar"}), json!({"op":"remove","path":"/baz"}), json!({"foo":"bar"}));
        ok(json!({"foo":["bar","qux"]}), json!({"op":"remove","path":"/foo/1"}), json!({"foo":["bar"]}));
        ok(json!({"baz":"qux"}), json!({"op":"replace","path":"/baz","value":"boo"}), json!({"baz":"boo"}));
        ok(
            json!({"a":{"b":1},"c":{}}),
            json!({"op":"move","from":"/a/b","path":"/c/d"}),
            json!({"a":{},"c":{"d":1}}),
        );
        ok(json!({"a":1}), json!({"op":"test","path":"/a","value":1}), json!({"a":1}));
        ok(
            json!({"foo":["bar"]}),
            json!({"op":"add","path":"/foo/-","value":["abc"]}),
            json!({"foo":["bar",["abc"]]}),
        );
        ok(json!({"/":9,"~1":10}), json!({"op":"test","path":"/~01","value":10}), json!({"/":9,"~1":10}));
        ok(json!({"a":[1]}), json!({"op":"copy","from":"/a/0","path":"/b"}), json!({"a":[1],"b":1}));
        for bad in [
            json!({"op":"remove","path":"/metadata/labels/nosuch"}),
            json!({"op":"test","path":"/a","value":2}),
            json!({"op":"add","path":"/x/y","value":2}),
            json!({"op":"add","path":"/a"}),
            json!({"op":"replace","path":"/x","value":1}),
            json!({"op":"nosuch","path":"/a"}),
            json!({"op":"move","from":"/a","path":"/a/b"}),
            json!({"op":"add","path":"/l/01","value":1}),
            json!({"op":"add","path":"/l/7","value":1}),
            json!(7),
        ] {
            let object = json!({"a":1,"l":[1,2]});
            assert_eq!(apply(&object, &json!([bad])).unwrap_err().code.as_u16(), 422, "{bad}");
        }
    }
}
