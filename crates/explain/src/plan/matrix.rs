//! Who sees whose mounts and unmounts: at each place of the node that volumes show, somebody mounts in a copy of the
//! world, and the others are looked at; then somebody takes away what the node had mounted there.

use super::pods::{MountAsked, Sort};
use super::stage::{Stage, mode_name};
use mount_table::{Mount, MountId, MountTable, NamespaceId, Propagation, join};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use subtree_model::{Attributes, Change, Effects, Errno, Op, Refused, RuleId, TaskId, World};

/// The most that are looked at for one place: every one is asked about every other.
pub const MAX_PARTIES: usize = 40;
/// The most places.
const MAX_PLACES: usize = 400;
/// The directory in which it is tried. It never leaves the model.
const PROBE_NAME: &str = "rhizome-probe";

/// What becomes of mounts below one place of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matrix {
    /// The place.
    pub place: PathBuf,
    /// Whether it is taken for a directory: then what is told is about directories in it, else about itself.
    pub directory: bool,
    /// Who has it: first the node.
    pub parties: Vec<Party>,
    /// How many more have it that are not looked at.
    pub left_out: usize,
    /// A row for each that does something, a cell for each that looks on, both in the order of the parties.
    pub cells: Vec<Vec<Cell>>,
    /// What the node has mounted there before any container starts, and what each party has of it.
    pub nested: Vec<Nested>,
}

/// Who has a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Party {
    /// `host`, or `POD/CONTAINER`.
    pub name: String,
    /// Where it has it.
    pub path: PathBuf,
    /// The mode in the API's words; none for the node.
    pub mode: Option<&'static str>,
    /// The type of the mount that carries it.
    pub propagation: Propagation,
    /// Why it is of that type.
    pub rule: Option<RuleId>,
    task: TaskId,
    namespace: NamespaceId,
    carrier: MountId,
}

/// What one does and another notices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// The one mounts something: is it there for the other?
    pub mounts: Reach,
    /// The one unmounts what the node had mounted there after all had started: does it go for the other? None if one of
    /// the two has never had it.
    pub unmounts: Option<Reach>,
}

/// Whether something reaches somebody, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// Whether it does.
    pub reaches: bool,
    /// Why; none only where a mount has been what it is from before.
    pub rule: Option<RuleId>,
    /// The error of who tried, if it could not be done at all.
    pub errno: Option<Errno>,
}

/// A mount of the node's that is there before any container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nested {
    /// Where the node has it.
    pub path: PathBuf,
    /// What file system.
    pub fs_type: String,
    /// By party: its type there, none if it has it not.
    pub types: Vec<Option<Propagation>>,
}

/// The matrices of all places, by path.
pub(super) fn matrices(stage: &Stage<'_>) -> Vec<Matrix> {
    let mut places: BTreeMap<&Path, bool> = BTreeMap::new();
    for (planned, _) in stage.running() {
        for mount in &planned.asked.mounts {
            places.entry(&mount.place).or_insert(mount.directory);
        }
    }
    let host = stage.host();
    let places = places.into_iter().take(MAX_PLACES);
    places.filter_map(|(place, directory)| matrix(stage, &host, place, directory)).collect()
}

fn matrix(stage: &Stage<'_>, host: &MountTable, place: &Path, directory: bool) -> Option<Matrix> {
    let mut parties = vec![host_party(stage, host, place)?];
    let mut left_out = 0;
    for (planned, started) in stage.running() {
        if planned.asked.sort == Sort::Init {
            continue;
        }
        for mount in planned.asked.mounts.iter().filter(|mount| place.starts_with(&mount.place)) {
            let Some((path, carrier)) = seen_at(stage, &started.table, mount, place) else { continue };
            if parties.len() >= MAX_PARTIES {
                left_out += 1;
                continue;
            }
            parties.push(Party {
                name: planned.asked.id(),
                path,
                mode: Some(mode_name(mount.mount.propagation)),
                propagation: carrier.propagation,
                rule: stage.types.get(&carrier.id).copied(),
                task: started.task,
                namespace: started.namespace,
                carrier: carrier.id,
            });
        }
    }
    let world = probe_world(stage, place, directory);
    let nested = nested(stage, host, place, &parties);
    let mut matrix =
        Matrix { place: place.to_owned(), directory, parties, left_out, cells: Vec::new(), nested };
    matrix.cells = matrix.ask(&world);
    Some(matrix)
}

fn host_party(stage: &Stage<'_>, host: &MountTable, place: &Path) -> Option<Party> {
    let carrier = host.carrier(place)?;
    Some(Party {
        name: "host".to_owned(),
        path: place.to_owned(),
        mode: None,
        propagation: carrier.propagation,
        rule: stage.types.get(&carrier.id).copied(),
        task: World::FIRST_TASK,
        namespace: stage.world.namespace_of(World::FIRST_TASK)?,
        carrier: carrier.id,
    })
}

/// Where a container has a place by one of its volumes, unless another of its mounts hides it.
fn seen_at<'a>(
    stage: &Stage<'_>,
    table: &'a MountTable,
    mount: &MountAsked,
    place: &Path,
) -> Option<(PathBuf, &'a Mount)> {
    let target = stage.target(mount);
    let rest = place.strip_prefix(&mount.place).ok()?;
    let path = join(&target, rest);
    let carrier = table.carrier(&path)?;
    // What the volume has brought along is of the same file, and at or below the volume.
    let of_volume = table.topmost_at(&target)?;
    let hidden = carrier.mount_point != of_volume.mount_point && is_ours(stage, table, carrier);
    (!hidden && carrier.mount_point.starts_with(&target)).then_some((path, carrier))
}

