//! What is different between two nodes, or one node at two times.

use super::{Labels, NamespaceView, Node};
use crate::{Mount, MountId, NamespaceId};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// What is different. Empty: nothing.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Diff {
    /// Whether both are of one machine since it was started: namespaces and mounts are then told apart by ids that are
    /// never reused. Else by what they are called and where they are.
    pub same_boot: bool,
    /// Namespaces that only the first has, in words.
    pub gone: Vec<NamespaceChange>,
    /// Namespaces that only the second has.
    pub new: Vec<NamespaceChange>,
    /// Namespaces that both have, with what changed in them.
    pub changed: Vec<Changed>,
}

/// A namespace that came or went.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceChange {
    /// Its number.
    pub id: NamespaceId,
    /// In words.
    pub name: String,
    /// How many mounts it has.
    pub mounts: usize,
}

/// A namespace in which something changed.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Changed {
    /// Its number in the second.
    pub id: NamespaceId,
    /// In words, as of the second.
    pub name: String,
    /// What changed: unmounts first, then the others in the order of the second's table.
    pub mounts: Vec<MountChange>,
}

/// A change of a mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "change")]
pub enum MountChange {
    /// It is mounted now.
    #[serde(rename_all = "camelCase")]
    Mounted {
        /// The row of the second.
        mount: Mount,
    },
    /// It is not mounted any more.
    #[serde(rename_all = "camelCase")]
    Unmounted {
        /// The row of the first.
        mount: Mount,
    },
    /// It is another one than it was, or at another place.
    #[serde(rename_all = "camelCase")]
    Changed {
        /// Which of its fields are different, in mountinfo's words.
        fields: Vec<&'static str>,
        /// The row of the first.
        before: Box<Mount>,
        /// The row of the second.
        after: Box<Mount>,
    },
}

impl Diff {
    /// Whether there is no difference.
    pub fn is_empty(&self) -> bool {
        self.gone.is_empty() && self.new.is_empty() && self.changed.is_empty()
    }
}

impl Node {
    /// What is different in `after`.
    ///
    /// Of one boot, namespaces are matched by number (and 64-bit id, where both know it), mounts by unique id, or where that
    /// is not known by place. Of different boots, namespaces are matched by what they are called, mounts by place (mount
    /// point and rank in the stack on it), and peer groups, whose numbers mean nothing then, by whether there is one.
    pub fn diff(&self, after: &Node) -> Diff {
        let same_boot = self.boot_id.is_some() && self.boot_id == after.boot_id;
        let (labels, labels_after) = (Labels::of(self), Labels::of(after));
        let key = |view: &NamespaceView, labels: &Labels| match same_boot {
            true => format!("{} {:?}", view.id.0, view.unique_id),
            false => labels.get(view.id).into_owned(),
        };
        let mut before: BTreeMap<String, Vec<&NamespaceView>> = BTreeMap::new();
        for view in &self.namespaces {
            before.entry(key(view, &labels)).or_default().push(view);
        }
        let change = |view: &NamespaceView, labels: &Labels| NamespaceChange {
            id: view.id,
            name: labels.get(view.id).into_owned(),
            mounts: view.mounts.mounts.len(),
        };
        let mut diff = Diff { same_boot, ..Diff::default() };
        for view in &after.namespaces {
            let same = before.get_mut(&key(view, &labels_after));
            let Some(old) = same.and_then(|old| if old.is_empty() { None } else { Some(old.remove(0)) })
            else {
                diff.new.push(change(view, &labels_after));
                continue;
            };
            let mounts = compare(old, view, same_boot);
            if !mounts.is_empty() {
                diff.changed.push(Changed {
                    id: view.id,
                    name: labels_after.get(view.id).into_owned(),
                    mounts,
                });
            }
        }
        let is_left = |view: &&NamespaceView| {
            before.get(&key(view, &labels)).is_some_and(|left| left.iter().any(|left| left.id == view.id))
        };
        diff.gone = self.namespaces.iter().filter(is_left).map(|view| change(view, &labels)).collect();
        diff
    }
}

/// What tells a mount from others.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Unique(MountId),
    /// Mount point and rank in the stack on it.
    Place(PathBuf, usize),
}

fn keys(view: &NamespaceView, by_id: bool) -> Vec<Key> {
    let mut stacks: HashMap<&Path, usize> = HashMap::new();
    let mounts = view.mounts.mounts.iter().enumerate();
    mounts
        .map(|(at, mount)| match view.unique_mount_ids.get(at).filter(|_| by_id) {
            Some(id) => Key::Unique(*id),
            None => {
                let rank = stacks.entry(&mount.mount_point).or_default();
                *rank += 1;
                Key::Place(mount.mount_point.clone(), *rank)
            }
        })
        .collect()
}

fn compare(before: &NamespaceView, after: &NamespaceView, same_boot: bool) -> Vec<MountChange> {
    let by_id = same_boot && !before.unique_mount_ids.is_empty() && !after.unique_mount_ids.is_empty();
    let old_keys = keys(before, by_id);
    let mut old: HashMap<&Key, &Mount> = old_keys.iter().zip(&before.mounts.mounts).collect();
    let mut changes = Vec::new();
    for (key, mount) in keys(after, by_id).iter().zip(&after.mounts.mounts) {
        match old.remove(key) {
            None => changes.push(MountChange::Mounted { mount: mount.clone() }),
            Some(was) => {
                let fields = differences(was, mount, same_boot);
                if !fields.is_empty() {
                    changes.push(MountChange::Changed {
                        fields,
                        before: Box::new(was.clone()),
                        after: Box::new(mount.clone()),
                    });
                }
            }
        }
    }
    let gone = old_keys.iter().filter_map(|key| old.get(key));
    let mut all: Vec<MountChange> =
        gone.map(|mount| MountChange::Unmounted { mount: (*mount).clone() }).collect();
    all.append(&mut changes);
    all
}

/// The fields that are different. Ids are not compared: they are what a mount is found by, or mean nothing.
fn differences(before: &Mount, after: &Mount, same_boot: bool) -> Vec<&'static str> {
    let propagation = match same_boot {
        true => before.propagation != after.propagation,
        false => before.propagation.in_words() != after.propagation.in_words(),
    };
    let fields = [
        (before.mount_point != after.mount_point, "mount point"),
        (before.root != after.root || before.deleted != after.deleted, "root"),
        (same_boot && before.device != after.device, "device"),
        (before.fs_type != after.fs_type, "type"),
        (before.source != after.source, "source"),
        (before.options != after.options, "options"),
        (before.super_options != after.super_options, "super options"),
        (propagation, "propagation"),
        (same_boot && before.parent != after.parent && before.id == after.id, "parent"),
    ];
    fields.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect()
}
