//! Kinds that an API group does not have.

use crate::lint::rule::{Finds, Rule, Severity};
use manifest::kinds::serves;
use manifest::problem::Stage;

pub(super) static RULE: Rule = Rule {
    id: "unknown-kind",
    severity: Severity::Error,
    summary: "a kind that the API version does not have",
    what: "Finds kinds that one of Kubernetes' own API versions does not have. Kinds of other groups need their definitions and are passed over.",
    why: "The API server has no such resource, so the object cannot be created.",
    instead: "Write the kind as the API has it, or the apiVersion that has it.",
    fix: "Writes the kind that it is nearly.",
    bad: r#"apiVersion: apps/v1
kind: DeamonSet
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
    // An empty list is one whatever it is of.
    finds: Finds::Problems(|problem| {
        let object = &problem.object;
        problem.stage == Stage::Kind && serves(&object.api_version) && !object.kind.ends_with("List")
    }),
};