/// Whether a mount in a container is one that the container's list put there itself, on top of a volume.
fn is_ours(stage: &Stage<'_>, table: &MountTable, carrier: &Mount) -> bool {
    stage
        .running()
        .filter(|(_, started)| std::ptr::eq(&started.table, table))
        .any(|(planned, _)| planned.placed.iter().any(|placed| placed.target == carrier.mount_point))
}

/// A copy of the world with a directory to try in.
fn probe_world(stage: &Stage<'_>, place: &Path, directory: bool) -> World {
    let mut stage = stage.clone();
    if directory {
        stage.make(World::FIRST_TASK, &place.join(PROBE_NAME), true);
    }
    stage.world
}

fn nested(stage: &Stage<'_>, host: &MountTable, place: &Path, parties: &[Party]) -> Vec<Nested> {
    const MOST: usize = 64;
    let below = host.below(place).into_iter().filter(|mount| mount.mount_point != place).take(MOST);
    let of = |mount: &Mount| {
        let rest = mount.mount_point.strip_prefix(place).unwrap_or(Path::new(""));
        let has = |party: &Party| {
            let table = if party.mode.is_none() {
                host
            } else {
                &stage.running().find(|(_, s)| s.task == party.task)?.1.table
            };
            let there = table.topmost_at(&party.path.join(rest))?;
            (there.device == mount.device && there.root == mount.root).then_some(there.propagation)
        };
        Nested {
            path: mount.mount_point.clone(),
            fs_type: mount.fs_type.clone(),
            types: parties.iter().map(has).collect(),
        }
    };
    below.map(of).collect()
}

impl Matrix {
    /// Asks the world about everyone.
    fn ask(&self, world: &World) -> Vec<Vec<Cell>> {
        let by_host = self.try_mount(world, &self.parties[0]);
        let row = |actor: &Party| {
            let mounted = self.try_mount(world, actor);
            let taken = by_host.as_ref().ok().and_then(|(effects, after)| {
                self.mount_of(effects, actor)?;
                Some((effects, self.try_unmount(after, actor)))
            });
            let cell = |viewer: &Party| Cell {
                mounts: self.seen(actor, viewer, &mounted),
                unmounts: taken
                    .as_ref()
                    .and_then(|(before, after)| self.gone(before, after, (actor, viewer))),
            };
            self.parties.iter().map(cell).collect()
        };
        self.parties.iter().map(row).collect()
    }

    fn probe_path(&self, party: &Party) -> PathBuf {
        if self.directory { party.path.join(PROBE_NAME) } else { party.path.clone() }
    }

    /// A party mounts: a tmpfs on a directory, or the file on itself.
    fn try_mount(&self, world: &World, actor: &Party) -> Result<(Effects, World), Refused> {
        let target = self.probe_path(actor);
        let op = match self.directory {
            true => Op::Mount {
                fs_type: "tmpfs".to_owned(),
                source: "probe".to_owned(),
                target,
                attributes: Attributes::default(),
            },
            false => Op::Bind { source: target.clone(), target, recursive: false },
        };
        let mut after = world.clone();
        Ok((after.apply(actor.task, &op)?, after))
    }

    fn try_unmount(&self, world: &World, actor: &Party) -> Result<Effects, Refused> {
        let target = self.probe_path(actor);
        world.clone().apply(actor.task, &Op::UnmountPath { target, detach: false, expire: false })
    }

    /// The mount that an attach made for a party.
    fn mount_of(&self, effects: &Effects, party: &Party) -> Option<(MountId, RuleId)> {
        effects.list.iter().find_map(|effect| match effect.change {
            Change::Attached { mount, parent, namespace }
                if parent == party.carrier && namespace == party.namespace =>
            {
                Some((mount, effect.rule))
            }
            _ => None,
        })
    }

    fn seen(&self, actor: &Party, viewer: &Party, mounted: &Result<(Effects, World), Refused>) -> Reach {
        let effects = match mounted {
            Ok((effects, _)) => effects,
            Err(refused) => {
                return Reach { reaches: false, rule: Some(refused.rule), errno: Some(refused.errno) };
            }
        };
        if let Some((_, rule)) = self.mount_of(effects, viewer) {
            return Reach { reaches: true, rule: Some(rule), errno: None };
        }
        let spared = effects.list.iter().find_map(|effect| match effect.change {
            Change::Untouched { mount } if mount == viewer.carrier => Some(effect.rule),
            _ => None,
        });
        Reach { reaches: false, rule: spared.or(because(actor, viewer)), errno: None }
    }

    fn gone(
        &self,
        before: &Effects,
        after: &Result<Effects, Refused>,
        (actor, viewer): (&Party, &Party),
    ) -> Option<Reach> {
        let (mount, _) = self.mount_of(before, viewer)?;
        let effects = match after {
            Ok(effects) => effects,
            Err(refused) => {
                return Some(Reach { reaches: false, rule: Some(refused.rule), errno: Some(refused.errno) });
            }
        };
        let gone = effects.list.iter().find_map(|effect| match effect.change {
            Change::Detached { mount: detached, .. } if detached == mount => Some(effect.rule),
            _ => None,
        });
        let kept = effects.list.iter().find_map(|effect| match effect.change {
            Change::Untouched { mount: spared } if spared == mount => Some(effect.rule),
            _ => None,
        });
        Some(Reach { reaches: gone.is_some(), rule: gone.or(kept).or(because(actor, viewer)), errno: None })
    }
}

/// Why nothing comes from one to the other: nothing leaves a mount that is not shared; else it is the other that does
/// not receive.
fn because(actor: &Party, viewer: &Party) -> Option<RuleId> {
    if actor.propagation.is_shared() { viewer.rule.or(actor.rule) } else { actor.rule.or(viewer.rule) }
}
