//! A frozen view of where the node mounts.

use crate::lint::places;
use crate::lint::pod::{Makers, Mode, Pod};
use crate::lint::report::Report;
use crate::lint::rule::{Finds, Rule, Severity};

pub(super) static RULE: Rule = Rule {
    id: "wide-host-path-without-propagation",
    severity: Severity::Warning,
    summary: "a hostPath in which the node mounts things, without mountPropagation",
    what: "Finds hostPath volumes of /, /media, /mnt, /run, /run/netns, /var, /var/lib and of the folders of the kubelet, containerd, CRI-O and docker without mountPropagation. Who writes None has decided, and is left alone.",
    why: "The container gets the mounts that are there when it starts, and keeps them: it does not see new volumes, and holds on to those that the node has unmounted, so that their devices stay busy. Exporters report old disks, provisioners find no mount points.",
    instead: "`mountPropagation: HostToContainer` to follow the node; `None` to say that the view at the start is meant.",
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
    - name: root
      mountPath: /host
      readOnly: true
  volumes:
  - name: root
    hostPath:
      path: /
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
    - name: root
      mountPath: /host
      mountPropagation: HostToContainer
  volumes:
  - name: root
    hostPath:
      path: /
"#,
    finds: Finds::Pods(find),
};

fn find(pod: &Pod<'_>, _: &Makers<'_>, report: &mut Report<'_>) {
    for (_, mount) in pod.mounts().filter(|(_, mount)| mount.mode == Mode::Unset) {
        let Some(host_path) = mount.host_path.as_deref() else { continue };
        if places::is_file(mount) || mount.mount.sub_path.is_some() || !places::is_mounted_in(host_path) {
            continue;
        }
        let message = format!("{} shows what is mounted at the start, and keeps it", mount.named());
        let hint = "add `mountPropagation: HostToContainer` to follow the node, or `None` if this is meant";
        report.at(pod.object, &format!("{}.mountPath", mount.path), message, hint);
    }
}
