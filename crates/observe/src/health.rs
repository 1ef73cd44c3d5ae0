//! Whether file systems that a process serves (FUSE) still answer, asked so that none of them can hold us up.
//!
//! Each is asked by a child, with statfs(2): a server that hangs keeps the child, not us. A child that has not ended
//! in time is killed; if the kernel does not let go of it (the server has read the request and does not answer), it
//! ends when the server does. Such a connection is not asked again: fusectl shows that something waits there.

use crate::answer::ends_within;
use mount_table::Device;
use mount_table::holders::Health;
use rustix::io::Errno;
use rustix::process::{WaitOptions, waitpid};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use sys::namespace::Namespaces;

/// The most file systems that are asked at once.
pub const MAX_ASKED: usize = 256;

/// A mount through which a file system is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The file system.
    pub device: Device,
    /// A process that sees it.
    pub pid: u32,
    /// Where, from that process's root.
    pub path: PathBuf,
}

const ALIVE: i32 = 0;
const DEAD: i32 = 1;
const UNKNOWN: i32 = 2;

/// Asks the first [`MAX_ASKED`] file systems, all at once, and waits for at most `patience`. What could not be asked
/// is not in the answer, nor what does not let the caller in (FUSE without `allow_other` answers its owner only).
pub fn read_health(asked: &[Asked], patience: Duration) -> BTreeMap<Device, Health> {
    let mut health = BTreeMap::new();
    let mut children = Vec::new();
    for asked in asked.iter().take(MAX_ASKED) {
        if waits(asked.device) {
            health.insert(asked.device, Health::Hangs);
            continue;
        }
        let path = PathBuf::from(format!("/proc/{}/root", asked.pid)).join(relative(&asked.path));
        let child = sys::process::spawn(Namespaces::empty(), None, || {
            sys::process::exit(match rustix::fs::statfs(&path) {
                Ok(found) if found.f_blocks == 0 && found.f_bsize == 0 => UNKNOWN,
                Ok(_) => ALIVE,
                Err(Errno::NOTCONN) => DEAD,
                Err(_) => UNKNOWN,
            })
        });
        children.extend(child.ok().map(|child| (asked.device, child)));
    }
    let deadline = Instant::now() + patience;
    for (device, child) in children {
        let answer = if ends_within(&child, deadline.saturating_duration_since(Instant::now())) {
            match waitpid(Some(child.pid), WaitOptions::empty()).ok().flatten() {
                Some((_, status)) if status.exit_status() == Some(ALIVE) => Some(Health::Alive),
                Some((_, status)) if status.exit_status() == Some(DEAD) => Some(Health::Dead),
                _ => None,
            }
        } else {
            let _ = rustix::process::pidfd_send_signal(&child.pidfd, rustix::process::Signal::KILL);
            Some(Health::Hangs)
        };
        health.extend(answer.map(|answer| (device, answer)));
    }
    health
}

/// `join` would take an absolute path for the whole.
fn relative(path: &std::path::Path) -> &std::path::Path {
    path.strip_prefix("/").unwrap_or(path)
}

/// Whether requests have been waiting for the server for a moment (`/sys/fs/fuse/connections/MINOR/waiting`, where
/// fusectl is mounted): reading that asks nobody.
fn waits(device: Device) -> bool {
    const MOMENT: Duration = Duration::from_millis(50);
    let waiting = || -> Option<u64> {
        let path = format!("/sys/fs/fuse/connections/{}/waiting", device.minor);
        std::fs::read_to_string(path).ok()?.trim().parse().ok()
    };
    let busy = |count: Option<u64>| count.is_some_and(|count| count > 0);
    // A server that works has an empty queue now and then.
    (0..10).all(|round| {
        if round > 0 {
            std::thread::sleep(MOMENT);
        }
        busy(waiting())
    })
}
