//! The API's rules for names and other words, each giving what is wrong in the API server's words
//! (`k8s.io/apimachinery/pkg/util/validation`). An empty list is a valid word.

const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const KEY: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";

/// `must be no more than … characters`
pub(crate) fn max_len(max: usize) -> String {
    format!("must be no more than {max} characters")
}

/// `must be between … and …, inclusive`
pub(crate) fn between(low: i64, high: i64) -> String {
    format!("must be between {low} and {high}, inclusive")
}

/// What the API server says of a word that does not match a regular expression.
fn regex_error(message: &str, regex: &str, examples: &[&str]) -> String {
    let examples: Vec<String> = examples.iter().map(|example| format!("'{example}', ")).collect();
    format!("{message} (e.g. {}regex used for validation is '{regex}')", examples.join(" or "))
}

fn begins_and_ends(word: &str, edge: fn(u8) -> bool, inner: fn(u8) -> bool) -> bool {
    let bytes = word.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(first), Some(last)) => edge(*first) && edge(*last) && bytes.iter().all(|byte| inner(*byte)),
        _ => false,
    }
}

fn lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn is_label(word: &str) -> bool {
    begins_and_ends(word, lower, |byte| lower(byte) || byte == b'-')
}

fn is_subdomain(word: &str) -> bool {
    word.split('.').all(is_label)
}

fn is_key_name(word: &str) -> bool {
    begins_and_ends(
        word,
        |byte| byte.is_ascii_alphanumeric(),
        |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'),
    )
}

/// A label of a domain name: names of containers, volumes, namespaces, hosts.
pub(crate) fn dns_label(word: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if word.len() > 63 {
        wrong.push(max_len(63));
    }
    if !is_label(word) {
        wrong.push(if is_subdomain(word) {
            "must not contain dots".to_owned()
        } else {
            regex_error(
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
                LABEL,
                &["my-name", "123-abc"],
            )
        });
    }
    wrong
}

/// A domain name: names of most objects.
pub(crate) fn dns_subdomain(word: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if word.len() > 253 {
        wrong.push(max_len(253));
    }
    if !is_subdomain(word) {
        wrong.push(regex_error(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
            &format!("{LABEL}(\\.{LABEL})*"),
            &["example.com"],
        ));
    }
    wrong
}

/// A domain name that may have underscores: search domains.
pub(crate) fn dns_subdomain_with_underscore(word: &str) -> Vec<String> {
    const PART: &str = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?";
    let fits = |part: &str| {
        let part = part.strip_prefix('_').unwrap_or(part);
        begins_and_ends(part, lower, |byte| lower(byte) || matches!(byte, b'-' | b'_'))
    };
    let mut wrong = Vec::new();
    if word.len() > 253 {
        wrong.push(max_len(253));
    }
    if !word.split('.').all(fits) {
        wrong.push(regex_error(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character",
            &format!("{PART}(\\.{PART})*"),
            &["example.com"],
        ));
    }
    wrong
}

/// What a prefix of a name that will be generated is checked as: a hyphen at its end counts as a letter.
pub(crate) fn prefix_as_name(prefix: &str) -> String {
    match prefix.strip_suffix('-') {
        Some(rest) if rest.is_ascii() && !rest.is_empty() => format!("{}a", &rest[..rest.len() - 1]),
        _ => prefix.to_owned(),
    }
}

/// A key of a label, or another qualified name.
pub(crate) fn label_key(word: &str) -> Vec<String> {
    const RULE: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
    let rule = |start: &str| regex_error(&format!("{start} {RULE}"), KEY, &["MyName", "my.name", "123-abc"]);
    let mut wrong = Vec::new();
    let parts: Vec<&str> = word.split('/').collect();
    let name = match parts.as_slice() {
        [name] => *name,
        [prefix, name] => {
            if prefix.is_empty() {
                wrong.push("prefix part must be non-empty".to_owned());
            } else {
                wrong.extend(dns_subdomain(prefix).into_iter().map(|text| format!("prefix part {text}")));
            }
            *name
        }
        _ => {
            return vec![
                rule("a valid label key")
                    + " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
            ];
        }
    };
    if name.is_empty() {
        wrong.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        wrong.push(format!("name part {}", max_len(63)));
    }
    if !is_key_name(name) {
        wrong.push(rule("name part"));
    }
    wrong
}

/// A label's value.
pub(crate) fn label_value(word: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if word.len() > 63 {
        wrong.push(max_len(63));
    }
    if !word.is_empty() && !is_key_name(word) {
        wrong.push(regex_error(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
            &format!("({KEY})?"),
            &["MyValue", "my_value", "12345"],
        ));
    }
    wrong
}

/// A port's number.
pub(crate) fn port_number(port: i64) -> Vec<String> {
    if (1..=65535).contains(&port) { Vec::new() } else { vec![between(1, 65535)] }
}

