//! What a container's first process, or an exec'd one, does between clone3 and execve. Everything here runs
//! in the child; every failure goes to whoever started it as a [`StepFailure`].
//!
//! The steps, in an order that matters:
//! 1. signals, not dumpable (nobody in the container can look into this process or through its
//!    `/proc/PID/exe` and `/proc/PID/fd` without being root of the machine already), a session and a keyring
//!    of its own; the AppArmor profile or SELinux label for execve(2), by the host's `/proc`;
//! 2. the cgroups and namespaces (the caller's closure `enter`);
//! 3. every descriptor but stdio and the channel is closed, before anything of the image is looked at
//!    (CVE-2024-21626 was a working directory given through one that was left open);
//! 4. the mounts (the caller's closure `inside`);
//! 5. the terminal, out of the container's own devpts;
//! 6. who it will be, by the image's own passwd and group;
//! 7. the working directory;
//! 8. bounding capabilities, no_new_privs, the seccomp filter (loaded while `CAP_SYS_ADMIN` is there, so that
//!    no_new_privs is not needed for it), groups, ids, capabilities;
//! 9. "ready", and the wait for the start;
//! 10. the working directory is checked to be below the root, the program looked up in `PATH`, execve(2).

use crate::app_armor;
use crate::channel::{self, Report};
use crate::error::{Step, StepFailure};
use crate::fault;
use crate::se_linux;
use crate::user::{self, User, UserRequest};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{Access, AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};
use std::convert::Infallible;
use std::ffi::CString;
use std::path::Path;
use std::sync::Arc;
use sys::seccomp::Instruction;

/// Who the process will be.
#[derive(Debug, Clone)]
pub(crate) enum Identity {
    /// To be looked up in the image.
    Asked(UserRequest),
    /// Looked up before.
    Known(User),
}

/// What will run, and as what.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) argv: Vec<String>,
    pub(crate) env: Vec<String>,
    pub(crate) cwd: String,
    /// Whether a missing working directory is made.
    pub(crate) make_cwd: bool,
    pub(crate) identity: Identity,
    pub(crate) capabilities: CapabilitySet,
    pub(crate) no_new_privs: bool,
    pub(crate) seccomp: Option<Arc<[Instruction]>>,
    /// AppArmor profile to change to at execve(2).
    pub(crate) app_armor: Option<String>,
    /// SELinux label to change to at execve(2).
    pub(crate) se_linux: Option<String>,
    pub(crate) terminal: bool,
    /// Whether the terminal is put at `/dev/console` too.
    pub(crate) console: bool,
    /// Whether stdio are pipes of ours, to be given to the user.
    pub(crate) give_stdio: bool,
    /// Whether to wait for the start.
    pub(crate) wait: bool,
}

