//! It is unbindable, and copies leave it out.

use crate::finding::Finding;
use crate::rule::Rule;
use crate::why::mends;
use crate::why::trace::{Outcome, Trace};
use subtree_model::RuleId;

pub(in crate::why) static RULE: Rule = Rule {
    id: "unbindable-left-out",
    summary: "It is unbindable: copies of the tree leave it out with all below it",
    what: "The mount that is not there is unbindable in the namespace where it is.",
    why: "A recursive bind, which every volume is, passes over unbindable mounts without a word; and an unbindable mount is in no peer group, so that nothing below it propagates.",
    instead: "`mount --make-private` or `--make-shared` on it, if nobody relies on its not being copied.",
    kernel: &[RuleId::CopySkipsUnbindable, RuleId::SourceUnbindable, RuleId::MakeUnbindable],
};

pub(super) fn find(trace: &Trace<'_>) -> Option<Finding> {
    let Outcome::Broken(broken) = &trace.outcome else { return None };
    let missing = trace.topology.mount(broken.missing);
    if !missing.propagation.unbindable {
        return None;
    }
    let title = format!("{} on {} is unbindable", trace.words(broken.missing), trace.from());
    let finding = Finding::problem(RULE.id, title, "a volume's bind left it out, and it sends nothing")
        .seen(format!("{}: {missing}", trace.from()));
    let finding = mends::bring(trace, broken, finding);
    Some(finding.mend_manifest(
        "start the Pod anew",
        format!("after `mount --make-shared {}` on {}", missing.mount_point.display(), trace.from()),
    ))
}
