//! What a mend touches: before, from the model; after, from two readings.

use super::{Operations, Seen};
use mount_table::node::Labels;
use mount_table::{Mount, MountId, NamespaceId, Node, Snapshot};
use std::collections::HashMap;
use std::fmt;
use subtree_model::{Op, World};

/// A mount that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Touched {
    /// It is new.
    Appeared(Seen),
    /// It is gone.
    Gone(Seen),
    /// It changed its type, its place or its options.
    Changed {
        /// As it is now.
        now: Seen,
        /// What it was.
        was: Box<Mount>,
    },
}

impl Touched {
    /// Where.
    pub fn namespace(&self) -> NamespaceId {
        match self {
            Touched::Appeared(seen) | Touched::Gone(seen) | Touched::Changed { now: seen, .. } => {
                seen.namespace
            }
        }
    }
}

impl fmt::Display for Touched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = |seen: &Seen| format!("{}:{}", seen.name, seen.mount.mount_point.display());
        match self {
            Touched::Appeared(seen) => {
                write!(f, "{}  mounted: {}, {}", place(seen), seen.mount.fs_type, seen.mount.propagation)
            }
            Touched::Gone(seen) => write!(f, "{}  unmounted: {}", place(seen), seen.mount.fs_type),
            Touched::Changed { now, was } => {
                write!(f, "{}", place(now))?;
                let (before, after) = (was.propagation, now.mount.propagation);
                if before.in_words() != after.in_words() {
                    write!(f, "  {before} becomes {after}")?;
                } else if before != after {
                    write!(f, "  {after}, of another group")?;
                }
                if was.mount_point != now.mount.mount_point {
                    write!(f, "  was at {}", was.mount_point.display())?;
                } else if was.parent != now.mount.parent {
                    write!(f, "  stays on top, on a mount that came under it")?;
                }
                if was.options != now.mount.options {
                    write!(f, "  {} becomes {}", was.options, now.mount.options)?;
                }
                Ok(())
            }
        }
    }
}

/// The mounts in which two states of the same namespaces differ, called by the names of a node.
pub fn touched(node: &Node, before: &Snapshot, after: &Snapshot) -> Vec<Touched> {
    let (mut found, labels) = (Vec::new(), Labels::of(node));
    for old in &before.namespaces {
        let Some(new) = after.namespaces.iter().find(|new| new.id == old.id) else { continue };
        let name = labels.get(old.id).into_owned();
        let seen = |mount: &Mount| Seen { namespace: old.id, name: name.clone(), mount: mount.clone() };
        let was: HashMap<MountId, &Mount> = old.mounts.mounts.iter().map(|mount| (mount.id, mount)).collect();
        let is: HashMap<MountId, &Mount> = new.mounts.mounts.iter().map(|mount| (mount.id, mount)).collect();
        // The kernel gives an id that became free to the next mount at once.
        let same = |a: &Mount, b: &Mount| a.device == b.device && a.root == b.root;
        for mount in &old.mounts.mounts {
            if !is.get(&mount.id).is_some_and(|now| same(mount, now)) {
                found.push(Touched::Gone(seen(mount)));
            }
        }
        for mount in &new.mounts.mounts {
            match was.get(&mount.id).filter(|was| same(was, mount)) {
                None => found.push(Touched::Appeared(seen(mount))),
                Some(was) if differs(was, mount) => {
                    found.push(Touched::Changed { now: seen(mount), was: Box::new((*was).clone()) });
                }
                Some(_) => {}
            }
        }
    }
    found
}

fn differs(was: &Mount, now: &Mount) -> bool {
    was.propagation.shared != now.propagation.shared
        || was.propagation.master != now.propagation.master
        || was.propagation.unbindable != now.propagation.unbindable
        || was.mount_point != now.mount_point
        || (was.parent != now.parent && was.parent != was.id)
        || was.options != now.options
}

/// What the operations would touch, according to the model.
///
/// # Errors
/// Why the model cannot say: in words.
pub fn predict(node: &Node, operations: &Operations) -> Result<Vec<Touched>, String> {
    let mut world = World::from_snapshot(&node.to_snapshot()).map_err(|error| error.to_string())?;
    if let Some(most) = node.mount_max.and_then(|most| u32::try_from(most).ok()) {
        world.set_mount_max(most);
    }
    let before = world.snapshot();
    let mut actor = None;
    for (id, handle) in &operations.namespaces {
        let unknown = || format!("{} has no mounts that could be read", Labels::of(node).get(*id));
        let task = world.task_in(*id).ok_or_else(unknown)?;
        world.apply(task, &Op::OpenNamespace { out: *handle }).map_err(|refused| refused.to_string())?;
        actor = Some(task);
    }
    let Some(task) = actor else { return Ok(Vec::new()) };
    let task = world.fork(task).map_err(|refused| refused.to_string())?;
    for op in &operations.ops {
        world.apply(task, op).map_err(|refused| refused.to_string())?;
    }
    Ok(touched(node, &before, &world.snapshot()))
}
