//! Strict decoding: a tree against a type of the schema, giving JSON that fits the type and what was wrong.
//!
//! What is wrong is said as Go's JSON decoder says it to the API server. That decoder sees keys in alphabetical order
//! (`kubectl` sends JSON made from a map), keeps the first wrong type and goes on, and stops at the first value that a
//! type with its own decoder refuses (a quantity, a time). All of them are found here; [`Decoded::refusal`] is the one
//! that Kubernetes would tell.

use crate::nearest::nearest;
use crate::quantity::Quantity;
use crate::schema::{self, Type, bare};
use crate::source::Span;
use crate::tree::{Entry, Mapping, Node, Number, Value};
use serde_json::{Map, Value as Json};

/// Something that does not fit the type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// What it is.
    pub kind: MisfitKind,
    /// API path: `spec.containers[0].command[1]`.
    pub path: String,
    /// Where.
    pub span: Span,
    /// Kubernetes' words: `unknown field "metadata.label"`, `json: cannot unmarshal …`.
    pub message: String,
    /// What was probably meant.
    pub suggestion: Option<String>,
}

/// Kinds of misfit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MisfitKind {
    /// A field that the type does not have.
    Unknown,
    /// A key given twice; Kubernetes does not see it, the last one counts.
    Duplicate,
    /// A value of the wrong type.
    WrongType,
    /// A value that the type's own decoder refuses, at which Go's decoder stops.
    Refused,
}

/// What decoding gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// What fits the type, all else left out.
    pub json: Json,
    /// What did not, in the order in which Kubernetes meets it.
    pub misfits: Vec<Misfit>,
}

impl Decoded {
    /// The one wrong value that Kubernetes would tell of.
    #[must_use]
    pub fn refusal(&self) -> Option<&Misfit> {
        let first = |kind| self.misfits.iter().find(|misfit| misfit.kind == kind);
        first(MisfitKind::Refused).or_else(|| first(MisfitKind::WrongType))
    }

    /// The fields that are unknown.
    pub fn unknown(&self) -> impl Iterator<Item = &Misfit> {
        self.misfits.iter().filter(|misfit| misfit.kind == MisfitKind::Unknown)
    }
}

/// Decodes `node` as the struct `name` of the schema, such as `v1.Pod`. `root_name` is Go's name of the outermost type.
#[must_use]
pub fn decode(node: &Node, name: &'static str) -> Decoded {
    let mut decoder =
        Decoder { misfits: Vec::new(), path: String::new(), go_path: Vec::new(), go_struct: None };
    let json = decoder.value(node, &Type::Struct(name));
    Decoded { json: json.unwrap_or_else(|| Json::Object(Map::new())), misfits: decoder.misfits }
}

/// Misfits of one object that are kept.
const MAX_MISFITS: usize = 100;

struct Decoder {
    misfits: Vec<Misfit>,
    path: String,
    /// Names of fields as Go's errors join them: no indices, embedded structs named.
    go_path: Vec<&'static str>,
    go_struct: Option<&'static str>,
}

