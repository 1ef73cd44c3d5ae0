//! Containers: CRI's CreateContainer and StartContainer, and what the supervisor holds of one.

use crate::app_armor;
use crate::assurance;
use crate::capability;
use crate::cgroup::{Cgroup, Devices, Limits};
use crate::channel::{self, Heard, Report};
use crate::child::{self, Identity, Program};
use crate::control::read_hierarchies;
use crate::error::{Error, Result, START_ERROR_EXIT_CODE, Step, StepFailure};
use crate::exec::Way;
use crate::fault;
use crate::io::{Io, io, output_pipes, reopen, stdio};
use crate::mounts::{CgroupView, MountRequest, Prepared, REDO_MAX, Verdict, prepare};
use crate::program::{
    argv, config_error, environment, limits, refuse_nul, seccomp_of, seccomp_program, stop_signal,
    user_request, working_directory,
};
use crate::sandbox::Sandbox;
use crate::state::{
    ContainerRecord, Dirs, Exit, Liveness, ProcessId, ProcessSpec, Status, make_private_directory, new_id,
};
use crate::user::User;
use crate::user_namespace;
use crate::{se_linux, signal};
use jiff::Timestamp;
use manifest::cri::ContainerConfig;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::process::{Pid, WaitId, WaitIdOptions, WaitIdStatus};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the first process may take for each of its two ways (to be ready; to execute the program). Longer
/// than any file system should take, shorter than a dead one.
const CHILD_TIMEOUT: Duration = Duration::from_secs(60);

/// A container, held by the process that created it and is its parent.
#[derive(Debug)]
pub struct Container {
    /// Its id: 64 hexadecimal digits.
    pub id: String,
    /// Its first process, in the supervisor's pid namespace.
    pub pid: Pid,
    /// The same.
    pub pidfd: OwnedFd,
    /// Its input and output.
    pub io: Io,
    /// What was limited by this machine instead of failing, for the user to know.
    pub warnings: Vec<String>,
    pub(crate) dirs: Dirs,
    pub(crate) record: ContainerRecord,
    pub(crate) cgroup: Cgroup,
    /// For further processes in it, from the first of them on.
    pub(crate) way: Option<Box<Way>>,
    /// Until the start.
    channel: Option<OwnedFd>,
    /// Not our child: taken over from a supervisor that is gone.
    adopted: bool,
}

/// What is decided before any process is made.
struct Plan {
    id: String,
    program: Program,
    limits: Limits,
    /// SELinux label of the file systems that are made for it.
    file_label: Option<String>,
    stop_signal: i32,
    oom_score_adj: i64,
    warnings: Vec<String>,
}

/// A child that says it is ready.
struct Ready {
    child: sys::process::Child,
    process: ProcessId,
    user: User,
    channel: OwnedFd,
    io: Io,
}

impl Sandbox {
    /// CreateContainer: everything up to, not including, execve(2). In order:
    /// 1. what can be wrong with the configuration is found before anything is made;
    /// 2. the state directory and a record "creating";
    /// 3. the cgroup, with its limits;
    /// 4. the mounts are planned, the first process is cloned into its cgroup and namespaces, makes the
    ///    mounts and gets ready; again, a bounded number of times, if the host's mounts changed meanwhile;
    /// 5. the record "created".
    ///
    /// On failure nothing is left.
    pub fn create_container(&self, config: &ContainerConfig, image: &image::Image) -> Result<Container> {
        let plan = self.plan(config, image)?;
        let cgroup = Cgroup::at(self.hierarchies(), &format!("{}/{}", self.config().cgroup_parent, plan.id))?;
        let mut record = ContainerRecord {
            id: plan.id.clone(),
            sandbox_id: self.id().to_owned(),
            status: Status::Creating,
            init: None,
            own_pid_namespace: self.gives_own_pid_namespace() && config.pid_target.is_none(),
            user_base: self.record().user_base,
            cgroup: cgroup.path().to_owned(),
            process: None,
            output_pipes: None,
            stop_signal: plan.stop_signal,
            created_at: Timestamp::now(),
            started_at: None,
            exit: None,
            config: config.clone(),
        };
        match self.create(&plan, &cgroup, &mut record, image) {
            Ok((ready, warnings)) => Ok(Container {
                id: plan.id,
                pid: ready.child.pid,
                pidfd: ready.child.pidfd,
                io: ready.io,
                warnings,
                dirs: self.dirs().clone(),
                record,
                cgroup,
                way: None,
                channel: Some(ready.channel),
                adopted: false,
            }),
            Err(error) => {
                if let Err(left) = crate::control::discard(self.dirs(), self.id(), &plan.id, &cgroup) {
                    tracing::warn!(container = plan.id, error = %left, "a container that could not be created left something");
                }
                Err(error)
            }
        }
    }

