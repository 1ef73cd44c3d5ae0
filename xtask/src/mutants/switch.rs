//! Many mutants in one program: each function's body once for every mutant of it, and a switch at its beginning. Building
//! a thousand programs would take hours, building this one takes minutes.

use std::fmt::Write as _;

/// Where something is in a text: lines and columns from 1, columns in characters; the end is exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    pub(super) start: (usize, usize),
    pub(super) end: (usize, usize),
}

/// A mutant in one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) number: usize,
    pub(super) function: Span,
    pub(super) at: Span,
    pub(super) replacement: String,
}

/// The first and the last line of what is a mutant's own, and its number.
pub(super) type Lines = (usize, usize, usize);

/// A file with mutants behind a switch.
#[derive(Debug, Default)]
pub(super) struct Switched {
    pub(super) text: String,
    /// Lines of the new text that are a mutant's own.
    pub(super) lines: Vec<Lines>,
    /// Mutants that cannot be put behind a switch: in functions within others, and in constant ones.
    pub(super) apart: Vec<usize>,
}

/// What the switch asks: the number of the mutant that is in force; 0 is none. From the environment, or as a test says.
pub(super) const SWITCH: &str = "\
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
static MUTANT: AtomicUsize = AtomicUsize::new(usize::MAX);
pub fn mutant() -> usize {
    match MUTANT.load(Relaxed) {
        usize::MAX => {
            let number = std::env::var(\"MUTANT\").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
            MUTANT.store(number, Relaxed);
            number
        }
        number => number,
    }
}
pub fn set_mutant(number: usize) {
    MUTANT.store(number, Relaxed);
}
";

/// What is put into the copy's `lib.rs`.
pub(super) const IN_LIB: &str = "pub mod switch;\n";

/// Puts all mutants of a file behind switches.
pub(super) fn switched(text: &str, changes: &[Change]) -> Switched {
    let mut functions: Vec<Span> = changes.iter().map(|change| change.function).collect();
    functions.sort_unstable();
    functions.dedup();
    let mut out = Switched::default();
    let mut done = 0;
    for function in functions {
        let of_it: Vec<&Change> = changes.iter().filter(|change| change.function == function).collect();
        let (from, to) = (offset(text, function.start), offset(text, function.end));
        let Some((body, boxed)) = body(&text[from..to]).filter(|_| from >= done) else {
            out.apart.extend(of_it.iter().map(|change| change.number));
            continue;
        };
        let arm = |body: &str| match &boxed {
            Some(named) => format!("Box::new({body}) as {named},"),
            None => body.to_owned(),
        };
        out.text.push_str(&text[done..from + body]);
        out.text.push_str("{ match crate::switch::mutant() {\n");
        for change in of_it {
            let first = out.text.matches('\n').count() + 1;
            let mutated = mutated(text, change);
            let end = mutated.len() - (text.len() - to);
            let _ = writeln!(out.text, "{} => {}", change.number, arm(&mutated[from + body..end]));
            let last = out.text.matches('\n').count();
            out.lines.push((first, last, change.number));
        }
        let _ = write!(out.text, "_ => {} }} }}", arm(&text[from + body..to]));
        done = to;
    }
    out.text.push_str(&text[done..]);
    out
}

/// The text with one mutant in it.
pub(super) fn mutated(text: &str, change: &Change) -> String {
    let (from, to) = (offset(text, change.at.start), offset(text, change.at.end));
    format!("{}{}{}", &text[..from], change.replacement, &text[to..])
}

/// Where a function's body begins, and, if its result is an iterator without a name, what all its bodies come to instead, as
/// two bodies would be two types; none if it has to be left alone.
fn body(function: &str) -> Option<(usize, Option<String>)> {
    let mut at = 0;
    for line in function.split_inclusive('\n') {
        let own = line.trim_start();
        if own.starts_with("//") || own.starts_with('#') {
            at += line.len();
            continue;
        }
        let body = at + function[at..].find('{')?;
        let signature = &function[at..body];
        let result = signature.split("->").nth(1).unwrap_or_default().trim();
        let boxed = result.strip_prefix("impl ").map(|what| match what.contains('\'') {
            true => format!("Box<dyn {what}>"),
            false => format!("Box<dyn {what} + '_>"),
        });
        let left_alone = signature.contains("const fn") || (boxed.is_none() && result.contains("impl "));
        return (!left_alone).then_some((body, boxed));
    }
    None
}

fn offset(text: &str, (line, column): (usize, usize)) -> usize {
    let before: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let within: usize = text[before..].chars().take(column - 1).map(char::len_utf8).sum();
    before + within
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(
        number: usize,
        function: Span,
        line: usize,
        columns: (usize, usize),
        replacement: &str,
    ) -> Change {
        let at = Span { start: (line, columns.0), end: (line, columns.1) };
        Change { number, function, at, replacement: replacement.to_owned() }
    }

    #[test]
    fn a_body_a_mutant() {
        let text =
            "mod x;\n/// A {doc}.\n#[must_use]\nfn less(a: u32) -> bool {\n    a < 3\n}\nfn last() {}\n";
        let function = Span { start: (2, 1), end: (6, 2) };
        let changes = [change(7, function, 5, (7, 8), "<="), change(8, function, 5, (5, 10), "true")];
        let switched = switched(text, &changes);
        assert_eq!(
            switched.text,
            "mod x;\n/// A {doc}.\n#[must_use]\nfn less(a: u32) -> bool { match crate::switch::mutant() {\n\
             7 => {\n    a <= 3\n}\n8 => {\n    true\n}\n_ => {\n    a < 3\n} } }\nfn last() {}\n"
        );
        assert_eq!(switched.lines, [(5, 7, 7), (8, 10, 8)]);
        assert_eq!(mutated(text, &changes[0]), text.replace('<', "<="));
    }

    #[test]
    fn iterators_without_a_name_get_one() {
        let text = "fn all() -> impl Iterator<Item = u8> { 0..3 }\n";
        let function = Span { start: (1, 1), end: (1, 46) };
        let switched = switched(text, &[change(1, function, 1, (40, 41), "1")]);
        assert_eq!(
            switched.text,
            "fn all() -> impl Iterator<Item = u8> { match crate::switch::mutant() {\n\
             1 => Box::new({ 1..3 }) as Box<dyn Iterator<Item = u8> + '_>,\n\
             _ => Box::new({ 0..3 }) as Box<dyn Iterator<Item = u8> + '_>, } }\n"
        );
        assert_eq!((switched.lines, switched.apart), (vec![(2, 2, 1)], vec![]));
    }

    #[test]
    fn what_cannot_be_switched_is_said() {
        let text = "const fn two() -> u8 { 2 }\n";
        let function = Span { start: (1, 1), end: (1, 28) };
        let switched = switched(text, &[change(1, function, 1, (24, 25), "0")]);
        assert_eq!((switched.text.as_str(), switched.apart), (text, vec![1]));
    }
}
