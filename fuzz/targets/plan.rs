//! Manifests that are planned, and lint: whatever is in them.

use explain::plan::{Manifests, Node, Request, plan};
use manifest::Source;

pub(crate) use super::manifest::WORDS;

/// Everyone has a cell for everyone, and every finding is somewhere.
pub(crate) fn run(bytes: &[u8]) {
    let sources = [Source { name: "f.yaml", bytes }];
    let manifests = Manifests::survey(&sources);
    let node = Node::assumed();
    let planned = plan(&manifests, &Request { node: &node, then: &[], restarts: 1 }).expect("no lines");
    for place in &planned.matrices {
        assert!(place.cells.len() == place.parties.len());
        assert!(place.cells.iter().all(|row| row.len() == place.parties.len()));
    }
    for finding in explain::lint::lint(&sources) {
        let (start, end) = (finding.problem.position, finding.end);
        assert!((start.line, start.column) <= (end.line, end.column), "{finding:?}");
    }
}
