//! Label and field selectors, in the API server's syntax and words (`apimachinery/pkg/labels`, `…/fields`). Pure.

use crate::error::{ApiError, Result};
use crate::kinds::Resource;
use crate::store::Stored;
use serde_json::Value;

/// Longest selector: a URL is not longer either.
const MAX_BYTES: usize = 64 << 10;

/// A condition on labels.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Missing(String),
    Greater(String, i64),
    Less(String, i64),
}

/// A condition on a field.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FieldTerm {
    pointer: String,
    value: String,
    equal: bool,
}

/// Which objects are meant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<FieldTerm>,
}

impl Selector {
    /// From the two parameters of a request.
    pub(crate) fn parse(resource: Resource, labels: &str, fields: &str) -> Result<Selector> {
        if labels.len() + fields.len() > MAX_BYTES {
            return Err(ApiError::bad_request("the selector is too long"));
        }
        Ok(Selector { labels: parse_labels(labels)?, fields: parse_fields(resource, fields)? })
    }

    /// Whether every object is meant.
    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether an object of the store is meant. Its text is read only where there is something to look for.
    pub(crate) fn selects(&self, stored: &Stored) -> bool {
        self.is_everything() || self.matches(&stored.value())
    }

    /// Whether an object is meant.
    fn matches(&self, object: &Value) -> bool {
        self.labels.iter().all(|requirement| requirement.holds(object))
            && self.fields.iter().all(|term| (field_text(object, &term.pointer) == term.value) == term.equal)
    }
}

fn field_text(object: &Value, pointer: &str) -> String {
    match object.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bool(value)) => value.to_string(),
        Some(Value::Number(value)) => value.to_string(),
        // Go prints the zero values of what is left out.
        _ if pointer.ends_with("hostNetwork") || pointer.ends_with("unschedulable") => "false".to_owned(),
        _ => String::new(),
    }
}

impl Requirement {
    fn holds(&self, object: &Value) -> bool {
        let label = |key: &str| object["metadata"]["labels"].get(key).and_then(Value::as_str);
        let number = |key: &str| label(key).and_then(|value| value.parse::<i64>().ok());
        match self {
            Requirement::In(key, values) => label(key).is_some_and(|value| values.iter().any(|v| v == value)),
            Requirement::NotIn(key, values) => {
                !label(key).is_some_and(|value| values.iter().any(|v| v == value))
            }
            Requirement::Exists(key) => label(key).is_some(),
            Requirement::Missing(key) => label(key).is_none(),
            Requirement::Greater(key, than) => number(key).is_some_and(|value| value > *than),
            Requirement::Less(key, than) => number(key).is_some_and(|value| value < *than),
        }
    }
}

/// A word or a sign of a label selector.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Sign(&'static str),
    End,
}

const SIGNS: [&str; 9] = ["==", "!=", "=", "!", "(", ")", ",", ">", "<"];

fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        if let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
            found.push(Token::Sign(sign));
            rest = &rest[sign.len()..];
        } else {
            let is_end = |c: char| c.is_whitespace() || "=!(),><".contains(c);
            let end = rest.find(is_end).unwrap_or(rest.len());
            found.push(Token::Word(rest[..end].to_owned()));
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    found.push(Token::End);
    found
}

