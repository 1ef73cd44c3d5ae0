//! A JSON schema held against values: as much of draft 2020-12 as the project's schemas use. Stricter than a reader has to
//! be: a field that the schema does not have is an error, and so is a keyword that is not known here.

use serde_json::{Map, Value};
use std::cell::RefCell;
use std::collections::BTreeSet;

/// A schema, and what of it values have met.
pub(crate) struct Schema {
    document: Value,
    met: RefCell<BTreeSet<String>>,
}

const TELLING: [&str; 6] = ["$schema", "title", "description", "$defs", "format", "required"];

impl Schema {
    pub(crate) fn parse(text: &str) -> Schema {
        Schema { document: serde_json::from_str(text).expect("JSON"), met: RefCell::default() }
    }

    /// Whether the value is what `$defs/NAME` says.
    pub(crate) fn check(&self, name: &str, value: &Value) -> Result<(), String> {
        let met = self.holds(&format!("/$defs/{name}"), value)?;
        self.met.borrow_mut().extend(met);
        Ok(())
    }

    /// Fields, words and alternatives that no value had.
    pub(crate) fn not_met(&self) -> Vec<String> {
        let mut all = Vec::new();
        parts(&self.document, String::new(), &mut all);
        let met = self.met.borrow();
        all.into_iter().filter(|part| !met.contains(part)).collect()
    }

    /// What of the schema the value meets, if it is as the part at this pointer says.
    fn holds(&self, at: &str, value: &Value) -> Result<Vec<String>, String> {
        let schema = self.document.pointer(at).and_then(Value::as_object).ok_or(format!("no schema {at}"))?;
        let wrong = |what: &str| Err(format!("{at}: {what}: {value}"));
        let mut met = vec![at.to_owned()];
        for (keyword, asked) in schema {
            match (keyword.as_str(), asked) {
                ("$ref", Value::String(to)) => met.extend(self.holds(to.trim_start_matches('#'), value)?),
                ("const", word) if word != value => return wrong("another word"),
                ("const", _) => {}
                ("enum", Value::Array(words)) => match words.iter().position(|word| word == value) {
                    Some(index) => met.push(format!("{at}/enum/{index}")),
                    None => return wrong("none of the words"),
                },
                ("type", kinds) if !is_of(kinds, value) => return wrong("another type"),
                ("type", _) => {}
                ("minimum", least) if value.is_u64() || value.is_null() => assert_eq!(least, 0),
                ("minItems", least)
                    if value.as_array().map(Vec::len) >= least.as_u64().map(|n| n as usize) => {}
                ("maxItems", most) if value.as_array().map(Vec::len) <= most.as_u64().map(|n| n as usize) => {
                }
                ("items", _) => {
                    for item in value.as_array().into_iter().flatten() {
                        met.extend(self.holds(&format!("{at}/items"), item)?);
                    }
                }
                ("anyOf", Value::Array(ways)) => {
                    let way = |index| self.holds(&format!("{at}/anyOf/{index}"), value);
                    match (0..ways.len()).find_map(|index| way(index).ok()) {
                        Some(more) => met.extend(more),
                        None => return wrong("none of the alternatives"),
                    }
                }
                ("properties", Value::Object(known)) => {
                    met.extend(self.fields(at, known, schema.get("required"), value)?);
                }
                (telling, _) if TELLING.contains(&telling) => {}
                _ => return wrong(&format!("not as {keyword} says, or the keyword is not known")),
            }
        }
        Ok(met)
    }

    fn fields(
        &self,
        at: &str,
        known: &Map<String, Value>,
        required: Option<&Value>,
        value: &Value,
    ) -> Result<Vec<String>, String> {
        let Some(fields) = value.as_object() else { return Err(format!("{at}: no object: {value}")) };
        for name in required.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            if !fields.contains_key(name) {
                return Err(format!("{at}: {name} is missing: {value}"));
            }
        }
        let mut met = Vec::new();
        for (name, field) in fields {
            if !known.contains_key(name) {
                return Err(format!("{at}: {name} is not in the schema: {value}"));
            }
            met.extend(self.holds(&format!("{at}/properties/{name}"), field)?);
        }
        Ok(met)
    }
}

fn is_of(kinds: &Value, value: &Value) -> bool {
    let is = |kind: &Value| match kind.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_u64() || value.is_i64(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        _ => false,
    };
    kinds.as_array().map_or_else(|| is(kinds), |kinds| kinds.iter().any(is))
}

/// Pointers to all fields, words and alternatives.
fn parts(schema: &Value, at: String, all: &mut Vec<String>) {
    match schema {
        Value::Object(fields) => {
            for (name, part) in fields {
                let below = format!("{at}/{name}");
                if at.ends_with("/properties") {
                    all.push(below.clone());
                }
                parts(part, below, all);
            }
        }
        Value::Array(list) if at.ends_with("/anyOf") || at.ends_with("/enum") => {
            for (index, part) in list.iter().enumerate() {
                all.push(format!("{at}/{index}"));
                parts(part, format!("{at}/{index}"), all);
            }
        }
        _ => {}
    }
}
