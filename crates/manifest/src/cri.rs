//! The shape of the CRI messages (`k8s.io/cri-api` `runtime/v1`), as plain values: what `runtime` takes.
//! Only fields that this node gives a meaning to; names as in the protocol. The modules below make them of a Pod, as the
//! kubelet does.

pub mod container;
pub mod env;
pub mod fields;
pub mod resources;
pub mod sandbox;
pub mod security;

pub use container::{ConfigError, NodeFacts, ResolvedVolume, ResolvedVolumes, container_config};
pub use env::EnvSources;
pub use resources::{QosClass, pod_resources, qos_class};
pub use sandbox::{
    hostname, hosts_file, hosts_file_of_node, pod_sandbox_config, resolv_conf, resolv_conf_with,
};

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// `PodSandboxMetadata`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PodSandboxMetadata {
    /// Pod name.
    pub name: String,
    /// Pod UID.
    pub uid: String,
    /// Pod namespace.
    pub namespace: String,
    /// Attempt number of the sandbox.
    pub attempt: u32,
}

/// `NamespaceMode`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum NamespaceMode {
    /// Shared by the pod's containers.
    #[default]
    Pod,
    /// The container's own.
    Container,
    /// The node's.
    Node,
}

/// `NamespaceOption`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NamespaceOption {
    /// Network and UTS (the kubelet gives hostNetwork pods the node's UTS too).
    pub network: NamespaceMode,
    /// Process ids. Kubernetes' default is `Container`; shareProcessNamespace is `Pod`.
    pub pid: NamespaceMode,
    /// System V IPC and POSIX message queues.
    pub ipc: NamespaceMode,
}

/// `DNSConfig`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DnsConfig {
    /// `nameserver` lines.
    pub servers: Vec<String>,
    /// `search` line.
    pub searches: Vec<String>,
    /// `options` line.
    pub options: Vec<String>,
}

/// `PortMapping`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PortMapping {
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// The container's.
    pub container_port: i32,
    /// The node's.
    pub host_port: i32,
    /// Of which of the node's addresses; empty for all.
    pub host_ip: String,
}

/// `PodSandboxConfig`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PodSandboxConfig {
    /// Who.
    pub metadata: PodSandboxMetadata,
    /// Hostname of the UTS namespace; empty with the node's network.
    pub hostname: String,
    /// Directory under which container logs live.
    pub log_directory: PathBuf,
    /// Contents of /etc/resolv.conf; none copies the node's.
    pub dns_config: Option<DnsConfig>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Cgroup parent, below each hierarchy's root, such as `/rhizome/1a2b3c4d/pod<uid>`.
    pub cgroup_parent: String,
    /// Namespaces of the pod.
    pub namespace_options: NamespaceOption,
    /// The most processes and threads in the pod, its containers together: the kubelet's `podPidsLimit`, which it sets
    /// on the pod's cgroup and which CRI has no field for. None is no limit.
    #[serde(default)]
    pub pids_limit: Option<u64>,
    /// What its containers may use together (`LinuxPodSandboxConfig.resources`); none where the pod says nothing of that.
    #[serde(default)]
    pub resources: Option<LinuxContainerResources>,
    /// Whether the pod has a user namespace (CRI's `NamespaceOption.userns_options`, mode `POD`; the ids are the node's to
    /// choose).
    #[serde(default)]
    pub user_namespace: bool,
    /// Kernel parameters of the pod's namespaces, by their names with dots.
    #[serde(default)]
    pub sysctls: BTreeMap<String, String>,
    /// Ports of the node that lead to its containers; none with the node's network, where they are the containers' own.
    #[serde(default)]
    pub port_mappings: Vec<PortMapping>,
}

/// `MountPropagation`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
pub enum MountPropagation {
    /// `PROPAGATION_PRIVATE`: `None` or unset in the API.
    #[default]
    Private,
    /// `PROPAGATION_HOST_TO_CONTAINER`
    HostToContainer,
    /// `PROPAGATION_BIDIRECTIONAL`
    Bidirectional,
}

/// `Mount`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Mount {
    /// Where in the container. Absolute.
    pub container_path: PathBuf,
    /// Where on the node. Absolute; what is there decides directory or file.
    pub host_path: PathBuf,
    /// Read-only.
    pub readonly: bool,
    /// Read-only with all mounts below (`readonly` is then set too).
    pub recursive_read_only: bool,
    /// Propagation.
    pub propagation: MountPropagation,
    /// The pod's volume that this is of, for messages; none for the node's own files (/etc/hosts, …).
    pub volume: Option<String>,
    /// Of an image (CRI has its name here): the directories that `host_path` shows one over the other, topmost first. Told
    /// where the container is in a user namespace, for which they must be put together anew.
    #[serde(default)]
    pub layers: Vec<PathBuf>,
}

