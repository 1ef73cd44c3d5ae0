//! Security contexts of Pods and containers.

use super::{names, spec::one_of, text, volumes::descending_path};
use crate::field::{FieldErrors, Path};
use crate::problem::go_quote;
use k8s_openapi::api::core::v1::{
    AppArmorProfile, PodSecurityContext, PodSpec, SeccompProfile, SecurityContext, Sysctl,
};
use serde_json::json;

/// The security context of a container.
pub(super) fn container(
    errors: &mut FieldErrors,
    path: &Path,
    context: Option<&SecurityContext>,
    host_users: bool,
) {
    let Some(context) = context else { return };
    id(errors, &path.child("runAsUser"), context.run_as_user);
    id(errors, &path.child("runAsGroup"), context.run_as_group);
    if let Some(kind) = context.proc_mount.as_deref() {
        let here = path.child("procMount");
        if !["Default", "Unmasked"].contains(&kind) {
            errors.unsupported(&here, kind, &["Default", "Unmasked"]);
        }
        if host_users && kind == "Unmasked" {
            errors.invalid(&here, kind, "`hostUsers` must be false to use `Unmasked`");
        }
    }
    seccomp(errors, &path.child("seccompProfile"), context.seccomp_profile.as_ref());
    if context.allow_privilege_escalation == Some(false) {
        let shown = as_go_has_it(context);
        if context.privileged == Some(true) {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            errors.invalid_shown(path, &shown, detail);
        }
        let added = context.capabilities.iter().flat_map(|capabilities| capabilities.add.iter().flatten());
        for _ in added.filter(|name| *name == "CAP_SYS_ADMIN") {
            let detail =
                "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            errors.invalid_shown(path, &shown, detail);
        }
    }
    app_armor(errors, &path.child("appArmorProfile"), context.app_armor_profile.as_ref());
}

fn id(errors: &mut FieldErrors, path: &Path, id: Option<i64>) {
    let Some(id) = id else { return };
    for detail in names::id(id) {
        errors.invalid(path, id, detail);
    }
}

/// The API server prints its own struct of a security context, with Go's names of fields.
fn as_go_has_it(context: &SecurityContext) -> String {
    let seccomp = context.seccomp_profile.as_ref().map(seccomp_as_go_has_it);
    let app_armor = context
        .app_armor_profile
        .as_ref()
        .map(|profile| json!({"Type": profile.type_, "LocalhostProfile": profile.localhost_profile}));
    let capabilities =
        context.capabilities.as_ref().map(|names| json!({"Add": names.add, "Drop": names.drop}));
    let selinux = context.se_linux_options.as_ref().map(|options| {
        json!({"User": text(&options.user), "Role": text(&options.role), "Type": text(&options.type_), "Level": text(&options.level)})
    });
    let windows = context.windows_options.as_ref().map(|options| {
        json!({"GMSACredentialSpecName": options.gmsa_credential_spec_name, "GMSACredentialSpec": options.gmsa_credential_spec,
            "RunAsUserName": options.run_as_user_name, "HostProcess": options.host_process})
    });
    let fields = [
        ("Capabilities", json!(capabilities)),
        ("Privileged", json!(context.privileged)),
        ("SELinuxOptions", json!(selinux)),
        ("WindowsOptions", json!(windows)),
        ("RunAsUser", json!(context.run_as_user)),
        ("RunAsGroup", json!(context.run_as_group)),
        ("RunAsNonRoot", json!(context.run_as_non_root)),
        ("ReadOnlyRootFilesystem", json!(context.read_only_root_filesystem)),
        ("AllowPrivilegeEscalation", json!(context.allow_privilege_escalation)),
        ("ProcMount", json!(context.proc_mount)),
        ("SeccompProfile", json!(seccomp)),
        ("AppArmorProfile", json!(app_armor)),
    ];
    // Written by hand, since the order is Go's.
    let fields: Vec<String> =
        fields.iter().map(|(name, value)| format!("{}:{value}", go_quote(name))).collect();
    format!("{{{}}}", fields.join(","))
}

fn seccomp_as_go_has_it(profile: &SeccompProfile) -> serde_json::Value {
    json!({"Type": profile.type_, "LocalhostProfile": profile.localhost_profile})
}

fn seccomp(errors: &mut FieldErrors, path: &Path, profile: Option<&SeccompProfile>) {
    let Some(profile) = profile else { return };
    let kinds = ["Localhost", "RuntimeDefault", "Unconfined"];
    match profile.type_.as_str() {
        "" => errors.required_because(&path.child("type"), "type is required when seccompProfile is set"),
        kind if !kinds.contains(&kind) => errors.unsupported(&path.child("type"), kind, &kinds),
        _ => {}
    }
    let here = path.child("localhostProfile");
    match (profile.type_.as_str(), profile.localhost_profile.as_deref()) {
        ("Localhost", None) => errors.required_because(&here, "must be set when seccomp type is Localhost"),
        ("Localhost", Some(file)) => descending_path(errors, &here, file),
        (_, Some(_)) => {
            let shown = seccomp_as_go_has_it(profile);
            errors.invalid(&here, shown, "can only be set when seccomp type is Localhost");
        }
        (_, None) => {}
    }
}

