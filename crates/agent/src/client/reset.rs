//! Removing everything of a root, and seeing that nothing is left.
//!
//! Steps, each of which can be done again after a kill: 1. is it ours; 2. the pods, with what they left mounted; 3. what
//! the runtime knows beside them; 4. cgroups; 5. mounts below the root's folders; 6. the folders; 7. the look at all of
//! this anew. Nothing is deleted across a mount.

use super::{Client, ClientError, PodRef, Result};
use crate::record;
use crate::removal::{RemovalError, remove_tree};
use crate::root::{IN_LIB, IN_RUN, Root, is_one_of};
use runtime::cgroup::{Cgroup, Hierarchies};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Left in place where a file system of its own has it.
const OF_THE_FILE_SYSTEM: &str = "lost+found";

/// What a root holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Holdings {
    /// Pods, by namespace and name.
    pub pods: Vec<String>,
    /// Images, by name.
    pub images: Vec<String>,
    /// Folders of PersistentVolumeClaims, with their data.
    pub claims: Vec<PathBuf>,
}

/// What was removed of a root.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reset {
    /// Pods, by namespace and name.
    pub pods: Vec<String>,
    /// Mount points, of the pods' containers and of our own.
    pub mounts: Vec<PathBuf>,
    /// Cgroups, a hierarchy each.
    pub cgroups: Vec<PathBuf>,
    /// Entries of the root's folders.
    pub folders: Vec<PathBuf>,
}

/// Why a root is not reset.
#[derive(Debug, thiserror::Error)]
pub enum ResetError {
    /// Something is there that is none of ours.
    #[error("{path} is not of rhizome, so that {folder} is no root of its: nothing was removed")]
    NotOurs {
        /// The folder.
        folder: PathBuf,
        /// What is in it.
        path: PathBuf,
    },
    /// A node serves this root.
    #[error("a node of this root runs: nothing was removed")]
    NodeRuns,
    /// A folder cannot be read or removed.
    #[error("cannot {action} {path}")]
    Folder {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Something in it is still mounted, or the kernel keeps it.
    #[error(transparent)]
    Removal(#[from] RemovalError),
    /// A cgroup.
    #[error(transparent)]
    Cgroup(#[from] runtime::cgroup::CgroupError),
    /// A mount.
    #[error(transparent)]
    Mount(#[from] runtime::mounts::DetachError),
}

impl ResetError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            ResetError::NotOurs { .. } => Some("name the root that is meant with --root".to_owned()),
            ResetError::NodeRuns => Some("end `rhizome node` first".to_owned()),
            ResetError::Removal(error) => error.hint(),
            _ => None,
        }
    }
}

/// Sees that the folders hold nothing that is not ours, touching nothing. Folders that are not there are fine.
///
/// # Errors
/// Something else is in them.
pub fn require_ours(root: &Root) -> Result<(), ResetError> {
    for (folder, known) in [(&root.lib, &IN_LIB[..]), (&root.run, &IN_RUN[..])] {
        for name in names(folder)? {
            if !is_one_of(&name, known) {
                return Err(ResetError::NotOurs { folder: folder.clone(), path: folder.join(name) });
            }
        }
    }
    Ok(())
}

fn names(folder: &Path) -> Result<Vec<OsString>, ResetError> {
    let failed = |source| ResetError::Folder { action: "read", path: folder.to_owned(), source };
    match std::fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry.map_err(failed)?.file_name())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed(error)),
    }
}

impl Client {
    /// What there is, to be asked about.
    ///
    /// # Errors
    /// The records cannot be read.
    pub fn holdings(&self) -> Result<Holdings> {
        let store = image::Store::open(self.root.images())?;
        let inside = |folder: PathBuf| {
            names(&folder).unwrap_or_default().into_iter().map(move |name| folder.join(name))
        };
        Ok(Holdings {
            pods: record::list(&self.root, None)?.into_iter().map(|(key, _)| key.to_string()).collect(),
            images: store.list()?.into_iter().map(|image| image.reference).collect(),
            // A folder for each namespace, with one for each claim.
            claims: inside(self.root.claims()).flat_map(inside).collect(),
        })
    }

    /// Removes the pods of all namespaces, killing what runs, with what their containers left mounted.
    ///
    /// # Errors
    /// A pod cannot be removed. Those before it are gone.
    pub fn reset_pods(&self, done: &mut Reset) -> Result<()> {
        for (key, uid) in record::list(&self.root, None)? {
            let pod = PodRef { key, uid };
            match self.stop(&pod, Some(0)).and_then(|_| self.detach_mounts(&pod)) {
                Ok(detached) => {
                    done.mounts.extend(detached.detached.into_iter().map(|mount| mount.mount_point))
                }
                // `remove` does what can be done of a pod that cannot be read.
                Err(error) => tracing::warn!(%error, pod = %pod.key, "before its removal"),
            }
            self.remove(&pod, true)?;
            done.pods.push(pod.key.to_string());
        }
        self.sweep();
        let dirs = self.root.runtime_dirs();
        for id in runtime::list_containers(&dirs)? {
            runtime::remove_container(&dirs, &id)?;
        }
        let wired = runtime::cni::list(&dirs).map_err(runtime::Error::from)?;
        for id in runtime::list_sandboxes(&dirs)?.into_iter().chain(wired) {
            runtime::remove_sandbox(&dirs, &id)?;
        }
        Ok(())
    }
}

