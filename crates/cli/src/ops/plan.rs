//! `rhizome plan`: manifests, and what is known of a node, given to `explain::plan`.

use super::simulate;
use crate::args::{self, Document, Global, Object};
use crate::exit::{Exit, Failure, Result};
use crate::manifests::read;
use crate::{output, world};
use agent::Root;
use explain::plan::{self, MAX_PODS, Manifests, Node, Origin, Request, Source, There};
use manifest::Source as Manifest;
use mount_table::MountTable;
use rustix::io::Errno;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Prints what the manifests will do.
pub(crate) fn run(global: &Global, args: &args::Plan) -> Result {
    let files = read(&args.files)?;
    let sources: Vec<Manifest<'_>> = files.iter().map(|(name, bytes)| Manifest { name, bytes }).collect();
    let manifests = Manifests::survey(&sources);
    if manifests.pods() > MAX_PODS {
        let text = format!(
            "{} pods are too many for one node: at most {MAX_PODS} are planned together",
            manifests.pods()
        );
        return Err(Failure::wrong_use(text));
    }
    let node = node(global, args, &manifests)?;
    let request = Request { node: &node, then: &args.then, restarts: args.restarts };
    let plan =
        plan::plan(&manifests, &request).map_err(|error| Failure::wrong_use(format!("--then, {error}")))?;
    let document = || view::plan::document(&plan, node.origin);
    match args.output {
        Document::Table => {
            let (columns, paint) = (output::columns(), output::stdout_paint());
            output::stdout(&view::plan::plan(&plan, node.origin, columns, paint))?;
        }
        Document::Json => output::document(&document(), Object::Json)?,
        Document::Yaml => output::document(&document(), Object::Yaml)?,
    }
    Ok(if plan.is_good() { Exit::YES } else { Exit::NO })
}

fn node(global: &Global, args: &args::Plan, manifests: &Manifests) -> Result<Node> {
    let kernel = simulate::kernel(args.kernel.as_deref())?;
    if let Some(path) = &args.snapshot {
        let taken = simulate::read_snapshot(path)?;
        let host = taken.host().or_else(|| taken.namespaces.first());
        let host = host.filter(|view| !view.mounts.mounts.is_empty());
        let host = host.ok_or_else(|| Failure::no(anyhow::anyhow!("{}: no mounts", path.display())))?;
        let mut node = Node { kernel, ..Node::new(Origin::Snapshot, host.mounts.clone()) };
        node.mount_max = taken.mount_max.map_or(node.mount_max, |most| most.try_into().unwrap_or(u32::MAX));
        return Ok(node);
    }
    if !args.here {
        return Ok(Node { kernel, ..Node::assumed() });
    }
    if rustix::process::geteuid().is_root() {
        world::enter(global)?;
    }
    Ok(Node { kernel, ..here(&world::root(global), manifests)? })
}

/// This machine, from the mount namespace that we are in.
pub(crate) fn here(root: &Root, manifests: &Manifests) -> Result<Node> {
    let mut node = Node::new(Origin::Here, observe::read_own_mounts()?);
    node.kernel = simulate::kernel(None)?;
    node.set_group = sys::mount::has_set_group();
    node.pods = root.pods();
    node.run = root.runtime_dirs().state;
    if let Ok(most) = std::fs::read_to_string("/proc/sys/fs/mount-max") {
        node.mount_max = most.trim().parse().unwrap_or(node.mount_max);
    }
    let looked = |path: PathBuf| (path.clone(), look(&path, &node.mounts));
    node.sources = manifests.host_paths().into_iter().map(looked).collect();
    Ok(node)
}

/// How long a file system may take to answer.
const ANSWER: Duration = Duration::from_secs(2);

/// What lies at a path, links followed. What may not be looked at is taken for something that is there.
fn look(path: &Path, mounts: &MountTable) -> Source {
    if observe::require_answer_among(mounts, path, ANSWER).is_err() {
        return Source { canonical: path.to_owned(), there: There::Silent };
    }
    let there = match std::fs::metadata(path) {
        Ok(metadata) => {
            let kind = metadata.file_type();
            match () {
                () if kind.is_dir() => There::Directory,
                () if kind.is_file() => There::File,
                () if kind.is_socket() => There::Socket,
                () if kind.is_char_device() => There::CharDevice,
                () if kind.is_block_device() => There::BlockDevice,
                () => There::Other,
            }
        }
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::NOENT | Errno::NOTDIR) => There::Missing,
            Some(Errno::NOTCONN) => There::Dead,
            _ => There::Other,
        },
    };
    Source { canonical: canonical(path), there }
}

/// The path without symbolic links, also of what is not there yet.
fn canonical(path: &Path) -> PathBuf {
    for part in path.ancestors() {
        if let Ok(canonical) = part.canonicalize() {
            let rest = path.strip_prefix(part).unwrap_or(Path::new(""));
            return if rest.as_os_str().is_empty() { canonical } else { canonical.join(rest) };
        }
    }
    path.to_owned()
}
