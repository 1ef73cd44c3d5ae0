//! libFuzzer's door to the target `image_config`.
#![no_main]

#[path = "../targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::image_config::run(bytes));
