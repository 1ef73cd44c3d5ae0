//! After a container's mounts are made: did the host's change meanwhile?

use super::{MountError, Prepared, read_own_table};
use std::path::PathBuf;

/// What [`Prepared::verify`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The container has what was planned.
    AsPlanned,
    /// Mounts of the host below this volume source changed while the container's were made, and it may have
    /// missed that: throw the container's first process away and start again from [`prepare`](super::prepare).
    Redo {
        /// The source.
        source: PathBuf,
    },
}

impl Prepared {
    /// To be called in the host's mount namespace, once the child has built its mounts and before anything of
    /// the image runs. Looks only at what the container's volumes receive, so that others may mount elsewhere.
    pub fn verify(&self) -> Result<Verdict, MountError> {
        if self.receiving.is_empty() {
            return Ok(Verdict::AsPlanned);
        }
        let now = read_own_table()?;
        let changed =
            self.receiving.iter().find(|source| !self.host.below(source).iter().eq(&now.below(source)));
        Ok(match changed {
            Some(source) => Verdict::Redo { source: source.clone() },
            None => Verdict::AsPlanned,
        })
    }
}
