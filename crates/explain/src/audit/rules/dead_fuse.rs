//! FUSE file systems that do not answer, and who sees them.

use crate::audit::Scene;
use crate::finding::Finding;
use crate::rule::Rule;
use crate::why::rules::{DEAD_FUSE, dead_fuse};
use mount_table::holders::Health;
use std::collections::BTreeSet;

/// `why` says the same of a path.
pub(super) static RULE: &Rule = &DEAD_FUSE;

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let t = scene.topology;
    let (mut told, mut findings) = (BTreeSet::new(), Vec::new());
    for at in scene.scope.iter().flat_map(|namespace| t.rows(*namespace)) {
        let device = t.mount(at).device;
        match t.health(device) {
            Some(health @ (Health::Dead | Health::Hangs)) if told.insert(device) => {
                findings.push(dead_fuse(t, at, health).about(scene.place(at)));
            }
            _ => {}
        }
    }
    findings
}
