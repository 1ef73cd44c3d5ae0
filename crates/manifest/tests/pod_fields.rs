//! The pages of docs/reference that say which fields are done say what the tables say.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "the tests, unlike the room, read files and the environment"
)]

use std::path::Path;

fn check(name: &str, page: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference").join(name);
    if std::env::var_os("RHIZOME_BLESS").is_some() {
        std::fs::write(&path, page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/reference/{name} is old: RHIZOME_BLESS=1 cargo test -p manifest writes it anew"
    );
}

#[test]
fn the_pages_are_the_tables() {
    check("pod-fields.md", &manifest::support::page());
    check("claim-fields.md", &manifest::support::claims_page());
    check("workload-fields.md", &manifest::support::workloads_page());
}
