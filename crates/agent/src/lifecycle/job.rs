//! A Pod of a Job: its turn, its tries, and the end that the Job's limits set.
//!
//! No controller makes another Pod for one that has failed: the same one is started again, after the delays that the
//! Job controller leaves between its Pods (`pkg/controller/job`, `backoff_utils.go`). What the Job's Pods do together
//! (how many run, how many failures there were) their supervisors tell one another; it comes in with events.

use super::back_off::go_duration;
use super::state::{Goal, Stage, Verdict};
use super::{Action, Life, Phase, PodState, Uptime};
use manifest::workloads::JobTerms;
use serde::{Deserialize, Serialize};

/// `DefaultJobPodFailureBackOff` and `MaxJobPodFailureBackOff`.
const FIRST_DELAY_MS: u64 = 10_000;
const LONGEST_DELAY_MS: u64 = 600_000;
/// How often a Pod asks whether it is its turn: one that a killed supervisor has left is told by nobody.
const ASK_EVERY_MS: u64 = 500;

const BACKOFF_LIMIT_EXCEEDED: &str = "BackoffLimitExceeded";

/// How a Pod of a Job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobState {
    /// How often it, or one of its containers, has failed since it was begun.
    pub failures: u32,
    /// How often the Job's other Pods have.
    pub of_others: u32,
    /// When it was begun: tries and the wait for its turn do not change that.
    pub begun: Option<Uptime>,
    /// Somebody has ended it, so that no try follows.
    pub told_to_end: bool,
}

impl PodState {
    /// The Job's limit has been passed.
    fn job_has_failed(&self) -> bool {
        self.rules.job.as_ref().is_some_and(|terms| {
            let of_others = if terms.limit_is_per_pod { 0 } else { self.job.of_others };
            self.job.failures.saturating_add(of_others) > terms.backoff_limit
        })
    }

    /// When the Job has been there for as long as it may.
    pub(super) fn job_overdue_at(&self) -> Option<Uptime> {
        let seconds = self.rules.job.as_ref()?.active_deadline_seconds?;
        Some(self.job.begun?.plus_ms(seconds.saturating_mul(1000)))
    }

    /// When something is due of a Pod that waits for its turn or for its next try.
    pub(super) fn job_due_at(&self) -> Option<Uptime> {
        match (self.goal, self.stage) {
            (Goal::Run, Stage::Queued { ask_at }) => ask_at,
            (Goal::Run, Stage::Again { retry_at }) => Some(retry_at),
            _ => None,
        }
    }
}

/// Whether a Pod has to wait until others have ended.
pub(crate) fn takes_turns(terms: &JobTerms) -> bool {
    terms.parallelism < terms.pods
}

impl Life {
    /// Asks for the Pod's turn where not all may run at one time; says whether there is one to wait for.
    pub(super) fn queue(&mut self) -> bool {
        let queues = self.state.rules.job.as_ref().is_some_and(takes_turns);
        if queues {
            self.state.stage = Stage::Queued { ask_at: None };
            self.actions.push(Action::AskForTurn);
        }
        queues
    }

    pub(super) fn turn_told(&mut self, has_come: bool) {
        if let (Stage::Queued { .. }, Goal::Run) = (self.state.stage, self.state.goal) {
            match has_come {
                true => self.set_up(),
                false => {
                    let ask_at = Some(self.now.uptime.plus_ms(ASK_EVERY_MS));
                    self.state.stage = Stage::Queued { ask_at };
                }
            }
        }
    }

    /// Goes on with a Pod that waits, if it is time.
    pub(super) fn resume_job(&mut self) {
        if self.state.job_due_at().is_none_or(|at| at > self.now.uptime) {
            return;
        }
        match self.state.stage {
            Stage::Again { .. } => {
                self.reset_containers();
                self.set_up();
            }
            _ => {
                self.queue();
            }
        }
    }

    /// Counts a run of a container that is to be followed by another.
    pub(super) fn count_failed_run(&mut self) {
        if self.state.rules.job.is_some() {
            self.state.job.failures = self.state.job.failures.saturating_add(1);
        }
    }

    /// Ends the Pod of a Job that has failed.
    pub(super) fn end_failed_job(&mut self) {
        let at_work = !matches!(self.state.stage, Stage::New | Stage::Ending | Stage::Done);
        if at_work && self.state.job_has_failed() {
            let verdict = over_the_limit();
            self.warn(&verdict.reason, verdict.message.clone(), None, None);
            self.condemn(verdict, None);
        }
    }

    /// A Pod that has failed by itself is tried again.
    pub(super) fn try_again(&mut self) {
        let failed = self.state.phase() == Phase::Failed && self.state.verdict.is_none();
        if self.state.rules.job.is_none() || self.state.job.told_to_end || !failed {
            return;
        }
        self.count_failed_run();
        if self.state.job_has_failed() {
            let verdict = over_the_limit();
            self.warn(&verdict.reason, verdict.message.clone(), None, None);
            self.state.verdict = Some(verdict);
            return;
        }
        let doublings = self.state.job.failures.saturating_sub(1).min(16);
        let delay_ms = (FIRST_DELAY_MS << doublings).min(LONGEST_DELAY_MS);
        self.state.goal = Goal::Run;
        self.state.stage = Stage::Again { retry_at: self.now.uptime.plus_ms(delay_ms) };
        let delay = go_duration(delay_ms / 1000);
        let message = format!("The pod of the job has failed; it is started again in {delay}");
        self.warn("BackOff", message, None, None);
    }
}

/// In the Job controller's words.
fn over_the_limit() -> Verdict {
    let message = "Job has reached the specified backoff limit".to_owned();
    Verdict { reason: BACKOFF_LIMIT_EXCEEDED.to_owned(), message }
}
