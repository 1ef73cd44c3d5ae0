//! A [`Rule`]: its page and its check in one value.

use super::pod::{Makers, Pod};
use super::report::Report;
use manifest::field::Check;
use manifest::problem::{Level, Problem};

/// How much a finding matters.
///
/// Not the severity of [`crate::finding`], which judges a machine: there the worst is what stops pods, and what is fine
/// is told too. Here a text is judged that may never be run, in the words that SARIF and GitHub have for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// An API server refuses the object, or would leave a field of it out.
    Error,
    /// It is accepted, and does harm or not what it says.
    Warning,
    /// Worth knowing. Does not count for the exit status.
    Note,
}

impl Severity {
    /// `error`, `warning`, `note`: SARIF's words.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.level().word()
    }

    /// How it is drawn.
    #[must_use]
    pub fn level(self) -> Level {
        match self {
            Self::Error => Level::Error,
            Self::Warning => Level::Warning,
            Self::Note => Level::Note,
        }
    }
}

/// A rule as data: what it says, its page, its examples, which are its tests.
#[derive(Debug)]
pub struct Rule {
    /// Its name, in findings, annotations and as the name of its page.
    pub id: &'static str,
    /// How much its findings matter.
    pub severity: Severity,
    /// What it finds, in a line.
    pub summary: &'static str,
    /// What it does.
    pub what: &'static str,
    /// Why that is bad.
    pub why: &'static str,
    /// What to do instead.
    pub instead: &'static str,
    /// What `--fix` does; empty if it does nothing.
    pub fix: &'static str,
    /// A manifest that has it.
    pub bad: &'static str,
    /// The manifest as it should be.
    pub good: &'static str,
    /// How it is found.
    pub(super) finds: Finds,
}

/// How findings of a rule come about.
#[derive(Debug)]
pub(super) enum Finds {
    /// By looking at a Pod, and at what all Pods of the input let out.
    Pods(fn(&Pod<'_>, &Makers<'_>, &mut Report<'_>)),
    /// By a named check of the API server.
    Check(Check),
    /// By reading the source: the problems of which this holds, unless another rule comes first.
    Problems(fn(&Problem) -> bool),
    /// By reading suppressions.
    Suppressions,
}
