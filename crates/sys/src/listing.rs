//! Mount namespaces and mounts as the kernel lists them: the ioctls of nsfs, listmount(2), statmount(2).
//!
//! Sources: ioctl_nsfs(2), listmount(2), statmount(2), include/uapi/linux/{nsfs,mount}.h of Linux 6.18.

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd as _, OwnedFd};
use rustix::io::Errno;
use std::os::fd::RawFd;

/// What [`namespace_info`] and its neighbours tell of a mount namespace (`struct mnt_ns_info`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamespaceInfo {
    /// How many mounts it has.
    pub mounts: u32,
    /// Its 64-bit id, never reused.
    pub id: u64,
}

/// The kernel's `struct mnt_ns_info`.
#[repr(C)]
#[derive(Default)]
struct RawInfo {
    size: u32,
    nr_mounts: u32,
    mnt_ns_id: u64,
}

/// `_IOR(0xb7, number, struct mnt_ns_info)`
const fn read_info(number: u32) -> u32 {
    const READ: u32 = 2;
    READ << 30 | (size_of::<RawInfo>() as u32) << 16 | 0xb7 << 8 | number
}

/// `NS_MNT_GET_INFO` on a namespace's descriptor, Linux 6.12 (`ENOTTY` before). With its inode's number this names it in
/// both ways.
#[doc(alias = "NS_MNT_GET_INFO")]
pub fn namespace_info(namespace: BorrowedFd<'_>) -> Result<NamespaceInfo, Errno> {
    info(namespace, read_info(10)).map(|(_, info)| info)
}

/// The next namespace by id, `NS_MNT_GET_NEXT`, Linux 6.12; none after the last. Namespaces over which the caller has no
/// `CAP_SYS_ADMIN` are passed over; without it over the given one's it is `EPERM`.
#[doc(alias = "NS_MNT_GET_NEXT")]
pub fn next_namespace(namespace: BorrowedFd<'_>) -> Result<Option<(OwnedFd, NamespaceInfo)>, Errno> {
    neighbour(namespace, read_info(11))
}

/// The one before, `NS_MNT_GET_PREV`.
#[doc(alias = "NS_MNT_GET_PREV")]
pub fn previous_namespace(namespace: BorrowedFd<'_>) -> Result<Option<(OwnedFd, NamespaceInfo)>, Errno> {
    neighbour(namespace, read_info(12))
}

