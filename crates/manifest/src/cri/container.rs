//! A container of a Pod to its config: `generateContainerConfig` of the kubelet.

use super::env::{EnvSources, Environment, environment, expand};
use super::{ContainerConfig, Mount, MountPropagation, resources, security};
use k8s_openapi::api::core::v1::{Container, EphemeralContainer, Pod, PodSpec, VolumeMount};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What the node prepared for a volume.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResolvedVolume {
    /// Where it is on the node.
    pub host_path: PathBuf,
    /// It may only be mounted read-only, as configMap and secret volumes.
    pub read_only: bool,
    /// Of an image, in a pod with `hostUsers: false`: its layers as directories, topmost first.
    pub layers: Vec<PathBuf>,
}

/// What the node prepared for a Pod's volumes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResolvedVolumes {
    /// By the volume's name.
    pub volumes: BTreeMap<String, ResolvedVolume>,
    /// Places of sub paths, by container name and index of the volumeMount.
    pub sub_paths: BTreeMap<(String, usize), PathBuf>,
}

/// What of the node a container's config depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeFacts<'a> {
    /// `spec.nodeName` and `status.hostIP` for fieldRef.
    pub name: &'a str,
    /// Addresses of the node.
    pub host_ips: &'a [String],
    /// Addresses of the pod.
    pub pod_ips: &'a [String],
    /// Memory of the node in bytes, by which OOM scores are reckoned.
    pub memory_bytes: i64,
    /// Processors of the node, in thousandths: what a container without a limit may use.
    pub cpu_millis: i64,
    /// Size in bytes of the file system that has the pods' folders: the same for ephemeral storage.
    pub storage_bytes: i64,
    /// Whether mounts can be made recursively read-only (Linux 5.12).
    pub recursive_read_only: bool,
}

/// Why a container cannot be made; the kubelet's reason for it is `CreateContainerConfigError`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No container of that name.
    #[error("container {0:?} is not in the pod")]
    NoContainer(String),
    /// No volume of that name was prepared.
    #[error("cannot find volume {volume:?} to mount into container {container:?}")]
    NoVolume {
        /// The volume.
        volume: String,
        /// The container.
        container: String,
    },
    /// A sub path was not prepared.
    #[error("failed to prepare subPath for volumeMount {volume:?} of container {container:?}")]
    NoSubPath {
        /// The volume.
        volume: String,
        /// The container.
        container: String,
    },
    /// `subPathExpr` names a variable that is not there.
    #[error("missing value for {0:?}")]
    SubPathVariable(String),
    /// A propagation mode that is none.
    #[error("invalid MountPropagation mode: {0:?}")]
    Propagation(String),
    /// `recursiveReadOnly` cannot be had.
    #[error("failed to resolve recursive read-only mode: {0}")]
    RecursiveReadOnly(String),
    /// An environment source is not there.
    #[error("{0}")]
    Environment(String),
    /// It must not run as root, and does or may.
    #[error("{0}")]
    NonRoot(String),
    /// A seccomp profile that is not supported.
    #[error("seccomp profile type {0:?} is not supported yet by this version of rhizome")]
    Seccomp(String),
}

