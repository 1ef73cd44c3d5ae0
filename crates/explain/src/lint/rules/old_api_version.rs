//! API versions that are not served any more, or not yet.

use crate::lint::rule::{Finds, Rule, Severity};
use manifest::kinds::is_of_an_own_group;
use manifest::problem::Stage;

pub(super) static RULE: Rule = Rule {
    id: "old-api-version",
    severity: Severity::Note,
    summary: "a version of Kubernetes' own API groups that 1.36 does not serve by default",
    what: "Finds apiVersions of Kubernetes' own groups that Kubernetes 1.36 does not serve unless it is told to, such as extensions/v1beta1, and names the one that has the kind now.",
    why: "An API server of that version has no such resource. Pods in such an object are not looked at by the other rules.",
    instead: "Write the apiVersion that has the kind now. Fields may have changed, so this is not done for you.",
    fix: "",
    bad: r#"apiVersion: extensions/v1beta1
kind: DaemonSet
metadata:
  name: example
"#,
    good: r#"apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: example
spec:
  selector:
    matchLabels:
      app: example
  template:
    metadata:
      labels:
        app: example
    spec:
      containers:
      - name: main
        image: busybox
"#,
    finds: Finds::Problems(|problem| {
        problem.stage == Stage::Kind && is_of_an_own_group(&problem.object.api_version)
    }),
};