/// Runs the steps, ends in the program or in an exit.
pub(crate) fn run(
    channel: BorrowedFd<'_>,
    stdio: [BorrowedFd<'_>; 3],
    program: &Program,
    enter: impl FnOnce() -> Result<(), StepFailure>,
    inside: impl FnOnce() -> Result<(), StepFailure>,
) -> Infallible {
    let label = || {
        program.app_armor.as_deref().map_or(Ok(()), app_armor::change_at_exec)?;
        program.se_linux.as_deref().map_or(Ok(()), se_linux::change_at_exec)
    };
    if let Err(failure) = set_up_process().and_then(|()| label()).and_then(|()| enter()) {
        give_up(channel, &Report::Failed(failure), 1);
    }
    sys::process::with_only_descriptors(stdio, channel, |kept| {
        let channel = match kept {
            Ok(kept) => kept,
            // No descriptors left: where the channel was it still is, and else it is told nothing.
            Err(errno) => {
                let report = Report::Failed(StepFailure::new(Step::Descriptors, errno));
                give_up(channel, &report, sys::process::EXIT_PANICKED)
            }
        };
        match inside().and_then(|()| become_program(channel, program)) {
            Ok(user) => execute(channel, program, &user),
            Err(failure) => give_up(channel, &Report::Failed(failure), 1),
        }
    })
}

fn give_up(channel: BorrowedFd<'_>, report: &Report, exit_code: i32) -> ! {
    // If nobody listens any more there is nobody to tell.
    let _ = channel::send(channel, report, None);
    sys::process::exit(exit_code)
}

fn fail(step: Step) -> impl Fn(Errno) -> StepFailure {
    move |errno| StepFailure::new(step, errno)
}

fn set_up_process() -> Result<(), StepFailure> {
    fault::point("child.process").map_err(fail(Step::Process))?;
    sys::process::reset_signals();
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .map_err(fail(Step::Process))?;
    rustix::process::setsid().map_err(fail(Step::Process))?;
    match sys::process::join_new_session_keyring() {
        // A kernel without keyrings, a filter around us, or a full quota: the container does without.
        Err(Errno::NOSYS | Errno::PERM | Errno::DQUOT) | Ok(()) => Ok(()),
        Err(errno) => Err(StepFailure::new(Step::Process, errno)),
    }
}

/// Steps 5 to 9.
fn become_program(channel: BorrowedFd<'_>, program: &Program) -> Result<User, StepFailure> {
    if program.terminal {
        open_terminal(channel, program.console)?;
    }
    fault::point("child.user").map_err(fail(Step::User))?;
    let user = match &program.identity {
        Identity::Known(user) => user.clone(),
        Identity::Asked(request) => look_up(request)?,
    };
    if (program.give_stdio || program.terminal) && user.uid != 0 {
        give_stdio(user.uid).map_err(fail(Step::Descriptors))?;
    }
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let entered = enter_working_directory(program)?;
    lower_privileges(program, &user)?;
    if !entered {
        // What root could not enter the user may be able to (a network file system that squashes root).
        rustix::process::chdir(program.cwd.as_str()).map_err(at_cwd(program))?;
    }
    if program.wait {
        fault::point("child.ready").map_err(fail(Step::Start))?;
        channel::send(channel, &Report::Ready(user.clone()), None).map_err(fail(Step::Start))?;
        match channel::wait_for_start(channel) {
            Ok(true) => {}
            // The supervisor is gone, and with it whoever could have started, logged or waited for this.
            Ok(false) => sys::process::exit(0),
            Err(errno) => return Err(StepFailure::new(Step::Start, errno)),
        }
    }
    Ok(user)
}

/// A terminal of the container's devpts becomes stdio and the controlling terminal; its master goes to the
/// starter.
fn open_terminal(channel: BorrowedFd<'_>, console: bool) -> Result<(), StepFailure> {
    fault::point("child.terminal").map_err(fail(Step::Terminal))?;
    let at = |errno| StepFailure::at(Step::Terminal, "/dev/pts", errno);
    let pty = sys::pty::open(Path::new("/dev/pts")).map_err(at)?;
    let slave = pty.slave.as_fd();
    rustix::process::ioctl_tiocsctty(slave).map_err(at)?;
    rustix::stdio::dup2_stdin(slave).map_err(at)?;
    rustix::stdio::dup2_stdout(slave).map_err(at)?;
    rustix::stdio::dup2_stderr(slave).map_err(at)?;
    if console {
        let name = rustix::pty::ptsname(&pty.master, Vec::new()).map_err(at)?;
        let path = Path::new(std::ffi::OsStr::new(name.to_str().unwrap_or_default()));
        crate::mounts::attach_console(path).map_err(|error| StepFailure {
            path: Some("/dev/console".into()),
            ..StepFailure::with_message(Step::Terminal, error.errno, error.to_string())
        })?;
    }
    channel::send(channel, &Report::Terminal, Some(pty.master.as_fd())).map_err(at)
}

fn look_up(request: &UserRequest) -> Result<User, StepFailure> {
    let passwd = read_database("/etc/passwd")?;
    let group = read_database("/etc/group")?;
    user::resolve(request, &passwd, &group).map_err(|error| StepFailure {
        errno: None,
        ..StepFailure::with_message(Step::User, Errno::NOENT, error.to_string())
    })
}

/// Reads a file of the image, which may be anything: a pipe (never blocks), a device, a link into `/proc`
/// (not followed to where no path leads), huge. Missing is empty.
fn read_database(path: &str) -> Result<Vec<u8>, StepFailure> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file =
        match rustix::fs::openat2(rustix::fs::CWD, path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS) {
            Ok(file) => file,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Vec::new()),
            Err(errno) => return Err(StepFailure::at(Step::User, path, errno)),
        };
    let stat = rustix::fs::fstat(&file).map_err(|errno| StepFailure::at(Step::User, path, errno))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(StepFailure::at(Step::User, path, Errno::INVAL));
    }
    let mut bytes = Vec::new();
    let limit = user::DATABASE_MAX_BYTES as u64 + 1;
    std::io::Read::read_to_end(&mut std::io::Read::take(std::fs::File::from(file), limit), &mut bytes)
        .map_err(|error| {
            StepFailure::at(Step::User, path, Errno::from_io_error(&error).unwrap_or(Errno::IO))
        })?;
    if bytes.len() as u64 == limit {
        return Err(StepFailure::at(Step::User, path, Errno::FBIG));
    }
    Ok(bytes)
}

