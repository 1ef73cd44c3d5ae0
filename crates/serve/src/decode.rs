//! From the body of a request to an object that is valid and has its defaults, or to the API server's refusal. Pure.

use crate::error::{ApiError, Result};
use crate::kinds::{About, Resource};
use crate::object::{self, text};
use crate::protobuf;
use k8s_openapi::api::apps::v1 as apps;
use k8s_openapi::api::core::v1 as api;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use manifest::ValidationMode;
use manifest::decode::{Decoded, MisfitKind};
use manifest::field::FieldErrors;
use manifest::tree::Node;
use manifest::validate::Workload;
use manifest::{defaults, kinds as known_kinds, support, tree, validate};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::HashSet;

/// What a client sent, understood.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Given {
    /// Valid, with defaults; of its metadata only what a client may say.
    pub(crate) object: Value,
    /// `metadata.uid`, `metadata.resourceVersion` and the name, as sent.
    pub(crate) uid: String,
    pub(crate) version: String,
    /// What the client is to be warned of.
    pub(crate) warnings: Vec<String>,
}

/// What a body is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Yaml,
    Protobuf,
}

/// The format that a content type names; JSON where it names none.
pub(crate) fn format(content_type: &str) -> Result<Format> {
    match content_type.split(';').next().unwrap_or_default().trim() {
        "" | "application/json" => Ok(Format::Json),
        "application/yaml" => Ok(Format::Yaml),
        "application/vnd.kubernetes.protobuf" => Ok(Format::Protobuf),
        _ => Err(ApiError::unsupported_media(
            "application/json, application/yaml, application/vnd.kubernetes.protobuf",
        )),
    }
}

/// The `fieldValidation` of a request.
pub(crate) fn validation(options: &str, text: &str) -> Result<ValidationMode> {
    match text {
        "Strict" => Ok(ValidationMode::Strict),
        "Warn" | "" => Ok(ValidationMode::Warn),
        "Ignore" => Ok(ValidationMode::Ignore),
        other => Err(ApiError::unsupported_option(
            options,
            "fieldValidation",
            other,
            &["", "Ignore", "Strict", "Warn"],
        )),
    }
}

/// Reads an object of a resource; `namespace` is that of the path, empty for what is in none.
pub(crate) fn object(
    resource: Resource,
    namespace: &str,
    body: &[u8],
    format: Format,
    mode: ValidationMode,
) -> Result<Given> {
    read(resource, namespace, body, format, mode, false)
}

/// As [`object`], of what an object that is there is to become: a pod may have ephemeral containers then.
pub(crate) fn changed(
    resource: Resource,
    namespace: &str,
    body: &[u8],
    format: Format,
    mode: ValidationMode,
) -> Result<Given> {
    read(resource, namespace, body, format, mode, true)
}

fn read(
    resource: Resource,
    namespace: &str,
    body: &[u8],
    format: Format,
    mode: ValidationMode,
    changed: bool,
) -> Result<Given> {
    let about = resource.about();
    let node = parse(about, body, format)?;
    check_kind(about, &node)?;
    let decoded = manifest::decode::decode(&node, about.schema);
    let warnings = misfits(about, &decoded, mode)?;
    let unknown: HashSet<String> = decoded.unknown().map(|misfit| misfit.path.clone()).collect();
    let given = |pointer: &str| text(&decoded.json, pointer).to_owned();
    let (uid, version) = (given("/metadata/uid"), given("/metadata/resourceVersion"));
    let place = Place { about, namespace, node: &node, unknown: &unknown, changed };
    let (object, more) = match resource {
        Resource::Pods => place.typed::<api::Pod>(decoded.json)?,
        Resource::ConfigMaps => place.typed::<api::ConfigMap>(decoded.json)?,
        Resource::Secrets => place.typed::<api::Secret>(decoded.json)?,
        Resource::Namespaces => place.typed::<api::Namespace>(decoded.json)?,
        Resource::Nodes => place.typed::<api::Node>(decoded.json)?,
        Resource::PersistentVolumeClaims => place.typed::<api::PersistentVolumeClaim>(decoded.json)?,
        Resource::PersistentVolumes => place.typed::<api::PersistentVolume>(decoded.json)?,
        Resource::ServiceAccounts => place.typed::<api::ServiceAccount>(decoded.json)?,
        Resource::DaemonSets => place.typed::<apps::DaemonSet>(decoded.json)?,
        Resource::Events => return Err(ApiError::method_not_allowed()),
    };
    Ok(Given { object, uid, version, warnings: warnings.into_iter().chain(more).collect() })
}

