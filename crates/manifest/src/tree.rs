//! The spanned tree: YAML or JSON bytes to values of which every node knows where it stands.
//!
//! The text is cut into documents as `kubectl` cuts it (a line that begins with `---`), and scalars mean what they mean to
//! `kubectl`'s YAML library: YAML 1.1, so `yes` and `on` are booleans, `0644` is octal and `1_000` is a number. JSON
//! needs no reader of its own, since it is read as YAML; several JSON objects after one another are several documents.
//!
//! Anchors, aliases and merge keys are resolved here, with a budget: a tree has at most [`MAX_NODES`] nodes.

use crate::source::Span;
use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, StructureStyle, Tag};
use std::collections::HashMap;

/// Nodes that one document may have, aliases counted as often as they are used.
pub const MAX_NODES: usize = 500_000;
/// Bytes that one source may have.
pub const MAX_BYTES: usize = 16 << 20;
/// Collections that may be open inside one another.
const MAX_DEPTH: usize = 128;

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it stands in the source. An alias' value stands where the anchor is.
    pub span: Span,
    /// What it is.
    pub value: Value,
}

/// What a node is, in JSON's kinds.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`, `~`, or nothing.
    Null,
    /// `true`, `yes`, `on` and the like.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string.
    String(String),
    /// A sequence.
    Sequence(Vec<Node>),
    /// A mapping.
    Mapping(Mapping),
}

/// A number as JSON carries it to the API server.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// Fits an `i64`. Floats without a fraction are written as integers in JSON, and so are here.
    Int(i64),
    /// Only fits a `u64`.
    Uint(u64),
    /// Has a fraction, or is too large.
    Float(f64),
}

/// A mapping, in the order of the source.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Mapping {
    /// Keys are unique.
    pub entries: Vec<Entry>,
    /// Where a key was given again. The last value counts, as for `kubectl`.
    pub duplicates: Vec<(String, Span)>,
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key; keys that are numbers or booleans are their JSON text.
    pub key: String,
    /// Where the key stands.
    pub key_span: Span,
    /// The value.
    pub value: Node,
}

/// One document of a source.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Byte where the document's text begins.
    pub start: usize,
    /// Its tree, or why there is none.
    pub root: Result<Node, SyntaxError>,
    /// What is wrong with the text behind the tree, which `kubectl` never reads.
    pub behind: Option<SyntaxError>,
}

/// A document that is no YAML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SyntaxError {
    /// As kubectl's YAML library says it, with its line number: `yaml: line 4: did not find expected key`.
    pub message: String,
    /// Where it really is.
    pub span: Span,
    /// The documents could not be told apart: the YAML itself was not looked at.
    pub at_separator: bool,
}

impl Mapping {
    /// The entry of `key`.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

impl Node {
    /// The value of `key`, if this is a mapping that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Mapping(mapping) => mapping.entry(key).map(|entry| &entry.value),
            _ => None,
        }
    }

    /// The string that this is.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// Where the value at an API path such as `spec.containers[0].env[1].name` stands. If it is not there, where the
    /// nearest thing above it stands: its key if it has one.
    #[must_use]
    pub fn locate(&self, path: &str) -> Span {
        let mut node = self;
        let mut span = first_line(self);
        for step in Steps(path) {
            match (step, &node.value) {
                (Step::Key(key), Value::Mapping(mapping)) => match mapping.entry(key) {
                    Some(entry) => {
                        node = &entry.value;
                        span = if is_scalar(node) { node.span } else { entry.key_span };
                    }
                    None => return span,
                },
                (Step::Index(index), Value::Sequence(items)) => match items.get(index) {
                    Some(item) => {
                        node = item;
                        span = first_line(item);
                    }
                    None => return span,
                },
                _ => return span,
            }
        }
        span
    }

    /// Where the key of the entry at an API path stands.
    #[must_use]
    pub fn locate_key(&self, path: &str) -> Option<Span> {
        let mut node = self;
        let mut span = None;
        for step in Steps(path) {
            (node, span) = match (step, &node.value) {
                (Step::Key(key), Value::Mapping(mapping)) => {
                    let entry = mapping.entry(key)?;
                    (&entry.value, Some(entry.key_span))
                }
                (Step::Index(index), Value::Sequence(items)) => (items.get(index)?, None),
                _ => return None,
            };
        }
        span
    }
}

