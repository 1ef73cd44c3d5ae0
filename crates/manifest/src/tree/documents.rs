//! A text to its documents, cut as `kubectl` cuts them.

use super::build::parse_one;
use super::{Document, Node, SyntaxError, Value};
use crate::source::Span;

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
