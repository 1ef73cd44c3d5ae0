//! Gives a list of [`Op`]s to the kernel, one system call after the other, by file descriptor.
//!
//! Architecture invariant: the only place of the runtime that makes mount system calls.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, UnmountFlags};
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use subtree_model::{Attributes, Handle, Missing, Node, Op, PropagationType};
use sys::features::Support;

/// An operation that the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("{call} {}: {errno}{}", path.display(), message.as_ref().map(|m| format!(" ({m})")).unwrap_or_default())]
pub struct ExecuteError {
    /// Its index in the list.
    pub index: usize,
    /// The system call.
    pub call: &'static str,
    /// The place or file system it was about.
    pub path: PathBuf,
    /// The error.
    pub errno: Errno,
    /// What the kernel said besides, or what the errno means here.
    pub message: Option<String>,
}

/// What an operation holds: the fd, and the path it was opened by for messages.
struct Held {
    fd: OwnedFd,
    path: PathBuf,
}

/// File descriptors by [`Handle`].
#[derive(Default)]
pub struct Handles {
    held: BTreeMap<Handle, Held>,
    /// The container's user namespace, where it has one.
    users: Option<OwnedFd>,
}

impl Handles {
    /// Executes more operations with what is held already; see [`execute`].
    pub fn execute(&mut self, ops: &[Op]) -> Result<(), ExecuteError> {
        let umask = rustix::process::umask(Mode::empty());
        let result = ops.iter().enumerate().try_for_each(|(index, op)| {
            let Failed { call, path, errno, message } = match self.step(op) {
                Ok(()) => return Ok(()),
                Err(failed) => failed,
            };
            Err(ExecuteError { index, call, path, errno, message })
        });
        rustix::process::umask(umask);
        result
    }

    /// Holds an fd under a handle; `path` names it in errors.
    pub fn insert(&mut self, handle: Handle, fd: OwnedFd, path: PathBuf) {
        self.hold(handle, fd, path);
    }

    /// Takes out the fd of a handle.
    pub fn take(&mut self, handle: Handle) -> Option<OwnedFd> {
        self.held.remove(&handle).map(|held| held.fd)
    }
}

/// Executes the operations in order and returns what they still hold open. Stops at the first that fails:
/// what was done before it stays done, so a list that must be all or nothing runs in a mount namespace that
/// is dropped on failure.
pub fn execute(ops: &[Op]) -> Result<Handles, ExecuteError> {
    let mut handles = Handles::default();
    handles.execute(ops)?;
    Ok(handles)
}

/// As [`execute`], for a container in the user namespace that `users` leads to.
pub(super) fn execute_as(ops: &[Op], users: Option<&Path>) -> Result<Handles, ExecuteError> {
    let mut handles = Handles::default();
    if let Some(path) = users {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(path, flags, Mode::empty());
        handles.users = Some(opened.map_err(|errno| ExecuteError {
            index: 0,
            call: "open",
            path: path.to_path_buf(),
            errno,
            message: Some("the pod's user namespace".to_owned()),
        })?);
    }
    handles.execute(ops)?;
    Ok(handles)
}

/// A system call that failed, without its place in the list.
struct Failed {
    call: &'static str,
    path: PathBuf,
    errno: Errno,
    message: Option<String>,
}

fn failed(call: &'static str, path: &Path) -> impl FnOnce(Errno) -> Failed {
    let path = path.to_path_buf();
    move |errno| {
        // What the kernel says for it is "no space left on device".
        let full = call == "move_mount" && errno == Errno::NOSPC;
        let message = full
            .then(|| "the mount namespace has as many mounts as it may (`sysctl fs.mount-max`)".to_owned());
        Failed { call, path, errno, message }
    }
}

impl Handles {
    fn get(&self, handle: Handle) -> Result<&Held, Failed> {
        // A handle that is not there is a mistake in the list; the kernel's word for it serves.
        self.held.get(&handle).ok_or_else(|| Failed {
            call: "handle",
            path: PathBuf::from(handle.0.to_string()),
            errno: Errno::BADF,
            message: Some("the list of operations uses a handle that it has not opened".to_owned()),
        })
    }

    /// The fd of a handle; [`Handle::HOST`] is looked up anew, since UnshareMounts changes what it is.
    fn with<T>(
        &self,
        handle: Handle,
        f: impl FnOnce(BorrowedFd<'_>, &Path) -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        if handle == Handle::HOST {
            let root = sys::mount::open_root(Path::new("/")).map_err(failed("open", Path::new("/")))?;
            return f(root.as_fd(), Path::new("/"));
        }
        let held = self.get(handle)?;
        f(held.fd.as_fd(), &held.path)
    }

