//! What a path means. Pure.

use crate::kinds::{About, Resource};
use crate::query;

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/`
    Root,
    Version,
    /// `/healthz`, `/readyz`, `/livez`
    Health,
    Metrics,
    /// `/api`, `/apis`, `/apis/GROUP`
    Groups {
        path: String,
    },
    /// `/api/v1`, `/apis/GROUP/VERSION`
    GroupVersion {
        group: String,
        version: String,
    },
    /// That there are no extensions, which `kubectl` asks before it says of a kind that there is none.
    NoExtensions,
    /// `/openapi/v2`
    OpenApiOld,
    OpenApiIndex,
    OpenApi {
        group_version: String,
    },
    /// All of a kind, in one namespace or in all.
    Collection {
        resource: Resource,
        namespace: Option<String>,
    },
    /// One of a kind, and perhaps what is below it.
    Object {
        resource: Resource,
        namespace: String,
        name: String,
        subresource: Option<String>,
    },
    /// Below a group that is there, but nothing that is.
    NoResource,
    /// Nothing.
    NoPath,
}

/// Reads a path, as it stands in the request.
pub(crate) fn route(path: &str) -> Route {
    let segments: Vec<String> =
        path.split('/').filter(|segment| !segment.is_empty()).map(|s| query::decode(s, false)).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match segments.as_slice() {
        [] => Route::Root,
        ["version"] => Route::Version,
        ["healthz" | "readyz" | "livez"] => Route::Health,
        ["metrics"] => Route::Metrics,
        ["api" | "apis"] | ["apis", _] => Route::Groups { path: segments.join("/") },
        ["apis", "apiextensions.k8s.io", "v1", "customresourcedefinitions"] => Route::NoExtensions,
        ["openapi", "v2"] => Route::OpenApiOld,
        ["openapi", "v3"] => Route::OpenApiIndex,
        ["openapi", "v3", rest @ ..] => Route::OpenApi { group_version: rest.join("/") },
        ["api", version] => group_version("", version),
        ["apis", group, version] => group_version(group, version),
        ["api", version, rest @ ..] => below("", version, rest),
        ["apis", group, version, rest @ ..] => below(group, version, rest),
        _ => Route::NoPath,
    }
}

fn is_served(group: &str, version: &str) -> bool {
    Resource::EVERY.iter().any(|r| (r.about().group, r.about().version) == (group, version))
}

fn group_version(group: &str, version: &str) -> Route {
    match is_served(group, version) {
        true => Route::GroupVersion { group: group.to_owned(), version: version.to_owned() },
        false => Route::NoPath,
    }
}

fn below(group: &str, version: &str, rest: &[&str]) -> Route {
    if !is_served(group, version) {
        return Route::NoPath;
    }
    let find = |plural: &str| Resource::find(group, version, plural);
    let object = |resource: Resource, namespace: &str, name: &str, subresource: Option<&str>| {
        let about: &About = resource.about();
        let fits = about.namespaced != namespace.is_empty()
            && subresource.is_none_or(|subresource| about.subresource(subresource).is_some());
        match fits {
            true => Route::Object {
                resource,
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                subresource: subresource.map(str::to_owned),
            },
            false => Route::NoResource,
        }
    };
    match rest {
        // A namespace's own parts have the form of a resource in it.
        ["namespaces", name, part @ ("status" | "finalize")] if group.is_empty() => {
            object(Resource::Namespaces, "", name, Some(part))
        }
        ["namespaces", namespace, plural, rest @ ..] => match (find(plural), rest) {
            (Some(resource), []) if resource.about().namespaced => {
                Route::Collection { resource, namespace: Some((*namespace).to_owned()) }
            }
            (Some(resource), [name]) => object(resource, namespace, name, None),
            (Some(resource), [name, sub]) => object(resource, namespace, name, Some(sub)),
            _ => Route::NoResource,
        },
        [plural] => {
            find(plural).map_or(Route::NoResource, |resource| Route::Collection { resource, namespace: None })
        }
        [plural, name] => find(plural).map_or(Route::NoResource, |r| object(r, "", name, None)),
        [plural, name, sub] => find(plural).map_or(Route::NoResource, |r| object(r, "", name, Some(sub))),
        _ => Route::NoResource,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_where_the_api_server_has_them() {
        let pod = |subresource: Option<&str>| Route::Object {
            resource: Resource::Pods,
            namespace: "default".into(),
            name: "a b".into(),
            subresource: subresource.map(str::to_owned),
        };
        assert_eq!(route("/api/v1/namespaces/default/pods/a%20b"), pod(None));
        assert_eq!(route("/api/v1/namespaces/default/pods/a%20b/log"), pod(Some("log")));
        assert_eq!(route("/api/v1/namespaces/default/pods/a/nosuch"), Route::NoResource);
        assert_eq!(route("/api/v1/pods"), Route::Collection { resource: Resource::Pods, namespace: None });
        let namespace = |subresource| Route::Object {
            resource: Resource::Namespaces,
            namespace: String::new(),
            name: "x".into(),
            subresource,
        };
        assert_eq!(route("/api/v1/namespaces/x"), namespace(None));
        for (path, expected) in [
            ("/", Route::Root),
            ("/foo", Route::NoPath),
            ("/apis/foo/v1/bars", Route::NoPath),
            ("/api/v1/namespaces/default/poods", Route::NoResource),
            ("/api/v1/pods/x", Route::NoResource),
            ("/api/v1/namespaces/default/nodes/x", Route::NoResource),
            ("/api/v1/namespaces/a/pods/b/log/d", Route::NoResource),
            ("/api/v2", Route::NoPath),
            ("/version", Route::Version),
            ("/openapi/v3/api/v1", Route::OpenApi { group_version: "api/v1".into() }),
        ] {
            assert_eq!(route(path), expected, "{path}");
        }
    }
}
