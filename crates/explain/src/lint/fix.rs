//! Changes of a text: made where a rule is sure, kept only if nothing else goes wrong by them.
//!
//! A fix replaces a word by another, so lines stay where they are.

use super::report::{Finding, Fix};
use manifest::problem::{Problem, Stage};
use manifest::{Source, survey};
use std::fmt::Write as _;

/// Puts the word that was meant in the place of the one that a problem is about.
pub(super) fn word(text: &str, problem: &Problem) -> Option<Fix> {
    let replacement = problem.suggestion.clone()?;
    let (start, end) = (problem.span.start, problem.span.end);
    let found = text.get(start..end)?;
    let quoted = ['"', '\'']
        .iter()
        .any(|quote| found.len() > 2 && found.starts_with(*quote) && found.ends_with(*quote));
    let inset = usize::from(quoted);
    let inner = found.get(inset..found.len() - inset)?;
    let plain = |c: char| c.is_alphanumeric() || "-_./".contains(c);
    let mut span = problem.span;
    (span.start, span.end) = (start + inset, end - inset);
    (!inner.is_empty() && inner.chars().all(plain) && inner != replacement)
        .then_some(Fix { span, replacement })
}

/// Takes back the fixes after which something would be refused that is not refused now: a field may be spelt like
/// another and be meant for something else.
pub(super) fn keep_sure(source: &Source<'_>, text: &str, findings: &mut [Finding]) {
    // Each is tried alone, as long as that does not take seconds; who makes more mistakes mends them by hand.
    const MOST_BYTES: usize = 16 << 20;
    let most = MOST_BYTES / text.len().max(1);
    if findings.iter().all(|finding| finding.fix.is_none()) || harmless(source, text, findings) {
        return;
    }
    let mut tried = 0;
    for finding in findings.iter_mut().filter(|finding| finding.fix.is_some()) {
        tried += 1;
        if tried > most || !harmless(source, text, std::slice::from_ref(finding)) {
            finding.fix = None;
        }
    }
    // Two that are harmless alone may be the same field twice.
    if !harmless(source, text, findings) {
        findings.iter_mut().for_each(|finding| finding.fix = None);
    }
}

fn harmless(source: &Source<'_>, text: &str, findings: &[Finding]) -> bool {
    let fixed = apply(text, findings);
    refusals(&Source { name: source.name, bytes: fixed.as_bytes() }) <= refusals(source)
}

/// How much is of a wrong type, repeated, or no YAML at all: what a renamed field can bring about.
fn refusals(source: &Source<'_>) -> usize {
    let by_name = |stage| matches!(stage, Stage::Decode | Stage::Metadata | Stage::Parse | Stage::Repeated);
    survey(source).problems.iter().filter(|problem| by_name(problem.stage)).count()
}

/// The text with the fixes of its findings.
#[must_use]
pub fn apply(text: &str, findings: &[Finding]) -> String {
    let mut fixes: Vec<&Fix> = findings.iter().filter_map(|finding| finding.fix.as_ref()).collect();
    fixes.sort_by_key(|fix| (fix.span.start, fix.span.end));
    let (mut fixed, mut at) = (String::with_capacity(text.len()), 0);
    for fix in fixes {
        // An anchor that is used twice is found wrong twice, and mended once.
        let Some(before) = text.get(at..fix.span.start) else { continue };
        fixed.push_str(before);
        fixed.push_str(&fix.replacement);
        at = fix.span.end;
    }
    fixed.push_str(text.get(at..).unwrap_or_default());
    fixed
}

/// A unified diff of two texts of as many lines, for `patch -p1`; empty if they are equal.
#[must_use]
pub fn diff(name: &str, old: &str, new: &str) -> String {
    const AROUND: usize = 3;
    let (old, new): (Vec<_>, Vec<_>) =
        (old.split_inclusive('\n').collect(), new.split_inclusive('\n').collect());
    let changed: Vec<usize> =
        old.iter().zip(&new).enumerate().filter(|(_, (a, b))| a != b).map(|(at, _)| at).collect();
    let Some(first) = changed.first() else { return String::new() };
    let path = name.trim_start_matches('/');
    let mut text = format!("--- {}\n+++ {}\n", quoted(&format!("a/{path}")), quoted(&format!("b/{path}")));
    let mut hunks = vec![(*first, *first)];
    for at in &changed[1..] {
        match hunks.last_mut() {
            Some((_, last)) if at - *last <= 2 * AROUND => *last = *at,
            _ => hunks.push((*at, *at)),
        }
    }
    for (first, last) in hunks {
        let (start, end) = (first.saturating_sub(AROUND), (last + AROUND + 1).min(old.len()));
        let _ = writeln!(text, "@@ -{0},{1} +{0},{1} @@", start + 1, end - start);
        let mut at = start;
        while at < end {
            if old[at] == new[at] {
                line(&mut text, ' ', old[at]);
                at += 1;
                continue;
            }
            let run = (at..end).take_while(|at| old[*at] != new[*at]).count();
            old[at..at + run].iter().for_each(|old| line(&mut text, '-', old));
            new[at..at + run].iter().for_each(|new| line(&mut text, '+', new));
            at += run;
        }
    }
    text
}

/// A name in the head of a diff, as git and patch have it: in quotes where it holds what would end it or start a line.
fn quoted(name: &str) -> String {
    if !name.contains(|c: char| c.is_control() || matches!(c, '"' | '\\')) {
        // A name with a blank ends at a tab.
        return if name.contains(' ') { format!("{name}\t") } else { name.to_owned() };
    }
    let mut text = String::from("\"");
    for c in name.chars() {
        match c {
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            '"' | '\\' => text.extend(['\\', c]),
            c if c.is_control() => {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    let _ = write!(text, "\\{byte:03o}");
                }
            }
            c => text.push(c),
        }
    }
    text + "\""
}

fn line(text: &mut String, sign: char, line: &str) {
    text.push(sign);
    text.push_str(line);
    if !line.ends_with('\n') {
        text.push_str("\n\\ No newline at end of file\n");
    }
}
