//! Containers (`validateContainers` and what it calls).

use super::volumes::{Volumes, descending_path};
use super::{names, no_backsteps, probes, resources, security, spec::one_of, text};
use crate::cri::container::of_ephemeral;
use crate::field::{Check, FieldErrors, Path};
use crate::quantity::Quantity;
use k8s_openapi::api::core::v1::{
    Container, ContainerPort, ContainerRestartRule, EnvFromSource, EnvVar, EnvVarSource, ObjectFieldSelector,
    PodSpec, ResourceFieldSelector, VolumeDevice, VolumeMount,
};
use std::collections::BTreeSet;

const PULL_POLICIES: [&str; 3] = ["Always", "IfNotPresent", "Never"];

/// The containers proper.
pub(super) fn containers(errors: &mut FieldErrors, path: &Path, spec: &PodSpec, volumes: &Volumes<'_>) {
    if spec.containers.is_empty() {
        return errors.required(path);
    }
    let mut seen = BTreeSet::new();
    for (index, container) in spec.containers.iter().enumerate() {
        let path = path.index(index);
        common(errors, &path, container, spec, volumes);
        if !seen.insert(container.name.as_str()) {
            errors.duplicate(&path.child("name"), container.name.as_str());
        }
        probes::of_container(errors, &path, container, spec);
        restart_policy(errors, &path, container);
    }
    host_ports(
        errors,
        spec.containers.iter().enumerate().map(|(index, container)| (path.index(index), container)),
    );
}

/// The containers that run before.
pub(super) fn init_containers(errors: &mut FieldErrors, path: &Path, spec: &PodSpec, volumes: &Volumes<'_>) {
    let mut seen: BTreeSet<&str> = spec.containers.iter().map(|container| container.name.as_str()).collect();
    for (index, container) in spec.init_containers.iter().flatten().enumerate() {
        let here = path.index(index);
        common(errors, &here, container, spec, volumes);
        restart_policy(errors, &here, container);
        let sidecar = container.restart_policy.as_deref() == Some("Always");
        if seen.contains(container.name.as_str()) {
            errors.duplicate(&here.child("name"), container.name.as_str());
        } else if !container.name.is_empty() {
            seen.insert(&container.name);
        }
        // Init containers run one after another, so that their ports cannot be in one another's way. The API server
        // counts them from 0 each.
        host_ports(errors, [(path.index(0).at(&here), container)]);
        if sidecar {
            probes::of_container(errors, &here, container, spec);
        } else {
            probes::none(errors, &here, container);
        }
        for (policy_index, policy) in container.resize_policy.iter().flatten().enumerate() {
            if !sidecar && policy.restart_policy == "RestartContainer" {
                let here = here.child("resizePolicy").index(policy_index).child("restartPolicy");
                let detail = "must not be set to 'RestartContainer' for non-sidecar initContainers";
                errors.invalid(&here, policy.restart_policy.as_str(), detail);
            }
        }
    }
}

/// The containers that may be added to a running Pod.
pub(super) fn ephemeral_containers(
    errors: &mut FieldErrors,
    path: &Path,
    spec: &PodSpec,
    volumes: &Volumes<'_>,
) {
    let others: Vec<&str> = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten())
        .map(|c| c.name.as_str())
        .collect();
    let mut seen: BTreeSet<&str> = others.iter().copied().collect();
    for (index, ephemeral) in spec.ephemeral_containers.iter().flatten().enumerate() {
        let path = path.index(index);
        let container = of_ephemeral(ephemeral);
        common(errors, &path, &container, spec, volumes);
        image_without_blanks(errors, &path, text(&container.image));
        if !seen.insert(&ephemeral.name) {
            errors.duplicate(&path.child("name"), ephemeral.name.as_str());
        }
        let target = text(&ephemeral.target_container_name);
        if !target.is_empty() && !others.contains(&target) {
            errors.not_found(&path.child("targetContainerName"), target, others.iter().copied());
        }
        let detail = "cannot be set for an Ephemeral Container";
        let resources = container.resources.as_ref();
        let set = |list: bool, name: &'static str| list.then_some(name);
        let forbidden = [
            set(container.ports.is_some(), "ports"),
            set(resources.is_some_and(|r| *r != Default::default()), "resources"),
            set(container.resize_policy.is_some(), "resizePolicy"),
            set(container.restart_policy.is_some(), "restartPolicy"),
            set(container.restart_policy_rules.is_some(), "restartPolicyRules"),
            set(container.liveness_probe.is_some(), "livenessProbe"),
            set(container.readiness_probe.is_some(), "readinessProbe"),
            set(container.startup_probe.is_some(), "startupProbe"),
            set(container.lifecycle.is_some(), "lifecycle"),
        ];
        for name in forbidden.into_iter().flatten() {
            errors.forbidden(&path.child(name), detail);
        }
        for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
            let here = path.child("volumeMounts").index(index);
            for (name, value) in [("subPath", &mount.sub_path), ("subPathExpr", &mount.sub_path_expr)] {
                if !text(value).is_empty() {
                    errors.forbidden(&here.child(name), detail);
                }
            }
        }
    }
}

