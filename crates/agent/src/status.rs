//! A pod's state in the API's shape: what `ps` and `inspect` print and a watch would send. Pure.

use crate::lifecycle::{
    Condition, ContainerRules, ContainerState, Current, DISRUPTION_TARGET, Kind, Phase, PodState, ProbeRules,
    RestartPolicy, RestartRule, Rules, Terminated,
};
use crate::record::whole_seconds;
use jiff::Timestamp;
use k8s_openapi::api::core::v1 as api;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::borrow::Cow;

/// Kubernetes' default for `spec.terminationGracePeriodSeconds`.
const DEFAULT_GRACE_SECONDS: u64 = 30;

/// What of a Pod its life cycle depends on; what its Job asks is not in it.
pub fn rules(pod: &api::Pod) -> Rules {
    let spec = pod.spec.as_ref();
    let key = crate::record::PodKey::of(pod);
    let init = spec.and_then(|s| s.init_containers.as_deref()).unwrap_or_default();
    let main = spec.map(|s| s.containers.as_slice()).unwrap_or_default();
    let ephemeral = spec.and_then(|s| s.ephemeral_containers.as_deref()).unwrap_or_default();
    let init = init.iter().map(|c| match c.restart_policy.as_deref() {
        Some("Always") => container_rules(c, Kind::Sidecar),
        _ => container_rules(c, Kind::Init),
    });
    Rules {
        pod_name: key.name,
        pod_namespace: key.namespace,
        pod_uid: pod.metadata.uid.clone().unwrap_or_default(),
        node: spec.and_then(|s| s.node_name.clone()).unwrap_or_default(),
        active_deadline_seconds: spec
            .and_then(|s| s.active_deadline_seconds)
            .and_then(|s| u64::try_from(s).ok()),
        job: None,
        readiness_gates: spec
            .and_then(|s| s.readiness_gates.as_ref())
            .map(|gates| gates.iter().map(|gate| gate.condition_type.clone()).collect())
            .unwrap_or_default(),
        restart_policy: spec.and_then(|s| policy(s.restart_policy.as_deref())).unwrap_or_default(),
        grace_seconds: spec
            .and_then(|s| s.termination_grace_period_seconds)
            .and_then(|s| u64::try_from(s).ok())
            .unwrap_or(DEFAULT_GRACE_SECONDS),
        containers: init
            .chain(main.iter().map(|c| container_rules(c, Kind::Main)))
            .chain(ephemeral.iter().map(ephemeral_rules))
            .collect(),
    }
}

fn policy(word: Option<&str>) -> Option<RestartPolicy> {
    match word? {
        "Never" => Some(RestartPolicy::Never),
        "OnFailure" => Some(RestartPolicy::OnFailure),
        _ => Some(RestartPolicy::Always),
    }
}

fn container_rules(spec: &api::Container, kind: Kind) -> ContainerRules {
    ContainerRules {
        name: spec.name.clone(),
        kind,
        restart_policy: policy(spec.restart_policy.as_deref()).filter(|_| kind != Kind::Sidecar),
        restart_rules: spec.restart_policy_rules.iter().flatten().filter_map(restart_rule).collect(),
        image: spec.image.clone().unwrap_or_default(),
        startup: spec.startup_probe.as_ref().map(probe_rules),
        readiness: spec.readiness_probe.as_ref().map(probe_rules),
        liveness: spec.liveness_probe.as_ref().map(probe_rules),
        post_start: spec.lifecycle.as_ref().is_some_and(|l| l.post_start.is_some()),
        pre_stop: spec.lifecycle.as_ref().is_some_and(|l| l.pre_stop.is_some()),
    }
}

fn restart_rule(rule: &api::ContainerRestartRule) -> Option<RestartRule> {
    let codes = rule.exit_codes.as_ref().filter(|_| rule.action == "Restart")?;
    let (all_but, codes) = (codes.operator == "NotIn", codes.values.clone().unwrap_or_default());
    Some(RestartRule { all_but, codes })
}