/// `LinuxContainerResources`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LinuxContainerResources {
    /// CPU period in microseconds; 0 is unset.
    pub cpu_period: i64,
    /// CPU quota in microseconds a period; 0 is unset.
    pub cpu_quota: i64,
    /// CPU shares (cgroup v1 scale); 0 is unset.
    pub cpu_shares: i64,
    /// Memory limit in bytes; 0 is unset.
    pub memory_limit_in_bytes: i64,
    /// -1000 to 1000.
    pub oom_score_adj: i64,
}

/// Every capability by its name without `CAP_`, as the API and CRI write it; the index is its number
/// (include/uapi/linux/capability.h).
pub const CAPABILITY_NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// `Capability`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Capability {
    /// Names without `CAP_`, or `ALL`.
    pub add_capabilities: Vec<String>,
    /// Names without `CAP_`, or `ALL`.
    pub drop_capabilities: Vec<String>,
}

/// `SecurityProfile` for seccomp.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum SeccompProfile {
    /// The runtime's default filter.
    #[default]
    RuntimeDefault,
    /// No filter.
    Unconfined,
    /// A file, below the node's folder of profiles.
    Localhost(String),
}

/// `SecurityProfile` for AppArmor.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum AppArmorProfile {
    /// Nothing was said: the runtime's default where the machine has it, as containerd does.
    #[default]
    Unset,
    /// The runtime's default, which must be there.
    RuntimeDefault,
    /// None.
    Unconfined,
    /// One that is loaded under this name.
    Localhost(String),
}

/// `SELinuxOption`; what is empty was not said.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SeLinuxOption {
    /// User.
    pub user: String,
    /// Role.
    pub role: String,
    /// Type.
    pub type_: String,
    /// Level.
    pub level: String,
}

/// `SupplementalGroupsPolicy`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum SupplementalGroupsPolicy {
    /// The groups that the image's `/etc/group` lists the user in come besides.
    #[default]
    Merge,
    /// Only what the pod says.
    Strict,
}

/// `LinuxContainerSecurityContext`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LinuxContainerSecurityContext {
    /// Capabilities to add and drop, from the runtime's default set.
    pub capabilities: Capability,
    /// All capabilities, all devices, no seccomp, nothing masked.
    pub privileged: bool,
    /// Numeric user; none leaves it to the image.
    pub run_as_user: Option<i64>,
    /// Numeric group; needs `run_as_user`.
    pub run_as_group: Option<i64>,
    /// Supplementary groups besides the image's.
    pub supplemental_groups: Vec<i64>,
    /// What comes besides `supplemental_groups`.
    #[serde(default)]
    pub supplemental_groups_policy: SupplementalGroupsPolicy,
    /// SELinux; none where nothing was said.
    #[serde(default)]
    pub selinux_options: Option<SeLinuxOption>,
    /// AppArmor.
    #[serde(default)]
    pub apparmor: AppArmorProfile,
    /// Root file system read-only.
    pub readonly_rootfs: bool,
    /// PR_SET_NO_NEW_PRIVS.
    pub no_new_privs: bool,
    /// Paths hidden in the container.
    pub masked_paths: Vec<String>,
    /// Paths read-only in the container.
    pub readonly_paths: Vec<String>,
    /// Seccomp.
    pub seccomp: SeccompProfile,
}

/// `ContainerConfig`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ContainerConfig {
    /// Container name.
    pub name: String,
    /// Restart attempt, from 0.
    pub attempt: u32,
    /// Image reference as written.
    pub image: String,
    /// Replaces the image's entrypoint if not empty.
    pub command: Vec<String>,
    /// Replaces the image's command if not empty (or if `command` is not).
    pub args: Vec<String>,
    /// Replaces the image's working directory if not empty.
    pub working_dir: String,
    /// Environment, after the image's.
    pub envs: Vec<(String, String)>,
    /// Mounts, in the kubelet's order; the runtime sorts.
    pub mounts: Vec<Mount>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Log file below the sandbox's `log_directory`.
    pub log_path: PathBuf,
    /// Keep stdin open.
    pub stdin: bool,
    /// Close stdin after the first attach.
    pub stdin_once: bool,
    /// Allocate a terminal.
    pub tty: bool,
    /// Resources.
    pub resources: LinuxContainerResources,
    /// Security.
    pub security_context: LinuxContainerSecurityContext,
    /// The name of the signal that ends it; none leaves it to the image.
    #[serde(default)]
    pub stop_signal: Option<String>,
    /// The id of the container whose processes it is among: CRI's `NamespaceMode.TARGET` with its `target_id`.
    #[serde(default)]
    pub pid_target: Option<String>,
}
