//! SPDY/3.1 over a connection: the pure [`spdy::Connection`] with two tasks that read and write, and streams that other
//! tasks read and write.
//!
//! Memory: what streams have received and nobody has taken is bounded for the whole connection; beyond that nothing more is
//! read from the client, whose sending then stops in the kernel. What is to be sent is bounded in the same way.

use crate::hangup::{Hangup, until_gone};
use hyper::body::Bytes;
use spdy::{Connection, Event, GoAwayStatus, Headers, ResetStatus, StreamId};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, watch};

/// Streams that are open at a time: 512 forwarded connections.
const MOST_STREAMS: usize = 1024;
/// Read from a client at a time.
const READ_BYTES: usize = 16 << 10;
/// Received and not taken, for all streams of a connection together: what clients that know windows may send on four.
const MOST_UNREAD_BYTES: usize = 256 << 10;
/// Not sent yet, for all streams together.
const MOST_UNSENT_BYTES: usize = 64 << 10;
/// How long a client has to go when it has taken all that we had to say.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that carries streams.
pub(crate) struct Link {
    shared: Arc<Shared>,
    over: watch::Receiver<bool>,
}

struct Shared {
    state: Mutex<State>,
    /// Of the task that reads: there is room again.
    may_read: Notify,
    /// Of the task that writes: there is something.
    may_write: Notify,
    /// Of who accepts streams.
    opened: Notify,
    /// Of who closes: all has been sent.
    flushed: Notify,
    over: watch::Sender<bool>,
}

struct State {
    connection: Connection,
    streams: HashMap<StreamId, Incoming>,
    opened: VecDeque<(StreamId, Headers)>,
    /// That no more is sent when what there is has been.
    closing: bool,
    over: bool,
}

/// What has come on a stream.
struct Incoming {
    pieces: VecDeque<Bytes>,
    ended: bool,
    reset: bool,
    wakes: Arc<Wakes>,
}

impl Incoming {
    fn unread(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }
}

#[derive(Default)]
struct Wakes {
    readable: Notify,
    writable: Notify,
}

/// That a stream, or the whole connection, is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone;

/// A stream that a client has opened. Dropped before we have ended it, it is reset.
pub(crate) struct Stream {
    shared: Arc<Shared>,
    id: StreamId,
    wakes: Arc<Wakes>,
    finished: AtomicBool,
    pub(crate) headers: Headers,
}

impl Link {
    /// Begins to carry streams over what a connection was upgraded to.
    pub(crate) fn over<S: AsyncRead + AsyncWrite + Send + 'static>(io: S, hangup: Option<Hangup>) -> Link {
        let (sender, over) = watch::channel(false);
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                connection: Connection::new(MOST_STREAMS),
                streams: HashMap::new(),
                opened: VecDeque::new(),
                closing: false,
                over: false,
            }),
            may_read: Notify::new(),
            may_write: Notify::new(),
            opened: Notify::new(),
            flushed: Notify::new(),
            over: sender,
        });
        let (from, to) = tokio::io::split(io);
        let (reading, writing) = (shared.clone(), shared.clone());
        let mut gone = over.clone();
        tokio::spawn(async move {
            // Whichever task finds the end ends the other.
            tokio::select! {
                () = reading.read_from(from, hangup) => {}
                () = writing.write_to(to) => {}
                _ = gone.wait_for(|over| *over) => {}
            }
            reading.end();
        });
        Link { shared, over }
    }

    /// The next stream that the client opens; none when it has gone.
    pub(crate) async fn accept(&self) -> Option<Stream> {
        loop {
            {
                let mut state = self.shared.lock();
                if let Some((id, headers)) = state.opened.pop_front() {
                    // It may be over already, which its reader will find.
                    let wakes = state.streams.get(&id).map(|stream| stream.wakes.clone()).unwrap_or_default();
                    state.connection.accept(id);
                    self.shared.may_write.notify_one();
                    let (shared, finished) = (self.shared.clone(), AtomicBool::new(false));
                    return Some(Stream { shared, id, wakes, finished, headers });
                }
                if state.over {
                    return None;
                }
            }
            self.shared.opened.notified().await;
        }
    }

    /// Waits for the client's going.
    pub(crate) async fn gone(&self) {
        let mut over = self.over.clone();
        let _ = over.wait_for(|over| *over).await;
    }

    /// Says that this was all, waits until the client has taken it, as long as that takes, and then a little for its going.
    pub(crate) async fn close(self) {
        {
            let mut state = self.shared.lock();
            state.connection.go_away(GoAwayStatus::OK);
            state.closing = true;
        }
        self.shared.may_write.notify_one();
        tokio::select! {
            () = self.shared.flushed.notified() => {}
            () = self.gone() => {}
        }
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, self.gone()).await;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.end();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until the client has gone or says what is no SPDY.
    async fn read_from(&self, mut from: impl AsyncRead + Unpin, hangup: Option<Hangup>) {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            while !self.has_room() {
                tokio::select! {
                    () = self.may_read.notified() => {}
                    () = until_gone(hangup.as_ref(), || self.ask()) => return,
                }
            }
            let Ok(count @ 1..) = from.read(&mut buffer).await else { return };
            if !self.receive(&buffer[..count]) {
                // It is told why.
                self.may_write.notify_one();
                return tokio::time::sleep(CLOSE_TIMEOUT).await;
            }
        }
    }

    /// Sends something that has an answer, unless there is something to send anyway.
    fn ask(&self) {
        let mut state = self.lock();
        if state.connection.output_len() == 0 {
            state.connection.ping();
            self.may_write.notify_one();
        }
    }

    fn has_room(&self) -> bool {
        let state = self.lock();
        state.connection.unconsumed() < MOST_UNREAD_BYTES && state.connection.output_len() < MOST_UNSENT_BYTES
    }

    /// Whether there may be more.
    fn receive(&self, bytes: &[u8]) -> bool {
        let mut events = Vec::new();
        let mut guard = self.lock();
        let state = &mut *guard;
        let done = state.connection.receive(bytes, &mut events);
        for event in events {
            state.take(event, &self.opened);
        }
        // Windows may have been opened.
        state.streams.values().for_each(|stream| stream.wakes.writable.notify_one());
        if state.connection.output_len() > 0 {
            self.may_write.notify_one();
        }
        match done {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(%error, "a client's streams have ended");
                state.closing = true;
                false
            }
        }
    }

    /// Until there is nothing more to say.
    async fn write_to(&self, mut to: impl AsyncWrite + Unpin) {
        loop {
            let (output, closing) = self.take_output();
            if !output.is_empty() {
                if to.write_all(&output).await.is_err() || to.flush().await.is_err() {
                    return;
                }
            } else if closing {
                // The client goes when it has read it, and until then the reader waits for that.
                let _ = to.shutdown().await;
                self.flushed.notify_one();
                return std::future::pending().await;
            } else {
                self.may_write.notified().await;
            }
        }
    }

    fn take_output(&self) -> (Vec<u8>, bool) {
        let mut state = self.lock();
        let output = state.connection.take_output();
        if !output.is_empty() {
            state.streams.values().for_each(|stream| stream.wakes.writable.notify_one());
            self.may_read.notify_one();
        }
        (output, state.closing)
    }

    fn end(&self) {
        let mut state = self.lock();
        state.over = true;
        for stream in state.streams.values() {
            stream.wakes.readable.notify_one();
            stream.wakes.writable.notify_one();
        }
        self.opened.notify_one();
        self.over.send_replace(true);
    }
}