/// The parser's place.
struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.at).unwrap_or(&Token::End)
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn take(&mut self, sign: &str) -> bool {
        let taken = *self.peek() == Token::Sign(SIGNS.into_iter().find(|s| *s == sign).unwrap_or(""));
        self.at += usize::from(taken);
        taken
    }

    fn requirement(&mut self) -> Result<Requirement> {
        let missing = self.take("!");
        let key = match self.next() {
            Token::Word(word) => word,
            token => return Err(unexpected(&token, "!, identifier, or 'end of string'")),
        };
        check(&manifest::validate::label_key(&key), "key", &key)?;
        if missing {
            return Ok(Requirement::Missing(key));
        }
        match self.peek().clone() {
            Token::End | Token::Sign(",") => Ok(Requirement::Exists(key)),
            Token::Word(word) if word == "in" || word == "notin" => {
                self.at += 1;
                let values = self.values()?;
                Ok(if word == "in" { Requirement::In(key, values) } else { Requirement::NotIn(key, values) })
            }
            Token::Sign(sign @ ("=" | "==" | "!=")) => {
                self.at += 1;
                let value = self.word()?;
                check(&manifest::validate::label_value(&value), "value", &value)?;
                Ok(match sign {
                    "!=" => Requirement::NotIn(key, vec![value]),
                    _ => Requirement::In(key, vec![value]),
                })
            }
            Token::Sign(sign @ (">" | "<")) => {
                self.at += 1;
                let value = self.word()?;
                let number = value.parse().map_err(|_| {
                    ApiError::bad_request(format!(
                        "values[0][{key}]: Invalid value: {value:?}: for 'Gt', 'Lt' operators, the value must be an integer"
                    ))
                })?;
                Ok(if sign == ">" {
                    Requirement::Greater(key, number)
                } else {
                    Requirement::Less(key, number)
                })
            }
            token => Err(unexpected(&token, "in, notin, =, ==, !=, gt, lt")),
        }
    }

    /// A value, which may be empty.
    fn word(&mut self) -> Result<String> {
        match self.peek() {
            Token::End | Token::Sign(",") => Ok(String::new()),
            Token::Word(word) => {
                let word = word.clone();
                self.at += 1;
                Ok(word)
            }
            token => Err(unexpected(token, "identifier")),
        }
    }

    /// `(a, b)`
    fn values(&mut self) -> Result<Vec<String>> {
        if !self.take("(") {
            return Err(unexpected(self.peek(), "'('"));
        }
        let mut values = Vec::new();
        loop {
            match self.next() {
                Token::Word(word) => {
                    check(&manifest::validate::label_value(&word), "value", &word)?;
                    values.push(word);
                    match self.next() {
                        Token::Sign(")") => return Ok(values),
                        Token::Sign(",") => {}
                        token => return Err(unexpected(&token, "',' or ')'")),
                    }
                }
                Token::Sign(",") => values.push(String::new()),
                Token::Sign(")") => {
                    values.push(String::new());
                    return Ok(values);
                }
                token => return Err(unexpected(&token, "',', ')' or identifier")),
            }
        }
    }
}

fn parse_labels(text: &str) -> Result<Vec<Requirement>> {
    let mut parser = Parser { tokens: tokens(text), at: 0 };
    let mut found = Vec::new();
    if *parser.peek() == Token::End {
        return Ok(found);
    }
    loop {
        found.push(parser.requirement()?);
        match parser.next() {
            Token::End => return Ok(found),
            Token::Sign(",") => {
                if matches!(parser.peek(), Token::End | Token::Sign(_)) && *parser.peek() != Token::Sign("!")
                {
                    return Err(unexpected(parser.peek(), "identifier after ','"));
                }
            }
            token => return Err(unexpected(&token, "',' or 'end of string'")),
        }
    }
}

fn unexpected(token: &Token, expected: &str) -> ApiError {
    let shown = match token {
        Token::Word(word) => word.as_str(),
        Token::Sign(sign) => sign,
        Token::End => "",
    };
    ApiError::bad_request(format!("found '{shown}', expected: {expected}"))
}

fn check(wrong: &[String], what: &str, value: &str) -> Result<()> {
    match wrong.first() {
        None => Ok(()),
        Some(why) => Err(ApiError::bad_request(format!("{what}: Invalid value: {value:?}: {why}"))),
    }
}

/// The fields by which a resource can be selected.
fn known_fields(resource: Resource) -> &'static [&'static str] {
    match resource {
        Resource::Pods => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        Resource::Events => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        Resource::Namespaces => &["status.phase"],
        Resource::Nodes => &["spec.unschedulable"],
        Resource::Secrets => &["type"],
        _ => &[],
    }
}

