//! libFuzzer's door to the target `cgroup`.
#![no_main]

#[path = "../targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::cgroup::run(bytes));
