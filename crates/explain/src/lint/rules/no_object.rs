//! Documents that are no object.

use crate::lint::rule::{Finds, Rule, Severity};
use manifest::problem::{Problem, Stage};

pub(super) static RULE: Rule = Rule {
    id: "no-object",
    severity: Severity::Error,
    summary: "a document without apiVersion or kind",
    what: "Finds documents and items of Lists that are no Kubernetes object. A document that has neither apiVersion nor kind is taken for something else (a chart's values, say): that is only a note.",
    why: "kubectl refuses the file.",
    instead: "Say what it is, or do not lint it.",
    fix: "",
    bad: r#"kind: Pod
metadata:
  name: example
"#,
    good: r#"apiVersion: v1
kind: Pod
metadata:
  name: example
spec:
  containers:
  - name: main
    image: busybox
    volumeMounts:
    - name: data
      mountPath: /data
  volumes:
  - name: data
    hostPath:
      path: /mnt/data
"#,
    finds: Finds::Problems(|problem| problem.stage == Stage::Shape || is_no_item(problem)),
};

/// An item of a List without a kind.
fn is_no_item(problem: &Problem) -> bool {
    problem.stage == Stage::Metadata && problem.object.kind.is_empty()
}
