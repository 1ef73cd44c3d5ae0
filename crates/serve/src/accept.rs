//! In which form a client wants its answer. Pure.

use crate::error::{ApiError, Result};

/// A form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// The object, as JSON.
    Json,
    /// The object, as YAML.
    Yaml,
    /// A table, in this version of its group.
    Table(&'static str),
    /// Only metadata, in this version of its group.
    Metadata(&'static str),
}

/// The first of a client's wishes that can be met, in the order in which it names them (as the API server does it; nobody
/// gives weights).
pub(crate) fn form(accept: &str) -> Result<Form> {
    if accept.trim().is_empty() {
        return Ok(Form::Json);
    }
    accept.split(',').find_map(one).ok_or_else(ApiError::not_acceptable)
}

fn one(wish: &str) -> Option<Form> {
    let mut parts = wish.split(';').map(str::trim);
    let media = parts.next()?;
    let parameters: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
    let of = |name: &str| parameters.iter().find(|(n, _)| *n == name).map(|(_, value)| *value);
    let version = || match (of("g"), of("v")) {
        (Some("meta.k8s.io"), Some("v1")) => Some("meta.k8s.io/v1"),
        (Some("meta.k8s.io"), Some("v1beta1")) => Some("meta.k8s.io/v1beta1"),
        _ => None,
    };
    match (media, of("as")) {
        ("application/json", Some("Table")) => version().map(Form::Table),
        ("application/json", Some("PartialObjectMetadata" | "PartialObjectMetadataList")) => {
            version().map(Form::Metadata)
        }
        (_, Some(_)) => None,
        ("application/json" | "application/*" | "*/*", None) => Some(Form::Json),
        ("application/yaml", None) => Some(Form::Yaml),
        _ => None,
    }
}

/// Whether a client that asks for discovery takes all of it in one answer, and in which version of that.
pub(crate) fn aggregated(accept: &str) -> Option<&'static str> {
    accept.split(',').find_map(|wish| {
        let has = |part: &str| wish.split(';').any(|p| p.trim() == part);
        if has("application/json") && !wish.contains("as=") {
            // What stands behind the plain form is wanted less.
            return Some(None);
        }
        let all = has("as=APIGroupDiscoveryList") && has("g=apidiscovery.k8s.io");
        match (all, has("v=v2"), has("v=v2beta1")) {
            (true, true, _) => Some(Some("v2")),
            (true, _, true) => Some(Some("v2beta1")),
            _ => None,
        }
    })?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_wish_that_can_be_met_counts() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(form(table).unwrap(), Form::Table("meta.k8s.io/v1"));
        assert_eq!(form("application/vnd.kubernetes.protobuf,application/json").unwrap(), Form::Json);
        assert_eq!(form("").unwrap(), Form::Json);
        assert_eq!(form("application/yaml").unwrap(), Form::Yaml);
        let partial = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
        assert_eq!(form(partial).unwrap(), Form::Metadata("meta.k8s.io/v1"));
        assert!(form("text/html").is_err());
        assert!(form("application/json;as=Table;v=v7;g=meta.k8s.io").is_err());
        let discovery = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
        assert_eq!(aggregated(discovery), Some("v2"));
        assert_eq!(aggregated("application/json"), None);
        assert_eq!(
            aggregated(
                "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
            ),
            Some("v2beta1")
        );
    }
}
