//! The rules: why something happened, or why it was refused. One table; `docs/rules/` has a page for each.
//!
//! Sources: mount_namespaces(7), mount(2), umount(2), move_mount(2), mount_setattr(2), pivot_root(2);
//! `fs/namespace.c` and `fs/pnode.c` of Linux 6.18; each checked against a running kernel by this crate's
//! differential test unless its meaning says otherwise.

use crate::Errno;
use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! rules {
    ($($variant:ident, $id:literal, $errno:expr, $meaning:literal;)*) => {
        /// Why an effect happened, or which check refused an operation. Stable: ids are never reused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum RuleId {
            $(#[doc = $meaning] #[serde(rename = $id)] $variant,)*
        }

        impl RuleId {
            /// All rules, in the order of the table.
            pub const ALL: &'static [RuleId] = &[$(RuleId::$variant),*];

            /// The id, in lower case with hyphens.
            pub fn id(self) -> &'static str {
                match self { $(RuleId::$variant => $id),* }
            }

            /// What the rule says, in a line.
            pub fn meaning(self) -> &'static str {
                match self { $(RuleId::$variant => $meaning),* }
            }

            /// The error that the check gives; none for a rule that makes an effect.
            pub fn errno(self) -> Option<Errno> {
                use Errno::*;
                const NONE: Option<Errno> = None;
                match self { $(RuleId::$variant => $errno),* }
            }
        }
    };
}

const fn e(errno: Errno) -> Option<Errno> {
    Some(errno)
}

