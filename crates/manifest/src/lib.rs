//! What the user asked: Kubernetes objects with source spans; Pod to ContainerConfig.
//!
//! Bytes go in, values come out:
//!
//! ```text
//! bytes ─ tree ─ decode ─ defaults ─ validate ─ support ─→ Loaded ─ cri ─→ PodSandboxConfig, ContainerConfig
//!         spans   schema                                 └→ Problems: where, Kubernetes' words, what was meant
//! ```
//!
//! - [`tree`]: YAML or JSON to one spanned tree, read as `kubectl` reads it (YAML 1.1 scalars, the last of equal keys).
//! - [`decode`]: the tree against the API's types, which are data ([`schema`]); wrong types and unknown fields in the
//!   words of Go's decoder, since those are what the API server answers.
//! - [`defaults`], [`validate`]: what the API server of Kubernetes 1.36 fills in and refuses, in its order and words.
//! - [`support`]: a row for every field of a Pod: done, without meaning on one machine, or refused by name.
//! - [`load()`]: all of it over any number of sources; either everything is right, or everything that is wrong is told.
//!   [`survey()`]: all that can be read whatever is wrong, for those who only look.
//! - [`workloads`]: the Pods that a DaemonSet, Deployment, … makes, as their controllers would make them.
//! - [`claims`]: which PersistentVolume a claim gets. [`images`]: what a Pod must have pulled.
//! - [`cri`]: a valid Pod to what `runtime` takes, with the kubelet's formulas; [`volume_files`], [`annotations`].
//!
//! Architecture invariant: no files, clock, threads, environment, randomness, logging, printing. Ids, addresses, the
//! node's memory and file systems come in as arguments, and the dice for [`generate`] do.
//!
//! Architecture invariant: a message has one source. The API server's words are made where its check is made, the
//! sentences around them in [`problem`] alone, from fields and never by taking a message apart again.
//!
//! Architecture invariant: every node of the tree knows its bytes, and errors carry API paths. Lines, columns and
//! snippets are worked out from these two where a [`Problem`] is made.
//!
//! Architecture invariant: bad input never panics and takes bounded time: bytes, depth, nodes, aliases and problems have
//! limits, and recursion goes no deeper than the parser lets the input nest.
//!
//! Deliberately absent: `serde` straight from YAML (it cannot say `Go struct field Container.spec.containers.args`, and
//! stops at the first fault); a JSON reader of its own (JSON is YAML, as it is for `kubectl`); validation of what only
//! Windows nodes or volume plug-ins read (such Pods are refused anyway); the namespace and priority admission of a
//! cluster (every namespace is there, priorities mean nothing here).
#![forbid(unsafe_code)]

pub mod annotations;
mod base64;
pub mod claims;
pub mod cri;
pub mod decode;
pub mod defaults;
pub mod field;
pub mod generate;
pub mod images;
pub mod kinds;
pub mod load;
pub mod nearest;
pub mod problem;
pub mod quantity;
pub mod schema;
pub mod source;
pub mod support;
pub mod sysctl;
pub mod tree;
pub mod validate;
pub mod volume_files;
pub mod workloads;

pub use load::{Loaded, LoadedObject, Object, Options, ValidationMode, load, survey};
pub use problem::{Problem, Stage, kubectl_text};
pub use source::Source;
