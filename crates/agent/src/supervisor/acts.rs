//! What the state machine orders, done through `runtime`, `image` and the volumes; the results go back to it.

use super::live::Live;
use super::{Supervisor, SupervisorError};
use crate::clock::read_now;
use crate::lifecycle::{ContainerState, Event, Exit, LIMITED, NotCreated, VOLUME_WARNING};
use crate::logs::{LogWriter, log_path};
use crate::node::Node;
use crate::record::PodRecord;
use crate::status_file::StatusFile;
use crate::volumes::host_path::os_words;
use crate::volumes::{PodVolumes, VolumeError, node_files, pinned};
use image::Image;
use k8s_openapi::api::core::v1 as api;
use manifest::cri::{self, EnvSources, Mount, NodeFacts, ResolvedVolumes};
use runtime::cni::Configuration;
use std::borrow::Cow;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// A container that could not be made, before anything of it was.
struct Refused {
    why: NotCreated,
    message: String,
    hint: Option<String>,
}

impl Refused {
    fn config(message: impl ToString) -> Refused {
        Refused { why: NotCreated::CreateContainerConfigError, message: message.to_string(), hint: None }
    }
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let words = source.to_string();
        // Some errors print their source themselves, those in Kubernetes' words as Go does.
        if !text.ends_with(&words) && !text.ends_with(&os_words(&words)) {
            text = format!("{text}: {words}");
        }
        cause = source.source();
    }
    text
}

