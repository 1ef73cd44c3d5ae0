//! Writing: bytes of a container's output in, records out.

use super::{MAX_LINE_BYTES, Stream};
use crate::root::make_private_directory;
use jiff::Timestamp;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

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
    file: File,
    records: Vec<u8>,
    lost_bytes: u64,
}

impl LogWriter {
    /// Opens (or goes on with) the log at `path`; the file is for root only.
    ///
    /// # Errors
    /// The folder or file cannot be made.
    pub fn open(path: &Path) -> io::Result<LogWriter> {
        if let Some(folder) = path.parent() {
            make_private_directory(folder)?;
        }
        let file = OpenOptions::new().append(true).create(true).mode(0o640).open(path)?;
        Ok(LogWriter { file, records: Vec::new(), lost_bytes: 0 })
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
        if first { written } else { Ok(()) }
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
