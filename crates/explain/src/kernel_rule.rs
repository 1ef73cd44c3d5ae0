//! The pages of the kernel's rules ([`RuleId`]): what, why, where it is written, and an example, which is a case that the
//! differential test of `subtree-model` runs in the model and on the kernel.

use std::fmt::Write as _;
use subtree_model::RuleId;

/// The files of cases.
const CASES: [(&str, &str); 9] = [
    ("types", include_str!("../../subtree-model/tests/kernel/cases/types.txt")),
    ("bind", include_str!("../../subtree-model/tests/kernel/cases/bind.txt")),
    ("move", include_str!("../../subtree-model/tests/kernel/cases/move.txt")),
    ("receive", include_str!("../../subtree-model/tests/kernel/cases/receive.txt")),
    ("unmount", include_str!("../../subtree-model/tests/kernel/cases/unmount.txt")),
    ("namespace", include_str!("../../subtree-model/tests/kernel/cases/namespace.txt")),
    ("beneath", include_str!("../../subtree-model/tests/kernel/cases/beneath.txt")),
    ("descriptor", include_str!("../../subtree-model/tests/kernel/cases/descriptor.txt")),
    ("file", include_str!("../../subtree-model/tests/kernel/cases/file.txt")),
];

/// A case of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Example {
    /// The file, without its ending.
    pub file: &'static str,
    /// What it is about.
    pub title: &'static str,
    /// Its lines.
    pub text: &'static str,
}

/// Rules of one sort: by the beginning of their names, where they are written, and why they are so.
struct Sort {
    names: &'static [&'static str],
    source: &'static str,
    why: &'static str,
}

const SORTS: &[Sort] = &[
    Sort {
        names: &["set-group-"],
        source: "`do_set_group()`, fs/namespace.c; move_mount(2)",
        why: "So a mount can be tied to others after it was made and filled, without anything going to them meanwhile.",
    },
    Sort {
        names: &["attach-", "move-tree", "source-becomes-shared", "tuck-under"],
        source: "`attach_recursive_mnt()`, fs/namespace.c; mount_namespaces(7)",
        why: "Peers are one tree that is seen in several places: what is mounted in one is mounted in all, and must be tied as they are.",
    },
    Sort {
        names: &["receive-", "skip-"],
        source: "`propagate_mnt()` and `propagate_one()`, fs/pnode.c; mount_namespaces(7)",
        why: "Copies are tied to each other as the mounts are that receive them, so that what comes later goes the same ways.",
    },
    Sort {
        names: &["lock-received", "namespace-copy-locks", "attribute-locked"],
        source: "`lock_mnt_tree()` and `can_change_locked_flags()`, fs/namespace.c; mount_namespaces(7)",
        why: "Root of a user namespace must not uncover what was covered for it, nor write where it was not to.",
    },
    Sort {
        names: &["copy-", "source-", "type-mismatch"],
        source: "`clone_mnt()`, `copy_tree()` and `do_loopback()`, fs/namespace.c; mount(2)",
        why: "A bind is a copy of the mount, and belongs to what the original belongs to; what is not to be copied says so.",
    },
    Sort {
        names: &["detached-", "close-dissolves", "new-mount"],
        source: "`open_detached_copy()`, `do_new_mount()` and `dissolve_on_fput()`, fs/namespace.c; open_tree(2), fsmount(2)",
        why: "A tree that is not attached yet can be made ready where nobody sees it.",
    },
    Sort {
        names: &["make-"],
        source: "`change_mnt_propagation()`, fs/pnode.c; mount_namespaces(7)",
        why: "What leaves a group must leave what depends on it tied to the rest.",
    },
    Sort {
        names: &["slaves-"],
        source: "`transfer_propagation()` and `bulk_make_private()`, fs/pnode.c; mount_namespaces(7)",
        why: "Slaves go on receiving from whoever is left of the group that they were tied to.",
    },
    Sort {
        names: &["set-attributes", "change-elsewhere", "target-unmounted"],
        source: "`do_mount_setattr()`, `do_change_type()` and `do_remount()`, fs/namespace.c; mount_setattr(2)",
        why: "A change of many mounts is made as one, or not at all.",
    },
    Sort {
        names: &["remount-"],
        source: "`sb_prepare_remount_readonly()`, fs/namespace.c; mount(2)",
        why: "What was removed is still to be freed on the disk when it is let go of, which is a write.",
    },
    Sort {
        names: &["unmount-"],
        source: "`do_umount()` and `umount_tree()`, fs/namespace.c; `propagate_umount()`, fs/pnode.c; umount(2)",
        why: "Unmounts propagate by place: nobody remembers which mount came from which. What the one who unmounts did not see (a child elsewhere, a lock) must not be uncovered or lost by that.",
    },
    Sort {
        names: &["namespace-"],
        source: "`copy_mnt_ns()` and `mntns_install()`, fs/namespace.c; mount_namespaces(7), setns(2)",
        why: "A new namespace begins as what the old one is, and hears of it as far as the same people own both.",
    },
    Sort {
        names: &["pivot-"],
        source: "`path_pivot_root()`, fs/namespace.c; pivot_root(2)",
        why: "Roots are exchanged without anyone else seeing it; so nothing that others share may be part of it.",
    },
    Sort {
        names: &["change-root", "change-directory"],
        source: "`set_fs_root()`, fs/fs_struct.c; chroot(2), chdir(2)",
        why: "What a task sees is its own affair; mounts stay as they are.",
    },
    Sort {
        names: &["remove-detaches", "rename-carries", "file-"],
        source: "`__detach_mounts()`, fs/namespace.c; `vfs_rename()`, fs/namei.c; rename(2), rmdir(2)",
        why: "A mount point of somebody else's namespace must not keep a name from being removed or changed.",
    },
    Sort {
        names: &["path-", "directory-not-empty", "is-directory", "rename-into-itself", "mount-point-in-use"],
        source: "fs/namei.c; path_resolution(7)",
        why: "As for all calls that take a path.",
    },
    Sort {
        names: &["target-"],
        source: "`do_lock_mount()` and `graft_tree()`, fs/namespace.c; mount(2)",
        why: "What is mounted must come to be somewhere that the caller may change.",
    },
    Sort {
        names: &["mount-max"],
        source: "`count_mounts()`, fs/namespace.c; proc_sys_fs(5)",
        why: "Trees that are bound into themselves double; a limit ends that before memory does. It is all or nothing.",
    },
    Sort {
        names: &["move-"],
        source: "`do_move_mount()`, fs/namespace.c; mount(2), move_mount(2)",
        why: "A move is one change to whoever looks; where it could be only half of one, it is refused.",
    },
    Sort {
        names: &["beneath-"],
        source: "`can_move_mount_beneath()`, fs/namespace.c; move_mount(2)",
        why: "What is seen must not change by mounting beneath it.",
    },
    Sort {
        names: &["not-permitted"],
        source: "`may_mount()`, fs/namespace.c; capabilities(7)",
        why: "Mounts are the affair of who owns the namespace.",
    },
    Sort {
        names: &["opened", "bad-handle", "handle-in-use"],
        source: "openat2(2), close(2)",
        why: "As for all descriptors.",
    },
    Sort {
        names: &["no-such-task", "too-large"],
        source: "the model itself",
        why: "The kernel has other limits.",
    },
];

