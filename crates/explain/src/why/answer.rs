//! What comes back.

use crate::finding::Finding;
use mount_table::MountId;
use serde::Serialize;
use std::path::PathBuf;

/// Whether it is visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Visibility {
    /// It is.
    Yes,
    /// It is not.
    No,
}

/// A mount that a fact is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Named {
    /// Its namespace.
    pub namespace: String,
    /// Its id there.
    pub id: MountId,
}

/// One fact of the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Link {
    /// Whether the chain holds here.
    pub holds: bool,
    /// What is so.
    pub fact: String,
    /// The rule that makes it matter; its page is `docs/rules/RULE.md`, or in `docs/rules/kernel.md`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<&'static str>,
    /// The mounts that it is about.
    pub mounts: Vec<Named>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// Whether what is at the path is visible.
    pub visible: Visibility,
    /// The same in a sentence.
    pub verdict: String,
    /// The path that was asked for.
    #[serde(with = "mount_table::path_as_text")]
    pub path: PathBuf,
    /// Where the path is meant.
    pub from: String,
    /// Where it should be visible.
    #[serde(rename = "in")]
    pub into: String,
    /// Where it is, or would be, in there.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "optional_path")]
    pub place: Option<PathBuf>,
    /// The facts, in order.
    pub chain: Vec<Link>,
    /// Why, with what mends it.
    pub cause: Finding,
}

fn optional_path<S: serde::Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    match path {
        Some(path) => mount_table::path_as_text::serialize(path, serializer),
        None => serializer.serialize_none(),
    }
}
