//! The Pod's spec (`ValidatePodSpec`), and what holds for Pods but not for templates.

use super::{containers, names, resources, scheduling, security, text, volumes};
use crate::field::{FieldErrors, Path};
use k8s_openapi::api::core::v1::{Container, HostAlias, PodDNSConfig, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// A Pod's spec at `path`; `pod_name` is none in a template.
pub(super) fn pod_spec(errors: &mut FieldErrors, path: &Path, spec: &PodSpec, pod_name: Option<&str>) {
    let volumes = volumes::volumes(
        errors,
        &path.child("volumes"),
        spec.volumes.as_deref().unwrap_or_default(),
        pod_name.unwrap_or_default(),
    );
    scheduling::resource_claims(errors, &path.child("resourceClaims"), spec.resource_claims.as_deref());
    containers::containers(errors, &path.child("containers"), spec, &volumes);
    containers::init_containers(errors, &path.child("initContainers"), spec, &volumes);
    containers::ephemeral_containers(errors, &path.child("ephemeralContainers"), spec, &volumes);
    resources::pod_level(errors, &path.child("resources"), spec);
    host_network_ports(errors, path, spec, pod_name.is_some());
    one_of(
        errors,
        &path.child("restartPolicy"),
        text(&spec.restart_policy),
        &["Always", "OnFailure", "Never"],
    );
    let policies = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    one_of(errors, &path.child("dnsPolicy"), text(&spec.dns_policy), &policies);
    super::metadata::labels(errors, &path.child("nodeSelector"), spec.node_selector.as_ref());
    security::pod(errors, path, spec);
    scheduling::affinity(errors, &path.child("affinity"), spec.affinity.as_ref());
    dns_config(errors, &path.child("dnsConfig"), spec);
    for (index, gate) in spec.readiness_gates.iter().flatten().enumerate() {
        let here = path.child("readinessGates").index(index).child("conditionType");
        errors.invalid_all(&here, &gate.condition_type, names::label_key(&gate.condition_type));
    }
    scheduling::gates(errors, &path.child("schedulingGates"), spec);
    scheduling::topology_spread(errors, &path.child("topologySpreadConstraints"), spec);
    host_users(errors, path, spec);
    hostname_override(errors, path, spec);
    names_of_spec(errors, path, spec);
    scheduling::tolerations(errors, &path.child("tolerations"), spec.tolerations.as_deref());
    host_aliases(errors, &path.child("hostAliases"), spec.host_aliases.as_deref());
    for (name, word) in
        [("priorityClassName", &spec.priority_class_name), ("runtimeClassName", &spec.runtime_class_name)]
    {
        // An empty priorityClassName is none; an empty runtimeClassName is one that is wrong.
        if let Some(word) = word.as_deref().filter(|word| name != "priorityClassName" || !word.is_empty()) {
            errors.invalid_all(&path.child(name), word, names::dns_subdomain(word));
        }
    }
    if let Some(policy) = spec.preemption_policy.as_deref() {
        one_of(errors, &path.child("preemptionPolicy"), policy, &["PreemptLowerPriority", "Never"]);
    }
    if let Some(overhead) = &spec.overhead {
        resources::overhead(errors, &path.child("overhead"), overhead);
    }
    os(errors, path, spec);
    file_key_volumes(errors, path, spec);
}

/// `Required value` or `Unsupported value`.
pub(super) fn one_of(errors: &mut FieldErrors, path: &Path, word: &str, words: &[&str]) {
    if word.is_empty() {
        errors.required(path);
    } else if !words.contains(&word) {
        errors.unsupported(path, word, words);
    }
}

/// Every container with its path, in the order in which the API server visits them.
pub(super) fn all_containers<'a>(path: &Path, spec: &'a PodSpec) -> Vec<(Path, &'a Container)> {
    let at = |name: &str, index| path.child(name).index(index);
    let init = spec.init_containers.iter().flatten().enumerate();
    let init = init.map(|(index, container)| (at("initContainers", index), container));
    let main =
        spec.containers.iter().enumerate().map(|(index, container)| (at("containers", index), container));
    init.chain(main).collect()
}

/// A template may leave the port of the node out; it is filled in when the Pod is made.
fn host_network_ports(errors: &mut FieldErrors, path: &Path, spec: &PodSpec, is_pod: bool) {
    if spec.host_network != Some(true) {
        return;
    }
    for (index, container) in spec.containers.iter().enumerate() {
        for (port_index, port) in container.ports.iter().flatten().enumerate() {
            let host_port = port.host_port.unwrap_or_default();
            if (is_pod || host_port != 0) && host_port != port.container_port {
                let here =
                    path.child("containers").index(index).child("ports").index(port_index).child("hostPort");
                errors.invalid(&here, host_port, "must match `containerPort` when `hostNetwork` is true");
            }
        }
    }
}

