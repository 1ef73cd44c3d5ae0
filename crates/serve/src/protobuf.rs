//! Bodies in protobuf, as kubectl sends them where it makes an object itself (`create namespace`, `create configmap`,
//! `debug --copy-to`, `drain`) and nobody else has to: read into the JSON of the same object. Answers are always JSON, which
//! those clients take. Pure.
//!
//! The form is that of `k8s.io/apimachinery/pkg/runtime` (`generated.proto`): four bytes of magic, then a message with the
//! object's type and its bytes. What the fields of which message are is in `protobuf/messages.txt`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::LazyLock;

const MAGIC: &[u8] = b"k8s\0";
/// Messages in messages; the deepest of a Pod (an expression of a claim's selector) is nine.
const MAX_DEPTH: usize = 12;

/// The kinds that are taken.
const KINDS: [&str; 7] =
    ["Namespace", "ConfigMap", "Secret", "ServiceAccount", "DeleteOptions", "Eviction", "Pod"];

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Text,
    Bytes,
    Bool,
    Int,
    Time,
    Quantity,
    IntOrText,
    Message(&'static str),
}

/// How often a field is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Many {
    /// Always; its zero is as good as nothing.
    Always,
    /// When it is set, also to zero.
    Set,
    List,
    /// From text.
    Map,
}

#[derive(Debug)]
struct Field {
    number: u64,
    /// In JSON; `.` for one whose own fields stand in its place.
    name: &'static str,
    ty: Type,
    many: Many,
}

static MESSAGES: LazyLock<HashMap<&'static str, Vec<Field>>> =
    LazyLock::new(|| parse_messages(include_str!("protobuf/messages.txt")));

fn parse_messages(text: &'static str) -> HashMap<&'static str, Vec<Field>> {
    let mut messages: HashMap<&'static str, Vec<Field>> = HashMap::new();
    let mut current = "";
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let fields = match line.split_once(": ") {
            Some((name, fields)) => {
                current = name;
                fields
            }
            None => line,
        };
        let fields = fields.split(',').filter_map(|field| parse_field(field.trim()));
        messages.entry(current).or_default().extend(fields);
    }
    messages
}

/// `NUMBER NAME TYPE`
fn parse_field(text: &'static str) -> Option<Field> {
    let mut words = text.split(' ');
    let (number, name, ty) = (words.next()?.parse().ok()?, words.next()?, words.next()?);
    let within = |open, close| ty.strip_prefix(open).and_then(|ty| ty.strip_suffix(close));
    let (ty, many) = if let Some(ty) = within('[', ']') {
        (ty, Many::List)
    } else if let Some(ty) = within('{', '}') {
        (ty, Many::Map)
    } else if let Some(ty) = ty.strip_suffix('*') {
        (ty, Many::Set)
    } else {
        (ty, Many::Always)
    };
    let ty = match ty {
        "text" => Type::Text,
        "bytes" => Type::Bytes,
        "bool" => Type::Bool,
        "int" => Type::Int,
        "time" => Type::Time,
        "quantity" => Type::Quantity,
        "int-or-text" => Type::IntOrText,
        message => Type::Message(message),
    };
    Some(Field { number, name, ty, many })
}

/// Reads a body, if it is one of those that are known.
///
/// # Errors
/// Why it cannot be read.
pub(crate) fn to_json(body: &[u8]) -> Result<Value, String> {
    let body = body.strip_prefix(MAGIC).ok_or("the body does not begin as protobuf of Kubernetes does")?;
    let unknown = Value::Object(message(body, "Unknown", 0)?);
    let kind = unknown.pointer("/typeMeta/kind").and_then(Value::as_str).unwrap_or_default();
    let Some(kind) = KINDS.into_iter().find(|known| *known == kind) else {
        return Err(format!("a {kind} is taken as JSON or YAML, not as protobuf"));
    };
    let raw = unknown["raw"].as_str().unwrap_or_default();
    let raw = STANDARD.decode(raw).map_err(|error| error.to_string())?;
    let mut object = Map::new();
    object.insert("kind".into(), kind.into());
    object.insert("apiVersion".into(), unknown["typeMeta"]["apiVersion"].clone());
    object.extend(message(&raw, kind, 0)?);
    Ok(Value::Object(object))
}

