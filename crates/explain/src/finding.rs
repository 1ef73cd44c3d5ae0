//! A [`Finding`]: what is so, why it matters, how we know, and what to do.

use serde::Serialize;

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

/// A change that ends a [`Finding`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mend {
    /// The command, as it can be pasted into a root shell.
    pub command: String,
    /// What else it changes, or what to know before.
    pub also: String,
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
    /// What was seen, a line each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
    /// How to mend it; none if it needs no mending or has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<Mend>,
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
        Finding { id, severity, title: title.into(), why: why.into(), evidence: Vec::new(), mend: None }
    }

    /// With what was seen.
    pub(crate) fn seen(mut self, line: impl Into<String>) -> Finding {
        self.evidence.push(line.into());
        self
    }

    /// With how to mend it, and what else that changes.
    pub(crate) fn mend(mut self, command: impl Into<String>, also: impl Into<String>) -> Finding {
        self.mend = Some(Mend { command: command.into(), also: also.into() });
        self
    }
}
