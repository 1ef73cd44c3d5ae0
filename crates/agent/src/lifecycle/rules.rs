//! What of a Pod's spec its life depends on.

use manifest::workloads::JobTerms;
use serde::{Deserialize, Deserializer, Serialize};

/// `restartPolicy`, of a pod or of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum RestartPolicy {
    /// Whatever the exit code.
    #[default]
    Always,
    /// After a failure.
    OnFailure,
    /// Not.
    Never,
}

impl RestartPolicy {
    /// Whether another run follows one that ended with this code.
    pub fn restarts(self, exit_code: i32) -> bool {
        match self {
            RestartPolicy::Always => true,
            RestartPolicy::OnFailure => exit_code != 0,
            RestartPolicy::Never => false,
        }
    }
}

/// What a container is to its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// Of `spec.initContainers`: runs to its end before the next one begins.
    Init,
    /// Of `spec.initContainers` with `restartPolicy: Always`: begins in its turn and stays beside the others.
    Sidecar,
    /// Of `spec.containers`.
    #[default]
    Main,
    /// Of `spec.ephemeralContainers`: added to a pod that runs; runs once, and nothing depends on it.
    Ephemeral,
}

impl Kind {
    /// Whether it is among `spec.initContainers`.
    pub fn is_init(self) -> bool {
        matches!(self, Kind::Init | Kind::Sidecar)
    }
}

/// The kinds of probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the API's words")]
pub enum ProbeKind {
    Startup,
    Readiness,
    Liveness,
}

impl ProbeKind {
    /// All of them.
    pub const ALL: [ProbeKind; 3] = [ProbeKind::Startup, ProbeKind::Readiness, ProbeKind::Liveness];
}

impl std::fmt::Display for ProbeKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, f)
    }
}

/// When a probe is made, and what its results mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProbeRules {
    /// `initialDelaySeconds`
    pub initial_delay_seconds: u64,
    /// `periodSeconds`
    pub period_seconds: u64,
    /// `successThreshold`
    pub success_threshold: u32,
    /// `failureThreshold`
    pub failure_threshold: u32,
    /// `terminationGracePeriodSeconds`, of the end that a failure leads to; none takes the pod's.
    pub grace_seconds: Option<u64>,
}

/// The kinds of lifecycle hooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the API's words")]
pub enum HookKind {
    PostStart,
    PreStop,
}

/// One of `restartPolicyRules`: these exit codes are followed by another run (`FindMatchingContainerRestartRule()` of the
/// kubelet, KEP-5307).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestartRule {
    /// Any others than these.
    pub all_but: bool,
    /// Exit codes.
    pub codes: Vec<i32>,
}

/// What of a container's spec the life cycle depends on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerRules {
    /// `name`
    pub name: String,
    /// Which list it is of, and how it is restarted there.
    #[serde(default)]
    pub kind: Kind,
    /// `restartPolicy`, where it is not a sidecar's.
    #[serde(default)]
    pub restart_policy: Option<RestartPolicy>,
    /// `restartPolicyRules`, of which the first that matches goes before the policy.
    #[serde(default)]
    pub restart_rules: Vec<RestartRule>,
    /// `image` as written, for messages.
    #[serde(default)]
    pub image: String,
    /// `startupProbe`
    #[serde(default)]
    pub startup: Option<ProbeRules>,
    /// `readinessProbe`
    #[serde(default)]
    pub readiness: Option<ProbeRules>,
    /// `livenessProbe`
    #[serde(default)]
    pub liveness: Option<ProbeRules>,
    /// Whether there is a `lifecycle.postStart`.
    #[serde(default)]
    pub post_start: bool,
    /// Whether there is a `lifecycle.preStop`.
    #[serde(default)]
    pub pre_stop: bool,
}

impl ContainerRules {
    /// One of `spec.containers` of which only the name is known.
    pub fn main(name: &str) -> ContainerRules {
        ContainerRules { name: name.to_owned(), ..ContainerRules::default() }
    }

