//! docs/reference/pod-fields.md says what the table says.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "the tests, unlike the room, read files and the environment"
)]

use std::path::Path;

#[test]
fn the_page_is_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/pod-fields.md");
    let page = manifest::support::page();
    if std::env::var_os("RHIZOME_BLESS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/reference/pod-fields.md is old: RHIZOME_BLESS=1 cargo test -p manifest writes it anew"
    );
}
