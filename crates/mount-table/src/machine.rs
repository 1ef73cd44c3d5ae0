//! The facts of a machine that decide about pods and mount propagation: what `observe` reads and `explain`
//! judges. Values only; what could not be read is `None`, never a guess.

use crate::{Mount, text};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A machine, as one process sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    /// The kernel's release, as `uname -r`.
    pub kernel_release: String,
    /// What the kernel has.
    pub features: BTreeMap<Feature, Support>,
    /// The reader's effective user id.
    pub effective_user: u32,
    /// The reader's capabilities.
    pub capabilities: Capabilities,
    /// The mount that carries `/`.
    pub root_mount: Option<Mount>,
    /// The folders that state is kept in.
    pub folders: Vec<Folder>,
    /// Control groups.
    pub cgroups: Cgroups,
    /// Mounts in the reader's mount namespace.
    pub mounts: Option<u64>,
    /// `fs.mount-max`: how many mounts one mount namespace may have.
    pub mount_max: Option<u64>,
    /// `user.max_user_namespaces`.
    pub user_namespaces_max: Option<u64>,
    /// Whether AppArmor is on, and the profile that the reader is under (`unconfined`).
    pub apparmor: Option<String>,
    /// SELinux: `Some(true)` enforcing, `Some(false)` permissive, none if it is off.
    pub selinux_enforcing: Option<bool>,
    /// Where the reader stands to process 1.
    pub first_process: FirstProcess,
    /// Names in `/proc/filesystems`.
    pub file_systems: Vec<String>,
    /// Whether `/dev/fuse` is a device.
    pub fuse_device: bool,
    /// Whether the kernel has seccomp filters; `None` if it does not say.
    pub seccomp: Option<bool>,
}

/// Something that a kernel may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Feature {
    /// openat2(2)
    Openat2,
    /// fsopen(2), fsmount(2), move_mount(2), open_tree(2)
    MountApi,
    /// mount_setattr(2)
    MountSetattr,
    /// `MOVE_MOUNT_SET_GROUP`
    SetGroup,
    /// clone3(2)
    Clone3,
    /// pidfd_open(2)
    PidFd,
    /// The overlay file system
    Overlay,
    /// overlay's `lowerdir+` option
    OverlayLowerdirAppend,
    /// `MOVE_MOUNT_BENEATH`
    MoveBeneath,
    /// statmount(2) and listmount(2)
    ListMount,
    /// fanotify(7) events of mounts
    FanotifyMounts,
}

/// Whether the kernel has a [`Feature`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Support {
    /// It has.
    Yes,
    /// It has not.
    No,
    /// It would not say, mostly to a caller that is not root.
    Unknown,
}

/// Capability sets of a process, capabilities(7), as bits by capability number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capabilities {
    /// What it can do now.
    pub effective: u64,
    /// What it, or anything that it starts, can ever get.
    pub bounding: u64,
}

/// A folder that state is kept in, and the mount that carries it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Folder {
    /// What is kept there, in words.
    pub purpose: String,
    /// The folder (which may not exist yet).
    #[serde(with = "text::path_as_text")]
    pub path: PathBuf,
    /// The mount that carries it, or would.
    pub mount: Mount,
    /// Whether upper layers of overlays (the writable layers of containers) are to live in it.
    pub upper_layers: bool,
}

/// Control groups, as they are mounted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cgroups {
    /// Version 1 hierarchies.
    pub v1: Vec<Hierarchy>,
    /// The version 2 hierarchy.
    pub v2: Option<Hierarchy>,
}

/// A cgroup hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hierarchy {
    /// Where it is mounted.
    #[serde(with = "text::path_as_text")]
    pub mount_point: PathBuf,
    /// The controllers that it has.
    pub controllers: Vec<String>,
    /// Whether the mount is read-only.
    pub read_only: bool,
}

/// How the reader's mounts stand to those of process 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FirstProcess {
    /// Whether both are in the same mount namespace.
    pub same_mount_namespace: Option<bool>,
    /// Whether `/` of both is in one peer group: mounts then go both ways.
    pub root_is_peer: Option<bool>,
    /// Whether the reader is in a mount namespace of its own because it was asked for (`--isolated`).
    pub isolated: bool,
}

impl Machine {
    /// Whether the kernel has the feature; [`Support::Unknown`] if nobody asked.
    pub fn support(&self, feature: Feature) -> Support {
        self.features.get(&feature).copied().unwrap_or(Support::Unknown)
    }
}
