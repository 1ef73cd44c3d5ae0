//! Probes and hooks under way, and the measuring of what the pod uses of the disk: the supervisor waits for none of them. A
//! command in a container is watched in its own loop, so is a probe that only connects or asks over plain HTTP; a hook that
//! only sleeps needs nobody. All else is done by a child of ours that says over a pipe what came of it.

use super::Supervisor;
use crate::check::{self, Check, Command, Dial, Hook, Progress};
use crate::clock::read_now;
use crate::disk_usage::Places;
use crate::lifecycle::{Event, Goal, HookKind, Outcome, ProbeKind, Stage, Uptime};
use rustix::event::PollFlags;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;
use sys::namespace::Namespaces;
use sys::process::Child;

/// How long beyond its own timeout a probe's child may take: it may be stuck in a dead file system, or frozen.
const SLACK_MS: u64 = 2_000;
/// The longest answer of a child.
const MAX_ANSWER_BYTES: usize = 128 * 1024;

const NO_ANSWER: &str = "its process was ended";
/// How often what a pod uses of the disk is measured (the eviction manager's interval of the kubelet).
const MEASURE_EVERY_MS: u64 = 10_000;
/// How long a measurement may take; one that takes longer is given up, and tried again.
const MEASURE_FOR_MS: u64 = 120_000;

/// What came of wiring the pod's network: its addresses, or why not and what can be done.
pub(super) type Wired = Result<Vec<String>, (String, Option<String>)>;

/// What a child says.
#[derive(Debug, Serialize, Deserialize)]
enum Said {
    Probe(Outcome),
    Hook(Result<(), String>),
    /// Why the pod must go, if it must.
    Usage(Option<String>),
    Wired(Wired),
    /// What is wrong with the network, if anything is.
    Network(Option<String>),
    /// It has ended without a word, or with one that is none.
    Nothing,
}

/// Which probe or hook.
#[derive(Debug, Clone, Copy)]
enum What {
    Probe(ProbeKind),
    Hook(HookKind),
    Usage,
    Wiring,
    Network,
}

/// How it is done.
#[derive(Debug)]
enum Work {
    /// By a child: where its answer comes from, and what of it is here.
    Child(Child, OwnedFd, Vec<u8>),
    /// Here, over the network.
    Dial(Box<Dial>),
    /// In the container.
    Command(Box<Command>),
    /// By time passing.
    Sleep,
}

/// What reading of a task brought.
enum Heard {
    /// Not all yet.
    Part,
    /// It is over.
    All(Option<Event>),
    /// This probe of this container is to be done by a child.
    ForAChild(String, u32, ProbeKind),
    /// The wiring of the network is over.
    Wired(Wired),
}

/// A probe or hook under way.
#[derive(Debug)]
struct Task {
    container: String,
    attempt: u32,
    what: What,
    work: Work,
    /// When it is over without an answer.
    until: Option<Uptime>,
    /// What is said of it then.
    late: Said,
}

impl Task {
    fn event(self, said: Said) -> Option<Event> {
        let (name, attempt) = (self.container, self.attempt);
        Some(match (self.what, said) {
            (What::Probe(probe), Said::Probe(outcome)) => Event::Probed { name, attempt, probe, outcome },
            (What::Hook(hook), Said::Hook(result)) => {
                Event::HookDone { name, attempt, hook, failure: result.err() }
            }
            (What::Usage, Said::Usage(exceeded)) => Event::Evict { message: exceeded? },
            (What::Probe(probe), _) => {
                let outcome = Outcome::Error(NO_ANSWER.into());
                Event::Probed { name, attempt, probe, outcome }
            }
            (What::Hook(hook), _) => Event::HookDone { name, attempt, hook, failure: Some(NO_ANSWER.into()) },
            (What::Network, Said::Network(wrong)) => {
                Event::Warning { reason: "NetworkNotReady".to_owned(), message: wrong?, hint: None }
            }
            (What::Usage | What::Wiring | What::Network, _) => return None,
        })
    }

    fn end(&mut self) {
        match &mut self.work {
            Work::Child(child, ..) => drop(sys::process::send_signal(child.pidfd.as_fd(), 9)),
            Work::Command(command) => command.end(),
            Work::Dial(_) | Work::Sleep => {}
        }
    }

    /// What it says of what came of its command.
    fn said(&self, outcome: Outcome) -> Said {
        match (self.what, outcome) {
            (What::Hook(_), Outcome::Success | Outcome::Warning(_)) => Said::Hook(Ok(())),
            (What::Hook(_), Outcome::Failure(text) | Outcome::Error(text)) => Said::Hook(Err(text)),
            (_, outcome) => Said::Probe(outcome),
        }
    }
}

