//! What the API answers when it does not do what was asked: a `Status` object, with the API server's reasons and words.

use hyper::StatusCode;
use manifest::field::{FieldError, FieldErrors, Reason};
use serde_json::{Map, Value, json};
use std::io;
use std::path::PathBuf;

/// Why a node cannot be.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Its folder or a file in it.
    #[error("cannot {action} {path}")]
    File {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Somebody else is the node of this root.
    #[error("another node has this root ({path} is locked)")]
    Taken {
        /// The lock.
        path: PathBuf,
    },
    /// The address.
    #[error("cannot listen on {address}")]
    Listen {
        /// As asked for.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Keys and certificates.
    #[error("cannot make certificates: {reason}")]
    Certificates {
        /// Why.
        reason: String,
    },
    /// The journal was written by a later version.
    #[error("{path} was written by a later version of rhizome ({found}; this one reads up to {known})")]
    Version {
        /// The journal.
        path: PathBuf,
        /// Its version.
        found: u64,
        /// Ours.
        known: u64,
    },
    /// The pods.
    #[error(transparent)]
    Agent(#[from] agent::client::ClientError),
    /// The root.
    #[error(transparent)]
    Root(#[from] agent::root::RootError),
    /// The machine.
    #[error("cannot {action}")]
    System {
        /// What was being done.
        action: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl NodeError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            NodeError::Taken { .. } => Some("`rhizome kubeconfig` says how to reach it".to_owned()),
            NodeError::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                Some("take another port with --listen ADDRESS:PORT; port 0 takes any that is free".to_owned())
            }
            NodeError::Agent(error) => error.hint(),
            _ => None,
        }
    }
}

/// Makes an error constructor for one action on one path.
pub(crate) fn file(
    action: &'static str,
    path: &std::path::Path,
) -> impl FnOnce(io::Error) -> NodeError + use<> {
    let path = path.to_owned();
    move |source| NodeError::File { action, path, source }
}

/// A refusal.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ApiError {
    pub(crate) code: StatusCode,
    /// One of the API's reasons; empty for those that have none.
    reason: &'static str,
    message: String,
    details: Option<Box<Value>>,
    /// For a list that can be gone on with.
    continue_token: Option<String>,
    /// Told as plain text: it is a container's node that speaks, not an API.
    pub(crate) plain: bool,
}

pub(crate) type Result<T, E = ApiError> = std::result::Result<T, E>;

impl ApiError {
    fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> ApiError {
        ApiError { code, reason, message: message.into(), details: None, continue_token: None, plain: false }
    }

