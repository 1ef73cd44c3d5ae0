//! Suppressions of nothing.

use crate::lint::rule::{Finds, Rule, Severity};

pub(super) static RULE: Rule = Rule {
    id: "unknown-suppression",
    severity: Severity::Warning,
    summary: "rhizome.dev/ignore names a rule that does not exist",
    what: "Finds names in the annotation rhizome.dev/ignore that are no rule's.",
    why: "The finding that was to be silenced is not, or a rule was renamed and nobody noticed.",
    instead: "Write the rule's name, or take the annotation out.",
    fix: "",
    bad: r#"apiVersion: v1
kind: Pod
metadata:
  name: example
  annotations:
    rhizome.dev/ignore: read-only-not-recursiv
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
    good: r#"apiVersion: v1
kind: Pod
metadata:
  name: example
  annotations:
    rhizome.dev/ignore: read-only-not-recursive
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
    finds: Finds::Suppressions,
};
