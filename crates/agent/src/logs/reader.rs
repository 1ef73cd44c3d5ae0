//! Reading: one file or several runs of one container, lines put together from their parts.

use super::{MAX_LINE_BYTES, Stream, rotated, rotated_path};
use jiff::Timestamp;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
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
/// How often files may be exchanged under us while we look for the next one.
const TRIES_MAX: u32 = 8;

/// Reads the records of one run as they come: what was rotated, oldest first, then the file that is written. That need
/// not be there yet; where another takes its place the rest of the old one is read first.
#[derive(Debug)]
pub struct LogReader {
    path: PathBuf,
    file: Option<File>,
    /// Rotated files up to this number were read, or were there before the file that is being read.
    after: u64,
    /// The beginning of a record whose end is not written yet.
    rest: Vec<u8>,
}

impl LogReader {
    /// Of the log at `path`, from its beginning.
    pub fn new(path: PathBuf) -> LogReader {
        LogReader { path, file: None, after: 0, rest: Vec::new() }
    }

    /// Of the log at `path`, from its last `lines` lines on. A line without an end counts.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn last(path: PathBuf, lines: u64) -> io::Result<LogReader> {
        let mut numbers = rotated(&path)?;
        let mut tail = Tail { lines, seen: 0 };
        let newest = File::open(&path);
        let newest = if is_missing(&newest) { None } else { Some((newest?, numbers.last().copied())) };
        let older = std::iter::from_fn(|| {
            let number = numbers.pop()?;
            let file = File::open(rotated_path(&path, number));
            Some(file.map(|file| (file, Some(number))))
        });
        for file in newest.map(Ok).into_iter().chain(older) {
            let (mut file, after) = match file {
                // Removed meanwhile: it was too old.
                Err(e) if e.kind() == io::ErrorKind::NotFound => break,
                file => file?,
            };
            if let Some(offset) = tail.offset(&file)? {
                file.seek(SeekFrom::Start(offset))?;
                return Ok(LogReader { path, file: Some(file), after: after.unwrap_or(0), rest: Vec::new() });
            }
        }
        Ok(LogReader::new(path))
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
        loop {
            if let Some(file) = &mut self.file {
                let count = read_some(file, &mut chunk)?;
                if count > 0 {
                    let records = self.take(&chunk[..count]);
                    // A piece without a record says nothing of what comes after it.
                    if records.is_empty() {
                        continue;
                    }
                    return Ok(records);
                }
            }
            // Each turn goes on to a later file, so that this ends.
            match self.next_file()? {
                Some(next) => (self.file, self.rest) = (Some(next), Vec::new()),
                None => return Ok(Vec::new()),
            }
        }
    }

    /// The file after the one that is being read, if there is one.
    fn next_file(&mut self) -> io::Result<Option<File>> {
        let ours = self.file.as_ref().map(identity).transpose()?;
        if ours.is_some() && identity_at(&self.path)?.is_none_or(|now| Some(now) == ours) {
            return Ok(None);
        }
        for _ in 0..TRIES_MAX {
            let numbers = rotated(&self.path)?;
            let newest = numbers.last().copied().unwrap_or(0);
            let mut next = None;
            let after = self.after;
            for number in numbers.into_iter().filter(|number| *number > after) {
                let path = rotated_path(&self.path, number);
                match identity_at(&path)? {
                    Some(is) if Some(is) != ours => {
                        next = Some((path, number));
                        break;
                    }
                    // That is ours, which was renamed; or it has just gone.
                    _ => self.after = number,
                }
            }
            let (path, number) = next.unwrap_or_else(|| (self.path.clone(), newest));
            let file = File::open(&path);
            if is_missing(&file) {
                if path == self.path {
                    return Ok(None);
                }
                continue;
            }
            let file = file?;
            // Renamed between the look and here: then it comes under its number.
            if path == self.path && rotated(&self.path)?.last().copied().unwrap_or(0) != newest {
                continue;
            }
            self.after = number;
            return Ok(if Some(identity(&file)?) == ours { None } else { Some(file) });
        }
        Ok(None)
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

/// Which file it is, whatever it is called.
fn identity(file: &File) -> io::Result<(u64, u64)> {
    file.metadata().map(|is| (is.dev(), is.ino()))
}

fn identity_at(path: &Path) -> io::Result<Option<(u64, u64)>> {
    match path.metadata() {
        Ok(is) => Ok(Some((is.dev(), is.ino()))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn is_missing(opened: &io::Result<File>) -> bool {
    opened.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
}

/// Counts lines from the end of the log, over its files from the newest to the oldest.
struct Tail {
    lines: u64,
    /// Lines of which the end was seen.
    seen: u64,
}

impl Tail {
    /// Where in this file the last lines begin; none if they begin in one before it.
    fn offset(&mut self, file: &File) -> io::Result<Option<u64>> {
        let mut at = file.metadata()?.len();
        if self.lines == 0 {
            return Ok(Some(at));
        }
        // A record whose beginning stands before `at`, with its newline, and where it ends.
        let (mut carry, mut carry_ends) = (None::<Vec<u8>>, at);
        while at > 0 {
            let from = at.saturating_sub(CHUNK_BYTES as u64);
            let mut data = vec![0; usize::try_from(at - from).unwrap_or(CHUNK_BYTES)];
            file.read_exact_at(&mut data, from)?;
            let mut end = match carry {
                Some(carry) => {
                    data.extend_from_slice(&carry);
                    data.len()
                }
                // What is being written at this moment is not a record yet.
                None => {
                    let end = data.iter().rposition(|b| *b == b'\n').map_or(0, |newline| newline + 1);
                    carry_ends = from + end as u64;
                    end
                }
            };
            while let Some(newline) = data[..end.saturating_sub(1)].iter().rposition(|b| *b == b'\n') {
                if self.is_before(&data[newline + 1..end - 1]) {
                    return Ok(Some(carry_ends));
                }
                (end, carry_ends) = (newline + 1, from + newline as u64 + 1);
            }
            if from == 0 && end > 0 && self.is_before(&data[..end - 1]) {
                return Ok(Some(carry_ends));
            }
            // More than a record can have is none: of it only the end is kept.
            let kept = end.saturating_sub(MAX_RECORD_BYTES);
            (at, carry) = (from, Some(data[kept..end].to_vec()).filter(|carry| !carry.is_empty()));
        }
        Ok(None)
    }

    /// Takes a record, going backwards; whether it is the end of the line before those that are wanted.
    fn is_before(&mut self, record: &[u8]) -> bool {
        let Some(record) = parse_line(record) else { return false };
        // The last line may have no end.
        if record.whole || self.seen == 0 {
            self.seen += 1;
        }
        self.seen > self.lines
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
    fn rotated_files_are_read_in_order_while_they_are_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let mut writer = LogWriter::open(&path).unwrap();
        writer.max_bytes = 500;
        let mut follower = LogReader::new(path.clone());
        let mut followed = String::new();
        let mut write = |numbers: std::ops::Range<u32>| {
            for number in numbers {
                let line = format!("{number}\n");
                writer.write(Timestamp::UNIX_EPOCH, Stream::Stdout, line.as_bytes()).unwrap();
            }
        };
        let lines = |numbers: std::ops::Range<u32>| numbers.map(|n| format!("{n}\n")).collect::<String>();
        let rest = |reader: &mut LogReader| {
            let mut all = String::new();
            while let records @ [_, ..] = reader.read().unwrap().as_slice() {
                all += &text(records);
            }
            all
        };
        // A dozen records a file: it is read before, between and after several rotations.
        for numbers in [0..5, 5..30, 30..31, 31..60] {
            write(numbers);
            followed += &rest(&mut follower);
        }
        assert_eq!(followed, lines(0..60));
        assert_eq!(rotated(&path).unwrap(), [2, 3, 4, 5]);
        assert_eq!(rest(&mut LogReader::new(path.clone())), lines(12..60));
        for tail in [0, 1, 5, 6, 20, 48] {
            let mut reader = LogReader::last(path.clone(), tail.into()).unwrap();
            assert_eq!(rest(&mut reader), lines(60 - tail..60), "{tail}");
            write(60..60);
        }
        for more in [49, 50, u64::MAX] {
            assert_eq!(rest(&mut LogReader::last(path.clone(), more).unwrap()), lines(12..60));
        }
        let mut tail = LogReader::last(path.clone(), 20).unwrap();
        write(60..100);
        assert_eq!(rest(&mut tail), lines(40..100));
    }

    #[test]
    fn the_last_lines_are_lines_and_not_records() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let long = "x".repeat(5 * MAX_LINE_BYTES);
        let mut writer = LogWriter::open(&path).unwrap();
        for bytes in ["one\n", &long, "\ntwo\n", "three"] {
            writer.write(Timestamp::UNIX_EPOCH, Stream::Stdout, bytes.as_bytes()).unwrap();
        }
        let last = |lines: u64| {
            let mut reader = LogReader::last(path.clone(), lines).unwrap();
            text(&[reader.read().unwrap(), reader.read().unwrap()].concat())
        };
        assert_eq!(last(1), "three");
        assert_eq!(last(2), "two\nthree");
        assert_eq!(last(3), format!("{long}\ntwo\nthree"));
        assert_eq!(last(4), format!("one\n{long}\ntwo\nthree"));
        // What is no record is nobody's line, however long.
        let garbage = [b"x".repeat(300_000), b"\n1970-01-01T00:00:00Z stdout F ok\n?".to_vec()].concat();
        std::fs::write(&path, garbage).unwrap();
        assert_eq!(text(&LogReader::last(path.clone(), 1).unwrap().read().unwrap()), "ok\n");
        assert_eq!(LogReader::last(dir.path().join("none/0.log"), 1).unwrap().read().unwrap(), []);
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
