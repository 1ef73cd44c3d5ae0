//! A node as a document: JSON with a version, bounded when it is read.

use super::Node;
use crate::MAX_ROWS;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The most bytes of a document that is taken: a million rows have some 400 MB.
pub const MAX_DOCUMENT_BYTES: u64 = 1 << 30;

/// The most namespaces of a document that is taken.
pub const MAX_NAMESPACES: usize = 1 << 17;

/// The `apiVersion` of the document. Fields may be added under it, and readers pass over those they do not know; one that
/// is removed or means something else gets another version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Version;

/// The `kind` of the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Kind;

const VERSION: &str = "rhizome.dev/v1";
const KIND: &str = "NodeSnapshot";

macro_rules! always {
    ($type:ident, $text:ident) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str($text)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                match &*text {
                    $text => Ok($type),
                    other => Err(serde::de::Error::custom(format!("{other:?} where {} is expected", $text))),
                }
            }
        }
    };
}

always!(Version, VERSION);
always!(Kind, KIND);

/// Bytes that are no document of a node.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It is not JSON, or not of this kind and version.
    #[error("not a snapshot of a node")]
    Json(#[from] serde_json::Error),
    /// More of something than is taken.
    #[error("more than {limit} {of}")]
    TooMany {
        /// Of what.
        of: &'static str,
        /// How many are taken.
        limit: usize,
    },
    /// Two namespaces of one number.
    #[error("the namespace {id} stands there twice")]
    Twice {
        /// The number.
        id: u64,
    },
    /// Unique ids for some of the rows.
    #[error("the namespace {id} has {mounts} mounts and {ids} unique ids")]
    Unequal {
        /// The namespace.
        id: u64,
        /// Rows.
        mounts: usize,
        /// Ids.
        ids: usize,
    },
}

impl Node {
    /// The node as one line of JSON with a line end.
    ///
    /// # Errors
    /// None that a node can cause: its paths are text in it whatever their bytes are.
    pub fn to_json(&self) -> Result<Vec<u8>, DocumentError> {
        let mut bytes = serde_json::to_vec(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads a document, which anybody may have written.
    ///
    /// # Errors
    /// It is not of this kind and version, or has more than [`MAX_NAMESPACES`] or [`MAX_ROWS`].
    pub fn parse_json(bytes: &[u8]) -> Result<Node, DocumentError> {
        let node: Node = serde_json::from_slice(bytes)?;
        node.check()?;
        Ok(node)
    }

    fn check(&self) -> Result<(), DocumentError> {
        if self.namespaces.len() > MAX_NAMESPACES {
            return Err(DocumentError::TooMany { of: "namespaces", limit: MAX_NAMESPACES });
        }
        if self.namespaces.iter().map(|view| view.mounts.mounts.len()).sum::<usize>() > MAX_ROWS {
            return Err(DocumentError::TooMany { of: "mounts", limit: MAX_ROWS });
        }
        let mut seen = std::collections::HashSet::new();
        for view in &self.namespaces {
            if !seen.insert(view.id) {
                return Err(DocumentError::Twice { id: view.id.0 });
            }
            let (mounts, ids) = (view.mounts.mounts.len(), view.unique_mount_ids.len());
            if ids != 0 && ids != mounts {
                return Err(DocumentError::Unequal { id: view.id.0, mounts, ids });
            }
        }
        Ok(())
    }
}
