//! Which run's log is meant by a container's name: the kubelet's rule (`validateContainerLogStatus`).

use super::{ClientError, PodView, Result};
use crate::lifecycle::{ContainerState, Current, PodState};
use crate::logs::LogSource;

impl PodView {
    /// The log of a container's run: the one that runs or ended last, or with `previous` the one before it. While a
    /// container waits to be started again, both are the run that has ended.
    ///
    /// # Errors
    /// There is no such container or no such run.
    pub fn log_source(&self, container: &str, previous: bool) -> Result<LogSource> {
        let state = self.state().container(container).ok_or_else(|| self.no_container(container))?;
        let attempt = match (&state.current, previous) {
            (Current::Waiting { .. } | Current::Starting { .. }, _) if state.last.is_some() => {
                state.restart_count()
            }
            (Current::Waiting { reason, .. } | Current::Starting { reason, .. }, false) => {
                return Err(ClientError::WaitingToStart {
                    pod: self.pod.key.clone(),
                    container: container.to_owned(),
                    reason: reason.clone(),
                });
            }
            (Current::Running { .. } | Current::Terminated { .. }, false) => state.restart_count(),
            (Current::Running { .. } | Current::Terminated { .. }, true)
                if state.last.is_some() && state.made > 1 =>
            {
                state.restart_count() - 1
            }
            (_, true) => {
                return Err(ClientError::NoPrevious {
                    pod: self.pod.key.clone(),
                    container: container.to_owned(),
                });
            }
        };
        Ok(LogSource { uid: self.pod.uid.clone(), container: container.to_owned(), attempt })
    }
}

/// Whether nothing more can come to a container's log: it has ended for good, or its pod has.
pub fn log_is_over(pod: &PodState, container: &str) -> bool {
    let ended = |state: &ContainerState| matches!(state.current, Current::Terminated { .. });
    pod.done() || pod.container(container).is_none_or(ended)
}
