//! The rhizome command.
#![forbid(unsafe_code)]
fn main() {}
