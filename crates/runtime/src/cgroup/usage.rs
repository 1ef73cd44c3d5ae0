//! What a cgroup uses, from whatever hierarchies there are.
//!
//! Sources: Documentation/admin-guide/cgroup-v2.rst (`cpu.stat`, `memory.current`, `memory.stat`),
//! Documentation/admin-guide/cgroup-v1/{cpuacct,memory}.rst.

use super::Cgroup;
use super::hierarchy::Version;
use std::path::Path;
use std::time::Duration;

/// What a cgroup and those below it use. None where no hierarchy tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Time on processors since it was made.
    pub cpu: Option<Duration>,
    /// The kubelet's working set: what is in memory, without files that were not read for a while.
    pub memory_bytes: Option<u64>,
}

impl Cgroup {
    /// What it uses now.
    pub fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        // Version 1 first: where a controller is in both, the other one counts nothing.
        for (hierarchy, dir) in self.directories() {
            let has = |name: &str| hierarchy.controllers.iter().any(|controller| controller == name);
            let (cpu, memory) = match hierarchy.version {
                Version::V1 => (
                    has("cpuacct").then(|| read_number(&dir.join("cpuacct.usage"))).flatten(),
                    has("memory").then(|| working_set(&dir, "memory.usage_in_bytes", "total_inactive_file")),
                ),
                // The time is counted without the controller too.
                Version::V2 => (
                    read_field(&dir.join("cpu.stat"), "usage_usec").map(|us| us.saturating_mul(1000)),
                    Some(working_set(&dir, "memory.current", "inactive_file")),
                ),
            };
            usage.cpu = usage.cpu.or(cpu.map(Duration::from_nanos));
            usage.memory_bytes = usage.memory_bytes.or(memory.flatten());
        }
        usage
    }
}

fn working_set(dir: &Path, all: &str, idle: &str) -> Option<u64> {
    let idle = read_field(&dir.join("memory.stat"), idle).unwrap_or(0);
    read_number(&dir.join(all)).map(|bytes| bytes.saturating_sub(idle))
}

fn read_number(path: &Path) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn read_field(path: &Path, name: &str) -> Option<u64> {
    parse_field(&std::fs::read_to_string(path).ok()?, name)
}

/// The value of a line `NAME VALUE`.
fn parse_field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::super::Hierarchies;
    use super::super::hierarchy::Hierarchy;
    use super::*;

    /// Folders that look like hierarchies.
    fn cgroup(dir: &Path, files: &[(Version, &str, &str, &str)]) -> Cgroup {
        let mut hierarchies: Vec<Hierarchy> = Vec::new();
        for (version, controller, file, text) in files {
            let mount_point = dir.join(format!("{version:?}{controller}"));
            std::fs::create_dir_all(mount_point.join("a")).unwrap();
            std::fs::write(mount_point.join("a").join(file), text).unwrap();
            let controllers = vec![(*controller).to_owned()];
            let hierarchy = Hierarchy { version: *version, controllers, mount_point };
            if !hierarchies.contains(&hierarchy) {
                hierarchies.push(hierarchy);
            }
        }
        Cgroup::at(&Hierarchies(hierarchies), "/a").unwrap()
    }

    #[test]
    fn version_1_version_2_and_both() {
        let cpu1 = (Version::V1, "cpuacct", "cpuacct.usage", "5000000\n");
        let memory1 = (Version::V1, "memory", "memory.usage_in_bytes", "1000\n");
        let idle1 = (Version::V1, "memory", "memory.stat", "inactive_file 1\ntotal_inactive_file 300\n");
        let cpu2 = (Version::V2, "", "cpu.stat", "usage_usec 7000\nuser_usec 1\n");
        let memory2 = (Version::V2, "", "memory.current", "2000\n");
        let idle2 = (Version::V2, "", "memory.stat", "anon 1\ninactive_file 500\n");
        let of = |files: &[_]| {
            let dir = tempfile::tempdir().unwrap();
            let usage = cgroup(dir.path(), files).usage();
            (usage.cpu.map(|cpu| cpu.as_micros()), usage.memory_bytes)
        };
        assert_eq!(of(&[cpu1, memory1, idle1]), (Some(5000), Some(700)));
        assert_eq!(of(&[cpu2, memory2, idle2]), (Some(7000), Some(1500)));
        // Hybrid, as here: the memory controller is version 1's, and the unified hierarchy counts time alone.
        assert_eq!(of(&[memory1, idle1, cpu2]), (Some(7000), Some(700)));
        assert_eq!(of(&[cpu1, memory1, cpu2, memory2]), (Some(5000), Some(1000)));
        assert_eq!(of(&[]), (None, None));
    }
}
