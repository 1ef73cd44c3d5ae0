//! `rhizome attach`: a container's output from its log, and its input from its supervisor.
//!
//! Nothing is taken from between the container and its log: a client that does not read holds nothing up, and several
//! may be attached at once.

use super::exec::{copy, wants_terminal};
use crate::args::{self, Global};
use crate::exit::{Context as _, Exit, Failure, Result};
use crate::relay::Pump;
use crate::target::Target;
use crate::terminal::{self, RawMode};
use crate::world::World;
use crate::{output, pods, process};
use agent::client::{Client, PodView, Watch};
use agent::lifecycle::{Current, PodState};
use agent::logs::{Follow, Followed, LogLine, LogSource, Stream};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::fs::OFlags;
use rustix::process::Signal;
use rustix::stdio::stdin;
use sys::signal::Signals;

/// How long to sleep at most: for logs that cannot wake us (no inotify).
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };

/// Shows the output, passes the input on, and gives the exit status if the container ends meanwhile.
pub(crate) fn run(global: &Global, args: &args::Attach) -> Result {
    let world = World::open(global)?;
    let client = &world.client;
    let target = Target::parse(&args.of.pod, args.of.container.as_deref())?;
    let pod = pods::look(client, global, &target.pod)?;
    let name = pods::container(&pod, &target)?.name.clone();
    pod.running_id(&name)?;
    let signals =
        Signals::block(&[&process::ENDING[..], &[Signal::WINCH]].concat()).context("blocking signals")?;
    // From here on all that is written is seen.
    let source = pod.log_source(&name, false)?;
    let logs = Follow::last(client.root(), vec![source.clone()], 1).context("reading the log")?;
    let mut logs = logs.of_one_run();
    let prompt = begun_line(&mut logs)?;
    let input = if args.stdin { Some(client.attach_input(&pod.pod, &name)?) } else { None };
    let is_terminal = has_terminal(&pod, &name, args);
    let raw_wanted = is_terminal && input.is_some() && wants_terminal();
    let mut attached = Attached::new(client.watch(&pod.pod)?, logs, source, input)?;
    let raw = if raw_wanted { attached.enter(args)? } else { None };
    let ended = show(prompt).and_then(|()| attached.carry(client, &signals));
    drop(raw);
    match ended? {
        End::Exited(status) => Ok(Exit(status)),
        End::Detached => {
            output::note("detached; the container goes on");
            Ok(Exit::YES)
        }
        End::Signalled(signal) => Err(Failure::quiet(128 + signal.as_raw() as u8)),
    }
}

/// Whether the container has a terminal, which is then used whatever was asked (as kubectl does).
fn has_terminal(pod: &PodView, name: &str, args: &args::Attach) -> bool {
    let spec = pod.record.pod.spec.as_ref();
    let container = spec.and_then(|spec| manifest::cri::container::find(spec, name));
    let has = container.is_some_and(|container| container.tty == Some(true));
    if args.tty && !has {
        output::stderr_line(&format!("error: Unable to use a TTY - container {name} did not allocate one"));
    }
    has
}

/// How it ended.
enum End {
    Exited(u8),
    Detached,
    Signalled(Signal),
}

/// What an attached container is to us.
struct Attached {
    watch: Watch,
    logs: Follow,
    source: LogSource,
    input: Option<Pump>,
    /// The master of its terminal, while we are on it.
    terminal: Option<OwnedFd>,
}

impl Attached {
    fn new(watch: Watch, logs: Follow, source: LogSource, input: Option<OwnedFd>) -> Result<Attached> {
        let input = input.map(|input| -> Result<Pump> {
            // Its write end is ours alone, and a terminal's master is non-blocking already.
            let flags = rustix::fs::fcntl_getfl(&input)?;
            rustix::fs::fcntl_setfl(&input, flags | OFlags::NONBLOCK)?;
            Ok(Pump::new(copy(stdin())?, input))
        });
        let input = input.transpose()?;
        Ok(Attached { watch, logs, source, input, terminal: None })
    }

