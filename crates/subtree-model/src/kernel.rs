//! Kernel versions where they differ.

use serde::{Deserialize, Serialize};

/// A kernel whose rules are followed.
///
/// Checked against a running kernel: [`Kernel::V6_18`]. The others are as read in their sources, and what is not
/// modelled for them is named by [`Kernel::not_modelled`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub enum Kernel {
    /// Linux 5.15 and 6.1.
    V6_1,
    /// Linux 6.6 and 6.12.
    V6_12,
    /// Linux 6.17 and 6.18.
    #[default]
    V6_18,
    /// Linux 7.
    V7,
}

impl Kernel {
    /// All of them, by age.
    pub const ALL: [Kernel; 4] = [Kernel::V6_1, Kernel::V6_12, Kernel::V6_18, Kernel::V7];

    /// Whose rules a kernel follows, by its release (`6.1`, `6.18.44-amd64`); none if there are no rules for it.
    pub fn of_release(release: &str) -> Option<Kernel> {
        let mut numbers = release.split(['.', '-', '+']).map_while(|part| part.parse::<u32>().ok());
        match (numbers.next()?, numbers.next()) {
            (5, Some(15..)) | (6, Some(0..=4)) => Some(Kernel::V6_1),
            (6, Some(5..=14)) => Some(Kernel::V6_12),
            (6, Some(17 | 18)) => Some(Kernel::V6_18),
            (7, _) => Some(Kernel::V7),
            _ => None,
        }
    }

    /// What it is called: the latest release of the rules.
    pub fn name(self) -> &'static str {
        match self {
            Kernel::V6_1 => "6.1",
            Kernel::V6_12 => "6.12",
            Kernel::V6_18 => "6.18",
            Kernel::V7 => "7",
        }
    }

    /// How its rules are known: compared with a running kernel after every operation, compared in part, or only read
    /// in its sources.
    pub fn standing(self) -> &'static str {
        match self {
            Kernel::V6_18 => "checked against a running kernel",
            Kernel::V6_1 => "checked against a running kernel, with the differences named",
            Kernel::V6_12 | Kernel::V7 => "read, not run",
        }
    }

    /// What this kernel does differently that the model does not follow: one line each.
    pub fn not_modelled(self) -> &'static [&'static str] {
        const OLD: &[&str] = &[
            "a mount that is pushed up goes onto the root of the copy itself, not onto what covers it (before 6.17)",
            "unmounts propagate by the algorithm of 4.13 to 6.16, which differs on nests of locked and covering mounts",
            "mounts keep their parents in use (before 6.17)",
        ];
        match self {
            Kernel::V6_1 | Kernel::V6_12 => OLD,
            Kernel::V6_18 => &[],
            Kernel::V7 => &[
                "the order in which the slaves of unmounted mounts are handed on",
                "OPEN_TREE_NAMESPACE, FSMOUNT_NAMESPACE and CLONE_EMPTY_MNTNS",
            ],
        }
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

    /// MOVE_MOUNT_SET_GROUP puts the new slave at the front of the list, not behind its model.
    pub(crate) fn set_group_at_front(self) -> bool {
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
        self >= Kernel::V6_12
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
