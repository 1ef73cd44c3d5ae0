//! What this node serves, as clients ask for it before anything else: versions, groups, kinds. All of it made from
//! [`crate::kinds`].

use crate::accept;
use crate::error::Result;
use crate::http::Answer;
use crate::kinds::{About, Resource};
use hyper::StatusCode;
use hyper::header::{ETAG, VARY};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// The version of the API that is spoken.
pub(crate) const MINOR: &str = "36";

/// `/`
pub(crate) fn root() -> Answer {
    let mut paths = vec!["/api".to_owned(), "/api/v1".into(), "/apis".into()];
    for (group, version) in group_versions().into_iter().filter(|(group, _)| !group.is_empty()) {
        paths.push(format!("/apis/{group}"));
        paths.push(format!("/apis/{group}/{version}"));
    }
    paths.extend(["/healthz", "/livez", "/metrics", "/openapi/v3", "/readyz", "/version"].map(String::from));
    Answer::json(&json!({"paths": paths}))
}

/// `/version`
pub(crate) fn version() -> Answer {
    let architecture = go_architecture(std::env::consts::ARCH);
    Answer::json(&json!({
        "major": "1",
        "minor": MINOR,
        "gitVersion": git_version(),
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("linux/{architecture}"),
    }))
}

/// The API's version with ours behind it.
pub(crate) fn git_version() -> String {
    format!("v1.{MINOR}.0+rhizome-{}", env!("CARGO_PKG_VERSION"))
}

/// Go's name of an architecture.
pub(crate) fn go_architecture(rust: &str) -> &str {
    match rust {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The groups with their versions, the core group first.
pub(crate) fn group_versions() -> Vec<(&'static str, &'static str)> {
    let mut found: Vec<_> =
        Resource::EVERY.iter().map(|resource| (resource.about().group, resource.about().version)).collect();
    found.sort_unstable();
    found.dedup();
    found
}

pub(crate) fn of_group_version(group: &str, version: &str) -> impl Iterator<Item = &'static About> {
    let (group, version) = (group.to_owned(), version.to_owned());
    Resource::EVERY
        .iter()
        .map(|resource| resource.about())
        .filter(move |about| (about.group, about.version) == (group.as_str(), version.as_str()))
}

/// `/api`, `/apis` and `/apis/GROUP`
pub(crate) fn groups(path: &str, accept: &str, known: &str, address: &str) -> Result<Answer> {
    if let Some(name) = path.strip_prefix("apis/") {
        let group = group_versions().into_iter().find(|(group, _)| *group == name && !group.is_empty());
        let Some((group, version)) = group else { return Ok(Answer::no_path()) };
        let mut object = json!({"kind": "APIGroup", "apiVersion": "v1"});
        if let (Value::Object(object), Value::Object(about)) = (&mut object, api_group(group, version)) {
            object.extend(about);
        }
        return Ok(Answer::json(&object));
    }
    let core = path == "api";
    if let Some(version) = accept::aggregated(accept) {
        return Ok(aggregated(core, version, known));
    }
    accept::form(accept)?;
    Ok(Answer::json(&if core {
        json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
        })
    } else {
        let named = group_versions().into_iter().filter(|(group, _)| !group.is_empty());
        let groups: Vec<Value> = named.map(|(group, version)| api_group(group, version)).collect();
        json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
    }))
}

fn api_group(group: &str, version: &str) -> Value {
    let this = json!({"groupVersion": format!("{group}/{version}"), "version": version});
    json!({"name": group, "versions": [this.clone()], "preferredVersion": this})
}

/// All groups in one answer.
fn aggregated(core: bool, version: &'static str, known: &str) -> Answer {
    let wanted = group_versions().into_iter().filter(|(group, _)| group.is_empty() == core);
    let items: Vec<Value> = wanted
        .map(|(group, version)| {
            let metadata = if group.is_empty() { json!({}) } else { json!({"name": group}) };
            let resources: Vec<Value> = of_group_version(group, version).map(aggregated_resource).collect();
            json!({
                "metadata": metadata,
                "versions": [{"version": version, "resources": resources, "freshness": "Current"}],
            })
        })
        .collect();
    let list = json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {}, "items": items,
    });
    let content_type = match version {
        "v2" => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        _ => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
    };
    let etag = format!("\"{}\"", hash(&list));
    let answer = match known == etag {
        true => Answer::plain("").code(StatusCode::NOT_MODIFIED),
        false => Answer::json(&list),
    };
    answer.content_type(content_type).header(ETAG, &etag).header(VARY, "Accept")
}

