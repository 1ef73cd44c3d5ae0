//! Whether a file system answers: a FUSE server that hangs, or a network file system whose server is away, keeps
//! whoever asks for as long as it likes, and a process that waits for one can only be killed.

use mount_table::{Mount, MountTable};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{WaitOptions, waitpid};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use sys::namespace::Namespaces;

/// A file system that did not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silent {
    /// How long it was waited for.
    pub timeout: Duration,
    /// Its mount point and type, where the path as written leads to one that has a server.
    pub mount: Option<(PathBuf, String)>,
    /// The minor device number of a FUSE mount, which names its folder below /sys/fs/fuse/connections.
    pub fuse_connection: Option<u32>,
}

/// Asks for what is at a path (stat(2), links followed), in a child process that is killed if no answer comes in time.
/// What the answer was is for the caller to ask again. Costs nothing where no mount has a server that could hang.
///
/// A process with several threads cannot fork safely: there, and where a child cannot be made, nothing is asked.
///
/// # Errors
/// No answer came.
pub fn require_answer(path: &Path, timeout: Duration) -> Result<(), Silent> {
    require_answer_among(&crate::read_own_mounts().unwrap_or_default(), path, timeout)
}

/// The same for who has read the mounts already: of a node with many, that takes longer than the asking.
///
/// # Errors
/// No answer came.
pub fn require_answer_among(table: &MountTable, path: &Path, timeout: Duration) -> Result<(), Silent> {
    if !table.mounts.iter().any(has_server) {
        return Ok(());
    }
    let asked = sys::process::spawn(Namespaces::empty(), None, || {
        let _ = std::fs::metadata(path);
        sys::process::exit(0)
    });
    let Ok(child) = asked else { return Ok(()) };
    if ends_within(&child, timeout) {
        let _ = waitpid(Some(child.pid), WaitOptions::empty());
        return Ok(());
    }
    // A request to a server that hangs ends when the waiting process is killed, but for file systems that wait
    // uninterruptibly: so the child is not waited for without end here either.
    let _ = rustix::process::pidfd_send_signal(&child.pidfd, rustix::process::Signal::KILL);
    if ends_within(&child, Duration::from_secs(1)) {
        let _ = waitpid(Some(child.pid), WaitOptions::empty());
    }
    Err(silent(table, path, timeout))
}

pub(crate) fn ends_within(child: &sys::process::Child, timeout: Duration) -> bool {
    let until = Instant::now() + timeout;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let time = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        let mut fds = [PollFd::from_borrowed_fd(child.pidfd.as_fd(), PollFlags::IN)];
        match rustix::event::poll(&mut fds, Some(&time)) {
            Ok(count) if count > 0 => return true,
            _ if left.is_zero() => return false,
            _ => {}
        }
    }
}

fn silent(table: &MountTable, path: &Path, timeout: Duration) -> Silent {
    let carrier = table.carrier(path).filter(|mount| has_server(mount));
    Silent {
        timeout,
        mount: carrier.map(|mount| (mount.mount_point.clone(), mount.fs_type.clone())),
        fuse_connection: carrier.filter(|mount| is_fuse(mount)).map(|mount| mount.device.minor),
    }
}

/// Whether requests to it are answered by a process or a machine, and not by this kernel.
fn has_server(mount: &Mount) -> bool {
    const WITH_SERVER: [&str; 9] = ["nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "afs", "virtiofs", "autofs"];
    is_fuse(mount) || WITH_SERVER.contains(&mount.fs_type.as_str())
}

/// Whether a process answers requests to it.
pub fn is_fuse(mount: &Mount) -> bool {
    ["fuse", "fuseblk"].contains(&mount.fs_type.as_str()) || mount.fs_type.starts_with("fuse.")
}
