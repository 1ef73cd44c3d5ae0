//! The node as it changes: every mount that comes, goes or moves in any namespace, each with its copies as one event.
//!
//! From Linux 6.15 the kernel tells (fanotify(7), [`groups`]); before, and for whoever may not ask, a changed mountinfo
//! wakes poll(2) ([`polled`]) and what is different is found by reading. What no event tells is found by reading again:
//! new namespaces once a second, propagation types and options at an interval that costs half a thousandth of a processor.

mod groups;
mod polled;
mod state;

use crate::node::{Names, NodeReader, Ways, each, may_list, parse_cgroup, stat_row};
use crate::{Error, Result};
use groups::{Groups, Raw};
use mount_table::node::Node;
use mount_table::node::event::{Action, Actor, Event, What};
use mount_table::{NamespaceId, readable};
use polled::Polled;
use rustix::io::Errno;
use state::{Common, Hit, Known, State, event};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};
use sys::fanotify::MountEvent;
use sys::listing::number_of;

/// How long it is waited for the copies of a mount after the first event of it.
const SETTLE: Duration = Duration::from_millis(1);
/// How long a moment can be at most while events keep coming.
const LONGEST_MOMENT: Duration = Duration::from_millis(20);
/// How often it is looked for new namespaces, if there are not hundreds of them.
const FOLLOW: Duration = Duration::from_secs(1);
/// And if there are, at least so often.
const LONGEST_FOLLOW: Duration = Duration::from_secs(5);
/// How often all is read again, if that is not dear.
const USUAL_INTERVAL: Duration = Duration::from_secs(10);
/// Looking for new namespaces and reading again may each take this part of the time.
const COST: u32 = 2000;

/// Watches a node.
pub struct Watcher {
    names: Box<dyn FnMut() -> Names>,
    reader: NodeReader,
    state: State,
    source: Source,
    interval: Duration,
    next_follow: Instant,
    next_refresh: Instant,
}

#[derive(Debug)]
enum Source {
    Events(Groups),
    Polling(Polled, String),
}

impl std::fmt::Debug for Watcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watcher")
            .field("source", &self.source)
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}

/// Events of one moment, on the way to becoming families.
#[derive(Debug, Default)]
struct Moment {
    hits: Vec<(Hit, Option<Common>)>,
    touched: HashSet<u64>,
    actors: HashMap<u32, (Actor, Option<NamespaceId>)>,
    brief: HashMap<u32, u64>,
    shrunk: BTreeSet<NamespaceId>,
    order: usize,
    overflow: bool,
}

impl Watcher {
    /// Reads the node and begins. `names` is asked whenever there is something new to name. Propagation types are read again
    /// every `interval`; without one every ten seconds, or less often where that would take more than half a thousandth of the
    /// time.
    ///
    /// # Errors
    /// The node cannot be read at all.
    pub fn new(names: impl FnMut() -> Names + 'static, interval: Option<Duration>) -> Result<Watcher> {
        // Events are of no use without the namespaces to be marked, which the kernel does not list to everybody.
        let source = match Groups::new().and_then(|groups| may_list().map(|()| groups)) {
            Ok(groups) => Source::Events(groups),
            Err(errno) => Source::Polling(Polled::default(), without_events(errno)),
        };
        Watcher::with(names, interval, source)
    }

    /// The same by poll(2) alone, as where the kernel has no events.
    ///
    /// # Errors
    /// As [`Watcher::new`].
    pub fn by_polling(names: impl FnMut() -> Names + 'static, interval: Option<Duration>) -> Result<Watcher> {
        Watcher::with(names, interval, Source::Polling(Polled::default(), "it was asked for".to_owned()))
    }

    fn with(
        names: impl FnMut() -> Names + 'static,
        interval: Option<Duration>,
        source: Source,
    ) -> Result<Watcher> {
        let now = Instant::now();
        let mut watcher = Watcher {
            names: Box::new(names),
            reader: NodeReader::new(Ways::default()),
            state: State::default(),
            source,
            interval: USUAL_INTERVAL,
            next_follow: now,
            next_refresh: now,
        };
        watcher.follow()?;
        let node = watcher.reader.read(&(watcher.names)())?;
        let cost = now.elapsed();
        watcher.interval = interval.unwrap_or(USUAL_INTERVAL.max(cost * COST));
        watcher.state.reconcile(&node, None, &HashSet::new(), true);
        watcher.reopen(&node);
        watcher.next_refresh = Instant::now() + watcher.interval;
        watcher.next_follow = Instant::now() + FOLLOW;
        Ok(watcher)
    }

    /// How often propagation types and options are read again.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Why the kernel does not tell of mounts, if it does not: then who mounted is not known, and what comes and goes
    /// between two readings is not seen.
    pub fn without_events(&self) -> Option<&str> {
        match &self.source {
            Source::Events(_) => None,
            Source::Polling(_, why) => Some(why),
        }
    }

