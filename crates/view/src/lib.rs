//! Snapshots, findings and plans as table, tree and JSON.
#![forbid(unsafe_code)]
