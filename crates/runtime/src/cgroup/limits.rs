//! Limits and device rules, written to whichever files this machine has for them.
//!
//! Sources: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/{memory,devices}.rst; the scale of CPU
//! shares to weights as KEP-2254 has it.

use super::devices::{self, Devices};
use super::{Cgroup, CgroupError, Version, file_error, write, write_all};
use rustix::fd::AsFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::path::Path;

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

/// By version 1's controller where there is one, else by a program on the version 2 directory.
fn devices(cgroup: &Cgroup, devices: Devices) -> Result<(), CgroupError> {
    if devices == Devices::All {
        return Ok(());
    }
    if let Some((_, dir)) = cgroup.directory_with("devices") {
        write(&dir.join("devices.deny"), "a")?;
        let rules = devices::rules();
        return write_all(&dir.join("devices.allow"), &rules.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let Some((_, dir)) = cgroup.directories().find(|(hierarchy, _)| hierarchy.version == Version::V2) else {
        return Ok(());
    };
    let fail = |errno: Errno| file_error("attach a device filter to", &dir)(errno.into());
    let fd = rustix::fs::open(&dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(fail)?;
    sys::bpf::attach_device_program(fd.as_fd(), &devices::program()).map_err(fail)
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
