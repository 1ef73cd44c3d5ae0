//! Processes: clone3(2) into namespaces and a cgroup, execve(2), signals by pidfd, and what a new program
//! must not inherit (file descriptors, signal dispositions, the session keyring, a writable path to our own
//! binary).
//!
//! Sources: clone(2), execve(2), execveat(2), pidfd_send_signal(2), close_range(2), sigaction(2), keyctl(2),
//! open_tree(2), mount_setattr(2).

use crate::namespace::Namespaces;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::process::Pid;
use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// The exit status of a child whose closure panicked (`EX_SOFTWARE` of sysexits(3)).
pub const EXIT_PANICKED: i32 = 70;

/// `CLONE_INTO_CGROUP`, include/uapi/linux/sched.h (the constant of `libc` is too narrow for it).
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// A child made by [`spawn`], not yet waited for.
#[derive(Debug)]
pub struct Child {
    /// Its process id, in the caller's pid namespace.
    pub pid: Pid,
    /// Its pidfd, which stays true after the pid is reused.
    pub pidfd: OwnedFd,
}

/// A child that could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SpawnError {
    /// A fork of a process with several threads may only call async-signal-safe functions, which a closure of
    /// normal Rust code is not.
    #[error(
        "this process has {threads} threads, and a child that runs code of ours needs a process with one"
    )]
    Threads {
        /// How many there are.
        threads: u64,
    },
    /// clone3(2) failed.
    #[error("clone3: {0}")]
    Clone(#[from] Errno),
}

/// Lets a program that is still to be executed be killed when the thread that starts it ends (`PR_SET_PDEATHSIG`).
pub fn die_with_parent(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt as _;
    let ask = || {
        let asked = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
        asked.map_err(std::io::Error::from)
    };
    // SAFETY: between fork and exec: one system call, no allocation, no lock.
    unsafe { command.pre_exec(ask) };
}

/// How many threads this process has: the link count of `/proc/self/task` less `.` and `..`
/// (`proc_task_getattr()`, fs/proc/base.c).
pub fn thread_count() -> Result<u64, Errno> {
    Ok(u64::from(rustix::fs::stat("/proc/self/task")?.st_nlink as u32).saturating_sub(2))
}

/// clone3(2), as fork(2) does it (own copy of the memory), into new `namespaces` and, where given, into the
/// cgroup v2 directory `cgroup` (`CLONE_INTO_CGROUP`, Linux 5.7). The child runs `child`, which never
/// returns.
///
/// The child may run any code because the caller has one thread, which is checked: no lock (of the allocator,
/// of the standard library) can be held by a thread that is not there. A panic in the child ends it with
/// [`EXIT_PANICKED`] and never unwinds into the caller's frames, whose destructors belong to the parent.
#[doc(alias = "clone3")]
pub fn spawn(
    namespaces: Namespaces,
    cgroup: Option<BorrowedFd<'_>>,
    child: impl FnOnce() -> Infallible,
) -> Result<Child, SpawnError> {
    let threads = thread_count()?;
    if threads != 1 {
        return Err(SpawnError::Threads { threads });
    }
    let mut pidfd: libc::c_int = -1;
    // SAFETY: clone_args is plain integers, for which zero is valid.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = u64::from(namespaces.bits()) | libc::CLONE_PIDFD as u64;
    args.pidfd = (&raw mut pidfd) as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: without CLONE_VM and with no stack given this is a fork: the child has its own copy of the
    // whole address space and returns here. `args` is valid for its size; `pidfd` outlives the call. The C
    // library's record of the thread id is stale in the child, which matters only to raise(3) and to
    // error-checking mutexes, neither of which is used here.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>()) };
    if pid == 0 {
        let _ = catch_unwind(AssertUnwindSafe(child));
        exit(EXIT_PANICKED);
    }
    // `Pid::from_raw` takes no negative number.
    let pid =
        i32::try_from(pid).ok().filter(|pid| *pid > 0).and_then(Pid::from_raw).ok_or_else(last_errno)?;
    // SAFETY: clone3 succeeded with CLONE_PIDFD, so `pidfd` is a new descriptor that nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Child { pid, pidfd })
}

