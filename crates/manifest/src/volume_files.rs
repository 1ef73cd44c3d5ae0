//! What configMap, secret, downwardAPI and projected volumes hold: files as values, which the agent writes.

use crate::cri::{EnvSources, NodeFacts, fields};
use k8s_openapi::api::core::v1::{
    ConfigMap, ConfigMapVolumeSource, DownwardAPIVolumeFile, KeyToPath, Pod, ProjectedVolumeSource, Secret,
    SecretVolumeSource, VolumeProjection,
};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A file of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeFile {
    /// Below the volume's root; has no `..`.
    pub path: PathBuf,
    /// Contents.
    pub bytes: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
}

/// Why a volume cannot be filled; the kubelet says it in the event `FailedMount`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VolumeError {
    /// The source is not there.
    #[error("MountVolume.SetUp failed for volume {volume:?} : {kind} {name:?} not found")]
    NotFound {
        /// The volume.
        volume: String,
        /// `configmap` or `secret`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// An item's key is not in it.
    #[error("MountVolume.SetUp failed for volume {volume:?} : references non-existent {kind} key: {key}")]
    NoKey {
        /// The volume.
        volume: String,
        /// `config` or `secret`.
        kind: &'static str,
        /// The key.
        key: String,
    },
    /// A field or resource of the Pod cannot be had.
    #[error("MountVolume.SetUp failed for volume {volume:?} : {reason}")]
    Field {
        /// The volume.
        volume: String,
        /// Why.
        reason: String,
    },
    /// An item's path leads out of the volume.
    #[error("MountVolume.SetUp failed for volume {volume:?} : invalid path {path:?}")]
    Path {
        /// The volume.
        volume: String,
        /// The path.
        path: String,
    },
}

/// The files of a configMap volume; none if the ConfigMap is not there and need not be.
///
/// # Errors
/// In the kubelet's words.
pub fn config_map_files(
    volume: &str,
    source: &ConfigMapVolumeSource,
    config_map: Option<&ConfigMap>,
) -> Result<Vec<VolumeFile>, VolumeError> {
    let optional = source.optional.unwrap_or_default();
    let Some(config_map) = config_map else {
        return if optional { Ok(Vec::new()) } else { Err(not_found(volume, "configmap", &source.name)) };
    };
    let text = config_map.data.iter().flatten().map(|(key, value)| (key.clone(), value.clone().into_bytes()));
    let binary = config_map.binary_data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone()));
    let kind = Kind { word: "config", optional, mode: source.default_mode };
    files(volume, &kind, &text.chain(binary).collect(), source.items.as_deref())
}

/// The files of a secret volume; none if the Secret is not there and need not be.
///
/// # Errors
/// In the kubelet's words.
pub fn secret_files(
    volume: &str,
    source: &SecretVolumeSource,
    secret: Option<&Secret>,
) -> Result<Vec<VolumeFile>, VolumeError> {
    let optional = source.optional.unwrap_or_default();
    let Some(secret) = secret else {
        let name = source.secret_name.as_deref().unwrap_or_default();
        return if optional { Ok(Vec::new()) } else { Err(not_found(volume, "secret", name)) };
    };
    let data = secret.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect();
    let kind = Kind { word: "secret", optional, mode: source.default_mode };
    files(volume, &kind, &data, source.items.as_deref())
}

/// The files of a downwardAPI volume.
///
/// # Errors
/// In the kubelet's words.
pub fn downward_api_files(
    volume: &str,
    items: &[DownwardAPIVolumeFile],
    default_mode: Option<i32>,
    pod: &Pod,
    node: &NodeFacts<'_>,
) -> Result<Vec<VolumeFile>, VolumeError> {
    let value = |item: &DownwardAPIVolumeFile| match (&item.field_ref, &item.resource_field_ref) {
        (Some(selector), _) => fields::of_pod(pod, selector, node),
        (None, Some(selector)) => fields::of_container(pod, "", selector, node),
        (None, None) => Ok(String::new()),
    };
    let made = |item: &DownwardAPIVolumeFile| {
        let reason = |reason| VolumeError::Field { volume: volume.to_owned(), reason };
        let bytes = value(item).map_err(reason)?.into_bytes();
        file(volume, &item.path, &bytes, mode_of(item.mode, default_mode))
    };
    items.iter().map(made).collect()
}

