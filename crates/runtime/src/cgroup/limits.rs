//! Limits and device rules, written to whichever files this machine has for them.
//!
//! Sources: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/{memory,devices}.rst; the scale of CPU shares to
//! weights as KEP-2254 has it.

use super::{Cgroup, CgroupError, Version, write, write_all};
use std::path::Path;

/// Which devices may be used, where the machine has a devices controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Devices {
    /// Every one (privileged; the pod's own cgroup).
    #[default]
    All,
    /// The usual list: null, zero, full, random, urandom, tty, console, ptmx and pseudo-terminals. Making nodes is
    /// always allowed, opening them is not.
    Usual,
}

/// What a cgroup is limited to; zero and none are no limit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    /// Bytes.
    pub memory_bytes: u64,
    /// On the scale of version 1 (1024 is one CPU's worth in Kubernetes).
    pub cpu_shares: u64,
    /// Microseconds a period.
    pub cpu_quota_us: u64,
    /// Microseconds.
    pub cpu_period_us: u64,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Devices.
    pub devices: Devices,
}

/// The kernel's default period, which Kubernetes uses too.
const CPU_PERIOD_US: u64 = 100_000;

/// What is not forbidden to a container: (kind, major:minor, access).
const USUAL_DEVICES: [&str; 12] = [
    "c *:* m",
    "b *:* m",
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:1 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
    "c 10:200 rwm",
];

/// A version 2 weight (1 to 10,000) for version 1 shares (2 to 262,144).
pub fn weight_of_shares(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

pub(super) fn apply(cgroup: &Cgroup, limits: &Limits) -> Result<(), CgroupError> {
    crate::fault::point("cgroup.limit").map_err(|_| CgroupError::Fault("cgroup.limit"))?;
    if limits.memory_bytes > 0 {
        let (version, dir) = directory(cgroup, "memory", "memory")?;
        memory(version, &dir, limits.memory_bytes)?;
    }
    if limits.cpu_shares > 0 {
        let (version, dir) = directory(cgroup, "cpu", "CPU")?;
        match version {
            Version::V1 => write(&dir.join("cpu.shares"), &limits.cpu_shares.to_string())?,
            Version::V2 => write(&dir.join("cpu.weight"), &weight_of_shares(limits.cpu_shares).to_string())?,
        }
    }
    if limits.cpu_quota_us > 0 {
        let (version, dir) = directory(cgroup, "cpu", "CPU")?;
        cpu_quota(version, &dir, limits)?;
    }
    if let Some(pids) = limits.pids {
        let (_, dir) = directory(cgroup, "pids", "process")?;
        write(&dir.join("pids.max"), &pids.to_string())?;
    }
    devices(cgroup, limits.devices)
}

fn directory(
    cgroup: &Cgroup,
    controller: &'static str,
    limit: &'static str,
) -> Result<(Version, std::path::PathBuf), CgroupError> {
    cgroup.directory_with(controller).ok_or(CgroupError::NoController { controller, limit })
}

/// The limit, and no swap beyond it where the kernel accounts for swap, as the kubelet has it without swap.
fn memory(version: Version, dir: &Path, bytes: u64) -> Result<(), CgroupError> {
    let bytes = bytes.to_string();
    let swap = match version {
        Version::V1 => {
            write(&dir.join("memory.limit_in_bytes"), &bytes)?;
            (dir.join("memory.memsw.limit_in_bytes"), bytes.as_str())
        }
        Version::V2 => {
            write(&dir.join("memory.max"), &bytes)?;
            (dir.join("memory.swap.max"), "0")
        }
    };
    if swap.0.exists() { write(&swap.0, swap.1) } else { Ok(()) }
}

fn cpu_quota(version: Version, dir: &Path, limits: &Limits) -> Result<(), CgroupError> {
    let period = if limits.cpu_period_us > 0 { limits.cpu_period_us } else { CPU_PERIOD_US };
    match version {
        Version::V1 => {
            write(&dir.join("cpu.cfs_period_us"), &period.to_string())?;
            write(&dir.join("cpu.cfs_quota_us"), &limits.cpu_quota_us.to_string())
        }
        Version::V2 => write(&dir.join("cpu.max"), &format!("{} {period}", limits.cpu_quota_us)),
    }
}

fn devices(cgroup: &Cgroup, devices: Devices) -> Result<(), CgroupError> {
    let v1 = cgroup.directory_with("devices").filter(|(version, _)| *version == Version::V1);
    let (Devices::Usual, Some((_, dir))) = (devices, v1) else { return Ok(()) };
    write(&dir.join("devices.deny"), "a")?;
    write_all(&dir.join("devices.allow"), &USUAL_DEVICES)
}

#[cfg(test)]
mod tests {
    use super::weight_of_shares;

    #[test]
    fn shares_become_weights() {
        for (shares, weight) in
            [(0, 1), (2, 1), (102, 4), (512, 20), (1024, 39), (262_144, 10_000), (u64::MAX, 10_000)]
        {
            assert_eq!(weight_of_shares(shares), weight, "{shares}");
        }
    }
}
