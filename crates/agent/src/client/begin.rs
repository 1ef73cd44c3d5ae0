//! Creating and starting pods.

use super::watch::wait_for;
use super::{Client, ClientError, PodRef, Result};
use crate::clock::read_now;
use crate::lifecycle::{Current, LIMITED, PodEvent, PodState, Stage, VOLUME_WARNING};
use crate::record::{self, NewPod, PodLock};
use crate::root::make_private_directory;
use crate::status_file::StatusFile;
use crate::supervisor::{self, READY, SUBCOMMAND, own_log_path, tail_of};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::{ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// For glibc's allocator in a supervisor: no stock of small pieces that were freed (`tcache`, up to seven of each size), which
/// lie all over the heap and keep its pages: 184 KiB of heap, of which 34 were in use, became 48 without it (by
/// /proc/PID/smaps, 2026-11-23). It can only be said from outside, before the program begins. Containers do not inherit it.
const ALLOCATOR: (&str, &str) = ("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0");

/// How long a supervisor may take to be there: it only reads files.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// How far a pod is with its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// On its way.
    Starting,
    /// Every container has been started, or of init containers the first; some may have ended since.
    Started,
    /// Something could not be done. It is tried again, as Kubernetes does, for as long as the pod is there.
    Failed(Vec<StartFailure>),
}

/// Something that kept a pod from starting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartFailure {
    /// The container; none if it is the pod's volumes or sandbox.
    pub container: Option<String>,
    /// The API's reason, such as `FailedMount` or `CreateContainerError`.
    pub reason: String,
    /// The API's message.
    pub message: String,
    /// What the user can do about it.
    pub hint: Option<String>,
}

/// What the user may not have meant and should know of a pod that starts nevertheless: a source that was made, a limit
/// that was lowered. Pure.
pub fn remarks(state: &PodState) -> impl Iterator<Item = &PodEvent> {
    state.events.iter().filter(|e| e.warning && [VOLUME_WARNING, LIMITED].contains(&e.reason.as_str()))
}

/// How far a pod is with its start. Pure.
pub fn progress(state: &PodState) -> Progress {
    if let Stage::Volumes { retry_at: Some(_), .. } | Stage::Sandbox { retry_at: Some(_), .. } = state.stage {
        let last =
            state.events.iter().rev().find(|e| e.container.is_none() && e.reason.starts_with("Failed"));
        let failure = last.map(|event| StartFailure {
            container: None,
            reason: event.reason.clone(),
            message: event.message.clone(),
            hint: event.hint.clone(),
        });
        return Progress::Failed(failure.into_iter().collect());
    }
    let failure = |name: &str, reason: &str, message: Option<&String>| StartFailure {
        container: Some(name.to_owned()),
        reason: reason.to_owned(),
        message: message.cloned().unwrap_or_default(),
        hint: state
            .events
            .iter()
            .rev()
            .find_map(|e| e.hint.clone().filter(|_| e.container.as_deref() == Some(name))),
    };
    let failures: Vec<StartFailure> = state
        .containers
        .iter()
        .filter_map(|c| match &c.current {
            Current::Waiting { reason, message, .. } | Current::Starting { reason, message }
                if !matches!(
                    reason.as_str(),
                    "ContainerCreating" | "PodInitializing" | "CrashLoopBackOff"
                ) =>
            {
                Some(failure(&c.name, reason, message.as_ref()))
            }
            Current::Terminated { run } if run.reason == "StartError" => {
                Some(failure(&c.name, &run.reason, run.message.as_ref()))
            }
            // The pod has ended, or its supervisor was killed, before it was made.
            Current::Terminated { run } if state.done() && run.id.is_empty() && c.made == 0 => {
                Some(failure(&c.name, &run.reason, run.message.as_ref()))
            }
            _ => None,
        })
        .collect();
    if !failures.is_empty() {
        return Progress::Failed(failures);
    }
    let was_started = |c: &crate::lifecycle::ContainerState| {
        (c.running() && !c.post_start_pending)
            || matches!(c.current, Current::Terminated { .. })
            || c.back_off.delay_ms > 0
    };
    // Init containers may wait for another pod, which nobody could start while we wait for them.
    let initializing = state.containers.iter().any(|c| c.kind.is_init() && was_started(c));
    let waits = matches!(state.stage, Stage::Queued { .. } | Stage::Again { .. });
    match state.done() || waits || initializing || state.mains().all(was_started) {
        true => Progress::Started,
        false => Progress::Starting,
    }
}

impl Client {
    /// Creates the pods, all or none; nothing of them runs yet.
    ///
    /// # Errors
    /// `pods "x" already exists`, or a file that cannot be written.
    pub fn create(&self, pods: Vec<NewPod>) -> Result<Vec<PodRef>> {
        self.sweep();
        let made = record::create(&self.root, pods, read_now().wall)?;
        Ok(made.into_iter().map(|(uid, record)| PodRef { key: record.key(), uid }).collect())
    }

    /// Starts a pod that is new or done; for one whose supervisor was killed, starts another that takes over what still
    /// runs. Returns when the supervisor is there: see [`Client::wait_started`].
    ///
    /// # Errors
    /// It runs and is supervised, or the supervisor cannot be started.
    pub fn start(&self, pod: &PodRef) -> Result<()> {
        let lock = record::lock(&self.root, &pod.uid, &pod.key)?;
        self.let_go(pod)?;
        if supervisor::is_alive(&self.root, &pod.uid) {
            return Err(ClientError::Running { pod: pod.key.clone(), supervised: true });
        }
        self.spawn_supervisor(pod, &lock)
    }

