//! What every SARIF log of ours (OASIS SARIF 2.1.0) has: one run of one tool, with its rules.

use serde_json::{Value, json};

/// A rule, `page` being Markdown.
pub(crate) fn rule(id: &str, [summary, what, why, instead]: [&str; 4], page: &str) -> Value {
    json!({
        "id": id,
        "shortDescription": { "text": summary },
        "fullDescription": { "text": what },
        "help": { "text": format!("{why} {instead}"), "markdown": page },
    })
}

/// A log of one run, `version` being Rhizome's; `column_kind` where results have columns.
pub(crate) fn log(version: &str, rules: Vec<Value>, column_kind: Option<&str>, results: Vec<Value>) -> Value {
    let mut run = json!({ "tool": { "driver": { "name": "rhizome", "version": version, "rules": rules } } });
    if let Some(kind) = column_kind {
        run["columnKind"] = kind.into();
    }
    run["results"] = results.into();
    json!({ "$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run] })
}
