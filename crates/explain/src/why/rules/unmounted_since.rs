//! It arrived, and was unmounted.

use crate::finding::Finding;
use crate::rule::Rule;
use crate::why::mends;
use crate::why::trace::{Outcome, Trace};
use subtree_model::RuleId;

pub(in crate::why) static RULE: Rule = Rule {
    id: "unmounted-since",
    summary: "It arrived there and was unmounted there since",
    what: "The two mounts are tied, this one is newer than the copy, and still it is not there.",
    why: "Whoever is in a namespace with CAP_SYS_ADMIN may unmount what arrived in it. On a slave that is nobody else's business: its master keeps the mount. It is also so when the two were tied only after the mount was made.",
    instead: "Find who unmounts (`rhizome watch`). Then mount it again on the node, or start the container anew.",
    kernel: &[RuleId::UnmountTarget, RuleId::SetGroupJoins],
};

pub(super) fn find(trace: &Trace<'_>) -> Option<Finding> {
    let Outcome::Broken(broken) = &trace.outcome else { return None };
    if trace.topology.is_older(broken.missing, broken.copy) != Some(false) {
        return None;
    }
    let (from, into) = (trace.from(), trace.into());
    let title = format!(
        "{} is newer than {} in {into}, which receives: it was unmounted in {into} since, unless the two were tied later",
        trace.words(broken.missing),
        trace.words(broken.copy)
    );
    let finding =
        Finding::problem(RULE.id, title, "the two are tied: what is mounted there from now on arrives")
            .seen(format!("{from}: {}", trace.topology.mount(broken.missing)))
            .seen(format!("{into}: {}", trace.topology.mount(broken.copy)));
    let finding = mends::bring(trace, broken, finding);
    Some(
        finding
            .mend_manifest("start the Pod anew", "its volumes are then copied with all that is mounted now"),
    )
}
