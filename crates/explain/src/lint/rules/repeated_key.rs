//! A key given twice.

use crate::lint::rule::{Finds, Rule, Severity};
use manifest::problem::Stage;

pub(super) static RULE: Rule = Rule {
    id: "repeated-key",
    severity: Severity::Warning,
    summary: "a key that stands twice in one mapping",
    what: "Finds keys that are given again in the same mapping.",
    why: "kubectl sends the last one and says nothing of the others, so what stands above is not so.",
    instead: "Keep one of them.",
    fix: "",
    bad: r#"apiVersion: v1
kind: Pod
metadata:
  name: example
spec:
  containers:
  - name: main
    image: busybox
    securityContext:
      privileged: true
    volumeMounts:
    - name: data
      mountPath: /data
      mountPropagation: Bidirectional
      mountPropagation: None
  volumes:
  - name: data
    hostPath:
      path: /mnt/data
"#,
    good: r#"apiVersion: v1
kind: Pod
metadata:
  name: example
spec:
  containers:
  - name: main
    image: busybox
    securityContext:
      privileged: true
    volumeMounts:
    - name: data
      mountPath: /data
      mountPropagation: None
  volumes:
  - name: data
    hostPath:
      path: /mnt/data
"#,
    finds: Finds::Problems(|problem| problem.stage == Stage::Repeated),
};
