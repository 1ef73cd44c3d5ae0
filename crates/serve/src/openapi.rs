//! The OpenAPI documents: of version 3, with the schemas of what is served, made from the API's types, for `kubectl explain`
//! and for whoever validates; and of version 2, in protobuf and with nothing but operations, which `kubectl create` looks
//! through for kinds that it does not find in the first.

use crate::discovery::{git_version, group_versions, hash, of_group_version};
use crate::http::Answer;
use crate::kinds::{About, Resource};
use k8s_openapi::api::apps::v1 as apps;
use k8s_openapi::api::core::v1 as api;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// The parameters by which `kubectl` knows that the server validates.
const WRITING: [&str; 3] = ["dryRun", "fieldManager", "fieldValidation"];

/// `api/v1`, `apis/GROUP/VERSION`
fn path_of(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

/// `/openapi/v3`
pub(crate) fn index() -> Answer {
    let mut paths = Map::new();
    for (group, version) in group_versions() {
        let path = path_of(group, version);
        // The document is the program's, and changes with it.
        let hash = hash(&json!([git_version(), path]));
        paths.insert(path.clone(), json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={hash}")}));
    }
    Answer::json(&json!({"paths": paths}))
}

/// `/openapi/v3/api/v1`
pub(crate) fn document(path: &str) -> Option<Answer> {
    let known = group_versions().into_iter().find(|(group, version)| path_of(group, version) == path);
    known.map(|(group, version)| Answer::json(&version_3(group, version)))
}

fn version_3(group: &str, version: &str) -> Value {
    let mut paths = Map::new();
    let base = path_of(group, version);
    for about in of_group_version(group, version) {
        let place = if about.namespaced { "/namespaces/{namespace}" } else { "" };
        let (mut all, mut one) = (Map::new(), Map::new());
        for (verb, method, of_one) in OPERATIONS {
            if about.allows(verb) {
                let operations = if of_one { &mut one } else { &mut all };
                operations.insert(method.into(), operation(about, verb, method));
            }
        }
        paths.insert(format!("/{base}{place}/{}", about.plural), Value::Object(all));
        paths.insert(format!("/{base}{place}/{}/{{name}}", about.plural), Value::Object(one));
    }
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Rhizome", "version": git_version()},
        "paths": paths,
        "components": {"schemas": schemas(group, version)},
    })
}

/// Verb, method, and whether it is of one object.
const OPERATIONS: [(&str, &str, bool); 6] = [
    ("list", "get", false),
    ("create", "post", false),
    ("get", "get", true),
    ("update", "put", true),
    ("patch", "patch", true),
    ("delete", "delete", true),
];

fn operation(about: &About, verb: &str, method: &str) -> Value {
    let parameter =
        |name: &&str| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}});
    let writes = ["post", "put", "patch"].contains(&method);
    let parameters: Vec<Value> = WRITING.iter().filter(|_| writes).map(parameter).collect();
    let schema = json!({"$ref": format!("#/components/schemas/{}", schema_name(about))});
    let mut operation = json!({
        "parameters": parameters,
        "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": schema.clone()}}}},
        "x-kubernetes-action": if method == "get" { verb } else { method },
        "x-kubernetes-group-version-kind": kind_of(about),
    });
    if writes {
        operation["requestBody"] = json!({"content": {"application/json": {"schema": schema}}});
    }
    operation
}

fn kind_of(about: &About) -> Value {
    json!({"group": about.group, "version": about.version, "kind": about.kind})
}

fn schema_name(about: &About) -> String {
    let group = if about.group.is_empty() { "core" } else { about.group };
    format!("io.k8s.api.{group}.{}.{}", about.version, about.kind)
}

/// The schemas of the kinds of a group, and of all that they are made of.
fn schemas(group: &str, version: &str) -> Value {
    let mut generator = SchemaSettings::openapi3().into_generator();
    for about in of_group_version(group, version) {
        for resource in Resource::EVERY.into_iter().filter(|resource| std::ptr::eq(resource.about(), about)) {
            add_schema(resource, &mut generator);
        }
    }
    let mut schemas = generator.take_definitions(true);
    for about in of_group_version(group, version) {
        if let Some(schema) = schemas.get_mut(&schema_name(about)) {
            // Of an object that is sent, nothing has to be there but what is checked by hand.
            if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
                required.retain(|field| field != "metadata");
            }
            schema["x-kubernetes-group-version-kind"] = json!([kind_of(about)]);
        }
    }
    for (schema, field, values) in ENUMERATIONS {
        let properties =
            schemas.get_mut(&format!("io.k8s.api.core.v1.{schema}")).map(|s| &mut s["properties"]);
        if let Some(field) = properties.and_then(|properties| properties.get_mut(field)) {
            field["enum"] = values.iter().map(|(value, _)| *value).collect();
            let meant = values.iter().filter(|(_, meaning)| !meaning.is_empty());
            let meant: String = meant.map(|(value, meaning)| format!("\n - `{value:?}` {meaning}")).collect();
            if let (false, Some(description)) = (meant.is_empty(), field["description"].as_str()) {
                field["description"] = format!("{description}\n\nPossible enum values:{meant}").into();
            }
        }
    }
    Value::Object(schemas.into_iter().collect())
}

/// Values, and what each means in the API's documentation.
type Values = &'static [(&'static str, &'static str)];

