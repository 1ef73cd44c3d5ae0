//! The annotations that this node gives a meaning to.

use crate::field::{FieldErrors, Path};
use k8s_openapi::api::core::v1::Pod;

/// Share a hostPath source that is not shared, by binding it on itself; undone when the pod is removed.
pub const MAKE_SHARED: &str = "rhizome.dev/make-shared";
/// What becomes of mounts that a container leaves behind below a Bidirectional volume.
pub const MOUNTS_AT_END: &str = "rhizome.dev/mounts-at-end";
/// Rules that `rhizome lint` does not apply to an object, by name, with commas between them.
pub const IGNORE: &str = "rhizome.dev/ignore";

/// What becomes of mounts that a container leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MountsAtEnd {
    /// They stay, as in Kubernetes.
    #[default]
    Keep,
    /// They are detached.
    Detach,
}

/// The annotations of a Pod, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Annotations {
    /// [`MAKE_SHARED`]
    pub make_shared: bool,
    /// [`MOUNTS_AT_END`]
    pub mounts_at_end: MountsAtEnd,
}

/// Reads a Pod's annotations.
///
/// # Errors
/// Values that mean nothing, and `rhizome.dev/` annotations that are unknown.
pub fn read(pod: &Pod) -> Result<Annotations, FieldErrors> {
    read_at(pod, &Path::new(""))
}

/// The same for a Pod, or the template of one, that stands at `base`.
pub(crate) fn read_at(pod: &Pod, base: &Path) -> Result<Annotations, FieldErrors> {
    let mut found = Annotations::default();
    let mut errors = FieldErrors::default();
    let path = base.child("metadata").child("annotations");
    for (key, value) in pod.metadata.annotations.iter().flatten() {
        if !key.starts_with("rhizome.dev/") {
            continue;
        }
        match (key.as_str(), value.as_str()) {
            (MAKE_SHARED, "true") => found.make_shared = true,
            (MAKE_SHARED, "false") => found.make_shared = false,
            (MAKE_SHARED, other) => errors.unsupported(&path.key(key), other, &["false", "true"]),
            (MOUNTS_AT_END, "keep") => found.mounts_at_end = MountsAtEnd::Keep,
            (MOUNTS_AT_END, "detach") => found.mounts_at_end = MountsAtEnd::Detach,
            (MOUNTS_AT_END, other) => errors.unsupported(&path.key(key), other, &["detach", "keep"]),
            // For who reads the manifest, not for who runs it.
            (IGNORE, _) => {}
            (other, _) => {
                errors.unsupported(&path.at(&path.key(other)), other, &[IGNORE, MAKE_SHARED, MOUNTS_AT_END])
            }
        }
    }
    if errors.is_empty() { Ok(found) } else { Err(errors) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_one(key: &str, value: &str) -> Result<Annotations, String> {
        let mut pod = Pod::default();
        pod.metadata.annotations = Some([(key.to_owned(), value.to_owned())].into());
        read(&pod).map_err(|errors| errors.list[0].message.clone())
    }

    #[test]
    fn values_that_mean_nothing_are_refused() {
        assert!(read_one(MAKE_SHARED, "true").unwrap().make_shared);
        assert_eq!(read_one(MOUNTS_AT_END, "detach").unwrap().mounts_at_end, MountsAtEnd::Detach);
        assert_eq!(
            read_one(MAKE_SHARED, "yes").unwrap_err(),
            "metadata.annotations[rhizome.dev/make-shared]: Unsupported value: \"yes\": supported values: \"false\", \"true\""
        );
        assert!(read_one("rhizome.dev/make-share", "true").is_err());
        assert!(read_one("example.com/x", "y").is_ok() && read_one(IGNORE, "any").is_ok());
    }
}