/// The files of a projected volume; of two with one path the later one. A service account's token is left out.
///
/// # Errors
/// In the kubelet's words.
pub fn projected_files(
    volume: &str,
    source: &ProjectedVolumeSource,
    objects: &EnvSources<'_>,
    pod: &Pod,
    node: &NodeFacts<'_>,
) -> Result<Vec<VolumeFile>, VolumeError> {
    let mut files = BTreeMap::new();
    for part in source.sources.iter().flatten() {
        let made = projection(volume, part, source.default_mode, objects, pod, node)?;
        files.extend(made.into_iter().map(|file| (file.path.clone(), file)));
    }
    Ok(files.into_values().collect())
}

fn projection(
    volume: &str,
    part: &VolumeProjection,
    default_mode: Option<i32>,
    objects: &EnvSources<'_>,
    pod: &Pod,
    node: &NodeFacts<'_>,
) -> Result<Vec<VolumeFile>, VolumeError> {
    if let Some(map) = &part.config_map {
        let source = ConfigMapVolumeSource {
            name: map.name.clone(),
            items: map.items.clone(),
            optional: map.optional,
            default_mode,
            ..ConfigMapVolumeSource::default()
        };
        let object = objects.config_maps.and_then(|maps| maps.get(&map.name));
        config_map_files(volume, &source, object)
    } else if let Some(secret) = &part.secret {
        let source = SecretVolumeSource {
            secret_name: Some(secret.name.clone()),
            items: secret.items.clone(),
            optional: secret.optional,
            default_mode,
            ..SecretVolumeSource::default()
        };
        secret_files(volume, &source, objects.secrets.and_then(|secrets| secrets.get(&secret.name)))
    } else if let Some(downward) = &part.downward_api {
        let items = downward.items.as_deref().unwrap_or_default();
        downward_api_files(volume, items, default_mode, pod, node)
    } else {
        Ok(Vec::new())
    }
}

fn not_found(volume: &str, kind: &'static str, name: &str) -> VolumeError {
    VolumeError::NotFound { volume: volume.to_owned(), kind, name: name.to_owned() }
}

struct Kind {
    word: &'static str,
    optional: bool,
    mode: Option<i32>,
}

fn files(
    volume: &str,
    kind: &Kind,
    data: &BTreeMap<String, Vec<u8>>,
    items: Option<&[KeyToPath]>,
) -> Result<Vec<VolumeFile>, VolumeError> {
    let mode = |own| mode_of(own, kind.mode);
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        return data.iter().map(|(key, bytes)| file(volume, key, bytes, mode(None))).collect();
    };
    let mut made = Vec::new();
    for item in items {
        match data.get(&item.key) {
            Some(bytes) => made.push(file(volume, &item.path, bytes, mode(item.mode))?),
            None if kind.optional => {}
            None => {
                let (volume, key) = (volume.to_owned(), item.key.clone());
                return Err(VolumeError::NoKey { volume, kind: kind.word, key });
            }
        }
    }
    Ok(made)
}

/// A file's own mode, else the volume's.
fn mode_of(own: Option<i32>, default: Option<i32>) -> u32 {
    u32::try_from(own.or(default).unwrap_or(0o644)).unwrap_or(0o644) & 0o777
}

