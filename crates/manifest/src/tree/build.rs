//! The parser's events to a tree: anchors, aliases and merge keys resolved, within the budget.

use super::scalar::scalar;
use super::{Entry, MAX_DEPTH, MAX_NODES, Mapping, Node, SyntaxError, Value, faults};
use crate::source::Span;
use granit_parser::{Event, Parser, ScalarStyle, StructureStyle};
use std::collections::{HashMap, HashSet};

/// A tree and what is wrong behind it.
pub(super) type Parsed = Option<(Node, Option<SyntaxError>)>;

pub(super) fn parse_one(text: &str, offset: usize) -> Result<Parsed, SyntaxError> {
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

pub(super) struct Builder<'t> {
    parser: Parser<'t, granit_parser::StrInput<'t>>,
    pub(super) text: &'t str,
    pub(super) offset: usize,
    anchors: HashMap<usize, Anchor>,
    nodes: usize,
    pub(super) root: Root,
    /// Brackets that are open; a blank for block collections.
    pub(super) open: Vec<char>,
}

/// What the tree begins with, which decides how a fault inside it is said.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Root {
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
                        Some(error) if error.message.contains(faults::NOT_HERE) => Err(error),
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

    pub(super) fn fault(message: impl Into<String>, span: Span) -> SyntaxError {
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
            let is_new = made.insert(Entry { key: key.clone(), key_span, value });
            // What is merged is there to be replaced.
            if !made.merged.remove(&key) && !is_new {
                made.mapping.duplicates.push((key, key_span));
            }
        }
    }
}

/// A mapping being made: where each key is, so that many keys are no burden.
#[derive(Default)]
struct MappingBuilder {
    mapping: Mapping,
    places: HashMap<String, usize>,
    /// Keys whose value came by `<<`.
    merged: HashSet<String>,
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
                    self.merged.insert(entry.key.clone());
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
