//! Set-up, demo, test, soak, bench, docs.
#![forbid(unsafe_code)]
fn main() {}