/// Validation refuses such paths; here it is made sure, since what is written goes by them.
fn file(volume: &str, path: &str, bytes: &[u8], mode: u32) -> Result<VolumeFile, VolumeError> {
    let inside = PathBuf::from(path);
    let normal = |part| matches!(part, std::path::Component::Normal(_));
    if path.is_empty() || !inside.components().all(normal) {
        return Err(VolumeError::Path { volume: volume.to_owned(), path: path.to_owned() });
    }
    Ok(VolumeFile { path: inside, bytes: bytes.to_owned(), mode })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::path::Path;

    fn made(source: serde_json::Value) -> Result<Vec<VolumeFile>, String> {
        let map: ConfigMap =
            serde_json::from_value(json!({"data": {"a": "x", "b": "y"}, "binaryData": {"c": "AAE="}}))
                .unwrap();
        let source: ConfigMapVolumeSource = serde_json::from_value(source).unwrap();
        config_map_files("v", &source, Some(&map)).map_err(|error| error.to_string())
    }

    #[test]
    fn every_key_is_a_file_unless_items_say_which() {
        let all = made(json!({"name": "m", "defaultMode": 256})).unwrap();
        assert_eq!(all.iter().map(|file| file.mode).collect::<Vec<_>>(), [0o400; 3]);
        assert_eq!(all[2], VolumeFile { path: "c".into(), bytes: vec![0, 1], mode: 0o400 });
        let some = made(json!({"name": "m", "items": [{"key": "b", "path": "d/e", "mode": 511}]})).unwrap();
        assert_eq!(some, [VolumeFile { path: Path::new("d/e").into(), bytes: b"y".to_vec(), mode: 0o777 }]);
    }

    const NODE: NodeFacts<'_> = NodeFacts {
        name: "n",
        host_ips: &[],
        pod_ips: &[],
        memory_bytes: 1,
        cpu_millis: 1,
        storage_bytes: 1,
        recursive_read_only: true,
    };

    #[test]
    fn a_projected_volume_has_the_files_of_all_its_sources() {
        let maps: BTreeMap<String, ConfigMap> =
            serde_json::from_value(json!({"m": {"data": {"a": "x", "b": "y"}}})).unwrap();
        let secrets: BTreeMap<String, Secret> =
            serde_json::from_value(json!({"s": {"data": {"p": "eA=="}}})).unwrap();
        let pod: Pod = serde_json::from_value(
            json!({"metadata": {"name": "p", "labels": {"k": "v"}}, "spec": {"containers": [{"name": "c"}]}}),
        )
        .unwrap();
        let projected = |sources| {
            let source: ProjectedVolumeSource =
                serde_json::from_value(json!({"defaultMode": 0o440, "sources": sources})).unwrap();
            let objects = EnvSources::new(&maps, &secrets);
            projected_files("v", &source, &objects, &pod, &NODE).map_err(|error| error.to_string())
        };
        let made = projected(json!([
            {"configMap": {"name": "m", "items": [{"key": "b", "path": "sub/b", "mode": 0o400}]}},
            {"secret": {"name": "s"}},
            {"downwardAPI": {"items": [
                {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
                {"path": "p", "resourceFieldRef": {"containerName": "c", "resource": "limits.memory"}},
            ]}},
            {"serviceAccountToken": {"path": "token"}},
            {"configMap": {"name": "none", "optional": true}},
        ]))
        .unwrap();
        let seen: Vec<_> =
            made.iter().map(|f| (f.path.to_str().unwrap(), f.bytes.as_slice(), f.mode)).collect();
        assert_eq!(
            seen,
            [("labels", b"k=\"v\"".as_slice(), 0o440), ("p", b"1", 0o440), ("sub/b", b"y", 0o400)]
        );
        assert_eq!(
            projected(json!([{"secret": {"name": "none"}}])),
            Err("MountVolume.SetUp failed for volume \"v\" : secret \"none\" not found".into())
        );
        assert_eq!(
            projected(
                json!([{"downwardAPI": {"items": [{"path": "x", "resourceFieldRef": {"containerName": "d", "resource": "limits.cpu"}}]}}])
            ),
            Err("MountVolume.SetUp failed for volume \"v\" : container d not found".into())
        );
    }

    #[test]
    fn what_is_missing_is_said_as_the_kubelet_says_it() {
        assert_eq!(
            made(json!({"name": "m", "items": [{"key": "z", "path": "z"}]})),
            Err("MountVolume.SetUp failed for volume \"v\" : references non-existent config key: z".into())
        );
        assert_eq!(
            made(json!({"name": "m", "optional": true, "items": [{"key": "z", "path": "z"}]})),
            Ok(vec![])
        );
        let source = SecretVolumeSource { secret_name: Some("s".into()), ..SecretVolumeSource::default() };
        assert_eq!(
            secret_files("v", &source, None).unwrap_err().to_string(),
            "MountVolume.SetUp failed for volume \"v\" : secret \"s\" not found"
        );
        assert!(made(json!({"name": "m", "items": [{"key": "a", "path": "../z"}]})).is_err());
    }
}