fn is_scalar(node: &Node) -> bool {
    !matches!(node.value, Value::Sequence(_) | Value::Mapping(_))
}

/// A collection is pointed at by its first key, since all of it would be too much.
fn first_line(node: &Node) -> Span {
    match &node.value {
        Value::Mapping(mapping) => mapping.entries.first().map_or(node.span, |entry| entry.key_span),
        Value::Sequence(items) if !items.is_empty() => {
            Span { start: node.span.start, end: node.span.start + 1 }
        }
        _ => node.span,
    }
}

/// The steps of an API path: `a.b[0][key]`. A bracket that holds no number is a key.
struct Steps<'a>(&'a str);

enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

impl<'a> Iterator for Steps<'a> {
    type Item = Step<'a>;

    fn next(&mut self) -> Option<Step<'a>> {
        let rest = self.0.strip_prefix('.').unwrap_or(self.0);
        if rest.is_empty() {
            return None;
        }
        if let Some(inside) = rest.strip_prefix('[') {
            let (inside, after) = inside.split_once(']').unwrap_or((inside, ""));
            self.0 = after;
            return Some(inside.parse().map_or(Step::Key(inside), Step::Index));
        }
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (key, after) = rest.split_at(end);
        self.0 = after;
        Some(Step::Key(key))
    }
}

/// All documents of a text. A document that is no YAML is the last one, as it is for `kubectl`.
#[must_use]
pub fn parse_documents(text: &str) -> Vec<Document> {
    let mut documents = Vec::new();
    for chunk in Chunks::new(text) {
        let root = match chunk.fault {
            Some(fault) => Err(fault),
            None => parse_one(&text[chunk.start..chunk.end], chunk.start),
        };
        let failed = root.is_err();
        match root {
            // Empty documents, and those that say `null`, are passed over.
            Ok(None | Some((Node { value: Value::Null, .. }, None))) => {}
            Ok(Some((root, behind))) => {
                documents.push(Document { start: chunk.start, root: Ok(root), behind })
            }
            Err(error) => documents.push(Document { start: chunk.start, root: Err(error), behind: None }),
        }
        if failed {
            break;
        }
    }
    documents
}

/// The text of one document.
struct Chunk {
    start: usize,
    end: usize,
    fault: Option<SyntaxError>,
}

/// Cuts a text into documents: at lines that begin with `---`, and between JSON objects.
struct Chunks<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Chunks<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 } }
    }

    fn separator_fault(&self, line_start: usize, line: &str) -> Option<SyntaxError> {
        let rest = line.strip_prefix("---")?.trim();
        (!rest.is_empty() && !rest.starts_with('#')).then(|| SyntaxError {
            message: format!("invalid Yaml document separator: {rest}"),
            span: Span { start: line_start, end: line_start + line.trim_end().len() },
            at_separator: true,
        })
    }
}

impl Iterator for Chunks<'_> {
    type Item = Chunk;

    fn next(&mut self) -> Option<Chunk> {
        let start = self.at;
        if start >= self.text.len() {
            return None;
        }
        let rest = &self.text[start..];
        if rest.trim_start().starts_with('{')
            && let Some(length) = json_object_length(rest)
        {
            let after = rest[length..].trim_start();
            if after.starts_with('{') {
                self.at = start + length;
                return Some(Chunk { start, end: start + length, fault: None });
            }
        }
        let mut at = start;
        for line in rest.split_inclusive('\n') {
            if line.starts_with("---") {
                if let Some(fault) = self.separator_fault(at, line) {
                    self.at = self.text.len();
                    return Some(Chunk { start, end: at, fault: Some(fault) });
                }
                if at > start {
                    self.at = at + line.len();
                    return Some(Chunk { start, end: at, fault: None });
                }
            }
            at += line.len();
        }
        self.at = self.text.len();
        Some(Chunk { start, end: self.text.len(), fault: None })
    }
}

