//! Bidirectional where the runtime mounts too.

use crate::lint::pod::{Makers, Mode, Pod};
use crate::lint::report::Report;
use crate::lint::rule::{Finds, Rule, Severity};

pub(super) static RULE: Rule = Rule {
    id: "bidirectional-on-root",
    severity: Severity::Warning,
    summary: "Bidirectional on /, /dev, /etc, /run or /var/run",
    what: "Finds Bidirectional on the container's /, /dev, /etc, /run or /var/run, and of the node's /.",
    why: "The runtime mounts there itself: /dev/shm and the termination log, /etc/hosts and /etc/resolv.conf, the service account's token. With most runtimes these mounts leave for the node over the node's own files, and double with every restart: 1, 2, 4, 8. Nodes have died of 36,887 of them. Of the node's /, all of it is in the container's hands.",
    instead: "Mount the volume elsewhere (/host/dev), or only the folder in it that is needed. Rhizome keeps its own mounts in the container.",
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
    - name: dev
      mountPath: /dev
      mountPropagation: Bidirectional
  volumes:
  - name: dev
    hostPath:
      path: /dev
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
    - name: plugins
      mountPath: /plugins
      mountPropagation: Bidirectional
  volumes:
  - name: plugins
    hostPath:
      path: /var/lib/example/plugins
"#,
    finds: Finds::Pods(find),
};

/// A folder of a container and what runtimes mount in it.
const RUNTIMES: [(&str, &str); 4] = [
    ("/dev", "/dev/shm and the termination log"),
    ("/etc", "/etc/hosts, /etc/hostname and /etc/resolv.conf"),
    ("/run", "the service account's token, since /var/run is a link to /run in most images"),
    ("/", "all that it mounts for the container"),
];

fn find(pod: &Pod<'_>, _: &Makers<'_>, report: &mut Report<'_>) {
    for (_, mount) in pod.mounts().filter(|(_, mount)| mount.mode == Mode::Bidirectional) {
        let path = format!("{}.mountPropagation", mount.path);
        if let Some((_, what)) = RUNTIMES.iter().find(|(folder, _)| *folder == mount.target) {
            let message =
                format!("Bidirectional on {} lets out what the runtime mounts there", mount.mount.mount_path);
            let hint = format!("that is {what}; it doubles with every restart: mount it elsewhere");
            report.at(pod.object, &path, message, hint);
        } else if mount.host_path.as_deref() == Some("/") {
            let message = format!("Bidirectional of the node's / at {}", mount.mount.mount_path);
            let hint =
                "the container can mount and unmount anywhere on the node: take the folder that it needs";
            report.at(pod.object, &path, message, hint);
        }
    }
}
