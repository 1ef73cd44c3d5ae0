//! Stopping and removing pods, with or without a supervisor.

use super::watch::ANSWER_TIMEOUT;
use super::{Client, ClientError, PodRef, Result};
use crate::clock::read_now;
use crate::lifecycle::{ContainerState, Event, Goal, PodState, Stage, Uptime, step};
use crate::record::{self, PodRecord, PodUid};
use crate::status_file::{LeftMount, StatusFile};
use crate::supervisor::{self, Living};
use crate::volumes::{PodVolumes, TearDownError, TornDown, pinned, tear_down_folders};
use runtime::{Network, cni};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long after the grace period a pod may take until its end is seen: processes are killed, mounts detached.
const END_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a supervisor may take to answer before a forced removal takes it for stuck.
const STUCK_AFTER: Duration = Duration::from_secs(10);

/// How often a pod that is being removed may be started by others in between.
const RESTARTS_MAX: u32 = 3;

/// A pod that was stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    /// Its status.
    pub status: StatusFile,
    /// Mounts that its containers left on the host, each with the command that detaches it.
    pub left: Vec<LeftMount>,
}

/// A pod that was removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Removed {
    /// Mounts that its containers left on the host.
    pub left: Vec<LeftMount>,
    /// hostPaths that we shared and that stay so, each with a mount that is on it and was not before.
    pub still_shared: Vec<(PathBuf, PathBuf)>,
    /// Writable layers that stay until the mounts that show them are gone: all that the root keeps, this pod's and others'.
    pub kept_layers: Vec<PathBuf>,
}

impl Client {
    /// Ends a pod and waits for it: its containers' stop signals, the grace period (none takes the pod's own), SIGKILL.
    /// A pod that is done already is no error.
    ///
    /// # Errors
    /// It does not end, or something could not be done.
    pub fn stop(&self, pod: &PodRef, grace_seconds: Option<u64>) -> Result<Stopped> {
        if let Some(supervisor) = self.ask_to_stop_within(pod, grace_seconds, ANSWER_TIMEOUT)? {
            let grace = grace_seconds.map_or_else(|| self.own_grace(pod), Ok)?;
            self.wait_for_end(pod, &supervisor, Duration::from_secs(grace).saturating_add(END_TIMEOUT))?;
        }
        // Also where the supervisor was killed in between.
        let _lock = record::lock(&self.root, &pod.uid, &pod.key)?;
        let status = self.stop_unsupervised(pod, grace_seconds)?;
        Ok(Stopped { left: status.left_mounts.clone(), status })
    }

    fn own_grace(&self, pod: &PodRef) -> Result<u64> {
        Ok(self.view(pod)?.state().rules.grace_seconds)
    }

    /// Waits until a supervisor has gone, and with it the run that it was asked to end. Another one, which somebody's
    /// `start` has put in its place meanwhile, is not waited for.
    fn wait_for_end(&self, pod: &PodRef, supervisor: &Living, timeout: Duration) -> Result<()> {
        let talk = |source| ClientError::Talk { pod: pod.key.clone(), source };
        match supervisor.wait(&self.root, &pod.uid, timeout).map_err(talk)? {
            true => Ok(()),
            false => Err(ClientError::DoesNotEnd { pod: pod.key.clone(), seconds: END_TIMEOUT.as_secs() }),
        }
    }

    /// A supervisor whose pod is done ends by itself, but may not have yet. One that has not begun the next life yet shows
    /// the end of the last one, for a moment, and does not end.
    pub(super) fn let_go(&self, pod: &PodRef) -> Result<()> {
        let talk = |source| ClientError::Talk { pod: pod.key.clone(), source };
        let Some(supervisor) = Living::find(&self.root, &pod.uid).map_err(talk)? else { return Ok(()) };
        let until = Instant::now() + END_TIMEOUT;
        while self.view(pod)?.state().done() && Instant::now() < until {
            let slice = Duration::from_millis(50);
            if supervisor.wait(&self.root, &pod.uid, slice).map_err(talk)? {
                break;
            }
        }
        Ok(())
    }