    /// Makes our terminal the container's.
    fn enter(&mut self, args: &args::Attach) -> Result<Option<RawMode>> {
        let Some(input) = self.input.take() else { return Ok(None) };
        let master = input.target().map(copy).transpose()?;
        self.input = Some(input.until_typed(&args.detach_keys));
        output::stderr_line("If you don't see a command prompt, try pressing enter.");
        let raw = RawMode::enter()?;
        if let Some(master) = &master {
            terminal::make_redraw(master.as_fd());
        }
        self.terminal = master;
        Ok(Some(raw))
    }

    fn carry(&mut self, client: &Client, signals: &Signals) -> Result<End> {
        loop {
            self.watch.read(client)?;
            // The status first: when that says that the run is over, all it wrote is in the file.
            let status = exit_status(&self.watch.latest().state, &self.source);
            let abandoned = self.watch.wake_fd().is_none();
            let records = self.logs.read().context("reading the log")?;
            let idle = records.is_empty();
            match status {
                Some(status) if idle => return Ok(End::Exited(status)),
                None if idle && abandoned => {
                    return Err(Failure::no(anyhow::anyhow!("the supervisor has gone")));
                }
                _ => show(records)?,
            }
            while let Some(received) = signals.read()? {
                match (received.signal, &self.terminal) {
                    (Signal::WINCH, Some(master)) => terminal::pass_size_on(master.as_fd()),
                    (Signal::WINCH, None) => {}
                    (signal, _) => return Ok(End::Signalled(signal)),
                }
            }
            self.wait(signals, if idle { PAUSE } else { Timespec::default() })?;
            if self.input.as_ref().is_some_and(Pump::detached) {
                return Ok(End::Detached);
            }
        }
    }

    /// Until there is something to do; what is typed is passed on here.
    fn wait(&mut self, signals: &Signals, pause: Timespec) -> Result<()> {
        let input = self.input.as_ref().and_then(Pump::interest);
        let others = [Some(signals.as_fd()), self.watch.wake_fd(), self.logs.wake_fd()];
        let mut fds: Vec<PollFd<'_>> =
            input.iter().map(|(fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        fds.extend(others.into_iter().flatten().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, Some(&pause)))?;
        let ready = input.is_some() && fds.first().is_some_and(|fd| !fd.revents().is_empty());
        if let Some(input) = self.input.as_mut().filter(|_| ready) {
            input.advance();
        }
        Ok(())
    }
}

/// Passes over what was written before, and gives what of it stands on the last line, without its end: a prompt.
fn begun_line(logs: &mut Follow) -> Result<Vec<Followed>> {
    let mut begun = Vec::new();
    // Bounded, where a container writes faster than we read.
    for _ in 0..64 {
        let records = logs.read().context("reading the log")?;
        if records.is_empty() {
            break;
        }
        for record in records {
            if record.line.whole { begun.clear() } else { begun.push(record) }
        }
    }
    Ok(begun)
}

/// Each stream to ours, byte by byte as it was written.
fn show(records: Vec<Followed>) -> Result<()> {
    records.into_iter().try_for_each(|record| show_line(record.line))
}

pub(super) fn show_line(line: LogLine) -> Result<()> {
    let mut content = line.content;
    content.extend(line.whole.then_some(b'\n'));
    match line.stream {
        Stream::Stdout => output::stdout_bytes(&content)?,
        Stream::Stderr => output::stderr_bytes(&content),
    }
    Ok(())
}

/// The exit status of the run whose log this is, if it is over.
fn exit_status(state: &PodState, run: &LogSource) -> Option<u8> {
    let container = state.container(&run.container)?;
    let ended = match &container.current {
        Current::Terminated { run } => Some(run),
        Current::Running { .. } if container.restart_count() == run.attempt => None,
        _ => container.last.as_ref(),
    };
    ended.map(|run| run.exit_code as u8)
}
