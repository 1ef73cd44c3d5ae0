//! A root: the two folders that hold everything of one world of pods, and the names of what lies in them.
//!
//! ```text
//! <lib>/lock                         taken (flock) while records are created or swept
//! <lib>/names/<namespace>/<name>     symbolic link whose text is the pod's uid: the index
//! <lib>/pods/<uid>/pod.json          the record; lock, volumes/, volume-subpaths/, containers/, logs/ beside it
//! <lib>/images  <lib>/containers  <lib>/networks     of the rooms `image` and `runtime`
//! <run>/pods/<uid>/                  supervisor's socket and lock, status.json: gone after a reboot, as its processes are
//! <run>/jobs/<uid>/                  of a Job with several Pods, while one has a supervisor: its failures, and whose turn it is
//! <run>/runtime                      of the room `runtime`
//! ```

use crate::record::{PodKey, PodUid};
use runtime::atomic_file;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// All that can be in a root's lasting folder. What goes last is the sign that it is a root.
pub(crate) const IN_LIB: [&str; 13] = [
    "pods",
    "containers",
    "networks",
    "kept",
    "images",
    "claims",
    "node",
    "names",
    "keeper.json",
    "registries.json",
    "seccomp",
    "lost+found",
    "lock",
];
/// All that can be in its passing folder.
pub(crate) const IN_RUN: [&str; 8] =
    ["pods", "jobs", "runtime", "mends", "node.sock", "node.lock", "shared-paths.json", "keeper.lock"];

/// Whether an entry of a root's folder is one of these, or a file that is being exchanged, by who writes it.
pub(crate) fn is_one_of(name: &OsStr, known: &[&str]) -> bool {
    let is_draft = name.as_bytes().starts_with(b".") || name.as_bytes().ends_with(b".new");
    is_draft || known.iter().any(|known| name == *known)
}

/// Why a root cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// A folder could not be made or read.
    #[error("cannot use {path} as a state folder")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A folder is another user's, who could exchange what is in it.
    #[error("{path} belongs to user {owner}, not to user {expected} who runs this")]
    Owner {
        /// The folder.
        path: PathBuf,
        /// Its owner's user id.
        owner: u32,
        /// Our effective user id.
        expected: u32,
    },
    /// A folder that everybody may read has something else in it: made private, it would be taken from them.
    #[error("{path} is no state folder of rhizome: it has {} in it", entry.display())]
    NotOurs {
        /// The folder.
        path: PathBuf,
        /// What is in it.
        entry: PathBuf,
    },
    /// The path exists and is no directory.
    #[error("{path} is not a directory")]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
}

/// The two folders of one world of pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// What survives a reboot.
    pub lib: PathBuf,
    /// What does not.
    pub run: PathBuf,
}

impl Default for Root {
    fn default() -> Self {
        Root { lib: "/var/lib/rhizome".into(), run: "/run/rhizome".into() }
    }
}

impl Root {
    /// The root that `--root dir` names: `dir/lib` and `dir/run`.
    pub fn at(dir: &Path) -> Root {
        Root { lib: dir.join("lib"), run: dir.join("run") }
    }

    /// Makes the folders where they are missing (mode 0700), makes them private where they are ours and are not, and gives the root with its paths resolved, so that
    /// one folder reached by two names is one root.
    ///
    /// # Errors
    /// A folder that cannot be made, is no directory, or belongs to another user.
    pub fn open(&self) -> Result<Root, RootError> {
        Ok(Root { lib: open_folder(&self.lib, &IN_LIB)?, run: open_folder(&self.run, &IN_RUN)? })
    }

