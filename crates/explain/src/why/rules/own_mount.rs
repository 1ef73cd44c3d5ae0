//! The other namespace has a mount of its own there.

use crate::finding::Finding;
use crate::rule::Rule;
use crate::why::mends;
use crate::why::trace::{Outcome, Trace};
use subtree_model::RuleId;

pub(in crate::why) static RULE: Rule = Rule {
    id: "own-mount",
    summary: "The other namespace has mounted something of its own there",
    what: "Nothing is mounted at the path, and in the other namespace something is, which is tied to no other mount.",
    why: "What a slave mounts stays with it. Had it come from a mount that its own receives from, the unmount there would have taken it along.",
    instead: "Nothing, if the container means it. Else unmount it there.",
    kernel: &[RuleId::AttachOnTop, RuleId::UnmountReceived],
};

pub(super) fn find(trace: &Trace<'_>) -> Option<Finding> {
    let Outcome::Hidden { cover, place, .. } = &trace.outcome else { return None };
    if trace.is_mount_point() {
        return None;
    }
    let into = trace.into();
    let title = format!("{into} has {} of its own at {}", trace.words(*cover), place.display());
    let finding = Finding::limit(RULE.id, title, format!("it hides what {} has there", trace.from()))
        .seen(format!("{into}: {}", trace.topology.mount(*cover)));
    let also = "what is below goes with it";
    Some(mends::detach(trace.topology, &[*cover], also, finding))
}
