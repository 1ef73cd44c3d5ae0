//! What cannot be read.

use crate::lint::rule::{Finds, Rule, Severity};
use manifest::problem::Stage;

pub(super) static RULE: Rule = Rule {
    id: "not-yaml",
    severity: Severity::Error,
    summary: "text that is no YAML",
    what: "Finds what kubectl cannot read as YAML or JSON.",
    why: "Nothing of the document, and nothing behind it, can be created or looked at.",
    instead: "Mend the syntax. Templates are linted by piping what `helm template` makes of them into `rhizome lint -`.",
    fix: "",
    bad: r#"apiVersion: v1
kind: ConfigMap
metadata:
  name: example
 data: {}
"#,
    good: r#"apiVersion: v1
kind: ConfigMap
metadata:
  name: example
data: {}
"#,
    finds: Finds::Problems(|problem| matches!(problem.stage, Stage::Parse | Stage::Separator)),
};
