//! A Pod to its sandbox: `generatePodSandboxConfig` of the kubelet.

use super::{DnsConfig, NamespaceMode, NamespaceOption, PodSandboxConfig, PodSandboxMetadata, PortMapping};
use crate::annotations::{self, PidsLimit};
use k8s_openapi::api::core::v1::{HostAlias, Pod, PodDNSConfig, PodSpec};
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
        resources: super::pod_resources(spec),
        user_namespace: spec.host_users == Some(false),
        sysctls: crate::sysctl::of(spec),
        port_mappings: port_mappings(spec),
    }
}

/// Containers and sidecars, as the API server counts ports: init containers' ports lead nowhere once they have ended.
fn port_mappings(spec: &PodSpec) -> Vec<PortMapping> {
    if spec.host_network == Some(true) {
        return Vec::new();
    }
    let sidecars =
        spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let ports = sidecars.chain(&spec.containers).flat_map(|container| container.ports.iter().flatten());
    let mapped = ports.filter_map(|port| {
        Some(PortMapping {
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
            container_port: port.container_port,
            host_port: port.host_port.filter(|number| *number > 0)?,
            host_ip: port.host_ip.clone().unwrap_or_default(),
        })
    });
    mapped.collect()
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

/// The domain of services where there is no cluster to say another: a kubelet's usual one.
const CLUSTER_DOMAIN: &str = "cluster.local";

/// The most bytes that the kernel takes for a host name (`__NEW_UTS_LEN`).
pub const HOSTNAME_MAX: usize = 64;

/// A Pod's host name as its UTS namespace has it: its own, with its domain behind it where `setHostnameAsFQDN` says so.
#[must_use]
pub fn hostname(pod: &Pod) -> String {
    let fqdn = pod.spec.as_ref().and_then(|spec| spec.set_hostname_as_fqdn) == Some(true);
    match domain(pod) {
        Some(domain) if fqdn => format!("{}.{domain}", bare_hostname(pod)),
        _ => bare_hostname(pod),
    }
}

/// The domain that a Pod with a `subdomain` is in, as if there were a service of that name.
fn domain(pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let subdomain = spec.subdomain.as_deref().filter(|name| !name.is_empty())?;
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    spec.hostname_override.is_none().then(|| format!("{subdomain}.{namespace}.svc.{CLUSTER_DOMAIN}"))
}

/// `spec.hostnameOverride`, `spec.hostname`, or the Pod's name, cut to the 63 bytes of a label.
fn bare_hostname(pod: &Pod) -> String {
    let spec = pod.spec.as_ref();
    if let Some(name) = spec.and_then(|spec| spec.hostname_override.as_deref()) {
        return name.to_owned();
    }
    let asked = spec.and_then(|spec| spec.hostname.as_deref()).filter(|name| !name.is_empty());
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
    Some(spec.dns_config.as_ref().map(given_dns).unwrap_or_default())
}

/// The settings of a Pod's `dnsConfig`.
fn given_dns(given: &PodDNSConfig) -> DnsConfig {
    let given = given.clone();
    let option = |option: k8s_openapi::api::core::v1::PodDNSConfigOption| match (option.name, option.value) {
        (Some(name), Some(value)) if !value.is_empty() => format!("{name}:{value}"),
        (name, _) => name.unwrap_or_default(),
    };
    DnsConfig {
        servers: given.nameservers.unwrap_or_default(),
        searches: given.searches.unwrap_or_default(),
        options: given.options.unwrap_or_default().into_iter().map(option).collect(),
    }
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
    let name = bare_hostname(pod);
    let names = domain(pod).map_or_else(|| name.clone(), |domain| format!("{name}.{domain}\t{name}"));
    for ip in pod_ips {
        text.push_str(&format!("{ip}\t{names}\n"));
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

/// What `/etc/resolv.conf` of a Pod holds that adds something to the node's: its `dnsConfig` behind what the node has, an
/// option of the same name in its place; none where it adds nothing.
#[must_use]
pub fn resolv_conf_with(spec: &PodSpec, node: &str) -> Option<String> {
    let given = given_dns(spec.dns_config.as_ref()?);
    let mut merged = parse_resolv_conf(node);
    for (into, more) in [(&mut merged.servers, given.servers), (&mut merged.searches, given.searches)] {
        let new: Vec<String> = more.into_iter().filter(|word| !into.contains(word)).collect();
        into.extend(new);
    }
    let name = |option: &str| option.split(':').next().unwrap_or_default().to_owned();
    for option in given.options {
        merged.options.retain(|old| name(old) != name(&option));
        merged.options.push(option);
    }
    Some(resolv_conf(&merged))
}

/// The lines of resolv.conf(5) that settings are made of; the last `search` counts.
fn parse_resolv_conf(text: &str) -> DnsConfig {
    let mut found = DnsConfig::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (keyword, words) = (words.next().unwrap_or_default(), words.map(str::to_owned));
        match keyword {
            "nameserver" => found.servers.extend(words.take(1)),
            "search" => found.searches = words.collect(),
            "options" => found.options.extend(words),
            _ => {}
        }
    }
    found
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
    fn a_subdomain_is_in_the_hosts_file_and_in_the_name_where_asked() {
        let lines = |spec| {
            let pod = pod(spec);
            let text = hosts_file(&pod, &["10.0.0.1".into()]);
            (text.lines().last().unwrap().to_owned(), hostname(&pod))
        };
        let fqdn = "h.sub.default.svc.cluster.local";
        let own = json!({"hostname": "h", "subdomain": "sub"});
        assert_eq!(lines(own), (format!("10.0.0.1\t{fqdn}\th"), "h".to_owned()));
        let full = json!({"hostname": "h", "subdomain": "sub", "setHostnameAsFQDN": true});
        assert_eq!(lines(full), (format!("10.0.0.1\t{fqdn}\th"), fqdn.to_owned()));
        let other = json!({"hostname": "h", "subdomain": "sub", "hostnameOverride": "x.y"});
        assert_eq!(lines(other), ("10.0.0.1\tx.y".to_owned(), "x.y".to_owned()));
        let alone = json!({"hostname": "h", "setHostnameAsFQDN": true});
        assert_eq!(lines(alone).1, "h");
    }

    #[test]
    fn a_dns_config_adds_to_the_nodes() {
        let node = "# x\nnameserver 1.1.1.1\nsearch old\nsearch a b\noptions ndots:5 rotate\n";
        let spec: PodSpec = serde_json::from_value(json!({"containers": [], "dnsConfig": {
            "nameservers": ["1.1.1.1", "2.2.2.2"], "searches": ["b", "c"],
            "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
        }}))
        .unwrap();
        assert_eq!(
            resolv_conf_with(&spec, node).unwrap(),
            "nameserver 1.1.1.1\nnameserver 2.2.2.2\nsearch a b c\noptions rotate ndots:2 edns0\n"
        );
        assert_eq!(resolv_conf_with(&PodSpec::default(), node), None);
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