    fn users(&self, path: &Path) -> Result<BorrowedFd<'_>, Failed> {
        self.users.as_ref().map(AsFd::as_fd).ok_or_else(|| Failed {
            call: "operation",
            path: path.to_path_buf(),
            errno: Errno::INVAL,
            message: Some("there is no user namespace".to_owned()),
        })
    }

    fn hold(&mut self, out: Handle, fd: OwnedFd, path: PathBuf) {
        self.held.insert(out, Held { fd, path });
    }

    fn step(&mut self, op: &Op) -> Result<(), Failed> {
        match op {
            Op::Open { root, path, follow, missing, out } => {
                let fd = self.with(*root, |root, _| open(root, path, *follow, *missing))?;
                self.hold(*out, fd, path.clone());
            }
            Op::CloneTree { from, recursive, out } => {
                let (fd, path) = self.with(*from, |from, path| {
                    let fd = sys::mount::clone_tree(from, *recursive).map_err(failed("open_tree", path))?;
                    Ok((fd, path.to_path_buf()))
                })?;
                self.hold(*out, fd, path);
            }
            Op::NewFileSystem { fs_type, source, options, attributes, out } => {
                let fd = new_file_system(fs_type, source, options, attribute_flags(*attributes))?;
                self.hold(*out, fd, PathBuf::from(fs_type));
            }
            Op::Make { root, path, node } => self.with(*root, |root, _| make(root, path, node))?,
            Op::SetAttributes { mount, recursive, set, clear, propagation } => {
                self.with(*mount, |mount, path| {
                    let (set, clear) = (attribute_flags(*set), attribute_flags(*clear));
                    sys::mount::set_attributes(mount, *recursive, set, clear, propagation.map(propagation_of))
                        .map_err(failed("mount_setattr", path))
                })?;
            }
            Op::MapIds { mount, recursive } => {
                let users = self.users(Path::new(""))?;
                self.with(*mount, |mount, path| {
                    sys::mount::map_ids(mount, *recursive, users).map_err(|errno| {
                        let message = (errno == Errno::INVAL).then(|| {
                            "the kernel cannot map the ids of a file system that is mounted here or below, which \
                             hostUsers: false needs"
                                .to_owned()
                        });
                        Failed { call: "mount_setattr(IDMAP)", path: path.to_path_buf(), errno, message }
                    })
                })?;
            }
            Op::UnshareUserAndMounts => {
                let place = Path::new("/");
                let users = self.users(place)?;
                crate::user_namespace::enter(users).map_err(failed("setns(CLONE_NEWUSER)", place))?;
                sys::mount::unshare_mounts().map_err(failed("unshare(CLONE_NEWNS)", place))?;
            }
            Op::MoveMount { from, to } => {
                let from = self.get(*from)?;
                self.with(*to, |to, path| attach(from.fd.as_fd(), to, path))?;
            }
            Op::SetGroup { from, to } => {
                let from = self.get(*from)?;
                self.with(*to, |to, path| {
                    sys::mount::set_group(from.fd.as_fd(), to)
                        .map_err(failed("move_mount(MOVE_MOUNT_SET_GROUP)", path))
                })?;
            }
            Op::Unmount { at, detach } => {
                self.with(*at, |at, path| sys::mount::unmount(at, *detach).map_err(failed("umount2", path)))?;
            }
            Op::UnshareMounts => {
                // In the window: the sources are cloned, and the host's mounts do not reach the clones.
                crate::fault::point("mounts.unshare").map_err(failed("unshare", Path::new("/")))?;
                sys::mount::unshare_mounts().map_err(failed("unshare(CLONE_NEWNS)", Path::new("/")))?;
            }
            Op::UnmountPath { target, detach, expire: false } => {
                let flags = if *detach { UnmountFlags::DETACH } else { UnmountFlags::empty() };
                rustix::mount::unmount(target, flags | UnmountFlags::NOFOLLOW)
                    .map_err(failed("umount2", target))?;
            }
            Op::EnterNamespace { namespace } => {
                let held = self.get(*namespace)?;
                sys::mount::enter_mount_namespace(held.fd.as_fd()).map_err(failed("setns", &held.path))?;
            }
            Op::PivotRoot { new_root } => {
                self.with(*new_root, |root, path| {
                    sys::mount::pivot_root(root).map_err(failed("pivot_root", path))
                })?;
            }
            Op::Close { handle } => {
                self.get(*handle)?;
                self.held.remove(handle);
            }
            other => {
                return Err(Failed {
                    call: "operation",
                    path: PathBuf::new(),
                    errno: Errno::NOSYS,
                    message: Some(format!("not one that a container's mounts are made of: {other:?}")),
                });
            }
        }
        Ok(())
    }
}