    /// Its probe of a kind.
    pub(super) fn probe(&self, kind: ProbeKind) -> Option<&ProbeRules> {
        match kind {
            ProbeKind::Startup => self.startup.as_ref(),
            ProbeKind::Readiness => self.readiness.as_ref(),
            ProbeKind::Liveness => self.liveness.as_ref(),
        }
    }
}

/// What of a Pod's spec the life cycle depends on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rules {
    /// `metadata.name`, for messages.
    pub pod_name: String,
    /// `metadata.namespace`, for messages.
    pub pod_namespace: String,
    /// `metadata.uid`, for messages.
    pub pod_uid: String,
    /// The node's name, for messages.
    #[serde(default)]
    pub node: String,
    /// `spec.restartPolicy`
    pub restart_policy: RestartPolicy,
    /// `spec.terminationGracePeriodSeconds`
    pub grace_seconds: u64,
    /// `spec.activeDeadlineSeconds`
    #[serde(default)]
    pub active_deadline_seconds: Option<u64>,
    /// What its Job asks, if it is of one.
    #[serde(default)]
    pub job: Option<JobTerms>,
    /// The conditions that `spec.readinessGates` names.
    #[serde(default)]
    pub readiness_gates: Vec<String>,
    /// `spec.initContainers`, then `spec.containers`, each in the spec's order.
    #[serde(deserialize_with = "names_or_rules")]
    pub containers: Vec<ContainerRules>,
}

impl Rules {
    /// A container by name.
    pub fn container(&self, name: &str) -> Option<&ContainerRules> {
        self.containers.iter().find(|c| c.name == name)
    }

    /// How a container is restarted (`ShouldContainerBeRestarted()` and `computeInitContainerActions()` of the kubelet):
    /// an init container that ended well has done its work whatever the pod's policy.
    pub(super) fn policy_of(&self, name: &str) -> RestartPolicy {
        let Some(container) = self.container(name) else { return self.restart_policy };
        let policy = container.restart_policy.unwrap_or(self.restart_policy);
        match (container.kind, policy) {
            (Kind::Sidecar, _) => RestartPolicy::Always,
            (Kind::Ephemeral, _) => RestartPolicy::Never,
            (Kind::Init, RestartPolicy::Always) => RestartPolicy::OnFailure,
            (_, policy) => policy,
        }
    }

    /// Whether another run of a container follows one that ended with this code.
    pub(super) fn restarts(&self, name: &str, exit_code: i32) -> bool {
        let rules = self.container(name).map(|container| container.restart_rules.as_slice());
        let matches = |rule: &RestartRule| rule.codes.contains(&exit_code) != rule.all_but;
        rules.unwrap_or_default().iter().any(matches) || self.policy_of(name).restarts(exit_code)
    }

    /// The reason of a container that has not begun.
    pub(super) fn reason_before_start(&self) -> &'static str {
        match self.containers.iter().any(|c| c.kind.is_init()) {
            true => "PodInitializing",
            false => "ContainerCreating",
        }
    }
}

/// Version 1 of the status file had the names alone, of containers that were all main ones.
fn names_or_rules<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<ContainerRules>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Name(String),
        Rules(Box<ContainerRules>),
    }
    let written = Vec::<Written>::deserialize(from)?;
    let rules = |written| match written {
        Written::Name(name) => ContainerRules::main(&name),
        Written::Rules(rules) => *rules,
    };
    Ok(written.into_iter().map(rules).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_an_older_supervisor_are_main_containers() {
        let old = r#"{"podName":"p","podNamespace":"n","podUid":"u","restartPolicy":"Always","graceSeconds":30,"containers":["a"]}"#;
        let rules: Rules = serde_json::from_str(old).unwrap();
        assert_eq!(rules.containers, [ContainerRules::main("a")]);
        let again: Rules = serde_json::from_str(&serde_json::to_string(&rules).unwrap()).unwrap();
        assert_eq!(again, rules);
    }
}
