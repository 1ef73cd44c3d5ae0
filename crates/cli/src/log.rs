//! What the rooms below have to say by themselves (`tracing`): warnings, in our form, on standard error. A supervisor
//! writes to its log, with times. `RHIZOME_LOG=debug` (error, warn, info, debug, trace) asks for more.
//!
//! Why not `tracing-subscriber`: it keeps books of spans, of which we have none, 32 KiB in each supervisor and each
//! command (4,096 pointers, one for each thread that there could be).

use crate::output;
use std::fmt::{self, Write as _};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// To be called once.
pub(crate) fn begin(supervisor: bool) {
    let asked = std::env::var("RHIZOME_LOG").ok().and_then(|level| level.parse::<LevelFilter>().ok());
    let log = Log { most: asked.unwrap_or(LevelFilter::WARN), supervisor };
    // It fails only where there is one already.
    let _ = tracing::subscriber::set_global_default(log);
}

struct Log {
    most: LevelFilter,
    supervisor: bool,
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.most
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.most)
    }

    fn event(&self, event: &Event<'_>) {
        let mut words = Words::default();
        event.record(&mut words);
        let said = view::text::printable(&words.0);
        output::stderr_line(&match self.supervisor {
            true => with_time(event.metadata(), &said),
            false => as_we_say_it(event.metadata(), &said),
        });
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// `2026-11-23T10:11:12.123456Z WARN agent::supervisor: message field=value`
fn with_time(metadata: &Metadata<'_>, said: &str) -> String {
    format!("{:.6} {} {}: {said}", jiff::Timestamp::now(), metadata.level(), metadata.target())
}

/// `warning: message field=value`
fn as_we_say_it(metadata: &Metadata<'_>, said: &str) -> String {
    let paint = output::stderr_paint();
    let level = match *metadata.level() {
        Level::ERROR => paint.bad("error:"),
        Level::WARN => paint.warn("warning:"),
        Level::INFO => paint.label("note:"),
        level => paint.dim(&format!("{level}: {}:", metadata.target()).to_lowercase()),
    };
    format!("{level} {said}")
}

/// The message, then each field.
#[derive(Default)]
struct Words(String);

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let space = if self.0.is_empty() { "" } else { " " };
        // Writing to a String does not fail.
        let _ = match field.name() {
            "message" => {
                let fields = std::mem::take(&mut self.0);
                write!(self.0, "{value:?}{space}{fields}")
            }
            name => write!(self.0, "{space}{name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// Keeps what a `Log` would say.
    struct Kept(Log, Arc<Mutex<Vec<String>>>);

    impl Subscriber for Kept {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            self.0.enabled(metadata)
        }
        fn event(&self, event: &Event<'_>) {
            let mut words = Words::default();
            event.record(&mut words);
            self.1.lock().unwrap().push(words.0);
        }
        fn new_span(&self, span: &Attributes<'_>) -> Id {
            self.0.new_span(span)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn the_message_comes_first_and_only_what_was_asked_for() {
        let said = Arc::default();
        let log = Log { most: LevelFilter::WARN, supervisor: false };
        tracing::subscriber::with_default(Kept(log, Arc::clone(&said)), || {
            let error = std::io::Error::other("no room");
            tracing::warn!(%error, pod = "a", "it \"{}\" failed", 1);
            tracing::info!("not said");
        });
        assert_eq!(*said.lock().unwrap(), [r#"it "1" failed error=no room pod="a""#]);
    }
}