/// The config of the container `name` of a Pod, attempt `attempt` (from 0).
///
/// `extra` are the node's own mounts (/etc/hosts, /etc/resolv.conf, the termination log), put after the pod's; one whose
/// path the container mounts itself is left out, as the kubelet does with /etc/hosts.
///
/// # Errors
/// In the kubelet's words.
pub fn container_config(
    pod: &Pod,
    name: &str,
    attempt: u32,
    volumes: &ResolvedVolumes,
    sources: &EnvSources<'_>,
    node: &NodeFacts<'_>,
    extra: &[Mount],
) -> Result<ContainerConfig, ConfigError> {
    let default = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&default);
    let found = find(spec, name).ok_or_else(|| ConfigError::NoContainer(name.to_owned()))?;
    let container = &*found;
    let environment = environment(pod, container, sources, node)?;
    let expanded = |words: &Option<Vec<String>>| -> Vec<String> {
        words.iter().flatten().map(|word| expand(word, |name| environment.get(name))).collect()
    };
    let mut mounts = mounts(container, volumes, node.recursive_read_only, &environment)?;
    let taken: Vec<PathBuf> = mounts.iter().map(|mount| mount.container_path.clone()).collect();
    mounts.extend(extra.iter().filter(|mount| !taken.contains(&mount.container_path)).cloned());
    Ok(ContainerConfig {
        name: container.name.clone(),
        attempt,
        image: container.image.clone().unwrap_or_default(),
        command: expanded(&container.command),
        args: expanded(&container.args),
        working_dir: container.working_dir.clone().unwrap_or_default(),
        mounts,
        labels: labels(pod, container),
        annotations: annotations(spec, container, attempt),
        log_path: PathBuf::from(&container.name).join(format!("{attempt}.log")),
        stdin: container.stdin.unwrap_or_default(),
        stdin_once: container.stdin_once.unwrap_or_default(),
        tty: container.tty.unwrap_or_default(),
        resources: resources::linux_resources(spec, container, node.memory_bytes),
        security_context: security::security_context(spec, container)?,
        envs: environment.into_vec(),
        stop_signal: container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.stop_signal.clone()),
        pid_target: None,
    })
}

/// A container of a Pod, of whichever list it is.
#[must_use]
pub fn find<'a>(spec: &'a PodSpec, name: &str) -> Option<Cow<'a, Container>> {
    let lasting = spec.init_containers.iter().flatten().chain(&spec.containers).find(|c| c.name == name);
    let ephemeral = || spec.ephemeral_containers.iter().flatten().find(|c| c.name == name);
    lasting.map(Cow::Borrowed).or_else(|| ephemeral().map(|c| Cow::Owned(of_ephemeral(c))))
}

/// An ephemeral container as the container that it is but for its place.
#[must_use]
pub fn of_ephemeral(ephemeral: &EphemeralContainer) -> Container {
    let from = ephemeral.clone();
    Container {
        args: from.args,
        command: from.command,
        env: from.env,
        env_from: from.env_from,
        image: from.image,
        image_pull_policy: from.image_pull_policy,
        lifecycle: from.lifecycle,
        liveness_probe: from.liveness_probe,
        name: from.name,
        ports: from.ports,
        readiness_probe: from.readiness_probe,
        resize_policy: from.resize_policy,
        resources: from.resources,
        restart_policy: from.restart_policy,
        restart_policy_rules: from.restart_policy_rules,
        security_context: from.security_context,
        startup_probe: from.startup_probe,
        stdin: from.stdin,
        stdin_once: from.stdin_once,
        termination_message_path: from.termination_message_path,
        termination_message_policy: from.termination_message_policy,
        tty: from.tty,
        volume_devices: from.volume_devices,
        volume_mounts: from.volume_mounts,
        working_dir: from.working_dir,
    }
}

/// Where a container writes why it ends.
#[must_use]
pub fn termination_message_path(container: &Container) -> &Path {
    let path = container.termination_message_path.as_deref().filter(|path| !path.is_empty());
    Path::new(path.unwrap_or("/dev/termination-log"))
}

fn labels(pod: &Pod, container: &Container) -> BTreeMap<String, String> {
    let of = |value: &Option<String>| value.clone().unwrap_or_default();
    BTreeMap::from([
        ("io.kubernetes.container.name".into(), container.name.clone()),
        ("io.kubernetes.pod.name".into(), of(&pod.metadata.name)),
        ("io.kubernetes.pod.namespace".into(), of(&pod.metadata.namespace)),
        ("io.kubernetes.pod.uid".into(), of(&pod.metadata.uid)),
    ])
}

fn annotations(spec: &PodSpec, container: &Container, attempt: u32) -> BTreeMap<String, String> {
    let path = termination_message_path(container).to_string_lossy().into_owned();
    let policy = container.termination_message_policy.clone().unwrap_or_default();
    let period = spec.termination_grace_period_seconds.unwrap_or(30);
    BTreeMap::from([
        ("io.kubernetes.container.restartCount".into(), attempt.to_string()),
        ("io.kubernetes.container.terminationMessagePath".into(), path),
        ("io.kubernetes.container.terminationMessagePolicy".into(), policy),
        ("io.kubernetes.pod.terminationGracePeriod".into(), period.to_string()),
    ])
}

