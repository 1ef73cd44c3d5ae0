//! File systems that the node has unmounted and a container keeps.

use crate::audit::Scene;
use crate::finding::Finding;
use crate::rule::Rule;
use crate::topology::{At, place};
use crate::why::mends;
use std::collections::BTreeMap;
use std::path::Path;
use subtree_model::RuleId;

pub(super) static RULE: Rule = Rule {
    id: "pinned-by-private-copy",
    summary: "A container keeps a file system that the node has not mounted any more",
    what: "In a volume of a container that is private lies a mount of a file system which the node has nowhere. Either it was copied when the container started and unmounted on the node since, or the container mounted it itself.",
    why: "No unmount reaches a private mount. The file system, its device and its server stay in use: a disk cannot be removed, a network namespace not deleted, and the next mount of the device may be refused.",
    instead: "`mountPropagation: HostToContainer` on the volume. Now: detach it in the container, if the container does not need it.",
    kernel: &[RuleId::MakePrivate, RuleId::UnmountReceived],
};

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let t = scene.topology;
    // By file system: several containers may keep one.
    let mut pinned: BTreeMap<_, Vec<At>> = BTreeMap::new();
    for at in scene.containers().flat_map(|namespace| t.rows(namespace)) {
        if is_pinned(scene, at) {
            pinned.entry(t.mount(at).device).or_default().push(at);
        }
    }
    pinned.into_values().map(|mounts| finding(scene, &mounts)).collect()
}

fn is_pinned(scene: &Scene<'_>, at: At) -> bool {
    let t = scene.topology;
    let mount = t.mount(at);
    let on_host = |device| t.rows(scene.host).any(|row| t.mount(row).device == device);
    // A container's own /proc, /dev/pts and the like are new file systems too.
    const OWN: [&str; 9] =
        ["proc", "sysfs", "devpts", "mqueue", "cgroup", "cgroup2", "devtmpfs", "overlay", "securityfs"];
    if !t.is_visible(at) || OWN.contains(&mount.fs_type.as_str()) || on_host(mount.device) {
        return false;
    }
    let root = t.carrier(at.namespace, Path::new("/"));
    if root.is_some_and(|root| t.mount(root).device == mount.device) {
        return false;
    }
    let Some(volume) = t.parent(at) else { return false };
    let carrier = t.mount(volume);
    let follows = carrier.propagation.is_shared() || carrier.propagation.is_slave();
    // What it lies in is a folder of the node.
    let Some(inside) = carrier.inner(&mount.mount_point) else { return false };
    !follows
        && t.rows(scene.host)
            .any(|row| t.mount(row).device == carrier.device && place(t.mount(row), &inside).is_some())
}

fn finding(scene: &Scene<'_>, mounts: &[At]) -> Finding {
    let t = scene.topology;
    let mount = t.mount(mounts[0]);
    let mut names: Vec<&str> = mounts.iter().map(|at| t.name(at.namespace)).collect();
    names.dedup();
    let title = format!(
        "{} {:?} is mounted only in {}, in a private copy",
        mount.fs_type,
        mount.source,
        names.join(", ")
    );
    let why = "it stays in use until they end; the node cannot unmount it, nor does it see it";
    let finding = mounts
        .iter()
        .fold(Finding::limit(RULE.id, title, why), |finding, at| finding.seen(scene.row(*at)))
        .about(scene.place(mounts[0]));
    let also = "programs in the container that have files open there keep them; if the container mounted it itself, it loses it";
    mends::detach(t, mounts, also, finding).mend_manifest(
        "mountPropagation: HostToContainer",
        "on that volume; takes effect when the Pod is started anew",
    )
}