/// What holds for every kind of container.
fn common(
    errors: &mut FieldErrors,
    path: &Path,
    container: &Container,
    spec: &PodSpec,
    volumes: &Volumes<'_>,
) {
    if container.name.is_empty() {
        errors.required(&path.child("name"));
    } else {
        errors.invalid_all(&path.child("name"), &container.name, names::dns_label(&container.name));
    }
    if text(&container.image).is_empty() {
        errors.required(&path.child("image"));
    }
    let policies = ["File", "FallbackToLogsOnError"];
    let policy = text(&container.termination_message_policy);
    one_of(errors, &path.child("terminationMessagePolicy"), policy, &policies);
    ports(errors, &path.child("ports"), container.ports.as_deref().unwrap_or_default());
    env(errors, &path.child("env"), container.env.as_deref().unwrap_or_default());
    env_from(errors, &path.child("envFrom"), container.env_from.as_deref().unwrap_or_default());
    volume_mounts(errors, &path.child("volumeMounts"), container, volumes);
    volume_devices(errors, &path.child("volumeDevices"), container, volumes);
    stop_signal(errors, &path.child("lifecycle").child("stopSignal"), container, spec);
    pull_policy(errors, &path.child("imagePullPolicy"), text(&container.image_pull_policy));
    resources::of_container(errors, &path.child("resources"), container, spec);
    resources::resize_policy(errors, &path.child("resizePolicy"), container, text(&spec.restart_policy));
    let context = container.security_context.as_ref();
    security::container(errors, &path.child("securityContext"), context, spec.host_users != Some(false));
}

/// An image's name has no blanks around it.
pub(super) fn image_without_blanks(errors: &mut FieldErrors, path: &Path, image: &str) {
    if image.trim().len() != image.len() {
        errors.invalid(&path.child("image"), image, "must not have leading or trailing whitespace");
    }
}

/// When an image is pulled.
pub(super) fn pull_policy(errors: &mut FieldErrors, path: &Path, policy: &str) {
    one_of(errors, path, policy, &PULL_POLICIES);
}

fn ports(errors: &mut FieldErrors, path: &Path, ports: &[ContainerPort]) {
    let mut seen = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        let name = text(&port.name);
        if !name.is_empty() {
            let wrong = names::port_name(name);
            if wrong.is_empty() && !seen.insert(name) {
                errors.duplicate(&path.child("name"), name);
            }
            errors.invalid_all(&path.child("name"), name, wrong);
        }
        let number = |errors: &mut FieldErrors, name: &str, number: i32| {
            for detail in names::port_number(i64::from(number)) {
                errors.invalid(&path.child(name), number, detail);
            }
        };
        match port.container_port {
            0 => errors.required(&path.child("containerPort")),
            other => number(errors, "containerPort", other),
        }
        match port.host_port.unwrap_or_default() {
            0 => {}
            other => number(errors, "hostPort", other),
        }
        one_of(errors, &path.child("protocol"), text(&port.protocol), &["SCTP", "TCP", "UDP"]);
    }
}

/// No two containers have the same port of the node.
fn host_ports<'a>(errors: &mut FieldErrors, containers: impl IntoIterator<Item = (Path, &'a Container)>) {
    let mut seen = BTreeSet::new();
    for (path, container) in containers {
        for (index, port) in container.ports.iter().flatten().enumerate() {
            let number = port.host_port.unwrap_or_default();
            let key = format!("{}/{}/{number}", text(&port.protocol), text(&port.host_ip));
            if number != 0 && !seen.insert(key.clone()) {
                errors.duplicate(&path.child("ports").index(index).child("hostPort"), key);
            }
        }
    }
}

