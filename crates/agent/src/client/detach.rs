//! Detaching what a pod's containers left mounted on the host.

use super::{Client, ClientError, PodRef, PodView, Result};
use crate::lifecycle::Stage;
use crate::record;
use crate::status_file::LeftMount;
use crate::volumes::{PodVolumes, TearDownError, pinned};

/// What became of the mounts.
#[derive(Debug, Default)]
pub struct DetachedMounts {
    /// Gone, in the order in which they went.
    pub detached: Vec<LeftMount>,
    /// Still there, with what the kernel said.
    pub kept: Vec<(LeftMount, String)>,
}

impl Client {
    /// What the containers of a pod left on the host, in the order in which it can be detached.
    ///
    /// # Errors
    /// The pod runs: what it mounted is in use then. Or the mount table cannot be read.
    pub fn left_mounts(&self, pod: &PodRef) -> Result<Vec<LeftMount>> {
        let view = self.view(pod)?;
        self.left_of(&view)
    }

    fn left_of(&self, view: &PodView) -> Result<Vec<LeftMount>> {
        let pod = &view.pod;
        if view.supervised || !matches!(view.state().stage, Stage::New | Stage::Done) {
            return Err(ClientError::Running { pod: pod.key.clone(), supervised: view.supervised });
        }
        let volumes = PodVolumes { root: &self.root, uid: &pod.uid, record: &view.record };
        volumes.left_mounts().map_err(|source| super::end::volumes_error(pod, TearDownError::Cause(source)))
    }

    /// Detaches it: each mount with what is mounted on it, made private first, so that nothing is torn out of where else
    /// it is mounted. The copies that others have of it by propagation go, as with every umount(2) at a shared place.
    ///
    /// # Errors
    /// As [`Client::left_mounts`]. A mount that the kernel keeps is no error, but told.
    pub fn detach_mounts(&self, pod: &PodRef) -> Result<DetachedMounts> {
        let _lock = record::lock(&self.root, &pod.uid, &pod.key)?;
        let mut result = DetachedMounts::default();
        let mut tried = Vec::new();
        for mount in self.left_mounts(pod)? {
            let detached = runtime::mounts::detach_bind(&mount.mount_point);
            tried.push((mount, detached.err()));
        }
        let mut still = self.left_mounts(pod)?;
        for (mount, error) in tried {
            // Several may be at one place: as many as are there still are kept.
            match still.iter().position(|left| *left == mount) {
                Some(at) => {
                    still.remove(at);
                    let why = error.map_or_else(|| "it is still there".to_owned(), |error| error.to_string());
                    result.kept.push((mount, why));
                }
                None => result.detached.push(mount),
            }
        }
        if let Err(error) = pinned::release(&self.root) {
            tracing::warn!(%error, "kept layers");
        }
        Ok(result)
    }
}
