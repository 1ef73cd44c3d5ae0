//! Fields that the API does not have.

use crate::lint::rule::{Finds, Rule, Severity};
use manifest::problem::Stage;

pub(super) static RULE: Rule = Rule {
    id: "misspelt-field",
    severity: Severity::Error,
    summary: "a field that the API does not have",
    what: "Finds fields that the type of the object does not have, and names the one that was probably meant.",
    why: "With strict decoding, which is kubectl's default, the object is refused. With --validate=warn or ignore, and by many other clients, the field is dropped: a misspelt mountPropagation is then None, without a word.",
    instead: "Write the field as the API has it, or take it out.",
    fix: "Writes the field that it is nearly, if its value is of the right type for that one and it is not there already.",
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
      mountPropogation: HostToContainer
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
      mountPropagation: HostToContainer
  volumes:
  - name: data
    hostPath:
      path: /mnt/data
"#,
    finds: Finds::Problems(|problem| problem.stage == Stage::Strict),
};
