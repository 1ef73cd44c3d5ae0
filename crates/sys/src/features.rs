//! What this kernel has, found out by asking it: each call is made in a way that cannot succeed, or whose
//! success changes nothing, and the errno tells whether the kernel knew it. Versions are never compared.
//!
//! `EPERM` is no answer (several calls check the caller before they look at what they are asked), so it is
//! [`Support::Unknown`]: ask again as root.

use rustix::fd::{FromRawFd as _, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{FsOpenFlags, MoveMountFlags};
use std::path::Path;

/// Whether the kernel has something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Support {
    /// It knew what it was asked.
    Yes,
    /// It did not (`ENOSYS`, or `EINVAL` for a flag).
    No,
    /// It did not say (`EPERM`: not for this caller, or a seccomp filter stands between).
    Unknown,
}

/// What this kernel has of what we use. The Linux versions are those of the first release that had it; vendors
/// backport, so they are for messages only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// openat2(2), Linux 5.6.
    pub openat2: Support,
    /// fsopen(2), fsconfig(2), fsmount(2), move_mount(2), open_tree(2), Linux 5.2.
    pub fsopen: Support,
    /// mount_setattr(2), Linux 5.12 (which has id-mapped mounts too).
    pub mount_setattr: Support,
    /// `MOVE_MOUNT_SET_GROUP`, Linux 5.15.
    pub set_group: Support,
    /// `MOVE_MOUNT_BENEATH`, Linux 6.5.
    pub move_beneath: Support,
    /// statmount(2), Linux 6.8.
    pub statmount: Support,
    /// listmount(2), Linux 6.8.
    pub listmount: Support,
    /// fanotify(7) groups that report mounts (`FAN_REPORT_MNT`), Linux 6.15.
    pub fanotify_mounts: Support,
    /// clone3(2), Linux 5.3.
    pub clone3: Support,
    /// pidfd_open(2), Linux 5.3.
    pub pidfd: Support,
    /// The overlay file system, as far as one may be prepared here.
    pub overlay: Support,
    /// Overlay's `lowerdir+` option (a layer an option: no limit of one page), Linux 6.7.
    pub overlay_lowerdir_append: Support,
}

impl Features {
    /// Asks the kernel: a dozen system calls, no lasting effect. Loading `overlay` as a module is possible.
    pub fn ask() -> Features {
        let overlay = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC);
        Features {
            openat2: support(
                rustix::fs::openat2(
                    CWD,
                    "/",
                    OFlags::PATH | OFlags::CLOEXEC,
                    Mode::empty(),
                    ResolveFlags::IN_ROOT,
                )
                .map(drop),
            ),
            fsopen: support(rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).map(drop)),
            mount_setattr: mount_setattr(),
            set_group: move_mount_flag(MoveMountFlags::from_bits_retain(0x100)),
            move_beneath: move_mount_flag(MoveMountFlags::from_bits_retain(0x200)),
            statmount: without_arguments(SYS_STATMOUNT),
            listmount: without_arguments(SYS_LISTMOUNT),
            fanotify_mounts: fanotify_mounts(),
            clone3: without_arguments(libc::SYS_clone3),
            pidfd: support(
                rustix::process::pidfd_open(rustix::process::getpid(), rustix::process::PidfdFlags::empty())
                    .map(drop),
            ),
            overlay: match &overlay {
                Ok(_) => Support::Yes,
                Err(Errno::NODEV) => Support::No,
                Err(errno) => support(Err(*errno)),
            },
            overlay_lowerdir_append: overlay_lowerdir_append(),
        }
    }
}

/// Numbers that the `libc` crate lacks on some targets; the same on every architecture (since Linux 5.1).
const SYS_STATMOUNT: libc::c_long = 457;
const SYS_LISTMOUNT: libc::c_long = 458;
/// `FAN_REPORT_MNT`, include/uapi/linux/fanotify.h
const FAN_REPORT_MNT: libc::c_uint = 0x4000;

/// What an errno of a call that we know to be right in all else says.
fn support(result: Result<(), Errno>) -> Support {
    match result {
        Ok(()) => Support::Yes,
        Err(Errno::NOSYS | Errno::INVAL) => Support::No,
        Err(Errno::PERM | Errno::ACCESS) => Support::Unknown,
        Err(_) => Support::Yes,
    }
}

