//! A Pod to its sandbox: `generatePodSandboxConfig` of the kubelet.

use super::{DnsConfig, NamespaceMode, NamespaceOption, PodSandboxConfig, PodSandboxMetadata};
use crate::annotations::{self, PidsLimit};
use k8s_openapi::api::core::v1::{HostAlias, Pod, PodSpec};
use std::path::Path;

/// The sandbox of a Pod.
///
/// `cgroup_parent` is below each hierarchy's root; `log_directory` is the kubelet's `/var/log/pods/<ns>_<name>_<uid>`.
#[must_use]
pub fn pod_sandbox_config(
    pod: &Pod,
    attempt: u32,
    cgroup_parent: &str,
    log_directory: &Path,
) -> PodSandboxConfig {
    let default = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&default);
    PodSandboxConfig {
        metadata: PodSandboxMetadata {
            name: pod.metadata.name.clone().unwrap_or_default(),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            attempt,
        },
        hostname: if spec.host_network == Some(true) { String::new() } else { hostname(pod) },
        log_directory: log_directory.to_owned(),
        dns_config: dns_config(spec),
        labels: pod.metadata.labels.clone().unwrap_or_default(),
        annotations: pod.metadata.annotations.clone().unwrap_or_default(),
        cgroup_parent: cgroup_parent.to_owned(),
        namespace_options: namespace_options(spec),
        pids_limit: pids_limit(pod),
        user_namespace: spec.host_users == Some(false),
        sysctls: crate::sysctl::of(spec),
    }
}

/// The most processes of a pod that does not say: enough for any usual program with its threads, and far from what a
/// machine has (`kernel.pid_max` is 32,768 or more), so that one pod cannot keep everybody else from forking.
pub const POD_PIDS_LIMIT: u64 = 4096;

/// Annotations that mean nothing were refused when the pod was made.
fn pids_limit(pod: &Pod) -> Option<u64> {
    match annotations::read(pod).unwrap_or_default().pids_limit {
        PidsLimit::Default => Some(POD_PIDS_LIMIT),
        PidsLimit::Of(limit) => Some(limit),
        PidsLimit::Unlimited => None,
    }
}

/// Which namespaces a Pod's containers share and with whom.
#[must_use]
pub fn namespace_options(spec: &PodSpec) -> NamespaceOption {
    let node = |asked: Option<bool>, else_| if asked == Some(true) { NamespaceMode::Node } else { else_ };
    let shared_pids = if spec.share_process_namespace == Some(true) {
        NamespaceMode::Pod
    } else {
        NamespaceMode::Container
    };
    NamespaceOption {
        network: node(spec.host_network, NamespaceMode::Pod),
        pid: node(spec.host_pid, shared_pids),
        ipc: node(spec.host_ipc, NamespaceMode::Pod),
    }
}

/// A Pod's host name: `spec.hostname`, or its name, cut to the 63 bytes that the kernel takes.
#[must_use]
pub fn hostname(pod: &Pod) -> String {
    let asked = pod.spec.as_ref().and_then(|spec| spec.hostname.as_deref()).filter(|name| !name.is_empty());
    let name = asked.or(pod.metadata.name.as_deref()).unwrap_or_default();
    // Names are ASCII once they are valid; should one not be, it is cut where it may be.
    let mut end = name.len().min(63);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name[..end].trim_end_matches(['-', '.']).to_owned()
}

/// The name server settings that a Pod says itself; none where it takes the node's, as `ClusterFirst` also does on a
/// node without a cluster.
fn dns_config(spec: &PodSpec) -> Option<DnsConfig> {
    if spec.dns_policy.as_deref() != Some("None") {
        return None;
    }
    let given = spec.dns_config.clone().unwrap_or_default();
    let option = |option: k8s_openapi::api::core::v1::PodDNSConfigOption| match (option.name, option.value) {
        (Some(name), Some(value)) if !value.is_empty() => format!("{name}:{value}"),
        (name, _) => name.unwrap_or_default(),
    };
    Some(DnsConfig {
        servers: given.nameservers.unwrap_or_default(),
        searches: given.searches.unwrap_or_default(),
        options: given.options.unwrap_or_default().into_iter().map(option).collect(),
    })
}