    /// Steps 2 to 5 of [`Sandbox::create_container`].
    fn create(
        &self,
        plan: &Plan,
        cgroup: &Cgroup,
        record: &mut ContainerRecord,
        image: &image::Image,
    ) -> Result<(Ready, Vec<String>)> {
        point("create.state")?;
        let entry = self.dirs().members_of(self.id()).join(&plan.id);
        std::fs::write(&entry, "").map_err(Error::file("write", &entry))?;
        make_private_directory(&self.dirs().state_of(&plan.id))?;
        record.write(self.dirs())?;
        point("create.cgroup")?;
        cgroup.create()?;
        cgroup.limit(&plan.limits)?;
        let ready = self.first_process(plan, cgroup, &record.config, image).map_err(|error| {
            match (&error, cgroup.oom_kills()) {
                (Error::ChildDied { .. }, 1..) => Error::NoMemory {
                    id: plan.id.clone(),
                    bytes: plan.limits.memory_bytes,
                    source: Box::new(error),
                },
                _ => error,
            }
        })?;
        check(plan, &ready, self.record().user_base)?;
        let mut warnings = plan.warnings.clone();
        let oom_score_adj = set_oom_score(ready.child.pid, plan.oom_score_adj, &mut warnings);
        point("create.record")?;
        record.status = Status::Created;
        record.init = Some(ready.process);
        record.output_pipes = output_pipes(&ready.io)?;
        record.process = Some(ProcessSpec {
            user: ready.user.clone(),
            env: plan.program.env.clone(),
            cwd: plan.program.cwd.clone(),
            capabilities: plan.program.capabilities.bits(),
            no_new_privs: plan.program.no_new_privs,
            seccomp: seccomp_of(&record.config),
            app_armor: plan.program.app_armor.clone(),
            se_linux: plan.program.se_linux.clone(),
            oom_score_adj,
        });
        record.write(self.dirs())?;
        for warning in &warnings {
            tracing::warn!(container = record.config.name, "{warning}");
        }
        Ok((ready, warnings))
    }

    /// Step 1.
    fn plan(&self, config: &ContainerConfig, image: &image::Image) -> Result<Plan> {
        let security = &config.security_context;
        let mut warnings = Vec::new();
        let bounding = capability::read_bounding_set().map_err(Error::system("read the bounding set"))?;
        let capabilities = capability::resolve(&security.capabilities, security.privileged, bounding)
            .map_err(|name| config_error("capabilities", format!("unknown capability {name:?}")))?;
        if !capabilities.unavailable.is_empty() {
            let names = capability::names(capabilities.unavailable).join(", ");
            warnings.push(format!("this machine does not have {names} to give"));
        }
        let (labels, unlabelled) = se_linux::labels(security.selinux_options.as_ref());
        warnings.extend(unlabelled);
        let stop_signal = stop_signal(config, image)?;
        let devices = if security.privileged { Devices::All } else { Devices::Usual };
        let program = Program {
            argv: argv(config, image)?,
            env: environment(config, image, &self.config().hostname),
            cwd: working_directory(config, image),
            make_cwd: true,
            identity: Identity::Asked(user_request(config, image, self.record().user_base)?),
            capabilities: capabilities.set,
            no_new_privs: security.no_new_privs,
            seccomp: seccomp_program(self.dirs(), &seccomp_of(config), capabilities.set)?,
            app_armor: app_armor::profile(&security.apparmor)?,
            se_linux: labels.as_ref().map(|labels| labels.process.clone()),
            terminal: config.tty,
            console: config.tty,
            give_stdio: true,
            wait: true,
        };
        refuse_nul(&program)?;
        Ok(Plan {
            id: new_id()?,
            program,
            limits: limits(&config.resources, devices),
            file_label: labels.map(|labels| labels.files),
            stop_signal,
            oom_score_adj: config.resources.oom_score_adj,
            warnings,
        })
    }

