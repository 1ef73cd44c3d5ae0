//! Findings, for reading.

use crate::text::{Paint, printable, wrap};
use explain::finding::{Finding, Severity, Where};
use std::fmt::Write as _;

/// Findings one below the other: those that need something with why, evidence and mend; those that are fine
/// with a line each (`wide`: with their evidence too); then the count.
pub fn findings(findings: &[Finding], wide: bool, columns: usize, paint: Paint) -> String {
    let mut text = String::new();
    let (fine, rest): (Vec<&Finding>, Vec<&Finding>) =
        findings.iter().partition(|finding| finding.severity == Severity::Fine);
    for finding in rest {
        write_finding(&mut text, finding, columns, paint);
        text.push('\n');
    }
    for finding in fine {
        let title = wrap(&printable(&finding.title), columns, 8);
        let _ = writeln!(text, "{}   {title}", paint.good("fine:"));
        let evidence = if wide { finding.evidence.as_slice() } else { &[] };
        evidence.iter().for_each(|line| write_part(&mut text, "", line, columns, paint));
    }
    text.push_str(&summary(findings, paint));
    text
}

/// Findings one below the other, without a count; those that say the same of several places as one, with all these places.
pub fn grouped(findings: &[Finding], columns: usize, paint: Paint) -> String {
    let mut groups: Vec<Vec<&Finding>> = Vec::new();
    for finding in findings {
        let same =
            |group: &&mut Vec<&Finding>| group.first().is_some_and(|first| says_the_same(first, finding));
        match groups.iter_mut().find(same) {
            Some(group) => group.push(finding),
            None => groups.push(vec![finding]),
        }
    }
    let mut text = String::new();
    for group in groups {
        let Some((first, rest)) = group.split_first() else { continue };
        write_title(&mut text, first, columns, paint);
        let places = rest.iter().filter_map(|finding| finding.place.as_deref());
        places.for_each(|place| write_part(&mut text, "also:", place, columns, paint));
        write_rest(&mut text, first, columns, paint);
    }
    text
}

/// Whether two differ in the place alone, with which their titles begin.
fn says_the_same(one: &Finding, other: &Finding) -> bool {
    let rest = |finding: &Finding| {
        let rest = finding.title.strip_prefix(finding.place.as_deref()?)?;
        Some(rest.to_owned())
    };
    let title = rest(one);
    title.is_some()
        && title == rest(other)
        && one.id == other.id
        && one.severity == other.severity
        && one.why == other.why
        && one.evidence == other.evidence
        && one.mends == other.mends
}

pub(crate) fn write_finding(text: &mut String, finding: &Finding, columns: usize, paint: Paint) {
    write_title(text, finding, columns, paint);
    write_rest(text, finding, columns, paint);
}

fn write_title(text: &mut String, finding: &Finding, columns: usize, paint: Paint) {
    let (severity, painted): (_, fn(Paint, &str) -> String) = match finding.severity {
        Severity::Problem => ("problem", Paint::bad),
        Severity::Limit | Severity::Fine => ("limit", Paint::warn),
    };
    let label = format!("{severity}[{}]:", finding.id);
    // Wrapped together, since the title begins behind the label, which has no blanks.
    let title = wrap(&format!("{label} {}", printable(&finding.title)), columns, 2);
    let title = title.strip_prefix(&label).unwrap_or(&title);
    let _ = writeln!(text, "{}{}", painted(paint, &label), paint.strong(title));
}

/// All but the title: why, evidence, mends.
pub(crate) fn write_rest(text: &mut String, finding: &Finding, columns: usize, paint: Paint) {
    if !finding.why.is_empty() {
        write_part(text, "why:", &finding.why, columns, paint);
    }
    for (index, line) in finding.evidence.iter().enumerate() {
        write_part(text, if index == 0 { "seen:" } else { "" }, line, columns, paint);
    }
    for mend in &finding.mends {
        // Never wrapped: it is there to be copied.
        let command = paint.strong(&printable(&mend.command));
        let place = if mend.place == Where::Manifest { "in the manifest: " } else { "" };
        let _ = writeln!(text, "  {} {place}{command}", paint.label("mend:"));
        write_part(text, "", &mend.also, columns, paint);
        if !mend.by_hand.is_empty() {
            let _ = writeln!(text, "        by hand: {}", printable(&mend.by_hand.join(" && ")));
        }
    }
}

/// `  label body`, the body wrapped behind a label of five columns.
fn write_part(text: &mut String, label: &str, body: &str, columns: usize, paint: Paint) {
    let padding = " ".repeat(5usize.saturating_sub(label.len()));
    let body = wrap(&printable(body), columns, 8);
    let _ = writeln!(text, "  {}{padding} {body}", paint.label(label));
}

/// How many there are.
fn summary(findings: &[Finding], paint: Paint) -> String {
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let words = |number: usize, word: &str| match number {
        1 => format!("1 {word}"),
        number => format!("{number} {word}s"),
    };
    match (count(Severity::Problem), count(Severity::Limit)) {
        (0, 0) => format!("\n{}\n", paint.good("All fine.")),
        (0, limits) => format!("\n{}: pods and propagation work.\n", words(limits, "limit")),
        (problems, 0) => format!("\n{}.\n", words(problems, "problem")),
        (problems, limits) => format!("\n{}, {}.\n", words(problems, "problem"), words(limits, "limit")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use explain::finding::Mend;

    fn samples() -> Vec<Finding> {
        let finding = |severity, title: &str, why: &str| Finding {
            id: "root-mount",
            severity,
            title: title.to_owned(),
            why: why.to_owned(),
            place: None,
            evidence: vec![],
            mends: vec![],
        };
        let mut private = finding(Severity::Problem, "/ is private", "HostToContainer needs a shared source");
        private.evidence = vec!["21 1 8:1 / / rw - ext4 /dev/sda1 rw".into(), "evil\x1b[2J".into()];
        private.mends = vec![Mend {
            place: Where::Node,
            command: "mount --make-rshared / # never broken over two lines".into(),
            also: "until the next boot".into(),
            by_hand: vec![],
            id: None,
            actions: vec![],
        }];
        vec![private, finding(Severity::Fine, "all capabilities", "")]
    }

    #[test]
    fn narrow_and_without_colour() {
        expect![[r"
            problem[root-mount]: / is private
              why:  HostToContainer needs a
                    shared source
              seen: 21 1 8:1 / / rw - ext4
                    /dev/sda1 rw
                    evil\x1b[2J
              mend: mount --make-rshared / # never broken over two lines
                    until the next boot

            fine:   all capabilities

            1 problem.
        "]]
        .assert_eq(&findings(&samples(), false, 36, Paint::NONE));
    }

    #[test]
    fn colours_only_frame_our_own_words() {
        let text = findings(&samples(), true, 80, Paint { colour: true });
        assert!(text.contains("\u{1b}[1;31mproblem[root-mount]:\u{1b}[0m"));
        assert!(!text.contains("\u{1b}[2J"));
    }
}
