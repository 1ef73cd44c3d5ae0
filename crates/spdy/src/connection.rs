//! A connection: its streams, their windows, and what is to be sent.

use crate::error::ConnectionError;
use crate::frame::{self, Control, Decoder, GoAwayStatus, MAX_DATA_BYTES, Piece, ResetStatus, StreamId};
use crate::headers::{Compressor, Decompressor, Headers};
use std::collections::HashMap;

/// What a stream and a connection may send before they are allowed more (section 2.6.8).
pub const WINDOW_BYTES: usize = 64 << 10;
/// What is consumed before that is told, in one go.
const TELL_BYTES: usize = WINDOW_BYTES / 2;
/// The largest window.
const MAX_WINDOW: i64 = 0x7fff_ffff;

/// What a peer's bytes mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A new stream, which waits for [`Connection::accept`] or [`Connection::reset`].
    Opened {
        /// Its number.
        stream: StreamId,
        /// What it is to be.
        headers: Headers,
    },
    /// Bytes on a stream; to be told of with [`Connection::consumed`] when they have gone on.
    Data {
        /// On which.
        stream: StreamId,
        /// Never empty.
        bytes: Vec<u8>,
    },
    /// The peer sends no more on this stream, and may still receive.
    Ended {
        /// Which.
        stream: StreamId,
    },
    /// The stream is over, both ways.
    Reset {
        /// Which.
        stream: StreamId,
        /// Why.
        status: ResetStatus,
    },
    /// The peer opens no more streams.
    GoAway,
}

/// That a stream is over, or never was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stream is over")]
pub struct Gone;

/// A stream that is not over.
#[derive(Debug)]
struct Stream {
    /// The peer sends no more.
    peer_ended: bool,
    /// We send no more.
    ended: bool,
    /// What we may send.
    window: i64,
    /// What was consumed of its data and not told yet.
    to_tell: usize,
}

/// A connection to a client, from its first byte.
#[derive(Debug)]
pub struct Connection {
    decoder: Decoder,
    decompressor: Decompressor,
    compressor: Compressor,
    streams: HashMap<StreamId, Stream>,
    most_streams: usize,
    /// The highest number that a stream has had.
    last: StreamId,
    out: Vec<u8>,
    /// Whether the peer has shown that it knows windows.
    knows_windows: bool,
    /// What new streams may send.
    first_window: i64,
    /// What all streams together may send.
    window: i64,
    to_tell: usize,
    unconsumed: usize,
    /// The number of our last ping.
    pings: u32,
    going: bool,
    ended: bool,
}

impl Connection {
    /// With a bound for the streams that are open at a time; what is more is refused.
    pub fn new(most_streams: usize) -> Connection {
        Connection {
            decoder: Decoder::default(),
            decompressor: Decompressor::new(),
            compressor: Compressor::default(),
            streams: HashMap::new(),
            most_streams,
            last: StreamId::CONNECTION,
            out: Vec::new(),
            knows_windows: false,
            first_window: WINDOW_BYTES as i64,
            window: WINDOW_BYTES as i64,
            to_tell: 0,
            unconsumed: 0,
            pings: 0,
            going: false,
            ended: false,
        }
    }

    /// Asks the peer for an answer, which then comes and is no event.
    pub fn ping(&mut self) {
        // Ours are even.
        self.pings = self.pings.wrapping_add(2) & !1;
        frame::write_ping(&mut self.out, self.pings);
    }

    /// Takes bytes in.
    ///
    /// # Errors
    /// They are not SPDY/3.1's. The peer is told ([`Connection::take_output`]), and nothing more is read from it; events
    /// before the error are in `events`.
    pub fn receive(&mut self, mut input: &[u8], events: &mut Vec<Event>) -> Result<(), ConnectionError> {
        if self.ended {
            return Err(ConnectionError::Ended);
        }
        let done = self.read(&mut input, events);
        if let Err(error) = done {
            self.go_away(error.status());
            self.ended = true;
        }
        done
    }

