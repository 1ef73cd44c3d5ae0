//! A pod's record on disk, the index of names, and the locks. The record is what the user asked (the defaulted
//! Pod, with the ConfigMaps and Secrets that came with it); it is written before anything is done for the
//! pod, and removed last, so that whatever is on the machine has a record that leads to its removal.
//!
//! Two names for one pod cannot be: the index entry is a symbolic link, and symlink(2) is the one step that
//! creates a pod. A record without an entry is what a killed `create` or `rm` left; [`sweep`] removes it.

use crate::root::{Root, make_private_directory};
use jiff::Timestamp;
use k8s_openapi::Metadata;
use k8s_openapi::api::core::v1::{ConfigMap, EphemeralContainer, Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use manifest::claims::ClaimPlace;
use manifest::workloads::JobTerms;
use runtime::atomic_file::{self, Survives};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The version of what is on disk; a newer one is refused, not guessed at.
pub const RECORD_VERSION: u32 = 1;

/// A pod's UID (`metadata.uid`): a UUID, so never a path of its own making.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PodUid(String);

impl PodUid {
    /// A new random one (RFC 9562, version 4).
    ///
    /// # Errors
    /// getrandom(2) fails.
    pub fn random() -> io::Result<PodUid> {
        let mut bytes = [0_u8; 16];
        let filled = rustix::rand::getrandom(bytes.as_mut_slice(), rustix::rand::GetRandomFlags::empty())?;
        if filled != bytes.len() {
            return Err(io::Error::other("getrandom gave fewer bytes than asked"));
        }
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        Ok(PodUid(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])))
    }

    /// Takes a UID from outside: hexadecimal digits and dashes only, since it becomes a folder's name.
    pub fn parse(text: &str) -> Option<PodUid> {
        let plain = text.len() <= 64 && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        (plain && text.bytes().any(|b| b != b'-')).then(|| PodUid(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The 48 bits at the end, which are all random.
    pub fn dice(&self) -> u64 {
        self.0.rsplit('-').next().and_then(|end| u64::from_str_radix(end, 16).ok()).unwrap_or_default()
    }
}

impl fmt::Display for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a pod is called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PodKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl PodKey {
    /// The key that a Pod object has (its namespace is `default` where it says none).
    pub fn of(pod: &Pod) -> PodKey {
        PodKey {
            namespace: pod.metadata.namespace.clone().unwrap_or_else(|| "default".into()),
            name: pod.metadata.name.clone().unwrap_or_default(),
        }
    }
}

impl fmt::Display for PodKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A Pod to create, with the objects that its volumes and environment are made from.
#[derive(Debug, Clone, Default)]
pub struct NewPod {
    /// Validated and defaulted.
    pub pod: Pod,
    /// Of the pod's namespace, by name.
    pub config_maps: BTreeMap<String, ConfigMap>,
    /// Of the pod's namespace, by name.
    pub secrets: BTreeMap<String, Secret>,
    /// Where claims of the pod's namespace are, by name; others are folders of the root.
    pub claims: BTreeMap<String, ClaimPlace>,
    /// What its Job asks, if it is of one.
    pub job: Option<JobTerms>,
    /// Where the configuration of its network is; none for a pod that has its loopback only.
    pub network: Option<runtime::cni::Places>,
}

impl NewPod {
    /// The pods of a loaded set of manifests, each with the ConfigMaps and Secrets of its namespace.
    pub fn of_loaded(loaded: &manifest::Loaded) -> Vec<NewPod> {
        fn of_namespace<'a, T: Metadata<Ty = ObjectMeta> + Clone + 'a>(
            objects: impl Iterator<Item = &'a T>,
            namespace: &str,
        ) -> BTreeMap<String, T> {
            let inside =
                objects.filter(|o| o.metadata().namespace.as_deref().unwrap_or("default") == namespace);
            inside.map(|o| (o.metadata().name.clone().unwrap_or_default(), o.clone())).collect()
        }
        let with_objects = |pod: &Pod| {
            let namespace = PodKey::of(pod).namespace;
            NewPod {
                pod: pod.clone(),
                config_maps: of_namespace(loaded.config_maps(), &namespace),
                secrets: of_namespace(loaded.secrets(), &namespace),
                claims: loaded.claims.get(&namespace).cloned().unwrap_or_default(),
                job: loaded.job_of(pod),
                network: None,
            }
        };
        loaded.pods().map(with_objects).collect()
    }
}

/// What is kept of a pod: `pod.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodRecord {
    /// [`RECORD_VERSION`] of the writer.
    pub version: u32,
    /// With `metadata.uid` and `metadata.creationTimestamp`; without a status.
    pub pod: Pod,
    /// As given at creation, by name.
    pub config_maps: BTreeMap<String, ConfigMap>,
    /// As given at creation, by name.
    pub secrets: BTreeMap<String, Secret>,
    /// As given at creation, by name; other claims are folders of the root.
    #[serde(default)]
    pub claims: BTreeMap<String, ClaimPlace>,
    /// What its Job asks, if it is of one.
    #[serde(default)]
    pub job: Option<JobTerms>,
    /// As given at creation: where the configuration of its network is looked for at each of its starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<runtime::cni::Places>,
}

impl PodRecord {
    /// The pod's name.
    pub fn key(&self) -> PodKey {
        PodKey::of(&self.pod)
    }

    /// Adds an ephemeral container, here and on the disk.
    ///
    /// # Errors
    /// It cannot be written; then nothing has changed.
    pub(crate) fn add_ephemeral(
        &mut self,
        root: &Root,
        uid: &PodUid,
        container: EphemeralContainer,
    ) -> Result<(), RecordError> {
        let mut changed = self.clone();
        let spec = changed.pod.spec.get_or_insert_default();
        spec.ephemeral_containers.get_or_insert_default().push(container);
        write_record(root, uid, &changed)?;
        *self = changed;
        Ok(())
    }

    /// Takes over what [`leave_objects`] has left, here and on the disk.
    ///
    /// # Errors
    /// It cannot be read or written; then nothing has changed.
    pub(crate) fn take_objects(&mut self, root: &Root, uid: &PodUid) -> Result<(), RecordError> {
        let path = objects_path(root, uid);
        let objects = atomic_file::read_json::<PodObjects>(&path).map_err(state("read", &path))?;
        // Taken by an earlier request already: it was the latest.
        let Some(objects) = objects else { return Ok(()) };
        let mut changed = self.clone();
        let PodObjects { config_maps, secrets, labels, annotations } = objects;
        (changed.config_maps, changed.secrets) = (config_maps, secrets);
        let metadata = &mut changed.pod.metadata;
        metadata.labels = (!labels.is_empty()).then_some(labels);
        // What they ask of rhizome was asked when the pod was made, and has been done.
        let had = metadata.annotations.take().unwrap_or_default();
        let asked = had.into_iter().filter(|(key, _)| PodObjects::is_ours(key));
        let annotations: BTreeMap<_, _> = annotations.into_iter().chain(asked).collect();
        metadata.annotations = (!annotations.is_empty()).then_some(annotations);
        write_record(root, uid, &changed)?;
        *self = changed;
        std::fs::remove_file(&path).map_err(state("remove", &path))
    }

    fn new(new: NewPod, uid: &PodUid, now: Timestamp) -> PodRecord {
        let NewPod { mut pod, config_maps, secrets, claims, job, network } = new;
        pod.metadata.namespace = Some(PodKey::of(&pod).namespace);
        pod.metadata.uid = Some(uid.to_string());
        pod.metadata.creation_timestamp.get_or_insert_with(|| Time(whole_seconds(now)));
        pod.metadata.generation = Some(1);
        pod.status = None;
        PodRecord { version: RECORD_VERSION, pod, config_maps, secrets, claims, job, network }
    }
}

/// What of a pod may change while it runs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodObjects {
    /// By name.
    pub config_maps: BTreeMap<String, ConfigMap>,
    /// By name.
    pub secrets: BTreeMap<String, Secret>,
    /// Of the pod.
    pub labels: BTreeMap<String, String>,
    /// Of the pod; but for those that rhizome reads or writes itself, which stay.
    pub annotations: BTreeMap<String, String>,
}

