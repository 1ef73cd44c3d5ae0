//! OCI images on this machine: pull, import, a content-addressed store, layers as lower directories for overlayfs.
//!
//! What comes in is checked against the digests that the image names, unpacked once a layer, and shared between the
//! images that have it. A root file system archive becomes an image of one layer.
//!
//! **Architecture invariant:** the store is whole at every moment. A layer appears and disappears by one rename, files
//! are replaced and never written in place, and what a killed import left is in `tmp/`, which the next
//! [`Store::open`] empties.
//!
//! **Architecture invariant:** a layer that something runs from is never removed. Whoever mounts layers holds a pin
//! ([`Store::pin`]) from before the mount until after it is gone; names have nothing to do with it.
//!
//! **Architecture invariant:** nothing that an image says decides where on the machine something is written (see
//! `unpack`), or how much of the machine it takes ([`Limits`]).
//!
//! Deliberately absent: mounting (that is `runtime`'s), the packed blobs (they are not needed to run, and a layer's
//! `diff_id` tells its identity), and a name for "the image of the moment": a running container keeps its id.
//!
//! **Architecture invariant:** the network is used within [`Store::pull`] and nowhere else, by at most a handful of threads
//! that are gone when it returns. No async. Whoever forks containers does not call it.
#![forbid(unsafe_code)]

mod digest;
mod error;
mod import;
mod inspect;
mod lock;
mod oci;
mod pull;
mod reference;
mod source;
mod store;
pub mod tar_stream;
mod unpack;
mod zstd;

pub use digest::Digest;
pub use error::{Error, Result, UnpackError};
pub use import::ImportOptions;
pub use inspect::{Blob, Inspection, LayerInfo, Pruned};
pub use oci::{DEFAULT_PATH, ImageConfig};
pub use pull::{
    DockerConfig, LayerState, Progress, PullDecision, PullOptions, PullPolicy, Pulled, Registries,
    RegistryError, UnknownPolicy, message,
};
pub use reference::Reference;
pub use store::{Image, Removed, Store};
pub use unpack::Limits;
