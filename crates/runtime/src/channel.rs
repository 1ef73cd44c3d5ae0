//! The words between the supervisor and a container's first process, over a pair of sequenced-packet sockets:
//! one packet a message, an end of file when the other has gone or (close-on-exec) runs its program.

use crate::error::StepFailure;
use crate::user::User;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use serde::{Deserialize, Serialize};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

/// The longest message, in bytes (a user with 8,192 groups is the longest thing to say).
const MESSAGE_MAX_BYTES: usize = 128 << 10;

/// What a child says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Report {
    /// Comes with the master of its terminal.
    Terminal,
    /// Everything but execve(2) is done; who it has become.
    Ready(User),
    /// A step failed; it ends.
    Failed(StepFailure),
    /// The program could not be executed; it ends with this exit code.
    NotExecuted {
        /// runc's words.
        message: String,
        /// 126 or 127.
        exit_code: i32,
    },
}

/// What came out of waiting for a child's word.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A message, with the descriptor that came along.
    Report(Report, Option<OwnedFd>),
    /// The other end is closed.
    End,
    /// Nothing within the time.
    Silence,
}

/// A connected pair: (ours, the child's).
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// Sends a report, with a descriptor if one belongs to it.
pub(crate) fn send(
    channel: BorrowedFd<'_>,
    report: &Report,
    fd: Option<BorrowedFd<'_>>,
) -> Result<(), Errno> {
    let text = serde_json::to_vec(report).map_err(|_| Errno::INVAL)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds: Vec<BorrowedFd<'_>> = fd.into_iter().collect();
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(Errno::NOBUFS);
    }
    rustix::net::sendmsg(channel, &[IoSlice::new(&text)], &mut control, SendFlags::NOSIGNAL).map(drop)
}

/// Waits for a report.
pub(crate) fn receive(channel: BorrowedFd<'_>, timeout: Duration) -> Result<Heard, Errno> {
    if !wait_readable(channel, timeout)? {
        return Ok(Heard::Silence);
    }
    // How long it is, first: room for the longest message would be 32 pages, for an end that mostly says nothing.
    let length = match rustix::net::recv(channel, &mut [0u8; 0][..], RecvFlags::PEEK | RecvFlags::TRUNC) {
        Ok((_, 0)) | Err(Errno::CONNRESET) => return Ok(Heard::End),
        Ok((_, length)) => length.min(MESSAGE_MAX_BYTES),
        Err(errno) => return Err(errno),
    };
    let mut text = vec![0u8; length];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut text)];
    let received = match rustix::net::recvmsg(channel, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
        Ok(message) => message.bytes,
        Err(Errno::CONNRESET) => 0,
        Err(errno) => return Err(errno),
    };
    let fd = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    if received == 0 {
        return Ok(Heard::End);
    }
    let report = serde_json::from_slice(&text[..received]).map_err(|_| Errno::BADMSG)?;
    Ok(Heard::Report(report, fd))
}

fn wait_readable(channel: BorrowedFd<'_>, timeout: Duration) -> Result<bool, Errno> {
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        match poll(&mut [PollFd::from_borrowed_fd(channel, PollFlags::IN)], Some(&left)) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Tells the child to go on.
pub(crate) fn send_start(channel: BorrowedFd<'_>) -> Result<(), Errno> {
    rustix::net::send(channel.as_fd(), b"start", SendFlags::NOSIGNAL).map(drop)
}

/// In the child: waits to be told to go on. False if the supervisor has gone.
pub(crate) fn wait_for_start(channel: BorrowedFd<'_>) -> Result<bool, Errno> {
    loop {
        let mut word = [0u8; 8];
        match rustix::net::recv(channel, &mut word[..], RecvFlags::empty()) {
            Ok((count, _)) => return Ok(count > 0),
            Err(Errno::INTR) => {}
            Err(Errno::CONNRESET) => return Ok(false),
            Err(errno) => return Err(errno),
        }
    }
}