/// A message that the table has, as an object.
fn message(bytes: &[u8], name: &str, depth: usize) -> Result<Map<String, Value>, String> {
    let fields = MESSAGES.get(name).map(Vec::as_slice).unwrap_or_default();
    fields_of(bytes, fields, depth)
}

fn fields_of(mut bytes: &[u8], fields: &[Field], depth: usize) -> Result<Map<String, Value>, String> {
    let mut object = Map::new();
    if depth > MAX_DEPTH {
        return Err("messages are nested too deep".to_owned());
    }
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let held = Held::read(tag & 7, &mut bytes)?;
        // What is not known is passed over, as protobuf has it.
        let Some(field) = fields.iter().find(|field| field.number == tag >> 3) else { continue };
        match field.many {
            Many::Map => {
                let (key, value) = entry(held.bytes()?, field.ty, depth + 1)?;
                let map = object.entry(field.name).or_insert_with(|| Value::Object(Map::new()));
                map.as_object_mut().map(|map| map.insert(key, value));
            }
            Many::List => {
                let items = object.entry(field.name).or_insert_with(|| Value::Array(Vec::new()));
                let items = items.as_array_mut();
                items.map(|items| add(items, &held, field.ty, depth)).transpose()?;
            }
            Many::Always | Many::Set => match value(&held, field.ty, depth)? {
                Value::Object(own) if field.name == "." => object.extend(own),
                zero if field.many == Many::Always && is_zero(&zero) => {}
                value => drop(object.insert(field.name.to_owned(), value)),
            },
        }
    }
    Ok(object)
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Bool(truth) => !truth,
        Value::Number(number) => number.as_i64() == Some(0),
        _ => false,
    }
}

/// A pair of a map.
fn entry(bytes: &[u8], ty: Type, depth: usize) -> Result<(String, Value), String> {
    let key = Field { number: 1, name: "key", ty: Type::Text, many: Many::Set };
    let mut pair = fields_of(bytes, &[key, Field { number: 2, name: "value", ty, many: Many::Set }], depth)?;
    let key = pair.get("key").and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok((key, pair.shift_remove("value").unwrap_or_else(|| "".into())))
}

/// An element of a list, or several numbers that are packed.
fn add(items: &mut Vec<Value>, held: &Held<'_>, ty: Type, depth: usize) -> Result<(), String> {
    if let (Type::Int, Held::Bytes(packed)) = (ty, held) {
        let mut packed = *packed;
        while !packed.is_empty() {
            items.push(varint(&mut packed)?.cast_signed().into());
        }
        return Ok(());
    }
    items.push(value(held, ty, depth)?);
    Ok(())
}

