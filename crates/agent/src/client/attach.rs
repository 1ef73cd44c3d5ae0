//! Attaching: a container's standard input or terminal, from its supervisor.

use super::watch::{ANSWER_TIMEOUT, wait_for};
use super::{Client, ClientError, PodRef, Result};
use crate::protocol::{ATTACH_SINCE, Answer, Request};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

/// The longest answer: a reason.
const MAX_ANSWER_BYTES: usize = 16 * 1024;

impl Client {
    /// What is written to a running container's standard input (`stdin: true`): a pipe, or with `tty: true` the master of
    /// its terminal. What the container writes is in its log. Where it has `stdinOnce`, its input ends with ours.
    ///
    /// # Errors
    /// There is no supervisor, it is of a version that could not do this, or it says why not.
    pub fn attach_input(&self, pod: &PodRef, container: &str) -> Result<OwnedFd> {
        let talk = |source| ClientError::Talk { pod: pod.key.clone(), source };
        let refused = |reason: String| ClientError::Refused { pod: pod.key.clone(), reason };
        let mut connection = self.connect_since(pod, ATTACH_SINCE, "attach by")?;
        connection.ask(&Request::Attach { container: container.to_owned() }).map_err(talk)?;
        let (line, fd) = receive(connection.stream()).map_err(talk)?;
        match (serde_json::from_slice(&line).map_err(|e| talk(e.into()))?, fd) {
            (Answer::Attached, Some(fd)) => Ok(fd),
            (Answer::Error { message }, _) => Err(refused(message)),
            _ => Err(talk(io::ErrorKind::InvalidData.into())),
        }
    }
}

/// The next line, and the descriptor that came with it.
fn receive(stream: &UnixStream) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
    let until = Instant::now() + ANSWER_TIMEOUT;
    let (mut line, mut given) = (Vec::new(), None);
    while line.last() != Some(&b'\n') {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if wait_for(&[stream.as_fd()], left)? != [true] {
            continue;
        }
        let mut chunk = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut chunk)];
        let bytes = rustix::net::recvmsg(stream, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(mut fds) = message {
                given = fds.next().or(given);
            }
        }
        if bytes == 0 || line.len() + bytes > MAX_ANSWER_BYTES {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.extend_from_slice(&chunk[..bytes]);
    }
    Ok((line, given))
}
