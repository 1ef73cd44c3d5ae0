//! A pod's life as a pure state machine: [`step`] takes a state, an event and the time at which it came, and
//! gives the next state and what to do. It reads no clock and touches nothing; the supervisor does the actions
//! in order and feeds their results back as events, so that every way a pod can go is a table in a test.
//!
//! `state` is what is known and kept, `rules` what of the spec it goes by; `order` says who may begin and who may end,
//! `begins` and `ends` do that, with `hooks` and `probes` between; `phase` sums up, `events` tells.
//!
//! Restarts follow the kubelet (`pkg/kubelet/kuberuntime`, `client-go/util/flowcontrol/backoff.go`): the first
//! restart comes at once, the next ones 10 s, 20 s, … 5 min after the exit, and a container that ran for more
//! than ten minutes starts from the beginning.

mod back_off;
mod begins;
mod ends;
mod events;
mod hooks;
mod job;
mod order;
mod phase;
mod probes;
mod rules;
mod state;

pub use back_off::BackOff;
pub(crate) use events::SCHEDULED;
pub use events::{LIMITED, PodEvent, VOLUME_WARNING};
pub use job::JobState;
pub(crate) use job::takes_turns;
pub(crate) use phase::DISRUPTION_TARGET;
pub use phase::Phase;
pub use probes::Outcome;
pub use rules::{ContainerRules, HookKind, Kind, ProbeKind, ProbeRules, RestartPolicy, RestartRule, Rules};
pub use state::{
    Condition, ContainerState, Current, EndStep, Ending, Goal, PodState, Stage, Terminated, Verdict,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Milliseconds since boot, suspended time included (`CLOCK_BOOTTIME`): what delays are measured with, so that a
/// clock that is set cannot shorten a grace period or stop a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Uptime(pub u64);

impl Uptime {
    fn plus_ms(self, ms: u64) -> Uptime {
        Uptime(self.0.saturating_add(ms))
    }
}

/// When an event came, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// For what is shown.
    pub wall: Timestamp,
    /// For what is waited for.
    pub uptime: Uptime,
}

/// Why a container was not made; the names are the kubelet's waiting reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NotCreated {
    /// The image is absent and `imagePullPolicy: Never` forbids to fetch it.
    ErrImageNeverPull,
    /// The image is absent and could not be fetched.
    ErrImagePull,
    /// The image's name does not parse.
    InvalidImageName,
    /// The configuration cannot be made: a missing Secret, a subPath that leads out of its volume.
    CreateContainerConfigError,
    /// The runtime refused to make it.
    CreateContainerError,
}

impl NotCreated {
    /// The waiting reason.
    pub fn reason(self) -> &'static str {
        match self {
            NotCreated::ErrImageNeverPull => "ErrImageNeverPull",
            NotCreated::ErrImagePull => "ErrImagePull",
            NotCreated::InvalidImageName => "InvalidImageName",
            NotCreated::CreateContainerConfigError => "CreateContainerConfigError",
            NotCreated::CreateContainerError => "CreateContainerError",
        }
    }
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exit {
    /// 0 to 255; 128 + signal where a signal ended it.
    pub code: i32,
    /// The kernel killed it for memory.
    pub oom_killed: bool,
    /// What it left at `terminationMessagePath`.
    pub message: Option<String>,
    /// The exit was not seen (nobody watched when it ended): the code is made up, and the reason says so.
    pub unknown: bool,
}

