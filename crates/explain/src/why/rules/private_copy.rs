//! It is there as a copy that follows nothing.

use crate::finding::Finding;
use crate::rule::Rule;
use crate::why::mends::RESTART;
use crate::why::trace::{Outcome, Trace};
use subtree_model::RuleId;

pub(in crate::why) static RULE: Rule = Rule {
    id: "private-copy",
    summary: "It is visible, as a copy that follows nothing",
    what: "The other namespace shows the same file system, through a mount that neither sends to nor receives from the one that is asked about. A volume without mountPropagation (or with None) is such a copy, with all that was mounted below its source when the container started.",
    why: "Files are the same, mounts are not: what is mounted or unmounted below later is not followed, and the copy keeps the file system in use after it is unmounted elsewhere.",
    instead: "Nothing, if the view of the start is meant. `mountPropagation: HostToContainer` follows the node.",
    kernel: &[RuleId::CopyPrivate, RuleId::MakePrivate],
};

pub(super) fn find(trace: &Trace<'_>) -> Option<Finding> {
    let Outcome::Seen { copy, place } = &trace.outcome else { return None };
    let (into, from) = (trace.into(), trace.from());
    let (source, mount) = (trace.topology.mount(trace.source()), trace.topology.mount(*copy));
    let follows = if mount.propagation.is_private() { "nothing" } else { "another group" };
    let title = format!("{into} has a copy of it at {}, which follows {follows}", place.display());
    let finding = Finding::limit(
        RULE.id,
        title,
        format!("{into} keeps what it has: mounts and unmounts of {from} below it are not seen, and the file system stays in use while {into} lives"),
    )
    .seen(format!("{from}: {source}"))
    .seen(format!("{into}: {mount}"));
    Some(finding.mend_manifest(
        "mountPropagation: HostToContainer",
        format!(
            "on the volumeMount that {} is in; {RESTART}; {into} then also loses what {from} unmounts",
            place.display()
        ),
    ))
}
