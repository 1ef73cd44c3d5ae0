//! How things look: values in, strings out. Tables as kubectl prints them, Kubernetes objects as YAML and JSON,
//! findings and mount operations for reading.
//!
//! Architecture invariant: pure. No terminal, no clock, no environment: width, colour and the present time are
//! arguments. So every screen can be a test.
//!
//! Architecture invariant: text that is not ours (names, paths, messages of containers) cannot move the cursor
//! or change a colour: whatever prints it for reading does so through [`text::printable`].
//!
//! Deliberately absent: deciding what to print, and where it goes (`cli` and `serve`).
#![forbid(unsafe_code)]

pub mod audit;
pub mod diff;
pub mod document;
pub mod events;
pub mod findings;
pub mod graph;
pub mod images;
pub mod lint;
pub mod mount_events;
pub mod mounts;
pub mod operations;
pub mod plan;
pub mod pods;
pub mod pull;
mod sarif;
pub mod simulation;
pub mod table;
pub mod text;
pub mod usage;
pub mod why;
