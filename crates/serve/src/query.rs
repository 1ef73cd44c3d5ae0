//! The parameters of a request: what stands behind the question mark. Pure.

use crate::error::{ApiError, Result};

/// Parameters that are looked at; a URL has room for no more that mean something.
const MOST: usize = 256;

/// Names and values, decoded, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    pub(crate) fn parse(text: &str) -> Query {
        let pair = |part: &str| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (decode(name, true), decode(value, true))
        };
        Query { pairs: text.split('&').filter(|part| !part.is_empty()).take(MOST).map(pair).collect() }
    }

    /// The first value of a name; empty if there is none.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.pairs.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }

    /// Whether the name stands there at all.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.pairs.iter().any(|(n, _)| n == name)
    }

    /// All values of a name.
    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        self.pairs.iter().filter(|(n, _)| n == name).map(|(_, value)| value.clone()).collect()
    }

    /// A truth as Go's conversion of parameters reads it: everything but 0 and false.
    pub(crate) fn truth(&self, name: &str) -> bool {
        self.has(name) && !matches!(self.text(name).to_ascii_lowercase().as_str(), "0" | "false")
    }

    /// A whole number; none if it does not stand there.
    pub(crate) fn number(&self, name: &str) -> Result<Option<i64>> {
        match self.text(name) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                ApiError::bad_request(format!(
                    "strconv.ParseInt: parsing {text:?}: invalid syntax (parameter {name})"
                ))
            }),
        }
    }
}

/// Decodes `%41`; bytes that are no UTF-8 become the sign for that.
pub(crate) fn decode(text: &str, plus_is_blank: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (bytes[at], hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            (b'+', ..) if plus_is_blank => {
                out.push(b' ');
                at += 1;
            }
            (byte, ..) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let query = Query::parse("a=1&b=x%3Dy+z&command=ls&command=-l&watch&no=false&%ff=%zz&=");
        assert_eq!(query.number("a").unwrap(), Some(1));
        assert_eq!(query.text("b"), "x=y z");
        assert_eq!(query.all("command"), ["ls", "-l"]);
        assert!(query.truth("watch") && !query.truth("no") && !query.truth("other"));
        assert_eq!(query.text("\u{fffd}"), "%zz");
        assert!(query.number("b").is_err());
    }
}
