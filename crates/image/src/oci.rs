//! The JSON documents of images (OCI image spec 1.1, docker's archive format), and the part of a config that a
//! container is made from.
//!
//! Own shapes instead of a library's: they take what real writers leave out or set to `null`, keep maps in order,
//! and cost a supervisor nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

/// The `PATH` of a root file system that says nothing about it: docker's.
pub const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(crate) const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";
pub(crate) const DOCKER_LIST_TYPE: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
pub(crate) const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// How an image wants to be run (`config` of an OCI image config). The Pod's fields come before these.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageConfig {
    /// `user`, `uid`, `user:group`, `uid:gid` and mixtures; empty is root.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// `NAME=value` lines.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// What is run; `cmd` are its first arguments, unless the Pod has a command.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// What is run where there is no entrypoint, else its arguments.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    /// Where it is run; empty is `/`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// What stops it, as a name (`SIGQUIT`) or number; none is `SIGTERM`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// `80/tcp` and the like. Documentation only.
    #[serde(deserialize_with = "keys", serialize_with = "as_keys", skip_serializing_if = "Vec::is_empty")]
    pub exposed_ports: Vec<String>,
    /// Directories that hold data. Kubernetes gives them no meaning.
    #[serde(deserialize_with = "keys", serialize_with = "as_keys", skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<String>,
    /// Labels.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// The document whose digest is the image's id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConfigFile {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) created: Option<String>,
    #[serde(default)]
    pub(crate) architecture: String,
    #[serde(default)]
    pub(crate) os: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) variant: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) config: ImageConfig,
    pub(crate) rootfs: RootFs,
}

/// The layers, as digests of their uncompressed archives, bottom first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RootFs {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) diff_ids: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) size: u64,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<Platform>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Platform {
    pub(crate) architecture: String,
    pub(crate) os: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) variant: Option<String>,
}

impl Platform {
    /// How well it fits this machine, 0 best; none where it cannot run here.
    pub(crate) fn rank(&self) -> Option<usize> {
        if self.os != "linux" || self.architecture != architecture() {
            return None;
        }
        let variant = self.variant.as_deref().unwrap_or_default();
        variants(&self.architecture, &machine()).iter().position(|known| *known == variant)
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

/// The variants of an architecture that a machine (`uname -m`) runs, best first. Microarchitecture levels above the
/// first (`amd64/v3`, `arm64/v9`) are not chosen: an image that has one has the plain architecture, too.
fn variants(architecture: &str, machine: &str) -> &'static [&'static str] {
    match architecture {
        "amd64" => &["", "v1"],
        "arm64" => &["v8", ""],
        "arm" if machine.starts_with("armv6") => &["v6", "v5", ""],
        "arm" if machine.starts_with("armv5") => &["v5", ""],
        "arm" => &["v7", "v8", "v6", "v5", ""],
        _ => &[""],
    }
}

fn machine() -> String {
    rustix::system::uname().machine().to_string_lossy().into_owned()
}

/// The error for an index that has nothing for this machine. `unknown/unknown` are signatures and the like.
pub(crate) fn no_platform<'a>(manifests: impl IntoIterator<Item = &'a Descriptor>) -> crate::Error {
    let platforms = manifests.into_iter().filter_map(|d| d.platform.as_ref());
    let available: Vec<_> =
        platforms.filter(|p| p.os != "unknown").map(ToString::to_string).take(40).collect();
    crate::Error::Platform { available: available.join(", "), wanted: format!("linux/{}", architecture()) }
}

/// `index.json`, and the index of a multi-platform image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    pub(crate) schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    pub(crate) manifests: Vec<Descriptor>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    pub(crate) config: Descriptor,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) layers: Vec<Descriptor>,
}

/// An entry of `manifest.json` as `docker save` writes it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DockerManifest {
    pub(crate) config: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) repo_tags: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) layers: Vec<String>,
}

/// This machine's architecture in Go's words, which image documents use.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    }
}

/// Go writes an empty list, map or string as `null` where it was never set.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// A set, written as a map to nothing (Go's `map[string]struct{}`).
fn keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let map = Option::<BTreeMap<String, serde::de::IgnoredAny>>::deserialize(deserializer)?;
    Ok(map.unwrap_or_default().into_keys().collect())
}

fn as_keys<S: serde::Serializer>(keys: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(keys.iter().map(|key| (key, serde_json::Map::new())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_and_absent_fields_are_empty() {
        let text = r#"{"architecture":"amd64","os":"linux","config":{"User":"","Env":null,"Cmd":["nginx"],
            "Entrypoint":null,"Volumes":null,"ExposedPorts":{"80/tcp":{}},"Labels":null,"OnBuild":[],
            "StopSignal":"SIGQUIT"},"rootfs":{"type":"layers","diff_ids":null},"history":[]}"#;
        let file: ConfigFile = serde_json::from_str(text).unwrap();
        assert_eq!(file.config.cmd, ["nginx"]);
        assert_eq!(file.config.exposed_ports, ["80/tcp"]);
        assert_eq!(file.config.stop_signal.as_deref(), Some("SIGQUIT"));
        assert!(file.config.env.is_empty() && file.config.volumes.is_empty());
        assert!(file.rootfs.diff_ids.is_empty());
        let none: ConfigFile =
            serde_json::from_str(r#"{"config":null,"rootfs":{"type":"layers","diff_ids":[]}}"#).unwrap();
        assert_eq!(none.config, ImageConfig::default());
    }

    #[test]
    fn variants_are_ranked() {
        let platform = |os: &str, architecture: &str, variant: Option<&str>| Platform {
            os: os.into(),
            architecture: architecture.into(),
            variant: variant.map(str::to_owned),
        };
        assert!(platform("linux", architecture(), None).rank().is_some());
        assert_eq!(platform("windows", architecture(), None).rank(), None);
        assert_eq!(platform("linux", "pdp11", None).rank(), None);
        assert_eq!(platform("linux", architecture(), Some("v99")).rank(), None);
        assert_eq!(variants("arm", "armv7l")[0], "v7");
        assert!(!variants("arm", "armv6l").contains(&"v7"));
        assert!(!variants("amd64", "x86_64").contains(&"v3"));
    }

    #[test]
    fn a_config_survives_the_way_through_json() {
        let config = ImageConfig {
            user: "1000:1000".into(),
            env: vec![DEFAULT_PATH.into()],
            entrypoint: vec!["/entry".into()],
            cmd: vec!["a".into()],
            working_dir: "/srv".into(),
            stop_signal: Some("9".into()),
            exposed_ports: vec!["443/tcp".into(), "80/tcp".into()],
            volumes: vec!["/data".into()],
            labels: BTreeMap::from([("k".into(), "v".into())]),
        };
        let text = serde_json::to_string(&config).unwrap();
        assert!(text.contains(r#""ExposedPorts":{"443/tcp":{},"80/tcp":{}}"#), "{text}");
        assert_eq!(serde_json::from_str::<ImageConfig>(&text).unwrap(), config);
    }
}
