//! The process that runs one pod: started by a command, it outlives it; it is the parent of the pod's containers, reads
//! their output, restarts them, and answers on a socket.
//!
//! One thread and one loop of poll(2) over signals, the socket, containers' pidfds and pipes. What happens becomes an
//! event of the state machine ([`crate::lifecycle`]); the new state is on disk before an action is begun, and an exit is
//! on disk before anybody is told.
//!
//! When it is killed, its containers go on: their output pipes are open for reading at their own end too (see
//! `runtime`), so that writing does not end them; a full pipe (64 KiB) makes them wait. The next `start` takes them
//! over with their pipes; `stop`, `rm` and `ps` need no supervisor.

mod acts;
mod clients;
mod job;
mod live;
mod network;
mod tasks;

pub(crate) use acts::chain;
pub(crate) use clients::socket_path;
pub(crate) use job::forget as forget_job;

use crate::clock::read_now;
use crate::disk_usage::Limits;
use crate::lifecycle::{Action, Event, Goal, PodState, Rules, Uptime, step};
use crate::logs::Stream;
use crate::record::{self, PodRecord, PodUid};
use crate::root::Root;
use crate::status_file::StatusFile;
use crate::volumes::Volumes;
use crate::volumes::node_files::NodeFiles;
use clients::{Clients, Wants};
use job::JobFolder;
use k8s_openapi::api::core::v1::EphemeralContainer;
use live::Live;
use manifest::cri;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal};
use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use sys::lock::Holder;
use sys::signal::Signals;
use tasks::Tasks;

/// The word that a supervisor prints when it is there.
pub(crate) const READY: &str = "ready";
/// The hidden subcommand.
pub const SUBCOMMAND: &str = "supervise";

/// Its lock in the pod's passing folder: whoever holds it is the pod's supervisor.
pub(crate) fn lock_path(root: &Root, uid: &PodUid) -> PathBuf {
    root.pod_run(uid).join("supervisor.lock")
}

/// What it says for itself.
pub(crate) fn own_log_path(root: &Root, uid: &PodUid) -> PathBuf {
    root.pod_run(uid).join("supervisor.log")
}

/// Why a supervisor could not begin.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// It was not started as we start it.
    #[error("usage: {SUBCOMMAND} LIB RUN UID")]
    Usage,
    /// There is one.
    #[error("the pod has a supervisor already")]
    AlreadyThere,
    /// The record.
    #[error(transparent)]
    Record(#[from] record::RecordError),
    /// A containers' record.
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    /// Something of the system.
    #[error("cannot {action}: {source}")]
    System {
        /// What was being done.
        action: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

fn system<E: Into<io::Error>>(action: &'static str) -> impl FnOnce(E) -> SupervisorError {
    move |source| SupervisorError::System { action, source: source.into() }
}

/// The subcommand `supervise LIB RUN UID`, for the program's `main` to call before it starts any thread. On standard
/// output it says that it is ready, or why not, to the command that started it.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match begin(args.into_iter().collect()) {
        Ok(mut supervisor) => {
            // Whoever waits for the word finds the pod's new life on the disk, not the end of the last one.
            let first = supervisor.step_next().unwrap_or_default();
            say(READY);
            supervisor.run(first);
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&error.to_string());
            tracing::error!(%error, "the supervisor could not begin");
            ExitCode::FAILURE
        }
    }
}

/// One line to who started us, and no more: then standard output is closed.
fn say(line: &str) {
    let mut out = io::stdout();
    // Nobody may be there any more to read it.
    let _ = writeln!(out, "{}", line.replace('\n', " ")).and_then(|()| out.flush());
    if let Ok(null) = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty()) {
        let _ = rustix::stdio::dup2_stdout(&null);
    }
}

