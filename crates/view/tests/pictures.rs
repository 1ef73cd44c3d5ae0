//! The pictures that are kept are what is drawn.

#![allow(clippy::disallowed_methods, reason = "the test, unlike the room, reads files and the environment")]

use explain::graph::of_tables;
use explain::simulate::{Script, simulate};

/// The three modes, and a node that is itself a container with a pod in it.
const SCRIPT: &str = "mkdir -p /mnt/x\nmount --bind /mnt /mnt\nmount --make-shared /mnt\n\
    ns none\n@none mount --make-private /mnt\nns slave\n@slave mount --make-slave /mnt\nns both\n\
    ns node from slave\n@node mount --make-shared /mnt\nns pod from node\n@pod mount --make-slave /mnt\n\
    mount -t tmpfs usb /mnt/x\n";

#[test]
fn the_kept_picture_is_what_is_drawn() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/pictures/simulated.svg");
    let graph = of_tables(&simulate(&Script::parse(SCRIPT).unwrap()).namespaces);
    let drawn = view::graph::svg(&graph, "A script of mount commands");
    if std::env::var_os("RHIZOME_BLESS").is_some() {
        std::fs::write(path, &drawn).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        kept == drawn,
        "docs/pictures/simulated.svg is old: RHIZOME_BLESS=1 cargo test -p view writes it; look at it"
    );
}
