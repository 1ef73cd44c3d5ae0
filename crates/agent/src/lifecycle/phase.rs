//! A pod's life in one word and five: `getPhase()` and the conditions of the kubelet.

use super::Life;
use super::ends::EVICTED;
use super::rules::Kind;
use super::state::{Condition, ContainerState, Current, Goal, PodState, Stage};
use serde::{Deserialize, Serialize};

/// The condition of a pod that its node ends.
pub(crate) const DISRUPTION_TARGET: &str = "DisruptionTarget";

/// The `status.phase` of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the API's words")]
pub enum Phase {
    Pending,
    Running,
    Succeeded,
    Failed,
}

impl Phase {
    /// The API's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Pending => "Pending",
            Phase::Running => "Running",
            Phase::Succeeded => "Succeeded",
            Phase::Failed => "Failed",
        }
    }
}

impl PodState {
    /// `getPhase()` of the kubelet, and its rule that a pod of which something runs has not ended.
    pub fn phase(&self) -> Phase {
        let over =
            matches!(self.stage, Stage::Ending | Stage::Done) || matches!(self.goal, Goal::Stop { .. });
        let something_runs = self.containers.iter().any(ContainerState::alive);
        if self.goal == Goal::Run && matches!(self.stage, Stage::Queued { .. } | Stage::Again { .. }) {
            return Phase::Pending;
        }
        if self.verdict.is_some() && over && !something_runs {
            return Phase::Failed;
        }
        if !self.is_initialized() {
            return if over && !something_runs { Phase::Failed } else { Phase::Pending };
        }
        // One whose postStart hook runs is still on its way.
        let is_up = |c: &ContainerState| c.running() && !c.post_start_pending;
        let exit_of = |c: &ContainerState| match (&c.current, &c.last) {
            (Current::Terminated { run }, _) => Some(run.exit_code),
            // A run of an earlier life (before `start`) does not count: then no restart was counted yet.
            (_, Some(last)) if !is_up(c) && c.back_off.delay_ms > 0 => Some(last.exit_code),
            _ => None,
        };
        let exits: Vec<i32> = self.mains().filter_map(exit_of).collect();
        let running = self.mains().filter(|c| is_up(c)).count();
        if running + exits.len() < self.mains().count() {
            return Phase::Pending;
        }
        let sidecar_runs = self.containers.iter().any(|c| c.kind == Kind::Sidecar && c.alive());
        if running > 0 || sidecar_runs || !over {
            return Phase::Running;
        }
        if self.verdict.is_some() || exits.iter().any(|code| *code != 0) {
            Phase::Failed
        } else {
            Phase::Succeeded
        }
    }

    /// Those of `spec.initContainers` that hold the others up.
    pub fn incomplete(&self) -> impl Iterator<Item = &ContainerState> {
        let init = self.containers.iter().filter(|c| c.kind.is_init());
        init.filter(|c| if c.kind == Kind::Sidecar { !c.is_started() } else { !c.succeeded() })
    }

    /// Those that are not ready, of the ones that the pod's readiness is made of.
    pub fn unready(&self) -> impl Iterator<Item = &ContainerState> {
        self.containers.iter().filter(|c| matches!(c.kind, Kind::Main | Kind::Sidecar) && !c.is_ready())
    }
}

impl Life {
    pub(super) fn update_conditions(&mut self) {
        let ready = self.state.mains().next().is_some() && self.state.unready().next().is_none();
        let initialized = self.state.is_initialized() && self.state.started_at.is_some();
        let gated = ready && self.state.rules.readiness_gates.is_empty();
        let evicted = self.state.verdict.as_ref().is_some_and(|verdict| verdict.reason == EVICTED);
        let holds = [
            ("PodReadyToStartContainers", self.state.sandbox_ready),
            ("Initialized", initialized),
            ("Ready", gated),
            ("ContainersReady", ready),
            ("PodScheduled", true),
        ];
        let holds = holds.into_iter().chain(evicted.then_some((DISRUPTION_TARGET, true)));
        let now = self.now.wall;
        let before = std::mem::take(&mut self.state.conditions);
        self.state.conditions = holds
            .map(|(kind, holds)| {
                let kept = before.iter().find(|c| c.kind == kind && c.holds == holds);
                Condition { kind: kind.to_owned(), holds, since: kept.map_or(now, |c| c.since) }
            })
            .collect();
    }
}
