//! Where the kernel has no events: a changed mountinfo wakes poll(2), proc_pid_mountinfo(5).
//!
//! An open mountinfo keeps its namespace, so each is closed and opened anew after every reading, which is at the latest
//! after a second: a container that ends is not kept for longer.

use super::groups::poll;
use crate::Result;
use mount_table::Node;
use rustix::event::{PollFd, PollFlags};
use std::fs::File;
use std::time::Duration;

/// So many files are kept open at most; namespaces beyond are read when the others wake, or after a second.
const MAX_OPEN: usize = 512;

#[derive(Debug, Default)]
pub(super) struct Polled {
    files: Vec<File>,
}

impl Polled {
    pub(super) fn open(&mut self, node: &Node) {
        self.files.clear();
        for view in node.namespaces.iter().take(MAX_OPEN) {
            let Some(process) = view.first_process() else { continue };
            self.files.extend(File::open(format!("/proc/{}/mountinfo", process.pid)));
        }
    }

    /// Waits until mounts come or go; whether they have.
    pub(super) fn wait(&self, timeout: Duration) -> Result<bool> {
        let mut fds: Vec<PollFd<'_>> =
            self.files.iter().map(|file| PollFd::new(file, PollFlags::PRI)).collect();
        poll(&mut fds, timeout)
    }
}