    /// What happens next; nothing if nothing does for `timeout`.
    ///
    /// # Errors
    /// The kernel's, which should not be, or the node cannot be read any more.
    pub fn next(&mut self, timeout: Duration) -> Result<Vec<Event>> {
        let deadline = Instant::now() + timeout;
        loop {
            let now = Instant::now();
            let next = self.next_follow.min(self.next_refresh).min(deadline);
            let events = self.step(next.saturating_duration_since(now))?;
            if !events.is_empty() || Instant::now() >= deadline {
                return Ok(events);
            }
        }
    }

    fn step(&mut self, wait: Duration) -> Result<Vec<Event>> {
        let woken = match &mut self.source {
            Source::Events(groups) => groups.wait(wait)?,
            Source::Polling(polled, _) => polled.wait(wait)?,
        };
        let mut moment = Moment::default();
        let mut reread = false;
        if woken {
            match &self.source {
                Source::Events(_) => self.drain(&mut moment)?,
                Source::Polling(..) => reread = true,
            }
        }
        let now = Instant::now();
        if now >= self.next_follow {
            // Without events, processes that keep a namespace open for us may have ended.
            reread |= self.follow()? || matches!(self.source, Source::Polling(..));
            self.next_follow = now + FOLLOW.max(now.elapsed() * COST).min(LONGEST_FOLLOW);
        }
        if now >= self.next_refresh {
            self.reader.forget();
            reread = true;
            self.next_refresh = now + self.interval;
        }
        let mut events = Vec::new();
        if reread || moment.overflow {
            self.reread(&mut moment, &mut events)?;
        }
        self.tell(moment, &mut events);
        Ok(events)
    }

    /// Takes the events of a moment: until none has come for a while.
    fn drain(&mut self, moment: &mut Moment) -> Result<()> {
        let until = Instant::now() + LONGEST_MOMENT;
        loop {
            let mut raw = Vec::new();
            let Source::Events(groups) = &mut self.source else { return Ok(()) };
            let all = groups.read(&mut raw)?;
            let nothing = raw.is_empty();
            self.take(raw, moment);
            let Source::Events(groups) = &self.source else { return Ok(()) };
            if Instant::now() >= until || nothing || all && !groups.wait(SETTLE)? {
                return Ok(());
            }
        }
    }

    /// What has come is read at once, before it can go; then what has gone is looked up.
    fn take(&mut self, raw: Vec<Raw>, moment: &mut Moment) {
        let mut gone = Vec::new();
        let mut came = Vec::new();
        for raw in raw {
            match raw.event {
                MountEvent::Overflow => moment.overflow = true,
                MountEvent::Mount { id, attached, pid, .. } => {
                    moment.actors.entry(pid).or_insert_with(|| actor(pid));
                    moment.touched.insert(id);
                    moment.order += 1;
                    let read = if attached { self.stat(id, raw.group) } else { None };
                    match (attached, read) {
                        (true, Some(known)) => came.push((id, pid, known, moment.order)),
                        (true, None) => {
                            self.state.unread(id);
                            *moment.brief.entry(pid).or_default() += 1;
                        }
                        (false, _) => gone.push((id, pid, moment.order)),
                    }
                }
            }
        }
        // A mount is made before its copies, and a parent before its children.
        came.sort_by_key(|(id, ..)| *id);
        for (id, pid, known, order) in came {
            if let Some(hit) = self.state.attached(id, pid, known, order) {
                moment.hits.push(self.state.with_common(hit));
            }
        }
        self.take_gone(gone, moment);
    }

    fn take_gone(&mut self, gone: Vec<(u64, u32, usize)>, moment: &mut Moment) {
        // Before any of them is forgotten: the parent of one may be another.
        let common: Vec<Option<Common>> = gone.iter().map(|(id, ..)| self.state.common_of(*id)).collect();
        let mut hits = Vec::new();
        for ((id, pid, order), common) in gone.into_iter().zip(common) {
            match self.state.detached(id, pid, order) {
                Some(hit) => {
                    moment.shrunk.insert(hit.known.namespace);
                    hits.push((hit, common));
                }
                // It could not be read when it came, which was counted; or nobody can see it: the root below the
                // root of a namespace that ends.
                None => self.state.forget_unread(id),
            }
        }
        moment.hits.extend(hits);
    }

    /// A mount by its unique id, in whichever of the group's namespaces it is.
    fn stat(&self, id: u64, group: usize) -> Option<Known> {
        let Source::Events(groups) = &self.source else { return None };
        groups.namespaces(group).iter().find_map(|&unique| {
            let (mount, parent) = stat_row(unique, id)?;
            let namespace = self.state.namespace_of(unique)?;
            Some(Known { namespace, mount, parent })
        })
    }