/// Processor time of the children that have ended and were waited for, and of theirs: user and system.
#[doc(alias = "getrusage")]
pub fn children_times() -> Result<(Duration, Duration), Errno> {
    // SAFETY: plain integers, for which zero is valid.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes to the structure, which is ours.
    if unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage) } != 0 {
        return Err(last_errno());
    }
    let duration = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec.cast_unsigned()) + Duration::from_micros(time.tv_usec.cast_unsigned())
    };
    Ok((duration(usage.ru_utime), duration(usage.ru_stime)))
}

/// _exit(2): ends this process without running any handler or destructor.
#[doc(alias = "_exit")]
pub fn exit(status: i32) -> ! {
    // SAFETY: ends the process; nothing runs afterwards.
    unsafe { libc::_exit(status) }
}

/// execve(2). Returns only on failure.
pub fn execve(path: &CStr, argv: &[CString], envp: &[CString]) -> Errno {
    let argv = pointers(argv);
    let envp = pointers(envp);
    // SAFETY: all three are NUL-terminated, the arrays end with a null pointer, and all outlive the call.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    last_errno()
}

/// execveat(2) of an open file (`AT_EMPTY_PATH`). Returns only on failure.
#[doc(alias = "execveat")]
#[doc(alias = "fexecve")]
pub fn execve_fd(file: BorrowedFd<'_>, argv: &[CString], envp: &[CString]) -> Errno {
    let argv = pointers(argv);
    let envp = pointers(envp);
    // SAFETY: as in `execve`; the path is an empty string.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            envp.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    last_errno()
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
}

/// pidfd_send_signal(2) with any signal number, also a real-time one (images of systemd stop with
/// `SIGRTMIN+3`); 0 only asks whether the process is there.
#[doc(alias = "pidfd_send_signal")]
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    // SAFETY: no pointer but a null siginfo, which the call allows.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// The wait status (as wait(2) has it) of a process that has ended, by a pidfd that was opened before and by
/// anybody, not only by its parent (`PIDFD_GET_INFO` with `PIDFD_INFO_EXIT`, Linux 6.15;
/// include/uapi/linux/pidfd.h). `None` where the kernel does not tell: it is older, or the process has not
/// been waited for yet.
#[doc(alias = "PIDFD_GET_INFO")]
pub fn exit_status_of(pidfd: BorrowedFd<'_>) -> Option<i32> {
    // struct pidfd_info as it began (PIDFD_INFO_SIZE_VER0): mask, cgroup id, eleven ids, exit code.
    #[repr(C)]
    struct Info {
        mask: u64,
        cgroup_id: u64,
        ids: [u32; 11],
        exit_code: i32,
    }
    const PIDFD_INFO_EXIT: u64 = 1 << 3;
    // _IOWR(0xFF, 11, struct pidfd_info)
    const PIDFD_GET_INFO: u64 = 3 << 30 | (size_of::<Info>() as u64) << 16 | 0xff << 8 | 11;
    let mut info = Info { mask: PIDFD_INFO_EXIT, cgroup_id: 0, ids: [0; 11], exit_code: 0 };
    // SAFETY: the kernel writes at most the size that is part of the request to the structure, which is ours.
    let result = unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO as _, &raw mut info) };
    (result == 0 && info.mask & PIDFD_INFO_EXIT != 0).then_some(info.exit_code)
}

/// The first real-time signal that programs may use (the C library keeps two for itself).
pub fn first_realtime_signal() -> i32 {
    libc::SIGRTMIN()
}

/// close_range(2) with `CLOSE_RANGE_CLOEXEC` (Linux 5.11): every descriptor from `first` on closes at execve.
#[doc(alias = "close_range")]
pub fn close_on_exec_from(first: u32) -> Result<(), Errno> {
    close_range(first, libc::CLOSE_RANGE_CLOEXEC)
}

