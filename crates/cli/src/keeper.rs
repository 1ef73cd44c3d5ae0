//! The keeper of an isolated root's mount namespace: this program again, asleep in it. Its life:
//! 1. `run --isolated` starts it where there is none: a copy of the caller's mount namespace, made private, then
//!    shared within itself. `<lib>/keeper.json` says which process it is;
//! 2. every later command with the same root enters by that process;
//! 3. the command that removes the root's last pod ends it, and what was mounted in it goes with it.
//!
//! A keeper that was killed is replaced by the next command: in the same namespace, as long as a pod's supervisor holds
//! it, else (after a reboot, too) in a new one, as long as there are pods. What is isolated stays so.
//! A command that is killed between 1 and its first pod leaves a keeper without pods, which the next `run` or `rm`
//! with that root ends. While a namespace is kept, what the host had mounted when it was made stays mounted in it.
//!
//! `<run>/keeper.lock` (flock(2)): exclusive to start or to end it, shared while pods are being created, so that it
//! is not ended under a pod that is about to be.

use crate::exit::{Context as _, Failure, Result};
use crate::output;
use agent::Root;
use runtime::atomic_file::{self, Survives};
use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountPropagationFlags;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, PidfdFlags, Signal};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::io::Read as _;
use std::num::NonZeroI32;
use std::os::unix::ffi::OsStrExt as _;
use sys::namespace::Namespaces;

/// `rhizome keep`: holds the mount namespace that it was started in until it is ended.
pub(crate) fn keep() -> ! {
    loop {
        let _ = rustix::event::poll(&mut [], None);
    }
}

/// Whether the root has a mount namespace of its own, as far as is on record.
pub(crate) fn is_recorded(root: &Root) -> bool {
    root.keeper_record().exists()
}

/// As [`enter`], to create pods: the namespace is not ended as long as the file given is open. With `make` the root
/// gets one if it has none.
pub(crate) fn enter_and_hold(root: &Root, make: bool) -> Result<(Option<OwnedFd>, File)> {
    replace_killed_keeper(root)?;
    // One that was ended between the two locks is made again; that cannot go on for ever.
    for _ in 0..8 {
        if make {
            let _starting = lock(root, FlockOperation::LockExclusive)?;
            if find_keeper(root)?.is_none() {
                make_namespace(root)?;
            }
        }
        let held = lock(root, FlockOperation::LockShared)?;
        let home = enter_as_it_is(root)?;
        if home.is_some() || !make {
            return Ok((home, held));
        }
    }
    Err(Failure::wrong_use("other commands end this root's mount namespace as fast as it is made"))
}

/// Ends the root's mount namespace, with what is mounted in it, if no pod is left; whether it did. `home` is where we
/// were before we entered it.
///
/// Steps: 1. the lock; 2. a look whether anybody needs it; 3. back home, since we hold it too; 4. the keeper;
/// 5. what was kept for mounts in it.
pub(crate) fn end_if_unused(root: &Root, home: &OwnedFd) -> Result<bool> {
    let file = open_lock(root)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        // Somebody creates pods.
        Err(Errno::WOULDBLOCK) => return Ok(false),
        Err(errno) => return Err(Failure::from(std::io::Error::from(errno)).said("locking the root")),
    }
    if has_pods(root)? {
        return Ok(false);
    }
    let back = sys::mount::enter_mount_namespace(home.as_fd());
    back.context("going back to the mount namespace of the host")?;
    if let Some(keeper) = find_keeper(root)? {
        sys::process::send_signal(keeper.pidfd.as_fd(), Signal::KILL.as_raw())?;
        let mut fds = [PollFd::new(&keeper.pidfd, PollFlags::IN)];
        rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, None))?;
    }
    let path = root.keeper_record();
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Failure::from(error).said(format!("removing {}", path.display())));
        }
        _ => {}
    }
    agent::volumes::pinned::release(root)?;
    Ok(true)
}

/// A keeper that lives.
struct Keeper {
    pidfd: OwnedFd,
    namespace: OwnedFd,
}

/// The lock's file.
fn open_lock(root: &Root) -> Result<File> {
    let path = root.run.join("keeper.lock");
    let open = File::options().create(true).truncate(false).write(true).open(&path);
    open.context(format!("opening {}", path.display()))
}

