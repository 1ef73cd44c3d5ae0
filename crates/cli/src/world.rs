//! Which root is meant, and the mount namespace that goes with it.
//!
//! A root is used in the caller's mount namespace, unless `rhizome run --isolated` gave it one of its own. That
//! one is held by a keeper: this program again, asleep in it. Whoever uses the root enters it first ([`World`]),
//! so that commands, supervisors and containers all see the same mounts.
//!
//! The life of a keeper:
//! 1. `run --isolated` starts it where there is none: a copy of the caller's mount namespace, made private, then
//!    shared within itself. `<run>/keeper.json` says which process it is;
//! 2. every later command with the same root enters by that process;
//! 3. the command that removes the root's last pod ends it, and what was mounted in it goes with it.
//!
//! `<run>/keeper.lock` (flock(2)): exclusive to start or to end it, shared while pods are being created, so that it
//! is not ended under a pod that is about to be.

use crate::args::Global;
use crate::exit::{Context as _, Failure, Result};
use crate::output;
use agent::{Client, Root};
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
use std::path::{Path, PathBuf};
use sys::namespace::Namespaces;

/// The root of `--root` or `RHIZOME_ROOT`, else the machine's.
pub(crate) fn root(global: &Global) -> Root {
    global.root.as_deref().map_or_else(Root::default, Root::at)
}

/// To be called first of all by a command that starts supervisors: the program that they run is found in the mount
/// namespace that we began in, so that must be settled before another is entered. Starts the program again, once.
pub(crate) fn before_starting(global: &Global, isolated: bool) -> Result<()> {
    if isolated || record_path(&root(global)).exists() {
        sys::process::ensure_read_only_exe().context("running from a read-only path")?;
    }
    Ok(())
}

/// A root that is open, with this process in its mount namespace.
#[derive(Debug)]
pub(crate) struct World {
    /// Does things with the root's pods.
    pub(crate) client: Client,
    /// The mount namespace that we began in, if the root has one of its own.
    home: Option<OwnedFd>,
    /// Held while pods are being created.
    creating: Option<File>,
}

impl World {
    /// Opens the root, and enters its mount namespace if it has one.
    pub(crate) fn open(global: &Global) -> Result<World> {
        let client = Client::open(&root(global))?;
        let home = enter_if_kept(client.root())?;
        Ok(World { client, home, creating: None })
    }

    /// As [`World::open`], to create pods in it: it stays as it is until this is dropped. With `isolated` it gets
    /// a mount namespace of its own if it has none.
    pub(crate) fn open_for_creating(global: &Global, isolated: bool) -> Result<World> {
        let client = Client::open(&root(global))?;
        let root = client.root();
        // A keeper that was ended between the two locks is started again; that cannot go on for ever.
        for _ in 0..8 {
            if isolated {
                let _starting = lock(root, FlockOperation::LockExclusive)?;
                if find_keeper(root)?.is_none() {
                    start_keeper(root)?;
                }
            }
            let creating = lock(root, FlockOperation::LockShared)?;
            let home = enter_if_kept(root)?;
            if home.is_some() || !isolated {
                return Ok(World { client, home, creating: Some(creating) });
            }
        }
        Err(Failure::wrong_use("other commands end this root's mount namespace as fast as it is made"))
    }

    /// The pods are on record: from now on they keep the root's mount namespace themselves.
    pub(crate) fn created(&mut self) {
        self.creating = None;
    }

    /// Ends the root's mount namespace, with what is mounted in it, if it has one and no pod is left; whether it did.
    /// To be called after pods were removed.
    ///
    /// Steps: 1. the lock; 2. a look whether anybody needs it; 3. back to where we began, since we hold it too; 4. the
    /// keeper; 5. what was kept for mounts in it.
    pub(crate) fn end_if_unused(self) -> Result<bool> {
        let World { client, home, creating } = self;
        drop(creating);
        let root = client.root();
        let Some(home) = home else { return Ok(false) };
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
        sys::mount::enter_mount_namespace(home.as_fd())
            .context("going back to the mount namespace of the host")?;
        if let Some(keeper) = find_keeper(root)? {
            sys::process::send_signal(keeper.pidfd.as_fd(), Signal::KILL.as_raw())?;
            let mut fds = [PollFd::new(&keeper.pidfd, PollFlags::IN)];
            rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, None))?;
        }
        if let Err(error) = std::fs::remove_file(record_path(root))
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(Failure::from(error).said(format!("removing {}", record_path(root).display())));
        }
        agent::volumes::pinned::release(root)?;
        Ok(true)
    }
}

/// Enters the root's mount namespace if it has one, and makes nothing if there is no root.
pub(crate) fn enter(global: &Global) -> Result<bool> {
    Ok(enter_if_kept(&root(global))?.is_some())
}

/// `rhizome keep`: holds the mount namespace that it was started in until it is ended.
pub(crate) fn keep() -> ! {
    loop {
        let _ = rustix::event::poll(&mut [], None);
    }
}

/// A keeper that lives.
struct Keeper {
    pidfd: OwnedFd,
    namespace: OwnedFd,
}

fn record_path(root: &Root) -> PathBuf {
    root.run.join("keeper.json")
}

