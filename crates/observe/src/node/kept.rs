//! What keeps a namespace that no process is in: threads, descriptors, bind mounts.

use mount_table::node::Keeper;
use mount_table::{NamespaceId, Node, readable};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// So many keepers of one namespace are named.
const MAX_KEEPERS: usize = 16;

/// Looks for what keeps these namespaces. It reads the links of every descriptor of every process, so it is only done
/// where there is something to look for.
pub(super) fn find(
    ids: &BTreeSet<NamespaceId>,
    pids: &[u32],
    node: &Node,
) -> BTreeMap<NamespaceId, Vec<Keeper>> {
    let mut found: BTreeMap<NamespaceId, Vec<Keeper>> = BTreeMap::new();
    let mut add = |id: NamespaceId, keeper: Keeper| {
        let keepers = found.entry(id).or_default();
        if keepers.len() < MAX_KEEPERS {
            keepers.push(keeper);
        }
    };
    for &pid in pids {
        threads(pid, ids, &mut add);
        descriptors(pid, ids, &mut add);
    }
    for place in node.mounts().filter(|place| place.mount.fs_type == "nsfs") {
        if let Some(id) = number(place.mount.root.as_os_str().as_bytes()).filter(|id| ids.contains(id)) {
            let mount_point = place.mount.mount_point.clone();
            add(id, Keeper::Bind { namespace: place.namespace.id, mount_point });
        }
    }
    found
}

fn threads(pid: u32, ids: &BTreeSet<NamespaceId>, add: &mut impl FnMut(NamespaceId, Keeper)) {
    for tid in numbers(&format!("/proc/{pid}/task")).filter(|tid| *tid != pid) {
        let Ok(namespace) = fs::metadata(format!("/proc/{pid}/task/{tid}/ns/mnt")) else { continue };
        let id = NamespaceId(namespace.ino());
        if ids.contains(&id) {
            add(id, Keeper::Thread { pid, tid, comm: comm(&format!("/proc/{pid}/task/{tid}/comm")) });
        }
    }
}

fn descriptors(pid: u32, ids: &BTreeSet<NamespaceId>, add: &mut impl FnMut(NamespaceId, Keeper)) {
    for fd in numbers(&format!("/proc/{pid}/fd")) {
        let Ok(link) = fs::read_link(format!("/proc/{pid}/fd/{fd}")) else { continue };
        if let Some(id) = number(link.as_os_str().as_bytes()).filter(|id| ids.contains(id)) {
            add(id, Keeper::Descriptor { pid, comm: comm(&format!("/proc/{pid}/comm")), fd });
        }
    }
}

/// The names in a folder that are numbers; none if it cannot be read, or is gone.
fn numbers(folder: &str) -> impl Iterator<Item = u32> + use<> {
    let entries = fs::read_dir(Path::new(folder)).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn comm(path: &str) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    readable(bytes.strip_suffix(b"\n").unwrap_or(&bytes))
}

/// `mnt:[4026531840]`
fn number(link: &[u8]) -> Option<NamespaceId> {
    let digits = link.strip_prefix(b"mnt:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(digits).ok()?.parse().ok().map(NamespaceId)
}
