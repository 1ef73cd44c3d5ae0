//! The other namespace has no part of it.

use super::outside_volume;
use crate::finding::Finding;
use crate::rule::Rule;
use crate::why::trace::{Outcome, Trace};

pub(in crate::why) static RULE: Rule = Rule {
    id: "not-in-any-volume",
    summary: "No mount of the other namespace shows any part of the way to it",
    what: "None of the file systems from the path up to the root is mounted in the other namespace.",
    why: "Propagation ties mounts of one file system. A container that has no volume of the folder has nothing that could receive.",
    instead: "Give the container a volume of the folder (of the one above, if the path itself is a mount point).",
    kernel: &[],
};

pub(super) fn find(trace: &Trace<'_>) -> Option<Finding> {
    let Outcome::Nowhere = &trace.outcome else { return None };
    let title =
        format!("{} has no mount of {} nor of a folder above", trace.into(), trace.question.path.display());
    let finding = Finding::problem(RULE.id, title, "there is nothing that could receive it").seen(format!(
        "{}: {}",
        trace.from(),
        trace.topology.mount(trace.source())
    ));
    Some(outside_volume::volume(trace, finding))
}