impl Exit {
    /// The kubelet's answer for a container of which nobody knows how it ended.
    pub fn unseen() -> Exit {
        let message = "The container could not be located when the pod was terminated".to_owned();
        Exit { code: 137, oom_killed: false, message: Some(message), unknown: true }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Start the pod, or start it again after it was done.
    Begin,
    /// The volumes are there.
    VolumesReady,
    /// They are not, in the kubelet's words.
    VolumesFailed {
        /// The message of the FailedMount event.
        message: String,
        /// What the user can do about it.
        hint: Option<String>,
    },
    /// The pod has addresses that others reach it at.
    NetworkUp {
        /// The first is its `podIP`.
        ips: Vec<String>,
    },
    /// The sandbox runs.
    SandboxReady,
    /// It does not.
    SandboxFailed {
        /// Why.
        message: String,
        /// What the user can do about it.
        hint: Option<String>,
    },
    /// A container runs.
    ContainerStarted {
        /// Which.
        name: String,
        /// Its id.
        id: String,
        /// The image as the store knows it.
        image: String,
        /// The image's digest.
        image_id: String,
    },
    /// A container could not be made; there is nothing of it.
    ContainerNotCreated {
        /// Which.
        name: String,
        /// What kind of failure.
        why: NotCreated,
        /// Its text.
        message: String,
        /// What the user can do about it.
        hint: Option<String>,
    },
    /// A container was made but its program could not be executed.
    ContainerNotStarted {
        /// Which.
        name: String,
        /// Its id.
        id: String,
        /// The image as the store knows it.
        image: String,
        /// The image's digest.
        image_id: String,
        /// 126, 127 or 128.
        code: i32,
        /// The runtime's text.
        message: String,
        /// What the user can do about it.
        hint: Option<String>,
    },
    /// A container ended.
    ContainerExited {
        /// Which.
        name: String,
        /// How.
        exit: Exit,
    },
    /// A probe was made.
    Probed {
        /// Of which container.
        name: String,
        /// Of which of its runs: [`ContainerState::made`] when it was ordered.
        attempt: u32,
        /// Which.
        probe: ProbeKind,
        /// What it found.
        outcome: Outcome,
    },
    /// A hook has ended.
    HookDone {
        /// Of which container.
        name: String,
        /// Of which of its runs.
        attempt: u32,
        /// Which.
        hook: HookKind,
        /// Why it has failed, if it has.
        failure: Option<String>,
    },
    /// An ephemeral container was added to the spec.
    Added {
        /// Its rules.
        rules: Box<ContainerRules>,
    },
    /// Whether the pod of a Job may run now.
    Turn {
        /// Else it asks again.
        has_come: bool,
    },
    /// The other Pods of its Job have failed.
    OthersFailed {
        /// How often, all of them together.
        times: u32,
    },
    /// End the pod.
    Stop {
        /// Seconds until what still runs is killed; none takes the pod's own.
        grace_seconds: Option<u64>,
    },
    /// The pod uses more of the disk than it may, in the kubelet's words.
    Evict {
        /// What is too much.
        message: String,
    },
    /// The sandbox is gone.
    SandboxStopped,
    /// Something for the user to know that changes nothing.
    Warning {
        /// A word, as events have.
        reason: String,
        /// The text.
        message: String,
        /// What the user can do about it.
        hint: Option<String>,
    },
    /// Time has passed: see [`PodState::next_deadline`].
    Tick,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Ask whether the pod of a Job may run now; answered by `Turn`.
    AskForTurn,
    /// Make the volumes; answered by `VolumesReady` or `VolumesFailed`.
    SetUpVolumes,
    /// Run the sandbox; answered by `SandboxReady` or `SandboxFailed`.
    RunSandbox,
    /// Create and start a container; answered by `ContainerStarted`, `ContainerNotCreated` or `ContainerNotStarted`.
    StartContainer {
        /// Which.
        name: String,
        /// 0 for the first.
        attempt: u32,
    },
    /// Send the image's stop signal to a container, or kill it.
    Signal {
        /// Which.
        name: String,
        /// SIGKILL instead of the stop signal.
        kill: bool,
    },
    /// Make a probe; answered by `Probed`, or not where the container has ended meanwhile.
    Probe {
        /// Of which container.
        name: String,
        /// Of which of its runs.
        attempt: u32,
        /// Which.
        probe: ProbeKind,
    },
    /// Run a hook; answered by `HookDone`, or not where the container has ended meanwhile.
    RunHook {
        /// Of which container.
        name: String,
        /// Of which of its runs.
        attempt: u32,
        /// Which.
        hook: HookKind,
    },
    /// Remove what is left of an ended container.
    RemoveContainer {
        /// Its id.
        id: String,
    },
    /// Stop the sandbox; answered by `SandboxStopped`.
    StopSandbox,
}

/// One step of a pod's life.
pub fn step(state: PodState, event: Event, now: Now) -> (PodState, Vec<Action>) {
    let mut life = Life { state, now, actions: Vec::new() };
    life.take(event);
    life.go_on();
    life.update_conditions();
    (life.state, life.actions)
}

/// A step under way.
struct Life {
    state: PodState,
    now: Now,
    actions: Vec<Action>,
}

impl Life {
    fn take(&mut self, event: Event) {
        match event {
            Event::Begin => self.begin(),
            Event::VolumesReady => self.volumes_ready(),
            Event::VolumesFailed { message, hint } => self.set_up_failed("FailedMount", message, hint),
            Event::NetworkUp { ips } => self.state.pod_ips = ips,
            Event::SandboxReady => self.sandbox_ready(),
            Event::SandboxFailed { message, hint } => {
                self.set_up_failed("FailedCreatePodSandBox", message, hint)
            }
            Event::ContainerStarted { name, id, image, image_id } => self.started(&name, id, image, image_id),
            Event::ContainerNotCreated { name, why, message, hint } => {
                self.not_created(&name, why, message, hint)
            }
            Event::ContainerNotStarted { name, id, image, image_id, code, message, hint } => {
                self.made(&name, id, image, image_id);
                self.warn("Failed", format!("Error: {message}"), hint, Some(&name));
                let exit = Exit { code, message: Some(message), ..Exit::default() };
                self.ended(&name, exit, None, "StartError");
            }
            Event::ContainerExited { name, exit } => self.exited(&name, exit),
            Event::Probed { name, attempt, probe, outcome } => self.probed(&name, attempt, probe, outcome),
            Event::HookDone { name, attempt, hook, failure } => self.hook_done(&name, attempt, hook, failure),
            Event::Added { rules } => self.add(*rules),
            Event::Turn { has_come } => self.turn_told(has_come),
            Event::OthersFailed { times } => self.state.job.of_others = times,
            Event::Stop { grace_seconds } => {
                self.state.job.told_to_end = true;
                self.stop(grace_seconds);
            }
            Event::Evict { message } => self.evict(message),
            Event::SandboxStopped => self.sandbox_stopped(),
            Event::Warning { reason, message, hint } => self.warn(&reason, message, hint, None),
            Event::Tick => {}
        }
    }