    /// Step 4.
    fn first_process(
        &self,
        plan: &Plan,
        cgroup: &Cgroup,
        config: &ContainerConfig,
        image: &image::Image,
    ) -> Result<Ready> {
        let view = cgroup_view(cgroup, self.hierarchies().is_v2_only());
        let data = self.dirs().data_of(&plan.id);
        make_private_directory(&self.dirs().data)?;
        make_private_directory(&data)?;
        let mut changed = PathBuf::new();
        for attempt in 0..REDO_MAX {
            let writable = data.join(attempt.to_string());
            make_writable_layer(&writable)?;
            point("create.mounts.prepare")?;
            let prepared = prepare(&MountRequest {
                layers: &image.layers,
                writable: &writable,
                staging: &self.dirs().state_of(&plan.id),
                config,
                shm: self.shm(),
                cgroup: &view,
                users: self.users().as_ref(),
                file_label: plan.file_label.as_deref(),
            })?;
            let ready = self.spawn(plan, cgroup, config, &prepared)?;
            point("create.mounts.verify")?;
            match prepared.verify(ready.child.pid)? {
                Verdict::AsPlanned => return Ok(ready),
                Verdict::Mismatch(mismatch) => {
                    tracing::error!(container = plan.id, %mismatch, "the mounts are not what the model says: a bug in rhizome");
                    // Where such bugs are looked for it must not be passed over.
                    if cfg!(debug_assertions) {
                        end(&plan.id, &ready.child)?;
                        let differences = vec![mismatch.to_string()];
                        return Err(Error::NotAsPlanned { id: plan.id.clone(), differences });
                    }
                    return Ok(ready);
                }
                Verdict::Redo { source } => {
                    tracing::debug!(container = plan.id, source = %source.display(), "the host's mounts changed: again");
                    end(&plan.id, &ready.child)?;
                    crate::removal::remove_tree(&writable)
                        .map_err(|errno| Error::file("remove", &writable)(errno.into()))?;
                    changed = source;
                }
            }
        }
        Err(Error::MountsChange { source_path: changed, attempts: REDO_MAX })
    }

    /// The pid namespace of another container of this sandbox, which runs.
    fn open_pid_target(&self, id: &str) -> Result<OwnedFd> {
        let record = crate::control::status(self.dirs(), id)?;
        let runs = record.status == Status::Running && record.sandbox_id == self.id();
        let init = record.init.filter(|_| runs).and_then(|init| Some((init, Pid::from_raw(init.pid)?)));
        let not_running =
            || config_error("target container", format!("container {id} of this pod is not running"));
        let (process, pid) = init.ok_or_else(not_running)?;
        let pidfd = process.open()?.ok_or_else(not_running)?;
        let namespace =
            sys::namespace::open_of(pid, "pid").map_err(Error::system("open the target's pid namespace"))?;
        // By number, which was still the target's as long as the pidfd says that it lives.
        sys::process::send_signal(pidfd.as_fd(), 0).map_err(|_| not_running())?;
        Ok(namespace)
    }

    fn spawn(
        &self,
        plan: &Plan,
        cgroup: &Cgroup,
        config: &ContainerConfig,
        prepared: &Prepared,
    ) -> Result<Ready> {
        let (ours, theirs) = channel::pair().map_err(Error::system("make a socket pair"))?;
        let stdio = stdio(config)?;
        if let Some(base) = self.record().user_base {
            let theirs = stdio.theirs.each_ref().map(AsFd::as_fd);
            user_namespace::give_pipes(theirs, base)
                .map_err(Error::system("give a pipe to the pod's root"))?;
        }
        let entrance = cgroup.entrance()?;
        let own_cgroup_namespace = self.hierarchies().is_v2_only();
        point("create.clone")?;
        let target = config.pid_target.as_deref().map(|id| self.open_pid_target(id)).transpose()?;
        let target = target.as_ref().map(AsFd::as_fd);
        let child = self.clone_child(target, entrance.v2.as_ref().map(AsFd::as_fd), || {
            let [stdin, stdout, stderr] = &stdio.theirs;
            child::run(
                theirs.as_fd(),
                [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()],
                &plan.program,
                || {
                    fault::point("child.cgroup").map_err(|errno| StepFailure::new(Step::Cgroup, errno))?;
                    entrance.enter_v1().map_err(|errno| StepFailure::new(Step::Cgroup, errno))?;
                    self.enter_namespaces(own_cgroup_namespace)
                },
                || build(prepared),
            )
        });
        let child = child.map_err(|source| Error::Spawn { id: plan.id.clone(), source })?;
        drop(theirs);
        drop(stdio.theirs);
        match wait_until_ready(&plan.id, ours.as_fd(), &child) {
            Ok((user, master)) => {
                let process = ProcessId::of_child(child.pid)?;
                let io = io(stdio.ours, master, config.tty)?;
                Ok(Ready { child, process, user, channel: ours, io })
            }
            Err(error) => {
                end(&plan.id, &child)?;
                Err(error)
            }
        }
    }
}

