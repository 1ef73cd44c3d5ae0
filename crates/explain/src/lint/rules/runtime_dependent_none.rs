//! None that is HostToContainer on some nodes.

use crate::lint::paths::within;
use crate::lint::pod::{Makers, Mode, Pod};
use crate::lint::report::Report;
use crate::lint::rule::{Finds, Rule, Severity};

pub(super) static RULE: Rule = Rule {
    id: "runtime-dependent-none",
    severity: Severity::Note,
    summary: "None that some runtimes turn into HostToContainer",
    what: "Finds hostPath volumes with None, or with nothing, of folders that hold CRI-O's storage (/var/lib/containers/storage) or that hold or are in docker's (/var/lib/docker).",
    why: "CRI-O and cri-dockerd turn None into HostToContainer there (written or not, they cannot tell); containerd does not. So the container follows the node's mounts on one node and not on the next, and nothing in the API says so.",
    instead: "Write HostToContainer if the container may follow the node: that is the same everywhere.",
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
    - name: lib
      mountPath: /host/lib
      mountPropagation: None
  volumes:
  - name: lib
    hostPath:
      path: /var/lib
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
    - name: lib
      mountPath: /host/lib
      mountPropagation: HostToContainer
  volumes:
  - name: lib
    hostPath:
      path: /var/lib
"#,
    finds: Finds::Pods(find),
};

/// CRI-O's storage.
const CRIO: &str = "/var/lib/containers/storage";
/// dockerd's.
const DOCKER: &str = "/var/lib/docker";

fn find(pod: &Pod<'_>, _: &Makers<'_>, report: &mut Report<'_>) {
    for (_, mount) in pod.mounts().filter(|(_, mount)| matches!(mount.mode, Mode::None | Mode::Unset)) {
        let Some(host_path) = mount.host_path.as_deref() else { continue };
        let crio = within(CRIO, host_path);
        let docker = within(DOCKER, host_path) || within(host_path, DOCKER);
        let who = match (crio, docker) {
            (true, true) => "CRI-O and cri-dockerd make",
            (true, false) => "CRI-O makes",
            (false, true) => "cri-dockerd makes",
            (false, false) => continue,
        };
        let message = format!("{who} {} HostToContainer, containerd does not", mount.named());
        let hint = "write HostToContainer if it may follow the node: that is the same everywhere";
        report.at(pod.object, &format!("{}.mountPath", mount.path), message, hint);
    }
}