/// The tree of the body's one document.
fn parse(about: &About, body: &[u8], format: Format) -> Result<Node> {
    let unrecognized = |why: &str| {
        let text = String::from_utf8_lossy(&body[..body.len().min(200)]);
        let shown = if body.is_empty() { "<empty>" } else { &text };
        ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): couldn't get version/kind; {why} ({shown})",
            about.kind
        ))
    };
    let from_protobuf;
    let body = match format {
        Format::Protobuf => {
            let object = protobuf::to_json(body);
            from_protobuf = object.map_err(ApiError::bad_request)?.to_string();
            from_protobuf.as_bytes()
        }
        _ => body,
    };
    let text = std::str::from_utf8(body).map_err(|_| unrecognized("the body is not UTF-8"))?;
    if format == Format::Json {
        serde_json::from_str::<serde::de::IgnoredAny>(text)
            .map_err(|error| unrecognized(&format!("json parse error: {}", json_words(text, &error))))?;
    }
    let mut documents = tree::parse_documents(text).into_iter();
    match (documents.next().map(|document| document.root), documents.next()) {
        (Some(Ok(mut root)), None) if matches!(root.value, tree::Value::Mapping(_)) => {
            if format != Format::Yaml {
                tree::read_numbers_as_json(&mut root, text);
            }
            Ok(root)
        }
        (Some(Err(error)), _) => Err(unrecognized(&error.message)),
        (Some(Ok(_)), None) => {
            Err(unrecognized("json parse error: json: cannot unmarshal into Go value of type struct"))
        }
        _ => Err(unrecognized("json parse error: unexpected end of JSON input")),
    }
}

/// As Go's decoder says it.
pub(crate) fn json_words(text: &str, error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "unexpected end of JSON input".to_owned();
    }
    let line = text.lines().nth(error.line().saturating_sub(1)).unwrap_or_default();
    let rest = line.get(error.column().saturating_sub(1)..).unwrap_or_default();
    let Some(c) = rest.chars().next() else { return error.to_string() };
    // What serde_json was reading, by how it says so; Go says where it was instead.
    let said = error.to_string();
    let places = [
        ("expected `,` or `}`", "after object key:value pair"),
        ("expected `,` or `]`", "after array element"),
        ("expected `:`", "after object key"),
        ("key must be a string", "looking for beginning of object key string"),
        (
            "trailing comma",
            if c == '}' {
                "looking for beginning of object key string"
            } else {
                "looking for beginning of value"
            },
        ),
        ("trailing characters", "after top-level value"),
        ("control character", "in string literal"),
        ("invalid escape", "in string escape code"),
        ("invalid number", "in numeric literal"),
    ];
    let place = places.iter().find(|(words, _)| said.starts_with(words)).map(|(_, place)| *place);
    format!("invalid character '{c}' {}", place.unwrap_or("looking for beginning of value"))
}

/// The kind of the path, where the object names one.
fn check_kind(about: &About, node: &Node) -> Result<()> {
    let said = |key: &str| node.get(key).and_then(Node::as_str).unwrap_or_default();
    let (kind, api_version) = (said("kind"), said("apiVersion"));
    let ours = about.api_version();
    if (kind.is_empty() || kind == about.kind) && (api_version.is_empty() || api_version == ours) {
        return Ok(());
    }
    let version = api_version.rsplit('/').next().unwrap_or_default();
    let kind = if kind.is_empty() { about.kind } else { kind };
    let why = if known_kinds::is_known(api_version, kind) && known_kinds::canonical(kind) == kind {
        format!("converting (v1.{kind}) to (core.{}): unknown conversion", about.kind)
    } else {
        format!(
            "no kind {kind:?} is registered for version {api_version:?} in scheme \"pkg/runtime/scheme.go:111\""
        )
    };
    Err(cannot_be_handled(about, kind, version, &why))
}

