//! `ContainerConfig` to mount operations; rules over machines, their mounts, and manifests.
//!
//! Architecture invariant: pure. No files, no clock, no threads, no logging, no unsafe. What it must know of
//! the machine is an argument.
#![forbid(unsafe_code)]

pub mod audit;
pub mod build;
pub mod busy;
pub mod defaults;
pub mod doctor;
pub mod finding;
pub mod graph;
pub mod kernel_rule;
pub mod lint;
pub mod mend;
pub mod plan;
pub mod rule;
pub mod simulate;
pub mod topology;
pub mod volume;
pub mod why;
