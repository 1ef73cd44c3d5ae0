//! Propagation on Windows.

use crate::lint::pod::{Makers, Pod};
use crate::lint::report::Report;
use crate::lint::rule::{Finds, Rule, Severity};

pub(super) static RULE: Rule = Rule {
    id: "ignored-on-windows",
    severity: Severity::Warning,
    summary: "mountPropagation in a Pod for Windows",
    what: "Finds HostToContainer and Bidirectional in Pods whose `os.name` or node selector is windows.",
    why: "Windows has no mount propagation. The kubelet there takes every mode for None and says nothing.",
    instead: "Take it out.",
    fix: "",
    bad: r#"apiVersion: v1
kind: Pod
metadata:
  name: example
spec:
  os:
    name: windows
  containers:
  - name: main
    image: busybox
    volumeMounts:
    - name: data
      mountPath: C:\data
      mountPropagation: HostToContainer
  volumes:
  - name: data
    hostPath:
      path: C:\data
"#,
    good: r#"apiVersion: v1
kind: Pod
metadata:
  name: example
spec:
  os:
    name: windows
  containers:
  - name: main
    image: busybox
    volumeMounts:
    - name: data
      mountPath: C:\data
  volumes:
  - name: data
    hostPath:
      path: C:\data
"#,
    finds: Finds::Pods(find),
};

fn find(pod: &Pod<'_>, _: &Makers<'_>, report: &mut Report<'_>) {
    let selected = pod.spec.node_selector.iter().flatten();
    let selected =
        selected.filter(|(label, _)| label.ends_with("kubernetes.io/os")).map(|(_, os)| os.as_str());
    let named = pod.spec.os.as_ref().map(|os| os.name.as_str());
    if named.into_iter().chain(selected).all(|os| os != "windows") {
        return;
    }
    for (_, mount) in pod.mounts().filter(|(_, mount)| mount.propagates()) {
        let mode = mount.mount.mount_propagation.as_deref().unwrap_or_default();
        let message = format!("{mode} means None on Windows");
        report.at(pod.object, &format!("{}.mountPropagation", mount.path), message, "take it out");
    }
}