    /// What follows from the state and the time alone.
    fn go_on(&mut self) {
        if self.state.goal == Goal::Run {
            self.end_overdue();
            self.end_failed_job();
            self.wind_down();
        }
        if self.state.goal == Goal::Run {
            self.resume_job();
            self.retry_set_up();
            self.start_due();
        }
        self.end_on();
        self.order_hooks();
        self.probe_due();
        let waits = self.state.goal == Goal::Run && matches!(self.state.stage, Stage::Again { .. });
        let at_work = !waits && !matches!(self.state.stage, Stage::New | Stage::Ending | Stage::Done);
        if at_work && self.state.containers.iter().all(|c| self.is_at_rest(c)) {
            self.state.stage = Stage::Ending;
            self.actions.push(Action::StopSandbox);
        }
    }

    /// Whether a container needs nothing more: it has ended, or it never began and the pod is to end.
    fn is_at_rest(&self, container: &ContainerState) -> bool {
        match container.current {
            Current::Terminated { .. } => true,
            Current::Waiting { .. } => self.state.goal != Goal::Run,
            Current::Starting { .. } | Current::Running { .. } => false,
        }
    }

    fn container(&mut self, name: &str) -> Option<&mut ContainerState> {
        self.state.containers.iter_mut().find(|c| c.name == name)
    }
}

#[cfg(test)]
mod tests;
