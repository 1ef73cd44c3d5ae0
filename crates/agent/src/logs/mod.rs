//! Container logs in the CRI's format (`kubernetes/design-proposals`, kubelet-cri-logging): one line of text a line of
//! output, `TIME STREAM TAG CONTENT`, with the tag `F` for a whole line and `P` for a part of one.

mod follow;
mod reader;
mod writer;

pub use follow::{Follow, Followed, LogSource};
pub use reader::{LogLine, LogReader, parse_line};
pub use writer::LogWriter;

use crate::record::PodUid;
use crate::root::Root;
use std::path::PathBuf;

/// Which of a container's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// Standard output, or the terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// The format's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

/// The most of a line that is in one record; more is split, as containerd and CRI-O do.
pub const MAX_LINE_BYTES: usize = 16 * 1024;

/// The log of one run of a container: `<pod>/logs/<container>/<attempt>.log`, as the kubelet lays it out.
pub fn log_path(root: &Root, uid: &PodUid, container: &str, attempt: u32) -> PathBuf {
    root.pod_logs(uid).join(container).join(format!("{attempt}.log"))
}
