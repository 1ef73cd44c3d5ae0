//! `grpc.health.v1.Health/Check` over HTTP/2 without a library: one request, and of the answer only its message. Header
//! fields are sent as literals that need no table (RFC 7541, section 6.2.2) and not read at all: a health check that says
//! SERVING has sent a message, one that failed has not.

use super::net::{self, Deadline, Stream, is_timeout};
use crate::lifecycle::Outcome;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

/// What a client says first (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The most of a frame that is taken: the least that every peer must be able to.
const MAX_FRAME_BYTES: usize = 16 * 1024;
/// How many frames are read until there is an answer.
const MAX_FRAMES: usize = 1000;

// Frame types and flags, RFC 9113, section 6.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

/// The stream of the one request.
const STREAM: u32 = 1;

pub(super) fn timed_out(port: u16, timeout: Duration) -> String {
    let address = format!("{}:{port}", super::POD_HOST);
    format!(
        "timeout: failed to connect service {address:?} within {}s: context deadline exceeded",
        timeout.as_secs()
    )
}

/// Asks for the health of a service; empty is the server's.
pub(super) fn probe(address: SocketAddr, service: &str, deadline: &Deadline, timeout: Duration) -> Outcome {
    let late = || Outcome::Failure(timed_out(address.port(), timeout));
    let mut stream = match net::connect(address, deadline) {
        Ok(stream) => stream,
        Err(text) if text.ends_with("i/o timeout") => return late(),
        Err(text) => {
            return Outcome::Failure(format!(
                "error: failed to connect service {:?}: {text}",
                address.to_string()
            ));
        }
    };
    match ask(&mut stream, address, service) {
        Ok(Some(SERVING)) => Outcome::Success,
        Ok(Some(status)) => {
            let word = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"].get(status as usize);
            let word = word.map_or_else(|| status.to_string(), |word| (*word).to_owned());
            Outcome::Failure(format!("service unhealthy (responded with {word:?})"))
        }
        Ok(None) => Outcome::Failure("error: health rpc probe failed: the server answered without a message (it may not implement the grpc health protocol (grpc.health.v1.Health), or not know the service)".into()),
        Err(error) if is_timeout(&error) => late(),
        Err(error) => Outcome::Failure(format!("error: health rpc probe failed: {}", net::words(&error))),
    }
}

/// `HealthCheckResponse.ServingStatus`
const SERVING: u64 = 1;

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// The status in the answer; none if the stream ends without one.
fn ask(stream: &mut Stream, address: SocketAddr, service: &str) -> io::Result<Option<u64>> {
    let mut request = PREFACE.to_vec();
    push_frame(&mut request, SETTINGS, 0, 0, &[]);
    push_frame(&mut request, HEADERS, END_HEADERS, STREAM, &headers(&address.to_string()));
    push_frame(&mut request, DATA, END_STREAM, STREAM, &message(service));
    stream.write_all(&request)?;
    let mut body = Vec::new();
    for _ in 0..MAX_FRAMES {
        let frame = read_frame(stream)?;
        let mut reply = Vec::new();
        match frame.kind {
            SETTINGS if frame.flags & ACK == 0 => push_frame(&mut reply, SETTINGS, ACK, 0, &[]),
            PING if frame.flags & ACK == 0 => push_frame(&mut reply, PING, ACK, 0, &frame.payload),
            DATA if frame.stream == STREAM => body.extend_from_slice(unpadded(&frame)),
            GOAWAY => return Ok(None),
            RST_STREAM if frame.stream == STREAM => return Ok(None),
            _ => {}
        }
        // A server that has said all may have closed its end: what it said is still to be read.
        let _ = stream.write_all(&reply);
        if let Some(status) = status_of(&body) {
            return Ok(Some(status));
        }
        let ends = matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0;
        if (ends && frame.stream == STREAM) || body.len() > MAX_FRAME_BYTES {
            return Ok(None);
        }
    }
    Ok(None)
}

fn push_frame(to: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    // Never longer than a few hundred bytes.
    let length = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
    to.extend_from_slice(&length[1..]);
    to.extend_from_slice(&[kind, flags]);
    to.extend_from_slice(&stream.to_be_bytes());
    to.extend_from_slice(payload);
}

fn read_frame(stream: &mut Stream) -> io::Result<Frame> {
    let mut head = [0; 9];
    stream.read_exact(&mut head)?;
    let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
    if length > MAX_FRAME_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not an http/2 server"));
    }
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload)?;
    let number = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
    Ok(Frame { kind: head[3], flags: head[4], stream: number, payload })
}

