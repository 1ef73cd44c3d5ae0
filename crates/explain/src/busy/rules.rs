//! What can hold a mount: a rule each, most with one question to the tables or to what processes have open.

use super::{Subject, words};
use crate::finding::Finding;
use crate::mend::Action;
use crate::rule::Rule;
use crate::topology::{At, Topology};
use crate::why::mends;
use mount_table::holders::{Held, Holder, Use};
use mount_table::{Device, Mount, MountId};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use subtree_model::RuleId;

type Find = fn(&Topology<'_>, &Subject, &Held) -> Option<Finding>;

/// All rules, in the order in which they are asked.
pub(super) static TABLE: &[Find] =
    &[mounted_in, used_here, used_in_receiver, loop_device, swap, detached, overlay, copies];

/// The pages of the rules.
pub static RULES: &[&Rule] =
    &[&MOUNTED_IN, &USED_HERE, &USED_IN_RECEIVER, &LOOP_DEVICE, &SWAP, &DETACHED, &OVERLAY, &COPIES];

static MOUNTED_IN: Rule = Rule {
    id: "busy-mounted-in",
    summary: "Something is mounted in it",
    what: "Other mounts are mounted on the mount, or at or below the folder.",
    why: "umount(8) takes one mount, and only if nothing is mounted in it; rmdir(1) takes no folder on which something is mounted in the same namespace.",
    instead: "Unmount what is in it first: `umount --recursive`, or from the last to the first by hand.",
    kernel: &[RuleId::UnmountHasChildren, RuleId::MountPointInUse],
};

static USED_HERE: Rule = Rule {
    id: "busy-in-use",
    summary: "A process uses it",
    what: "A process has a file of the mount open, runs a program from it, has its working or root directory in it, or listens at a socket that is bound in it.",
    why: "Each of them keeps the mount: umount(2) says EBUSY until the last is gone.",
    instead: "End the process, or let it close the file (`cd /` in a shell). `umount --lazy` takes the mount out of sight at once and ends it when the last user is gone; until then its device stays busy.",
    kernel: &[RuleId::UnmountInUse],
};

static USED_IN_RECEIVER: Rule = Rule {
    id: "busy-in-receiver",
    summary: "A process in another namespace uses the copy that the unmount would take along",
    what: "A copy of the mount at the same place in a peer or slave goes with it, and is in use there.",
    why: "An unmount that propagates takes all copies or none: one that is in use makes it fail everywhere, although nobody uses the mount itself.",
    instead: "End the process in the other namespace, or make the copy private there, so that it does not go along.",
    kernel: &[RuleId::UnmountInUse, RuleId::UnmountReceived],
};

static LOOP_DEVICE: Rule = Rule {
    id: "busy-loop-device",
    summary: "A loop device has a file of it",
    what: "The file behind a loop device lies below the path.",
    why: "The kernel itself holds the file open; no process shows it.",
    instead: "Unmount what is on the loop device, then `losetup --detach`.",
    kernel: &[RuleId::UnmountInUse],
};

static SWAP: Rule = Rule {
    id: "busy-swap",
    summary: "The machine swaps to a file of it",
    what: "A file in /proc/swaps lies below the path.",
    why: "The kernel itself holds the file open; no process shows it.",
    instead: "`swapoff` of that file.",
    kernel: &[RuleId::UnmountInUse],
};

static DETACHED: Rule = Rule {
    id: "busy-detached",
    summary: "A process keeps its file system in use through a mount that is in no namespace",
    what: "A process has something of the file system open, and not through any mount that a namespace has: the mount was unmounted with `umount --lazy` since, or it is a tree that open_tree(2) or fsmount(2) made and nobody has attached.",
    why: "Such a mount lasts until the last descriptor of it is closed. It is in no mountinfo, and no unmount reaches it: the file system and its device stay in use although nothing is mounted any more.",
    instead: "End the process, or let it close what it has open.",
    kernel: &[RuleId::DetachedCopy, RuleId::UnmountLazySubtree],
};

static OVERLAY: Rule = Rule {
    id: "busy-overlay",
    summary: "An overlay has a layer in it",
    what: "The options of an overlay name a folder at or below the path.",
    why: "An overlay keeps private mounts of its layers, which are in no namespace: they do not stop the unmount, and keep the file system and its device in use until the overlay is unmounted everywhere.",
    instead: "Unmount the overlay first: that of a container goes with the container.",
    kernel: &[RuleId::UnmountTarget],
};

static COPIES: Rule = Rule {
    id: "busy-copies",
    summary: "Other mounts keep its file system in use",
    what: "The file system is mounted elsewhere too, in this or in other namespaces, where an unmount of this one does not reach.",
    why: "They do not stop the unmount. But the file system ends only with its last mount: until then its device is busy (mkfs, cryptsetup and the like are refused) and its FUSE server goes on.",
    instead: "Detach the copies, if nobody needs them; `mountPropagation: HostToContainer` lets unmounts arrive.",
    kernel: &[RuleId::UnmountReceived, RuleId::MakePrivate],
};

/// As many lines of evidence.
const MOST: usize = 20;

fn mounted_in(t: &Topology<'_>, subject: &Subject, _: &Held) -> Option<Finding> {
    let below: Vec<At> = match subject.mount {
        Some(mount) => t.children(mount).collect(),
        None => t
            .rows(subject.namespace)
            .filter(|at| t.mount(*at).mount_point.starts_with(&subject.path))
            .collect(),
    };
    let first = below.first()?;
    let title = format!(
        "{} mount(s) are in {}: {}, …",
        below.len(),
        subject.path.display(),
        t.mount(*first).mount_point.display()
    );
    let why = "umount and rmdir say `target is busy`, `device or resource busy` while they are there";
    let finding = below.iter().take(MOST).fold(Finding::problem(MOUNTED_IN.id, title, why), |finding, at| {
        finding.seen(t.mount(*at).to_string())
    });
    // What is mounted in those comes first.
    let mut all: BTreeSet<At> = BTreeSet::new();
    let mut next = below;
    while let Some(at) = next.pop() {
        if all.insert(at) {
            next.extend(t.children(at));
        }
    }
    let actions: Vec<Action> = all.iter().rev().map(|at| Action::Unmount { mount: t.seen(*at) }).collect();
    let also =
        "in all namespaces that receive unmounts from there; refused by the kernel if something uses them";
    Some(finding.with(t, actions, also))
}

/// The uses of certain mounts, by process.
fn uses<'a>(t: &Topology<'_>, held: &'a Held, is: impl Fn(At) -> bool) -> Vec<&'a Holder> {
    let ids: HashSet<MountId> = t.all().filter(|at| is(*at)).map(|at| t.mount(at).id).collect();
    held.holders.iter().filter(|holder| holder.mount.is_some_and(|mount| ids.contains(&mount))).collect()
}

fn told(finding: Finding, uses: &[&Holder]) -> Finding {
    let line = |holder: &&Holder| {
        format!("pid {} ({}): {} {}", holder.pid, holder.comm, words(holder.how), holder.path.display())
    };
    let finding = uses.iter().take(MOST).map(line).fold(finding, Finding::seen);
    match uses.len().checked_sub(MOST).filter(|more| *more > 0) {
        Some(more) => finding.seen(format!("and {more} more")),
        None => finding,
    }
}

fn processes(uses: &[&Holder]) -> usize {
    uses.iter().map(|holder| holder.pid).collect::<BTreeSet<_>>().len()
}

fn used_here(t: &Topology<'_>, subject: &Subject, held: &Held) -> Option<Finding> {
    let mount = subject.mount?;
    let mut found = uses(t, held, |at| at == mount);
    // Of a mapping only the file system is known; the file it was is closed.
    let device = t.mount(mount).device;
    let bound = |holder: &&Holder| {
        matches!(holder.how, Use::Socket(_)) && t.carrier(subject.namespace, &holder.path) == Some(mount)
    };
    found.extend(held.holders.iter().filter(bound));
    found.extend(
        held.holders
            .iter()
            .filter(|holder| {
                holder.mount.is_none()
                    && holder.device == Some(device)
                    && holder.path.starts_with(&subject.path)
                    && found.iter().all(|known| known.pid != holder.pid)
            })
            .collect::<Vec<_>>(),
    );
    let first = found.first()?;
    let title = format!(
        "{} process(es) use {}: pid {} ({}), …",
        processes(&found),
        subject.path.display(),
        first.pid,
        first.comm
    );
    let finding = told(
        Finding::problem(USED_HERE.id, title, "umount says `target is busy` until they are gone"),
        &found,
    );
    let also = "it goes out of sight at once; the file system ends when the last of them is gone, and its device stays busy until then";
    Some(mends::detach(t, &[mount], also, finding))
}

fn used_in_receiver(t: &Topology<'_>, subject: &Subject, held: &Held) -> Option<Finding> {
    let mount = subject.mount?;
    let taken: BTreeSet<At> = t
        .all()
        .filter(|at| t.goes_with(mount, *at) && t.mount(*at).device == t.mount(mount).device)
        .collect();
    let found = uses(t, held, |at| taken.contains(&at));
    let first = found.first()?;
    let used: Vec<At> = taken
        .into_iter()
        .filter(|at| found.iter().any(|holder| holder.mount == Some(t.mount(*at).id)))
        .collect();
    let names: Vec<&str> = used.iter().map(|at| t.name(at.namespace)).collect();
    let title = format!(
        "{} process(es) use the copies of {} in {}: pid {} ({}), …",
        processes(&found),
        subject.path.display(),
        names.join(", "),
        first.pid,
        first.comm
    );
    let why = "the unmount would take these along, and takes all or none";
    Some(told(Finding::problem(USED_IN_RECEIVER.id, title, why), &found).mend(
        format!("kill {}", first.pid),
        "or let it close what it has open: a container's program is told by stopping the container",
    ))
}

fn loop_device(_: &Topology<'_>, subject: &Subject, held: &Held) -> Option<Finding> {
    let of: Vec<_> = held.loops.iter().filter(|(_, file)| file.starts_with(&subject.path)).collect();
    let (name, file) = of.first()?;
    let title = format!("/dev/{name} has {}", file.display());
    let why = "the kernel holds the file open (of that path: if another namespace has another file there, it is not known which)";
    let finding = Finding::problem(LOOP_DEVICE.id, title, why);
    let finding = of
        .iter()
        .fold(finding, |finding, (name, file)| finding.seen(format!("/dev/{name}: {}", file.display())));
    Some(finding.mend(format!("losetup --detach /dev/{name}"), "after what is mounted from it was unmounted"))
}

fn swap(_: &Topology<'_>, subject: &Subject, held: &Held) -> Option<Finding> {
    let file = held.swaps.iter().find(|file| file.starts_with(&subject.path))?;
    let title = format!("the machine swaps to {}", file.display());
    let word = mount_table::shell_word(file);
    Some(
        Finding::problem(SWAP.id, title, "the kernel holds the file open")
            .mend(format!("swapoff {word}"), "what is swapped out is read back, which needs as much memory"),
    )
}

fn detached(t: &Topology<'_>, subject: &Subject, held: &Held) -> Option<Finding> {
    let device = t.mount(subject.mount?).device;
    let is = |holder: &&Holder| holder.mount.is_some() && holder.device == Some(device);
    let found: Vec<&Holder> = held.holders.iter().filter(is).collect();
    let first = found.first()?;
    let title = format!(
        "{} process(es) keep its file system in use without any namespace: pid {} ({}), …",
        processes(&found),
        first.pid,
        first.comm
    );
    let why = "they do not stop the unmount, but keep the file system and its device in use";
    Some(told(Finding::limit(DETACHED.id, title, why), &found).mend(
        format!("kill {}", first.pid),
        "or let it close what it has open; nothing else ends a mount that is in no namespace",
    ))
}

/// The folders that an overlay's options name: as they were called when it was mounted.
fn layers(mount: &Mount) -> impl Iterator<Item = &Path> {
    let keys = ["lowerdir=", "lowerdir+=", "datadir+=", "upperdir=", "workdir="];
    let options = if mount.fs_type == "overlay" { mount.super_options.as_str() } else { "" };
    let values = options.split(',').filter_map(move |it| keys.iter().find_map(|key| it.strip_prefix(key)));
    values.flat_map(|value| value.split(':')).map(Path::new)
}

fn overlay(t: &Topology<'_>, subject: &Subject, _: &Held) -> Option<Finding> {
    let mount = subject.mount?;
    let is = |at: &At| {
        let overlay = t.mount(*at);
        layers(overlay).any(|layer| t.carrier(subject.namespace, layer) == Some(mount)) && *at != mount
    };
    // Each once, however many namespaces have it.
    let found: BTreeMap<Device, At> = t.all().filter(is).map(|at| (t.mount(at).device, at)).collect();
    let first = found.values().next()?;
    let title = format!(
        "{} overlay(s) name a layer in {}: {} in {}, …",
        found.len(),
        subject.path.display(),
        t.mount(*first).mount_point.display(),
        t.name(first.namespace)
    );
    let why = "they do not stop the unmount, but keep the file system and its device in use (if the path means the same where they were mounted)";
    Some(found.values().take(MOST).fold(Finding::limit(OVERLAY.id, title, why), |finding, at| {
        finding.seen(format!("{}: {}", t.name(at.namespace), t.mount(*at)))
    }))
}

fn copies(t: &Topology<'_>, subject: &Subject, held: &Held) -> Option<Finding> {
    let mount = subject.mount?;
    let device = t.mount(mount).device;
    let stays = |at: &At| t.mount(*at).device == device && *at != mount && !t.goes_with(mount, *at);
    let copies: BTreeSet<At> = t.all().filter(stays).collect();
    let first = copies.first()?;
    let title = format!(
        "{} other mount(s) of the file system stay when {} is unmounted: {} in {}, …",
        copies.len(),
        subject.path.display(),
        t.mount(*first).mount_point.display(),
        t.name(first.namespace)
    );
    let why = "they do not stop the unmount, but keep the file system and its device in use";
    let finding = copies.iter().take(MOST).fold(Finding::limit(COPIES.id, title, why), |finding, at| {
        finding.seen(format!("{}: {}", t.name(at.namespace), t.mount(*at)))
    });
    let finding = told(finding, &uses(t, held, |at| copies.contains(&at)));
    // Others show what this one does not, as other subvolumes do: nobody said that those are not needed.
    let shows_more = |at: At| !t.mount(at).root.starts_with(&t.mount(mount).root);
    let elsewhere: Vec<At> = copies
        .into_iter()
        .filter(|at| at.namespace != mount.namespace && t.is_visible(*at) && !shows_more(*at))
        .collect();
    if elsewhere.is_empty() {
        return Some(finding);
    }
    Some(mends::detach(t, &elsewhere, "programs there that have files open in it keep them", finding))
}
