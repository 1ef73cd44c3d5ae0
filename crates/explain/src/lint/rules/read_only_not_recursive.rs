//! `readOnly` that stops at the next mount.

use crate::lint::places;
use crate::lint::pod::{Makers, Mode, Pod};
use crate::lint::report::Report;
use crate::lint::rule::{Finds, Rule, Severity};

pub(super) static RULE: Rule = Rule {
    id: "read-only-not-recursive",
    severity: Severity::Note,
    summary: "readOnly does not reach the mounts below",
    what: "Finds `readOnly: true` without recursiveReadOnly on hostPath folders in which the node has mounts: /, /home, /media, /mnt, /run, /srv, /var, /var/lib and the kubelet's; and on any hostPath that follows the node with HostToContainer.",
    why: "The mounts that are there at the start are writable through a read-only volume, and so are those that arrive later. A container that was only to read can write to other pods' volumes.",
    instead: "With None: `recursiveReadOnly: IfPossible` (Kubernetes 1.30 and later). With HostToContainer there is no remedy in Kubernetes; narrow the volume to what has to be read.",
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
    - name: var
      mountPath: /host/var
      mountPropagation: None
      readOnly: true
  volumes:
  - name: var
    hostPath:
      path: /var
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
    - name: var
      mountPath: /host/var
      mountPropagation: None
      readOnly: true
      recursiveReadOnly: IfPossible
  volumes:
  - name: var
    hostPath:
      path: /var
"#,
    finds: Finds::Pods(find),
};

fn find(pod: &Pod<'_>, _: &Makers<'_>, report: &mut Report<'_>) {
    for (_, mount) in pod.mounts() {
        let Some(host_path) = mount.host_path.as_deref().filter(|_| mount.is_read_only()) else { continue };
        let recursive = mount.mount.recursive_read_only.as_deref().is_some_and(|how| how != "Disabled");
        let (follows, plain) = (mount.mode == Mode::HostToContainer, mount.mount.sub_path.is_none());
        let has_mounts = follows || (plain && places::holds_mounts(host_path));
        if recursive || !has_mounts || places::is_file(mount) || mount.mode == Mode::Bidirectional {
            continue;
        }
        let (message, hint) = if follows {
            (
                format!("readOnly on {} does not reach the mounts that arrive in it", mount.named()),
                "Kubernetes has no read-only view that follows the node: narrow the volume",
            )
        } else {
            (
                format!("readOnly on {} does not reach the mounts below", mount.named()),
                "add `recursiveReadOnly: IfPossible`",
            )
        };
        report.at(pod.object, &format!("{}.readOnly", mount.path), message, hint);
    }
}
