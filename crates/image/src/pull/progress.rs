//! What happens in a pull, as values: who draws them decides what to do with so many.

use std::time::Duration;

use crate::digest::Digest;

/// Something happened. Comes from several threads, about one layer never from two at once.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// A registry or mirror is being asked for the manifest.
    Resolving {
        /// Host and port.
        registry: String,
    },
    /// Something failed and does not matter yet: the next mirror is asked, the pull goes on without a credential helper.
    Warning {
        /// What, in words.
        text: String,
    },
    /// It is known what there is to do.
    Resolved {
        /// Digest of the manifest for this machine.
        manifest: Digest,
        /// Of the packed layers, bottom first, each once; those that are here already included.
        layers: Vec<(Digest, u64)>,
    },
    /// About one packed layer.
    Layer {
        /// Its digest.
        digest: Digest,
        /// What about it.
        state: LayerState,
    },
}

/// What is being done with a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LayerState {
    /// It is in the store already.
    Present,
    /// Another pull is fetching it.
    Waiting,
    /// Some of it is here.
    Downloading {
        /// Bytes here.
        received: u64,
        /// Bytes in all.
        total: u64,
    },
    /// Fetching broke off and goes on after a while.
    Retrying {
        /// What happened.
        reason: String,
        /// How long until then.
        wait: Duration,
    },
    /// All is here, and is being unpacked.
    Unpacking,
    /// It is in the store.
    Done,
}
