//! Adding an ephemeral container to a pod that runs (`kubectl debug`).

use super::watch::ANSWER_TIMEOUT;
use super::{Client, ClientError, PodRef, Result};
use crate::protocol::{Answer, EPHEMERAL_SINCE, Request};
use crate::record;
use crate::status_file::StatusFile;
use k8s_openapi::api::core::v1 as api;
use std::io;

impl Client {
    /// Adds an ephemeral container: it is defaulted and validated in the API server's words, its name must be new and its
    /// image here already. It is in the pod's record when this returns, and runs soon: see the status, or
    /// [`Client::wait_until`]. It runs once, whatever the pod's `restartPolicy`.
    ///
    /// # Errors
    /// `The Pod "p" is invalid: …`; the pod has no supervisor, or one of a version that could not do this; it is ending.
    pub fn add_ephemeral_container(
        &self,
        pod: &PodRef,
        container: api::EphemeralContainer,
    ) -> Result<StatusFile> {
        let container = Box::new(self.check_ephemeral(pod, container)?);
        let request = Request::AddEphemeralContainer { container };
        self.ask_for_change(pod, EPHEMERAL_SINCE, "run a container", &request)
    }

    /// Asks a pod's supervisor for what is answered with the status.
    pub(super) fn ask_for_change(
        &self,
        pod: &PodRef,
        since: u32,
        to: &str,
        request: &Request,
    ) -> Result<StatusFile> {
        let talk = |source| ClientError::Talk { pod: pod.key.clone(), source };
        let refused = |reason: String| ClientError::Refused { pod: pod.key.clone(), reason };
        let mut connection = self.connect_since(pod, since, to)?;
        connection.ask(request).map_err(talk)?;
        let line = connection.wait_for_line(ANSWER_TIMEOUT).map_err(talk)?;
        let line = line.ok_or_else(|| talk(io::ErrorKind::UnexpectedEof.into()))?;
        match serde_json::from_slice(&line).map_err(|e| talk(e.into()))? {
            Answer::Status { status } => Ok(*status),
            Answer::Error { message } => Err(refused(message)),
            Answer::Attached => Err(talk(io::ErrorKind::InvalidData.into())),
        }
    }

    /// With its defaults, among the others of the pod.
    fn check_ephemeral(
        &self,
        pod: &PodRef,
        container: api::EphemeralContainer,
    ) -> Result<api::EphemeralContainer> {
        let mut changed = record::load(&self.root, &pod.uid)?.pod;
        let all = changed.spec.get_or_insert_default().ephemeral_containers.get_or_insert_default();
        all.push(container);
        manifest::defaults::pod(&mut changed);
        let errors = manifest::validate::ephemeral_containers(&changed);
        let told: Vec<String> = errors.list.iter().map(|error| error.message.clone()).collect();
        let added = changed.spec.and_then(|spec| spec.ephemeral_containers).and_then(|mut all| all.pop());
        match added {
            Some(container) if told.is_empty() => Ok(container),
            _ => Err(ClientError::Invalid { pod: pod.key.clone(), errors: told }),
        }
    }
}
