//! What is wrong with the mounts of a node, or about to go wrong: rules over the whole of it, a file each.
//!
//! Architecture invariant: a rule only says what the tables show. What it has to guess (who made a mount, whether a folder
//! belongs to a dead pod) it says from what.
//!
//! Deliberately absent: what stops pods on a machine without looking at mounts (`doctor`), and manifests (`lint`).

mod rules;

pub use rules::RULES;

use crate::finding::{Finding, Severity};
use crate::topology::{At, Topology};
use mount_table::{NamespaceId, Node};

/// What the rules look at.
pub(crate) struct Scene<'a> {
    pub(crate) node: &'a Node,
    pub(crate) topology: &'a Topology<'a>,
    /// The namespace that is the node's own, by position.
    pub(crate) host: usize,
    /// The namespaces that are judged, by position.
    pub(crate) scope: Vec<usize>,
}

/// The most findings of one rule: what is left out is counted.
const MOST: usize = 100;

/// Judges a node: all of its namespaces, or those of `scope`; `host` is the node's own. Problems first, then limits.
pub fn audit(
    node: &Node,
    topology: &Topology<'_>,
    host: NamespaceId,
    scope: Option<&[NamespaceId]>,
) -> Vec<Finding> {
    let Some(host) = topology.position(host) else { return Vec::new() };
    let positions = |ids: &[NamespaceId]| ids.iter().filter_map(|id| topology.position(*id)).collect();
    let scope = scope.map_or_else(|| (0..topology.count()).collect(), positions);
    let scene = Scene { node, topology, host, scope };
    let mut findings = Vec::new();
    for rule in rules::TABLE {
        let mut found = rule(&scene);
        if let Some(more) = found.len().checked_sub(MOST).filter(|more| *more > 0) {
            found.truncate(MOST);
            if let Some(last) = found.last_mut() {
                last.evidence.push(format!("and {more} more findings of this kind"));
            }
        }
        findings.extend(found);
    }
    findings.sort_by_key(|finding| finding.severity);
    findings
}

/// Whether there is something to be done or known.
pub fn is_clean(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.severity == Severity::Fine)
}

impl Scene<'_> {
    /// `host:/mnt`
    pub(crate) fn place(&self, at: At) -> String {
        format!("{}:{}", self.topology.name(at.namespace), self.topology.mount(at).mount_point.display())
    }

    /// `host: 25 1 8:1 / / rw …`
    pub(crate) fn row(&self, at: At) -> String {
        format!("{}: {}", self.topology.name(at.namespace), self.topology.mount(at))
    }

    /// The judged namespaces that are inside of the node: containers.
    pub(crate) fn containers(&self) -> impl Iterator<Item = usize> + '_ {
        let inside = |at: &usize| *at != self.host && self.topology.is_inside(*at, self.host);
        self.scope.iter().copied().filter(inside)
    }
}
