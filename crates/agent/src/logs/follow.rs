//! Following the logs of several containers at once, run after run.

use super::{LogLine, LogReader, log_path, runs};
use crate::record::PodUid;
use crate::root::Root;
use rustix::fs::inotify;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// A container whose log is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSource {
    /// Its pod.
    pub uid: PodUid,
    /// Its name.
    pub container: String,
    /// The run to begin with.
    pub attempt: u32,
}

impl LogSource {
    /// The file that its run writes.
    pub fn path(&self, root: &Root) -> PathBuf {
        log_path(root, &self.uid, &self.container, self.attempt)
    }
}

/// A line, and of which of the sources (by index).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followed {
    /// Index into the sources.
    pub source: usize,
    /// The line.
    pub line: LogLine,
}

/// One source being read.
#[derive(Debug)]
struct Following {
    source: LogSource,
    reader: LogReader,
}

/// The logs of several containers, read as they grow. When a container is started again its next log is gone on with.
#[derive(Debug)]
pub struct Follow {
    root: Root,
    sources: Vec<Following>,
    /// Whether to go on with later runs.
    over_restarts: bool,
    /// Wakes when a log grows; none where the user has no inotify instance left, then the caller's timer does.
    watch: Option<OwnedFd>,
}

impl Follow {
    /// Of these sources, each from its beginning.
    pub fn new(root: &Root, sources: Vec<LogSource>) -> Follow {
        let sources = sources.into_iter().map(|source| {
            let reader = LogReader::new(source.path(root));
            (source, reader)
        });
        Follow::of(root, sources.collect())
    }

    /// Of these sources, each from its last `lines` lines on.
    ///
    /// # Errors
    /// A log cannot be read.
    pub fn last(root: &Root, sources: Vec<LogSource>, lines: u64) -> io::Result<Follow> {
        let sources = sources.into_iter().map(|source| {
            let reader = LogReader::last(source.path(root), lines)?;
            Ok((source, reader))
        });
        Ok(Follow::of(root, sources.collect::<io::Result<_>>()?))
    }

    fn of(root: &Root, sources: Vec<(LogSource, LogReader)>) -> Follow {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let watch = inotify::init(flags).ok();
        let following = |(source, reader): (LogSource, LogReader)| {
            // Made here if need be, so that it can be watched before the first line comes.
            if let (Some(folder), Some(watch)) = (reader.path().parent(), &watch) {
                let events =
                    inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
                let _ = crate::root::make_private_directory(folder);
                let _ = inotify::add_watch(watch, folder, events);
            }
            Following { reader, source }
        };
        let sources = sources.into_iter().map(following).collect();
        Follow { root: root.clone(), sources, over_restarts: true, watch }
    }

    /// The same, of these runs only.
    #[must_use]
    pub fn of_one_run(self) -> Follow {
        Follow { over_restarts: false, ..self }
    }

    /// Readable when there may be more; poll(2) it with a timeout all the same.
    pub fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(AsFd::as_fd)
    }

    /// The lines that have come since the last call: in order for each source, at most about 64 KiB of each.
    ///
    /// # Errors
    /// A log cannot be read.
    pub fn read(&mut self) -> io::Result<Vec<Followed>> {
        self.forget_wakes();
        let mut lines = Vec::new();
        for (index, following) in self.sources.iter_mut().enumerate() {
            let mut found = following.reader.read()?;
            if found.is_empty() && self.over_restarts {
                found = following.next_run(&self.root)?;
            }
            lines.extend(found.into_iter().map(|line| Followed { source: index, line }));
        }
        Ok(lines)
    }

    fn forget_wakes(&self) {
        let mut buffer = [0_u8; 4096];
        if let Some(watch) = &self.watch {
            // Bounded: more events than this leave the descriptor readable, which costs one more round.
            for _ in 0..16 {
                if !rustix::io::read(watch, &mut buffer[..]).is_ok_and(|count| count > 0) {
                    break;
                }
            }
        }
    }
}

impl Following {
    /// Goes on to the next run's log, if there is one, and reads it. The supervisor makes it when the last run's log is
    /// complete, so that what was not there a moment ago has to be looked for once more first.
    ///
    /// A reader that is slow may find that the run after its own has gone already; then it goes on with what is there.
    fn next_run(&mut self, root: &Root) -> io::Result<Vec<LogLine>> {
        let Some(attempt) =
            runs(self.reader.path())?.into_iter().find(|attempt| *attempt > self.source.attempt)
        else {
            return Ok(Vec::new());
        };
        let rest = self.reader.read()?;
        if !rest.is_empty() {
            return Ok(rest);
        }
        self.source.attempt = attempt;
        self.reader = LogReader::new(self.source.path(root));
        self.reader.read()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LogWriter, Stream};
    use super::*;
    use jiff::Timestamp;

    #[test]
    fn runs_follow_each_other_and_growth_wakes() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path()).open().unwrap();
        let uid = PodUid::random().unwrap();
        let source =
            |container: &str| LogSource { uid: uid.clone(), container: container.into(), attempt: 0 };
        let mut follow = Follow::new(&root, vec![source("a"), source("b")]);
        assert_eq!(follow.read().unwrap(), []);
        let write = |container: &str, attempt: u32, text: &str| {
            let path = log_path(&root, &uid, container, attempt);
            let mut writer = LogWriter::open(&path).unwrap();
            writer.write(Timestamp::UNIX_EPOCH, Stream::Stdout, text.as_bytes()).unwrap();
        };
        write("b", 0, "b0\n");
        let wake = follow.wake_fd().unwrap();
        let mut fds = [rustix::event::PollFd::new(&wake, rustix::event::PollFlags::IN)];
        let second = rustix::event::Timespec { tv_sec: 1, tv_nsec: 0 };
        assert_eq!(rustix::event::poll(&mut fds, Some(&second)).unwrap(), 1);
        write("a", 0, "a0\n");
        write("a", 1, "a1\n");
        let mut seen = Vec::new();
        for _ in 0..3 {
            let lines = follow.read().unwrap();
            seen.extend(
                lines.iter().map(|f| format!("{}{}", f.source, String::from_utf8_lossy(&f.line.content))),
            );
        }
        assert_eq!(seen, ["0a0", "1b0", "0a1"]);
    }
}
