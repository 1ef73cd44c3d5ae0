//! Who uses certain mounts: descriptors, working and root directories, programs, mappings, loop devices, swap.
//!
//! No file system is asked anything: a descriptor's mount is in its fdinfo (`mnt_id`, proc_pid_fdinfo(5)), and a
//! directory's in that of a descriptor opened with `O_PATH`. So a server that hangs holds nobody up.

use crate::node::process_ids;
use crate::{Error, Result};
use mount_table::holders::{Held, Holder, Use};
use mount_table::{Device, MountId};
use rustix::fd::AsRawFd as _;
use rustix::fs::{Mode, OFlags};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

/// As many uses are told of; more say nothing new.
pub const MAX_HOLDERS: usize = 10_000;

/// Looks for uses of these mounts, for mappings of files of these file systems, and for what the kernel itself keeps open.
///
/// # Errors
/// /proc cannot be listed.
pub fn read_holders(mounts: &BTreeSet<MountId>, devices: &BTreeSet<Device>) -> Result<Held> {
    let mut held = Held::default();
    for pid in process_ids()? {
        if held.holders.len() >= MAX_HOLDERS {
            break;
        }
        match of_process(pid, mounts, devices) {
            Ok(found) => held.holders.extend(found),
            Err(error) if error.is_gone() => {}
            Err(_) => held.unreadable += 1,
        }
    }
    held.loops = loops();
    held.swaps = swaps();
    Ok(held)
}

fn of_process(pid: u32, mounts: &BTreeSet<MountId>, devices: &BTreeSet<Device>) -> Result<Vec<Holder>> {
    let folder = PathBuf::from(format!("/proc/{pid}"));
    let error = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Read { path, source }
    };
    let comm = folder.join("comm");
    let comm = std::fs::read(&comm).map_err(error(&comm))?;
    let comm = String::from_utf8_lossy(&comm).trim_end().to_owned();
    let named = |path: &Path| std::fs::read_link(path).unwrap_or_default();
    let holder = |how, mount, device, path| Holder { pid, comm: comm.clone(), how, mount, device, path };
    let mut found = Vec::new();
    let fds = folder.join("fdinfo");
    for entry in std::fs::read_dir(&fds).map_err(error(&fds))? {
        let Ok(entry) = entry else { continue };
        let Some(number) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if let Some(mount) = mount_of(&entry.path()).filter(|mount| mounts.contains(mount)) {
            let path = named(&folder.join("fd").join(entry.file_name()));
            found.push(holder(Use::File(number), Some(mount), None, path));
        }
    }
    for (name, how) in [("cwd", Use::WorkingDirectory), ("root", Use::Root), ("exe", Use::Program)] {
        let link = folder.join(name);
        let Ok(fd) = rustix::fs::open(&link, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) else { continue };
        let mount = mount_of(Path::new(&format!("/proc/self/fdinfo/{}", fd.as_raw_fd())));
        if let Some(mount) = mount.filter(|mount| mounts.contains(mount)) {
            found.push(holder(how, Some(mount), None, named(&link)));
        }
    }
    let maps = std::fs::read(folder.join("maps")).unwrap_or_default();
    let mut told = BTreeSet::new();
    for (device, path) in maps.split(|byte| *byte == b'\n').filter_map(parse_mapping) {
        if devices.contains(&device) && told.insert(path.clone()) {
            found.push(holder(Use::Mapping, None, Some(device), path));
        }
    }
    Ok(found)
}

/// The `mnt_id` of a fdinfo.
fn mount_of(fdinfo: &Path) -> Option<MountId> {
    let text = std::fs::read_to_string(fdinfo).ok()?;
    text.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok()).map(MountId)
}

/// A line of proc_pid_maps(5) that is of a file: `RANGE PERMISSIONS OFFSET MAJOR:MINOR INODE   PATH`.
fn parse_mapping(line: &[u8]) -> Option<(Device, PathBuf)> {
    let mut fields = line.splitn(6, |byte| *byte == b' ');
    let (device, inode) = (fields.nth(3)?, fields.next()?);
    let (major, minor) = std::str::from_utf8(device).ok()?.split_once(':')?;
    let number = |text| u32::from_str_radix(text, 16).ok();
    let path = fields.next()?.trim_ascii_start();
    (inode != b"0").then_some((
        Device { major: number(major)?, minor: number(minor)? },
        PathBuf::from(OsString::from_vec(path.to_vec())),
    ))
}

/// The loop devices that have a file behind them.
fn loops() -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let named = entries.filter(|entry| entry.file_name().as_bytes().starts_with(b"loop"));
    named
        .filter_map(|entry| {
            let file = std::fs::read(entry.path().join("loop/backing_file")).ok()?;
            let path = PathBuf::from(OsString::from_vec(file.trim_ascii_end().to_vec()));
            Some((entry.file_name().to_string_lossy().into_owned(), path))
        })
        .collect()
}

/// The first column of /proc/swaps, below its header.
fn swaps() -> Vec<PathBuf> {
    let text = std::fs::read_to_string("/proc/swaps").unwrap_or_default();
    text.lines().skip(1).filter_map(|line| line.split_whitespace().next()).map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_are_of_files_only() {
        let line = b"7f0-7f1 r-xp 00000000 fe:0a 131   /usr/lib/a b.so";
        let expected = (Device { major: 0xfe, minor: 10 }, PathBuf::from("/usr/lib/a b.so"));
        assert_eq!(parse_mapping(line), Some(expected));
        assert_eq!(parse_mapping(b"7f0-7f1 rw-p 00000000 00:00 0    [heap]"), None);
        assert_eq!(parse_mapping(b""), None);
        assert_eq!(parse_mapping(b"x"), None);
    }

    #[test]
    fn our_own_descriptor_is_found() {
        let file = std::fs::File::open("/proc/self/status").unwrap();
        let mount = mount_of(Path::new(&format!("/proc/self/fdinfo/{}", file.as_raw_fd()))).unwrap();
        let held = read_holders(&BTreeSet::from([mount]), &BTreeSet::new()).unwrap();
        let own = Use::File(file.as_raw_fd() as u32);
        assert!(held.holders.iter().any(|holder| holder.pid == std::process::id() && holder.how == own));
    }
}
