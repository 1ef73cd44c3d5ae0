//! ExecSync's and Exec's half that makes the process: by any process of root's, from the container's record
//! alone.

use crate::cgroup::{Cgroup, Entrance};
use crate::channel::{self, Heard, Report};
use crate::child::{self, Identity, Program};
use crate::container::{Container, end, error_of, set_oom_score, wait, wait_for_end};
use crate::control::read_hierarchies;
use crate::error::{Error, Result, Step, StepFailure};
use crate::fault;
use crate::program::seccomp_program;
use crate::sandbox::spawn_in;
use crate::state::{ContainerRecord, Dirs, ProcessSpec, Status};
use crate::user_namespace;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;
use rustix::thread::CapabilitySet;
use std::sync::Arc;
use std::time::Duration;
use sys::namespace::Namespaces;
use sys::process::SpawnError;
use sys::seccomp::Instruction;

/// How long a process may take until its program is executed.
const EXEC_TIMEOUT: Duration = Duration::from_secs(60);

/// What to run in a container that runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExecConfig {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// On a terminal of its own.
    pub tty: bool,
    /// Rows and columns of that terminal, which are set while the program is still being prepared.
    pub size: Option<(u16, u16)>,
    /// Variables besides the container's.
    pub env: Vec<(String, String)>,
}

/// Its input and output; not used with a terminal.
#[derive(Debug, Clone, Copy)]
pub struct ExecStdio<'a> {
    /// `/dev/null` if none.
    pub stdin: Option<BorrowedFd<'a>>,
    /// Output.
    pub stdout: BorrowedFd<'a>,
    /// Errors.
    pub stderr: BorrowedFd<'a>,
}

/// A process that runs in a container, a child of the caller.
#[derive(Debug)]
pub struct ExecProcess {
    /// In the caller's pid namespace.
    pub pid: Pid,
    /// The same.
    pub pidfd: OwnedFd,
    /// The master of its terminal.
    pub terminal: Option<OwnedFd>,
}

impl ExecProcess {
    /// Its exit code, or 128 and the signal; none as long as it runs.
    pub fn try_wait(&self) -> Result<Option<i32>> {
        let Some(status) = wait(self.pidfd.as_fd(), false)? else { return Ok(None) };
        let signal = status.terminating_signal().map(|signal| 128 + signal);
        Ok(Some(status.exit_status().or(signal).unwrap_or(255)))
    }

    /// Waits for its end: its exit code, or 128 and the signal.
    pub fn wait(&self) -> Result<i32> {
        loop {
            if let Some(code) = self.try_wait()? {
                return Ok(code);
            }
            wait_for_end(self.pidfd.as_fd(), Duration::from_secs(3600))?;
        }
    }
}

/// A process on its way to its program: a child of the caller in the container, of which is not known yet whether it can
/// execute it. Dropping it leaves the process alone.
#[derive(Debug)]
pub struct Execution {
    id: String,
    process: sys::process::Child,
    terminal: Option<OwnedFd>,
    channel: OwnedFd,
}

impl Execution {
    /// Its process, in the caller's pid namespace.
    pub fn pid(&self) -> Pid {
        self.process.pid
    }

    /// The same.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.process.pidfd.as_fd()
    }

    /// Waits until the program is executed; false if that is not known within the time.
    ///
    /// # Errors
    /// It cannot be ([`Error::Execute`] with the exit code to give): then the process ends, and is still to be waited for.
    pub fn wait(&self, within: Duration) -> Result<bool> {
        let heard = channel::receive(self.channel.as_fd(), within);
        match heard.map_err(Error::system("hear from the process"))? {
            Heard::End => Ok(true),
            Heard::Report(report, _) => Err(error_of(&self.id, report)),
            Heard::Silence => Ok(false),
        }
    }

    /// The process that runs the program: after [`Execution::wait`] has said that it does.
    pub fn into_process(self) -> ExecProcess {
        ExecProcess { pid: self.process.pid, pidfd: self.process.pidfd, terminal: self.terminal }
    }
}

