//! Is what is at a path in one mount namespace visible in another, and why (not)? The chain of facts, the first that
//! breaks it, and what would mend it.
//!
//! How it is found: the mounts from the path up to the root ([`trace`]); for each, the mounts of the other namespace that
//! show the same place of the same file system. The lowest that has one says where the chain breaks, or that it does
//! not. Then the rules, a file each, are asked in order; the first that applies is the cause.
//!
//! Architecture invariant: an answer says only what the tables show. Which of two mounts is the older is taken from
//! unique ids or from the order in one table; where neither tells, the answer names both possibilities.
//!
//! Deliberately absent: following symbolic links (paths are taken as canonical), and permissions of files.

mod answer;
mod chain;
pub(crate) mod mends;
pub(crate) mod rules;
mod share;
pub(crate) mod trace;

pub use answer::{Answer, Link, Named, Visibility};
pub use rules::RULES;
pub use share::can_propagate;

use crate::topology::Topology;
use std::path::PathBuf;
use trace::Trace;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// A path (absolute, canonical) in `from`.
    pub path: PathBuf,
    /// The namespace in which the path is meant, by position.
    pub from: usize,
    /// The namespace in which it should be visible.
    pub into: usize,
}

/// Answers; none if no mount of `from` carries the path.
pub fn why(topology: &Topology<'_>, question: &Question) -> Option<Answer> {
    let trace = Trace::follow(topology, question)?;
    let chain = chain::links(&trace);
    let finding = rules::TABLE.iter().find_map(|find| find(&trace))?;
    let visibility = trace.visibility();
    Some(Answer {
        visible: visibility,
        verdict: chain::verdict(&trace),
        path: question.path.clone(),
        from: topology.name(question.from).to_owned(),
        into: topology.name(question.into).to_owned(),
        place: trace.place(),
        chain,
        cause: finding,
    })
}
