//! What an operation changed, change by change, each with the rule that made it.

use crate::RuleId;
use mount_table::{MountId, NamespaceId, Propagation};
use serde::{Deserialize, Serialize};

/// One change and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// Why.
    pub rule: RuleId,
    /// What.
    pub change: Change,
}

/// A change to the world. Mounts and namespaces are named by the ids of the model's tables, which are never
/// reused, so that an effect can be read after more has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// A mount (the top of a tree) came to be at a place.
    Attached {
        /// The top of the tree.
        mount: MountId,
        /// The mount it is on.
        parent: MountId,
        /// The namespace that it joined.
        namespace: NamespaceId,
    },
    /// A mount was pushed up by another that went under it: it is now mounted on `onto`.
    PushedUp {
        /// The mount that stays visible.
        mount: MountId,
        /// What it is on now.
        onto: MountId,
    },
    /// A mount slid down to the place of one that was unmounted under it.
    SlidDown {
        /// The mount that stays visible.
        mount: MountId,
        /// What it is on now.
        onto: MountId,
    },
    /// A mount left its place to be attached elsewhere.
    Left {
        /// The top of the tree.
        mount: MountId,
        /// What it was on.
        parent: MountId,
    },
    /// A mount left its namespace for good.
    Detached {
        /// The mount.
        mount: MountId,
        /// The namespace it was in.
        namespace: NamespaceId,
    },
    /// A mount that receives from the place of the operation did not change.
    Untouched {
        /// The mount that the rule spared: the receiver for an attach, its child for an unmount.
        mount: MountId,
    },
    /// A mount's propagation type changed (or would have, and the rule says why not).
    Retyped {
        /// The mount.
        mount: MountId,
        /// Its type before (`propagate_from` is not worked out here).
        from: Propagation,
        /// Its type now.
        to: Propagation,
    },
    /// A mount's master is another mount now.
    Handed {
        /// The slave.
        mount: MountId,
        /// Its new master.
        master: Option<MountId>,
    },
    /// A mount was copied.
    Copied {
        /// The original.
        from: MountId,
        /// The copy.
        to: MountId,
    },
    /// A mount was made that is no copy.
    Created {
        /// The mount.
        mount: MountId,
    },
    /// A tree was locked: the attributes of all its mounts, and the mounts below its top to their places.
    Locked {
        /// The top of the tree.
        mount: MountId,
    },
    /// A mount's lock was taken off.
    Unlocked {
        /// The mount.
        mount: MountId,
    },
    /// A mount's attributes changed.
    AttributesChanged {
        /// The mount.
        mount: MountId,
    },
    /// A namespace came to be.
    NamespaceMade {
        /// The namespace.
        namespace: NamespaceId,
    },
    /// A namespace ceased to be.
    NamespaceGone {
        /// The namespace.
        namespace: NamespaceId,
    },
    /// Something that is not a mount changed: a file, a descriptor, what a task sees.
    Other,
}

/// The changes that one operation made, in the order in which they were made.
///
/// ```
/// use subtree_model::{Change, Op, PropagationType, World};
///
/// let mut world = World::new();
/// let share = Op::ChangeType { target: "/".into(), to: PropagationType::Shared, recursive: false };
/// let effects = world.apply(World::FIRST_TASK, &share)?;
/// for effect in &effects.list {
///     if let Change::Retyped { mount, to, .. } = effect.change {
///         println!("mount {} is now {}: {}", mount.0, to, effect.rule.meaning());
///     }
/// }
/// assert_eq!(serde_json::to_value(effects.list[0].rule).unwrap(), "make-shared-new-group");
/// # Ok::<(), subtree_model::Refused>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Effects {
    /// The changes.
    pub list: Vec<Effect>,
}

impl Effects {
    pub(crate) fn push(&mut self, rule: RuleId, change: Change) {
        self.list.push(Effect { rule, change });
    }

    /// The rules that had a part, in order, repeated as often as they had.
    pub fn rules(&self) -> impl Iterator<Item = RuleId> + '_ {
        self.list.iter().map(|effect| effect.rule)
    }
}