    fn read(&mut self, input: &mut &[u8], events: &mut Vec<Event>) -> Result<(), ConnectionError> {
        while let Some(piece) = self.decoder.next(input)? {
            match piece {
                Piece::Data { stream, bytes, fin } => self.data(stream, bytes, fin, events),
                Piece::Control(control) => self.control(control, events)?,
            }
        }
        Ok(())
    }

    fn data(&mut self, id: StreamId, bytes: &[u8], fin: bool, events: &mut Vec<Event>) {
        self.unconsumed += bytes.len();
        let open = match self.streams.get_mut(&id) {
            Some(stream) if stream.peer_ended => {
                self.end_with(id, ResetStatus::STREAM_ALREADY_CLOSED, events);
                false
            }
            Some(_) => true,
            // What was on its way when a stream was reset means nothing.
            None if id.is_clients() && id <= self.last => false,
            None => {
                frame::write_rst_stream(&mut self.out, id, ResetStatus::INVALID_STREAM);
                false
            }
        };
        if !open {
            return self.consumed(id, bytes.len());
        }
        if !bytes.is_empty() {
            events.push(Event::Data { stream: id, bytes: bytes.to_vec() });
        }
        if fin {
            self.peer_ended(id, events);
        }
    }

    fn control(&mut self, control: Control, events: &mut Vec<Event>) -> Result<(), ConnectionError> {
        match control {
            Control::SynStream { stream, fin, block } => {
                let headers = self.decompressor.next(&block)?;
                self.opened(stream, headers, fin, events)?;
            }
            Control::Headers { stream, fin, block } => {
                // None mean anything to us, but those that follow are compressed with what was in them.
                self.decompressor.next(&block)?;
                if fin {
                    self.peer_ended(stream, events);
                }
            }
            Control::RstStream { stream, status } => {
                if self.streams.remove(&stream).is_some() {
                    events.push(Event::Reset { stream, status });
                }
            }
            Control::Settings { window } => self.set_first_window(window)?,
            // Even ones would be answers to ours.
            Control::Ping { id } if id % 2 == 1 => frame::write_ping(&mut self.out, id),
            Control::Ping { .. } => {}
            Control::GoAway => events.push(Event::GoAway),
            Control::WindowUpdate { stream, more } => self.open_window(stream, more, events)?,
        }
        Ok(())
    }

    fn opened(
        &mut self,
        id: StreamId,
        headers: Headers,
        fin: bool,
        events: &mut Vec<Event>,
    ) -> Result<(), ConnectionError> {
        if !id.is_clients() || id <= self.last {
            return Err(ConnectionError::StreamNumber(id));
        }
        self.last = id;
        if self.going {
            return Ok(());
        }
        if self.streams.len() >= self.most_streams {
            frame::write_rst_stream(&mut self.out, id, ResetStatus::REFUSED_STREAM);
            return Ok(());
        }
        self.streams
            .insert(id, Stream { peer_ended: false, ended: false, window: self.first_window, to_tell: 0 });
        events.push(Event::Opened { stream: id, headers });
        if fin {
            self.peer_ended(id, events);
        }
        Ok(())
    }

