//! A pod's life as a pure state machine: [`step`] takes a state, an event and the time at which it came, and
//! gives the next state and what to do. It reads no clock and touches nothing; the supervisor does the actions
//! in order and feeds their results back as events, so that every way a pod can go is a table in a test.
//!
//! Restarts follow the kubelet (`pkg/kubelet/kuberuntime`, `client-go/util/flowcontrol/backoff.go`): the first
//! restart comes at once, the next ones 10 s, 20 s, … 5 min after the exit, and a container that ran for more
//! than ten minutes starts from the beginning.

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

/// `spec.restartPolicy`
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
    /// `spec.restartPolicy`
    pub restart_policy: RestartPolicy,
    /// `spec.terminationGracePeriodSeconds`
    pub grace_seconds: u64,
    /// The names of `spec.containers`, in order.
    pub containers: Vec<String>,
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
    /// End the pod.
    Stop {
        /// Seconds until what still runs is killed; none takes the pod's own.
        grace_seconds: Option<u64>,
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
    /// Remove what is left of an ended container.
    RemoveContainer {
        /// Its id.
        id: String,
    },
    /// Stop the sandbox; answered by `SandboxStopped`.
    StopSandbox,
}

/// An ended run of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Terminated {
    /// The container's id; empty where there was none.
    pub id: String,
    /// As [`Exit::code`].
    pub exit_code: i32,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`, `ContainerStatusUnknown`.
    pub reason: String,
    /// The termination message, or why it could not start.
    pub message: Option<String>,
    /// When it started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Timestamp,
}

/// What a container is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "is")]
pub enum Current {
    /// Not running, but meant to.
    #[serde(rename_all = "camelCase")]
    Waiting {
        /// The API's reason.
        reason: String,
        /// The API's message.
        message: Option<String>,
        /// Not before this time.
        start_at: Uptime,
    },
    /// `StartContainer` was ordered and not answered yet.
    Starting {
        /// The reason shown meanwhile.
        reason: String,
        /// The message shown meanwhile.
        message: Option<String>,
    },
    /// Running.
    #[serde(rename_all = "camelCase")]
    Running {
        /// Since when, for the user.
        started_at: Timestamp,
        /// Since when, for the back-off.
        since: Uptime,
        /// The stop signal was sent.
        stop_sent: bool,
        /// SIGKILL was sent.
        kill_sent: bool,
    },
    /// Ended for good.
    Terminated {
        /// How.
        run: Terminated,
    },
}

/// The delay before the next try, doubling from 10 s to 5 min.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackOff {
    /// Milliseconds before the next try; 0 before the first.
    pub delay_ms: u64,
    /// When the last try is or was due.
    pub tried_at: Uptime,
}

impl BackOff {
    const FIRST_MS: u64 = 10_000;
    const LONGEST_MS: u64 = 300_000;
    /// Twice the longest delay: a run that lasts longer starts the count again.
    const FORGOTTEN_AFTER_MS: u64 = 600_000;

    /// The delay after a run that ended at `ended`, in milliseconds.
    fn delay_after(&mut self, ended: Uptime) -> u64 {
        if ended.0.saturating_sub(self.tried_at.0) > Self::FORGOTTEN_AFTER_MS {
            *self = BackOff::default();
        }
        self.delay_ms
    }

    /// Counts a try.
    fn tried(&mut self, at: Uptime) {
        self.delay_ms = (self.delay_ms * 2).clamp(Self::FIRST_MS, Self::LONGEST_MS);
        self.tried_at = at;
    }
}

/// A container of the pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerState {
    /// Its name.
    pub name: String,
    /// How many containers were made under this name: the next one's attempt number.
    pub made: u32,
    /// The id of the newest; empty before the first.
    pub id: String,
    /// The newest one's image as the store knows it.
    pub image: String,
    /// The newest one's image digest.
    pub image_id: String,
    /// Now.
    pub current: Current,
    /// The run before.
    pub last: Option<Terminated>,
    /// Restarts.
    pub back_off: BackOff,
    /// Tries to make it that came to nothing.
    pub create_back_off: BackOff,
}

impl ContainerState {
    fn new(name: &str) -> ContainerState {
        ContainerState {
            name: name.to_owned(),
            made: 0,
            id: String::new(),
            image: String::new(),
            image_id: String::new(),
            current: waiting("ContainerCreating", None, Uptime(0)),
            last: None,
            back_off: BackOff::default(),
            create_back_off: BackOff::default(),
        }
    }

    /// `restartCount`
    pub fn restart_count(&self) -> u32 {
        self.made.saturating_sub(1)
    }

    /// Whether it runs.
    pub fn running(&self) -> bool {
        matches!(self.current, Current::Running { .. })
    }

    fn ended(&self) -> bool {
        matches!(self.current, Current::Terminated { .. })
    }
}

fn waiting(reason: &str, message: Option<String>, start_at: Uptime) -> Current {
    Current::Waiting { reason: reason.to_owned(), message, start_at }
}

/// What is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "want")]
pub enum Goal {
    /// That it runs.
    Run,
    /// That it ends.
    #[serde(rename_all = "camelCase")]
    Stop {
        /// When what still runs is killed.
        kill_at: Uptime,
    },
}

/// How far the pod is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "at")]
pub enum Stage {
    /// Nothing was done yet.
    New,
    /// The volumes are being made; with a time: the last try failed and this is when the next one comes.
    #[serde(rename_all = "camelCase")]
    Volumes {
        /// None while a try goes on.
        retry_at: Option<Uptime>,
        /// The delay before the retry after this one.
        delay_ms: u64,
    },
    /// The sandbox is being run; as for the volumes.
    #[serde(rename_all = "camelCase")]
    Sandbox {
        /// None while a try goes on.
        retry_at: Option<Uptime>,
        /// The delay before the retry after this one.
        delay_ms: u64,
    },
    /// The containers run, wait or end.
    Containers,
    /// All have ended and the sandbox goes.
    Ending,
    /// Nothing of the pod runs.
    Done,
}

/// The kubelet's delays between tries of volumes: half a second, doubling to about two minutes.
const FIRST_RETRY_MS: u64 = 500;
const LONGEST_RETRY_MS: u64 = 122_000;

/// The reason of a warning: a volume is not quite what its author may think. A hostPath that was missing, say, is a
/// directory now.
pub const VOLUME_WARNING: &str = "VolumeWarning";
/// The reason of a warning: this machine allows a container less than it asks for.
pub const LIMITED: &str = "Limited";

/// Something that happened, for the user (`Event` of the API).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodEvent {
    /// A warning, or normal.
    pub warning: bool,
    /// A word.
    pub reason: String,
    /// A sentence.
    pub message: String,
    /// What the user can do about it.
    pub hint: Option<String>,
    /// The container that it is about.
    pub container: Option<String>,
    /// When it came first.
    pub first: Timestamp,
    /// When it came last.
    pub last: Timestamp,
    /// How often it came.
    pub count: u32,
}

impl PodEvent {
    fn new(
        warning: bool,
        reason: &str,
        message: String,
        hint: Option<String>,
        container: Option<&str>,
        now: Timestamp,
    ) -> PodEvent {
        let (reason, container) = (reason.to_owned(), container.map(str::to_owned));
        PodEvent { warning, reason, message, hint, container, first: now, last: now, count: 1 }
    }
}

/// How many different events are kept; the oldest go.
const MAX_EVENTS: usize = 64;

/// One condition of the pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// The API's type.
    pub kind: String,
    /// Whether it holds.
    pub holds: bool,
    /// Since when it does or does not.
    pub since: Timestamp,
}

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

/// All that is known of a pod's life. Written to `status.json` after every step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodState {
    /// From the spec.
    pub rules: Rules,
    /// Wanted.
    pub goal: Goal,
    /// Reached.
    pub stage: Stage,
    /// When the pod was begun (the last time).
    pub started_at: Option<Timestamp>,
    /// Whether the sandbox runs.
    pub sandbox_ready: bool,
    /// In the spec's order.
    pub containers: Vec<ContainerState>,
    /// In the API's order.
    pub conditions: Vec<Condition>,
    /// Oldest first.
    pub events: Vec<PodEvent>,
}

impl PodState {
    /// A pod of which nothing was done yet.
    pub fn new(rules: Rules) -> PodState {
        let containers = rules.containers.iter().map(|name| ContainerState::new(name)).collect();
        PodState {
            rules,
            goal: Goal::Run,
            stage: Stage::New,
            started_at: None,
            sandbox_ready: false,
            containers,
            conditions: Vec::new(),
            events: Vec::new(),
        }
    }

    /// When [`Event::Tick`] is due, if nothing else happens before.
    pub fn next_deadline(&self) -> Option<Uptime> {
        match (self.goal, self.stage) {
            (_, Stage::New | Stage::Ending | Stage::Done) => None,
            (Goal::Stop { kill_at }, _) => {
                let unkilled =
                    |c: &ContainerState| matches!(c.current, Current::Running { kill_sent: false, .. });
                self.containers.iter().any(unkilled).then_some(kill_at)
            }
            (Goal::Run, Stage::Volumes { retry_at, .. } | Stage::Sandbox { retry_at, .. }) => retry_at,
            (Goal::Run, Stage::Containers) => self
                .containers
                .iter()
                .filter_map(|c| match c.current {
                    Current::Waiting { start_at, .. } => Some(start_at),
                    _ => None,
                })
                .min(),
        }
    }

    /// `getPhase()` of the kubelet, for a pod without init containers.
    pub fn phase(&self) -> Phase {
        let exit_of = |c: &ContainerState| match (&c.current, &c.last) {
            (Current::Terminated { run }, _) => Some(run.exit_code),
            // A run of an earlier life (before `start`) does not count: then no restart was counted yet.
            (Current::Waiting { .. } | Current::Starting { .. }, Some(last)) if c.back_off.delay_ms > 0 => {
                Some(last.exit_code)
            }
            _ => None,
        };
        let running = self.containers.iter().filter(|c| c.running()).count();
        let exits: Vec<i32> = self.containers.iter().filter_map(exit_of).collect();
        let failed = exits.iter().any(|code| *code != 0);
        if running + exits.len() < self.containers.len() {
            return Phase::Pending;
        }
        if running > 0 {
            return Phase::Running;
        }
        let over =
            matches!(self.stage, Stage::Ending | Stage::Done) || matches!(self.goal, Goal::Stop { .. });
        match (over, failed, self.rules.restart_policy) {
            (true, true, _) => Phase::Failed,
            (true, false, _) => Phase::Succeeded,
            (false, _, RestartPolicy::Always) => Phase::Running,
            (false, false, _) => Phase::Succeeded,
            (false, true, RestartPolicy::Never) => Phase::Failed,
            (false, true, RestartPolicy::OnFailure) => Phase::Running,
        }
    }

    /// A container by name.
    pub fn container(&self, name: &str) -> Option<&ContainerState> {
        self.containers.iter().find(|c| c.name == name)
    }

    /// Whether nothing of the pod runs and nothing more will.
    pub fn done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// The exit code of a `run` in the foreground: the first container's that is not zero, in the spec's order.
    pub fn exit_code(&self) -> i32 {
        let codes = self.containers.iter().filter_map(|c| match &c.current {
            Current::Terminated { run } => Some(run.exit_code),
            _ => c.last.as_ref().map(|run| run.exit_code),
        });
        codes.into_iter().find(|code| *code != 0).unwrap_or(0)
    }
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
            Event::Stop { grace_seconds } => self.stop(grace_seconds),
            Event::SandboxStopped => self.sandbox_stopped(),
            Event::Warning { reason, message, hint } => self.warn(&reason, message, hint, None),
            Event::Tick => {}
        }
    }

    fn begin(&mut self) {
        if !matches!(self.state.stage, Stage::New | Stage::Done) {
            return;
        }
        self.state.goal = Goal::Run;
        self.state.started_at = Some(self.now.wall);
        self.state.stage = Stage::Volumes { retry_at: None, delay_ms: FIRST_RETRY_MS };
        for container in &mut self.state.containers {
            if let Current::Terminated { run } = &container.current {
                container.last = Some(run.clone());
            }
            container.current = waiting("ContainerCreating", None, self.now.uptime);
            container.back_off = BackOff::default();
            container.create_back_off = BackOff::default();
        }
        self.actions.push(Action::SetUpVolumes);
    }

    fn volumes_ready(&mut self) {
        if let Stage::Volumes { .. } = self.state.stage {
            self.state.stage = Stage::Sandbox { retry_at: None, delay_ms: FIRST_RETRY_MS };
            self.actions.push(Action::RunSandbox);
        }
    }

    fn sandbox_ready(&mut self) {
        if let Stage::Sandbox { .. } = self.state.stage {
            self.state.stage = Stage::Containers;
            self.state.sandbox_ready = true;
        }
    }

    fn set_up_failed(&mut self, reason: &str, message: String, hint: Option<String>) {
        let now = self.now.uptime;
        if let Stage::Volumes { retry_at, delay_ms } | Stage::Sandbox { retry_at, delay_ms } =
            &mut self.state.stage
        {
            *retry_at = Some(now.plus_ms(*delay_ms));
            *delay_ms = (*delay_ms * 2).min(LONGEST_RETRY_MS);
        }
        self.warn(reason, message, hint, None);
    }

    fn container(&mut self, name: &str) -> Option<&mut ContainerState> {
        self.state.containers.iter_mut().find(|c| c.name == name)
    }

    fn made(&mut self, name: &str, id: String, image: String, image_id: String) {
        if let Some(container) = self.container(name) {
            container.id = id;
            container.image = image;
            container.image_id = image_id;
            container.made = container.made.saturating_add(1);
            container.create_back_off = BackOff::default();
        }
        self.note("Created", "Container created".into(), Some(name));
    }

    fn started(&mut self, name: &str, id: String, image: String, image_id: String) {
        let now = self.now;
        self.made(name, id, image, image_id);
        if let Some(container) = self.container(name) {
            container.current = Current::Running {
                started_at: now.wall,
                since: now.uptime,
                stop_sent: false,
                kill_sent: false,
            };
        }
        self.note("Started", "Container started".into(), Some(name));
    }

    fn not_created(&mut self, name: &str, why: NotCreated, message: String, hint: Option<String>) {
        let now = self.now.uptime;
        let said = match why {
            NotCreated::ErrImageNeverPull => format!("Error: {}", why.reason()),
            _ => format!("Error: {message}"),
        };
        if let Some(container) = self.container(name) {
            container.create_back_off.tried(now);
            let start_at = now.plus_ms(container.create_back_off.delay_ms);
            container.current = waiting(why.reason(), Some(message), start_at);
        }
        self.warn("Failed", said, hint, Some(name));
    }

    fn exited(&mut self, name: &str, exit: Exit) {
        let started_at = match self.container(name).map(|c| &c.current) {
            Some(Current::Running { started_at, .. }) => *started_at,
            _ => return,
        };
        let reason = match &exit {
            Exit { unknown: true, .. } => "ContainerStatusUnknown",
            Exit { oom_killed: true, .. } => "OOMKilled",
            Exit { code: 0, .. } => "Completed",
            _ => "Error",
        };
        self.ended(name, exit, Some(started_at), reason);
    }

    /// A run is over: for good, or with a next one to come.
    fn ended(&mut self, name: &str, exit: Exit, started_at: Option<Timestamp>, reason: &str) {
        let (now, goal, policy) = (self.now, self.state.goal, self.state.rules.restart_policy);
        let rules = &self.state.rules;
        let pod = format!("{}_{}({})", rules.pod_name, rules.pod_namespace, rules.pod_uid);
        let Some(container) = self.container(name) else { return };
        let run = Terminated {
            id: container.id.clone(),
            exit_code: exit.code,
            reason: reason.to_owned(),
            message: exit.message,
            started_at,
            finished_at: now.wall,
        };
        let again = goal == Goal::Run
            && match policy {
                RestartPolicy::Always => true,
                RestartPolicy::OnFailure => run.exit_code != 0,
                RestartPolicy::Never => false,
            };
        let id = container.id.clone();
        let mut backing_off = false;
        if again {
            let delay_ms = container.back_off.delay_after(now.uptime);
            container.back_off.tried(now.uptime.plus_ms(delay_ms));
            backing_off = delay_ms > 0;
            // Why a program cannot be executed is worth more than that it is tried again.
            let (reason, message) = match (reason, delay_ms) {
                ("StartError", _) => ("RunContainerError", run.message.clone()),
                (_, 0) => ("ContainerCreating", None),
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
        if backing_off {
            let message = format!("Back-off restarting failed container {name} in pod {pod}");
            self.warn("BackOff", message, None, Some(name));
        }
    }

    fn stop(&mut self, grace_seconds: Option<u64>) {
        let now = self.now.uptime;
        let grace = grace_seconds.unwrap_or(self.state.rules.grace_seconds);
        let kill_at = now.plus_ms(grace.saturating_mul(1000));
        self.state.goal = match self.state.goal {
            // A second request can shorten the first one's grace, never lengthen it.
            Goal::Stop { kill_at: before } => Goal::Stop { kill_at: before.min(kill_at) },
            Goal::Run => Goal::Stop { kill_at },
        };
    }

    fn sandbox_stopped(&mut self) {
        self.state.sandbox_ready = false;
        if self.state.stage == Stage::Ending {
            self.state.stage = Stage::Done;
        }
    }

    /// What follows from the state and the time alone.
    fn go_on(&mut self) {
        match self.state.goal {
            Goal::Run => self.go_on_running(),
            Goal::Stop { kill_at } => self.go_on_stopping(kill_at),
        }
        let at_work = !matches!(self.state.stage, Stage::New | Stage::Ending | Stage::Done);
        if at_work && self.state.containers.iter().all(ContainerState::ended) {
            self.state.stage = Stage::Ending;
            self.actions.push(Action::StopSandbox);
        }
    }

    fn go_on_running(&mut self) {
        let now = self.now.uptime;
        match &mut self.state.stage {
            Stage::Volumes { retry_at, .. } if retry_at.is_some_and(|at| at <= now) => {
                *retry_at = None;
                self.actions.push(Action::SetUpVolumes);
            }
            Stage::Sandbox { retry_at, .. } if retry_at.is_some_and(|at| at <= now) => {
                *retry_at = None;
                self.actions.push(Action::RunSandbox);
            }
            Stage::Containers => self.start_due(),
            _ => {}
        }
    }

    fn start_due(&mut self) {
        let now = self.now.uptime;
        for container in &mut self.state.containers {
            let Current::Waiting { start_at, reason, message } = &container.current else { continue };
            if *start_at > now {
                continue;
            }
            container.current = Current::Starting { reason: reason.clone(), message: message.clone() };
            let (name, attempt) = (container.name.clone(), container.made);
            self.actions.push(Action::StartContainer { name, attempt });
        }
    }

    fn go_on_stopping(&mut self, kill_at: Uptime) {
        let now = self.now;
        if matches!(self.state.stage, Stage::New | Stage::Ending | Stage::Done) {
            return;
        }
        let mut told = Vec::new();
        for container in &mut self.state.containers {
            match &mut container.current {
                Current::Running { stop_sent, kill_sent, .. } => {
                    let kill = now.uptime >= kill_at;
                    let sent = if kill { &mut *kill_sent } else { &mut *stop_sent };
                    if !*sent {
                        *sent = true;
                        told.push(container.name.clone());
                        self.actions.push(Action::Signal { name: container.name.clone(), kill });
                    }
                }
                Current::Waiting { .. } => {
                    let run = container.last.take().unwrap_or_else(|| never_ran(now.wall));
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

    fn note(&mut self, reason: &str, message: String, container: Option<&str>) {
        self.record(PodEvent::new(false, reason, message, None, container, self.now.wall));
    }

    fn warn(&mut self, reason: &str, message: String, hint: Option<String>, container: Option<&str>) {
        self.record(PodEvent::new(true, reason, message, hint, container, self.now.wall));
    }

    /// Adds an event, or counts it if it came before.
    fn record(&mut self, event: PodEvent) {
        let events = &mut self.state.events;
        let is_same = |e: &PodEvent| {
            (&e.reason, &e.message, &e.container) == (&event.reason, &event.message, &event.container)
        };
        let event = match events.iter().position(is_same) {
            Some(at) => {
                let seen = events.remove(at);
                PodEvent { first: seen.first, count: seen.count.saturating_add(1), ..event }
            }
            None => event,
        };
        events.push(event);
        if events.len() > MAX_EVENTS {
            events.remove(0);
        }
    }

    fn update_conditions(&mut self) {
        let ready =
            !self.state.containers.is_empty() && self.state.containers.iter().all(ContainerState::running);
        let holds = [
            ("PodReadyToStartContainers", self.state.sandbox_ready),
            ("Initialized", self.state.started_at.is_some()),
            ("Ready", ready),
            ("ContainersReady", ready),
            ("PodScheduled", true),
        ];
        let now = self.now.wall;
        let before = std::mem::take(&mut self.state.conditions);
        self.state.conditions = holds
            .into_iter()
            .map(|(kind, holds)| {
                let kept = before.iter().find(|c| c.kind == kind && c.holds == holds);
                Condition { kind: kind.to_owned(), holds, since: kept.map_or(now, |c| c.since) }
            })
            .collect();
    }
}

/// What stands for the run of a container that was stopped before it had one.
fn never_ran(now: Timestamp) -> Terminated {
    let exit = Exit::unseen();
    Terminated {
        id: String::new(),
        exit_code: exit.code,
        reason: "ContainerStatusUnknown".into(),
        message: exit.message,
        started_at: None,
        finished_at: now,
    }
}

/// Seconds as Go prints a `time.Duration`: `10s`, `1m20s`, `5m0s`.
fn go_duration(seconds: u64) -> String {
    match (seconds / 60, seconds % 60) {
        (0, s) => format!("{s}s"),
        (m, s) => format!("{m}m{s}s"),
    }
}

#[cfg(test)]
#[path = "lifecycle_tests.rs"]
mod tests;
