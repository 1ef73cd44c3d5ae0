//! What covers the place there is a mount that a third namespace has too.

use crate::finding::Finding;
use crate::rule::Rule;
use crate::topology::{At, Relation};
use crate::why::mends;
use crate::why::trace::{Outcome, Trace};
use subtree_model::RuleId;

pub(in crate::why) static RULE: Rule = Rule {
    id: "of-a-third",
    summary: "The other namespace has a mount there that it shares with a third one",
    what: "Nothing is mounted at the path, and in the other namespace something is; that is tied to a mount elsewhere, by a peer group or as master and slave.",
    why: "A namespace's mounts come from the one that it was copied from, and from those that its mounts receive from. That need not be the one that was asked about.",
    instead: "Ask from the namespace that has it: `rhizome why PATH --from` that one.",
    kernel: &[RuleId::AttachOnTop, RuleId::ReceiveSlave, RuleId::ReceivePeer],
};

/// As many of those who have it too are shown.
const MOST: usize = 3;

pub(super) fn find(trace: &Trace<'_>) -> Option<Finding> {
    let Outcome::Hidden { cover, place, .. } = &trace.outcome else { return None };
    if trace.is_mount_point() {
        return None;
    }
    let t = trace.topology;
    let tied = t.tied(*cover);
    let first = *tied.iter().find(|at| at.namespace != trace.question.into)?;
    let (into, from) = (trace.into(), trace.from());
    let how = match t.relation(first, *cover) {
        Relation::Peers => "is in one peer group with",
        Relation::Receives(_) => "receives from",
        _ => "sends to",
    };
    let title = format!(
        "{into} has {} at {}, which {how} {}",
        trace.words(*cover),
        place.display(),
        trace.full_words(first)
    );
    let seen =
        |finding: Finding, at: &At| finding.seen(format!("{}: {}", t.name(at.namespace), t.mount(*at)));
    let finding = Finding::limit(RULE.id, title, format!("it hides what {from} has there"));
    let finding = seen(finding, cover);
    let finding = tied.iter().take(MOST).fold(finding, seen);
    Some(mends::detach(t, &[*cover], "what is below goes with it", finding))
}
