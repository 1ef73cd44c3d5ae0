//! Frames (draft-mbelshe-httpbis-spdy-00, section 2.2 and 2.6): eight bytes, then a payload. Control frames are taken in
//! whole, up to a bound; the bytes of data frames are given on as they come.

use crate::error::ConnectionError;

/// The longest control frame that is taken; those of Kubernetes' clients have some hundred bytes.
pub const MAX_CONTROL_BYTES: usize = 16 << 10;
/// The most data in a frame of ours.
pub const MAX_DATA_BYTES: usize = 16 << 10;

const VERSION: u16 = 3;
const HEAD_BYTES: usize = 8;
const FIN: u8 = 1;
const CONTROL: u8 = 0x80;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const SETTINGS: u16 = 4;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;
const WINDOW_UPDATE: u16 = 9;

/// A stream's number, of 31 bits; 0 is the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(u32);

impl StreamId {
    /// The connection, where its window is meant.
    pub const CONNECTION: StreamId = StreamId(0);

    /// Of a number, whose highest bit does not count.
    pub fn new(number: u32) -> StreamId {
        StreamId(number & 0x7fff_ffff)
    }

    /// The number.
    pub fn number(self) -> u32 {
        self.0
    }

    /// Whether a client gives such numbers to its streams.
    pub fn is_clients(self) -> bool {
        self.0 % 2 == 1
    }
}

/// Why a stream ends before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResetStatus(pub u32);

impl ResetStatus {
    /// Something that cannot be.
    pub const PROTOCOL_ERROR: ResetStatus = ResetStatus(1);
    /// There is no such stream.
    pub const INVALID_STREAM: ResetStatus = ResetStatus(2);
    /// There are too many.
    pub const REFUSED_STREAM: ResetStatus = ResetStatus(3);
    /// It is not wanted any more.
    pub const CANCEL: ResetStatus = ResetStatus(5);
    /// More than the window allows.
    pub const FLOW_CONTROL_ERROR: ResetStatus = ResetStatus(7);
    /// Data on a stream after its end.
    pub const STREAM_ALREADY_CLOSED: ResetStatus = ResetStatus(9);
}

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GoAwayStatus(pub u32);

impl GoAwayStatus {
    /// All is done.
    pub const OK: GoAwayStatus = GoAwayStatus(0);
    /// Something that cannot be.
    pub const PROTOCOL_ERROR: GoAwayStatus = GoAwayStatus(1);
}

/// A control frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Control {
    /// A new stream, its headers compressed.
    SynStream {
        stream: StreamId,
        fin: bool,
        block: Vec<u8>,
    },
    /// More headers of a stream, or those of an answer.
    Headers {
        stream: StreamId,
        fin: bool,
        block: Vec<u8>,
    },
    RstStream {
        stream: StreamId,
        status: ResetStatus,
    },
    /// The window that new streams begin with, if that is among what is set.
    Settings {
        window: Option<u32>,
    },
    Ping {
        id: u32,
    },
    GoAway,
    WindowUpdate {
        stream: StreamId,
        more: u32,
    },
}

/// What was found in the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    Control(Control),
    /// Data of a stream; `fin` comes with its last piece.
    Data {
        stream: StreamId,
        bytes: &'a [u8],
        fin: bool,
    },
}

/// Finds frames in bytes that come in any pieces.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    head: [u8; HEAD_BYTES],
    filled: usize,
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Head,
    Control {
        kind: u16,
        fin: bool,
        length: usize,
        payload: Vec<u8>,
    },
    Data {
        stream: StreamId,
        fin: bool,
        left: usize,
    },
    /// Of a kind that is not known.
    Skip {
        left: usize,
    },
}

impl Decoder {
    /// The next piece; none when more bytes are needed.
    pub(crate) fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Piece<'a>>, ConnectionError> {
        loop {
            match &mut self.state {
                State::Head => {
                    let wanted = take(input, HEAD_BYTES - self.filled);
                    self.head[self.filled..self.filled + wanted.len()].copy_from_slice(wanted);
                    self.filled += wanted.len();
                    if self.filled < HEAD_BYTES {
                        return Ok(None);
                    }
                    self.filled = 0;
                    self.state = parse_head(self.head)?;
                }
                State::Control { kind, fin, length, payload } => {
                    payload.extend_from_slice(take(input, *length - payload.len()));
                    if payload.len() < *length {
                        return Ok(None);
                    }
                    let control = parse_control(*kind, *fin, std::mem::take(payload))?;
                    self.state = State::Head;
                    return Ok(Some(Piece::Control(control)));
                }
                State::Data { stream, fin, left } => {
                    let bytes = take(input, *left);
                    *left -= bytes.len();
                    let (stream, over) = (*stream, *left == 0);
                    let fin = *fin && over;
                    if over {
                        self.state = State::Head;
                    }
                    // A frame without bytes matters only if it is the last.
                    if !bytes.is_empty() || fin {
                        return Ok(Some(Piece::Data { stream, bytes, fin }));
                    }
                    if !over {
                        return Ok(None);
                    }
                }
                State::Skip { left } => {
                    *left -= take(input, *left).len();
                    if *left > 0 {
                        return Ok(None);
                    }
                    self.state = State::Head;
                }
            }
        }
    }
}

/// As many bytes as there are, up to a number.
fn take<'a>(input: &mut &'a [u8], most: usize) -> &'a [u8] {
    let (taken, rest) = input.split_at(most.min(input.len()));
    *input = rest;
    taken
}