    /// Does for a pod without a supervisor what that would do at its end. The caller holds the pod's lock.
    fn stop_unsupervised(&self, pod: &PodRef, grace_seconds: Option<u64>) -> Result<StatusFile> {
        let view = self.view(pod)?;
        let mut file = view.status;
        // A killed supervisor can leave a sandbox in which nothing runs any more.
        let over = file.state.done() && file.sandbox_id.is_none();
        if view.supervised || over || file.state.stage == Stage::New {
            return Ok(file);
        }
        let grace = Duration::from_secs(grace_seconds.unwrap_or(file.state.rules.grace_seconds));
        // Its last process takes the network namespace along, which CNI plugins have something to do in.
        let dirs = self.root.runtime_dirs();
        let sandbox = file.sandbox_id.as_deref();
        let network = sandbox.map(|id| runtime::network_of_sandbox(&dirs, id)).transpose()?.flatten();
        self.end_containers(&mut file, grace)?;
        self.remove_runtime_of(&file, &pod.uid, network.as_ref())?;
        file.sandbox_id = None;
        let now = read_now();
        file.state = step(file.state, Event::SandboxStopped, now).0;
        let volumes = PodVolumes { root: &self.root, uid: &pod.uid, record: &view.record };
        file.left_mounts = volumes.end_mounts().unwrap_or(file.left_mounts);
        file.write(&self.root, &pod.uid, true)
            .map_err(|source| ClientError::Status { pod: pod.key.clone(), source })?;
        Ok(file)
    }

    /// Signals all containers that run, then waits for each, within one grace period.
    fn end_containers(&self, file: &mut StatusFile, grace: Duration) -> Result<()> {
        let dirs = self.root.runtime_dirs();
        let until = Instant::now() + grace;
        let running: Vec<ContainerState> =
            file.state.containers.iter().filter(|c| c.running()).cloned().collect();
        for container in running.iter().filter(|_| !grace.is_zero()) {
            let signal = runtime::status(&dirs, &container.id)?.stop_signal;
            runtime::kill(&dirs, &container.id, signal, false)?;
        }
        file.state.goal = Goal::Stop { kill_at: Uptime(0) };
        for container in running {
            while Instant::now() < until && !has_ended(&dirs, &container.id)? {
                std::thread::sleep(Duration::from_millis(20));
            }
            if !has_ended(&dirs, &container.id)? {
                runtime::kill(&dirs, &container.id, rustix::process::Signal::KILL.as_raw(), true)?;
            }
            runtime::stop_container(&dirs, &container.id, Duration::ZERO)?;
            let record = runtime::status(&dirs, &container.id)?;
            let exit =
                record.exit.as_ref().map_or_else(crate::lifecycle::Exit::unseen, crate::orphan::exit_of);
            let event = Event::ContainerExited { name: container.name.clone(), exit };
            let state = std::mem::replace(&mut file.state, PodState::new(Default::default()));
            file.state = step(state, event, read_now()).0;
        }
        Ok(())
    }

    /// Removes what the runtime has of a pod: its containers, keeping layers that a mount still shows, and sandboxes. Its
    /// network is held meanwhile, by the caller or here: the last process would take the namespace along.
    fn remove_runtime_of(&self, file: &StatusFile, uid: &PodUid, network: Option<&Network>) -> Result<()> {
        let dirs = self.root.runtime_dirs();
        let sandbox = file.sandbox_id.as_deref();
        let opened = match (network, sandbox) {
            (None, Some(id)) => runtime::network_of_sandbox(&dirs, id)?,
            _ => None,
        };
        let network = network.or(opened.as_ref());
        for id in file.state.containers.iter().map(|c| &c.id).filter(|id| !id.is_empty()) {
            pinned::keep_if_pinned(&self.root, id, &file.left_mounts)
                .map_err(|e| ClientError::Keep { container: id.clone(), source: Box::new(e) })?;
            runtime::remove_container(&dirs, id)?;
        }
        if let Some(sandbox) = sandbox {
            runtime::remove_sandbox_of_network(&dirs, sandbox, network)?;
        }
        self.remove_sandboxes_of(uid)
    }