/// Takes the lock, waiting for it.
fn lock(root: &Root, how: FlockOperation) -> Result<File> {
    let file = open_lock(root)?;
    rustix::io::retry_on_intr(|| rustix::fs::flock(&file, how)).context("locking the root")?;
    Ok(file)
}

/// Whether there is any pod. What a killed command has left without a name is none.
fn has_pods(root: &Root) -> Result<bool> {
    Ok(!agent::record::list(root, None)?.is_empty())
}

/// What is on record of the keeper; none where there is no record.
fn read_record(root: &Root) -> Result<Option<Value>> {
    let path = root.keeper_record();
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(serde_json::from_str(&text).context(format!("reading {}", path.display()))?)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context(format!("reading {}", path.display())),
    }
}

/// The process whose mounts the root's are, if it has some of its own.
pub(crate) fn pid(root: &Root) -> Option<i64> {
    read_record(root).ok()??["pid"].as_i64()
}

/// The keeper that the record names, if it is still that process.
fn find_keeper(root: &Root) -> Result<Option<Keeper>> {
    let Some(record) = read_record(root)? else { return Ok(None) };
    let pid = record["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 0);
    let Some(pid) = pid.and_then(Pid::from_raw) else { return Ok(None) };
    let pidfd = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        Err(Errno::SRCH) => return Ok(None),
        Err(errno) => return Err(errno).context(format!("opening process {}", pid.as_raw_nonzero())),
    };
    if identity(pid).is_none_or(|identity| identity != record) {
        return Ok(None);
    }
    let namespace =
        sys::namespace::open_of(pid, "mnt").context("opening the mount namespace of this root")?;
    Ok(Some(Keeper { pidfd, namespace }))
}

/// If there is a record of a keeper that was killed: starts another one, in the same namespace if somebody is still in
/// it. Without pods nobody needs one, and the record is forgotten.
fn replace_killed_keeper(root: &Root) -> Result<()> {
    if read_record(root)?.is_none() || find_keeper(root)?.is_some() {
        return Ok(());
    }
    let _starting = lock(root, FlockOperation::LockExclusive)?;
    let Some(record) = read_record(root)? else { return Ok(()) };
    if find_keeper(root)?.is_some() {
        return Ok(());
    }
    match find_supervisor_in(root, &record["namespace"]) {
        Some(namespace) => start_keeper(root, Start::In(namespace)).map(drop),
        None if has_pods(root)? => start_keeper(root, Start::InACopy).map(drop),
        None => Ok(std::fs::remove_file(root.keeper_record())?),
    }
}

/// The namespace of that number, through a supervisor of this root that is in it. The number alone is not enough: it
/// may be another namespace's by now.
fn find_supervisor_in(root: &Root, number: &Value) -> Option<OwnedFd> {
    let run = root.run.as_os_str().as_bytes();
    let pids = std::fs::read_dir("/proc").ok()?.flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw)).find_map(
        |pid| {
            let line = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).ok()?;
            let mut words = line.split(|byte| *byte == 0);
            let is_ours =
                words.nth(1) == Some(agent::supervisor::SUBCOMMAND.as_bytes()) && words.nth(1) == Some(run);
            let namespace = is_ours.then(|| sys::namespace::open_of(pid, "mnt").ok()).flatten()?;
            let found = rustix::fs::fstat(&namespace).ok()?.st_ino;
            (number.as_u64() == Some(found)).then_some(namespace)
        },
    )
}

/// What tells a process from any other that has its id later: when it began, in which boot; and where it is.
fn identity(pid: Pid) -> Option<Value> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The name in parentheses may have spaces and parentheses; the start time is the 20th field behind it.
    let start = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse::<u64>().ok()?;
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = sys::namespace::open_of(pid, "mnt").ok()?;
    let number = rustix::fs::fstat(&namespace).ok()?.st_ino;
    Some(json!({
        "pid": pid.as_raw_nonzero().get(),
        "startTime": start,
        "bootId": boot.trim(),
        "namespace": number,
    }))
}

/// Enters the root's mount namespace, if it has one of its own; gives the one that we were in. The working directory
/// stays, by name. Waits for one that is being made, whose maker may have been killed meanwhile.
pub(crate) fn enter(root: &Root) -> Result<Option<OwnedFd>> {
    drop(lock(root, FlockOperation::LockShared)?);
    replace_killed_keeper(root)?;
    enter_as_it_is(root)
}

