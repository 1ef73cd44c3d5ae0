//! Bidirectional without `privileged`.

use crate::lint::rule::{Finds, Rule, Severity};
use manifest::field::Check;

pub(super) static RULE: Rule = Rule {
    id: "bidirectional-not-privileged",
    severity: Severity::Error,
    summary: "Bidirectional in a container that is not privileged",
    what: "Finds Bidirectional in containers (init and ephemeral ones too) without `securityContext.privileged: true`.",
    why: "The API server refuses the object. Mounts that leave a container are mounts of the node, so only who may do anything there may make them; capabilities such as SYS_ADMIN do not count.",
    instead: "Make this container privileged, or take HostToContainer if it only has to see the node's mounts.",
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
      mountPropagation: Bidirectional
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
    finds: Finds::Check(Check::BidirectionalNotPrivileged),
};