/// With the API's defaults, also for a record that was made by hand.
fn probe_rules(spec: &api::Probe) -> ProbeRules {
    let at_least = |value: Option<i32>, default: u32, least: u32| {
        value.and_then(|v| u32::try_from(v).ok()).filter(|v| *v >= least).unwrap_or(default)
    };
    ProbeRules {
        initial_delay_seconds: at_least(spec.initial_delay_seconds, 0, 0).into(),
        period_seconds: at_least(spec.period_seconds, 10, 1).into(),
        success_threshold: at_least(spec.success_threshold, 1, 1),
        failure_threshold: at_least(spec.failure_threshold, 3, 1),
        grace_seconds: spec.termination_grace_period_seconds.and_then(|s| u64::try_from(s).ok()),
    }
}

/// A container's spec, of whichever list it is.
pub(crate) fn container_spec<'a>(pod: &'a api::Pod, name: &str) -> Option<Cow<'a, api::Container>> {
    manifest::cri::container::find(pod.spec.as_ref()?, name)
}

/// The rules of an ephemeral container.
pub(crate) fn ephemeral_rules(container: &api::EphemeralContainer) -> ContainerRules {
    container_rules(&manifest::cri::container::of_ephemeral(container), Kind::Ephemeral)
}

/// The pod as the API shows it: the record with its status.
pub fn pod_with_status(pod: &api::Pod, state: &PodState) -> api::Pod {
    api::Pod { status: Some(pod_status(pod, state)), ..pod.clone() }
}

/// `status` of a Pod.
pub fn pod_status(pod: &api::Pod, state: &PodState) -> api::PodStatus {
    // What all its containers' messages may have together.
    let room = MESSAGES_BYTES_MAX / state.containers.len().max(1);
    let statuses = |kinds: &[Kind]| -> Vec<api::ContainerStatus> {
        let of_list = state.containers.iter().filter(|c| kinds.contains(&c.kind));
        of_list
            .map(|c| {
                let mut status = container_status(c, container_spec(pod, &c.name).as_deref());
                for state in [&mut status.state, &mut status.last_state] {
                    if let Some(ended) = state.as_mut().and_then(|state| state.terminated.as_mut()) {
                        ended.message = ended.message.take().map(|message| cut(message, room));
                    }
                }
                status
            })
            .collect()
    };
    // Said once it has come true: while containers still end, the pod is what it was.
    let verdict = state.verdict.as_ref().filter(|_| state.phase() == Phase::Failed);
    api::PodStatus {
        phase: Some(state.phase().as_str().to_owned()),
        reason: verdict.map(|verdict| verdict.reason.clone()),
        message: verdict.map(|verdict| verdict.message.clone()),
        conditions: Some(conditions(state)),
        init_container_statuses: Some(statuses(&[Kind::Init, Kind::Sidecar])).filter(|list| !list.is_empty()),
        container_statuses: Some(statuses(&[Kind::Main])),
        ephemeral_container_statuses: Some(statuses(&[Kind::Ephemeral])).filter(|list| !list.is_empty()),
        start_time: state.started_at.map(time),
        pod_ip: state.pod_ips.first().cloned(),
        pod_ips: Some(state.pod_ips.iter().map(|ip| api::PodIP { ip: ip.clone() }).collect::<Vec<_>>())
            .filter(|ips| !ips.is_empty()),
        qos_class: pod.spec.as_ref().map(|spec| manifest::cri::qos_class(spec).as_str().to_owned()),
        observed_generation: Some(1),
        ..api::PodStatus::default()
    }
}

/// What the termination messages of a pod's containers may have together (`MaxPodTerminationMessageLogLength` of the
/// kubelet): each has its part.
const MESSAGES_BYTES_MAX: usize = 12 * 1024;

