//! What keeps objects over a stop, a kill and a power cut: a file to which records are appended, a line each,
//! `CHECKSUM JSON`. A record is on the disk (fdatasync(2)) before anybody is told of it.
//!
//! What a kill or a power cut leaves at the end (part of a line, or lines that were not answered yet and do not fit
//! their checksums) is cut off at the next start, and kept beside in case it was not that.

use crate::error::{NodeError, file};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The version of what is written; a later one is refused.
const VERSION: u64 = 1;

/// A record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "do")]
pub(crate) enum Record {
    /// The first of a file.
    Begin {
        /// [`VERSION`] of the writer.
        version: u64,
    },
    /// The object is this from now on.
    Put { resource: String, namespace: String, name: String, object: Value },
    /// The object is gone.
    Delete { resource: String, namespace: String, name: String },
    /// Resource versions up to this one may have been given away.
    Reserve { up_to: u64 },
}

/// The file.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    /// Bytes that are whole records.
    length: u64,
    /// A write or its sync has failed: what is on the disk is not known, so that nothing may be promised any more.
    broken: bool,
}

impl Journal {
    /// Opens the journal at a path, making it if there is none, and reads what is in it.
    pub(crate) fn open(path: &Path) -> Result<(Journal, Vec<Record>), NodeError> {
        let mut open = OpenOptions::new();
        let mut file_handle = open
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(file("open", path))?;
        let mut bytes = Vec::new();
        file_handle.read_to_end(&mut bytes).map_err(file("read", path))?;
        let (records, length) = read_records(&bytes);
        if let Some(Record::Begin { version }) = records.first()
            && *version > VERSION
        {
            return Err(NodeError::Version { path: path.to_owned(), found: *version, known: VERSION });
        }
        let torn = &bytes[length..];
        if !torn.is_empty() {
            let beside = path.with_extension("torn");
            tracing::warn!(path = %path.display(), bytes = torn.len(), kept = %beside.display(), "the end of the journal is not whole");
            std::fs::write(&beside, torn).map_err(file("write", &beside))?;
        }
        let mut journal =
            Journal { path: path.to_owned(), file: file_handle, length: length as u64, broken: false };
        journal.cut().map_err(file("cut", path))?;
        if records.is_empty() {
            journal.append(&[Record::Begin { version: VERSION }]).map_err(file("write", path))?;
            sync_folder(path).map_err(file("write", path))?;
        }
        Ok((journal, records))
    }

    fn cut(&mut self) -> io::Result<()> {
        self.file.set_len(self.length)?;
        self.file.seek(SeekFrom::Start(self.length))?;
        Ok(())
    }

    /// Bytes of the file.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Appends records; they are on the disk when this returns.
    pub(crate) fn append(&mut self, records: &[Record]) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("an earlier write to the journal has failed: restart the node"));
        }
        let bytes = lines(records)?;
        let written = self.file.write_all(&bytes).and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => {
                self.length += bytes.len() as u64;
                Ok(())
            }
            Err(error) => {
                // A full disk: what was written of it goes again, and the next one may fit. Should that fail too,
                // nobody knows what a restart will find.
                self.broken = self.cut().and_then(|()| self.file.sync_data()).is_err();
                Err(error)
            }
        }
    }

    /// Replaces the file by one with only these records.
    pub(crate) fn rewrite(&mut self, records: &[Record]) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let mut bytes = lines(&[Record::Begin { version: VERSION }])?;
        bytes.extend(lines(records)?);
        let mut open = OpenOptions::new();
        let mut written = open.read(true).write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        written.write_all(&bytes)?;
        written.sync_all()?;
        std::fs::rename(&new, &self.path)?;
        sync_folder(&self.path)?;
        self.file = written;
        self.length = bytes.len() as u64;
        Ok(())
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

fn lines(records: &[Record]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for record in records {
        let text = serde_json::to_vec(record).map_err(io::Error::other)?;
        bytes.extend_from_slice(format!("{:016x} ", checksum(&text)).as_bytes());
        bytes.extend_from_slice(&text);
        bytes.push(b'\n');
    }
    Ok(bytes)
}

/// The whole records at the beginning, and how many bytes they are.
fn read_records(bytes: &[u8]) -> (Vec<Record>, usize) {
    let (mut records, mut at) = (Vec::new(), 0);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let Some(record) = read_record(line) else { break };
        records.push(record);
        at += line.len();
    }
    (records, at)
}

fn read_record(line: &[u8]) -> Option<Record> {
    let line = line.strip_suffix(b"\n")?;
    let (sum, text) = (line.get(..16)?, line.get(17..)?);
    let sum = u64::from_str_radix(std::str::from_utf8(sum).ok()?, 16).ok()?;
    (sum == checksum(text)).then(|| serde_json::from_slice(text).ok())?
}

/// FNV-1a: against a torn write, not against an enemy, who could write the whole file.
fn checksum(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn put(name: &str) -> Record {
        Record::Put {
            resource: "pods".into(),
            namespace: "default".into(),
            name: name.into(),
            object: json!({"metadata": {"name": name, "text": "line\nbreak"}}),
        }
    }

    /// Wherever the file ends, what stood whole before is read, and the journal can be gone on with.
    #[test]
    fn a_journal_that_was_cut_anywhere_is_its_whole_records() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let (mut journal, read) = Journal::open(&path).unwrap();
        assert_eq!(read, []);
        let mut ends = vec![journal.length()];
        for name in ["a", "b", "c"] {
            journal.append(&[put(name)]).unwrap();
            ends.push(journal.length());
        }
        let whole = std::fs::read(&path).unwrap();
        for length in 0..=whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let (mut journal, read) = Journal::open(&path).unwrap();
            let expected = ends.iter().filter(|end| **end as usize <= length).count();
            assert_eq!(read.len(), expected, "cut at {length}");
            journal.append(&[put("later")]).unwrap();
            let (_, read) = Journal::open(&path).unwrap();
            assert_eq!(read.last(), Some(&put("later")));
            assert_eq!(read.len(), expected.max(1) + 1);
        }
    }

    #[test]
    fn a_byte_that_changed_is_noticed_and_what_follows_is_kept_beside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let (mut journal, _) = Journal::open(&path).unwrap();
        let begin = journal.length() as usize;
        journal.append(&[put("a"), put("b")]).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[begin + 40] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let (_, read) = Journal::open(&path).unwrap();
        assert_eq!(read.len(), 1);
        assert_eq!(std::fs::read(path.with_extension("torn")).unwrap(), &bytes[begin..]);
    }

    #[test]
    fn rewriting_keeps_what_is_given_and_a_later_version_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let (mut journal, _) = Journal::open(&path).unwrap();
        (0..100).for_each(|_| journal.append(&[put("a")]).unwrap());
        journal.rewrite(&[put("b")]).unwrap();
        journal.append(&[put("c")]).unwrap();
        drop(journal);
        let (mut journal, read) = Journal::open(&path).unwrap();
        assert_eq!(read[1..], [put("b"), put("c")]);
        let later = lines(&[Record::Begin { version: VERSION + 1 }]).unwrap();
        journal.rewrite(&[]).unwrap();
        std::fs::write(&path, later).unwrap();
        assert!(matches!(Journal::open(&path), Err(NodeError::Version { .. })));
    }
}
