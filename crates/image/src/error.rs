//! What can go wrong with images: one error for the store and its documents, one for the members of a layer.

use std::io;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::pull::RegistryError;

/// Result of this room.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure of the image store. Never leaves anything half-made behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of the store or of the source could not be used.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as a verb phrase.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// Not a name that an image can have.
    #[error("invalid image reference {reference:?}: {reason}")]
    Reference {
        /// As given.
        reference: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// No image of that name (or id) is here.
    #[error("image {reference} is not in the store")]
    NotFound {
        /// The normalised reference, or the id.
        reference: String,
    },
    /// More than one image id begins so.
    #[error("{prefix:?} is the beginning of more than one image id")]
    AmbiguousId {
        /// As given.
        prefix: String,
    },
    /// A layer that an image consists of is missing below the store.
    #[error("layer {layer} of image {reference} is missing from the store")]
    MissingLayer {
        /// The image.
        reference: String,
        /// The layer's `diff_id`.
        layer: Digest,
    },
    /// The file or directory is not an image in any form that is known here.
    #[error("{} is not an image: {reason}", path.display())]
    NotAnImage {
        /// What was to be imported.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A JSON document of an image, or of the store, cannot be read.
    #[error("malformed {document}")]
    Document {
        /// Which one.
        document: String,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// A JSON document is longer than any real one.
    #[error("{document} is longer than {limit} bytes")]
    DocumentTooLong {
        /// Which one.
        document: String,
        /// The bound in bytes.
        limit: u64,
    },
    /// Not a digest, or not one of an algorithm that is known here.
    #[error("invalid digest {digest:?}: only sha256:<64 hexadecimal digits> is supported")]
    BadDigest {
        /// As found.
        digest: String,
    },
    /// The bytes are not those that the image names.
    #[error("{what} has the digest {actual} where {expected} was promised")]
    DigestMismatch {
        /// Which content.
        what: String,
        /// What the image's documents say.
        expected: Digest,
        /// What was read.
        actual: Digest,
    },
    /// A blob is longer or shorter than its descriptor says.
    #[error("{what} has {actual} bytes where {expected} were promised")]
    SizeMismatch {
        /// Which content.
        what: String,
        /// Bytes in the descriptor.
        expected: u64,
        /// Bytes read.
        actual: u64,
    },
    /// A blob that the image's documents name is not in the archive or directory.
    #[error("{} has no {blob}", path.display())]
    MissingBlob {
        /// The archive or directory.
        path: PathBuf,
        /// Path of the blob within it.
        blob: String,
    },
    /// Manifest and config disagree on the number of layers.
    #[error("the manifest has {manifest} layers, the config {config}")]
    LayerCount {
        /// Layers in the manifest.
        manifest: usize,
        /// `rootfs.diff_ids` in the config.
        config: usize,
    },
    /// The image is for other machines.
    #[error("the image is for {available}, this machine is {wanted}")]
    Platform {
        /// What there is, comma-separated.
        available: String,
        /// `os/architecture` of this machine.
        wanted: String,
    },
    /// The archive holds several images and the reference chooses none of them.
    #[error("{} holds several images ({names}) and none of them is called {reference}", path.display())]
    SeveralImages {
        /// The archive or directory.
        path: PathBuf,
        /// Their names, comma-separated.
        names: String,
        /// What was asked for.
        reference: String,
    },
    /// Options for a root file system were given with a complete image.
    #[error("{} is a complete image: its config cannot be set on import", path.display())]
    ConfigNotSettable {
        /// The archive or directory.
        path: PathBuf,
    },
    /// A layer could not be unpacked.
    #[error("cannot unpack layer {layer}")]
    Layer {
        /// Digest, or name in the archive.
        layer: String,
        /// The member and what is wrong with it.
        #[source]
        source: Box<UnpackError>,
    },
    /// Two layers' digests begin alike: one in 2^64.
    #[error("layer {new} cannot be stored: {} is taken by {present}", path.display())]
    ShortDigestTaken {
        /// The directory.
        path: PathBuf,
        /// What is there.
        present: Digest,
        /// What was to go there.
        new: Digest,
    },
    /// An owner's name that cannot be a file name.
    #[error("invalid owner {owner:?} of a pin: 1 to 128 letters, digits, `.`, `_` and `-` are allowed")]
    Owner {
        /// As given.
        owner: String,
    },
    /// An image could not be pulled. Together with its cause it has containerd's words.
    #[error("failed to pull and unpack image {reference:?}")]
    Pull {
        /// The full reference.
        reference: String,
        /// Why.
        #[source]
        source: Box<Error>,
    },
    /// A registry did not do what it was asked for.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Something is being imported or pulled, and what is to be done must not happen beside that.
    #[error("the image store is busy: something is being pulled or imported ({} is locked)", path.display())]
    Busy {
        /// The lock.
        path: PathBuf,
    },
    /// The store was written by a newer version of this program.
    #[error("image store {} has version {found}, this program knows {known}", path.display())]
    Version {
        /// The store.
        path: PathBuf,
        /// What it says.
        found: u32,
        /// The newest that is understood.
        known: u32,
    },
}

impl Error {
    pub(crate) fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Error {
        let path = path.as_ref().to_owned();
        move |source| Error::Io { action, path, source }
    }

    pub(crate) fn document(document: impl Into<String>) -> impl FnOnce(serde_json::Error) -> Error {
        let document = document.into();
        move |source| Error::Document { document, source }
    }

    /// Whether there is no such image, here or in the registry.
    pub fn is_not_found(&self) -> bool {
        match self {
            Error::NotFound { .. } | Error::Registry(RegistryError::NotFound { .. }) => true,
            Error::Pull { source, .. } => source.is_not_found(),
            _ => false,
        }
    }

    /// Whether another registry might do better: nothing that is wrong on this machine.
    pub(crate) fn is_theirs(&self) -> bool {
        matches!(
            self,
            Error::Registry(_)
                | Error::Document { .. }
                | Error::DocumentTooLong { .. }
                | Error::BadDigest { .. }
                | Error::DigestMismatch { .. }
                | Error::SizeMismatch { .. }
                | Error::LayerCount { .. }
                | Error::Platform { .. }
        )
    }

    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Pull { source, .. } => match source.as_ref() {
                Error::DigestMismatch { .. } | Error::SizeMismatch { .. } => {
                    Some("the registry's copy is damaged or was tampered with: push it again, or use another mirror".into())
                }
                source => source.hint(),
            },
            Error::Registry(error) => error.hint(),
            Error::NotFound { reference } => {
                Some(format!(
                    "bring it in with `rhizome image pull {reference}`, or `rhizome image import PATH --name {reference}`"
                ))
            }
            Error::MissingLayer { reference, .. } => {
                Some(format!("import it again: `rhizome image import PATH --name {reference}`"))
            }
            Error::SeveralImages { names, .. } => {
                let first = names.split(", ").next().unwrap_or(names);
                Some(format!("name one of them, such as `--name {first}`"))
            }
            Error::DigestMismatch { .. } | Error::SizeMismatch { .. } => {
                Some("the file is damaged or was tampered with: fetch it again".into())
            }
            Error::ConfigNotSettable { .. } => {
                Some("set entrypoint, command and environment in the Pod instead".into())
            }
            Error::Busy { .. } => Some("try again when that is done".into()),
            Error::AmbiguousId { .. } => Some("give more digits of the id".into()),
            Error::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("run as root: layers hold files of any owner".into())
            }
            Error::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("make room, or put the store elsewhere with --root".into())
            }
            Error::Layer { source, .. } => source.hint(),
            _ => None,
        }
    }
}

