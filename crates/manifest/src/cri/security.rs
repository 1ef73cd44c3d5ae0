//! The security context that a container really gets: its own fields over the Pod's, and the node's defaults.

use super::container::ConfigError;
use super::{
    AppArmorProfile, Capability, LinuxContainerSecurityContext, SeLinuxOption, SeccompProfile,
    SupplementalGroupsPolicy,
};
use k8s_openapi::api::core::v1::{self, Container, Pod, PodSecurityContext, PodSpec, SecurityContext};

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

/// Paths that are read-only where procMount is Default: the kubelet's list, and `/proc/dynamic_debug`, which that has not:
/// Debian's kernels let a container's root turn their debug messages on there.
pub const READONLY_PATHS: [&str; 6] =
    ["/proc/bus", "/proc/dynamic_debug", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

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
        supplemental_groups_policy: match of_pod.supplemental_groups_policy.as_deref() {
            Some("Strict") => SupplementalGroupsPolicy::Strict,
            _ => SupplementalGroupsPolicy::Merge,
        },
        selinux_options: own.se_linux_options.as_ref().or(of_pod.se_linux_options.as_ref()).map(selinux),
        apparmor: app_armor(of_pod, own, privileged),
        readonly_rootfs: own.read_only_root_filesystem.unwrap_or_default(),
        no_new_privs: own.allow_privilege_escalation == Some(false),
        masked_paths: paths(&MASKED_PATHS),
        readonly_paths: paths(&READONLY_PATHS),
        seccomp: seccomp(of_pod, own, privileged)?,
    })
}

fn selinux(options: &v1::SELinuxOptions) -> SeLinuxOption {
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    SeLinuxOption {
        user: text(&options.user),
        role: text(&options.role),
        type_: text(&options.type_),
        level: text(&options.level),
    }
}

/// The container's own profile counts before the pod's; a privileged container has none, as with containerd.
fn app_armor(of_pod: &PodSecurityContext, own: &SecurityContext, privileged: bool) -> AppArmorProfile {
    let named = |profile: &v1::AppArmorProfile| match profile.type_.as_str() {
        "Localhost" => AppArmorProfile::Localhost(profile.localhost_profile.clone().unwrap_or_default()),
        "Unconfined" => AppArmorProfile::Unconfined,
        _ => AppArmorProfile::RuntimeDefault,
    };
    match own.app_armor_profile.as_ref().or(of_pod.app_armor_profile.as_ref()) {
        Some(profile) => named(profile),
        None if privileged => AppArmorProfile::Unconfined,
        None => AppArmorProfile::Unset,
    }
}

/// `runAsNonRoot`, once the image is known: `verifyRunAsNonRoot` of the kubelet (pkg/kubelet/kuberuntime/security_context.go).
/// `image_user` is the image's `USER`.
///
/// # Errors
/// In the kubelet's words.
pub fn verify_run_as_non_root(pod: &Pod, container: &Container, image_user: &str) -> Result<(), ConfigError> {
    let of_pod = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    let own = container.security_context.as_ref();
    let asked = own.and_then(|own| own.run_as_non_root).or(of_pod.and_then(|pod| pod.run_as_non_root));
    if asked != Some(true) {
        return Ok(());
    }
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let metadata = &pod.metadata;
    let shown = format!("{}_{}({})", text(&metadata.name), text(&metadata.namespace), text(&metadata.uid));
    let refuse = |why: String| {
        Err(ConfigError::NonRoot(format!("{why} (pod: {shown:?}, container: {})", container.name)))
    };
    let user = image_user.split(':').next().unwrap_or_default();
    match own.and_then(|own| own.run_as_user).or(of_pod.and_then(|pod| pod.run_as_user)) {
        Some(0) => refuse("container's runAsUser breaks non-root policy".to_owned()),
        Some(_) => Ok(()),
        None if user.is_empty() => refuse("container has runAsNonRoot and image will run as root".to_owned()),
        None => match user.parse::<i64>() {
            Ok(0) => refuse("container has runAsNonRoot and image will run as root".to_owned()),
            Ok(_) => Ok(()),
            Err(_) => refuse(format!(
                "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root"
            )),
        },
    }
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
        Some("Localhost") => {
            let file = profile.and_then(|profile| profile.localhost_profile.clone());
            Ok(SeccompProfile::Localhost(file.unwrap_or_default()))
        }
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
    fn who_must_not_be_root() {
        let said = |spec: serde_json::Value, image_user: &str| {
            let pod: Pod = serde_json::from_value(
                json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": spec}),
            )
            .unwrap();
            let container = &pod.spec.as_ref().unwrap().containers[0];
            verify_run_as_non_root(&pod, container, image_user).map_err(|error| error.to_string()).err()
        };
        let spec = |pod: serde_json::Value, own: serde_json::Value| json!({"securityContext": pod, "containers": [{"name": "c", "securityContext": own}]});
        let (asks, none) = (json!({"runAsNonRoot": true}), json!({}));
        let tail = "(pod: \"p_n(u)\", container: c)";
        let root = format!("container has runAsNonRoot and image will run as root {tail}");
        assert_eq!(said(spec(asks.clone(), none.clone()), ""), Some(root.clone()));
        assert_eq!(said(spec(none.clone(), asks.clone()), "0:5"), Some(root));
        let named =
            "container has runAsNonRoot and image has non-numeric user (www), cannot verify user is non-root";
        assert_eq!(said(spec(asks.clone(), none.clone()), "www:www"), Some(format!("{named} {tail}")));
        let zero = format!("container's runAsUser breaks non-root policy {tail}");
        assert_eq!(said(spec(json!({"runAsNonRoot": true, "runAsUser": 0}), none.clone()), "5"), Some(zero));
        assert_eq!(said(spec(asks.clone(), none.clone()), "5"), None);
        assert_eq!(said(spec(asks.clone(), json!({"runAsUser": 7})), ""), None);
        assert_eq!(said(spec(asks, json!({"runAsNonRoot": false})), ""), None);
        assert_eq!(said(spec(none.clone(), none), ""), None);
    }

    #[test]
    fn app_armor_and_groups() {
        let profile = |kind: &str| json!({"appArmorProfile": {"type": kind}});
        assert_eq!(of(json!({}), json!({})).apparmor, AppArmorProfile::Unset);
        assert_eq!(of(json!({}), json!({"privileged": true})).apparmor, AppArmorProfile::Unconfined);
        assert_eq!(of(profile("RuntimeDefault"), json!({})).apparmor, AppArmorProfile::RuntimeDefault);
        let local = json!({"appArmorProfile": {"type": "Localhost", "localhostProfile": "x"}});
        assert_eq!(of(profile("Unconfined"), local).apparmor, AppArmorProfile::Localhost("x".into()));
        let strict = of(json!({"supplementalGroupsPolicy": "Strict"}), json!({}));
        assert_eq!(strict.supplemental_groups_policy, SupplementalGroupsPolicy::Strict);
    }

    #[test]
    fn privileged_means_nothing_is_kept_from_it() {
        let made = of(json!({"seccompProfile": {"type": "RuntimeDefault"}}), json!({"privileged": true}));
        assert_eq!(made.seccomp, SeccompProfile::Unconfined);
        assert!(made.masked_paths.is_empty() && made.readonly_paths.is_empty());
        assert_eq!(of(json!({}), json!({})).seccomp, SeccompProfile::RuntimeDefault);
    }
}
