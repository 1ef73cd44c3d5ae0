//! A volume of the path would propagate.

use crate::rule::Rule;
use subtree_model::RuleId;

pub(in crate::why) static RULE: Rule = Rule {
    id: "shareable",
    summary: "A volume of the path can propagate",
    what: "The mount that carries the path is shared (both directions) or a slave (in only).",
    why: "HostToContainer needs a source that is shared or a slave, Bidirectional one that is shared. On a mount that is shared and a slave Bidirectional is accepted, but reaches only the mount's own peers: not the namespace that its master is in.",
    instead: "Nothing.",
    kernel: &[RuleId::CopyPeer, RuleId::CopySlave],
};