    /// Removes the sandboxes of a pod of which nothing is written down, or nothing that can be read: looks at all of the root's.
    fn remove_all_sandboxes_of(&self, uid: &PodUid) -> Result<()> {
        self.remove_sandboxes(runtime::list_sandboxes(&self.root.runtime_dirs())?, uid)
    }

    /// Removes the sandboxes of a pod besides the one that is written down: those that a supervisor may have made and could
    /// not write down, which their ids tell.
    fn remove_sandboxes_of(&self, uid: &PodUid) -> Result<()> {
        self.remove_sandboxes(runtime::list_sandboxes_marked(&self.root.runtime_dirs(), uid.dice())?, uid)
    }

    /// Those of these that are the pod's, and those of a boot before this one of which CNI plugins still hold something.
    fn remove_sandboxes(&self, perhaps: Vec<String>, uid: &PodUid) -> Result<()> {
        let dirs = self.root.runtime_dirs();
        let is_ours = |id: &String| {
            runtime::sandbox_status(&dirs, id).is_ok_and(|s| s.config.metadata.uid == uid.as_str())
        };
        let wired = cni::list_marked(&dirs, uid.dice()).map_err(runtime::Error::from)?;
        let ours: BTreeSet<String> = perhaps.into_iter().filter(is_ours).chain(wired).collect();
        for id in ours {
            runtime::remove_sandbox(&dirs, &id)?;
        }
        Ok(())
    }

    /// Removes a pod and all that is of it. One that runs is only removed with `force`, which kills it at once.
    ///
    /// Steps: 1. end it; 2. what the runtime has of it; 3. its volumes, nothing deleted across a mount; 4. its hold on
    /// images; 5. its name and folders. Each can be done again, so that a removal that was cut off is repeated.
    ///
    /// # Errors
    /// It runs; or something could not be removed, and then the pod is still there.
    pub fn remove(&self, pod: &PodRef, force: bool) -> Result<Removed> {
        let mut tries = 0;
        let _lock = loop {
            match force {
                true => self.end_at_once(pod)?,
                false => self.refuse_running(pod)?,
            }
            let lock = record::lock(&self.root, &pod.uid, &pod.key)?;
            if !supervisor::is_alive(&self.root, &pod.uid) {
                break lock;
            }
            // Started again by somebody else before we had the lock.
            tries += 1;
            if tries == RESTARTS_MAX {
                return Err(ClientError::Running { pod: pod.key.clone(), supervised: true });
            }
        };
        self.remove_dead(pod)
    }

    fn refuse_running(&self, pod: &PodRef) -> Result<()> {
        self.let_go(pod)?;
        let view = self.view(pod)?;
        match !view.supervised && matches!(view.state().stage, Stage::New | Stage::Done) {
            true => Ok(()),
            false => Err(ClientError::Running { pod: pod.key.clone(), supervised: view.supervised }),
        }
    }

    /// Ends a pod with SIGKILL; a supervisor that does not answer too. What that would have done is then done here.
    fn end_at_once(&self, pod: &PodRef) -> Result<()> {
        let talk = |source| ClientError::Talk { pod: pod.key.clone(), source };
        let stuck = match self.ask_to_stop_within(pod, Some(0), STUCK_AFTER) {
            Ok(None) => return Ok(()),
            Ok(Some(supervisor)) => match self.wait_for_end(pod, &supervisor, END_TIMEOUT) {
                Err(ClientError::DoesNotEnd { .. }) => Some(supervisor),
                other => return other,
            },
            Err(ClientError::Talk { source, .. }) if source.kind() == std::io::ErrorKind::TimedOut => {
                Living::find(&self.root, &pod.uid).map_err(talk)?
            }
            Err(error) => return Err(error),
        };
        let Some(supervisor) = stuck else { return Ok(()) };
        supervisor.kill(&pod.uid).map_err(talk)?;
        self.wait_for_end(pod, &supervisor, END_TIMEOUT)
    }

