//! Files that are either the old or the new version, whenever the process or the machine stops: written beside,
//! then renamed (rename(2) is atomic); with fsync(2) before and after where the content must survive a power cut. Faults:
//! `file.write`, `file.rename`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What a file must survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survives {
    /// The writing process: for `<run>`, which a reboot empties anyhow.
    Process,
    /// A power cut.
    PowerCut,
}

/// Replaces `path` by a file with these bytes, mode 0600.
pub fn write(path: &Path, bytes: &[u8], survives: Survives) -> io::Result<()> {
    let temporary = temporary_beside(path)?;
    let written = write_new(&temporary, bytes, survives).and_then(|()| {
        crate::fault::point("file.rename")?;
        std::fs::rename(&temporary, path)
    });
    if written.is_err() {
        // The error that matters is the first one; a leftover goes with the folder.
        let _ = std::fs::remove_file(&temporary);
    }
    written?;
    match survives {
        Survives::Process => Ok(()),
        Survives::PowerCut => sync_parent(path),
    }
}

/// Replaces `path` by `value` as JSON.
pub fn write_json<T: serde::Serialize>(path: &Path, value: &T, survives: Survives) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(value).map_err(io::Error::other)?;
    bytes.push(b'\n');
    write(path, &bytes, survives)
}

/// Reads JSON; a missing file is `None`, one that does not parse is `InvalidData`.
pub fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

/// fsync(2) of the directory that holds `path`: makes a new, renamed or removed name last.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn temporary_beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    // Writers of one file hold a lock against each other; the pid is for a leftover of a killed one.
    temporary.push(format!(".{}", std::process::id()));
    Ok(path.with_file_name(temporary))
}

fn write_new(temporary: &Path, bytes: &[u8], survives: Survives) -> io::Result<()> {
    crate::fault::point("file.write")?;
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(temporary)?;
    file.write_all(bytes)?;
    match survives {
        Survives::Process => Ok(()),
        Survives::PowerCut => file.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("status.json");
        write_json(&path, &vec![1, 2, 3], Survives::PowerCut).unwrap();
        write_json(&path, &vec![4], Survives::Process).unwrap();
        assert_eq!(read_json::<Vec<u8>>(&path).unwrap(), Some(vec![4]));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn missing_is_none_and_broken_is_invalid_data() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.json");
        assert_eq!(read_json::<Vec<u8>>(&path).unwrap(), None);
        std::fs::write(&path, "{").unwrap();
        assert_eq!(read_json::<Vec<u8>>(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
