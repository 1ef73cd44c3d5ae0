//! `readOnly` beside Bidirectional.

use crate::lint::pod::{Makers, Mode, Pod};
use crate::lint::report::Report;
use crate::lint::rule::{Finds, Rule, Severity};

pub(super) static RULE: Rule = Rule {
    id: "bidirectional-read-only",
    severity: Severity::Warning,
    summary: "readOnly on a Bidirectional mount does not keep it from changing the node",
    what: "Finds `readOnly: true` beside Bidirectional.",
    why: "Read-only is a property of one mount, not of what is mounted below it. The container can still mount on any folder that exists in the volume, and that mount reaches the node; it can unmount the node's mounts there; and what arrives from the node is writable.",
    instead: "Take readOnly away if the container has to mount; take HostToContainer or None if it has not.",
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
    - name: data
      mountPath: /data
      mountPropagation: Bidirectional
      readOnly: true
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
    finds: Finds::Pods(find),
};

fn find(pod: &Pod<'_>, _: &Makers<'_>, report: &mut Report<'_>) {
    for (_, mount) in
        pod.mounts().filter(|(_, mount)| mount.mode == Mode::Bidirectional && mount.is_read_only())
    {
        let message = format!("readOnly on {} does not keep mounts from leaving it", mount.named());
        let hint = "the container can still mount on folders in it, and unmount the node's mounts there";
        report.at(pod.object, &format!("{}.readOnly", mount.path), message, hint);
    }
}
