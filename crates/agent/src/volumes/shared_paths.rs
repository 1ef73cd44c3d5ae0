//! hostPaths that a pod let us share (`rhizome.dev/make-shared: "true"`): bound on themselves and made shared, once
//! for all pods that need them, undone with the last of them. The host's own mounts are never changed.

use super::{VolumeCause, read_table};
use crate::record::{PodUid, lock_root};
use crate::root::Root;
use mount_table::MountTable;
use runtime::atomic_file::{self, Survives};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// A path that we share.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shared {
    /// The mount that we made; none while it is being made.
    mount_id: Option<u64>,
    /// What came along on it, by id.
    came_along: Vec<u64>,
    /// Who needs it.
    pods: Vec<PodUid>,
}

type Register = BTreeMap<PathBuf, Shared>;

fn register_path(root: &Root) -> PathBuf {
    root.run.join("shared-paths.json")
}

fn read(root: &Root) -> io::Result<Register> {
    Ok(atomic_file::read_json(&register_path(root))?.unwrap_or_default())
}

fn write(root: &Root, register: &Register) -> io::Result<()> {
    atomic_file::write_json(&register_path(root), register, Survives::Process)
}

/// Makes sure that `path` (links resolved) is on a shared mount, by a bind on itself where it is not.
///
/// Steps: 1. where the mount that carries it is shared: only note that this pod needs it, if it is ours; 2. write
/// down what is about to be done; 3. bind and share; 4. write down which mount it is.
pub(super) fn share(root: &Root, uid: &PodUid, path: &Path) -> Result<(), VolumeCause> {
    let register_error = |source| VolumeCause::Io { action: "update", path: register_path(root), source };
    let _lock = lock_root(root)?;
    let mut register = read(root).map_err(register_error)?;
    let table = read_table()?;
    let carrier = table.carrier(path);
    if carrier.is_some_and(|m| m.propagation.is_shared()) {
        let ours = carrier.and_then(|m| register.values_mut().find(|s| s.mount_id == Some(m.id.0)));
        if let Some(shared) = ours.filter(|shared| !shared.pods.contains(uid)) {
            shared.pods.push(uid.clone());
            write(root, &register).map_err(register_error)?;
        }
        return Ok(());
    }
    register.insert(path.to_owned(), Shared { pods: vec![uid.clone()], ..Shared::default() });
    write(root, &register).map_err(register_error)?;
    runtime::mounts::share_directory(path, true)?;
    let table = read_table()?;
    if let (Some(shared), Some(mount)) = (register.get_mut(path), table.topmost_at(path)) {
        shared.mount_id = Some(mount.id.0);
        shared.came_along = on_top_of(&table, mount.id.0);
    }
    write(root, &register).map_err(register_error)
}

/// The ids of all mounts on a mount, directly and not.
fn on_top_of(table: &MountTable, id: u64) -> Vec<u64> {
    let mut found = vec![id];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(table.children(mount_table::MountId(parent)).map(|m| m.id.0));
        next += 1;
    }
    found.remove(0);
    found
}

/// What became of the paths that a pod needed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Unshared {
    /// Paths that stay shared because something is mounted on them that was not there before; with one such mount.
    pub(super) kept: Vec<(PathBuf, PathBuf)>,
}

/// Takes a pod off the register and undoes what nobody needs any more.
pub(super) fn unshare(root: &Root, uid: &PodUid) -> Result<Unshared, VolumeCause> {
    let register_error = |source| VolumeCause::Io { action: "update", path: register_path(root), source };
    let _lock = lock_root(root)?;
    let mut register = read(root).map_err(register_error)?;
    if register.is_empty() {
        return Ok(Unshared::default());
    }
    for shared in register.values_mut() {
        shared.pods.retain(|pod| pod != uid);
    }
    write(root, &register).map_err(register_error)?;
    let mut result = Unshared::default();
    let unused: Vec<PathBuf> =
        register.iter().filter(|(_, s)| s.pods.is_empty()).map(|(p, _)| p.clone()).collect();
    for path in unused {
        match undo(&path, &register[&path])? {
            Some(mounted) => result.kept.push((path, mounted)),
            None => {
                register.remove(&path);
                write(root, &register).map_err(register_error)?;
            }
        }
    }
    Ok(result)
}

/// Detaches our bind, unless something new is mounted on it: that is then named.
fn undo(path: &Path, shared: &Shared) -> Result<Option<PathBuf>, VolumeCause> {
    let table = read_table()?;
    let Some(mount) = table.topmost_at(path) else { return Ok(None) };
    // Where we were killed before the id was written down: ours is a bind of its own parent's file system.
    let ours = match shared.mount_id {
        Some(id) => mount.id.0 == id,
        None => table.get(mount.parent).is_some_and(|parent| parent.device == mount.device),
    };
    if !ours {
        return Ok(None);
    }
    let new = on_top_of(&table, mount.id.0)
        .into_iter()
        .find(|id| shared.mount_id.is_some() && !shared.came_along.contains(id));
    if let Some(new) = new.and_then(|id| table.get(mount_table::MountId(id))) {
        return Ok(Some(new.mount_point.clone()));
    }
    runtime::mounts::detach_bind(path)?;
    Ok(None)
}
