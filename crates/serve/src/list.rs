//! Reading: one object, or all that are meant, whole or in pages.
//!
//! A page is of the state at which the first page was read, as long as the store still knows that; after that the client is
//! told that it has expired (410), and how to go on regardless.

use crate::accept::Form;
use crate::error::{ApiError, Result};
use crate::http::Answer;
use crate::kinds::Resource;
use crate::object::Key;
use crate::query::Query;
use crate::selector::Selector;
use crate::store::{Store, Stored};
use crate::table::{self, Include};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Answers with one object.
pub(crate) fn get(store: &Store, key: &Key, query: &Query, form: Form) -> Result<Answer> {
    let about = key.resource.about();
    version_parameter(store, query)?;
    let stored = store.get(key).ok_or_else(|| ApiError::not_found(about.plural, about.group, &key.name))?;
    Ok(one(key.resource, &stored, query, form))
}

/// One object in the form that is wanted.
pub(crate) fn one(resource: Resource, stored: &Stored, query: &Query, form: Form) -> Answer {
    match form {
        Form::Json => Answer::bytes(stored.text.clone()),
        Form::Yaml => Answer::yaml(&stored.value()),
        Form::Metadata(version) => Answer::json(&table::partial(&stored.value(), version)),
        Form::Table(version) => {
            let metadata = json!({"resourceVersion": stored.version.to_string()});
            let objects = [stored.value()];
            Answer::json(&table::table(resource, version, &objects, metadata, Include::of(query), true))
        }
    }
}

/// The `resourceVersion` of a request, which must not be of the future.
pub(crate) fn version_parameter(store: &Store, query: &Query) -> Result<Option<u64>> {
    let text = query.text("resourceVersion");
    if text.is_empty() {
        return Ok(None);
    }
    let version = text.parse().map_err(|_| ApiError::bad_version(text))?;
    let current = store.version();
    if version > current { Err(ApiError::version_too_large(version, current)) } else { Ok(Some(version)) }
}

/// Answers with all that are meant.
pub(crate) fn list(
    store: &Store,
    resource: Resource,
    namespace: Option<&str>,
    query: &Query,
    form: Form,
) -> Result<Answer> {
    let selector = Selector::parse(resource, query.text("labelSelector"), query.text("fieldSelector"))?;
    let page = page(store, resource, namespace, query, &selector)?;
    let mut metadata = Map::new();
    metadata.insert("resourceVersion".into(), page.version.to_string().into());
    if let Some((token, remaining)) = page.rest {
        metadata.insert("continue".into(), token.into());
        // With a selector nobody knows without looking.
        if selector.is_everything() {
            metadata.insert("remainingItemCount".into(), remaining.into());
        }
    }
    let metadata = Value::Object(metadata);
    let about = resource.about();
    let values = || page.objects.iter().map(|stored| stored.value()).collect::<Vec<_>>();
    Ok(match form {
        Form::Json => {
            let head = json!({"kind": format!("{}List", about.kind), "apiVersion": about.api_version(), "metadata": metadata});
            let mut text = head.to_string().into_bytes();
            text.pop();
            text.extend_from_slice(b",\"items\":[");
            for (index, stored) in page.objects.iter().enumerate() {
                if index > 0 {
                    text.push(b',');
                }
                text.extend_from_slice(&stored.text);
            }
            text.extend_from_slice(b"]}");
            Answer::bytes(text.into())
        }
        Form::Yaml => {
            let kind = format!("{}List", about.kind);
            Answer::yaml(
                &json!({"kind": kind, "apiVersion": about.api_version(), "metadata": metadata, "items": values()}),
            )
        }
        Form::Metadata(version) => {
            let items: Vec<Value> = values().iter().map(|object| table::partial(object, version)).collect();
            Answer::json(
                &json!({"kind": "PartialObjectMetadataList", "apiVersion": version, "metadata": metadata, "items": items}),
            )
        }
        Form::Table(version) => {
            Answer::json(&table::table(resource, version, &values(), metadata, Include::of(query), true))
        }
    })
}

struct Page {
    objects: Vec<Arc<Stored>>,
    version: u64,
    /// How to go on, and how many are left.
    rest: Option<(String, usize)>,
}

/// Steps: 1. which state; 2. which objects of it; 3. which of these, from where on.
fn page(
    store: &Store,
    resource: Resource,
    namespace: Option<&str>,
    query: &Query,
    selector: &Selector,
) -> Result<Page> {
    let limit = query.number("limit")?.and_then(|limit| usize::try_from(limit).ok()).filter(|n| *n > 0);
    let token = query.text("continue");
    let asked = version_parameter(store, query)?;
    let (objects, version, after) = if token.is_empty() {
        let (objects, version) = store.list(resource, namespace);
        match query.text("resourceVersionMatch") {
            "" | "NotOlderThan" => (objects, version, None),
            "Exact" => {
                let exact = asked.filter(|version| *version > 0).ok_or_else(|| {
                    let why = "resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\" or none";
                    ApiError::forbidden_option("ListOptions", "resourceVersionMatch", why)
                })?;
                let too_old = "The resourceVersion for the provided list is too old.";
                let objects =
                    store.list_at(resource, namespace, exact).ok_or_else(|| ApiError::expired(too_old))?;
                (objects, exact, None)
            }
            other => {
                let known = ["Exact", "NotOlderThan"];
                return Err(ApiError::unsupported_option(
                    "ListOptions",
                    "resourceVersionMatch",
                    other,
                    &known,
                ));
            }
        }
    } else {
        let Token { version, after } = parse_token(token)?;
        match version {
            Some(version) => {
                let objects = store.list_at(resource, namespace, version);
                let objects = objects
                    .ok_or_else(|| ApiError::expired_continue(token_text(None, &after.0, &after.1)))?;
                (objects, version, Some(after))
            }
            None => {
                let (objects, version) = store.list(resource, namespace);
                (objects, version, Some(after))
            }
        }
    };
    let mut meant = objects.into_iter().filter(|(key, stored)| {
        after.as_ref().is_none_or(|(ns, name)| (&key.namespace, &key.name) > (ns, name))
            && selector.selects(stored)
    });
    let Some(limit) = limit else {
        return Ok(Page { objects: meant.map(|(_, stored)| stored).collect(), version, rest: None });
    };
    let first: Vec<_> = meant.by_ref().take(limit).collect();
    let left = meant.count();
    let rest = first
        .last()
        .filter(|_| left > 0)
        .map(|(key, _)| (token_text(Some(version), &key.namespace, &key.name), left));
    Ok(Page { objects: first.into_iter().map(|(_, stored)| stored).collect(), version, rest })
}