fn cut(mut text: String, bytes: usize) -> String {
    let end = (0..=bytes.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    text.truncate(end.unwrap_or(0));
    text
}

fn time(at: Timestamp) -> Time {
    Time(whole_seconds(at))
}

fn conditions(state: &PodState) -> Vec<api::PodCondition> {
    let condition = |c: &Condition| {
        let (reason, message) = reason_of(state, c);
        api::PodCondition {
            type_: c.kind.clone(),
            status: if c.holds { "True" } else { "False" }.to_owned(),
            last_transition_time: Some(time(c.since)),
            observed_generation: Some(1),
            reason: reason.map(str::to_owned),
            message,
            ..api::PodCondition::default()
        }
    };
    state.conditions.iter().map(condition).collect()
}

/// A condition's reason and message (`pkg/kubelet/status/generate.go`).
fn reason_of(state: &PodState, condition: &Condition) -> (Option<&'static str>, Option<String>) {
    fn names<'a>(containers: impl Iterator<Item = &'a ContainerState>) -> String {
        containers.map(|c| c.name.as_str()).collect::<Vec<_>>().join(" ")
    }
    let about_containers = matches!(condition.kind.as_str(), "Ready" | "ContainersReady");
    match (state.phase(), condition.kind.as_str(), condition.holds) {
        (Phase::Succeeded, "Initialized" | "Ready" | "ContainersReady", _) => (Some("PodCompleted"), None),
        (Phase::Failed, _, false) if about_containers => (Some("PodFailed"), None),
        (_, "Ready", false) if state.unready().next().is_none() => {
            let missing = |gate: &String| {
                format!("corresponding condition of pod readiness gate {gate:?} does not exist.")
            };
            let gates: Vec<String> = state.rules.readiness_gates.iter().map(missing).collect();
            (Some("ReadinessGatesNotReady"), Some(gates.join(", ")))
        }
        (_, DISRUPTION_TARGET, _) => {
            (Some("TerminationByKubelet"), state.verdict.as_ref().map(|verdict| verdict.message.clone()))
        }
        (_, _, false) if about_containers => {
            let message = format!("containers with unready status: [{}]", names(state.unready()));
            (Some("ContainersNotReady"), Some(message))
        }
        (_, "Initialized", false) if state.incomplete().next().is_some() => {
            let message = format!("containers with incomplete status: [{}]", names(state.incomplete()));
            (Some("ContainersNotInitialized"), Some(message))
        }
        _ => (None, None),
    }
}

fn container_status(container: &ContainerState, spec: Option<&api::Container>) -> api::ContainerStatus {
    let asked_image = spec.and_then(|s| s.image.clone()).unwrap_or_default();
    let made = container.made > 0;
    api::ContainerStatus {
        name: container.name.clone(),
        state: Some(match container.post_start_pending && container.running() {
            // The kubelet says nothing of a container that is not up yet.
            true => waiting_state(
                if container.kind.is_init() { "PodInitializing" } else { "ContainerCreating" },
                None,
            ),
            false => current_state(&container.current),
        }),
        last_state: Some(container.last.as_ref().map(terminated_state).unwrap_or_default()),
        ready: container.is_ready(),
        started: Some(container.is_started()),
        restart_count: i32::try_from(container.restart_count()).unwrap_or(i32::MAX),
        image: if made { container.image.clone() } else { asked_image },
        image_id: container.image_id.clone(),
        container_id: made.then(|| container_id(&container.id)),
        resources: spec.filter(|_| made).and_then(|s| s.resources.clone()),
        volume_mounts: spec.and_then(volume_mounts),
        ..api::ContainerStatus::default()
    }
}

fn container_id(id: &str) -> String {
    format!("rhizome://{id}")
}

fn waiting_state(reason: &str, message: Option<String>) -> api::ContainerState {
    let waiting = api::ContainerStateWaiting { reason: Some(reason.to_owned()), message };
    api::ContainerState { waiting: Some(waiting), ..api::ContainerState::default() }
}

fn current_state(current: &Current) -> api::ContainerState {
    match current {
        Current::Waiting { reason, message, .. } | Current::Starting { reason, message } => {
            waiting_state(reason, message.clone())
        }
        Current::Running { started_at, .. } => api::ContainerState {
            running: Some(api::ContainerStateRunning { started_at: Some(time(*started_at)) }),
            ..api::ContainerState::default()
        },
        Current::Terminated { run } => terminated_state(run),
    }
}

fn terminated_state(run: &Terminated) -> api::ContainerState {
    let terminated = api::ContainerStateTerminated {
        container_id: (!run.id.is_empty()).then(|| container_id(&run.id)),
        exit_code: run.exit_code,
        reason: Some(run.reason.clone()),
        message: run.message.clone(),
        started_at: run.started_at.map(time),
        finished_at: Some(time(run.finished_at)),
        signal: None,
    };
    api::ContainerState { terminated: Some(terminated), ..api::ContainerState::default() }
}

