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
    /// Version 1: its controllers, or `name=systemd` and the like. Version 2: those of [`WANTED_CONTROLLERS`]
    /// that its topmost cgroup offers (read from a file, so none after [`parse_hierarchies`]).
    pub controllers: Vec<String>,
    /// Where.
    pub mount_point: PathBuf,
}

/// All hierarchies, version 1 first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hierarchies(pub Vec<Hierarchy>);

/// The version 2 controllers that limits are set with or figures read from.
pub const WANTED_CONTROLLERS: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

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
    /// Reads `/proc/self/mountinfo`, and what a version 2 hierarchy offers.
    pub fn read() -> std::io::Result<Hierarchies> {
        let bytes = sys::file::read_proc(Path::new("/proc/self/mountinfo"))?;
        let mut hierarchies = parse_hierarchies(&bytes)
            .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))?;
        for hierarchy in hierarchies.0.iter_mut().filter(|hierarchy| hierarchy.version == Version::V2) {
            let offered = std::fs::read_to_string(hierarchy.mount_point.join("cgroup.controllers"))?;
            let wanted = offered.split_ascii_whitespace().filter(|name| WANTED_CONTROLLERS.contains(name));
            hierarchy.controllers = wanted.map(str::to_owned).collect();
        }
        Ok(hierarchies)
    }

    /// Whether there is no version 1 hierarchy.
    pub fn is_v2_only(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|hierarchy| hierarchy.version == Version::V2)
    }
}

/// The hierarchies in a mountinfo text. Of several mounts of one hierarchy that below `/sys/fs/cgroup`
/// counts, else the first. Read-only mounts (as an unprivileged container sees them) do not count.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mountinfo: &str, expected: &[(Version, &str, &str)]) {
        let found = parse_hierarchies(mountinfo.as_bytes()).unwrap();
        let found: Vec<(Version, String, &str)> = found
            .0
            .iter()
            .map(|it| (it.version, it.controllers.join(","), it.mount_point.to_str().unwrap()))
            .collect();
        let found: Vec<(Version, &str, &str)> = found.iter().map(|(v, c, m)| (*v, c.as_str(), *m)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn version_2_only() {
        check(
            "24 30 0:22 / /proc rw - proc proc rw\n\
             35 24 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n",
            &[(Version::V2, "", "/sys/fs/cgroup")],
        );
    }

    #[test]
    fn hybrid_as_systemd_mounts_it() {
        check(
            "31 23 0:28 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755\n\
             32 31 0:29 / /sys/fs/cgroup/unified rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n\
             33 31 0:30 / /sys/fs/cgroup/systemd rw shared:5 - cgroup cgroup rw,xattr,name=systemd\n\
             34 31 0:31 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
             35 31 0:32 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset,clone_children\n",
            &[
                (Version::V1, "name=systemd", "/sys/fs/cgroup/systemd"),
                (Version::V1, "cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct"),
                (Version::V1, "cpuset", "/sys/fs/cgroup/cpuset"),
                (Version::V2, "", "/sys/fs/cgroup/unified"),
            ],
        );
    }

    #[test]
    fn second_mounts_and_read_only_ones() {
        check(
            "40 1 0:9 / /elsewhere rw - cgroup cgroup rw,memory\n\
             41 1 0:9 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
             42 1 0:9 / /third rw - cgroup cgroup rw,memory\n\
             43 1 0:8 / /sys/fs/cgroup/pids ro - cgroup cgroup rw,pids\n",
            &[(Version::V1, "memory", "/sys/fs/cgroup/memory")],
        );
        check("24 30 0:22 / /proc rw - proc proc rw\n", &[]);
        assert!(parse_hierarchies(b"nonsense - cgroup\n").is_err());
    }
}