/// Where a list is gone on with.
struct Token {
    /// None takes the state as it is.
    version: Option<u64>,
    /// Namespace and name of the last object that the client has.
    after: (String, String),
}

fn token_text(version: Option<u64>, namespace: &str, name: &str) -> String {
    let version = version.map_or(json!(-1), |version| json!(version));
    let value = json!({"v": "meta.k8s.io/v1", "rv": version, "start": format!("{namespace}/{name}\u{0}")});
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn parse_token(text: &str) -> Result<Token> {
    let wrong = |why: &str| {
        ApiError::bad_request(format!("invalid continue token: continue key is not valid: {why}"))
    };
    let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|e| wrong(&e.to_string()))?;
    let value: Value = serde_json::from_slice(&bytes)
        .map_err(|error| wrong(&crate::decode::json_words(&String::from_utf8_lossy(&bytes), &error)))?;
    let start = value["start"].as_str().and_then(|start| start.strip_suffix('\u{0}'));
    let (namespace, name) = start.and_then(|start| start.split_once('/')).ok_or_else(|| wrong("no start"))?;
    let version = match value["rv"].as_i64() {
        Some(-1) => None,
        Some(version) if version > 0 => Some(version as u64),
        _ => return Err(wrong("incorrect encoded start resourceVersion")),
    };
    Ok(Token { version, after: (namespace.to_owned(), name.to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Durability, Next, WriteError};

    fn store(names: &[&str]) -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("journal")).unwrap();
        names.iter().for_each(|name| add(&store, name));
        (dir, store)
    }

    fn add(store: &Store, name: &str) {
        let object = json!({"metadata": {"name": name, "labels": {"odd": (name.len() % 2).to_string()}}});
        let key = Key::new(Resource::ConfigMaps, "default", name);
        store.change::<WriteError>(&key, Durability::Passing, |_| Ok(Next::Put(object))).unwrap();
    }

    fn names(store: &Store, query: &str) -> Result<(String, String)> {
        let answer = list(store, Resource::ConfigMaps, Some("default"), &Query::parse(query), Form::Json)?;
        let value: Value = serde_json::from_slice(answer.text()).unwrap();
        let names: Vec<&str> = value["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|o| o["metadata"]["name"].as_str().unwrap())
            .collect();
        Ok((names.join(" "), value["metadata"]["continue"].as_str().unwrap_or_default().to_owned()))
    }

    #[test]
    fn pages_are_of_one_state() {
        let (_dir, store) = store(&["a", "b", "c", "d"]);
        let (first, token) = names(&store, "limit=2").unwrap();
        assert_eq!(first, "a b");
        add(&store, "bb");
        let key = Key::new(Resource::ConfigMaps, "default", "d");
        store.change::<WriteError>(&key, Durability::Passing, |_| Ok(Next::Remove)).unwrap();
        assert_eq!(names(&store, &format!("limit=2&continue={token}")).unwrap(), ("c d".into(), "".into()));
        for _ in 0..5000 {
            add(&store, "z");
            store
                .change::<WriteError>(
                    &Key::new(Resource::ConfigMaps, "default", "z"),
                    Durability::Passing,
                    |_| Ok(Next::Remove),
                )
                .unwrap();
        }
        let gone = names(&store, &format!("limit=2&continue={token}")).unwrap_err();
        assert_eq!(gone.code.as_u16(), 410);
        let again = gone.to_json()["metadata"]["continue"].as_str().unwrap().to_owned();
        assert_eq!(names(&store, &format!("continue={again}")).unwrap().0, "bb c");
    }

    #[test]
    fn bad_parameters_are_refused() {
        let (_dir, store) = store(&["a", "bb"]);
        assert_eq!(names(&store, "labelSelector=odd%3D1").unwrap().0, "a");
        for (query, code) in [
            ("continue=foo&limit=1", 400),
            ("limit=x", 400),
            ("resourceVersion=abc", 500),
            ("resourceVersion=99999999", 504),
            ("resourceVersionMatch=Exact&resourceVersion=0", 422),
            ("resourceVersionMatch=Foo", 422),
            ("fieldSelector=spec.foo%3Dx", 400),
        ] {
            assert_eq!(names(&store, query).unwrap_err().code.as_u16(), code, "{query}");
        }
        assert_eq!(names(&store, "resourceVersionMatch=Exact&resourceVersion=1").unwrap().0, "a");
        let foo = names(&store, "continue=foo&limit=1").unwrap_err();
        assert!(foo.message().starts_with("invalid continue token: continue key is not valid: "));
    }
}
