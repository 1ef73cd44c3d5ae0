//! What the user asked: Kubernetes objects with source spans; Pod to ContainerConfig.
#![forbid(unsafe_code)]

pub mod cri;