fn value(held: &Held<'_>, ty: Type, depth: usize) -> Result<Value, String> {
    let inner = |field| fields_of(held.bytes()?, field, depth + 1);
    let set = |number, name, ty| Field { number, name, ty, many: Many::Set };
    Ok(match ty {
        Type::Text => {
            let text = std::str::from_utf8(held.bytes()?).map_err(|_| "a text is not UTF-8")?;
            text.into()
        }
        Type::Bytes => STANDARD.encode(held.bytes()?).into(),
        Type::Bool => (held.number()? != 0).into(),
        Type::Int => held.number()?.cast_signed().into(),
        Type::Message(name) => Value::Object(message(held.bytes()?, name, depth + 1)?),
        Type::Time => {
            let time = inner(&[set(1, "seconds", Type::Int)])?;
            // Go writes the time that there is none of as this one.
            let seconds = time.get("seconds").and_then(Value::as_i64).filter(|seconds| *seconds > 0);
            let time = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
            time.map_or(Value::Null, |time| crate::object::time_text(time).into())
        }
        Type::Quantity => inner(&[set(1, "text", Type::Text)])?.remove("text").unwrap_or_else(|| "0".into()),
        Type::IntOrText => {
            let fields = [set(1, "is", Type::Int), set(2, "int", Type::Int), set(3, "text", Type::Text)];
            let mut either = inner(&fields)?;
            let is_text = either.get("is").and_then(Value::as_i64) == Some(1);
            let (name, zero) = if is_text { ("text", "".into()) } else { ("int", 0.into()) };
            either.remove(name).unwrap_or(zero)
        }
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
        let node = [MAGIC.to_vec(), field(1, &field(2, b"Node"))].concat();
        assert_eq!(to_json(&node).unwrap_err(), "a Node is taken as JSON or YAML, not as protobuf");
    }

    fn pod(spec: &[u8]) -> Vec<u8> {
        let raw = [field(1, &field(1, b"p")), field(2, spec)].concat();
        let about = [field(1, b"v1"), field(2, b"Pod")].concat();
        [MAGIC.to_vec(), field(1, &about), field(2, &raw)].concat()
    }

    /// As Go writes them: what is no pointer always, zero or not.
    #[test]
    fn a_pod_is_what_its_json_is() {
        let port = [vec![1 << 3, 1, 2 << 3, 0], field(3, b"http")].concat();
        let probe = [field(1, &field(2, &field(2, &port))), vec![2 << 3, 0, 4 << 3, 5]].concat();
        let security = vec![2 << 3, 1, 4 << 3, 0];
        let limits = field(1, &[field(1, b"cpu"), field(2, &field(1, b"100m"))].concat());
        let container = [
            field(1, b"main"),
            field(3, b""),
            field(5, b""),
            field(8, &limits),
            field(10, &probe),
            field(15, &security),
            vec![0x80, 1, 0],
        ];
        let volume =
            [field(1, b"v"), field(2, &field(1, &[field(1, b"/a"), field(2, b"")].concat()))].concat();
        let spec =
            [field(1, &volume), field(2, &container.concat()), field(3, b""), vec![4 << 3, 0, 11 << 3, 0]]
                .concat();
        assert_eq!(
            to_json(&pod(&spec)).unwrap(),
            json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p"}, "spec": {
                "volumes": [{"name": "v", "hostPath": {"path": "/a", "type": ""}}],
                "containers": [{
                    "name": "main", "command": [""], "resources": {"limits": {"cpu": "100m"}},
                    "livenessProbe": {"httpGet": {"port": "http"}, "periodSeconds": 5},
                    "securityContext": {"privileged": true, "runAsUser": 0},
                }],
                "terminationGracePeriodSeconds": 0,
            }})
        );
    }

    /// Every message is there, and every name is one that a Pod has in JSON.
    #[test]
    fn the_table_is_whole() {
        for (message, fields) in MESSAGES.iter() {
            assert!(!fields.is_empty(), "{message}");
            for field in fields {
                if let Type::Message(of) = field.ty {
                    assert!(MESSAGES.contains_key(of), "{message}.{}: {of}", field.name);
                }
            }
        }
        assert!(KINDS.into_iter().all(|kind| MESSAGES.contains_key(kind)));
        let document =
            String::from_utf8(crate::openapi::document("api/v1").unwrap().text().to_vec()).unwrap();
        let known = |field: &&Field| document.contains(&format!("\"{}\":", field.name));
        let others = ["Unknown", "TypeMeta", "Eviction", "DeleteOptions", "Preconditions"];
        let of_pods = MESSAGES.iter().filter(|(name, _)| !others.contains(name));
        for (message, fields) in of_pods {
            let strange: Vec<_> = fields.iter().filter(|field| field.name != "." && !known(field)).collect();
            assert!(strange.is_empty(), "{message}: {strange:?}");
        }
    }
}
