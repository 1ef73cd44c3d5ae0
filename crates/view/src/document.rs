//! Documents for programs: JSON and YAML of a value, both with sorted keys, as kubectl prints them.

use crate::text::{is_obeyed, printable_json};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt::Write as _;

/// JSON, four spaces an indent, keys sorted, with a line end.
pub fn json(value: &Value) -> String {
    let mut text = String::new();
    write_json(&mut text, value, 0);
    text.push('\n');
    match printable_json(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(safe) => safe,
    }
}

fn write_json(text: &mut String, value: &Value, depth: usize) {
    let line = |text: &mut String, depth: usize| {
        text.push('\n');
        text.extend(std::iter::repeat_n("    ", depth));
    };
    match value {
        Value::Object(map) if !map.is_empty() => {
            text.push('{');
            for (index, (key, value)) in sorted(map).into_iter().enumerate() {
                text.push_str(if index == 0 { "" } else { "," });
                line(text, depth + 1);
                let _ = write!(text, "{}: ", Value::from(key));
                write_json(text, value, depth + 1);
            }
            line(text, depth);
            text.push('}');
        }
        Value::Array(items) if !items.is_empty() => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { "," });
                line(text, depth + 1);
                write_json(text, item, depth + 1);
            }
            line(text, depth);
            text.push(']');
        }
        scalar => {
            let _ = write!(text, "{scalar}");
        }
    }
}

fn sorted(map: &serde_json::Map<String, Value>) -> Vec<(&str, &Value)> {
    let mut entries: Vec<(&str, &Value)> = map.iter().map(|(key, value)| (key.as_str(), value)).collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    entries
}

/// YAML in block style, keys sorted, sequences not indented, with a line end. Strings that another YAML reader
/// (1.1 or 1.2) could take for something else are quoted.
pub fn yaml(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => write_mapping(&mut text, map, 0, false),
        Value::Array(items) if !items.is_empty() => write_sequence(&mut text, items, 0),
        scalar => {
            write_scalar(&mut text, scalar, 0);
            text.push('\n');
        }
    }
    text
}

fn indent(text: &mut String, depth: usize) {
    text.extend(std::iter::repeat_n("  ", depth));
}

/// `first_in_place`: the cursor already stands where the first key goes (behind `- `).
fn write_mapping(
    text: &mut String,
    map: &serde_json::Map<String, Value>,
    depth: usize,
    first_in_place: bool,
) {
    for (index, (key, value)) in sorted(map).into_iter().enumerate() {
        if index > 0 || !first_in_place {
            indent(text, depth);
        }
        write_string(text, key, None);
        text.push(':');
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                text.push('\n');
                write_mapping(text, inner, depth + 1, false);
            }
            Value::Array(items) if !items.is_empty() => {
                text.push('\n');
                write_sequence(text, items, depth);
            }
            scalar => {
                text.push(' ');
                write_scalar(text, scalar, depth + 1);
                text.push('\n');
            }
        }
    }
}

fn write_sequence(text: &mut String, items: &[Value], depth: usize) {
    for item in items {
        indent(text, depth);
        text.push_str("- ");
        match item {
            Value::Object(map) if !map.is_empty() => write_mapping(text, map, depth + 1, true),
            Value::Array(inner) if !inner.is_empty() => {
                // A sequence in a sequence begins on the same line; the rest of it stands below.
                let mut nested = String::new();
                write_sequence(&mut nested, inner, depth + 1);
                text.push_str(nested.trim_start());
            }
            scalar => {
                write_scalar(text, scalar, depth + 1);
                text.push('\n');
            }
        }
    }
}

fn write_scalar(text: &mut String, value: &Value, depth: usize) {
    match value {
        Value::String(string) => write_string(text, string, Some(depth)),
        Value::Object(_) => text.push_str("{}"),
        Value::Array(_) => text.push_str("[]"),
        other => {
            let _ = write!(text, "{other}");
        }
    }
}

/// Plain if it can be, a literal block for several lines (where `block` gives its depth), else quoted.
fn write_string(text: &mut String, string: &str, block: Option<usize>) {
    let needs_escapes = string.chars().any(|c| c != '\n' && (is_obeyed(c) || c == '\u{feff}'));
    match block {
        Some(depth) if string.contains('\n') && !needs_escapes && is_blockable(string) => {
            write_block(text, string, depth);
        }
        _ if needs_escapes || string.contains('\n') => {
            // JSON's strings are YAML's double-quoted ones, but for characters that YAML does not print.
            let quoted = Value::from(string).to_string();
            for c in quoted.chars() {
                match c {
                    c if is_obeyed(c) || c == '\u{feff}' => {
                        let _ = write!(text, "\\u{:04x}", u32::from(c));
                    }
                    c => text.push(c),
                }
            }
        }
        _ if looks_like_something_else(string) => {
            let _ = write!(text, "{}", Value::from(string));
        }
        _ if !is_plain(string) => {
            let _ = write!(text, "'{}'", string.replace('\'', "''"));
        }
        _ => text.push_str(string),
    }
}

