//! Record locks of a process (fcntl(2), `F_SETLK`): held until the process ends, not inherited by its children, and it
//! can be asked who holds one.

use crate::process::last_errno;
use rustix::fd::{AsFd, AsRawFd as _};
use rustix::io::Errno;
use rustix::process::Pid;

fn whole_file(kind: i32) -> libc::flock {
    // SAFETY: plain data for which zero is valid: from the file's beginning to its end, wherever that is.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock
}

/// Takes the lock on a file open for writing, for as long as this process lives or until it closes any descriptor of that
/// file. `AGAIN` or `ACCESS` if another process has it.
#[doc(alias = "F_SETLK")]
pub fn take(file: impl AsFd) -> Result<(), Errno> {
    let lock = whole_file(libc::F_WRLCK);
    // SAFETY: the kernel only reads the structure.
    match unsafe { libc::fcntl(file.as_fd().as_raw_fd(), libc::F_SETLK, &raw const lock) } {
        0 => Ok(()),
        _ => Err(last_errno()),
    }
}

/// Who holds a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// No other process.
    Nobody,
    /// This one.
    Process(Pid),
    /// One that is not in our pid namespace.
    Foreign,
}

/// Who holds the lock on a file; takes nothing, so that nobody is kept from taking it.
#[doc(alias = "F_GETLK")]
pub fn holder(file: impl AsFd) -> Result<Holder, Errno> {
    let mut lock = whole_file(libc::F_WRLCK);
    // SAFETY: the kernel writes to the structure, which is ours.
    match unsafe { libc::fcntl(file.as_fd().as_raw_fd(), libc::F_GETLK, &raw mut lock) } {
        0 if i32::from(lock.l_type) == libc::F_UNLCK => Ok(Holder::Nobody),
        // 0 for a holder that has no pid here, -1 for one that is no process.
        0 if lock.l_pid <= 0 => Ok(Holder::Foreign),
        0 => Ok(Pid::from_raw(lock.l_pid).map_or(Holder::Foreign, Holder::Process)),
        _ => Err(last_errno()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_process_sees_who_holds_it() {
        let path = std::env::temp_dir().join(format!("sys-lock-{}", std::process::id()));
        let file = std::fs::File::create(&path).unwrap();
        assert_eq!(holder(&file), Ok(Holder::Nobody));
        take(&file).unwrap();
        // Our own lock is no obstacle to ourselves.
        assert_eq!(holder(&file), Ok(Holder::Nobody));
        // A reader of /proc/locks is another process' view.
        let us = std::process::id().to_string();
        let locks = std::fs::read_to_string("/proc/locks").unwrap();
        assert!(locks.lines().any(|line| line.contains("POSIX") && line.split(' ').any(|word| word == us)));
        drop(file);
        std::fs::remove_file(path).unwrap();
    }
}
