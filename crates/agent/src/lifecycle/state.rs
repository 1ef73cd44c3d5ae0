//! All that is known of a pod's life: what the state machine goes from and to, and what is on the disk.

use super::back_off::BackOff;
use super::events::PodEvent;
use super::job::JobState;
use super::probes::Probing;
use super::rules::{HookKind, Kind, Rules};
use super::{Exit, Uptime};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

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

impl Terminated {
    /// What stands for the run of a container that was stopped before it had one.
    pub(super) fn never_ran(now: Timestamp) -> Terminated {
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
        /// That it is to end, and how far that is.
        #[serde(default)]
        ending: Option<Ending>,
    },
    /// Ended for good.
    Terminated {
        /// How.
        run: Terminated,
    },
}

/// A running container that is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ending {
    /// When it is killed if it still runs.
    pub kill_at: Uptime,
    /// How far it is.
    pub step: EndStep,
}

/// The steps to a container's end (`killContainer()` of the kubelet).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EndStep {
    /// Nothing was done yet.
    Decided,
    /// Its preStop hook runs.
    PreStop,
    /// It waits for those that must end before it.
    Turn,
    /// The stop signal was sent.
    Told,
    /// SIGKILL was sent.
    Killed,
}

pub(super) fn waiting(reason: &str, message: Option<String>, start_at: Uptime) -> Current {
    Current::Waiting { reason: reason.to_owned(), message, start_at }
}

/// Version 1 of the status file knew no probes: what runs is up.
fn yes() -> bool {
    true
}

/// A container of the pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerState {
    /// Its name.
    pub name: String,
    /// What it is to the pod.
    #[serde(default)]
    pub kind: Kind,
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
    /// Its postStart hook has not ended yet.
    #[serde(default)]
    pub post_start_pending: bool,
    /// While it runs: whether its postStart hook and its startup probe have succeeded.
    #[serde(default = "yes")]
    pub started: bool,
    /// While it runs: what its readiness probe says.
    #[serde(default = "yes")]
    pub ready: bool,
    /// How its probes stand.
    #[serde(skip)]
    pub probing: Probing,
    /// The hook that was ordered last, by this supervisor.
    #[serde(skip)]
    pub hook_ordered: Option<HookKind>,
    /// Whether it was up once in this life of the pod: a sidecar whose successors may begin.
    #[serde(default)]
    pub was_started: bool,
    /// Restarts.
    pub back_off: BackOff,
    /// Tries to make it that came to nothing.
    pub create_back_off: BackOff,
}

