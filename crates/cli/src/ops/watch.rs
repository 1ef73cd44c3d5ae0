//! `rhizome watch`: mounts as they come and go.

use crate::args::{self, Global, WatchFormat};
use crate::exit::{Context as _, Result};
use crate::target::without_kind;
use crate::{node, output, pods, world};
use observe::Watcher;
use std::time::Duration;

/// Prints them until somebody ends it.
pub(crate) fn run(global: &Global, args: &args::Watch) -> Result {
    let root = world::root(global);
    let names = move || node::names(&root);
    let interval = args.interval.map(Duration::from_secs);
    let watcher = match args.by_polling {
        true => Watcher::by_polling(names, interval),
        false => Watcher::new(names, interval),
    };
    let mut watcher = watcher.context("watching the mounts of this machine")?;
    say_how(&watcher);
    let pod = args.pod.as_deref().map(without_kind);
    let paint = output::stdout_paint();
    loop {
        let events =
            watcher.next(Duration::from_secs(3600)).context("watching the mounts of this machine")?;
        let mut text = String::new();
        for event in &events {
            if pod.is_some_and(|pod| !event.concerns(pod, pods::namespace(global))) {
                continue;
            }
            text += &match args.output {
                WatchFormat::Text => view::mount_events::line(event, paint),
                WatchFormat::Json => view::mount_events::document(event)?,
            };
        }
        output::stdout(&text)?;
    }
}

/// What is not seen, and when; once.
fn say_how(watcher: &Watcher) {
    if let Some(why) = watcher.without_events() {
        output::note(&format!(
            "{why}: mount tables are read when they change, so who mounted is not known, and what comes and goes between \
             two readings is not seen"
        ));
    }
    let seconds = watcher.interval().as_secs_f64();
    output::note(&format!("changes of propagation types and options are noticed every {seconds:.0} s"));
}
