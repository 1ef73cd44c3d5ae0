//! Writing: bytes of a container's output in, records out.

use super::{MAX_FILE_BYTES, MAX_FILES, MAX_LINE_BYTES, Stream, rotated, rotated_path, runs};
use crate::root::make_private_directory;
use jiff::Timestamp;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Appends the records of `bytes`, which came at `now`, to `out`.
///
/// What has no newline yet is written at once as a part (as conmon does, not containerd, which waits): a prompt is seen
/// when it is printed. Whoever reads joins the parts up to the next whole line.
fn append_records(out: &mut Vec<u8>, now: Timestamp, stream: Stream, bytes: &[u8]) {
    let time = now.strftime("%Y-%m-%dT%H:%M:%S.%9fZ").to_string();
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        let (content, whole) = match line.split_last() {
            Some((b'\n', content)) => (content, true),
            _ => (line, false),
        };
        let mut pieces = content.chunks(MAX_LINE_BYTES).peekable();
        // An empty line has no piece and is a record all the same.
        let mut next = Some(pieces.next().unwrap_or_default());
        while let Some(piece) = next {
            next = pieces.next();
            let tag = if whole && next.is_none() { b" F " } else { b" P " };
            out.extend_from_slice(time.as_bytes());
            out.push(b' ');
            out.extend_from_slice(stream.as_str().as_bytes());
            out.extend_from_slice(tag);
            out.extend_from_slice(piece);
            out.push(b'\n');
        }
    }
}

/// The log of one run of a container, being written.
#[derive(Debug)]
pub struct LogWriter {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// [`MAX_FILE_BYTES`]
    pub(super) max_bytes: u64,
    records: Vec<u8>,
    lost_bytes: u64,
}

impl LogWriter {
    /// Opens (or goes on with) the log at `path`; the file is for root only. The logs of runs before the one before this
    /// go.
    ///
    /// # Errors
    /// The folder or file cannot be made.
    pub fn open(path: &Path) -> io::Result<LogWriter> {
        if let Some(folder) = path.parent() {
            make_private_directory(folder)?;
        }
        let file = open(path)?;
        forget_older_runs(path);
        let bytes = file.metadata()?.len();
        let path = path.to_owned();
        Ok(LogWriter { path, file, bytes, max_bytes: MAX_FILE_BYTES, records: Vec::new(), lost_bytes: 0 })
    }

    /// Writes what has come from a container. A log that cannot be written (a full disk) loses it rather than stops
    /// the container; the first loss is reported.
    ///
    /// # Errors
    /// Of the first write that fails.
    pub fn write(&mut self, now: Timestamp, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        self.records.clear();
        append_records(&mut self.records, now, stream, bytes);
        let written = self.file.write_all(&self.records);
        let first = self.lost_bytes == 0;
        if written.is_err() {
            self.lost_bytes = self.lost_bytes.saturating_add(bytes.len() as u64);
        }
        self.bytes = self.bytes.saturating_add(self.records.len() as u64);
        if self.bytes >= self.max_bytes
            && let Err(error) = self.rotate()
        {
            // It grows on, and rotation is tried again when as much again is written.
            tracing::error!(%error, path = %self.path.display(), "a log cannot be rotated");
            self.bytes = 0;
        }
        if first { written } else { Ok(()) }
    }

    /// Renames the file, begins another, and removes the oldest. Readers find the others by their numbers.
    fn rotate(&mut self) -> io::Result<()> {
        let numbers = rotated(&self.path)?;
        let number = numbers.last().map_or(1, |last| last + 1);
        // What cannot be removed is tried again at the next rotation.
        for old in numbers.iter().rev().skip(MAX_FILES - 2) {
            let _ = std::fs::remove_file(rotated_path(&self.path, *old));
        }
        std::fs::rename(&self.path, rotated_path(&self.path, number))?;
        self.file = open(&self.path)?;
        self.bytes = 0;
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

/// Of a container that is started again and again only the last two runs are kept. What cannot be removed is tried again
/// at the next start.
fn forget_older_runs(path: &Path) {
    let run = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u32>().ok()).unwrap_or(0);
    for old in runs(path).unwrap_or_default().into_iter().filter(|old| old.saturating_add(1) < run) {
        let old = path.with_file_name(format!("{old}.log"));
        for number in rotated(&old).unwrap_or_default() {
            let _ = std::fs::remove_file(rotated_path(&old, number));
        }
        let _ = std::fs::remove_file(old);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(chunks: &[(Stream, &str)], expected: Expect) {
        let mut out = Vec::new();
        for (stream, bytes) in chunks {
            append_records(&mut out, Timestamp::UNIX_EPOCH, *stream, bytes.as_bytes());
        }
        expected.assert_eq(&String::from_utf8(out).unwrap());
    }

    #[test]
    fn lines_parts_and_empty_lines() {
        use Stream::{Stderr, Stdout};
        check(
            &[(Stdout, "one\n\ntwo"), (Stderr, "err\n"), (Stdout, ""), (Stdout, " more\n")],
            expect![[r#"
                1970-01-01T00:00:00.000000000Z stdout F one
                1970-01-01T00:00:00.000000000Z stdout F 
                1970-01-01T00:00:00.000000000Z stdout P two
                1970-01-01T00:00:00.000000000Z stderr F err
                1970-01-01T00:00:00.000000000Z stdout F  more
            "#]],
        );
    }

    #[test]
    fn the_last_two_runs_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        for run in [0, 1, 2, 10] {
            let path = dir.path().join(format!("{run}.log"));
            LogWriter::open(&path).unwrap();
            File::create(rotated_path(&path, 1)).unwrap();
        }
        let mut names: Vec<_> =
            std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["10.log", "10.log.1"]);
        LogWriter::open(&dir.path().join("11.log")).unwrap();
        assert_eq!(runs(&dir.path().join("11.log")).unwrap(), [10, 11]);
    }

    #[test]
    fn long_lines_are_split_and_nothing_is_lost() {
        for (length, records) in
            [(MAX_LINE_BYTES, "F"), (MAX_LINE_BYTES + 1, "PF"), (3 * MAX_LINE_BYTES, "PPF")]
        {
            let mut out = Vec::new();
            append_records(
                &mut out,
                Timestamp::UNIX_EPOCH,
                Stream::Stdout,
                format!("{}\n", "x".repeat(length)).as_bytes(),
            );
            let text = String::from_utf8(out).unwrap();
            let tags: String = text.lines().map(|line| line.split(' ').nth(2).unwrap()).collect();
            assert_eq!(tags, records);
            let content: usize = text.lines().map(|line| line.splitn(4, ' ').nth(3).unwrap().len()).sum();
            assert_eq!(content, length);
        }
    }
}
