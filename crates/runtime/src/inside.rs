//! A process of ours that sees the files of a container: in its mount namespace and so in its root, and nothing else of
//! it. Processes of the container do not see it, since it is not in their pid namespace.

use crate::error::{Error, Result, Step, StepFailure};
use crate::state::{Dirs, Status};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::process::Pid;
use rustix::thread::{Gid, Uid};
use std::convert::Infallible;
use sys::namespace::Namespaces;
use sys::process::Child;

/// Runs `work` in a child that has these three descriptors as its standard streams and no other, `/` being the root of
/// the container. In a user namespace of the container it is root there. The caller waits for the child.
///
/// What it opens by path leads nowhere but into the container, as long as it follows no magic link of a `/proc` there
/// (`RESOLVE_NO_MAGICLINKS`, openat2(2)): of a pod with `hostPID` those lead to the host.
///
/// # Errors
/// The container does not run, or the child cannot be made. What fails in the child is given to `work`.
pub fn inside(
    dirs: &Dirs,
    id: &str,
    stdio: [BorrowedFd<'_>; 3],
    work: impl FnOnce(std::result::Result<(), StepFailure>) -> Infallible,
) -> Result<Child> {
    let record = crate::control::status(dirs, id)?;
    let wrong = || Error::WrongState {
        id: id.to_owned(),
        is: record.status.in_words().to_owned(),
        wanted: Status::Running.in_words(),
    };
    let (Status::Running, Some(init)) = (record.status, record.init) else { return Err(wrong()) };
    let process = init.open()?.ok_or_else(wrong)?;
    let users = has_users_of_its_own(init.pid).map_err(Error::system("look at the user namespace"))?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(Error::system("open /dev/null"))?;
    let child = sys::process::spawn(Namespaces::empty(), None, || {
        let entered = enter(&process, users);
        sys::process::with_only_descriptors(stdio, null.as_fd(), |kept| {
            work(entered.and(kept.map(drop).map_err(|errno| StepFailure::new(Step::Descriptors, errno))))
        })
    });
    child.map_err(|source| Error::Spawn { id: id.to_owned(), source })
}

fn enter(process: &OwnedFd, users: bool) -> std::result::Result<(), StepFailure> {
    let fail = |errno| StepFailure::new(Step::Namespaces, errno);
    // Nobody in the container looks into a process of ours.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable).map_err(fail)?;
    let users_too = if users { Namespaces::USER } else { Namespaces::empty() };
    sys::namespace::enter_of(process.as_fd(), Namespaces::MOUNT | users_too).map_err(fail)?;
    if users {
        rustix::thread::set_thread_groups(&[]).map_err(fail)?;
        rustix::thread::set_thread_gid(Gid::ROOT).map_err(fail)?;
        rustix::thread::set_thread_uid(Uid::ROOT).map_err(fail)?;
    }
    rustix::process::umask(Mode::from_raw_mode(0o022));
    Ok(())
}

/// Whether a process has another user namespace than we.
fn has_users_of_its_own(pid: i32) -> std::result::Result<bool, rustix::io::Errno> {
    let pid = Pid::from_raw(pid).ok_or(rustix::io::Errno::SRCH)?;
    let theirs = rustix::fs::fstat(sys::namespace::open_of(pid, "user")?)?;
    let ours = rustix::fs::fstat(sys::namespace::open_own("user")?)?;
    Ok((theirs.st_dev, theirs.st_ino) != (ours.st_dev, ours.st_ino))
}
