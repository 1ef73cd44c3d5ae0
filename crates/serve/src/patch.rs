//! Patches: what becomes of an object by a JSON patch (RFC 6902), a merge patch (RFC 7386) or a strategic merge patch
//! (Kubernetes' own: lists are merged by keys that their types name). Pure.

mod json;
mod strategic;

use crate::error::{ApiError, Result};
use serde_json::Value;

/// A form of patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Merge,
    Strategic,
}

/// The form that a content type names.
pub(crate) fn form(content_type: &str) -> Result<Form> {
    match content_type.split(';').next().unwrap_or_default().trim() {
        "application/json-patch+json" => Ok(Form::Json),
        "application/merge-patch+json" => Ok(Form::Merge),
        "application/strategic-merge-patch+json" => Ok(Form::Strategic),
        "application/apply-patch+yaml" | "application/apply-patch+cbor" => Err(ApiError::unsupported_patch(
            "server-side apply is not supported yet by this version of rhizome: use `kubectl apply` without --server-side",
        )),
        _ => Err(ApiError::unsupported_patch("415: Unsupported Media Type")),
    }
}

/// The object that a patch makes of another.
pub(crate) fn apply(form: Form, object: &Value, patch: &[u8]) -> Result<Value> {
    let text = String::from_utf8_lossy(patch);
    let patch: Value = serde_json::from_slice(patch).map_err(|error| {
        let words = crate::decode::json_words(&text, &error);
        // The API server's own decoders say this; the one of JSON patches is another's.
        let before = if form == Form::Json { "error decoding patch: " } else { "" };
        ApiError::bad_request(format!("{before}{words}"))
    })?;
    let is_object = patch.is_object();
    match form {
        Form::Json => json::apply(object, &patch),
        Form::Merge | Form::Strategic if !is_object => Err(ApiError::bad_request(
            "json: cannot unmarshal array into Go value of type map[string]interface {}",
        )),
        Form::Merge => {
            let mut object = object.clone();
            merge(&mut object, &patch);
            Ok(object)
        }
        Form::Strategic => strategic::apply(object, &patch),
    }
}

/// RFC 7386: null takes away, objects are merged, all else is replaced.
fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = Value::Object(serde_json::Map::new());
    }
    let Value::Object(fields) = object else { return };
    for (key, change) in changes {
        match change {
            Value::Null => drop(fields.shift_remove(key)),
            change => merge(fields.entry(key).or_insert(Value::Null), change),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn patched(form: Form, object: Value, patch: &str) -> Result<Value> {
        apply(form, &object, patch.as_bytes())
    }

    /// The examples of RFC 7386, appendix A.
    #[test]
    fn merge_patches_are_those_of_the_rfc() {
        for (object, patch, result) in [
            (json!({"a":"b"}), r#"{"a":"c"}"#, json!({"a":"c"})),
            (json!({"a":"b"}), r#"{"b":"c"}"#, json!({"a":"b","b":"c"})),
            (json!({"a":"b"}), r#"{"a":null}"#, json!({})),
            (json!({"a":"b","b":"c"}), r#"{"a":null}"#, json!({"b":"c"})),
            (json!({"a":["b"]}), r#"{"a":"c"}"#, json!({"a":"c"})),
            (json!({"a":"c"}), r#"{"a":["b"]}"#, json!({"a":["b"]})),
            (json!({"a":{"b":"c"}}), r#"{"a":{"b":"d","c":null}}"#, json!({"a":{"b":"d"}})),
            (json!({"a":[{"b":"c"}]}), r#"{"a":[1]}"#, json!({"a":[1]})),
            (json!({"e":null}), r#"{"a":1}"#, json!({"e":null,"a":1})),
            (json!([1, 2]), r#"{"a":"b","c":null}"#, json!({"a":"b"})),
            (json!({}), r#"{"a":{"bb":{"ccc":null}}}"#, json!({"a":{"bb":{}}})),
        ] {
            assert_eq!(patched(Form::Merge, object, patch).unwrap(), result, "{patch}");
        }
    }

    #[test]
    fn what_is_no_patch_is_refused() {
        for (form, patch) in
            [(Form::Merge, "["), (Form::Merge, "[]"), (Form::Strategic, "3"), (Form::Json, "{}")]
        {
            let refused = patched(form, json!({}), patch).unwrap_err();
            assert!(matches!(refused.code.as_u16(), 400 | 422), "{patch}");
        }
        assert_eq!(super::form("text/plain").unwrap_err().message(), "415: Unsupported Media Type");
        assert_eq!(super::form("application/apply-patch+yaml").unwrap_err().code.as_u16(), 415);
    }
}