fn env(errors: &mut FieldErrors, path: &Path, variables: &[EnvVar]) {
    for (index, variable) in variables.iter().enumerate() {
        let path = path.index(index);
        if variable.name.is_empty() {
            errors.required(&path.child("name"));
        } else {
            errors.invalid_all(&path.child("name"), &variable.name, names::env_name(&variable.name));
        }
        if let Some(from) = &variable.value_from {
            value_from(errors, &path.child("valueFrom"), from, text(&variable.value));
        }
    }
}

fn value_from(errors: &mut FieldErrors, path: &Path, from: &EnvVarSource, value: &str) {
    const FIELDS: [&str; 9] = [
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.nodeName",
        "spec.serviceAccountName",
        "status.hostIP",
        "status.hostIPs",
        "status.podIP",
        "status.podIPs",
    ];
    let mut sources = 0;
    if let Some(field) = &from.field_ref {
        sources += 1;
        field_ref(errors, &path.child("fieldRef"), field, &FIELDS);
    }
    if let Some(resource) = &from.resource_field_ref {
        sources += 1;
        resource_field_ref(errors, &path.child("resourceFieldRef"), resource, false);
    }
    let mut key_ref = |name: &str, object: &str, key: &str| {
        let path = path.child(name);
        errors.invalid_all(&path.child("name"), object, names::dns_subdomain(object));
        if key.is_empty() {
            errors.required(&path.child("key"));
        } else {
            errors.invalid_all(&path.child("key"), key, names::config_key(key));
        }
    };
    if let Some(selector) = &from.config_map_key_ref {
        sources += 1;
        key_ref("configMapKeyRef", &selector.name, &selector.key);
    }
    if let Some(selector) = &from.secret_key_ref {
        sources += 1;
        key_ref("secretKeyRef", &selector.name, &selector.key);
    }
    if let Some(selector) = &from.file_key_ref {
        sources += 1;
        file_key(errors, &path.child("fileKeyRef"), &selector.key, &selector.volume_name, &selector.path);
    }
    if sources == 0 {
        let detail = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";
        errors.invalid(path, "", detail);
    } else if !value.is_empty() {
        errors.invalid(path, "", "may not be specified when `value` is not empty");
    } else if sources > 1 {
        errors.invalid(path, "", "may not have more than one field specified at a time");
    }
}

fn file_key(errors: &mut FieldErrors, path: &Path, key: &str, volume: &str, file: &str) {
    if key.is_empty() {
        errors.required(&path.child("key"));
    } else {
        errors.invalid_all(&path.child("key"), key, names::env_name(key));
    }
    if volume.is_empty() {
        errors.required(&path.child("volumeName"));
    } else {
        errors.invalid_all(&path.child("volumeName"), volume, names::dns_label(volume));
    }
    if file.is_empty() {
        errors.required(&path.child("path"));
    } else {
        no_backsteps(errors, &path.child("path"), file);
    }
}

/// A field of the Pod, of those that `fields` names.
pub(super) fn field_ref(errors: &mut FieldErrors, path: &Path, field: &ObjectFieldSelector, fields: &[&str]) {
    const LABELS: [&str; 14] = [
        "metadata.annotations",
        "metadata.labels",
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.serviceAccountName",
        "spec.schedulerName",
        "status.phase",
        "status.hostIP",
        "status.hostIPs",
        "status.podIP",
        "status.podIPs",
    ];
    let here = path.child("fieldPath");
    let field_path = field.field_path.as_str();
    if field_path.is_empty() {
        return errors.required(&here);
    }
    let refuse = |errors: &mut FieldErrors, why: String| {
        errors.invalid(&here, field_path, format!("error converting fieldPath: {why}"));
    };
    let version = text(&field.api_version);
    if version != "v1" {
        return refuse(errors, format!("unsupported pod version: {version}"));
    }
    if let Some((base, subscript)) = subscripted(field_path) {
        return match base {
            "metadata.annotations" => {
                let key = subscript.to_lowercase();
                errors.invalid_all(path, &key, names::label_key(&key));
            }
            "metadata.labels" => errors.invalid_all(path, subscript, names::label_key(subscript)),
            _ => refuse(errors, format!("field label does not support subscript: {field_path}")),
        };
    }
    let converted = if field_path == "spec.host" { "spec.nodeName" } else { field_path };
    if !LABELS.contains(&converted) {
        return refuse(errors, format!("field label not supported: {field_path}"));
    }
    if !fields.contains(&converted) {
        errors.unsupported(&here, converted, fields);
    }
}