/// A name for a document that changes when it does.
pub(crate) fn hash(document: &Value) -> String {
    Sha256::digest(document.to_string()).iter().take(16).map(|byte| format!("{byte:02X}")).collect()
}

fn aggregated_resource(about: &About) -> Value {
    let mut object = Map::new();
    object.insert("resource".into(), about.plural.into());
    let kind = json!({"group": about.group, "version": about.version, "kind": about.kind});
    object.insert("responseKind".into(), kind);
    object.insert("scope".into(), if about.namespaced { "Namespaced" } else { "Cluster" }.into());
    object.insert("singularResource".into(), about.singular.into());
    object.insert("verbs".into(), json!(about.verbs));
    insert_unless_empty(&mut object, "shortNames", about.short_names);
    insert_unless_empty(&mut object, "categories", about.categories);
    let parts: Vec<Value> = about
        .subresources
        .iter()
        .map(|sub| {
            let (group, version) = sub.group_version.unwrap_or((about.group, about.version));
            let kind = json!({"group": group, "version": version, "kind": sub.kind});
            json!({"subresource": sub.name, "responseKind": kind, "verbs": sub.verbs})
        })
        .collect();
    if !parts.is_empty() {
        object.insert("subresources".into(), parts.into());
    }
    Value::Object(object)
}

fn insert_unless_empty(object: &mut Map<String, Value>, key: &str, values: &[&str]) {
    if !values.is_empty() {
        object.insert(key.into(), json!(values));
    }
}

/// `/api/v1`, `/apis/GROUP/VERSION`
pub(crate) fn group_version(group: &str, version: &str) -> Answer {
    let mut resources = Vec::new();
    for about in of_group_version(group, version) {
        let mut object = Map::new();
        object.insert("name".into(), about.plural.into());
        object.insert("singularName".into(), about.singular.into());
        object.insert("namespaced".into(), about.namespaced.into());
        object.insert("kind".into(), about.kind.into());
        object.insert("verbs".into(), json!(about.verbs));
        insert_unless_empty(&mut object, "shortNames", about.short_names);
        insert_unless_empty(&mut object, "categories", about.categories);
        resources.push(Value::Object(object));
        for sub in about.subresources {
            let mut object = json!({
                "name": format!("{}/{}", about.plural, sub.name), "singularName": "",
                "namespaced": about.namespaced, "kind": sub.kind, "verbs": sub.verbs,
            });
            if let Some((group, version)) = sub.group_version {
                (object["group"], object["version"]) = (group.into(), version.into());
            }
            resources.push(object);
        }
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    Answer::json(&json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources,
    }))
}

/// `/apis/apiextensions.k8s.io/v1/customresourcedefinitions`: there are none, nor can there be any, so that discovery does
/// not tell of the kind. `kubectl create` asks all the same where it does not know a kind.
pub(crate) fn no_extensions() -> Answer {
    Answer::json(&json!({
        "kind": "CustomResourceDefinitionList", "apiVersion": "apiextensions.k8s.io/v1",
        "metadata": {"resourceVersion": "1"}, "items": [],
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_discovery_tell_of_the_same_kinds() {
        let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        let all = groups("api", accept, "", "").unwrap();
        let all: Value = serde_json::from_slice(all.text()).unwrap();
        let plain: Value = serde_json::from_slice(group_version("", "v1").text()).unwrap();
        let names = |list: &Value, key: &str| {
            let names = list.as_array().unwrap().iter().map(|r| r[key].as_str().unwrap().to_owned());
            names.filter(|name| !name.contains('/')).collect::<Vec<_>>()
        };
        let kinds = names(&all["items"][0]["versions"][0]["resources"], "resource");
        assert_eq!(kinds, names(&plain["resources"], "name"));
        assert!(kinds.contains(&"pods".to_owned()));
    }
}
