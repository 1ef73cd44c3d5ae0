//! The mount that is asked about is in the namespace that is asked about.

use crate::finding::Finding;
use crate::rule::Rule;
use crate::why::trace::{Outcome, Trace};

pub(in crate::why) static RULE: Rule = Rule {
    id: "same-namespace",
    summary: "Both are one mount namespace: it is the same mount",
    what: "The path is asked about in the namespace that it is in, or in that of a process that shares it.",
    why: "Processes of one mount namespace see the same mounts, from their own root directory.",
    instead: "Nothing. If a process still does not see it, its root directory is another one (chroot), or the path leads elsewhere there by a symbolic link.",
    kernel: &[],
};

pub(super) fn find(trace: &Trace<'_>) -> Option<Finding> {
    let Outcome::Seen { copy, .. } = &trace.outcome else { return None };
    (*copy == trace.source()).then(|| {
        Finding::fine(RULE.id, format!("{} is in {}", trace.words(*copy), trace.into()))
            .seen(trace.topology.mount(*copy).to_string())
    })
}
