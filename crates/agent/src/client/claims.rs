//! The folders of claims, which stay when pods go, until somebody asks for their end.

use super::{Client, ClientError, PodRef, Result};
use crate::record::{self, PodRecord};
use crate::removal::{self, RemovalError};
use crate::volumes::{Place, is_claim};
use std::path::PathBuf;

impl Client {
    /// The folders of the claims that a pod has.
    ///
    /// # Errors
    /// The pod is gone, or its record cannot be read.
    pub fn claim_folders(&self, pod: &PodRef) -> Result<Vec<PathBuf>> {
        Ok(self.folders(&record::load(&self.root, &pod.uid)?))
    }

    fn folders(&self, record: &PodRecord) -> Vec<PathBuf> {
        let namespace = record.key().namespace;
        let volumes = record.pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
        let folder = |volume| match Place::of(&self.root, &namespace, &record.claims, volume) {
            Place::Claim(folder) => Some(folder),
            Place::Host(_) | Place::Own => None,
        };
        volumes.iter().filter_map(folder).collect()
    }

    /// Removes those folders of claims that no pod has any more, and gives them.
    ///
    /// # Errors
    /// Something is mounted in one, or the kernel refuses.
    pub fn remove_claims(&self, folders: &[PathBuf]) -> Result<Vec<PathBuf>> {
        if folders.is_empty() {
            return Ok(Vec::new());
        }
        // No pod is created meanwhile that would have one of them.
        let _lock = record::lock_root(&self.root)?;
        let mut used = Vec::new();
        for (_, uid) in record::list(&self.root, None)? {
            used.extend(self.folders(&record::load(&self.root, &uid)?));
        }
        let mut removed = Vec::new();
        let mut unused: Vec<&PathBuf> = folders.iter().filter(|folder| !used.contains(folder)).collect();
        unused.sort_unstable();
        unused.dedup();
        for folder in unused.into_iter().filter(|folder| is_claim(&self.root, folder)) {
            if folder.symlink_metadata().is_ok() {
                removal::remove_tree(folder).map_err(failed)?;
                removed.push(folder.clone());
            }
            // The namespace's folder goes with its last claim; that there are others is no error.
            let _ = folder.parent().map(std::fs::remove_dir);
        }
        Ok(removed)
    }
}

fn failed(error: RemovalError) -> ClientError {
    ClientError::Claim(error)
}