fn close_range(first: u32, flags: libc::c_uint) -> Result<(), Errno> {
    // SAFETY: sets a flag on descriptors, or closes them at the end of a process's own use of them (see
    // callers).
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, flags) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// In a child of [`spawn`]: makes `stdio` its descriptors 0, 1 and 2 and `kept` its descriptor 3, and closes
/// every other one, so that nothing of ours can be reached (`/proc/self/fd/N`) from what the child does next.
///
/// All owned descriptors of the caller's frames are closed under their owners, which is why this takes the
/// child for good: `then` is run, with the kept one, and never returns. What `then` captures must hold no
/// descriptor.
#[doc(alias = "dup3")]
pub fn with_only_descriptors(
    stdio: [BorrowedFd<'_>; 3],
    kept: BorrowedFd<'_>,
    then: impl FnOnce(Result<BorrowedFd<'static>, Errno>) -> Infallible,
) -> Infallible {
    let moved = move_descriptors(stdio, kept).map(|()| {
        // SAFETY: descriptor 3 was just made, belongs to nobody else, and is never closed before the process
        // ends or executes another program.
        unsafe { BorrowedFd::borrow_raw(3) }
    });
    then(moved)
}

/// In a child of [`spawn`]: closes every descriptor, `channel` last (so that its other end learns of it), and
/// runs `then`, which never returns.
pub fn close_all_and(channel: BorrowedFd<'_>, then: impl FnOnce() -> Infallible) -> Infallible {
    let channel = channel.as_raw_fd().cast_unsigned();
    let below = channel.checked_sub(1);
    // SAFETY: the caller's frames, whose descriptors these are, are never returned to.
    unsafe {
        libc::syscall(libc::SYS_close_range, channel + 1, u32::MAX, 0);
        if let Some(below) = below {
            libc::syscall(libc::SYS_close_range, 0, below, 0);
        }
        libc::close(channel.cast_signed());
    }
    then()
}

/// Waits until a child has ended (sigwaitinfo(2) of `SIGCHLD`, which must be blocked).
#[doc(alias = "sigwaitinfo")]
pub fn wait_for_child_signal() {
    // SAFETY: a signal set of our own; no siginfo is asked for.
    unsafe {
        let mut child: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut child);
        libc::sigaddset(&raw mut child, libc::SIGCHLD);
        libc::sigwaitinfo(&raw const child, std::ptr::null_mut());
    }
}

fn move_descriptors(stdio: [BorrowedFd<'_>; 3], kept: BorrowedFd<'_>) -> Result<(), Errno> {
    // Copies above 3 first: a source may itself be one of 0 to 3.
    let mut high = Vec::with_capacity(4);
    for fd in stdio.iter().chain([&kept]) {
        high.push(rustix::io::fcntl_dupfd_cloexec(fd, 4)?);
    }
    for (target, source) in (0..).zip(&high) {
        let flags = if target == 3 { libc::O_CLOEXEC } else { 0 };
        // SAFETY: dup3 onto 0 to 3 in a process that gives up its other descriptors.
        if unsafe { libc::dup3(source.as_raw_fd(), target, flags) } < 0 {
            return Err(last_errno());
        }
    }
    // The owners of what is closed now must not close the numbers again.
    std::mem::forget(high);
    close_range(4, 0)
}

/// Sets every signal to its default action and unblocks all: ignored and blocked signals survive execve(2),
/// and the Rust runtime ignores `SIGPIPE`.
#[doc(alias = "sigaction")]
pub fn reset_signals() {
    // SAFETY: plain data for which zero is valid (SIG_DFL, no flags, empty mask); the calls only read it.
    // Signals that cannot be changed fail, which is their default anyway.
    unsafe {
        let action: libc::sigaction = std::mem::zeroed();
        for signal in 1..=64 {
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Blocks every signal: for a pid 1 that has nothing to do but reap.
#[doc(alias = "sigprocmask")]
pub fn block_signals() {
    // SAFETY: fills and reads a signal set of our own.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut());
    }
}

/// keyctl(2) `KEYCTL_JOIN_SESSION_KEYRING`: a new, empty session keyring instead of the one that our caller's
/// login made. A kernel without keyrings (`ENOSYS`) or with none left (`EDQUOT`) is not an error of a
/// container.
#[doc(alias = "keyctl")]
pub fn join_new_session_keyring() -> Result<(), Errno> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: a null name makes an anonymous keyring.
    let result = unsafe {
        libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, std::ptr::null::<libc::c_char>())
    };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// A read-only path to this program: a detached copy of the mount that our executable is on (open_tree(2)
/// with `OPEN_TREE_CLONE`), made read-only (mount_setattr(2), Linux 5.12), reachable by this descriptor
/// alone.
///
/// A process started from it (through `/proc/self/fd/N` or [`execve_fd`]) shows its `/proc/PID/exe` on that
/// mount, so whoever opens that link for writing gets `EROFS`: the answer to CVE-2019-5736.
/// `current_exe()` of such a process is not the path that it was installed at.
///
/// The mount must be of the caller's mount namespace (else `EINVAL`): whoever enters another one calls
/// [`ensure_read_only_exe`] before. A process that runs from a read-only path already gets that path.
pub fn read_only_exe() -> Result<OwnedFd, Errno> {
    let exe = rustix::fs::open("/proc/self/exe", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    if exe_is_read_only()? {
        return Ok(exe);
    }
    let clone = match crate::mount::clone_tree(exe.as_fd(), false) {
        // We have entered another mount namespace since: our executable is on a mount of the one before.
        Err(Errno::INVAL) => crate::mount::clone_tree(open_same_here(exe.as_fd())?.as_fd(), false)?,
        other => other?,
    };
    let read_only = rustix::mount::MountAttrFlags::MOUNT_ATTR_RDONLY;
    crate::mount::set_attributes(
        clone.as_fd(),
        false,
        read_only,
        rustix::mount::MountAttrFlags::empty(),
        None,
    )?;
    Ok(clone)
}

/// The same file by the same path in this mount namespace.
fn open_same_here(file: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let path = crate::mount::path_of(file)?;
    let here = rustix::fs::open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let identity = |stat: rustix::fs::Stat| (stat.st_dev, stat.st_ino);
    match identity(rustix::fs::fstat(file)?) == identity(rustix::fs::fstat(&here)?) {
        true => Ok(here),
        false => Err(Errno::INVAL),
    }
}

/// Whether this process already runs from a read-only mount (as [`read_only_exe`] makes one).
pub fn exe_is_read_only() -> Result<bool, Errno> {
    let exe = rustix::fs::open("/proc/self/exe", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    Ok(rustix::fs::fstatvfs(exe)?.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// Makes sure that this process runs from a read-only path ([`read_only_exe`]): if it does not yet, executes
/// the same program again from one, with the same arguments and environment, and returns only on failure. To
/// be called before anything else is open or started, by every process that enters a container.
pub fn ensure_read_only_exe() -> Result<(), Errno> {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    if exe_is_read_only()? {
        return Ok(());
    }
    let exe = read_only_exe()?;
    let argv = std::env::args_os().map(|a| CString::new(a.into_vec())).collect::<Result<Vec<_>, _>>();
    let envp = std::env::vars_os()
        .map(|(key, value)| CString::new([key.as_bytes(), b"=", value.as_bytes()].concat()))
        .collect::<Result<Vec<_>, _>>();
    let (Ok(argv), Ok(envp)) = (argv, envp) else { return Err(Errno::INVAL) };
    Err(execve_fd(exe.as_fd(), &argv, &envp))
}

/// Whether a descriptor refers to a directory entry that is still below the caller's root: getcwd(2) of a
/// working directory outside it answers with `(unreachable)`, which the C library turns into `ENOENT`.
#[doc(alias = "getcwd")]
pub fn working_directory_is_reachable() -> Result<bool, Errno> {
    match rustix::process::getcwd(Vec::new()) {
        Ok(path) => Ok(path.as_bytes().starts_with(b"/")),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// fchownat(2) of what a descriptor refers to.
#[doc(alias = "fchown")]
pub fn change_owner(fd: BorrowedFd<'_>, uid: u32) -> Result<(), Errno> {
    rustix::fs::chownat(fd, c"", Some(rustix::fs::Uid::from_raw(uid)), None, AtFlags::EMPTY_PATH)
}

pub(crate) fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
