//! A packed layer on its way in: a file that is appended to and hashed, and survives a broken connection or a
//! killed process, so that the next pull goes on where it ended.
//!
//! Whoever fetches a blob holds a lock on its file; a second pull of it waits, and then finds it done.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use crate::digest::Digest;
use crate::error::{Error, Result};

/// What broken pulls may keep in all; the oldest go first.
const MAX_KEPT: u64 = 8 << 30;
/// The file may have been replaced between opening and locking, each time by somebody who was done with it.
const MAX_REOPENS: usize = 100;

/// A blob that is (partly) here. Ours alone until dropped.
pub(crate) struct Partial {
    file: File,
    path: PathBuf,
    digest: Digest,
    size: u64,
    have: u64,
    hasher: Sha256,
    resumed: bool,
}

impl Partial {
    /// The blob's file in `dir`, with what is in it already. `wait` is called again and again while another pull has it.
    pub(crate) fn open(
        dir: &Path,
        digest: &Digest,
        size: u64,
        mut wait: impl FnMut() -> Result<()>,
    ) -> Result<Partial> {
        let path = dir.join(digest.hex());
        for _ in 0..MAX_REOPENS {
            let opened = File::options().create(true).truncate(false).read(true).write(true).open(&path);
            let file = opened.map_err(Error::io("open", &path))?;
            loop {
                match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                    Ok(()) => break,
                    Err(Errno::INTR) => {}
                    Err(Errno::WOULDBLOCK) => wait()?,
                    Err(errno) => return Err(Error::io("lock", &path)(errno.into())),
                }
            }
            let inode = file.metadata().map_err(Error::io("read", &path))?.ino();
            if fs::metadata(&path).is_ok_and(|there| there.ino() == inode) {
                let mut partial = Partial {
                    file,
                    path,
                    digest: digest.clone(),
                    size,
                    have: 0,
                    hasher: Sha256::new(),
                    resumed: false,
                };
                partial.take_stock()?;
                return Ok(partial);
            }
        }
        Err(Error::Busy { path })
    }

    /// Hashes what an earlier pull left.
    fn take_stock(&mut self) -> Result<()> {
        let mut buffer = vec![0_u8; 256 * 1024];
        loop {
            match self.file.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => {
                    self.hasher.update(&buffer[..read]);
                    self.have += read as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::io("read", &self.path)(e)),
            }
            if self.have > self.size {
                return self.restart();
            }
        }
        self.resumed = self.have > 0;
        Ok(())
    }

    /// Bytes that are here.
    pub(crate) fn have(&self) -> u64 {
        self.have
    }

    /// Whether some of them are from an earlier pull.
    pub(crate) fn resumed(&self) -> bool {
        self.resumed
    }

    /// Whether all are here, right or wrong.
    pub(crate) fn is_complete(&self) -> bool {
        self.have == self.size
    }

    /// Appends.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let have = self.have + bytes.len() as u64;
        if have > self.size {
            let what = format!("blob {}", self.digest);
            return Err(Error::SizeMismatch { what, expected: self.size, actual: have });
        }
        self.file.write_all(bytes).map_err(Error::io("write", &self.path))?;
        self.hasher.update(bytes);
        self.have = have;
        Ok(())
    }

    /// Throws away what is here.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.file.set_len(0).and_then(|()| self.file.rewind()).map_err(Error::io("write", &self.path))?;
        (self.have, self.resumed) = (0, false);
        self.hasher = Sha256::new();
        Ok(())
    }

    /// Whether it is the blob.
    pub(crate) fn check(&self) -> Result<()> {
        let what = || format!("blob {}", self.digest);
        if !self.is_complete() {
            return Err(Error::SizeMismatch { what: what(), expected: self.size, actual: self.have });
        }
        let actual = Digest::finish(self.hasher.clone());
        if actual == self.digest {
            Ok(())
        } else {
            Err(Error::DigestMismatch { what: what(), expected: self.digest.clone(), actual })
        }
    }

    /// Its bytes from the start.
    pub(crate) fn reader(&mut self) -> Result<&mut File> {
        self.file.seek(SeekFrom::Start(0)).map_err(Error::io("read", &self.path))?;
        Ok(&mut self.file)
    }

    /// Done with it, for good.
    pub(crate) fn remove(self) -> Result<()> {
        fs::remove_file(&self.path).map_err(Error::io("remove", &self.path))
    }
}

/// Makes the directory, and keeps what is in it within bounds. What somebody is fetching stays.
pub(crate) fn prepare(dir: &Path) -> Result<()> {
    trim(dir, MAX_KEPT)
}

fn trim(dir: &Path, most: u64) -> Result<()> {
    fs::create_dir_all(dir).map_err(Error::io("make directory", dir))?;
    let entries = fs::read_dir(dir).map_err(Error::io("read directory", dir))?;
    let mut kept: Vec<_> = entries
        .flatten()
        .filter_map(|entry| {
            let metadata = entry.metadata().ok()?;
            Some((metadata.mtime(), metadata.mtime_nsec(), metadata.len(), entry.path()))
        })
        .collect();
    kept.sort();
    let mut total: u64 = kept.iter().map(|(.., length, _)| length).sum();
    for (.., length, path) in kept {
        if total <= most {
            break;
        }
        // Gone since, or in use: both are fine.
        let Ok(file) = File::open(&path) else { continue };
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() && fs::remove_file(&path).is_ok() {
            total = total.saturating_sub(length);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy() -> Result<()> {
        Err(Error::Busy { path: "test".into() })
    }

    #[test]
    fn it_goes_on_where_it_ended() {
        let dir = tempfile::tempdir().unwrap();
        let digest = Digest::of(b"0123456789");
        let mut first = Partial::open(dir.path(), &digest, 10, busy).unwrap();
        first.write(b"0123").unwrap();
        assert!(first.check().is_err());
        assert!(Partial::open(dir.path(), &digest, 10, busy).is_err(), "it is locked");
        drop(first);
        let mut second = Partial::open(dir.path(), &digest, 10, busy).unwrap();
        assert_eq!((second.have(), second.resumed()), (4, true));
        second.write(b"456789").unwrap();
        second.check().unwrap();
        assert!(second.write(b"x").is_err());
        let mut text = String::new();
        second.reader().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "0123456789");
        second.remove().unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_too_long_or_wrong_is_thrown_away() {
        let dir = tempfile::tempdir().unwrap();
        let digest = Digest::of(b"abc");
        fs::write(dir.path().join(digest.hex()), b"far too long").unwrap();
        let mut partial = Partial::open(dir.path(), &digest, 3, busy).unwrap();
        assert_eq!(partial.have(), 0);
        partial.write(b"abd").unwrap();
        assert!(matches!(partial.check(), Err(Error::DigestMismatch { .. })));
        partial.restart().unwrap();
        partial.write(b"abc").unwrap();
        partial.check().unwrap();
    }

    #[test]
    fn the_oldest_go_first_and_what_is_in_use_stays() {
        let dir = tempfile::tempdir().unwrap();
        for (age, name) in [(300, "oldest"), (200, "middle"), (100, "newest")] {
            let file = File::create(dir.path().join(name)).unwrap();
            file.set_len(10).unwrap();
            file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(age)).unwrap();
        }
        let used = File::open(dir.path().join("oldest")).unwrap();
        flock(&used, FlockOperation::NonBlockingLockExclusive).unwrap();
        trim(dir.path(), 20).unwrap();
        let mut left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["newest", "oldest"]);
    }
}
