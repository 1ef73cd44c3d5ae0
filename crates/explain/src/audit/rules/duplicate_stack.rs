//! One mount several times at one place, and how long that can go on.

use crate::audit::Scene;
use crate::finding::Finding;
use crate::mend::Action;
use crate::rule::Rule;
use crate::topology::At;
use std::collections::BTreeMap;
use subtree_model::RuleId;

pub(super) static RULE: Rule = Rule {
    id: "duplicate-stack",
    summary: "One mount lies several times over itself at one place",
    what: "Several mounts of one folder of one file system, or more than two of one type and source, are at one mount point. With the containers that share the place in both directions, and how many more restarts fit into fs.mount-max if the number doubles.",
    why: "A runtime that binds a volume shared, and then mounts something below it (another volume, /etc/hosts, the termination log, a token), puts that on the node as well; at the next start the leftover is copied in and the next mount lands on both: 1, 2, 4, 8… A daemon that mounts again at each start without looking adds one each time. At fs.mount-max (100,000) nothing can be mounted any more; long before, systemd and everything that reads the table takes a core for itself.",
    instead: "Unmount the surplus. Then end the cause: no volume below a Bidirectional one, no Bidirectional volume of /dev, /run, /var/run or /, or a runtime that does not leak (Rhizome's containers do not).",
    kernel: &[RuleId::ReceivePeer, RuleId::TuckUnder, RuleId::MountMax],
};

/// As many stacks are told of: with more, one cause has made most of them.
const TOLD_MAX: usize = 500;
/// As many are unmounted by one mend.
const UNMOUNTED_MAX: usize = 64;

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let t = scene.topology;
    let mut findings = Vec::new();
    // What peers and slaves have of it is not found again.
    let mut told: Vec<At> = Vec::new();
    let mut namespaces = scene.scope.clone();
    namespaces.sort_by_key(|namespace| (t.named(*namespace).container, *namespace));
    for namespace in namespaces {
        let mut stacks: BTreeMap<_, Vec<At>> = BTreeMap::new();
        for at in t.rows(namespace) {
            let mount = t.mount(at);
            let alike = (&mount.mount_point, &mount.fs_type, &mount.source, &mount.root);
            stacks.entry(alike).or_default().push(at);
        }
        let depths = depths(scene, namespace);
        for mut stack in stacks.into_values().filter(|stack| is_surplus(scene, stack)) {
            stack.sort_by_key(|at| depths[at.row]);
            let lowest = stack[0];
            if told.iter().any(|other| t.goes_with(*other, lowest) || t.goes_with(lowest, *other)) {
                continue;
            }
            if told.len() >= TOLD_MAX {
                return findings;
            }
            told.push(lowest);
            findings.push(finding(scene, &stack));
        }
    }
    findings
}

/// Several mounts of one file system, or more than two that were made alike: a second tmpfs at one place can be meant.
fn is_surplus(scene: &Scene<'_>, stack: &[At]) -> bool {
    let device = |at: &At| scene.topology.mount(*at).device;
    stack.len() > 2 || stack.len() == 2 && device(&stack[0]) == device(&stack[1])
}

fn finding(scene: &Scene<'_>, stack: &[At]) -> Finding {
    let t = scene.topology;
    let (lowest, count) = (stack[0], stack.len());
    let mount = t.mount(lowest);
    let name = t.name(lowest.namespace);
    let title = format!("{name}: {} lies {count} times at {}", mount.fs_type, mount.mount_point.display());
    let mut finding = Finding::problem(RULE.id, title, growth(scene, count)).about(scene.place(lowest));
    for at in stack.iter().take(4) {
        finding = finding.seen(scene.row(*at));
    }
    for culprit in culprits(scene, lowest) {
        finding = finding.seen(culprit);
    }
    // Where they are peers of each other (a shared folder bound onto itself), the unmount of one takes others along, down to
    // the lowest; and one that is covered cannot be made private, as no path leads to it.
    if stack.iter().any(|one| stack.iter().any(|other| t.goes_with(*one, *other))) {
        let place = mount_table::shell_word(&mount.mount_point);
        return finding.mend(
            format!("while mountpoint -q {place}; do umount {place} || break; done"),
            format!(
                "the mounts are peers of each other, so an unmount of one takes others along: in the end none is left at {}, \
                 which is then to be mounted once, as at first; `rhizome mend` does not do it",
                mount.mount_point.display()
            ),
        );
    }
    // From the top down: each is in use while another lies on it.
    let above = stack[1..].iter().rev().take(UNMOUNTED_MAX);
    let actions = above.map(|at| Action::Unmount { mount: t.seen(*at) }).collect();
    finding.with(
        t,
        actions,
        "from the top down, in all namespaces that receive unmounts from there; the lowest stays",
    )
}

/// How deep in the tree each mount of a namespace lies. Every mount is climbed from once, however high a stack is.
fn depths(scene: &Scene<'_>, namespace: usize) -> Vec<usize> {
    let t = scene.topology;
    let mut depths = vec![0; t.rows(namespace).count()];
    for at in t.rows(namespace) {
        let mut way = Vec::new();
        let mut next = Some(at);
        while let Some(at) = next.filter(|at| depths[at.row] == 0 && way.len() <= depths.len()) {
            way.push(at);
            next = t.parent(at);
        }
        let mut depth = next.map_or(0, |at| depths[at.row]);
        for at in way.into_iter().rev() {
            depth += 1;
            depths[at.row] = depth;
        }
    }
    depths
}

fn growth(scene: &Scene<'_>, count: usize) -> String {
    let doubles = count.is_power_of_two() || (count + 1).is_power_of_two();
    let Some(most) = scene.node.mount_max.filter(|_| doubles && count > 2) else {
        return "only the topmost is seen; every restart of what mounts there may add one".to_owned();
    };
    let mut restarts = 0;
    let mut mounts = count as u64;
    while mounts < most && restarts < 64 {
        mounts = mounts.saturating_mul(2);
        restarts += 1;
    }
    format!(
        "numbers like 1, 2, 4, 8 (or one less) double with every restart: {restarts} more reach fs.mount-max ({most})"
    )
}

/// Containers that share the place in both directions: what they mount there comes back.
fn culprits(scene: &Scene<'_>, lowest: At) -> Vec<String> {
    let t = scene.topology;
    let Some(group) = t.parent(lowest).and_then(|parent| t.mount(parent).propagation.shared) else {
        return Vec::new();
    };
    let peers = t
        .members(group)
        .iter()
        .filter(|at| t.named(at.namespace).container || at.namespace != lowest.namespace);
    peers
        .map(|at| {
            format!(
                "{} shares the place both ways (Bidirectional), at {}",
                t.name(at.namespace),
                t.mount(*at).mount_point.display()
            )
        })
        .collect()
}
