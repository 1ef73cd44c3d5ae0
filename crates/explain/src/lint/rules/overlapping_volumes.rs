//! One folder mounted twice.

use crate::lint::pod::{Makers, MountOf, Pod};
use crate::lint::report::Report;
use crate::lint::rule::{Finds, Rule, Severity};

pub(super) static RULE: Rule = Rule {
    id: "overlapping-volumes",
    severity: Severity::Warning,
    summary: "a container mounts one folder twice, with different views of the node, or two volumes at one place",
    what: "Finds the same folder of a volume mounted twice in a container, one of them with propagation; and two mounts whose mountPaths differ only in how they are written.",
    why: "With different modes the two show different things: one follows the node, the other is what was there at the start. With two Bidirectional ones each mount that is made appears twice, and both have to be unmounted. Of two mounts at one place only the later is seen.",
    instead: "Mount it once.",
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
    - name: data
      mountPath: /frozen
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
    finds: Finds::Pods(find),
};

fn find(pod: &Pod<'_>, _: &Makers<'_>, report: &mut Report<'_>) {
    for container in &pod.containers {
        for (at, later) in container.mounts.iter().enumerate() {
            for earlier in &container.mounts[..at] {
                judge(pod, earlier, later, report);
            }
        }
    }
}

fn judge(pod: &Pod<'_>, earlier: &MountOf<'_>, later: &MountOf<'_>, report: &mut Report<'_>) {
    let (one, other) = (&earlier.mount.mount_path, &later.mount.mount_path);
    // Paths that are written alike are refused by the API server.
    if earlier.target == later.target && one != other {
        let message = format!("{other} is {one}: only the later mount is seen");
        let hint = "take one of the two away";
        report.at(pod.object, &format!("{}.mountPath", later.path), message, hint);
    }
    let same = earlier.source().is_some() && earlier.source() == later.source();
    if !same || !(earlier.propagates() || later.propagates()) {
        return;
    }
    let (message, hint) = if earlier.propagates() && later.propagates() {
        (format!("{one} and {other} are the same folder: mounts appear in both"), "mount it once")
    } else {
        let (follows, frozen) = if later.propagates() { (other, one) } else { (one, other) };
        (
            format!("{one} and {other} are the same folder, but only {follows} follows the node"),
            if frozen == one {
                "the first shows what is mounted at the start"
            } else {
                "the second shows what is mounted at the start"
            },
        )
    };
    report.at(pod.object, &format!("{}.mountPath", later.path), message, hint);
}
