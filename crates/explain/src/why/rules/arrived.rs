//! It is there, and follows.

use crate::finding::Finding;
use crate::rule::Rule;
use crate::topology::Relation;
use crate::why::trace::{Outcome, Trace};
use subtree_model::RuleId;

pub(in crate::why) static RULE: Rule = Rule {
    id: "arrived",
    summary: "The other namespace has a copy that is tied to it by propagation",
    what: "The mount in the other namespace is a peer, a slave or a master of the one that is asked about, or both have one master.",
    why: "It came with the copy of the namespace or of a volume, or it was mounted later and received. The two stay tied: an unmount goes the same ways as a mount.",
    instead: "Nothing. To keep the two apart, make the copy private in the other namespace (mountPropagation: None).",
    kernel: &[RuleId::ReceivePeer, RuleId::ReceiveSlave, RuleId::CopyPeer, RuleId::CopySlave],
};

pub(super) fn find(trace: &Trace<'_>) -> Option<Finding> {
    let Outcome::Seen { copy, place } = &trace.outcome else { return None };
    let how = match trace.topology.relation(trace.source(), *copy) {
        Relation::Strangers => return None,
        Relation::Peers => "it is a peer: mounts and unmounts go both ways".to_owned(),
        Relation::Receives(_) => {
            format!("it is a slave: it follows {}, and {} does not follow it", trace.from(), trace.from())
        }
        Relation::Sends(_) => {
            format!("it is the master: {} follows it, and it does not follow {}", trace.from(), trace.from())
        }
        Relation::Siblings(group) => format!("both follow group {}, and neither the other", group.0),
    };
    let title = format!("{} has it at {}: {how}", trace.into(), place.display());
    let (source, copy) = (trace.topology.mount(trace.source()), trace.topology.mount(*copy));
    Some(
        Finding::fine(RULE.id, title)
            .seen(format!("{}: {source}", trace.from()))
            .seen(format!("{}: {copy}", trace.into())),
    )
}
