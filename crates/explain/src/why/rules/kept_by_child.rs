//! The unmount came, and a mount below kept it.

use crate::finding::Finding;
use crate::rule::Rule;
use crate::topology::Relation;
use crate::why::mends;
use crate::why::trace::{Outcome, Trace};
use subtree_model::RuleId;

pub(in crate::why) static RULE: Rule = Rule {
    id: "kept-by-child",
    summary: "Something is mounted in it, and so an unmount elsewhere leaves it alone",
    what: "Nothing is mounted at the path, and in the other namespace something is, on a mount that receives; and something else is mounted in it. Either the node has unmounted it, or the other namespace mounted it itself: the tables do not tell.",
    why: "A propagated unmount leaves a mount alone that has others mounted in it. It succeeds on the node, without a word, and the container keeps the file system in use.",
    instead: "Unmount in the container what lies below, then the mount itself.",
    kernel: &[RuleId::UnmountKeptChild, RuleId::UnmountReceived],
};

pub(super) fn find(trace: &Trace<'_>) -> Option<Finding> {
    let Outcome::Hidden { cover, .. } = &trace.outcome else { return None };
    let t = trace.topology;
    let receives =
        matches!(t.relation(trace.source(), t.parent(*cover)?), Relation::Peers | Relation::Receives(_));
    let children: Vec<_> = t.children(*cover).collect();
    if trace.is_mount_point() || !receives || children.is_empty() {
        return None;
    }
    let into = trace.into();
    let title = format!(
        "{} in {into} has {} mounted in it: so an unmount by {} left it there, or it is {into}'s own",
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
