//! It is there, under something else.

use crate::finding::Finding;
use crate::rule::Rule;
use crate::why::mends;
use crate::why::trace::{Outcome, Trace};
use subtree_model::RuleId;

pub(in crate::why) static RULE: Rule = Rule {
    id: "covered",
    summary: "It is there, and another mount covers it",
    what: "The other namespace has the mount, but a path walk does not end in it: something is mounted over it, or over a folder above it.",
    why: "A new mount goes on top of what is there. One that *arrives* by propagation does not: it goes under what is mounted at its place already, so a container that mounted something of its own there never sees the node's.",
    instead: "Unmount the cover, if nobody needs it; otherwise let the two have different places.",
    kernel: &[RuleId::AttachOnTop, RuleId::TuckUnder],
};

pub(super) fn find(trace: &Trace<'_>) -> Option<Finding> {
    let Outcome::Hidden { copy, cover, .. } = &trace.outcome else { return None };
    let t = trace.topology;
    let into = trace.into();
    let tucked = t.parent(*cover) == Some(*copy) && t.is_older(*cover, *copy) == Some(true);
    let title = if tucked {
        format!("{} in {into} went under {}, which was there first", trace.words(*copy), trace.words(*cover))
    } else {
        format!("{} in {into} covers {}", trace.words(*cover), trace.words(*copy))
    };
    let finding = Finding::problem(RULE.id, title, "a path leads to what is on top")
        .seen(format!("{into}: {}", t.mount(*copy)))
        .seen(format!("{into}: {}", t.mount(*cover)));
    let also = format!(
        "what {into} has mounted there, and below it, goes; programs that have files open in it keep them"
    );
    let finding = mends::detach(trace.topology, &[*cover], &also, finding);
    Some(finding.mend_manifest(
        "another mountPath, or another volume less",
        format!(
            "if two volumes are mounted at or above {}: the one with the longer path is on top",
            t.mount(*cover).mount_point.display()
        ),
    ))
}
