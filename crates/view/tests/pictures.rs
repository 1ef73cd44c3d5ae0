//! The pictures that are kept are what is drawn.

#![allow(clippy::disallowed_methods, reason = "the test, unlike the room, reads files and the environment")]

use explain::graph::of_tables;
use explain::simulate::{Script, Simulation, simulate};

/// The three modes, and a node that is itself a container with a pod in it.
const SCRIPT: &str = "mkdir -p /mnt/x\nmount --bind /mnt /mnt\nmount --make-shared /mnt\n\
    ns none\n@none mount --make-private /mnt\nns slave\n@slave mount --make-slave /mnt\nns both\n\
    ns node from slave\n@node mount --make-shared /mnt\nns pod from node\n@pod mount --make-slave /mnt\n\
    mount -t tmpfs usb /mnt/x\n";

/// A mount that arrives, one that is tucked under, one that goes, and a line that fails.
const WALK: &str = "mkdir /mnt\nmount -t tmpfs none /mnt\nmount --make-shared /mnt\nmkdir /mnt/x\nns container\n\
    @container mount --make-rslave /\nmount -t tmpfs usb /mnt/x\n@container umount /mnt/x\n\
    @container mount -t tmpfs own /mnt/x\nmount -t tmpfs stick /mnt/x\numount /mnt/x\nmount --move /mnt/x /srv\n";

fn is_kept(name: &str, drawn: &str) {
    let path = format!("{}/../../docs/pictures/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("RHIZOME_BLESS").is_some() {
        std::fs::write(&path, drawn).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == drawn,
        "docs/pictures/{name} is old: RHIZOME_BLESS=1 cargo test -p view writes it; look at it"
    );
}

#[test]
fn the_kept_picture_is_what_is_drawn() {
    let graph = of_tables(&simulate(&Script::parse(SCRIPT).unwrap()).namespaces);
    is_kept("simulated.svg", &view::graph::svg(&graph, "A script of mount commands"));
}

#[test]
fn so_are_the_kept_pictures_of_the_steps() {
    let (outcome, pictures) = Simulation::default().run_drawn(&Script::parse(WALK).unwrap());
    is_kept("simulated-steps.svg", &view::graph::steps_svg(&outcome, &pictures, "A script, step by step"));
}
