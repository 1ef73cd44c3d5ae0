//! ContainerConfig to mount operations; rules over snapshots.
#![forbid(unsafe_code)]