/// `a.b['c']` is `a.b` and `c`.
fn subscripted(path: &str) -> Option<(&str, &str)> {
    let (base, subscript) = path.strip_suffix("']")?.split_once("['")?;
    (!base.is_empty()).then_some((base, subscript))
}

/// An amount of a container.
pub(super) fn resource_field_ref(
    errors: &mut FieldErrors,
    path: &Path,
    field: &ResourceFieldSelector,
    volume: bool,
) {
    const RESOURCES: [&str; 6] = [
        "limits.cpu",
        "limits.ephemeral-storage",
        "limits.memory",
        "requests.cpu",
        "requests.ephemeral-storage",
        "requests.memory",
    ];
    let name = field.resource.as_str();
    let huge = name.starts_with("requests.hugepages-") || name.starts_with("limits.hugepages-");
    if volume && text(&field.container_name).is_empty() {
        errors.required(&path.child("containerName"));
    } else if name.is_empty() {
        errors.required(&path.child("resource"));
    } else if !RESOURCES.contains(&name) && !huge {
        errors.unsupported(&path.child("resource"), name, &RESOURCES);
    }
    let divisor = field.divisor.as_ref().and_then(|divisor| Quantity::parse(&divisor.0).ok());
    let Some(divisor) = divisor.filter(|divisor| !divisor.is_zero()) else { return };
    const SIZES: [&str; 13] =
        ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];
    let (values, kind): (&[&str], &str) = match name {
        "limits.cpu" | "requests.cpu" => (&["1m", "1"], "cpu"),
        "limits.memory" | "requests.memory" => (&SIZES, "memory"),
        "limits.ephemeral-storage" | "requests.ephemeral-storage" => (&SIZES, "local ephemeral storage"),
        _ if huge => (&SIZES, "hugepages"),
        _ => return,
    };
    if !values.contains(&divisor.canonical().as_str()) {
        let words = if kind == "cpu" { "1m and 1".to_owned() } else { values.join(", ") };
        let detail = format!("only divisor's values {words} are supported with the {kind} resource");
        errors.invalid(&path.child("divisor"), name, detail);
    }
}

fn env_from(errors: &mut FieldErrors, path: &Path, sources: &[EnvFromSource]) {
    for (index, source) in sources.iter().enumerate() {
        let here = path.index(index);
        let prefix = text(&source.prefix);
        if !prefix.is_empty() {
            errors.invalid_all(&here.child("prefix"), prefix, names::env_name(prefix));
        }
        let config_map = source.config_map_ref.as_ref().map(|from| ("configMapRef", from.name.as_str()));
        let secret = source.secret_ref.as_ref().map(|from| ("secretRef", from.name.as_str()));
        for (kind, name) in config_map.into_iter().chain(secret) {
            let path = here.child(kind).child("name");
            if name.is_empty() {
                errors.required(&path);
            } else {
                errors.invalid_all(&path, name, names::dns_subdomain(&names::prefix_as_name(name)));
            }
        }
        match (config_map, secret) {
            (None, None) => {
                errors.invalid(&path.at(&here), "", "must specify one of: `configMapRef` or `secretRef`");
            }
            (Some(_), Some(_)) => {
                errors.invalid(&path.at(&here), "", "may not have more than one field specified at a time");
            }
            _ => {}
        }
    }
}

fn volume_mounts(errors: &mut FieldErrors, path: &Path, container: &Container, volumes: &Volumes<'_>) {
    let devices = container.volume_devices.as_deref().unwrap_or_default();
    let mut seen = BTreeSet::new();
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let here = path.index(index);
        if mount.name.is_empty() {
            errors.required(&here.child("name"));
        }
        if !volumes.contains_key(mount.name.as_str()) {
            errors.not_found(&here.child("name"), &mount.name, volumes.keys().copied());
        }
        if mount.mount_path.is_empty() {
            errors.required(&here.child("mountPath"));
        }
        if !seen.insert(mount.mount_path.as_str()) {
            errors.invalid(&here.child("mountPath"), mount.mount_path.as_str(), "must be unique");
        }
        if devices.iter().any(|device| device.name == mount.name) {
            errors.invalid(
                &here.child("name"),
                mount.name.as_str(),
                "must not already exist in volumeDevices",
            );
        }
        if last_devices(devices).contains(&mount.mount_path.as_str()) {
            let detail = "must not already exist as a path in volumeDevices";
            errors.invalid(&here.child("mountPath"), mount.mount_path.as_str(), detail);
        }
        // The rest the API server says without the index.
        let silent = path.silent_index(index);
        sub_paths(errors, &here, &silent, mount);
        propagation(errors, &silent.child("mountPropagation"), container, mount);
        recursive_read_only(errors, &silent.child("recursiveReadOnly"), mount);
    }
}

