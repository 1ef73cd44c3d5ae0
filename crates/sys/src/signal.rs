//! Signals as something to read: blocked, and taken from a descriptor (signalfd(2)) that poll(2) can wait for.

use crate::process::last_errno;
use rustix::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use rustix::io::Errno;
use rustix::process::Signal;

/// A signal that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Which.
    pub signal: Signal,
    /// Whether the kernel sent it by itself (`SI_KERNEL`: a key on the terminal, a hang-up), which sends it to the
    /// whole process group, and not a process (kill(2)), which may have meant us alone.
    pub by_kernel: bool,
}

/// Signals that are read instead of interrupting. They stay blocked when this is dropped (also across fork(2)
/// and execve(2): [`crate::process::reset_signals`] in the child).
#[derive(Debug)]
pub struct Signals {
    fd: OwnedFd,
}

impl Signals {
    /// Blocks these signals for this thread, and all threads that it starts from now on, and opens a descriptor
    /// to read them from (close-on-exec, non-blocking).
    #[doc(alias = "signalfd")]
    #[doc(alias = "sigprocmask")]
    pub fn block(signals: &[Signal]) -> Result<Signals, Errno> {
        // SAFETY: fills a signal set of our own, and passes it to calls that only read it; -1 asks for a new
        // descriptor, which nobody else owns.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            for signal in signals {
                libc::sigaddset(&raw mut set, signal.as_raw());
            }
            // Returns the error, does not set errno; only a wrong `how` can fail.
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
            match libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
                -1 => Err(last_errno()),
                fd => Ok(Signals { fd: OwnedFd::from_raw_fd(fd) }),
            }
        }
    }

    /// The next signal that has come, or none. Several of one kind may be read as one.
    pub fn read(&self) -> Result<Option<Received>, Errno> {
        // SAFETY: plain data for which zero is valid.
        let mut info: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
        let size = size_of_val(&info);
        loop {
            // SAFETY: writes at most `size` bytes to a structure of that size.
            match unsafe { libc::read(self.fd.as_raw_fd(), (&raw mut info).cast(), size) } {
                read if read == size as isize => break,
                _ => match last_errno() {
                    Errno::INTR => {}
                    Errno::AGAIN => return Ok(None),
                    errno => return Err(errno),
                },
            }
        }
        let by_kernel = info.ssi_code == libc::SI_KERNEL;
        Ok(Signal::from_named_raw(info.ssi_signo as i32).map(|signal| Received { signal, by_kernel }))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocked_signal_is_read() {
        // In a thread, so that the mask of the test runner stays as it is.
        std::thread::spawn(|| {
            let signals = Signals::block(&[Signal::USR1, Signal::USR2]).unwrap();
            assert_eq!(signals.read(), Ok(None));
            // SAFETY: sends a signal, which this thread blocks, to this thread.
            unsafe { libc::pthread_kill(libc::pthread_self(), libc::SIGUSR2) };
            assert_eq!(signals.read(), Ok(Some(Received { signal: Signal::USR2, by_kernel: false })));
            assert_eq!(signals.read(), Ok(None));
        })
        .join()
        .unwrap();
    }
}
