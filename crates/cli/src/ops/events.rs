//! `rhizome events`: what happened to pods, as `kubectl events` lists it.

use crate::args::{self, Document, Global, Object};
use crate::exit::{Exit, Result};
use crate::world::World;
use crate::{output, pods, report};
use agent::client::PodView;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use view::events::EventColumns;

/// How often to look for new ones.
const PAUSE: Duration = Duration::from_millis(250);

/// Prints them, the oldest first, and with `--watch` those that come.
pub(crate) fn run(global: &Global, args: &args::Events) -> Result {
    let world = World::open(global)?;
    let (mut found, mut told) = (Exit::YES, BTreeMap::new());
    let mut header = !args.no_headers;
    loop {
        let mut views = Vec::new();
        if args.pods.is_empty() {
            let namespace = (!args.all_namespaces).then(|| pods::namespace(global));
            views = world.client.list(namespace)?.pods;
        } else {
            found = report::each(&args.pods, |name| {
                views.push(pods::look(&world.client, global, name)?);
                Ok(())
            })?;
        }
        let events = news(&views, args, &mut told)?;
        print(global, args, &events, header)?;
        header &= events.is_empty();
        if !args.watch || found != Exit::YES {
            return Ok(found);
        }
        std::thread::sleep(PAUSE);
    }
}

/// The events that were not told, or came again since.
fn news(views: &[PodView], args: &args::Events, told: &mut BTreeMap<String, i64>) -> Result<Vec<Value>> {
    let mut events = Vec::new();
    for event in views.iter().flat_map(PodView::events) {
        let wanted = args.types.is_empty()
            || args
                .types
                .iter()
                .any(|kind| event.type_.as_deref().is_some_and(|is| is.eq_ignore_ascii_case(kind)));
        let (uid, count) = (event.metadata.uid.clone().unwrap_or_default(), event.count.unwrap_or(1).into());
        if wanted && told.insert(uid, count) != Some(count) {
            let mut event = serde_json::to_value(event)?;
            event["apiVersion"] = "v1".into();
            event["kind"] = "Event".into();
            events.push(event);
        }
    }
    events.sort_by_key(|event| ["lastTimestamp", "eventTime"].iter().find_map(|key| time(event, key)));
    Ok(events)
}

fn time(event: &Value, key: &str) -> Option<Timestamp> {
    event[key].as_str()?.parse().ok()
}

fn print(global: &Global, args: &args::Events, events: &[Value], header: bool) -> Result<()> {
    let list =
        || json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": events});
    match args.output {
        Document::Json => output::document(&list(), Object::Json),
        Document::Yaml => output::document(&list(), Object::Yaml),
        Document::Table if events.is_empty() => {
            if !args.watch {
                output::stderr_line(&match args.all_namespaces || !args.pods.is_empty() {
                    true => "No events found.".to_owned(),
                    false => format!("No events found in {} namespace.", pods::namespace(global)),
                });
            }
            Ok(())
        }
        Document::Table => {
            let columns = EventColumns { namespace: args.all_namespaces, header };
            output::stdout(&view::events::table(events, columns, Timestamp::now()))?;
            // What can be done about it, each once.
            let mut hints: Vec<&str> = Vec::new();
            for event in events {
                let hint = event["metadata"]["annotations"][agent::events::HINT].as_str();
                hints.extend(hint.filter(|hint| !hints.contains(hint)));
            }
            hints.iter().for_each(|hint| output::hint(hint));
            Ok(())
        }
    }
}
