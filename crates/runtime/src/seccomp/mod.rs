//! seccomp's RuntimeDefault: which system calls a container may make, as a classic BPF program.
//!
//! [`profile`] is the table, [`compile`] makes the program, `sys::seccomp::load` installs it.
//!
//! Why not the `seccompiler` crate: its filters have one action for what is listed, so clone3 could not be
//! told to be missing (`ENOSYS`, on which C libraries fall back to clone) beside the rest that is refused;
//! its loader sets no_new_privs, which would break every set-user-id program of a pod that allows privilege
//! escalation; and it compares one number after the other. The kernel runs a program once for every number
//! when it is loaded (`seccomp_cache_prepare()`, Linux 5.11): for this list that is 600 µs of 1,505
//! instructions, against 70 µs of the 168 that a balanced search of ranges makes.
//!
//! A 32-bit program on x86_64 has numbers of its own ([`numbers`]), and gets the same rules by name. Other instruction
//! sets are killed.

mod compile;
pub mod localhost;
pub mod numbers;
pub mod profile;

pub use compile::{Action, Rule, compile, compile_for};
