//! Mounts left in an emptyDir.

use crate::lint::pod::{Makers, Mode, Pod};
use crate::lint::report::Report;
use crate::lint::rule::{Finds, Rule, Severity};

pub(super) static RULE: Rule = Rule {
    id: "emptydir-bidirectional-teardown",
    severity: Severity::Warning,
    summary: "a mount left in a Bidirectional emptyDir hangs the pod's removal, or its content is deleted",
    what: "Finds emptyDir volumes that a container mounts Bidirectional.",
    why: "What the container mounts stays on the node when it ends. The kubelet then deletes the emptyDir as a folder, through the mount: an NFS share or a bucket is emptied; a dead FUSE mount keeps the pod in Terminating for ever. An unmount in preStop helps only when the container ends in order.",
    instead: "Mount below a hostPath of your own and unmount in preStop, or use a CSI driver. Rhizome never deletes across a mount.",
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
    - name: shared
      mountPath: /shared
      mountPropagation: Bidirectional
  volumes:
  - name: shared
    emptyDir: {}
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
    - name: shared
      mountPath: /shared
      mountPropagation: Bidirectional
  volumes:
  - name: shared
    hostPath:
      path: /mnt/shared
"#,
    finds: Finds::Pods(find),
};

fn find(pod: &Pod<'_>, _: &Makers<'_>, report: &mut Report<'_>) {
    for (_, mount) in pod.mounts().filter(|(_, mount)| mount.mode == Mode::Bidirectional) {
        if mount.volume.is_some_and(|volume| volume.empty_dir.is_some()) {
            let message =
                format!("mounts that are left in emptyDir {} are deleted through", mount.mount.name);
            let hint = "or keep the pod from being removed: mount below a hostPath, and unmount in preStop";
            report.at(pod.object, &format!("{}.mountPropagation", mount.path), message, hint);
        }
    }
}
