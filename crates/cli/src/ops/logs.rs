//! `rhizome logs`: what containers wrote, as their logs have it.

use crate::args::{self, Global};
use crate::exit::{Context as _, Exit, Failure, Result};
use crate::lines::Lines;
use crate::target::Target;
use crate::world::World;
use crate::{output, pods};
use agent::client::{Client, Watch, log_is_over};
use agent::logs::{Follow, LogLine, LogReader, LogSource};
use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::BorrowedFd;

/// How long to sleep at most: for logs that cannot wake us (no inotify).
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };

/// A container whose log is printed.
struct Shown {
    source: LogSource,
    /// `[pod/NAME/CONTAINER] `, as kubectl has it; empty without `--prefix`.
    prefix: String,
    /// Index of its pod.
    pod: usize,
}

/// Prints the logs, and goes on with them.
pub(crate) fn run(global: &Global, args: &args::Logs) -> Result {
    let world = World::open(global)?;
    let client = &world.client;
    let (mut found, mut shown) = (Vec::new(), Vec::new());
    for text in &args.pods {
        let target = Target::parse(text, args.container.as_deref())?;
        let pod = pods::look(client, global, &target.pod)?;
        for name in containers(&pod, &target, args.all_containers)? {
            let source = pod.log_source(&name, args.previous)?;
            let prefix = if args.prefix { format!("[pod/{}/{name}] ", target.pod) } else { String::new() };
            shown.push(Shown { source, prefix, pod: found.len() });
        }
        found.push(pod.pod);
    }
    let tail = u64::try_from(args.tail).ok();
    let mut print = Print::new(args);
    if args.follow {
        let mut watches: Vec<Watch> =
            found.iter().map(|pod| Ok(client.watch(pod)?)).collect::<Result<_>>()?;
        follow(client, &mut watches, &shown, tail, &mut print)?;
    } else {
        let root = client.root();
        for (index, shown) in shown.iter().enumerate() {
            let path = shown.source.path(root);
            let reader =
                tail.map_or_else(|| Ok(LogReader::new(path.clone())), |n| LogReader::last(path.clone(), n));
            let mut reader = reader.context("reading the log")?;
            loop {
                let records = reader.read().context("reading the log")?;
                if records.is_empty() {
                    break;
                }
                print.all(records.into_iter().map(|record| (index, &*shown.prefix, record)))?;
            }
            print.rest(|_| &shown.prefix)?;
        }
    }
    Ok(Exit::YES)
}

/// The containers that are meant: all, or one by kubectl's rules.
fn containers(pod: &agent::client::PodView, target: &Target, all: bool) -> Result<Vec<String>> {
    match (all, &target.container) {
        (true, Some(container)) => Err(Failure::wrong_use(format!(
            "--all-containers, or container {container} of pod {}?",
            target.pod
        ))),
        (true, None) => Ok(pod.state().containers.iter().map(|c| c.name.clone()).collect()),
        (false, _) => Ok(vec![pods::container(pod, target)?.name.clone()]),
    }
}

/// Until all containers have ended for good and everything was printed.
fn follow(
    client: &Client,
    watches: &mut [Watch],
    shown: &[Shown],
    tail: Option<u64>,
    print: &mut Print,
) -> Result<()> {
    let sources = shown.iter().map(|shown| shown.source.clone()).collect();
    let mut logs = match tail {
        Some(lines) => Follow::last(client.root(), sources, lines).context("reading the logs")?,
        None => Follow::new(client.root(), sources),
    };
    let prefix = |source: usize| shown.get(source).map_or("", |shown| shown.prefix.as_str());
    loop {
        for watch in watches.iter_mut() {
            watch.read(client)?;
        }
        // The status first: when that says that a container has ended, all its lines are in the file.
        let over = shown.iter().all(|shown| {
            watches.get(shown.pod).is_none_or(|watch| {
                watch.wake_fd().is_none() || log_is_over(&watch.latest().state, &shown.source.container)
            })
        });
        let records = logs.read().context("reading the logs")?;
        let idle = records.is_empty();
        print.all(
            records.into_iter().map(|followed| (followed.source, prefix(followed.source), followed.line)),
        )?;
        if idle && over {
            return print.rest(prefix);
        }
        if idle {
            wait(watches.iter().filter_map(Watch::wake_fd).chain(logs.wake_fd()))?;
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
    lines: Lines<usize>,
    timestamps: bool,
    since: Option<Timestamp>,
    /// Bytes that may still be printed.
    left: Option<usize>,
}

impl Print {
    fn new(args: &args::Logs) -> Print {
        // A duration that leads to before all times is no limit.
        let ago = args.since.map(|since| Timestamp::now().checked_sub(since).unwrap_or(Timestamp::MIN));
        Print {
            lines: Lines::default(),
            timestamps: args.timestamps,
            since: args.since_time.or(ago),
            left: args.limit_bytes.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)),
        }
    }

    /// Records of sources, each with the prefix of its lines.
    fn all<'a>(&mut self, records: impl Iterator<Item = (usize, &'a str, LogLine)>) -> Result<()> {
        let mut text = Vec::new();
        for (source, prefix, record) in records {
            if let Some((time, line)) = self.lines.put(source, record) {
                self.one(&mut text, prefix, time, &line);
            }
        }
        self.print(text)
    }

    /// What stands at the end without a line end.
    fn rest<'a>(&mut self, prefix: impl Fn(usize) -> &'a str) -> Result<()> {
        let mut text = Vec::new();
        let rest: Vec<_> = self.lines.rest().collect();
        for (source, time, line) in rest {
            self.one(&mut text, prefix(source), time, &line);
        }
        self.print(text)
    }

    fn one(&self, text: &mut Vec<u8>, prefix: &str, time: Timestamp, line: &[u8]) {
        if self.since.is_some_and(|since| time < since) {
            return;
        }
        text.extend_from_slice(prefix.as_bytes());
        if self.timestamps {
            // Go's RFC3339NanoFixed, which the kubelet prints.
            text.extend_from_slice(time.strftime("%Y-%m-%dT%H:%M:%S.%9fZ ").to_string().as_bytes());
        }
        text.extend_from_slice(line);
        text.push(b'\n');
    }

    fn print(&mut self, mut text: Vec<u8>) -> Result<()> {
        if let Some(left) = &mut self.left {
            text.truncate(*left);
            *left -= text.len();
        }
        output::stdout_bytes(&text)?;
        // As if the reader had gone away.
        if self.left == Some(0) { Err(Failure::quiet(0)) } else { Ok(()) }
    }
}
