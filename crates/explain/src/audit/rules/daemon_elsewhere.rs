//! Daemons that make or look for mounts, in another namespace than the node's.

use crate::audit::Scene;
use crate::finding::Finding;
use crate::rule::Rule;
use crate::topology::{At, Relation};
use mount_table::node::Owner;
use std::path::Path;
use subtree_model::RuleId;

pub(super) static RULE: Rule = Rule {
    id: "daemon-elsewhere",
    summary: "A daemon that deals in mounts is not in the node's mount namespace",
    what: "The kubelet, containerd, CRI-O, dockerd, k3s or a CSI driver's host part runs in a mount namespace of its own, outside of any container. It is judged by what its `/` has to do with the node's.",
    why: "What such a daemon mounts reaches the node only if the two share a peer group; with MountFlags=slave it only receives, with a private copy neither goes. Volumes are then empty folders, without an error, and what was made shared by hand in a shell is not shared where the daemon looks.",
    instead: "Take MountFlags=, PrivateMounts=, PrivateTmp=, ProtectSystem=, ProtectHome=, ReadOnlyPaths= and the like out of its unit. (Hiding container mounts from the node on purpose, with KUBENSMNT, is fine if kubelet and runtime share that namespace.)",
    kernel: &[RuleId::NamespaceCopy, RuleId::MakeSlaveOfPeer],
};

/// What deals in mounts, as `comm` shows it (15 bytes).
const DAEMONS: [&str; 9] =
    ["kubelet", "containerd", "crio", "dockerd", "docker", "k3s-server", "k3s-agent", "rke2", "cri-dockerd"];

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let t = scene.topology;
    let mut findings = Vec::new();
    for &namespace in scene.scope.iter().filter(|at| **at != scene.host && !t.named(**at).container) {
        let view = scene.node.namespaces.iter().find(|view| t.position(view.id) == Some(namespace));
        let Some(view) = view else { continue };
        let root = |namespace| t.carrier(namespace, Path::new("/"));
        let (Some(own), Some(host)) = (root(namespace), root(scene.host)) else { continue };
        for process in view.processes.iter().filter(|process| DAEMONS.contains(&process.comm.as_str())) {
            let unit = match &view.owner {
                Owner::Service { name } => Some(name.as_str()),
                _ => None,
            };
            findings.push(finding(scene, (&process.comm, process.pid, unit), own, host));
        }
    }
    findings
}

fn finding(scene: &Scene<'_>, daemon: (&str, u32, Option<&str>), own: At, host: At) -> Finding {
    let (comm, pid, unit) = daemon;
    let t = scene.topology;
    let title = format!("{comm} (pid {pid}) is in a mount namespace of its own");
    let finding = match t.relation(host, own) {
        Relation::Peers => Finding::limit(
            RULE.id,
            title,
            "its / is a peer of the node's: below / mounts go both ways, but not below mounts that only one of the two has",
        ),
        Relation::Receives(_) => Finding::problem(
            RULE.id,
            title,
            "its / is a slave of the node's: what it mounts does not reach the node",
        ),
        _ => {
            Finding::problem(RULE.id, title, "its / has nothing to do with the node's: mounts go neither way")
        }
    };
    let unit = unit.map_or_else(|| "its unit".to_owned(), str::to_owned);
    finding.about(t.name(own.namespace)).seen(scene.row(host)).seen(scene.row(own)).mend(
        format!("systemctl edit {unit}"),
        "take MountFlags=, PrivateMounts=, PrivateTmp=, ProtectSystem= and the like out, then restart it; containers that run keep what they have",
    )
}
