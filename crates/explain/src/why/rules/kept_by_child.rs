//! The unmount came, and a mount below kept it.

use crate::finding::Finding;
use crate::rule::Rule;
use crate::why::mends;
use crate::why::trace::{Outcome, Trace};
use subtree_model::RuleId;

pub(in crate::why) static RULE: Rule = Rule {
    id: "kept-by-child",
    summary: "The unmount reached it, and something that is mounted below kept it",
    what: "Nothing is mounted at the path, and in the other namespace something is, on a mount that receives; and something else is mounted in it.",
    why: "A propagated unmount leaves a mount alone that has others mounted in it. It succeeds on the node, without a word, and the container keeps the file system in use.",
    instead: "Unmount in the container what lies below, then the mount itself.",
    kernel: &[RuleId::UnmountKeptChild, RuleId::UnmountReceived],
};

pub(super) fn find(trace: &Trace<'_>) -> Option<Finding> {
    let Outcome::Hidden { cover, .. } = &trace.outcome else { return None };
    let t = trace.topology;
    let carrier = t.mount(t.parent(*cover)?);
    let receives = carrier.propagation.is_shared() || carrier.propagation.is_slave();
    let children: Vec<_> = t.children(*cover).collect();
    if trace.is_mount_point() || !receives || children.is_empty() {
        return None;
    }
    let into = trace.into();
    let title = format!(
        "{} in {into} has {} mounted in it, which kept it when {} unmounted it",
        trace.words(*cover),
        trace.words(children[0]),
        trace.from()
    );
    let finding = children.iter().fold(
        Finding::problem(RULE.id, title, "the file system stays in use while it is mounted there"),
        |finding, child| finding.seen(format!("{into}: {}", t.mount(*child))),
    );
    let also = "what is mounted below goes with it";
    Some(mends::detach(trace.topology, &[*cover], also, finding.seen(format!("{into}: {}", t.mount(*cover)))))
}
