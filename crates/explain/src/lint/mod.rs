//! Rules over manifests: what a Pod's mounts will do that its author did not mean, told from the text alone.
//!
//! A rule is a file of the folder `rules`: data (name, severity, page, examples) and one function over a Pod. The data are the
//! page in `docs/rules`, what `rhizome lint` prints and, through the examples, the rule's test.
//!
//! Severity: an [`Severity::Error`] is what an API server of Kubernetes 1.36 refuses or, decoding strictly, would leave
//! out; a [`Severity::Warning`] is accepted and does harm or not what it says; a [`Severity::Note`] is worth knowing.
//!
//! The annotation `rhizome.dev/ignore: rule,rule` on an object or on its Pod template silences rules for that object.
//!
//! Architecture invariant: the API server's verdicts are those of `manifest`, word for word; a rule of this module never
//! repeats a check, it only names it.
//!
//! Deliberately absent: what depends on a node (is the source shared, what is mounted below it): that is for rules
//! over snapshots. Where a rule has to guess, it names what it guesses from.

mod fix;
mod page;
mod paths;
mod places;
mod pod;
mod report;
mod rule;
mod rules;

pub use fix::{apply, diff};
pub use page::{index, page, text};
pub use report::{Finding, Fix};
pub use rule::{Rule, Severity};
pub use rules::RULES;

use manifest::annotations::IGNORE;
use manifest::field::Check;
use manifest::load::{Survey, Surveyed, look_through_claims};
use manifest::nearest::nearest;
use manifest::problem::{Problem, Stage};
use manifest::source::Lines;
use manifest::{Source, survey};
use pod::{Makers, Pod};
use report::Report;
use rule::Finds;
use std::collections::BTreeSet;

/// A source with what was read of it.
struct Read<'a> {
    source: &'a Source<'a>,
    text: &'a str,
    lines: Lines<'a>,
    survey: Survey,
}

/// All findings in these sources, by source and place. Pods are judged with the others of all sources in view.
#[must_use]
pub fn lint(sources: &[Source<'_>]) -> Vec<Finding> {
    let mut read: Vec<Read<'_>> = sources.iter().map(Read::of).collect();
    let objects = read.iter_mut().flat_map(|read| &mut read.survey.objects);
    look_through_claims(&mut objects.collect::<Vec<_>>());
    let pods: Vec<Pod<'_>> = read.iter().flat_map(|read| &read.survey.objects).filter_map(Pod::of).collect();
    let makers = Makers::of(&pods);
    let mut findings = Vec::new();
    let mut rest = pods.as_slice();
    for read in &read {
        let (own, others) =
            rest.split_at(read.survey.objects.iter().filter(|object| object.pod.is_some()).count());
        rest = others;
        findings.append(&mut read.findings(own, &makers));
    }
    findings
}

impl<'a> Read<'a> {
    fn of(source: &'a Source<'a>) -> Self {
        // What is no UTF-8 is a problem of its own; it has no other places.
        let text = std::str::from_utf8(source.bytes).unwrap_or_default();
        Self { source, text, lines: Lines::new(text), survey: survey(source) }
    }

    fn findings(&self, own: &[Pod<'_>], makers: &Makers<'_>) -> Vec<Finding> {
        let mut findings = Vec::new();
        for rule in RULES {
            let mut report =
                Report { rule, source_name: self.source.name, lines: &self.lines, findings: &mut findings };
            match rule.finds {
                Finds::Pods(find) => own.iter().for_each(|pod| find(pod, makers, &mut report)),
                Finds::Suppressions => {
                    self.survey.objects.iter().for_each(|object| suppressions(object, &mut report));
                }
                Finds::Check(_) | Finds::Problems(_) => self.problems(&mut report),
            }
        }
        merge_non_objects(&mut findings);
        tell_once(&mut findings);
        let ignored = self.ignored();
        findings.retain(|finding| {
            let problem = &finding.problem;
            !ignored.contains(&(problem.document, problem.item, finding.rule.id))
        });
        fix::keep_sure(self.source, self.text, &mut findings);
        findings.sort_by_key(|finding| (finding.problem.span.start, finding.severity));
        findings
    }

    /// The problems that are the report's rule's: the first rule's in the table that takes them.
    fn problems(&self, report: &mut Report<'_>) {
        for problem in &self.survey.problems {
            if rule_of(problem).is_none_or(|rule| rule.id != report.rule.id) {
                continue;
            }
            let mut problem = problem.clone();
            let fix = if report.rule.fix.is_empty() { None } else { self.fix(&problem) };
            if problem.hint.is_none() {
                problem.hint = hint_of(&problem, self.text);
            }
            report.push(problem, fix);
        }
    }

    fn fix(&self, problem: &Problem) -> Option<Fix> {
        let objects = &self.survey.objects;
        let place = (problem.document, problem.item);
        let object = objects.binary_search_by_key(&place, |object| (object.document, object.item)).ok()?;
        let object = objects.get(object)?;
        let meant = problem.suggestion.as_deref()?;
        // Beside the right word the wrong one is something else.
        let taken = problem.stage == Stage::Strict
            && object.mapping_of(&problem.path).is_some_and(|mapping| mapping.entry(meant).is_some());
        if taken { None } else { fix::word(self.text, problem) }
    }

    /// Document, item and rule of every suppression.
    fn ignored(&self) -> BTreeSet<(usize, usize, &str)> {
        let mut ignored = BTreeSet::new();
        for object in &self.survey.objects {
            for (names, _) in object.annotations(IGNORE) {
                ignored.extend(names.split(',').map(|name| (object.document, object.item, name.trim())));
            }
        }
        ignored
    }
}

/// The rule that a problem belongs to; none if it is no matter of an API server, or of a kind that only some have.
fn rule_of(problem: &Problem) -> Option<&'static Rule> {
    let takes = |rule: &&&'static Rule| match rule.finds {
        Finds::Check(check) => problem.check == Some(check),
        Finds::Problems(takes) => takes(problem),
        Finds::Pods(_) | Finds::Suppressions => false,
    };
    RULES.iter().find(takes).copied()
}