/// As the kubelet (1.31 and later) reports them: where, of which volume, whether read-only.
fn volume_mounts(spec: &api::Container) -> Option<Vec<api::VolumeMountStatus>> {
    let mounts = spec.volume_mounts.as_ref().filter(|mounts| !mounts.is_empty())?;
    let status = |m: &api::VolumeMount| api::VolumeMountStatus {
        name: m.name.clone(),
        mount_path: m.mount_path.clone(),
        read_only: m.read_only.filter(|read_only| *read_only),
        recursive_read_only: m.read_only.filter(|ro| *ro).and(m.recursive_read_only.clone()),
        ..api::VolumeMountStatus::default()
    };
    Some(mounts.iter().map(status).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::{Event, Exit, Now, Uptime, step};
    use expect_test::{Expect, expect};

    fn pod(policy: &str) -> api::Pod {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "p", "namespace": "ev", "uid": "UID"},
            "spec": {"restartPolicy": policy, "containers": [{
                "name": "main", "image": "busybox", "resources": {},
                "volumeMounts": [{"name": "v", "mountPath": "/home", "mountPropagation": "Bidirectional"}],
            }]},
        }))
        .unwrap()
    }

    fn after(pod: &api::Pod, events: &[Event]) -> PodState {
        let now = Now { wall: Timestamp::UNIX_EPOCH, uptime: Uptime(0) };
        let state = PodState::new(rules(pod));
        events.iter().fold(state, |state, event| step(state, event.clone(), now).0)
    }

    fn started() -> Event {
        Event::ContainerStarted {
            name: "main".into(),
            id: "ID64".into(),
            image: "docker.io/library/busybox:latest".into(),
            image_id: "sha256:1".into(),
        }
    }

    fn check(pod: &api::Pod, events: &[Event], expected: Expect) {
        let status = pod_status(pod, &after(pod, events));
        expected.assert_eq(&serde_json::to_string_pretty(&status).unwrap());
    }

    /// Beside `events/completed.txt` and `api/pod-running.txt` of what a real kubelet answers.
    #[test]
    fn a_pod_that_completed() {
        let exit = Exit { message: Some("bye\n".into()), ..Exit::default() };
        let events = [
            Event::Begin,
            Event::VolumesReady,
            Event::SandboxReady,
            started(),
            Event::ContainerExited { name: "main".into(), exit },
            Event::SandboxStopped,
        ];
        check(
            &pod("Never"),
            &events,
            expect![[r#"
            {
              "conditions": [
                {
                  "lastTransitionTime": "1970-01-01T00:00:00Z",
                  "observedGeneration": 1,
                  "status": "False",
                  "type": "PodReadyToStartContainers"
                },
                {
                  "lastTransitionTime": "1970-01-01T00:00:00Z",
                  "observedGeneration": 1,
                  "reason": "PodCompleted",
                  "status": "True",
                  "type": "Initialized"
                },
                {
                  "lastTransitionTime": "1970-01-01T00:00:00Z",
                  "observedGeneration": 1,
                  "reason": "PodCompleted",
                  "status": "False",
                  "type": "Ready"
                },
                {
                  "lastTransitionTime": "1970-01-01T00:00:00Z",
                  "observedGeneration": 1,
                  "reason": "PodCompleted",
                  "status": "False",
                  "type": "ContainersReady"
                },
                {
                  "lastTransitionTime": "1970-01-01T00:00:00Z",
                  "observedGeneration": 1,
                  "status": "True",
                  "type": "PodScheduled"
                }
              ],
              "containerStatuses": [
                {
                  "containerID": "rhizome://ID64",
                  "image": "docker.io/library/busybox:latest",
                  "imageID": "sha256:1",
                  "lastState": {},
                  "name": "main",
                  "ready": false,
                  "resources": {},
                  "restartCount": 0,
                  "started": false,
                  "state": {
                    "terminated": {
                      "containerID": "rhizome://ID64",
                      "exitCode": 0,
                      "finishedAt": "1970-01-01T00:00:00Z",
                      "message": "bye\n",
                      "reason": "Completed",
                      "startedAt": "1970-01-01T00:00:00Z"
                    }
                  },
                  "volumeMounts": [
                    {
                      "mountPath": "/home",
                      "name": "v"
                    }
                  ]
                }
              ],
              "observedGeneration": 1,
              "phase": "Succeeded",
              "qosClass": "BestEffort",
              "startTime": "1970-01-01T00:00:00Z"
            }"#]],
        );
    }

    #[test]
    fn a_pod_that_runs() {
        let events = [Event::Begin, Event::VolumesReady, Event::SandboxReady, started()];
        check(
            &pod("Always"),
            &events,
            expect![[r#"
            {
              "conditions": [
                {
                  "lastTransitionTime": "1970-01-01T00:00:00Z",
                  "observedGeneration": 1,
                  "status": "True",
                  "type": "PodReadyToStartContainers"
                },
                {
                  "lastTransitionTime": "1970-01-01T00:00:00Z",
                  "observedGeneration": 1,
                  "status": "True",
                  "type": "Initialized"
                },
                {
                  "lastTransitionTime": "1970-01-01T00:00:00Z",
                  "observedGeneration": 1,
                  "status": "True",
                  "type": "Ready"
                },
                {
                  "lastTransitionTime": "1970-01-01T00:00:00Z",
                  "observedGeneration": 1,
                  "status": "True",
                  "type": "ContainersReady"
                },
                {
                  "lastTransitionTime": "1970-01-01T00:00:00Z",
                  "observedGeneration": 1,
                  "status": "True",
                  "type": "PodScheduled"
                }
              ],
              "containerStatuses": [
                {
                  "containerID": "rhizome://ID64",
                  "image": "docker.io/library/busybox:latest",
                  "imageID": "sha256:1",
                  "lastState": {},
                  "name": "main",
                  "ready": true,
                  "resources": {},
                  "restartCount": 0,
                  "started": true,
                  "state": {
                    "running": {
                      "startedAt": "1970-01-01T00:00:00Z"
                    }
                  },
                  "volumeMounts": [
                    {
                      "mountPath": "/home",
                      "name": "v"
                    }
                  ]
                }
              ],
              "observedGeneration": 1,
              "phase": "Running",
              "qosClass": "BestEffort",
              "startTime": "1970-01-01T00:00:00Z"
            }"#]],
        );
    }

    #[test]
    fn a_pod_whose_volume_is_missing() {
        let failed = Event::VolumesFailed { message: "m".into(), hint: None };
        check(
            &pod("Always"),
            &[Event::Begin, failed],
            expect![[r#"
            {
              "conditions": [
                {
                  "lastTransitionTime": "1970-01-01T00:00:00Z",
                  "observedGeneration": 1,
                  "status": "False",
                  "type": "PodReadyToStartContainers"
                },
                {
                  "lastTransitionTime": "1970-01-01T00:00:00Z",
                  "observedGeneration": 1,
                  "status": "True",
                  "type": "Initialized"
                },
                {
                  "lastTransitionTime": "1970-01-01T00:00:00Z",
                  "message": "containers with unready status: [main]",
                  "observedGeneration": 1,
                  "reason": "ContainersNotReady",
                  "status": "False",
                  "type": "Ready"
                },
                {
                  "lastTransitionTime": "1970-01-01T00:00:00Z",
                  "message": "containers with unready status: [main]",
                  "observedGeneration": 1,
                  "reason": "ContainersNotReady",
                  "status": "False",
                  "type": "ContainersReady"
                },
                {
                  "lastTransitionTime": "1970-01-01T00:00:00Z",
                  "observedGeneration": 1,
                  "status": "True",
                  "type": "PodScheduled"
                }
              ],
              "containerStatuses": [
                {
                  "image": "busybox",
                  "imageID": "",
                  "lastState": {},
                  "name": "main",
                  "ready": false,
                  "restartCount": 0,
                  "started": false,
                  "state": {
                    "waiting": {
                      "reason": "ContainerCreating"
                    }
                  },
                  "volumeMounts": [
                    {
                      "mountPath": "/home",
                      "name": "v"
                    }
                  ]
                }
              ],
              "observedGeneration": 1,
              "phase": "Pending",
              "qosClass": "BestEffort",
              "startTime": "1970-01-01T00:00:00Z"
            }"#]],
        );
    }
}
