//! A process that works against us while we work.

use rustix::fs::{CWD, RenameFlags};
use std::convert::Infallible;
use std::path::Path;
use sys::namespace::Namespaces;
use sys::process::{Child, spawn};

/// Does one thing again and again until it is dropped.
pub(crate) struct Rival(Child);

impl Rival {
    pub(crate) fn new(act: impl Fn()) -> Rival {
        let child = spawn(Namespaces::empty(), None, || -> Infallible {
            loop {
                act();
            }
        });
        Rival(child.expect("spawn"))
    }

    /// Exchanges two names for each other.
    pub(crate) fn exchanging(a: &Path, b: &Path) -> Rival {
        Rival::new(|| {
            // While one of them is being looked at elsewhere this may be refused; then again.
            let _ = rustix::fs::renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE);
        })
    }
}

impl Drop for Rival {
    fn drop(&mut self) {
        let _ = sys::process::send_signal(rustix::fd::AsFd::as_fd(&self.0.pidfd), 9);
        let _ = rustix::process::waitpid(Some(self.0.pid), rustix::process::WaitOptions::empty());
    }
}
