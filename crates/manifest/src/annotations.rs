//! The annotations that this node gives a meaning to.

use crate::field::{FieldErrors, Path};
use k8s_openapi::api::core::v1::Pod;

/// Share a hostPath source that is not shared, by binding it on itself; undone when the pod is removed.
pub const MAKE_SHARED: &str = "rhizome.dev/make-shared";
/// What becomes of mounts that a container leaves behind below a Bidirectional volume.
pub const MOUNTS_AT_END: &str = "rhizome.dev/mounts-at-end";
/// The most processes and threads of the pod, a number or `unlimited`: what `podPidsLimit` is to a kubelet.
pub const PIDS_LIMIT: &str = "rhizome.dev/pids-limit";
/// Kernel parameters that are not safe and that this pod may set all the same: names, or beginnings with `*`, with commas
/// between them, as a kubelet's `--allowed-unsafe-sysctls` has them.
pub const ALLOWED_UNSAFE_SYSCTLS: &str = "rhizome.dev/allowed-unsafe-sysctls";
/// Bidirectional volumes for a pod with `hostUsers: false`, whose root can then unmount what the host has mounted there.
pub const BIDIRECTIONAL_IN_USERNS: &str = "rhizome.dev/bidirectional-in-userns";
/// Rules that `rhizome lint` does not apply to an object, by name, with commas between them.
pub const IGNORE: &str = "rhizome.dev/ignore";
/// What the mounts of a Pod really do: written by the node, and of no effect where it comes from elsewhere.
pub const PROPAGATION: &str = "rhizome.dev/propagation";

/// All of them, in alphabetical order.
const KNOWN: &[&str] =
    &[ALLOWED_UNSAFE_SYSCTLS, BIDIRECTIONAL_IN_USERNS, IGNORE, MAKE_SHARED, MOUNTS_AT_END, PIDS_LIMIT];

/// What becomes of mounts that a container leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MountsAtEnd {
    /// They stay, as in Kubernetes.
    #[default]
    Keep,
    /// They are detached.
    Detach,
}

/// How many processes a pod may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PidsLimit {
    /// The node's own limit.
    #[default]
    Default,
    /// This many.
    Of(u64),
    /// As many as the machine has.
    Unlimited,
}

impl PidsLimit {
    /// From 1 to what the kernel can number at all (`PID_MAX_LIMIT`, include/linux/threads.h).
    fn parse(text: &str) -> Option<PidsLimit> {
        match text {
            "unlimited" => Some(PidsLimit::Unlimited),
            number => number.parse().ok().filter(|limit| (1..=4 << 20).contains(limit)).map(PidsLimit::Of),
        }
    }
}

/// The annotations of a Pod, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Annotations {
    /// [`MAKE_SHARED`]
    pub make_shared: bool,
    /// [`MOUNTS_AT_END`]
    pub mounts_at_end: MountsAtEnd,
    /// [`PIDS_LIMIT`]
    pub pids_limit: PidsLimit,
    /// [`BIDIRECTIONAL_IN_USERNS`]
    pub bidirectional_in_userns: bool,
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
            (PIDS_LIMIT, text) => match PidsLimit::parse(text) {
                Some(limit) => found.pids_limit = limit,
                None => {
                    errors.invalid(&path.key(key), text, "must be a number from 1 to 4194304, or unlimited")
                }
            },
            (BIDIRECTIONAL_IN_USERNS, "true") => found.bidirectional_in_userns = true,
            (BIDIRECTIONAL_IN_USERNS, "false") => found.bidirectional_in_userns = false,
            (BIDIRECTIONAL_IN_USERNS, other) => {
                errors.unsupported(&path.key(key), other, &["false", "true"]);
            }
            // For who reads the manifest (the first where the parameters are judged), not for who runs it.
            (ALLOWED_UNSAFE_SYSCTLS | IGNORE | PROPAGATION, _) => {}
            (other, _) => errors.unsupported(&path.at(&path.key(other)), other, KNOWN),
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
        assert_eq!(read_one(PIDS_LIMIT, "64").unwrap().pids_limit, PidsLimit::Of(64));
        assert_eq!(read_one(PIDS_LIMIT, "unlimited").unwrap().pids_limit, PidsLimit::Unlimited);
        for bad in ["0", "-1", "many", "", "4194305"] {
            assert!(read_one(PIDS_LIMIT, bad).is_err(), "{bad}");
        }
        assert!(read_one("rhizome.dev/make-share", "true").is_err());
        assert!(read_one("example.com/x", "y").is_ok() && read_one(IGNORE, "any").is_ok());
    }
}
