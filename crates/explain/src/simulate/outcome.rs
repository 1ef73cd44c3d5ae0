//! What a script came to: steps, their calls, what those changed, why they failed, and the rows of the final tables.

use mount_table::{Device, Mount, MountTable, PeerGroup, Propagation};
use std::collections::HashMap;
use std::path::PathBuf;
use subtree_model::{Refused, RuleId};

/// Why a line, or a call of it, failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The error's name, such as `EINVAL`; `refused` where the tool itself says no.
    pub errno: String,
    /// The first check that failed, where the model has it.
    pub rule: Option<RuleId>,
    /// What that says.
    pub reason: String,
}

/// A change, told of a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Why.
    pub rule: RuleId,
    /// The namespace's name; none for what is not a mount of one.
    pub namespace: Option<String>,
    /// Where in it: of what went, where it was.
    pub path: Option<PathBuf>,
    /// What happened there.
    pub text: String,
}

/// A system call that a line came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// In the manner of strace(1).
    pub text: String,
    /// Why it failed.
    pub fault: Option<Fault>,
    /// What it changed, in order.
    pub events: Vec<Event>,
    /// What the answer depends on that cannot be read off a machine: it is told as if nothing were in the way.
    pub unknown: Vec<&'static str>,
}

/// What became of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The line's number.
    pub line: usize,
    /// The line.
    pub text: String,
    /// Where it was run.
    pub namespace: String,
    /// Its calls, but for those that only look.
    pub calls: Vec<Call>,
    /// Why it failed.
    pub fault: Option<Fault>,
}

/// All that a script did, and what is there in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// A step each line.
    pub steps: Vec<Step>,
    /// The namespaces by name, in the order in which they were made, each as its shell sees it.
    pub namespaces: Vec<(String, MountTable)>,
}

/// A row of a final table, in the numbering that makes two of them comparable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Where it is mounted.
    pub path: PathBuf,
    /// `rootfs` for the first file system, the others by type and number: `tmpfs-1`.
    pub filesystem: String,
    /// The directory of the file system that is its root, with `//deleted` if that was removed.
    pub root: String,
    /// Peer group, master's group and so on, renumbered.
    pub propagation: Propagation,
}

/// The rows of all namespaces. File systems and groups are numbered by first appearance, in this order; in a row its
/// group comes before its master and that before `propagate_from`. The first file system is `rootfs`, the one
/// after it has the number 1, whatever the types.
pub fn rows(namespaces: &[(String, MountTable)]) -> Vec<(String, Vec<Row>)> {
    let mut devices: HashMap<Device, usize> = HashMap::new();
    let mut groups: HashMap<PeerGroup, u64> = HashMap::new();
    let mut row = |mount: &Mount| {
        let next = devices.len();
        let number = *devices.entry(mount.device).or_insert(next);
        let mut group = |group: Option<PeerGroup>| {
            group.map(|group| {
                let next = groups.len() as u64 + 1;
                PeerGroup(*groups.entry(group).or_insert(next))
            })
        };
        let from = mount.propagation;
        Row {
            path: mount.mount_point.clone(),
            filesystem: if number == 0 { "rootfs".to_owned() } else { format!("{}-{number}", mount.fs_type) },
            root: format!("{}{}", mount.root.display(), if mount.deleted { "//deleted" } else { "" }),
            propagation: Propagation {
                shared: group(from.shared),
                master: group(from.master),
                propagate_from: group(from.propagate_from),
                unbindable: from.unbindable,
            },
        }
    };
    let table =
        |(name, table): &(String, MountTable)| (name.clone(), table.mounts.iter().map(&mut row).collect());
    namespaces.iter().map(table).collect()
}

pub(super) fn refused_by_tool(reason: &str) -> Fault {
    Fault { errno: "refused".to_owned(), rule: None, reason: reason.to_owned() }
}

pub(super) fn errno(errno: &str, reason: &str) -> Fault {
    Fault { errno: errno.to_owned(), rule: None, reason: reason.to_owned() }
}

impl From<Refused> for Fault {
    fn from(refused: Refused) -> Fault {
        let (errno, rule) = (refused.errno.to_string(), Some(refused.rule));
        Fault { errno, rule, reason: refused.rule.meaning().to_owned() }
    }
}
