//! A container's environment, as the kubelet makes it: `envFrom`, then `env` in order, `$(NAME)` put in.

use super::container::{ConfigError, NodeFacts};
use super::fields;
use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVar, EnvVarSource, Pod, Secret};
use std::collections::BTreeMap;

/// ConfigMaps and Secrets of the Pod's namespace, by name.
#[derive(Debug, Clone, Copy, Default)]
pub struct EnvSources<'a> {
    /// ConfigMaps.
    pub config_maps: Option<&'a BTreeMap<String, ConfigMap>>,
    /// Secrets.
    pub secrets: Option<&'a BTreeMap<String, Secret>>,
}

impl<'a> EnvSources<'a> {
    /// Both.
    #[must_use]
    pub fn new(config_maps: &'a BTreeMap<String, ConfigMap>, secrets: &'a BTreeMap<String, Secret>) -> Self {
        Self { config_maps: Some(config_maps), secrets: Some(secrets) }
    }

    fn config_map(&self, name: &str, optional: bool) -> Result<Option<&'a ConfigMap>, ConfigError> {
        found(self.config_maps.and_then(|all| all.get(name)), "configmap", name, optional)
    }

    fn secret(&self, name: &str, optional: bool) -> Result<Option<&'a Secret>, ConfigError> {
        found(self.secrets.and_then(|all| all.get(name)), "secret", name, optional)
    }
}

fn found<'a, T>(
    it: Option<&'a T>,
    kind: &str,
    name: &str,
    optional: bool,
) -> Result<Option<&'a T>, ConfigError> {
    match it {
        None if !optional => Err(ConfigError::Environment(format!("{kind} {name:?} not found"))),
        it => Ok(it),
    }
}

/// Variables in order, each name once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Environment {
    variables: Vec<(String, String)>,
}

impl Environment {
    /// The value of a variable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<String> {
        self.variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }

    /// Sets a variable; one that is there keeps its place.
    fn set(&mut self, name: &str, value: String) {
        match self.variables.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => self.variables.push((name.to_owned(), value)),
        }
    }

    /// The variables.
    #[must_use]
    pub fn into_vec(self) -> Vec<(String, String)> {
        self.variables
    }
}

/// The environment of a container, without the image's.
///
/// # Errors
/// A ConfigMap, Secret, key or field that is not there, in the kubelet's words.
pub fn environment(
    pod: &Pod,
    container: &Container,
    sources: &EnvSources<'_>,
    node: &NodeFacts<'_>,
) -> Result<Environment, ConfigError> {
    let mut environment = Environment::default();
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        if let Some(reference) = &from.config_map_ref {
            let map = sources.config_map(&reference.name, reference.optional.unwrap_or_default())?;
            for (key, value) in map.and_then(|map| map.data.as_ref()).into_iter().flatten() {
                environment.set(&format!("{prefix}{key}"), value.clone());
            }
        } else if let Some(reference) = &from.secret_ref {
            let secret = sources.secret(&reference.name, reference.optional.unwrap_or_default())?;
            for (key, value) in secret.and_then(|secret| secret.data.as_ref()).into_iter().flatten() {
                environment.set(&format!("{prefix}{key}"), String::from_utf8_lossy(&value.0).into_owned());
            }
        }
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) = value_of(pod, container, variable, &environment, sources, node)? {
            environment.set(&variable.name, value);
        }
    }
    Ok(environment)
}

fn value_of(
    pod: &Pod,
    container: &Container,
    variable: &EnvVar,
    environment: &Environment,
    sources: &EnvSources<'_>,
    node: &NodeFacts<'_>,
) -> Result<Option<String>, ConfigError> {
    match (variable.value.as_deref().unwrap_or_default(), &variable.value_from) {
        ("", Some(from)) => from_source(pod, container, from, sources, node),
        (text, _) => Ok(Some(expand(text, |name| environment.get(name)))),
    }
}