fn parse_head(head: [u8; HEAD_BYTES]) -> Result<State, ConnectionError> {
    let [a, b, c, d, flags, e, f, g] = head;
    let length = u32::from_be_bytes([0, e, f, g]) as usize;
    let fin = flags & FIN != 0;
    if a & CONTROL == 0 {
        let stream = StreamId::new(u32::from_be_bytes([a, b, c, d]));
        return Ok(State::Data { stream, fin, left: length });
    }
    let version = u16::from_be_bytes([a & !CONTROL, b]);
    if version != VERSION {
        return Err(ConnectionError::Version(version));
    }
    let kind = u16::from_be_bytes([c, d]);
    let (least, most) = match kind {
        SYN_STREAM => (10, MAX_CONTROL_BYTES),
        SYN_REPLY | HEADERS | SETTINGS => (4, MAX_CONTROL_BYTES),
        RST_STREAM | GOAWAY | WINDOW_UPDATE => (8, 8),
        PING => (4, 4),
        // To be ignored (section 2.2.1).
        _ => return Ok(State::Skip { left: length }),
    };
    if length < least || length > most {
        return Err(ConnectionError::FrameLength { kind, length });
    }
    Ok(State::Control { kind, fin, length, payload: Vec::with_capacity(length) })
}

fn parse_control(kind: u16, fin: bool, mut payload: Vec<u8>) -> Result<Control, ConnectionError> {
    let length = payload.len();
    let word = |at: usize| {
        let bytes = payload.get(at..).and_then(|rest| rest.first_chunk());
        bytes.map(|bytes| u32::from_be_bytes(*bytes)).ok_or(ConnectionError::FrameLength { kind, length })
    };
    let first = word(0)?;
    let stream = StreamId::new(first);
    Ok(match kind {
        SYN_STREAM => Control::SynStream { stream, fin, block: payload.split_off(10.min(length)) },
        SYN_REPLY | HEADERS => Control::Headers { stream, fin, block: payload.split_off(4) },
        RST_STREAM => Control::RstStream { stream, status: ResetStatus(word(4)?) },
        SETTINGS => Control::Settings { window: parse_settings(first, &payload[4..])? },
        PING => Control::Ping { id: first },
        GOAWAY => Control::GoAway,
        _ => Control::WindowUpdate { stream, more: StreamId::new(word(4)?).number() },
    })
}

/// `SETTINGS_INITIAL_WINDOW_SIZE`, the only one that means something to us.
const INITIAL_WINDOW: u32 = 7;

fn parse_settings(count: u32, entries: &[u8]) -> Result<Option<u32>, ConnectionError> {
    if entries.len() as u64 != u64::from(count) * 8 {
        return Err(ConnectionError::FrameLength { kind: SETTINGS, length: entries.len() + 4 });
    }
    let (pairs, _) = entries.as_chunks::<8>();
    let found =
        pairs.iter().rev().find(|pair| u32::from_be_bytes([0, pair[1], pair[2], pair[3]]) == INITIAL_WINDOW);
    Ok(found.map(|pair| u32::from_be_bytes([pair[4], pair[5], pair[6], pair[7]])))
}

fn control(out: &mut Vec<u8>, kind: u16, fin: bool, payload: &[&[u8]]) {
    let length: usize = payload.iter().map(|part| part.len()).sum();
    out.extend_from_slice(&(VERSION | 0x8000).to_be_bytes());
    out.extend_from_slice(&kind.to_be_bytes());
    out.push(if fin { FIN } else { 0 });
    out.extend_from_slice(&(length as u32).to_be_bytes()[1..]);
    payload.iter().for_each(|part| out.extend_from_slice(part));
}

#[cfg(test)]
pub(crate) fn write_syn_stream(out: &mut Vec<u8>, stream: StreamId, fin: bool, block: &[u8]) {
    // No stream that this one belongs to, the highest priority, no credential slot.
    control(out, SYN_STREAM, fin, &[&stream.0.to_be_bytes(), &[0; 6], block]);
}

pub(crate) fn write_syn_reply(out: &mut Vec<u8>, stream: StreamId, fin: bool, block: &[u8]) {
    control(out, SYN_REPLY, fin, &[&stream.0.to_be_bytes(), block]);
}

pub(crate) fn write_rst_stream(out: &mut Vec<u8>, stream: StreamId, status: ResetStatus) {
    control(out, RST_STREAM, false, &[&stream.0.to_be_bytes(), &status.0.to_be_bytes()]);
}

pub(crate) fn write_ping(out: &mut Vec<u8>, id: u32) {
    control(out, PING, false, &[&id.to_be_bytes()]);
}

pub(crate) fn write_go_away(out: &mut Vec<u8>, last: StreamId, status: GoAwayStatus) {
    control(out, GOAWAY, false, &[&last.0.to_be_bytes(), &status.0.to_be_bytes()]);
}

pub(crate) fn write_window_update(out: &mut Vec<u8>, stream: StreamId, more: u32) {
    control(out, WINDOW_UPDATE, false, &[&stream.0.to_be_bytes(), &more.to_be_bytes()]);
}

/// No more than 2²⁴ bytes.
pub(crate) fn write_data(out: &mut Vec<u8>, stream: StreamId, fin: bool, bytes: &[u8]) {
    out.extend_from_slice(&stream.0.to_be_bytes());
    out.push(if fin { FIN } else { 0 });
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(bytes);
}
