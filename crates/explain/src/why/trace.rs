//! From a path up to the root, and what of it the other namespace has.

use super::{Question, Visibility};
use crate::topology::{At, Relation, Topology, place};
use mount_table::{Mount, join};
use std::cmp::Reverse;
use std::path::{Path, PathBuf};

/// A mount on the way up, and the place in its file system that matters.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) at: At,
    pub(super) inner: PathBuf,
}

/// How far the chain holds.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    /// The other namespace shows it.
    Seen { copy: At, place: PathBuf },
    /// It has a mount that would show it, which another covers.
    Hidden { copy: At, place: PathBuf, cover: At },
    /// It shows the place (of `below`) on which `missing` is mounted, through `copy`, but not `missing`.
    Broken(Broken),
    /// No mount of it shows any of the places on the way.
    Nowhere,
}

/// Where a chain breaks.
#[derive(Debug, Clone)]
pub(super) struct Broken {
    /// The mount that is not there.
    pub(super) missing: At,
    /// What it is mounted on.
    pub(super) below: At,
    /// What shows that place in the other namespace.
    pub(super) copy: At,
    /// Where the missing mount would be.
    pub(super) place: PathBuf,
    /// What covers that place there, if anything.
    pub(super) cover: Option<At>,
    /// How `copy` stands to `below`.
    pub(super) relation: Relation,
}

/// All that the rules look at.
#[derive(Debug)]
pub(super) struct Trace<'a> {
    pub(super) topology: &'a Topology<'a>,
    pub(super) question: &'a Question,
    /// From what is at the path up to the root.
    pub(super) steps: Vec<Step>,
    pub(super) outcome: Outcome,
}

impl<'a> Trace<'a> {
    pub(super) fn follow(topology: &'a Topology<'a>, question: &'a Question) -> Option<Trace<'a>> {
        let steps = climb(topology, question)?;
        let outcome = outcome(topology, question, &steps);
        Some(Trace { topology, question, steps, outcome })
    }

    /// What is at the path, or carries it.
    pub(super) fn source(&self) -> At {
        self.steps[0].at
    }

    /// Whether the path is where something is mounted, not merely a directory of it.
    pub(super) fn is_mount_point(&self) -> bool {
        self.topology.mount(self.source()).mount_point == self.question.path
    }

    pub(super) fn visibility(&self) -> Visibility {
        match self.outcome {
            Outcome::Seen { .. } => Visibility::Yes,
            _ => Visibility::No,
        }
    }

    /// Where it is or would be.
    pub(super) fn place(&self) -> Option<PathBuf> {
        match &self.outcome {
            Outcome::Seen { place, .. } | Outcome::Hidden { place, .. } => Some(place.clone()),
            // What is missing may lie above what was asked for.
            Outcome::Broken(Broken { missing, place, .. }) => {
                let above = &self.topology.mount(*missing).mount_point;
                let rest = self.question.path.strip_prefix(above).ok()?;
                Some(join(place, rest))
            }
            Outcome::Nowhere => None,
        }
    }

    /// `/mnt/a (mount 25, tmpfs)`
    pub(super) fn words(&self, at: At) -> String {
        words(self.topology, at)
    }

    /// `host: /mnt/a (mount 25, tmpfs)`
    pub(super) fn full_words(&self, at: At) -> String {
        format!("{}: {}", self.topology.name(at.namespace), self.words(at))
    }

    /// The name of the namespace asked about.
    pub(super) fn into(&self) -> &str {
        self.topology.name(self.question.into)
    }

    /// Whether the two namespaces are known to belong to different user namespaces.
    pub(super) fn crosses_user_namespaces(&self) -> bool {
        let user = |namespace| self.topology.named(namespace).user_namespace;
        let (from, into) = (user(self.question.from), user(self.question.into));
        from.is_some() && into.is_some() && from != into
    }

    /// The name of the namespace where the path is meant.
    pub(super) fn from(&self) -> &str {
        self.topology.name(self.question.from)
    }
}

/// `/mnt/a (mount 25, tmpfs)`
pub(crate) fn words(topology: &Topology<'_>, at: At) -> String {
    let mount = topology.mount(at);
    format!("{} (mount {}, {})", mount.mount_point.display(), mount.id.0, mount.fs_type)
}

fn climb(topology: &Topology<'_>, question: &Question) -> Option<Vec<Step>> {
    let mut at = topology.carrier(question.from, &question.path)?;
    let mut steps = vec![Step { at, inner: topology.mount(at).inner(&question.path)? }];
    // A table is finite, and no mount is met twice by following parents unless its ids lie.
    let most = topology.rows(question.from).count();
    while let Some(parent) = topology.parent(at).filter(|_| steps.len() <= most) {
        let Some(inner) = topology.mount(parent).inner(&topology.mount(at).mount_point) else { break };
        steps.push(Step { at: parent, inner });
        at = parent;
    }
    Some(steps)
}

fn outcome(topology: &Topology<'_>, question: &Question, steps: &[Step]) -> Outcome {
    for (index, step) in steps.iter().enumerate() {
        let Some((copy, place, cover)) = counterpart(topology, question, step) else { continue };
        return match (index, cover) {
            (0, None) => Outcome::Seen { copy, place },
            (0, Some(cover)) => Outcome::Hidden { copy, place, cover },
            (_, cover) => {
                let missing = steps[index - 1].at;
                let relation = topology.relation(step.at, copy);
                Outcome::Broken(Broken { missing, below: step.at, copy, place, cover, relation })
            }
        };
    }
    Outcome::Nowhere
}

/// Where another mount of the file system shows a place of this one. A folder that was removed is at no path any more: only
/// mounts of itself show it.
fn shown_at(mount: &Mount, other: &Mount, inner: &Path) -> Option<PathBuf> {
    if !mount.deleted {
        return place(other, inner);
    }
    let rest = inner.strip_prefix(&mount.root).ok()?;
    (other.deleted && other.root == mount.root).then(|| join(&other.mount_point, rest))
}

/// As many mounts that show one place are asked whether they are covered there: a container can have any number.
const ASKED_MAX: usize = 512;

/// The mount of the other namespace that shows a place best, where, and what covers it there: one that is not covered
/// before one that is, then one that receives from the mount, then the one that shows least beside it.
fn counterpart(
    topology: &Topology<'_>,
    question: &Question,
    step: &Step,
) -> Option<(At, PathBuf, Option<At>)> {
    let device = topology.mount(step.at).device;
    let rows = topology.rows(question.into).filter(|at| topology.mount(*at).device == device);
    let mut shown: Vec<(At, PathBuf)> = rows
        .filter_map(|at| Some((at, shown_at(topology.mount(step.at), topology.mount(at), &step.inner)?)))
        .collect();
    shown.sort_by_cached_key(|(copy, place)| {
        let relation = match topology.relation(step.at, *copy) {
            _ if *copy == step.at => 0,
            Relation::Peers => 1,
            Relation::Receives(_) => 2,
            Relation::Sends(_) | Relation::Siblings(_) => 3,
            Relation::Strangers => 4,
        };
        let elsewhere = question.from == question.into && place != &question.path;
        let beside = topology.mount(*copy).root.components().count();
        (elsewhere, relation, Reverse(beside), copy.row)
    });
    let mut hidden = None;
    for (copy, place) in shown.into_iter().take(ASKED_MAX) {
        match topology.carrier(question.into, &place) {
            Some(carrier) if carrier == copy => return Some((copy, place, None)),
            Some(carrier) => {
                hidden.get_or_insert((copy, place, Some(carrier)));
            }
            None => {}
        }
    }
    hidden
}