fn parse_fields(resource: Resource, fields: &str) -> Result<Vec<FieldTerm>> {
    let mut found = Vec::new();
    for term in split_terms(fields) {
        let (name, value, equal) = split_term(&term).ok_or_else(|| {
            ApiError::bad_request(format!("invalid selector: '{fields}'; can't understand '{term}'"))
        })?;
        let everywhere = ["metadata.name", "metadata.namespace"].contains(&name);
        if !everywhere && !known_fields(resource).contains(&name) {
            return Err(ApiError::bad_request(format!("field label not supported: {name}")));
        }
        let path = if name == "source" { "source.component" } else { name };
        let pointer = format!("/{}", path.replace('.', "/"));
        found.push(FieldTerm { pointer, value: unescape(value), equal });
    }
    Ok(found)
}

/// At the commas that no backslash stands before.
fn split_terms(text: &str) -> Vec<String> {
    let (mut terms, mut term, mut escaped) = (Vec::new(), String::new(), false);
    for c in text.chars() {
        match c {
            ',' if !escaped => terms.push(std::mem::take(&mut term)),
            c => term.push(c),
        }
        escaped = c == '\\' && !escaped;
    }
    terms.push(term);
    terms.retain(|term| !term.is_empty());
    terms
}

fn split_term(term: &str) -> Option<(&str, &str, bool)> {
    let at = term.find(['=', '!'])?;
    let (name, rest) = term.split_at(at);
    if let Some(value) = rest.strip_prefix("!=") {
        return Some((name, value, false));
    }
    let value = rest.strip_prefix("==").or_else(|| rest.strip_prefix('='))?;
    Some((name, value, true))
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        out.push(if c == '\\' { characters.next().unwrap_or(c) } else { c });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn matches(labels: &str) -> bool {
        let object = json!({"metadata": {"labels": {"app": "mount", "n": "5", "empty": ""}}});
        Selector::parse(Resource::Pods, labels, "").unwrap().matches(&object)
    }

    #[test]
    fn labels_are_selected_as_the_api_server_does() {
        for yes in [
            "",
            "app",
            "app=mount",
            " app == mount ,n",
            "app in (a, mount)",
            "app notin (a,b)",
            "!other",
            "other!=x",
            "n>4",
            "n<6",
            "empty=",
            "other notin (x)",
            "app=mount,!other,n in (5)",
        ] {
            assert!(matches(yes), "{yes}");
        }
        for no in ["other", "app=other", "!app", "app!=mount", "n>5", "app in (a)", "app=", "app,other"] {
            assert!(!matches(no), "{no}");
        }
    }

    #[test]
    fn what_is_no_selector_is_refused_in_the_api_servers_words() {
        let refused = |labels: &str, fields: &str| {
            Selector::parse(Resource::Pods, labels, fields).unwrap_err().message().to_owned()
        };
        assert_eq!(refused("a=b=c", ""), "found '=', expected: ',' or 'end of string'");
        assert_eq!(refused("", "spec.foo=x"), "field label not supported: spec.foo");
        for bad in
            ["=", "a in", "a in (", "a in (b", "a,,b", "a b", "a>x", "(", "!", "a,", "a==b!=", "/", "a=b/"]
        {
            assert!(!refused(bad, "").is_empty(), "{bad}");
        }
        assert!(refused("", "metadata.name").contains("can't understand"));
    }

    #[test]
    fn fields_are_compared_as_text() {
        let object = json!({"metadata": {"name": "a,b"}, "status": {"phase": "Running"}, "spec": {}});
        let matches = |fields| Selector::parse(Resource::Pods, "", fields).unwrap().matches(&object);
        assert!(matches("status.phase=Running,metadata.name==a\\,b,spec.nodeName=,spec.hostNetwork=false"));
        assert!(!matches("status.phase!=Running"));
    }
}