/// move_mount(2), with what the two usual errors mean.
fn attach(from: BorrowedFd<'_>, to: BorrowedFd<'_>, path: &Path) -> Result<(), Failed> {
    sys::mount::move_mount(from, to).map_err(|errno| {
        let message = match errno {
            Errno::NOTDIR => Some("are you trying to mount a directory onto a file (or vice-versa)?"),
            Errno::NOSPC => Some("the mount namespace holds fs.mount-max mounts"),
            _ => None,
        };
        Failed { call: "move_mount", path: path.to_path_buf(), errno, message: message.map(str::to_owned) }
    })
}

fn attribute_flags(attributes: Attributes) -> MountAttrFlags {
    [
        (attributes.read_only, MountAttrFlags::MOUNT_ATTR_RDONLY),
        (attributes.no_suid, MountAttrFlags::MOUNT_ATTR_NOSUID),
        (attributes.no_dev, MountAttrFlags::MOUNT_ATTR_NODEV),
        (attributes.no_exec, MountAttrFlags::MOUNT_ATTR_NOEXEC),
    ]
    .into_iter()
    .filter(|(wanted, _)| *wanted)
    .fold(MountAttrFlags::empty(), |all, (_, flag)| all | flag)
}

fn propagation_of(wanted: PropagationType) -> sys::mount::Propagation {
    match wanted {
        PropagationType::Shared => sys::mount::Propagation::Shared,
        PropagationType::Slave => sys::mount::Propagation::Slave,
        PropagationType::Private => sys::mount::Propagation::Private,
        PropagationType::Unbindable => sys::mount::Propagation::Unbindable,
    }
}

/// Opens a place; creates it first if it is not there and `missing` says as what.
fn open(
    root: BorrowedFd<'_>,
    path: &Path,
    follow: bool,
    missing: Option<Missing>,
) -> Result<OwnedFd, Failed> {
    match (sys::mount::open_path_in(root, path, follow), missing) {
        (Ok(fd), _) => Ok(fd),
        (Err(Errno::NOENT), Some(missing)) => create(root, path, missing),
        (Err(errno), _) => {
            let message = (errno == Errno::LOOP && !follow)
                .then(|| "a symbolic link is where a directory was a moment ago".to_owned());
            Err(Failed { call: "openat2", path: path.to_path_buf(), errno, message })
        }
    }
}

/// Creates directories down to `path`, and what `missing` says there; each step is taken by fd and follows no
/// symbolic link, so that nothing can be created outside `root`.
fn create(root: BorrowedFd<'_>, path: &Path, missing: Missing) -> Result<OwnedFd, Failed> {
    let fail = |call| failed(call, path);
    let names: Vec<_> = path
        .components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name),
            _ => None,
        })
        .collect();
    let mut here = sys::mount::open_path_in(root, Path::new("."), false).map_err(fail("openat2"))?;
    for (position, name) in names.iter().enumerate() {
        let last = position + 1 == names.len();
        let made = match missing {
            Missing::File if last => {
                let flags =
                    OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::WRONLY;
                rustix::fs::openat(&here, *name, flags, Mode::from_raw_mode(0o644)).map(drop)
            }
            _ => rustix::fs::mkdirat(&here, *name, Mode::from_raw_mode(0o755)),
        };
        match made {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => {
                let message = (errno == Errno::ROFS)
                    .then(|| "the mount point does not exist and its file system is read-only".to_owned());
                return Err(Failed { call: "mkdir", path: path.to_path_buf(), errno, message });
            }
        }
        here = sys::mount::open_path_in(here.as_fd(), Path::new(name), false).map_err(fail("openat2"))?;
    }
    Ok(here)
}

