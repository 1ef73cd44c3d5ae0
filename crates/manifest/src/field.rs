//! Field errors: the API's `field.ErrorList` (`k8s.io/apimachinery/pkg/util/validation/field`), with the place beside
//! the path, since the API leaves out the index of some paths.

use crate::nearest::nearest;
use crate::problem::go_quote;
use serde_json::Value as Json;
use std::fmt::Display;

/// An API path, as it is said and as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// As the API server writes it.
    said: String,
    /// Where it really is.
    at: String,
}

impl Path {
    /// A path of one field.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { said: name.to_owned(), at: name.to_owned() }
    }

    /// The field `name` of this.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        let join = |path: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        Self { said: join(&self.said), at: join(&self.at) }
    }

    /// The item `index` of this.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        Self { said: format!("{}[{index}]", self.said), at: format!("{}[{index}]", self.at) }
    }

    /// The entry `key` of this.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        Self { said: format!("{}[{key}]", self.said), at: format!("{}[{key}]", self.at) }
    }

    /// The item `index` of this, of which the API server does not say the index.
    #[must_use]
    pub fn silent_index(&self, index: usize) -> Self {
        Self { said: self.said.clone(), at: format!("{}[{index}]", self.at) }
    }

    /// This, said as `said`.
    #[must_use]
    pub fn said(&self, said: &str) -> Self {
        Self { said: said.to_owned(), at: self.at.clone() }
    }

    /// This, being at another place.
    #[must_use]
    pub fn at(&self, at: &Self) -> Self {
        Self { said: self.said.clone(), at: at.at.clone() }
    }

    /// As the API server writes it.
    #[must_use]
    pub fn as_said(&self) -> &str {
        &self.said
    }
}

/// A field error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// As the API server writes the path.
    pub path: String,
    /// The path where it really is.
    pub at: String,
    /// `path: type: value: detail`.
    pub message: String,
    /// What was probably meant.
    pub suggestion: Option<String>,
    /// The check that found it, if it is one that others know by name.
    pub check: Option<Check>,
    /// What kind of error it is.
    pub reason: Reason,
}

impl FieldError {
    /// The message without the path: `type: value: detail`.
    #[must_use]
    pub fn bare(&self) -> &str {
        self.message.get(self.path.len() + 2..).unwrap_or_default()
    }
}

/// The API's `field.ErrorType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the API's words")]
pub enum Reason {
    Required,
    Invalid,
    Forbidden,
    Duplicate,
    NotFound,
    NotSupported,
    TooLong,
    TooMany,
    Other,
}

/// A check of the API server that has a name, so that nobody has to tell it by its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// `mountPropagation` is none of the three.
    UnknownMode,
    /// `Bidirectional` in a container that is not privileged.
    BidirectionalNotPrivileged,
    /// `recursiveReadOnly` beside a `mountPropagation` other than `None`.
    RecursiveReadOnlyWithPropagation,
}

/// Errors of one object that are kept; the API server keeps all, which a small file can make very many.
const MAX_ERRORS: usize = 1000;

/// The errors of an object, in the API server's order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldErrors {
    /// The errors.
    pub list: Vec<FieldError>,
}

impl FieldErrors {
    fn push(&mut self, reason: Reason, path: &Path, text: impl Display) {
        self.push_with(reason, path, text, None);
    }

    fn push_with(&mut self, reason: Reason, path: &Path, text: impl Display, suggestion: Option<String>) {
        if self.list.len() >= MAX_ERRORS {
            return;
        }
        let message = format!("{}: {text}", path.said);
        self.list.push(FieldError {
            path: path.said.clone(),
            at: path.at.clone(),
            message,
            suggestion,
            check: None,
            reason,
        });
    }

    /// Says that `check` found all errors but the first `before`.
    pub fn found_by(&mut self, check: Check, before: usize) {
        self.list.iter_mut().skip(before).for_each(|error| error.check = Some(check));
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// None.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// `Required value`.
    pub fn required(&mut self, path: &Path) {
        self.push(Reason::Required, path, "Required value");
    }

    /// `Required value: detail`.
    pub fn required_because(&mut self, path: &Path, detail: impl Display) {
        self.push(Reason::Required, path, format_args!("Required value: {detail}"));
    }

    /// `Invalid value: value: detail`.
    pub fn invalid(&mut self, path: &Path, value: impl Into<Json>, detail: impl Display) {
        self.push(Reason::Invalid, path, format_args!("Invalid value: {}: {detail}", shown(&value.into())));
    }

    /// `Invalid value: text: detail`, the value already being as Go prints it.
    pub fn invalid_shown(&mut self, path: &Path, value: &str, detail: impl Display) {
        self.push(Reason::Invalid, path, format_args!("Invalid value: {value}: {detail}"));
    }

    /// One [`FieldErrors::invalid`] for each detail.
    pub fn invalid_all(&mut self, path: &Path, value: &str, details: Vec<String>) {
        for detail in details {
            self.invalid(path, value, detail);
        }
    }

    /// `Forbidden: detail`.
    pub fn forbidden(&mut self, path: &Path, detail: impl Display) {
        self.push(Reason::Forbidden, path, format_args!("Forbidden: {detail}"));
    }

    /// `Duplicate value: value`.
    pub fn duplicate(&mut self, path: &Path, value: impl Into<Json>) {
        self.push(Reason::Duplicate, path, format_args!("Duplicate value: {}", shown(&value.into())));
    }

    /// `Not found: value`.
    pub fn not_found<'a>(&mut self, path: &Path, value: &str, known: impl IntoIterator<Item = &'a str>) {
        let suggestion = nearest(value, known).map(str::to_owned);
        self.push_with(Reason::NotFound, path, format_args!("Not found: {}", go_quote(value)), suggestion);
    }

    /// `Unsupported value: value: supported values: …`, in the order given.
    pub fn unsupported(&mut self, path: &Path, value: &str, supported: &[&str]) {
        let words: Vec<String> = supported.iter().map(|word| go_quote(word)).collect();
        let suggestion = nearest(value, supported.iter().copied()).map(str::to_owned);
        let text = format!("Unsupported value: {}: supported values: {}", go_quote(value), words.join(", "));
        self.push_with(Reason::NotSupported, path, text, suggestion);
    }

    /// `Too long: may not be more than … bytes`.
    pub fn too_long(&mut self, path: &Path, max: usize) {
        self.push(Reason::TooLong, path, format_args!("Too long: may not be more than {max} bytes"));
    }

    /// `Too many: …: must have at most … items`.
    pub fn too_many(&mut self, path: &Path, count: usize, max: usize) {
        let items = if max == 1 { "item" } else { "items" };
        self.push(Reason::TooMany, path, format_args!("Too many: {count}: must have at most {max} {items}"));
    }

    /// An error whose text is ready.
    pub fn other(&mut self, path: &Path, text: &str) {
        self.push(Reason::Other, path, text);
    }
}

/// A value as Go's field errors print it.
fn shown(value: &Json) -> String {
    match value {
        Json::String(text) => go_quote(text),
        other => other.to_string(),
    }
}