/// All that are under way.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    tasks: BTreeMap<u64, Task>,
    next: u64,
}

impl Tasks {
    /// Ready when there is an answer, or a piece of one, or the next step can be done.
    pub(super) fn fds(&self) -> impl Iterator<Item = (u64, BorrowedFd<'_>, PollFlags)> {
        self.tasks.iter().flat_map(|(id, task)| {
            let fds = match &task.work {
                Work::Child(_, answer, _) => vec![(answer.as_fd(), PollFlags::IN)],
                Work::Dial(dial) => vec![dial.fd()],
                Work::Command(command) => command.fds().collect(),
                Work::Sleep => Vec::new(),
            };
            fds.into_iter().map(|(fd, flags)| (*id, fd, flags))
        })
    }

    /// Children that are waited for here: the commands' processes.
    pub(super) fn children(&self) -> impl Iterator<Item = Pid> {
        self.tasks.values().filter_map(|task| match &task.work {
            Work::Command(command) => command.pid(),
            _ => None,
        })
    }

    /// When the first of them is over without an answer.
    pub(super) fn next_deadline(&self) -> Option<Uptime> {
        self.tasks.values().filter_map(|task| task.until).min()
    }

    /// Has the network wired by a child, which bounds itself: each plugin has its time.
    pub(super) fn wire(&mut self, wire: impl FnOnce() -> Wired) -> Result<(), String> {
        self.add_of_pod(What::Wiring, spawn_to_say(|| (), |()| Said::Wired(wire()))?);
        Ok(())
    }

    /// Has it looked at whether the network is as it was; what is said of it becomes a warning.
    pub(super) fn look_at_network(&mut self, look: impl FnOnce() -> Option<String>) -> Result<(), String> {
        self.add_of_pod(What::Network, spawn_to_say(|| (), |()| Said::Network(look()))?);
        Ok(())
    }

    fn add_of_pod(&mut self, what: What, work: Work) {
        let (container, until) = (String::new(), None);
        self.add(Task { container, attempt: 0, what, work, until, late: Said::Nothing });
    }

    fn add(&mut self, task: Task) {
        self.tasks.insert(self.next, task);
        self.next += 1;
    }

    /// Takes in what a child says, or does the next step; what that means once it is whole.
    fn read(&mut self, id: u64) -> Heard {
        let Some(task) = self.tasks.get_mut(&id) else { return Heard::Part };
        let said = match &mut task.work {
            Work::Child(_, answer, heard) => match read_more(answer, heard) {
                true => Some(serde_json::from_slice(heard).unwrap_or(Said::Nothing)),
                false => return Heard::Part,
            },
            Work::Dial(dial) => match dial.step() {
                Progress::Waiting => return Heard::Part,
                Progress::Over(outcome) => Some(Said::Probe(outcome)),
                Progress::Elsewhere => None,
            },
            Work::Command(command) => match command.step() {
                None => return Heard::Part,
                Some(outcome) => Some(task.said(outcome)),
            },
            Work::Sleep => return Heard::Part,
        };
        let Some(mut task) = self.tasks.remove(&id) else { return Heard::Part };
        // A child is not waited for here: its end is a SIGCHLD.
        task.end();
        match (said, task.what) {
            (Some(Said::Wired(wired)), What::Wiring) => Heard::Wired(wired),
            (_, What::Wiring) => Heard::Wired(Err((NO_ANSWER.to_owned(), None))),
            (Some(said), _) => Heard::All(task.event(said)),
            (None, What::Probe(kind)) => Heard::ForAChild(task.container, task.attempt, kind),
            (None, _) => Heard::All(task.event(Said::Nothing)),
        }
    }

    /// Ends what has taken too long, and the sleeps that are over.
    pub(super) fn expire(&mut self, now: Uptime) -> Vec<Event> {
        let late = |task: &Task| task.until.is_some_and(|until| until <= now);
        let ids: Vec<u64> = self.tasks.iter().filter(|(_, task)| late(task)).map(|(id, _)| *id).collect();
        let ended = ids.into_iter().filter_map(|id| self.tasks.remove(&id));
        ended
            .filter_map(|mut task| {
                task.end();
                let said = std::mem::replace(&mut task.late, Said::Nothing);
                task.event(said)
            })
            .collect()
    }

    /// Ends all of a container, which has ended; or all there are.
    pub(super) fn cancel(&mut self, container: Option<&str>) {
        self.tasks.retain(|_, task| {
            let goes = container.is_none_or(|name| name == task.container);
            if goes {
                task.end();
            }
            !goes
        });
    }
}