fn mounts(
    container: &Container,
    volumes: &ResolvedVolumes,
    supports_rro: bool,
    environment: &Environment,
) -> Result<Vec<Mount>, ConfigError> {
    let mounts = container.volume_mounts.iter().flatten().enumerate();
    mounts
        .map(|(index, mount)| {
            let names = || (mount.name.clone(), container.name.clone());
            let volume = volumes.volumes.get(&mount.name).ok_or_else(|| {
                let (volume, container) = names();
                ConfigError::NoVolume { volume, container }
            })?;
            let host_path = match sub_path(mount, environment)? {
                None => volume.host_path.clone(),
                Some(_) => {
                    volumes.sub_paths.get(&(container.name.clone(), index)).cloned().ok_or_else(|| {
                        let (volume, container) = names();
                        ConfigError::NoSubPath { volume, container }
                    })?
                }
            };
            Ok(Mount {
                container_path: absolute(&mount.mount_path),
                host_path,
                readonly: mount.read_only.unwrap_or_default() || volume.read_only,
                recursive_read_only: recursive_read_only(mount, supports_rro)?,
                propagation: propagation(mount)?,
                volume: Some(mount.name.clone()),
                layers: volume.layers.clone(),
            })
        })
        .collect()
}

/// The sub path of a volumeMount inside its volume, variables put in; none if it has none.
///
/// # Errors
/// A variable of `subPathExpr` is not there.
pub fn sub_path(mount: &VolumeMount, environment: &Environment) -> Result<Option<String>, ConfigError> {
    if let Some(expression) = mount.sub_path_expr.as_deref().filter(|text| !text.is_empty()) {
        let mut missing = None;
        let path = expand(expression, |name| {
            let value = environment.get(name);
            if value.is_none() {
                missing.get_or_insert_with(|| name.to_owned());
            }
            value
        });
        return match missing {
            Some(name) => Err(ConfigError::SubPathVariable(name)),
            None => Ok(Some(path)),
        };
    }
    Ok(mount.sub_path.clone().filter(|path| !path.is_empty()))
}

/// A mount path that does not begin with `/` is below it, as for the kubelet.
fn absolute(path: &str) -> PathBuf {
    Path::new("/").join(path)
}

/// The propagation that a volumeMount asks for; unset is `None`.
///
/// # Errors
/// A mode that is none.
pub fn propagation(mount: &VolumeMount) -> Result<MountPropagation, ConfigError> {
    match mount.mount_propagation.as_deref() {
        None | Some("None") => Ok(MountPropagation::Private),
        Some("HostToContainer") => Ok(MountPropagation::HostToContainer),
        Some("Bidirectional") => Ok(MountPropagation::Bidirectional),
        Some(other) => Err(ConfigError::Propagation(other.to_owned())),
    }
}