    /// Reads all that may have changed, and what events had not told.
    fn reread(&mut self, moment: &mut Moment, events: &mut Vec<Event>) -> Result<()> {
        if moment.overflow {
            events.push(event(What::Overflow));
        }
        let node = self.reader.read(&(self.names)())?;
        // What happened meanwhile has been told by now, and is in what was read or not: who did it is in the events.
        self.drain(moment)?;
        // Those that are as they were when last read are as events have told since, if none of these is lost.
        let anew = (!moment.overflow).then_some(self.reader.read_anew());
        let found = self.state.reconcile(&node, anew, &moment.touched, false);
        moment.hits.extend(found.hits);
        events.extend(found.others.into_iter().map(event));
        self.reopen(&node);
        let state = &self.state;
        if let Source::Events(groups) = &mut self.source {
            groups.retain(|unique| state.namespace_of(unique).is_some());
        }
        Ok(())
    }

    fn reopen(&mut self, node: &Node) {
        if let Source::Polling(polled, _) = &mut self.source {
            polled.open(node);
        }
    }

    /// Marks namespaces that are new; whether there are any. All are walked: a new one need not have a higher id than the
    /// others, which are handed out to processors in batches.
    fn follow(&mut self) -> Result<bool> {
        let Source::Events(groups) = &mut self.source else { return Ok(false) };
        let state = &mut self.state;
        let mut any = false;
        let mut there = HashSet::new();
        let walked = each(|fd, info| {
            there.insert(info.id);
            if state.namespace_of(info.id).is_some() {
                return Ok(());
            }
            match groups.add(fd, info.id) {
                Ok(()) => {
                    state.expect(NamespaceId(number_of(fd)?), info.id);
                    any = true;
                    Ok(())
                }
                // Its last process has ended meanwhile.
                Err(Errno::INVAL | Errno::NOENT) => Ok(()),
                Err(errno) => Err(errno),
            }
        });
        walked.map_err(|errno| Error::Watch { source: errno.into() })?;
        state.expect_only(&there);
        Ok(any)
    }

    /// The events of a moment, in the order in which they happened.
    fn tell(&mut self, mut moment: Moment, events: &mut Vec<Event>) {
        for id in self.state.emptied(&moment.shrunk) {
            let was_of = |hit: &Hit| hit.known.namespace == id;
            let mounts = moment.hits.iter().filter(|(hit, _)| was_of(hit)).count();
            moment.hits.retain(|(hit, _)| !was_of(hit));
            if let Some(What::Ended { namespace, .. }) = self.state.end(id) {
                events.push(event(What::Ended { namespace, mounts }));
            }
        }
        let mut looks = 0;
        let mut families = State::families(moment.hits);
        families.sort_by_key(|hits| hits.iter().map(|hit| hit.order).min());
        for mut hits in families {
            // Of unmounts, what was told first is where it was done.
            if hits.first().is_some_and(|hit| hit.action == Action::Unmount) {
                hits.sort_by_key(|hit| hit.order);
            }
            let pid = hits.first().map_or(0, |hit| hit.pid);
            let (actor, home) =
                moment.actors.get(&pid).map_or((None, None), |(actor, home)| (Some(actor), *home));
            let actor = actor.filter(|actor| actor.pid != 0).cloned().map(|actor| self.named(actor));
            events.extend(
                self.state.done(hits, actor, home, &mut looks).map(|done| event(What::Mount(Box::new(done)))),
            );
        }
        for (pid, mounts) in moment.brief {
            let actor = moment.actors.get(&pid).map(|(actor, _)| self.named(actor.clone()));
            events.push(event(What::Brief { mounts, actor: actor.filter(|actor| actor.pid != 0) }));
        }
    }

    /// The actor with what its container is called, as its namespace's owner is.
    fn named(&self, mut actor: Actor) -> Actor {
        if let Some(container) = &mut actor.container
            && let Some(known) = self.state.container(&container.id)
        {
            *container = known.clone();
        }
        actor
    }
}

/// Why there are no events.
fn without_events(errno: Errno) -> String {
    match errno {
        Errno::INVAL | Errno::NOSYS => "this kernel has no events of mounts (Linux 6.15 has)".to_owned(),
        Errno::PERM => {
            "only root, and in the first pid namespace, may ask the kernel for events of mounts in all namespaces".to_owned()
        },
        Errno::MFILE => "fs.fanotify.max_user_groups are in use".to_owned(),
        errno => std::io::Error::from(errno).to_string(),
    }
}

/// Who a process is, while it is there; and the namespace that it is in.
fn actor(pid: u32) -> (Actor, Option<NamespaceId>) {
    let read = |name: &str| std::fs::read(format!("/proc/{pid}/{name}")).ok();
    let comm = read("comm").map(|bytes| readable(bytes.strip_suffix(b"\n").unwrap_or(&bytes)));
    let container = read("cgroup").and_then(|bytes| parse_cgroup(&bytes).container);
    let namespace = std::fs::metadata(format!("/proc/{pid}/ns/mnt")).ok();
    let namespace = namespace.map(|meta| NamespaceId(std::os::unix::fs::MetadataExt::ino(&meta)));
    (Actor { pid, comm, container }, namespace)
}