/// What `/etc/hosts` of a Pod holds, in the kubelet's form. `pod_ips` may be empty.
#[must_use]
pub fn hosts_file(pod: &Pod, pod_ips: &[String]) -> String {
    let mut text = String::from(
        "# Kubernetes-managed hosts file.\n\
         127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::0\tip6-localnet\n\
         fe00::0\tip6-mcastprefix\n\
         fe00::1\tip6-allnodes\n\
         fe00::2\tip6-allrouters\n",
    );
    let name = hostname(pod);
    for ip in pod_ips {
        text.push_str(&format!("{ip}\t{name}\n"));
    }
    text.push_str(&host_aliases(pod));
    text
}

/// What `/etc/hosts` of a Pod with the node's network holds: the node's file, and the Pod's aliases.
#[must_use]
pub fn hosts_file_of_node(pod: &Pod, node_hosts: &str) -> String {
    format!("# Kubernetes-managed hosts file (host network).\n{node_hosts}{}", host_aliases(pod))
}

fn host_aliases(pod: &Pod) -> String {
    let aliases: &[HostAlias] =
        pod.spec.as_ref().and_then(|spec| spec.host_aliases.as_deref()).unwrap_or_default();
    if aliases.is_empty() {
        return String::new();
    }
    let line = |alias: &HostAlias| {
        format!("{}\t{}\n", alias.ip, alias.hostnames.as_deref().unwrap_or_default().join("\t"))
    };
    format!("\n# Entries added by HostAliases.\n{}", aliases.iter().map(line).collect::<String>())
}

/// What `/etc/resolv.conf` holds for settings that a Pod says itself.
#[must_use]
pub fn resolv_conf(dns: &DnsConfig) -> String {
    let mut text: String = dns.servers.iter().map(|server| format!("nameserver {server}\n")).collect();
    if !dns.searches.is_empty() {
        text.push_str(&format!("search {}\n", dns.searches.join(" ")));
    }
    if !dns.options.is_empty() {
        text.push_str(&format!("options {}\n", dns.options.join(" ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(spec: serde_json::Value) -> Pod {
        let name = "a-name-that-is-just-long-enough-to-be-cut-at-its-sixty-third-byte-".to_owned() + "b";
        serde_json::from_value(
            json!({"metadata": {"name": name, "uid": "u", "namespace": "default"}, "spec": spec}),
        )
        .unwrap()
    }

    #[test]
    fn namespaces_follow_the_pod() {
        let options = |spec| pod_sandbox_config(&pod(spec), 0, "/x", Path::new("/l")).namespace_options;
        assert_eq!(
            options(json!({})),
            NamespaceOption {
                network: NamespaceMode::Pod,
                pid: NamespaceMode::Container,
                ipc: NamespaceMode::Pod
            }
        );
        assert_eq!(
            options(json!({"hostNetwork": true, "hostPID": true, "hostIPC": true})),
            NamespaceOption {
                network: NamespaceMode::Node,
                pid: NamespaceMode::Node,
                ipc: NamespaceMode::Node
            }
        );
        assert_eq!(options(json!({"shareProcessNamespace": true})).pid, NamespaceMode::Pod);
    }

    #[test]
    fn hostnames_fit_the_kernel() {
        assert_eq!(
            hostname(&pod(json!({}))),
            "a-name-that-is-just-long-enough-to-be-cut-at-its-sixty-third-by"
        );
        assert_eq!(hostname(&pod(json!({"hostname": "h"}))), "h");
        assert_eq!(
            pod_sandbox_config(&pod(json!({"hostNetwork": true})), 0, "/x", Path::new("/l")).hostname,
            ""
        );
    }

    #[test]
    fn hosts_files_have_the_kubelets_form() {
        let pod = pod(json!({"hostname": "h", "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a", "b"]}]}));
        let text = hosts_file(&pod, &["10.0.0.1".into()]);
        assert!(text.starts_with("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n"));
        assert!(text.ends_with(
            "fe00::2\tip6-allrouters\n10.0.0.1\th\n\n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n"
        ));
    }
}
