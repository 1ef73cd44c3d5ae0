//! Lifecycle hooks: postStart, which a container is not up before it is done, and preStop, before its stop signal
//! (`pkg/kubelet/kuberuntime/kuberuntime_container.go`).

use super::rules::HookKind;
use super::state::{Current, EndStep};
use super::{Action, Life};

impl Life {
    /// Orders the hooks that are to run and were not ordered: those too that an earlier supervisor had begun, since
    /// nobody knows how they ended.
    pub(super) fn order_hooks(&mut self) {
        for container in &mut self.state.containers {
            let Current::Running { ending, .. } = container.current else { continue };
            let wanted = match ending.map(|ending| ending.step) {
                Some(EndStep::PreStop) => Some(HookKind::PreStop),
                None if container.post_start_pending => Some(HookKind::PostStart),
                _ => None,
            };
            if let Some(hook) = wanted.filter(|hook| container.hook_ordered != Some(*hook)) {
                container.hook_ordered = Some(hook);
                let (name, attempt) = (container.name.clone(), container.made);
                self.actions.push(Action::RunHook { name, attempt, hook });
            }
        }
    }

    pub(super) fn hook_done(&mut self, name: &str, attempt: u32, hook: HookKind, failure: Option<String>) {
        let Some(container) = self.container(name) else { return };
        let Current::Running { ending, .. } = &mut container.current else { return };
        if container.made != attempt {
            return;
        }
        match hook {
            HookKind::PreStop => {
                if let Some(ending) = ending.as_mut().filter(|ending| ending.step == EndStep::PreStop) {
                    ending.step = EndStep::Turn;
                }
                if failure.is_some() {
                    self.warn("FailedPreStopHook", "PreStopHook failed".into(), failure, Some(name));
                }
            }
            HookKind::PostStart => {
                container.post_start_pending = false;
                match failure {
                    None => self.is_up(name),
                    Some(_) => {
                        self.warn("FailedPostStartHook", "PostStartHook failed".into(), failure, Some(name));
                        self.let_end(name, None, "FailedPostStartHook".into());
                    }
                }
            }
        }
    }

    /// A container runs and its postStart hook is done.
    pub(super) fn is_up(&mut self, name: &str) {
        let rules = self.state.rules.container(name).cloned().unwrap_or_default();
        let Some(container) = self.container(name) else { return };
        container.started = rules.startup.is_none();
        container.ready = container.started && rules.readiness.is_none();
        container.was_started |= container.started;
    }
}
