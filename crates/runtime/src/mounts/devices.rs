//! The device nodes of the host, for privileged containers.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use subtree_model::Node;

/// The most device nodes of the host that a privileged container gets.
const DEVICES_MAX: usize = 10_000;

/// The nodes that every container has of its own (`explain::defaults`).
const USUAL: [&str; 12] =
    ["null", "zero", "full", "random", "urandom", "tty", "fd", "stdin", "stdout", "stderr", "ptmx", "core"];

/// All device nodes below the host's `/dev` that a container has not of its own, with their directories, parents
/// first.
pub(super) fn host_devices() -> Vec<(PathBuf, Node)> {
    let mut nodes = Vec::new();
    add_below(Path::new("/dev"), Path::new(""), &mut nodes);
    nodes
}

/// Adds the device nodes below `dir`, except those that the container has its own of. What vanishes or cannot
/// be read meanwhile is left out: devices come and go.
fn add_below(dir: &Path, below: &Path, nodes: &mut Vec<(PathBuf, Node)>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        if nodes.len() >= DEVICES_MAX {
            return;
        }
        let path = below.join(entry.file_name());
        let own = ["pts", "shm", "mqueue", "console", "hugepages"];
        if own.iter().chain(&USUAL).any(|name| path == Path::new(name)) {
            continue;
        }
        let Ok(metadata) = entry.metadata() else { continue };
        let kind = metadata.file_type();
        let (mode, device) = (metadata.mode() & 0o7777, metadata.rdev());
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        if kind.is_char_device() {
            nodes.push((path, Node::CharDevice { mode, major, minor }));
        } else if kind.is_block_device() {
            nodes.push((path, Node::BlockDevice { mode, major, minor }));
        } else if kind.is_dir() {
            let before = nodes.len();
            nodes.push((path.clone(), Node::Directory { mode }));
            add_below(&entry.path(), &path, nodes);
            if nodes.len() == before + 1 {
                nodes.pop();
            }
        }
    }
}
