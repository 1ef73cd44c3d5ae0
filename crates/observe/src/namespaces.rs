//! All mount namespaces that processes are in.

use crate::node::process_ids;
use crate::{Error, Result, read_mounts_of};
use mount_table::{NamespaceId, NamespaceTable, Snapshot};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;

/// The mount namespaces of the processes of /proc.
#[derive(Debug, Default)]
pub struct Namespaces {
    /// Their mounts, in the order of their numbers. Each table is of one moment, all together are not.
    pub snapshot: Snapshot,
    /// The processes seen in each, ascending.
    pub processes: BTreeMap<NamespaceId, Vec<u32>>,
    /// Processes whose namespace may not be asked for.
    pub unreadable: Vec<u32>,
}

/// Reads the mounts of every mount namespace that a process (not merely a thread) of this PID namespace is in,
/// through the process of the lowest id that has not gone meanwhile. Namespaces are named by the inode number
/// of `/proc/PID/ns/mnt`.
///
/// # Errors
/// /proc cannot be listed, or a namespace's mounts cannot be read although a process of it can be asked.
pub fn read_namespaces() -> Result<Namespaces> {
    let mut found = Namespaces::default();
    for pid in process_ids()? {
        match std::fs::metadata(format!("/proc/{pid}/ns/mnt")) {
            Ok(namespace) => found.processes.entry(NamespaceId(namespace.ino())).or_default().push(pid),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => found.unreadable.push(pid),
            // Gone meanwhile.
            Err(_) => {}
        }
    }
    for (id, pids) in &found.processes {
        if let Some(mounts) = read_through_any(pids)? {
            found.snapshot.namespaces.push(NamespaceTable { id: *id, mounts });
        }
    }
    Ok(found)
}

/// The table read through the first process that is still there; none if all have gone.
fn read_through_any(pids: &[u32]) -> Result<Option<mount_table::MountTable>> {
    for pid in pids {
        match read_mounts_of(*pid) {
            Ok(table) => return Ok(Some(table)),
            // A zombie's mountinfo is EINVAL: it has left its namespace.
            Err(Error::Read { ref source, .. }) if source.raw_os_error() == Some(INVALID) => {}
            Err(error) if error.is_gone() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

const INVALID: i32 = rustix::io::Errno::INVAL.raw_os_error();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_namespace_is_among_them() {
        let found = read_namespaces().unwrap();
        let own = NamespaceId(std::fs::metadata("/proc/self/ns/mnt").unwrap().ino());
        assert!(found.processes[&own].contains(&std::process::id()));
        assert!(!found.snapshot.namespace(own).unwrap().mounts.is_empty());
    }
}
