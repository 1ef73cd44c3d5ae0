//! Namespaces by descriptor: unshare(2), setns(2), and the loopback interface of a new network namespace.
//!
//! Sources: namespaces(7), setns(2), unshare(2), netdevice(7), pid_namespaces(7).

use crate::process::last_errno;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;
use rustix::thread::{LinkNameSpaceType, UnshareFlags};

/// Kinds of namespace, as a set of `CLONE_NEW*` bits.
pub use rustix::thread::ThreadNameSpaceType as Namespaces;

/// unshare(2) of namespaces; for [`Namespaces::PROCESS_ID`] the *next child* is in the new one.
///
/// Safe because the file descriptor table and the memory stay what they were: only `CLONE_NEW*` can be said
/// here.
pub fn unshare(namespaces: Namespaces) -> Result<(), Errno> {
    let flags = UnshareFlags::from_bits_retain(namespaces.bits());
    // SAFETY: `Namespaces` has no CLONE_FILES; the other effects are on namespaces only.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// setns(2) into one namespace, by an open `/proc/PID/ns/KIND`.
#[doc(alias = "setns")]
pub fn enter(namespace: BorrowedFd<'_>) -> Result<(), Errno> {
    rustix::thread::move_into_link_name_space(namespace, None::<LinkNameSpaceType>)
}

/// setns(2) into namespaces of the process that `pidfd` is (Linux 5.8), all or none. With
/// [`Namespaces::MOUNT`] the root and working directory become the root of that mount namespace.
#[doc(alias = "setns")]
pub fn enter_of(pidfd: BorrowedFd<'_>, namespaces: Namespaces) -> Result<(), Errno> {
    rustix::thread::move_into_thread_name_spaces(pidfd, namespaces)
}

/// Opens `/proc/self/ns/KIND`, such as `net` or `pid_for_children`.
pub fn open_own(kind: &str) -> Result<OwnedFd, Errno> {
    open(format!("/proc/self/ns/{kind}"))
}

/// Opens `/proc/PID/ns/KIND`. The caller makes sure that the pid is still whom it means.
pub fn open_of(pid: Pid, kind: &str) -> Result<OwnedFd, Errno> {
    open(format!("/proc/{}/ns/{kind}", pid.as_raw_nonzero()))
}

fn open(path: String) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// Brings the interface `lo` of this network namespace up, which gives it 127.0.0.1 and ::1
/// (`SIOCGIFFLAGS`, `SIOCSIFFLAGS`; any kind of socket will do, netdevice(7)).
#[doc(alias = "SIOCSIFFLAGS")]
pub fn loopback_up() -> Result<(), Errno> {
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: ifreq is plain data for which zero is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    interface_ioctl(socket.as_fd(), libc::SIOCGIFFLAGS, &mut request)?;
    // SAFETY: the kernel has just written this member of the union.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    request.ifr_ifru.ifru_flags = flags | libc::IFF_UP as libc::c_short;
    interface_ioctl(socket.as_fd(), libc::SIOCSIFFLAGS, &mut request)
}

fn interface_ioctl(
    socket: BorrowedFd<'_>,
    operation: libc::c_ulong,
    request: &mut libc::ifreq,
) -> Result<(), Errno> {
    // SAFETY: both operations read and write one ifreq, which `request` is.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), operation as _, std::ptr::from_mut(request)) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}
