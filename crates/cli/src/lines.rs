//! Lines out of the records of container logs: a long line is several records, and those of several containers or
//! streams come mixed.

use agent::logs::{LogLine, Stream};
use jiff::Timestamp;

/// The longest line that is put together; a longer one is given in pieces.
const MAX_LINE_BYTES: usize = 1 << 20;

/// The beginnings of lines whose ends have not come yet, by source and stream.
#[derive(Debug)]
pub(crate) struct Lines<S> {
    begun: Vec<(S, Stream, Timestamp, Vec<u8>)>,
}

impl<S> Default for Lines<S> {
    fn default() -> Lines<S> {
        Lines { begun: Vec::new() }
    }
}

impl<S: PartialEq> Lines<S> {
    /// Takes a record; gives the line that it ends, with the time when that began.
    pub(crate) fn put(&mut self, source: S, record: LogLine) -> Option<(Timestamp, Vec<u8>)> {
        let LogLine { time, stream, whole, content } = record;
        let at = self.begun.iter().position(|begun| begun.0 == source && begun.1 == stream);
        let (began, mut line) = match at {
            Some(at) => {
                let (_, _, began, line) = self.begun.swap_remove(at);
                (began, line)
            }
            None => (time, Vec::new()),
        };
        line.extend_from_slice(&content);
        if whole || line.len() >= MAX_LINE_BYTES {
            return Some((began, line));
        }
        self.begun.push((source, stream, began, line));
        None
    }

    /// Lines that have no end.
    pub(crate) fn rest(&mut self) -> impl Iterator<Item = (S, Timestamp, Vec<u8>)> {
        self.begun.drain(..).map(|(source, _, began, line)| (source, began, line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_put_together_by_source_and_stream() {
        let record = |stream, whole, content: &str| LogLine {
            time: Timestamp::UNIX_EPOCH,
            stream,
            whole,
            content: content.as_bytes().to_vec(),
        };
        let mut lines = Lines::default();
        assert_eq!(lines.put(1, record(Stream::Stdout, false, "a")), None);
        assert_eq!(lines.put(2, record(Stream::Stdout, false, "x")), None);
        assert_eq!(lines.put(1, record(Stream::Stderr, true, "e")).unwrap().1, b"e");
        assert_eq!(lines.put(1, record(Stream::Stdout, true, "b")).unwrap().1, b"ab");
        assert_eq!(
            lines.rest().map(|(source, _, line)| (source, line)).collect::<Vec<_>>(),
            [(2, b"x".to_vec())]
        );
        let long = "y".repeat(MAX_LINE_BYTES);
        assert_eq!(lines.put(1, record(Stream::Stdout, false, &long)).unwrap().1.len(), MAX_LINE_BYTES);
    }
}
