//! gRPC over a unix socket: one call after the other, all of them until a time.
//!
//! Of the answer's headers and trailers nothing is needed: a call that failed has no message.

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Instant;
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};

/// No answer is longer: some 100,000 containers.
const MAX_MESSAGE: usize = 64 << 20;

/// A connection, and what its bytes are moved by while somebody waits for an answer.
#[derive(Debug)]
pub(super) struct Connection {
    runtime: Runtime,
    sender: SendRequest<Full<Bytes>>,
    until: Instant,
}

impl Connection {
    /// Connects to a socket; after `until` everything fails.
    pub(super) fn open(socket: &Path, until: Instant) -> io::Result<Connection> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        let sender = within(&runtime, until, async {
            let stream = UnixStream::connect(socket).await?;
            let (sender, connection) =
                handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(io::Error::other)?;
            tokio::spawn(connection);
            Ok(sender)
        })?;
        Ok(Connection { runtime, sender, until })
    }

    /// Calls a method with a message, and waits for the message that it answers with; none if it refuses.
    pub(super) fn call(&mut self, method: &str, message: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let length = u32::try_from(message.len()).map_err(io::Error::other)?.to_be_bytes();
        let request = Request::post(format!("http://localhost{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::from([&[0][..], &length, message].concat()))
            .map_err(io::Error::other)?;
        let sender = &mut self.sender;
        let answer = within(&self.runtime, self.until, async {
            let answer = sender.send_request(request).await.map_err(io::Error::other)?;
            let body =
                Limited::new(answer.into_body(), MAX_MESSAGE).collect().await.map_err(io::Error::other)?;
            Ok(body.to_bytes())
        })?;
        unwrapped(&answer)
    }
}

fn within<T>(runtime: &Runtime, until: Instant, what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    runtime.block_on(async { tokio::time::timeout_at(until.into(), what).await })?
}

/// A gRPC message: whether it is compressed, which was not offered, its length, itself.
fn unwrapped(answer: &[u8]) -> io::Result<Option<Vec<u8>>> {
    if answer.is_empty() {
        return Ok(None);
    }
    let length = |head: [u8; 4]| u32::from_be_bytes(head) as usize;
    match answer.split_first_chunk() {
        Some((&[0, a, b, c, d], message)) if message.len() == length([a, b, c, d]) => {
            Ok(Some(message.to_vec()))
        }
        _ => Err(io::Error::new(ErrorKind::InvalidData, "not one message, or a compressed one")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_message_is_unwrapped() {
        assert_eq!(unwrapped(b"").unwrap(), None);
        assert_eq!(unwrapped(&[0, 0, 0, 0, 2, b'x', b'y']).unwrap(), Some(b"xy".to_vec()));
        for bad in [&[0, 0, 0][..], &[1, 0, 0, 0, 0], &[0, 0, 0, 0, 9, 1], &[0, 0, 0, 0, 0, 1]] {
            assert!(unwrapped(bad).is_err(), "{bad:?}");
        }
    }
}