/// Bytes up to the end of the JSON object that a text begins with, going by brackets and strings alone.
fn json_object_length(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// A tree and what is wrong behind it.
type Parsed = Option<(Node, Option<SyntaxError>)>;

fn parse_one(text: &str, offset: usize) -> Result<Parsed, SyntaxError> {
    let mut options = granit_parser::options! {
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
        block_scalar_eof_without_line_feed: false,
    };
    options.set_emit_comments(false);
    let mut builder = Builder {
        parser: Parser::new_from_str_with_options(text, options),
        text,
        offset,
        anchors: HashMap::new(),
        nodes: 0,
        root: Root::None,
        open: Vec::new(),
    };
    builder.document()
}

struct Builder<'t> {
    parser: Parser<'t, granit_parser::StrInput<'t>>,
    text: &'t str,
    offset: usize,
    anchors: HashMap<usize, Anchor>,
    nodes: usize,
    root: Root,
    /// Brackets that are open; a blank for block collections.
    open: Vec<char>,
}

/// What the tree begins with, which decides how a fault inside it is said.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Root {
    None,
    BlockMapping,
    BlockSequence,
    Other,
}

/// A finished anchored node, and how many nodes it has.
struct Anchor {
    node: Node,
    size: usize,
}

type Spanned<'t> = (Event<'t>, Span);

impl<'t> Builder<'t> {
    fn document(&mut self) -> Result<Parsed, SyntaxError> {
        loop {
            match self.next()? {
                (Event::StreamStart | Event::DocumentStart(..), _) => {}
                (Event::StreamEnd | Event::DocumentEnd, _) => return Ok(None),
                event => {
                    self.root = match &event.0 {
                        Event::MappingStart(StructureStyle::Block, ..) => Root::BlockMapping,
                        Event::SequenceStart(StructureStyle::Block, ..) => Root::BlockSequence,
                        _ => Root::Other,
                    };
                    let node = self.node(event)?;
                    self.root = Root::None;
                    let behind = self.nothing_follows().err();
                    // The library reads a token further than the tree, and says what it stumbles over there.
                    return match behind {
                        Some(error) if error.message.contains(NOT_HERE) => Err(error),
                        behind => Ok(Some((node, behind))),
                    };
                }
            }
        }
    }

