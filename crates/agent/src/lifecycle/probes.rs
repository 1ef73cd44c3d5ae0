//! Probes: when each is due, what its results add up to (`pkg/kubelet/prober/worker.go`).
//!
//! A container's probes begin when it is up (its postStart hook done). The startup probe goes first; once it has succeeded
//! it is over, and the others begin. Counts live in memory only: another supervisor begins anew, as another kubelet would.

use super::rules::{ProbeKind, ProbeRules};
use super::state::{ContainerState, Current, PodState};
use super::{Action, Life, Uptime};
use serde::{Deserialize, Serialize};

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "is", content = "text")]
pub enum Outcome {
    /// All is well.
    Success,
    /// All is well, but.
    Warning(String),
    /// It is not.
    Failure(String),
    /// The probe itself could not be made: says nothing of the container.
    Error(String),
}

/// How the probes of a run stand.
#[derive(Debug, Clone, Default)]
pub struct Probing([Standing; 3]);

/// How one of them stands.
#[derive(Debug, Clone, Copy, Default)]
struct Standing {
    /// When it is next due; none before it was looked at first.
    due: Option<Uptime>,
    /// One is under way.
    asked: bool,
    /// What the last ones found, and how many in a row did.
    last: Option<bool>,
    in_a_row: u32,
}

/// Not part of what is written and told: a probe that changes nothing else is no news.
impl PartialEq for Probing {
    fn eq(&self, _: &Probing) -> bool {
        true
    }
}

impl Eq for Probing {}

impl Probing {
    fn of(&self, probe: ProbeKind) -> Standing {
        self.0[probe as usize]
    }

    fn of_mut(&mut self, probe: ProbeKind) -> &mut Standing {
        &mut self.0[probe as usize]
    }
}

impl PodState {
    /// The probes that are to be made of a container now, each with its rules and when it is next due.
    fn active_probes(&self, container: &ContainerState) -> Vec<(ProbeKind, ProbeRules, Uptime)> {
        let Current::Running { since, ending, .. } = container.current else { return Vec::new() };
        let Some(rules) = self.rules.container(&container.name) else { return Vec::new() };
        if container.post_start_pending {
            return Vec::new();
        }
        let is_active = |probe: &ProbeKind| match probe {
            ProbeKind::Startup => !container.started && ending.is_none(),
            ProbeKind::Liveness => container.started && ending.is_none(),
            ProbeKind::Readiness => container.started,
        };
        let active = ProbeKind::ALL.into_iter().filter(is_active);
        active
            .filter_map(|probe| {
                let rules = rules.probe(probe)?;
                let standing = container.probing.of(probe);
                let first = since.plus_ms(rules.initial_delay_seconds.saturating_mul(1000));
                (!standing.asked).then(|| (probe, *rules, standing.due.unwrap_or(first)))
            })
            .collect()
    }

    /// When the next probe is due.
    pub(super) fn next_probe(&self) -> Option<Uptime> {
        self.containers.iter().flat_map(|c| self.active_probes(c)).map(|(_, _, due)| due).min()
    }
}

impl Life {
    /// Orders the probes that are due.
    pub(super) fn probe_due(&mut self) {
        let now = self.now.uptime;
        for index in 0..self.state.containers.len() {
            let due = self.state.active_probes(&self.state.containers[index]);
            let container = &mut self.state.containers[index];
            for (probe, rules, due) in due.into_iter().filter(|(_, _, due)| *due <= now) {
                let standing = container.probing.of_mut(probe);
                standing.asked = true;
                // Times that were missed are not made up for.
                standing.due = Some(due.plus_ms(rules.period_seconds.saturating_mul(1000)).max(now));
                let (name, attempt) = (container.name.clone(), container.made);
                self.actions.push(Action::Probe { name, attempt, probe });
            }
        }
    }

    pub(super) fn probed(&mut self, name: &str, attempt: u32, probe: ProbeKind, outcome: Outcome) {
        let rules = self.state.rules.container(name).and_then(|c| c.probe(probe)).copied();
        let Some((rules, container)) = rules.zip(self.container(name)) else { return };
        if container.made != attempt || !container.running() {
            return;
        }
        let standing = container.probing.of_mut(probe);
        standing.asked = false;
        let succeeded = matches!(outcome, Outcome::Success | Outcome::Warning(_));
        let counts = !matches!(outcome, Outcome::Error(_));
        if counts {
            standing.in_a_row = if standing.last == Some(succeeded) { standing.in_a_row + 1 } else { 1 };
            standing.last = Some(succeeded);
        }
        let threshold = if succeeded { rules.success_threshold } else { rules.failure_threshold };
        let decided = counts && standing.in_a_row >= threshold;
        match outcome {
            Outcome::Success => {}
            Outcome::Warning(text) => {
                self.warn("ProbeWarning", format!("{probe} probe warning: {text}"), None, Some(name));
            }
            Outcome::Failure(text) => {
                self.warn("Unhealthy", format!("{probe} probe failed: {text}"), None, Some(name));
            }
            Outcome::Error(text) => {
                let message = format!("{probe} probe errored and resulted in unknown state: {text}");
                self.warn("Unhealthy", message, None, Some(name));
            }
        }
        if decided {
            self.decided(name, probe, &rules, succeeded);
        }
    }

    fn decided(&mut self, name: &str, probe: ProbeKind, rules: &ProbeRules, succeeded: bool) {
        let has_readiness = self.state.rules.container(name).is_some_and(|c| c.readiness.is_some());
        let Some(container) = self.container(name) else { return };
        match (probe, succeeded) {
            (ProbeKind::Readiness, ready) => container.ready = ready,
            (ProbeKind::Startup, true) if !container.started => {
                container.started = true;
                container.was_started = true;
                container.ready = !has_readiness;
            }
            (ProbeKind::Startup | ProbeKind::Liveness, true) => {}
            (ProbeKind::Startup | ProbeKind::Liveness, false) => {
                let again = self.state.rules.policy_of(name) != super::RestartPolicy::Never;
                let what = probe.to_string().to_lowercase();
                let then = if again { ", will be restarted" } else { "" };
                let message = format!("Container {name} failed {what} probe{then}");
                self.let_end(name, rules.grace_seconds, message);
            }
        }
    }
}