/// Steps: 1. a read-only path to our program; 2. a session of our own, the parent of orphans, signals to be read;
/// 3. the lock; 4. the record and what an earlier supervisor has left; 5. the socket.
fn begin(args: Vec<OsString>) -> Result<Supervisor, SupervisorError> {
    sys::process::ensure_read_only_exe().map_err(system("run from a read-only path"))?;
    let [lib, run, uid] = <[OsString; 3]>::try_from(args).map_err(|_| SupervisorError::Usage)?;
    let root = Root { lib: lib.into(), run: run.into() };
    let uid = uid.to_str().and_then(PodUid::parse).ok_or(SupervisorError::Usage)?;
    // EPERM: it leads a group already, and so a session, where it was started by hand.
    let _ = rustix::process::setsid();
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(system("become a subreaper"))?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    rustix::process::chdir("/").map_err(system("change to /"))?;
    let watched = [Signal::TERM, Signal::INT, Signal::QUIT, Signal::HUP, Signal::CHILD];
    let signals = Signals::block(&watched).map_err(system("block signals"))?;
    runtime::fault::point("supervisor.lock").map_err(system("take the lock"))?;
    let lock = take_lock(&root, &uid)?;
    let record = record::load(&root, &uid)?;
    record::require_same(&root, &record.key(), &uid)?;
    lower_privileges(&record)?;
    // The lock of the command that started us was shared with us there until we had our own.
    let null =
        rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty()).map_err(system("open /dev/null"))?;
    rustix::stdio::dup2_stdin(&null).map_err(system("let go of standard input"))?;
    runtime::fault::point("supervisor.listen").map_err(system("listen"))?;
    let clients = Clients::listen(&root, &uid).map_err(system("listen"))?;
    Supervisor::new(root, uid, record, signals, lock, clients)
}

/// Gives up what neither a supervisor nor one of the pod's containers needs (loading modules, raw disks, the clock, the
/// kernel's log, …), and asks to be the last whom the kernel kills for want of memory, as a kubelet's runtime does.
///
/// Not no_new_privs, which the containers would inherit; and the umask stays the usual one, since files of a pod are
/// read by its users.
fn lower_privileges(record: &PodRecord) -> Result<(), SupervisorError> {
    let error = system("give up capabilities");
    let all = runtime::capability::read_bounding_set().map_err(system("read the bounding set"))?;
    let spec = record.pod.spec.as_ref();
    let mut keep = runtime::capability::OF_A_SUPERVISOR;
    for container in spec.iter().flat_map(|s| s.init_containers.iter().flatten().chain(&s.containers)) {
        let context = container.security_context.as_ref();
        let privileged = context.and_then(|c| c.privileged).unwrap_or_default();
        let wish = context.map(cri::security::capabilities).unwrap_or_default();
        // A name that nobody knows is an error of that container's, when it is made.
        keep |= runtime::capability::resolve(&wish, privileged, all).map_or(keep, |resolved| resolved.set);
    }
    runtime::capability::keep_only(keep).map_err(error)?;
    // Lowering it needs CAP_SYS_RESOURCE, which not every machine gives.
    let _ = std::fs::write("/proc/self/oom_score_adj", "-998");
    Ok(())
}

/// A lock of the process (fcntl(2)), not of the descriptor: a container's process that is not executed yet has copies
/// of our descriptors, and must not hold it when we are gone.
fn take_lock(root: &Root, uid: &PodUid) -> Result<File, SupervisorError> {
    let path = lock_path(root, uid);
    let file = File::options().read(true).write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(system("open the lock"))?;
    match sys::lock::take(&file) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => Err(SupervisorError::AlreadyThere),
        Err(e) => Err(system("take the lock")(e)),
    }
}

/// The pod's supervisor: who holds the lock.
fn find(root: &Root, uid: &PodUid) -> Holder {
    let file = File::options().read(true).write(true).open(lock_path(root, uid));
    file.map_or(Holder::Nobody, |file| sys::lock::holder(&file).unwrap_or(Holder::Nobody))
}

/// Whether a pod has a supervisor.
pub(crate) fn is_alive(root: &Root, uid: &PodUid) -> bool {
    find(root, uid) != Holder::Nobody
}

