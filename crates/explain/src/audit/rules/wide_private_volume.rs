//! A container that has the node's `/` as a private volume.

use crate::audit::Scene;
use crate::finding::Finding;
use crate::rule::Rule;
use crate::topology::At;
use std::path::Path;
use subtree_model::RuleId;

pub(super) static RULE: Rule = Rule {
    id: "wide-private-volume",
    summary: "A container has the node's / as a volume without propagation",
    what: "A private mount in a container shows the root of the node's root file system, with the number of mounts that were copied with it.",
    why: "Everything that was mounted on the node when the container started is copied and kept: other containers' root file systems, network namespaces, volumes. What is mounted later is not seen. On kernels before 3.18 and in some cases after, folders cannot be removed (`device or resource busy`).",
    instead: "`mountPropagation: HostToContainer` on the volume of /, or volumes of the folders that are needed.",
    kernel: &[RuleId::CopyPrivate, RuleId::RemoveDetaches],
};

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let t = scene.topology;
    let Some(root) = t.carrier(scene.host, Path::new("/")) else { return Vec::new() };
    let host = t.mount(root);
    let is_wide = |at: &At| {
        let mount = t.mount(*at);
        let follows = mount.propagation.is_shared() || mount.propagation.is_slave();
        mount.device == host.device
            && mount.root == host.root
            && mount.mount_point != Path::new("/")
            && !follows
    };
    let wide = scene.containers().flat_map(|namespace| t.rows(namespace)).filter(is_wide);
    wide.map(|at| {
        let mount = t.mount(at);
        let name = t.name(at.namespace);
        let copied = t
            .rows(at.namespace)
            .filter(|row| *row != at && t.mount(*row).mount_point.starts_with(&mount.mount_point));
        let count = copied.count();
        let title = format!(
            "{name} has the node's / at {}, private, with {count} mounts",
            mount.mount_point.display()
        );
        Finding::limit(
            RULE.id,
            title,
            "it keeps what the node unmounts, and does not see what the node mounts",
        )
        .about(scene.place(at))
        .seen(scene.row(at))
        .mend_manifest(
            "mountPropagation: HostToContainer",
            format!(
                "on the volumeMount at {}; takes effect when the Pod is started anew",
                mount.mount_point.display()
            ),
        )
    })
    .collect()
}
