//! Which mount namespaces there are: those that processes are in, and those that only a descriptor, a thread or a bind
//! mount keeps.

use super::processes::Seen;
use super::tables::{Found, Ways};
use mount_table::NamespaceId;
use rustix::fd::{AsFd as _, BorrowedFd};
use rustix::io::Errno;
use std::collections::{BTreeMap, HashMap};
use sys::listing::{NamespaceInfo, namespace_info, next_namespace, number_of, owner_of, previous_namespace};

/// More than so many are not followed: each takes memory of the kernel that something else bounds first.
const MAX_NAMESPACES: usize = mount_table::node::MAX_NAMESPACES;

/// What a walk over the kernel's list gave.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// By inode number, with the user namespaces that own them.
    pub(super) known: BTreeMap<NamespaceId, (NamespaceInfo, Option<u64>)>,
    /// Why the kernel's list may not be all.
    pub(super) incomplete: Option<String>,
}

/// Walks the kernel's list in both directions from our own namespace.
pub(super) fn walk(ways: Ways) -> Walk {
    let mut walk = Walk::default();
    if !ways.iterate {
        return walk;
    }
    if let Err(errno) = walk.run() {
        let why = match errno {
            Errno::NOTTY | Errno::INVAL => "this kernel does not list them (Linux 6.12 does)".to_owned(),
            Errno::PERM => "only root may list them".to_owned(),
            errno => format!("listing them: {}", std::io::Error::from(errno)),
        };
        walk.incomplete = Some(why);
    }
    walk
}

impl Walk {
    fn run(&mut self) -> Result<(), Errno> {
        each(|fd, info| {
            if self.known.len() >= MAX_NAMESPACES {
                return Err(Errno::TOOBIG);
            }
            let owner = owner_of(fd).and_then(number_of).ok();
            self.known.insert(NamespaceId(number_of(fd)?), (info, owner));
            Ok(())
        })
    }
}

/// Visits every namespace: our own, then the kernel's list in both directions from there. None is kept open for longer
/// than its visit and the step to the next.
pub(crate) fn each(
    mut visit: impl FnMut(BorrowedFd<'_>, NamespaceInfo) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let own = sys::namespace::open_own("mnt")?;
    visit(own.as_fd(), namespace_info(own.as_fd())?)?;
    for step in [previous_namespace, next_namespace] {
        let mut at = own.try_clone().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        while let Some((fd, info)) = step(at.as_fd())? {
            visit(fd.as_fd(), info)?;
            at = fd;
        }
    }
    Ok(())
}

/// Whether the kernel lists them to us: it says at the first step.
pub(crate) fn may_list() -> Result<(), Errno> {
    next_namespace(sys::namespace::open_own("mnt")?.as_fd()).map(drop)
}

/// All namespaces, ascending, each with the process through which it is best read: one whose root is the namespace's.
pub(super) fn find(seen: &[Seen], walk: &Walk, ways: Ways) -> Vec<Found> {
    let mut processes: BTreeMap<NamespaceId, Vec<&Seen>> = BTreeMap::new();
    for process in seen {
        if let Some(id) = process.namespace {
            processes.entry(id).or_default().push(process);
        }
    }
    for id in walk.known.keys() {
        processes.entry(*id).or_default();
    }
    let found = processes.into_iter().map(|(id, mut processes)| {
        processes.sort_by_key(|process| process.root.is_some());
        let known = walk.known.get(&id).map(|(info, _)| info.id);
        Found {
            id,
            unique: known.or_else(|| ask(processes.first()?, ways)),
            process: processes.first().map(|process| (process.pid, process.root.clone())),
            others: processes.iter().skip(1).map(|process| process.pid).collect(),
        }
    });
    found.collect()
}

/// The 64-bit id of a process' namespace, which the walk did not meet.
fn ask(process: &Seen, ways: Ways) -> Option<u64> {
    if !ways.unique_ids {
        return None;
    }
    let file = std::fs::File::open(format!("/proc/{}/ns/mnt", process.pid)).ok()?;
    namespace_info(file.as_fd()).ok().map(|info| info.id)
}

/// The user namespaces that own namespaces which the walk did not meet.
pub(super) fn owners(found: &[Found], walk: &Walk) -> HashMap<NamespaceId, u64> {
    let owner = |found: &Found| {
        if let Some((_, owner)) = walk.known.get(&found.id) {
            return *owner;
        }
        let (pid, _) = found.process.as_ref()?;
        let file = std::fs::File::open(format!("/proc/{pid}/ns/mnt")).ok()?;
        owner_of(file.as_fd()).and_then(number_of).ok()
    };
    found.iter().filter_map(|found| Some((found.id, owner(found)?))).collect()
}