/// Values of fields that have only these, which the types do not know.
const ENUMERATIONS: [(&str, &str, Values); 5] = [
    (
        "VolumeMount",
        "mountPropagation",
        &[
            (
                "Bidirectional",
                "means that the volume in a container will receive new mounts from the host or other containers, and its own mounts will be propagated from the container to the host or other containers. Note that this mode is recursively applied to all mounts in the volume (\"rshared\" in Linux terminology).",
            ),
            (
                "HostToContainer",
                "means that the volume in a container will receive new mounts from the host or other containers, but filesystems mounted inside the container won't be propagated to the host or other containers. Note that this mode is recursively applied to all mounts in the volume (\"rslave\" in Linux terminology).",
            ),
            (
                "None",
                "means that the volume in a container will not receive new mounts from the host or other containers, and filesystems mounted inside the container won't be propagated to the host or other containers. Note that this mode corresponds to \"private\" in Linux terminology.",
            ),
        ],
    ),
    (
        "HostPathVolumeSource",
        "type",
        &[
            ("", "For backwards compatible, leave it empty if unset"),
            ("BlockDevice", "A block device must exist at the given path"),
            ("CharDevice", "A character device must exist at the given path"),
            ("Directory", "A directory must exist at the given path"),
            (
                "DirectoryOrCreate",
                "If nothing exists at the given path, an empty directory will be created there as needed with file mode 0755, having the same group and ownership with Kubelet.",
            ),
            ("File", "A file must exist at the given path"),
            (
                "FileOrCreate",
                "If nothing exists at the given path, an empty file will be created there as needed with file mode 0644, having the same group and ownership with Kubelet.",
            ),
            ("Socket", "A UNIX socket must exist at the given path"),
        ],
    ),
    ("PodSpec", "restartPolicy", &[("Always", ""), ("Never", ""), ("OnFailure", "")]),
    ("Container", "imagePullPolicy", &[("Always", ""), ("IfNotPresent", ""), ("Never", "")]),
    ("Container", "terminationMessagePolicy", &[("FallbackToLogsOnError", ""), ("File", "")]),
];

fn add_schema(resource: Resource, generator: &mut SchemaGenerator) {
    let _ = match resource {
        Resource::ConfigMaps => generator.subschema_for::<api::ConfigMap>(),
        Resource::DaemonSets => generator.subschema_for::<apps::DaemonSet>(),
        Resource::Events => generator.subschema_for::<api::Event>(),
        Resource::Namespaces => generator.subschema_for::<api::Namespace>(),
        Resource::Nodes => generator.subschema_for::<api::Node>(),
        Resource::PersistentVolumeClaims => generator.subschema_for::<api::PersistentVolumeClaim>(),
        Resource::PersistentVolumes => generator.subschema_for::<api::PersistentVolume>(),
        Resource::Pods => generator.subschema_for::<api::Pod>(),
        Resource::Secrets => generator.subschema_for::<api::Secret>(),
        Resource::ServiceAccounts => generator.subschema_for::<api::ServiceAccount>(),
    };
}

/// `/openapi/v2`: the message `openapi.v2.Document`, whose fields are numbered in `OpenAPIv2.proto` of gnostic.
pub(crate) fn version_2() -> Answer {
    let mut paths = Vec::new();
    for (group, version) in group_versions() {
        for about in of_group_version(group, version).filter(|about| about.allows("patch")) {
            let place = if about.namespaced { "/namespaces/{namespace}" } else { "" };
            let path = format!("/{}{place}/{}/{{name}}", path_of(group, version), about.plural);
            let item = [field(1, path.as_bytes()), field(2, &field(8, &patch_operation(about)))].concat();
            paths.extend(field(2, &item));
        }
    }
    let info = [field(1, b"Rhizome"), field(2, git_version().as_bytes())].concat();
    let document = [field(1, b"2.0"), field(2, &info), field(8, &paths)].concat();
    Answer::bytes(document.into()).content_type("application/com.github.proto-openapi.spec.v2.v1.0+protobuf")
}

fn patch_operation(about: &About) -> Vec<u8> {
    let mut operation = Vec::new();
    for name in WRITING {
        // ParametersItem, Parameter, NonBodyParameter, QueryParameterSubSchema
        let parameter = [field(2, b"query"), field(4, name.as_bytes())].concat();
        operation.extend(field(8, &field(1, &field(2, &field(3, &parameter)))));
    }
    let yaml = format!("group: {:?}\nkind: {}\nversion: {}\n", about.group, about.kind, about.version);
    let kind = [field(1, b"x-kubernetes-group-version-kind"), field(2, &field(2, yaml.as_bytes()))].concat();
    operation.extend(field(13, &kind));
    operation
}

/// A field that is a text or a message.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_says_that_pods_are_validated_here() {
        let document = version_3("", "v1");
        let create = &document["paths"]["/api/v1/namespaces/{namespace}/pods"]["post"];
        assert_eq!(create["x-kubernetes-group-version-kind"]["kind"], "Pod");
        assert!(create["parameters"].as_array().unwrap().iter().any(|p| p["name"] == "fieldValidation"));
    }

    /// Every kind has a schema, and nothing that a schema names is missing.
    #[test]
    fn the_schemas_are_closed() {
        for (group, version) in group_versions() {
            let document = version_3(group, version);
            let schemas = document["components"]["schemas"].as_object().unwrap();
            for about in of_group_version(group, version) {
                assert!(schemas.contains_key(&schema_name(about)), "{}", about.kind);
            }
            let text = document.to_string();
            for named in text.split("#/components/schemas/").skip(1) {
                let name = named.split('"').next().unwrap();
                assert!(schemas.contains_key(name), "{name}");
            }
        }
    }
}
