//! What is on this machine: snapshots of mount namespaces.
#![forbid(unsafe_code)]
