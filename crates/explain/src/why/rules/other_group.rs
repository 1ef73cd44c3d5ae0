//! What shows the folder is shared or a slave, of another group.

use crate::finding::Finding;
use crate::rule::Rule;
use crate::topology::Relation;
use crate::why::mends;
use crate::why::trace::{Outcome, Trace};
use subtree_model::RuleId;

pub(in crate::why) static RULE: Rule = Rule {
    id: "other-group",
    summary: "The mount that shows the folder is shared or a slave, but of a group that the other does not send to",
    what: "Both mounts look right: one is shared, the other is shared or a slave. Their groups are different ones, and neither is above the other.",
    why: "`shared` in mountinfo means \"in a peer group\", not \"with the host\". Making a copy shared starts a new group: so it is when a volume was bound while its source was private, when a source was shared again (`make-private`, then `make-shared`), and when a runtime makes all mounts of a container shared at its end (crun, runc since 1.2).",
    instead: "Start the container anew, so that its volume is copied from the mount as it is now.",
    kernel: &[RuleId::MakeSharedNewGroup, RuleId::SourceBecomesShared],
};

pub(super) fn find(trace: &Trace<'_>) -> Option<Finding> {
    let Outcome::Broken(broken) = &trace.outcome else { return None };
    if broken.relation != Relation::Strangers {
        return None;
    }
    let t = trace.topology;
    let (below, copy) = (t.mount(broken.below).propagation, t.mount(broken.copy).propagation);
    if !copy.is_shared() && !copy.is_slave() {
        return None;
    }
    let group = copy.shared.or(copy.master).map_or(0, |group| group.0);
    let title = format!(
        "{} in {} is {}, of group {group}, which does not receive from group {}",
        trace.words(broken.copy),
        trace.into(),
        copy.in_words(),
        below.shared.map_or(0, |group| group.0)
    );
    let members = copy.shared.or(copy.master).map_or(0, |group| t.members(group).len());
    let finding = Finding::problem(
        RULE.id,
        title,
        format!("being shared means little here: {members} mount(s) of the machine are in that group"),
    )
    .seen(format!("{}: {}", trace.from(), t.mount(broken.below)))
    .seen(format!("{}: {}", trace.into(), t.mount(broken.copy)));
    let finding = mends::bring(trace, broken, finding);
    Some(finding.mend_manifest(
        "start the Pod anew, with mountPropagation: HostToContainer",
        "its volume is then copied from the mount as it is now",
    ))
}
