//! Who uses certain mounts: descriptors, working and root directories, programs, mappings, loop devices, swap.
//!
//! No file system is asked anything: a descriptor's mount is in its fdinfo (`mnt_id`, proc_pid_fdinfo(5)), and a
//! directory's in that of a descriptor opened with `O_PATH`. So a server that hangs holds nobody up.

use crate::node::process_ids;
use crate::{Error, Result};
use mount_table::holders::{Held, Holder, Use};
use mount_table::{Device, MountId, NamespaceId};
use rustix::fd::AsRawFd as _;
use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags};
use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// As many uses are told of; more say nothing new.
pub const MAX_HOLDERS: usize = 10_000;

/// What is looked for.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Uses of these mounts.
    pub mounts: BTreeSet<MountId>,
    /// Mappings of files of these file systems, and uses of mounts of theirs that are in no namespace.
    pub devices: BTreeSet<Device>,
    /// All mounts that are in a namespace.
    pub attached: BTreeSet<MountId>,
    /// Sockets bound at or below this path, by processes of this mount namespace.
    pub sockets: Option<(NamespaceId, PathBuf)>,
}

/// Looks for uses, and for what the kernel itself keeps open. Uses by this process itself are none.
///
/// # Errors
/// /proc cannot be listed.
pub fn read_holders(wanted: &Wanted) -> Result<Held> {
    let mut held = Held::default();
    let mut sockets = Sockets::default();
    for pid in process_ids()?.into_iter().filter(|pid| *pid != std::process::id()) {
        if held.holders.len() >= MAX_HOLDERS {
            break;
        }
        match of_process(pid, wanted, &mut sockets) {
            Ok(found) => held.holders.extend(found),
            Err(error) if error.is_gone() => {}
            Err(_) => held.unreadable += 1,
        }
    }
    held.loops = loops();
    held.swaps = swaps();
    Ok(held)
}

fn of_process(pid: u32, wanted: &Wanted, sockets: &mut Sockets) -> Result<Vec<Holder>> {
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
    let bound = wanted.sockets.as_ref().and_then(|(id, path)| sockets.of(&folder, *id, path));
    let fds = folder.join("fdinfo");
    for entry in std::fs::read_dir(&fds).map_err(error(&fds))? {
        let Ok(entry) = entry else { continue };
        let Some(number) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Some(mount) = mount_of(&entry.path()) else { continue };
        let link = folder.join("fd").join(entry.file_name());
        if wanted.mounts.contains(&mount) {
            found.push(holder(Use::File(number), Some(mount), None, named(&link)));
        } else if !wanted.attached.contains(&mount) {
            let path = named(&link);
            if let Some(path) = bound.and_then(|bound| bound.get(&path)) {
                found.push(holder(Use::Socket(number), None, None, path.clone()));
            } else if let Some(device) = device_of(&link, &path).filter(|it| wanted.devices.contains(it)) {
                found.push(holder(Use::File(number), Some(mount), Some(device), path));
            }
        }
    }
    for (name, how) in [("cwd", Use::WorkingDirectory), ("root", Use::Root), ("exe", Use::Program)] {
        let link = folder.join(name);
        let Ok(fd) = rustix::fs::open(&link, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) else { continue };
        let mount = mount_of(Path::new(&format!("/proc/self/fdinfo/{}", fd.as_raw_fd())));
        let Some(mount) = mount else { continue };
        if wanted.mounts.contains(&mount) {
            found.push(holder(how, Some(mount), None, named(&link)));
        } else if !wanted.attached.contains(&mount)
            && let path = named(&link)
            && let Some(device) = device_of(&link, &path).filter(|it| wanted.devices.contains(it))
        {
            found.push(holder(how, Some(mount), Some(device), path));
        }
    }
    let maps = std::fs::read(folder.join("maps")).unwrap_or_default();
    let mut told = BTreeSet::new();
    for (device, path) in maps.split(|byte| *byte == b'\n').filter_map(parse_mapping) {
        if wanted.devices.contains(&device) && told.insert(path.clone()) {
            found.push(holder(Use::Mapping, None, Some(device), path));
        }
    }
    Ok(found)
}