fn from_source(
    pod: &Pod,
    container: &Container,
    from: &EnvVarSource,
    sources: &EnvSources<'_>,
    node: &NodeFacts<'_>,
) -> Result<Option<String>, ConfigError> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let missing = |key: &str, kind: &str, name: &str, optional: bool| {
        if optional {
            return Ok(None);
        }
        Err(ConfigError::Environment(format!("couldn't find key {key} in {kind} {namespace}/{name}")))
    };
    if let Some(selector) = &from.field_ref {
        return fields::of_pod(pod, selector, node).map(Some).map_err(ConfigError::Environment);
    }
    if let Some(selector) = &from.resource_field_ref {
        let value = fields::of_container(pod, &container.name, selector, node);
        return value.map(Some).map_err(ConfigError::Environment);
    }
    if let Some(selector) = &from.config_map_key_ref {
        let optional = selector.optional.unwrap_or_default();
        let Some(map) = sources.config_map(&selector.name, optional)? else { return Ok(None) };
        return match map.data.as_ref().and_then(|data| data.get(&selector.key)) {
            Some(value) => Ok(Some(value.clone())),
            None => missing(&selector.key, "ConfigMap", &selector.name, optional),
        };
    }
    if let Some(selector) = &from.secret_key_ref {
        let optional = selector.optional.unwrap_or_default();
        let Some(secret) = sources.secret(&selector.name, optional)? else { return Ok(None) };
        return match secret.data.as_ref().and_then(|data| data.get(&selector.key)) {
            Some(value) => Ok(Some(String::from_utf8_lossy(&value.0).into_owned())),
            None => missing(&selector.key, "Secret", &selector.name, optional),
        };
    }
    Err(ConfigError::Environment(
        "an environment source of this kind is not supported yet by this version of rhizome".into(),
    ))
}

/// Puts the values of `$(NAME)` in; `$$` is a `$`, and a name without a value stays as it is written.
#[must_use]
pub fn expand(text: &str, mut value: impl FnMut(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(escaped) = after.strip_prefix('$') {
            out.push('$');
            rest = escaped;
        } else if let Some((name, behind)) = after.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match value(name) {
                Some(value) => out.push_str(&value),
                None => out.push_str(&format!("$({name})")),
            }
            rest = behind;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn references_expand_as_kubernetes_expands_them() {
        let value = |name: &str| (name == "A").then(|| "x".to_owned());
        for (text, expanded) in [
            ("$(A)", "x"),
            ("-$(A)-$(B)-", "-x-$(B)-"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$x"),
            ("$", "$"),
            ("$A", "$A"),
            ("$(A", "$(A"),
            ("$$", "$"),
            ("", ""),
            ("ä$(A)ö", "äxö"),
        ] {
            assert_eq!(expand(text, value), expanded, "{text}");
        }
    }

    fn made(container: serde_json::Value) -> Result<Vec<(String, String)>, String> {
        let pod: Pod = serde_json::from_value(
            json!({"metadata": {"name": "p", "namespace": "default", "labels": {"app": "a"}}, "spec": {"containers": []}}),
        )
        .unwrap();
        let container: Container = serde_json::from_value(container).unwrap();
        let maps: BTreeMap<String, ConfigMap> =
            serde_json::from_value(json!({"m": {"data": {"K": "v", "L": "w"}}})).unwrap();
        let secrets: BTreeMap<String, Secret> =
            serde_json::from_value(json!({"s": {"data": {"P": "eA=="}}})).unwrap();
        let node = NodeFacts {
            name: "node1",
            host_ips: &[],
            pod_ips: &["10.0.0.1".to_owned()],
            memory_bytes: 1,
            cpu_millis: 2000,
            storage_bytes: 1,
            recursive_read_only: true,
        };
        environment(&pod, &container, &EnvSources::new(&maps, &secrets), &node)
            .map(Environment::into_vec)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn sources_come_first_and_are_overridden() {
        let made = made(json!({"name": "c",
            "envFrom": [{"configMapRef": {"name": "m"}, "prefix": "X_"}, {"secretRef": {"name": "s"}}, {"configMapRef": {"name": "none", "optional": true}}],
            "env": [{"name": "X_K", "value": "$(X_L)!"}, {"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
                {"name": "I", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "O", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "none", "optional": true}}}]}));
        let pairs: Vec<(String, String)> =
            [("X_K", "w!"), ("X_L", "w"), ("P", "x"), ("N", "a"), ("I", "10.0.0.1")]
                .map(|(a, b)| (a.into(), b.into()))
                .into();
        assert_eq!(made, Ok(pairs));
    }

    #[test]
    fn what_is_missing_is_said_as_the_kubelet_says_it() {
        let from = |source: serde_json::Value| {
            made(json!({"name": "c", "env": [{"name": "A", "valueFrom": source}]}))
        };
        assert_eq!(
            from(json!({"configMapKeyRef": {"name": "none", "key": "k"}})),
            Err("configmap \"none\" not found".into())
        );
        assert_eq!(
            from(json!({"secretKeyRef": {"name": "s", "key": "k"}})),
            Err("couldn't find key k in Secret default/s".into())
        );
    }
}
