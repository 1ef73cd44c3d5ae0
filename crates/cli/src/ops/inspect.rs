//! `rhizome inspect`: pods as the Kubernetes objects that they are.

use crate::args::{self, Global};
use crate::exit::{Exit, Result};
use crate::pods::Pod;
use crate::world::World;
use crate::{exit, output};
use serde_json::json;

/// Prints the pod, or a list if several were asked for.
pub(crate) fn run(global: &Global, args: &args::Inspect) -> Result {
    let world = World::open(global)?;
    let mut objects = Vec::new();
    let found = exit::each(&args.pods, |name| {
        objects.push(Pod::find(&world.root, global, name)?.object()?);
        Ok(())
    })?;
    match objects.as_slice() {
        [] => {}
        [object] if args.pods.len() == 1 => output::document(object, args.output)?,
        objects => {
            let list = json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": objects});
            output::document(&list, args.output)?;
        }
    }
    Ok::<Exit, _>(found)
}
