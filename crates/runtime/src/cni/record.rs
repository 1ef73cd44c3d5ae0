//! What was begun for a sandbox, on disk: `<lib>/networks/<sandbox>/network.json`, there before the first plugin is
//! called and gone after the last one has given everything back. Whoever works on it holds the folder's lock.

use super::{Configuration, NetworkError};
use crate::atomic_file::{self, Survives};
use crate::sandbox::mark_of_id;
use crate::state::{Dirs, check_id};
use manifest::cri::{PodSandboxMetadata, PortMapping};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The version of what is on disk; a later one is refused, not guessed at.
const VERSION: u32 = 1;
const FILE: &str = "network.json";
/// How long is waited for another process that works on the same network.
const LOCK_TIMEOUT: Duration = Duration::from_secs(25);

/// What DEL and CHECK have to be told as ADD was: the configuration may be another by then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    pub(super) version: u32,
    pub(super) sandbox: String,
    pub(super) pod: PodSandboxMetadata,
    pub(super) configuration: Configuration,
    pub(super) plugins: Vec<PathBuf>,
    pub(super) port_mappings: Vec<PortMapping>,
    /// Where the namespace was when the plugins were told to ADD.
    pub(super) namespace: String,
    /// The last plugin's; none until all have done their work.
    pub(super) result: Option<Value>,
}

impl Record {
    pub(super) fn new(
        sandbox: &str,
        pod: PodSandboxMetadata,
        configuration: Configuration,
        plugins: Vec<PathBuf>,
        port_mappings: Vec<PortMapping>,
        namespace: &str,
    ) -> Record {
        let (sandbox, namespace) = (sandbox.to_owned(), namespace.to_owned());
        Record {
            version: VERSION,
            sandbox,
            pod,
            configuration,
            plugins,
            port_mappings,
            namespace,
            result: None,
        }
    }
}

pub(super) fn folder_of(dirs: &Dirs, sandbox: &str) -> PathBuf {
    dirs.networks().join(sandbox)
}

/// Whether anything is on record of a sandbox's network.
#[must_use]
pub fn is_attached(dirs: &Dirs, sandbox: &str) -> bool {
    check_id("sandbox", sandbox).is_ok() && folder_of(dirs, sandbox).exists()
}

/// The sandboxes of which there is a record.
///
/// # Errors
/// The folder cannot be read.
pub fn list(dirs: &Dirs) -> Result<Vec<String>, NetworkError> {
    list_beginning(dirs, "")
}

/// Those whose ids have this mark ([`Sandbox::new_id`](crate::Sandbox::new_id)); also of a boot before this one.
///
/// # Errors
/// The folder cannot be read.
pub fn list_marked(dirs: &Dirs, mark: u64) -> Result<Vec<String>, NetworkError> {
    list_beginning(dirs, &mark_of_id(mark))
}

fn list_beginning(dirs: &Dirs, begins: &str) -> Result<Vec<String>, NetworkError> {
    let folder = dirs.networks();
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(NetworkError::record("read", &folder)(error)),
    };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut ids: Vec<String> =
        names.filter(|name| name.starts_with(begins) && check_id("sandbox", name).is_ok()).collect();
    ids.sort();
    Ok(ids)
}

/// The one who works on a sandbox's network, until it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) folder: PathBuf,
    _lock: File,
}

impl Held {
    /// Makes the folder and takes its lock.
    pub(super) fn make(dirs: &Dirs, sandbox: &str) -> Result<Held, NetworkError> {
        let folder = folder_of(dirs, sandbox);
        std::os::unix::fs::DirBuilderExt::mode(std::fs::DirBuilder::new().recursive(true), 0o700)
            .create(&folder)
            .map_err(NetworkError::record("make", &folder))?;
        Held::take(folder.clone(), sandbox)?
            .ok_or_else(|| NetworkError::record("lock", &folder)(ErrorKind::NotFound.into()))
    }

    /// Takes the lock of a folder that is there.
    pub(super) fn find(dirs: &Dirs, sandbox: &str) -> Result<Option<Held>, NetworkError> {
        Held::take(folder_of(dirs, sandbox), sandbox)
    }

    fn take(folder: PathBuf, sandbox: &str) -> Result<Option<Held>, NetworkError> {
        let lock = match File::open(&folder) {
            Ok(lock) => lock,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(NetworkError::record("open", &folder)(error)),
        };
        let until = Instant::now() + LOCK_TIMEOUT;
        loop {
            match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Some(Held { folder, _lock: lock })),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) if Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(rustix::io::Errno::AGAIN) => {
                    return Err(NetworkError::Busy { sandbox: sandbox.to_owned() });
                }
                Err(errno) => return Err(NetworkError::record("lock", &folder)(errno.into())),
            }
        }
    }

    /// What is on record; none where whoever began was killed before it was.
    pub(super) fn read(&self) -> Result<Option<Record>, NetworkError> {
        read(&self.folder)
    }

    /// Old or new, whenever we die; and on the disk, since plugins' books are there too.
    pub(super) fn write(&self, record: &Record) -> Result<(), NetworkError> {
        let path = self.folder.join(FILE);
        atomic_file::write_json(&path, record, Survives::PowerCut)
            .map_err(NetworkError::record("write", &path))
    }

    /// Everything is given back.
    pub(super) fn forget(self) -> Result<(), NetworkError> {
        match std::fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(NetworkError::record("remove", &self.folder)(error))
            }
            _ => Ok(()),
        }
    }
}

fn read(folder: &Path) -> Result<Option<Record>, NetworkError> {
    let path = folder.join(FILE);
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(NetworkError::record("read", &path)(error)),
    };
    let record: Record =
        serde_json::from_slice(&text).map_err(|error| NetworkError::record("read", &path)(error.into()))?;
    match record.version > VERSION {
        true => {
            let text =
                format!("it has version {}; this rhizome reads versions up to {VERSION}", record.version);
            Err(NetworkError::record("read", &path)(std::io::Error::new(ErrorKind::Unsupported, text)))
        }
        false => Ok(Some(record)),
    }
}
