//! Faults of YAML in the words of `kubectl`'s library (libyaml's, in Go), with the line that it would name.
//!
//! The parser here finds the same faults, at times elsewhere and by other names; [`library_line`](Builder::library_line)
//! and [`yaml_words`] say how the two go together. They were held against libyaml on some thousands of broken manifests.

use super::build::{Builder, Root};
use super::{MAX_DEPTH, SyntaxError};
use crate::source::Span;
use granit_parser::{ErrorKind, ScanError, StructureStyle};

impl Builder<'_> {
    /// A `:` with nothing before it.
    pub(super) fn no_key(&self, span: Span, style: StructureStyle) -> SyntaxError {
        let before = span.start.saturating_sub(self.offset);
        let line = self.text.get(..before).unwrap_or_default().matches('\n').count();
        let shown = if line > 0 { format!("line {line}: ") } else { String::new() };
        let wanted = if style == StructureStyle::Block { "key" } else { "node content" };
        let span = Span { start: span.start, end: span.start + 1 };
        Self::fault(format!("yaml: {shown}did not find expected {wanted}"), span)
    }

    pub(super) fn syntax_error(&self, error: &ScanError) -> SyntaxError {
        let mark = error.marker();
        let mut at = mark.byte_offset().unwrap_or(self.text.len()).min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        let start = self.offset + at;
        let end = start + self.text[at..].chars().next().map_or(0, char::len_utf8);
        let span = Span { start, end };
        if *error.kind() == ErrorKind::UnknownAnchor {
            let name = self.text[at..].trim_start_matches('*');
            let name =
                name.split(|c: char| c.is_whitespace() || ",[]{}".contains(c)).next().unwrap_or_default();
            return Self::fault(format!("yaml: unknown anchor '{name}' referenced"), span);
        }
        let (mut message, mut by, place) = yaml_words(error.kind());
        if message == NOT_HERE {
            match self.open.last() {
                Some('[') => (message, by) = ("did not find expected ',' or ']'".to_owned(), By::Parser),
                Some('{') => (message, by) = ("did not find expected ',' or '}'".to_owned(), By::Parser),
                _ => {}
            }
        }
        if message == JUNK {
            // Junk is said of what it stands in.
            (message, by) = match self.root {
                _ if self.text[..at].trim_end().ends_with(':') => {
                    ("did not find expected node content".to_owned(), By::Parser)
                }
                Root::BlockMapping => ("did not find expected key".to_owned(), By::Parser),
                Root::BlockSequence => ("did not find expected '-' indicator".to_owned(), By::Parser),
                Root::None | Root::Other => (message, by),
            };
        }
        let mut place = place;
        if message == NO_TOKEN && self.follows_block_scalar(at) {
            (message, place) = (TAB_FOR_BLANK.to_owned(), Place::NextTab);
        }
        // Lines counted from 0, as the library does.
        let line = self.library_line(place, mark.line().saturating_sub(1), at);
        let shown = match by {
            // The scanner's line is put right by the library, the parser's is not.
            By::Scanner if line > 0 => format!("line {}: ", line + 1),
            By::Parser if line > 0 => format!("line {line}: "),
            _ => String::new(),
        };
        Self::fault(format!("yaml: {shown}{message}"), span)
    }

    /// The line, from 0, at which the library would find the fault.
    fn library_line(&self, place: Place, line: usize, at: usize) -> usize {
        let lines_from = |from: usize| self.text.split('\n').enumerate().skip(from);
        let is_blank = |text: &str| text.trim().is_empty() || text.trim_start().starts_with('#');
        let indent = |text: &str| text.len() - text.trim_start().len();
        let end = self.text.trim_end_matches('\n').matches('\n').count() + 1;
        match place {
            Place::Here => line,
            Place::End => end,
            Place::NextToken => {
                // A word goes on over lines that are indented more than it is, up to a `:`.
                let column = self.text[..at].rsplit('\n').next().map_or(0, str::len);
                let ends = |text: &str| text.contains(": ") || text.trim_end().ends_with(':');
                let next = lines_from(line + 1)
                    .find(|(_, text)| !is_blank(text) && (indent(text) <= column || ends(text)));
                next.map_or(end, |(number, _)| number)
            }
            Place::NextTab => lines_from(line)
                .find(|(_, text)| text[..indent(text)].contains('\t'))
                .map_or(line, |(number, _)| number),
        }
    }

    /// Whether the line that `at` is on comes right behind a block scalar.
    fn follows_block_scalar(&self, at: usize) -> bool {
        let indent = |text: &str| text.len() - text.trim_start().len();
        let line_start = self.text[..at].rfind('\n').map_or(0, |at| at + 1);
        let line = self.text[line_start..].split('\n').next().unwrap_or_default();
        if !line[..indent(line)].contains('\t') {
            return false;
        }
        let mut above = self.text[..at].rsplit('\n').skip(1).filter(|line| !line.trim().is_empty());
        let Some(last) = above.next() else { return false };
        let is_header = |line: &str| {
            let line =
                line.trim_end().trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-'));
            line.ends_with(['|', '>'])
        };
        is_header(last) || above.find(|line| indent(line) < indent(last)).is_some_and(is_header)
    }
}

