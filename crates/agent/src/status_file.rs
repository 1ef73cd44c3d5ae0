//! `status.json`: the state of a pod's life as its supervisor last wrote it, before it told anybody.

use crate::lifecycle::PodState;
use crate::record::PodUid;
use crate::root::Root;
use runtime::atomic_file::{self, Survives};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;

/// The version that is written; a later one is refused, an earlier one is read. 1 knew main containers only, by name.
pub const STATUS_VERSION: u32 = 2;

/// A mount that a container made below a hostPath with Bidirectional propagation and left on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeftMount {
    /// Where it is, on the host.
    pub mount_point: PathBuf,
    /// The pod's volume below which it is.
    pub volume: String,
    /// Its file system type.
    pub fs_type: String,
    /// Its source.
    pub source: String,
}

impl LeftMount {
    /// The command that detaches it: private first, so that nothing is torn out of another place.
    pub fn command(&self) -> String {
        let path = mount_table::shell_word(&self.mount_point);
        format!("mount --make-rprivate {path} && umount {path}")
    }
}

/// The file's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusFile {
    /// [`STATUS_VERSION`] of the writer.
    pub version: u32,
    /// The boot that it is of: uptimes of another boot mean nothing.
    pub boot_id: String,
    /// The life.
    pub state: PodState,
    /// The sandbox's id, while there is one.
    pub sandbox_id: Option<String>,
    /// What containers have left on the host so far.
    pub left_mounts: Vec<LeftMount>,
}

impl StatusFile {
    /// A file of this boot.
    ///
    /// # Errors
    /// The boot's id cannot be read.
    pub fn new(state: PodState) -> io::Result<StatusFile> {
        let boot_id = read_boot_id()?;
        Ok(StatusFile { version: STATUS_VERSION, boot_id, state, sandbox_id: None, left_mounts: Vec::new() })
    }

    fn path(root: &Root, uid: &PodUid) -> PathBuf {
        root.pod_run(uid).join("status.json")
    }

    /// Where the last state is kept over a reboot.
    fn lasting_path(root: &Root, uid: &PodUid) -> PathBuf {
        root.pod_lib(uid).join("status.json")
    }

    /// Writes it; with `lasting` also where a reboot leaves it: at the begin and at the end of a life, so that
    /// the steps between cost no disk.
    ///
    /// # Errors
    /// The folder is gone or full.
    pub fn write(&self, root: &Root, uid: &PodUid, lasting: bool) -> io::Result<()> {
        atomic_file::write_json(&StatusFile::path(root, uid), self, Survives::Process)?;
        if lasting {
            atomic_file::write_json(&StatusFile::lasting_path(root, uid), self, Survives::Process)?;
        }
        Ok(())
    }

    /// Reads it: this boot's, else the one kept over a reboot; `None` where the pod was never begun.
    ///
    /// # Errors
    /// It cannot be read, does not parse, or is of a later version.
    pub fn read(root: &Root, uid: &PodUid) -> io::Result<Option<StatusFile>> {
        for path in [StatusFile::path(root, uid), StatusFile::lasting_path(root, uid)] {
            if let Some(file) = atomic_file::read_json::<StatusFile>(&path)? {
                if file.version > STATUS_VERSION {
                    let text = format!("{} has version {}", path.display(), file.version);
                    return Err(io::Error::new(io::ErrorKind::Unsupported, text));
                }
                return Ok(Some(file));
            }
        }
        Ok(None)
    }
}

/// The id of this boot.
///
/// # Errors
/// `/proc` is not there.
pub fn read_boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::{Rules, Stage};

    #[test]
    fn the_last_state_outlives_the_boot() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path()).open().unwrap();
        let uid = PodUid::random().unwrap();
        assert_eq!(StatusFile::read(&root, &uid).unwrap(), None);
        for folder in [root.pod_run(&uid), root.pod_lib(&uid)] {
            std::fs::create_dir_all(folder).unwrap();
        }
        let mut file = StatusFile::new(PodState::new(Rules::default())).unwrap();
        file.write(&root, &uid, false).unwrap();
        assert_eq!(StatusFile::read(&root, &uid).unwrap().as_ref(), Some(&file));
        file.state.stage = Stage::Done;
        file.write(&root, &uid, true).unwrap();
        std::fs::remove_dir_all(root.pod_run(&uid)).unwrap();
        assert_eq!(StatusFile::read(&root, &uid).unwrap(), Some(file));
    }

    /// What a supervisor of version 1 wrote of a pod that it was stopping.
    #[test]
    fn what_version_1_wrote_is_read() {
        let old = r#"{"version":1,"bootId":"b","state":{"rules":{"podName":"p","podNamespace":"default","podUid":"u",
            "restartPolicy":"Always","graceSeconds":30,"containers":["main"]},"goal":{"want":"stop","killAt":9},
            "stage":{"at":"containers"},"startedAt":"2026-11-23T08:52:31Z","sandboxReady":true,"containers":[{
            "name":"main","made":1,"id":"i","image":"busybox","imageId":"d","current":{"is":"running",
            "startedAt":"2026-11-23T08:52:31Z","since":5,"stop_sent":true,"kill_sent":false},"last":null,
            "backOff":{"delayMs":0,"triedAt":0},"createBackOff":{"delayMs":0,"triedAt":0}}],
            "conditions":[{"kind":"Ready","holds":true,"since":"2026-11-23T08:52:31Z"}],
            "events":[{"warning":false,"reason":"Created","message":"m","hint":null,"container":"main",
            "first":"2026-11-23T08:52:31Z","last":"2026-11-23T08:52:31Z","count":1}]},"sandboxId":"s","leftMounts":[]}"#;
        let file: StatusFile = serde_json::from_str(old).unwrap();
        assert!(file.state.containers[0].running() && file.state.is_initialized());
        assert_eq!(file.state.phase(), crate::lifecycle::Phase::Running);
    }

    #[test]
    fn commands_quote_what_a_shell_would_split() {
        let left = |path: &str| LeftMount {
            mount_point: path.into(),
            volume: "v".into(),
            fs_type: "tmpfs".into(),
            source: "tmpfs".into(),
        };
        assert_eq!(left("/mnt/a").command(), "mount --make-rprivate /mnt/a && umount /mnt/a");
        assert!(left("/mnt/a b'c").command().ends_with(r"umount '/mnt/a b'\''c'"));
    }
}
