//! The supervisor's socket: commands that ask, and commands that listen. Nobody can make the supervisor wait or grow:
//! requests are short, answers are bounded, and who does not read is dropped.

use crate::lifecycle::Event;
use crate::protocol::{Answer, Greeting, MAX_REQUEST_BYTES, PROTOCOL_VERSION, Request};
use crate::record::PodUid;
use crate::root::Root;
use crate::status_file::StatusFile;
use k8s_openapi::api::core::v1::EphemeralContainer;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How many may be connected at once.
const MAX_CLIENTS: usize = 64;
/// The most that waits to be read by one of them.
const MAX_WAITING_BYTES: usize = 1 << 20;

const SOCKET: &str = "supervisor.sock";

/// A socket's path through a descriptor of its folder, since a socket's address has room for 107 bytes only and a
/// root's path may be longer. The descriptor must live as long as the path is used.
pub(crate) fn socket_path(root: &Root, uid: &PodUid) -> io::Result<(OwnedFd, PathBuf)> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(root.pod_run(uid), flags, Mode::empty())?;
    let path = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(SOCKET);
    Ok((folder, path))
}

/// Who is connected.
#[derive(Debug)]
pub(super) struct Clients {
    listener: UnixListener,
    connected: BTreeMap<u64, Client>,
    next: u64,
    /// Who has asked for an end and is told once that is on the disk, in the order in which they asked.
    asked_to_stop: VecDeque<u64>,
}

/// What is the supervisor's to give.
#[derive(Debug)]
pub(super) enum Wants {
    /// The input of a container.
    Input(String),
    /// One more container.
    Container(Box<EphemeralContainer>),
    /// Other contents.
    Objects,
}

/// One of them.
#[derive(Debug)]
struct Client {
    stream: UnixStream,
    /// A request that is not whole yet.
    incoming: Vec<u8>,
    /// Answers that are not read yet.
    waiting: Vec<u8>,
    subscribed: bool,
    /// There is a later status than what waits.
    stale: bool,
    /// What it asked for that is not ours to give.
    wants: Option<Wants>,
}

impl Clients {
    /// Binds the pod's socket, mode 0600, in place of one that a dead supervisor left.
    pub(super) fn listen(root: &Root, uid: &PodUid) -> io::Result<Clients> {
        let (_folder, path) = socket_path(root, uid)?;
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        Ok(Clients { listener, connected: BTreeMap::new(), next: 0, asked_to_stop: VecDeque::new() })
    }

    /// To wait for who comes; none while there are too many.
    pub(super) fn listener(&self) -> Option<BorrowedFd<'_>> {
        (self.connected.len() < MAX_CLIENTS).then(|| self.listener.as_fd())
    }

    pub(super) fn fds(&self) -> impl Iterator<Item = (u64, BorrowedFd<'_>, PollFlags)> {
        self.connected.iter().map(|(id, client)| {
            let write = if client.waiting.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
            (*id, client.stream.as_fd(), PollFlags::IN | write)
        })
    }

    pub(super) fn accept(&mut self, uid: &PodUid) {
        let Ok((stream, _)) = self.listener.accept() else { return };
        if stream.set_nonblocking(true).is_err() {
            return;
        }
        let mut client = Client {
            stream,
            incoming: Vec::new(),
            waiting: Vec::new(),
            subscribed: false,
            stale: false,
            wants: None,
        };
        client.push(&Greeting {
            protocol: PROTOCOL_VERSION,
            rhizome: env!("CARGO_PKG_VERSION").to_owned(),
            pod: uid.to_string(),
        });
        if client.flush().is_ok() {
            self.connected.insert(self.next, client);
            self.next += 1;
        }
    }

    /// Reads what a client asks and writes what it may have; gives what the state machine is to be told.
    pub(super) fn serve(&mut self, id: u64, file: &StatusFile) -> Vec<Event> {
        let Some(client) = self.connected.get_mut(&id) else { return Vec::new() };
        let asked = client.read();
        let mut events = Vec::new();
        for line in asked.as_deref().unwrap_or_default() {
            events.extend(client.answer(line, file));
        }
        // Each is told once. Who does not wait for it is dropped with its connection.
        self.asked_to_stop.extend(events.iter().map(|_| id));
        let alive = asked.is_ok() && client.update(file).is_ok() && client.waiting.len() <= MAX_WAITING_BYTES;
        if !alive {
            self.connected.remove(&id);
        }
        events
    }

    /// What a client asked for that is not ours to give, told once.
    pub(super) fn take_wish(&mut self, id: u64) -> Option<Wants> {
        self.connected.get_mut(&id)?.wants.take()
    }

    /// Tells who asked for something that it is done, and what the pod is now; or why not.
    pub(super) fn answer_wish(&mut self, id: u64, done: Result<&StatusFile, String>) {
        let answer = match done {
            Ok(file) => Answer::Status { status: Box::new(file.clone()) },
            Err(message) => Answer::Error { message },
        };
        self.tell(id, &answer);
    }

    /// One more answer for a client, if it is there still.
    fn tell(&mut self, id: u64, answer: &Answer) {
        let Some(client) = self.connected.get_mut(&id) else { return };
        client.push(answer);
        if client.flush().is_err() {
            self.connected.remove(&id);
        }
    }

    /// Gives who asked to attach its descriptor, or the reason why there is none.
    pub(super) fn answer_attach(&mut self, id: u64, input: Result<OwnedFd, String>) {
        let input = match input {
            Ok(input) => input,
            Err(message) => return self.tell(id, &Answer::Error { message }),
        };
        let Some(client) = self.connected.get_mut(&id) else { return };
        if client.give(input.as_fd()).is_err() {
            self.connected.remove(&id);
        }
    }

    /// A stop is on the disk: whoever asked for it may know, and we may be killed. What was promised before would be
    /// forgotten with us.
    pub(super) fn answer_stop(&mut self, file: &StatusFile) {
        if let Some(id) = self.asked_to_stop.pop_front() {
            self.tell(id, &Answer::Status { status: Box::new(file.clone()) });
        }
    }

    /// Tells the subscribers; who has not read the last status yet gets this one in its place, later.
    pub(super) fn publish(&mut self, file: &StatusFile) {
        self.connected.retain(|_, client| {
            client.stale |= client.subscribed;
            client.update(file).is_ok()
        });
    }

    /// Lets the last answers be read, for a while.
    pub(super) fn linger(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while self.connected.values().any(|c| !c.waiting.is_empty()) {
            let left = until.saturating_duration_since(Instant::now());
            let timeout =
                Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
            let waiting = self.connected.values().filter(|c| !c.waiting.is_empty());
            let mut fds: Vec<PollFd<'_>> = waiting.map(|c| PollFd::new(&c.stream, PollFlags::OUT)).collect();
            if left.is_zero() || rustix::event::poll(&mut fds, Some(&timeout)).is_err() {
                return;
            }
            self.connected.retain(|_, client| client.flush().is_ok());
        }
    }
}

