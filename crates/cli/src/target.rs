//! How pods and containers are named on the command line.

use crate::exit::{Failure, Result};

/// `POD[/CONTAINER]`. A `pod/` before it (as `ps -o name` prints it) is passed over; `ds/NAME` and the like are the pods
/// of a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// The pod.
    pub(crate) pod: String,
    /// The container; none means the pod's first.
    pub(crate) container: Option<String>,
}

impl Target {
    /// Reads the name, and the container of `-c`, which must not be another one.
    pub(crate) fn parse(text: &str, container: Option<&str>) -> Result<Target> {
        let text = without_kind(text);
        // Where the name ends, behind the kind of a workload.
        let begin = workload(text).map_or(0, |(_, name)| text.len() - name.len());
        let (pod, named) = match text[begin..].find('/').map(|at| begin + at) {
            Some(end) => (&text[..end], Some(&text[end + 1..])),
            None => (text, None),
        };
        if pod.len() == begin || named.is_some_and(|name| name.is_empty() || name.contains('/')) {
            return Err(Failure::wrong_use(format!("{text:?} is not POD or POD/CONTAINER")));
        }
        match (named, container) {
            (Some(named), Some(container)) if named != container => {
                Err(Failure::wrong_use(format!("which container: {named} or {container}?")))
            }
            _ => Ok(Target { pod: pod.to_owned(), container: named.or(container).map(str::to_owned) }),
        }
    }
}

/// The workload that is named as for kubectl: `ds/debug-agent` is the DaemonSet debug-agent. Its kind and name.
pub(crate) fn workload(text: &str) -> Option<(&'static str, &str)> {
    let (kind, name) = text.split_once('/')?;
    Some((manifest::workloads::kind_of_word(kind)?, name))
}

/// The pod's name, also where kubectl's kind stands before it.
pub(crate) fn without_kind(text: &str) -> &str {
    ["pod/", "pods/", "po/"].iter().find_map(|kind| text.strip_prefix(kind)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let parse = |text, container| Target::parse(text, container).ok().map(|t| (t.pod, t.container));
        let some = |pod: &str, container: Option<&str>| Some((pod.to_owned(), container.map(str::to_owned)));
        assert_eq!(parse("a", None), some("a", None));
        assert_eq!(parse("a/b", None), some("a", Some("b")));
        assert_eq!(parse("pod/a", None), some("a", None));
        assert_eq!(parse("pod/a/b", Some("b")), some("a", Some("b")));
        assert_eq!(parse("a", Some("b")), some("a", Some("b")));
        assert_eq!(parse("ds/a", None), some("ds/a", None));
        assert_eq!(parse("deployments/a/b", None), some("deployments/a", Some("b")));
        for wrong in ["ds/", "ds//b", "", "/", "a/", "/b", "a/b/c", "pod/"] {
            assert_eq!(parse(wrong, None), None, "{wrong:?}");
        }
        assert_eq!(parse("a/b", Some("c")), None);
    }
}