fn dns_config(errors: &mut FieldErrors, path: &Path, spec: &PodSpec) {
    let config = spec.dns_config.as_ref();
    if text(&spec.dns_policy) == "None" {
        let Some(config) = config else {
            return errors.required_because(path, "must provide `dnsConfig` when `dnsPolicy` is None");
        };
        if config.nameservers.as_ref().is_none_or(Vec::is_empty) {
            let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            return errors.required_because(&path.child("nameservers"), detail);
        }
    }
    if let Some(config) = config {
        dns_words(errors, path, config);
    }
}

fn dns_words(errors: &mut FieldErrors, path: &Path, config: &PodDNSConfig) {
    let (servers, searches) =
        (config.nameservers.as_deref().unwrap_or_default(), config.searches.as_deref().unwrap_or_default());
    if servers.len() > 3 {
        errors.invalid(&path.child("nameservers"), servers.to_vec(), "must not have more than 3 nameservers");
    }
    for (index, server) in servers.iter().enumerate() {
        errors.invalid_all(&path.child("nameservers").index(index), server, names::ip(server));
    }
    if searches.len() > 32 {
        errors.invalid(&path.child("searches"), searches.to_vec(), "must not have more than 32 search paths");
    }
    if searches.join(" ").len() > 2048 {
        let detail = "must not have more than 2048 characters (including spaces) in the search list";
        errors.invalid(&path.child("searches"), searches.to_vec(), detail);
    }
    for (index, search) in searches.iter().enumerate().filter(|(_, search)| *search != ".") {
        let search = search.strip_suffix('.').unwrap_or(search);
        let wrong = names::dns_subdomain_with_underscore(search);
        errors.invalid_all(&path.child("searches").index(index), search, wrong);
    }
    for (index, option) in config.options.iter().flatten().enumerate() {
        if text(&option.name).is_empty() {
            errors.required_because(&path.child("options").index(index), "must not be empty");
        }
    }
}

fn host_users(errors: &mut FieldErrors, path: &Path, spec: &PodSpec) {
    if spec.host_users != Some(false) {
        return;
    }
    let detail = "when `hostUsers` is false";
    if spec.host_network == Some(true) {
        errors.forbidden(&path.child("hostNetwork"), detail);
    }
    for (said, name, on) in [("HostPID", "hostPID", spec.host_pid), ("HostIPC", "hostIPC", spec.host_ipc)] {
        if on == Some(true) {
            errors.forbidden(&path.child(said).at(&path.child(name)), detail);
        }
    }
    for (path, container) in all_containers(path, spec) {
        if container.volume_devices.as_ref().is_some_and(|devices| !devices.is_empty()) {
            errors.forbidden(&path.child("volumeDevices"), detail);
        }
    }
}

fn hostname_override(errors: &mut FieldErrors, path: &Path, spec: &PodSpec) {
    let Some(name) = spec.hostname_override.as_deref() else { return };
    let here = path.child("hostnameOverride");
    if spec.set_hostname_as_fqdn == Some(true) {
        errors.forbidden(&here, "may not be specified when setHostnameAsFQDN is true");
    }
    if spec.host_network == Some(true) {
        errors.forbidden(&here, "may not be specified when hostNetwork is true");
    }
    if name.len() > 64 {
        errors.too_long(&here, 64);
    }
    errors.invalid_all(&here, name, names::dns_subdomain(name));
}

fn names_of_spec(errors: &mut FieldErrors, path: &Path, spec: &PodSpec) {
    let check = |errors: &mut FieldErrors, name: &str, word: &str, rule: fn(&str) -> Vec<String>| {
        if !word.is_empty() {
            errors.invalid_all(&path.child(name), word, rule(word));
        }
    };
    check(errors, "serviceAccountName", text(&spec.service_account_name), names::dns_subdomain);
    check(errors, "nodeName", text(&spec.node_name), names::dns_subdomain);
    if let Some(seconds) = spec.active_deadline_seconds
        && !(1..=i64::from(i32::MAX)).contains(&seconds)
    {
        errors.invalid(&path.child("activeDeadlineSeconds"), seconds, names::between(1, i64::from(i32::MAX)));
    }
    check(errors, "hostname", text(&spec.hostname), names::dns_label);
    check(errors, "subdomain", text(&spec.subdomain), names::dns_label);
}

fn host_aliases(errors: &mut FieldErrors, path: &Path, aliases: Option<&[HostAlias]>) {
    for (index, alias) in aliases.unwrap_or_default().iter().enumerate() {
        let path = path.index(index);
        errors.invalid_all(&path.child("ip"), &alias.ip, names::ip(&alias.ip));
        for (index, name) in alias.hostnames.iter().flatten().enumerate() {
            errors.invalid_all(&path.child("hostnames").index(index), name, names::dns_subdomain(name));
        }
    }
}

fn os(errors: &mut FieldErrors, path: &Path, spec: &PodSpec) {
    let Some(os) = &spec.os else { return };
    match os.name.as_str() {
        "" => errors.required(&path.child("os").child("name")),
        "linux" => {
            let detail = "windows options cannot be set for a linux pod";
            if spec.security_context.as_ref().is_some_and(|context| context.windows_options.is_some()) {
                errors.forbidden(&path.child("securityContext").child("windowsOptions"), detail);
            }
            for (path, container) in all_containers(path, spec) {
                if container
                    .security_context
                    .as_ref()
                    .is_some_and(|context| context.windows_options.is_some())
                {
                    errors.forbidden(&path.child("securityContext").child("windowsOptions"), detail);
                }
            }
        }
        "windows" => {}
        other => errors.unsupported(&path.child("os"), other, &["linux", "windows"]),
    }
}