impl Client {
    fn push(&mut self, line: &impl serde::Serialize) {
        // A value of ours always has a JSON.
        if let Ok(json) = serde_json::to_vec(line) {
            self.waiting.extend_from_slice(&json);
            self.waiting.push(b'\n');
        }
    }

    /// The whole lines that have come; an error when the client has gone or sends what is no request.
    fn read(&mut self) -> io::Result<Vec<Vec<u8>>> {
        let mut chunk = [0; 4096];
        match self.stream.read(&mut chunk) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => self.incoming.extend_from_slice(&chunk[..count]),
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(e) => return Err(e),
        }
        let mut lines = Vec::new();
        while let Some(end) = self.incoming.iter().position(|b| *b == b'\n') {
            lines.push(self.incoming.drain(..=end).collect());
        }
        if self.incoming.len() > MAX_REQUEST_BYTES {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(lines)
    }

    fn answer(&mut self, line: &[u8], file: &StatusFile) -> Option<Event> {
        let status = || Answer::Status { status: Box::new(file.clone()) };
        match serde_json::from_slice(line) {
            Ok(Request::Status) => self.push(&status()),
            Ok(Request::Subscribe) => (self.subscribed, self.stale) = (true, true),
            Ok(Request::Stop { grace_seconds }) => return Some(Event::Stop { grace_seconds }),
            Ok(Request::Attach { container }) => self.wants = Some(Wants::Input(container)),
            Ok(Request::AddEphemeralContainer { container }) => {
                self.wants = Some(Wants::Container(container))
            }
            Ok(Request::TakeObjects) => self.wants = Some(Wants::Objects),
            Err(error) => self.push(&Answer::Error { message: error.to_string() }),
        }
        None
    }

    /// Sends a descriptor with its answer. A client that has not read what came before is not waited for.
    fn give(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.flush()?;
        if !self.waiting.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut line = serde_json::to_vec(&Answer::Attached).map_err(io::Error::other)?;
        line.push(b'\n');
        let fds = [fd];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let parts = [IoSlice::new(&line)];
        let sent = rustix::net::sendmsg(&self.stream, &parts, &mut control, SendFlags::NOSIGNAL)?;
        // The descriptor goes with the first byte.
        self.waiting.extend_from_slice(&line[sent.min(line.len())..]);
        Ok(())
    }

    /// Writes what waits, and then the status if it has changed since.
    fn update(&mut self, file: &StatusFile) -> io::Result<()> {
        self.flush()?;
        if self.stale && self.waiting.is_empty() {
            self.stale = false;
            self.push(&Answer::Status { status: Box::new(file.clone()) });
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.waiting.is_empty() {
            match self.stream.write(&self.waiting) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => drop(self.waiting.drain(..count)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}
