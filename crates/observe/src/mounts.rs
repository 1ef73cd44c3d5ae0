//! The mounts that a process sees, from its mountinfo.

use crate::{Error, Result};
use mount_table::MountTable;
use rustix::event::{PollFd, PollFlags, Timespec};
use std::fs::File;
use std::io::Seek as _;
use std::path::{Path, PathBuf};

/// How often a mountinfo is read at most until nothing changes meanwhile.
pub const MAX_READS: u32 = 32;
/// The kernel gives a page at most at a time, unless a row is longer.
const PIECE: usize = 4096;

/// The mounts that this process sees, from its root directory.
///
/// # Errors
/// As [`read_mounts_of`].
pub fn read_own_mounts() -> Result<MountTable> {
    read_mountinfo(PathBuf::from("/proc/self/mountinfo"))
}

/// The mounts that a process sees, from its root directory, as of one moment.
///
/// A mountinfo longer than a page is read in pieces, between which mounts can come and go. The kernel keeps a
/// count of attached and detached mounts for every namespace, and poll(2) on the open file says whether it has
/// moved since (proc_pid_mountinfo(5); `mounts_poll()` in fs/proc_namespace.c): then it is read again. Changes
/// of propagation type and of mount options do not move that count; each row is right on its own.
///
/// # Errors
/// [`Error::Read`] if there is no such process ([`Error::is_gone`]) or it may not be read,
/// [`Error::Unstable`] after [`MAX_READS`] readings.
pub fn read_mounts_of(pid: u32) -> Result<MountTable> {
    read_mountinfo(PathBuf::from(format!("/proc/{pid}/mountinfo")))
}

fn read_mountinfo(path: PathBuf) -> Result<MountTable> {
    let mut bytes = Vec::with_capacity(16 * 1024);
    Ok(read_mountinfo_into(path, &mut bytes, &mut |_| true)?.unwrap_or_default())
}

/// The same with a buffer that can be used again. `go_on` is asked after every piece, with all that was read so far; none if
/// it says no.
pub(crate) fn read_mountinfo_into(
    path: PathBuf,
    bytes: &mut Vec<u8>,
    go_on: &mut dyn FnMut(&[u8]) -> bool,
) -> Result<Option<MountTable>> {
    if !read_settled(&path, bytes, go_on)? {
        return Ok(None);
    }
    MountTable::parse_mountinfo(bytes).map(Some).map_err(|source| Error::Parse { path, source })
}

/// The file's bytes of a reading during which no mount came or went; whether it was read to its end.
fn read_settled(path: &Path, bytes: &mut Vec<u8>, go_on: &mut dyn FnMut(&[u8]) -> bool) -> Result<bool> {
    let error = |source| Error::Read { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(error)?;
    for _ in 0..MAX_READS {
        bytes.clear();
        file.rewind().map_err(error)?;
        loop {
            bytes.reserve(PIECE);
            let read =
                rustix::io::retry_on_intr(|| rustix::io::read(&file, rustix::buffer::spare_capacity(bytes)));
            if read.map_err(|errno| error(errno.into()))? == 0 {
                break;
            }
            if !go_on(bytes) {
                return Ok(false);
            }
        }
        if !has_changed(&file).map_err(error)? {
            return Ok(true);
        }
    }
    Err(Error::Unstable { path: path.to_owned(), reads: MAX_READS })
}

/// Whether mounts came or went in the namespace since the file was opened or this was asked last.
fn has_changed(mountinfo: &File) -> std::io::Result<bool> {
    let mut fds = [PollFd::new(mountinfo, PollFlags::PRI)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, Some(&now)))?;
    Ok(fds[0].revents().intersects(PollFlags::PRI | PollFlags::ERR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_mounts_have_a_root_and_proc() {
        let table = read_own_mounts().unwrap();
        assert!(table.carrier(Path::new("/")).is_some());
        assert_eq!(table.carrier(Path::new("/proc/self")).unwrap().fs_type, "proc");
        let same = read_mounts_of(std::process::id()).unwrap();
        assert_eq!(table.carrier(Path::new("/")), same.carrier(Path::new("/")));
    }

    /// A shell in a mount namespace of its own, which mounts what it is told to and says when it has.
    #[test]
    fn a_mount_during_the_reading_is_noticed() {
        use std::io::{BufRead as _, BufReader, Write as _};
        if !rustix::process::geteuid().is_root() {
            let line = "SKIPPED: a_mount_during_the_reading_is_noticed: needs root";
            return writeln!(std::io::stdout(), "{line}").unwrap();
        }
        let script = "mount --make-rprivate / && while read command; do $command; echo done; done";
        let mut shell = std::process::Command::new("unshare")
            .args(["--mount", "sh", "-c", script])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("unshare(1) of util-linux");
        let (mut tell, hear) = (shell.stdin.take().unwrap(), shell.stdout.take().unwrap());
        let mut hear = BufReader::new(hear).lines();
        let mut run = |command: &str| {
            writeln!(tell, "{command}").unwrap();
            assert_eq!(hear.next().unwrap().unwrap(), "done");
        };
        run("true");
        let mountinfo = File::open(format!("/proc/{}/mountinfo", shell.id())).unwrap();
        assert!(!has_changed(&mountinfo).unwrap());
        run("mount -t tmpfs none /tmp");
        assert!(has_changed(&mountinfo).unwrap());
        assert!(!has_changed(&mountinfo).unwrap(), "told once");
        let table = read_mounts_of(shell.id()).unwrap();
        assert_eq!(table.topmost_at(Path::new("/tmp")).unwrap().source, "none");
        run("umount /tmp");
        assert!(has_changed(&mountinfo).unwrap());
        drop(tell);
        shell.wait().unwrap();
    }

    #[test]
    fn a_process_that_is_not_there_is_gone() {
        // Above PID_MAX_LIMIT (2^22) on every kernel.
        let error = read_mounts_of(u32::MAX).unwrap_err();
        assert!(error.is_gone(), "{error:?}");
        assert_eq!(error.to_string(), "reading /proc/4294967295/mountinfo");
    }
}
