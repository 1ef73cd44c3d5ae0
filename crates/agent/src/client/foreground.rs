//! `run` in the foreground: the logs of several pods as they come, until all have ended.

use super::watch::{Watch, wait_for};
use super::{Client, ClientError, PodRef, Progress, Result, StartFailure, progress, remarks};
use crate::lifecycle::PodEvent;
use crate::logs::{Follow, LogLine, LogSource};
use crate::status_file::StatusFile;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// How long to sleep at most: for logs that cannot wake us (no inotify), and a supervisor that is gone.
const PAUSE: Duration = Duration::from_millis(250);
const PAUSE_WITHOUT_WAKE: Duration = Duration::from_millis(50);

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForegroundEvent {
    /// A container wrote.
    Line {
        /// Index of the pod.
        pod: usize,
        /// The container.
        container: String,
        /// What. A part of a line has its rest in a later one of the same container and stream.
        line: LogLine,
    },
    /// A pod starts, but not quite as its manifest says: see [`remarks`].
    Remark {
        /// Index of the pod.
        pod: usize,
        /// What.
        event: PodEvent,
    },
    /// Something of a pod cannot be started. Told once a pod.
    NotStarted {
        /// Index of the pod.
        pod: usize,
        /// What, and why.
        failures: Vec<StartFailure>,
    },
    /// A pod has ended, and all its lines were given.
    Ended {
        /// Index of the pod.
        pod: usize,
        /// How.
        status: Box<StatusFile>,
    },
}

/// A pod in the foreground.
#[derive(Debug)]
struct Shown {
    watch: Watch,
    /// How many remarks were told.
    told_remarks: usize,
    told_failure: bool,
    told_end: bool,
}

/// Several pods in the foreground.
#[derive(Debug)]
pub struct Foreground {
    pods: Vec<Shown>,
    logs: Follow,
    /// Pod and container of each source of the logs.
    sources: Vec<(usize, String)>,
}

impl Client {
    /// Brings pods that were started to the foreground.
    ///
    /// # Errors
    /// A pod is not there, or its supervisor cannot be talked to.
    pub fn foreground(&self, pods: &[PodRef]) -> Result<Foreground> {
        let shown = |pod: &PodRef| {
            Ok(Shown { watch: self.watch(pod)?, told_remarks: 0, told_failure: false, told_end: false })
        };
        let pods: Vec<Shown> = pods.iter().map(shown).collect::<Result<_>>()?;
        let (mut sources, mut from) = (Vec::new(), Vec::new());
        for (index, pod) in pods.iter().enumerate() {
            for container in &pod.watch.latest().state.containers {
                sources.push((index, container.name.clone()));
                from.push(LogSource {
                    uid: pod.watch.pod().uid.clone(),
                    container: container.name.clone(),
                    attempt: container.restart_count(),
                });
            }
        }
        Ok(Foreground { pods, logs: Follow::new(&self.root, from), sources })
    }
}

impl Foreground {
    /// Whether all pods have ended and all was told.
    pub fn over(&self) -> bool {
        self.pods.iter().all(|pod| pod.told_end)
    }

    /// The status of a pod, as last seen.
    pub fn status(&self, pod: usize) -> Option<&StatusFile> {
        self.pods.get(pod).map(|pod| pod.watch.latest())
    }

    /// The exit code for a command: of the first container of the first pod that did not end with 0.
    pub fn exit_code(&self) -> i32 {
        let codes = self.pods.iter().map(|pod| pod.watch.latest().state.exit_code());
        codes.into_iter().find(|code| *code != 0).unwrap_or(0)
    }

    /// Waits a little for something to happen. `also` is watched too (a command's signals): whether it can be read.
    ///
    /// # Errors
    /// poll(2) fails.
    pub fn wait(&self, also: Option<BorrowedFd<'_>>) -> Result<bool> {
        let mut fds: Vec<BorrowedFd<'_>> = also.into_iter().collect();
        fds.extend(self.logs.wake_fd());
        fds.extend(self.pods.iter().filter_map(|pod| pod.watch.wake_fd()));
        let pause = if self.logs.wake_fd().is_some() { PAUSE } else { PAUSE_WITHOUT_WAKE };
        let ready = wait_for(&fds, pause).map_err(ClientError::Wait)?;
        Ok(also.is_some() && ready.first() == Some(&true))
    }

    /// What has happened since the last call, not waiting.
    ///
    /// # Errors
    /// A log or a status cannot be read.
    pub fn read(&mut self, client: &Client) -> Result<Vec<ForegroundEvent>> {
        let mut events = Vec::new();
        for (index, pod) in self.pods.iter_mut().enumerate() {
            pod.watch.read(client)?;
            for event in remarks(&pod.watch.latest().state).skip(pod.told_remarks).cloned() {
                pod.told_remarks += 1;
                events.push(ForegroundEvent::Remark { pod: index, event });
            }
            if let Progress::Failed(failures) = progress(&pod.watch.latest().state)
                && !pod.told_failure
            {
                pod.told_failure = true;
                events.push(ForegroundEvent::NotStarted { pod: index, failures });
            }
        }
        // After the status: when that says that a pod has ended, all its lines are in the files.
        let lines = self.logs.read().map_err(ClientError::Log)?;
        let silent =
            |pod: usize| !lines.iter().any(|l| self.sources.get(l.source).is_some_and(|s| s.0 == pod));
        let mut ended = Vec::new();
        for (index, pod) in self.pods.iter_mut().enumerate() {
            if pod.watch.latest().state.done() && !pod.told_end && silent(index) {
                pod.told_end = true;
                let status = Box::new(pod.watch.latest().clone());
                ended.push(ForegroundEvent::Ended { pod: index, status });
            }
        }
        for followed in lines {
            if let Some((pod, container)) = self.sources.get(followed.source).cloned() {
                events.push(ForegroundEvent::Line { pod, container, line: followed.line });
            }
        }
        events.extend(ended);
        Ok(events)
    }
}
