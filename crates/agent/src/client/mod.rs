//! What a command does with pods: create, look, wait, stop, start, remove, read logs. No daemon: the files say what is,
//! and each pod's supervisor, while there is one, is asked over its socket.
//!
//! Architecture invariant: whatever is told of a pod is true when it is told. A supervisor that was killed is noticed
//! (its lock is free), and then the runtime's records and `/proc` are asked instead of it.

mod attach;
mod begin;
mod claims;
mod detach;
mod end;
mod ephemeral;
mod error;
mod foreground;
mod logs;
mod network;
mod objects;
mod reset;
mod watch;

pub use begin::{Progress, StartFailure, progress, remarks};
pub use detach::DetachedMounts;
pub use end::{Removed, Stopped};
pub use error::{ClientError, Result};
pub use foreground::{Foreground, ForegroundEvent};
pub use logs::log_is_over;
pub use reset::{Holdings, Reset, ResetError, leftovers, node_runs, require_ours, reset_rest};
pub use watch::Watch;
pub(crate) use watch::wait_for;

use crate::clock::read_now;
use crate::lifecycle::{Kind, PodState};
use crate::orphan;
use crate::record::{self, PodKey, PodRecord, PodUid};
use crate::root::Root;
use crate::status;
use crate::status_file::{StatusFile, read_boot_id};
use crate::supervisor;
use crate::volumes::PodVolumes;
use k8s_openapi::api::core::v1 as api;
use std::cell::RefCell;
use std::process::Child;

/// A pod that exists (or did a moment ago).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodRef {
    /// Its name.
    pub key: PodKey,
    /// Its uid: another pod of the same name is another pod.
    pub uid: PodUid,
}

/// A pod, and perhaps one of its containers, as named on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The pod.
    pub pod: PodRef,
    /// The container after the slash; it is one of the pod's.
    pub container: Option<String>,
}

/// A pod, looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct PodView {
    /// Which.
    pub pod: PodRef,
    /// What was asked for.
    pub record: PodRecord,
    /// What became of it, as of now.
    pub status: StatusFile,
    /// Whether its supervisor lives. Without one nothing is restarted and no log is written.
    pub supervised: bool,
}

impl PodView {
    /// The state of its life.
    pub fn state(&self) -> &PodState {
        &self.status.state
    }

    /// The API's object, with its status.
    pub fn to_api(&self) -> api::Pod {
        status::pod_with_status(&self.record.pod, self.state())
    }

    /// What happened to it, in the API's shape: see [`crate::events`].
    pub fn events(&self) -> Vec<api::Event> {
        crate::events::of_pod(&self.record.pod, self.state())
    }

    /// The names of its containers as kubectl lists them: the main ones, then `NAME (init)`, then `NAME (ephem)`.
    pub fn container_names(&self) -> Vec<String> {
        let main = self.state().mains().map(|c| c.name.clone());
        let init = self.state().containers.iter().filter(|c| c.kind.is_init());
        let ephemeral = self.state().containers.iter().filter(|c| c.kind == Kind::Ephemeral);
        let marked = init.map(|c| format!("{} (init)", c.name));
        main.chain(marked).chain(ephemeral.map(|c| format!("{} (ephem)", c.name))).collect()
    }

    /// The id of a container that runs, for `runtime::exec`.
    ///
    /// # Errors
    /// It is none of the pod's, or it does not run.
    pub fn running_id(&self, container: &str) -> Result<&str> {
        let state = self.state().container(container).ok_or_else(|| self.no_container(container))?;
        match state.running() {
            true => Ok(&state.id),
            false => {
                Err(ClientError::NotRunning { pod: self.pod.key.clone(), container: container.to_owned() })
            }
        }
    }

    fn no_container(&self, container: &str) -> ClientError {
        ClientError::NoContainer {
            container: container.to_owned(),
            pod: self.pod.key.clone(),
            known: self.container_names(),
        }
    }
}

/// The pods of a root that could be read, and why others could not.
#[derive(Debug, Default)]
pub struct Listed {
    /// By namespace and name.
    pub pods: Vec<PodView>,
    /// Pods that are there but cannot be read.
    pub problems: Vec<(PodKey, ClientError)>,
}

/// Does things with the pods of one root.
#[derive(Debug)]
pub struct Client {
    root: Root,
    /// Supervisors that we started: ours to wait for while we live.
    children: RefCell<Vec<Child>>,
}

impl Client {
    /// For this root, whose folders are made if they are missing.
    ///
    /// # Errors
    /// They cannot be used.
    pub fn open(root: &Root) -> Result<Client> {
        Ok(Client { root: root.open()?, children: RefCell::default() })
    }

    /// The root, its paths resolved.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// A pod by name.
    ///
    /// # Errors
    /// There is none, or its files cannot be read.
    pub fn get(&self, key: &PodKey) -> Result<PodView> {
        let uid = record::require(&self.root, key)?;
        self.view(&PodRef { key: key.clone(), uid })
    }

