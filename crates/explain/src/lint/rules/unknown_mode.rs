//! `mountPropagation` that is none of the three.

use crate::lint::rule::{Finds, Rule, Severity};
use manifest::field::Check;

pub(super) static RULE: Rule = Rule {
    id: "unknown-mode",
    severity: Severity::Error,
    summary: "mountPropagation is none of None, HostToContainer, Bidirectional",
    what: "Finds values of mountPropagation that the API does not have. The near miss is named.",
    why: "The API server refuses the object, and does not say in which of the mounts the value stands. Schema validators accept it, since the field is a string there.",
    instead: "Write None, HostToContainer or Bidirectional. The kernel's words are not taken: rslave is HostToContainer, rshared is Bidirectional, rprivate is None.",
    fix: "Writes the value that it is nearly.",
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
      mountPropagation: Bidirectonal
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
      mountPropagation: Bidirectional
  volumes:
  - name: data
    hostPath:
      path: /mnt/data
"#,
    finds: Finds::Check(Check::UnknownMode),
};
