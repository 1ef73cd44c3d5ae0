//! `rhizome graph`: which mounts are tied together.

use crate::args::{self, Global, GraphFormat, Object};
use crate::exit::{Exit, Failure, Result};
use crate::{ask, node, output};
use explain::graph::{Focus, of_node};
use mount_table::NamespaceId;
use std::path::{Path, PathBuf};

/// Draws it. Nothing to draw is a no.
pub(crate) fn run(global: &Global, args: &args::Graph) -> Result {
    let live = args.node.snapshot.is_none();
    let mut node = ask::node(global, &args.node)?;
    let host = node::resolve_one(&node, global, &args.host)?.id;
    ask::as_host(&mut node, host);
    let host = node::resolve_one(&node, global, "host")?;
    let (mut path, mut namespaces): (Option<PathBuf>, Vec<NamespaceId>) = (None, Vec::new());
    for word in &args.focus {
        if word.starts_with('/') {
            let canonical = match live {
                true => ask::canonical(host, node.reader == Some(host.id), Path::new(word))?,
                false => PathBuf::from(word),
            };
            if path.replace(canonical).is_some() {
                return Err(Failure::wrong_use("one path at a time"));
            }
        } else {
            namespaces.extend(node::resolve(&node, global, word)?.iter().map(|view| view.id));
        }
    }
    let focus = Focus { path: path.as_deref(), namespaces: &namespaces, all: args.all, ..Focus::default() };
    let graph = of_node(&node, host.id, focus);
    let title = args.title.clone().unwrap_or_else(|| title(live, path.as_deref()));
    match args.output {
        GraphFormat::Text => output::stdout(&view::graph::text(&graph, output::stdout_paint()))?,
        GraphFormat::Svg => output::stdout(&view::graph::svg(&graph, &title))?,
        GraphFormat::Html => output::stdout(&view::graph::html(&graph, &title))?,
        GraphFormat::Json => output::document(&view::graph::document(&graph), Object::Json)?,
    }
    let labels = mount_table::node::Labels::of(&node);
    node::say_gaps_of(&node, |id| graph.spaces.iter().any(|space| space.name == labels.get(id)));
    let shown = graph.spaces.iter().any(|space| !space.mounts.is_empty());
    Ok(if shown { Exit::YES } else { Exit::NO })
}

fn title(live: bool, path: Option<&Path>) -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let of = if live { name } else { "a node".to_owned() };
    match path {
        Some(path) => format!("Mount propagation of {} on {of}", path.display()),
        None => format!("Mount propagation on {of}"),
    }
}
