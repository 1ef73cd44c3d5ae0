//! `recursiveReadOnly` beside propagation.

use crate::lint::rule::{Finds, Rule, Severity};
use manifest::field::Check;

pub(super) static RULE: Rule = Rule {
    id: "recursive-read-only-with-propagation",
    severity: Severity::Error,
    summary: "recursiveReadOnly together with mountPropagation",
    what: "Finds `recursiveReadOnly: Enabled` or `IfPossible` beside a mountPropagation other than None.",
    why: "The API server refuses the object: a mount that arrives later would be writable, so the promise could not be kept.",
    instead: "Choose one of the two: a view that is read-only all through, or one that follows the node.",
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
      mountPropagation: HostToContainer
      readOnly: true
      recursiveReadOnly: Enabled
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
      readOnly: true
      recursiveReadOnly: Enabled
  volumes:
  - name: data
    hostPath:
      path: /mnt/data
"#,
    finds: Finds::Check(Check::RecursiveReadOnlyWithPropagation),
};
