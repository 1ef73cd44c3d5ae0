//! The mount API by file descriptor: one line a system call, typed flags, fds and not ints.
//!
//! Sources: open_tree(2), move_mount(2), mount_setattr(2), fsopen(2), fsconfig(2), fsmount(2), umount2(2),
//! pivot_root(2), openat2(2), mount_namespaces(7).

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A propagation type to change to (`MS_SHARED`, … as in mount_setattr(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// `MS_SHARED`
    Shared,
    /// `MS_SLAVE`
    Slave,
    /// `MS_PRIVATE`
    Private,
    /// `MS_UNBINDABLE`
    Unbindable,
}

impl Propagation {
    fn bits(self) -> u64 {
        match self {
            Propagation::Unbindable => libc::MS_UNBINDABLE,
            Propagation::Private => libc::MS_PRIVATE,
            Propagation::Slave => libc::MS_SLAVE,
            Propagation::Shared => libc::MS_SHARED,
        }
    }
}

/// A file system that could not be made: the errno and the kernel's own words, read from the fsopen fd.
#[derive(Debug, thiserror::Error)]
#[error("{call}{}: {errno}{}", key.as_ref().map(|k| format!(" {k}")).unwrap_or_default(),
    message.as_ref().map(|m| format!(" (kernel: {m})")).unwrap_or_default())]
pub struct FileSystemError {
    /// `fsopen`, `fsconfig` or `fsmount`.
    pub call: &'static str,
    /// The option being set, where it was one.
    pub key: Option<String>,
    /// The error.
    pub errno: Errno,
    /// What the kernel wrote to the file system context, if anything.
    pub message: Option<String>,
}

/// The longest value that fsconfig(2) takes as a string (`strndup_user(_value, 256)`, fs/fsopen.c).
pub const FSCONFIG_STRING_MAX_BYTES: usize = 255;

/// openat2(2) with `O_PATH`: what `path` leads to below `root`, which it cannot leave
/// (`RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS`). Without `follow`, any symbolic link is `ELOOP`.
#[doc(alias = "openat2")]
pub fn open_path_in(root: BorrowedFd<'_>, path: &Path, follow: bool) -> Result<OwnedFd, Errno> {
    let links = if follow { ResolveFlags::NO_MAGICLINKS } else { ResolveFlags::NO_SYMLINKS };
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    openat2_retrying(root, path, OFlags::PATH | OFlags::CLOEXEC, ResolveFlags::IN_ROOT | links)
}

