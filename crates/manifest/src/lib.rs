//! What the user asked: Kubernetes objects with source spans; Pod to ContainerConfig.
#![forbid(unsafe_code)]

pub mod annotations;
mod base64;
pub mod cri;
pub mod decode;
pub mod defaults;
pub mod field;
pub mod kinds;
pub mod load;
pub mod nearest;
pub mod problem;
pub mod quantity;
pub mod schema;
pub mod source;
pub mod support;
pub mod tree;
pub mod validate;
pub mod volume_files;

pub use load::{Loaded, LoadedObject, Object, Options, ValidationMode, load};
pub use problem::{Problem, Stage, kubectl_text};
pub use source::Source;