    fn with_details(mut self, details: Value) -> ApiError {
        self.details = Some(Box::new(details));
        self
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    pub(crate) fn unauthorized() -> ApiError {
        ApiError::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
    }

    /// `pods "x" not found`
    pub(crate) fn not_found(plural: &str, group: &str, name: &str) -> ApiError {
        let details = about(name, group, plural);
        ApiError::new(
            StatusCode::NOT_FOUND,
            "NotFound",
            format!("{} {name:?} not found", qualified(plural, group)),
        )
        .with_details(details)
    }

    /// A path below a group that is there, of a resource that is not.
    pub(crate) fn no_such_resource() -> ApiError {
        ApiError::new(StatusCode::NOT_FOUND, "NotFound", "the server could not find the requested resource")
            .with_details(json!({}))
    }

    pub(crate) fn already_exists(plural: &str, group: &str, name: &str) -> ApiError {
        let message = format!("{} {name:?} already exists", qualified(plural, group));
        ApiError::new(StatusCode::CONFLICT, "AlreadyExists", message).with_details(about(name, group, plural))
    }

    /// Somebody else was quicker.
    pub(crate) fn modified(plural: &str, group: &str, name: &str) -> ApiError {
        ApiError::conflict(
            plural,
            group,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    pub(crate) fn conflict(plural: &str, group: &str, name: &str, why: &str) -> ApiError {
        let message =
            format!("Operation cannot be fulfilled on {} {name:?}: {why}", qualified(plural, group));
        ApiError::new(StatusCode::CONFLICT, "Conflict", message).with_details(about(name, group, plural))
    }

    pub(crate) fn forbidden(plural: &str, name: &str, why: &str) -> ApiError {
        ApiError::new(StatusCode::FORBIDDEN, "Forbidden", format!("{plural} {name:?} is forbidden: {why}"))
            .with_details(about(name, "", plural))
    }

    /// As [`ApiError::forbidden`], because the namespace goes.
    pub(crate) fn terminating(plural: &str, name: &str, namespace: &str) -> ApiError {
        let why =
            format!("unable to create new content in namespace {namespace} because it is being terminated");
        let mut error = ApiError::forbidden(plural, name, &why);
        if let Some(Value::Object(details)) = error.details.as_deref_mut() {
            let cause = json!({
                "reason": "NamespaceTerminating",
                "message": format!("namespace {namespace} is being terminated"),
                "field": "metadata.namespace",
            });
            details.insert("causes".to_owned(), json!([cause]));
        }
        error
    }

    /// `Pod "x" is invalid: …`
    pub(crate) fn invalid(kind: &str, group: &str, name: &str, errors: &FieldErrors) -> ApiError {
        let causes = errors.list.iter().map(cause).collect();
        let messages: Vec<&str> = errors.list.iter().map(|error| error.message.as_str()).collect();
        ApiError::invalid_because(kind, group, name, &joined(messages), causes)
    }

    fn invalid_because(kind: &str, group: &str, name: &str, text: &str, causes: Vec<Value>) -> ApiError {
        let kind_said = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let mut details = about(name, group, kind);
        if let Value::Object(details) = &mut details {
            details.insert("causes".to_owned(), Value::Array(causes));
        }
        ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "Invalid",
            format!("{kind_said} {name:?} is invalid: {text}"),
        )
        .with_details(details)
    }

    /// A parameter of the request whose value is none of those that there are.
    pub(crate) fn unsupported_option(options: &str, field: &str, value: &str, known: &[&str]) -> ApiError {
        let mut errors = FieldErrors::default();
        errors.unsupported(&manifest::field::Path::new(field), value, known);
        ApiError::invalid(options, "meta.k8s.io", "", &errors)
    }

    /// A parameter of the request that must not be as it is.
    pub(crate) fn forbidden_option(options: &str, field: &str, why: &str) -> ApiError {
        let mut errors = FieldErrors::default();
        errors.forbidden(&manifest::field::Path::new(field), why);
        ApiError::invalid(options, "meta.k8s.io", "", &errors)
    }

    /// A patch that does not apply, of which the API server says no more.
    pub(crate) fn unprocessable() -> ApiError {
        let message = "the server rejected our request due to an error in our request";
        ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message).with_details(json!({}))
    }

    pub(crate) fn unsupported_patch(message: &str) -> ApiError {
        ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
            .with_details(json!({}))
    }

    pub(crate) fn too_large_patch(most: usize, found: usize) -> ApiError {
        let message = format!("The allowed maximum operations in a JSON patch is {most}, got {found}");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message).with_details(json!({}))
    }

    /// A parameter of the request whose value is out of range.
    pub(crate) fn invalid_option(options: &str, field: &str, value: i64, why: &str) -> ApiError {
        let mut errors = FieldErrors::default();
        errors.invalid(&manifest::field::Path::new(field), value, why);
        ApiError::invalid(options, "", "", &errors)
    }

