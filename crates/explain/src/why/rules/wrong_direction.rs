//! Propagation goes the other way.

use crate::finding::Finding;
use crate::rule::Rule;
use crate::topology::Relation;
use crate::why::mends::{self, RESTART};
use crate::why::trace::{Outcome, Trace};
use subtree_model::RuleId;

pub(in crate::why) static RULE: Rule = Rule {
    id: "wrong-direction",
    summary: "It was mounted on a slave, and slaves do not send to their masters",
    what: "The namespace that is asked about is the master, or a fellow slave, of the one in which the mount was made.",
    why: "From master to slave only. A container with HostToContainer keeps what it mounts; a daemon whose unit has MountFlags=slave (or PrivateMounts=, PrivateTmp=, ProtectSystem=…) keeps what it mounts; a node that is itself a container is the end of the way for its pods: a mount that is shared and a slave sends to its own peers and never up; and across user namespaces every copy is a slave.",
    instead: "`mountPropagation: Bidirectional` (which needs a privileged container) where a container must show its mounts to the node; take MountFlags= and the like out of the daemon's unit; for a node in a container, give the node's volume `rshared`.",
    kernel: &[
        RuleId::ReceiveSlave,
        RuleId::ReceiveSlaveShared,
        RuleId::MakeSlaveOfPeer,
        RuleId::NamespaceCopySlave,
    ],
};

pub(super) fn find(trace: &Trace<'_>) -> Option<Finding> {
    let Outcome::Broken(broken) = &trace.outcome else { return None };
    let (from, into) = (trace.from(), trace.into());
    let title = match &broken.relation {
        Relation::Sends(_) => format!("{from} follows {into} there, and {into} does not follow {from}"),
        Relation::Siblings(group) => {
            format!("{from} and {into} both follow group {} there, and neither the other", group.0)
        }
        _ => return None,
    };
    let t = trace.topology;
    let below = t.mount(broken.below);
    let why = if below.propagation.is_shared() {
        format!(
            "what is mounted on {} reaches its peers and slaves, and nobody above",
            trace.words(broken.below)
        )
    } else {
        format!("what is mounted on {} stays in {from}", trace.words(broken.below))
    };
    let finding = Finding::problem(RULE.id, title, why)
        .seen(format!("{from}: {below}"))
        .seen(format!("{into}: {}", t.mount(broken.copy)));
    let finding = mends::bring(trace, broken, finding);
    if trace.crosses_user_namespaces() {
        return Some(finding.mend_manifest(
            "hostUsers: true, with mountPropagation: Bidirectional",
            format!(
                "{from} and {into} are in different user namespaces: every copy of a mount is a slave there, \
                 whatever mountPropagation says; {RESTART}"
            ),
        ));
    }
    Some(finding.mend_manifest(
        "mountPropagation: Bidirectional",
        format!(
            "on {}, with securityContext.privileged: true; {RESTART}; {from} can then also unmount what {into} has there",
            mends::volume_mount(t, broken.below)
        ),
    ))
}
