//! fanotify groups that together mark every mount namespace.
//!
//! An event does not say in which namespace it was, so as many groups are used as a user may reasonably take of those that
//! the kernel allows; in a group with several namespaces, statmount(2) is asked in each.

use crate::{Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::{AsFd as _, BorrowedFd};
use rustix::io::Errno;
use std::time::Duration;
use sys::fanotify::{MountEvent, MountEvents};

/// How many groups at most, and what part of those that the user may have: others need some too.
const MAX_GROUPS: usize = 32;
const PART: usize = 4;

/// At most so many events are taken at once; the rest waits in the kernel's queue.
const MAX_AT_ONCE: usize = 1 << 16;

#[derive(Debug)]
struct Group {
    events: MountEvents,
    /// The 64-bit ids of its namespaces.
    namespaces: Vec<u64>,
}

#[derive(Debug)]
pub(super) struct Groups {
    groups: Vec<Group>,
    most: usize,
    buffer: Vec<u8>,
}

/// An event, and the namespaces that it can be of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Raw {
    pub(super) event: MountEvent,
    pub(super) group: usize,
}

impl Groups {
    /// With one group, and no namespace yet.
    pub(super) fn new() -> std::result::Result<Groups, Errno> {
        let allowed = std::fs::read_to_string("/proc/sys/fs/fanotify/max_user_groups").ok();
        let allowed: usize = allowed.and_then(|text| text.trim().parse().ok()).unwrap_or(128);
        let first = Group { events: MountEvents::new()?, namespaces: Vec::new() };
        let most = (allowed / PART).clamp(1, MAX_GROUPS);
        Ok(Groups { groups: vec![first], most, buffer: vec![0; 64 * 1024] })
    }

    /// Marks a namespace in the group with the fewest.
    pub(super) fn add(&mut self, namespace: BorrowedFd<'_>, unique: u64) -> std::result::Result<(), Errno> {
        let full = self.groups.iter().all(|group| !group.namespaces.is_empty());
        if full && self.groups.len() < self.most {
            match MountEvents::new() {
                Ok(events) => self.groups.push(Group { events, namespaces: Vec::new() }),
                // Others have the rest: ours are shared.
                Err(Errno::MFILE) => self.most = self.groups.len(),
                Err(errno) => return Err(errno),
            }
        }
        let Some(group) = self.groups.iter_mut().min_by_key(|group| group.namespaces.len()) else {
            return Ok(());
        };
        group.events.add(namespace)?;
        group.namespaces.push(unique);
        Ok(())
    }

    /// Forgets namespaces that are gone, whose marks went with them.
    pub(super) fn retain(&mut self, is_there: impl Fn(u64) -> bool) {
        for group in &mut self.groups {
            group.namespaces.retain(|unique| is_there(*unique));
        }
    }

    pub(super) fn namespaces(&self, group: usize) -> &[u64] {
        self.groups.get(group).map_or(&[], |group| &group.namespaces)
    }

    /// Waits until something has happened. Whether it has.
    pub(super) fn wait(&self, timeout: Duration) -> Result<bool> {
        let mut fds: Vec<PollFd<'_>> = self
            .groups
            .iter()
            .map(|group| PollFd::from_borrowed_fd(group.events.as_fd(), PollFlags::IN))
            .collect();
        poll(&mut fds, timeout)
    }

    /// Takes what has happened; whether that is all.
    pub(super) fn read(&mut self, found: &mut Vec<Raw>) -> Result<bool> {
        let mut events = Vec::new();
        for (at, group) in self.groups.iter().enumerate() {
            loop {
                if found.len() >= MAX_AT_ONCE {
                    return Ok(false);
                }
                events.clear();
                let more = group.events.read(&mut self.buffer, &mut events);
                let more = more.map_err(|errno| Error::Watch { source: errno.into() })?;
                found.extend(events.iter().map(|&event| Raw { event, group: at }));
                if !more {
                    break;
                }
            }
        }
        Ok(true)
    }
}

/// poll(2), again where a signal was taken.
pub(super) fn poll(fds: &mut [PollFd<'_>], timeout: Duration) -> Result<bool> {
    let time = Timespec {
        tv_sec: timeout.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    };
    match rustix::event::poll(fds, Some(&time)) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(errno) => Err(Error::Watch { source: errno.into() }),
    }
}