/// A system call that takes a structure, given none of size 0: `EINVAL` or `EFAULT` if the kernel has it.
fn without_arguments(number: libc::c_long) -> Support {
    // SAFETY: with null pointers and sizes of zero none of these calls reads, writes or makes anything.
    let result = unsafe { libc::syscall(number, std::ptr::null_mut::<u8>(), 0usize, 0usize, 0usize, 0usize) };
    match errno(result) {
        Some(Errno::NOSYS) => Support::No,
        Some(Errno::PERM) => Support::Unknown,
        _ => Support::Yes,
    }
}

/// mount_setattr(2) with a structure of size 0, which is `EINVAL` where the call exists.
fn mount_setattr() -> Support {
    // SAFETY: an empty path, a null structure of size 0: nothing is read and nothing is changed.
    let result = unsafe {
        libc::syscall(libc::SYS_mount_setattr, -1, c"".as_ptr(), 0, std::ptr::null_mut::<u8>(), 0usize)
    };
    match errno(result) {
        Some(Errno::NOSYS) => Support::No,
        Some(Errno::PERM) => Support::Unknown,
        _ => Support::Yes,
    }
}

/// move_mount(2) from a path that is not there: flags are looked at before paths (fs/namespace.c).
fn move_mount_flag(flag: MoveMountFlags) -> Support {
    let nowhere = Path::new("");
    support(rustix::mount::move_mount(CWD, nowhere, CWD, nowhere, flag).or_else(|errno| match errno {
        Errno::NOENT => Ok(()),
        errno => Err(errno),
    }))
}

/// A fanotify group for mounts is made and closed.
fn fanotify_mounts() -> Support {
    let flags = libc::FAN_CLASS_NOTIF | libc::FAN_CLOEXEC | FAN_REPORT_MNT;
    // SAFETY: takes two integers.
    let result = unsafe { libc::fanotify_init(flags, libc::O_RDONLY as libc::c_uint) };
    if result >= 0 {
        // SAFETY: a new descriptor that nobody else has.
        drop(unsafe { OwnedFd::from_raw_fd(result) });
    }
    support(errno(result.into()).map_or(Ok(()), Err))
}

/// Whether an overlay takes its layers one by one ([`Features::overlay_lowerdir_append`]): asked of a context
/// that is never created.
pub fn overlay_lowerdir_append() -> Support {
    let Ok(context) = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC) else {
        return Support::Unknown;
    };
    // Before Linux 6.5 overlay had a context that keeps any string and looks at it no sooner than it is created
    // (`legacy_parse_param()`, fs/fs_context.c).
    if rustix::mount::fsconfig_set_string(&context, "no-such-option", "").is_ok() {
        return Support::No;
    }
    support(rustix::mount::fsconfig_set_string(&context, "lowerdir+", "/"))
}

/// The errno of a call that returned this.
fn errno(result: libc::c_long) -> Option<Errno> {
    (result < 0).then(|| Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel's release is no authority, but a mainline kernel of at least that version has the feature.
    #[test]
    fn a_kernel_has_what_its_version_promises() {
        let release = rustix::system::uname();
        let release = release.release().to_string_lossy();
        let mut parts = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
        let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
        let features = Features::ask();
        for (name, since, support) in [
            ("openat2", (5, 6), features.openat2),
            ("fsopen", (5, 2), features.fsopen),
            ("mount_setattr", (5, 12), features.mount_setattr),
            ("set_group", (5, 15), features.set_group),
            ("move_beneath", (6, 5), features.move_beneath),
            ("overlay_lowerdir_append", (6, 7), features.overlay_lowerdir_append),
            ("statmount", (6, 8), features.statmount),
            ("listmount", (6, 8), features.listmount),
            ("clone3", (5, 3), features.clone3),
            ("pidfd", (5, 3), features.pidfd),
        ] {
            let expected = if version >= since { Support::Yes } else { Support::No };
            // Debian's 5.10.262 knows it.
            let backported = name == "set_group" && version >= (5, 10) && support == Support::Yes;
            assert!(
                support == expected || support == Support::Unknown || backported,
                "{name} on {release}: {support:?}"
            );
        }
    }

    #[test]
    fn an_unknown_flag_is_no() {
        let support = move_mount_flag(MoveMountFlags::from_bits_retain(0x8000_0000));
        assert_ne!(support, Support::Yes);
    }
}
