//! Propagation of a single file.

use crate::lint::places;
use crate::lint::pod::{Makers, Pod};
use crate::lint::report::Report;
use crate::lint::rule::{Finds, Rule, Severity};

pub(super) static RULE: Rule = Rule {
    id: "propagation-on-file",
    severity: Severity::Warning,
    summary: "mountPropagation on a file, a socket or a device",
    what: "Finds HostToContainer and Bidirectional on hostPath volumes of type File, FileOrCreate, Socket, CharDevice or BlockDevice, and on paths that end as sockets do.",
    why: "Nothing can be mounted below a file. A file that is replaced, as sockets and configuration files are, stays the old one in the container; files of a FUSE file system that is mounted anew stay dead.",
    instead: "Mount the folder that it is in.",
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
    - name: socket
      mountPath: /run/example.sock
      mountPropagation: HostToContainer
  volumes:
  - name: socket
    hostPath:
      path: /run/example.sock
      type: Socket
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
    - name: run
      mountPath: /run/example
      mountPropagation: HostToContainer
  volumes:
  - name: run
    hostPath:
      path: /run/example
      type: Directory
"#,
    finds: Finds::Pods(find),
};

fn find(pod: &Pod<'_>, _: &Makers<'_>, report: &mut Report<'_>) {
    for (_, mount) in pod.mounts().filter(|(_, mount)| mount.propagates() && places::is_file(mount)) {
        let message = format!("{} is a file: nothing can be mounted below it", mount.named());
        let hint = "a file that is replaced on the node stays the old one: mount its folder";
        report.at(pod.object, &format!("{}.mountPropagation", mount.path), message, hint);
    }
}
