//! The schema's data against the typed objects: every field that the schema names is one that the types keep.

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use manifest::schema::{self, Type};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

/// A value of a type that has every field.
fn full(ty: &Type) -> Value {
    match ty {
        Type::Text { .. } => json!("x"),
        Type::Bool => json!(true),
        Type::Int { .. } => json!(7),
        Type::Bytes => json!("eA=="),
        Type::Quantity => json!("1Gi"),
        Type::IntOrString => json!("http"),
        Type::Time => json!("2024-01-02T03:04:05Z"),
        Type::Any => json!({}),
        Type::List(item) => json!([full(item)]),
        Type::Map { value, .. } => json!({"k": full(value)}),
        Type::Struct(name) => {
            let fields = &schema::find(name).unwrap_or_else(|| panic!("{name}")).fields;
            Value::Object(
                fields.iter().map(|field| (field.name.to_owned(), full(&field.ty))).collect::<Map<_, _>>(),
            )
        }
    }
}

/// Paths of what is in the first and not in the second.
fn lost(before: &Value, after: &Value, path: &str, found: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            for (key, value) in before {
                match after.get(key) {
                    Some(kept) => lost(value, kept, &format!("{path}.{key}"), found),
                    None => found.push(format!("{path}.{key}")),
                }
            }
        }
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            before.iter().zip(after).for_each(|(a, b)| lost(a, b, &format!("{path}[]"), found));
        }
        (before, after) if before == after => {}
        _ => found.push(path.to_owned()),
    }
}

fn check<T: Serialize + DeserializeOwned>(name: &'static str, kind: &str) {
    let mut value = full(&Type::Struct(name));
    value["apiVersion"] = json!("v1");
    value["kind"] = json!(kind);
    let typed: T = serde_json::from_value(value.clone()).unwrap();
    let mut found = Vec::new();
    lost(&value, &serde_json::to_value(typed).unwrap(), "", &mut found);
    // The status that a user writes is left out, as by the API server.
    found.retain(|path| !path.starts_with(".status."));
    assert_eq!(found, Vec::<String>::new(), "{name}");
}

#[test]
fn the_types_keep_every_field_of_the_schema() {
    check::<Pod>("v1.Pod", "Pod");
    check::<ConfigMap>("v1.ConfigMap", "ConfigMap");
    check::<Secret>("v1.Secret", "Secret");
}
