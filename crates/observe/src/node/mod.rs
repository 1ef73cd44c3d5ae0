//! The whole node: every mount namespace that can be seen, its mounts, and whose it is.

mod cgroup;
mod names;
mod owners;
mod processes;

pub use cgroup::{Membership, parse_cgroup};
pub use names::Names;
pub(crate) use processes::process_ids;

use crate::{Error, Result, read_mounts_of};
use jiff::Timestamp;
use mount_table::node::{Gap, Missing, Process};
use mount_table::{MountTable, NamespaceId, NamespaceView, Node};
use processes::Seen;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Reads the node as it is now.
///
/// It runs with whatever rights the caller has. What it could not read is in [`Node::gaps`]; namespaces whose number may
/// not be asked for, but whose mounts may be read, are there without a number.
///
/// # Errors
/// /proc cannot be listed: then nothing is known.
pub fn read_node(names: &Names) -> Result<Node> {
    let mut seen = processes::read_processes()?;
    let mut node = empty_node();
    let mut tables = Tables::default();
    tables.read_numbered(&seen, &mut node.gaps);
    tables.read_others(&mut seen, &mut node.gaps);
    node.host = seen.iter().find(|process| process.pid == 1).and_then(|process| process.namespace);
    node.reader = own_namespace(&seen);
    let mut by_namespace: BTreeMap<NamespaceId, Vec<Seen>> = BTreeMap::new();
    for process in seen {
        if let Some(id) = process.namespace {
            by_namespace.entry(id).or_default().push(process);
        }
    }
    for (id, table) in tables.read {
        let mut view = NamespaceView::new(id, table.mounts);
        view.seen_from = table.seen_from;
        view.moved = table.moved;
        node.namespaces.push(view);
    }
    owners::assign(&mut node, &by_namespace, names);
    let host = node.host;
    node.namespaces.sort_by_key(|view| (Some(view.id) != host, view.id));
    Ok(node)
}

fn empty_node() -> Node {
    let text = |path| std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut node = Node::new(Timestamp::now(), kernel);
    node.boot_id = text("/proc/sys/kernel/random/boot_id");
    node.mount_max = text("/proc/sys/fs/mount-max").and_then(|number| number.parse().ok());
    node
}

fn own_namespace(seen: &[Seen]) -> Option<NamespaceId> {
    let own = std::process::id();
    seen.iter().find(|process| process.pid == own).and_then(|process| process.namespace)
}

/// What a namespace's mounts were read as.
#[derive(Debug)]
struct Table {
    mounts: MountTable,
    seen_from: Option<PathBuf>,
    moved: bool,
}

#[derive(Debug, Default)]
struct Tables {
    read: BTreeMap<NamespaceId, Table>,
}

impl Tables {
    /// Through a process of each namespace that has a number: one whose root is the namespace's, if there is one.
    fn read_numbered(&mut self, seen: &[Seen], gaps: &mut Vec<Gap>) {
        let mut by_namespace: BTreeMap<NamespaceId, Vec<&Seen>> = BTreeMap::new();
        for process in seen {
            if let Some(id) = process.namespace {
                by_namespace.entry(id).or_default().push(process);
            }
        }
        for (id, mut processes) in by_namespace {
            processes.sort_by_key(|process| process.root.is_some());
            match read_through_any(&processes) {
                Ok(Some(table)) => drop(self.read.insert(id, table)),
                // All its processes have gone, and it with them.
                Ok(None) => {}
                Err(error) => gaps.push(Gap { what: Missing::Mounts(id), why: said(&error) }),
            }
        }
    }

    /// Processes whose namespace may not be asked for. Their mounts may be read all the same (unless /proc is mounted with
    /// `hidepid`): no two namespaces have a mount in common, so the first row tells them apart.
    fn read_others(&mut self, seen: &mut [Seen], gaps: &mut Vec<Gap>) {
        let mut unknown = Vec::new();
        for process in seen.iter_mut().filter(|process| process.namespace.is_none()) {
            match read_mounts_of(process.pid) {
                Ok(mounts) => process.namespace = self.place(mounts),
                Err(error) if error.is_gone() => {}
                Err(_) => {}
            }
            if process.namespace.is_none() {
                unknown.push(process.pid);
            }
        }
        if !unknown.is_empty() {
            let why = "only root, or the user that they belong to, may ask".to_owned();
            gaps.push(Gap { what: Missing::Processes(unknown), why });
        }
    }

    /// The namespace that a table is of.
    fn place(&mut self, mounts: MountTable) -> Option<NamespaceId> {
        let first = mounts.mounts.first()?.id;
        let known = self.read.iter().find(|(_, table)| table.mounts.get(first).is_some());
        if let Some((id, _)) = known {
            return Some(*id);
        }
        let id = NamespaceId::without_number(first);
        self.read.insert(id, Table { mounts, seen_from: None, moved: false });
        Some(id)
    }
}

/// The table read through the first process that is still there; none if all have gone.
fn read_through_any(processes: &[&Seen]) -> Result<Option<Table>> {
    for process in processes {
        match read_mounts_of(process.pid) {
            Ok(mounts) => {
                return Ok(Some(Table { mounts, seen_from: process.root.clone(), moved: false }));
            }
            // A zombie's mountinfo is EINVAL: it has left its namespace.
            Err(Error::Read { ref source, .. }) if source.raw_os_error() == Some(INVALID) => {}
            Err(error) if error.is_gone() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

const INVALID: i32 = rustix::io::Errno::INVAL.raw_os_error();

/// An error with its causes, for a [`Gap`].
fn said(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// The process as it stands in a [`NamespaceView`].
fn process(seen: &Seen) -> Process {
    Process { pid: seen.pid, comm: seen.comm.clone(), root: seen.root.clone(), container: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mount_table::node::Owner;

    #[test]
    fn our_own_namespace_is_among_them() {
        let node = read_node(&Names::default()).unwrap();
        let (own, process) = node.process(std::process::id()).unwrap();
        assert_eq!(Some(own.id), node.reader);
        assert_eq!(process.root, None);
        assert_eq!(own.mounts, crate::read_own_mounts().unwrap());
        if let Some(host) = node.host() {
            assert_eq!(host.owner, Owner::Host);
            assert_eq!(node.namespaces[0].id, host.id);
        }
        assert_eq!(Node::parse_json(&node.to_json().unwrap()).unwrap(), node);
    }
}
