//! What cannot be said of a machine that was read, since no table tells it.

use super::Run;
use std::collections::BTreeSet;
use subtree_model::{Change, Effects, Op};

impl Run<'_> {
    /// What the success of a call depends on that no table tells.
    pub(super) fn unknown(&self, op: &Op, effects: &Effects) -> Vec<&'static str> {
        let namespace = self.simulation.world.namespace_of(self.task);
        let may_be_locked = namespace.is_some_and(|id| self.simulation.foreign.contains(&id));
        let mut unknown = Vec::new();
        match op {
            Op::UnmountPath { detach: false, .. } => unknown.push("whether something uses it: EBUSY"),
            Op::Remount { attributes, .. } if attributes.read_only => {
                unknown.push("whether something is open for writing: EBUSY");
            }
            Op::Create { .. } | Op::RemoveDirectory { .. } | Op::Unlink { .. } | Op::Rename { .. } => {
                unknown.push("what the file system holds");
            }
            _ => {}
        }
        let needs_no_lock = matches!(
            op,
            Op::UnmountPath { .. }
                | Op::Move { .. }
                | Op::MoveBeneath { .. }
                | Op::Bind { recursive: false, .. }
                | Op::PivotRootTo { .. }
        );
        if may_be_locked && needs_no_lock {
            unknown.push("whether a mount is locked (its namespace is another user namespace's): EINVAL");
        }
        if may_be_locked && matches!(op, Op::Remount { .. }) {
            unknown.push("whether attributes are locked (its namespace is another user namespace's): EPERM");
        }
        let copies = effects.list.iter().filter_map(|effect| match effect.change {
            Change::Attached { namespace, .. } => Some(namespace),
            _ => None,
        });
        let mut seen = BTreeSet::new();
        if !copies.into_iter().all(|namespace| seen.insert(namespace)) {
            unknown.push("the order in which the copies are made, and so that of their rows");
        }
        unknown
    }
}
