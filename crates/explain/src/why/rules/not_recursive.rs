//! It was there before the copy was made, and the copy left it out.

use crate::finding::Finding;
use crate::rule::Rule;
use crate::why::mends::{self, RESTART};
use crate::why::trace::{Outcome, Trace};
use subtree_model::RuleId;

pub(in crate::why) static RULE: Rule = Rule {
    id: "not-recursive",
    summary: "It was mounted before the copy that would show it was made, and that copy was not recursive",
    what: "The two mounts are tied as they should be, and mounts made now would arrive. This one was there first, and a bind that is not recursive leaves out what is mounted below.",
    why: "Propagation is about events: a mount that is there already is not an event. `mount --bind` copies one mount, `mount --rbind` all below. A subPath volume is the kubelet's `mount --bind` of the folder, made once for the whole life of the Pod: what was mounted below earlier is hidden by it, what is mounted later arrives.",
    instead: "Bind with --rbind. Instead of `subPath`, mount the volume itself, or make a volume of the sub-folder. Or mount after the container has started.",
    kernel: &[RuleId::CopyPeer, RuleId::CopySlave],
};

pub(super) fn find(trace: &Trace<'_>) -> Option<Finding> {
    let Outcome::Broken(broken) = &trace.outcome else { return None };
    let (from, into) = (trace.from(), trace.into());
    let known = trace.topology.is_older(broken.missing, broken.copy) == Some(true);
    let title = if known {
        format!(
            "{} was mounted on {from} before {} was made in {into}, without what lay below",
            trace.words(broken.missing),
            trace.words(broken.copy)
        )
    } else {
        format!(
            "{} was there before {} was made in {into}, without what lay below; or it was unmounted in {into} since",
            trace.words(broken.missing),
            trace.words(broken.copy)
        )
    };
    let finding =
        Finding::problem(RULE.id, title, "the two are tied: what is mounted there from now on arrives")
            .seen(format!("{from}: {}", trace.topology.mount(broken.missing)))
            .seen(format!("{into}: {}", trace.topology.mount(broken.copy)));
    let finding = mends::bring(trace, broken, finding);
    Some(finding.mend_manifest(
        "a volume of that folder instead of subPath",
        format!("subPath binds without what is mounted below; {RESTART}"),
    ))
}