/// A pod's supervisor: the one that was there when it was looked for, not another one that came after it.
#[derive(Debug)]
pub(crate) struct Living {
    holder: Holder,
    /// `None` for one that is not in our pid namespace.
    process: Option<OwnedFd>,
}

impl Living {
    /// The one that is there now.
    pub(crate) fn find(root: &Root, uid: &PodUid) -> io::Result<Option<Living>> {
        loop {
            let pid = match find(root, uid) {
                Holder::Nobody => return Ok(None),
                holder @ Holder::Foreign => return Ok(Some(Living { holder, process: None })),
                Holder::Process(pid) => pid,
            };
            match rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) {
                // Still the same after the pidfd was opened: so it is not another process that has got its pid.
                Ok(process) if find(root, uid) == Holder::Process(pid) => {
                    return Ok(Some(Living { holder: Holder::Process(pid), process: Some(process) }));
                }
                Ok(_) | Err(rustix::io::Errno::SRCH) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Whether another one has taken its place.
    pub(crate) fn is_replaced(&self, root: &Root, uid: &PodUid) -> bool {
        ![self.holder, Holder::Nobody].contains(&find(root, uid))
    }

    /// Waits for its end; false if the time has passed before.
    pub(crate) fn wait(&self, root: &Root, uid: &PodUid, timeout: Duration) -> io::Result<bool> {
        let until = Instant::now() + timeout;
        let Some(process) = &self.process else {
            while is_alive(root, uid) {
                if Instant::now() >= until {
                    return Ok(false);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            return Ok(true);
        };
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if crate::client::wait_for(&[process.as_fd()], left)? == [true] {
                return Ok(true);
            }
            if left.is_zero() {
                return Ok(false);
            }
        }
    }

    /// Kills it: it does not answer and may be stuck in a dead file system. Its containers go on.
    pub(crate) fn kill(&self, uid: &PodUid) -> io::Result<()> {
        let Some(process) = &self.process else { return Ok(()) };
        tracing::warn!(%uid, "the supervisor does not answer and is killed");
        match rustix::process::pidfd_send_signal(process, Signal::KILL) {
            Err(rustix::io::Errno::SRCH) => Ok(()),
            result => Ok(result?),
        }
    }
}

/// After so long without an event, memory is given back.
const CALM_MS: u64 = 200;

/// What a supervisor holds.
struct Supervisor {
    root: Root,
    uid: PodUid,
    record: PodRecord,
    dirs: runtime::Dirs,
    /// As on disk.
    file: StatusFile,
    /// To be given to the state machine.
    queue: VecDeque<Event>,
    sandbox: Option<runtime::Sandbox>,
    volumes: Volumes,
    node_files: Option<NodeFiles>,
    /// Containers that run, by name.
    live: BTreeMap<String, Live>,
    /// Probes and hooks under way.
    tasks: Tasks,
    /// What of the disk the pod may use, and when what it does is measured next.
    limits: Limits,
    measured_next: Uptime,
    /// What it has in common with the supervisors of its Job's other Pods, and when it looks there next.
    job: Option<JobFolder>,
    job_next: Uptime,
    signals: Signals,
    clients: Clients,
    /// Containers were made since memory was given back.
    swollen: bool,
    _lock: File,
}

/// The rules of a pod on this node.
fn rules(record: &PodRecord) -> Rules {
    let mut rules = crate::status::rules(&record.pod);
    rules.job = record.job.clone();
    if rules.node.is_empty() {
        rules.node = rustix::system::uname().nodename().to_string_lossy().into_owned();
    }
    rules
}

/// What a descriptor of the loop is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    Signals,
    Listener,
    Client(u64),
    Exit(String),
    Output(String, Stream),
    Task(u64),
}

/// How long the last answers may take to be read when the pod is done.
const LINGER: Duration = Duration::from_secs(1);

impl Supervisor {
    fn new(
        root: Root,
        uid: PodUid,
        record: PodRecord,
        signals: Signals,
        lock: File,
        clients: Clients,
    ) -> Result<Supervisor, SupervisorError> {
        let before = StatusFile::read(&root, &uid).map_err(system("read the status"))?;
        let fresh = StatusFile::new(PodState::new(rules(&record)));
        let fresh = fresh.map_err(system("read the boot's id"))?;
        let limits = Limits::of(&record.pod);
        let shared = record.job.as_ref().filter(|terms| terms.pods > 1);
        let job = shared.map(|terms| JobFolder::join(&root, terms)).transpose();
        let job = job.map_err(system("join the pods of the job"))?;
        let mut supervisor = Supervisor {
            dirs: root.runtime_dirs(),
            root,
            uid,
            record,
            file: fresh,
            queue: VecDeque::new(),
            sandbox: None,
            volumes: Volumes::default(),
            node_files: None,
            live: BTreeMap::new(),
            tasks: Tasks::default(),
            limits,
            measured_next: Uptime(0),
            job,
            job_next: Uptime(0),
            signals,
            clients,
            swollen: true,
            _lock: lock,
        };
        supervisor.take_up(before)?;
        Ok(supervisor)
    }

    /// Goes on from what an earlier supervisor has left: takes over what still runs of it, else begins the next life.
    fn take_up(&mut self, before: Option<StatusFile>) -> Result<(), SupervisorError> {
        let Some(before) = before else {
            self.queue.push_back(Event::Begin);
            return Ok(());
        };
        let known = crate::orphan::as_it_is(&self.dirs, before.clone(), &self.file.boot_id, read_now())?;
        match known.sandbox_id.clone() {
            Some(sandbox) if known.state.containers.iter().any(|c| c.running()) => {
                self.adopt(before, &sandbox)
            }
            sandbox => {
                self.begin_after(known, sandbox.as_deref())?;
                self.queue.push_back(Event::Begin);
                Ok(())
            }
        }
    }

    /// Clears away what the last life has left (after a reboot that is writable layers) and keeps what it counted.
    fn begin_after(&mut self, known: StatusFile, sandbox: Option<&str>) -> Result<(), SupervisorError> {
        for id in known.state.containers.iter().map(|c| &c.id).filter(|id| !id.is_empty()) {
            runtime::remove_container(&self.dirs, id)?;
        }
        // Of a boot before this one there still is what CNI plugins hold.
        let wired = runtime::cni::list_marked(&self.dirs, self.uid.dice()).map_err(runtime::Error::from)?;
        for sandbox in sandbox.into_iter().map(str::to_owned).chain(wired) {
            runtime::remove_sandbox(&self.dirs, &sandbox)?;
        }
        self.file.state = known.state.by_rules(rules(&self.record));
        Ok(())
    }

    fn run(&mut self, first: Vec<Action>) {
        first.into_iter().for_each(|action| self.act(action));
        self.settle();
        while !self.file.state.done() {
            if let Err(error) = self.turn() {
                // poll(2) fails only for want of memory; a busy loop would be worse than a slow one.
                tracing::error!(%error, "the supervisor's loop");
                std::thread::sleep(Duration::from_millis(100));
            }
            self.settle();
        }
        if let Some(job) = self.job.take() {
            job.leave();
        }
        self.clients.linger(LINGER);
    }

    /// Waits for something to happen and takes it in.
    fn turn(&mut self) -> io::Result<()> {
        let sources = self.sources();
        let mut fds: Vec<PollFd<'_>> =
            sources.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        let count = match rustix::event::poll(&mut fds, self.timeout().as_ref()) {
            Err(rustix::io::Errno::INTR) => return Ok(()),
            other => other?,
        };
        let is_ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        let ready: Vec<Source> = fds
            .iter()
            .zip(&sources)
            .filter(|(fd, _)| is_ready(fd))
            .map(|(_, (source, _, _))| source.clone())
            .collect();
        for source in ready {
            self.take_in(&source);
        }
        // Nothing has happened for a while: most of what making containers took is not needed any more.
        if count == 0
            && std::mem::take(&mut self.swollen)
            && let Err(error) = sys::memory::give_back()
        {
            tracing::debug!(%error, "memory is not given back");
        }
        let now = read_now().uptime;
        self.queue.extend(self.tasks.expire(now));
        self.measure(now);
        self.look_at_job(now);
        if self.state().next_deadline().is_some_and(|at| at <= now) {
            self.queue.push_back(Event::Tick);
        }
        Ok(())
    }

    fn state(&self) -> &PodState {
        &self.file.state
    }

    fn sources(&self) -> Vec<(Source, BorrowedFd<'_>, PollFlags)> {
        let mut sources = vec![(Source::Signals, self.signals.as_fd(), PollFlags::IN)];
        sources.extend(self.clients.listener().map(|fd| (Source::Listener, fd, PollFlags::IN)));
        sources.extend(self.clients.fds().map(|(id, fd, flags)| (Source::Client(id), fd, flags)));
        sources.extend(self.tasks.fds().map(|(id, fd, flags)| (Source::Task(id), fd, flags)));
        for (name, live) in &self.live {
            sources.push((Source::Exit(name.clone()), live.exit_fd(), PollFlags::IN));
            let outputs = live.outputs();
            sources.extend(
                outputs.map(|(stream, fd)| (Source::Output(name.clone(), stream), fd, PollFlags::IN)),
            );
        }
        sources
    }

    fn timeout(&self) -> Option<Timespec> {
        let deadlines = self.state().next_deadline().into_iter().chain(self.tasks.next_deadline());
        let deadline: Option<Uptime> = deadlines.chain(self.measure_at()).chain(self.look_at_job_at()).min();
        // Rounded up by a millisecond, so that the deadline has passed when it wakes.
        let ms = deadline.map(|at| at.0.saturating_sub(read_now().uptime.0).saturating_add(1));
        let calm = self.swollen.then_some(CALM_MS);
        let ms = i64::try_from(ms.into_iter().chain(calm).min()?).unwrap_or(i64::MAX / 2);
        Some(Timespec { tv_sec: ms / 1000, tv_nsec: (ms % 1000) * 1_000_000 })
    }

    fn take_in(&mut self, source: &Source) {
        match source {
            Source::Signals => self.take_signals(),
            Source::Listener => self.clients.accept(&self.uid),
            Source::Client(id) => {
                let asked = self.clients.serve(*id, &self.file);
                self.queue.extend(asked);
                match self.clients.take_wish(*id) {
                    None => {}
                    Some(Wants::Input(container)) => {
                        let input = self.give_input(&container);
                        self.clients.answer_attach(*id, input);
                    }
                    Some(Wants::Container(container)) => self.take_container(*id, *container),
                    Some(Wants::Objects) => self.take_objects(*id),
                }
            }
            Source::Exit(name) => self.take_exit(name),
            Source::Task(id) => self.take_task(*id),
            Source::Output(name, stream) => {
                let now = read_now().wall;
                if let Some(Err(error)) = self.live.get_mut(name).map(|live| live.read_output(*stream, now)) {
                    let message =
                        format!("the log of container {name} cannot be written and loses lines: {error}");
                    self.queue.push_back(Event::Warning { reason: "LogLost".into(), message, hint: None });
                }
            }
        }
    }

    /// Adds an ephemeral container to the pod: first to its record, so that the next supervisor knows it.
    fn take_container(&mut self, client: u64, container: EphemeralContainer) {
        let rules = crate::status::ephemeral_rules(&container);
        let taken = self.state().container(&rules.name).is_some();
        let written = match taken || self.state().goal != Goal::Run {
            true if taken => Err(format!("there is a container {:?} already", rules.name)),
            true => Err("the pod is ending".to_owned()),
            false => self.record.add_ephemeral(&self.root, &self.uid, container).map_err(|e| chain(&e)),
        };
        if let Err(message) = written {
            return self.clients.answer_wish(client, Err(message));
        }
        self.queue.push_back(Event::Added { rules: Box::new(rules) });
        let mut actions = Vec::new();
        while let Some(more) = self.step_next() {
            actions.extend(more);
        }
        self.clients.answer_wish(client, Ok(&self.file));
        actions.into_iter().for_each(|action| self.act(action));
    }

    /// Takes other contents of ConfigMaps and Secrets in: first into the record, then into the volumes that are made.
    fn take_objects(&mut self, client: u64) {
        let before = self.record.clone();
        let taken = self.record.take_objects(&self.root, &self.uid).map_err(|e| chain(&e));
        if taken.is_ok() {
            self.refresh_volumes(&before);
        }
        self.clients.answer_wish(client, taken.map(|()| &self.file));
    }

    fn take_signals(&mut self) {
        // Bounded by the kinds of signals: each is read once however often it came.
        while let Ok(Some(received)) = self.signals.read() {
            match received.signal {
                Signal::CHILD => self.reap_orphans(),
                Signal::HUP => {}
                _ => self.queue.push_back(Event::Stop { grace_seconds: None }),
            }
        }
    }

    /// Waits for children that are not containers' first processes: processes of containers with the node's pid
    /// namespace, whose parents have ended, become ours.
    fn reap_orphans(&mut self) {
        let mut known: Vec<Pid> =
            self.live.values().filter_map(Live::child).chain(self.tasks.children()).collect();
        let init = self.sandbox.as_ref().and_then(|s| s.record().init);
        known.extend(init.and_then(|init| Pid::from_raw(init.pid)));
        let children = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
        let pids = children.split_ascii_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?));
        for pid in pids.filter(|pid| !known.contains(pid)) {
            let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::NOHANG);
        }
    }

    /// Gives the events to the state machine, one by one, and does what it says.
    fn settle(&mut self) {
        while let Some(actions) = self.step_next() {
            actions.into_iter().for_each(|action| self.act(action));
        }
    }

    /// Gives the next event to the state machine; what it says is to be done. The new state is on the disk.
    fn step_next(&mut self) -> Option<Vec<Action>> {
        let event = self.queue.pop_front()?;
        let lasting = matches!(event, Event::Begin | Event::SandboxStopped);
        let stop = matches!(event, Event::Stop { .. });
        tracing::debug!(?event, "event");
        let before = self.file.state.clone();
        let after = std::mem::replace(&mut self.file.state, PodState::new(Default::default()));
        let (after, actions) = step(after, event, read_now());
        self.file.state = after;
        if self.file.state != before {
            self.publish(lasting);
        }
        self.count_failures();
        if stop {
            self.clients.answer_stop(&self.file);
        }
        Some(actions)
    }

    /// First to the disk, then to who listens.
    fn publish(&mut self, lasting: bool) {
        if let Err(error) = self.file.write(&self.root, &self.uid, lasting) {
            // The pod goes on; the status on the disk is old until the next write succeeds.
            tracing::error!(%error, "the status cannot be written");
        }
        self.clients.publish(&self.file);
    }

    fn act(&mut self, action: Action) {
        tracing::debug!(?action, "action");
        match action {
            Action::AskForTurn => self.ask_for_turn(),
            Action::SetUpVolumes => self.set_up_volumes(),
            Action::RunSandbox => self.run_sandbox(),
            Action::StartContainer { name, attempt } => self.start_container(&name, attempt),
            Action::Signal { name, kill } => self.signal(&name, kill),
            Action::Probe { name, attempt, probe } => self.probe(&name, attempt, probe),
            Action::RunHook { name, attempt, hook } => self.run_hook(&name, attempt, hook),
            Action::RemoveContainer { id } => self.remove_container(&id),
            Action::StopSandbox => self.stop_sandbox(),
        }
    }
}

/// The end of a file, for messages.
pub(crate) fn tail_of(path: &Path, bytes: usize) -> String {
    let content = std::fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&content[content.len().saturating_sub(bytes)..]).trim().to_owned()
}