/// Whether somebody serves the root: holds the node's lock.
///
/// # Errors
/// The lock cannot be looked at.
pub fn node_runs(root: &Root) -> Result<bool, ResetError> {
    let path = root.run.join("node.lock");
    let failed = |source| ResetError::Folder { action: "look at", path: path.clone(), source };
    let file = match std::fs::File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened.map_err(failed)?,
    };
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(false),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
        Err(errno) => Err(failed(errno.into())),
    }
}

/// Removes what is left when there are no pods any more: cgroups, mounts, folders. The paths must be resolved.
///
/// # Errors
/// What cannot be removed. It can be called again.
pub fn reset_rest(root: &Root, done: &mut Reset) -> Result<(), ResetError> {
    let cgroup = cgroup_of(root)?;
    let there: Vec<PathBuf> = cgroup.directories().map(|(_, dir)| dir).filter(|dir| dir.exists()).collect();
    if !there.is_empty() {
        cgroup.kill_and_remove()?;
        done.cgroups.extend(there);
    }
    // That of all roots, where it was the last.
    if let Some(all) = cgroup.parent() {
        all.remove_if_empty();
    }
    for (folder, known) in [(&root.run, &IN_RUN[..]), (&root.lib, &IN_LIB[..])] {
        remove_folder(folder, known, done)?;
    }
    Ok(())
}

/// The cgroup of all pods of a root.
fn cgroup_of(root: &Root) -> Result<Cgroup, ResetError> {
    let hierarchies = Hierarchies::read().map_err(mountinfo_failed)?;
    Ok(Cgroup::at(&hierarchies, &format!("/rhizome/{}", root.root_hash()))?)
}

fn mountinfo_failed(source: io::Error) -> ResetError {
    ResetError::Folder { action: "read", path: "/proc/self/mountinfo".into(), source }
}

fn remove_folder(folder: &Path, known: &[&str], done: &mut Reset) -> Result<(), ResetError> {
    let there: BTreeSet<OsString> = names(folder)?.into_iter().collect();
    let in_order = known.iter().map(OsString::from).filter(|name| there.contains(name));
    let drafts = there.iter().filter(|name| !known.iter().any(|known| **name == *known)).cloned();
    for name in drafts.chain(in_order).filter(|name| name != OF_THE_FILE_SYSTEM) {
        let path = folder.join(name);
        done.mounts.extend(runtime::mounts::detach_tree(&path)?.mount_points);
        remove_tree(&path)?;
        done.folders.push(path);
    }
    match std::fs::remove_dir(folder) {
        Ok(()) => done.folders.push(folder.to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        // A file system of its own is mounted there, which is not ours to take away: it stays, empty.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::ResourceBusy | io::ErrorKind::DirectoryNotEmpty) => {}
        Err(source) => return Err(ResetError::Folder { action: "remove", path: folder.to_owned(), source }),
    }
    Ok(())
}

/// What is still there of a root, looked for anew: in its folders, among mounts, cgroups and processes. Empty is the proof.
///
/// # Errors
/// It cannot be looked for.
pub fn leftovers(root: &Root) -> Result<Vec<String>, ResetError> {
    let mut found = Vec::new();
    for folder in [&root.lib, &root.run] {
        let left = names(folder)?.into_iter().filter(|name| name != OF_THE_FILE_SYSTEM);
        found.extend(left.map(|name| format!("file {}", folder.join(name).display())));
    }
    let table = observe::read_own_mounts().map_err(|error| mountinfo_failed(io::Error::other(error)))?;
    for mount in &table.mounts {
        let below = |folder: &Path| mount.mount_point.starts_with(folder) && mount.mount_point != folder;
        if below(&root.lib) || below(&root.run) {
            found.push(format!("mount {}", mount.mount_point.display()));
        }
    }
    let cgroup = cgroup_of(root)?;
    found.extend(
        cgroup
            .directories()
            .filter(|(_, dir)| dir.exists())
            .map(|(_, dir)| format!("cgroup {}", dir.display())),
    );
    let run = root.run.as_os_str().as_bytes();
    let own = std::process::id().to_string();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let is_ours = line.split(|byte| *byte == 0).any(|word| word == run);
        if is_ours && entry.file_name() != *own {
            found.push(format!("process {}", entry.file_name().display()));
        }
    }
    Ok(found)
}

impl From<ResetError> for ClientError {
    fn from(error: ResetError) -> ClientError {
        ClientError::Reset(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_names_each_claim() {
        let folder = tempfile::tempdir().unwrap();
        let client = Client::open(&Root::at(folder.path())).unwrap();
        let root = client.root().clone();
        let claims = [("default", "data"), ("default", "logs"), ("there", "data")];
        for (namespace, claim) in claims {
            std::fs::create_dir_all(root.claims().join(namespace).join(claim)).unwrap();
        }
        let expected = claims.map(|(namespace, claim)| root.claims().join(namespace).join(claim));
        let mut held = client.holdings().unwrap();
        held.claims.sort();
        assert_eq!(held, Holdings { claims: expected.to_vec(), ..Holdings::default() });
    }
}
