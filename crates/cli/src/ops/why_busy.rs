//! `rhizome why-busy`: who holds a mount, or the folder that it is on.

use crate::args::{self, Document, Global, NodeSource, Object};
use crate::exit::{Context as _, Exit, Failure, Result};
use crate::{ask, mends, node, output, plugin};
use explain::busy::{Subject, busy};
use explain::topology::Topology;

/// Prints what holds it.
pub(crate) fn run(global: &Global, args: &args::WhyBusy) -> Result {
    let node = ask::node(global, &NodeSource { snapshot: None })?;
    let view = node::resolve_one(&node, global, &args.into)?;
    let path = ask::canonical(view, node.reader == Some(view.id), &args.path)?;
    let topology = Topology::of_node(&node);
    let namespace = topology.position(view.id).unwrap_or_default();
    let subject = Subject::of(&topology, namespace, &path)
        .ok_or_else(|| Failure::wrong_use(format!("no mount of {} carries {}", args.into, path.display())))?;
    let wanted = observe::Wanted {
        mounts: subject.mounts(&topology),
        devices: subject.devices(&topology),
        attached: node.mounts().map(|place| place.mount.id).collect(),
        sockets: Some((view.id, path.clone())),
    };
    let held = observe::read_holders(&wanted).context("looking who uses it")?;
    let mut findings = busy(&topology, &subject, &held);
    plugin::name_mends(&mut findings);
    mends::keep(global, &findings);
    match args.output {
        Document::Table => {
            let text = view::audit::busy(&path, &findings, output::columns(), output::stdout_paint());
            output::stdout(&text)?;
        }
        Document::Json => output::document(&view::audit::busy_report(&path, &findings), Object::Json)?,
        Document::Yaml => output::document(&view::audit::busy_report(&path, &findings), Object::Yaml)?,
    }
    if held.unreadable > 0 {
        let hint = if rustix::process::geteuid().is_root() { "" } else { ": run it as root" };
        output::note(&format!("{} process(es) could not be looked into{hint}", held.unreadable));
    }
    node::say_gaps_of(&node, |id| id == view.id);
    Ok(if findings.is_empty() { Exit::NO } else { Exit::YES })
}
