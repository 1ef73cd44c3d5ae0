//! Kernel versions where they differ.

use serde::{Deserialize, Serialize};

/// A kernel whose rules are followed.
///
/// How each is known says [`Kernel::standing`]; what is not modelled of it, [`Kernel::not_modelled`].
///
/// ```
/// use subtree_model::{Kernel, Op, RuleId, World};
///
/// assert_eq!(Kernel::of_release("6.1.0-56-amd64"), Some(Kernel::V6_1));
/// let mut world = World::new();
/// world.set_kernel(Kernel::V6_1);
/// let beneath = Op::MoveBeneath { source: "/a".into(), target: "/b".into() };
/// let refused = world.apply(World::FIRST_TASK, &beneath).unwrap_err();
/// assert_eq!(refused.rule, RuleId::BeneathUnsupported);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub enum Kernel {
    /// Linux 5.15 to 6.4.
    V6_1,
    /// Linux 6.5 to 6.7.
    V6_6,
    /// Linux 6.8 to 6.14.
    V6_12,
    /// Linux 6.17 and 6.18.
    #[default]
    V6_18,
    /// Linux 7.
    V7,
}

impl Kernel {
    /// All of them, by age.
    pub const ALL: [Kernel; 5] = [Kernel::V6_1, Kernel::V6_6, Kernel::V6_12, Kernel::V6_18, Kernel::V7];

    /// Whose rules a kernel follows, by its release (`6.1`, `6.18.44-amd64`); none if there are no rules for it.
    pub fn of_release(release: &str) -> Option<Kernel> {
        let mut numbers = release.split(['.', '-', '+']).map_while(|part| part.parse::<u32>().ok());
        match (numbers.next()?, numbers.next()) {
            (5, Some(15..)) | (6, Some(0..=4)) => Some(Kernel::V6_1),
            (6, Some(5..=7)) => Some(Kernel::V6_6),
            (6, Some(8..=14)) => Some(Kernel::V6_12),
            (6, Some(17 | 18)) => Some(Kernel::V6_18),
            (7, _) => Some(Kernel::V7),
            _ => None,
        }
    }

    /// What it is called: the release of the rules that is kept for long.
    pub fn name(self) -> &'static str {
        match self {
            Kernel::V6_1 => "6.1",
            Kernel::V6_6 => "6.6",
            Kernel::V6_12 => "6.12",
            Kernel::V6_18 => "6.18",
            Kernel::V7 => "7",
        }
    }

    /// How its rules are known: compared with a running kernel after every operation, or only read in its sources.
    pub fn standing(self) -> &'static str {
        match self {
            Kernel::V6_1 | Kernel::V6_18 => "checked against a running kernel",
            Kernel::V6_6 | Kernel::V6_12 | Kernel::V7 => "read, not run",
        }
    }

    /// What this kernel does differently that the model does not follow: one line each.
    pub fn not_modelled(self) -> &'static [&'static str] {
        match self {
            Kernel::V6_1 | Kernel::V6_6 | Kernel::V6_12 | Kernel::V6_18 => &[],
            Kernel::V7 => &[
                "the order in which the slaves of unmounted mounts are handed on",
                "OPEN_TREE_NAMESPACE, FSMOUNT_NAMESPACE and CLONE_EMPTY_MNTNS",
            ],
        }
    }

    /// Tables list mounts by when they joined their namespace, not by when they were made (before 6.8).
    pub(crate) fn lists_by_joining(self) -> bool {
        self <= Kernel::V6_6
    }

    /// Unmounts propagate by the algorithm of 4.13 to 6.16.
    pub(crate) fn unmounts_by_marks(self) -> bool {
        self < Kernel::V6_18
    }

    /// The mounts of an unmounted tree are gone through with the last first (before 6.8).
    pub(crate) fn lists_unmounts_backwards(self) -> bool {
        self <= Kernel::V6_6
    }

    /// A mount that is pushed up goes onto the root of the copy itself, not onto what covers it: then two are at one place,
    /// and the later hides the other (before 6.17).
    pub(crate) fn tucks_onto_the_root(self) -> bool {
        self < Kernel::V6_18
    }

    /// That the target's mount is in no namespace any more is an error of its own, before all others.
    pub(crate) fn asks_whether_the_target_is_mounted(self) -> bool {
        self >= Kernel::V6_18
    }

    /// Moving asks whether the target was removed before it looks at what is moved.
    pub(crate) fn locks_the_target_first(self) -> bool {
        self < Kernel::V6_18
    }

    /// Copies keep `unbindable` (where unbindable mounts are copied at all: into new namespaces).
    pub(crate) fn copies_unbindable(self) -> bool {
        self != Kernel::V6_18
    }

    /// A mount that leaves its group as a slave takes a peer with the same root as its master, if there is one.
    pub(crate) fn prefers_master_of_same_root(self) -> bool {
        self < Kernel::V6_18
    }

    /// Slaves handed to another master go to the end of its list, not to the front.
    pub(crate) fn hands_slaves_to_the_end(self) -> bool {
        self < Kernel::V6_18
    }

    /// MOVE_MOUNT_SET_GROUP refuses an unbindable mount.
    pub(crate) fn set_group_refuses_unbindable(self) -> bool {
        self >= Kernel::V7
    }

    /// Detached trees can be mounted on and copied, and what receives from them is reached (6.15).
    pub(crate) fn detached_trees_are_usable(self) -> bool {
        self >= Kernel::V6_18
    }

    /// MOVE_MOUNT_BENEATH (6.5).
    pub(crate) fn has_beneath(self) -> bool {
        self >= Kernel::V6_6
    }

    /// MOVE_MOUNT_BENEATH holds what the target is mounted on for a moment, so that MNT_EXPIRE begins anew there.
    pub(crate) fn going_beneath_uses_the_parent(self) -> bool {
        self >= Kernel::V6_18
    }

    /// MOVE_MOUNT_BENEATH also goes under locked mounts and under the root.
    pub(crate) fn beneath_is_lenient(self) -> bool {
        self >= Kernel::V7
    }

    /// A copy that goes under a mount takes over that one's lock.
    pub(crate) fn tuck_passes_lock(self) -> bool {
        self >= Kernel::V7
    }
}
