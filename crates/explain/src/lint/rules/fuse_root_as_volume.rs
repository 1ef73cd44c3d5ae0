//! A volume that is itself a mount point.

use crate::lint::places;
use crate::lint::pod::{Makers, Mode, Pod};
use crate::lint::report::Report;
use crate::lint::rule::{Finds, Rule, Severity};

pub(super) static RULE: Rule = Rule {
    id: "fuse-root-as-volume",
    severity: Severity::Warning,
    summary: "the volume is probably itself a mount that comes and goes",
    what: "Finds HostToContainer on a hostPath folder that lies below a Bidirectional one of another container of the input (/dev, /etc, /proc, /run, /sys and the kubelet's folders left out), or whose name has `fuse` in it.",
    why: "HostToContainer follows what is mounted below the folder, not the folder itself. When a FUSE daemon starts again and mounts anew, the container keeps the dead mount: `Transport endpoint is not connected`, until the pod is made anew. This is the most frequent cause of that message.",
    instead: "Make the parent folder the volume, with HostToContainer, and use the mount below it.",
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
    - name: bucket
      mountPath: /bucket
      mountPropagation: HostToContainer
  volumes:
  - name: bucket
    hostPath:
      path: /mnt/s3-fuse
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
    - name: buckets
      mountPath: /buckets
      mountPropagation: HostToContainer
  volumes:
  - name: buckets
    hostPath:
      path: /mnt/buckets
"#,
    finds: Finds::Pods(find),
};

fn find(pod: &Pod<'_>, makers: &Makers<'_>, report: &mut Report<'_>) {
    for (_, mount) in pod.mounts().filter(|(_, mount)| mount.mode == Mode::HostToContainer) {
        let Some(host_path) = mount.host_path.as_deref().filter(|_| !places::is_file(mount)) else {
            continue;
        };
        let message = match makers.of_mount_at(host_path) {
            Some(maker) => format!("{} is probably what {maker} mounts", mount.named()),
            None if last_part(host_path).contains("fuse") => {
                format!("{} is probably itself a mount", mount.named())
            }
            None => continue,
        };
        let parent = host_path.rfind('/').map_or("/", |at| &host_path[..at.max(1)]);
        let hint = format!(
            "when it is mounted anew, this stays the dead one: make {parent} the volume, with HostToContainer"
        );
        report.at(pod.object, &format!("{}.mountPath", mount.path), message, hint);
    }
}

fn last_part(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}