fn open_lock(root: &Root) -> Result<File> {
    let path = root.run.join("keeper.lock");
    let open = File::options().create(true).truncate(false).write(true).open(&path);
    open.context(format!("opening {}", path.display()))
}

fn lock(root: &Root, how: FlockOperation) -> Result<File> {
    let file = open_lock(root)?;
    rustix::io::retry_on_intr(|| rustix::fs::flock(&file, how)).context("locking the root")?;
    Ok(file)
}

fn has_pods(root: &Root) -> Result<bool> {
    match std::fs::read_dir(root.pods()) {
        Ok(mut pods) => Ok(pods.next().is_some()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The keeper that the record names, if it is still that process. A record of one that has gone means that its
/// namespace has gone too, or that nobody can enter it any more.
fn find_keeper(root: &Root) -> Result<Option<Keeper>> {
    let path = record_path(root);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).context(format!("reading {}", path.display())),
    };
    let record: Value = serde_json::from_str(&text).context(format!("reading {}", path.display()))?;
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

/// What tells a process from any other that has its id later: when it began, in which boot.
fn identity(pid: Pid) -> Option<Value> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The name in parentheses may have spaces and parentheses; the start time is the 20th field behind it.
    let start = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse::<u64>().ok()?;
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(json!({"pid": pid.as_raw_nonzero().get(), "startTime": start, "bootId": boot.trim()}))
}

/// Enters the mount namespace of the keeper, if there is one; gives the one that we were in. The working directory
/// stays, by name.
fn enter_if_kept(root: &Root) -> Result<Option<OwnedFd>> {
    let Some(keeper) = find_keeper(root)? else { return Ok(None) };
    let home = sys::namespace::open_own("mnt").context("opening our mount namespace")?;
    let directory = std::env::current_dir();
    let entered = sys::mount::enter_mount_namespace(keeper.namespace.as_fd());
    entered.context("entering the mount namespace of this root")?;
    // A directory that is not there has no business with us: all paths that matter are absolute.
    let _ = directory.and_then(std::env::set_current_dir);
    Ok(Some(home))
}

/// Starts a keeper and records it. The caller holds the lock.
fn start_keeper(root: &Root) -> Result<()> {
    if has_pods(root)? {
        let text = "this root has pods already, in the mount namespace of the host";
        return Err(Failure::wrong_use(text).hint("remove them first, or give --isolated another --root"));
    }
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let (said, say) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let argv = keeper_arguments(root)?;
    let child = sys::process::spawn(Namespaces::MOUNT, None, || {
        sys::process::with_only_descriptors([null.as_fd(), null.as_fd(), null.as_fd()], say.as_fd(), |say| {
            be_the_keeper(say, &argv)
        })
    })
    .context("making a mount namespace for this root")?;
    drop(say);
    // Ends when the keeper has become the program; until then it can only say what went wrong.
    let mut wrong = String::new();
    File::from(said).read_to_string(&mut wrong)?;
    if !wrong.is_empty() {
        return Err(Failure::from(
            anyhow::Error::msg(wrong).context("making a mount namespace for this root"),
        ));
    }
    let record =
        identity(child.pid).ok_or_else(|| anyhow::anyhow!("the keeper of this root ended at once"))?;
    let path = record_path(root);
    let written = write_whole(&path, &record.to_string());
    if written.is_err() {
        let _ = sys::process::send_signal(child.pidfd.as_fd(), Signal::KILL.as_raw());
    }
    written.context(format!("writing {}", path.display()))?;
    let pid = child.pid.as_raw_nonzero();
    output::note(&format!(
        "this root has mounts of its own now; a shell among them: nsenter --target {pid} --mount"
    ));
    Ok(())
}

/// Nobody ever reads half of it.
fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    let new = path.with_extension("new");
    std::fs::write(&new, text)?;
    std::fs::rename(new, path)
}

fn keeper_arguments(root: &Root) -> Result<Vec<CString>> {
    use std::os::unix::ffi::OsStrExt as _;
    // The root is only there to be seen in ps(1).
    let arguments = [b"rhizome".as_slice(), b"keep", root.run.as_os_str().as_bytes()];
    Ok(arguments.into_iter().map(CString::new).collect::<std::result::Result<_, _>>()?)
}

/// In the child, in a copy of the mount namespace.
fn be_the_keeper(say: std::result::Result<BorrowedFd<'static>, Errno>, argv: &[CString]) -> Infallible {
    if let Ok(say) = say {
        let errno = prepare_and_become(argv);
        let _ = rustix::io::write(say, std::io::Error::from(errno).to_string().as_bytes());
    }
    sys::process::exit(1)
}

/// Returns only on failure.
fn prepare_and_become(argv: &[CString]) -> Errno {
    let prepare = || {
        // No signal of the caller's terminal reaches it, and no folder is kept busy.
        rustix::process::setsid()?;
        rustix::process::chdir("/")?;
        rustix::mount::mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?;
        rustix::mount::mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::SHARED)
    };
    if let Err(errno) = prepare() {
        return errno;
    }
    sys::process::reset_signals();
    sys::process::execve(c"/proc/self/exe", argv, &[])
}