fn cannot_be_handled(about: &About, kind: &str, version: &str, why: &str) -> ApiError {
    ApiError::bad_request(format!(
        "{kind} in version {version:?} cannot be handled as a {}: {why}",
        about.kind
    ))
}

/// Refuses what does not fit the type; gives what the client is to be warned of.
fn misfits(about: &About, decoded: &Decoded, mode: ValidationMode) -> Result<Vec<String>> {
    let refuse = |why: &str| Err(cannot_be_handled(about, about.kind, about.version, why));
    if let Some(refusal) = decoded.refusal() {
        return refuse(&refusal.message);
    }
    let left_out = decoded
        .misfits
        .iter()
        .filter(|misfit| matches!(misfit.kind, MisfitKind::Unknown | MisfitKind::Duplicate));
    let messages: Vec<String> = left_out.map(|misfit| misfit.message.clone()).collect();
    match mode {
        ValidationMode::Ignore => Ok(Vec::new()),
        ValidationMode::Warn => Ok(messages),
        ValidationMode::Strict if messages.is_empty() => Ok(messages),
        ValidationMode::Strict => refuse(&format!("strict decoding error: {}", messages.join(", "))),
    }
}

/// What is to be known of a kind to take it in.
trait Kind: DeserializeOwned + Serialize {
    fn metadata(&mut self) -> &mut ObjectMeta;
    fn fill_in(&mut self) {}
    fn wrong(&self) -> FieldErrors;
    /// What is wrong with what an object that is there is to become.
    fn wrong_when_changed(&self) -> FieldErrors {
        self.wrong()
    }
    /// What is valid and cannot be done here.
    fn unsupported(&self, _place: &Place<'_>) -> FieldErrors {
        FieldErrors::default()
    }
    fn warnings(&self) -> FieldErrors {
        FieldErrors::default()
    }
}

struct Place<'a> {
    about: &'static About,
    namespace: &'a str,
    node: &'a Node,
    unknown: &'a HashSet<String>,
    /// That the object is there already.
    changed: bool,
}

impl Place<'_> {
    /// Steps: 1. the type; 2. the namespace of the path; 3. defaults; 4. what is wrong; 5. what is not done.
    fn typed<K: Kind>(&self, json: Value) -> Result<(Value, Vec<String>)> {
        let about = self.about;
        // The schema lets nothing through that the type does not take; should it, the reason is told.
        let mut made: K = serde_json::from_value(json)
            .map_err(|error| cannot_be_handled(about, about.kind, about.version, &error.to_string()))?;
        let metadata = made.metadata();
        defaults::forget_the_servers_part(metadata);
        if about.namespaced {
            match metadata.namespace.as_deref().unwrap_or_default() {
                "" => metadata.namespace = Some(self.namespace.to_owned()),
                said if said == self.namespace => {}
                _ => {
                    return Err(ApiError::bad_request(
                        "the namespace of the provided object does not match the namespace sent on the request",
                    ));
                }
            }
        }
        let name = metadata.name.clone().unwrap_or_default();
        made.fill_in();
        let wrong = if self.changed { made.wrong_when_changed() } else { made.wrong() };
        for errors in [wrong, made.unsupported(self)] {
            if !errors.is_empty() {
                return Err(ApiError::invalid(about.kind, about.group, &name, &errors));
            }
        }
        let warnings = made.warnings().list.into_iter().map(|warning| warning.message).collect();
        let mut object = serde_json::to_value(&made).map_err(ApiError::internal)?;
        object::set_metadata(&mut object, "creationTimestamp", None);
        Ok((object, warnings))
    }
}