    /// `kubectl` leaves out whatever stands behind `...`; here it is said.
    fn nothing_follows(&mut self) -> Result<(), SyntaxError> {
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(()),
                (Event::DocumentStart(..), span) => {
                    return Err(SyntaxError {
                        message:
                            "yaml: a document behind `...` would be left out: separate documents by `---`"
                                .into(),
                        span,
                        at_separator: false,
                    });
                }
                _ => {}
            }
        }
    }

    fn next(&mut self) -> Result<Spanned<'t>, SyntaxError> {
        match self.parser.next() {
            Some(Ok((event, span))) => {
                let range = span.byte_range().unwrap_or(0..0);
                Ok((event, Span { start: self.offset + range.start, end: self.offset + range.end }))
            }
            Some(Err(error)) => Err(self.syntax_error(&error)),
            None => Ok((Event::StreamEnd, Span::at(self.offset + self.text.len()))),
        }
    }

    fn fault(message: impl Into<String>, span: Span) -> SyntaxError {
        SyntaxError { message: message.into(), span, at_separator: false }
    }

    fn count(&mut self, nodes: usize, span: Span) -> Result<(), SyntaxError> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            return Err(Self::fault("yaml: document contains excessive aliasing", span));
        }
        Ok(())
    }

    fn node(&mut self, (event, span): Spanned<'t>) -> Result<Node, SyntaxError> {
        let before = self.nodes;
        let (node, anchor) = match event {
            Event::Alias(id) => {
                let Some(anchor) = self.anchors.get(&id) else {
                    return Err(Self::fault("yaml: anchor contains itself", span));
                };
                let (node, size) = (anchor.node.clone(), anchor.size);
                self.count(size, span)?;
                return Ok(node);
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.count(1, span)?;
                let value =
                    scalar(&text, style, tag.as_deref()).map_err(|message| Self::fault(message, span))?;
                (Node { span, value }, anchor)
            }
            Event::SequenceStart(style, anchor, _) => {
                self.count(1, span)?;
                self.open.push(if style == StructureStyle::Flow { '[' } else { ' ' });
                let sequence = self.sequence(span)?;
                self.open.pop();
                (sequence, anchor)
            }
            Event::MappingStart(style, anchor, _) => {
                self.count(1, span)?;
                self.open.push(if style == StructureStyle::Flow { '{' } else { ' ' });
                let mapping = self.mapping(span, style)?;
                self.open.pop();
                (mapping, anchor)
            }
            _ => return Err(Self::fault("yaml: did not find expected node content", span)),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, Anchor { node: node.clone(), size: self.nodes - before });
            // The copy is paid for like a use, so that nested anchors cannot multiply what is kept.
            self.count(self.nodes - before, span)?;
        }
        Ok(node)
    }

    fn sequence(&mut self, start: Span) -> Result<Node, SyntaxError> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, end) => {
                    let span = Span { start: start.start, end: end.end.max(start.end) };
                    return Ok(Node { span, value: Value::Sequence(items) });
                }
                event => items.push(self.node(event)?),
            }
        }
    }

    fn mapping(&mut self, start: Span, style: StructureStyle) -> Result<Node, SyntaxError> {
        let mut made = MappingBuilder::default();
        loop {
            let event = self.next()?;
            if let (Event::MappingEnd, end) = event {
                let span = Span { start: start.start, end: end.end.max(start.end) };
                return Ok(Node { span, value: Value::Mapping(made.mapping) });
            }
            let merge = matches!(&event.0, Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<");
            let key = self.node(event)?;
            let next = self.next()?;
            let value = self.node(next)?;
            if merge {
                made.merge(value, key.span)?;
                continue;
            }
            if key.value == Value::Null && key.span.start == key.span.end {
                return Err(self.no_key(key.span, style));
            }
            let (key, key_span) = (key_text(&key)?, key.span);
            if !made.insert(Entry { key: key.clone(), key_span, value }) {
                made.mapping.duplicates.push((key, key_span));
            }
        }
    }

    /// A `:` with nothing before it.
    fn no_key(&self, span: Span, style: StructureStyle) -> SyntaxError {
        let line = self.text[..span.start - self.offset].matches('\n').count();
        let shown = if line > 0 { format!("line {line}: ") } else { String::new() };
        let wanted = if style == StructureStyle::Block { "key" } else { "node content" };
        let span = Span { start: span.start, end: span.start + 1 };
        Self::fault(format!("yaml: {shown}did not find expected {wanted}"), span)
    }

    fn syntax_error(&self, error: &ScanError) -> SyntaxError {
        let mark = error.marker();
        let at = mark.byte_offset().unwrap_or(self.text.len()).min(self.text.len());
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
}

impl Builder<'_> {
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
const NOT_HERE: &str = "mapping values are not allowed in this context";
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

/// A mapping being made: where each key is, so that many keys are no burden.
#[derive(Default)]
struct MappingBuilder {
    mapping: Mapping,
    places: HashMap<String, usize>,
}

impl MappingBuilder {
    /// Puts an entry in, or in the place of the one of its key; says whether the key is new.
    fn insert(&mut self, entry: Entry) -> bool {
        match self.places.get(&entry.key) {
            Some(place) => {
                self.mapping.entries[*place] = entry;
                false
            }
            None => {
                self.places.insert(entry.key.clone(), self.mapping.entries.len());
                self.mapping.entries.push(entry);
                true
            }
        }
    }

    fn merge(&mut self, value: Node, at: Span) -> Result<(), SyntaxError> {
        let message = "yaml: map merge requires map or sequence of maps as the value";
        let fault = || SyntaxError { message: message.into(), span: at, at_separator: false };
        match value.value {
            Value::Mapping(merged) => {
                for entry in merged.entries {
                    self.insert(entry);
                }
                Ok(())
            }
            // The first of the sequence counts most.
            Value::Sequence(items) => items.into_iter().rev().try_for_each(|item| match item.value {
                Value::Mapping(_) => self.merge(item, at),
                _ => Err(fault()),
            }),
            _ => Err(fault()),
        }
    }
}

fn key_text(key: &Node) -> Result<String, SyntaxError> {
    Ok(match &key.value {
        Value::String(text) => text.clone(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Sequence(_) | Value::Mapping(_) => {
            return Err(SyntaxError {
                message: "unsupported map key: only text, numbers and booleans can be keys".into(),
                span: key.span,
                at_separator: false,
            });
        }
    })
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Int(value) => write!(f, "{value}"),
            Self::Uint(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value}"),
        }
    }
}

