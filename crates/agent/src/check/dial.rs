//! A probe over plain TCP or HTTP in steps that do not wait, for the supervisor's own loop: a process for each would be most
//! of what a hundred idle pods cost. What needs more (a name to be looked up, TLS, a redirect) is a process's business.

use super::{Check, http, net};
use crate::lifecycle::Outcome;
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use sys::namespace::Namespaces;

/// A probe under way.
#[derive(Debug)]
pub(crate) struct Dial {
    socket: OwnedFd,
    address: SocketAddr,
    connected: bool,
    /// What is asked over the connection; with none, that there is one is the answer.
    get: Option<http::Get>,
    /// What of the request is still to be sent.
    request: Vec<u8>,
    head: Vec<u8>,
}

/// How far it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It waits for its descriptor.
    Waiting,
    /// What came of it.
    Over(Outcome),
    /// A redirect that is to be followed, by a process.
    Elsewhere,
}

impl Check {
    /// Begins the probe in the network of a process; `None` if it cannot be done in this way.
    pub(crate) fn dial(&self, init: BorrowedFd<'_>) -> Option<Result<Dial, Outcome>> {
        let (host, port, get) = match self {
            Check::Http(get) if !get.tls => (&get.host, get.port, Some(get.clone())),
            Check::Tcp { host, port } => (host, *port, None),
            _ => return None,
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let address = SocketAddr::new(bare.parse::<IpAddr>().ok()?, port);
        let socket = socket_in(init, address)
            .map_err(|errno| Outcome::Error(format!("cannot enter the pod's network: {errno}")));
        Some(socket.and_then(|socket| Dial::begin(socket, address, get)))
    }
}

/// A socket of the process's network. It stays in it, and we do not.
fn socket_in(init: BorrowedFd<'_>, address: SocketAddr) -> Result<OwnedFd, Errno> {
    let own = sys::namespace::open_own("net")?;
    sys::namespace::enter_of(init, Namespaces::NETWORK)?;
    let socket = socket(address);
    if let Err(error) = sys::namespace::enter(own.as_fd()) {
        // Whatever we did from now on would be in the pod's network. The containers go on without us.
        tracing::error!(%error, "cannot go back to the node's network");
        std::process::exit(1);
    }
    socket
}

fn socket(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    rustix::net::socket_with(family, SocketType::STREAM, flags, None)
}

impl Dial {
    fn begin(socket: OwnedFd, address: SocketAddr, get: Option<http::Get>) -> Result<Dial, Outcome> {
        let request = get.as_ref().map(|get| get.request().into_bytes()).unwrap_or_default();
        let dial = Dial { socket, address, connected: false, get, request, head: Vec::new() };
        match rustix::net::connect(&dial.socket, &address) {
            // Also where it is connected at once: that is seen by the descriptor being writable.
            Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => Ok(dial),
            Err(errno) => Err(dial.not_connected(errno)),
        }
    }

    /// What to wait for.
    pub(crate) fn fd(&self) -> (BorrowedFd<'_>, PollFlags) {
        let sends = !self.connected || !self.request.is_empty();
        (self.socket.as_fd(), if sends { PollFlags::OUT } else { PollFlags::IN })
    }

    /// Goes on, the descriptor being ready.
    pub(crate) fn step(&mut self) -> Progress {
        let went = match (self.connected, self.request.is_empty()) {
            (false, _) => return self.connect(),
            (true, false) => self.send(),
            (true, true) => self.receive(),
        };
        let Some(get) = &self.get else { return Progress::Over(Outcome::Success) };
        match went {
            Ok(false) | Err(Errno::AGAIN | Errno::INTR) => Progress::Waiting,
            Ok(true) if self.head.is_empty() => {
                Progress::Over(get.broken(&std::io::ErrorKind::UnexpectedEof.into()))
            }
            Ok(true) => get.judge(&self.head).map_or(Progress::Elsewhere, Progress::Over),
            Err(errno) => Progress::Over(get.broken(&errno.into())),
        }
    }

    fn connect(&mut self) -> Progress {
        match rustix::net::sockopt::socket_error(&self.socket).and_then(|connected| connected) {
            Ok(()) => self.connected = true,
            Err(errno) => return Progress::Over(self.not_connected(errno)),
        }
        if self.get.is_none() { Progress::Over(Outcome::Success) } else { Progress::Waiting }
    }