/// mknodat(2) and the like. The path is the node's own: it was made by the list, on a file system of the
/// list, so its parents hold no symbolic links.
fn make(root: BorrowedFd<'_>, path: &Path, node: &Node) -> Result<(), Failed> {
    let mode = |bits: &u32| Mode::from_raw_mode(*bits);
    match node {
        Node::Directory { mode: bits } => {
            rustix::fs::mkdirat(root, path, mode(bits)).map_err(failed("mkdir", path))
        }
        Node::File { mode: bits } => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::WRONLY;
            rustix::fs::openat(root, path, flags, mode(bits)).map(drop).map_err(failed("open", path))
        }
        Node::Symlink { target } => {
            rustix::fs::symlinkat(target, root, path).map_err(failed("symlink", path))
        }
        Node::CharDevice { mode: bits, major, minor } => {
            let device = rustix::fs::makedev(*major, *minor);
            rustix::fs::mknodat(root, path, FileType::CharacterDevice, mode(bits), device)
                .map_err(failed("mknod", path))
        }
        Node::BlockDevice { mode: bits, major, minor } => {
            let device = rustix::fs::makedev(*major, *minor);
            rustix::fs::mknodat(root, path, FileType::BlockDevice, mode(bits), device)
                .map_err(failed("mknod", path))
        }
    }
}

/// A new file system. An overlay that the kernel cannot be told of in full (a path longer than fsconfig
/// takes, or no `lowerdir+`, which came with Linux 6.7) is told of by file descriptors instead.
fn new_file_system(
    fs_type: &str,
    source: &str,
    options: &[(String, Option<String>)],
    attributes: MountAttrFlags,
) -> Result<OwnedFd, Failed> {
    let too_long = options
        .iter()
        .filter_map(|(_, value)| value.as_ref())
        .any(|value| value.len() > sys::mount::FSCONFIG_STRING_MAX_BYTES);
    let fail = |error: sys::mount::FileSystemError| Failed {
        call: error.call,
        path: PathBuf::from(error.key.map_or_else(|| fs_type.to_owned(), |key| format!("{fs_type} {key}"))),
        errno: error.errno,
        message: error.message,
    };
    let one_by_one = || sys::features::overlay_lowerdir_append() != Support::No;
    if fs_type != "overlay" || (!too_long && one_by_one()) {
        return sys::mount::new_file_system(fs_type, source, options, attributes).map_err(fail);
    }
    let by_fd = OverlayByFd::open(options)?;
    let made = sys::mount::new_file_system(fs_type, source, &by_fd.options, attributes).map_err(fail);
    by_fd.leave();
    made
}

/// An overlay's options with directories given as the numbers of open fds, for a task whose working directory is
/// `/proc/self/fd`: every layer, so that 80 fit into one fsconfig value, and the upper and working directories
/// where they cannot be named. Otherwise these are, since mountinfo shows what was given, and that is how the
/// writable layer behind a mount is found.
struct OverlayByFd {
    options: Vec<(String, Option<String>)>,
    before: OwnedFd,
    _open: Vec<OwnedFd>,
}

impl OverlayByFd {
    fn open(options: &[(String, Option<String>)]) -> Result<OverlayByFd, Failed> {
        use rustix::fd::AsRawFd;
        let (mut lower, mut rewritten, mut open) = (Vec::new(), Vec::new(), Vec::new());
        for (key, value) in options {
            let text = value.as_deref().unwrap_or_default();
            let is_directory = matches!(key.as_str(), "lowerdir+" | "upperdir" | "workdir");
            if !is_directory || (key != "lowerdir+" && can_be_named(text)) {
                rewritten.push((key.clone(), value.clone()));
                continue;
            }
            let path = Path::new(text);
            let fd = sys::mount::open_root(path).map_err(failed("open", path))?;
            let number = fd.as_raw_fd().to_string();
            open.push(fd);
            match key.as_str() {
                "lowerdir+" => lower.push(number),
                _ => rewritten.push((key.clone(), Some(number))),
            }
        }
        rewritten.insert(0, ("lowerdir".to_owned(), Some(lower.join(":"))));
        let dot = Path::new(".");
        let fds = Path::new("/proc/self/fd");
        let before = sys::mount::open_root(dot).map_err(failed("open", dot))?;
        rustix::process::chdir(fds).map_err(failed("chdir", fds))?;
        Ok(OverlayByFd { options: rewritten, before, _open: open })
    }

    fn leave(self) {
        // The directory was open a moment ago; should it be gone, staying in /proc/self/fd harms nobody:
        // every path here is absolute or relative to an fd.
        let _ = rustix::process::fchdir(&self.before);
    }
}

/// Whether an overlay of any kernel takes a path as it is: before Linux 6.5 a comma is refused
/// (`legacy_parse_param()`, fs/fs_context.c) and a backslash is taken for an escape (`ovl_unescape()`, fs/overlayfs/super.c).
fn can_be_named(path: &str) -> bool {
    path.len() <= sys::mount::FSCONFIG_STRING_MAX_BYTES && !path.contains([',', '\\'])
}
