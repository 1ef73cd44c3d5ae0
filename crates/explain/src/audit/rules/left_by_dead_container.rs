//! Mounts in folders of pods and containers that have no process any more.

use crate::audit::Scene;
use crate::finding::Finding;
use crate::mend::Action;
use crate::rule::Rule;
use crate::topology::At;
use mount_table::node::{Container, Owner};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use subtree_model::RuleId;

pub(super) static RULE: Rule = Rule {
    id: "left-by-dead-container",
    summary: "A mount lies in the folder of a pod or container that has no process any more",
    what: "The mount point has the uid of a pod (`…/pods/UID/…`) or the id of a container (64 hexadecimal digits) in it, no process on the node is in a cgroup of that uid or id, and no container has that folder of the file system mounted.",
    why: "What a Bidirectional container mounted stays when it ends. The kubelet cannot remove the pod's folder (`device or resource busy`), or worse, removes what is in the mount; a pod stays Terminating.",
    instead: "Unmount it. So that it does not come again: let the container unmount what it mounted when it ends (a preStop hook, or a trap of SIGTERM).",
    kernel: &[RuleId::NamespaceDeath, RuleId::MountPointInUse],
};

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let t = scene.topology;
    let alive = alive(scene);
    // What a container has mounted belongs to one that lives, whatever the folder is called: the /dev/shm of a sandbox.
    let folder = |at: At| (t.mount(at).device, t.mount(at).root.as_path());
    let containers = (0..t.count()).filter(|at| t.named(*at).container);
    let used: BTreeSet<_> = containers.flat_map(|at| t.rows(at)).map(folder).collect();
    let mut left: BTreeMap<String, Vec<At>> = BTreeMap::new();
    for namespace in scene.scope.iter().filter(|at| !t.named(**at).container) {
        for at in t.rows(*namespace).filter(|at| t.is_visible(*at) && !used.contains(&folder(*at))) {
            if let Some(id) = folder_of(&t.mount(at).mount_point).filter(|id| !alive.contains(id.as_str())) {
                left.entry(id).or_default().push(at);
            }
        }
    }
    left.into_iter().map(|(id, mounts)| finding(scene, &id, &mounts)).collect()
}

fn finding(scene: &Scene<'_>, id: &str, mounts: &[At]) -> Finding {
    let t = scene.topology;
    let title = format!("{} mount(s) of {id}, of which no process is left", mounts.len());
    let why = "its folder cannot be removed while they are there";
    let finding = mounts
        .iter()
        .fold(Finding::problem(RULE.id, title, why), |finding, at| finding.seen(scene.row(*at)))
        .about(scene.place(mounts[0]));
    // What was mounted last lies on top; what goes with another is not asked for twice.
    let mut first: Vec<At> = Vec::new();
    for at in mounts.iter().rev() {
        if !first.iter().any(|other| t.goes_with(*other, *at)) {
            first.push(*at);
        }
    }
    let actions = first.iter().map(|at| Action::Unmount { mount: t.seen(*at) }).collect();
    finding.with(
        t,
        actions,
        "refused by the kernel if something has a file open in it: `rhizome why-busy` tells what",
    )
}

/// The uids of pods and the ids of containers that have processes.
fn alive<'a>(scene: &'a Scene<'_>) -> BTreeSet<&'a str> {
    let of = |container: &'a Container| {
        let uid = container.pod.as_ref().and_then(|pod| pod.uid.as_deref());
        uid.into_iter().chain([container.id.as_str()])
    };
    let views = scene.node.namespaces.iter();
    views
        .flat_map(|view| {
            let owner = match &view.owner {
                Owner::Container(container) => Some(container),
                _ => None,
            };
            view.processes.iter().filter_map(|process| process.container.as_ref()).chain(owner)
        })
        .flat_map(of)
        .collect()
}

/// The uid after `pods`, or the id, that a path lies in.
fn folder_of(path: &Path) -> Option<String> {
    let parts: Vec<&str> = path.iter().filter_map(|part| part.to_str()).collect();
    let pod = parts.windows(2).find(|pair| pair[0] == "pods" && is_uid(pair[1])).map(|pair| pair[1]);
    let id =
        || parts.iter().copied().find(|part| part.len() == 64 && part.bytes().all(|b| b.is_ascii_hexdigit()));
    pod.or_else(id).map(str::to_owned)
}

fn is_uid(part: &str) -> bool {
    let groups: Vec<usize> = part.split('-').map(str::len).collect();
    groups == [8, 4, 4, 4, 12] && part.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
}
