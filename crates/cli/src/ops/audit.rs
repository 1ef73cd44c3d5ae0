//! `rhizome audit`: what is wrong with the mounts of a node.

use crate::args::{self, AuditFormat, Global, Object};
use crate::exit::{Exit, Result};
use crate::{ask, mends, node, output, plugin};
use explain::topology::Topology;
use mount_table::NamespaceId;
use std::collections::BTreeMap;

/// Prints the findings.
pub(crate) fn run(global: &Global, args: &args::Audit) -> Result {
    let live = args.node.snapshot.is_none();
    let mut node = ask::node(global, &args.node)?;
    let host = node::resolve_one(&node, global, &args.host)?.id;
    ask::as_host(&mut node, host);
    let mut scope: Vec<NamespaceId> = Vec::new();
    for target in &args.targets {
        scope.extend(node::resolve(&node, global, target)?.iter().map(|view| view.id));
    }
    scope.sort();
    scope.dedup();
    let topology =
        Topology::of_node(&node).with_health(if live { ask::health(&node) } else { BTreeMap::new() });
    let scope = (!args.targets.is_empty()).then_some(scope.as_slice());
    let mut findings = explain::audit::audit(&node, &topology, host, scope);
    plugin::name_mends(&mut findings);
    if live {
        mends::keep(global, &findings);
    }
    match args.output {
        AuditFormat::Text => {
            output::stdout(&view::audit::text(&findings, output::columns(), output::stdout_paint()))?;
        }
        AuditFormat::Json => output::document(&view::audit::report(&findings, &node), Object::Json)?,
        AuditFormat::Sarif => {
            let version = env!("CARGO_PKG_VERSION");
            output::document(&view::audit::sarif(&findings, version), Object::Json)?;
        }
    }
    node::say_gaps(&node);
    Ok(if explain::audit::is_clean(&findings) { Exit::YES } else { Exit::NO })
}
