//! Two objects of one name.

use crate::lint::rule::{Finds, Rule, Severity};
use manifest::problem::Stage;

pub(super) static RULE: Rule = Rule {
    id: "repeated-object",
    severity: Severity::Warning,
    summary: "an object that stands twice in one file",
    what: "Finds objects of the same kind, namespace and name in one file, as far as these are kinds that Rhizome runs.",
    why: "`kubectl create` refuses the second; `kubectl apply` silently lets it overwrite the first.",
    instead: "Rename one, or take it out.",
    fix: "",
    bad: r#"apiVersion: v1
kind: ConfigMap
metadata:
  name: example
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: example
"#,
    good: r#"apiVersion: v1
kind: ConfigMap
metadata:
  name: example
"#,
    finds: Finds::Problems(|problem| problem.stage == Stage::Exists),
};
