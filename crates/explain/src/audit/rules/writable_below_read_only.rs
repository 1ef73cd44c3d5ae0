//! Writable mounts in read-only volumes.

use crate::audit::Scene;
use crate::finding::Finding;
use crate::mend::Action;
use crate::rule::Rule;
use crate::topology::At;
use std::path::Path;
use subtree_model::RuleId;

pub(super) static RULE: Rule = Rule {
    id: "writable-below-read-only",
    summary: "A read-only volume of a container has a writable mount in it",
    what: "A mount of a container is read-only, and one that is mounted below it is not.",
    why: "`readOnly: true` makes one mount read-only. What was mounted below its source comes along writable, and so does what arrives later by HostToContainer.",
    instead: "`recursiveReadOnly: Enabled` (which excludes mountPropagation), or mount what lies below read-only on the node.",
    kernel: &[RuleId::SetAttributes, RuleId::ReceiveSlave],
};

/// File systems of the kernel's own, which runtimes mount read-only and writable on purpose.
const OWN: [&str; 8] = ["proc", "sysfs", "devpts", "mqueue", "cgroup", "cgroup2", "devtmpfs", "bpf"];

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let t = scene.topology;
    let is_read_only = |at: At| t.mount(at).is_read_only();
    let is_own = |at: At| OWN.contains(&t.mount(at).fs_type.as_str());
    let mut findings = Vec::new();
    for volume in scene.containers().flat_map(|namespace| t.rows(namespace)) {
        if t.mount(volume).mount_point == Path::new("/") || !is_read_only(volume) || is_own(volume) {
            continue;
        }
        let writable: Vec<At> = t
            .children(volume)
            .filter(|at| t.is_visible(*at) && !is_read_only(*at) && !is_own(*at))
            .filter(|at| t.mount(*at).mount_point != t.mount(volume).mount_point)
            .collect();
        let Some(first) = writable.first() else { continue };
        let title = format!(
            "{}: {} is read-only, {} in it is not",
            t.name(volume.namespace),
            t.mount(volume).mount_point.display(),
            t.mount(*first).mount_point.display()
        );
        let finding = Finding::limit(RULE.id, title, "the container can write there")
            .about(scene.place(volume))
            .seen(scene.row(volume));
        let finding = writable.iter().fold(finding, |finding, at| finding.seen(scene.row(*at)));
        let actions = writable.iter().map(|at| Action::MakeReadOnly { mount: t.seen(*at) }).collect();
        findings.push(
            finding
                .with(
                    t,
                    actions,
                    "in that container only, until it is started anew; what arrives later is writable again",
                )
                .mend_manifest(
                    "recursiveReadOnly: Enabled",
                    "on that volumeMount, without mountPropagation; needs Linux 5.12 and a runtime that can",
                ),
        );
    }
    findings
}