impl PodObjects {
    /// As a record, or a pod that is to be one, has them.
    #[must_use]
    pub fn of(
        pod: &Pod,
        config_maps: BTreeMap<String, ConfigMap>,
        secrets: BTreeMap<String, Secret>,
    ) -> PodObjects {
        let mut annotations = pod.metadata.annotations.clone().unwrap_or_default();
        annotations.retain(|key, _| !PodObjects::is_ours(key));
        let labels = pod.metadata.labels.clone().unwrap_or_default();
        PodObjects { config_maps, secrets, labels, annotations }
    }

    fn is_ours(annotation: &str) -> bool {
        annotation.starts_with("rhizome.dev/")
    }
}

fn objects_path(root: &Root, uid: &PodUid) -> PathBuf {
    root.pod_lib(uid).join("objects.json")
}

/// Leaves for a pod's supervisor what of it has changed; the last counts.
///
/// # Errors
/// It cannot be written.
pub(crate) fn leave_objects(root: &Root, uid: &PodUid, objects: &PodObjects) -> Result<(), RecordError> {
    let path = objects_path(root, uid);
    atomic_file::write_json(&path, objects, Survives::Process).map_err(state("write", &path))
}

/// The API's times have no fractions of a second.
pub(crate) fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// Why a record could not be made, found or read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The name is taken.
    #[error("pods {:?} already exists", .key.name)]
    AlreadyExists {
        /// The name.
        key: PodKey,
    },
    /// There is no such pod.
    #[error("pods {:?} not found", .key.name)]
    NotFound {
        /// The name.
        key: PodKey,
    },
    /// The name cannot be a file's name.
    #[error("{text:?} cannot be the name of a pod or namespace")]
    Name {
        /// What was given.
        text: String,
    },
    /// The record was written by a later version.
    #[error("{path} has version {version}; this rhizome reads versions up to {RECORD_VERSION}")]
    Version {
        /// The record.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// The record is gone or unreadable though the index names it.
    #[error("cannot read the record {path}")]
    Broken {
        /// The record.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: io::Error,
    },
    /// A folder or file of the state could not be changed.
    #[error("cannot {action} {path}")]
    State {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// Makes an error constructor for one action on one path.
fn state(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RecordError + use<> {
    let path = path.to_owned();
    move |source| RecordError::State { action, path, source }
}

/// Creates the records of all pods, or of none.
///
/// Steps: 1. take the root's lock; 2. see that every name is free; 3. write every record; 4. enter the names.
/// An error undoes what the call did; a kill before 4 leaves folders that [`sweep`] removes.
///
/// # Errors
/// A name that is taken (also twice in the set), or a file that cannot be written.
pub fn create(
    root: &Root,
    pods: Vec<NewPod>,
    now: Timestamp,
) -> Result<Vec<(PodUid, PodRecord)>, RecordError> {
    let _lock = lock_root(root)?;
    let mut made: Vec<(PodUid, PodRecord)> = Vec::with_capacity(pods.len());
    let result = pods.into_iter().try_for_each(|mut new| {
        let uid = match new.pod.metadata.uid.as_deref().and_then(PodUid::parse) {
            // Given away already, by whoever keeps the pod's object.
            Some(uid) => uid,
            None => {
                PodUid::random().map_err(state("make a uid for", &root.name_of(&PodKey::of(&new.pod))))?
            }
        };
        manifest::generate::complete_name(&mut new.pod.metadata, uid.dice());
        let key = PodKey::of(&new.pod);
        check_name(&key)?;
        let taken = find(root, &key)?.is_some() || made.iter().any(|(_, r)| r.key() == key);
        if taken {
            return Err(RecordError::AlreadyExists { key });
        }
        let record = PodRecord::new(new, &uid, now);
        write_record(root, &uid, &record)?;
        made.push((uid, record));
        Ok(())
    });
    let result = result.and_then(|()| made.iter().try_for_each(|(uid, record)| enter(root, uid, record)));
    match result {
        Ok(()) => Ok(made),
        Err(error) => {
            for (uid, record) in &made {
                // Best effort: what stays is nameless and goes with the next sweep.
                let _ = forget(root, uid, &record.key());
            }
            Err(error)
        }
    }
}

fn write_record(root: &Root, uid: &PodUid, record: &PodRecord) -> Result<(), RecordError> {
    let folder = root.pod_lib(uid);
    runtime::fault::point("pod.folder").map_err(io::Error::from).map_err(state("make", &folder))?;
    make_private_directory(&folder).map_err(state("make", &folder))?;
    let path = folder.join("pod.json");
    atomic_file::write_json(&path, record, Survives::PowerCut).map_err(state("write", &path))
}

fn enter(root: &Root, uid: &PodUid, record: &PodRecord) -> Result<(), RecordError> {
    let key = record.key();
    let entry = root.name_of(&key);
    let namespace = root.names().join(&key.namespace);
    make_private_directory(&namespace).map_err(state("make", &namespace))?;
    runtime::fault::point("pod.name").map_err(io::Error::from).map_err(state("make", &entry))?;
    match std::os::unix::fs::symlink(uid.as_str(), &entry) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(RecordError::AlreadyExists { key }),
        Err(e) => Err(state("make", &entry)(e)),
    }
}

/// Names become file names: the API's validation allows only such, but a hand-made record must not walk away.
fn check_name(key: &PodKey) -> Result<(), RecordError> {
    for text in [&key.namespace, &key.name] {
        let plain =
            !text.is_empty() && text.len() <= 253 && !text.starts_with('.') && !text.contains(['/', '\0']);
        if !plain {
            return Err(RecordError::Name { text: text.clone() });
        }
    }
    Ok(())
}

/// The uid that a name stands for.
///
/// # Errors
/// The index cannot be read.
pub fn find(root: &Root, key: &PodKey) -> Result<Option<PodUid>, RecordError> {
    check_name(key)?;
    let entry = root.name_of(key);
    match std::fs::read_link(&entry) {
        Ok(text) => Ok(text.to_str().and_then(PodUid::parse)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(state("read", &entry)(e)),
    }
}

/// The uid that a name stands for, or Kubernetes' words that there is none.
///
/// # Errors
/// No such pod, or the index cannot be read.
pub fn require(root: &Root, key: &PodKey) -> Result<PodUid, RecordError> {
    find(root, key)?.ok_or_else(|| RecordError::NotFound { key: key.clone() })
}

/// That a name stands for this very pod.
///
/// # Errors
/// It stands for another or none, or the index cannot be read.
pub(crate) fn require_same(root: &Root, key: &PodKey, uid: &PodUid) -> Result<(), RecordError> {
    match find(root, key)? {
        Some(found) if found == *uid => Ok(()),
        _ => Err(RecordError::NotFound { key: key.clone() }),
    }
}

/// All pods of one namespace or of all, by namespace and name.
///
/// # Errors
/// The index cannot be read.
pub fn list(root: &Root, namespace: Option<&str>) -> Result<Vec<(PodKey, PodUid)>, RecordError> {
    let mut pods = Vec::new();
    for ns in file_names(&root.names())? {
        if namespace.is_some_and(|wanted| wanted != ns) {
            continue;
        }
        for name in file_names(&root.names().join(&ns))? {
            let key = PodKey { namespace: ns.clone(), name };
            if let Some(uid) = find(root, &key)? {
                pods.push((key, uid));
            }
        }
    }
    pods.sort();
    Ok(pods)
}

/// The folders of names as they were when it was last looked: most looks find them as they were.
#[derive(Debug, Default)]
pub struct Index {
    seen: Option<Vec<(String, SystemTime)>>,
}

/// A change this soon after another may leave a folder's time as it is: file systems' clocks are coarse.
const CLOCK_TICK: Duration = Duration::from_secs(1);

impl Index {
    /// Whether pods may have come or gone since this was last asked.
    pub fn may_have_changed(&mut self, root: &Root) -> bool {
        let now = SystemTime::now();
        let found = Index::read(root).ok();
        // Of what has changed just now it is not known whether that was all.
        let settled = |(_, time): &(String, SystemTime)| {
            now.duration_since(*time).is_ok_and(|since| since > CLOCK_TICK)
        };
        let found = found.filter(|times| times.iter().all(settled));
        let changed = found.is_none() || found != self.seen;
        self.seen = found;
        changed
    }

    fn read(root: &Root) -> io::Result<Vec<(String, SystemTime)>> {
        let modified = |path: &Path| std::fs::metadata(path)?.modified();
        let mut times = vec![(String::new(), modified(&root.names())?)];
        for namespace in file_names(&root.names()).map_err(io::Error::other)? {
            let time = modified(&root.names().join(&namespace))?;
            times.push((namespace, time));
        }
        times.sort();
        Ok(times)
    }
}

/// Names in a directory, without hidden ones; a missing directory has none.
fn file_names(path: &Path) -> Result<Vec<String>, RecordError> {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(state("read", path)(e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(state("read", path))?;
        names.extend(entry.file_name().into_string().ok().filter(|n| !n.starts_with('.')));
    }
    Ok(names)
}

/// Reads a pod's record.
///
/// # Errors
/// It is gone, does not parse, or is of a later version.
pub fn load(root: &Root, uid: &PodUid) -> Result<PodRecord, RecordError> {
    let path = root.pod_lib(uid).join("pod.json");
    let broken = |source| RecordError::Broken { path: path.clone(), source };
    let record: PodRecord = atomic_file::read_json(&path)
        .and_then(|found| found.ok_or_else(|| io::ErrorKind::NotFound.into()))
        .map_err(broken)?;
    if record.version > RECORD_VERSION {
        return Err(RecordError::Version { path, version: record.version });
    }
    Ok(record)
}

/// Takes a pod out: its name, then its folders. The caller has undone all mounts below them and holds its lock.
///
/// # Errors
/// Something could not be removed; what is left has no name any more and goes with the next [`sweep`].
pub fn forget(root: &Root, uid: &PodUid, key: &PodKey) -> Result<(), RecordError> {
    let entry = root.name_of(key);
    if find(root, key)?.as_ref() == Some(uid) {
        runtime::fault::point("pod.unname").map_err(io::Error::from).map_err(state("remove", &entry))?;
        std::fs::remove_file(&entry).map_err(state("remove", &entry))?;
    }
    remove_folders(root, uid)?;
    // The namespace's folder goes with its last pod; that others are still in it is no error.
    let _ = std::fs::remove_dir(root.names().join(&key.namespace));
    Ok(())
}

fn remove_folders(root: &Root, uid: &PodUid) -> Result<(), RecordError> {
    for folder in [root.pod_run(uid), root.pod_lib(uid)] {
        crate::removal::remove_tree(&folder).map_err(|e| {
            let (path, source) = e.into_parts();
            RecordError::State { action: "remove", path, source }
        })?;
    }
    Ok(())
}

/// The uids of folders that no name leads to: what a killed `create` or `rm` left behind.
/// They are only reported; the caller undoes mounts first and then calls [`forget_nameless`].
///
/// # Errors
/// A folder cannot be read.
pub fn sweep(root: &Root) -> Result<Vec<PodUid>, RecordError> {
    let _lock = lock_root(root)?;
    let named: BTreeSet<PodUid> = list(root, None)?.into_iter().map(|(_, uid)| uid).collect();
    for namespace in file_names(&root.names())? {
        // Only one that a killed command has left without a name in it goes.
        let _ = std::fs::remove_dir(root.names().join(namespace));
    }
    let mut nameless = Vec::new();
    for folder in [root.pods(), root.run.join("pods")] {
        for name in file_names(&folder)? {
            nameless.extend(PodUid::parse(&name).filter(|uid| !named.contains(uid)));
        }
    }
    nameless.sort();
    nameless.dedup();
    Ok(nameless)
}

/// Removes the folders of a pod without a name.
///
/// # Errors
/// Something could not be removed.
pub fn forget_nameless(root: &Root, uid: &PodUid) -> Result<(), RecordError> {
    remove_folders(root, uid)
}

/// Held while one command changes one pod; released when dropped or when the process ends.
#[derive(Debug)]
pub struct PodLock(File);

impl PodLock {
    /// Another holder of the same lock: it is released when both are closed, in whatever process.
    ///
    /// # Errors
    /// No descriptors are left.
    pub fn share(&self) -> io::Result<File> {
        self.0.try_clone()
    }
}

/// Waits for the pod's lock (flock(2)), so that two commands on one pod come after one another.
///
/// # Errors
/// The pod is gone (also when it went while we waited), or its folder cannot be opened.
pub fn lock(root: &Root, uid: &PodUid, key: &PodKey) -> Result<PodLock, RecordError> {
    let folder = root.pod_lib(uid);
    let gone = || RecordError::NotFound { key: key.clone() };
    // The folder itself is locked: no file that would have to be made first.
    let file = match File::open(&folder) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(gone()),
        Err(e) => return Err(state("open", &folder)(e)),
    };
    flock(&file).map_err(state("lock", &folder))?;
    require_same(root, key, uid)?;
    Ok(PodLock(file))
}

/// The lock of a folder that no name leads to; none if somebody has it or the folder has no lasting part.
///
/// # Errors
/// The folder cannot be opened.
pub(crate) fn try_lock_nameless(root: &Root, uid: &PodUid) -> Result<Option<PodLock>, RecordError> {
    let folder = root.pod_lib(uid);
    // Only a passing part: made here, so that there is something to lock and to remove.
    make_private_directory(&folder).map_err(state("make", &folder))?;
    let file = File::open(&folder).map_err(state("open", &folder))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(PodLock(file))),
        Err(rustix::io::Errno::AGAIN) => Ok(None),
        Err(e) => Err(state("lock", &folder)(e.into())),
    }
}

/// Held while the set of pods changes, and while what pods share is changed.
#[derive(Debug)]
pub(crate) struct RootLock(#[expect(dead_code, reason = "held, not read: closing it is the release")] File);

pub(crate) fn lock_root(root: &Root) -> Result<RootLock, RecordError> {
    let file = File::open(&root.lib).map_err(state("open", &root.lib))?;
    flock(&file).map_err(state("lock", &root.lib))?;
    Ok(RootLock(file))
}

fn flock(file: &File) -> io::Result<()> {
    loop {
        match rustix::fs::flock(file, FlockOperation::LockExclusive) {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path()).open().unwrap();
        (dir, root)
    }

    fn new_pod(name: &str) -> NewPod {
        let mut pod = Pod::default();
        pod.metadata.name = Some(name.into());
        NewPod { pod, ..NewPod::default() }
    }

    fn key(name: &str) -> PodKey {
        PodKey { namespace: "default".into(), name: name.into() }
    }

    #[test]
    fn a_created_pod_is_found_listed_and_forgotten() {
        let (_dir, root) = root();
        let made = create(&root, vec![new_pod("b"), new_pod("a")], Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(
            list(&root, None).unwrap().iter().map(|(k, _)| k.to_string()).collect::<Vec<_>>(),
            ["default/a", "default/b"]
        );
        let (uid, record) = &made[0];
        assert_eq!(load(&root, uid).unwrap(), *record);
        assert_eq!(record.pod.metadata.uid.as_deref(), Some(uid.as_str()));
        for (uid, record) in &made {
            forget(&root, uid, &record.key()).unwrap();
        }
        assert_eq!(list(&root, None).unwrap(), []);
        assert!(!root.names().join("default").exists());
        assert_eq!(sweep(&root).unwrap(), []);
    }

    #[test]
    fn a_taken_name_is_refused_in_kubernetes_words_and_nothing_of_the_set_is_made() {
        let (_dir, root) = root();
        create(&root, vec![new_pod("a")], Timestamp::UNIX_EPOCH).unwrap();
        for set in [vec![new_pod("b"), new_pod("a")], vec![new_pod("b"), new_pod("b")]] {
            let error = create(&root, set, Timestamp::UNIX_EPOCH).unwrap_err().to_string();
            assert!(error.ends_with("already exists") && error.starts_with("pods \""), "{error}");
        }
        assert_eq!(list(&root, None).unwrap().len(), 1);
        assert_eq!(sweep(&root).unwrap(), []);
    }

    #[test]
    fn a_pod_with_only_the_beginning_of_a_name_gets_one() {
        let (_dir, root) = root();
        let mut new = new_pod("");
        new.pod.metadata.name = None;
        new.pod.metadata.generate_name = Some("web-".into());
        let made = create(&root, vec![new.clone(), new], Timestamp::UNIX_EPOCH).unwrap();
        let names: Vec<_> = made.iter().map(|(_, record)| record.key().name).collect();
        assert!(names.iter().all(|name| name.starts_with("web-") && name.len() == 9), "{names:?}");
        assert_ne!(names[0], names[1]);
    }

    #[test]
    fn names_that_would_walk_away_are_refused() {
        let (_dir, root) = root();
        for bad in ["", "..", "a/b", ".hidden"] {
            let error = create(&root, vec![new_pod(bad)], Timestamp::UNIX_EPOCH).unwrap_err();
            assert!(matches!(error, RecordError::Name { .. }), "{bad:?}: {error}");
        }
        for bad in ["", "..", "a/b", "-"] {
            assert_eq!(PodUid::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn what_a_killed_create_leaves_is_swept() {
        let (_dir, root) = root();
        create(&root, vec![new_pod("a")], Timestamp::UNIX_EPOCH).unwrap();
        let uid = PodUid::random().unwrap();
        write_record(&root, &uid, &PodRecord::new(new_pod("b"), &uid, Timestamp::UNIX_EPOCH)).unwrap();
        assert_eq!(sweep(&root).unwrap(), std::slice::from_ref(&uid));
        forget_nameless(&root, &uid).unwrap();
        assert_eq!(sweep(&root).unwrap(), []);
        assert!(find(&root, &key("a")).unwrap().is_some());
    }

    #[test]
    fn an_index_that_has_not_changed_for_a_while_is_known_not_to_have() {
        let (_dir, root) = root();
        create(&root, vec![new_pod("a")], Timestamp::UNIX_EPOCH).unwrap();
        let mut index = Index::default();
        assert!(index.may_have_changed(&root));
        // Just made: whether that was all is not known.
        assert!(index.may_have_changed(&root));
        let (then, namespace) = (SystemTime::now() - CLOCK_TICK * 2, root.names().join("default"));
        for folder in [&root.names(), &namespace] {
            File::open(folder).unwrap().set_modified(then).unwrap();
        }
        assert!(index.may_have_changed(&root));
        assert!(!index.may_have_changed(&root));
        create(&root, vec![new_pod("b")], Timestamp::UNIX_EPOCH).unwrap();
        assert!(index.may_have_changed(&root));
    }

    #[test]
    fn of_many_creators_of_one_name_one_wins() {
        let (_dir, root) = root();
        let wins = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| create(&root, vec![new_pod("a")], Timestamp::UNIX_EPOCH).is_ok()))
                .collect();
            tries.into_iter().filter_map(|t| t.join().ok()).filter(|won| *won).count()
        });
        assert_eq!(wins, 1);
        assert_eq!(sweep(&root).unwrap(), []);
    }

    #[test]
    fn a_lock_that_was_waited_for_finds_the_pod_gone() {
        let (_dir, root) = root();
        let (uid, record) = create(&root, vec![new_pod("a")], Timestamp::UNIX_EPOCH).unwrap().remove(0);
        let held = lock(&root, &uid, &record.key()).unwrap();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| lock(&root, &uid, &record.key()).map(drop));
            std::thread::sleep(std::time::Duration::from_millis(30));
            assert!(!waiter.is_finished(), "the second must wait for the first");
            forget(&root, &uid, &record.key()).unwrap();
            drop(held);
            let error = waiter.join().unwrap().unwrap_err().to_string();
            assert_eq!(error, "pods \"a\" not found");
        });
    }

    #[test]
    fn a_later_version_is_not_guessed_at() {
        let (_dir, root) = root();
        let (uid, mut record) = create(&root, vec![new_pod("a")], Timestamp::UNIX_EPOCH).unwrap().remove(0);
        record.version = RECORD_VERSION + 1;
        write_record(&root, &uid, &record).unwrap();
        assert!(matches!(load(&root, &uid).unwrap_err(), RecordError::Version { .. }));
    }
}