/// Which half of the library finds a fault; they count lines differently.
enum By {
    Scanner,
    Parser,
}

/// Where the library finds a fault, against where it is found here.
#[derive(Clone, Copy)]
enum Place {
    Here,
    End,
    NextToken,
    NextTab,
}

/// What is said of a `:` in a text that is no mapping.
pub(super) const NOT_HERE: &str = "mapping values are not allowed in this context";
/// What is said of a tab, and of some other characters.
const NO_TOKEN: &str = "found character that cannot start any token";
/// What is said of a tab behind a block scalar.
const TAB_FOR_BLANK: &str = "found a tab character where an indentation space is expected";
/// What is said of something that cannot stand where it stands.
const JUNK: &str = "did not find expected <document start>";

/// What `kubectl`'s YAML library says of a fault, which half of it says so, and where.
fn yaml_words(kind: &ErrorKind) -> (String, By, Place) {
    use ErrorKind as K;
    let (text, by, place) = match kind {
        K::ExpectedBlockMappingKey | K::UnexpectedEofBlockMapping | K::InvalidIndentation => {
            ("did not find expected key", By::Parser, Place::Here)
        }
        K::ExpectedBlockSequenceEntry | K::UnexpectedEofBlockSequence => {
            ("did not find expected '-' indicator", By::Parser, Place::Here)
        }
        K::ExpectedFlowMappingSeparator => ("did not find expected ',' or '}'", By::Parser, Place::Here),
        K::ExpectedFlowSequenceSeparator => ("did not find expected ',' or ']'", By::Parser, Place::Here),
        K::UnexpectedEofFlowMapping
        | K::UnexpectedEofImplicitFlowMapping
        | K::UnclosedFlowCollection { open: '{' } => {
            ("did not find expected ',' or '}'", By::Parser, Place::End)
        }
        K::UnexpectedEofFlowSequence | K::UnclosedFlowCollection { .. } => {
            ("did not find expected ',' or ']'", By::Parser, Place::End)
        }
        K::UnclosedQuotedScalar | K::UnexpectedEof => {
            ("found unexpected end of stream", By::Scanner, Place::End)
        }
        K::DocumentIndicatorInQuotedScalar => {
            ("found unexpected document indicator", By::Scanner, Place::Here)
        }
        K::MappingValueNotAllowed | K::InvalidColonPlacement | K::InvalidMappingValueWhitespace => {
            (NOT_HERE, By::Scanner, Place::Here)
        }
        K::MappingKeyNotAllowed => ("mapping keys are not allowed in this context", By::Scanner, Place::Here),
        K::BlockSequenceEntryNotAllowed => {
            ("block sequence entries are not allowed in this context", By::Scanner, Place::Here)
        }
        K::SimpleKeyExpected | K::InvalidSimpleKey => {
            ("could not find expected ':'", By::Scanner, Place::NextToken)
        }
        K::UnexpectedCharacter { .. } | K::TabNotAllowed | K::TabInBlockIndentation => {
            (NO_TOKEN, By::Scanner, Place::Here)
        }
        K::TabAtBlockScalarStart | K::TabInIndentation => (TAB_FOR_BLANK, By::Scanner, Place::NextTab),
        K::TabInPlainScalar => {
            ("found a tab character that violates indentation", By::Scanner, Place::NextTab)
        }
        K::UnknownQuotedScalarEscape => ("found unknown escape character", By::Scanner, Place::Here),
        K::InvalidQuotedScalarHexEscape => {
            ("did not find expected hexdecimal number", By::Scanner, Place::Here)
        }
        K::InvalidUnicodeEscape
        | K::InvalidLowSurrogate
        | K::InvalidLowSurrogateHexEscape
        | K::MissingLowSurrogate
        | K::UnpairedLowSurrogate => {
            ("found invalid Unicode character escape code", By::Scanner, Place::Here)
        }
        K::ExpectedDocumentStart
        | K::MissingDocumentEndBeforeDirective
        | K::MisplacedFlowCollectionEnd
        | K::InvalidTrailingDoubleQuotedScalar
        | K::InvalidTrailingSingleQuotedScalar => (JUNK, By::Parser, Place::Here),
        K::UndeclaredTagHandle => ("found undefined tag handle", By::Parser, Place::Here),
        K::MissingAnchorOrAliasName => {
            ("did not find expected alphabetic or numeric character", By::Scanner, Place::Here)
        }
        K::InvalidBlockScalarHeader => {
            ("did not find expected comment or line break", By::Scanner, Place::Here)
        }
        K::MissingDirectiveName => ("could not find expected directive name", By::Scanner, Place::Here),
        K::ExpectedNodeContent | K::BlockEntryInFlowCollection => {
            ("did not find expected node content", By::Parser, Place::Here)
        }
        K::RecursionLimitExceeded => {
            return (format!("exceeded max depth of {MAX_DEPTH}"), By::Scanner, Place::Here);
        }
        // Faults that the library has no words for, or would let pass.
        other => return (other.to_string(), By::Scanner, Place::Here),
    };
    (text.to_owned(), by, place)
}