    /// Looks at a pod.
    ///
    /// # Errors
    /// Its files cannot be read.
    pub fn view(&self, pod: &PodRef) -> Result<PodView> {
        // Removed between the look at the index and here: that is a pod that is not there.
        let gone = |error| match record::find(&self.root, &pod.key) {
            Ok(Some(uid)) if uid == pod.uid => error,
            _ => record::RecordError::NotFound { key: pod.key.clone() },
        };
        let record = record::load(&self.root, &pod.uid).map_err(gone)?;
        let (status, supervised) = self.status(pod, &record)?;
        Ok(PodView { pod: pod.clone(), record, status, supervised })
    }

    /// The status as of now, and whether somebody supervises.
    fn status(&self, pod: &PodRef, record: &PodRecord) -> Result<(StatusFile, bool)> {
        // First the lock, then the file: what a supervisor that has just ended wrote last is then in it.
        let supervised = supervisor::is_alive(&self.root, &pod.uid);
        let unreadable = |source| ClientError::Status { pod: pod.key.clone(), source };
        let file = match StatusFile::read(&self.root, &pod.uid).map_err(unreadable)? {
            Some(file) => file,
            None => StatusFile::new(PodState::new(status::rules(&record.pod))).map_err(unreadable)?,
        };
        if supervised {
            return Ok((file, true));
        }
        let boot_id = read_boot_id().map_err(unreadable)?;
        let mut file = orphan::as_it_is(&self.root.runtime_dirs(), file, &boot_id, read_now())?;
        let volumes = PodVolumes { root: &self.root, uid: &pod.uid, record };
        file.left_mounts = volumes.left_mounts().unwrap_or(file.left_mounts);
        Ok((file, false))
    }

    /// The pods of one namespace or of all.
    ///
    /// # Errors
    /// The index cannot be read; a single pod that cannot is among the problems.
    pub fn list(&self, namespace: Option<&str>) -> Result<Listed> {
        let mut listed = Listed::default();
        for (key, uid) in record::list(&self.root, namespace)? {
            match self.view(&PodRef { key: key.clone(), uid }) {
                Ok(view) => listed.pods.push(view),
                // Removed meanwhile.
                Err(ClientError::Record(record::RecordError::NotFound { .. })) => {}
                Err(error) => listed.problems.push((key, error)),
            }
        }
        Ok(listed)
    }

    /// The pods that a workload made, by name; at least one.
    ///
    /// # Errors
    /// In Kubernetes' words if there is none; or a record cannot be read.
    pub fn pods_of(&self, namespace: &str, kind: &str, name: &str) -> Result<Vec<PodRef>> {
        let mut found = Vec::new();
        for (key, uid) in record::list(&self.root, Some(namespace))? {
            // What cannot be read is no one's; by its own name it is told why.
            let Ok(record) = record::load(&self.root, &uid) else { continue };
            if manifest::workloads::owner(&record.pod) == Some((kind, name)) {
                found.push(PodRef { key, uid });
            }
        }
        if found.is_empty() {
            let resource = manifest::kinds::resource(kind);
            return Err(ClientError::NoWorkload { resource, name: name.to_owned() });
        }
        Ok(found)
    }

    /// What `POD` or `POD/CONTAINER` names in a namespace.
    ///
    /// # Errors
    /// In kubectl's words: no such pod, no such container in it.
    pub fn resolve(&self, namespace: &str, target: &str) -> Result<Target> {
        let (name, container) = match target.split_once('/') {
            Some((name, container)) => (name, Some(container)),
            None => (target, None),
        };
        let key = PodKey { namespace: namespace.to_owned(), name: name.to_owned() };
        let uid = record::require(&self.root, &key).map_err(|error| self.with_near_miss(error))?;
        let pod = PodRef { key, uid };
        if let Some(container) = container {
            let view = self.view(&pod)?;
            if view.state().container(container).is_none() {
                return Err(view.no_container(container));
            }
        }
        Ok(Target { pod, container: container.map(str::to_owned) })
    }

    /// A pod that is not there, and where it may be instead.
    fn with_near_miss(&self, error: record::RecordError) -> ClientError {
        let record::RecordError::NotFound { key } = &error else { return error.into() };
        let others = record::list(&self.root, None).unwrap_or_default();
        let elsewhere =
            others.iter().find(|(other, _)| other.name == key.name).map(|(other, _)| other.clone());
        let names = others.iter().filter(|(other, _)| other.namespace == key.namespace);
        let near = manifest::nearest::nearest(&key.name, names.map(|(other, _)| other.name.as_str()));
        let hint = match (elsewhere, near) {
            (Some(other), _) => Some(format!("there is one in namespace {0}: `-n {0}`", other.namespace)),
            (None, Some(near)) => Some(format!("did you mean {near:?}?")),
            (None, None) => None,
        };
        ClientError::NoPod { error, hint }
    }
}
