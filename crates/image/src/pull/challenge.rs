//! `WWW-Authenticate`: how a registry wants to be convinced (RFC 9110 §11.6.1; distribution spec, "Token Authentication").

use std::collections::BTreeMap;

const MAX_CHALLENGES: usize = 8;
const MAX_PARAMETERS: usize = 16;

/// One offered way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// In lower case: `bearer`, `basic`.
    pub(crate) scheme: String,
    /// Names in lower case.
    pub(crate) parameters: BTreeMap<String, String>,
}

impl Challenge {
    /// The value of a parameter that is not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// All ways that the header offers, in its order. What is malformed ends the list.
pub(crate) fn parse_challenges(header: &str) -> Vec<Challenge> {
    let mut challenges: Vec<Challenge> = Vec::new();
    let mut rest = header.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() && challenges.len() <= MAX_CHALLENGES {
        let (word, after) = token(rest);
        if word.is_empty() {
            break;
        }
        if let Some(value) = after.trim_start().strip_prefix('=') {
            let Some((value, after)) = value_of(value.trim_start()) else { break };
            let Some(current) = challenges.last_mut() else { break };
            if current.parameters.len() < MAX_PARAMETERS {
                current.parameters.insert(word.to_ascii_lowercase(), value);
            }
            rest = after;
        } else {
            let scheme = word.to_ascii_lowercase();
            challenges.push(Challenge { scheme, parameters: BTreeMap::new() });
            rest = after;
        }
        rest = rest.trim_start_matches([' ', '\t', ',']);
    }
    challenges
}

fn token(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)));
    text.split_at(end.unwrap_or(text.len()))
}

/// A quoted string or a token, and what is behind it.
fn value_of(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return Some((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_challenges_are_read() {
        let all = parse_challenges(
            r#"Bearer realm="https://auth.example.test/token",service="registry.example.test",scope="repository:a/b:pull,push""#,
        );
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].scheme, "bearer");
        assert_eq!(all[0].get("realm"), Some("https://auth.example.test/token"));
        assert_eq!(all[0].get("scope"), Some("repository:a/b:pull,push"));
        let all = parse_challenges(r#"Negotiate, Basic Realm = "a \"b\", c" , BEARER realm=x,error="""#);
        let schemes: Vec<_> = all.iter().map(|c| c.scheme.as_str()).collect();
        assert_eq!(schemes, ["negotiate", "basic", "bearer"]);
        assert_eq!(all[1].get("realm"), Some(r#"a "b", c"#));
        assert_eq!((all[2].get("realm"), all[2].get("error")), (Some("x"), None));
    }

    #[test]
    fn malformed_ones_end_the_list() {
        for bad in ["", ",,", "=x", "\"", "Bearer realm=\"open", "Bearer realm=\"a\\", "ü realm=x"] {
            assert!(parse_challenges(bad).iter().all(|c| c.parameters.is_empty()), "{bad}");
        }
        assert!(parse_challenges(&"a ".repeat(10_000)).len() <= MAX_CHALLENGES + 1);
    }
}
