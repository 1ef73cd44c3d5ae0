//! How near a namespace is to fs.mount-max.

use crate::audit::Scene;
use crate::finding::Finding;
use crate::rule::Rule;
use std::collections::BTreeMap;
use subtree_model::RuleId;

pub(super) static RULE: Rule = Rule {
    id: "mount-count",
    summary: "A namespace has more than half of the mounts that it may have",
    what: "The mounts of a namespace against fs.mount-max (100,000 unless it was changed). More than four fifths are a problem.",
    why: "At the limit every mount fails with `no space left on device`, also the start of pods that have nothing to do with the cause: a mount that would arrive in a full namespace fails everywhere. Reading the table takes longer with each of them.",
    instead: "Find what multiplies (`rhizome audit` names stacks; `rhizome mounts` counts) and unmount the surplus. Raising the limit (`sysctl fs.mount-max`) buys one more doubling.",
    kernel: &[RuleId::MountMax],
};

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let t = scene.topology;
    let Some(most) = scene.node.mount_max.filter(|most| *most > 0) else { return Vec::new() };
    let counts = scene.scope.iter().map(|at| (*at, t.rows(*at).count() as u64));
    counts
        .filter(|(_, count)| count.saturating_mul(2) > most)
        .map(|(namespace, count)| {
            let name = t.name(namespace);
            let title = format!("{name} has {count} mounts of the {most} that fs.mount-max allows");
            let why = "at the limit nothing can be mounted in it, nor where a mount would arrive in it";
            let finding = match count.saturating_mul(5) > most.saturating_mul(4) {
                true => Finding::problem(RULE.id, title, why),
                false => Finding::limit(RULE.id, title, why),
            };
            let mut places: BTreeMap<_, usize> = BTreeMap::new();
            t.rows(namespace).for_each(|at| *places.entry(&t.mount(at).mount_point).or_default() += 1);
            let mut places: Vec<_> = places.into_iter().collect();
            places.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
            places
                .iter()
                .take(3)
                .fold(finding, |finding, (path, count)| {
                    finding.seen(format!("{count} at {}", path.display()))
                })
                .about(name)
                .mend(
                    format!("sysctl -w fs.mount-max={}", most.saturating_mul(2)),
                    "until the next boot; one more doubling, and no cure",
                )
        })
        .collect()
}
