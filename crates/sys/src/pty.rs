//! Pseudo-terminals out of one particular devpts, without trusting a path in it.
//!
//! Sources: pty(7), `TIOCGPTPEER` and `TIOCSPTLCK` in ioctl_tty(2), Documentation/filesystems/devpts.rst.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::pty::OpenptFlags;
use std::path::Path;

/// `DEVPTS_SUPER_MAGIC`, include/uapi/linux/magic.h
const DEVPTS_SUPER_MAGIC: u64 = 0x1cd1;
/// The device number of `/dev/ptmx`, Documentation/admin-guide/devices.txt
const PTMX: (u32, u32) = (5, 2);

/// The two ends of a pseudo-terminal.
#[derive(Debug)]
pub struct Pty {
    /// Whoever shows the terminal has this end.
    pub master: OwnedFd,
    /// The program's terminal.
    pub slave: OwnedFd,
}

/// A new pseudo-terminal of the devpts that is mounted at `directory` (normally `/dev/pts`).
///
/// What a container can put at that path is not believed (CVE-2025-52565 is a race for it): the directory
/// must itself be of a devpts, its `ptmx` must be the device 5:2, and the slave comes from the master
/// (`TIOCGPTPEER`, Linux 4.13), not from a name. Anything else is `ENODEV`.
#[doc(alias = "posix_openpt")]
pub fn open(directory: &Path) -> Result<Pty, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_MAGICLINKS;
    let directory = rustix::fs::openat2(rustix::fs::CWD, directory, flags, Mode::empty(), resolve)?;
    if rustix::fs::fstatfs(&directory)?.f_type as u64 != DEVPTS_SUPER_MAGIC {
        return Err(Errno::NODEV);
    }
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let master = rustix::fs::openat2(&directory, c"ptmx", flags, Mode::empty(), resolve)?;
    let device = rustix::fs::fstat(&master)?.st_rdev;
    if (rustix::fs::major(device), rustix::fs::minor(device)) != PTMX {
        return Err(Errno::NODEV);
    }
    rustix::pty::unlockpt(&master)?;
    let slave = rustix::pty::ioctl_tiocgptpeer(
        master.as_fd(),
        OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC,
    )?;
    Ok(Pty { master, slave })
}