rules! {
    // What attaching does.
    AttachOnTop, "attach-on-top", NONE, "a tree is attached on the topmost mount at its destination and hides what was seen there";
    AttachBeneath, "attach-beneath", NONE, "with MOVE_MOUNT_BENEATH a tree is attached under the topmost mount, which stays visible";
    MoveTree, "move-tree", NONE, "a moved tree leaves its old place there and in no other mount: moves do not propagate their leaving";
    SourceBecomesShared, "source-becomes-shared", NONE, "every mount attached to a shared mount becomes shared (keeping its master), private ones in new groups";
    ReceivePeer, "receive-peer", NONE, "a peer of the destination receives a copy that is a peer of the source";
    ReceiveSlave, "receive-slave", NONE, "a slave of the destination receives a copy that is a slave of the copy above it";
    ReceiveSlaveShared, "receive-slave-shared", NONE, "a slave that is itself shared receives a copy that is a slave and shared in a new group";
    TuckUnder, "tuck-under", NONE, "where a receiver already has a mount at that place, the copy goes under it, which stays visible";
    SkipOutsideRoot, "skip-outside-root", NONE, "a receiver whose root does not contain the mount point receives nothing, but what receives from it does";
    SkipAnonymous, "skip-anonymous", NONE, "a detached tree (open_tree, fsmount) receives nothing";
    LockReceived, "lock-received", NONE, "what crosses to a namespace of another user namespace has its attributes, and all but its root, locked";
    // What copying does.
    CopyPeer, "copy-peer", NONE, "the copy of a shared mount is its peer";
    CopySlave, "copy-slave", NONE, "the copy of a slave is a slave of the same master";
    CopyPrivate, "copy-private", NONE, "the copy of a private mount is private";
    CopySkipsUnbindable, "copy-skips-unbindable", NONE, "a recursive copy leaves out unbindable mounts with all below them";
    DetachedCopy, "detached-copy", NONE, "open_tree with OPEN_TREE_CLONE copies into an anonymous namespace that lives as long as its descriptor";
    NewMount, "new-mount", NONE, "a new file system's mount is private until it is attached";
    // Changes of type.
    MakeSharedNewGroup, "make-shared-new-group", NONE, "a mount made shared starts a group of its own and keeps its master";
    MakeSharedAlready, "make-shared-already", NONE, "a shared mount made shared stays as it is";
    MakeSharedBindable, "make-shared-bindable", NONE, "an unbindable mount made shared is no longer unbindable";
    MakeSlaveOfPeer, "make-slave-of-peer", NONE, "a shared mount with other peers made slave leaves them and becomes their slave (a former master is not kept)";
    MakeSlaveOfMaster, "make-slave-of-master", NONE, "a mount shared alone that has a master, made slave, stays a slave of that master";
    MakeSlaveAlone, "make-slave-alone", NONE, "a mount shared alone without a master, made slave, becomes private";
    MakeSlaveUnchanged, "make-slave-unchanged", NONE, "a mount that is not shared, made slave, stays what it is: private, slave or unbindable";
    MakePrivate, "make-private", NONE, "a mount made private leaves its peers and its master";
    MakeUnbindable, "make-unbindable", NONE, "a mount made unbindable leaves its peers and its master and is not copied any more";
    SlavesToPeer, "slaves-to-peer", NONE, "the slaves of a mount that leaves its group go to a peer that stays";
    SlavesToMaster, "slaves-to-master", NONE, "the slaves of a mount that was the last of its group go to its master";
    SlavesOrphaned, "slaves-orphaned", NONE, "the slaves of a mount that was the last of its group and had no master have none either";
    SetGroupJoins, "set-group-joins", NONE, "MOVE_MOUNT_SET_GROUP puts a private mount into another's peer group and gives it the same master";
    SetAttributes, "set-attributes", NONE, "mount_setattr changes all mounts asked for, or none";
    // Unmounting.
    UnmountTarget, "unmount-target", NONE, "the mount at the given place is unmounted";
    UnmountLazySubtree, "unmount-lazy-subtree", NONE, "MNT_DETACH takes every mount below as well, in use or not";
    UnmountReceived, "unmount-received", NONE, "what is mounted at the same place in a mount that receives from the parent is unmounted too, whoever mounted it";
    UnmountKeptChild, "unmount-kept-child", NONE, "a receiver's mount stays if something is mounted in it elsewhere than on its root";
    UnmountKeptLocked, "unmount-kept-locked", NONE, "a receiver's locked mount stays if its parent stays";
    UnmountSlidesDown, "unmount-slides-down", NONE, "a mount that covers the root of an unmounted one slides down into its place and stays visible";
    UnmountUnlocks, "unmount-unlocks", NONE, "unmounting takes the lock off what is mounted at the same place in receivers, even if that stays";
    UnmountRootReadOnly, "unmount-root-read-only", NONE, "umount of the task's own root remounts its file system read-only instead";
    UnmountExpired, "unmount-expired", NONE, "MNT_EXPIRE unmounts on the second call if nothing used the mount since the first";
    CloseDissolves, "close-dissolves", NONE, "closing the descriptor of a tree that was never attached dissolves it, without propagation";
    // Namespaces, roots, files.
    NamespaceCopy, "namespace-copy", NONE, "a new mount namespace holds a copy of every mount: peers of the shared, slaves beside the slaves";
    NamespaceCopySlave, "namespace-copy-slave", NONE, "across user namespaces the copies of shared mounts are slaves of the originals";
    NamespaceCopyLocks, "namespace-copy-locks", NONE, "across user namespaces all copies but the root are locked, as are their attributes";
    NamespaceDropsUnbindable, "namespace-drops-unbindable", NONE, "in Linux 6.17 and 6.18 the copy of an unbindable mount in a new namespace is private";
    NamespaceEnter, "namespace-enter", NONE, "setns puts root and working directory on the topmost mount at the namespace's root";
    NamespaceDeath, "namespace-death", NONE, "a namespace that nothing holds any more is unmounted whole, without propagation";
    PivotRoot, "pivot-root", NONE, "pivot_root puts the new root where the old was and the old on put_old, without propagation; tasks at exactly the old root follow";
    ChangeRoot, "change-root", NONE, "chroot changes only what the task sees";
    ChangeDirectory, "change-directory", NONE, "chdir changes where relative paths begin and keeps the mount in use";
    RemoveDetaches, "remove-detaches", NONE, "removing a directory or file detaches, without propagation, what other namespaces have mounted on it";
    RenameCarries, "rename-carries", NONE, "what other namespaces have mounted on a renamed directory moves with it";
    FileMade, "file-made", NONE, "a directory, file, link or device is made; mounts do not change";
    FileRemoved, "file-removed", NONE, "a directory or file is removed";
    Opened, "opened", NONE, "a descriptor holds a place and keeps its mount in use";

    // Refusals, about descriptors and paths.
    BadHandle, "bad-handle", e(EBADF), "the handle is not open, or is not of the kind needed";
    HandleInUse, "handle-in-use", e(EBADF), "the handle that is to be opened is open already";
    NoSuchTask, "no-such-task", e(ESRCH), "the acting task does not exist";
    PathMissing, "path-missing", e(ENOENT), "no such file or directory";
    PathEmpty, "path-empty", e(ENOENT), "an empty path leads nowhere";
    PathNotDirectory, "path-not-directory", e(ENOTDIR), "a component of the path is not a directory";
    PathTooLong, "path-too-long", e(ENAMETOOLONG), "a path has at most 4095 bytes, a name at most 255";
    PathLinkLoop, "path-link-loop", e(ELOOP), "more than 40 symbolic links, or one where none may be followed";
    PathExists, "path-exists", e(EEXIST), "there is something of that name";
    PathReadOnly, "path-read-only", e(EROFS), "the mount is read-only";
    PathAcrossMounts, "path-across-mounts", e(EXDEV), "rename does not cross from one mount to another";
    PathLastDot, "path-last-dot", e(EINVAL), "the path ends in a dot";
    PathNoName, "path-no-name", e(EBUSY), "the path ends in dots or at the root: there is no name to change";
    DirectoryNotEmpty, "directory-not-empty", e(ENOTEMPTY), "the directory is not empty";
    IsDirectory, "is-directory", e(EISDIR), "it is a directory";
    RenameIntoItself, "rename-into-itself", e(EINVAL), "a directory cannot be moved below itself";
    MountPointInUse, "mount-point-in-use", e(EBUSY), "something is mounted on it in this namespace";
    // About the target.
    NotPermitted, "not-permitted", e(EPERM), "the task has no CAP_SYS_ADMIN over the mount namespace";
    TargetRemoved, "target-removed", e(ENOENT), "nothing can be mounted on a removed directory or file";
    TargetGone, "target-gone", e(ENOENT), "nothing can be mounted on a mount that is in no namespace any more";
    SourceRemoved, "source-removed", e(ENOENT), "a mount whose (topmost) root was removed cannot be attached";
    TargetElsewhere, "target-elsewhere", e(EINVAL), "the mount that carries the target is not in this namespace";
    TargetNotMountRoot, "target-not-mount-root", e(EINVAL), "the target is not the root of a mount";
    TargetUnmounted, "target-unmounted", e(EINVAL), "the mount is in no namespace any more";
    TypeMismatch, "type-mismatch", e(ENOTDIR), "a directory goes only onto a directory, a file only onto a file";
    MountMax, "mount-max", e(ENOSPC), "a receiving namespace would have more mounts than fs.mount-max";
    // Binding and copying.
    SourceUnbindable, "source-unbindable", e(EINVAL), "an unbindable mount cannot be bound";
    SourceElsewhere, "source-elsewhere", e(EINVAL), "the source is not in this namespace, nor a detached tree that came from it";
    SourceCoversLocked, "source-covers-locked", e(EINVAL), "a bind that is not recursive would reveal what a locked mount hides";
    CopyLockedUnbindable, "copy-locked-unbindable", e(EPERM), "a recursive copy may not leave out an unbindable mount that is locked";
    // Moving.
    MoveNotMountRoot, "move-not-mount-root", e(EINVAL), "only a whole mount can be moved";
    MoveTypeMismatch, "move-type-mismatch", e(EINVAL), "a directory moves only onto a directory, a file only onto a file";
    MoveNoParent, "move-no-parent", e(EINVAL), "the root of a namespace cannot be moved";
    MoveLocked, "move-locked", e(EINVAL), "a locked mount cannot be moved";
    MoveParentShared, "move-parent-shared", e(EINVAL), "a mount cannot be moved away from a shared mount: its leaving would not propagate";
    MoveElsewhere, "move-elsewhere", e(EINVAL), "the source is neither in this namespace nor the root of a detached tree";
    MoveIntoItself, "move-into-itself", e(EINVAL), "a detached tree cannot be attached to itself";
    MoveUnbindableToShared, "move-unbindable-to-shared", e(EINVAL), "a tree with an unbindable mount cannot go to a shared mount";
    MoveLoop, "move-loop", e(ELOOP), "a mount cannot be moved below itself";
    BeneathNotMountRoot, "beneath-not-mount-root", e(EINVAL), "MOVE_MOUNT_BENEATH needs the root of a mount as target";
    BeneathNoParent, "beneath-no-parent", e(EINVAL), "there is nothing beneath the root of a namespace";
    BeneathLocked, "beneath-locked", e(EINVAL), "nothing goes beneath a locked mount";
    BeneathRoot, "beneath-root", e(EINVAL), "nothing goes beneath the task's root, nor beneath what is mounted on the namespace's root mount";
    BeneathCovered, "beneath-covered", e(EINVAL), "a mount that is itself covered cannot go beneath another";
    BeneathDescendant, "beneath-descendant", e(EINVAL), "a mount cannot go beneath one that it is below";
    BeneathPropagates, "beneath-propagates", e(EINVAL), "the parent would propagate the mount onto the very mount it goes beneath";
    BeneathUnsupported, "beneath-unsupported", e(EINVAL), "MOVE_MOUNT_BENEATH came with Linux 6.5";
    DetachedUnsupported, "detached-unsupported", e(EINVAL), "mounting on a detached tree, and copying one, came with Linux 6.15";
    // MOVE_MOUNT_SET_GROUP.
    SetGroupNotMountRoot, "set-group-not-mount-root", e(EINVAL), "both must be roots of mounts";
    SetGroupOtherFileSystem, "set-group-other-file-system", e(EINVAL), "both must be mounts of one file system";
    SetGroupNotBelow, "set-group-not-below", e(EINVAL), "the root of the joining mount must be at or below the root of the other";
    SetGroupCoversLocked, "set-group-covers-locked", e(EINVAL), "a locked mount lies in the other at or below the joining mount's root";
    SetGroupNotPrivate, "set-group-not-private", e(EINVAL), "the joining mount is shared or a slave already";
    SetGroupUnbindable, "set-group-unbindable", e(EINVAL), "since Linux 7 an unbindable mount cannot join (read, not run)";
    SetGroupNothingToJoin, "set-group-nothing-to-join", e(EINVAL), "the other mount is neither shared nor a slave";
    // Types and attributes.
    ChangeElsewhere, "change-elsewhere", e(EINVAL), "mount_setattr needs a mount of this namespace or the root of a detached tree";
    AttributeLocked, "attribute-locked", e(EPERM), "an attribute locked by crossing user namespaces cannot be cleared";
    RemountRemovedInUse, "remount-removed-in-use", e(EBUSY), "a removed directory or file is still in use, which keeps its file system from becoming read-only";
    // Unmounting.
    UnmountNotMountRoot, "unmount-not-mount-root", e(EINVAL), "nothing is mounted there";
    UnmountElsewhere, "unmount-elsewhere", e(EINVAL), "the mount is not in this namespace";
    UnmountLocked, "unmount-locked", e(EINVAL), "a locked mount cannot be unmounted on its own";
    UnmountNoParent, "unmount-no-parent", e(EINVAL), "the root of a namespace cannot be unmounted";
    UnmountHasChildren, "unmount-has-children", e(EBUSY), "something is mounted in it";
    UnmountInUse, "unmount-in-use", e(EBUSY), "it is in use: an open file, a working directory, a root";
    UnmountReceiverInUse, "unmount-receiver-in-use", e(EBUSY), "a receiver's mount at the same place, which would go too, is in use";
    UnmountExpireFlags, "unmount-expire-flags", e(EINVAL), "MNT_EXPIRE goes with neither MNT_DETACH nor MNT_FORCE";
    UnmountExpireMarked, "unmount-expire-marked", e(EAGAIN), "the first call with MNT_EXPIRE only marks the mount";
    // Namespaces and roots.
    NamespaceNotPermitted, "namespace-not-permitted", e(EPERM), "the task may not make or enter this namespace";
    PivotShared, "pivot-shared", e(EINVAL), "the mount of put_old, or the parent of the new or the old root, is shared";
    PivotElsewhere, "pivot-elsewhere", e(EINVAL), "the old or the new root is not in this namespace";
    PivotLocked, "pivot-locked", e(EINVAL), "the new root is locked";
    PivotRemoved, "pivot-removed", e(ENOENT), "the new root was removed";
    PivotOnRoot, "pivot-on-root", e(EBUSY), "the new root or put_old is on the current root mount";
    PivotRootNotMountRoot, "pivot-root-not-mount-root", e(EINVAL), "the current root is not the root of a mount";
    PivotRootNoParent, "pivot-root-no-parent", e(EINVAL), "the current root is the namespace's first mount, which cannot go";
    PivotNewNotMountRoot, "pivot-new-not-mount-root", e(EINVAL), "the new root is not the root of a mount";
    PivotNewNoParent, "pivot-new-no-parent", e(EINVAL), "the new root is the namespace's first mount";
    PivotOldNotBelowNew, "pivot-old-not-below-new", e(EINVAL), "put_old is not at or below the new root";
    PivotNewNotBelowRoot, "pivot-new-not-below-root", e(EINVAL), "the new root is not below the current root";
    // The model's own limits.
    TooLarge, "too-large", e(ENOMEM), "more mounts, files or namespaces than the model numbers";
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.id())
    }
}
