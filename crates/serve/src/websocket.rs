//! Sessions over WebSocket: `v5.channel.k8s.io` (kubectl from 1.30 on) and `v4.channel.k8s.io` (other clients). Each message
//! begins with the number of its channel.

use crate::error::{ApiError, Result};
use crate::hangup::{Hangup, until_gone};
use crate::http::Answer;
use crate::session::{self, ClientEnds, Input, Output, Session};
use futures_util::stream::SplitStream;
use futures_util::{SinkExt, StreamExt};
use hyper::HeaderMap;
use hyper::body::Bytes;
use hyper::header::{
    CONNECTION, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};

/// The longest message that is taken; clients send some tens of kilobytes.
const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// What is on its way through a tunnel, each way.
const TUNNEL_BYTES: usize = 32 << 10;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
const RESIZE: u8 = 4;
/// Of version 5: the next byte is the channel that ends.
const CLOSE: u8 = 255;

/// Whether a request wants to go on as WebSocket.
pub(crate) fn is_asked_for(headers: &HeaderMap) -> bool {
    let has = |name: HeaderName, word: &str| {
        let values = headers.get_all(name);
        values
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.to_ascii_lowercase().contains(word))
    };
    has(CONNECTION, "upgrade") && has(UPGRADE, "websocket")
}

/// The first of the protocols that the client names which is known.
pub(crate) fn protocol<'a>(headers: &HeaderMap, known: &[&'a str]) -> Option<&'a str> {
    let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL);
    let asked = values.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    asked.map(str::trim).find_map(|asked| known.iter().copied().find(|known| *known == asked))
}

/// The answer that opens a WebSocket.
pub(crate) fn accept(headers: &HeaderMap, protocol: &str) -> Result<Answer> {
    let key = headers
        .get(SEC_WEBSOCKET_KEY)
        .ok_or_else(|| ApiError::bad_request("there is no Sec-WebSocket-Key"))?;
    Ok(Answer::upgrade("websocket")
        .header(SEC_WEBSOCKET_ACCEPT, &derive_accept_key(key.as_bytes()))
        .header(SEC_WEBSOCKET_PROTOCOL, protocol))
}

/// Opens a session.
pub(crate) fn open(
    session: Session,
    headers: &HeaderMap,
    upgrade: OnUpgrade,
    hangup: Option<Hangup>,
) -> Result<Answer> {
    let protocol = protocol(headers, &["v5.channel.k8s.io", "v4.channel.k8s.io"]).ok_or_else(|| {
        ApiError::bad_request("none of the protocols is known: v5.channel.k8s.io and v4.channel.k8s.io are")
    })?;
    let answer = accept(headers, protocol)?;
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            serve(stream(TokioIo::new(upgraded)).await, session, hangup).await;
        }
    });
    Ok(answer)
}

/// A connection that has become a WebSocket.
pub(crate) async fn stream<S: AsyncRead + AsyncWrite + Unpin>(io: S) -> WebSocketStream<S> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES))
        .read_buffer_size(32 << 10)
        .write_buffer_size(0)
        .max_write_buffer_size(MAX_MESSAGE_BYTES);
    WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await
}

/// What the messages of a WebSocket carry, as the bytes that they are pieces of.
pub(crate) fn tunnel<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    socket: WebSocketStream<S>,
) -> DuplexStream {
    let (ours, theirs) = tokio::io::duplex(TUNNEL_BYTES);
    tokio::spawn(async move {
        let (mut to, mut from) = socket.split();
        let (mut read, mut write) = tokio::io::split(theirs);
        let inward = async {
            while let Some(Ok(message)) = from.next().await {
                let written = match message {
                    Message::Binary(bytes) => write.write_all(&bytes).await,
                    Message::Close(_) => return,
                    _ => Ok(()),
                };
                if written.is_err() {
                    return;
                }
            }
        };
        let outward = async {
            let mut buffer = vec![0; TUNNEL_BYTES];
            loop {
                let message = match read.read(&mut buffer).await {
                    Ok(count @ 1..) => Message::Binary(Bytes::copy_from_slice(&buffer[..count])),
                    _ => Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() })),
                };
                let last = message.is_close();
                if to.send(message).await.is_err() {
                    return;
                }
                if last {
                    // The client closes in its turn, which is read on the other side.
                    return std::future::pending().await;
                }
            }
        };
        tokio::select! {
            () = inward => {}
            () = outward => {}
        }
    });
    ours
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    socket: WebSocketStream<S>,
    session: Session,
    hangup: Option<Hangup>,
) {
    let (mut to, from) = socket.split();
    let (ends, ClientEnds { input, mut output }) = session::ends();
    let (say_status, status) = oneshot::channel::<Value>();
    tokio::spawn(async move {
        let _ = say_status.send(session.run(ends).await);
    });
    let deaf = Arc::new(Notify::new());
    let mut reading = tokio::spawn(read(from, input, hangup, deaf.clone()));
    let mut next = message(STDOUT, &[]);
    let writing = async {
        while to.send(next).await.is_ok() {
            next = tokio::select! {
                piece = output.recv() => match piece {
                    Some(Output::Stdout(bytes)) => message(STDOUT, &bytes),
                    Some(Output::Stderr(bytes)) => message(STDERR, &bytes),
                    None => return,
                },
                () = deaf.notified() => Message::Ping(Bytes::new()),
            };
        }
    };
    let gone = async {
        // Whom the session does not listen to any more may still be told something.
        if !(&mut reading).await.unwrap_or(true) {
            std::future::pending().await
        }
    };
    tokio::select! {
        () = writing => {}
        () = gone => {}
    }
    // With the receiver gone the session learns that the client has.
    drop(output);
    if let Ok(status) = status.await {
        let _ = to.send(message(STATUS, status.to_string().as_bytes())).await;
        let normal = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        let _ = to.send(Message::Close(Some(normal))).await;
    }
    reading.abort();
}

