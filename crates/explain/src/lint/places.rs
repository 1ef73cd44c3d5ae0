//! What is known of paths of nodes without looking: where mounts come and go, what is a file.

use super::paths::within;
use super::pod::MountOf;

/// Folders in which the kubelet, runtimes and people mount things while a node runs.
const MOUNTED_IN: [&str; 8] = [
    "/media",
    "/mnt",
    "/run/containerd",
    "/run/netns",
    "/var/lib/containers/storage",
    "/var/lib/docker",
    "/var/lib/kubelet/plugins/kubernetes.io",
    "/var/lib/kubelet/pods",
];

/// Folders that often are, or hold, file systems of their own.
const HOLD_MOUNTS: [&str; 3] = ["/home", "/srv", "/var"];

/// Whether the node mounts things in a clean path, or in folders of it, while it runs.
pub(super) fn is_mounted_in(host_path: &str) -> bool {
    MOUNTED_IN.iter().any(|folder| within(folder, host_path))
}

/// Whether there are mounts in a clean path on most nodes.
pub(super) fn holds_mounts(host_path: &str) -> bool {
    is_mounted_in(host_path) || HOLD_MOUNTS.contains(&host_path)
}

/// Whether a mount is of a single file: its type says so, or it is named as sockets are.
pub(super) fn is_file(mount: &MountOf<'_>) -> bool {
    match mount.host_path_type() {
        "File" | "FileOrCreate" | "Socket" | "CharDevice" | "BlockDevice" => mount.mount.sub_path.is_none(),
        "Directory" | "DirectoryOrCreate" => false,
        _ => mount
            .host_path
            .as_deref()
            .is_some_and(|path| path.ends_with(".sock") || path.ends_with(".socket")),
    }
}
