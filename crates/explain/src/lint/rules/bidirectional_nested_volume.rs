//! A volume below a Bidirectional one.

use crate::lint::paths::{below, clean};
use crate::lint::pod::{Makers, Mode, Pod};
use crate::lint::report::Report;
use crate::lint::rule::{Finds, Rule, Severity};

pub(super) static RULE: Rule = Rule {
    id: "bidirectional-nested-volume",
    severity: Severity::Warning,
    summary: "another mount of the container lies below a Bidirectional one",
    what: "Finds volumes whose mountPath lies below that of a Bidirectional volume of the same container, and a terminationMessagePath there.",
    why: "Most runtimes mount the inner one after the outer one is shared, so it appears on the node too and stays there when the container ends. The next start takes it along and adds its own: 1, 2, 4, … 2^n mounts after n restarts, until the node's limit (fs.mount-max, 100,000) keeps other pods from starting.",
    instead: "Mount the two side by side. Rhizome builds the volume first and joins it to the node's afterwards, so that nothing leaks; other runtimes do not.",
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
    - name: cache
      mountPath: /data/cache
  volumes:
  - name: data
    hostPath:
      path: /mnt/data
  - name: cache
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
    - name: data
      mountPath: /data
      mountPropagation: Bidirectional
    - name: cache
      mountPath: /cache
  volumes:
  - name: data
    hostPath:
      path: /mnt/data
  - name: cache
    emptyDir: {}
"#,
    finds: Finds::Pods(find),
};

fn find(pod: &Pod<'_>, _: &Makers<'_>, report: &mut Report<'_>) {
    const HINT: &str = "it doubles on the node with every restart: 1, 2, 4, 8";
    for container in &pod.containers {
        for inner in &container.mounts {
            // The nearest one is enough.
            let outer = container
                .mounts
                .iter()
                .filter(|outer| outer.mode == Mode::Bidirectional && below(&inner.target, &outer.target))
                .max_by_key(|outer| outer.target.len());
            let Some(outer) = outer else { continue };
            let message = format!(
                "{} is mounted below {}, which is Bidirectional",
                inner.mount.mount_path,
                outer.named()
            );
            report.at(pod.object, &format!("{}.mountPath", inner.path), message, HINT);
        }
        let Some(log) = container.termination_log else { continue };
        for outer in container.mounts.iter().filter(|outer| outer.mode == Mode::Bidirectional) {
            if below(&clean(log), &outer.target) {
                let message = format!(
                    "the termination log {log} is mounted below {}, which is Bidirectional",
                    outer.named()
                );
                report.at(pod.object, &format!("{}.mountPath", outer.path), message, HINT);
            }
        }
    }
}
