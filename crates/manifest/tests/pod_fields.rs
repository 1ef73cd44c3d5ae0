//! The pages of docs/reference that say which fields are done say what the tables say.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "the tests, unlike the room, read files and the environment"
)]

use std::path::Path;

fn check(name: &str, page: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference").join(name);
    if std::env::var_os("RHIZOME_BLESS").is_some() {
        std::fs::write(&path, page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/reference/{name} is old: RHIZOME_BLESS=1 cargo test -p manifest writes it anew"
    );
}

#[test]
fn the_pages_are_the_tables() {
    check("pod-fields.md", &manifest::support::page());
    check("claim-fields.md", &manifest::support::claims_page());
    check("workload-fields.md", &manifest::support::workloads_page());
}

/// What `podman kube play` says that it supports (docs/kubernetes_support.md of podman 5), which is the least that can be
/// expected of a program that runs Pods on one machine.
#[test]
fn nothing_that_podman_plays_is_refused() {
    use manifest::support::{Support, find};
    let of_pod = "containers initContainers volumes restartPolicy terminationGracePeriodSeconds hostname \
        hostAliases dnsConfig hostNetwork hostPID hostIPC shareProcessNamespace securityContext.runAsUser \
        securityContext.runAsGroup securityContext.supplementalGroups securityContext.seLinuxOptions \
        securityContext.sysctls volumes[].hostPath volumes[].emptyDir.medium volumes[].emptyDir.sizeLimit \
        volumes[].configMap volumes[].secret volumes[].persistentVolumeClaim volumes[].image";
    let of_container = "name image imagePullPolicy command args workingDir ports[].containerPort ports[].hostIP \
        ports[].hostPort ports[].name ports[].protocol env[].name env[].value env[].valueFrom.configMapKeyRef \
        env[].valueFrom.fieldRef env[].valueFrom.resourceFieldRef env[].valueFrom.secretKeyRef envFrom \
        volumeMounts[].mountPath volumeMounts[].name volumeMounts[].readOnly volumeMounts[].subPath \
        resources.limits resources.requests lifecycle.stopSignal livenessProbe securityContext.runAsUser \
        securityContext.runAsGroup securityContext.readOnlyRootFilesystem securityContext.procMount \
        securityContext.privileged securityContext.allowPrivilegeEscalation securityContext.capabilities \
        securityContext.seLinuxOptions";
    let pod = of_pod.split_whitespace().map(|field| format!("spec.{field}"));
    let container = of_container.split_whitespace().map(|field| format!("spec.containers[].{field}"));
    for path in pod.chain(container) {
        // A list or an object may have rows for what is in it only.
        let row = find(&path);
        let below = || manifest::support::PODS.iter().any(|row| row.path.starts_with(&format!("{path}[]")));
        let done = row.is_some_and(|row| matches!(row.support, Support::Done | Support::Checked));
        assert!(done || (row.is_none() && below()), "{path}: {row:?}");
    }
}
