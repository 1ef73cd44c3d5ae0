//! The part of kubectl's JSONPath that `wait` is used with: names, indices, `*`, and filters for equality, such as
//! `{.status.conditions[?(@.type=="Ready")].status}`. Pure.

use serde_json::Value;

/// A parsed expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JsonPath(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Name(String),
    Index(i64),
    All,
    /// Elements in which the path gives this text.
    Where(JsonPath, String),
}

impl JsonPath {
    /// Parses `{.a.b[0]}`, with or without the braces and the first dot.
    pub(crate) fn parse(text: &str) -> Result<JsonPath, String> {
        let inner = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(text);
        let inner = inner.strip_prefix('$').unwrap_or(inner);
        let wrong = |what: &str| format!("jsonpath {text:?}: {what}");
        let mut steps = Vec::new();
        let mut rest = inner;
        while !rest.is_empty() {
            if let Some(bracketed) = rest.strip_prefix('[') {
                let end = end_of_brackets(bracketed).ok_or_else(|| wrong("a [ without its ]"))?;
                steps.push(bracket(&bracketed[..end]).map_err(|what| wrong(&what))?);
                rest = &bracketed[end + 1..];
                continue;
            }
            let named = rest.strip_prefix('.').unwrap_or(rest);
            let end = named.find(['.', '[']).unwrap_or(named.len());
            match &named[..end] {
                "" if end == named.len() && steps.is_empty() => {}
                "" => return Err(wrong("a name is missing")),
                "*" => steps.push(Step::All),
                name if name.chars().all(|c| c.is_alphanumeric() || "-_/\\".contains(c)) => {
                    steps.push(Step::Name(name.to_owned()));
                }
                name => return Err(wrong(&format!("{name:?} is not understood"))),
            }
            rest = &named[end..];
        }
        Ok(JsonPath(steps))
    }

    /// What it gives of a value.
    pub(crate) fn find<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        self.0.iter().fold(vec![value], |found, step| found.into_iter().flat_map(|v| step.of(v)).collect())
    }
}

/// Where the `]` is that closes, past those in quotes and brackets.
fn end_of_brackets(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0_u32, None);
    for (at, c) in text.char_indices() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            (_, Some(_)) => {}
            ('\'' | '"', None) => quote = Some(c),
            ('[', None) => depth += 1,
            (']', None) if depth == 0 => return Some(at),
            (']', None) => depth -= 1,
            _ => {}
        }
    }
    None
}

fn bracket(text: &str) -> Result<Step, String> {
    let text = text.trim();
    if let Some(filter) = text.strip_prefix("?(").and_then(|rest| rest.strip_suffix(')')) {
        let (path, value) = filter.split_once("==").ok_or("only == is understood in a filter")?;
        let path = path.trim().strip_prefix('@').ok_or("a filter begins with @")?;
        return Ok(Step::Where(JsonPath::parse(path)?, unquoted(value.trim()).to_owned()));
    }
    if text == "*" {
        return Ok(Step::All);
    }
    if let Ok(index) = text.parse() {
        return Ok(Step::Index(index));
    }
    match unquoted(text) {
        name if name.len() + 2 == text.len() => Ok(Step::Name(name.to_owned())),
        _ => Err(format!("[{text}] is not understood")),
    }
}

fn unquoted(text: &str) -> &str {
    let inner = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    inner('\'').or_else(|| inner('"')).unwrap_or(text)
}

impl Step {
    fn of<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        match self {
            Step::Name(name) => value.get(name.replace('\\', "")).into_iter().collect(),
            Step::Index(index) => {
                let list = value.as_array().map_or(&[][..], Vec::as_slice);
                let at = if *index < 0 { list.len() as i64 + index } else { *index };
                usize::try_from(at).ok().and_then(|at| list.get(at)).into_iter().collect()
            }
            Step::All => match value {
                Value::Array(list) => list.iter().collect(),
                Value::Object(map) => map.values().collect(),
                _ => Vec::new(),
            },
            Step::Where(path, wanted) => {
                let list = value.as_array().map_or(&[][..], Vec::as_slice);
                let holds = |item: &&Value| path.find(item).iter().any(|found| text(found) == *wanted);
                list.iter().filter(holds).collect()
            }
        }
    }
}

/// A value as kubectl compares it: a string without its quotes.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths() {
        let pod = json!({"status": {"phase": "Running", "n": 3, "a.b": 1, "conditions": [
            {"type": "Initialized", "status": "True"}, {"type": "Ready", "status": "False"}]}});
        let find = |path: &str| {
            JsonPath::parse(path).map(|path| path.find(&pod).into_iter().map(text).collect::<Vec<_>>())
        };
        for (path, expected) in [
            ("{.status.phase}", vec!["Running"]),
            (".status.n", vec!["3"]),
            ("status['phase']", vec!["Running"]),
            ("{.status['a.b']}", vec!["1"]),
            ("{.status.conditions[1].type}", vec!["Ready"]),
            ("{.status.conditions[-1].type}", vec!["Ready"]),
            ("{.status.conditions[*].type}", vec!["Initialized", "Ready"]),
            ("{.status.conditions[?(@.type==\"Ready\")].status}", vec!["False"]),
            ("{.status.conditions[?(@.type=='x')].status}", vec![]),
            ("{.spec.nodeName}", vec![]),
            ("{$.status.phase}", vec!["Running"]),
        ] {
            assert_eq!(find(path).unwrap(), expected, "{path}");
        }
        for wrong in ["{.status[}", "{.status..x}", "{.a[?(@.b>1)]}", "{.a[b]}", "{.a b}", "{a.}"] {
            assert!(find(wrong).is_err(), "{wrong}");
        }
    }
}