fn point(name: &'static str) -> Result<()> {
    fault::point(name).map_err(Error::system(name))
}

/// Whoever has more than was planned is not started.
fn check(plan: &Plan, ready: &Ready, user_base: Option<u32>) -> Result<()> {
    let program = &plan.program;
    let expected = assurance::Expected {
        user: &ready.user,
        user_base: user_base.unwrap_or(0),
        capabilities: program.capabilities,
        no_new_privs: program.no_new_privs,
        filtered: program.seccomp.is_some(),
    };
    let differences = assurance::differences(ready.child.pid, &expected);
    if differences.is_empty() {
        return Ok(());
    }
    end(&plan.id, &ready.child)?;
    Err(Error::NotAsPlanned { id: plan.id.clone(), differences })
}

/// In the child.
fn build(prepared: &Prepared) -> Result<(), StepFailure> {
    fault::point("child.mounts").map_err(|errno| StepFailure::new(Step::Mounts, errno))?;
    prepared.build().map_err(|error| {
        let hint = error.hint();
        let mut message = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        StepFailure { step: Step::Mounts, path: None, errno: None, message, hint }
    })
}

/// Waits for the child's "ready", taking its terminal on the way.
fn wait_until_ready(
    id: &str,
    channel: BorrowedFd<'_>,
    child: &sys::process::Child,
) -> Result<(User, Option<OwnedFd>)> {
    let before = "get ready";
    let mut master = None;
    // A terminal and a ready at most.
    for _ in 0..2 {
        match receive(id, channel, before)? {
            Heard::Report(Report::Terminal, fd) => master = fd,
            Heard::Report(Report::Ready(user), _) => return Ok((user, master)),
            Heard::Report(report, _) => return Err(error_of(id, report)),
            Heard::End | Heard::Silence => break,
        }
    }
    let how = describe(wait(child.pidfd.as_fd(), true)?);
    Err(Error::ChildDied { id: id.to_owned(), before, how })
}

fn receive(id: &str, channel: BorrowedFd<'_>, before: &'static str) -> Result<Heard> {
    match channel::receive(channel, CHILD_TIMEOUT)
        .map_err(Error::system("hear from the container's first process"))?
    {
        Heard::Silence => {
            Err(Error::ChildStuck { id: id.to_owned(), before, seconds: CHILD_TIMEOUT.as_secs() })
        }
        heard => Ok(heard),
    }
}

/// The error that a child's report is.
pub(crate) fn error_of(id: &str, report: Report) -> Error {
    match report {
        Report::Failed(source) => Error::Child { id: id.to_owned(), source },
        Report::NotExecuted { message, exit_code } => Error::Execute { message, exit_code },
        Report::Terminal | Report::Ready(_) => Error::ChildDied {
            id: id.to_owned(),
            before: "be understood",
            how: "it said something out of order".to_owned(),
        },
    }
}

/// Kills a child that was not started yet and takes its exit status. One that does not die (stuck in a dead
/// file system) is left to the cgroup's removal, which reports it.
pub(crate) fn end(id: &str, child: &sys::process::Child) -> Result<()> {
    let _ = sys::process::send_signal(child.pidfd.as_fd(), signal::KILL);
    if wait_for_end(child.pidfd.as_fd(), Duration::from_secs(5))? {
        match rustix::process::waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED) {
            // Its end was seen before: then that is what there is to say.
            Ok(_) | Err(rustix::io::Errno::CHILD) => {}
            Err(errno) => return Err(Error::system("wait for a process")(errno)),
        }
    } else {
        tracing::warn!(container = id, pid = child.pid.as_raw_nonzero(), "a killed process does not end");
    }
    Ok(())
}