/// Runs a command in a container: in its cgroup, namespaces, root, with its user, variables, capabilities and
/// filter. Returns once the program is executed; if it cannot be, that is [`Error::Execute`] with the exit
/// code to give.
///
/// The calling process must have one thread, and should run from a read-only path
/// ([`sys::process::ensure_read_only_exe`]): until execve its child can be seen from inside.
pub fn exec(dirs: &Dirs, id: &str, config: &ExecConfig, stdio: ExecStdio<'_>) -> Result<ExecProcess> {
    let record = crate::control::status(dirs, id)?;
    let spec = running(&record)?;
    point("exec.open")?;
    let init = record.init.map(|init| init.open()).transpose()?.flatten();
    let init = init.ok_or_else(|| not_running(&record))?;
    let way =
        Way::open(dirs, &Cgroup::at(&read_hierarchies()?, &record.cgroup)?, &record, spec, init.as_fd())?;
    let execution = begin_exec(&record, spec, &way, init.as_fd(), config, stdio)?;
    match execution.wait(EXEC_TIMEOUT) {
        Ok(true) => Ok(execution.into_process()),
        Ok(false) => {
            end(id, &execution.process)?;
            let before = "execute the program";
            Err(Error::ChildStuck { id: id.to_owned(), before, seconds: EXEC_TIMEOUT.as_secs() })
        }
        Err(error) => {
            end(id, &execution.process)?;
            Err(error)
        }
    }
}

impl Container {
    /// As [`exec()`], for who must not wait, as far as it goes without: the process is made, and the rest is [`Execution`]'s.
    /// The machine's mount table, which may be long, is not read. (With a terminal it is waited for that.)
    ///
    /// What is the same each time is kept from the first to the next: a dozen descriptors and the filter.
    pub fn begin_exec(&mut self, config: &ExecConfig, stdio: ExecStdio<'_>) -> Result<Execution> {
        let spec = running(&self.record)?;
        if wait_for_end(self.pidfd.as_fd(), Duration::ZERO)? {
            return Err(not_running(&self.record));
        }
        point("exec.open")?;
        let init = self.pidfd.as_fd();
        let way = match self.way.take() {
            Some(way) => way,
            None => Box::new(Way::open(&self.dirs, &self.cgroup, &self.record, spec, init)?),
        };
        let way = &*self.way.insert(way);
        begin_exec(&self.record, spec, way, init, config, stdio)
    }
}

/// What every process that is made in a container needs of this machine.
#[derive(Debug)]
pub(crate) struct Way {
    cgroup: Cgroup,
    entrance: Entrance,
    pid_namespace: OwnedFd,
    null: OwnedFd,
    seccomp: Option<Arc<[Instruction]>>,
}

impl Way {
    fn open(
        dirs: &Dirs,
        cgroup: &Cgroup,
        record: &ContainerRecord,
        spec: &ProcessSpec,
        init: BorrowedFd<'_>,
    ) -> Result<Way> {
        let pid = pid_of(record)?;
        // By number, which is still the container's as long as the pidfd says that it lives: asked below.
        let pid_namespace = sys::namespace::open_of(pid, "pid")
            .map_err(Error::system("open the container's pid namespace"))?;
        sys::process::send_signal(init, 0).map_err(Error::system("look whether the container still runs"))?;
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
            .map_err(Error::system("open /dev/null"))?;
        let capabilities = CapabilitySet::from_bits_retain(spec.capabilities);
        Ok(Way {
            entrance: cgroup.entrance()?,
            cgroup: cgroup.clone(),
            pid_namespace,
            null,
            seccomp: seccomp_program(dirs, &spec.seccomp, capabilities)?,
        })
    }
}

/// How to make processes in a container that runs by its record.
fn running(record: &ContainerRecord) -> Result<&ProcessSpec> {
    match (record.status, &record.process) {
        (Status::Running, Some(spec)) => Ok(spec),
        _ => Err(not_running(record)),
    }
}

fn not_running(record: &ContainerRecord) -> Error {
    let is = record.status.in_words().to_owned();
    Error::WrongState { id: record.id.clone(), is, wanted: Status::Running.in_words() }
}

fn pid_of(record: &ContainerRecord) -> Result<Pid> {
    let pid = record.init.and_then(|init| Pid::from_raw(init.pid));
    pid.ok_or(Error::NotFound { kind: "process of container", id: record.id.clone() })
}

fn begin_exec(
    record: &ContainerRecord,
    spec: &ProcessSpec,
    way: &Way,
    init: BorrowedFd<'_>,
    config: &ExecConfig,
    stdio: ExecStdio<'_>,
) -> Result<Execution> {
    let program = program(config, spec, way.seccomp.clone())?;
    let (process, terminal, channel) = start(record, way, init, &program, stdio)?;
    if let (Some(master), Some((ws_row, ws_col))) = (&terminal, config.size) {
        let size = rustix::termios::Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(master, size).map_err(Error::system("set the size of the terminal"))?;
    }
    set_oom_score(process.pid, i64::from(spec.oom_score_adj), &mut Vec::new());
    Ok(Execution { id: record.id.clone(), process, terminal, channel })
}

fn point(name: &'static str) -> Result<()> {
    fault::point(name).map_err(Error::system(name))
}

