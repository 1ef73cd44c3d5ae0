//! emptyDir of huge pages: which size a pod means, as the kubelet finds it (`pkg/volume/emptydir` `getPageSizeMountOption`),
//! and whether this machine has such pages.

use k8s_openapi::api::core::v1::PodSpec;
use manifest::quantity::Quantity;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Where the kernel tells of its huge pages.
pub const OF_THE_KERNEL: &str = "/sys/kernel/mm/hugepages";

/// Why an emptyDir has no huge pages.
#[derive(Debug, thiserror::Error)]
pub enum HugePagesError {
    /// A medium that is none.
    #[error("unknown storage medium {0:?}")]
    Medium(String),
    /// `HugePages` without a size is the size that the containers ask for.
    #[error("hugePages storage requested, but there is no resource request for huge pages.")]
    NoRequest,
    /// And there are several.
    #[error("medium \"HugePages\" cannot be used if the pod requests multiple huge page sizes")]
    SeveralSizes,
    /// The machine has pages of other sizes only.
    #[error("this machine has no huge pages of {} KiB; it has: {}", .page_bytes / 1024, listed(.others))]
    NoSuchSize {
        /// Wanted.
        page_bytes: u64,
        /// What there is, in bytes.
        others: Vec<u64>,
    },
    /// It has them, and none is set aside.
    #[error("no huge pages of {} KiB are set aside on this machine", .page_bytes / 1024)]
    NoneReserved {
        /// Wanted.
        page_bytes: u64,
        /// Where they are set aside.
        path: PathBuf,
    },
}

fn listed(sizes: &[u64]) -> String {
    match sizes {
        [] => "none".to_owned(),
        sizes => sizes.iter().map(|size| format!("{} KiB", size / 1024)).collect::<Vec<_>>().join(", "),
    }
}

impl HugePagesError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            HugePagesError::NoneReserved { path, .. } => {
                Some(format!("set some aside: `echo COUNT > {}`", path.display()))
            }
            HugePagesError::NoRequest | HugePagesError::SeveralSizes => {
                Some("say the size: `medium: HugePages-2Mi`".to_owned())
            }
            _ => None,
        }
    }
}

/// The size of the pages of a medium: `HugePages-2Mi`, or `HugePages` and the one size in the pod's requests.
///
/// # Errors
/// In the kubelet's words.
pub fn page_bytes(medium: &str, spec: Option<&PodSpec>) -> Result<u64, HugePagesError> {
    let parse = |size: &str| Quantity::parse(size).ok().and_then(|size| u64::try_from(size.value()).ok());
    if let Some(size) = medium.strip_prefix("HugePages-") {
        return parse(size).ok_or_else(|| HugePagesError::Medium(medium.to_owned()));
    }
    if medium != "HugePages" {
        return Err(HugePagesError::Medium(medium.to_owned()));
    }
    let containers =
        spec.into_iter().flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers));
    let asked = containers.filter_map(|container| container.resources.as_ref()).flat_map(|resources| {
        let requests = resources.requests.iter().flatten().map(|(name, _)| name);
        requests.chain(resources.limits.iter().flatten().map(|(name, _)| name))
    });
    let sizes: BTreeSet<u64> =
        asked.filter_map(|name| name.strip_prefix("hugepages-")).filter_map(parse).collect();
    match (sizes.first(), sizes.len()) {
        (Some(size), 1) => Ok(*size),
        (None, _) => Err(HugePagesError::NoRequest),
        _ => Err(HugePagesError::SeveralSizes),
    }
}

/// Whether the kernel has pages of that size and some are set aside, or may be made when they are needed.
///
/// # Errors
/// With what it has instead.
pub fn check(kernel: &Path, page_bytes: u64) -> Result<(), HugePagesError> {
    let folder = kernel.join(format!("hugepages-{}kB", page_bytes / 1024));
    if !folder.is_dir() {
        return Err(HugePagesError::NoSuchSize { page_bytes, others: sizes(kernel) });
    }
    let count = |name: &str| {
        let text = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        text.trim().parse::<u64>().unwrap_or_default()
    };
    if count("nr_hugepages") == 0 && count("nr_overcommit_hugepages") == 0 {
        return Err(HugePagesError::NoneReserved { page_bytes, path: folder.join("nr_hugepages") });
    }
    Ok(())
}

fn sizes(kernel: &Path) -> Vec<u64> {
    let entries = std::fs::read_dir(kernel).into_iter().flatten().flatten();
    let size = |name: &str| name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse::<u64>().ok();
    let mut found: Vec<u64> = entries
        .filter_map(|entry| size(&entry.file_name().to_string_lossy()))
        .map(|kib| kib * 1024)
        .collect();
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn bytes(medium: &str, requests: serde_json::Value) -> Result<u64, String> {
        let spec = json!({"containers": [{"name": "c", "resources": {"requests": requests}}]});
        page_bytes(medium, Some(&serde_json::from_value(spec).unwrap())).map_err(|error| error.to_string())
    }

    #[test]
    fn a_medium_says_the_size_or_the_containers_do() {
        assert_eq!(bytes("HugePages-2Mi", json!({})), Ok(2 << 20));
        assert_eq!(bytes("HugePages", json!({"hugepages-1Gi": "2Gi", "cpu": 1})), Ok(1 << 30));
        assert!(bytes("HugePages", json!({})).unwrap_err().contains("no resource request for huge pages"));
        let both = bytes("HugePages", json!({"hugepages-1Gi": "1Gi", "hugepages-2Mi": "2Mi"}));
        assert!(both.unwrap_err().contains("multiple huge page sizes"));
        assert_eq!(bytes("HugePages-x", json!({})), Err("unknown storage medium \"HugePages-x\"".to_owned()));
    }

    #[test]
    fn what_the_machine_does_not_have_is_said() {
        let kernel = tempfile::tempdir().unwrap();
        let none = check(kernel.path(), 2 << 20).unwrap_err();
        assert_eq!(none.to_string(), "this machine has no huge pages of 2048 KiB; it has: none");
        let folder = kernel.path().join("hugepages-2048kB");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("nr_hugepages"), "0\n").unwrap();
        let other = check(kernel.path(), 1 << 30).unwrap_err();
        assert_eq!(other.to_string(), "this machine has no huge pages of 1048576 KiB; it has: 2048 KiB");
        let empty = check(kernel.path(), 2 << 20).unwrap_err();
        assert_eq!(empty.to_string(), "no huge pages of 2048 KiB are set aside on this machine");
        assert!(empty.hint().unwrap().contains("hugepages-2048kB/nr_hugepages"));
        std::fs::write(folder.join("nr_overcommit_hugepages"), "4\n").unwrap();
        assert!(check(kernel.path(), 2 << 20).is_ok());
    }
}