/// Kinds that a tag can ask for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Any,
    Text,
    Bool,
    Int,
    Float,
    Null,
}

fn wanted(style: ScalarStyle, tag: Option<&Tag>) -> Wanted {
    match tag {
        None if style == ScalarStyle::Plain => Wanted::Any,
        None => Wanted::Text,
        Some(tag) if tag.handle() == "tag:yaml.org,2002:" => match tag.suffix() {
            "bool" => Wanted::Bool,
            "int" => Wanted::Int,
            "float" => Wanted::Float,
            "null" => Wanted::Null,
            _ => Wanted::Text,
        },
        Some(_) => Wanted::Text,
    }
}

/// What a scalar means to `kubectl`.
fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    let wanted = wanted(style, tag);
    if wanted == Wanted::Text {
        return Ok(Value::String(text.to_owned()));
    }
    let value = plain_scalar(text);
    if let Value::Number(Number::Float(float)) = value
        && !float.is_finite()
    {
        return Err(format!(
            "json: unsupported value: {}",
            if float.is_nan() {
                "NaN"
            } else if float > 0.0 {
                "+Inf"
            } else {
                "-Inf"
            }
        ));
    }
    let (fits, name) = match (wanted, &value) {
        (Wanted::Any, _) => (true, ""),
        (Wanted::Bool, value) => (matches!(value, Value::Bool(_)), "!!bool"),
        (Wanted::Int, value) => (matches!(value, Value::Number(Number::Int(_) | Number::Uint(_))), "!!int"),
        (Wanted::Float, value) => (matches!(value, Value::Number(_)), "!!float"),
        (Wanted::Null, value) => (matches!(value, Value::Null), "!!null"),
        (Wanted::Text, _) => (true, ""),
    };
    if fits {
        return Ok(value);
    }
    let found = match value {
        Value::Null => "!!null",
        Value::Bool(_) => "!!bool",
        Value::Number(Number::Float(_)) => "!!float",
        Value::Number(_) => "!!int",
        _ => "!!str",
    };
    Err(format!("yaml: cannot decode {found} `{text}` as a {name}"))
}

fn plain_scalar(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Value::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        ".nan" | ".NaN" | ".NAN" => return Value::Number(Number::Float(f64::NAN)),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Value::Number(Number::Float(f64::INFINITY));
        }
        "-.inf" | "-.Inf" | "-.INF" => return Value::Number(Number::Float(f64::NEG_INFINITY)),
        _ => {}
    }
    let number = match text.as_bytes().first() {
        Some(b'0'..=b'9' | b'+' | b'-') => integer(text).or_else(|| float(&text.replace('_', ""))),
        Some(b'.') => float(text),
        _ => None,
    };
    number.map_or_else(|| Value::String(text.to_owned()), Value::Number)
}

