//! The API's types as data: names of fields, and Go's names of their types, which are what the API server's messages use.
//!
//! `kubernetes-1.36.txt` holds one type a block: its name, then a line a field, `name type`; `inline type` puts another
//! type's fields among this one's. `name = type` is a name for another type. Order is that of the Go types.

use std::collections::HashMap;
use std::sync::LazyLock;

/// A type of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// A string; `name` is `string` or the name of an enumeration such as `v1.PullPolicy`.
    Text {
        /// Go's name.
        name: &'static str,
    },
    /// `bool`
    Bool,
    /// An integer of so many bits.
    Int {
        /// 32 or 64.
        bits: u32,
    },
    /// `[]byte`, base64 in JSON.
    Bytes,
    /// `resource.Quantity`
    Quantity,
    /// `intstr.IntOrString`
    IntOrString,
    /// `metav1.Time`
    Time,
    /// Anything (`metav1.FieldsV1`).
    Any,
    /// A list.
    List(Box<Type>),
    /// A map from strings; `name` is Go's name of the map type.
    Map {
        /// Go's name.
        name: &'static str,
        /// Type of the values.
        value: Box<Type>,
    },
    /// A struct, by its name in the schema.
    Struct(&'static str),
}

/// A field of a struct.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// JSON name.
    pub name: &'static str,
    /// Type.
    pub ty: Type,
    /// The embedded struct that the field is of, which Go's messages name in the path.
    pub embedded: Option<&'static str>,
}

/// A struct of the API.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Struct {
    /// Its fields, embedded ones included.
    pub fields: Vec<Field>,
}

impl Struct {
    /// The field of a JSON name. Case counts.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

impl Type {
    /// Go's name of the type, as its JSON errors write it.
    #[must_use]
    pub fn go_name(&self) -> String {
        match self {
            Self::Text { name } | Self::Map { name, .. } => shown(name),
            Self::Bool => "bool".into(),
            Self::Int { bits } => format!("int{bits}"),
            Self::Bytes => "[]uint8".into(),
            Self::Quantity => "resource.Quantity".into(),
            Self::IntOrString => "intstr.IntOrString".into(),
            Self::Time => "v1.Time".into(),
            Self::Any => "v1.FieldsV1".into(),
            Self::List(item) => format!("[]{}", item.go_name()),
            Self::Struct(name) => shown(name),
        }
    }
}

/// Go prints the package's own name, which is `v1` for every group's version 1.
fn shown(name: &str) -> String {
    name.replace("meta.", "v1.").replace("apps.", "v1.").replace("batch.", "v1.")
}

/// A struct's bare name: `Container` of `v1.Container`.
#[must_use]
pub fn bare(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

static SCHEMA: LazyLock<HashMap<&'static str, Struct>> =
    LazyLock::new(|| read(include_str!("kubernetes-1.36.txt")));

/// The struct of a name such as `v1.Pod`.
#[must_use]
pub fn find(name: &str) -> Option<&'static Struct> {
    SCHEMA.get(name)
}

fn read(text: &'static str) -> HashMap<&'static str, Struct> {
    let mut blocks: Vec<(&'static str, Vec<(&'static str, &'static str)>)> = Vec::new();
    let mut names = HashMap::new();
    for line in text.lines() {
        if let Some(field) = line.strip_prefix(' ') {
            if let (Some((_, fields)), Some(field)) = (blocks.last_mut(), field.split_once(' ')) {
                fields.push(field);
            }
        } else if let Some((name, target)) = line.split_once(" = ") {
            names.insert(name, target);
        } else if !line.is_empty() {
            blocks.push((line, Vec::new()));
        }
    }
    let raw: HashMap<_, _> = blocks.iter().map(|(name, fields)| (*name, fields)).collect();
    blocks
        .iter()
        .map(|(name, fields)| {
            let mut made = Struct::default();
            for (field, ty) in fields {
                if *field != "inline" {
                    made.fields.push(Field { name: field, ty: ty_of(ty, &names), embedded: None });
                    continue;
                }
                for (inner, inner_ty) in raw.get(ty).into_iter().copied().flatten() {
                    made.fields.push(Field {
                        name: inner,
                        ty: ty_of(inner_ty, &names),
                        embedded: Some(bare(ty)),
                    });
                }
            }
            (*name, made)
        })
        .collect()
}

fn ty_of(text: &'static str, names: &HashMap<&'static str, &'static str>) -> Type {
    match text {
        "string" | "types.UID" => return Type::Text { name: text },
        "bool" => return Type::Bool,
        "int32" => return Type::Int { bits: 32 },
        "int64" => return Type::Int { bits: 64 },
        "[]byte" => return Type::Bytes,
        "resource.Quantity" => return Type::Quantity,
        "intstr.IntOrString" => return Type::IntOrString,
        "meta.Time" => return Type::Time,
        "meta.FieldsV1" => return Type::Any,
        _ => {}
    }
    if let Some(item) = text.strip_prefix("[]") {
        return Type::List(Box::new(ty_of(item, names)));
    }
    if let Some((_, value)) = text.strip_prefix("map[").and_then(|rest| rest.split_once(']')) {
        return Type::Map { name: text, value: Box::new(ty_of(value, names)) };
    }
    match names.get(text) {
        Some(&"string") => Type::Text { name: text },
        Some(target) => match ty_of(target, names) {
            Type::Map { value, .. } => Type::Map { name: text, value },
            other => other,
        },
        None => Type::Struct(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every struct that a field names is there: a slip in the data would make fields unknown.
    #[test]
    fn the_schema_is_closed() {
        fn check(ty: &Type, of: &str) {
            match ty {
                Type::List(item) => check(item, of),
                Type::Map { value, .. } => check(value, of),
                Type::Struct(name) => assert!(find(name).is_some(), "{name} of {of} is missing"),
                _ => {}
            }
        }
        for (name, made) in SCHEMA.iter() {
            assert!(!made.fields.is_empty() || *name == "v1.WorkloadReference", "{name} has no field");
            for field in &made.fields {
                check(&field.ty, &format!("{name}.{}", field.name));
            }
        }
    }

    #[test]
    fn embedded_fields_know_where_they_are_from() {
        let volume = find("v1.Volume").unwrap();
        let host_path = volume.field("hostPath").unwrap();
        assert_eq!(host_path.embedded, Some("VolumeSource"));
        assert_eq!(host_path.ty.go_name(), "v1.HostPathVolumeSource");
        assert_eq!(
            find("v1.VolumeMount").unwrap().field("mountPropagation").unwrap().ty.go_name(),
            "v1.MountPropagationMode"
        );
        assert_eq!(find("v1.PodSpec").unwrap().field("containers").unwrap().ty.go_name(), "[]v1.Container");
        assert_eq!(
            find("v1.ResourceRequirements").unwrap().field("limits").unwrap().ty.go_name(),
            "v1.ResourceList"
        );
    }
}