/// A layer (or root file system archive) that is not unpacked, and why.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// The archive itself is damaged.
    #[error("malformed archive at byte {offset}: {reason}")]
    Malformed {
        /// Of the uncompressed archive.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
    /// The archive ends within a member.
    #[error("the archive ends at byte {offset}, within {member:?}")]
    Truncated {
        /// Of the uncompressed archive.
        offset: u64,
        /// The member.
        member: String,
    },
    /// The bytes could not be read or decompressed.
    #[error("cannot read the archive at byte {offset}")]
    Read {
        /// Of the uncompressed archive.
        offset: u64,
        /// The reader's answer.
        #[source]
        source: io::Error,
    },
    /// A member's path leads out of the root.
    #[error("member {member:?} leads out of the root file system")]
    Escape {
        /// Its path as written.
        member: String,
    },
    /// A member's path is no path.
    #[error("member {member:?} has an invalid path: {reason}")]
    Path {
        /// Its path as written.
        member: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// A member's path leads through something that is no directory.
    #[error("member {member:?} lies below {parent:?}, which is not a directory")]
    Parent {
        /// Its path as written.
        member: String,
        /// What is in its way.
        parent: String,
    },
    /// A hard link to something that this layer does not hold.
    #[error("member {member:?} is a hard link to {target:?}, which is not in this layer")]
    LinkTarget {
        /// Its path as written.
        member: String,
        /// The link's target as written.
        target: String,
    },
    /// A directory with contents would be replaced.
    #[error("member {member:?} would replace a directory that is not empty")]
    ReplacesDirectory {
        /// Its path as written.
        member: String,
    },
    /// A kind of member that is not unpacked here.
    #[error("member {member:?} is {kind}, which is not supported")]
    Unsupported {
        /// Its path as written.
        member: String,
        /// What it is.
        kind: String,
    },
    /// A number of a member does not fit.
    #[error("member {member:?} has an invalid {field}")]
    Field {
        /// Its path as written.
        member: String,
        /// Which one.
        field: &'static str,
    },
    /// More members than allowed.
    #[error("more than {limit} members")]
    TooManyMembers {
        /// The bound.
        limit: u64,
    },
    /// More bytes than allowed, after decompression.
    #[error("more than {limit} bytes after decompression")]
    TooLarge {
        /// The bound in bytes.
        limit: u64,
    },
    /// The file system refused.
    #[error("cannot {action} {member:?}")]
    Io {
        /// What was tried, as a verb phrase.
        action: &'static str,
        /// For which member.
        member: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
}

impl UnpackError {
    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            UnpackError::Unsupported { kind, .. } if kind.contains("sparse") => {
                Some("make the archive without --sparse".into())
            }
            UnpackError::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => Some(
                "device nodes, owners and whiteouts need root with CAP_MKNOD, CAP_CHOWN and CAP_SYS_ADMIN"
                    .into(),
            ),
            UnpackError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("make room, or put the store elsewhere with --root".into())
            }
            _ => None,
        }
    }
}
