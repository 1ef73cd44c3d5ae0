//! Kernel parameters that a Pod sets: which are its own (of one of its namespaces), and which of these are safe.
//!
//! Sources: the kubelet's `pkg/kubelet/sysctl` (the safe list, the namespaced ones, the words of a refusal); namespaces(7).

use crate::field::{FieldErrors, Path};
use k8s_openapi::api::core::v1::{PodSpec, Sysctl};
use std::collections::BTreeMap;

/// What every pod may set: it changes nothing but the pod.
pub const SAFE: [&str; 14] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_slow_start_after_idle",
    "net.ipv4.tcp_notsent_lowat",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

/// The name with dots between its parts. With slashes a part may hold a dot (`net/ipv4/conf/eth0.1/forwarding`), which
/// then becomes a slash (`sysctl.d(5)`, the kubelet's `NormalizeName`).
pub fn with_dots(name: &str) -> String {
    match name.find(['.', '/']).map(|at| name.as_bytes()[at]) {
        Some(b'/') => name.chars().map(swap).collect(),
        _ => name.to_owned(),
    }
}

/// Its file below `/proc/sys`, of a name with dots.
pub fn path_of(name: &str) -> String {
    name.chars().map(swap).collect()
}

fn swap(character: char) -> char {
    match character {
        '.' => '/',
        '/' => '.',
        other => other,
    }
}

/// Whether it is of a namespace that a pod has of its own.
fn is_namespaced(name: &str) -> bool {
    ["net.", "kernel.shm", "kernel.msg", "fs.mqueue."].iter().any(|prefix| name.starts_with(prefix))
        || name == "kernel.sem"
}

fn list(spec: &PodSpec) -> &[Sysctl] {
    spec.security_context.as_ref().and_then(|context| context.sysctls.as_deref()).unwrap_or_default()
}

/// Those of a pod, by their names with dots.
pub(crate) fn of(spec: &PodSpec) -> BTreeMap<String, String> {
    list(spec).iter().map(|sysctl| (with_dots(&sysctl.name), sysctl.value.clone())).collect()
}

/// Refuses what is neither safe nor named by `allowed` (names, or beginnings of them with `*`, as the kubelet's
/// `--allowed-unsafe-sysctls` has them), and what no namespace of a pod has, in the kubelet's words.
pub(crate) fn check(spec: &PodSpec, base: &Path, allowed: &str, errors: &mut FieldErrors) {
    let is_allowed = |name: &str| {
        allowed.split(',').map(|pattern| with_dots(pattern.trim())).any(|pattern| {
            match pattern.strip_suffix('*') {
                Some(prefix) => name.starts_with(prefix),
                None => name == pattern,
            }
        })
    };
    for (index, sysctl) in list(spec).iter().enumerate() {
        let name = with_dots(&sysctl.name);
        let may = is_namespaced(&name) && (SAFE.contains(&name.as_str()) || is_allowed(&name));
        if !may {
            let path =
                base.child("spec").child("securityContext").child("sysctls").index(index).child("name");
            errors.other(&path, &format!("forbidden sysctl: {name:?} not allowlisted"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_two_forms() {
        for (written, dots, path) in [
            ("kernel.msgmax", "kernel.msgmax", "kernel/msgmax"),
            (
                "net/ipv4/conf/eth0.1/forwarding",
                "net.ipv4.conf.eth0/1.forwarding",
                "net/ipv4/conf/eth0.1/forwarding",
            ),
            (
                "net.ipv4.conf.eth0/1.forwarding",
                "net.ipv4.conf.eth0/1.forwarding",
                "net/ipv4/conf/eth0.1/forwarding",
            ),
        ] {
            assert_eq!(with_dots(written), dots);
            assert_eq!(path_of(dots), path);
        }
    }

    #[test]
    fn only_the_pods_own_and_safe_ones() {
        let refused = |name: &str, allowed: &str| {
            let spec: PodSpec = serde_json::from_value(serde_json::json!(
                {"containers": [], "securityContext": {"sysctls": [{"name": name, "value": "1"}]}}
            ))
            .unwrap();
            let mut errors = FieldErrors::default();
            check(&spec, &Path::new(""), allowed, &mut errors);
            errors.list.first().map(|error| error.message.clone())
        };
        assert!(SAFE.iter().all(|name| is_namespaced(name) && refused(name, "").is_none()));
        assert_eq!(
            refused("kernel.msgmax", "").unwrap(),
            "spec.securityContext.sysctls[0].name: forbidden sysctl: \"kernel.msgmax\" not allowlisted"
        );
        assert_eq!(refused("kernel.msgmax", "net.core.*, kernel.msg*"), None);
        assert_eq!(refused("net/core/somaxconn", "net.core.somaxconn"), None);
        // Whatever is allowed, it must be the pod's.
        for name in ["kernel.core_pattern", "vm.swappiness", "kernel.sem_", "fs.file-max"] {
            assert!(refused(name, "*").is_some(), "{name}");
        }
    }
}