/// Takes in what is there; whether that was all.
fn read_more(answer: &OwnedFd, heard: &mut Vec<u8>) -> bool {
    let mut chunk = [0; 4096];
    match rustix::io::read(answer, &mut chunk) {
        Ok(0) => true,
        Ok(count) => {
            heard.extend_from_slice(&chunk[..count]);
            heard.len() > MAX_ANSWER_BYTES
        }
        Err(Errno::AGAIN | Errno::INTR) => false,
        Err(_) => true,
    }
}

impl Supervisor {
    /// A task's descriptor is ready.
    pub(super) fn take_task(&mut self, id: u64) {
        match self.tasks.read(id) {
            Heard::Part => {}
            Heard::All(event) => self.queue.extend(event),
            Heard::ForAChild(name, attempt, probe) => self.probe_by(&name, attempt, probe, false),
            Heard::Wired(wired) => self.wired(wired),
        }
    }

    pub(super) fn probe(&mut self, name: &str, attempt: u32, probe: ProbeKind) {
        self.probe_by(name, attempt, probe, true);
    }

    /// Here if it may be and can be, else by a child.
    fn probe_by(&mut self, name: &str, attempt: u32, probe: ProbeKind, here: bool) {
        let outcome = match self.begin_probe(name, attempt, probe, here) {
            Ok(None) => return,
            Ok(Some(outcome)) => outcome,
            Err(text) => Outcome::Error(text),
        };
        self.queue.push_back(Event::Probed { name: name.to_owned(), attempt, probe, outcome });
    }

    /// Gives what comes of it if that is known at once.
    fn begin_probe(
        &mut self,
        name: &str,
        attempt: u32,
        kind: ProbeKind,
        here: bool,
    ) -> Result<Option<Outcome>, String> {
        let container = self.container_spec(name).ok_or("no such container")?;
        let spec = match kind {
            ProbeKind::Startup => &container.startup_probe,
            ProbeKind::Readiness => &container.readiness_probe,
            ProbeKind::Liveness => &container.liveness_probe,
        };
        let spec = spec.as_ref().ok_or("no such probe")?;
        let seconds =
            spec.timeout_seconds.and_then(|s| u64::try_from(s).ok()).filter(|s| *s > 0).unwrap_or(1);
        let timeout = Duration::from_secs(seconds);
        let check = check::of_probe(spec, &container)?;
        let late = Said::Probe(Outcome::Failure(check.timed_out(timeout)));
        let live = self.live.get(name).ok_or("the container does not run")?;
        let (work, slack_ms) = match (here.then(|| check.dial(live.exit_fd())).flatten(), &check) {
            (Some(Ok(dial)), _) => (Work::Dial(Box::new(dial)), 0),
            (Some(Err(outcome)), _) => return Ok(Some(outcome)),
            (None, Check::Exec(command)) => (self.begin_command(name, command)?, 0),
            (None, _) => {
                let work = self.spawn_check(name, &check, |check, address| {
                    Said::Probe(match address {
                        Ok(address) => check.probe(address, timeout),
                        Err(text) => Outcome::Error(text),
                    })
                })?;
                (work, SLACK_MS)
            }
        };
        let until = read_now().uptime.0.saturating_add(seconds.saturating_mul(1000)).saturating_add(slack_ms);
        self.tasks.add(Task {
            container: name.to_owned(),
            attempt,
            what: What::Probe(kind),
            work,
            until: Some(Uptime(until)),
            late,
        });
        Ok(None)
    }

    pub(super) fn run_hook(&mut self, name: &str, attempt: u32, hook: HookKind) {
        if let Err(failure) = self.begin_hook(name, attempt, hook) {
            let failure = Some(failure);
            self.queue.push_back(Event::HookDone { name: name.to_owned(), attempt, hook, failure });
        }
    }

    fn begin_hook(&mut self, name: &str, attempt: u32, kind: HookKind) -> Result<(), String> {
        let container = self.container_spec(name).ok_or("no such container")?;
        let lifecycle = container.lifecycle.as_ref().ok_or("no hooks")?;
        let spec = match kind {
            HookKind::PostStart => &lifecycle.post_start,
            HookKind::PreStop => &lifecycle.pre_stop,
        };
        let (work, until) = match check::of_hook(spec.as_ref().ok_or("no such hook")?, &container)? {
            // These may take as long as the container lives; a preStop hook is waited for as long as the grace lasts.
            Hook::Check(Check::Exec(command)) => (self.begin_command(name, &command)?, None),
            Hook::Check(check) => {
                let work = self.spawn_check(name, &check, |check, address| {
                    Said::Hook(address.and_then(|address| check.hook(address)))
                })?;
                (work, None)
            }
            Hook::Sleep(time) => {
                let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
                (Work::Sleep, Some(Uptime(read_now().uptime.0.saturating_add(ms))))
            }
        };
        self.tasks.add(Task {
            container: name.to_owned(),
            attempt,
            what: What::Hook(kind),
            work,
            until,
            late: Said::Hook(Ok(())),
        });
        Ok(())
    }

