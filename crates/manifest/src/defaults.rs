//! Defaulting, as the API server does it before it validates (`pkg/apis/core/v1/defaults.go`, Kubernetes 1.36), and what
//! its admission plug-ins add afterwards.

use k8s_openapi::api::core::v1::{
    Container, EphemeralContainer, HTTPGetAction, ObjectFieldSelector, PersistentVolume,
    PersistentVolumeClaim, Pod, PodSecurityContext, PodSpec, Probe, ResourceRequirements, Secret, Toleration,
    Volume,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Mode of files of configMap, secret, projected and downwardAPI volumes: 0644.
const FILE_MODE: i32 = 0o644;

/// Sets a field that is unset or empty; Go knows no difference for fields that are no pointers.
fn text(field: &mut Option<String>, value: &str) {
    if field.as_deref().unwrap_or_default().is_empty() {
        *field = Some(value.to_owned());
    }
}

fn number(field: &mut Option<i32>, value: i32) {
    if field.unwrap_or_default() == 0 {
        *field = Some(value);
    }
}

/// Leaves out what only the server says of an object, as it does itself when one is created.
pub fn forget_the_servers_part(metadata: &mut ObjectMeta) {
    *metadata = ObjectMeta {
        name: metadata.name.take(),
        generate_name: metadata.generate_name.take(),
        namespace: metadata.namespace.take(),
        labels: metadata.labels.take(),
        annotations: metadata.annotations.take(),
        owner_references: metadata.owner_references.take(),
        finalizers: metadata.finalizers.take(),
        ..ObjectMeta::default()
    };
}

/// Fills in what a Pod leaves out.
pub fn pod(pod: &mut Pod) {
    pod.status = None;
    let spec = pod.spec.get_or_insert_default();
    pod_spec(spec);
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        if let Some(resources) = &mut container.resources {
            requests_from_limits(resources);
        }
    }
    requests_of_pod(spec);
    spec.enable_service_links.get_or_insert(true);
    if spec.host_network == Some(true) {
        for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
            for port in container.ports.iter_mut().flatten() {
                if port.host_port.unwrap_or_default() == 0 {
                    port.host_port = Some(port.container_port);
                }
            }
        }
    }
}

/// Fills in what a pod template's spec leaves out, too.
pub fn pod_spec(spec: &mut PodSpec) {
    text(&mut spec.dns_policy, "ClusterFirst");
    text(&mut spec.restart_policy, "Always");
    text(&mut spec.scheduler_name, "default-scheduler");
    spec.security_context.get_or_insert_with(PodSecurityContext::default);
    // A negative period, as old clients sent it, is the shortest one.
    let period = spec.termination_grace_period_seconds.get_or_insert(30);
    if *period < 0 {
        *period = 1;
    }
    // The one is the old name of the other.
    let account = [&spec.service_account_name, &spec.service_account]
        .into_iter()
        .flatten()
        .find(|name| !name.is_empty());
    let account = account.cloned();
    (spec.service_account_name, spec.service_account) = (account.clone(), account);
    spec.volumes.iter_mut().flatten().for_each(volume);
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        self::container(container);
    }
    spec.ephemeral_containers.iter_mut().flatten().for_each(ephemeral_container);
}

fn container(container: &mut Container) {
    pull_policy(&mut container.image_pull_policy, container.image.as_deref());
    text(&mut container.termination_message_path, "/dev/termination-log");
    text(&mut container.termination_message_policy, "File");
    container.resources.get_or_insert_default();
    for port in container.ports.iter_mut().flatten() {
        text(&mut port.protocol, "TCP");
    }
    for var in container.env.iter_mut().flatten() {
        if let Some(selector) = var.value_from.as_mut().and_then(|from| from.field_ref.as_mut()) {
            field_ref(selector);
        }
    }
    let probes =
        [&mut container.liveness_probe, &mut container.readiness_probe, &mut container.startup_probe];
    probes.into_iter().flatten().for_each(probe);
    if let Some(lifecycle) = &mut container.lifecycle {
        for handler in [&mut lifecycle.post_start, &mut lifecycle.pre_stop].into_iter().flatten() {
            if let Some(get) = &mut handler.http_get {
                http_get(get);
            }
        }
    }
}

fn ephemeral_container(container: &mut EphemeralContainer) {
    pull_policy(&mut container.image_pull_policy, container.image.as_deref());
    text(&mut container.termination_message_path, "/dev/termination-log");
    text(&mut container.termination_message_policy, "File");
    container.resources.get_or_insert_default();
}

fn pull_policy(policy: &mut Option<String>, image: Option<&str>) {
    let default = if tag_of(image.unwrap_or_default()) == Some("latest") { "Always" } else { "IfNotPresent" };
    text(policy, default);
}

