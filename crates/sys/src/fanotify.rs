//! Mounts as they come and go: fanotify(7) groups that mark mount namespaces (Linux 6.15).
//!
//! Sources: fanotify_init(2), fanotify_mark(2), fanotify(7), include/uapi/linux/fanotify.h of Linux 6.18.

use crate::process::last_errno;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd as _, OwnedFd};
use rustix::io::Errno;

const FAN_REPORT_MNT: libc::c_uint = 0x4000;
const FAN_MARK_MNTNS: libc::c_uint = 0x110;
const FAN_MNT_ATTACH: u64 = 0x0100_0000;
const FAN_MNT_DETACH: u64 = 0x0200_0000;
const FAN_Q_OVERFLOW: u64 = 0x4000;
const FAN_EVENT_INFO_TYPE_MNT: u8 = 7;

/// What happened in one of the marked namespaces. The kernel does not say in which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountEvent {
    /// Mounted, unmounted, or (both) moved.
    Mount {
        /// The mount's unique id.
        id: u64,
        /// It is at a new place.
        attached: bool,
        /// It has left its place.
        detached: bool,
        /// Whose system call it was, in the reader's PID namespace; 0 if it is not in there.
        pid: u32,
    },
    /// The queue was full (`fs.fanotify.max_queued_events`): what came then is lost.
    Overflow,
}

/// A group. Closing it takes its marks along; a mark does not keep its namespace.
#[derive(Debug)]
pub struct MountEvents {
    fd: OwnedFd,
}

impl MountEvents {
    /// fanotify_init(2) with `FAN_REPORT_MNT`. `EINVAL` before Linux 6.15, `EPERM` without `CAP_SYS_ADMIN`, `EMFILE` if the
    /// user has `fs.fanotify.max_user_groups` already.
    #[doc(alias = "fanotify_init")]
    pub fn new() -> Result<MountEvents, Errno> {
        let flags = libc::FAN_CLASS_NOTIF | libc::FAN_CLOEXEC | libc::FAN_NONBLOCK | FAN_REPORT_MNT;
        // SAFETY: takes two integers.
        match unsafe { libc::fanotify_init(flags, libc::O_RDONLY as libc::c_uint) } {
            -1 => Err(last_errno()),
            // SAFETY: a new descriptor that nobody else has.
            fd => Ok(MountEvents { fd: unsafe { OwnedFd::from_raw_fd(fd) } }),
        }
    }

    /// fanotify_mark(2): from now on, mounts of this namespace (an open `/proc/PID/ns/mnt`) too.
    #[doc(alias = "fanotify_mark")]
    pub fn add(&self, namespace: BorrowedFd<'_>) -> Result<(), Errno> {
        let flags = libc::FAN_MARK_ADD | FAN_MARK_MNTNS;
        let mask = FAN_MNT_ATTACH | FAN_MNT_DETACH;
        // SAFETY: no path is given; the rest are integers.
        let result = unsafe {
            libc::fanotify_mark(self.fd.as_raw_fd(), flags, mask, namespace.as_raw_fd(), std::ptr::null())
        };
        if result == 0 { Ok(()) } else { Err(last_errno()) }
    }

    /// Appends what has happened, as many as `buffer` has room for (a few KiB at least); whether there was any.
    pub fn read(&self, buffer: &mut [u8], events: &mut Vec<MountEvent>) -> Result<bool, Errno> {
        let read = match rustix::io::retry_on_intr(|| rustix::io::read(&self.fd, &mut *buffer)) {
            Ok(read) => read,
            Err(Errno::AGAIN) => return Ok(false),
            Err(errno) => return Err(errno),
        };
        parse(&buffer[..read], events);
        Ok(read > 0)
    }
}

impl AsFd for MountEvents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// `struct fanotify_event_metadata` (24 bytes) and its information records, by offsets.
fn parse(mut bytes: &[u8], events: &mut Vec<MountEvent>) {
    const METADATA: usize = 24;
    while bytes.len() >= METADATA {
        let u16_at = |at: usize| usize::from(u16::from_ne_bytes([bytes[at], bytes[at + 1]]));
        let u64_at =
            |at: usize| bytes.get(at..at + 8).and_then(|it| it.try_into().ok()).map(u64::from_ne_bytes);
        let length = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
        let Some(event) = bytes.get(..length).filter(|event| event.len() >= METADATA) else { return };
        let mask = u64_at(8).unwrap_or(0);
        let pid = i32::from_ne_bytes([bytes[20], bytes[21], bytes[22], bytes[23]]);
        if mask & FAN_Q_OVERFLOW != 0 {
            events.push(MountEvent::Overflow);
        }
        // Records: type, padding, length, then what the type has.
        let mut at = u16_at(6).max(METADATA);
        while at + 4 <= event.len() {
            let record = u16_at(at + 2);
            if event[at] == FAN_EVENT_INFO_TYPE_MNT
                && let Some(id) = u64_at(at + 8)
            {
                events.push(MountEvent::Mount {
                    id,
                    attached: mask & FAN_MNT_ATTACH != 0,
                    detached: mask & FAN_MNT_DETACH != 0,
                    pid: u32::try_from(pid).unwrap_or(0),
                });
            }
            at += record.max(4);
        }
        bytes = &bytes[length..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(mask: u64, pid: i32, id: Option<u64>) -> Vec<u8> {
        let length: u32 = if id.is_some() { 40 } else { 24 };
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend([3, 0]);
        bytes.extend(24u16.to_ne_bytes());
        bytes.extend(mask.to_ne_bytes());
        bytes.extend((-1i32).to_ne_bytes());
        bytes.extend(pid.to_ne_bytes());
        if let Some(id) = id {
            bytes.extend([FAN_EVENT_INFO_TYPE_MNT, 0]);
            bytes.extend(16u16.to_ne_bytes());
            bytes.extend([0; 4]);
            bytes.extend(id.to_ne_bytes());
        }
        bytes
    }

    #[test]
    fn events_from_bytes() {
        let mut bytes = event(FAN_MNT_ATTACH, 812, Some(7));
        bytes.extend(event(FAN_MNT_ATTACH | FAN_MNT_DETACH, 0, Some(8)));
        bytes.extend(event(FAN_Q_OVERFLOW, 0, None));
        let mut events = Vec::new();
        parse(&bytes, &mut events);
        let mount = |id, detached, pid| MountEvent::Mount { id, attached: true, detached, pid };
        assert_eq!(events, [mount(7, false, 812), mount(8, true, 0), MountEvent::Overflow]);
        for cut in 0..bytes.len() {
            parse(&bytes[..cut], &mut Vec::new());
        }
        parse(&[0xff; 64], &mut events);
        parse(&[0; 64], &mut events);
        assert_eq!(events.len(), 3);
    }
}