    fn peer_ended(&mut self, id: StreamId, events: &mut Vec<Event>) {
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| !stream.peer_ended) else { return };
        stream.peer_ended = true;
        if stream.ended {
            self.streams.remove(&id);
        }
        events.push(Event::Ended { stream: id });
    }

    /// Ends a stream because of what the peer did.
    fn end_with(&mut self, id: StreamId, status: ResetStatus, events: &mut Vec<Event>) {
        if self.streams.remove(&id).is_some() {
            frame::write_rst_stream(&mut self.out, id, status);
            events.push(Event::Reset { stream: id, status });
        }
    }

    fn set_first_window(&mut self, window: Option<u32>) -> Result<(), ConnectionError> {
        let Some(window) = window.map(i64::from) else { return Ok(()) };
        let more = window - self.first_window;
        if window > MAX_WINDOW || self.streams.values().any(|stream| stream.window + more > MAX_WINDOW) {
            return Err(ConnectionError::Window);
        }
        self.knows_windows = true;
        self.first_window = window;
        self.streams.values_mut().for_each(|stream| stream.window += more);
        Ok(())
    }

    fn open_window(
        &mut self,
        id: StreamId,
        more: u32,
        events: &mut Vec<Event>,
    ) -> Result<(), ConnectionError> {
        self.knows_windows = true;
        if id == StreamId::CONNECTION {
            self.window += i64::from(more);
            return if self.window > MAX_WINDOW { Err(ConnectionError::Window) } else { Ok(()) };
        }
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        stream.window += i64::from(more);
        if stream.window > MAX_WINDOW {
            self.end_with(id, ResetStatus::FLOW_CONTROL_ERROR, events);
        }
        Ok(())
    }

    /// Tells the peer that a stream is taken.
    pub fn accept(&mut self, id: StreamId) {
        if self.streams.contains_key(&id) {
            let block = self.compressor.next(&Headers::default());
            frame::write_syn_reply(&mut self.out, id, false, &block);
        }
    }

    /// Sends as much as the windows allow, and no more than [`MAX_DATA_BYTES`]: how much that was. `fin`, that there is no
    /// more, is only sent if it was all.
    ///
    /// # Errors
    /// Nothing can be sent on this stream any more.
    pub fn send(&mut self, id: StreamId, bytes: &[u8], fin: bool) -> Result<usize, Gone> {
        let room = self.room();
        let stream = self.streams.get_mut(&id).filter(|stream| !stream.ended).ok_or(Gone)?;
        let room = if self.knows_windows { room.min(stream.window) } else { room };
        let count = bytes.len().min(usize::try_from(room).unwrap_or(0));
        let fin = fin && count == bytes.len();
        if count == 0 && !fin {
            return Ok(0);
        }
        frame::write_data(&mut self.out, id, fin, &bytes[..count]);
        self.window -= count as i64;
        stream.window -= count as i64;
        if fin {
            stream.ended = true;
            if stream.peer_ended {
                self.streams.remove(&id);
            }
        }
        Ok(count)
    }

    /// What can be sent in one frame on any stream.
    fn room(&self) -> i64 {
        let most = MAX_DATA_BYTES as i64;
        if self.knows_windows { most.min(self.window) } else { most }
    }

    /// Ends a stream, both ways.
    pub fn reset(&mut self, id: StreamId, status: ResetStatus) {
        if self.streams.remove(&id).is_some() {
            frame::write_rst_stream(&mut self.out, id, status);
        }
    }

    /// Tells that bytes of a stream's data have gone on, so that its peer may send more.
    pub fn consumed(&mut self, id: StreamId, bytes: usize) {
        self.unconsumed = self.unconsumed.saturating_sub(bytes);
        self.to_tell += bytes;
        if self.to_tell >= TELL_BYTES {
            frame::write_window_update(&mut self.out, StreamId::CONNECTION, window(&mut self.to_tell));
        }
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| !stream.peer_ended) else { return };
        stream.to_tell += bytes;
        if stream.to_tell >= TELL_BYTES {
            frame::write_window_update(&mut self.out, id, window(&mut stream.to_tell));
        }
    }

    /// Takes no more streams. Those that there are go on.
    pub fn go_away(&mut self, status: GoAwayStatus) {
        if !self.going {
            self.going = true;
            frame::write_go_away(&mut self.out, self.last, status);
        }
    }

    /// What is to be sent to the peer.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// How much of it there is.
    pub fn output_len(&self) -> usize {
        self.out.len()
    }

    /// The bytes of all [`Event::Data`] that were not told to be [`Connection::consumed`]: who has too many of them should
    /// read no more from the peer.
    pub fn unconsumed(&self) -> usize {
        self.unconsumed
    }

    /// The streams that are not over.
    pub fn open_streams(&self) -> usize {
        self.streams.len()
    }
}

/// Takes it, as a frame has it.
fn window(to_tell: &mut usize) -> u32 {
    let most = (*to_tell).min(MAX_WINDOW as usize);
    *to_tell -= most;
    most as u32
}

#[cfg(test)]
mod tests;
