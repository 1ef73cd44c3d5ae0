//! Bodies in protobuf, as `kubectl create namespace`, `configmap`, `secret` and `serviceaccount` send them and nobody else
//! has to: read into the JSON of the same object. Answers are always JSON, which those clients take. Pure.
//!
//! The form is that of `k8s.io/apimachinery/pkg/runtime` (`generated.proto`): four bytes of magic, then a message with the
//! object's type and its bytes. The numbers of the fields below are from the API's `generated.proto` files.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value};

const MAGIC: &[u8] = b"k8s\0";
/// Messages in messages; the deepest here is four.
const MAX_DEPTH: usize = 8;

/// What a field holds.
#[derive(Clone, Copy)]
enum Type {
    Text,
    Bytes,
    Bool,
    Int,
    Time,
    Message(&'static [Field]),
    /// From text to this.
    Map(&'static Type),
}

/// A field: its number, its JSON name, what it holds, and whether it is a list of that.
type Field = (u64, &'static str, Type, bool);

const UNKNOWN: &[Field] = &[
    (
        1,
        "typeMeta",
        Type::Message(&[(1, "apiVersion", Type::Text, false), (2, "kind", Type::Text, false)]),
        false,
    ),
    (2, "raw", Type::Bytes, false),
];
const OWNER: &[Field] = &[
    (1, "kind", Type::Text, false),
    (3, "name", Type::Text, false),
    (4, "uid", Type::Text, false),
    (5, "apiVersion", Type::Text, false),
    (6, "controller", Type::Bool, false),
    (7, "blockOwnerDeletion", Type::Bool, false),
];
const METADATA: &[Field] = &[
    (1, "name", Type::Text, false),
    (2, "generateName", Type::Text, false),
    (3, "namespace", Type::Text, false),
    (5, "uid", Type::Text, false),
    (6, "resourceVersion", Type::Text, false),
    (7, "generation", Type::Int, false),
    (8, "creationTimestamp", Type::Time, false),
    (9, "deletionTimestamp", Type::Time, false),
    (10, "deletionGracePeriodSeconds", Type::Int, false),
    (11, "labels", Type::Map(&Type::Text), false),
    (12, "annotations", Type::Map(&Type::Text), false),
    (13, "ownerReferences", Type::Message(OWNER), true),
    (14, "finalizers", Type::Text, true),
];
const NAMESPACE: &[Field] = &[
    (1, "metadata", Type::Message(METADATA), false),
    (2, "spec", Type::Message(&[(1, "finalizers", Type::Text, true)]), false),
];
const CONFIG_MAP: &[Field] = &[
    (1, "metadata", Type::Message(METADATA), false),
    (2, "data", Type::Map(&Type::Text), false),
    (3, "binaryData", Type::Map(&Type::Bytes), false),
    (4, "immutable", Type::Bool, false),
];
const SECRET: &[Field] = &[
    (1, "metadata", Type::Message(METADATA), false),
    (2, "data", Type::Map(&Type::Bytes), false),
    (3, "type", Type::Text, false),
    (4, "stringData", Type::Map(&Type::Text), false),
    (5, "immutable", Type::Bool, false),
];
const REFERENCE: &[Field] = &[
    (1, "kind", Type::Text, false),
    (2, "namespace", Type::Text, false),
    (3, "name", Type::Text, false),
    (4, "uid", Type::Text, false),
    (5, "apiVersion", Type::Text, false),
];
const SERVICE_ACCOUNT: &[Field] = &[
    (1, "metadata", Type::Message(METADATA), false),
    (2, "secrets", Type::Message(REFERENCE), true),
    (3, "imagePullSecrets", Type::Message(&[(1, "name", Type::Text, false)]), true),
    (4, "automountServiceAccountToken", Type::Bool, false),
];
const PRECONDITIONS: &[Field] = &[(1, "uid", Type::Text, false), (2, "resourceVersion", Type::Text, false)];
const DELETE_OPTIONS: &[Field] = &[
    (1, "gracePeriodSeconds", Type::Int, false),
    (2, "preconditions", Type::Message(PRECONDITIONS), false),
    (4, "propagationPolicy", Type::Text, false),
    (5, "dryRun", Type::Text, true),
];

/// Reads a body, if it is one of those that are known.
///
/// # Errors
/// Why it cannot be read.
pub(crate) fn to_json(body: &[u8]) -> Result<Value, String> {
    let body = body.strip_prefix(MAGIC).ok_or("the body does not begin as protobuf of Kubernetes does")?;
    let unknown = Value::Object(message(body, UNKNOWN, 0)?);
    let kind = unknown.pointer("/typeMeta/kind").and_then(Value::as_str).unwrap_or_default();
    let fields = match kind {
        "Namespace" => NAMESPACE,
        "ConfigMap" => CONFIG_MAP,
        "Secret" => SECRET,
        "ServiceAccount" => SERVICE_ACCOUNT,
        "DeleteOptions" => DELETE_OPTIONS,
        other => return Err(format!("a {other} is taken as JSON or YAML, not as protobuf")),
    };
    let raw = unknown["raw"].as_str().unwrap_or_default();
    let raw = STANDARD.decode(raw).map_err(|error| error.to_string())?;
    let mut object = Map::new();
    object.insert("kind".into(), kind.into());
    object.insert("apiVersion".into(), unknown["typeMeta"]["apiVersion"].clone());
    object.extend(message(&raw, fields, 0)?);
    Ok(Value::Object(object))
}

fn message(mut bytes: &[u8], fields: &[Field], depth: usize) -> Result<Map<String, Value>, String> {
    let mut object = Map::new();
    if depth > MAX_DEPTH {
        return Err("messages are nested too deep".to_owned());
    }
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let held = Held::read(tag & 7, &mut bytes)?;
        // What is not known is passed over, as protobuf has it.
        let Some((_, name, ty, list)) = fields.iter().find(|field| field.0 == tag >> 3) else { continue };
        if let Type::Map(of) = ty {
            let entry = [(1, "key", Type::Text, false), (2, "value", **of, false)];
            let mut entry = message(held.bytes()?, &entry, depth + 1)?;
            let key = entry.get("key").and_then(Value::as_str).unwrap_or_default().to_owned();
            let value = entry.shift_remove("value").unwrap_or_else(|| "".into());
            if let Value::Object(map) = object.entry(*name).or_insert_with(|| Value::Object(Map::new())) {
                map.insert(key, value);
            }
            continue;
        }
        let value = value(&held, *ty, depth)?;
        if !list {
            object.insert((*name).to_owned(), value);
        } else if let Value::Array(items) = object.entry(*name).or_insert_with(|| Value::Array(Vec::new())) {
            items.push(value);
        }
    }
    Ok(object)
}

fn value(held: &Held<'_>, ty: Type, depth: usize) -> Result<Value, String> {
    Ok(match ty {
        Type::Text => {
            let text = std::str::from_utf8(held.bytes()?).map_err(|_| "a text is not UTF-8")?;
            text.into()
        }
        Type::Bytes => STANDARD.encode(held.bytes()?).into(),
        Type::Bool => (held.number()? != 0).into(),
        Type::Int => held.number()?.cast_signed().into(),
        Type::Message(fields) => Value::Object(message(held.bytes()?, fields, depth + 1)?),
        Type::Time => {
            let time = message(held.bytes()?, &[(1, "seconds", Type::Int, false)], depth + 1)?;
            // Go writes the time that there is none of as this one.
            let seconds = time.get("seconds").and_then(Value::as_i64).filter(|seconds| *seconds > 0);
            let time = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
            time.map_or(Value::Null, |time| crate::object::time_text(time).into())
        }
        Type::Map(_) => Value::Null,
    })
}

/// What stands behind a tag.
enum Held<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Held<'a> {
    fn read(wire: u64, bytes: &mut &'a [u8]) -> Result<Held<'a>, String> {
        let length = match wire {
            0 => return Ok(Held::Number(varint(bytes)?)),
            1 => 8,
            2 => usize::try_from(varint(bytes)?).map_err(|_| "a length is too long")?,
            5 => 4,
            other => return Err(format!("there is no wire type {other}")),
        };
        let (held, rest) = bytes.split_at_checked(length).ok_or("the body ends in the middle of a field")?;
        *bytes = rest;
        Ok(Held::Bytes(held))
    }

    fn bytes(&self) -> Result<&'a [u8], String> {
        match self {
            Held::Bytes(bytes) => Ok(bytes),
            Held::Number(_) => Err("a number stands where a text should".to_owned()),
        }
    }

    fn number(&self) -> Result<u64, String> {
        match self {
            Held::Number(number) => Ok(*number),
            Held::Bytes(_) => Err("a text stands where a number should".to_owned()),
        }
    }
}

fn varint(bytes: &mut &[u8]) -> Result<u64, String> {
    let mut number = 0;
    for at in 0..10 {
        let (byte, rest) = bytes.split_first().ok_or("the body ends in the middle of a number")?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f).checked_shl(at * 7).unwrap_or(0);
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err("a number is too long".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
        out.extend_from_slice(bytes);
        out
    }

    fn secret() -> Vec<u8> {
        let metadata =
            [field(1, b"s"), field(8, b""), field(11, &[field(1, b"a"), field(2, b"b")].concat())].concat();
        let data = [field(1, b"key"), field(2, b"\xff\0")].concat();
        let raw = [field(1, &metadata), field(2, &data), field(3, b"Opaque"), vec![5 << 3, 1]].concat();
        let about = [field(1, b"v1"), field(2, b"Secret")].concat();
        [MAGIC.to_vec(), field(1, &about), field(2, &raw), field(3, b""), field(4, b"")].concat()
    }

    #[test]
    fn an_object_is_read() {
        assert_eq!(
            to_json(&secret()).unwrap(),
            json!({"kind": "Secret", "apiVersion": "v1", "type": "Opaque", "immutable": true,
                "metadata": {"name": "s", "creationTimestamp": null, "labels": {"a": "b"}}, "data": {"key": "/wA="}})
        );
    }

    /// Cut anywhere, and with any byte changed, it is read or refused.
    #[test]
    fn what_is_damaged_is_refused_and_harms_nothing() {
        let whole = secret();
        for length in 0..whole.len() {
            let _ = to_json(&whole[..length]);
            for byte in 0..=255 {
                let mut damaged = whole.clone();
                damaged[length] = byte;
                let _ = to_json(&damaged);
            }
        }
        assert!(to_json(b"k8s\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff").is_err());
        assert!(to_json(b"{}").is_err());
        let pod = [MAGIC.to_vec(), field(1, &field(2, b"Pod"))].concat();
        assert_eq!(to_json(&pod).unwrap_err(), "a Pod is taken as JSON or YAML, not as protobuf");
    }
}
