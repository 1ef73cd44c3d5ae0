//! What the rooms below have to say by themselves (`tracing`): warnings, in our form, on standard error. A supervisor
//! writes to its log, with times. `RHIZOME_LOG=debug` (error, warn, info, debug, trace) asks for more.

use crate::output;
use std::fmt;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// To be called once.
pub(crate) fn begin(supervisor: bool) {
    let asked = std::env::var("RHIZOME_LOG").ok().and_then(|level| level.parse::<LevelFilter>().ok());
    let builder = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_max_level(asked.unwrap_or(LevelFilter::WARN));
    if supervisor {
        builder.init();
    } else {
        builder.event_format(AsWeSayIt).init();
    }
}

/// `warning: message field=value`
struct AsWeSayIt;

impl<S, N> FormatEvent<S, N> for AsWeSayIt
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let paint = output::stderr_paint();
        let level = match *event.metadata().level() {
            Level::ERROR => paint.bad("error:"),
            Level::WARN => paint.warn("warning:"),
            Level::INFO => paint.label("note:"),
            level => paint.dim(&format!("{level}: {}:", event.metadata().target()).to_lowercase()),
        };
        write!(writer, "{level} ")?;
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}
