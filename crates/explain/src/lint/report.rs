//! A [`Finding`] of a rule in a source, and where the rules put theirs.

use super::rule::{Rule, Severity};
use manifest::load::Surveyed;
use manifest::problem::{Problem, Stage};
use manifest::source::{Lines, Position, Span};

/// A rule's finding.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The rule.
    pub rule: &'static Rule,
    /// How much it matters; a rule's own, or less.
    pub severity: Severity,
    /// Where it is and what is said; [`Problem::hint`] is what can be done.
    pub problem: Problem,
    /// Where its place ends, exclusive.
    pub end: Position,
    /// What mends it for sure.
    pub fix: Option<Fix>,
}

/// A change of a source's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fix {
    /// The bytes that go.
    pub span: Span,
    /// What comes instead.
    pub replacement: String,
}

/// Takes what a rule finds in an object.
pub(super) struct Report<'a> {
    pub(super) rule: &'static Rule,
    pub(super) source_name: &'a str,
    pub(super) lines: &'a Lines<'a>,
    pub(super) findings: &'a mut Vec<Finding>,
}

/// Findings of a source that are kept.
pub(super) const MAX_FINDINGS: usize = 10_000;

impl Report<'_> {
    /// Something is so at an API path of the object; `hint` is what to do.
    pub(super) fn at(
        &mut self,
        object: &Surveyed,
        path: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.at_span(object, object.node.locate(path), path, message, hint);
    }

    /// [`Report::at`] of a place that is known.
    pub(super) fn at_span(
        &mut self,
        object: &Surveyed,
        span: Span,
        path: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let mut problem = Problem::new(self.source_name, self.lines, Stage::Invalid, span, message.into());
        problem.document = object.document;
        problem.item = object.item;
        problem.object = object.id.clone();
        problem.path = path.to_owned();
        problem.hint = Some(hint.into()).filter(|hint: &String| !hint.is_empty());
        self.push(problem, None);
    }

    /// A problem that was found by reading.
    pub(super) fn push(&mut self, problem: Problem, fix: Option<Fix>) {
        if self.findings.len() < MAX_FINDINGS {
            // What is no text has no lines.
            let is_text = problem.span.end <= self.lines.text.len();
            let end = if is_text { self.lines.position(problem.span.end) } else { problem.position };
            let (rule, severity) = (self.rule, self.rule.severity);
            self.findings.push(Finding { rule, severity, problem, end, fix });
        }
    }
}