impl Decoder {
    /// The value as JSON; none if it is null or does not fit.
    fn value(&mut self, node: &Node, ty: &Type) -> Option<Json> {
        if node.value == Value::Null {
            return None;
        }
        match (ty, &node.value) {
            (Type::Struct(name), Value::Mapping(mapping)) => Some(self.fields(mapping, name)),
            (Type::Map { value, .. }, Value::Mapping(mapping)) => Some(self.map(mapping, value)),
            (Type::List(item), Value::Sequence(items)) => Some(self.list(items, item)),
            (Type::Text { .. }, Value::String(text)) => Some(Json::String(text.clone())),
            (Type::Bool, Value::Bool(value)) => Some(Json::Bool(*value)),
            (Type::Int { bits }, Value::Number(number)) => self.integer(node, *number, *bits),
            (Type::Bytes, Value::String(text)) => self.bytes(node, text),
            (Type::Quantity, _) => self.quantity(node),
            (Type::IntOrString, Value::Number(Number::Int(value))) if i32::try_from(*value).is_ok() => {
                Some(Json::from(*value))
            }
            (Type::IntOrString, Value::Number(number)) => {
                self.refused(node, &format!("number {number}"), "int32")
            }
            (Type::IntOrString, Value::String(text)) => Some(Json::String(text.clone())),
            (Type::IntOrString, _) => self.refused(node, &kind_of(&node.value), "int32"),
            (Type::Time, Value::String(text)) => self.time(node, text),
            (Type::Time, _) => self.refused(node, &kind_of(&node.value), "string"),
            (Type::Any, _) => Some(any(node)),
            (ty, value) => self.wrong(node, &kind_of(value), &ty.go_name()),
        }
    }

    fn fields(&mut self, mapping: &Mapping, name: &'static str) -> Json {
        let mut object = Map::new();
        let Some(of) = schema::find(name) else { return Json::Object(object) };
        self.duplicates(mapping);
        for entry in sorted(mapping) {
            let Some(field) = of.field(&entry.key) else {
                if self.is_full() {
                    continue;
                }
                let known = of.fields.iter().map(|field| field.name);
                let suggestion = nearest(&entry.key, known).map(str::to_owned);
                self.unknown(&entry.key, entry.key_span, suggestion);
                continue;
            };
            let (path, depth, of_struct) = (self.path.len(), self.go_path.len(), self.go_struct);
            self.push_key(&entry.key);
            self.go_path.extend(field.embedded);
            self.go_path.push(field.name);
            self.go_struct = Some(bare(name));
            if let Some(json) = self.value(&entry.value, &field.ty) {
                object.insert(entry.key.clone(), json);
            }
            self.path.truncate(path);
            self.go_path.truncate(depth);
            self.go_struct = of_struct;
        }
        Json::Object(object)
    }

    fn map(&mut self, mapping: &Mapping, ty: &Type) -> Json {
        let mut object = Map::new();
        self.duplicates(mapping);
        for entry in sorted(mapping) {
            let path = self.path.len();
            self.push_key(&entry.key);
            if let Some(json) = self.value(&entry.value, ty).or_else(|| zero(&entry.value, ty)) {
                object.insert(entry.key.clone(), json);
            }
            self.path.truncate(path);
        }
        Json::Object(object)
    }

