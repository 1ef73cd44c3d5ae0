//! `rhizome why` and `rhizome why-not`: is what is at a path visible somewhere else, and why (not)?

use crate::args::{self, Document, Global, Object};
use crate::exit::{Exit, Failure, Result};
use crate::{ask, mends, node, output, plugin};
use explain::topology::Topology;
use explain::why::{Question, Visibility, can_propagate, why};
use std::collections::BTreeMap;

/// Prints the answer. `expected`: whether visible is the yes.
pub(crate) fn run(global: &Global, args: &args::Why, expected: bool) -> Result {
    let node = ask::node(global, &args.node)?;
    let from = node::resolve_one(&node, global, &args.from)?;
    let live = args.node.snapshot.is_none();
    let path = match live {
        true => ask::canonical(from, node.reader == Some(from.id), &args.path)?,
        // What a path of another machine, or of another time, leads to is not to be found here.
        false => args.path.clone(),
    };
    let topology =
        Topology::of_node(&node).with_health(if live { ask::health(&node) } else { BTreeMap::new() });
    let position = |view: &mount_table::NamespaceView| topology.position(view.id).unwrap_or_default();
    let into = args.into.as_ref().map(|target| node::resolve_one(&node, global, target)).transpose()?;
    let answer = match into {
        None => can_propagate(&topology, &path, position(from)),
        Some(into) => {
            why(&topology, &Question { path: path.clone(), from: position(from), into: position(into) })
        }
    };
    let Some(mut answer) = answer else {
        let text = format!("no mount of {} carries {}", args.from, path.display());
        return Err(
            Failure::wrong_use(text).hint("its processes are in a chroot whose root is no mount point")
        );
    };
    plugin::name_mends([&mut answer.cause]);
    if live {
        mends::keep(global, [&answer.cause]);
    }
    match args.output {
        Document::Table => {
            output::stdout(&view::why::answer(&answer, output::columns(), output::stdout_paint()))?;
        }
        Document::Json => output::document(&view::why::document(&answer), Object::Json)?,
        Document::Yaml => output::document(&view::why::document(&answer), Object::Yaml)?,
    }
    node::say_gaps_of(&node, |id| id == from.id || into.is_some_and(|into| into.id == id));
    Ok(if (answer.visible == Visibility::Yes) == expected { Exit::YES } else { Exit::NO })
}
