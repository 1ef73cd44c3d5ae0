//! What ends a connection.

use crate::frame::{GoAwayStatus, StreamId};

/// Why a connection cannot go on: the peer does not speak SPDY/3.1, or not any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionError {
    /// Another version of the protocol.
    #[error("a frame is of SPDY version {0}, where 3 is spoken")]
    Version(u16),
    /// A frame whose length cannot be.
    #[error("a frame of type {kind} has the length {length}")]
    FrameLength {
        /// The number of its type.
        kind: u16,
        /// In bytes.
        length: usize,
    },
    /// A header block that is none.
    #[error("headers cannot be read: {0}")]
    Headers(&'static str),
    /// A header block that would be larger than [`crate::MAX_HEADER_BYTES`].
    #[error("headers are too long")]
    HeadersTooLong,
    /// A stream's number was used before, or is not a client's.
    #[error("a stream has the number {}, which a new one cannot have", .0.number())]
    StreamNumber(StreamId),
    /// More is to be sent than can be counted.
    #[error("the connection's window is too large")]
    Window,
    /// An error was told before; nothing more is read.
    #[error("the connection has ended")]
    Ended,
}

impl ConnectionError {
    /// What the peer is told.
    pub fn status(self) -> GoAwayStatus {
        GoAwayStatus::PROTOCOL_ERROR
    }
}