/// Paths of devices; of equal names the last counts, as the API server keeps them in a map.
fn last_devices(devices: &[VolumeDevice]) -> Vec<&str> {
    let is_last = |(index, device): &(usize, &VolumeDevice)| {
        !devices[index + 1..].iter().any(|later| later.name == device.name)
    };
    devices.iter().enumerate().filter(is_last).map(|(_, device)| device.device_path.as_str()).collect()
}

fn sub_paths(errors: &mut FieldErrors, here: &Path, silent: &Path, mount: &VolumeMount) {
    let (sub_path, expression) = (text(&mount.sub_path), text(&mount.sub_path_expr));
    if !sub_path.is_empty() {
        descending_path(errors, &silent.child("subPath"), sub_path);
    }
    if !expression.is_empty() {
        if !sub_path.is_empty() {
            let detail = "subPathExpr and subPath are mutually exclusive";
            errors.invalid(&here.child("subPathExpr"), expression, detail);
        }
        descending_path(errors, &silent.child("subPathExpr"), expression);
    }
}

fn propagation(errors: &mut FieldErrors, path: &Path, container: &Container, mount: &VolumeMount) {
    const MODES: [&str; 3] = ["Bidirectional", "HostToContainer", "None"];
    let Some(mode) = mount.mount_propagation.as_deref() else { return };
    let before = errors.len();
    if !MODES.contains(&mode) {
        errors.unsupported(path, mode, &MODES);
        errors.found_by(Check::UnknownMode, before);
    }
    let privileged = container.security_context.as_ref().and_then(|context| context.privileged);
    if mode == "Bidirectional" && privileged != Some(true) {
        errors.forbidden(path, "Bidirectional mount propagation is available only to privileged containers");
        errors.found_by(Check::BidirectionalNotPrivileged, before);
    }
}

fn recursive_read_only(errors: &mut FieldErrors, path: &Path, mount: &VolumeMount) {
    match mount.recursive_read_only.as_deref() {
        None | Some("Disabled") => {}
        Some("Enabled" | "IfPossible") => {
            if mount.read_only != Some(true) {
                errors.forbidden(path, "may only be specified when readOnly is true");
            }
            if mount.mount_propagation.as_deref().is_some_and(|mode| mode != "None") {
                let before = errors.len();
                errors
                    .forbidden(path, "may only be specified when mountPropagation is None or not specified");
                errors.found_by(Check::RecursiveReadOnlyWithPropagation, before);
            }
        }
        Some(other) => errors.unsupported(path, other, &["Disabled", "Enabled", "IfPossible"]),
    }
}

fn volume_devices(errors: &mut FieldErrors, path: &Path, container: &Container, volumes: &Volumes<'_>) {
    let mounts = container.volume_mounts.as_deref().unwrap_or_default();
    let (mut paths, mut device_names) = (BTreeSet::new(), BTreeSet::new());
    for (index, device) in container.volume_devices.iter().flatten().enumerate() {
        let here = path.index(index);
        let (name, device_path) = (device.name.as_str(), device.device_path.as_str());
        if name.is_empty() {
            errors.required(&here.child("name"));
        }
        if device_names.contains(name) {
            errors.invalid(&here.child("name"), name, "must be unique");
        }
        match volumes.get(name) {
            None => errors.not_found(&here.child("name"), name, volumes.keys().copied()),
            Some(volume) if volume.persistent_volume_claim.is_none() && volume.ephemeral.is_none() => {
                let detail =
                    "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                errors.invalid(&here.child("name"), name, detail);
            }
            Some(_) => {}
        }
        if device_path.is_empty() {
            errors.required(&here.child("devicePath"));
        }
        if paths.contains(device_path) {
            errors.invalid(&here.child("devicePath"), device_path, "must be unique");
        }
        if device_path.split('/').any(|part| part == "..") {
            errors.invalid(&here.child("devicePath"), device_path, "can not contain backsteps ('..')");
        } else {
            paths.insert(device_path);
        }
        if mounts.iter().any(|mount| mount.name == name) {
            errors.invalid(&here.child("name"), name, "must not already exist in volumeMounts");
        }
        if mounts.iter().any(|mount| mount.mount_path == device_path) {
            let detail = "must not already exist as a path in volumeMounts";
            errors.invalid(&here.child("devicePath"), device_path, detail);
        }
        if !name.is_empty() {
            device_names.insert(name);
        }
    }
}

