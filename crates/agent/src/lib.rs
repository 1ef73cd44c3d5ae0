//! Pods: one state machine a pod and the supervisor that runs it.
#![forbid(unsafe_code)]
