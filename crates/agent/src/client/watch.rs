//! Watching a pod: its status now, and after every change, from its supervisor or, when that has gone, from the disk.

use super::{Client, ClientError, PodRef, Result};
use crate::protocol::{Answer, Greeting, Request};
use crate::status_file::StatusFile;
use crate::supervisor::{self, Living, socket_path};
use rustix::event::{PollFd, PollFlags, Timespec};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// The longest line that a supervisor sends; a status is some kilobytes.
const MAX_LINE_BYTES: usize = 4 << 20;
/// How long a supervisor may take to answer: it may be making a container's mounts.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(90);

/// A connection to a supervisor.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    incoming: Vec<u8>,
    /// What it said first.
    greeting: Option<Greeting>,
}

impl Connection {
    /// Connects; `None` where there is no supervisor (any more).
    fn open(client: &Client, pod: &PodRef) -> io::Result<Option<Connection>> {
        let connected =
            socket_path(&client.root, &pod.uid).and_then(|(_folder, path)| UnixStream::connect(path));
        match connected {
            Ok(stream) => Ok(Some(Connection { stream, incoming: Vec::new(), greeting: None })),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    pub(super) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    pub(super) fn ask(&mut self, request: &Request) -> io::Result<()> {
        let mut line = serde_json::to_vec(request).map_err(io::Error::other)?;
        line.push(b'\n');
        self.stream.write_all(&line)
    }

    /// A whole line that has come already.
    fn line(&mut self) -> Option<Vec<u8>> {
        let end = self.incoming.iter().position(|b| *b == b'\n')?;
        Some(self.incoming.drain(..=end).collect())
    }

    /// Reads what has come, not waiting; false at the end.
    fn read(&mut self) -> io::Result<bool> {
        if self.incoming.len() > MAX_LINE_BYTES {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut chunk = [0; 16 * 1024];
        self.stream.set_nonblocking(true)?;
        let read = self.stream.read(&mut chunk);
        self.stream.set_nonblocking(false)?;
        match read {
            Ok(0) => Ok(false),
            Ok(count) => {
                self.incoming.extend_from_slice(&chunk[..count]);
                Ok(true)
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// The next line within the time; `None` at the end.
    pub(super) fn wait_for_line(&mut self, timeout: Duration) -> io::Result<Option<Vec<u8>>> {
        let until = Instant::now() + timeout;
        loop {
            if let Some(line) = self.line() {
                return Ok(Some(line));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            wait_for(&[self.stream.as_fd()], left)?;
            if !self.read()? && !self.incoming.contains(&b'\n') {
                return Ok(None);
            }
        }
    }
}

/// Waits until one of the descriptors can be read, or the time has passed; which can.
pub(crate) fn wait_for(fds: &[BorrowedFd<'_>], timeout: Duration) -> io::Result<Vec<bool>> {
    let timeout = Timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    };
    let mut polled: Vec<PollFd<'_>> =
        fds.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    match rustix::event::poll(&mut polled, Some(&timeout)) {
        Ok(_) => Ok(polled.iter().map(|fd| !fd.revents().is_empty()).collect()),
        Err(rustix::io::Errno::INTR) => Ok(vec![false; fds.len()]),
        Err(e) => Err(e.into()),
    }
}

/// A pod being watched.
#[derive(Debug)]
pub struct Watch {
    pod: PodRef,
    connection: Option<Connection>,
    latest: StatusFile,
}

impl Watch {
    /// The status that was read last.
    pub fn latest(&self) -> &StatusFile {
        &self.latest
    }

    /// The pod.
    pub fn pod(&self) -> &PodRef {
        &self.pod
    }

    /// Readable when there is news; none when the supervisor has gone and there will be none.
    pub fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        self.connection.as_ref().map(|c| c.stream.as_fd())
    }

    /// Takes in what has come, not waiting; whether the status changed.
    ///
    /// # Errors
    /// The supervisor says what is not understood, or the status cannot be read.
    pub fn read(&mut self, client: &Client) -> Result<bool> {
        let Some(connection) = &mut self.connection else { return Ok(false) };
        let talk = |source| ClientError::Talk { pod: self.pod.key.clone(), source };
        let goes_on = connection.read().map_err(talk)?;
        let mut changed = false;
        while let Some(line) = connection.line() {
            if let Answer::Status { status } = serde_json::from_slice(&line).map_err(|e| talk(e.into()))? {
                self.latest = *status;
                changed = true;
            }
        }
        if !goes_on {
            self.connection = None;
            self.latest = client.view(&self.pod)?.status;
            changed = true;
        }
        Ok(changed)
    }
}

impl Client {
    /// Watches a pod from now on.
    ///
    /// # Errors
    /// There is no such pod, or its supervisor cannot be talked to.
    pub fn watch(&self, pod: &PodRef) -> Result<Watch> {
        let talk = |source| ClientError::Talk { pod: pod.key.clone(), source };
        let mut connection = self.connect(pod, ANSWER_TIMEOUT)?;
        match connection.as_mut().map(|connection| connection.ask(&Request::Subscribe)) {
            // A supervisor that ends leaves its last status on the disk, which is read next.
            Some(Err(e)) if has_gone(&e) => connection = None,
            Some(Err(e)) => return Err(talk(e)),
            Some(Ok(())) | None => {}
        }
        Ok(Watch { pod: pod.clone(), latest: self.view(pod)?.status, connection })
    }

    /// Connects to a pod's supervisor for a request that is known since a version of the protocol; `to` says for what.
    pub(super) fn connect_since(&self, pod: &PodRef, version: u32, to: &str) -> Result<Connection> {
        let Some(connection) = self.connect(pod, ANSWER_TIMEOUT)? else {
            let reason = format!("pod {:?} has no supervisor to {to}", pod.key.name);
            return Err(ClientError::Refused { pod: pod.key.clone(), reason });
        };
        match connection.greeting.as_ref().filter(|greeting| greeting.protocol < version) {
            Some(old) => Err(ClientError::TooOld { pod: pod.key.clone(), version: old.rhizome.clone() }),
            None => Ok(connection),
        }
    }

    /// Connects to a pod's supervisor and hears its greeting.
    pub(super) fn connect(&self, pod: &PodRef, timeout: Duration) -> Result<Option<Connection>> {
        let talk = |source| ClientError::Talk { pod: pod.key.clone(), source };
        let Some(mut connection) = Connection::open(self, pod).map_err(talk)? else { return Ok(None) };
        // Its version is not looked at here: most requests are of every version.
        match connection.wait_for_line(timeout) {
            Ok(Some(line)) => {
                connection.greeting = serde_json::from_slice(&line).map_err(|e| talk(e.into()))?;
                Ok(Some(connection))
            }
            Ok(None) => Ok(None),
            Err(e) => Err(talk(e)),
        }
    }

    /// Waits until `reached` says so, the supervisor has gone or the time has passed; the status then.
    ///
    /// # Errors
    /// As [`Client::watch`].
    pub fn wait_until(
        &self,
        pod: &PodRef,
        timeout: Option<Duration>,
        reached: impl Fn(&StatusFile) -> bool,
    ) -> Result<StatusFile> {
        let until = timeout.map(|timeout| Instant::now() + timeout);
        let mut watch = self.watch(pod)?;
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let over = reached(&watch.latest) || left.is_some_and(|left| left.is_zero());
            let Some(fd) = watch.wake_fd().filter(|_| !over) else { return Ok(watch.latest) };
            wait_for(&[fd], left.unwrap_or(Duration::from_secs(3600))).map_err(ClientError::Wait)?;
            watch.read(self)?;
        }
    }

    /// Waits for the end of a pod's run.
    ///
    /// # Errors
    /// As [`Client::watch`].
    pub fn wait(&self, pod: &PodRef, timeout: Option<Duration>) -> Result<StatusFile> {
        self.wait_until(pod, timeout, |status| status.state.done())
    }

    /// Asks a pod's supervisor to stop it, not waiting for the end; false if there is none.
    ///
    /// # Errors
    /// It cannot be talked to.
    pub fn ask_to_stop(&self, pod: &PodRef, grace_seconds: Option<u64>) -> Result<bool> {
        Ok(self.ask_to_stop_within(pod, grace_seconds, ANSWER_TIMEOUT)?.is_some())
    }

    /// As [`Client::ask_to_stop`]; the supervisor that was asked; `timeout` is how long it may take
    /// to answer. One that is about to listen, or about to end, is waited for.
    pub(super) fn ask_to_stop_within(
        &self,
        pod: &PodRef,
        grace_seconds: Option<u64>,
        timeout: Duration,
    ) -> Result<Option<Living>> {
        let talk = |source| ClientError::Talk { pod: pod.key.clone(), source };
        let request = Request::Stop { grace_seconds };
        let until = Instant::now() + timeout;
        let answers_for_itself = |asked: &Living| !asked.is_replaced(&self.root, &pod.uid);
        loop {
            // Before it is asked: if this one ends and another takes its place meanwhile, there is nothing to wait for.
            let asked = Living::find(&self.root, &pod.uid).map_err(talk)?;
            let connection = self.connect(pod, timeout)?;
            let answer = connection.map(|mut c| c.ask(&request).and_then(|()| c.wait_for_line(timeout)));
            match answer {
                Some(Ok(Some(_))) if asked.as_ref().is_some_and(answers_for_itself) => return Ok(asked),
                Some(Err(e)) if !has_gone(&e) => return Err(talk(e)),
                _ if !supervisor::is_alive(&self.root, &pod.uid) => return Ok(None),
                _ if Instant::now() >= until => return Err(talk(io::ErrorKind::TimedOut.into())),
                _ => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }
}

/// Whether the other side has closed the connection.
fn has_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}