fn program(config: &ExecConfig, spec: &ProcessSpec, seccomp: Option<Arc<[Instruction]>>) -> Result<Program> {
    let has_nul = |text: &String| text.contains('\0');
    if config.command.is_empty() || config.command.iter().any(has_nul) {
        return Err(Error::Config { field: "command", reason: "empty, or with a NUL in it".to_owned() });
    }
    let mut env = spec.env.clone();
    if config.tty && !env.iter().any(|line| line.starts_with("TERM=")) {
        env.push("TERM=xterm".to_owned());
    }
    for (name, value) in &config.env {
        env.retain(|line| line.split('=').next() != Some(name));
        env.push(format!("{name}={value}"));
    }
    if env.iter().any(has_nul) {
        return Err(Error::Config { field: "env", reason: "a variable contains a NUL".to_owned() });
    }
    Ok(Program {
        argv: config.command.clone(),
        env,
        cwd: spec.cwd.clone(),
        make_cwd: false,
        identity: Identity::Known(spec.user.clone()),
        capabilities: CapabilitySet::from_bits_retain(spec.capabilities),
        no_new_privs: spec.no_new_privs,
        seccomp,
        app_armor: spec.app_armor.clone(),
        se_linux: spec.se_linux.clone(),
        terminal: config.tty,
        console: false,
        give_stdio: false,
        wait: false,
    })
}

/// Clones the process into the container's pid namespace and cgroup; it enters the rest itself.
fn start(
    record: &ContainerRecord,
    way: &Way,
    init: BorrowedFd<'_>,
    program: &Program,
    stdio: ExecStdio<'_>,
) -> Result<(sys::process::Child, Option<OwnedFd>, OwnedFd)> {
    let null = way.null.as_fd();
    let descriptors = match program.terminal {
        true => [null; 3],
        false => [stdio.stdin.unwrap_or(null), stdio.stdout, stdio.stderr],
    };
    if let Some(base) = record.user_base {
        user_namespace::give_pipes(descriptors, base)
            .map_err(Error::system("give a pipe to the pod's root"))?;
    }
    let (ours, theirs) = channel::pair().map_err(Error::system("make a socket pair"))?;
    point("exec.clone")?;
    let enter = || {
        let fail = |step| move |errno| StepFailure::new(step, errno);
        fault::point("child.namespaces").map_err(fail(Step::Namespaces))?;
        way.entrance.enter_v1().map_err(fail(Step::Cgroup))?;
        if record.user_base.is_none() {
            return sys::namespace::enter_of(init, ENTERED).map_err(fail(Step::Namespaces));
        }
        sys::namespace::enter_of(init, ENTERED.union(Namespaces::USER))
            .and_then(|()| user_namespace::become_root())
            .map_err(fail(Step::Namespaces))
    };
    let run = || child::run(theirs.as_fd(), descriptors, program, enter, || Ok(()));
    let v2 = way.entrance.v2.as_ref().map(AsFd::as_fd);
    let child = match spawn_in(way.pid_namespace.as_fd(), v2, run) {
        // The container has made cgroups of its own and gives them controllers, so that its own has no
        // processes: then into that of its first process.
        Err(SpawnError::Clone(Errno::BUSY)) => {
            let inner = way.cgroup.open_inner_v2(pid_of(record)?.as_raw_nonzero().get())?;
            spawn_in(way.pid_namespace.as_fd(), inner.as_ref().map(AsFd::as_fd), run)
        }
        other => other,
    };
    let child = child.map_err(|source| Error::Spawn { id: record.id.clone(), source })?;
    drop(theirs);
    let mut terminal = None;
    if program.terminal {
        match channel::receive(ours.as_fd(), EXEC_TIMEOUT).map_err(Error::system("hear from the process"))? {
            Heard::Report(Report::Terminal, master) => terminal = master,
            Heard::Report(report, _) => {
                end(&record.id, &child)?;
                return Err(error_of(&record.id, report));
            }
            Heard::End | Heard::Silence => {
                end(&record.id, &child)?;
                let before = "open a terminal";
                return Err(Error::ChildDied { id: record.id.clone(), before, how: "unknown".to_owned() });
            }
        }
    }
    Ok((child, terminal, ours))
}

/// All that a container can have of its own but the pid namespace, which the child is in already. The node's
/// own namespaces are entered too where the container has them, which changes nothing.
const ENTERED: Namespaces = Namespaces::MOUNT
    .union(Namespaces::CONTROL_GROUP)
    .union(Namespaces::HOST_NAME_AND_NIS_DOMAIN_NAME)
    .union(Namespaces::INTER_PROCESS_COMMUNICATION)
    .union(Namespaces::NETWORK);