/// The tag of an image reference: `latest` if there is neither tag nor digest, none if there is only a digest.
#[must_use]
pub fn tag_of(image: &str) -> Option<&str> {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let last = name.rsplit('/').next().unwrap_or(name);
    match last.split_once(':') {
        Some((_, tag)) => Some(tag),
        None if digest.is_some() => None,
        None => Some("latest"),
    }
}

fn probe(probe: &mut Probe) {
    number(&mut probe.timeout_seconds, 1);
    number(&mut probe.period_seconds, 10);
    number(&mut probe.success_threshold, 1);
    number(&mut probe.failure_threshold, 3);
    if let Some(get) = &mut probe.http_get {
        http_get(get);
    }
    if let Some(grpc) = &mut probe.grpc {
        grpc.service.get_or_insert_default();
    }
}

fn http_get(get: &mut HTTPGetAction) {
    text(&mut get.path, "/");
    text(&mut get.scheme, "HTTP");
}

fn field_ref(selector: &mut ObjectFieldSelector) {
    text(&mut selector.api_version, "v1");
}

fn requests_from_limits(resources: &mut ResourceRequirements) {
    let Some(limits) = &resources.limits else { return };
    let requests = resources.requests.get_or_insert_default();
    for (name, limit) in limits {
        requests.entry(name.clone()).or_insert_with(|| limit.clone());
    }
}

/// What a Pod as a whole requests, where it has limits (`defaultPodRequests`, KEP-2837): what its containers request
/// together, and what no container requests as its limit says.
fn requests_of_pod(spec: &mut PodSpec) {
    let limits = spec.resources.as_ref().and_then(|resources| resources.limits.clone()).unwrap_or_default();
    if limits.is_empty() {
        return;
    }
    let together = ["cpu", "memory"].map(|name| (name, crate::cri::resources::requests_together(spec, name)));
    let Some(resources) = &mut spec.resources else { return };
    let requests = resources.requests.get_or_insert_default();
    for (name, amount) in together {
        if let Some(amount) = amount {
            requests.entry(name.to_owned()).or_insert_with(|| Quantity(amount.canonical()));
        }
    }
    for (name, limit) in limits {
        requests.entry(name).or_insert(limit);
    }
}

fn volume(volume: &mut Volume) {
    let named = Volume { name: volume.name.clone(), ..Volume::default() };
    if *volume == named {
        volume.empty_dir = Some(k8s_openapi::api::core::v1::EmptyDirVolumeSource::default());
    }
    if let Some(host_path) = &mut volume.host_path {
        host_path.type_.get_or_insert_default();
    }
    if let Some(source) = &mut volume.config_map {
        source.default_mode.get_or_insert(FILE_MODE);
    }
    if let Some(source) = &mut volume.secret {
        source.default_mode.get_or_insert(FILE_MODE);
    }
    if let Some(source) = &mut volume.downward_api {
        source.default_mode.get_or_insert(FILE_MODE);
        let items = source.items.iter_mut().flatten();
        items.filter_map(|item| item.field_ref.as_mut()).for_each(field_ref);
    }
    if let Some(source) = &mut volume.projected {
        source.default_mode.get_or_insert(FILE_MODE);
        for source in source.sources.iter_mut().flatten() {
            if let Some(token) = &mut source.service_account_token {
                token.expiration_seconds.get_or_insert(3600);
            }
            let items = source.downward_api.iter_mut().flat_map(|api| api.items.iter_mut().flatten());
            items.filter_map(|item| item.field_ref.as_mut()).for_each(field_ref);
        }
    }
    if let Some(image) = &mut volume.image {
        let reference = image.reference.clone();
        pull_policy(&mut image.pull_policy, reference.as_deref());
    }
}

/// Fills in what the template of a workload leaves out.
pub fn workload(workload: &mut crate::validate::Workload) {
    pod_spec(workload.spec.template_mut().spec.get_or_insert_default());
    let spec = &mut workload.spec;
    match workload.kind.as_str() {
        "Deployment" => drop(spec.progress_deadline_seconds.get_or_insert(600)),
        // Without either, one Pod; with parallelism alone, so many that work on one queue.
        "Job" => {
            if spec.completions.is_none() && spec.parallelism.is_none() {
                spec.completions = Some(1);
            }
            spec.parallelism.get_or_insert(1);
            let of_all = if spec.backoff_limit_per_index.is_some() { i32::MAX } else { 6 };
            spec.backoff_limit.get_or_insert(of_all);
        }
        _ => {}
    }
}

/// Fills in what a claim leaves out.
pub fn claim(claim: &mut PersistentVolumeClaim) {
    claim.status = None;
    text(&mut claim.spec.get_or_insert_default().volume_mode, "Filesystem");
}