fn sort(rule: RuleId) -> Option<&'static Sort> {
    let fits = |sort: &&Sort| sort.names.iter().any(|name| rule.id().starts_with(name));
    SORTS.iter().find(fits)
}

/// The shortest case that names the rule.
#[must_use]
pub fn example(rule: RuleId) -> Option<Example> {
    let names = |line: &str| {
        let rules = line.split_once("=>").map_or("", |(_, rules)| rules);
        rules.split_whitespace().any(|word| word == rule.id())
    };
    let cases =
        CASES.iter().flat_map(|(file, text)| text.split("\n## ").skip(1).map(move |case| (*file, case)));
    let (file, case) =
        cases.filter(|(_, case)| case.lines().any(names)).min_by_key(|(_, case)| case.len())?;
    let (title, text) = case.split_once('\n')?;
    Some(Example { file, title, text: text.trim_end() })
}

/// The rule's page, in Markdown, without the first line of files.
#[must_use]
pub fn text(rule: RuleId) -> String {
    let mut text = format!("# {}\n\n", rule.id());
    match rule.errno() {
        Some(errno) => {
            let _ = writeln!(text, "Refused with `{errno}`: {}.", rule.meaning());
        }
        None => {
            let _ = writeln!(text, "What happens: {}.", rule.meaning());
        }
    }
    if let Some(Sort { source, why, .. }) = sort(rule) {
        let _ = write!(text, "\n## Why\n\n{why}\n\n## Where it is written\n\n{source}\n");
    }
    if let Some(Example { file, title, text: case }) = example(rule) {
        let _ = write!(
            text,
            "\n## Example\n\nThe case *{title}* of `{file}.txt`, which runs in the model and on the kernel. A line `= N PATH FS:ROOT \
             STATE` is a mount of namespace N in the end.\n\n```\n{case}\n```\n"
        );
    }
    text
}

/// The rule's page as a file.
#[must_use]
pub fn page(rule: RuleId) -> String {
    format!("{}{}", crate::rule::GENERATED, text(rule))
}

/// The rule of a name.
#[must_use]
pub fn of_name(name: &str) -> Option<RuleId> {
    RuleId::ALL.iter().copied().find(|rule| rule.id() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_a_source_and_nearly_every_one_an_example() {
        for rule in RuleId::ALL {
            assert!(sort(*rule).is_some(), "{rule}");
        }
        let without: Vec<&str> =
            RuleId::ALL.iter().filter(|rule| example(**rule).is_none()).map(|rule| rule.id()).collect();
        // What cases cannot name, or what is met by any case.
        assert!(without.len() <= 40, "{}: {without:?}", without.len());
        let example = example(RuleId::MakeSlaveOfPeer).unwrap();
        assert!(!example.title.is_empty() && example.text.contains("make-slave-of-peer"));
    }
}
