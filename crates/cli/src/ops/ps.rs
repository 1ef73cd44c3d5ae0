//! `rhizome ps`: the pods of a root.

use crate::args::{self, Global, Listing, Object};
use crate::exit::{Exit, Failure, Result};
use crate::pods;
use crate::world::World;
use crate::{output, report};
use jiff::Timestamp;
use serde_json::{Value, json};
use view::pods::Columns;

/// Prints them.
pub(crate) fn run(global: &Global, args: &args::Ps) -> Result {
    let world = World::open(global)?;
    let mut objects = Vec::new();
    let mut found = Exit::YES;
    if args.pods.is_empty() {
        let namespace = (!args.all_namespaces).then(|| pods::namespace(global));
        let listed = world.client.list(namespace)?;
        for (key, error) in listed.problems {
            found = Exit(report::status(Err(Failure::from(error).said(format!("pod {key}")))));
        }
        for pod in &listed.pods {
            let object = pods::object(pod)?;
            if args.all || !view::pods::has_ended(&object) {
                objects.push(object);
            }
        }
    } else {
        found = report::each(&args.pods, |name| {
            objects.push(pods::object(&pods::look(&world.client, global, name)?)?);
            Ok(())
        })?;
    }
    print(global, args, &objects)?;
    Ok(found)
}

fn print(global: &Global, args: &args::Ps, objects: &[Value]) -> Result<()> {
    let list =
        || json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": objects});
    match args.output {
        Listing::Json => output::document(&list(), Object::Json),
        Listing::Yaml => output::document(&list(), Object::Yaml),
        Listing::Name => output::stdout(&view::pods::names(objects)),
        Listing::Table | Listing::Wide if objects.is_empty() => {
            if args.pods.is_empty() {
                output::stderr_line(&nothing(global, args));
            }
            Ok(())
        }
        Listing::Table | Listing::Wide => {
            let columns = Columns {
                namespace: args.all_namespaces,
                wide: args.output == Listing::Wide,
                header: !args.no_headers,
            };
            output::stdout(&view::pods::list(objects, columns, Timestamp::now()))
        }
    }
}

fn nothing(global: &Global, args: &args::Ps) -> String {
    let which = if args.all { "pods" } else { "running pods" };
    match args.all_namespaces {
        true => format!("No {which} found."),
        false => format!("No {which} found in {} namespace.", pods::namespace(global)),
    }
}
