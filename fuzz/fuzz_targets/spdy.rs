//! libFuzzer's door to the target `spdy`.
#![no_main]

#[path = "../targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::spdy::run(bytes));
