//! What shows the folder receives nothing.

use crate::finding::Finding;
use crate::rule::Rule;
use crate::why::mends::{self, RESTART};
use crate::why::trace::{Outcome, Trace};
use subtree_model::RuleId;

pub(in crate::why) static RULE: Rule = Rule {
    id: "target-private",
    summary: "The other namespace shows the folder through a private mount, which receives nothing",
    what: "The mount that carries what is asked about is shared, and sends; but the mount that shows the same folder in the other namespace is private. That is what a volume without mountPropagation, or with None, is, and what `unshare --mount` makes of everything.",
    why: "A private mount is in no peer group and has no master. It has what was mounted below the folder when it was made (if the copy was recursive), and nothing since.",
    instead: "`mountPropagation: HostToContainer` on the volume. Runtimes differ in what unset means: CRI-O and dockerd make a hostPath that holds their own storage HostToContainer, containerd never does.",
    kernel: &[RuleId::MakePrivate, RuleId::CopyPrivate],
};

pub(super) fn find(trace: &Trace<'_>) -> Option<Finding> {
    let Outcome::Broken(broken) = &trace.outcome else { return None };
    let t = trace.topology;
    let copy = t.mount(broken.copy);
    if copy.propagation.is_shared() || copy.propagation.is_slave() {
        return None;
    }
    let into = trace.into();
    let words = copy.propagation.in_words();
    let title = format!("{} in {into} is {words}: it receives nothing", trace.words(broken.copy));
    let since = match t.is_older(broken.missing, broken.copy) {
        Some(false) => "what is asked about was mounted after that copy was made",
        _ => "what was mounted when the copy was made is in it only if the copy was recursive",
    };
    let finding = Finding::problem(RULE.id, title, since)
        .seen(format!("{}: {}", trace.from(), t.mount(broken.below)))
        .seen(format!("{into}: {copy}"));
    let finding = mends::bring(trace, broken, finding);
    Some(finding.mend_manifest(
        "mountPropagation: HostToContainer",
        format!(
            "on {}; {RESTART}; what is unmounted on {} then also goes from {into}",
            mends::volume_mount(t, broken.copy),
            trace.from()
        ),
    ))
}
