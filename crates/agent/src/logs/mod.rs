//! Container logs in the CRI's format (`kubernetes/design-proposals`, kubelet-cri-logging): one line of text a line of
//! output, `TIME STREAM TAG CONTENT`, with the tag `F` for a whole line and `P` for a part of one.
//!
//! A container's runs have a file each, `0.log`, `1.log`, …, of which the last two are kept, as the kubelet does. A file
//! that has grown to [`MAX_FILE_BYTES`] becomes `N.log.1`, the next one `N.log.2`, …; [`MAX_FILES`] of a run are kept.

mod follow;
mod reader;
mod writer;

pub use follow::{Follow, Followed, LogSource};
pub use reader::{LogLine, LogReader, parse_line};
pub use writer::LogWriter;

use crate::record::PodUid;
use crate::root::Root;
use std::io;
use std::path::{Path, PathBuf};

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

/// When a log is rotated (the kubelet's `containerLogMaxSize`).
pub const MAX_FILE_BYTES: u64 = 10 << 20;
/// How many files of one run are kept, with the one that is being written (the kubelet's `containerLogMaxFiles`).
pub const MAX_FILES: usize = 5;

/// What the log at `path` is renamed to when it is rotated; a later one has a higher number.
fn rotated_path(path: &Path, number: u64) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// The numbers of the rotated files of the log at `path`, in order.
fn rotated(path: &Path) -> io::Result<Vec<u64>> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let number = |found: &str| found.strip_prefix(name)?.strip_prefix('.')?.parse().ok();
    let mut numbers: Vec<u64> = names_beside(path)?.iter().filter_map(|found| number(found)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// The runs of which there are logs beside the log at `path`, in order.
fn runs(path: &Path) -> io::Result<Vec<u32>> {
    let run = |found: &String| found.strip_suffix(".log")?.parse().ok();
    let mut runs: Vec<u32> = names_beside(path)?.iter().filter_map(run).collect();
    runs.sort_unstable();
    Ok(runs)
}

/// The names in the folder of the log at `path`; none if there is no folder.
fn names_beside(path: &Path) -> io::Result<Vec<String>> {
    let Some(folder) = path.parent() else { return Ok(Vec::new()) };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}
