//! `subPath` beside propagation.

use crate::lint::pod::{Makers, Pod};
use crate::lint::report::Report;
use crate::lint::rule::{Finds, Rule, Severity};

pub(super) static RULE: Rule = Rule {
    id: "subpath-with-propagation",
    severity: Severity::Warning,
    summary: "subPath together with mountPropagation",
    what: "Finds HostToContainer and Bidirectional beside subPath or subPathExpr.",
    why: "The kubelet binds a subPath once for the life of the pod, and without the mounts below it. What was mounted there before is not seen, what is mounted later is: it depends on who was first. What arrives later also keeps the pod from being removed.",
    instead: "Make the folder a volume of its own, without subPath.",
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
      subPath: shared
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
      path: /mnt/data/shared
"#,
    finds: Finds::Pods(find),
};

fn find(pod: &Pod<'_>, _: &Makers<'_>, report: &mut Report<'_>) {
    for (_, mount) in pod.mounts().filter(|(_, mount)| mount.propagates()) {
        let field = match (&mount.mount.sub_path, &mount.mount.sub_path_expr) {
            (Some(sub_path), _) if !sub_path.is_empty() => "subPath",
            (_, Some(expression)) if !expression.is_empty() => "subPathExpr",
            _ => continue,
        };
        let message = format!("{field} of {} hides what is mounted in it before the pod", mount.named());
        let hint = "the kubelet binds it once and not recursively: make the folder a volume of its own";
        report.at(pod.object, &format!("{}.{field}", mount.path), message, hint);
    }
}
