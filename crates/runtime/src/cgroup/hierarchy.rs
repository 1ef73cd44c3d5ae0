//! Which cgroup hierarchies this machine has, from mountinfo.

use mount_table::MountTable;
use std::path::{Path, PathBuf};

/// Of a hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// One hierarchy a controller, or a few of them.
    V1,
    /// The unified hierarchy.
    V2,
}

/// A mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Of which kind.
    pub version: Version,
    /// Version 1: its controllers, or `name=systemd` and the like. Version 2 lists them in files.
    pub controllers: Vec<String>,
    /// Where.
    pub mount_point: PathBuf,
}

/// All hierarchies, version 1 first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hierarchies(pub Vec<Hierarchy>);

/// Words in a version 1 mount's options that are no controllers.
const NOT_CONTROLLERS: [&str; 9] = [
    "rw",
    "ro",
    "xattr",
    "clone_children",
    "noprefix",
    "cpuset_v2_mode",
    "release_agent",
    "favordynmods",
    "all",
];

impl Hierarchies {
    /// Reads `/proc/self/mountinfo`.
    pub fn read() -> std::io::Result<Hierarchies> {
        let bytes = std::fs::read("/proc/self/mountinfo")?;
        parse_hierarchies(&bytes).map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))
    }

    /// Whether there is no version 1 hierarchy.
    pub fn is_v2_only(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|hierarchy| hierarchy.version == Version::V2)
    }
}

/// The hierarchies in a mountinfo text. Of several mounts of one hierarchy that below `/sys/fs/cgroup` counts, else
/// the first. Read-only mounts (as an unprivileged container sees them) do not count.
pub fn parse_hierarchies(mountinfo: &[u8]) -> Result<Hierarchies, mount_table::ParseError> {
    // Only these lines, so that a machine with thousands of mounts costs nothing.
    let is_cgroup = |line: &&[u8]| line.windows(9).any(|window| window == b" - cgroup");
    let lines: Vec<&[u8]> = mountinfo.split(|byte| *byte == b'\n').filter(is_cgroup).collect();
    let mut text = lines.join(&b'\n');
    text.push(b'\n');
    let table = if lines.is_empty() { MountTable::default() } else { MountTable::parse_mountinfo(&text)? };
    let mut found: Vec<Hierarchy> = Vec::new();
    for mount in &table.mounts {
        let version = match mount.fs_type.as_str() {
            "cgroup" => Version::V1,
            "cgroup2" => Version::V2,
            _ => continue,
        };
        let super_options = mount.super_options.as_str();
        let read_only = |options: &str| options.split(',').any(|word| word == "ro");
        if read_only(&mount.options) || read_only(super_options) {
            continue;
        }
        let controllers = match version {
            Version::V1 => controllers_of(super_options),
            Version::V2 => Vec::new(),
        };
        let usual = mount.mount_point.starts_with(Path::new("/sys/fs/cgroup"));
        let hierarchy = Hierarchy { version, controllers, mount_point: mount.mount_point.clone() };
        let same = found
            .iter_mut()
            .find(|other| other.version == version && other.controllers == hierarchy.controllers);
        match same {
            Some(other) if usual && !other.mount_point.starts_with("/sys/fs/cgroup") => *other = hierarchy,
            Some(_) => {}
            None => found.push(hierarchy),
        }
    }
    found.sort_by_key(|hierarchy| hierarchy.version == Version::V2);
    Ok(Hierarchies(found))
}

fn controllers_of(super_options: &str) -> Vec<String> {
    super_options
        .split(',')
        .filter(|word| !NOT_CONTROLLERS.contains(word))
        .filter(|word| !word.contains('=') || word.starts_with("name="))
        .map(str::to_owned)
        .collect()
}
