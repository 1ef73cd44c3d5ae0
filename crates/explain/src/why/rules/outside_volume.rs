//! The other namespace shows another part of the file system.

use crate::finding::Finding;
use crate::rule::Rule;
use crate::topology::At;
use crate::why::mends::RESTART;
use crate::why::trace::{Outcome, Trace};
use std::cmp::Reverse;
use subtree_model::RuleId;

pub(in crate::why) static RULE: Rule = Rule {
    id: "outside-volume",
    summary: "The other namespace shows another folder of that file system, not this one",
    what: "The other namespace has mounts of the same file system, but the path lies outside the folders that they show.",
    why: "A mount shows its root folder and what is below. What is mounted elsewhere on that file system is not sent to it, although both may be in one peer group.",
    instead: "A volume of a folder that has both, with HostToContainer.",
    kernel: &[RuleId::SkipOutsideRoot],
};

pub(super) fn find(trace: &Trace<'_>) -> Option<Finding> {
    let Outcome::Nowhere = &trace.outcome else { return None };
    let t = trace.topology;
    // The lowest mount on the way of which the other namespace has another part.
    let (step, near) = trace.steps.iter().find_map(|step| {
        let device = t.mount(step.at).device;
        let rows = t.rows(trace.question.into);
        let near = rows.filter(|row| t.mount(*row).device == device && t.is_visible(*row));
        // The nearest tells most: a container has files of the node's root too, as /etc/hosts.
        let in_common = |row: &At| {
            let root = t.mount(*row).root.components();
            Reverse(root.zip(step.inner.components()).take_while(|(a, b)| a == b).count())
        };
        Some((step, near.min_by_key(in_common)?))
    })?;
    let shows = t.mount(near);
    let title = format!(
        "{} in {} shows {} of the file system on {}, and this is at {} of it",
        trace.words(near),
        trace.into(),
        shows.root.display(),
        trace.words(step.at),
        step.inner.display()
    );
    let finding =
        Finding::problem(RULE.id, title, "what is mounted outside a volume's folder is not sent to it")
            .seen(format!("{}: {}", trace.from(), t.mount(step.at)))
            .seen(format!("{}: {shows}", trace.into()));
    Some(volume(trace, finding))
}

/// The manifest's mend for what no volume shows.
pub(super) fn volume(trace: &Trace<'_>, finding: Finding) -> Finding {
    let path = &trace.question.path;
    let folder =
        path.parent().filter(|parent| trace.is_mount_point() && parent.parent().is_some()).unwrap_or(path);
    let change = format!("a hostPath volume of {} with mountPropagation: HostToContainer", folder.display());
    finding.mend_manifest(change, format!("{RESTART}; the container then sees all that is in that folder"))
}
