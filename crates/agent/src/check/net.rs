//! Connections with an end: every wait is over when the check's time is.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// When a check must be over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline(Option<Instant>);

impl Deadline {
    pub(super) fn after(timeout: Duration) -> Deadline {
        Deadline(Instant::now().checked_add(timeout))
    }

    /// For what is ended by others.
    pub(super) fn never() -> Deadline {
        Deadline(None)
    }

    /// What is left; an error when nothing is.
    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.0.map(|at| at.saturating_duration_since(Instant::now()));
        match left {
            Some(left) if left.is_zero() => Err(io::ErrorKind::TimedOut.into()),
            left => Ok(left),
        }
    }
}

/// A connection that ends with its deadline.
#[derive(Debug)]
pub(super) struct Stream {
    tcp: TcpStream,
    deadline: Deadline,
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.tcp.set_read_timeout(self.deadline.left()?)?;
        self.tcp.read(buffer).map_err(timed_out)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tcp.set_write_timeout(self.deadline.left()?)?;
        self.tcp.write(bytes).map_err(timed_out)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}

/// A socket's timeout is EAGAIN (socket(7), `SO_RCVTIMEO`).
fn timed_out(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}

/// The address of a name or an address.
///
/// # Errors
/// In Go's words.
pub(super) fn look_up(host: &str, port: u16) -> Result<SocketAddr, String> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found = (bare, port).to_socket_addrs().map(|mut all| all.next());
    found.ok().flatten().ok_or_else(|| format!("dial tcp: lookup {host}: no such host"))
}

/// Connects.
///
/// # Errors
/// In Go's words.
pub(super) fn connect(address: SocketAddr, deadline: &Deadline) -> Result<Stream, String> {
    let connected = deadline.left().and_then(|left| match left {
        Some(left) => TcpStream::connect_timeout(&address, left),
        None => TcpStream::connect(address),
    });
    match connected {
        Ok(tcp) => Ok(Stream { tcp, deadline: *deadline }),
        Err(error) if is_timeout(&error) => Err(format!("dial tcp {address}: i/o timeout")),
        Err(error) => Err(format!("dial tcp {address}: connect: {}", words(&error))),
    }
}

pub(super) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

/// What the kernel said, as Go says it.
pub(super) fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "EOF".into(),
        _ => crate::volumes::host_path::os_words(&error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_port_where_nobody_listens() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let text = connect(address, &Deadline::after(Duration::from_secs(5))).unwrap_err();
        assert_eq!(text, format!("dial tcp {address}: connect: connection refused"));
    }

    #[test]
    fn a_server_that_says_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let begun = Instant::now();
        let mut stream = connect(address, &Deadline::after(Duration::from_millis(200))).unwrap();
        let error = stream.read(&mut [0; 8]).unwrap_err();
        assert!(is_timeout(&error), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}
