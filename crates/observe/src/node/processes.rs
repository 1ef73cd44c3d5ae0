//! The processes of /proc: which mount namespace each is in, where its root is, which cgroup.

use crate::node::cgroup::{Membership, parse_cgroup};
use crate::node::shares::in_shares;
use crate::{Error, Result};
use jiff::Timestamp;
use mount_table::{NamespaceId, readable};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::Arc;

/// A process that was seen. Threads of the kernel count only where they have mounts of their own (kdevtmpfs), and what has ended is none any more.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) pid: u32,
    pub(super) comm: String,
    /// In clock ticks since the machine started.
    pub(super) started: u64,
    /// None if the reader may not ask.
    pub(super) namespace: Option<NamespaceId>,
    /// The root directory within the namespace, if that is not the namespace's. None also if the reader may not ask.
    pub(super) root: Option<PathBuf>,
    pub(super) membership: Arc<Membership>,
    kernel_thread: bool,
}

/// All processes that can be seen, ascending.
pub(super) fn read_processes() -> Result<Vec<Seen>> {
    let proc = open_proc()?;
    let begin = || Reader { known: HashMap::new(), buffer: Vec::with_capacity(4096) };
    // What has gone meanwhile is not there.
    let seen =
        in_shares(&process_ids()?, begin, |reader, pid| reader.read(proc.as_fd(), *pid).ok().flatten());
    let mut seen: Vec<Seen> = seen.into_iter().flatten().collect();
    let host = seen.iter().find(|process| process.pid == 1).and_then(|process| process.namespace);
    seen.retain(|process| !process.kernel_thread || process.namespace.is_some() && process.namespace != host);
    Ok(seen)
}

pub(super) fn open_proc() -> Result<OwnedFd> {
    rustix::fs::open("/proc", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Error::Read { path: "/proc".into(), source: errno.into() })
}

/// Process ids, ascending.
pub(crate) fn process_ids() -> Result<Vec<u32>> {
    let error = |source| Error::Read { path: "/proc".into(), source };
    let mut pids = Vec::new();
    for entry in std::fs::read_dir("/proc").map_err(error)? {
        let name = entry.map_err(error)?.file_name();
        pids.extend(name.to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    pids.sort_unstable();
    Ok(pids)
}

struct Reader {
    /// What cgroup files say, by their text: most processes of a machine share a few.
    known: HashMap<Vec<u8>, Arc<Membership>>,
    buffer: Vec<u8>,
}

impl Reader {
    /// None for what has ended and was not waited for: it is in no namespace.
    fn read(&mut self, proc: BorrowedFd<'_>, pid: u32) -> std::result::Result<Option<Seen>, Errno> {
        // By a descriptor of its folder: the process stays the same whoever gets its number next.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(proc, pid.to_string(), flags, Mode::empty())?;
        self.fill(folder.as_fd(), "stat")?;
        let Some(stat) = parse_stat(&self.buffer).filter(|stat| !stat.ended) else {
            return Ok(None);
        };
        let namespace = match rustix::fs::statat(&folder, "ns/mnt", rustix::fs::AtFlags::empty()) {
            Ok(stat) => Some(NamespaceId(stat.st_ino)),
            Err(Errno::ACCESS | Errno::PERM) => None,
            // Gone.
            Err(errno) => return Err(errno),
        };
        let root = rustix::fs::readlinkat(&folder, "root", Vec::new()).ok();
        let root = root.map(|link| PathBuf::from(OsStr::from_bytes(link.as_bytes())));
        self.fill(folder.as_fd(), "cgroup")?;
        Ok(Some(Seen {
            pid,
            comm: stat.comm,
            started: stat.started,
            namespace,
            root: root.filter(|root| root.as_os_str() != "/"),
            membership: self.membership(),
            kernel_thread: stat.kernel_thread,
        }))
    }

    fn fill(&mut self, folder: BorrowedFd<'_>, name: &str) -> std::result::Result<(), Errno> {
        let file = rustix::fs::openat(folder, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        self.buffer.clear();
        loop {
            self.buffer.reserve(1024);
            if rustix::io::read(&file, rustix::buffer::spare_capacity(&mut self.buffer))? == 0 {
                return Ok(());
            }
        }
    }

    fn membership(&mut self) -> Arc<Membership> {
        if let Some(known) = self.known.get(&self.buffer) {
            return Arc::clone(known);
        }
        let membership = Arc::new(parse_cgroup(&self.buffer));
        self.known.insert(self.buffer.clone(), Arc::clone(&membership));
        membership
    }
}

struct Stat {
    comm: String,
    started: u64,
    kernel_thread: bool,
    ended: bool,
}

/// `PF_KTHREAD` of include/linux/sched.h, the same since Linux 2.6.
const PF_KTHREAD: u64 = 0x0020_0000;

/// `/proc/PID/stat`, proc_pid_stat(5). The name stands between the first `(` and the last `)`: a process may have
/// either in its name.
fn parse_stat(bytes: &[u8]) -> Option<Stat> {
    let open = bytes.iter().position(|&byte| byte == b'(')?;
    let close = bytes.iter().rposition(|&byte| byte == b')')?;
    let comm = readable(bytes.get(open + 1..close)?);
    let rest = std::str::from_utf8(bytes.get(close + 1..)?).ok()?;
    // The third field of the file is the first of these.
    let mut fields = rest.split_ascii_whitespace();
    let ended = matches!(fields.next()?, "Z" | "X");
    let flags: u64 = fields.nth(5)?.parse().ok()?;
    let started = fields.nth(12)?.parse().ok()?;
    Some(Stat { comm, started, kernel_thread: flags & PF_KTHREAD != 0, ended })
}

/// A time in clock ticks since the machine started as a time of day.
pub(super) fn time_of(ticks: u64) -> Option<Timestamp> {
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    let since_boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let ago = u64::try_from(since_boot.tv_sec).ok()?.checked_sub(ticks / per_second)?;
    let now = Timestamp::now().as_second();
    Timestamp::from_second(now - i64::try_from(ago).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_brackets_and_bytes() {
        let line = |comm: &[u8], flags: &str| {
            let mut line = b"812 (".to_vec();
            line.extend_from_slice(comm);
            let rest = format!(") S 1 812 812 0 -1 {flags} 1 2 3 4 5 6 7 8 20 0 1 0 4711 9 9");
            line.extend_from_slice(rest.as_bytes());
            line
        };
        let stat = parse_stat(&line(b"a) R (b\n\xff", "4194560")).unwrap();
        assert_eq!((stat.comm.as_str(), stat.started, stat.kernel_thread), ("a) R (b\n\\377", 4711, false));
        assert!(parse_stat(&line(b"kthreadd", "2129984")).unwrap().kernel_thread);
        for bad in [&b""[..], b"1 (", b")(", b"1 (a) S 1 2", b"1 (a) S 1 2 3 4 5 x 6"] {
            assert!(parse_stat(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn this_process_is_seen() {
        let seen = read_processes().unwrap();
        let own = seen.iter().find(|process| process.pid == std::process::id()).unwrap();
        let number = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata("/proc/self/ns/mnt").unwrap());
        assert_eq!(own.namespace, Some(NamespaceId(number)));
        assert_eq!(own.root, None);
        let age = Timestamp::now().as_second() - time_of(own.started).unwrap().as_second();
        assert!((-2..3600).contains(&age), "{age}");
    }
}
