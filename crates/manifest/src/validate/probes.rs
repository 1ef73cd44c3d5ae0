//! Probes and lifecycle hooks.

use super::{names, not_negative, text};
use crate::field::{FieldErrors, Path};
use k8s_openapi::api::core::v1::{
    Container, ExecAction, GRPCAction, HTTPGetAction, Lifecycle, PodSpec, Probe, SleepAction, TCPSocketAction,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// Hooks and probes of a container that may have them.
pub(super) fn of_container(errors: &mut FieldErrors, path: &Path, container: &Container, spec: &PodSpec) {
    let grace = spec.termination_grace_period_seconds;
    if let Some(lifecycle) = &container.lifecycle {
        self::lifecycle(errors, &path.child("lifecycle"), lifecycle, grace);
    }
    let one_success = |errors: &mut FieldErrors, path: &Path, probe: &Probe| {
        let successes = probe.success_threshold.unwrap_or_default();
        if successes != 1 {
            errors.invalid(&path.child("successThreshold"), successes, "must be 1");
        }
    };
    if let Some(probe) = &container.liveness_probe {
        let path = path.child("livenessProbe");
        self::probe(errors, &path, probe, grace);
        one_success(errors, &path, probe);
    }
    if let Some(probe) = &container.readiness_probe {
        let path = path.child("readinessProbe");
        self::probe(errors, &path, probe, grace);
        if let Some(seconds) = probe.termination_grace_period_seconds {
            let here = path.child("terminationGracePeriodSeconds");
            errors.invalid(&here, seconds, "must not be set for readinessProbes");
        }
    }
    if let Some(probe) = &container.startup_probe {
        let path = path.child("startupProbe");
        self::probe(errors, &path, probe, grace);
        one_success(errors, &path, probe);
    }
}

/// An init container that ends has neither hooks nor probes.
pub(super) fn none(errors: &mut FieldErrors, path: &Path, container: &Container) {
    let fields = [
        ("lifecycle", container.lifecycle.is_some()),
        ("livenessProbe", container.liveness_probe.is_some()),
        ("readinessProbe", container.readiness_probe.is_some()),
        ("startupProbe", container.startup_probe.is_some()),
    ];
    for (name, _) in fields.iter().filter(|(_, set)| *set) {
        errors
            .forbidden(&path.child(name), "may not be set for init containers without restartPolicy=Always");
    }
}

/// What a probe or a hook does.
#[derive(Default)]
struct Handler<'a> {
    exec: Option<&'a ExecAction>,
    http_get: Option<&'a HTTPGetAction>,
    tcp_socket: Option<&'a TCPSocketAction>,
    grpc: Option<&'a GRPCAction>,
    sleep: Option<&'a SleepAction>,
}

fn probe(errors: &mut FieldErrors, path: &Path, probe: &Probe, grace: Option<i64>) {
    let does = Handler {
        exec: probe.exec.as_ref(),
        http_get: probe.http_get.as_ref(),
        tcp_socket: probe.tcp_socket.as_ref(),
        grpc: probe.grpc.as_ref(),
        sleep: None,
    };
    handler(errors, path, &does, grace);
    for (name, value) in [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ] {
        not_negative(errors, &path.child(name), i64::from(value.unwrap_or_default()));
    }
    if let Some(seconds) = probe.termination_grace_period_seconds
        && seconds <= 0
    {
        errors.invalid(&path.child("terminationGracePeriodSeconds"), seconds, "must be greater than 0");
    }
}

fn lifecycle(errors: &mut FieldErrors, path: &Path, lifecycle: &Lifecycle, grace: Option<i64>) {
    for (name, hook) in [("postStart", &lifecycle.post_start), ("preStop", &lifecycle.pre_stop)] {
        let Some(hook) = hook else { continue };
        let does = Handler {
            exec: hook.exec.as_ref(),
            http_get: hook.http_get.as_ref(),
            tcp_socket: hook.tcp_socket.as_ref(),
            grpc: None,
            sleep: hook.sleep.as_ref(),
        };
        handler(errors, &path.child(name), &does, grace);
    }
}

fn handler(errors: &mut FieldErrors, path: &Path, does: &Handler<'_>, grace: Option<i64>) {
    let mut count = 0;
    let mut first = |errors: &mut FieldErrors, path: &Path| {
        count += 1;
        if count > 1 {
            errors.forbidden(path, "may not specify more than 1 handler type");
        }
        count == 1
    };
    if let Some(exec) = does.exec {
        let path = path.child("exec");
        if first(errors, &path) && exec.command.as_ref().is_none_or(Vec::is_empty) {
            errors.required(&path.child("command"));
        }
    }
    if let Some(get) = does.http_get {
        let path = path.child("httpGet");
        if first(errors, &path) {
            http_get(errors, &path, get);
        }
    }
    if let Some(socket) = does.tcp_socket {
        let path = path.child("tcpSocket");
        if first(errors, &path) {
            port(errors, &path.child("port"), &socket.port);
        }
    }
    if let Some(grpc) = does.grpc {
        let path = path.child("grpc");
        if first(errors, &path) {
            port(errors, &path.child("port"), &IntOrString::Int(grpc.port));
        }
    }
    if let Some(sleep) = does.sleep {
        let path = path.child("sleep");
        if first(errors, &path)
            && let Some(grace) = grace
            && !(0..=grace).contains(&sleep.seconds)
        {
            let detail =
                format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
            errors.invalid(&path, sleep.seconds, detail);
        }
    }
    if count == 0 {
        errors.required_because(path, "must specify a handler type");
    }
}

fn http_get(errors: &mut FieldErrors, path: &Path, get: &HTTPGetAction) {
    if text(&get.path).is_empty() {
        errors.required(&path.child("path"));
    }
    port(errors, &path.child("port"), &get.port);
    let scheme = text(&get.scheme);
    if !["HTTP", "HTTPS"].contains(&scheme) {
        errors.unsupported(&path.child("scheme"), scheme, &["HTTP", "HTTPS"]);
    }
    for (index, header) in get.http_headers.iter().flatten().enumerate() {
        let here = path.child("httpHeaders").silent_index(index);
        errors.invalid_all(&here, &header.name, names::http_header(&header.name));
    }
}

fn port(errors: &mut FieldErrors, path: &Path, port: &IntOrString) {
    match port {
        IntOrString::Int(number) => {
            for detail in names::port_number(i64::from(*number)) {
                errors.invalid(path, *number, detail);
            }
        }
        IntOrString::String(name) => errors.invalid_all(path, name, names::port_name(name)),
    }
}
