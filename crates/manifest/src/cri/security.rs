//! The security context that a container really gets: its own fields over the Pod's, and the node's defaults.

use super::container::ConfigError;
use super::{Capability, LinuxContainerSecurityContext, SeccompProfile};
use k8s_openapi::api::core::v1::{Container, PodSecurityContext, PodSpec, SecurityContext};

/// Paths that are hidden where procMount is Default: the kubelet's list.
pub const MASKED_PATHS: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// Paths that are read-only where procMount is Default: the kubelet's list.
pub const READONLY_PATHS: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The effective security context of a container.
///
/// # Errors
/// A seccomp profile that this version does not support.
pub fn security_context(
    spec: &PodSpec,
    container: &Container,
) -> Result<LinuxContainerSecurityContext, ConfigError> {
    let (no_pod, no_container) = (PodSecurityContext::default(), SecurityContext::default());
    let of_pod = spec.security_context.as_ref().unwrap_or(&no_pod);
    let own = container.security_context.as_ref().unwrap_or(&no_container);
    let privileged = own.privileged.unwrap_or_default();
    let masks = !privileged && own.proc_mount.as_deref() != Some("Unmasked");
    let paths = |paths: &[&str]| {
        if masks { paths.iter().map(|path| (*path).to_owned()).collect() } else { Vec::new() }
    };
    let run_as_user = own.run_as_user.or(of_pod.run_as_user);
    Ok(LinuxContainerSecurityContext {
        capabilities: capabilities(own),
        privileged,
        run_as_user,
        run_as_group: own.run_as_group.or(of_pod.run_as_group),
        supplemental_groups: of_pod
            .fs_group
            .into_iter()
            .chain(of_pod.supplemental_groups.iter().flatten().copied())
            .collect(),
        readonly_rootfs: own.read_only_root_filesystem.unwrap_or_default(),
        no_new_privs: own.allow_privilege_escalation == Some(false),
        masked_paths: paths(&MASKED_PATHS),
        readonly_paths: paths(&READONLY_PATHS),
        seccomp: seccomp(of_pod, own, privileged)?,
    })
}

/// What a container adds to and drops from the runtime's default set.
#[must_use]
pub fn capabilities(own: &SecurityContext) -> Capability {
    let names =
        |names: &Option<Vec<String>>| names.iter().flatten().map(|name| name.to_uppercase()).collect();
    own.capabilities.as_ref().map_or_else(Capability::default, |given| Capability {
        add_capabilities: names(&given.add),
        drop_capabilities: names(&given.drop),
    })
}

/// Unset is the runtime's own profile, as with a kubelet's seccompDefault; privileged containers have none.
fn seccomp(
    of_pod: &PodSecurityContext,
    own: &SecurityContext,
    privileged: bool,
) -> Result<SeccompProfile, ConfigError> {
    if privileged {
        return Ok(SeccompProfile::Unconfined);
    }
    let profile = own.seccomp_profile.as_ref().or(of_pod.seccomp_profile.as_ref());
    match profile.map(|profile| profile.type_.as_str()) {
        None | Some("RuntimeDefault") => Ok(SeccompProfile::RuntimeDefault),
        Some("Unconfined") => Ok(SeccompProfile::Unconfined),
        Some(other) => Err(ConfigError::Seccomp(other.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(pod: serde_json::Value, container: serde_json::Value) -> LinuxContainerSecurityContext {
        let spec: PodSpec = serde_json::from_value(
            json!({"securityContext": pod, "containers": [{"name": "a", "securityContext": container}]}),
        )
        .unwrap();
        security_context(&spec, &spec.containers[0]).unwrap()
    }

    #[test]
    fn the_containers_fields_count_before_the_pods() {
        let made = of(
            json!({"runAsUser": 1, "runAsGroup": 2, "fsGroup": 3, "supplementalGroups": [4], "seccompProfile": {"type": "Unconfined"}}),
            json!({"runAsUser": 5, "allowPrivilegeEscalation": false, "capabilities": {"add": ["net_admin"], "drop": ["ALL"]}}),
        );
        assert_eq!((made.run_as_user, made.run_as_group), (Some(5), Some(2)));
        assert_eq!(made.supplemental_groups, [3, 4]);
        assert!(made.no_new_privs);
        assert_eq!(made.seccomp, SeccompProfile::Unconfined);
        assert_eq!(made.capabilities.add_capabilities, ["NET_ADMIN"]);
        assert_eq!(made.masked_paths.len(), MASKED_PATHS.len());
    }

    #[test]
    fn privileged_means_nothing_is_kept_from_it() {
        let made = of(json!({"seccompProfile": {"type": "RuntimeDefault"}}), json!({"privileged": true}));
        assert_eq!(made.seccomp, SeccompProfile::Unconfined);
        assert!(made.masked_paths.is_empty() && made.readonly_paths.is_empty());
        assert_eq!(of(json!({}), json!({})).seccomp, SeccompProfile::RuntimeDefault);
    }
}
