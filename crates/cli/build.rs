//! How the program is linked: at a fixed address. Every command and every pod's supervisor is this program, and one that is
//! relocated when it starts has some 200 KiB of tables as memory of its own each time. Stack, heap and libraries are
//! where chance puts them all the same.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|libc| libc == "gnu") {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
}
