//! The vocabulary of mount operations: one [`Op`] a system call (or one fixed short sequence of calls that
//! the kernel offers no single call for). `runtime::execute` gives a list of them to the kernel; `World::apply`
//! gives the same list to the model.
//!
//! Two families: what a container start is made of acts on symbolic [`Handle`]s; what users write in scripts acts
//! on paths, which begin at the acting task's root or working directory and follow symbolic links.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A file descriptor by name. [`Handle::HOST`] exists from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Handle(pub u32);

impl Handle {
    /// The acting task's root directory, looked up at each use: the host's until [`Op::UnshareMounts`], then
    /// that of the copy.
    pub const HOST: Handle = Handle(0);
}

/// A propagation type to change to, mount_namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PropagationType {
    /// `MS_SHARED`
    Shared,
    /// `MS_SLAVE`
    Slave,
    /// `MS_PRIVATE`
    Private,
    /// `MS_UNBINDABLE`
    Unbindable,
}

/// Per-mount attributes (`MOUNT_ATTR_*` of mount_setattr(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Attributes {
    /// `MOUNT_ATTR_RDONLY`
    pub read_only: bool,
    /// `MOUNT_ATTR_NOSUID`
    pub no_suid: bool,
    /// `MOUNT_ATTR_NODEV`
    pub no_dev: bool,
    /// `MOUNT_ATTR_NOEXEC`
    pub no_exec: bool,
}

impl Attributes {
    /// None of them.
    pub const NONE: Attributes =
        Attributes { read_only: false, no_suid: false, no_dev: false, no_exec: false };
}

/// What to create where a mount target is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Missing {
    /// A directory, mode 0755, with its parents.
    Directory,
    /// An empty regular file, mode 0644, with its parents as directories.
    File,
}

/// A node of a file system that is not a mount (for `/dev`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Node {
    /// A directory with this mode.
    Directory {
        /// Permission bits.
        mode: u32,
    },
    /// An empty regular file with this mode.
    File {
        /// Permission bits.
        mode: u32,
    },
    /// A symbolic link to this target.
    Symlink {
        /// What it points to.
        #[serde(with = "mount_table::path_as_text")]
        target: PathBuf,
    },
    /// A character device.
    CharDevice {
        /// Permission bits.
        mode: u32,
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Permission bits.
        mode: u32,
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
}

