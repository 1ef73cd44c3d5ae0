//! What the kernel does with mounts: the operations ([`Op`]) and a model of their effects.
//!
//! Architecture invariant: pure. No files, no clock, no threads, no logging, no unsafe.
#![forbid(unsafe_code)]

mod op;
pub use op::{Attributes, Handle, Missing, Node, Op, PropagationType};
