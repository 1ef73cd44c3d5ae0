//! One gRPC call at a time over a unix socket: the little of HTTP/2 (RFC 9113) that a client needs which asks and waits.
//!
//! Libraries for this are asynchronous, and nothing here is. Of the answer's headers nothing is needed: a call that failed
//! has no message. So no header compression has to be undone, and ours is written in its plainest form (RFC 7541).

use std::io::{self, ErrorKind, Read, Write};

/// No answer is longer: some 100,000 containers.
const MAX_MESSAGE: usize = 64 << 20;
/// What the server may send before it is told that it may go on: all of it.
const WINDOW: u32 = 0x7fff_ffff;
/// The longest frame that a peer may send unless it is told otherwise.
const MAX_FRAME: usize = 1 << 14;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

const END_STREAM: u8 = 0x1;
const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;

/// A connection on which calls are made one after the other.
#[derive(Debug)]
pub(super) struct Connection<S> {
    stream: S,
    next: u32,
}

impl<S: Read + Write> Connection<S> {
    /// Says what a client says first.
    pub(super) fn begin(mut stream: S) -> io::Result<Connection<S>> {
        const INITIAL_WINDOW_SIZE: [u8; 2] = [0, 4];
        let mut first = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        let window = [&INITIAL_WINDOW_SIZE[..], &WINDOW.to_be_bytes()].concat();
        frame(&mut first, SETTINGS, 0, 0, &window);
        // The connection's own window begins at 65,535.
        frame(&mut first, WINDOW_UPDATE, 0, 0, &(WINDOW - 65_535).to_be_bytes());
        stream.write_all(&first)?;
        Ok(Connection { stream, next: 1 })
    }

    /// Calls a method with a message, and waits for the message that it answers with; none if it refuses.
    pub(super) fn call(&mut self, method: &str, message: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let id = self.next;
        self.next += 2;
        let mut request = Vec::new();
        frame(&mut request, HEADERS, END_HEADERS, id, &headers(method));
        let mut body = vec![0];
        body.extend(u32::try_from(message.len()).map_err(io::Error::other)?.to_be_bytes());
        body.extend(message);
        frame(&mut request, DATA, END_STREAM, id, &body);
        self.stream.write_all(&request)?;
        let mut answer = Vec::new();
        loop {
            let (kind, flags, of, payload) = self.read_frame()?;
            match kind {
                SETTINGS if flags & ACK == 0 => self.send(SETTINGS, ACK, &[])?,
                PING if flags & ACK == 0 => self.send(PING, ACK, &payload)?,
                GOAWAY => return Err(invalid("the server ends the connection")),
                RST_STREAM if of == id => return Ok(None),
                DATA if of == id => {
                    answer.extend_from_slice(data(flags, &payload)?);
                    if answer.len() > MAX_MESSAGE {
                        return Err(invalid("the answer is too long"));
                    }
                }
                _ => {}
            }
            if of == id && matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
                return unwrapped(answer);
            }
        }
    }

    fn send(&mut self, kind: u8, flags: u8, payload: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::new();
        frame(&mut bytes, kind, flags, 0, payload);
        self.stream.write_all(&bytes)
    }

    fn read_frame(&mut self) -> io::Result<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        if length > MAX_FRAME {
            return Err(invalid("a frame is longer than may be"));
        }
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload)?;
        let of = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        Ok((head[3], head[4], of, payload))
    }
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, id: u32, payload: &[u8]) {
    // Ours are short.
    let length = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
    out.extend([length[1], length[2], length[3], kind, flags]);
    out.extend(id.to_be_bytes());
    out.extend(payload);
}

/// The headers of a call, none of them compressed: `:method: POST` and `:scheme: http` are in the static table, the others are
/// written out.
fn headers(method: &str) -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    let fields = [
        (":path", method),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            // Lengths below 127 are one byte.
            block.push(u8::try_from(text.len()).unwrap_or(126).min(126));
            block.extend(text.as_bytes().iter().take(126));
        }
    }
    block
}

/// What is in a DATA frame beside padding.
fn data(flags: u8, payload: &[u8]) -> io::Result<&[u8]> {
    if flags & PADDED == 0 {
        return Ok(payload);
    }
    let padding = payload.first().copied().map(usize::from);
    let end = padding.and_then(|padding| payload.len().checked_sub(padding));
    end.and_then(|end| payload.get(1..end)).ok_or_else(|| invalid("more padding than there is"))
}

