//! Reading: one file or several runs of one container, lines put together from their parts.

use super::{MAX_LINE_BYTES, Stream};
use jiff::Timestamp;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A record, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When it came.
    pub time: Timestamp,
    /// From which output.
    pub stream: Stream,
    /// Whether the line ends here.
    pub whole: bool,
    /// The content, without a newline; any bytes.
    pub content: Vec<u8>,
}

/// Parses one record (without its newline); `None` for what is none.
pub fn parse_line(line: &[u8]) -> Option<LogLine> {
    let mut fields = line.splitn(4, |b| *b == b' ');
    let time = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let stream = match fields.next()? {
        b"stdout" => Stream::Stdout,
        b"stderr" => Stream::Stderr,
        _ => return None,
    };
    // Tags may be several, joined by colons; the first says whether the line is whole.
    let whole = match fields.next()?.first()? {
        b'F' => true,
        b'P' => false,
        _ => return None,
    };
    Some(LogLine { time, stream, whole, content: fields.next().unwrap_or_default().to_vec() })
}

/// The most that is held of a record that has no end: a record is shorter, so that this is no record.
const MAX_RECORD_BYTES: usize = MAX_LINE_BYTES + 128;
const CHUNK_BYTES: usize = 64 * 1024;

/// Reads the records of one file as they come. The file need not be there yet; where another takes its place (rotation)
/// the rest of the old one is read first.
#[derive(Debug)]
pub struct LogReader {
    path: PathBuf,
    file: Option<File>,
    /// The beginning of a record whose end is not written yet.
    rest: Vec<u8>,
}

impl LogReader {
    /// Of the log at `path`.
    pub fn new(path: PathBuf) -> LogReader {
        LogReader { path, file: None, rest: Vec::new() }
    }

    /// The log's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next records, at most about 64 KiB of them; empty if there are none now. What is no record is left out.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(&mut self) -> io::Result<Vec<LogLine>> {
        let mut chunk = vec![0; CHUNK_BYTES];
        // Twice at most: the end of one file, then the one that took its place.
        for _ in 0..2 {
            if self.file.is_none() {
                self.file = match File::open(&self.path) {
                    Ok(file) => Some(file),
                    Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
                    Err(e) => return Err(e),
                };
            }
            let Some(file) = &mut self.file else { break };
            let count = read_some(file, &mut chunk)?;
            if count > 0 {
                return Ok(self.take(&chunk[..count]));
            }
            if !replaced(file, &self.path)? {
                break;
            }
            self.file = None;
            self.rest.clear();
        }
        Ok(Vec::new())
    }

    fn take(&mut self, bytes: &[u8]) -> Vec<LogLine> {
        let mut records = Vec::new();
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            self.rest.extend_from_slice(piece);
            if let Some(record) = self.rest.strip_suffix(b"\n") {
                records.extend(parse_line(record));
                self.rest.clear();
            } else if self.rest.len() > MAX_RECORD_BYTES {
                self.rest.clear();
            }
        }
        records
    }
}

fn read_some(file: &mut File, chunk: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(chunk) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Whether another file is at the path now.
fn replaced(file: &File, path: &Path) -> io::Result<bool> {
    let open = file.metadata()?;
    match path.metadata() {
        Ok(now) => Ok((now.dev(), now.ino()) != (open.dev(), open.ino())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::super::LogWriter;
    use super::*;

    fn text(lines: &[LogLine]) -> String {
        lines
            .iter()
            .map(|l| format!("{}{}", String::from_utf8_lossy(&l.content), if l.whole { "\n" } else { "" }))
            .collect()
    }

    #[test]
    fn what_is_written_is_read_back_and_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("main/0.log");
        let mut reader = LogReader::new(path.clone());
        assert_eq!(reader.read().unwrap(), []);
        let mut writer = LogWriter::open(&path).unwrap();
        writer.write(Timestamp::UNIX_EPOCH, Stream::Stdout, b"a b  c\npart").unwrap();
        assert_eq!(text(&reader.read().unwrap()), "a b  c\npart");
        writer.write(Timestamp::UNIX_EPOCH, Stream::Stdout, b"\n\xff\n").unwrap();
        let lines = reader.read().unwrap();
        assert_eq!(lines[1].content, b"\xff");
        // Rotation: the rest of the old file, then the new one.
        writer.write(Timestamp::UNIX_EPOCH, Stream::Stderr, b"last\n").unwrap();
        std::fs::rename(&path, dir.path().join("old")).unwrap();
        LogWriter::open(&path).unwrap().write(Timestamp::UNIX_EPOCH, Stream::Stdout, b"first\n").unwrap();
        assert_eq!(text(&reader.read().unwrap()), "last\n");
        assert_eq!(text(&reader.read().unwrap()), "first\n");
        assert_eq!(reader.read().unwrap(), []);
    }

    #[test]
    fn what_is_no_record_is_left_out_and_bounded() {
        for bad in [
            &b""[..],
            b"x",
            b"now stdout F x",
            b"1970-01-01T00:00:00Z stdin F x",
            b"1970-01-01T00:00:00Z stdout X x",
        ] {
            assert_eq!(parse_line(bad), None, "{}", String::from_utf8_lossy(bad));
        }
        assert!(parse_line(b"1970-01-01T00:00:00Z stdout F").is_some());
        assert!(!parse_line(b"1970-01-01T00:00:00Z stderr P:x y z").unwrap().whole);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(
            &path,
            [b"x".repeat(1 << 20), b"\n1970-01-01T00:00:00Z stdout F ok\n".to_vec()].concat(),
        )
        .unwrap();
        let mut reader = LogReader::new(path);
        let mut seen = Vec::new();
        for _ in 0..32 {
            seen.extend(reader.read().unwrap());
            assert!(reader.rest.len() <= MAX_RECORD_BYTES + CHUNK_BYTES);
        }
        assert_eq!(text(&seen), "ok\n");
    }
}