fn hint_of(problem: &Problem, text: &str) -> Option<String> {
    if problem.stage == Stage::Parse && text.contains("{{") {
        return Some("is it a template? lint what `helm template` makes of it".to_owned());
    }
    if problem.check != Some(Check::UnknownMode) {
        return None;
    }
    let word = text.get(problem.span.start..problem.span.end)?.trim_matches(['"', '\'']).to_lowercase();
    let mode = match word.trim_start_matches("ms_").trim_start_matches('r') {
        "private" => "None",
        "slave" => "HostToContainer",
        "shared" => "Bidirectional",
        _ => return None,
    };
    Some(format!("the API's word for the kernel's {word} is {mode}"))
}

/// What stands behind an anchor is found wherever it is used, and is one mistake.
fn tell_once(findings: &mut Vec<Finding>) {
    let mut told = BTreeSet::new();
    findings.retain(|finding| {
        let (problem, rule) = (&finding.problem, finding.rule.id);
        told.insert((problem.span.start, problem.span.end, rule, problem.document, problem.message.clone()))
    });
}

/// A document with neither apiVersion nor kind is no attempt at an object (a chart's values, say): that is told once,
/// and is not held against it.
fn merge_non_objects(findings: &mut Vec<Finding>) {
    let documents: Vec<usize> = findings
        .iter()
        .filter(|finding| finding.problem.stage == Stage::Shape)
        .map(|finding| finding.problem.document)
        .collect();
    let mut told = BTreeSet::new();
    findings.retain_mut(|finding| {
        let document = finding.problem.document;
        let neither = finding.problem.stage == Stage::Shape
            && documents.iter().filter(|other| **other == document).count() > 1;
        if neither {
            finding.severity = Severity::Note;
            "neither apiVersion nor kind: not looked at".clone_into(&mut finding.problem.message);
        }
        !neither || told.insert(document)
    });
}

/// Names in a suppression that are no rule's.
fn suppressions(object: &Surveyed, report: &mut Report<'_>) {
    for (names, span) in object.annotations(IGNORE) {
        let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
        for name in names.filter(|name| RULES.iter().all(|rule| rule.id != *name)) {
            let message = format!("{IGNORE} names {name:?}, which is no rule");
            let meant = nearest(name, RULES.iter().map(|rule| rule.id));
            let hint = meant.map_or_else(
                || "`rhizome lint --explain` lists them".to_owned(),
                |meant| format!("did you mean {meant}?"),
            );
            report.at_span(object, span, "metadata.annotations", message, hint);
        }
    }
}