/// Whether a process ends within the time.
pub(crate) fn wait_for_end(pidfd: BorrowedFd<'_>, timeout: Duration) -> Result<bool> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let deadline = std::time::Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        match poll(&mut [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)], Some(&left)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(Error::system("wait for a process")(errno)),
        }
    }
}

/// waitid(2) by pidfd. None if it has not ended and `block` is not set.
pub(crate) fn wait(pidfd: BorrowedFd<'_>, block: bool) -> Result<Option<WaitIdStatus>> {
    let options = WaitIdOptions::EXITED | if block { WaitIdOptions::empty() } else { WaitIdOptions::NOHANG };
    loop {
        match rustix::process::waitid(WaitId::PidFd(pidfd), options) {
            Ok(status) => return Ok(status),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(Error::system("wait for a process")(errno)),
        }
    }
}

fn describe(status: Option<WaitIdStatus>) -> String {
    let Some(status) = status else { return "unknown".to_owned() };
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (_, Some(signal)) => format!("signal {signal}"),
        _ => "unknown".to_owned(),
    }
}

fn cgroup_view(cgroup: &Cgroup, v2_only: bool) -> CgroupView {
    if v2_only {
        return CgroupView::V2;
    }
    let hierarchies: Vec<(String, PathBuf)> = cgroup
        .directories()
        .filter_map(|(hierarchy, dir)| {
            let name = hierarchy.mount_point.file_name()?.to_str()?.to_owned();
            Some((name, dir))
        })
        .collect();
    if hierarchies.is_empty() { CgroupView::None } else { CgroupView::V1 { hierarchies } }
}

/// The upper directory is the container's root directory: anyone in there must be able to walk through it,
/// whatever our umask. Others are kept away by the directory above.
fn make_writable_layer(path: &Path) -> Result<()> {
    let upper = path.join("upper");
    std::fs::create_dir_all(&upper).map_err(Error::file("make directory", &upper))?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&upper, mode).map_err(Error::file("change the mode of", &upper))
}

/// Sets what this machine permits, and says where that is less: lowering the score needs `CAP_SYS_RESOURCE`.
pub(crate) fn set_oom_score(pid: Pid, wanted: i64, warnings: &mut Vec<String>) -> i32 {
    let wanted = wanted.clamp(-1000, 1000) as i32;
    let path = format!("/proc/{}/oom_score_adj", pid.as_raw_nonzero());
    match std::fs::write(&path, wanted.to_string()) {
        Ok(()) => wanted,
        Err(error) => {
            let is =
                std::fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
            warnings.push(format!("oom_score_adj stays {is} instead of {wanted}: {error}"));
            is
        }
    }
}

impl Container {
    /// StartContainer: the program is executed. The record says "running" before it does, so that whoever
    /// looks after a crash of the supervisor is told the truth. If it cannot be executed the container has
    /// exited, with [`START_ERROR_EXIT_CODE`], and the error says why.
    pub fn start(&mut self) -> Result<()> {
        let Some(channel) = self.channel.take() else {
            return Err(Error::WrongState {
                id: self.id.clone(),
                is: self.record.status.in_words().to_owned(),
                wanted: Status::Created.in_words(),
            });
        };
        point("start.record")?;
        self.record.status = Status::Running;
        self.record.started_at = Some(Timestamp::now());
        self.record.write(&self.dirs)?;
        point("start.go")?;
        let started = channel::send_start(channel.as_fd())
            .map_err(Error::system("start the container's first process"))
            .and_then(|()| receive(&self.id, channel.as_fd(), "execute the program"));
        let error = match started {
            Ok(Heard::Report(report, _)) => error_of(&self.id, report),
            Ok(Heard::End | Heard::Silence) => return Ok(()),
            Err(error) => error,
        };
        end(&self.id, &sys::process::Child { pid: self.pid, pidfd: clone_fd(&self.pidfd)? })?;
        self.record.status = Status::Exited;
        self.record.exit = Some(Exit {
            code: Some(START_ERROR_EXIT_CODE),
            signal: None,
            oom_killed: false,
            at: Some(Timestamp::now()),
            start_error: Some(error.to_string()),
        });
        self.record.write(&self.dirs)?;
        Err(error)
    }

