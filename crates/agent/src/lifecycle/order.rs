//! Which container may begin, and which may be told to end, when (`computePodActions()`,
//! `computeInitContainerActions()` and `terminationOrdering` of the kubelet). Nothing here changes anything.

use super::rules::Kind;
use super::state::{ContainerState, Current, Goal, PodState, Stage};
use super::{EndStep, Uptime};

impl PodState {
    /// Whether every init container has done its work and every sidecar was up once.
    pub(super) fn init_is_over(&self) -> bool {
        self.is_initialized() || self.containers.iter().all(ContainerState::lets_others_begin)
    }

    /// The containers that the order allows to begin, if they wait: in a pod that is initialized all but init containers;
    /// before that those up to the first that has not done its work.
    pub(super) fn allowed(&self) -> impl Iterator<Item = usize> {
        let open = self.goal == Goal::Run && self.stage == Stage::Containers;
        let initialized = self.init_is_over();
        let mut reached = open;
        let allowed = move |(index, c): (usize, &ContainerState)| {
            let may = match initialized {
                true => open && c.kind != Kind::Init,
                false => reached || (open && c.kind == Kind::Ephemeral),
            };
            reached &= c.lets_others_begin();
            may.then_some(index)
        };
        self.containers.iter().enumerate().filter_map(allowed)
    }

    /// Whether the pod has nothing more to do by itself: its main containers have ended for good, or an init container
    /// has failed for good.
    pub(super) fn is_over(&self) -> bool {
        let failed = |c: &ContainerState| c.kind == Kind::Init && c.ended() && !c.succeeded();
        self.mains().all(ContainerState::ended) || self.containers.iter().any(failed)
    }

    /// Whether a container that is to end may be told so: main containers at once, sidecars after all that began later.
    pub(super) fn has_turn(&self, index: usize) -> bool {
        let Some(container) = self.containers.get(index) else { return true };
        container.kind != Kind::Sidecar || !self.containers.iter().skip(index + 1).any(ContainerState::alive)
    }

    /// When the pod has been there for as long as it may.
    pub(super) fn overdue_at(&self) -> Option<Uptime> {
        let at_work =
            self.goal == Goal::Run && !matches!(self.stage, Stage::New | Stage::Ending | Stage::Done);
        let waits = matches!(self.stage, Stage::Queued { .. } | Stage::Again { .. });
        let own = self.rules.active_deadline_seconds.filter(|_| !waits).zip(self.begun);
        let own = own.map(|(seconds, begun)| begun.plus_ms(seconds.saturating_mul(1000)));
        own.into_iter().chain(self.job_overdue_at()).min().filter(|_| at_work)
    }

    /// When [`super::Event::Tick`] is due, if nothing else happens before.
    pub fn next_deadline(&self) -> Option<Uptime> {
        let set_up = match (self.goal, self.stage) {
            (_, Stage::New | Stage::Ending | Stage::Done) => return None,
            (Goal::Run, Stage::Volumes { retry_at, .. } | Stage::Sandbox { retry_at, .. }) => retry_at,
            _ => None,
        };
        let start = self.allowed().filter_map(|index| match self.containers.get(index)?.current {
            Current::Waiting { start_at, .. } => Some(start_at),
            _ => None,
        });
        let end = self.containers.iter().filter_map(|c| match c.current {
            Current::Running { ending: Some(ending), .. } if ending.step != EndStep::Killed => {
                Some(ending.kill_at)
            }
            _ => None,
        });
        let set_up = set_up.into_iter().chain(self.job_due_at());
        set_up.chain(self.overdue_at()).chain(start).chain(end).chain(self.next_probe()).min()
    }
}

impl ContainerState {
    /// Whether those after it in `spec.initContainers` may begin. True of those that are not there.
    fn lets_others_begin(&self) -> bool {
        match self.kind {
            Kind::Init => self.succeeded(),
            Kind::Sidecar => self.was_started,
            Kind::Main | Kind::Ephemeral => true,
        }
    }
}