/// Whether a volumeMount is to be read-only with all below it.
///
/// # Errors
/// In the kubelet's words where it cannot be.
pub fn recursive_read_only(mount: &VolumeMount, supported: bool) -> Result<bool, ConfigError> {
    let mode = mount.recursive_read_only.as_deref().unwrap_or("Disabled");
    if mode == "Disabled" {
        return Ok(false);
    }
    let refuse = |why: String| {
        let text = format!("volume {:?} requested recursive read-only mode, but it is {why}", mount.name);
        Err(ConfigError::RecursiveReadOnly(text))
    };
    if mount.read_only != Some(true) {
        return refuse("not read-only".into());
    }
    match mount.mount_propagation.as_deref() {
        None | Some("None") => {}
        Some(other) => return refuse(format!("not compatible with propagation {other:?}")),
    }
    match (mode, supported) {
        ("IfPossible", supported) => Ok(supported),
        ("Enabled", true) => Ok(true),
        ("Enabled", false) => refuse("not supported by the runtime".into()),
        _ => Err(ConfigError::RecursiveReadOnly(format!("unknown recursive read-only mode {mode:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cri::SeccompProfile;
    use serde_json::json;

    const NODE: NodeFacts<'_> = NodeFacts {
        name: "node1",
        host_ips: &[],
        pod_ips: &[],
        memory_bytes: 8 << 30,
        cpu_millis: 2000,
        storage_bytes: 1 << 40,
        recursive_read_only: false,
    };

    fn config(container: serde_json::Value) -> Result<ContainerConfig, ConfigError> {
        let mut pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "default", "uid": "u"},
            "spec": {"containers": [container], "volumes": [{"name": "v", "hostPath": {"path": "/mnt"}}]}
        }))
        .unwrap();
        crate::defaults::pod(&mut pod);
        let volumes = ResolvedVolumes {
            volumes: BTreeMap::from([(
                "v".into(),
                ResolvedVolume { host_path: "/mnt".into(), ..ResolvedVolume::default() },
            )]),
            sub_paths: BTreeMap::new(),
        };
        let hosts =
            Mount { container_path: "/etc/hosts".into(), host_path: "/x/hosts".into(), ..Mount::default() };
        container_config(&pod, "main", 2, &volumes, &EnvSources::default(), &NODE, &[hosts])
    }

    #[test]
    fn a_container_becomes_its_config() {
        let made = config(json!({
            "name": "main", "image": "busybox", "command": ["sh", "-c"], "args": ["echo $(A) $$(A) $(B)"],
            "env": [{"name": "A", "value": "x"}], "workingDir": "/w", "tty": true,
            "volumeMounts": [{"name": "v", "mountPath": "home", "mountPropagation": "HostToContainer", "readOnly": true}]
        }))
        .unwrap();
        assert_eq!(made.args, ["echo x $(A) $(B)"]);
        assert_eq!(made.envs, [("A".to_owned(), "x".to_owned())]);
        assert_eq!(made.log_path, Path::new("main/2.log"));
        assert_eq!(made.mounts.len(), 2);
        assert_eq!(made.mounts[0].container_path, Path::new("/home"));
        assert_eq!(made.mounts[0].propagation, MountPropagation::HostToContainer);
        assert!(made.mounts[0].readonly && made.tty);
        assert_eq!(made.security_context.seccomp, SeccompProfile::RuntimeDefault);
        assert_eq!(made.resources.oom_score_adj, 1000);
        assert_eq!(made.resources.cpu_shares, 2);
    }

    #[test]
    fn the_pods_own_etc_hosts_wins() {
        let made =
            config(json!({"name": "main", "volumeMounts": [{"name": "v", "mountPath": "/etc/hosts"}]}))
                .unwrap();
        assert_eq!(made.mounts.len(), 1);
        assert_eq!(made.mounts[0].volume.as_deref(), Some("v"));
    }

    #[test]
    fn recursive_read_only_is_refused_in_the_kubelets_words() {
        let refused = |mount: serde_json::Value| {
            let mount: VolumeMount = serde_json::from_value(mount).unwrap();
            recursive_read_only(&mount, false).map_err(|error| error.to_string())
        };
        assert_eq!(
            refused(json!({"name": "v", "mountPath": "/a", "readOnly": true, "recursiveReadOnly": "Enabled"})),
            Err("failed to resolve recursive read-only mode: volume \"v\" requested recursive read-only mode, but it is not supported by the runtime".into())
        );
        assert_eq!(
            refused(json!({"name": "v", "mountPath": "/a", "readOnly": true, "recursiveReadOnly": "IfPossible", "mountPropagation": "HostToContainer"})),
            Err("failed to resolve recursive read-only mode: volume \"v\" requested recursive read-only mode, but it is not compatible with propagation \"HostToContainer\"".into())
        );
        assert_eq!(
            refused(
                json!({"name": "v", "mountPath": "/a", "readOnly": true, "recursiveReadOnly": "IfPossible"})
            ),
            Ok(false)
        );
    }

    #[test]
    fn what_is_not_there_is_named() {
        let error =
            config(json!({"name": "main", "volumeMounts": [{"name": "w", "mountPath": "/a"}]})).unwrap_err();
        assert_eq!(error.to_string(), "cannot find volume \"w\" to mount into container \"main\"");
    }
}
