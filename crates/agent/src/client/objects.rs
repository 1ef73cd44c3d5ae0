//! Giving a pod that runs what its ConfigMaps, Secrets, labels and annotations have become.

use super::{Client, ClientError, PodRef, Result};
use crate::protocol::{OBJECTS_SINCE, Request};
use crate::record::{self, PodObjects};
use crate::status_file::StatusFile;

impl Client {
    /// Takes new contents into the pod's record and, as the kubelet does, into its volumes: all files of one at once, by
    /// exchanging the link through which containers see them. A file that is mounted by itself (`subPath`) and the
    /// variables of a container stay what they are until the container is made again.
    ///
    /// When this returns the files are there. What of them could not be written is told by the pod's events.
    ///
    /// # Errors
    /// The pod has no supervisor, or one of a version that could not do this; a file cannot be written.
    pub fn update_objects(&self, pod: &PodRef, objects: &PodObjects) -> Result<StatusFile> {
        record::leave_objects(&self.root, &pod.uid, objects).map_err(ClientError::Record)?;
        self.ask_for_change(pod, OBJECTS_SINCE, "change its volumes", &Request::TakeObjects)
    }
}
