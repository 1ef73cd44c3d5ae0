//! What can go wrong with a command on pods.

use crate::record::{PodKey, RecordError};
use crate::removal::RemovalError;
use crate::root::RootError;
use crate::volumes::TearDownError;
use crate::volumes::pinned::PinError;
use std::io;

/// What a command on pods gives.
pub type Result<T, E = ClientError> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The root cannot be used.
    #[error(transparent)]
    Root(#[from] RootError),
    /// A record cannot be made, found or read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// No such pod.
    #[error("{error}")]
    NoPod {
        /// In Kubernetes' words.
        error: RecordError,
        /// Where it may be instead.
        hint: Option<String>,
    },
    /// No pods of such a workload.
    #[error("{resource} {name:?} not found")]
    NoWorkload {
        /// The resource as Kubernetes names it: `daemonsets.apps`.
        resource: String,
        /// Its name.
        name: String,
    },
    /// A claim's folder cannot be removed.
    #[error(transparent)]
    Claim(RemovalError),
    /// No such container.
    #[error("container {container} is not valid for pod {} out of: {}", .pod.name, .known.join(", "))]
    NoContainer {
        /// As named.
        container: String,
        /// The pod.
        pod: PodKey,
        /// Its containers.
        known: Vec<String>,
    },
    /// What is to be added to a pod is wrong.
    #[error("The Pod {:?} is invalid: {}", .pod.name, .errors.join(", "))]
    Invalid {
        /// The pod.
        pod: PodKey,
        /// In the API server's words.
        errors: Vec<String>,
    },
    /// A container that does not run.
    #[error("container {container:?} in pod {:?} is not running", .pod.name)]
    NotRunning {
        /// The pod.
        pod: PodKey,
        /// The container.
        container: String,
    },
    /// A container that was not started yet.
    #[error("container {container:?} in pod {:?} is waiting to start: {reason}", .pod.name)]
    WaitingToStart {
        /// The pod.
        pod: PodKey,
        /// The container.
        container: String,
        /// The API's reason.
        reason: String,
    },
    /// There was no run of the container before.
    #[error("previous terminated container {container:?} in pod {:?} not found", .pod.name)]
    NoPrevious {
        /// The pod.
        pod: PodKey,
        /// The container.
        container: String,
    },
    /// A supervisor says no.
    #[error("{reason}")]
    Refused {
        /// The pod.
        pod: PodKey,
        /// In its words.
        reason: String,
    },
    /// A supervisor of a version that did not have this yet.
    #[error("the supervisor of pod {:?} is of rhizome {version}, which could not do this yet", .pod.name)]
    TooOld {
        /// The pod.
        pod: PodKey,
        /// The version of the program that it runs.
        version: String,
    },
    /// The pod runs, and must not for this.
    #[error("pod {:?} is running", .pod.name)]
    Running {
        /// The pod.
        pod: PodKey,
        /// Whether it has a supervisor.
        supervised: bool,
    },
    /// The status file.
    #[error("cannot read the status of pod {:?}", .pod.name)]
    Status {
        /// The pod.
        pod: PodKey,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A supervisor could not be started.
    #[error("cannot start the supervisor of pod {:?}: {reason}", .pod.name)]
    Supervisor {
        /// The pod.
        pod: PodKey,
        /// What it said, or why it could not be executed.
        reason: String,
    },
    /// A supervisor does not answer as it should.
    #[error("cannot talk to the supervisor of pod {:?}", .pod.name)]
    Talk {
        /// The pod.
        pod: PodKey,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It did not come to its end in time.
    #[error("pod {:?} has not ended {seconds} s after it was killed", .pod.name)]
    DoesNotEnd {
        /// The pod.
        pod: PodKey,
        /// How long was waited.
        seconds: u64,
    },
    /// The runtime.
    #[error(transparent)]
    Runtime(Box<runtime::Error>),
    /// A layer that a mount shows cannot be kept; its container is not removed then.
    #[error("cannot keep what a mount shows of container {container}")]
    Keep {
        /// Its id.
        container: String,
        /// Why.
        #[source]
        source: Box<PinError>,
    },
    /// The volumes cannot be taken away.
    #[error("cannot take away the volumes of pod {:?}", .pod.name)]
    Volumes {
        /// The pod.
        pod: PodKey,
        /// Why.
        #[source]
        source: Box<TearDownError>,
    },
    /// A root is not removed.
    #[error(transparent)]
    Reset(Box<super::reset::ResetError>),
    /// The image store.
    #[error(transparent)]
    Image(#[from] image::Error),
    /// A log cannot be read.
    #[error("cannot read a log")]
    Log(#[source] io::Error),
    /// Waiting failed.
    #[error("cannot wait")]
    Wait(#[source] io::Error),
}

impl ClientError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            ClientError::NoPod { hint, .. } => hint.clone(),
            ClientError::Record(RecordError::AlreadyExists { key }) => {
                Some(format!("remove it with `rhizome rm -f -n {} {}`", key.namespace, key.name))
            }
            ClientError::Running { pod, supervised: true } => {
                Some(format!("stop it with `rhizome stop -n {} {}`, or use -f", pod.namespace, pod.name))
            }
            ClientError::Running { pod, supervised: false } => Some(format!(
                "its supervisor is gone and its containers run on: `rhizome start -n {0} {1}` gives them another, \
                 `rhizome stop -n {0} {1}` ends them",
                pod.namespace, pod.name
            )),
            ClientError::WaitingToStart { pod, .. } => {
                Some(format!("`rhizome inspect -n {} {}` says why", pod.namespace, pod.name))
            }
            ClientError::TooOld { pod, .. } => Some(format!(
                "`rhizome stop -n {0} {1}` and `rhizome start -n {0} {1}` give it a supervisor of this version",
                pod.namespace, pod.name
            )),
            ClientError::DoesNotEnd { .. } => Some(
                "a process that a signal does not end waits for a device or a dead file system".to_owned(),
            ),
            ClientError::Runtime(error) => error.hint(),
            ClientError::Volumes { source, .. } => source.hint(),
            ClientError::Reset(error) => error.hint(),
            ClientError::Claim(error) => error.hint(),
            _ => None,
        }
    }
}

impl From<runtime::Error> for ClientError {
    fn from(error: runtime::Error) -> ClientError {
        ClientError::Runtime(Box::new(error))
    }
}