    /// Takes the exit status if the first process has ended, and writes it down before it answers. What else
    /// is in the container is killed: by the kernel in a pid namespace of its own, by its cgroup otherwise.
    pub fn try_wait(&mut self) -> Result<Option<Exit>> {
        if let Some(exit) = &self.record.exit {
            return Ok(Some(exit.clone()));
        }
        let Some((code, signal)) = self.ended()? else { return Ok(None) };
        let exit = Exit {
            code,
            signal,
            oom_killed: self.cgroup.oom_kills() > 0,
            at: Some(Timestamp::now()),
            start_error: None,
        };
        self.record.status = Status::Exited;
        self.record.exit = Some(exit.clone());
        match self.record.write(&self.dirs) {
            // Somebody has removed the container meanwhile, and its record with it.
            Err(Error::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
            other => other?,
        }
        if !self.record.own_pid_namespace {
            self.cgroup.kill()?;
        }
        Ok(Some(exit))
    }

    /// The exit code and signal once the first process has ended; both unknown for a process that is not our
    /// child, on a kernel that does not tell.
    fn ended(&self) -> Result<Option<(Option<i32>, Option<i32>)>> {
        if !self.adopted {
            let Some(status) = wait(self.pidfd.as_fd(), false)? else { return Ok(None) };
            let signal = status.terminating_signal();
            return Ok(Some((status.exit_status().or(signal.map(|signal| 128 + signal)), signal)));
        }
        if !wait_for_end(self.pidfd.as_fd(), Duration::ZERO)? {
            return Ok(None);
        }
        let told = sys::process::exit_status_of(self.pidfd.as_fd());
        let status = match (told, self.record.init.map(|init| init.look()).transpose()?) {
            (Some(status), _) | (None, Some(Liveness::Ended { wait_status: status })) => status,
            _ => return Ok(Some((None, None))),
        };
        let signal = Some(status & 0x7f).filter(|signal| *signal != 0);
        Ok(Some((Some(signal.map_or((status >> 8) & 0xff, |signal| 128 + signal)), signal)))
    }

    /// Takes over a container that runs and whose supervisor is gone. Its output pipes are opened anew, where
    /// its first process still has them. Its standard input has ended with its supervisor, and so has its
    /// terminal if it had one: nothing more is to be read from that. `None` if it does not run.
    ///
    /// # Errors
    /// Its record cannot be read, or no descriptors are left.
    pub fn adopt(dirs: &Dirs, id: &str) -> Result<Option<Container>> {
        let record = crate::control::status(dirs, id)?;
        let runs = record.status == Status::Running;
        let Some(init) = record.init.filter(|_| runs) else { return Ok(None) };
        let (Some(pidfd), Some(pid)) = (init.open()?, Pid::from_raw(init.pid)) else { return Ok(None) };
        let hierarchies = read_hierarchies()?;
        let cgroup = Cgroup::at(&hierarchies, &record.cgroup)?;
        let pipes = record.output_pipes;
        let open = |descriptor: usize| reopen(pid, descriptor + 1, pipes.map(|pipes| pipes[descriptor]));
        let io = Io::Pipes { stdin: None, stdout: open(0)?, stderr: open(1)? };
        Ok(Some(Container {
            id: id.to_owned(),
            pid,
            pidfd,
            io,
            warnings: Vec::new(),
            dirs: dirs.clone(),
            record,
            cgroup,
            way: None,
            channel: None,
            adopted: true,
        }))
    }

    /// As [`Container::try_wait`], but waits.
    pub fn wait(&mut self) -> Result<Exit> {
        loop {
            if let Some(exit) = self.try_wait()? {
                return Ok(exit);
            }
            wait_for_end(self.pidfd.as_fd(), Duration::from_secs(3600))?;
        }
    }

    /// What is on record.
    pub fn record(&self) -> &ContainerRecord {
        &self.record
    }
}

fn clone_fd(fd: &OwnedFd) -> Result<OwnedFd> {
    fd.try_clone().map_err(|source| Error::System { action: "duplicate a file descriptor", source })
}
