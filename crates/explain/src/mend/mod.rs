//! What `rhizome mend` can do to a machine's mounts: a list of [`Action`]s, each with the mounts that it is about as they
//! were when it was advised. Values only; the command makes them true, or refuses because something has changed.

mod operations;
mod touch;

pub use operations::{Operations, operations};
pub use touch::{Touched, predict, touched};

use mount_table::{Mount, NamespaceId};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// A mount as it was seen: what must still be so when a mend is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The mount namespace that it is in.
    pub namespace: NamespaceId,
    /// That namespace in words.
    pub name: String,
    /// Its row.
    pub mount: Mount,
}

impl Seen {
    /// Whether a mount is still this one: what an action relies on, not options that may change at any time.
    pub fn is_still(&self, now: &Mount) -> bool {
        let then = &self.mount;
        then.id == now.id
            && then.parent == now.parent
            && then.device == now.device
            && then.root == now.root
            && then.mount_point == now.mount_point
            && then.propagation.shared == now.propagation.shared
            && then.propagation.master == now.propagation.master
            && then.is_read_only() == now.is_read_only()
    }
}

impl fmt::Display for Seen {
    /// `host:/mnt (mount 25)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} (mount {})", self.name, self.mount.mount_point.display(), self.mount.id.0)
    }
}

/// One change of mounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "action")]
pub enum Action {
    /// `mount --make-shared`: the mount, not those below.
    MakeShared {
        /// Which.
        mount: Seen,
    },
    /// `mount --make-private`: the mount, not those below.
    MakePrivate {
        /// Which.
        mount: Seen,
    },
    /// Joins a private mount to a peer group as a slave (MOVE_MOUNT_SET_GROUP, Linux 5.15): it receives from then on.
    Follow {
        /// A mount of the group that is to be followed.
        source: Seen,
        /// The mount that is to follow.
        mount: Seen,
    },
    /// Joins a private mount to a peer group as a peer (MOVE_MOUNT_SET_GROUP, Linux 5.15): both ways from then on.
    Join {
        /// A mount of the group.
        source: Seen,
        /// The mount that is to join.
        mount: Seen,
    },
    /// Attaches a copy of a mount, with all below it, at a place in another namespace, as a slave where it can be.
    CopyInto {
        /// What is copied.
        source: Seen,
        /// The mount that carries the place.
        onto: Seen,
        /// The place, in `onto`'s namespace.
        #[serde(with = "mount_table::path_as_text")]
        place: PathBuf,
    },
    /// Unmounts a mount with all below it (umount2(2) with `MNT_DETACH`). All of it is made private first: what is mounted
    /// below is then not torn out of other namespaces. The mount itself goes from where its parent's peers and slaves have
    /// it, as with every unmount.
    Detach {
        /// Which.
        mount: Seen,
    },
    /// Unmounts a mount as umount(8) does, with what receives from it.
    Unmount {
        /// Which.
        mount: Seen,
    },
    /// Makes a mount and all below it read-only (mount_setattr(2), Linux 5.12).
    MakeReadOnly {
        /// Which.
        mount: Seen,
    },
}

impl Action {
    /// The mounts that must be as they were.
    pub fn relies_on(&self) -> Vec<&Seen> {
        match self {
            Action::MakeShared { mount }
            | Action::MakePrivate { mount }
            | Action::Detach { mount }
            | Action::Unmount { mount }
            | Action::MakeReadOnly { mount } => vec![mount],
            Action::Follow { source, mount } | Action::Join { source, mount } => vec![source, mount],
            Action::CopyInto { source, onto, .. } => vec![source, onto],
        }
    }

    /// The same with the tools of util-linux, where they can; `pid` is a process in the mount's namespace, none if
    /// that is the caller's.
    pub fn command(&self, pid: Option<u32>) -> Option<String> {
        let enter = pid.map_or_else(String::new, |pid| format!("nsenter --target {pid} --mount "));
        let word = mount_table::shell_word;
        match self {
            Action::MakeShared { mount } => {
                Some(format!("{enter}mount --make-shared {}", word(&mount.mount.mount_point)))
            }
            Action::MakePrivate { mount } => {
                Some(format!("{enter}mount --make-private {}", word(&mount.mount.mount_point)))
            }
            Action::Unmount { mount } => Some(format!("{enter}umount {}", word(&mount.mount.mount_point))),
            Action::Detach { mount } => {
                let path = word(&mount.mount.mount_point);
                Some(format!("{enter}mount --make-rprivate {path} && {enter}umount --lazy {path}"))
            }
            Action::MakeReadOnly { .. }
            | Action::Follow { .. }
            | Action::Join { .. }
            | Action::CopyInto { .. } => None,
        }
    }
}

impl fmt::Display for Action {
    /// What it does, in a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::MakeShared { mount } => write!(f, "make {mount} shared"),
            Action::MakePrivate { mount } => write!(f, "make {mount} private"),
            Action::Follow { source, mount } => write!(f, "make {mount} a slave of {source}"),
            Action::Join { source, mount } => write!(f, "make {mount} a peer of {source}"),
            Action::CopyInto { source, onto, place } => {
                write!(f, "attach a copy of {source} at {}:{}", onto.name, place.display())
            }
            Action::Detach { mount } => write!(f, "detach {mount} and what is below it"),
            Action::Unmount { mount } => write!(f, "unmount {mount}"),
            Action::MakeReadOnly { mount } => write!(f, "make {mount} and what is below it read-only"),
        }
    }
}