    fn list(&mut self, items: &[Node], ty: &Type) -> Json {
        let mut list = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let path = self.path.len();
            self.path.push_str(&format!("[{index}]"));
            // What does not fit still takes its place, so that later indices are right.
            list.push(self.value(item, ty).or_else(|| zero(item, ty)).unwrap_or_else(|| empty(ty)));
            self.path.truncate(path);
        }
        Json::Array(list)
    }

    fn push_key(&mut self, key: &str) {
        if !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(key);
    }

    fn duplicates(&mut self, mapping: &Mapping) {
        for (key, span) in &mapping.duplicates {
            if self.is_full() {
                return;
            }
            let path = join(&self.path, key);
            let message = format!("duplicate field {path:?}");
            self.misfits.push(Misfit {
                kind: MisfitKind::Duplicate,
                path,
                span: *span,
                message,
                suggestion: None,
            });
        }
    }

    /// The API server, too, tells of no more than a hundred.
    fn is_full(&self) -> bool {
        self.misfits.len() >= MAX_MISFITS
    }

    fn unknown(&mut self, key: &str, span: Span, suggestion: Option<String>) {
        let path = join(&self.path, key);
        let message = format!("unknown field {path:?}");
        self.misfits.push(Misfit { kind: MisfitKind::Unknown, path, span, message, suggestion });
    }

    fn wrong(&mut self, node: &Node, found: &str, wanted: &str) -> Option<Json> {
        let message = self.unfit(found, wanted);
        self.misfit(MisfitKind::WrongType, node, message)
    }

    /// A wrong type that a type's own decoder finds.
    fn refused(&mut self, node: &Node, found: &str, wanted: &str) -> Option<Json> {
        let message = self.unfit(found, wanted);
        self.misfit(MisfitKind::Refused, node, message)
    }

    fn unfit(&self, found: &str, wanted: &str) -> String {
        let place = match self.go_struct {
            Some(name) => format!("Go struct field {name}.{} of type {wanted}", self.go_path.join(".")),
            None => format!("Go value of type {wanted}"),
        };
        format!("json: cannot unmarshal {found} into {place}")
    }

    fn misfit(&mut self, kind: MisfitKind, node: &Node, message: String) -> Option<Json> {
        // One of each kind is always kept: Kubernetes tells of the first.
        if self.is_full() && self.misfits.iter().any(|known| known.kind == kind) {
            return None;
        }
        let path = self.path.clone();
        self.misfits.push(Misfit { kind, path, span: node.span, message, suggestion: None });
        None
    }

    fn integer(&mut self, node: &Node, number: Number, bits: u32) -> Option<Json> {
        match number {
            Number::Int(value) if bits == 64 || i32::try_from(value).is_ok() => Some(Json::from(value)),
            other => self.wrong(node, &format!("number {other}"), &format!("int{bits}")),
        }
    }

    fn bytes(&mut self, node: &Node, text: &str) -> Option<Json> {
        match crate::base64::decode(text) {
            Ok(_) => Some(Json::String(text.replace(['\n', '\r'], ""))),
            Err(at) => {
                self.misfit(MisfitKind::WrongType, node, format!("illegal base64 data at input byte {at}"))
            }
        }
    }

    fn quantity(&mut self, node: &Node) -> Option<Json> {
        let text = match &node.value {
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            // Its decoder sees the JSON text, which is no quantity.
            _ => "{}".into(),
        };
        match Quantity::parse(&text) {
            // The API server keeps the canonical form, too.
            Ok(quantity) => Some(Json::String(quantity.canonical())),
            Err(error) => self.misfit(MisfitKind::Refused, node, error.to_string()),
        }
    }

    fn time(&mut self, node: &Node, text: &str) -> Option<Json> {
        if text.parse::<k8s_openapi::jiff::Timestamp>().is_ok() {
            return Some(Json::String(text.to_owned()));
        }
        let layout = "2006-01-02T15:04:05Z07:00";
        let message = format!("parsing time {text:?} as {layout:?}: cannot parse {text:?} as \"2006\"");
        self.misfit(MisfitKind::Refused, node, message)
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn sorted(mapping: &Mapping) -> Vec<&Entry> {
    let mut entries: Vec<&Entry> = mapping.entries.iter().collect();
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    entries
}

fn kind_of(value: &Value) -> String {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Sequence(_) => "array",
        Value::Mapping(_) => "object",
    }
    .to_owned()
}

/// Go's zero value where JSON says null inside a list or a map.
fn zero(node: &Node, ty: &Type) -> Option<Json> {
    (node.value == Value::Null).then(|| empty(ty))
}

fn empty(ty: &Type) -> Json {
    match ty {
        Type::Text { .. } | Type::Bytes => Json::String(String::new()),
        Type::Bool => Json::Bool(false),
        Type::Int { .. } | Type::IntOrString => Json::from(0),
        Type::Quantity => Json::String("0".into()),
        Type::Time | Type::Any => Json::Null,
        Type::List(_) => Json::Array(Vec::new()),
        Type::Map { .. } | Type::Struct(_) => Json::Object(Map::new()),
    }
}

