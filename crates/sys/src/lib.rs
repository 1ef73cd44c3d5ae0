//! The only unsafe code: mount API, clone, namespaces, by fd.
//!
//! One line a system call, typed flags, fds and not ints; the C name is a doc alias. Nothing here decides
//! anything: policy lives in `runtime` and above.
//!
//! Architecture invariant: the only room with `unsafe`. Every `unsafe` block says why it is sound.

pub mod bpf;
pub mod fanotify;
pub mod features;
pub mod file;
pub mod listing;
pub mod lock;
pub mod memory;
pub mod mount;
pub mod namespace;
pub mod process;
pub mod pty;
pub mod seccomp;
pub mod signal;
