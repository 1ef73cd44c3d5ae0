//! It was there before the copy was made, and the copy left it out.

use crate::finding::Finding;
use crate::rule::Rule;
use crate::topology::Relation;
use crate::why::mends::{self, RESTART};
use crate::why::trace::{Outcome, Trace};
use subtree_model::RuleId;

pub(in crate::why) static RULE: Rule = Rule {
    id: "not-recursive",
    summary: "It was mounted before the copy that would show it was made, and that copy was not recursive",
    what: "This one was there first, and a bind that is not recursive leaves out what is mounted below. Whether mounts made now would arrive depends on whether the two are tied, which is said.",
    why: "Propagation is about events: a mount that is there already is not an event. `mount --bind` copies one mount, `mount --rbind` all below. A subPath volume is the kubelet's `mount --bind` of the folder, made once for the whole life of the Pod: what was mounted below earlier is hidden by it, what is mounted later arrives.",
    instead: "Bind with --rbind. Instead of `subPath`, mount the volume itself, or make a volume of the sub-folder. Or mount after the container has started.",
    kernel: &[RuleId::CopyPeer, RuleId::CopySlave],
};

/// A copy that was made in a container, of a mount that was there, follows nothing and did not have to: it could have brought
/// it along.
pub(super) fn find_untied(trace: &Trace<'_>) -> Option<Finding> {
    let Outcome::Broken(broken) = &trace.outcome else { return None };
    let t = trace.topology;
    let was_there = t.is_older(broken.missing, broken.copy) == Some(true);
    let is_copy = t.is_inside(broken.copy.namespace, broken.below.namespace);
    let untied = broken.relation == Relation::Strangers && !t.mount(broken.missing).propagation.unbindable;
    (was_there && is_copy && untied).then(|| find(trace)).flatten()
}

pub(super) fn find(trace: &Trace<'_>) -> Option<Finding> {
    let Outcome::Broken(broken) = &trace.outcome else { return None };
    let (from, into) = (trace.from(), trace.into());
    let (missing, copy) = (trace.words(broken.missing), trace.words(broken.copy));
    let title = match trace.topology.is_older(broken.missing, broken.copy) {
        Some(true) => format!(
            "{missing} is older than {copy} in {into}, which was made without what lay below; or it was unmounted in {into} since"
        ),
        _ => format!(
            "either {missing} was there before {copy} was made in {into}, without what lay below, or it was unmounted in {into} since"
        ),
    };
    let why = match broken.relation {
        Relation::Strangers => {
            "the two are not tied: what is mounted there from now on does not arrive either"
        }
        _ => "the two are tied: what is mounted there from now on arrives",
    };
    let finding = Finding::problem(RULE.id, title, why)
        .seen(format!("{from}: {}", trace.topology.mount(broken.missing)))
        .seen(format!("{into}: {}", trace.topology.mount(broken.copy)));
    let finding = mends::bring(trace, broken, finding);
    Some(finding.mend_manifest(
        "a volume of that folder instead of subPath",
        format!("subPath binds without what is mounted below; {RESTART}"),
    ))
}
