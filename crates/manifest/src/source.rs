//! A source of manifests (a file's bytes with its name) and places in it.
//!
//! A [`Span`] is a pair of byte offsets; lines and columns are worked out from the text when they are shown, so that
//! there is one truth about where something is.

/// A file, or standard input, as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source<'a> {
    /// As the user wrote it: a path, or `STDIN`.
    pub name: &'a str,
    /// The contents.
    pub bytes: &'a [u8],
}

/// Byte offsets into a source's text, end exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One after the last byte.
    pub end: usize,
}

impl Span {
    /// The span of the single place `at`.
    #[must_use]
    pub fn at(at: usize) -> Self {
        Self { start: at, end: at }
    }
}

/// A place as people count: the first line is 1, the first character of a line is column 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// A text and where its lines begin, so that places are found without reading it again for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lines<'a> {
    /// The text.
    pub text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    /// Finds the lines of a text.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(0).chain(breaks).collect() }
    }

    /// Where byte `offset` is. An offset past the end is taken as the end.
    #[must_use]
    pub fn position(&self, offset: usize) -> Position {
        let offset = self.boundary(offset);
        let line = self.line_number(offset);
        Position { line, column: self.text[self.starts[line - 1]..offset].chars().count() + 1 }
    }

    /// The line that byte `offset` is on, without its line break, and the offset where it starts.
    #[must_use]
    pub fn line(&self, offset: usize) -> (usize, &'a str) {
        let line = self.line_number(self.boundary(offset));
        let start = self.starts[line - 1];
        let end = self.starts.get(line).map_or(self.text.len(), |next| next - 1);
        (start, self.text[start..end].trim_end_matches('\r'))
    }

    /// From 1: as many lines as begin at or before the offset, of which the first begins at 0.
    fn line_number(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset).max(1)
    }

    fn boundary(&self, offset: usize) -> usize {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_not_bytes() {
        let lines = Lines::new("a: ü\nb: x");
        assert_eq!(lines.position(0), Position { line: 1, column: 1 });
        assert_eq!(lines.position(5), Position { line: 1, column: 5 });
        assert_eq!(lines.position(6), Position { line: 2, column: 1 });
        assert_eq!(lines.position(999), Position { line: 2, column: 5 });
        assert_eq!(lines.line(7), (6, "b: x"));
        assert_eq!(lines.line(5), (0, "a: ü"));
    }

    #[test]
    fn an_offset_inside_a_character_is_its_start() {
        assert_eq!(Lines::new("ü").position(1), Position { line: 1, column: 1 });
        assert_eq!(Lines::new("").line(3), (0, ""));
    }
}