    pub(crate) fn method_not_allowed() -> ApiError {
        let message = "the server does not allow this method on the requested resource";
        ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message).with_details(json!({}))
    }

    pub(crate) fn not_acceptable() -> ApiError {
        let message = "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml";
        ApiError::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message).with_details(json!({}))
    }

    pub(crate) fn unsupported_media(accepted: &str) -> ApiError {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {accepted}"
        );
        ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
    }

    /// That a container cannot be talked to, which `kubectl` says after "unable to upgrade connection".
    pub(crate) fn upgrade_refused(message: String) -> ApiError {
        ApiError { plain: true, ..ApiError::new(StatusCode::NOT_FOUND, "NotFound", message) }
    }

    pub(crate) fn too_large(limit: usize) -> ApiError {
        let message = format!("Request entity too large: limit is {limit}");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message).with_details(json!({}))
    }

    pub(crate) fn slow_body() -> ApiError {
        let message = "the body of the request did not come in time";
        ApiError::new(StatusCode::REQUEST_TIMEOUT, "Timeout", message)
    }

    pub(crate) fn expired(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::GONE, "Expired", message)
    }

    /// A page that is no longer to be had, with a token for the rest of the list as it is now.
    pub(crate) fn expired_continue(token: String) -> ApiError {
        let message = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";
        ApiError { continue_token: Some(token), ..ApiError::expired(message) }
    }

    pub(crate) fn version_too_large(asked: u64, current: u64) -> ApiError {
        let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
        let causes = json!([{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]);
        ApiError::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message)
            .with_details(json!({"causes": causes, "retryAfterSeconds": 1}))
    }

    pub(crate) fn bad_version(text: &str) -> ApiError {
        let message = format!(
            "resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
        );
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "", message)
    }

    pub(crate) fn internal(message: impl std::fmt::Display) -> ApiError {
        let message = format!("Internal error occurred: {message}");
        let causes = json!({"causes": [{"message": message}]});
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message).with_details(causes)
    }

    /// The object.
    pub(crate) fn to_json(&self) -> Value {
        let mut status = Map::new();
        let metadata = self.continue_token.as_ref().map_or(json!({}), |token| json!({"continue": token}));
        status.insert("kind".into(), "Status".into());
        status.insert("apiVersion".into(), "v1".into());
        status.insert("metadata".into(), metadata);
        status.insert("status".into(), "Failure".into());
        status.insert("message".into(), self.message.clone().into());
        if !self.reason.is_empty() {
            status.insert("reason".into(), self.reason.into());
        }
        if let Some(details) = &self.details {
            status.insert("details".into(), (**details).clone());
        }
        status.insert("code".into(), self.code.as_u16().into());
        Value::Object(status)
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }
}

impl From<NodeError> for ApiError {
    fn from(error: NodeError) -> ApiError {
        ApiError::internal(with_causes(&error))
    }
}

pub(crate) use image::message::cause as with_causes;

/// `daemonsets.apps`, `pods`
fn qualified(plural: &str, group: &str) -> String {
    if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") }
}

fn about(name: &str, group: &str, kind: &str) -> Value {
    let mut details = Map::new();
    for (key, value) in [("name", name), ("group", group), ("kind", kind)] {
        if !value.is_empty() {
            details.insert(key.to_owned(), value.into());
        }
    }
    Value::Object(details)
}

fn cause(error: &FieldError) -> Value {
    json!({"reason": reason_of(error.reason), "message": error.bare(), "field": error.path})
}

fn reason_of(reason: Reason) -> &'static str {
    match reason {
        Reason::Required => "FieldValueRequired",
        Reason::Invalid => "FieldValueInvalid",
        Reason::Forbidden => "FieldValueForbidden",
        Reason::Duplicate => "FieldValueDuplicate",
        Reason::NotFound => "FieldValueNotFound",
        Reason::NotSupported => "FieldValueNotSupported",
        Reason::TooLong => "FieldValueTooLong",
        Reason::TooMany => "FieldValueTooMany",
        Reason::Other => "FieldValueInvalid",
    }
}

/// As Go's aggregate says several: each once, in brackets if there are more than one.
fn joined(mut messages: Vec<&str>) -> String {
    let mut seen = std::collections::HashSet::new();
    messages.retain(|message| seen.insert(*message));
    match messages.as_slice() {
        [one] => (*one).to_owned(),
        all => format!("[{}]", all.join(", ")),
    }
}
