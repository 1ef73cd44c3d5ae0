//! What is asked of a node beside its tables: which FUSE file systems answer, and where a path really leads.

use crate::args::{Global, NodeSource};
use crate::exit::{Context as _, Failure, Result};
use crate::{node, world};
use mount_table::holders::Health;
use mount_table::node::Owner;
use mount_table::{Device, MountTable, NamespaceId, NamespaceView, Node};
use observe::Asked;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

/// How long a file system that a process serves may take to say that it is there.
const PATIENCE: Duration = Duration::from_secs(2);

/// Reads the node. In a root with mounts of its own (`--isolated`) these are the host's: what its pods have as the node.
/// Of a file it is what the file says.
pub(crate) fn node(global: &Global, source: &NodeSource) -> Result<Node> {
    let live = source.snapshot.is_none() && rustix::process::geteuid().is_root();
    let isolated = live && world::enter(global)?;
    let mut node = node::read(global, source)?;
    if let (true, Some(own)) = (isolated, node.reader) {
        as_host(&mut node, own);
    }
    Ok(node)
}

/// Takes this namespace for the node's own, whichever process 1 is in.
pub(crate) fn as_host(node: &mut Node, own: NamespaceId) {
    let real = node.host.replace(own).filter(|real| *real != own);
    for view in &mut node.namespaces {
        if view.id == own {
            view.owner = Owner::Host;
        } else if Some(view.id) == real {
            view.owner = Owner::Processes;
        }
    }
    node.namespaces.sort_by_key(|view| (view.id != own, view.id));
}

/// What the FUSE file systems of a node say, each asked once.
pub(crate) fn health(node: &Node) -> BTreeMap<Device, Health> {
    let mut asked: BTreeMap<Device, Asked> = BTreeMap::new();
    for view in &node.namespaces {
        let Some(process) = view.first_process() else { continue };
        for (mount, visible) in view.mounts.mounts.iter().zip(view.mounts.visible()) {
            if visible && observe::is_fuse(mount) {
                let (device, path) = (mount.device, mount.mount_point.clone());
                asked.entry(device).or_insert(Asked { device, pid: process.pid, path });
            }
        }
    }
    let asked: Vec<Asked> = asked.into_values().collect();
    observe::read_health(&asked, PATIENCE)
}

/// A path as the kernel would walk it in a namespace, symbolic links followed; nothing is asked of file systems that a
/// process serves, which may not answer: from there on the path stands as it was written.
pub(crate) fn canonical(view: &NamespaceView, is_own: bool, path: &Path) -> Result<PathBuf> {
    let path = match (path.is_absolute(), is_own) {
        (true, _) => path.to_owned(),
        (false, true) => std::env::current_dir().context("asking for the working directory")?.join(path),
        (false, false) => {
            return Err(Failure::wrong_use(format!("{}: must begin with / here", path.display())));
        }
    };
    let root = view.first_process().map(|process| PathBuf::from(format!("/proc/{}/root", process.pid)));
    let path = walk(&view.mounts, root.as_deref(), &path);
    let there = root.map(|root| root.join(path.strip_prefix("/").unwrap_or(&path)));
    let asked = there.filter(|_| !view.mounts.carrier(&path).is_some_and(observe::is_fuse));
    if asked.is_some_and(|it| it.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound)) {
        crate::output::note(&format!(
            "there is nothing at {}",
            view::text::printable(&path.to_string_lossy())
        ));
    }
    Ok(path)
}

/// As many symbolic links as the kernel follows.
const LINKS_MAX: usize = 40;

fn walk(table: &MountTable, root: Option<&Path>, path: &Path) -> PathBuf {
    let parts = |path: &Path| -> Vec<OsString> {
        let parts = path.components().filter(|part| !matches!(part, Component::RootDir | Component::CurDir));
        parts.map(|part| part.as_os_str().to_owned()).collect()
    };
    let (mut at, mut left, mut links) = (PathBuf::from("/"), parts(path), 0);
    left.reverse();
    while let Some(part) = left.pop() {
        if part == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&part);
        let served = table.carrier(&at).is_some_and(observe::is_fuse);
        let link = match root {
            Some(root) if !served && links < LINKS_MAX => {
                std::fs::read_link(root.join(next.strip_prefix("/").unwrap_or(&next))).ok()
            }
            _ => None,
        };
        match link {
            Some(target) => {
                links += 1;
                if target.is_absolute() {
                    at = PathBuf::from("/");
                }
                left.extend(parts(&target).into_iter().rev());
            }
            None => at = next,
        }
    }
    at
}