/// A gRPC message: whether it is compressed, which was not offered, its length, itself.
fn unwrapped(answer: Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    if answer.is_empty() {
        return Ok(None);
    }
    let (head, message) =
        answer.split_at_checked(5).ok_or_else(|| invalid("a message without its length"))?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    if head[0] != 0 || message.len() != length {
        return Err(invalid("not one message, or a compressed one"));
    }
    Ok(Some(message.to_vec()))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A server that says this, and what it was told.
    #[derive(Debug, Default)]
    struct Canned {
        says: io::Cursor<Vec<u8>>,
        heard: Vec<u8>,
    }

    impl Read for Canned {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.says.read(buffer)
        }
    }

    impl Write for Canned {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.heard.extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The frames in which a server answers a call, with much between them that means nothing to us.
    pub(in crate::node::cri) fn answer(id: u32, message: &[u8]) -> Vec<u8> {
        let mut body = vec![0];
        body.extend((message.len() as u32).to_be_bytes());
        body.extend(message);
        let mut bytes = Vec::new();
        frame(&mut bytes, SETTINGS, 0, 0, &[0, 5, 0, 0, 64, 0]);
        frame(&mut bytes, SETTINGS, ACK, 0, &[]);
        frame(&mut bytes, PING, 0, 0, b"12345678");
        frame(&mut bytes, WINDOW_UPDATE, 0, 0, &[0, 0, 1, 0]);
        frame(&mut bytes, HEADERS, END_HEADERS, id, &[0x88]);
        let (first, rest) = body.split_at(body.len().min(7));
        frame(&mut bytes, DATA, PADDED, id, &[&[2], first, &[0, 0]].concat());
        for some in rest.chunks(MAX_FRAME) {
            frame(&mut bytes, DATA, 0, id, some);
        }
        frame(&mut bytes, HEADERS, END_HEADERS | END_STREAM, id, &[0x40]);
        bytes
    }

    fn call(says: Vec<u8>) -> io::Result<Option<Vec<u8>>> {
        let stream = Canned { says: io::Cursor::new(says), heard: Vec::new() };
        Connection::begin(stream)?.call("/a.B/C", b"")
    }

    #[test]
    fn an_answer_in_pieces() {
        let long = vec![7; 100_000];
        let says = [answer(1, b"one"), answer(3, &long)].concat();
        let stream = Canned { says: io::Cursor::new(says), heard: Vec::new() };
        let mut connection = Connection::begin(stream).unwrap();
        assert_eq!(connection.call("/a.B/C", b"xy").unwrap(), Some(b"one".to_vec()));
        assert_eq!(connection.call("/a.B/D", b"").unwrap(), Some(long));
        let heard = &connection.stream.heard;
        let has = |text: &[u8]| heard.windows(text.len()).any(|window| window == text);
        assert!(heard.starts_with(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
        assert!(has(b"\x05:path\x06/a.B/C") && has(b"\x0c\x0e") | has(b"content-type\x10application/grpc"));
        assert!(has(&[0, 0, 0, 0, 2, b'x', b'y']) && has(b"12345678"));
    }

    #[test]
    fn refusals_and_rubbish() {
        let mut refused = Vec::new();
        frame(&mut refused, HEADERS, END_HEADERS | END_STREAM, 1, &[0x88]);
        assert_eq!(call(refused).unwrap(), None);
        let mut reset = Vec::new();
        frame(&mut reset, RST_STREAM, 0, 1, &[0, 0, 0, 7]);
        assert_eq!(call(reset).unwrap(), None);
        let mut away = Vec::new();
        frame(&mut away, GOAWAY, 0, 0, &[0; 8]);
        let mut padded = Vec::new();
        frame(&mut padded, DATA, PADDED | END_STREAM, 1, &[9, 1]);
        let mut short = Vec::new();
        frame(&mut short, DATA, END_STREAM, 1, &[0, 0, 0, 0, 9, 1]);
        let long = vec![0xff; 64];
        for bad in [Vec::new(), away, padded, short, long, b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()] {
            assert!(call(bad.clone()).is_err(), "{bad:?}");
        }
    }
}
