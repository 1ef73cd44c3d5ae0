//! How much of the disk a pod uses, and whether that is more than it may (`localStorageEviction()` of the kubelet):
//! emptyDir volumes with a sizeLimit, containers with a limit of ephemeral-storage (their writable layer and logs), and
//! the pod as a whole where every container has one.
//!
//! Measured as du(1) does: blocks, hard links once. Symbolic links are not followed and mounts not entered: what a
//! container has mounted below its volume is not the pod's. Bounded: beyond [`MAX_ENTRIES`] or [`MAX_DEPTH`] nothing is
//! counted, so that what is found is never more than what is there.

use k8s_openapi::api::core::v1 as api;
use manifest::quantity::Quantity;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

/// How many files are counted.
const MAX_ENTRIES: usize = 1_000_000;
/// How deep is looked: each level is an open descriptor.
const MAX_DEPTH: usize = 500;

/// Where things of a pod are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    /// emptyDir volumes on disk, by name.
    pub(crate) volumes: BTreeMap<String, PathBuf>,
    /// The writable layer and the logs of containers, by name.
    pub(crate) containers: BTreeMap<String, Vec<PathBuf>>,
}

/// What a pod may use, from its spec.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Limits {
    volumes: Vec<(String, Limit)>,
    containers: Vec<(String, Limit)>,
    pod: Option<Limit>,
}

/// An amount, and how it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Limit {
    bytes: u64,
    text: String,
}

impl Limits {
    /// Those of a pod.
    pub(crate) fn of(pod: &api::Pod) -> Limits {
        let Some(spec) = &pod.spec else { return Limits::default() };
        let volumes = spec.volumes.iter().flatten().filter_map(|volume| {
            let source = volume.empty_dir.as_ref()?;
            let on_disk = source.medium.as_deref().unwrap_or_default().is_empty();
            let limit = limit(&source.size_limit.as_ref().filter(|_| on_disk)?.0)?;
            Some((volume.name.clone(), limit))
        });
        let all: Vec<&api::Container> =
            spec.init_containers.iter().flatten().chain(&spec.containers).collect();
        let of = |c: &&api::Container| {
            let limits = c.resources.as_ref()?.limits.as_ref()?;
            Some((c.name.clone(), limit(&limits.get("ephemeral-storage")?.0)?))
        };
        let containers: Vec<(String, Limit)> = all.iter().filter_map(of).collect();
        let mains: Vec<Limit> = spec.containers.iter().filter_map(|c| of(&c)).map(|(_, l)| l).collect();
        let total = || {
            let bytes = mains.iter().map(|limit| limit.bytes).fold(0, u64::saturating_add);
            let text = mains.iter().map(|limit| limit.text.as_str()).collect::<Vec<_>>().join(" + ");
            Limit { bytes, text }
        };
        let pod = (!mains.is_empty() && mains.len() == spec.containers.len()).then(total);
        Limits { volumes: volumes.collect(), containers, pod }
    }

    /// Whether there is nothing to measure.
    pub(crate) fn is_empty(&self) -> bool {
        self.volumes.is_empty() && self.containers.is_empty()
    }

    /// Why the pod must go, in the kubelet's words; none if it may stay.
    pub(crate) fn exceeded(&self, places: &Places) -> Option<String> {
        self.exceeded_by(places, &mut |path| used(path))
    }

    fn exceeded_by(&self, places: &Places, used: &mut dyn FnMut(&Path) -> u64) -> Option<String> {
        let mut volumes = BTreeMap::new();
        for (name, path) in &places.volumes {
            if self.pod.is_some() || self.volumes.iter().any(|(limited, _)| limited == name) {
                volumes.insert(name, used(path));
            }
        }
        for (name, limit) in &self.volumes {
            if volumes.get(name).is_some_and(|bytes| *bytes > limit.bytes) {
                return Some(format!(
                    "Usage of EmptyDir volume {name:?} exceeds the limit {:?}. ",
                    limit.text
                ));
            }
        }
        let mut containers = BTreeMap::new();
        for (name, paths) in &places.containers {
            if self.pod.is_some() || self.containers.iter().any(|(limited, _)| limited == name) {
                containers.insert(name, paths.iter().map(|path| used(path)).fold(0, u64::saturating_add));
            }
        }
        let total = volumes.values().chain(containers.values()).fold(0, |sum: u64, n| sum.saturating_add(*n));
        if let Some(limit) = self.pod.as_ref().filter(|limit| total > limit.bytes) {
            let text = &limit.text;
            return Some(format!(
                "Pod ephemeral local storage usage exceeds the total limit of containers {text}. "
            ));
        }
        self.containers
            .iter()
            .find(|(name, limit)| containers.get(name).is_some_and(|n| *n > limit.bytes))
            .map(|(name, limit)| {
                format!("Container {name} exceeded its local ephemeral storage limit {:?}. ", limit.text)
            })
    }
}

fn limit(text: &str) -> Option<Limit> {
    let bytes = u64::try_from(Quantity::parse(text).ok()?.value()).ok()?;
    // 0 is no limit.
    (bytes > 0).then(|| Limit { bytes, text: text.to_owned() })
}