fn neighbour(namespace: BorrowedFd<'_>, operation: u32) -> Result<Option<(OwnedFd, NamespaceInfo)>, Errno> {
    match info(namespace, operation) {
        // SAFETY: these two operations give a new descriptor, which nobody else has.
        Ok((fd, info)) => Ok(Some((unsafe { OwnedFd::from_raw_fd(fd) }, info))),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn info(namespace: BorrowedFd<'_>, operation: u32) -> Result<(RawFd, NamespaceInfo), Errno> {
    let mut raw = RawInfo { size: size_of::<RawInfo>() as u32, ..RawInfo::default() };
    // SAFETY: the operations read and write one mnt_ns_info, which `raw` is.
    let result = unsafe { libc::ioctl(namespace.as_raw_fd(), operation as _, std::ptr::from_mut(&mut raw)) };
    if result < 0 {
        return Err(crate::process::last_errno());
    }
    Ok((result, NamespaceInfo { mounts: raw.nr_mounts, id: raw.mnt_ns_id }))
}

/// `NS_GET_USERNS`: the user namespace that owns this one, Linux 4.9. `EPERM` where it is outside of the caller's.
#[doc(alias = "NS_GET_USERNS")]
pub fn owner_of(namespace: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    // `_IO(0xb7, 0x1)`
    // SAFETY: the operation takes no argument.
    let result = unsafe { libc::ioctl(namespace.as_raw_fd(), 0xb701) };
    if result < 0 {
        return Err(crate::process::last_errno());
    }
    // SAFETY: a new descriptor, which nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(result) })
}

const SYS_STATMOUNT: libc::c_long = 457;
const SYS_LISTMOUNT: libc::c_long = 458;

/// The kernel's `struct mnt_id_req`, version 1 (Linux 6.11).
#[repr(C)]
struct Request {
    size: u32,
    spare: u32,
    mnt_id: u64,
    param: u64,
    mnt_ns_id: u64,
}

fn request(mount: u64, param: u64, namespace: u64) -> Request {
    Request { size: size_of::<Request>() as u32, spare: 0, mnt_id: mount, param, mnt_ns_id: namespace }
}

/// `LSMT_ROOT`: all that is below the namespace's root.
const LSMT_ROOT: u64 = u64::MAX;

/// The most mounts of one namespace that are listed.
pub const MAX_LISTED: usize = 1 << 20;

/// The unique ids of a namespace's mounts in order of creation, into a cleared `ids`. Linux 6.8; of another namespace than
/// the caller's Linux 6.11 (`EINVAL` before), and only with `CAP_SYS_ADMIN` over it (`ENOENT` else).
///
/// They are those below the namespace's root, as a process sees them that has entered it by setns(2); of the caller's own
/// namespace those below the caller's root.
///
/// # Errors
/// The kernel's; `E2BIG` for more than [`MAX_LISTED`].
#[doc(alias = "listmount")]
pub fn list_mounts(namespace: u64, ids: &mut Vec<u64>) -> Result<(), Errno> {
    const STEP: usize = 1024;
    ids.clear();
    loop {
        let known = ids.len();
        let request = request(LSMT_ROOT, ids.last().copied().unwrap_or(0), namespace);
        ids.resize(known + STEP, 0);
        let room = &mut ids[known..];
        // SAFETY: `request` is a valid mnt_id_req of the size it says, `room` has place for the STEP ids that are allowed;
        // both outlive the call.
        let result = unsafe {
            libc::syscall(SYS_LISTMOUNT, &raw const request, room.as_mut_ptr(), STEP, 0 as libc::c_uint)
        };
        let count = usize::try_from(result).map_err(|_| crate::process::last_errno());
        match count {
            Ok(count) => ids.truncate(known + count.min(STEP)),
            Err(errno) => {
                ids.clear();
                return Err(errno);
            }
        }
        if ids.len() < known + STEP {
            return Ok(());
        }
        if ids.len() >= MAX_LISTED {
            return Err(Errno::TOOBIG);
        }
    }
}

/// What [`stat_mount`] is asked for (`STATMOUNT_*`). `STATMOUNT_PROPAGATE_FROM` is not among them: it makes the kernel walk
/// all masters for each mount, which takes seconds for 25,000 mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Ids, attributes and propagation.
    Ids,
    /// All that a row of mountinfo has but `propagate_from`.
    Row,
}

impl Detail {
    fn mask(self) -> u64 {
        const MNT_BASIC: u64 = 0x02;
        const SB_BASIC: u64 = 0x01;
        const MNT_ROOT: u64 = 0x08;
        const MNT_POINT: u64 = 0x10;
        const FS_TYPE: u64 = 0x20;
        const MNT_OPTS: u64 = 0x80;
        const FS_SUBTYPE: u64 = 0x100;
        const SB_SOURCE: u64 = 0x200;
        match self {
            Detail::Ids => MNT_BASIC,
            Detail::Row => {
                MNT_BASIC | SB_BASIC | MNT_ROOT | MNT_POINT | FS_TYPE | MNT_OPTS | FS_SUBTYPE | SB_SOURCE
            }
        }
    }
}

/// What statmount(2) tells of a mount. Strings are without their last NUL; those that the kernel did not give (it is too
/// old, or there is none) are `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountStat {
    /// The superblock's device number.
    pub device: (u32, u32),
    /// `MS_RDONLY`, `MS_SYNCHRONOUS`, `MS_DIRSYNC`, `MS_LAZYTIME` of the file system.
    pub file_system_flags: u32,
    /// Unique id.
    pub id: u64,
    /// The parent's unique id.
    pub parent: u64,
    /// The id in mountinfo.
    pub old_id: u32,
    /// The parent's id in mountinfo.
    pub old_parent: u32,
    /// `MOUNT_ATTR_*`
    pub attributes: u64,
    /// `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE`, `MS_UNBINDABLE`
    pub propagation: u64,
    /// Peer group, or 0.
    pub peer_group: u64,
    /// The master's peer group, or 0.
    pub master: u64,
    /// Root inside the file system, not escaped, with `//deleted` where it was removed.
    pub root: Option<Vec<u8>>,
    /// Where it is mounted, from the root of its namespace (of the caller's own: from the caller's root), not escaped.
    pub mount_point: Option<Vec<u8>>,
    /// File system type.
    pub fs_type: Option<Vec<u8>>,
    /// `sshfs` of `fuse.sshfs`, Linux 6.13.
    pub fs_subtype: Option<Vec<u8>>,
    /// The file system's own options, escaped as in mountinfo, Linux 6.11.
    pub options: Option<Vec<u8>>,
    /// Source, not escaped, Linux 6.13.
    pub source: Option<Vec<u8>>,
}

/// The longest row: the kernel takes no more for one either.
const MAX_STAT_BYTES: usize = 1 << 20;

/// statmount(2) of a mount by unique id, in the namespace of this 64-bit id. `buffer` is used again and again; it grows
/// where a row is longer. Linux 6.8, of other namespaces Linux 6.11. Who may ask is as with [`list_mounts`].
///
/// # Errors
/// The kernel's: `ENOENT` for a mount that is gone, is not in that namespace, or is not below its root.
#[doc(alias = "statmount")]
pub fn stat_mount(
    namespace: u64,
    mount: u64,
    detail: Detail,
    buffer: &mut Vec<u8>,
) -> Result<MountStat, Errno> {
    let request = request(mount, detail.mask(), namespace);
    if buffer.len() < 4096 {
        buffer.resize(4096, 0);
    }
    loop {
        // SAFETY: `request` is a valid mnt_id_req of the size it says, `buffer` may be written for its whole length; both
        // outlive the call.
        let result = unsafe {
            libc::syscall(
                SYS_STATMOUNT,
                &raw const request,
                buffer.as_mut_ptr(),
                buffer.len(),
                0 as libc::c_uint,
            )
        };
        match result {
            0 => return Fields { bytes: buffer }.stat().ok_or(Errno::IO),
            _ => match crate::process::last_errno() {
                Errno::OVERFLOW if buffer.len() < MAX_STAT_BYTES => buffer.resize(buffer.len() * 4, 0),
                errno => return Err(errno),
            },
        }
    }
}