impl Kind for api::Pod {
    fn metadata(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
    fn fill_in(&mut self) {
        self.status = None;
        defaults::pod(self);
        defaults::admit(self);
    }
    fn wrong(&self) -> FieldErrors {
        validate::pod(self)
    }
    fn wrong_when_changed(&self) -> FieldErrors {
        validate::changed_pod(self)
    }
    fn unsupported(&self, place: &Place<'_>) -> FieldErrors {
        support::pod_errors(self, place.node, place.unknown)
    }
    fn warnings(&self) -> FieldErrors {
        validate::pod_warnings(self)
    }
}

impl Kind for apps::DaemonSet {
    fn metadata(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
    fn fill_in(&mut self) {
        self.status = None;
        let spec = &mut self.spec;
        defaults::pod_spec(spec.template.spec.get_or_insert_default());
        spec.revision_history_limit.get_or_insert(10);
        let strategy = spec.update_strategy.get_or_insert_default();
        if strategy.type_.get_or_insert_with(|| "RollingUpdate".to_owned()) == "RollingUpdate" {
            let rolling = strategy.rolling_update.get_or_insert_default();
            rolling.max_surge.get_or_insert(IntOrString::Int(0));
            rolling.max_unavailable.get_or_insert(IntOrString::Int(1));
        }
    }
    fn wrong(&self) -> FieldErrors {
        workload_of(self).map_or_else(FieldErrors::default, |workload| validate::workload(&workload))
    }
    fn unsupported(&self, place: &Place<'_>) -> FieldErrors {
        workload_of(self).map_or_else(FieldErrors::default, |workload| {
            support::workload_errors(&workload, place.node, place.unknown)
        })
    }
}

/// What workloads have in common, of a DaemonSet.
pub(crate) fn workload_of(set: &impl Serialize) -> Option<Workload> {
    let mut value = serde_json::to_value(set).ok()?;
    value["kind"] = "DaemonSet".into();
    serde_json::from_value(value).ok()
}

impl Kind for api::ConfigMap {
    fn metadata(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
    fn wrong(&self) -> FieldErrors {
        validate::config_map(self)
    }
}

impl Kind for api::Secret {
    fn metadata(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
    fn fill_in(&mut self) {
        defaults::secret(self);
    }
    fn wrong(&self) -> FieldErrors {
        validate::secret(self)
    }
}

impl Kind for api::Namespace {
    fn metadata(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
    fn fill_in(&mut self) {
        let spec = self.spec.get_or_insert_default();
        spec.finalizers.get_or_insert_with(|| vec!["kubernetes".to_owned()]);
        self.status = None;
        if let Some(name) = self.metadata.name.clone() {
            let labels = self.metadata.labels.get_or_insert_default();
            labels.insert("kubernetes.io/metadata.name".to_owned(), name);
        }
    }
    fn wrong(&self) -> FieldErrors {
        validate::cluster_metadata(&self.metadata, true)
    }
}

impl Kind for api::Node {
    fn metadata(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
    fn wrong(&self) -> FieldErrors {
        validate::cluster_metadata(&self.metadata, false)
    }
}

impl Kind for api::PersistentVolume {
    fn metadata(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
    fn fill_in(&mut self) {
        defaults::persistent_volume(self);
    }
    fn wrong(&self) -> FieldErrors {
        validate::persistent_volume(self)
    }
    fn unsupported(&self, place: &Place<'_>) -> FieldErrors {
        support::persistent_volume_errors(place.node, place.unknown)
    }
}

impl Kind for api::PersistentVolumeClaim {
    fn metadata(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
    fn fill_in(&mut self) {
        defaults::claim(self);
    }
    fn wrong(&self) -> FieldErrors {
        validate::claim(self)
    }
    fn unsupported(&self, place: &Place<'_>) -> FieldErrors {
        support::claim_errors(place.node, place.unknown)
    }
}

impl Kind for api::ServiceAccount {
    fn metadata(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
    fn wrong(&self) -> FieldErrors {
        validate::namespaced_metadata(&self.metadata)
    }
}

/// What a client may say about how something is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct DeleteOptions {
    pub(crate) grace_seconds: Option<i64>,
    pub(crate) uid: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) dry_run: bool,
    /// What it made stays.
    pub(crate) orphan: bool,
}

/// Reads the body of a delete, which may be empty.
pub(crate) fn delete_options(body: &[u8], format: Format) -> Result<DeleteOptions> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(DeleteOptions::default());
    }
    let about = About { kind: "DeleteOptions", ..*Resource::Pods.about() };
    delete_options_of(&manifest::decode::any(&parse(&about, body, format)?))
}

/// Reads an Eviction of this pod: how it is to be deleted.
pub(crate) fn eviction(body: &[u8], format: Format, pod: &str) -> Result<DeleteOptions> {
    let about = About { kind: "Eviction", ..*Resource::Pods.about() };
    let value = manifest::decode::any(&parse(&about, body, format)?);
    let kind = text(&value, "/kind");
    if !["", "Eviction"].contains(&kind) {
        return Err(ApiError::bad_request(format!("{kind} cannot be handled as a Eviction")));
    }
    if text(&value, "/metadata/name") != pod {
        return Err(ApiError::bad_request("name in URL does not match name in Eviction object"));
    }
    value.get("deleteOptions").map_or_else(|| Ok(DeleteOptions::default()), delete_options_of)
}

fn delete_options_of(value: &Value) -> Result<DeleteOptions> {
    let kind = text(value, "/kind");
    if !["", "DeleteOptions"].contains(&kind) {
        return Err(ApiError::bad_request(format!("{kind} cannot be handled as a DeleteOptions")));
    }
    if let Some(policy) = value.get("propagationPolicy").and_then(Value::as_str)
        && !["Orphan", "Background", "Foreground"].contains(&policy)
    {
        let known = ["", "Background", "Foreground", "Orphan"];
        return Err(ApiError::unsupported_option("DeleteOptions", "propagationPolicy", policy, &known));
    }
    let owned = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    Ok(DeleteOptions {
        grace_seconds: value.get("gracePeriodSeconds").and_then(Value::as_i64),
        uid: owned("/preconditions/uid"),
        version: owned("/preconditions/resourceVersion"),
        orphan: value.get("propagationPolicy").is_some_and(|policy| policy == "Orphan"),
        dry_run: value.get("dryRun").is_some_and(|dry_run| *dry_run == json!(["All"])),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: &str, mode: ValidationMode) -> String {
        let error = object(Resource::Pods, "default", body.as_bytes(), Format::Json, mode).unwrap_err();
        format!("{} {}", error.code.as_u16(), error.message())
    }

    #[test]
    fn what_is_refused_is_refused_in_the_api_servers_words() {
        let strict = |body: &str| refused(body, ValidationMode::Strict);
        assert_eq!(
            strict(""),
            "400 the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: unexpected end of JSON input (<empty>)"
        );
        assert_eq!(
            strict("{\"apiVersion\":"),
            "400 the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: unexpected end of JSON input ({\"apiVersion\":)"
        );
        assert_eq!(
            strict(r#"{"apiVersion":"v1","kind":"Node","metadata":{"name":"x"}}"#),
            "400 Node in version \"v1\" cannot be handled as a Pod: converting (v1.Node) to (core.Pod): unknown conversion"
        );
        assert_eq!(
            strict(
                r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x","name":"y"},"spec":{"containers":[{"name":"main","image":"a"}]}}"#
            ),
            "400 Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: duplicate field \"metadata.name\""
        );
        let elsewhere = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x","namespace":"other"}}"#;
        assert_eq!(
            strict(elsewhere),
            "400 the namespace of the provided object does not match the namespace sent on the request"
        );
        // A number beyond what a float holds is one all the same.
        for number in ["3", "1.5", "1e999", "-1e999", "123456789012345678901234567890"] {
            let body = format!(r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":{number}}}}}"#);
            assert_eq!(
                strict(&body),
                "400 Pod in version \"v1\" cannot be handled as a Pod: json: cannot unmarshal number into Go struct field ObjectMeta.metadata.name of type string"
            );
        }
        for bad in ["[]", "3", "null", "{\"a\": }", "\u{1}", &"[".repeat(100_000), &"{\"a\":".repeat(10_000)]
        {
            assert!(strict(bad).starts_with("400 "), "{bad:.20}");
        }
    }

    #[test]
    fn malformed_json_is_told_in_gos_words() {
        let cases = [
            ("{", "unexpected end of JSON input"),
            ("{\"a\"", "unexpected end of JSON input"),
            ("x", "invalid character 'x' looking for beginning of value"),
            ("{\"a\": }", "invalid character '}' looking for beginning of value"),
            ("{\"a\": 1,}", "invalid character '}' looking for beginning of object key string"),
            ("{a: 1}", "invalid character 'a' looking for beginning of object key string"),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            ("{\"a\": 1 \"b\": 2}", "invalid character '\"' after object key:value pair"),
            ("{\"a\": [1 2]}", "invalid character '2' after array element"),
            ("{} x", "invalid character 'x' after top-level value"),
            ("{\n  \"a\": ?}", "invalid character '?' looking for beginning of value"),
        ];
        for (body, words) in cases {
            let shown = format!(
                "400 the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: {words} ({body})"
            );
            assert_eq!(refused(body, ValidationMode::Strict), shown);
        }
    }

    #[test]
    fn malformed_yaml_and_protobuf_are_refused() {
        let refused = |body: &[u8], format| {
            let error =
                object(Resource::ConfigMaps, "default", body, format, ValidationMode::Strict).unwrap_err();
            (error.code.as_u16(), error.message().to_owned())
        };
        for body in ["a: b: c", "- a", "a", "\u{0}", "{", "a: &x [*x]", "---\na: b\n---\nc: d\n", ""] {
            let (code, said) = refused(body.as_bytes(), Format::Yaml);
            assert_eq!(code, 400, "{body:?}: {said}");
            assert!(
                said.starts_with("the object provided is unrecognized (must be of type ConfigMap)"),
                "{body:?}: {said}"
            );
        }
        // A ConfigMap's field 1 with a length that is not there, a wire type that is none, and no type at all.
        let of_config_map = b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x02\x0a\x7f";
        for body in
            [&b""[..], b"k8s\0", b"k8s", b"{}", b"k8s\0\x0a\x7f", b"k8s\0\x0f", of_config_map, &[0xff; 64]]
        {
            let (code, said) = refused(body, Format::Protobuf);
            assert_eq!(code, 400, "{body:?}: {said}");
        }
    }

    #[test]
    fn unknown_fields_are_told_as_asked() {
        let body = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x","label":{"a":"b"}},"spec":{"containers":[{"name":"main","image":"a"}]}}"#;
        assert_eq!(
            refused(body, ValidationMode::Strict),
            "400 Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: unknown field \"metadata.label\""
        );
        let take = |mode| object(Resource::Pods, "default", body.as_bytes(), Format::Json, mode).unwrap();
        assert_eq!(take(ValidationMode::Warn).warnings, ["unknown field \"metadata.label\""]);
        assert_eq!(take(ValidationMode::Ignore).warnings, [""; 0]);
        assert_eq!(take(ValidationMode::Ignore).object["spec"]["restartPolicy"], "Always");
    }

    #[test]
    fn options_of_a_delete() {
        let read = |body: &str| delete_options(body.as_bytes(), Format::Json);
        assert_eq!(read("").unwrap(), DeleteOptions::default());
        let given =
            read(r#"{"propagationPolicy":"Background","gracePeriodSeconds":3,"preconditions":{"uid":"u"}}"#);
        let given = given.unwrap();
        assert_eq!((given.grace_seconds, given.uid.as_deref()), (Some(3), Some("u")));
        assert!(read(r#"{"propagationPolicy":"Never"}"#).is_err() && read("{").is_err());
    }
}
