//! A node's snapshot, as `--snapshot FILE` reads it: from another machine, or made by hand.

use explain::topology::Topology;
use mount_table::Node;
use mount_table::node::{Groups, Labels};
use std::path::Path;

/// Words of the document.
pub(crate) const WORDS: &[&str] = &[
    "\"namespaces\":[",
    "\"mounts\":[",
    "\"propagation\":{\"shared\":1,\"master\":1}",
    "\"shared\":",
    "\"master\":",
    "\"id\":",
    "\"parent\":",
    "\"unique_mount_ids\":[",
    "\"owner\":",
    "null",
    "18446744073709551616",
    "-1",
    "0",
    "\\\\134",
    "\\\\001",
    "\\u001b",
    "{",
    "}",
    "[",
    "]",
    ",",
];

/// What can be read can be asked and drawn, in bounded time whatever it says, and is the same again when written.
pub(crate) fn run(bytes: &[u8]) {
    let Ok(node) = Node::parse_json(bytes) else { return };
    let again = node.to_json().expect("a node can be written");
    assert_eq!(Node::parse_json(&again).expect("and read again"), node);
    let (groups, labels) = (Groups::of(&node), Labels::of(&node));
    let _ = groups.all().count();
    let topology = Topology::of_node(&node);
    for view in node.namespaces.iter().take(8) {
        let _ = labels.get(view.id);
        let Some(at) = topology.position(view.id) else { continue };
        for row in topology.rows(at).take(16) {
            let _ = (topology.receivers(row), topology.sources(row), topology.children(row).count());
        }
        let _ = explain::why::can_propagate(&topology, Path::new("/mnt"), at);
    }
    if let Some(first) = node.namespaces.first() {
        let _ = explain::audit::audit(&node, &topology, first.id, None);
    }
}
