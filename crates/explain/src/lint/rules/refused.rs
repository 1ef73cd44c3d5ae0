//! Everything else that an API server refuses.

use crate::lint::rule::{Finds, Rule, Severity};
use manifest::problem::Stage;

pub(super) static RULE: Rule = Rule {
    id: "refused",
    severity: Severity::Error,
    summary: "a value that the API server refuses",
    what: "Finds, with the API server's words, whatever else its decoder and its validation refuse in Pods, ConfigMaps, Secrets, and the workloads that make Pods. (Of a CronJob only the types and its Pods are looked at.)",
    why: "The object cannot be created.",
    instead: "The message says what is wrong.",
    fix: "",
    bad: r#"apiVersion: v1
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
    - name: other
      mountPath: /other
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
    volumeMounts:
    - name: data
      mountPath: /data
  volumes:
  - name: data
    hostPath:
      path: /mnt/data
"#,
    finds: Finds::Problems(|problem| {
        matches!(problem.stage, Stage::Metadata | Stage::Decode | Stage::Invalid)
    }),
};
