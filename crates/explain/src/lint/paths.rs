//! Paths as text: what lies in what, without asking any file system.

/// A path without empty and `.` parts and without a slash at its end. `/var/run` is `/run`, as on every node of today.
pub(super) fn clean(path: &str) -> String {
    let mut clean = String::with_capacity(path.len());
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        clean.push('/');
        clean.push_str(part);
    }
    let run = clean.strip_prefix("/var/run").filter(|rest| rest.is_empty() || rest.starts_with('/'));
    let clean = run.map(|rest| format!("/run{rest}")).unwrap_or(clean);
    if clean.is_empty() { "/".to_owned() } else { clean }
}

/// Whether `path` is `folder` or lies in it; both clean.
pub(super) fn within(path: &str, folder: &str) -> bool {
    folder == "/" || path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether `path` lies in `folder` and is not it; both clean.
pub(super) fn below(path: &str, folder: &str) -> bool {
    path != folder && within(path, folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_compared_by_their_parts() {
        assert_eq!(clean("//a/./b/"), "/a/b");
        assert_eq!(clean("/"), "/");
        assert_eq!((clean("/var/run/x"), clean("/var/runner")), ("/run/x".into(), "/var/runner".into()));
        assert!(within("/a/b", "/a") && within("/a", "/a") && within("/a", "/") && !within("/ab", "/a"));
        assert!(below("/a/b", "/a") && !below("/a", "/a"));
    }
}
