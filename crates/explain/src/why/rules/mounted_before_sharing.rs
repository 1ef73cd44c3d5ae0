//! It is private on a shared mount.

use crate::finding::Finding;
use crate::rule::Rule;
use crate::why::mends;
use crate::why::trace::{Outcome, Trace};
use subtree_model::RuleId;

pub(in crate::why) static RULE: Rule = Rule {
    id: "mounted-before-sharing",
    summary: "It was mounted before the mount below it was made shared, so nobody was told",
    what: "The mount is private although the one that it is mounted on is shared.",
    why: "What is attached to a shared mount becomes shared. One that is private there was attached before, and `mount --make-shared` (without r) changes one mount and tells nobody what is mounted on it already. Runtimes look only at the mount that carries a volume's source: nested private mounts pass the check and propagate nothing.",
    instead: "Make the whole tree shared with `mount --make-rshared` before containers start; for those that run, mount it again or copy it in.",
    kernel: &[RuleId::SourceBecomesShared, RuleId::MakeSharedNewGroup],
};

pub(super) fn find(trace: &Trace<'_>) -> Option<Finding> {
    let Outcome::Broken(broken) = &trace.outcome else { return None };
    let missing = trace.topology.mount(broken.missing);
    if missing.propagation.is_shared() || !trace.topology.mount(broken.below).propagation.is_shared() {
        return None;
    }
    let (from, into) = (trace.from(), trace.into());
    let title = format!(
        "{} is {} on a shared mount: it was there before that was made shared, or was made so since",
        trace.words(broken.missing),
        missing.propagation.in_words()
    );
    let why = format!("no copy of it was sent to {into}; below it nothing propagates either");
    let finding = Finding::problem(RULE.id, title, why)
        .seen(format!("{from}: {missing}"))
        .seen(format!("{from}: {}", trace.topology.mount(broken.below)))
        .seen(format!("{into}: {}", trace.topology.mount(broken.copy)));
    let finding = mends::bring(trace, broken, finding);
    Some(finding.mend_manifest(
        "start the Pod anew",
        format!("after `mount --make-shared {}` on {from}", missing.mount_point.display()),
    ))
}
