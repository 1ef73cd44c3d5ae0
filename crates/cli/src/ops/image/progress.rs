//! Draws a pull: lines that change on a terminal, elsewhere nothing but warnings.

use crate::output;
use image::{LayerState, Progress};
use rustix::termios::tcgetwinsize;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use view::pull::{PullRow, PullState, lines};

/// Not faster than one can see.
const BETWEEN: Duration = Duration::from_millis(80);

/// A pull on the screen.
pub(crate) struct Drawing {
    state: Option<Mutex<State>>,
}

struct State {
    rows: Vec<PullRow>,
    begun: Instant,
    drawn: Option<Instant>,
    /// Lines on the screen that are ours.
    height: usize,
    fetched: u64,
}

impl Drawing {
    /// Draws only on a terminal.
    pub(crate) fn new(quiet: bool) -> Drawing {
        let draws =
            !quiet && io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|t| t != "dumb");
        let state = || State { rows: Vec::new(), begun: Instant::now(), drawn: None, height: 0, fetched: 0 };
        Drawing { state: draws.then(|| Mutex::new(state())) }
    }

    /// Something happened.
    pub(crate) fn take(&self, progress: Progress) {
        let mut state = self.lock();
        match progress {
            Progress::Warning { text } => {
                if let Some(state) = &mut state {
                    state.erase();
                }
                output::warning(&view::text::printable(&text));
            }
            Progress::Resolved { layers, .. } => {
                if let Some(state) = &mut state {
                    let row = |(digest, total): (image::Digest, u64)| PullRow {
                        digest: digest.to_string(),
                        state: PullState::Queued,
                        received: 0,
                        total,
                    };
                    state.rows = layers.into_iter().map(row).collect();
                }
            }
            Progress::Layer { digest, state: layer } => {
                if let Some(state) = &mut state {
                    state.change(&digest.to_string(), layer);
                }
            }
            _ => {}
        }
        if let Some(state) = &mut state {
            state.draw(false);
        }
    }

    /// The last picture stays.
    pub(crate) fn end(self) {
        if let Some(mut state) = self.lock() {
            state.draw(true);
        }
    }

    fn lock(&self) -> Option<MutexGuard<'_, State>> {
        Some(self.state.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn change(&mut self, digest: &str, layer: LayerState) {
        let Some(row) = self.rows.iter_mut().find(|row| row.digest == digest) else { return };
        row.state = match layer {
            LayerState::Present => PullState::Present,
            LayerState::Waiting => PullState::Waiting,
            LayerState::Downloading { received, .. } => {
                // What was there at the first word is from another time.
                if row.state == PullState::Downloading {
                    self.fetched += received.saturating_sub(row.received);
                }
                row.received = received;
                PullState::Downloading
            }
            LayerState::Retrying { reason, .. } => PullState::Retrying(reason),
            LayerState::Unpacking => PullState::Unpacking,
            LayerState::Done => PullState::Done,
            _ => return,
        };
    }

    fn draw(&mut self, last: bool) {
        if self.rows.is_empty() || (!last && self.drawn.is_some_and(|drawn| drawn.elapsed() < BETWEEN)) {
            return;
        }
        let size = tcgetwinsize(io::stderr()).ok();
        let (columns, rows) = size.map_or((80, 24), |size| (size.ws_col.into(), size.ws_row.into()));
        // A terminal that says 0 does not know.
        let (columns, rows) =
            (if columns == 0 { 80 } else { columns }, if rows == 0 { 24_usize } else { rows });
        // A line as wide as the terminal would wrap.
        let text = lines(&self.rows, self.begun.elapsed(), self.fetched, columns - 1, rows.saturating_sub(3));
        self.erase();
        let mut err = io::stderr().lock();
        let _ = err.write_all(text.join("\n").as_bytes()).and_then(|()| err.write_all(b"\n"));
        (self.height, self.drawn) = (text.len(), Some(Instant::now()));
    }

    fn erase(&mut self) {
        if self.height > 0 {
            // Up to the first line of ours, then all from there on.
            let _ = write!(io::stderr().lock(), "\x1b[{}A\r\x1b[J", self.height);
        }
        self.height = 0;
    }
}
