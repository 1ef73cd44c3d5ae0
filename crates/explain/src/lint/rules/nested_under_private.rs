//! Bidirectional for a part only.

use crate::lint::paths::below;
use crate::lint::pod::{Makers, Mode, Pod};
use crate::lint::report::Report;
use crate::lint::rule::{Finds, Rule, Severity};

pub(super) static RULE: Rule = Rule {
    id: "nested-under-private",
    severity: Severity::Warning,
    summary: "only a part of a folder is Bidirectional, the rest of it is not",
    what: "Finds a container that has a hostPath folder without propagation and, mounted below it, a folder of that folder with Bidirectional.",
    why: "Mounts that the container makes in the outer folder, beside the inner one, stay in the container: nothing says so, and the kubelet or the other containers find an empty folder. CSI drivers whose staging folder is not shared fail this way.",
    instead: "Make the outer one Bidirectional and leave the inner one out, or mount only the parts that are shared.",
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
    - name: kubelet
      mountPath: /var/lib/kubelet
      mountPropagation: None
    - name: pods
      mountPath: /var/lib/kubelet/pods
      mountPropagation: Bidirectional
  volumes:
  - name: kubelet
    hostPath:
      path: /var/lib/kubelet
  - name: pods
    hostPath:
      path: /var/lib/kubelet/pods
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
    - name: kubelet
      mountPath: /var/lib/kubelet
      mountPropagation: Bidirectional
  volumes:
  - name: kubelet
    hostPath:
      path: /var/lib/kubelet
"#,
    finds: Finds::Pods(find),
};

fn find(pod: &Pod<'_>, _: &Makers<'_>, report: &mut Report<'_>) {
    for (inner, outer) in pod.containers.iter().flat_map(|container| container.pairs()) {
        let (Some(part), Some(whole)) = (&inner.host_path, &outer.host_path) else { continue };
        let nested = below(part, whole) && below(&inner.target, &outer.target);
        if inner.mode == Mode::Bidirectional && !outer.propagates() && nested {
            let message = format!("mounts in {whole} outside {part} stay in the container");
            let hint =
                format!("{} has no propagation: make it Bidirectional in place of this one", outer.named());
            report.at(pod.object, &format!("{}.mountPropagation", inner.path), message, hint);
        }
    }
}
