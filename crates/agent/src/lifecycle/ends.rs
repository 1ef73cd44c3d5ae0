//! Ends: of a run, of a container, of the pod.

use super::back_off::go_duration;
use super::rules::Kind;
use super::state::{Current, EndStep, Ending, Goal, Stage, Terminated, Verdict, waiting};
use super::{Action, Exit, Life, Uptime};
use jiff::Timestamp;

/// What a container has at least between its stop signal and SIGKILL where others have used its time up
/// (`minimumGracePeriodInSeconds` of the kubelet).
const LEAST_GRACE_MS: u64 = 2_000;

/// What an evicted pod has to end (`immediateEvictionGracePeriodSeconds` of the kubelet).
const EVICTION_GRACE_SECONDS: u64 = 1;

const DEADLINE_EXCEEDED: &str = "DeadlineExceeded";
/// `status.reason` of a pod that used more of the node than it may.
pub(crate) const EVICTED: &str = "Evicted";

impl Life {
    /// A run is over: for good, or with a next one to come.
    pub(super) fn ended(&mut self, name: &str, exit: Exit, started_at: Option<Timestamp>, reason: &str) {
        let (now, goal) = (self.now, self.state.goal);
        let restarts = self.state.rules.restarts(name, exit.code);
        let rules = &self.state.rules;
        let pod = format!("{}_{}({})", rules.pod_name, rules.pod_namespace, rules.pod_uid);
        let kind = self.state.container(name).map(|c| c.kind).unwrap_or_default();
        let at_once = self.reason_while_created(kind);
        let Some(container) = self.container(name) else { return };
        let run = Terminated {
            id: container.id.clone(),
            exit_code: exit.code,
            reason: reason.to_owned(),
            message: exit.message,
            started_at,
            finished_at: now.wall,
        };
        let again = goal == Goal::Run && restarts;
        let id = container.id.clone();
        let failed = exit.code != 0 && kind != Kind::Sidecar;
        let mut backing_off = false;
        if again {
            let delay_ms = container.back_off.delay_after(now.uptime);
            container.back_off.tried(now.uptime.plus_ms(delay_ms));
            backing_off = delay_ms > 0;
            // Why a program cannot be executed is worth more than that it is tried again.
            let (reason, message) = match (reason, delay_ms) {
                ("StartError", _) => ("RunContainerError", run.message.clone()),
                (_, 0) => (at_once, None),
                _ => {
                    let delay = go_duration(delay_ms / 1000);
                    let message = format!("back-off {delay} restarting failed container={name} pod={pod}");
                    ("CrashLoopBackOff", Some(message))
                }
            };
            container.current = waiting(reason, message, now.uptime.plus_ms(delay_ms));
            container.last = Some(run);
        } else {
            container.current = Current::Terminated { run };
        }
        self.actions.push(Action::RemoveContainer { id });
        if again && failed {
            self.count_failed_run();
        }
        if backing_off {
            let message = format!("Back-off restarting failed container {name} in pod {pod}");
            self.warn("BackOff", message, None, Some(name));
        }
    }

    pub(super) fn stop(&mut self, grace_seconds: Option<u64>) {
        let now = self.now.uptime;
        let grace = grace_seconds.unwrap_or(self.state.rules.grace_seconds);
        let kill_at = now.plus_ms(grace.saturating_mul(1000));
        self.state.goal = match self.state.goal {
            // A second request can shorten the first one's grace, never lengthen it.
            Goal::Stop { kill_at: before } => Goal::Stop { kill_at: before.min(kill_at) },
            Goal::Run => Goal::Stop { kill_at },
        };
        for container in &mut self.state.containers {
            let Current::Running { ending: Some(ending), .. } = &mut container.current else { continue };
            ending.kill_at = ending.kill_at.min(kill_at);
            if grace == 0 && ending.step < EndStep::Told {
                // No time for what comes before the stop signal, nor for that.
                ending.step = EndStep::Told;
            }
        }
    }

    /// Ends a pod that has been there for longer than it may (`activeDeadlineHandler` of the kubelet).
    pub(super) fn end_overdue(&mut self) {
        if self.state.overdue_at().is_none_or(|at| at > self.now.uptime) {
            return;
        }
        let of_job = self.state.job_overdue_at().is_some_and(|at| at <= self.now.uptime);
        let message = match of_job {
            true => "Job was active longer than specified deadline",
            false => "Pod was active on the node longer than the specified deadline",
        };
        self.note(DEADLINE_EXCEEDED, message.to_owned(), None);
        let verdict = Verdict { reason: DEADLINE_EXCEEDED.to_owned(), message: message.to_owned() };
        self.condemn(verdict, None);
    }