impl Supervisor {
    fn pod_volumes(&self) -> PodVolumes<'_> {
        PodVolumes { root: &self.root, uid: &self.uid, record: &self.record }
    }

    pub(super) fn container_spec(&self, name: &str) -> Option<Cow<'_, api::Container>> {
        crate::status::container_spec(&self.record.pod, name)
    }

    pub(super) fn set_up_volumes(&mut self) {
        let event = match self.pod_volumes().set_up(read_now().wall) {
            Ok(volumes) => {
                self.volumes = volumes;
                Event::VolumesReady
            }
            Err(error) => Event::VolumesFailed { message: chain(&error), hint: error.hint() },
        };
        let warning = |message: &String| Event::Warning {
            reason: VOLUME_WARNING.into(),
            message: message.clone(),
            hint: None,
        };
        self.queue.extend(self.volumes.warnings.iter().map(warning));
        self.volumes.warnings.clear();
        self.queue.push_back(event);
    }

    /// Writes what has changed since `before` into the volumes that are made.
    pub(super) fn refresh_volumes(&mut self, before: &PodRecord) {
        let failed = self.pod_volumes().refresh(&self.volumes, before, read_now().wall);
        let warning = |error: VolumeError| {
            let (message, hint) = (chain(&error), error.hint());
            Event::Warning { reason: "FailedMount".into(), message, hint }
        };
        self.queue.extend(failed.into_iter().map(warning));
    }

    /// Takes over the containers of a supervisor that was killed: what runs is held again, what has ended since is told to
    /// the state machine, and what it had ordered and not answered is ordered again.
    ///
    /// Steps: 1. the sandbox, by its running containers; 2. the containers and their pipes; 3. what it had begun to make
    /// and had not written down, removed; 4. the volumes, which are there already.
    pub(super) fn adopt(&mut self, before: StatusFile, sandbox: &str) -> Result<(), SupervisorError> {
        let adopted = runtime::Sandbox::adopt(&self.dirs, sandbox)?;
        let mut before = crate::orphan::discovered(&self.dirs, before, read_now())?;
        for container in before.state.containers.iter_mut().filter(|c| c.running() && c.image_id.is_empty()) {
            if let Ok((image, image_id)) = self.find_image(&container.name) {
                (container.image, container.image_id) = (image.reference, image_id);
            }
        }
        let state = crate::orphan::resumed(before.state).by_rules(super::rules(&self.record));
        self.file = StatusFile { state, ..before };
        let running: Vec<_> = self.state().containers.iter().filter(|c| c.running()).cloned().collect();
        for container in running {
            self.adopt_container(&container)?;
        }
        for id in runtime::list_containers_of(&self.dirs, sandbox)? {
            if !self.live.values().any(|live| live.id() == id) {
                runtime::remove_container(&self.dirs, &id)?;
            }
        }
        let folder = self.root.pod_lib(&self.uid);
        let (dns, ips) = (adopted.config().dns_config.as_ref(), &self.state().pod_ips);
        let written = node_files::write(&folder, &self.record.pod, dns, ips);
        self.node_files =
            Some(written.map_err(|(_, source)| SupervisorError::System {
                action: "write the pod's files",
                source,
            })?);
        self.sandbox = Some(adopted);
        self.look_at_network();
        match self.pod_volumes().set_up(read_now().wall) {
            Ok(volumes) => self.volumes = volumes,
            Err(error) => {
                let (message, hint) = (chain(&error), error.hint());
                self.queue.push_back(Event::Warning { reason: "FailedMount".into(), message, hint });
            }
        }
        let failures = self.state().job.failures;
        if let Some(job) = &mut self.job {
            job.take_over(failures);
        }
        // Its turn goes on, unless another has taken it meanwhile.
        self.ask_for_turn();
        self.queue.push_back(Event::Tick);
        Ok(())
    }

    fn adopt_container(&mut self, state: &ContainerState) -> Result<(), SupervisorError> {
        let name = state.name.clone();
        let attempt = state.restart_count();
        let container = match runtime::Container::adopt(&self.dirs, &state.id) {
            Ok(container) => container,
            Err(runtime::Error::NotFound { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let Some(container) = container else {
            let record = runtime::status(&self.dirs, &state.id).ok();
            let exit =
                record.and_then(|r| r.exit).map_or_else(Exit::unseen, |exit| crate::orphan::exit_of(&exit));
            self.queue.push_back(Event::ContainerExited { name, exit });
            return Ok(());
        };
        let log = LogWriter::open(&log_path(&self.root, &self.uid, &name, attempt));
        let termination_log = node_files::termination_log_path(&self.root.pod_lib(&self.uid), &name, attempt);
        let live = log.and_then(|log| Live::new(container, log, termination_log));
        let live =
            live.map_err(|source| SupervisorError::System { action: "hold a container's output", source })?;
        self.live.insert(name, live);
        Ok(())
    }

    pub(super) fn run_sandbox(&mut self) {
        match self.try_run_sandbox() {
            Ok(None) => {
                self.note_ports();
                self.queue.push_back(Event::SandboxReady);
            }
            Ok(Some(network)) => self.wire(network),
            Err((message, hint)) => self.queue.push_back(Event::SandboxFailed { message, hint }),
        }
    }

    /// With the network that it is still to be wired to, if it is to have one.
    fn try_run_sandbox(&mut self) -> Result<Option<Configuration>, (String, Option<String>)> {
        let attempt = self.state().containers.iter().map(|c| c.made).max().unwrap_or(0);
        let (cgroup, logs) = (self.root.cgroup_parent(&self.uid), self.root.pod_logs(&self.uid));
        let config = cri::pod_sandbox_config(&self.record.pod, attempt, &cgroup, &logs);
        let folder = self.root.pod_lib(&self.uid);
        let files = node_files::write(&folder, &self.record.pod, config.dns_config.as_ref(), &[])
            .map_err(|(path, e)| (format!("cannot write {}: {e}", path.display()), None))?;
        let failed = |e: runtime::Error| (format!("Failed to create pod sandbox: {}", chain(&e)), e.hint());
        let network = self.find_network(&config).map_err(|e| failed(e.into()))?;
        // What an attempt before this one has left and could not remove.
        if let Some(left) = self.file.sandbox_id.take() {
            let removed = runtime::remove_sandbox(&self.dirs, &left);
            removed.map_err(failed).inspect_err(|_| self.file.sandbox_id = Some(left))?;
        }
        let id = runtime::Sandbox::new_id(self.uid.dice()).map_err(failed)?;
        // Before there is anything of it: whoever cleans up after us must know it, also while it has no record.
        self.file.sandbox_id = Some(id.clone());
        if let Err(error) = self.file.write(&self.root, &self.uid, false) {
            self.file.sandbox_id = None;
            let message = format!("Failed to create pod sandbox: cannot write the pod's status: {error}");
            return Err((message, None));
        }
        let sandbox = runtime::Sandbox::run_as(&self.dirs, id, config).map_err(failed)?;
        self.node_files = Some(files);
        self.sandbox = Some(sandbox);
        Ok(network)
    }

    pub(super) fn start_container(&mut self, name: &str, attempt: u32) {
        self.swollen = true;
        let event = match self.try_start_container(name, attempt) {
            Ok(event) => event,
            Err(Refused { why, message, hint }) => {
                Event::ContainerNotCreated { name: name.to_owned(), why, message, hint }
            }
        };
        self.queue.push_back(event);
    }

    /// Steps: 1. the image, pinned; 2. subPaths, the termination log, the CRI message; 3. CreateContainer; 4. the log;
    /// 5. StartContainer.
    fn try_start_container(&mut self, name: &str, attempt: u32) -> Result<Event, Refused> {
        let (image, image_id) = self.find_image(name)?;
        let termination_log = self.make_termination_log(name, attempt)?;
        if let Some(spec) = self.container_spec(name) {
            cri::security::verify_run_as_non_root(&self.record.pod, &spec, &image.config.user)
                .map_err(Refused::config)?;
        }
        let mut config = self.container_config(name, attempt, &termination_log)?;
        config.pid_target = self.pid_target(name)?;
        let Some(sandbox) = &self.sandbox else { return Err(Refused::config("the pod has no sandbox")) };
        let mut container = sandbox.create_container(&config, &image).map_err(|error| Refused {
            why: NotCreated::CreateContainerError,
            message: chain(&error),
            hint: error.hint(),
        })?;
        let log = runtime::fault::point("log.open").map_err(std::io::Error::from);
        let log = log.and_then(|()| LogWriter::open(&log_path(&self.root, &self.uid, name, attempt)));
        let (id, reference) = (container.id.clone(), image.reference.clone());
        let warnings = std::mem::take(&mut container.warnings);
        let started = container.start();
        let warning = |message| Event::Warning { reason: LIMITED.into(), message, hint: None };
        self.queue.extend(warnings.into_iter().map(warning));
        if let Err(error) = started {
            return Ok(Event::ContainerNotStarted {
                name: name.to_owned(),
                id,
                image: reference,
                image_id,
                code: runtime::START_ERROR_EXIT_CODE,
                message: chain(&error),
                hint: error.hint(),
            });
        }
        let live = log.and_then(|log| Live::new(container, log, termination_log));
        match live {
            Ok(live) => drop(self.live.insert(name.to_owned(), live)),
            Err(error) => return Err(self.give_up(&id, &error)),
        }
        Ok(Event::ContainerStarted { name: name.to_owned(), id, image: reference, image_id })
    }

    /// A container that runs but of which we cannot hold the ends (no descriptors left, a full disk): it must not run
    /// unseen.
    fn give_up(&self, id: &str, error: &std::io::Error) -> Refused {
        if let Err(error) = runtime::remove_container(&self.dirs, id) {
            tracing::error!(%error, id, "a container that is given up cannot be removed");
        }
        Refused {
            why: NotCreated::CreateContainerError,
            message: format!("cannot hold the container's output: {error}"),
            hint: None,
        }
    }

    /// The id of the container that an ephemeral one names as its target.
    fn pid_target(&self, name: &str) -> Result<Option<String>, Refused> {
        let spec = self.record.pod.spec.as_ref();
        let ephemeral = spec.and_then(|s| s.ephemeral_containers.as_deref()).unwrap_or_default();
        let own = ephemeral.iter().find(|c| c.name == name);
        let target = own.and_then(|c| c.target_container_name.as_deref()).filter(|name| !name.is_empty());
        let Some(target) = target else { return Ok(None) };
        match self.live.get(target) {
            Some(live) => Ok(Some(live.id().to_owned())),
            None => Err(Refused::config(format!("unable to find target container {target}"))),
        }
    }

    /// With what its status calls `imageID`: the digest that it was pulled by, where it was.
    fn find_image(&self, name: &str) -> Result<(Image, String), Refused> {
        let spec = self.container_spec(name);
        let reference = spec.as_ref().and_then(|s| s.image.as_deref()).unwrap_or_default();
        let never = spec.as_ref().and_then(|s| s.image_pull_policy.as_deref()) == Some("Never");
        let refused = |error: image::Error| {
            let hint = Some(format!("bring it back: `rhizome image pull {reference}`"));
            match error {
                image::Error::NotFound { .. } if never => Refused {
                    why: NotCreated::ErrImageNeverPull,
                    message: image::message::never(reference),
                    hint,
                },
                image::Error::NotFound { .. } => Refused {
                    why: NotCreated::ErrImagePull,
                    message: format!("image {reference:?} is not on this machine any more"),
                    hint,
                },
                error @ image::Error::Reference { .. } => {
                    Refused { why: NotCreated::InvalidImageName, message: chain(&error), hint: None }
                }
                error => Refused { why: NotCreated::ErrImagePull, message: chain(&error), hint: None },
            }
        };
        let store = image::Store::open(self.root.images()).map_err(refused)?;
        let image = store.get(reference).map_err(refused)?;
        // From before the mount until the pod is removed: the layers must not go under it.
        runtime::fault::point("image.pin").map_err(|e| Refused::config(std::io::Error::from(e)))?;
        store.pin(&image.id, &pinned::owner(&self.uid, name)).map_err(refused)?;
        let pulled_by = store.repo_digest(&image.id).map_err(refused)?;
        let image_id = pulled_by.unwrap_or_else(|| image.id.to_string());
        Ok((image, image_id))
    }

    fn make_termination_log(&self, name: &str, attempt: u32) -> Result<PathBuf, Refused> {
        let pod = self.root.pod_lib(&self.uid);
        node_files::make_termination_log(&pod, name, attempt).map_err(|(path, error)| {
            Refused::config(format!("cannot make the termination log {}: {error}", path.display()))
        })
    }

    fn container_config(
        &self,
        name: &str,
        attempt: u32,
        termination_log: &Path,
    ) -> Result<cri::ContainerConfig, Refused> {
        let node = Node::read_wired(&self.root, self.record.network.is_some());
        let mut facts = node.facts();
        facts.pod_ips = match self.record.pod.spec.as_ref().and_then(|spec| spec.host_network) {
            Some(true) => facts.host_ips,
            _ => &self.state().pod_ips,
        };
        let sources = EnvSources::new(&self.record.config_maps, &self.record.secrets);
        let volumes = self.resolve_volumes(name, &sources, &facts)?;
        let extra = self.extra_mounts(name, termination_log);
        let pod = &self.record.pod;
        cri::container_config(pod, name, attempt, &volumes, &sources, &facts, &extra).map_err(Refused::config)
    }

    fn resolve_volumes(
        &self,
        name: &str,
        sources: &EnvSources<'_>,
        facts: &NodeFacts<'_>,
    ) -> Result<ResolvedVolumes, Refused> {
        let mut volumes =
            ResolvedVolumes { volumes: self.volumes.resolved.clone(), ..ResolvedVolumes::default() };
        let Some(container) = self.container_spec(name) else { return Ok(volumes) };
        let environment =
            cri::env::environment(&self.record.pod, &container, sources, facts).map_err(Refused::config)?;
        for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
            let sub_path = cri::container::sub_path(mount, &environment).map_err(Refused::config)?;
            let (Some(sub_path), Some(volume)) = (sub_path, volumes.volumes.get(&mount.name)) else {
                continue;
            };
            let place = (mount.name.as_str(), volume.host_path.as_path());
            let bound =
                self.pod_volumes().sub_path(place, name, index, &sub_path).map_err(|error| Refused {
                    why: NotCreated::CreateContainerConfigError,
                    message: error.kubelet_text(&mount.name, name),
                    hint: Some(chain(&error)),
                })?;
            volumes.sub_paths.insert((name.to_owned(), index), bound);
        }
        Ok(volumes)
    }

    /// The node's own files, in the container.
    fn extra_mounts(&self, name: &str, termination_log: &Path) -> Vec<Mount> {
        let mount = |container_path: &str, host_path: &Path| Mount {
            container_path: container_path.into(),
            host_path: host_path.to_owned(),
            ..Mount::default()
        };
        let mut mounts = Vec::new();
        if let Some(files) = &self.node_files {
            mounts.push(mount("/etc/hosts", &files.hosts));
            mounts.push(mount("/etc/hostname", &files.hostname));
            mounts.push(mount("/etc/resolv.conf", &files.resolv_conf));
        }
        if let Some(spec) = self.container_spec(name) {
            let path = cri::container::termination_message_path(&spec).to_string_lossy().into_owned();
            mounts.push(mount(&path, termination_log));
        }
        mounts
    }

    /// A running container's standard input or terminal, for a client; or why there is none.
    pub(super) fn give_input(&mut self, name: &str) -> Result<OwnedFd, String> {
        let spec = self.container_spec(name).ok_or_else(|| format!("there is no container {name:?}"))?;
        let (stdin, tty, once) = (spec.stdin, spec.tty == Some(true), spec.stdin_once == Some(true));
        if stdin != Some(true) {
            return Err(format!(
                "container {name:?} has no standard input (its manifest has no `stdin: true`)"
            ));
        }
        let live = self.live.get_mut(name).ok_or_else(|| format!("container {name:?} is not running"))?;
        let given = live.give_input(tty, once).map_err(|error| error.to_string())?;
        given.ok_or_else(|| match once {
            true => {
                format!("the standard input of container {name:?} was attached to once (`stdinOnce: true`)")
            }
            false => format!("the standard input of container {name:?} has ended"),
        })
    }

    pub(super) fn signal(&mut self, name: &str, kill: bool) {
        let Some(live) = self.live.get(name) else { return };
        let sent = match kill {
            // Everything in it: what has left the first process' session too. It is ordered once, so what passes is
            // outlasted here.
            true => {
                let kill =
                    || runtime::kill(&self.dirs, live.id(), rustix::process::Signal::KILL.as_raw(), true);
                kill().or_else(|_| kill())
            }
            false => runtime::kill(&self.dirs, live.id(), live.stop_signal(), false),
        };
        if let Err(error) = sent {
            let message = format!("cannot stop container {name}: {}", chain(&error));
            self.queue.push_back(Event::Warning {
                reason: "FailedKillPod".into(),
                message,
                hint: error.hint(),
            });
        }
    }

    /// A container's pidfd is readable: its exit is on disk (the runtime's record) before it is an event.
    pub(super) fn take_exit(&mut self, name: &str) {
        let Some(live) = self.live.get_mut(name) else { return };
        let exit = match live.try_wait() {
            Ok(Some(exit)) => exit,
            Ok(None) => return,
            Err(error) => {
                tracing::error!(%error, name, "the exit of a container cannot be written down");
                Exit::unseen()
            }
        };
        live.drain(read_now().wall);
        self.live.remove(name);
        self.tasks.cancel(Some(name));
        self.note_left_mounts();
        let falls_back = |spec: &api::Container| {
            spec.termination_message_policy.as_deref() == Some("FallbackToLogsOnError")
        };
        let fall_back = self.container_spec(name).is_some_and(|spec| falls_back(&spec));
        let message = match exit.message {
            None if fall_back && exit.code != 0 => self.last_words(name),
            message => message,
        };
        let exit = Exit { message, ..exit };
        self.look_at_job(read_now().uptime);
        self.queue.push_back(Event::ContainerExited { name: name.to_owned(), exit });
    }

    /// The end of a container's log, as `FallbackToLogsOnError` has it (2048 bytes or 80 lines).
    fn last_words(&self, name: &str) -> Option<String> {
        let attempt = self.state().container(name)?.restart_count();
        let log = super::tail_of(&log_path(&self.root, &self.uid, name, attempt), 16 * 1024);
        let lines = log.lines().filter_map(|line| crate::logs::parse_line(line.as_bytes()));
        let lines: Vec<String> = lines.map(|l| String::from_utf8_lossy(&l.content).into_owned()).collect();
        let text = lines[lines.len().saturating_sub(80)..].join("\n");
        let start = (text.len().saturating_sub(2048)..text.len()).find(|at| text.is_char_boundary(*at));
        start.map(|start| text[start..].to_owned())
    }

    fn note_left_mounts(&mut self) {
        match self.pod_volumes().left_mounts() {
            Ok(left) => self.file.left_mounts = left,
            Err(error) => tracing::error!(%error, "mounts that containers leave cannot be read"),
        }
    }

    pub(super) fn remove_container(&mut self, id: &str) {
        let removed = pinned::keep_if_pinned(&self.root, id, &self.file.left_mounts)
            .map_err(|e| chain(&e))
            .and_then(|()| {
                let removed = match &self.sandbox {
                    Some(sandbox) => sandbox.remove_container(id),
                    None => runtime::remove_container(&self.dirs, id),
                };
                removed.map_err(|e| chain(&e))
            });
        if let Err(message) = removed {
            // `rm` tries again.
            let message = format!("cannot remove what is left of container {id}: {message}");
            self.queue.push_back(Event::Warning { reason: "FailedRemove".into(), message, hint: None });
        }
    }

    pub(super) fn stop_sandbox(&mut self) {
        self.live.clear();
        self.tasks.cancel(None);
        let removed = match (self.sandbox.take(), &self.file.sandbox_id) {
            (Some(sandbox), _) => sandbox.remove(),
            // One that could not be made, and not be removed.
            (None, Some(id)) => runtime::remove_sandbox(&self.dirs, id),
            (None, None) => Ok(()),
        };
        match removed {
            Ok(()) => self.file.sandbox_id = None,
            Err(error) => {
                let message = format!("cannot remove the sandbox: {}", chain(&error));
                let hint = error.hint();
                self.queue.push_back(Event::Warning { reason: "FailedKillPod".into(), message, hint });
            }
        }
        match self.pod_volumes().end_mounts() {
            Ok(left) => self.file.left_mounts = left,
            Err(error) => tracing::error!(%error, "mounts that containers leave cannot be read"),
        }
        self.queue.push_back(Event::SandboxStopped);
    }
}

#[cfg(test)]
mod tests {
    use super::chain;
    use crate::volumes::host_path;

    #[test]
    fn what_the_kernel_said_is_said_once() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        let error = host_path::check(&link, "DirectoryOrCreate").unwrap_err();
        assert_eq!(chain(&error), format!("mkdir {}: file exists", link.display()));
    }
}