/// Which signals there are depends on the system that the Pod is said to be for (KEP-4960).
fn stop_signal(errors: &mut FieldErrors, path: &Path, container: &Container, spec: &PodSpec) {
    let Some(signal) = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.stop_signal.as_deref())
    else {
        return;
    };
    match spec.os.as_ref().map(|os| os.name.as_str()) {
        None => errors.forbidden(path, "may not be set for containers with empty `spec.os.name`"),
        Some("windows") if ["SIGKILL", "SIGTERM"].contains(&signal) => {}
        Some("windows") => errors.unsupported(path, signal, &["SIGKILL", "SIGTERM"]),
        Some(_) if LINUX_SIGNALS.contains(&signal) => {}
        Some(_) => errors.unsupported(path, signal, &LINUX_SIGNALS),
    }
}

/// The signals of the API, in the order in which it names them.
const LINUX_SIGNALS: [&str; 65] = [
    "SIGABRT",
    "SIGALRM",
    "SIGBUS",
    "SIGCHLD",
    "SIGCLD",
    "SIGCONT",
    "SIGFPE",
    "SIGHUP",
    "SIGILL",
    "SIGINT",
    "SIGIO",
    "SIGIOT",
    "SIGKILL",
    "SIGPIPE",
    "SIGPOLL",
    "SIGPROF",
    "SIGPWR",
    "SIGQUIT",
    "SIGRTMAX",
    "SIGRTMAX-1",
    "SIGRTMAX-10",
    "SIGRTMAX-11",
    "SIGRTMAX-12",
    "SIGRTMAX-13",
    "SIGRTMAX-14",
    "SIGRTMAX-2",
    "SIGRTMAX-3",
    "SIGRTMAX-4",
    "SIGRTMAX-5",
    "SIGRTMAX-6",
    "SIGRTMAX-7",
    "SIGRTMAX-8",
    "SIGRTMAX-9",
    "SIGRTMIN",
    "SIGRTMIN+1",
    "SIGRTMIN+10",
    "SIGRTMIN+11",
    "SIGRTMIN+12",
    "SIGRTMIN+13",
    "SIGRTMIN+14",
    "SIGRTMIN+15",
    "SIGRTMIN+2",
    "SIGRTMIN+3",
    "SIGRTMIN+4",
    "SIGRTMIN+5",
    "SIGRTMIN+6",
    "SIGRTMIN+7",
    "SIGRTMIN+8",
    "SIGRTMIN+9",
    "SIGSEGV",
    "SIGSTKFLT",
    "SIGSTOP",
    "SIGSYS",
    "SIGTERM",
    "SIGTRAP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGUSR1",
    "SIGUSR2",
    "SIGVTALRM",
    "SIGWINCH",
    "SIGXCPU",
    "SIGXFSZ",
];

fn restart_policy(errors: &mut FieldErrors, path: &Path, container: &Container) {
    let rules: &[ContainerRestartRule] = container.restart_policy_rules.as_deref().unwrap_or_default();
    let here = path.child("restartPolicy");
    match container.restart_policy.as_deref() {
        None if rules.is_empty() => return,
        None => errors.required_because(&here, "must specify restartPolicy when restart rules are used"),
        Some("Always" | "Never" | "OnFailure") => {}
        Some(other) => errors.unsupported(&here, other, &["Always", "Never", "OnFailure"]),
    }
    let path = path.child("restartPolicyRules");
    if rules.len() > 20 {
        errors.too_many(&path, rules.len(), 20);
    }
    for (index, rule) in rules.iter().enumerate() {
        let path = path.index(index);
        let actions = ["Restart", "RestartAllContainers"];
        if !actions.contains(&rule.action.as_str()) {
            errors.unsupported(&path.child("action"), &rule.action, &actions);
        }
        let here = path.child("exitCodes");
        let Some(codes) = &rule.exit_codes else {
            errors.required_because(&here, "must be specified");
            continue;
        };
        if !["In", "NotIn"].contains(&codes.operator.as_str()) {
            errors.unsupported(&here.child("operator"), &codes.operator, &["In", "NotIn"]);
        }
        let count = codes.values.as_ref().map_or(0, Vec::len);
        if count > 255 {
            errors.too_many(&here.child("values"), count, 255);
        }
    }
}