/// One mount operation. A path with a `root` handle is resolved below that and never leaves it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Op {
    /// openat2(2) with `O_PATH`, below `root` (`RESOLVE_IN_ROOT`): hold the place that `path` leads to,
    /// created first if `missing` says so. With `follow: false` no symbolic link is crossed
    /// (`RESOLVE_NO_SYMLINKS`): a link is then ELOOP.
    Open {
        /// Where `path` starts and what it cannot leave.
        root: Handle,
        /// The path below `root`.
        #[serde(with = "mount_table::path_as_text")]
        path: PathBuf,
        /// Whether symbolic links are followed.
        follow: bool,
        /// What to create if it is not there.
        missing: Option<Missing>,
        /// The new handle.
        out: Handle,
    },
    /// open_tree(2) with `OPEN_TREE_CLONE`, and `AT_RECURSIVE` if `recursive`: a detached copy.
    CloneTree {
        /// The place to copy.
        from: Handle,
        /// With all mounts below.
        recursive: bool,
        /// The detached tree.
        out: Handle,
    },
    /// fsopen(2), fsconfig(2)…, fsmount(2): a new file system, detached.
    NewFileSystem {
        /// Type, such as `tmpfs`.
        fs_type: String,
        /// The source string.
        source: String,
        /// `key` or `key=value` options, in order.
        options: Vec<(String, Option<String>)>,
        /// Mount attributes.
        attributes: Attributes,
        /// The detached mount.
        out: Handle,
    },
    /// mknodat(2), mkdirat(2) or symlinkat(2) below `root`.
    Make {
        /// The directory to start from.
        root: Handle,
        /// A path below it, its parent existing.
        #[serde(with = "mount_table::path_as_text")]
        path: PathBuf,
        /// What to make.
        node: Node,
    },
    /// mount_setattr(2) on the mount whose root `mount` is.
    SetAttributes {
        /// The root of a mount.
        mount: Handle,
        /// With all mounts below (`AT_RECURSIVE`).
        recursive: bool,
        /// Attributes to set.
        set: Attributes,
        /// Attributes to clear.
        clear: Attributes,
        /// The propagation type to change to.
        propagation: Option<PropagationType>,
    },
    /// mount_setattr(2) with `MOUNT_ATTR_IDMAP` (Linux 5.12): the ids of a detached mount are shown as those of the
    /// container's user namespace. Nothing of what a mount table tells is changed by it.
    MapIds {
        /// The root of a mount.
        mount: Handle,
        /// With all mounts below (`AT_RECURSIVE`).
        recursive: bool,
    },
    /// move_mount(2): attach a detached tree, or move an attached one, to the place `to`.
    MoveMount {
        /// The tree.
        from: Handle,
        /// The place.
        to: Handle,
    },
    /// move_mount(2) with `MOVE_MOUNT_SET_GROUP` (Linux 5.15): `to` joins `from`'s peer group and master.
    SetGroup {
        /// A shared or slave mount's root.
        from: Handle,
        /// A private mount's root, of the same superblock.
        to: Handle,
    },
    /// umount2(2) of the mount at `at`, `MNT_DETACH` if `detach`.
    Unmount {
        /// The root of a mount.
        at: Handle,
        /// Lazily, with all below.
        detach: bool,
    },
    /// unshare(2) with `CLONE_NEWNS`: the acting task goes on in a copy of its mount namespace.
    UnshareMounts,
    /// fchdir(2), pivot_root(2) `(".", ".")`, umount2(2) of the old root, chdir(2) to `/`.
    PivotRoot {
        /// The root of a mount, of this namespace.
        new_root: Handle,
    },
    /// close(2): a detached tree that is held by nothing else is dissolved.
    Close {
        /// The handle, not to be used again.
        handle: Handle,
    },
    /// move_mount(2) with `MOVE_MOUNT_BENEATH` (Linux 6.5): under what is mounted at `to`.
    MoveMountBeneath {
        /// The tree.
        from: Handle,
        /// The root of a mount.
        to: Handle,
    },
    /// open(2) of the acting task's `/proc/self/ns/mnt`: holds its mount namespace.
    OpenNamespace {
        /// The new handle.
        out: Handle,
    },
    /// setns(2) into a mount namespace; the task's root and working directory are then that namespace's root.
    EnterNamespace {
        /// What [`Op::OpenNamespace`] opened.
        namespace: Handle,
    },
    /// unshare(2) with `CLONE_NEWUSER | CLONE_NEWNS`: a copy of the mount namespace owned by a new user namespace.
    UnshareUserAndMounts,
    /// mount(2) of a new file system.
    Mount {
        /// Type, such as `tmpfs`.
        fs_type: String,
        /// The source string.
        source: String,
        /// Where.
        #[serde(with = "mount_table::path_as_text")]
        target: PathBuf,
        /// Mount attributes.
        attributes: Attributes,
    },
    /// mount(2) with `MS_REMOUNT`: these are all attributes that the mount has from now on. Without `bind`
    /// (`MS_BIND`) the file system, too, becomes read-only or writable.
    Remount {
        /// The root of a mount.
        #[serde(with = "mount_table::path_as_text")]
        target: PathBuf,
        /// What the attributes are to be.
        attributes: Attributes,
        /// Only the mount, not its file system.
        bind: bool,
    },
    /// mount(2) with `MS_BIND`, and `MS_REC` if `recursive`.
    Bind {
        /// What to copy.
        #[serde(with = "mount_table::path_as_text")]
        source: PathBuf,
        /// Where to.
        #[serde(with = "mount_table::path_as_text")]
        target: PathBuf,
        /// With all mounts below.
        recursive: bool,
    },
    /// mount(2) with `MS_MOVE`.
    Move {
        /// The root of a mount.
        #[serde(with = "mount_table::path_as_text")]
        source: PathBuf,
        /// Where to.
        #[serde(with = "mount_table::path_as_text")]
        target: PathBuf,
    },
    /// move_mount(2) by paths with `MOVE_MOUNT_BENEATH`.
    MoveBeneath {
        /// The root of a mount.
        #[serde(with = "mount_table::path_as_text")]
        source: PathBuf,
        /// The root of a mount, under which it goes.
        #[serde(with = "mount_table::path_as_text")]
        target: PathBuf,
    },
    /// mount(2) with a propagation type (`mount --make-…`), and `MS_REC` if `recursive`.
    ChangeType {
        /// The root of a mount.
        #[serde(with = "mount_table::path_as_text")]
        target: PathBuf,
        /// The type.
        to: PropagationType,
        /// With all mounts below.
        recursive: bool,
    },
    /// umount2(2) by path; `MNT_DETACH` if `detach`, `MNT_EXPIRE` if `expire`.
    UnmountPath {
        /// The root of a mount.
        #[serde(with = "mount_table::path_as_text")]
        target: PathBuf,
        /// Lazily, with all below.
        detach: bool,
        /// Only if unused since the last such call.
        expire: bool,
    },
    /// pivot_root(2) by paths.
    PivotRootTo {
        /// The new root.
        #[serde(with = "mount_table::path_as_text")]
        new_root: PathBuf,
        /// Where the old one goes.
        #[serde(with = "mount_table::path_as_text")]
        put_old: PathBuf,
    },
    /// chroot(2). The working directory stays.
    ChangeRoot {
        /// The new root.
        #[serde(with = "mount_table::path_as_text")]
        path: PathBuf,
    },
    /// chdir(2).
    ChangeDirectory {
        /// The new working directory.
        #[serde(with = "mount_table::path_as_text")]
        path: PathBuf,
    },
    /// mkdir(2), or creat(2) of an empty file.
    Create {
        /// Its parent exists.
        #[serde(with = "mount_table::path_as_text")]
        path: PathBuf,
        /// Which of the two.
        kind: Missing,
    },
    /// rmdir(2).
    RemoveDirectory {
        /// An empty directory.
        #[serde(with = "mount_table::path_as_text")]
        path: PathBuf,
    },
    /// unlink(2).
    Unlink {
        /// Something that is no directory.
        #[serde(with = "mount_table::path_as_text")]
        path: PathBuf,
    },
    /// rename(2).
    Rename {
        /// What.
        #[serde(with = "mount_table::path_as_text")]
        from: PathBuf,
        /// To which name; what has it is replaced.
        #[serde(with = "mount_table::path_as_text")]
        to: PathBuf,
    },
}
