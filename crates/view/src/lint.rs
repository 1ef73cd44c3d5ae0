//! Findings of `explain::lint`: for reading, as JSON, as SARIF 2.1.0, as GitHub's workflow commands.

use crate::sarif;
use crate::text::Paint;
use explain::lint::{Finding, RULES, Rule, Severity};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Findings drawn at their lines, and how many there are.
#[must_use]
pub fn plain(findings: &[Finding], paint: Paint) -> String {
    let mut text = String::new();
    for finding in findings {
        let level = finding.severity.level();
        let _ = writeln!(text, "{}", finding.problem.render_as(level, finding.rule.id, paint.colour));
    }
    text.push_str(&summary(findings, paint));
    text
}

fn summary(findings: &[Finding], paint: Paint) -> String {
    let counts = [Severity::Error, Severity::Warning, Severity::Note].map(|severity| {
        let count = findings.iter().filter(|finding| finding.severity == severity).count();
        (count, format!("{count} {}{}", severity.word(), if count == 1 { "" } else { "s" }))
    });
    let parts: Vec<&str> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(_, words)| words.as_str()).collect();
    if parts.is_empty() {
        return format!("{}\n", paint.good("Nothing found."));
    }
    let fixes = findings.iter().filter(|finding| finding.fix.is_some()).count();
    let mend = if fixes == 0 { String::new() } else { format!("; --fix mends {fixes}") };
    format!("{}{mend}. `rhizome lint --explain RULE` tells why.\n", parts.join(", "))
}

/// What is said of a finding, in one text.
fn message(finding: &Finding) -> String {
    let problem = &finding.problem;
    let mut text = problem.headline();
    if let Some(meant) = &problem.suggestion {
        let _ = write!(text, " (did you mean {meant:?}?)");
    }
    text
}

/// A `LintReport`.
#[must_use]
pub fn report(findings: &[Finding]) -> Value {
    let count = |severity: Severity| findings.iter().filter(|finding| finding.severity == severity).count();
    json!({
        "apiVersion": "rhizome.dev/v1",
        "kind": "LintReport",
        "errors": count(Severity::Error),
        "warnings": count(Severity::Warning),
        "notes": count(Severity::Note),
        "findings": findings.iter().map(entry).collect::<Vec<_>>(),
    })
}

fn entry(finding: &Finding) -> Value {
    let (problem, end) = (&finding.problem, finding.end);
    json!({
        "rule": finding.rule.id,
        "severity": finding.severity.word(),
        "message": problem.headline(),
        "suggestion": problem.suggestion,
        "hint": problem.hint,
        "file": problem.source_name,
        "line": problem.position.line,
        "column": problem.position.column,
        "endLine": end.line,
        "endColumn": end.column,
        "object": {
            "apiVersion": problem.object.api_version,
            "kind": problem.object.kind,
            "namespace": problem.object.namespace,
            "name": problem.object.name,
        },
        "path": problem.path,
        "fix": finding.fix.as_ref().map(|fix| json!({
            "start": fix.span.start,
            "end": fix.span.end,
            "replacement": fix.replacement,
        })),
    })
}

/// A SARIF log (OASIS SARIF 2.1.0) of one run, `version` being Rhizome's.
#[must_use]
pub fn sarif(findings: &[Finding], version: &str) -> Value {
    let rule = |rule: &&Rule| {
        let page = explain::lint::text(rule);
        let mut entry = sarif::rule(rule.id, [rule.summary, rule.what, rule.why, rule.instead], &page);
        entry["defaultConfiguration"] = json!({ "level": rule.severity.word() });
        entry
    };
    let rules = RULES.iter().map(rule).collect();
    sarif::log(version, rules, Some("unicodeCodePoints"), findings.iter().map(result).collect())
}

fn result(finding: &Finding) -> Value {
    let problem = &finding.problem;
    let index = RULES.iter().position(|rule| rule.id == finding.rule.id);
    let hint = problem.hint.as_ref().map_or_else(String::new, |hint| format!(". {hint}"));
    let place = json!({
        "artifactLocation": { "uri": uri(&problem.source_name) },
        "region": {
            "startLine": problem.position.line,
            "startColumn": problem.position.column,
            "endLine": finding.end.line,
            "endColumn": finding.end.column,
        },
    });
    let mut result = json!({
        "ruleId": finding.rule.id,
        "ruleIndex": index,
        "level": finding.severity.word(),
        "message": { "text": format!("{}{hint}", message(finding)) },
        "locations": [{ "physicalLocation": place }],
    });
    if let Some(fix) = &finding.fix {
        result["fixes"] = json!([{
            "artifactChanges": [{
                "artifactLocation": { "uri": uri(&problem.source_name) },
                "replacements": [{
                    "deletedRegion": {
                        "byteOffset": fix.span.start,
                        "byteLength": fix.span.end - fix.span.start,
                    },
                    "insertedContent": { "text": fix.replacement },
                }],
            }],
        }]);
    }
    result
}

