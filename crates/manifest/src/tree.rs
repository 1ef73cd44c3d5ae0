//! The spanned tree: YAML or JSON bytes to values of which every node knows where it stands.
//!
//! The text is cut into documents as `kubectl` cuts it (a line that begins with `---`), and scalars mean what they mean to
//! `kubectl`'s YAML library: YAML 1.1, so `yes` and `on` are booleans, `0644` is octal and `1_000` is a number. JSON
//! needs no reader of its own, since it is read as YAML; several JSON objects after one another are several documents.
//!
//! Anchors, aliases and merge keys are resolved here, with a budget: a tree has at most [`MAX_NODES`] nodes.

mod build;
mod documents;
mod faults;
mod scalar;

pub use documents::parse_documents;

use crate::source::Span;

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

    /// The value at an API path such as `spec.containers[0].env[1]`; the empty path is this.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<&Node> {
        Steps(path).try_fold(self, |node, step| match (step, &node.value) {
            (Step::Key(key), _) => node.get(key),
            (Step::Index(index), Value::Sequence(items)) => items.get(index),
            _ => None,
        })
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

/// In a document that is valid JSON: numbers beyond the range of a float, which are text in YAML, become numbers again.
/// `text` is what the tree was parsed from.
pub fn read_numbers_as_json(node: &mut Node, text: &str) {
    match &mut node.value {
        Value::String(_) => {
            let begin = text.get(node.span.start..).and_then(|rest| rest.chars().next());
            if begin.is_some_and(|c| c == '-' || c.is_ascii_digit()) {
                let infinite = if begin == Some('-') { f64::NEG_INFINITY } else { f64::INFINITY };
                node.value = Value::Number(Number::Float(infinite));
            }
        }
        Value::Sequence(items) => items.iter_mut().for_each(|item| read_numbers_as_json(item, text)),
        Value::Mapping(mapping) => {
            mapping.entries.iter_mut().for_each(|entry| read_numbers_as_json(&mut entry.value, text));
        }
        _ => {}
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

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Int(value) => write!(f, "{value}"),
            Self::Uint(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value}"),
        }
    }
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
        let merged = root("x: &x {a: 1}\nz: {<<: *x, a: 2, b: 3}\nw: {<<: *x, a: 2, a: 3}\n");
        let duplicates = |key: &str| match &merged.get(key).unwrap().value {
            Value::Mapping(mapping) => mapping.duplicates.len(),
            other => panic!("{other:?}"),
        };
        assert_eq!((duplicates("z"), duplicates("w")), (0, 1), "what is merged may be given again");
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
