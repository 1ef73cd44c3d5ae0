//! SPDY/3.1, the server's side, as a value: what a peer sends goes in as bytes, what it means comes out as events, and what
//! is to be sent to it as bytes. Kubernetes' streams (`exec`, `attach`, `port-forward`, and the kubelet's to a runtime)
//! are SPDY's, also in the newest kubectl, which carries `port-forward`'s in a WebSocket.
//!
//! ```text
//! bytes ─ Decoder ─ frames ─ Connection ─ events           Opened, Data, Ended, Reset, GoAway
//!                                │      ╲ bytes            answers, windows, what is sent
//!                     Decompressor (one for all headers of the connection)
//! ```
//!
//! Sources: draft-mbelshe-httpbis-spdy-00 (SPDY/3) and SPDY/3.1's window of the connection; RFC 1950 and 1951.
//!
//! **Flow control.** Kubernetes' clients (Go's spdystream) know none: they send without looking at their windows, and never
//! open ours. So ours is held to by a peer's windows only from when it has said anything of them, and a peer that sends
//! more than its windows is not reset; what bounds the memory is that [`Connection::unconsumed`] tells when to read no
//! more from it. To peers that know windows they are opened as their data is consumed.
//!
//! Architecture invariant: pure, and no bytes make it panic. Memory is bounded by [`MAX_CONTROL_BYTES`],
//! [`MAX_HEADER_BYTES`], the number of streams, and by what was given to [`Connection::receive`] and not consumed.
#![forbid(unsafe_code)]

mod connection;
mod dictionary;
mod error;
mod frame;
mod headers;

pub use connection::{Connection, Event, Gone, WINDOW_BYTES};
pub use error::ConnectionError;
pub use frame::{GoAwayStatus, MAX_CONTROL_BYTES, MAX_DATA_BYTES, ResetStatus, StreamId};
pub use headers::{Headers, MAX_HEADER_BYTES};
