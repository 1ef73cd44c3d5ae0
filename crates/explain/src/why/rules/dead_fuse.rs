//! The server of the file system is gone.

use crate::finding::Finding;
use crate::rule::Rule;
use crate::topology::{At, Topology};
use crate::why::mends::{self, RESTART};
use crate::why::trace::{Outcome, Trace, words};
use mount_table::holders::Health;
use subtree_model::RuleId;

pub(crate) static RULE: Rule = Rule {
    id: "dead-fuse",
    summary: "The process that served the file system is gone, or does not answer",
    what: "The mount that is asked about, or the copy that the other namespace has, is a FUSE file system that answers `Transport endpoint is not connected` (ENOTCONN), or does not answer within a moment.",
    why: "A FUSE mount outlives its server, in every namespace that has a copy. The connection cannot be taken up again: a new server makes a new file system, which must be mounted anew. Where it then arrives depends on the folder in which it is mounted.",
    instead: "Detach the dead mount everywhere, then start the server again. A container sees the new mount only if its volume is the folder above, with HostToContainer.",
    kernel: &[RuleId::UnmountReceived, RuleId::ReceiveSlave],
};

pub(super) fn find(trace: &Trace<'_>) -> Option<Finding> {
    let t = trace.topology;
    let mut asked = vec![trace.source()];
    match &trace.outcome {
        Outcome::Hidden { cover, .. } => asked.push(*cover),
        Outcome::Broken(broken) => asked.extend(broken.cover),
        Outcome::Seen { .. } | Outcome::Nowhere => {}
    }
    let (at, health) = asked.into_iter().find_map(|at| match t.health(t.mount(at).device)? {
        Health::Alive => None,
        health => Some((at, health)),
    })?;
    Some(of(t, at, health))
}

/// The finding about a file system that does not answer, told of one of its mounts.
pub(crate) fn of(t: &Topology<'_>, at: At, health: Health) -> Finding {
    let mount = t.mount(at);
    let seen_by: Vec<At> = t.all().filter(|other| t.mount(*other).device == mount.device).collect();
    let state =
        if health == Health::Dead { "its server is gone (ENOTCONN)" } else { "its server does not answer" };
    let title = format!(
        "{} of {:?}: {state}",
        format_args!("{}: {}", t.name(at.namespace), words(t, at)),
        mount.source
    );
    let why = format!(
        "{} mount(s) of it are left; the server was that of {:?} ({}), and a new one makes a new file system",
        seen_by.len(),
        mount.source,
        mount.fs_type
    );
    let finding = seen_by.iter().fold(Finding::problem(RULE.id, title, why), |finding, seen| {
        finding.seen(format!("{}: {}", t.name(seen.namespace), t.mount(*seen)))
    });
    let finding = if health == Health::Dead {
        let also = "programs that have files open in it get errors already; then start the server again";
        mends::detach(t, &seen_by, also, finding)
    } else {
        finding.mend(
            format!("echo 1 > /sys/fs/fuse/connections/{}/abort", mount.device.minor),
            "ends the connection for good: everything that waits for the server gets an error; if the server is only slow, what it was doing is lost",
        )
    };
    let folder = mount.mount_point.parent().unwrap_or(&mount.mount_point).display();
    finding.mend_manifest(
        format!("a hostPath volume of {folder} with mountPropagation: HostToContainer"),
        format!("instead of one of {}: a new mount then arrives; {RESTART}", mount.mount_point.display()),
    )
}