fn enter_as_it_is(root: &Root) -> Result<Option<OwnedFd>> {
    let Some(keeper) = find_keeper(root)? else { return Ok(None) };
    let home = sys::namespace::open_own("mnt").context("opening our mount namespace")?;
    let directory = std::env::current_dir();
    let entered = sys::mount::enter_mount_namespace(keeper.namespace.as_fd());
    entered.context("entering the mount namespace of this root")?;
    // A directory that is not there has no business with us: all paths that matter are absolute.
    let _ = directory.and_then(std::env::set_current_dir);
    Ok(Some(home))
}

/// Makes a mount namespace for a root without pods. The caller holds the lock.
fn make_namespace(root: &Root) -> Result<()> {
    if has_pods(root)? {
        let text = "this root has pods already, in the mount namespace of the host";
        return Err(Failure::wrong_use(text).hint("remove them first, or give --isolated another --root"));
    }
    let pid = start_keeper(root, Start::InACopy)?;
    output::note(&format!(
        "this root has mounts of its own now; a shell among them: nsenter --target {pid} --mount"
    ));
    Ok(())
}

/// Where a keeper starts.
enum Start {
    /// In a copy of our mount namespace, made private, then shared within.
    InACopy,
    /// In this one.
    In(OwnedFd),
}

/// Starts a keeper and records it. The caller holds the lock.
fn start_keeper(root: &Root, start: Start) -> Result<NonZeroI32> {
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let (said, say) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let argv = keeper_arguments(root)?;
    let namespaces = match start {
        Start::InACopy => Namespaces::MOUNT,
        Start::In(_) => Namespaces::empty(),
    };
    let child = sys::process::spawn(namespaces, None, || {
        // Before the descriptors are put away, the lock's among them.
        let prepared = prepare_keeper(&start, root);
        sys::process::with_only_descriptors([null.as_fd(), null.as_fd(), null.as_fd()], say.as_fd(), |say| {
            be_the_keeper(say, prepared, &argv)
        })
    })
    .context("making a mount namespace for this root")?;
    drop(say);
    // Ends when the keeper has become the program; until then it can only say what went wrong.
    let mut wrong = String::new();
    File::from(said).read_to_string(&mut wrong)?;
    match wrong.as_str() {
        "" => Ok(child.pid.as_raw_nonzero()),
        wrong => Err(Failure::wrong_use(wrong).said("making a mount namespace for this root")),
    }
}

fn keeper_arguments(root: &Root) -> Result<Vec<CString>> {
    // The root is only there to be seen in ps(1).
    let arguments = [b"rhizome".as_slice(), b"keep", root.run.as_os_str().as_bytes()];
    Ok(arguments.into_iter().map(CString::new).collect::<std::result::Result<_, _>>()?)
}

/// In the child: the mounts; nothing that ties it to the caller (no signal of the terminal reaches it, and no folder is
/// kept busy); and its own record, so that whoever started it may be killed at any time.
fn prepare_keeper(start: &Start, root: &Root) -> std::io::Result<()> {
    rustix::process::setsid()?;
    match start {
        Start::In(namespace) => sys::mount::enter_mount_namespace(namespace.as_fd())?,
        Start::InACopy => {
            rustix::mount::mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?;
            rustix::mount::mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::SHARED)?;
        }
    }
    rustix::process::chdir("/")?;
    let record = identity(rustix::process::getpid());
    let record = record.ok_or_else(|| std::io::Error::other("/proc does not show the keeper"))?;
    atomic_file::write_json(&root.keeper_record(), &record, Survives::Process)
}

/// In the child: becomes `rhizome keep`, or says why not.
fn be_the_keeper(
    say: std::result::Result<BorrowedFd<'static>, Errno>,
    prepared: std::io::Result<()>,
    argv: &[CString],
) -> Infallible {
    if let Ok(say) = say {
        sys::process::reset_signals();
        let failed =
            prepared.err().unwrap_or_else(|| sys::process::execve(c"/proc/self/exe", argv, &[]).into());
        let _ = rustix::io::write(say, failed.to_string().as_bytes());
    }
    sys::process::exit(1)
}
