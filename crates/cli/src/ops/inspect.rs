//! `rhizome inspect`: pods as the Kubernetes objects that they are.

use crate::args::{self, Global};
use crate::exit::Result;
use crate::world::World;
use crate::{output, pods, report};
use serde_json::json;

/// Prints the pod, or a list if several were asked for.
pub(crate) fn run(global: &Global, args: &args::Inspect) -> Result {
    let world = World::open(global)?;
    let mut objects = Vec::new();
    let found = report::each(&args.pods, |name| {
        let pod = pods::look(&world.client, global, name)?;
        objects.push(pods::object(&pod)?);
        pods::say_left(world.client.root(), &pod.pod, &pod.status.left_mounts);
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
    Ok(found)
}