    /// Ends a pod that uses more of the disk than it may.
    pub(super) fn evict(&mut self, message: String) {
        if self.state.goal != Goal::Run || matches!(self.state.stage, Stage::New | Stage::Done) {
            return;
        }
        self.warn(EVICTED, message.clone(), None, None);
        let verdict = Verdict { reason: EVICTED.to_owned(), message };
        self.condemn(verdict, Some(EVICTION_GRACE_SECONDS));
    }

    pub(super) fn condemn(&mut self, verdict: Verdict, grace_seconds: Option<u64>) {
        self.state.verdict = Some(verdict);
        self.stop(grace_seconds);
    }

    /// A pod that has nothing more to do but of which something still runs: its sidecars go.
    pub(super) fn wind_down(&mut self) {
        let waits_or_runs = self.state.containers.iter().any(|c| !c.ended());
        if self.state.stage == Stage::Containers && self.state.is_over() && waits_or_runs {
            self.stop(None);
        }
    }

    pub(super) fn sandbox_stopped(&mut self) {
        self.state.sandbox_ready = false;
        self.state.pod_ips.clear();
        if self.state.stage == Stage::Ending {
            self.state.stage = Stage::Done;
            self.try_again();
        }
    }

    /// Goes on with all that is to end.
    pub(super) fn end_on(&mut self) {
        if matches!(self.state.stage, Stage::New | Stage::Ending | Stage::Done) {
            return;
        }
        if let Goal::Stop { kill_at } = self.state.goal {
            self.let_all_end(kill_at);
        }
        for index in 0..self.state.containers.len() {
            self.end_one_on(index);
        }
    }

    fn let_all_end(&mut self, kill_at: Uptime) {
        let initialized = self.state.is_initialized();
        let now = self.now.wall;
        let mut told = Vec::new();
        for container in &mut self.state.containers {
            let in_this_life = container.back_off.delay_ms > 0;
            match &mut container.current {
                Current::Running { ending: Some(_), .. } => {}
                Current::Running { ending, .. } => {
                    *ending = Some(Ending { kill_at, step: EndStep::Decided });
                    told.push(container.name.clone());
                }
                // What never could begin still waits, as the kubelet leaves it.
                Current::Waiting { .. }
                    if !in_this_life && (!initialized || container.kind != Kind::Main) => {}
                Current::Waiting { .. } => {
                    let run = container.last.take().unwrap_or_else(|| Terminated::never_ran(now));
                    container.current = Current::Terminated { run };
                }
                // The answer to the order to start it is still to come.
                Current::Starting { .. } | Current::Terminated { .. } => {}
            }
        }
        for name in told {
            self.note("Killing", format!("Stopping container {name}"), Some(&name));
        }
    }

    /// Lets one container end that is not what it should be, within the seconds given or the pod's.
    pub(super) fn let_end(&mut self, name: &str, grace_seconds: Option<u64>, message: String) {
        let grace = grace_seconds.unwrap_or(self.state.rules.grace_seconds);
        let kill_at = self.now.uptime.plus_ms(grace.saturating_mul(1000));
        let Some(container) = self.container(name) else { return };
        let Current::Running { ending: ending @ None, .. } = &mut container.current else { return };
        *ending = Some(Ending { kill_at, step: EndStep::Decided });
        self.note("Killing", message, Some(name));
    }

    /// The steps of [`EndStep`], as far as they can be done now.
    fn end_one_on(&mut self, index: usize) {
        let now = self.now.uptime;
        let has_turn = self.state.has_turn(index);
        let Some(container) = self.state.containers.get_mut(index) else { return };
        let name = container.name.clone();
        let pre_stop = self.state.rules.container(&name).is_some_and(|c| c.pre_stop);
        let Current::Running { ending: Some(ending), .. } = &mut container.current else { return };
        let time_is_up = now >= ending.kill_at;
        let before = ending.step;
        ending.step = match before {
            EndStep::Decided if time_is_up => EndStep::Told,
            EndStep::Decided if pre_stop => EndStep::PreStop,
            EndStep::Decided => EndStep::Turn,
            EndStep::PreStop if time_is_up => EndStep::Turn,
            step => step,
        };
        if ending.step == EndStep::Turn && (has_turn || time_is_up) {
            ending.step = EndStep::Told;
            if before != EndStep::Decided {
                ending.kill_at = ending.kill_at.max(now.plus_ms(LEAST_GRACE_MS));
            }
            self.actions.push(Action::Signal { name, kill: false });
        } else if ending.step == EndStep::Told && time_is_up {
            ending.step = EndStep::Killed;
            self.actions.push(Action::Signal { name, kill: true });
        }
    }
}
