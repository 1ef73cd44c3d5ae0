//! A pod's way from nothing to containers that run.

use super::events::SCHEDULED;
use super::job::JobState;
use super::probes::Probing;
use super::rules::Kind;
use super::state::{ContainerState, Current, Goal, Stage, waiting};
use super::{Action, BackOff, Exit, Life, NotCreated};

/// The kubelet's delays between tries of volumes: half a second, doubling to about two minutes.
const FIRST_RETRY_MS: u64 = 500;
const LONGEST_RETRY_MS: u64 = 122_000;

impl Life {
    pub(super) fn begin(&mut self) {
        if !matches!(self.state.stage, Stage::New | Stage::Done) {
            return;
        }
        self.state.goal = Goal::Run;
        self.state.started_at = Some(self.now.wall);
        self.state.pod_ips.clear();
        self.state.job = JobState { begun: Some(self.now.uptime), ..JobState::default() };
        self.reset_containers();
        if !self.queue() {
            self.set_up();
        }
        let rules = &self.state.rules;
        let place = format!("{}/{} to {}", rules.pod_namespace, rules.pod_name, rules.node);
        self.note(SCHEDULED, format!("Successfully assigned {place}"), None);
    }

    /// The way to containers that run begins here.
    pub(super) fn set_up(&mut self) {
        self.state.begun = Some(self.now.uptime);
        self.state.stage = Stage::Volumes { retry_at: None, delay_ms: FIRST_RETRY_MS };
        self.actions.push(Action::SetUpVolumes);
    }

    /// No container has begun, as far as this life of the pod goes.
    pub(super) fn reset_containers(&mut self) {
        self.state.verdict = None;
        self.state.initialized = false;
        let reason = self.state.rules.reason_before_start();
        let ran_once = |c: &&mut ContainerState| c.kind == Kind::Ephemeral && c.made > 0;
        for container in self.state.containers.iter_mut().filter(|c| !ran_once(c)) {
            if let Current::Terminated { run } = &container.current {
                container.last = Some(run.clone());
            }
            container.current = waiting(reason, None, self.now.uptime);
            container.was_started = false;
            container.back_off = BackOff::default();
            container.create_back_off = BackOff::default();
        }
    }

    /// Takes in a container that was added to the spec.
    pub(super) fn add(&mut self, rules: super::ContainerRules) {
        let mut all = self.state.rules.clone();
        all.containers.push(rules);
        self.state =
            std::mem::replace(&mut self.state, super::PodState::new(Default::default())).by_rules(all);
    }

    pub(super) fn volumes_ready(&mut self) {
        if let Stage::Volumes { .. } = self.state.stage {
            self.state.stage = Stage::Sandbox { retry_at: None, delay_ms: FIRST_RETRY_MS };
            self.actions.push(Action::RunSandbox);
        }
    }

    pub(super) fn sandbox_ready(&mut self) {
        if let Stage::Sandbox { .. } = self.state.stage {
            self.state.stage = Stage::Containers;
            self.state.sandbox_ready = true;
        }
    }

    pub(super) fn set_up_failed(&mut self, reason: &str, message: String, hint: Option<String>) {
        let now = self.now.uptime;
        if let Stage::Volumes { retry_at, delay_ms } | Stage::Sandbox { retry_at, delay_ms } =
            &mut self.state.stage
        {
            *retry_at = Some(now.plus_ms(*delay_ms));
            *delay_ms = (*delay_ms * 2).min(LONGEST_RETRY_MS);
        }
        self.warn(reason, message, hint, None);
    }

    pub(super) fn retry_set_up(&mut self) {
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
            _ => {}
        }
    }

    /// Starts what waits, is allowed to begin and is due.
    pub(super) fn start_due(&mut self) {
        if self.state.stage != Stage::Containers {
            return;
        }
        self.state.initialized = self.state.init_is_over();
        let now = self.now.uptime;
        let allowed: Vec<usize> = self.state.allowed().collect();
        for index in allowed {
            let Some(container) = self.state.containers.get_mut(index) else { continue };
            let Current::Waiting { start_at, reason, message } = &container.current else { continue };
            if *start_at > now {
                continue;
            }
            container.current = Current::Starting { reason: reason.clone(), message: message.clone() };
            let (name, attempt) = (container.name.clone(), container.made);
            self.actions.push(Action::StartContainer { name, attempt });
        }
    }

    pub(super) fn made(&mut self, name: &str, id: String, image: String, image_id: String) {
        if let Some(container) = self.container(name) {
            container.id = id;
            container.image = image;
            container.image_id = image_id;
            container.made = container.made.saturating_add(1);
            container.create_back_off = BackOff::default();
        }
        let image = self.state.rules.container(name).map(|c| c.image.as_str()).unwrap_or_default();
        let pulled =
            format!("Container image {image:?} already present on machine and can be accessed by the pod");
        self.note("Pulled", pulled, Some(name));
        self.note("Created", "Container created".into(), Some(name));
    }

    pub(super) fn started(&mut self, name: &str, id: String, image: String, image_id: String) {
        let now = self.now;
        self.made(name, id, image, image_id);
        let post_start = self.state.rules.container(name).is_some_and(|c| c.post_start);
        if let Some(container) = self.container(name) {
            container.current = Current::Running { started_at: now.wall, since: now.uptime, ending: None };
            container.post_start_pending = post_start;
            (container.started, container.ready) = (false, false);
            container.probing = Probing::default();
            container.hook_ordered = None;
        }
        self.note("Started", "Container started".into(), Some(name));
        if !post_start {
            self.is_up(name);
        }
    }

    pub(super) fn not_created(&mut self, name: &str, why: NotCreated, message: String, hint: Option<String>) {
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

    pub(super) fn exited(&mut self, name: &str, exit: Exit) {
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

    /// What a pod is told to show while a container is to run again at once.
    pub(super) fn reason_while_created(&self, kind: Kind) -> &'static str {
        if kind.is_init() { "PodInitializing" } else { "ContainerCreating" }
    }
}