    /// Sixteen hexadecimal digits that name this root in cgroup paths. FNV-1a over both paths: a name, no proof.
    pub fn root_hash(&self) -> String {
        let bytes = self.lib.as_os_str().as_bytes().iter().chain(&[0]).chain(self.run.as_os_str().as_bytes());
        let hash =
            bytes.fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3));
        format!("{hash:016x}")
    }

    /// The pod's cgroup below each hierarchy's root.
    pub fn cgroup_parent(&self, uid: &PodUid) -> String {
        format!("/rhizome/{}/pod{uid}", self.root_hash())
    }

    /// Where it is on record who keeps the mount namespace of an isolated root; there while it is isolated.
    pub fn keeper_record(&self) -> PathBuf {
        self.lib.join("keeper.json")
    }

    /// Where images are stored.
    pub fn images(&self) -> PathBuf {
        self.lib.join("images")
    }

    /// The folders of the room `runtime`: its state, and containers' writable layers.
    pub fn runtime_dirs(&self) -> runtime::Dirs {
        runtime::Dirs { state: self.runtime_state(), data: self.runtime_data() }
    }

    /// Where `runtime` keeps its state.
    pub fn runtime_state(&self) -> PathBuf {
        self.run.join("runtime")
    }

    /// Where `runtime` keeps containers' writable layers.
    pub fn runtime_data(&self) -> PathBuf {
        self.lib.join("containers")
    }

    /// All pods' folders that survive a reboot.
    pub fn pods(&self) -> PathBuf {
        self.lib.join("pods")
    }

    /// The lasting folder of a pod.
    pub fn pod_lib(&self, uid: &PodUid) -> PathBuf {
        self.pods().join(uid.as_str())
    }

    /// The passing folder of a pod.
    pub fn pod_run(&self, uid: &PodUid) -> PathBuf {
        self.run.join("pods").join(uid.as_str())
    }

    /// The folder that the supervisors of a Job's Pods have in common while they are there.
    pub fn job_run(&self, job_uid: &PodUid) -> PathBuf {
        self.run.join("jobs").join(job_uid.as_str())
    }

    /// The folders of claims that are bound to no volume, by namespace.
    pub fn claims(&self) -> PathBuf {
        self.lib.join("claims")
    }

    /// The folder of a claim that is bound to no volume: it stays when pods go. Names of claims are names of files.
    pub fn claim(&self, namespace: &str, claim: &str) -> PathBuf {
        self.claims().join(namespace).join(claim)
    }

    /// The index's folder.
    pub fn names(&self) -> PathBuf {
        self.lib.join("names")
    }

    /// The index entry of a pod.
    pub fn name_of(&self, key: &PodKey) -> PathBuf {
        self.names().join(&key.namespace).join(&key.name)
    }

    /// The log folder of a pod; a container's run is `<container>/<attempt>.log` in it.
    pub fn pod_logs(&self, uid: &PodUid) -> PathBuf {
        self.pod_lib(uid).join("logs")
    }
}

/// Makes a directory with mode 0700 below an existing root; parents too.
pub(crate) fn make_private_directory(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn open_folder(path: &Path, known: &[&str]) -> Result<PathBuf, RootError> {
    let folder = |source| RootError::Folder { path: path.to_owned(), source };
    let absolute = std::path::absolute(path).map_err(folder)?;
    // Parents get the usual mode: only our own folders are private.
    if let Some(parent) = absolute.parent() {
        std::fs::create_dir_all(parent).map_err(folder)?;
    }
    match std::fs::DirBuilder::new().mode(0o700).create(&absolute) {
        Ok(()) => atomic_file::sync_parent(&absolute).map_err(folder)?,
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(folder(e)),
    }
    let resolved = absolute.canonicalize().map_err(folder)?;
    let metadata = resolved.symlink_metadata().map_err(folder)?;
    if !metadata.is_dir() {
        return Err(RootError::NotADirectory { path: resolved });
    }
    let expected = rustix::process::geteuid().as_raw();
    if metadata.uid() != expected {
        return Err(RootError::Owner { path: resolved, owner: metadata.uid(), expected });
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        for entry in std::fs::read_dir(&resolved).map_err(folder)? {
            let entry = entry.map_err(folder)?.file_name();
            if !is_one_of(&entry, known) {
                return Err(RootError::NotOurs { path: resolved, entry: entry.into() });
            }
        }
        std::fs::set_permissions(&resolved, std::fs::Permissions::from_mode(0o700)).map_err(folder)?;
    }
    Ok(resolved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_made_private_and_resolved() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("alias")).unwrap();
        let straight = Root::at(dir.path()).open().unwrap();
        let by_alias = Root::at(&dir.path().join("alias")).open().unwrap();
        assert_eq!(straight, by_alias);
        assert_eq!(straight.root_hash(), by_alias.root_hash());
        for folder in [&straight.lib, &straight.run] {
            assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        }
        std::fs::set_permissions(&straight.lib, std::fs::Permissions::from_mode(0o755)).unwrap();
        Root::at(dir.path()).open().unwrap();
        assert_eq!(straight.lib.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    }

    /// `--root /` names /lib and /run.
    #[test]
    fn a_folder_of_others_is_not_made_private() {
        let dir = tempfile::tempdir().unwrap();
        let lib = dir.path().join("lib");
        std::fs::create_dir_all(lib.join("x86_64-linux-gnu")).unwrap();
        std::fs::set_permissions(&lib, std::fs::Permissions::from_mode(0o755)).unwrap();
        let error = Root::at(dir.path()).open().unwrap_err();
        assert!(
            error.to_string().contains("is no state folder of rhizome: it has x86_64-linux-gnu"),
            "{error}"
        );
        assert_eq!(lib.metadata().unwrap().permissions().mode() & 0o777, 0o755);
        std::fs::remove_dir(lib.join("x86_64-linux-gnu")).unwrap();
        Root::at(dir.path()).open().unwrap();
        assert_eq!(lib.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_file_is_no_root() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("lib"), "").unwrap();
        let error = Root::at(dir.path()).open().unwrap_err();
        assert!(matches!(error, RootError::NotADirectory { .. }), "{error}");
    }

    #[test]
    fn roots_have_different_hashes() {
        let a = Root { lib: "/a/b".into(), run: "/c".into() };
        let b = Root { lib: "/a".into(), run: "/b/c".into() };
        assert_ne!(a.root_hash(), b.root_hash());
        assert_eq!(a.root_hash().len(), 16);
    }
}