/// The data of a frame without its padding.
fn unpadded(frame: &Frame) -> &[u8] {
    match (frame.flags & PADDED != 0, frame.payload.split_first()) {
        (true, Some((padding, rest))) => &rest[..rest.len().saturating_sub(usize::from(*padding))],
        _ => &frame.payload,
    }
}

/// The request's header fields.
fn headers(authority: &str) -> Vec<u8> {
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/grpc.health.v1.Health/Check"),
        (":authority", authority),
        ("content-type", "application/grpc"),
        ("user-agent", "kube-probe/1.36"),
        ("te", "trailers"),
    ];
    let mut block = Vec::new();
    for (name, value) in fields {
        // A literal without indexing, with a new name. No text here is as long as 127 bytes.
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len().min(126)).unwrap_or_default());
            block.extend_from_slice(&text.as_bytes()[..text.len().min(126)]);
        }
    }
    block
}

/// `HealthCheckRequest` with gRPC's five bytes before it.
fn message(service: &str) -> Vec<u8> {
    let mut request = Vec::new();
    if !service.is_empty() {
        request.push(1 << 3 | 2);
        push_varint(&mut request, service.len() as u64);
        request.extend_from_slice(service.as_bytes());
    }
    let mut framed = vec![0];
    framed.extend_from_slice(&u32::try_from(request.len()).unwrap_or_default().to_be_bytes());
    framed.extend_from_slice(&request);
    framed
}

fn push_varint(to: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

/// `HealthCheckResponse.status` of a whole message; 0, which is UNKNOWN, where it is left out.
fn status_of(body: &[u8]) -> Option<u64> {
    let length = u32::from_be_bytes(body.get(1..5)?.try_into().ok()?) as usize;
    let message = body.get(5..5_usize.checked_add(length)?)?;
    match message {
        [8, value @ ..] => {
            let bytes = value.iter().take(10).enumerate();
            Some(
                bytes
                    .fold((0, true), |(sum, more), (at, byte)| match more {
                        true => (sum | u64::from(byte & 0x7f) << (7 * at).min(63), byte & 0x80 != 0),
                        false => (sum, false),
                    })
                    .0,
            )
        }
        _ => Some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    /// A server that reads up to the request's message, and then answers with this.
    fn check(answer: Vec<u8>) -> (Outcome, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = Vec::new();
            let end = message("s");
            while !asked.ends_with(&end) {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                asked.push(byte[0]);
            }
            stream.write_all(&answer).unwrap();
            asked
        });
        let timeout = Duration::from_secs(20);
        let outcome = probe(address, "s", &Deadline::after(timeout), timeout);
        (outcome, server.join().unwrap())
    }

    fn answer(status: u8, flags: u8) -> Vec<u8> {
        let mut bytes = Vec::new();
        push_frame(&mut bytes, SETTINGS, 0, 0, &[]);
        push_frame(&mut bytes, PING, 0, 0, &[7; 8]);
        push_frame(&mut bytes, HEADERS, END_HEADERS, STREAM, &[0x88]);
        push_frame(&mut bytes, DATA, flags, STREAM, &[0, 0, 0, 0, 2, 8, status]);
        bytes
    }

    #[test]
    fn what_a_server_says() {
        let (outcome, asked) = check(answer(1, 0));
        assert_eq!(outcome, Outcome::Success);
        assert!(asked.starts_with(PREFACE));
        let (outcome, _) = check(answer(2, END_STREAM));
        assert_eq!(outcome, Outcome::Failure("service unhealthy (responded with \"NOT_SERVING\")".into()));
        let mut unimplemented = Vec::new();
        push_frame(&mut unimplemented, HEADERS, END_HEADERS | END_STREAM, STREAM, &[0x88]);
        let (outcome, _) = check(unimplemented);
        assert!(
            matches!(&outcome, Outcome::Failure(text) if text.contains("without a message")),
            "{outcome:?}"
        );
        let (outcome, _) = check(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec());
        assert!(
            matches!(&outcome, Outcome::Failure(text) if text.contains("not an http/2 server")),
            "{outcome:?}"
        );
    }

    #[test]
    fn bytes_that_are_no_message_end_nothing_badly() {
        for body in [&[][..], &[0; 4], &[0, 255, 255, 255, 255, 8], &[0, 0, 0, 0, 1, 8]] {
            let _ = status_of(body);
        }
        assert_eq!(status_of(&[0, 0, 0, 0, 0]), Some(0));
        let frame = Frame { kind: DATA, flags: PADDED, stream: 1, payload: vec![200, 1] };
        assert_eq!(unpadded(&frame), [0_u8; 0]);
    }
}