/// Fills in what a volume leaves out.
pub fn persistent_volume(volume: &mut PersistentVolume) {
    volume.status = None;
    let spec = volume.spec.get_or_insert_default();
    text(&mut spec.persistent_volume_reclaim_policy, "Retain");
    text(&mut spec.volume_mode, "Filesystem");
    if let Some(source) = &mut spec.host_path {
        source.type_.get_or_insert_default();
    }
}

/// Fills in what a Secret leaves out, and puts `stringData` into `data`.
pub fn secret(secret: &mut Secret) {
    text(&mut secret.type_, "Opaque");
    if let Some(text) = secret.string_data.take() {
        let data = secret.data.get_or_insert_default();
        data.extend(text.into_iter().map(|(key, value)| (key, k8s_openapi::ByteString(value.into_bytes()))));
    }
}

/// What the admission plug-ins Priority and DefaultTolerationSeconds add to a Pod that is created.
pub fn admit(pod: &mut Pod) {
    let Some(spec) = &mut pod.spec else { return };
    spec.priority.get_or_insert(0);
    text(&mut spec.preemption_policy, "PreemptLowerPriority");
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let tolerations = spec.tolerations.get_or_insert_default();
        let covers = |toleration: &Toleration| {
            let named = toleration.key.as_deref().unwrap_or_default();
            let effect = toleration.effect.as_deref().unwrap_or_default();
            (named == key || named.is_empty()) && (effect == "NoExecute" || effect.is_empty())
        };
        if !tolerations.iter().any(covers) {
            tolerations.push(Toleration {
                key: Some(key.to_owned()),
                operator: Some("Exists".to_owned()),
                effect: Some("NoExecute".to_owned()),
                toleration_seconds: Some(300),
                ..Toleration::default()
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn defaulted(value: serde_json::Value) -> serde_json::Value {
        let mut pod: Pod = serde_json::from_value(value).unwrap();
        super::pod(&mut pod);
        serde_json::to_value(pod).unwrap()["spec"].clone()
    }

    #[test]
    fn a_pod_gets_what_the_api_server_gives_it() {
        let spec = defaulted(json!({"spec": {
            "containers": [{"name": "main", "image": "nginx:latest", "ports": [{"containerPort": 80}],
                "resources": {"limits": {"memory": "1Gi"}}, "livenessProbe": {"httpGet": {"port": 80}}}],
            "volumes": [{"name": "a", "hostPath": {"path": "/mnt"}}, {"name": "b"}, {"name": "c", "secret": {"secretName": "s"}}],
            "hostNetwork": true, "terminationGracePeriodSeconds": -5}}));
        assert_eq!(spec["terminationGracePeriodSeconds"], 1);
        assert_eq!(spec["containers"][0]["imagePullPolicy"], "Always");
        assert_eq!(
            spec["containers"][0]["ports"][0],
            json!({"containerPort": 80, "hostPort": 80, "protocol": "TCP"})
        );
        assert_eq!(
            spec["containers"][0]["resources"],
            json!({"limits": {"memory": "1Gi"}, "requests": {"memory": "1Gi"}})
        );
        assert_eq!(
            spec["containers"][0]["livenessProbe"],
            json!({"httpGet": {"path": "/", "port": 80, "scheme": "HTTP"}, "failureThreshold": 3, "periodSeconds": 10, "successThreshold": 1, "timeoutSeconds": 1})
        );
        assert_eq!(spec["volumes"][0]["hostPath"], json!({"path": "/mnt", "type": ""}));
        assert_eq!(spec["volumes"][1], json!({"name": "b", "emptyDir": {}}));
        assert_eq!(spec["volumes"][2]["secret"]["defaultMode"], 420);
        assert_eq!(spec["securityContext"], json!({}));
        assert_eq!(spec["restartPolicy"], "Always");
        assert_eq!(spec["enableServiceLinks"], true);
    }

    #[test]
    fn the_pull_policy_goes_by_the_tag() {
        for (image, policy) in [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("nginx:1.27", "IfNotPresent"),
            ("localhost:5000/nginx", "Always"),
            ("localhost:5000/nginx:1", "IfNotPresent"),
            ("nginx@sha256:00", "IfNotPresent"),
            ("nginx:latest@sha256:00", "Always"),
        ] {
            let mut found = None;
            pull_policy(&mut found, Some(image));
            assert_eq!(found.as_deref(), Some(policy), "{image}");
        }
    }

    #[test]
    fn string_data_becomes_data() {
        let mut made: Secret =
            serde_json::from_value(json!({"data": {"a": "eA=="}, "stringData": {"a": "y", "b": "z"}}))
                .unwrap();
        secret(&mut made);
        assert_eq!(serde_json::to_value(made).unwrap()["data"], json!({"a": "eQ==", "b": "eg=="}));
    }
}