/// A literal block keeps its lines as they are, unless the first begins with a space (which would be taken for
/// indentation) or a line ends in one (which nobody would see).
fn is_blockable(string: &str) -> bool {
    !string.starts_with([' ', '\n', '\t']) && !string.contains(" \n") && !string.ends_with(' ')
}

fn write_block(text: &mut String, string: &str, depth: usize) {
    let body = string.strip_suffix('\n');
    text.push_str(match body {
        None => "|-",
        Some(body) if body.ends_with('\n') => "|+",
        Some(_) => "|",
    });
    for line in body.unwrap_or(string).split('\n') {
        text.push('\n');
        if !line.is_empty() {
            indent(text, depth);
            text.push_str(line);
        }
    }
}

/// Whether a YAML reader would take the plain string for null, a boolean, a number or a time.
fn looks_like_something_else(string: &str) -> bool {
    const WORDS: [&str; 11] = ["", "~", "null", "true", "false", "yes", "no", "on", "off", "y", "n"];
    let unsigned = string.strip_prefix(['+', '-']).unwrap_or(string);
    WORDS.contains(&string.to_ascii_lowercase().as_str())
        || matches!(string, "<<" | "=" | "---" | "...")
        || [".inf", ".nan"].contains(&unsigned.to_ascii_lowercase().as_str())
        || unsigned.strip_prefix('.').unwrap_or(unsigned).starts_with(|c: char| c.is_ascii_digit())
            && unsigned.chars().all(|c| c.is_ascii_hexdigit() || "+-._:xXoOtTzZ ".contains(c))
}

/// Whether the string can stand without quotes, in block context, as a key too (YAML 1.2 §7.3.3).
fn is_plain(string: &str) -> bool {
    let first_is_plain = match string.chars().next() {
        Some('-' | '?' | ':') => string.chars().nth(1).is_some_and(|next| next != ' '),
        Some(first) => !",[]{}#&*!|>'\"%@` ".contains(first),
        None => false,
    };
    first_is_plain
        && !string.contains(": ")
        && !string.contains(" #")
        && !string.ends_with([':', ' '])
        && !string.contains('\t')
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use serde_json::json as value;

    #[test]
    fn yaml_of_an_object() {
        let pod = value!({
            "kind": "Pod", "apiVersion": "v1",
            "metadata": {"name": "a", "labels": {}, "annotations": {"n": "1", "t": "2026-11-23T06:00:00Z"}},
            "spec": {"containers": [
                {"name": "c", "command": ["sh", "-c", "echo a\nsleep 1\n"], "args": [], "tty": true},
                {"name": "d", "env": [{"name": "A", "value": ""}], "n": [[1, 2], []]},
            ]},
            "status": null,
        });
        expect![[r#"
            apiVersion: v1
            kind: Pod
            metadata:
              annotations:
                "n": "1"
                t: "2026-11-23T06:00:00Z"
              labels: {}
              name: a
            spec:
              containers:
              - args: []
                command:
                - sh
                - -c
                - |
                  echo a
                  sleep 1
                name: c
                tty: true
              - env:
                - name: A
                  value: ""
                "n":
                - - 1
                  - 2
                - []
                name: d
            status: null
        "#]]
        .assert_eq(&yaml(&pod));
    }

    #[test]
    fn strings_that_could_be_misread_are_quoted() {
        let cases = [
            ("plain", "plain"),
            ("a b", "a b"),
            ("a: b", "'a: b'"),
            ("a:b", "a:b"),
            ("a #b", "'a #b'"),
            ("it's", "it's"),
            ("'", "''''"),
            ("- x", "'- x'"),
            ("-x", "-x"),
            ("*", "'*'"),
            ("True", "\"True\""),
            ("off", "\"off\""),
            ("1e3", "\"1e3\""),
            ("0644", "\"0644\""),
            ("0x1f", "\"0x1f\""),
            ("12:30", "\"12:30\""),
            (".5", "\".5\""),
            ("10.0.0.1", "\"10.0.0.1\""),
            ("1.27-alpine", "1.27-alpine"),
            ("a\u{1b}b", "\"a\\u001bb\""),
            ("a\u{7f}b", "\"a\\u007fb\""),
            (" lead", "' lead'"),
            ("中文", "中文"),
        ];
        for (string, expected) in cases {
            assert_eq!(yaml(&value!(string)), format!("{expected}\n"), "{string:?}");
        }
    }

    #[test]
    fn blocks_end_as_the_string_ends() {
        for (string, mark) in [("a\nb", "|-"), ("a\nb\n", "|"), ("a\nb\n\n", "|+"), (" a\nb", "\"")] {
            assert!(yaml(&value!({"k": string})).starts_with(&format!("k: {mark}")), "{string:?}");
        }
    }

    #[test]
    fn json_has_four_spaces_and_sorted_keys() {
        expect![[r#"
            {
                "a": [
                    1,
                    {}
                ],
                "b": {
                    "c": "x\ny"
                },
                "d": []
            }
        "#]]
        .assert_eq(&json(&value!({"d": [], "b": {"c": "x\ny"}, "a": [1, {}]})));
    }
}