    /// Waits until a pod is started or cannot be.
    ///
    /// # Errors
    /// Its supervisor cannot be talked to.
    pub fn wait_started(&self, pod: &PodRef, timeout: Option<Duration>) -> Result<(Progress, StatusFile)> {
        let settled = |status: &StatusFile| progress(&status.state) != Progress::Starting;
        let status = self.wait_until(pod, timeout, settled)?;
        Ok((progress(&status.state), status))
    }

    /// Takes leave of supervisors that we started and that have ended, for a program that lives long: until then they are
    /// zombies.
    pub fn reap(&self) {
        self.children.borrow_mut().retain_mut(|child| !matches!(child.try_wait(), Ok(Some(_))));
    }

    /// Executes our own program once more, from a read-only path, as the pod's supervisor. It shares the pod's lock, as
    /// its standard input, until it has its own: so nobody removes the pod under it even if we are killed meanwhile.
    fn spawn_supervisor(&self, pod: &PodRef, lock: &PodLock) -> Result<()> {
        let failed = |reason: String| ClientError::Supervisor { pod: pod.key.clone(), reason };
        let io_failed = |e: std::io::Error| failed(e.to_string());
        runtime::fault::point("supervisor.spawn").map_err(|e| io_failed(e.into()))?;
        make_private_directory(&self.root.pod_run(&pod.uid)).map_err(io_failed)?;
        let log_path = own_log_path(&self.root, &pod.uid);
        let log = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(&log_path);
        // What this command was started with open must not stay open for as long as the pod lives.
        sys::process::close_on_exec_from(3).map_err(|e| failed(format!("close descriptors: {e}")))?;
        let exe = sys::process::read_only_exe().map_err(|e| failed(format!("open our own program: {e}")))?;
        let mut child = Command::new(format!("/proc/self/fd/{}", exe.as_raw_fd()))
            .arg0("rhizome")
            .arg(SUBCOMMAND)
            .args([&self.root.lib, &self.root.run])
            .arg(pod.uid.as_str())
            .env(ALLOCATOR.0, ALLOCATOR.1)
            .current_dir("/")
            .stdin(lock.share().map_err(io_failed)?)
            .stdout(Stdio::piped())
            .stderr(log.map_err(io_failed)?)
            .spawn()
            .map_err(io_failed)?;
        let said = child.stdout.take().map(read_line).unwrap_or_default();
        let mut children = self.children.borrow_mut();
        children.push(child);
        // Those that have ended leave no zombies in a command that lives long.
        children.retain_mut(|child| !matches!(child.try_wait(), Ok(Some(_))));
        match said.as_str() {
            READY => Ok(()),
            "" => Err(failed(format!("it ended without a word: {}", tail_of(&log_path, 500)))),
            reason => Err(failed(reason.to_owned())),
        }
    }
}

/// The line that a supervisor says; empty if it does not.
fn read_line(mut from: ChildStdout) -> String {
    let until = Instant::now() + READY_TIMEOUT;
    let mut said = Vec::new();
    let mut chunk = [0; 1024];
    while !said.contains(&b'\n') {
        let left = until.saturating_duration_since(Instant::now());
        let ready = wait_for(&[from.as_fd()], left).unwrap_or_default();
        if left.is_zero() || said.len() > 16 * 1024 {
            break;
        }
        if ready != [true] {
            continue;
        }
        match from.read(&mut chunk) {
            Ok(count) if count > 0 => said.extend_from_slice(&chunk[..count]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&said).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::{
        ContainerRules, Event, Exit, NotCreated, Now, RestartPolicy, Rules, Uptime, step,
    };

    fn after(events: Vec<Event>) -> Progress {
        let containers = vec![ContainerRules::main("a"), ContainerRules::main("b")];
        let rules = Rules { containers, restart_policy: RestartPolicy::Always, ..Rules::default() };
        let now = Now { wall: jiff::Timestamp::UNIX_EPOCH, uptime: Uptime(0) };
        progress(&events.into_iter().fold(PodState::new(rules), |state, event| step(state, event, now).0))
    }

    fn started(name: &str) -> Event {
        Event::ContainerStarted {
            name: name.into(),
            id: "i".into(),
            image: String::new(),
            image_id: String::new(),
        }
    }

    #[test]
    fn a_start_is_over_when_every_container_was_started_or_one_cannot_be() {
        let ready = || vec![Event::Begin, Event::VolumesReady, Event::SandboxReady];
        let and = |more: Vec<Event>| ready().into_iter().chain(more).collect::<Vec<_>>();
        assert_eq!(after(vec![]), Progress::Starting);
        assert_eq!(after(ready()), Progress::Starting);
        assert_eq!(after(and(vec![started("a")])), Progress::Starting);
        assert_eq!(after(and(vec![started("a"), started("b")])), Progress::Started);
        let exited = Event::ContainerExited { name: "a".into(), exit: Exit { code: 1, ..Exit::default() } };
        assert_eq!(after(and(vec![started("a"), started("b"), exited])), Progress::Started);
        let mount = Event::VolumesFailed { message: "m".into(), hint: Some("h".into()) };
        let Progress::Failed(failures) = after(vec![Event::Begin, mount]) else { panic!("not failed") };
        assert_eq!((failures[0].reason.as_str(), failures[0].hint.as_deref()), ("FailedMount", Some("h")));
        let refused = Event::ContainerNotCreated {
            name: "b".into(),
            why: NotCreated::CreateContainerError,
            message: "not shared".into(),
            hint: Some("share it".into()),
        };
        let Progress::Failed(failures) = after(and(vec![started("a"), refused])) else {
            panic!("not failed")
        };
        let expected = StartFailure {
            container: Some("b".into()),
            reason: "CreateContainerError".into(),
            message: "not shared".into(),
            hint: Some("share it".into()),
        };
        assert_eq!(failures, [expected]);
    }
}
