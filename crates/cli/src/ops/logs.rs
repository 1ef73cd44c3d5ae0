//! `rhizome logs`: what a container wrote, as its log has it.

use crate::args::{self, Global};
use crate::exit::{Context as _, Exit, Failure, Result};
use crate::lines::Lines;
use crate::target::Target;
use crate::world::World;
use crate::{output, pods};
use agent::client::{Client, PodRef};
use agent::lifecycle::Current;
use agent::logs::{Follow, LogLine, LogReader, LogSource, log_path};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::BorrowedFd;
use std::collections::VecDeque;

/// How long to sleep at most: for logs that cannot wake us (no inotify).
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };

/// Prints the log of the container's last run, and goes on with it.
pub(crate) fn run(global: &Global, args: &args::Logs) -> Result {
    let world = World::open(global)?;
    let target = Target::parse(&args.pod, args.container.as_deref())?;
    let pod = pods::look(&world.client, global, &target.pod)?;
    let container = pods::container(&pod, &target)?;
    if let (Current::Waiting { reason, .. } | Current::Starting { reason, .. }, 0) =
        (&container.current, container.made)
    {
        let (name, pod) = (&container.name, &target.pod);
        let text = format!("container {name:?} in pod {pod:?} is waiting to start: {reason}");
        return Err(Failure::no(anyhow::Error::msg(text)).hint(format!("rhizome inspect {pod} says why")));
    }
    let (name, attempt) = (container.name.clone(), container.restart_count());
    let mut print = Print { lines: Lines::default(), timestamps: args.timestamps };
    let path = log_path(world.client.root(), &pod.pod.uid, &name, attempt);
    let skip = args.tail.map(|tail| skip_for_tail(&path, tail)).transpose()?.unwrap_or(0);
    if args.follow {
        follow(&world.client, &pod.pod, &name, attempt, skip, &mut print)?;
    } else {
        let mut reader = LogReader::new(path);
        let mut skip = skip;
        loop {
            let records = reader.read().context("reading the log")?;
            if records.is_empty() {
                break;
            }
            print.all(records, &mut skip)?;
        }
    }
    print.rest()?;
    Ok(Exit::YES)
}

/// How many records to pass over so that the last `tail` lines remain.
fn skip_for_tail(path: &std::path::Path, tail: u64) -> Result<u64> {
    let tail = usize::try_from(tail).unwrap_or(usize::MAX);
    let mut reader = LogReader::new(path.to_owned());
    // The number of the first record of each of the last lines.
    let mut begins = VecDeque::new();
    let (mut count, mut begins_line) = (0, true);
    loop {
        let records = reader.read().context("reading the log")?;
        if records.is_empty() {
            break;
        }
        for record in records {
            if begins_line {
                begins.push_back(count);
                if begins.len() > tail {
                    begins.pop_front();
                }
            }
            begins_line = record.whole;
            count += 1;
        }
    }
    Ok(begins.front().copied().unwrap_or(count))
}

/// Until the pod has ended and everything was printed.
fn follow(
    client: &Client,
    pod: &PodRef,
    name: &str,
    attempt: u32,
    mut skip: u64,
    print: &mut Print,
) -> Result<()> {
    let mut watch = client.watch(pod)?;
    let source = LogSource { uid: pod.uid.clone(), container: name.to_owned(), attempt };
    let mut logs = Follow::new(client.root(), vec![source]);
    loop {
        watch.read(client)?;
        // The status first: when that says that the pod has ended, all its lines are in the file.
        let over = watch.latest().state.done() || watch.wake_fd().is_none();
        let records = logs.read().context("reading the log")?;
        if over && records.is_empty() {
            return Ok(());
        }
        let idle = records.is_empty();
        print.all(records.into_iter().map(|followed| followed.line), &mut skip)?;
        if idle {
            wait(watch.wake_fd().into_iter().chain(logs.wake_fd()))?;
        }
    }
}

fn wait<'a>(fds: impl Iterator<Item = BorrowedFd<'a>>) -> Result<()> {
    let mut fds: Vec<PollFd<'_>> = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
    rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, Some(&PAUSE)))?;
    Ok(())
}

/// Prints lines as they come.
struct Print {
    lines: Lines<()>,
    timestamps: bool,
}

impl Print {
    fn all(&mut self, records: impl IntoIterator<Item = LogLine>, skip: &mut u64) -> Result<()> {
        let mut text = Vec::new();
        for record in records {
            if *skip > 0 {
                *skip -= 1;
                continue;
            }
            if let Some((time, line)) = self.lines.put((), record) {
                self.one(&mut text, &time.to_string(), &line);
            }
        }
        output::stdout_bytes(&text)
    }

    /// What stands at the end without a line end.
    fn rest(&mut self) -> Result<()> {
        let mut text = Vec::new();
        let rest: Vec<_> = self.lines.rest().collect();
        for ((), time, line) in rest {
            self.one(&mut text, &time.to_string(), &line);
        }
        output::stdout_bytes(&text)
    }

    fn one(&self, text: &mut Vec<u8>, time: &str, line: &[u8]) {
        if self.timestamps {
            text.extend_from_slice(time.as_bytes());
            text.push(b' ');
        }
        text.extend_from_slice(line);
        text.push(b'\n');
    }
}