fn file_key_volumes(errors: &mut FieldErrors, path: &Path, spec: &PodSpec) {
    let volumes = spec.volumes.as_deref().unwrap_or_default();
    for (path, container) in all_containers(path, spec) {
        for (index, variable) in container.env.iter().flatten().enumerate() {
            let Some(key) = variable.value_from.as_ref().and_then(|from| from.file_key_ref.as_ref()) else {
                continue;
            };
            let here =
                path.child("env").index(index).child("valueFrom").child("fileKeyRef").child("volumeName");
            match volumes.iter().rfind(|volume| volume.name == key.volume_name) {
                None => errors.not_found(
                    &here,
                    &key.volume_name,
                    volumes.iter().map(|volume| volume.name.as_str()),
                ),
                Some(volume) if volume.empty_dir.is_none() => {
                    errors.invalid(
                        &here,
                        key.volume_name.as_str(),
                        "referenced volume must be of type emptyDir",
                    );
                }
                Some(_) => {}
            }
        }
    }
}

/// What holds for Pods that are created, but not for templates (`validatePodMetadataAndSpec`).
pub(super) fn only_for_pods(errors: &mut FieldErrors, path: &Path, spec: &PodSpec) {
    // That a token's volume needs a serviceAccountName is not looked at: the admission of service accounts gives it one
    // before, in every cluster that does not turn it off.
    let lists = [
        ("containers", spec.containers.as_slice()),
        ("initContainers", spec.init_containers.as_deref().unwrap_or_default()),
    ];
    for (name, containers) in lists {
        for (index, container) in containers.iter().enumerate() {
            containers::image_without_blanks(errors, &path.child(name).index(index), text(&container.image));
        }
    }
}

/// What holds for Pods when they are created, and no longer (`ValidatePodCreate`).
pub(super) fn only_on_create(errors: &mut FieldErrors, path: &Path, spec: &PodSpec) {
    if spec.ephemeral_containers.as_ref().is_some_and(|containers| !containers.is_empty()) {
        errors.forbidden(&path.child("ephemeralContainers"), "cannot be set on create");
    }
    let gated = spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
    if gated && !text(&spec.node_name).is_empty() {
        errors
            .forbidden(&path.child("nodeName"), "cannot be set until all schedulingGates have been cleared");
    }
}

/// Annotations that the API itself reads (`ValidatePodSpecificAnnotations`).
pub(super) fn annotations(
    errors: &mut FieldErrors,
    path: &Path,
    metadata: &ObjectMeta,
    spec: Option<&PodSpec>,
) {
    const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
    let all = || metadata.annotations.iter().flatten();
    let get = |key: &str| metadata.annotations.as_ref().and_then(|annotations| annotations.get(key));
    if let Some(value) = get("kubernetes.io/config.mirror")
        && spec.is_none_or(|spec| text(&spec.node_name).is_empty())
    {
        let here = path.key("kubernetes.io/config.mirror");
        errors.invalid(&here, value.as_str(), "must set spec.nodeName if mirror pod annotation is set");
    }
    let cost = "controller.kubernetes.io/pod-deletion-cost";
    if let Some(value) = get(cost)
        && !is_deletion_cost(value)
    {
        errors.invalid(&path.key(cost), value.as_str(), "must be a 32bit integer");
    }
    for (key, value) in all() {
        let pod_wide = key == "seccomp.security.alpha.kubernetes.io/pod";
        if pod_wide || key.starts_with("container.seccomp.security.alpha.kubernetes.io/") {
            let here = path.child(key).at(&path.key(key));
            match (value.as_str(), value.strip_prefix("localhost/")) {
                ("runtime/default" | "docker/default" | "unconfined", _) => {}
                (_, Some(profile)) => volumes::descending_path(errors, &here, profile),
                _ => errors.invalid(&here, value.as_str(), "must be a valid seccomp profile"),
            }
        }
    }
    for (key, value) in all() {
        let Some(name) = key.strip_prefix(APP_ARMOR) else { continue };
        let containers = spec.map(|spec| all_containers(&Path::new("spec"), spec)).unwrap_or_default();
        if !containers.iter().any(|(_, container)| container.name == name) {
            errors.invalid(&path.key(key), name, "container not found");
        }
        let known = matches!(value.as_str(), "" | "runtime/default" | "unconfined");
        if !known && !value.starts_with("localhost/") {
            let detail = format!("invalid AppArmor profile name: {}", crate::problem::go_quote(value));
            errors.invalid(&path.key(key), value.as_str(), detail);
        }
    }
}

/// An `i32` as the API server takes it here: no plus sign, no leading zero.
fn is_deletion_cost(value: &str) -> bool {
    value.parse::<i32>().is_ok_and(|number| number.to_string() == value)
}