/// Takes in what a client says, until it has gone (true) or nobody wants to hear it any more (false). While the process does
/// not read, this does not either, and `deaf` asks for something to be sent.
async fn read<S: AsyncRead + AsyncWrite + Unpin>(
    mut from: SplitStream<WebSocketStream<S>>,
    input: mpsc::Sender<Input>,
    hangup: Option<Hangup>,
    deaf: Arc<Notify>,
) -> bool {
    while let Some(Ok(message)) = from.next().await {
        if message.is_close() {
            return true;
        }
        let taken = tokio::select! {
            biased;
            taken = take(message, &input) => taken,
            () = until_gone(hangup.as_ref(), || deaf.notify_one()) => return true,
        };
        if taken.is_none() {
            return false;
        }
    }
    true
}

fn message(channel: u8, bytes: &[u8]) -> Message {
    let mut message = Vec::with_capacity(bytes.len() + 1);
    message.push(channel);
    message.extend_from_slice(bytes);
    Message::Binary(message.into())
}

/// Takes a message in; none when nobody wants it.
async fn take(message: Message, input: &mpsc::Sender<Input>) -> Option<()> {
    let bytes: Bytes = match message {
        Message::Binary(bytes) => bytes,
        // What Python's client sends, where it is given text.
        Message::Text(text) => text.into(),
        // Pings are answered by the library.
        _ => return Some(()),
    };
    match bytes.split_first() {
        Some((&STDIN, _)) => input.send(Input::Data(bytes.slice(1..))).await.ok(),
        Some((&CLOSE, [STDIN, ..])) => input.send(Input::End).await.ok(),
        Some((&RESIZE, size)) => match parse_size(size) {
            Some(size) => input.send(size).await.ok(),
            None => Some(()),
        },
        _ => Some(()),
    }
}

/// `{"Width":80,"Height":24}`
pub(crate) fn parse_size(text: &[u8]) -> Option<Input> {
    let size: Value = serde_json::from_slice(text).ok()?;
    let number = |key: &str| size[key].as_u64().and_then(|number| u16::try_from(number).ok());
    Some(Input::Size { rows: number("Height")?, columns: number("Width")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_seen() {
        let mut headers = HeaderMap::new();
        headers.insert(CONNECTION, "keep-alive, Upgrade".parse().unwrap());
        headers.insert(UPGRADE, "websocket".parse().unwrap());
        headers.insert(SEC_WEBSOCKET_PROTOCOL, "v6.channel.k8s.io, v4.channel.k8s.io".parse().unwrap());
        assert!(is_asked_for(&headers));
        assert_eq!(
            protocol(&headers, &["v5.channel.k8s.io", "v4.channel.k8s.io"]),
            Some("v4.channel.k8s.io")
        );
        assert_eq!(protocol(&headers, &["v5.channel.k8s.io"]), None);
        assert!(accept(&headers, "x").is_err());
    }

    #[test]
    fn sizes_are_read_or_passed_over() {
        assert_eq!(
            parse_size(b"{\"Width\":80,\"Height\":24}\n"),
            Some(Input::Size { rows: 24, columns: 80 })
        );
        for bad in [&b""[..], b"{}", b"{\"Width\":-1,\"Height\":2}", b"{\"Width\":99999,\"Height\":2}"] {
            assert_eq!(parse_size(bad), None);
        }
    }
}