impl State {
    fn take(&mut self, event: Event, opened: &Notify) {
        match event {
            Event::Opened { stream, headers } => {
                let incoming =
                    Incoming { pieces: VecDeque::new(), ended: false, reset: false, wakes: Arc::default() };
                self.streams.insert(stream, incoming);
                self.opened.push_back((stream, headers));
                opened.notify_one();
            }
            Event::Data { stream, bytes } => match self.streams.get_mut(&stream) {
                Some(incoming) => {
                    incoming.pieces.push_back(bytes.into());
                    incoming.wakes.readable.notify_one();
                }
                // Nobody wants it any more.
                None => self.connection.consumed(stream, bytes.len()),
            },
            Event::Ended { stream } => {
                if let Some(incoming) = self.streams.get_mut(&stream) {
                    incoming.ended = true;
                    incoming.wakes.readable.notify_one();
                }
            }
            Event::Reset { stream, .. } => {
                // One that nobody has taken leaves nothing behind: others may come and go as long as they like.
                let before = self.opened.len();
                self.opened.retain(|(opened, _)| *opened != stream);
                if self.opened.len() < before {
                    let unread = self.streams.remove(&stream).map_or(0, |incoming| incoming.unread());
                    return self.connection.consumed(stream, unread);
                }
                if let Some(incoming) = self.streams.get_mut(&stream) {
                    incoming.reset = true;
                    let unread = incoming.unread();
                    incoming.pieces.clear();
                    incoming.wakes.readable.notify_one();
                    incoming.wakes.writable.notify_one();
                    self.connection.consumed(stream, unread);
                }
            }
            Event::GoAway => {}
        }
    }
}

impl Stream {
    /// What comes next; none when the client has nothing more to say.
    pub(crate) async fn read(&self) -> Result<Option<Bytes>, Gone> {
        loop {
            {
                let mut state = self.shared.lock();
                let over = state.over;
                let incoming = state.streams.get_mut(&self.id).ok_or(Gone)?;
                if let Some(bytes) = incoming.pieces.pop_front() {
                    state.connection.consumed(self.id, bytes.len());
                    self.shared.may_read.notify_one();
                    self.shared.may_write.notify_one();
                    return Ok(Some(bytes));
                }
                if incoming.ended {
                    return Ok(None);
                }
                if incoming.reset || over {
                    return Err(Gone);
                }
            }
            self.wakes.readable.notified().await;
        }
    }

    /// Waits until all of it can be sent.
    pub(crate) async fn write(&self, bytes: &[u8]) -> Result<(), Gone> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let sent = {
                let mut state = self.shared.lock();
                match state.connection.output_len() < MOST_UNSENT_BYTES {
                    _ if state.over => return Err(Gone),
                    true => state.connection.send(self.id, rest, false).map_err(|_| Gone)?,
                    false => 0,
                }
            };
            self.shared.may_write.notify_one();
            rest = &rest[sent..];
            if sent == 0 {
                self.wakes.writable.notified().await;
            }
        }
        Ok(())
    }

    /// Says that there is no more.
    pub(crate) fn finish(&self) {
        self.finished.store(true, Ordering::Relaxed);
        let _ = self.shared.lock().connection.send(self.id, &[], true);
        self.shared.may_write.notify_one();
    }

    pub(crate) fn reset(&self, status: ResetStatus) {
        self.shared.lock().connection.reset(self.id, status);
        self.shared.may_write.notify_one();
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.finished.load(Ordering::Relaxed) {
            self.reset(ResetStatus::CANCEL);
        }
        let mut state = self.shared.lock();
        if let Some(incoming) = state.streams.remove(&self.id) {
            let unread = incoming.unread();
            state.connection.consumed(self.id, unread);
            self.shared.may_read.notify_one();
        }
    }
}