    fn remove_dead(&self, pod: &PodRef) -> Result<Removed> {
        let record = record::load(&self.root, &pod.uid);
        let down = match (&record, StatusFile::read(&self.root, &pod.uid)) {
            (Ok(record), Ok(file)) => self.tear_down(pod, record, file)?,
            // What cannot be read must be removable all the same.
            _ => {
                self.remove_all_sandboxes_of(&pod.uid)?;
                let torn = tear_down_folders(&self.root, &pod.uid);
                torn.map_err(|source| volumes_error(pod, source))?;
                TornDown::default()
            }
        };
        self.unpin(&pod.uid)?;
        if let Some(job) = record.ok().and_then(|record| record.job) {
            supervisor::forget_job(&self.root, &job);
        }
        record::forget(&self.root, &pod.uid, &pod.key)?;
        let kept_layers = pinned::release(&self.root).unwrap_or_else(|error| {
            tracing::warn!(%error, "kept layers");
            Vec::new()
        });
        Ok(Removed { left: down.left, still_shared: down.still_shared, kept_layers })
    }

    fn tear_down(&self, pod: &PodRef, record: &PodRecord, file: Option<StatusFile>) -> Result<TornDown> {
        let volumes = PodVolumes { root: &self.root, uid: &pod.uid, record };
        match file {
            Some(mut file) => {
                file.left_mounts = volumes.left_mounts().unwrap_or(file.left_mounts);
                self.remove_runtime_of(&file, &pod.uid, None)?;
            }
            // Never begun, or killed before a word was written.
            None => self.remove_all_sandboxes_of(&pod.uid)?,
        }
        volumes.tear_down().map_err(|source| volumes_error(pod, source))
    }

    /// Lets go of the images of a pod's containers.
    fn unpin(&self, uid: &PodUid) -> Result<()> {
        let store = image::Store::open(self.root.images())?;
        let prefix = pinned::owner(uid, "");
        for (owner, _) in store.pins()?.into_iter().filter(|(owner, _)| owner.starts_with(&prefix)) {
            store.unpin(&owner)?;
        }
        Ok(())
    }

    /// Removes what killed commands have left: folders that no name leads to. What cannot be removed now is left to the
    /// next time.
    pub fn sweep(&self) {
        if let Err(error) = pinned::release(&self.root) {
            tracing::warn!(%error, "kept layers");
        }
        let nameless = record::sweep(&self.root).unwrap_or_default();
        for uid in nameless {
            let swept = self.sweep_one(&uid);
            if let Err(error) = swept {
                tracing::warn!(%error, %uid, "what a killed command left cannot be removed");
            }
        }
    }

    fn sweep_one(&self, uid: &PodUid) -> Result<()> {
        // Somebody is at it, or it is just being made.
        let Some(_lock) = record::try_lock_nameless(&self.root, uid)? else { return Ok(()) };
        if supervisor::is_alive(&self.root, uid) {
            return Ok(());
        }
        self.remove_all_sandboxes_of(uid)?;
        let key = record::load(&self.root, uid).map(|r| r.key());
        let pod = PodRef {
            key: key.unwrap_or_else(|_| record::PodKey { namespace: String::new(), name: uid.to_string() }),
            uid: uid.clone(),
        };
        tear_down_folders(&self.root, uid).map_err(|source| volumes_error(&pod, source))?;
        self.unpin(uid)?;
        Ok(record::forget_nameless(&self.root, uid)?)
    }
}

pub(super) fn volumes_error(pod: &PodRef, source: TearDownError) -> ClientError {
    ClientError::Volumes { pod: pod.key.clone(), source: Box::new(source) }
}

fn has_ended(dirs: &runtime::Dirs, id: &str) -> Result<bool> {
    Ok(runtime::status(dirs, id)?.status == runtime::Status::Exited)
}
