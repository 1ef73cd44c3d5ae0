//! Findings of `explain::audit`: for reading, as the document `AuditReport`, as SARIF 2.1.0.

use crate::findings::write_finding;
use crate::sarif;
use crate::text::{Paint, printable};
use explain::audit::RULES;
use explain::finding::{Finding, Severity};
use explain::rule::Rule;
use mount_table::Node;
use serde_json::{Value, json};
use std::path::Path;

/// One below the other, and how many there are.
pub fn text(findings: &[Finding], columns: usize, paint: Paint) -> String {
    let mut text = String::new();
    for finding in findings {
        write_finding(&mut text, finding, columns, paint);
        text.push('\n');
    }
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let words = |number: usize, word: &str| format!("{number} {word}{}", if number == 1 { "" } else { "s" });
    text.push_str(&match (count(Severity::Problem), count(Severity::Limit)) {
        (0, 0) => format!("{}\n", paint.good("Nothing found.")),
        (problems, limits) => format!("{}, {}.\n", words(problems, "problem"), words(limits, "limit")),
    });
    text
}

/// The document.
pub fn report(findings: &[Finding], node: &Node) -> Value {
    json!({
        "apiVersion": "rhizome.dev/v1",
        "kind": "AuditReport",
        "taken": node.taken.to_string(),
        "kernel": node.kernel,
        "namespaces": node.namespaces.len(),
        "mounts": node.mounts().count(),
        "findings": findings,
    })
}

/// What holds a mount, for reading.
pub fn busy(path: &Path, findings: &[Finding], columns: usize, paint: Paint) -> String {
    let mut text = String::new();
    for finding in findings {
        write_finding(&mut text, finding, columns, paint);
        text.push('\n');
    }
    let path = printable(&path.to_string_lossy()).into_owned();
    let stops = findings.iter().any(|finding| finding.severity == Severity::Problem);
    text.push_str(&match (stops, findings.is_empty()) {
        (true, _) => format!("{path} {}\n", paint.bad("is busy.")),
        (false, false) => format!("{path} can be unmounted; its file system stays in use.\n"),
        (false, true) => format!("Nothing holds {path} that mounts or processes show.\n"),
    });
    text
}

/// What holds a mount, as a document.
pub fn busy_report(path: &Path, findings: &[Finding]) -> Value {
    json!({
        "apiVersion": "rhizome.dev/v1",
        "kind": "BusyReport",
        "path": path.to_string_lossy(),
        "findings": findings,
    })
}

/// A SARIF log (OASIS SARIF 2.1.0) of one run, `version` being Rhizome's. Mounts are no files: their places are
/// logical locations.
pub fn sarif(findings: &[Finding], version: &str) -> Value {
    let rule =
        |rule: &&Rule| sarif::rule(rule.id, [rule.summary, rule.what, rule.why, rule.instead], &rule.text());
    let rules = RULES.iter().map(rule).collect();
    sarif::log(version, rules, None, findings.iter().map(result).collect())
}

fn result(finding: &Finding) -> Value {
    let level = match finding.severity {
        Severity::Problem => "error",
        Severity::Limit => "warning",
        Severity::Fine => "none",
    };
    let mut text = finding.title.clone();
    for part in [finding.why.as_str()].into_iter().chain(finding.evidence.iter().map(String::as_str)) {
        text.push('\n');
        text.push_str(part);
    }
    let place = finding.place.as_deref().unwrap_or("node");
    json!({
        "ruleId": finding.id,
        "ruleIndex": RULES.iter().position(|rule| rule.id == finding.id),
        "level": level,
        "message": { "text": text },
        "locations": [{ "logicalLocations": [{ "fullyQualifiedName": place, "kind": "resource" }] }],
        "properties": { "mends": finding.mends },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Finding {
        Finding {
            id: "mount-count",
            severity: Severity::Limit,
            title: "host has 60000 mounts of the 100000 that fs.mount-max allows".into(),
            why: "at the limit nothing can be mounted".into(),
            place: Some("host".into()),
            evidence: vec!["59000 at /run/\x1b[2Jevil".into()],
            mends: vec![],
        }
    }

    #[test]
    fn for_reading() {
        let text = text(&[sample()], 60, Paint::NONE);
        assert!(text.starts_with("limit[mount-count]: host has 60000 mounts of"), "{text}");
        assert!(text.contains("\\x1b[2Jevil") && text.ends_with("0 problems, 1 limit.\n"), "{text}");
        assert_eq!(super::text(&[], 60, Paint::NONE), "Nothing found.\n");
    }

    #[test]
    fn sarif_names_rules_that_are_there() {
        let log = sarif(&[sample()], "1.2.3");
        crate::sarif::check::check_log(&log);
        let run = &log["runs"][0];
        let index = run["results"][0]["ruleIndex"].as_u64().unwrap() as usize;
        assert_eq!(run["tool"]["driver"]["rules"][index]["id"], "mount-count");
        assert_eq!(run["results"][0]["level"], "warning");
        let place = &run["results"][0]["locations"][0]["logicalLocations"][0];
        assert_eq!(place["fullyQualifiedName"], "host");
        assert!(!log.to_string().contains("<!--"), "what a file says of itself is not for people");
    }
}