/// A path as a URI (RFC 3986): relative ones stay relative.
fn uri(path: &str) -> String {
    let mut uri = String::from(if path.starts_with('/') { "file://" } else { "" });
    for byte in path.trim_start_matches("./").bytes() {
        match byte {
            b'a'..=b'z'
            | b'A'..=b'Z'
            | b'0'..=b'9'
            | b'-'
            | b'.'
            | b'_'
            | b'~'
            | b'/'
            | b'+'
            | b'@'
            | b'=' => {
                uri.push(char::from(byte));
            }
            other => {
                let _ = write!(uri, "%{other:02X}");
            }
        }
    }
    uri
}

/// Workflow commands, a line each, that GitHub turns into annotations of a pull request.
#[must_use]
pub fn github(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let (problem, end) = (&finding.problem, finding.end);
        let command = match finding.severity {
            Severity::Note => "notice",
            severity => severity.word(),
        };
        let hint = problem.hint.as_ref().map_or_else(String::new, |hint| format!("\n{hint}"));
        let _ = writeln!(
            text,
            "::{command} file={},line={},endLine={},col={},endColumn={},title={}::{}",
            property(&problem.source_name),
            problem.position.line,
            end.line,
            problem.position.column,
            end.column,
            property(finding.rule.id),
            data(&format!("{}{hint}", message(finding))),
        );
    }
    text
}

/// What stands behind `::`: one line, and no other character that means something.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// The rules by severity, a line each.
#[must_use]
pub fn rules(paint: Paint) -> String {
    let width = RULES.iter().map(|rule| rule.id.len()).max().unwrap_or_default();
    let mut text = String::new();
    for severity in [Severity::Error, Severity::Warning, Severity::Note] {
        for rule in RULES.iter().filter(|rule| rule.severity == severity) {
            let id = paint.strong(&format!("{:width$}", rule.id));
            let _ = writeln!(text, "{id}  {:7}  {}", severity.word(), rule.summary);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use manifest::Source;

    const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - name: main\n    image: busybox\n    volumeMounts:\n    - name: v\n      mountPath: /v\n      mountPropagation: Bidirectonal\n  volumes:\n  - name: v\n    hostPath: {path: /var/lib}\n";

    fn findings() -> Vec<Finding> {
        explain::lint::lint(&[Source { name: "a b,.yaml", bytes: POD.as_bytes() }])
    }

    #[test]
    fn for_reading() {
        expect![[r#"
            error[unknown-mode]: The Pod "p" is invalid: spec.containers[0].volumeMounts.mountPropagation: Unsupported value: "Bidirectonal": supported values: "Bidirectional", "HostToContainer", "None"
               --> a b,.yaml:11:25
                |
             11 |       mountPropagation: Bidirectonal
                |                         ^^^^^^^^^^^^ did you mean "Bidirectional"?

            1 error; --fix mends 1. `rhizome lint --explain RULE` tells why.
        "#]]
        .assert_eq(&plain(&findings(), Paint::NONE));
        assert_eq!(plain(&[], Paint::NONE), "Nothing found.\n");
    }

    #[test]
    fn for_github() {
        expect![[r#"
            ::error file=a b%2C.yaml,line=11,endLine=11,col=25,endColumn=37,title=unknown-mode::spec.containers[0].volumeMounts.mountPropagation: Unsupported value: "Bidirectonal": supported values: "Bidirectional", "HostToContainer", "None" (did you mean "Bidirectional"?)
        "#]]
        .assert_eq(&github(&findings()));
    }

    #[test]
    fn for_sarif() {
        let log = sarif(&findings(), "1.2.3");
        let run = &log["runs"][0];
        let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
        let result = &run["results"][0];
        crate::sarif::check::check_log(&log);
        assert_eq!(run["tool"]["driver"]["name"], "rhizome");
        assert!(rules.iter().all(|rule| {
            ["none", "note", "warning", "error"]
                .contains(&rule["defaultConfiguration"]["level"].as_str().unwrap())
        }));
        expect![[r#"
            {"physicalLocation":{"artifactLocation":{"uri":"a%20b%2C.yaml"},"region":{"startLine":11,"startColumn":25,"endLine":11,"endColumn":37}}}"#]]
        .assert_eq(&result["locations"][0].to_string());
        expect![[r#"{"artifactLocation":{"uri":"a%20b%2C.yaml"},"replacements":[{"deletedRegion":{"byteOffset":175,"byteLength":12},"insertedContent":{"text":"Bidirectional"}}]}"#]]
        .assert_eq(&result["fixes"][0]["artifactChanges"][0].to_string());
        assert_eq!(uri("/a/ü"), "file:///a/%C3%BC");
    }

    #[test]
    fn for_programs() {
        let report = report(&findings());
        assert_eq!((&report["kind"], &report["errors"]), (&json!("LintReport"), &json!(1)));
        expect![[r#"{"rule":"unknown-mode","severity":"error","message":"spec.containers[0].volumeMounts.mountPropagation: Unsupported value: \"Bidirectonal\": supported values: \"Bidirectional\", \"HostToContainer\", \"None\"","suggestion":"Bidirectional","hint":null,"file":"a b,.yaml","line":11,"column":25,"endLine":11,"endColumn":37,"object":{"apiVersion":"v1","kind":"Pod","namespace":"","name":"p"},"path":"spec.containers[0].volumeMounts.mountPropagation","fix":{"start":175,"end":187,"replacement":"Bidirectional"}}"#]]
        .assert_eq(&report["findings"][0].to_string());
    }
}
