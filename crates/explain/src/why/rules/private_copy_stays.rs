//! The other namespace still has what is gone here, in a private copy.

use crate::finding::Finding;
use crate::rule::Rule;
use crate::why::mends::{self, RESTART};
use crate::why::trace::{Outcome, Trace};
use subtree_model::RuleId;

pub(in crate::why) static RULE: Rule = Rule {
    id: "private-copy-stays",
    summary: "The other namespace has a mount there, on a private mount that no unmount reaches",
    what: "Nothing is mounted at the path, and in the other namespace something is, on a private mount.",
    why: "An unmount propagates as a mount does, and a private mount receives neither. The copy was made when the container started (or was mounted by the container), and keeps the file system, its device and its server in use until the container ends. Removing the folder on the node detaches it too.",
    instead: "`mountPropagation: HostToContainer`, so that unmounts arrive; now, detach that copy.",
    kernel: &[RuleId::MakePrivate, RuleId::UnmountReceived, RuleId::RemoveDetaches],
};

pub(super) fn find(trace: &Trace<'_>) -> Option<Finding> {
    let Outcome::Hidden { copy, cover, place } = &trace.outcome else { return None };
    let t = trace.topology;
    let carried = t.parent(*cover).unwrap_or(*copy);
    let carrier = t.mount(carried);
    let receives = carrier.propagation.is_shared() || carrier.propagation.is_slave();
    if trace.is_mount_point() || receives {
        return None;
    }
    let (into, from) = (trace.into(), trace.from());
    let mount = t.mount(*cover);
    let title = format!(
        "{into} has {} at {}, on {}, which is private: no unmount of {from} reaches it",
        trace.words(*cover),
        place.display(),
        carrier.mount_point.display()
    );
    let others = t.all().filter(|at| *at != *cover && t.mount(*at).device == mount.device).count();
    let why = match others {
        0 => "it is the last mount of that file system, which it keeps in use".to_owned(),
        count => format!("it keeps that file system in use, with {count} other mount(s)"),
    };
    let finding = Finding::problem(RULE.id, title, why)
        .seen(format!("{into}: {mount}"))
        .seen(format!("{into}: {carrier}"));
    let manifest = format!("on {}; {RESTART}", mends::volume_mount(t, carried));
    let change = "mountPropagation: HostToContainer";
    if trace.crosses_user_namespaces() {
        let pid = t.named(cover.namespace).pid.map_or_else(|| "PID".to_owned(), |pid| pid.to_string());
        return Some(
            finding
                .mend(
                    format!("kill {pid}"),
                    "a mount that came into a user namespace from outside is locked there, so that nobody can \
                     unmount it: it goes with the last process of the namespace",
                )
                .mend_manifest(change, manifest),
        );
    }
    let also = format!(
        "programs in {into} that have files open there keep them; those that come later see the folder below"
    );
    let finding = mends::detach(trace.topology, &[*cover], &also, finding);
    Some(finding.mend_manifest(change, manifest))
}