/// Integers with Go's prefixes: `0x`, `0o`, `0b`, and a leading `0` for octal; underscores count for nothing.
fn integer(text: &str) -> Option<Number> {
    let plain = text.replace('_', "");
    let (negative, signed) = match plain.as_bytes().first()? {
        b'-' => (true, true),
        b'+' => (false, true),
        _ => (false, false),
    };
    let digits = if signed { &plain[1..] } else { &plain[..] };
    let (radix, digits) = match digits.get(..2) {
        Some("0x" | "0X") => (16, &digits[2..]),
        Some("0o" | "0O") => (8, &digits[2..]),
        Some("0b" | "0B") => (2, &digits[2..]),
        _ if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    match (negative, i64::try_from(magnitude)) {
        (false, Ok(value)) => Some(Number::Int(value)),
        (true, Ok(value)) => Some(Number::Int(-value)),
        (true, Err(_)) if magnitude == i64::MIN.unsigned_abs() => Some(Number::Int(i64::MIN)),
        (false, Err(_)) if !signed => Some(Number::Uint(magnitude)),
        _ => None,
    }
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn float(text: &str) -> Option<Number> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(a, b)| (a, Some(b)));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let mantissa_fits =
        digits(whole) && fraction.is_none_or(digits) && mantissa.bytes().any(|byte| byte.is_ascii_digit());
    let exponent_fits = exponent.is_none_or(|part| {
        let part = part.strip_prefix(['-', '+']).unwrap_or(part);
        !part.is_empty() && digits(part)
    });
    if !mantissa_fits || !exponent_fits {
        return None;
    }
    let value: f64 = text.parse().ok()?;
    // Beyond its range the library takes the text as a string.
    if !value.is_finite() {
        return None;
    }
    // JSON writes a float without a fraction as an integer, up to 1e21.
    #[allow(clippy::cast_possible_truncation, reason = "checked to be in range and whole")]
    let number = if value.fract() == 0.0 && value.abs() < 9.0e18 {
        Number::Int(value as i64)
    } else {
        Number::Float(value)
    };
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(text: &str) -> Node {
        let mut documents = parse_documents(text);
        assert_eq!(documents.len(), 1, "{documents:?}");
        documents.remove(0).root.unwrap()
    }

    fn error(text: &str) -> String {
        parse_documents(text).pop().unwrap().root.unwrap_err().message
    }

    fn at<'a>(text: &'a str, path: &str) -> &'a str {
        let span = root(text).locate(path);
        &text[span.start..span.end]
    }

    #[test]
    fn scalars_are_those_of_yaml_1_1() {
        let cases = [
            ("yes", Value::Bool(true)),
            ("Off", Value::Bool(false)),
            ("n", Value::Bool(false)),
            ("0644", Value::Number(Number::Int(0o644))),
            ("0o644", Value::Number(Number::Int(0o644))),
            ("1_000", Value::Number(Number::Int(1000))),
            ("0x1F", Value::Number(Number::Int(31))),
            ("+12", Value::Number(Number::Int(12))),
            ("-0b11", Value::Number(Number::Int(-3))),
            ("089", Value::Number(Number::Int(89))),
            ("1e3", Value::Number(Number::Int(1000))),
            ("80.0", Value::Number(Number::Int(80))),
            ("1.5", Value::Number(Number::Float(1.5))),
            ("9223372036854775807", Value::Number(Number::Int(i64::MAX))),
            ("-9223372036854775808", Value::Number(Number::Int(i64::MIN))),
            ("9223372036854775808", Value::Number(Number::Uint(9_223_372_036_854_775_808))),
            ("~", Value::Null),
            ("2001-12-14", Value::String("2001-12-14".into())),
            ("12:30:45", Value::String("12:30:45".into())),
            ("1.2.3", Value::String("1.2.3".into())),
            ("10Mi", Value::String("10Mi".into())),
            ("yEs", Value::String("yEs".into())),
            ("\"yes\"", Value::String("yes".into())),
            ("!!str 1", Value::String("1".into())),
            ("1e400", Value::String("1e400".into())),
        ];
        for (text, value) in cases {
            assert_eq!(root(&format!("v: {text}")).get("v").map(|node| &node.value), Some(&value), "{text}");
        }
    }

    #[test]
    fn every_node_knows_its_place() {
        let text = "spec:\n  containers:\n  - name: a\n    env: [{name: B, value: c}]\n";
        assert_eq!(at(text, "spec.containers[0].name"), "a");
        assert_eq!(at(text, "spec.containers[0].env[0].value"), "c");
        assert_eq!(at(text, "spec.containers[0].env"), "env");
        assert_eq!(at(text, "spec.containers[0].image"), "name", "a missing field is said of what lacks it");
        assert_eq!(at(text, "spec.containers[7].image"), "containers");
    }

    #[test]
    fn documents_are_cut_as_kubectl_cuts_them() {
        let names = |text: &str| {
            parse_documents(text)
                .into_iter()
                .map(|d| d.root.unwrap().get("a").and_then(Node::as_str).unwrap_or("").to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(names("---\na: x\n--- # next\na: z\n---\n---\n# nothing\n"), ["x", "z"]);
        assert_eq!(names("{\"a\": \"}x\"}\n{\"a\": \"z\"}"), ["}x", "z"]);
        assert_eq!(names("\u{feff}a: x\n"), ["x"]);
        assert!(parse_documents("# only a comment\n").is_empty());
        assert!(error("a: b\n--- c\n").starts_with("invalid Yaml document separator: c"));
        assert!(
            parse_documents("a: b\n...\nc: d\n")[0].behind.as_ref().unwrap().message.contains("left out")
        );
    }

    #[test]
    fn json_is_read_as_yaml() {
        let text = "{\n\t\"a\": [1, true, null, \"\\u00e4\\ud83d\\ude00\\/\"],\n\t\"b\":{\"c\":\"d\"}}";
        let node = root(text);
        assert_eq!(at(text, "b.c"), "\"d\"");
        let Some(Node { value: Value::Sequence(items), .. }) = node.get("a") else { panic!("{node:?}") };
        assert_eq!(items[3].as_str(), Some("ä😀/"));
    }

    #[test]
    fn anchors_and_merges_have_a_budget() {
        let text = "x: &x {a: 1, b: 2}\nz:\n  <<: *x\n  b: 3\n";
        let z = root(text).get("z").cloned().unwrap();
        assert_eq!(z.get("a").unwrap().value, Value::Number(Number::Int(1)));
        assert_eq!(z.get("b").unwrap().value, Value::Number(Number::Int(3)));
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for n in 1..12 {
            bomb.push_str(&format!(
                "a{n}: &a{n} [*a{0}, *a{0}, *a{0}, *a{0}, *a{0}, *a{0}, *a{0}, *a{0}]\n",
                n - 1
            ));
        }
        assert_eq!(error(&bomb), "yaml: document contains excessive aliasing");
        assert!(parse_documents(&"[".repeat(100_000))[0].root.is_err());
        assert!(parse_documents(&"- ".repeat(100_000))[0].root.is_err());
    }

    #[test]
    fn the_last_of_equal_keys_counts_and_is_remembered() {
        let node = root("a: 1\na: 2\n");
        let Value::Mapping(mapping) = &node.value else { panic!() };
        assert_eq!(mapping.duplicates.len(), 1);
        assert_eq!(node.get("a").unwrap().value, Value::Number(Number::Int(2)));
    }

    #[test]
    fn faults_have_the_words_and_lines_of_kubectl() {
        assert_eq!(error("a:\n  b: c\n d: e\n"), "yaml: line 2: did not find expected key");
        assert_eq!(error("x: y\na: b: c\n"), "yaml: line 2: mapping values are not allowed in this context");
        assert_eq!(error("a: b: c\n"), "yaml: mapping values are not allowed in this context");
        assert_eq!(error("x: y\na: {b: c\nd: e\n"), "yaml: line 2: did not find expected ',' or '}'");
        assert_eq!(error("x: y\na: [b\n"), "yaml: line 2: did not find expected ',' or ']'");
        assert_eq!(error("x: \"y\na: b\n"), "yaml: line 3: found unexpected end of stream");
    }
}
