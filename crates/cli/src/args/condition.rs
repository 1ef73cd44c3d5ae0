//! What `rhizome wait` waits for, and how long, in kubectl's words.

use crate::duration;
use crate::jsonpath::JsonPath;
use std::str::FromStr;
use std::time::Duration;

/// A negative timeout, as kubectl has it.
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum For {
    /// That there is such a pod.
    Create,
    /// That there is none.
    Delete,
    /// A condition of the status, and its value.
    Condition(String, String),
    /// What a path gives; none means that it gives something.
    Path(JsonPath, Option<String>),
}

impl FromStr for For {
    type Err = String;

    fn from_str(text: &str) -> Result<For, String> {
        if let Some(condition) = text.strip_prefix("condition=") {
            let (kind, value) = condition.split_once('=').unwrap_or((condition, "true"));
            return match kind {
                "" => Err("condition= needs the name of a condition, such as Ready".to_owned()),
                kind => Ok(For::Condition(kind.to_owned(), value.to_owned())),
            };
        }
        if let Some(expression) = text.strip_prefix("jsonpath=") {
            // The `=` after the braces, not one of a filter.
            let (path, value) = match expression.rfind('}') {
                Some(end) => expression.split_at(end + 1),
                None => expression.split_at(expression.find('=').unwrap_or(expression.len())),
            };
            let value = value.strip_prefix('=').map(|value| value.trim_matches(['\'', '"']).to_owned());
            return Ok(For::Path(JsonPath::parse(path)?, value));
        }
        match text.to_ascii_lowercase().as_str() {
            "delete" => Ok(For::Delete),
            "create" => Ok(For::Create),
            _ => Err(format!("unrecognized condition: {text:?}")),
        }
    }
}

/// `--timeout`: a negative one means a week.
pub(crate) fn parse_timeout(text: &str) -> Result<Duration, String> {
    match text.strip_prefix('-') {
        Some(positive) => duration::parse(positive).map(|_| WEEK),
        None => duration::parse(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_waited_for() {
        let condition = |kind: &str, value: &str| Ok(For::Condition(kind.into(), value.into()));
        assert_eq!("condition=Ready".parse(), condition("Ready", "true"));
        assert_eq!("condition=ready=False".parse(), condition("ready", "False"));
        assert_eq!("delete".parse(), Ok(For::Delete));
        let path = JsonPath::parse(".status.phase").unwrap();
        assert_eq!(
            "jsonpath={.status.phase}=Running".parse(),
            Ok(For::Path(path.clone(), Some("Running".into())))
        );
        assert_eq!(
            "jsonpath=.status.phase='Running'".parse(),
            Ok(For::Path(path.clone(), Some("Running".into())))
        );
        assert_eq!("jsonpath={.status.phase}".parse(), Ok(For::Path(path, None)));
        for wrong in ["", "condition=", "ready", "jsonpath={.a"] {
            assert!(wrong.parse::<For>().is_err(), "{wrong}");
        }
        assert_eq!(parse_timeout("-1s"), Ok(WEEK));
    }
}
