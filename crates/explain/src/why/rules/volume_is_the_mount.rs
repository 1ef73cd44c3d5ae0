//! The volume itself is the mount that was replaced.

use crate::finding::Finding;
use crate::mend::Action;
use crate::rule::Rule;
use crate::topology::At;
use crate::why::mends::RESTART;
use crate::why::trace::{Outcome, Trace};
use mount_table::holders::Health;
use subtree_model::RuleId;

pub(in crate::why) static RULE: Rule = Rule {
    id: "volume-is-the-mount",
    summary: "The volume's own root is the mount that was replaced, and a new one cannot arrive there",
    what: "The other namespace holds an older mount of the same source as its volume, while the node has mounted it anew. So it is after a FUSE server was started again: the container goes on with `Transport endpoint is not connected`, even with HostToContainer.",
    why: "A mount is received *on* a mount that is a peer or slave of the one below it. The volume shows the file system that was mounted, not the folder in which it was mounted: of that folder's mount the container has nothing, so nothing can arrive. A new mount of a FUSE server is a new file system.",
    instead: "Make the folder above the volume, with HostToContainer: then both the unmount and the new mount arrive.",
    kernel: &[RuleId::SkipOutsideRoot, RuleId::ReceiveSlave],
};

/// A mount of the other namespace that was made from the same source, of a file system that `from` has no more.
fn older_one(trace: &Trace<'_>) -> Option<At> {
    let t = trace.topology;
    let source = t.mount(trace.source());
    let user_space =
        source.fs_type.starts_with("fuse") || source.fs_type.starts_with("nfs") || source.fs_type == "9p";
    if !trace.is_mount_point() || !user_space {
        return None;
    }
    t.rows(trace.question.into).find(|row| {
        let old = t.mount(*row);
        let alike = old.fs_type == source.fs_type && old.source == source.source && old.root == source.root;
        alike
            && old.device != source.device
            && t.is_visible(*row)
            && t.is_older(*row, trace.source()) != Some(false)
            && t.rows(trace.question.from).all(|own| t.mount(own).device != old.device || !t.is_visible(own))
    })
}

pub(super) fn find(trace: &Trace<'_>) -> Option<Finding> {
    let Outcome::Nowhere = &trace.outcome else { return None };
    let old = older_one(trace)?;
    let t = trace.topology;
    let (from, into) = (trace.from(), trace.into());
    let state = match t.health(t.mount(old).device) {
        Some(Health::Dead) => ", whose server is gone (ENOTCONN)",
        Some(Health::Hangs) => ", whose server does not answer",
        _ => "",
    };
    let title = format!(
        "{} in {into} is an older mount of {:?}{state}; the new one of {from} cannot arrive there",
        trace.words(old),
        t.mount(old).source
    );
    let finding = Finding::problem(
        RULE.id,
        title,
        "the volume is the mount itself, not the folder that it is mounted in",
    )
    .seen(format!("{from}: {}", t.mount(trace.source())))
    .seen(format!("{into}: {}", t.mount(old)));
    let finding = match t.parent(old) {
        Some(onto) => {
            let place = t.mount(old).mount_point.clone();
            let actions = vec![
                Action::Detach { mount: t.seen(old) },
                Action::CopyInto { source: t.seen(trace.source()), onto: t.seen(onto), place },
            ];
            finding.with(t, actions, &format!("programs in {into} that have files open in the old one keep them, and must be told to open them again; the next new mount does not arrive either"))
        }
        None => finding,
    };
    let above = trace.question.path.parent().unwrap_or(&trace.question.path).display();
    Some(finding.mend_manifest(
        format!("a hostPath volume of {above} with mountPropagation: HostToContainer"),
        format!("instead of one of {}; {RESTART}", trace.question.path.display()),
    ))
}
