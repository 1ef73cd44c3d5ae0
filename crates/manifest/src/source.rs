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

/// Where byte `offset` of `text` is. An offset past the end is taken as the end.
#[must_use]
pub fn position(text: &str, offset: usize) -> Position {
    let offset = floor_char_boundary(text, offset);
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    Position {
        line: before.bytes().filter(|byte| *byte == b'\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
    }
}

/// The line of `text` that byte `offset` is on, without its line break, and the offset where it starts.
#[must_use]
pub fn line_at(text: &str, offset: usize) -> (usize, &str) {
    let offset = floor_char_boundary(text, offset);
    let start = text[..offset].rfind('\n').map_or(0, |at| at + 1);
    let end = text[start..].find('\n').map_or(text.len(), |at| start + at);
    (start, text[start..end].trim_end_matches('\r'))
}

fn floor_char_boundary(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_not_bytes() {
        let text = "a: ü\nb: x";
        assert_eq!(position(text, 0), Position { line: 1, column: 1 });
        assert_eq!(position(text, 5), Position { line: 1, column: 5 });
        assert_eq!(position(text, 6), Position { line: 2, column: 1 });
        assert_eq!(position(text, 999), Position { line: 2, column: 5 });
        assert_eq!(line_at(text, 7), (6, "b: x"));
    }

    #[test]
    fn an_offset_inside_a_character_is_its_start() {
        assert_eq!(position("ü", 1), Position { line: 1, column: 1 });
    }
}
