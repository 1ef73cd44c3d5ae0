//! The node that a command asks: this one, as far as we may see it, or one that was taken away in a file.

use crate::args::{Global, NodeSource};
use crate::exit::{Context as _, Failure, Result};
use crate::{output, world};
use agent::Root;
use mount_table::node::{MAX_DOCUMENT_BYTES, TargetError};
use mount_table::{NamespaceId, NamespaceView, Node};
use observe::Names;
use std::io::Read as _;
use std::path::Path;

/// Reads it.
pub(crate) fn read(global: &Global, source: &NodeSource) -> Result<Node> {
    match &source.snapshot {
        Some(path) => read_file(path),
        None => {
            observe::read_node(&names(&world::root(global))).context("reading the mounts of this machine")
        }
    }
}

/// A file that `rhizome snapshot` wrote.
fn read_file(path: &Path) -> Result<Node> {
    let bytes = read_bytes(path)?;
    Node::parse_json(&bytes).context(reading(path))
}

fn reading(path: &Path) -> String {
    match path == Path::new("-") {
        true => "reading standard input".to_owned(),
        false => format!("reading {}", path.display()),
    }
}

/// What a file of a node's holds; `-` is standard input.
pub(crate) fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    let what = reading(path);
    let mut bytes = Vec::new();
    let limit = MAX_DOCUMENT_BYTES + 1;
    if path == Path::new("-") {
        std::io::stdin().take(limit).read_to_end(&mut bytes).context(what.clone())?;
    } else {
        let file = std::fs::File::open(path).context(what.clone())?;
        file.take(limit).read_to_end(&mut bytes).context(what.clone())?;
    }
    if bytes.len() as u64 > MAX_DOCUMENT_BYTES {
        return Err(Failure::wrong_use(format!("{what}: longer than {MAX_DOCUMENT_BYTES} bytes")));
    }
    Ok(bytes)
}

/// Says on standard error what of the node was not seen.
pub(crate) fn say_gaps(node: &Node) {
    say_gaps_of(node, |_| true);
}

/// The same where only these namespaces are answered about: that others change all the time is not of interest.
pub(crate) fn say_gaps_of(node: &Node, is_of_interest: impl Fn(NamespaceId) -> bool) {
    for gap in view::mounts::gaps(&node.gaps) {
        output::note(&gap);
    }
    let moved: Vec<_> = node.namespaces.iter().filter(|view| view.moved && is_of_interest(view.id)).collect();
    if !moved.is_empty() {
        let labels = mount_table::node::Labels::of(node);
        let names: Vec<_> = moved.iter().take(5).map(|view| labels.get(view.id)).collect();
        let more = if moved.len() > 5 { format!(" and {} more", moved.len() - 5) } else { String::new() };
        let text = format!("changed during each reading, so not of one moment: {}{more}", names.join(", "));
        output::note(&view::text::printable(&text));
    }
}

/// The namespaces that a target means.
pub(crate) fn resolve<'a>(node: &'a Node, global: &Global, target: &str) -> Result<Vec<&'a NamespaceView>> {
    node.resolve(target, crate::pods::namespace(global)).map_err(not_a_target)
}

/// The one namespace that a target means; `host` is our own where process 1 may not be asked.
pub(crate) fn resolve_one<'a>(node: &'a Node, global: &Global, target: &str) -> Result<&'a NamespaceView> {
    let own = || node.reader.and_then(|own| node.namespace(own));
    match node.resolve_one(target, crate::pods::namespace(global)) {
        Err(TargetError::NoHost) => own().ok_or_else(|| not_a_target(TargetError::NoHost)),
        found => found.map_err(not_a_target),
    }
}

fn not_a_target(error: TargetError) -> Failure {
    let hint = error.hint();
    let failure = match error {
        TargetError::NotATarget { .. } | TargetError::Several { .. } => Failure::wrong_use(error.to_string()),
        _ => Failure::no(error),
    };
    hint.into_iter().fold(failure, Failure::hint)
}

/// What the pods of our root are called.
pub(crate) fn names(root: &Root) -> Names {
    agent::names::read(root)
}
