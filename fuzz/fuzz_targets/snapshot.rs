//! libFuzzer's door to the target `snapshot`.
#![no_main]

#[path = "../targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::snapshot::run(bytes));
