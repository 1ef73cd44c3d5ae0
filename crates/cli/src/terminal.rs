//! The user's terminal while a program in a container has it: raw, and as it was before on every way out.

use crate::exit::Result;
use rustix::fd::BorrowedFd;
use rustix::stdio::stdin;
use rustix::termios::{OptionalActions, Termios};
use std::sync::{Mutex, Once, PoisonError};

/// What the terminal was before. Not in the guard alone: a panic that aborts runs no destructor.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Standard input's terminal in raw mode: every key goes to whoever reads, none becomes a signal. Restored when
/// this is dropped, or by a panic. (Signals that would end us are to be blocked meanwhile.)
#[derive(Debug)]
pub(crate) struct RawMode(());

impl RawMode {
    /// Makes the terminal raw.
    pub(crate) fn enter() -> Result<RawMode> {
        let before = rustix::termios::tcgetattr(stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        restore_on_panic();
        let guard = RawMode(());
        rustix::termios::tcsetattr(stdin(), OptionalActions::Drain, &raw)?;
        Ok(guard)
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(before) = before {
        // It may have hung up: then nothing is left to restore.
        let _ = rustix::termios::tcsetattr(stdin(), OptionalActions::Drain, &before);
    }
}

/// Before the panic's own words, so that they are readable.
fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let say = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            say(panic);
        }));
    });
}

/// Rows and columns of ours.
pub(crate) fn size() -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(stdin()).ok()?;
    Some((size.ws_row, size.ws_col))
}

/// Gives the terminal behind `master` another size and then that of ours: what is on it draws itself anew, also where the
/// size was the same.
pub(crate) fn make_redraw(master: BorrowedFd<'_>) {
    if let Ok(mut size) = rustix::termios::tcgetwinsize(stdin()) {
        (size.ws_row, size.ws_col) = (size.ws_row.saturating_add(1), size.ws_col.saturating_add(1));
        let _ = rustix::termios::tcsetwinsize(master, size);
    }
    pass_size_on(master);
}

/// Gives the terminal behind `master` the size of ours.
pub(crate) fn pass_size_on(master: BorrowedFd<'_>) {
    // Either may have hung up meanwhile.
    if let Ok(size) = rustix::termios::tcgetwinsize(stdin()) {
        let _ = rustix::termios::tcsetwinsize(master, size);
    }
}