    fn not_connected(&self, errno: Errno) -> Outcome {
        let text = format!("dial tcp {}: connect: {}", self.address, net::words(&errno.into()));
        Outcome::Failure(self.get.as_ref().map_or_else(|| text.clone(), |get| get.said(&text)))
    }

    /// Never whether it is over: an answer comes after all is sent.
    fn send(&mut self) -> Result<bool, Errno> {
        let sent = rustix::net::send(&self.socket, &self.request, SendFlags::NOSIGNAL)?;
        self.request.drain(..sent);
        Ok(false)
    }

    /// Whether all is here that will be looked at.
    fn receive(&mut self) -> Result<bool, Errno> {
        let mut chunk = [0; 4096];
        let count = rustix::io::read(&self.socket, &mut chunk)?;
        self.head.extend_from_slice(&chunk[..count]);
        Ok(count == 0 || http::is_whole(&self.head))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, poll};
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    /// By a socket of one's own network, which no privilege is needed for.
    fn after(address: SocketAddr, get: Option<http::Get>) -> Progress {
        let socket = socket(address).unwrap();
        let mut dial = match Dial::begin(socket, address, get) {
            Ok(dial) => dial,
            Err(outcome) => return Progress::Over(outcome),
        };
        for _ in 0..100 {
            let (fd, flags) = dial.fd();
            poll(&mut [PollFd::from_borrowed_fd(fd, flags)], None).unwrap();
            match dial.step() {
                Progress::Waiting => {}
                over => return over,
            }
        }
        panic!("it does not end")
    }

    fn tcp(port: u16) -> Progress {
        after(SocketAddr::from(([127, 0, 0, 1], port)), None)
    }

    fn get(port: u16) -> Progress {
        let get = serde_json::from_value(serde_json::json!({"path": "/a", "port": 1})).unwrap();
        after(SocketAddr::from(([127, 0, 0, 1], port)), Some(http::Get::of(&get, port)))
    }

    /// A server for one connection, which answers in pieces.
    fn serve(pieces: &'static [&'static str]) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 4096];
            let count = stream.read(&mut asked).unwrap();
            assert!(asked[..count].starts_with(b"GET /a HTTP/1.1\r\nHost: 127.0.0.1:"));
            for piece in pieces {
                stream.write_all(piece.as_bytes()).unwrap();
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        });
        port
    }

    #[test]
    fn what_comes_of_it() {
        let failure = |text: &str| Progress::Over(Outcome::Failure(text.into()));
        assert_eq!(get(serve(&["HTTP/1.1 2", "00 OK\r\n\r", "\n"])), Progress::Over(Outcome::Success));
        assert_eq!(
            get(serve(&["HTTP/1.1 500 No\r\n\r\n"])),
            failure("HTTP probe failed with statuscode: 500")
        );
        assert_eq!(get(serve(&["HTTP/1.1 302 Found\r\nLocation: /b\r\n\r\n"])), Progress::Elsewhere);
        let port = serve(&[]);
        assert_eq!(get(port), failure(&format!("Get \"http://127.0.0.1:{port}/a\": EOF")));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(tcp(port), Progress::Over(Outcome::Success));
        drop(listener);
        let refused = format!("dial tcp 127.0.0.1:{port}: connect: connection refused");
        assert_eq!(tcp(port), failure(&refused));
        assert_eq!(get(port), failure(&format!("Get \"http://127.0.0.1:{port}/a\": {refused}")));
    }

    #[test]
    fn what_is_a_processs_business() {
        let own =
            rustix::process::pidfd_open(rustix::process::getpid(), rustix::process::PidfdFlags::empty())
                .unwrap();
        let tls = serde_json::json!({"path": "/", "port": 1, "scheme": "HTTPS"});
        let checks = [
            Check::Exec(vec!["true".into()]),
            Check::Tcp { host: "localhost".into(), port: 1 },
            Check::Http(http::Get::of(&serde_json::from_value(tls).unwrap(), 1)),
            Check::Grpc { port: 1, service: String::new() },
        ];
        assert!(checks.iter().all(|check| check.dial(own.as_fd()).is_none()));
    }
}