/// openat2(2) of `path` below `root` with no symbolic link crossed; if the last name is one, what it says.
/// `None` for anything that is not a symbolic link.
#[doc(alias = "readlinkat")]
pub fn read_link_in(root: BorrowedFd<'_>, path: &Path) -> Result<Option<PathBuf>, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = openat2_retrying(root, path, flags, ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS)?;
    match rustix::fs::readlinkat(&fd, c"", Vec::new()) {
        Ok(link) => Ok(Some(PathBuf::from(std::ffi::OsStr::from_bytes(link.as_bytes())))),
        // readlinkat(2) with an empty path on an fd that is not a symbolic link.
        Err(Errno::NOENT | Errno::INVAL) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// openat2(2), repeated while it says `EAGAIN` (a rename or mount raced with the walk; bounded).
fn openat2_retrying(
    root: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    for _ in 0..128 {
        match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => continue,
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

/// open_tree(2) with `OPEN_TREE_CLONE` of the place that `fd` is: a detached bind copy.
#[doc(alias = "open_tree")]
pub fn clone_tree(fd: BorrowedFd<'_>, recursive: bool) -> Result<OwnedFd, Errno> {
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(fd, c"", flags)
}

/// move_mount(2): attach the tree `from` at the place `to`.
pub fn move_mount(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Errno> {
    move_mount_with(from, to, MoveMountFlags::empty())
}

/// move_mount(2) with `MOVE_MOUNT_BENEATH` (Linux 6.5): attach under what is mounted at `to`.
#[doc(alias = "MOVE_MOUNT_BENEATH")]
pub fn move_mount_beneath(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Errno> {
    move_mount_with(from, to, MoveMountFlags::MOVE_MOUNT_BENEATH)
}

/// move_mount(2) with `MOVE_MOUNT_SET_GROUP` (Linux 5.15): `to` joins `from`'s peer group and gets its master.
#[doc(alias = "MOVE_MOUNT_SET_GROUP")]
pub fn set_group(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Errno> {
    move_mount_with(from, to, MoveMountFlags::MOVE_MOUNT_SET_GROUP)
}

fn move_mount_with(from: BorrowedFd<'_>, to: BorrowedFd<'_>, more: MoveMountFlags) -> Result<(), Errno> {
    let empty = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(from, c"", to, c"", empty | more)
}

/// The kernel's `struct mount_attr`, version 0 (`include/uapi/linux/mount.h`, Linux 5.12).
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// mount_setattr(2), Linux 5.12, on the mount whose root `mount` is; with all below if `recursive`.
/// All mounts are checked first, then all are changed: nothing changes on failure.
#[doc(alias = "mount_setattr")]
pub fn set_attributes(
    mount: BorrowedFd<'_>,
    recursive: bool,
    set: MountAttrFlags,
    clear: MountAttrFlags,
    propagation: Option<Propagation>,
) -> Result<(), Errno> {
    let attr = MountAttr {
        attr_set: u64::from(set.bits()),
        attr_clr: u64::from(clear.bits()),
        propagation: propagation.map_or(0, Propagation::bits),
        userns_fd: 0,
    };
    mount_setattr(mount, recursive, &attr)
}

/// mount_setattr(2) with `MOUNT_ATTR_IDMAP` (Linux 5.12): ids on disk show as those of the user namespace `users`. Only of a
/// detached mount that was never attached, of a file system that has this (`EINVAL` else); with all below if `recursive`.
#[doc(alias = "MOUNT_ATTR_IDMAP")]
pub fn map_ids(mount: BorrowedFd<'_>, recursive: bool, users: BorrowedFd<'_>) -> Result<(), Errno> {
    const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;
    let attr = MountAttr {
        attr_set: MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: users.as_raw_fd() as u64,
    };
    mount_setattr(mount, recursive, &attr)
}

fn mount_setattr(mount: BorrowedFd<'_>, recursive: bool, attr: &MountAttr) -> Result<(), Errno> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a NUL-terminated literal, `attr` is a valid mount_attr of the size that is passed,
    // and both outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of::<MountAttr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(last_errno()) }
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// fsopen(2), fsconfig(2) for each option, fsmount(2): a new file system, detached.
/// An option without a value is set as a flag. Values are limited to [`FSCONFIG_STRING_MAX_BYTES`].
#[doc(alias = "fsopen", alias = "fsconfig", alias = "fsmount")]
pub fn new_file_system(
    fs_type: &str,
    source: &str,
    options: &[(String, Option<String>)],
    attributes: MountAttrFlags,
) -> Result<OwnedFd, FileSystemError> {
    let fail = |call, key: Option<&str>, errno, context: Option<BorrowedFd<'_>>| FileSystemError {
        call,
        key: key.map(str::to_owned),
        errno,
        message: context.and_then(read_context_message),
    };
    let context = rustix::mount::fsopen(fs_type, FsOpenFlags::FSOPEN_CLOEXEC)
        .map_err(|errno| fail("fsopen", Some(fs_type), errno, None))?;
    let fd = context.as_fd();
    if !source.is_empty() {
        rustix::mount::fsconfig_set_string(fd, "source", source)
            .map_err(|errno| fail("fsconfig", Some("source"), errno, Some(fd)))?;
    }
    for (key, value) in options {
        match value {
            Some(value) => rustix::mount::fsconfig_set_string(fd, key.as_str(), value.as_str()),
            None => rustix::mount::fsconfig_set_flag(fd, key.as_str()),
        }
        .map_err(|errno| fail("fsconfig", Some(key), errno, Some(fd)))?;
    }
    rustix::mount::fsconfig_create(fd).map_err(|errno| fail("fsconfig", Some("create"), errno, Some(fd)))?;
    rustix::mount::fsmount(fd, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        .map_err(|errno| fail("fsmount", Some(fs_type), errno, Some(fd)))
}

/// The lines that the kernel left in a file system context (fsopen(2), "message retrieval"), joined.
fn read_context_message(context: BorrowedFd<'_>) -> Option<String> {
    let mut lines = Vec::new();
    for _ in 0..16 {
        let mut buffer = [0u8; 512];
        match rustix::io::read(context, &mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(count) => {
                let text = String::from_utf8_lossy(&buffer[..count]);
                // Each message begins with its class: "e " error, "w " warning, "i " information.
                let text = text.trim_end();
                lines.push(text.split_once(' ').map_or(text, |(_, rest)| rest).to_owned());
            }
        }
    }
    (!lines.is_empty()).then(|| lines.join("; "))
}

/// umount2(2) of the mount at the place that `fd` is, by its magic link, so that no path is walked again.
/// `MNT_DETACH` if `detach`.
#[doc(alias = "umount2")]
pub fn unmount(fd: BorrowedFd<'_>, detach: bool) -> Result<(), Errno> {
    let flags = if detach { UnmountFlags::DETACH } else { UnmountFlags::empty() };
    rustix::mount::unmount(magic_link(fd), flags)
}

/// `/proc/self/fd/N`: leads the kernel straight to what the fd holds.
pub fn magic_link(fd: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// Where the fd is, as the kernel names it from this task's root (readlink(2) of its magic link).
/// ` (deleted)` is appended by the kernel when the name is gone.
pub fn path_of(fd: BorrowedFd<'_>) -> Result<PathBuf, Errno> {
    let link = rustix::fs::readlink(magic_link(fd), Vec::new())?;
    Ok(PathBuf::from(std::ffi::OsStr::from_bytes(link.as_bytes())))
}

/// unshare(2) with `CLONE_NEWNS`: this task goes on in a copy of its mount namespace.
#[doc(alias = "CLONE_NEWNS")]
pub fn unshare_mounts() -> Result<(), Errno> {
    // SAFETY: CLONE_NEWNS implies CLONE_FS and touches neither memory nor the file descriptor table.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }
}

/// setns(2) into the mount namespace that `namespace` (an open `/proc/PID/ns/mnt`) is; this task's root and
/// working directory are then that namespace's topmost root, and no longer those of the process' other threads: setns(2)
/// wants them for itself, and a thread that was waited for may still have a part in them for a moment (`EINVAL`;
/// `mm_release()` wakes who waits before `exit_fs()`, kernel/exit.c, 6.18).
#[doc(alias = "setns")]
pub fn enter_mount_namespace(namespace: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: CLONE_FS touches neither memory nor the file descriptor table.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::FS)? };
    rustix::thread::move_into_link_name_space(namespace, Some(rustix::thread::LinkNameSpaceType::Mount))
}

/// Makes `new_root` (the root of a mount) this task's root and dissolves what was there before, in four steps:
/// 1. fchdir(2) to it; 2. pivot_root(2) with `"."` twice, which stacks the old root on the new one;
/// 3. umount2(2) of the old root with `MNT_DETACH`; 4. chdir(2) to `/`.
///
/// The old tree must be private, or step 3 would unmount its peers too.
pub fn pivot_root(new_root: BorrowedFd<'_>) -> Result<(), Errno> {
    rustix::process::fchdir(new_root)?;
    rustix::process::pivot_root(".", ".")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/")
}

/// Whether this kernel knows `MOVE_MOUNT_SET_GROUP`: an unknown flag is `EINVAL` before the fds are looked at.
pub fn has_set_group() -> bool {
    // SAFETY: -1 is not a file descriptor that anything owns; the value is only handed to the kernel, which
    // answers EBADF. The empty paths are NUL-terminated literals.
    let result = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            -1,
            c"".as_ptr(),
            -1,
            c"".as_ptr(),
            (MoveMountFlags::MOVE_MOUNT_SET_GROUP
                | MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH
                | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH)
                .bits(),
        )
    };
    result != 0 && last_errno() == Errno::BADF
}

/// open(2) of a directory or file by path, for reading or as `O_PATH`.
pub fn open_root(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A test has a thread of its own beside the first one.
    #[test]
    fn a_thread_enters_a_mount_namespace_beside_others() {
        if !rustix::process::geteuid().is_root() {
            use std::io::Write as _;
            let name = "a_thread_enters_a_mount_namespace_beside_others";
            let _ = writeln!(std::io::stdout(), "SKIPPED: {name}: only root may enter one");
            return;
        }
        let own = crate::namespace::open_own("mnt").unwrap();
        let (end, wait) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || wait.recv());
        let entered = enter_mount_namespace(own.as_fd());
        drop(end);
        let _ = other.join();
        assert_eq!(entered, Ok(()));
    }
}