/// A tree as the JSON that `kubectl` makes of it.
#[must_use]
pub fn any(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Number(Number::Int(value)) => Json::from(*value),
        Value::Number(Number::Uint(value)) => Json::from(*value),
        Value::Number(Number::Float(value)) => Json::from(*value),
        Value::String(text) => Json::String(text.clone()),
        Value::Sequence(items) => Json::Array(items.iter().map(any).collect()),
        Value::Mapping(mapping) => {
            sorted(mapping).into_iter().map(|entry| (entry.key.clone(), any(&entry.value))).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::parse_documents;

    fn misfits(text: &str) -> Vec<String> {
        let root = parse_documents(text).remove(0).root.unwrap();
        decode(&root, "v1.Pod").misfits.into_iter().map(|misfit| misfit.message).collect()
    }

    #[test]
    fn wrong_types_are_said_as_go_says_them() {
        let cases = [
            (
                "spec: {containers: [{command: [sleep, 3600]}]}",
                "json: cannot unmarshal number into Go struct field Container.spec.containers.command of type string",
            ),
            (
                "spec: {containers: {name: a}}",
                "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container",
            ),
            (
                "spec: {containers: [a]}",
                "json: cannot unmarshal string into Go struct field PodSpec.spec.containers of type v1.Container",
            ),
            (
                "spec: {volumes: [{hostPath: /mnt}]}",
                "json: cannot unmarshal string into Go struct field Volume.spec.volumes.VolumeSource.hostPath of type v1.HostPathVolumeSource",
            ),
            (
                "spec: {volumes: [{hostPath: {path: 5}}]}",
                "json: cannot unmarshal number into Go struct field HostPathVolumeSource.spec.volumes.VolumeSource.hostPath.path of type string",
            ),
            (
                "spec: {containers: [{ports: [{containerPort: 99999999999}]}]}",
                "json: cannot unmarshal number 99999999999 into Go struct field ContainerPort.spec.containers.ports.containerPort of type int32",
            ),
            (
                "spec: {terminationGracePeriodSeconds: 1.5}",
                "json: cannot unmarshal number 1.5 into Go struct field PodSpec.spec.terminationGracePeriodSeconds of type int64",
            ),
            ("spec: 5", "json: cannot unmarshal number into Go struct field Pod.spec of type v1.PodSpec"),
        ];
        for (text, message) in cases {
            assert_eq!(misfits(text), [message], "{text}");
        }
    }

    #[test]
    fn unknown_fields_come_in_alphabetical_order_with_what_was_meant() {
        let root = parse_documents(
            "spec: {containers: [{cmd: [x]}], hostNetworking: true}\nmetadata: {label: {a: b}}\n",
        )
        .remove(0)
        .root
        .unwrap();
        let decoded = decode(&root, "v1.Pod");
        let found: Vec<_> = decoded.unknown().map(|m| (m.path.as_str(), m.suggestion.as_deref())).collect();
        assert_eq!(
            found,
            [
                ("metadata.label", Some("labels")),
                ("spec.containers[0].cmd", None),
                ("spec.hostNetworking", Some("hostNetwork"))
            ]
        );
    }

    #[test]
    fn a_type_with_its_own_decoder_stops_the_api_server() {
        let text = "spec: {containers: [{command: 5, resources: {limits: {memory: 10MB}}}]}";
        let root = parse_documents(text).remove(0).root.unwrap();
        let decoded = decode(&root, "v1.Pod");
        assert_eq!(decoded.misfits.len(), 2);
        assert!(decoded.refusal().unwrap().message.starts_with("quantities must match"));
    }

    #[test]
    fn nulls_are_zero_values() {
        let root = parse_documents("metadata: {labels: {a: null}, name: null}\nspec: {containers: [null]}")
            .remove(0)
            .root
            .unwrap();
        let decoded = decode(&root, "v1.Pod");
        assert_eq!(decoded.misfits, []);
        assert_eq!(
            decoded.json,
            serde_json::json!({"metadata": {"labels": {"a": ""}}, "spec": {"containers": [{}]}})
        );
    }
}