impl ContainerState {
    pub(super) fn new(name: &str, kind: Kind, reason: &str) -> ContainerState {
        ContainerState {
            name: name.to_owned(),
            kind,
            made: 0,
            id: String::new(),
            image: String::new(),
            image_id: String::new(),
            current: waiting(reason, None, Uptime(0)),
            last: None,
            post_start_pending: false,
            started: false,
            ready: false,
            probing: Probing::default(),
            hook_ordered: None,
            was_started: false,
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

    /// `started` of its status: it runs, and all that comes before its use is done.
    pub fn is_started(&self) -> bool {
        self.running() && self.started
    }

    /// `ready` of its status; of an init container: that it has done its work.
    pub fn is_ready(&self) -> bool {
        match self.kind {
            Kind::Init => self.succeeded(),
            Kind::Sidecar | Kind::Main => self.is_started() && self.ready,
            Kind::Ephemeral => false,
        }
    }

    /// Whether it has ended for good.
    pub fn ended(&self) -> bool {
        matches!(self.current, Current::Terminated { .. })
    }

    /// Whether it has ended for good, and well.
    pub fn succeeded(&self) -> bool {
        matches!(&self.current, Current::Terminated { run } if run.exit_code == 0)
    }

    /// Whether there is or may be a process of it.
    pub(super) fn alive(&self) -> bool {
        matches!(self.current, Current::Running { .. } | Current::Starting { .. })
    }
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
    /// Of a Job whose other Pods run: it waits for its turn.
    #[serde(rename_all = "camelCase")]
    Queued {
        /// When it asks next; none while it does.
        ask_at: Option<Uptime>,
    },
    /// Of a Job, and has failed: nothing of it runs until the next try.
    #[serde(rename_all = "camelCase")]
    Again {
        /// When that is.
        retry_at: Uptime,
    },
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

/// Why a node ended a pod that would have gone on: it has failed, whatever its containers' exit codes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// `status.reason`
    pub reason: String,
    /// `status.message`
    pub message: String,
}

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
    /// The same, for what is waited for.
    #[serde(default)]
    pub begun: Option<Uptime>,
    /// How it stands as one of a Job.
    #[serde(default)]
    pub job: JobState,
    /// Why it was ended by the node, if it was.
    #[serde(default)]
    pub verdict: Option<Verdict>,
    /// Whether the sandbox runs.
    pub sandbox_ready: bool,
    /// The pod's addresses, while it has a network of its own that has any; the first is its `podIP`.
    #[serde(default)]
    pub pod_ips: Vec<String>,
    /// Whether all init containers have done their work, and sidecars are up.
    #[serde(default)]
    pub initialized: bool,
    /// Init containers, then main ones, each in the spec's order.
    pub containers: Vec<ContainerState>,
    /// In the API's order.
    pub conditions: Vec<Condition>,
    /// Oldest first, by when they came last.
    pub events: Vec<PodEvent>,
    /// How many different events there were so far.
    #[serde(default)]
    pub events_so_far: u64,
}

impl PodState {
    /// A pod of which nothing was done yet.
    pub fn new(rules: Rules) -> PodState {
        let reason = rules.reason_before_start();
        let container = |c: &super::ContainerRules| ContainerState::new(&c.name, c.kind, reason);
        PodState {
            containers: rules.containers.iter().map(container).collect(),
            rules,
            goal: Goal::Run,
            stage: Stage::New,
            started_at: None,
            begun: None,
            job: JobState::default(),
            verdict: None,
            sandbox_ready: false,
            pod_ips: Vec::new(),
            initialized: false,
            conditions: Vec::new(),
            events: Vec::new(),
            events_so_far: 0,
        }
    }

    /// The same life by rules that were read anew: what they have more has not begun.
    pub fn by_rules(mut self, rules: Rules) -> PodState {
        for container in &rules.containers {
            if self.container(&container.name).is_none() {
                let state = ContainerState::new(&container.name, container.kind, "ContainerCreating");
                self.containers.push(state);
            }
        }
        PodState { rules, ..self }
    }

    /// A container by name.
    pub fn container(&self, name: &str) -> Option<&ContainerState> {
        self.containers.iter().find(|c| c.name == name)
    }

    /// Those of `spec.containers`.
    pub fn mains(&self) -> impl Iterator<Item = &ContainerState> {
        self.containers.iter().filter(|c| c.kind == Kind::Main)
    }

    /// Whether the main containers may run: at once in a pod without init containers.
    pub fn is_initialized(&self) -> bool {
        self.initialized || !self.containers.iter().any(|c| c.kind.is_init())
    }

    /// Whether nothing of the pod runs and nothing more will.
    pub fn done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// The exit code of a `run` in the foreground: the first container's that is not zero, in the spec's order. A
    /// sidecar's does not count: it is ended when the others have. Nor does an ephemeral container's.
    pub fn exit_code(&self) -> i32 {
        let counted = self.containers.iter().filter(|c| matches!(c.kind, Kind::Init | Kind::Main));
        let codes = counted.filter_map(|c| match &c.current {
            Current::Terminated { run } => Some(run.exit_code),
            _ => c.last.as_ref().map(|run| run.exit_code),
        });
        codes.into_iter().find(|code| *code != 0).unwrap_or(0)
    }
}