/// The kernel's `struct statmount`, by offsets: the strings stand behind it.
struct Fields<'a> {
    bytes: &'a [u8],
}

impl Fields<'_> {
    fn stat(&self) -> Option<MountStat> {
        let mask = self.u64(8)?;
        let text = |bit: u64, at: usize| if mask & bit != 0 { self.text(at) } else { None };
        Some(MountStat {
            device: (self.u32(16)?, self.u32(20)?),
            file_system_flags: self.u32(32)?,
            id: self.u64(40)?,
            parent: self.u64(48)?,
            old_id: self.u32(56)?,
            old_parent: self.u32(60)?,
            attributes: self.u64(64)?,
            propagation: self.u64(72)?,
            peer_group: self.u64(80)?,
            master: self.u64(88)?,
            root: text(0x08, 104),
            mount_point: text(0x10, 108),
            fs_type: text(0x20, 36),
            fs_subtype: text(0x100, 120),
            options: text(0x80, 4),
            source: text(0x200, 124),
        })
    }

    fn u32(&self, at: usize) -> Option<u32> {
        Some(u32::from_ne_bytes(self.bytes.get(at..at + 4)?.try_into().ok()?))
    }

    fn u64(&self, at: usize) -> Option<u64> {
        Some(u64::from_ne_bytes(self.bytes.get(at..at + 8)?.try_into().ok()?))
    }

    /// A string by the offset that stands at `at`, up to its NUL.
    fn text(&self, at: usize) -> Option<Vec<u8>> {
        const STRINGS: usize = 512;
        let from = self.bytes.get(STRINGS + self.u32(at)? as usize..)?;
        Some(from[..from.iter().position(|&byte| byte == 0)?].to_vec())
    }
}

/// The inode number of a namespace's descriptor: what `mnt:[N]` and `user:[N]` say.
pub fn number_of(namespace: impl AsFd) -> Result<u64, Errno> {
    Ok(rustix::fs::fstat(namespace)?.st_ino)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> OwnedFd {
        crate::namespace::open_own("mnt").unwrap()
    }

    /// Whether the kernel has it, and lets us.
    fn known() -> Option<NamespaceInfo> {
        namespace_info(own().as_fd()).ok()
    }

    #[test]
    fn our_own_namespace_and_its_mounts() {
        let Some(info) = known() else { return };
        let mut ids = Vec::new();
        list_mounts(info.id, &mut ids).unwrap();
        assert!(!ids.is_empty() && ids.len() <= info.mounts as usize, "{info:?} {}", ids.len());
        assert!(ids.is_sorted());
        let mountinfo = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mut buffer = Vec::new();
        for id in ids {
            // What has gone meanwhile is another test's.
            let Ok(stat) = stat_mount(info.id, id, Detail::Row, &mut buffer) else { continue };
            assert_eq!(stat.id, id);
            let row = format!("{} {} {}:{} ", stat.old_id, stat.old_parent, stat.device.0, stat.device.1);
            assert!(mountinfo.lines().any(|line| line.starts_with(&row)), "{row} in {mountinfo}");
            assert!(stat.mount_point.is_some() && stat.fs_type.is_some());
        }
    }

    #[test]
    fn a_mount_that_is_not_there() {
        let Some(info) = known() else { return };
        let stat = stat_mount(info.id, u64::MAX - 1, Detail::Ids, &mut Vec::new());
        assert_eq!(stat, Err(Errno::NOENT));
        assert_eq!(list_mounts(u64::MAX - 1, &mut Vec::new()), Err(Errno::NOENT));
    }

    #[test]
    fn neighbours_are_in_order() {
        let Some(info) = known() else { return };
        let Ok(previous) = previous_namespace(own().as_fd()) else { return };
        if let Some((fd, previous)) = previous {
            assert!(previous.id < info.id);
            let (_, next) =
                next_namespace(fd.as_fd()).unwrap().expect("the one that it was asked of, or an older");
            assert!(next.id > previous.id && next.id <= info.id);
        }
    }

    #[test]
    fn a_descriptor_that_is_no_namespace() {
        let file = std::fs::File::open("/proc/self/status").unwrap();
        assert_eq!(namespace_info(file.as_fd()), Err(Errno::NOTTY));
        assert_eq!(owner_of(file.as_fd()).unwrap_err(), Errno::NOTTY);
    }
}