/// A port's name.
pub(crate) fn port_name(word: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if word.len() > 15 {
        wrong.push(max_len(15));
    }
    if word.is_empty() || !word.bytes().all(|byte| lower(byte) || byte == b'-') {
        wrong.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !word.bytes().any(|byte| byte.is_ascii_lowercase()) {
        wrong.push("must contain at least one letter (a-z)".to_owned());
    }
    if word.contains("--") {
        wrong.push("must not contain consecutive hyphens".to_owned());
    }
    if word.starts_with('-') || word.ends_with('-') {
        wrong.push("must not begin or end with a hyphen".to_owned());
    }
    wrong
}

/// An environment variable's name.
pub(crate) fn env_name(word: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if word.is_empty() {
        wrong.push("environment variable name must be non-empty".to_owned());
    }
    if word.chars().any(|c| !matches!(c, ' '..='~') || c == '=') {
        wrong.push(
            "a valid environment variable name must consist only of printable ASCII characters other than '='".to_owned(),
        );
    }
    wrong
}

/// A key of a ConfigMap or Secret.
pub(crate) fn config_key(word: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if word.len() > 253 {
        wrong.push(max_len(253));
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if word.is_empty() || !word.bytes().all(fits) {
        wrong.push(regex_error(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            "[-._a-zA-Z0-9]+",
            &["key.name", "KEY_NAME", "key-name"],
        ));
    }
    match word {
        "." => wrong.push("must not be '.'".to_owned()),
        ".." => wrong.push("must not be '..'".to_owned()),
        _ if word.starts_with("..") => wrong.push("must not start with '..'".to_owned()),
        _ => {}
    }
    wrong
}

/// A name of an HTTP header.
pub(crate) fn http_header(word: &str) -> Vec<String> {
    if !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Vec::new();
    }
    vec![regex_error(
        "a valid HTTP header must consist of alphanumeric characters or '-'",
        "[-A-Za-z0-9]+",
        &["X-Header-Name"],
    )]
}

/// A user or group id.
pub(crate) fn id(number: i64) -> Vec<String> {
    const MAX: i64 = i32::MAX as i64;
    if (0..=MAX).contains(&number) { Vec::new() } else { vec![between(0, MAX)] }
}

/// A sysctl's name.
pub(crate) fn is_sysctl(word: &str) -> bool {
    let segment =
        |part: &str| begins_and_ends(part, lower, |byte| lower(byte) || matches!(byte, b'-' | b'_'));
    word.len() <= 253 && word.split(['.', '/']).all(segment)
}

/// An IP address, in the strict form that Kubernetes 1.36 asks for.
pub(crate) fn ip(word: &str) -> Vec<String> {
    use std::net::IpAddr;
    match word.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) if address.to_ipv4_mapped().is_some() => {
            vec!["must not be an IPv4-mapped IPv6 address".to_owned()]
        }
        Ok(_) => Vec::new(),
        Err(_) if without_leading_zeros(word).parse::<IpAddr>().is_ok() => {
            vec!["must not have leading 0s".to_owned()]
        }
        Err(_) => vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()],
    }
}

fn without_leading_zeros(word: &str) -> String {
    let short = |part: &str| match part.trim_start_matches('0') {
        "" if !part.is_empty() => "0".to_owned(),
        rest => rest.to_owned(),
    };
    word.split('.').map(short).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_words_pass() {
        for word in ["a", "a-b", "1", "x0"] {
            assert!(dns_label(word).is_empty() && dns_subdomain(word).is_empty(), "{word}");
        }
        assert!(dns_subdomain("a.b-c.d").is_empty());
        assert!(dns_subdomain_with_underscore("_srv._tcp.a_b.c").is_empty());
        assert!(label_key("example.com/My_Name.x").is_empty() && label_value("").is_empty());
        assert!(
            port_name("http-80").is_empty() && env_name("a b").is_empty() && config_key("..a").len() == 1
        );
        assert!(ip("::1").is_empty() && ip("1.2.3.4").is_empty());
        assert!(is_sysctl("net.ipv4.ip_forward") && is_sysctl("net/ipv4/x") && !is_sysctl("a..b"));
    }

    #[test]
    fn invalid_words_are_said_as_the_api_server_says_them() {
        assert_eq!(dns_label("a.b"), ["must not contain dots"]);
        assert_eq!(dns_label(&"a".repeat(64)), ["must be no more than 63 characters"]);
        assert_eq!(
            dns_label("A"),
            [
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
            ]
        );
        assert_eq!(port_name("--").len(), 3);
        assert_eq!(port_name("1"), ["must contain at least one letter (a-z)"]);
        assert_eq!(
            label_key("/"),
            [
                "prefix part must be non-empty",
                "name part must be non-empty",
                "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
            ]
        );
        assert_eq!(ip("01.2.3.4"), ["must not have leading 0s"]);
        assert_eq!(ip("::ffff:1.2.3.4"), ["must not be an IPv4-mapped IPv6 address"]);
        assert_eq!(prefix_as_name("web-"), "wea");
    }
}
