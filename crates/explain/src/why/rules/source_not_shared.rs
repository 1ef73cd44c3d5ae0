//! What carries the mount sends nothing.

use crate::finding::Finding;
use crate::rule::Rule;
use crate::why::mends::{self, RESTART};
use crate::why::trace::{Outcome, Trace};
use subtree_model::RuleId;

pub(in crate::why) static RULE: Rule = Rule {
    id: "source-not-shared",
    summary: "The mount on which it is mounted is not shared, so nothing is sent from there",
    what: "The chain breaks at its first mount: what is asked about is mounted on a mount that is private or unbindable. Container runtimes refuse such a path for volumes with mountPropagation: `path \"/x\" is mounted on \"/\" but it is not a shared mount`.",
    why: "Only a shared mount sends. The kernel makes every mount private unless it is attached to a shared one; systemd makes / shared at boot, while OpenRC, most initramfs, chroots, WSL and sandboxes leave it private. What counts is the mount that carries the folder, not the folder.",
    instead: "Make the mount that carries the path shared, before containers start: `mount --make-shared PATH`. Where PATH is only a folder, that says `not a mount point`: bind it onto itself first (`mount --bind PATH PATH`). Containers that run have copies of their own, which must be tied to it or made anew.",
    kernel: &[RuleId::CopyPrivate, RuleId::MakeSharedNewGroup, RuleId::SourceBecomesShared],
};

pub(super) fn find(trace: &Trace<'_>) -> Option<Finding> {
    let Outcome::Broken(broken) = &trace.outcome else { return None };
    let t = trace.topology;
    let below = t.mount(broken.below);
    if below.propagation.is_shared() {
        return None;
    }
    let (from, into) = (trace.from(), trace.into());
    let words = below.propagation.in_words();
    let title = format!(
        "{} on {from} is {words}: what is mounted on it reaches no other namespace",
        trace.words(broken.below)
    );
    let made = match t.is_older(broken.missing, broken.copy) {
        Some(_) => "after its copy was made",
        None => "after its copy was made (or before, which a copy that is not recursive leaves out)",
    };
    let why = format!("{into} has the folder, and not what was mounted in it {made}");
    let finding = Finding::problem(RULE.id, title, why)
        .seen(format!("{from}: {below}"))
        .seen(format!("{into}: {}", t.mount(broken.copy)));
    let outward = t.is_inside(broken.below.namespace, broken.copy.namespace);
    let finding = mends::bring(trace, broken, finding);
    let carried = below.mount_point.display();
    Some(if outward {
        finding.mend_manifest(
            "mountPropagation: Bidirectional",
            format!("on {}, with securityContext.privileged: true; {RESTART}; the container can then also unmount what {into} has there", mends::volume_mount(t, broken.below)),
        )
    } else {
        finding.mend_manifest(
            "mountPropagation: HostToContainer",
            format!("together with `mount --make-shared {carried}` on {from}, which must come first, or the Pod is refused; {RESTART}"),
        )
    })
}
