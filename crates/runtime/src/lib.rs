//! Sandboxes and containers in CRI's verbs.
#![forbid(unsafe_code)]

pub mod mounts;