fn app_armor(errors: &mut FieldErrors, path: &Path, profile: Option<&AppArmorProfile>) {
    let Some(profile) = profile else { return };
    let here = path.child("localhostProfile");
    match (profile.type_.as_str(), profile.localhost_profile.as_deref()) {
        ("Localhost", None | Some("")) => {
            errors.required_because(&here, "must be set when AppArmor type is Localhost");
        }
        ("Localhost", Some(name)) => {
            if name.trim() != name {
                errors.invalid(&here, name, "must not be padded with whitespace");
            }
            if name.len() > 4095 {
                errors.too_long(&here, 4095);
            }
        }
        ("RuntimeDefault" | "Unconfined", Some(name)) => {
            errors.invalid(&here, name, "can only be set when AppArmor type is Localhost");
        }
        ("RuntimeDefault" | "Unconfined", None) => {}
        ("", _) => {
            errors.required_because(&path.child("type"), "type is required when appArmorProfile is set")
        }
        (other, _) => {
            errors.unsupported(&path.child("type"), other, &["Localhost", "RuntimeDefault", "Unconfined"]);
        }
    }
}

/// The security context of a Pod, and what the API server keeps with it.
pub(super) fn pod(errors: &mut FieldErrors, spec_path: &Path, spec: &PodSpec) {
    let default = PodSecurityContext::default();
    let context = spec.security_context.as_ref().unwrap_or(&default);
    let path = spec_path.child("securityContext");
    id(errors, &path.child("fsGroup"), context.fs_group);
    id(errors, &path.child("runAsUser"), context.run_as_user);
    id(errors, &path.child("runAsGroup"), context.run_as_group);
    for (index, group) in context.supplemental_groups.iter().flatten().enumerate() {
        id(errors, &path.child("supplementalGroups").index(index), Some(*group));
    }
    if spec.share_process_namespace == Some(true) && spec.host_pid == Some(true) {
        let here = path.child("shareProcessNamespace").at(&spec_path.child("shareProcessNamespace"));
        errors.invalid(&here, true, "ShareProcessNamespace and HostPID cannot both be enabled");
    }
    sysctls(errors, &path.child("sysctls"), context.sysctls.as_deref().unwrap_or_default(), spec);
    if let Some(policy) = context.fs_group_change_policy.as_deref() {
        supported(errors, &path.child("fsGroupChangePolicy"), policy, &["Always", "OnRootMismatch"]);
    }
    seccomp(errors, &path.child("seccompProfile"), context.seccomp_profile.as_ref());
    app_armor(errors, &path.child("appArmorProfile"), context.app_armor_profile.as_ref());
    if let Some(policy) = context.supplemental_groups_policy.as_deref() {
        supported(errors, &path.child("supplementalGroupsPolicy"), policy, &["Merge", "Strict"]);
    }
    if let Some(policy) = context.se_linux_change_policy.as_deref() {
        supported(errors, &path.child("seLinuxChangePolicy"), policy, &["MountOption", "Recursive"]);
    }
}

/// As [`one_of`], but an empty word is unsupported too.
fn supported(errors: &mut FieldErrors, path: &Path, word: &str, words: &[&str]) {
    if word.is_empty() {
        errors.unsupported(path, word, words);
    } else {
        one_of(errors, path, word, words);
    }
}

fn sysctls(errors: &mut FieldErrors, path: &Path, sysctls: &[Sysctl], spec: &PodSpec) {
    for (index, sysctl) in sysctls.iter().enumerate() {
        let here = path.index(index).child("name");
        let name = sysctl.name.as_str();
        if name.is_empty() {
            errors.required(&here);
        } else if !names::is_sysctl(name) {
            let regex = r"^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
            errors.invalid(&here, name, format!("must have at most 253 characters and match regex {regex}"));
        } else if sysctls[..index].iter().any(|earlier| earlier.name == name) {
            errors.duplicate(&here, name);
        }
        let dotted = name.replace('/', ".");
        let network = dotted.starts_with("net.");
        let ipc = dotted.starts_with("kernel.shm")
            || dotted.starts_with("kernel.msg")
            || dotted.starts_with("fs.mqueue.")
            || dotted == "kernel.sem";
        if network && spec.host_network == Some(true) {
            errors.invalid(&here, name, "may not be specified when 'hostNetwork' is true");
        } else if ipc && spec.host_ipc == Some(true) {
            errors.invalid(&here, name, "may not be specified when 'hostIPC' is true");
        }
    }
}