    /// A child that does a check and says what came of it. In it: names are looked up, the pod's network is entered,
    /// every descriptor of ours is closed, the check is done.
    fn spawn_check(
        &self,
        name: &str,
        check: &Check,
        work: impl FnOnce(&Check, Result<Option<std::net::SocketAddr>, String>) -> Said,
    ) -> Result<Work, String> {
        let init = self.live.get(name).ok_or("the container does not run")?.exit_fd();
        spawn_to_say(|| check.go_there(init), |address| work(check, address))
    }

    fn begin_command(&mut self, name: &str, command: &[String]) -> Result<Work, String> {
        let live = self.live.get_mut(name).ok_or("the container does not run")?;
        Ok(Work::Command(Box::new(live.begin_command(command)?)))
    }

    /// When what the pod uses of the disk is to be measured next.
    pub(super) fn measure_at(&self) -> Option<Uptime> {
        let to_measure = !self.limits.is_empty() && self.state().stage == Stage::Containers;
        let under_way = || self.tasks.tasks.values().any(|task| matches!(task.what, What::Usage));
        (to_measure && self.state().goal == Goal::Run && !under_way()).then_some(self.measured_next)
    }

    /// Has it measured if it is due.
    pub(super) fn measure(&mut self, now: Uptime) {
        if self.measure_at().is_none_or(|at| at > now) {
            return;
        }
        self.measured_next = Uptime(now.0.saturating_add(MEASURE_EVERY_MS));
        let places = self.places();
        let work = match spawn_to_say(|| (), |()| Said::Usage(self.limits.exceeded(&places))) {
            Ok(work) => work,
            Err(error) => return tracing::error!(error, "the disk that the pod uses cannot be measured"),
        };
        self.tasks.add(Task {
            container: String::new(),
            attempt: 0,
            what: What::Usage,
            work,
            until: Some(Uptime(now.0.saturating_add(MEASURE_FOR_MS))),
            late: Said::Nothing,
        });
    }

    /// Where the pod writes to.
    fn places(&self) -> Places {
        let volumes = self.volumes.resolved.iter().map(|(name, v)| (name.clone(), v.host_path.clone()));
        let is_empty_dir = |name: &str| {
            let volumes =
                self.record.pod.spec.as_ref().and_then(|s| s.volumes.as_deref()).unwrap_or_default();
            let volume = volumes.iter().find(|v| v.name == name).and_then(|v| v.empty_dir.as_ref());
            volume.is_some_and(|v| v.medium.as_deref().unwrap_or_default().is_empty())
        };
        let logs = self.root.pod_logs(&self.uid);
        let made = self.state().containers.iter().filter(|c| !c.id.is_empty());
        let containers = made.map(|c| (c.name.clone(), vec![self.dirs.data.join(&c.id), logs.join(&c.name)]));
        Places {
            volumes: volumes.filter(|(name, _)| is_empty_dir(name)).collect(),
            containers: containers.collect(),
        }
    }
}

/// A child that does something, first with our descriptors and then without any, and says what came of it.
fn spawn_to_say<T>(first: impl FnOnce() -> T, then: impl FnOnce(T) -> Said) -> Result<Work, String> {
    let words = |errno: Errno| errno.to_string();
    let (answer, theirs) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).map_err(words)?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    let null = null.map_err(words)?;
    let child = sys::process::spawn(Namespaces::empty(), None, || {
        sys::process::reset_signals();
        let found = first();
        let stdio = [null.as_fd(), null.as_fd(), rustix::stdio::stderr()];
        sys::process::with_only_descriptors(stdio, theirs.as_fd(), |kept| {
            let Ok(kept) = kept else { sys::process::exit(1) };
            let told = tell(kept, &then(found));
            sys::process::exit(i32::from(told.is_err()))
        })
    });
    Ok(Work::Child(child.map_err(|e| e.to_string())?, answer, Vec::new()))
}

fn tell(to: BorrowedFd<'_>, said: &Said) -> io::Result<()> {
    let text = serde_json::to_vec(said)?;
    // Shorter than a pipe's room.
    File::from(to.try_clone_to_owned()?).write_all(&text)
}