/// Makes the user the owner of stdio, so that `/dev/stdout` can be opened by name. `/dev/null` stays root's.
fn give_stdio(uid: u32) -> Result<(), Errno> {
    for fd in [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()] {
        let stat = rustix::fs::fstat(fd)?;
        let null = (1, 3);
        let device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        if FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && device == null {
            continue;
        }
        sys::process::change_owner(fd, uid)?;
    }
    Ok(())
}

fn at_cwd(program: &Program) -> impl Fn(Errno) -> StepFailure + '_ {
    |errno| StepFailure::at(Step::WorkingDirectory, &program.cwd, errno)
}

/// Whether it could be entered: not, if only the user may.
fn enter_working_directory(program: &Program) -> Result<bool, StepFailure> {
    fault::point("child.cwd").map_err(at_cwd(program))?;
    match rustix::process::chdir(program.cwd.as_str()) {
        Ok(()) => Ok(true),
        Err(Errno::ACCESS) => Ok(false),
        Err(Errno::NOENT) if program.make_cwd => {
            std::fs::create_dir_all(&program.cwd)
                .map_err(|error| at_cwd(program)(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
            rustix::process::chdir(program.cwd.as_str()).map(|()| true).map_err(at_cwd(program))
        }
        Err(errno) => Err(at_cwd(program)(errno)),
    }
}

/// Step 8.
fn lower_privileges(program: &Program, user: &User) -> Result<(), StepFailure> {
    fault::point("child.capabilities").map_err(fail(Step::Capabilities))?;
    drop_bounding(program.capabilities).map_err(fail(Step::Capabilities))?;
    if program.no_new_privs {
        rustix::thread::set_no_new_privs(true).map_err(fail(Step::Seccomp))?;
    }
    if let Some(filter) = &program.seccomp {
        sys::seccomp::load(filter).map_err(fail(Step::Seccomp))?;
    }
    become_user(user).map_err(fail(Step::User))?;
    // Another user than root has lost these at setresuid.
    let set = if user.uid == 0 { program.capabilities } else { CapabilitySet::empty() };
    let sets = CapabilitySets { effective: set, permitted: set, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets).map_err(fail(Step::Capabilities))
}

fn drop_bounding(keep: CapabilitySet) -> Result<(), Errno> {
    rustix::thread::clear_ambient_capability_set()?;
    for number in 0..64 {
        let one = CapabilitySet::from_bits_retain(1 << number);
        if keep.contains(one) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(one) {
            // The first number that this kernel does not know.
            Err(Errno::INVAL) => break,
            other => other?,
        }
    }
    Ok(())
}

fn become_user(user: &User) -> Result<(), Errno> {
    let groups: Vec<Gid> = user.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    rustix::thread::set_thread_groups(&groups)?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)
}

/// Step 10.
fn execute(channel: BorrowedFd<'_>, program: &Program, user: &User) -> Infallible {
    let mut env = program.env.clone();
    if variable(&env, "HOME").is_none() {
        env.push(format!("HOME={}", user.home));
    }
    let not_executed = match start(program, &env) {
        Ok(never) => match never {},
        Err(not_executed) => not_executed,
    };
    let exit_code = match &not_executed {
        Report::NotExecuted { exit_code, .. } => *exit_code,
        _ => 1,
    };
    give_up(channel, &not_executed, exit_code)
}

fn start(program: &Program, env: &[String]) -> Result<Infallible, Report> {
    let failed = |errno| Report::Failed(StepFailure::new(Step::Execute, errno));
    fault::point("child.execute").map_err(failed)?;
    if !sys::process::working_directory_is_reachable().map_err(failed)? {
        return Err(Report::Failed(at_cwd(program)(Errno::XDEV)));
    }
    let c_strings =
        |strings: &[String]| strings.iter().map(|s| CString::new(s.as_str())).collect::<Result<Vec<_>, _>>();
    let (Ok(argv), Ok(envp)) = (c_strings(&program.argv), c_strings(env)) else {
        return Err(failed(Errno::INVAL));
    };
    let name = program.argv.first().map_or("", String::as_str);
    let path = find_program(name, variable(env, "PATH").unwrap_or(""))?;
    let Ok(c_path) = CString::new(path.as_str()) else { return Err(failed(Errno::INVAL)) };
    let errno = sys::process::execve(&c_path, &argv, &envp);
    Err(not_executed(format!("exec {path}: {}", words(errno)), errno))
}

fn variable<'a>(env: &'a [String], name: &str) -> Option<&'a str> {
    env.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}

