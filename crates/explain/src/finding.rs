//! A [`Finding`]: what is so, why it matters, how we know, and what to do.

use crate::mend::Action;
use crate::topology::Topology;
use serde::{Deserialize, Serialize};

/// How much a [`Finding`] matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It stops pods, or mount propagation.
    Problem,
    /// Something is less than it could be.
    Limit,
    /// It is as it should be.
    Fine,
}

/// Where a [`Mend`] is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Where {
    /// On the machine, now.
    #[default]
    Node,
    /// In the Pod's manifest, for its next start.
    Manifest,
}

/// A change that ends a [`Finding`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mend {
    /// Where it is made.
    #[serde(rename = "where")]
    pub place: Where,
    /// The command, as it can be pasted into a root shell; what to write, if it is for a manifest.
    pub command: String,
    /// What else it changes, or what to know before.
    pub also: String,
    /// The same by hand, where the usual tools can.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by_hand: Vec<String>,
    /// What `rhizome mend` calls it, if it can make it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What that does, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<Action>,
}

/// What a rule has to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule's name.
    pub id: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// What is so, in a line.
    pub title: String,
    /// Why it matters; empty if it does not.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// What it is about: `NAMESPACE:PATH`, a namespace, or nothing in particular.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// What was seen, a line each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
    /// How to mend it, each way by itself enough, the first to be preferred; none if it needs no mending or has none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mends: Vec<Mend>,
}

impl Finding {
    /// It is as it should be.
    pub(crate) fn fine(id: &'static str, title: impl Into<String>) -> Finding {
        Finding::new(id, Severity::Fine, title, "")
    }

    /// Something is less than it could be.
    pub(crate) fn limit(id: &'static str, title: impl Into<String>, why: impl Into<String>) -> Finding {
        Finding::new(id, Severity::Limit, title, why)
    }

    /// It stops pods, or mount propagation.
    pub(crate) fn problem(id: &'static str, title: impl Into<String>, why: impl Into<String>) -> Finding {
        Finding::new(id, Severity::Problem, title, why)
    }

    fn new(
        id: &'static str,
        severity: Severity,
        title: impl Into<String>,
        why: impl Into<String>,
    ) -> Finding {
        Finding {
            id,
            severity,
            title: title.into(),
            why: why.into(),
            place: None,
            evidence: Vec::new(),
            mends: Vec::new(),
        }
    }

    /// About a place.
    pub(crate) fn about(mut self, place: impl Into<String>) -> Finding {
        self.place = Some(place.into());
        self
    }

    /// With what was seen.
    pub(crate) fn seen(mut self, line: impl Into<String>) -> Finding {
        self.evidence.push(line.into());
        self
    }

    /// With how to mend it on the machine, and what else that changes.
    pub(crate) fn mend(self, command: impl Into<String>, also: impl Into<String>) -> Finding {
        self.mend_by(Where::Node, command.into(), also.into())
    }

    /// With how to mend it in the manifest, and what else that changes.
    pub(crate) fn mend_manifest(self, change: impl Into<String>, also: impl Into<String>) -> Finding {
        self.mend_by(Where::Manifest, change.into(), also.into())
    }

    fn mend_by(mut self, place: Where, command: String, also: String) -> Finding {
        self.mends.push(Mend { place, command, also, by_hand: Vec::new(), id: None, actions: Vec::new() });
        self
    }

    /// With a mend that `rhizome mend` can make.
    pub(crate) fn with(mut self, topology: &Topology<'_>, actions: Vec<Action>, also: &str) -> Finding {
        let id = format!("{}-{:08x}", self.id, fold(&format!("{actions:?}")));
        let by_hand = actions.iter().map(|action| {
            let seen = action.relies_on().last().copied()?;
            let named = topology.position(seen.namespace).map(|at| topology.named(at))?;
            action.command(if named.own { None } else { Some(named.pid?) })
        });
        self.mends.push(Mend {
            place: Where::Node,
            command: format!("rhizome mend {id}"),
            also: also.to_owned(),
            by_hand: by_hand.collect::<Option<_>>().unwrap_or_default(),
            id: Some(id),
            actions,
        });
        self
    }
}

/// FNV-1a, 32 bits: the same state gives the same name.
fn fold(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
