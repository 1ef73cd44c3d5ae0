//! `ContainerConfig` to mount operations; rules over machines and over manifests.
//!
//! Architecture invariant: pure. No files, no clock, no threads, no logging, no unsafe. What it must know of
//! the machine is an argument.
#![forbid(unsafe_code)]

pub mod build;
pub mod doctor;
pub mod finding;
pub mod lint;
pub mod simulate;