/// The bytes on disk below a path. What cannot be read counts as nothing.
fn used(path: &Path) -> u64 {
    let mut walk = Walk { bytes: 0, entries: 0, seen: HashSet::new() };
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    if let Ok(root) = rustix::fs::openat(CWD, path, flags, Mode::empty()) {
        walk.run(root);
    }
    walk.bytes
}

struct Walk {
    bytes: u64,
    entries: usize,
    /// Files with several names that were counted.
    seen: HashSet<(u64, u64)>,
}

impl Walk {
    fn run(&mut self, root: OwnedFd) {
        let Ok(dir) = Dir::new(root) else { return };
        let mut stack = vec![dir];
        while let Some(dir) = stack.last_mut() {
            let Some(entry) = dir.read() else {
                stack.pop();
                continue;
            };
            let Ok(entry) = entry else {
                stack.pop();
                continue;
            };
            if [c".", c".."].contains(&entry.file_name()) {
                continue;
            }
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return;
            }
            let Ok(fd) = dir.fd() else { continue };
            let Ok(below) = self.count(fd, entry.file_name()) else { continue };
            if let Some(below) = below.filter(|_| stack.len() < MAX_DEPTH)
                && let Ok(dir) = Dir::new(below)
            {
                stack.push(dir);
            }
        }
    }

    /// Counts an entry; a directory on the same mount is opened.
    fn count(&mut self, parent: BorrowedFd<'_>, name: &std::ffi::CStr) -> Result<Option<OwnedFd>, Errno> {
        let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let mut below = None;
        if is_directory {
            let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let resolve = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
            // EXDEV: it is a mount, and what is in it another's.
            below = Some(rustix::fs::openat2(parent.as_fd(), name, flags, Mode::empty(), resolve)?);
        }
        let again = !is_directory && stat.st_nlink > 1 && !self.seen.insert((stat.st_dev, stat.st_ino));
        if !again {
            // st_blocks counts 512 bytes whatever the file system's block is (inode(7)).
            let blocks = u64::try_from(stat.st_blocks).unwrap_or_default();
            self.bytes = self.bytes.saturating_add(blocks.saturating_mul(512));
        }
        Ok(below)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn limits(spec: serde_json::Value) -> Limits {
        Limits::of(&serde_json::from_value(json!({"spec": spec})).unwrap())
    }

    #[test]
    fn what_is_too_much() {
        let limited = |name: &str, amount: &str| json!({"name": name, "resources": {"limits": {"ephemeral-storage": amount}}});
        let volumes = json!([
            {"name": "v", "emptyDir": {"sizeLimit": "1Ki"}}, {"name": "w", "emptyDir": {}},
            {"name": "m", "emptyDir": {"medium": "Memory", "sizeLimit": "1Ki"}}]);
        let limits =
            limits(json!({"volumes": volumes, "containers": [limited("a", "2k"), limited("b", "4k")]}));
        let places = Places {
            volumes: ["v", "w"].map(|name| (name.to_owned(), PathBuf::from(name))).into(),
            containers: ["a", "b"].map(|name| (name.to_owned(), vec![PathBuf::from(name)])).into(),
        };
        let exceeded = |sizes: [u64; 4]| {
            let size = |path: &Path| {
                let names = ["v", "w", "a", "b"];
                sizes[names.iter().position(|name| path == Path::new(name)).unwrap()]
            };
            limits.exceeded_by(&places, &mut { size })
        };
        assert_eq!(exceeded([1024, 10, 2000, 2000]), None);
        let table = [
            ([1025, 0, 0, 0], "Usage of EmptyDir volume \"v\" exceeds the limit \"1Ki\". "),
            ([0, 0, 2001, 0], "Container a exceeded its local ephemeral storage limit \"2k\". "),
            (
                [0, 6001, 0, 0],
                "Pod ephemeral local storage usage exceeds the total limit of containers 2k + 4k. ",
            ),
        ];
        for (sizes, text) in table {
            assert_eq!(exceeded(sizes).as_deref(), Some(text));
        }
    }

    #[test]
    fn nothing_is_measured_without_a_limit() {
        assert!(
            limits(json!({"volumes": [{"name": "w", "emptyDir": {}}], "containers": [{"name": "a"}]}))
                .is_empty()
        );
    }

    #[test]
    fn blocks_are_counted_once_and_links_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(dir.path().join("outside"), vec![1; 1 << 20]).unwrap();
        let empty = used(&root);
        std::fs::write(root.join("a/b/file"), vec![1; 100_000]).unwrap();
        std::fs::hard_link(root.join("a/b/file"), root.join("again")).unwrap();
        std::os::unix::fs::symlink(dir.path(), root.join("link")).unwrap();
        let sparse = std::fs::File::create(root.join("sparse")).unwrap();
        sparse.set_len(1 << 40).unwrap();
        let size = used(&root) - empty;
        assert!((100_000..200_000).contains(&size), "{size}");
    }
}