/// The file system of what a link of /proc leads to, as far as it is one that people mount: without asking the file system
/// itself.
fn device_of(link: &Path, name: &Path) -> Option<Device> {
    // `pipe:[1]`, `socket:[2]`, `anon_inode:…`, `/memfd:…`
    if !name.is_absolute() || name.as_os_str().as_bytes().starts_with(b"/memfd:") {
        return None;
    }
    let flags = AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
    let stat = rustix::fs::statx(rustix::fs::CWD, link, flags, StatxFlags::INO).ok()?;
    Some(Device { major: stat.stx_dev_major, minor: stat.stx_dev_minor })
}

/// Where sockets are bound, by network namespace, as links of descriptors name them (`socket:[17]`).
#[derive(Debug, Default)]
struct Sockets {
    known: HashMap<u64, HashMap<PathBuf, PathBuf>>,
}

impl Sockets {
    /// Those of a process' network namespace at or below a path, if it is in this mount namespace.
    fn of(&mut self, folder: &Path, id: NamespaceId, path: &Path) -> Option<&HashMap<PathBuf, PathBuf>> {
        let number = |name: &str| Some(std::fs::metadata(folder.join("ns").join(name)).ok()?.ino());
        if number("mnt")? != id.0 {
            return None;
        }
        let known = self.known.entry(number("net")?).or_insert_with(|| {
            let text = std::fs::read(folder.join("net/unix")).unwrap_or_default();
            text.split(|byte| *byte == b'\n').filter_map(|line| parse_socket(line, path)).collect()
        });
        Some(known)
    }
}

/// A line of /proc/net/unix, unix(7): the seventh field is the inode, then comes the path, if there is one.
fn parse_socket(line: &[u8], below: &Path) -> Option<(PathBuf, PathBuf)> {
    let mut rest = line;
    let mut fields = Vec::new();
    for _ in 0..7 {
        rest = rest.trim_ascii_start();
        let end = rest.iter().position(|byte| *byte == b' ')?;
        fields.push(&rest[..end]);
        rest = &rest[end..];
    }
    let path = PathBuf::from(OsString::from_vec(rest.get(1..)?.to_vec()));
    let inode: u64 = std::str::from_utf8(fields[6]).ok()?.parse().ok()?;
    path.starts_with(below).then(|| (PathBuf::from(format!("socket:[{inode}]")), path))
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
    fn a_descriptor_and_a_socket_are_found() {
        let file = std::fs::File::open("/proc/self/status").unwrap();
        let mount = mount_of(Path::new(&format!("/proc/self/fdinfo/{}", file.as_raw_fd()))).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let socket = std::os::unix::net::UnixListener::bind(folder.path().join("a b")).unwrap();
        let namespace = NamespaceId(std::fs::metadata("/proc/self/ns/mnt").unwrap().ino());
        let wanted = Wanted {
            mounts: BTreeSet::from([mount]),
            sockets: Some((namespace, folder.path().to_owned())),
            ..Wanted::default()
        };
        let own = PathBuf::from(format!("/proc/{}", std::process::id()));
        let found = of_process(std::process::id(), &wanted, &mut Sockets::default()).unwrap();
        let is = |how: Use| found.iter().find(|holder| holder.how == how);
        assert!(is(Use::File(file.as_raw_fd() as u32)).is_some(), "{found:?}");
        let bound = is(Use::Socket(socket.as_raw_fd() as u32)).unwrap();
        assert_eq!(bound.path, folder.path().join("a b"), "{found:?} of {own:?}");
        assert!(read_holders(&wanted).unwrap().holders.iter().all(|it| it.pid != std::process::id()));
    }

    #[test]
    fn bound_sockets() {
        let line = b"0000000000000000: 00000002 00000000 00010000 0001 01 12345 /run/a b/c";
        let found = parse_socket(line, Path::new("/run"));
        assert_eq!(found, Some((PathBuf::from("socket:[12345]"), PathBuf::from("/run/a b/c"))));
        assert_eq!(parse_socket(line, Path::new("/mnt")), None);
        for bad in [
            &b""[..],
            b"Num       RefCount Protocol Flags    Type St Inode Path",
            b"0: 1 2 3 4 5 6",
            b"0: 1 2 3 4 5 x /run/a",
        ] {
            assert_eq!(parse_socket(bad, Path::new("/run")), None);
        }
    }
}