/// The file that a command names: itself if there is a slash in it, else the first executable file of that
/// name in an absolute directory of `PATH`.
fn find_program(name: &str, path: &str) -> Result<String, Report> {
    let quoted = |rest: String| format!("exec: {name:?}: {rest}");
    if name.contains('/') {
        return match executable(name) {
            Ok(()) => Ok(name.to_owned()),
            Err(errno @ (Errno::NOENT | Errno::NOTDIR | Errno::LOOP)) => {
                Err(not_executed(quoted(format!("stat {name}: {}", words(errno))), errno))
            }
            // As runc, which Kubernetes' users know, has it.
            Err(Errno::ISDIR) => Err(not_executed(quoted(words(Errno::ACCESS)), Errno::ACCESS)),
            Err(errno) => Err(not_executed(quoted(words(errno)), errno)),
        };
    }
    let mut denied = false;
    for directory in path.split(':').filter(|directory| directory.starts_with('/')) {
        let candidate = format!("{}/{name}", directory.trim_end_matches('/'));
        match executable(&candidate) {
            Ok(()) if !name.is_empty() => return Ok(candidate),
            Err(Errno::ACCESS) => denied = true,
            _ => {}
        }
    }
    if denied {
        return Err(not_executed(quoted("permission denied".to_owned()), Errno::ACCESS));
    }
    Err(not_executed(quoted("executable file not found in $PATH".to_owned()), Errno::NOENT))
}

fn executable(path: &str) -> Result<(), Errno> {
    let stat = rustix::fs::stat(path)?;
    if FileType::from_raw_mode(stat.st_mode).is_dir() {
        return Err(Errno::ISDIR);
    }
    if stat.st_mode & 0o111 == 0 {
        return Err(Errno::ACCESS);
    }
    rustix::fs::accessat(rustix::fs::CWD, path, Access::EXEC_OK, AtFlags::EACCESS)
}

fn not_executed(message: String, errno: Errno) -> Report {
    let missing = matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP);
    Report::NotExecuted { message, exit_code: if missing { 127 } else { 126 } }
}

/// The kernel's errors in the words that Go programs (and so Kubernetes' users) know.
fn words(errno: Errno) -> String {
    match errno {
        Errno::NOENT => "no such file or directory".to_owned(),
        Errno::ACCESS => "permission denied".to_owned(),
        Errno::NOEXEC => "exec format error".to_owned(),
        Errno::ISDIR => "is a directory".to_owned(),
        Errno::NOTDIR => "not a directory".to_owned(),
        Errno::LOOP => "too many levels of symbolic links".to_owned(),
        Errno::TOOBIG => "argument list too long".to_owned(),
        Errno::PERM => "operation not permitted".to_owned(),
        Errno::TXTBSY => "text file busy".to_owned(),
        other => std::io::Error::from(other).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(name: &str, path: &str, message: &str, code: i32) {
        let Err(Report::NotExecuted { message: said, exit_code }) = find_program(name, path) else {
            panic!("found")
        };
        assert_eq!((said.as_str(), exit_code), (message, code));
    }

    #[test]
    fn programs_are_found_as_kubernetes_users_know_it() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().to_str().unwrap();
        std::fs::write(format!("{dir}/plain"), "").unwrap();
        assert_eq!(find_program("sh", "/nonexistent::bin:/bin/").ok().as_deref(), Some("/bin/sh"));
        refused("foo", "/usr/bin", "exec: \"foo\": executable file not found in $PATH", 127);
        refused("foo", "", "exec: \"foo\": executable file not found in $PATH", 127);
        refused("", "/usr/bin", "exec: \"\": executable file not found in $PATH", 127);
        refused("/no/foo", "", "exec: \"/no/foo\": stat /no/foo: no such file or directory", 127);
        refused(dir, "", &format!("exec: {dir:?}: permission denied"), 126);
        refused("plain", dir, "exec: \"plain\": permission denied", 126);
        refused(&format!("{dir}/plain"), "", &format!("exec: \"{dir}/plain\": permission denied"), 126);
    }

    #[test]
    fn variables_are_matched_whole() {
        let env = ["PATHS=/x".to_owned(), "PATH=/a:/b".to_owned()];
        assert_eq!(variable(&env, "PATH"), Some("/a:/b"));
        assert_eq!(variable(&env, "HOME"), None);
    }
}
