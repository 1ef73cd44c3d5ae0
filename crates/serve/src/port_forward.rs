//! `port-forward`: connections to a pod's loopback, each as two streams of SPDY (`portforward.k8s.io`): one for its bytes,
//! one for what goes wrong. kubectl from 1.31 on carries the SPDY in a WebSocket.
//!
//! A connection is half closed as TCP's are, either way. One that cannot be made is told in the words of a kubelet with
//! containerd; one that the pod resets is reset, and the others go on.

use crate::error::{ApiError, Result, with_causes};
use crate::hangup::Hangup;
use crate::http::Answer;
use crate::object::Key;
use crate::remote_command::{self, OPEN_TIMEOUT};
use crate::server::Shared;
use crate::streams::{Gone, Link, Stream};
use crate::verbs::blocking;
use crate::websocket;
use agent::Client;
use agent::record::PodKey;
use hyper::HeaderMap;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use runtime::Network;
use rustix::fd::{AsFd, OwnedFd};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use spdy::ResetStatus;
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;

const PROTOCOL: &str = "portforward.k8s.io";
const TUNNEL_PROTOCOL: &str = "SPDY/3.1+portforward.k8s.io";
/// How long a server in the pod may take to take a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Read from a connection at a time.
const READ_BYTES: usize = 16 << 10;

/// What is asked for, found to be possible.
#[derive(Debug, Clone)]
pub(crate) struct Forward {
    shared: Arc<Shared>,
    pod: PodKey,
}

/// The streams of a connection, of which one has not come yet.
struct Half {
    error: Option<Stream>,
    data: Option<Stream>,
    since: Instant,
}

/// Why a connection was not made, in a kubelet's words.
struct Failed {
    sandbox: String,
    why: String,
}

impl Forward {
    /// Reads a request.
    pub(crate) fn of(shared: &Arc<Shared>, key: &Key) -> Result<Forward> {
        let pod = shared.store.get(key).ok_or_else(|| ApiError::not_found("pods", "", &key.name))?.value();
        if pod["status"]["phase"] != "Running" {
            let full_name = format!("{}_{}", key.name, key.namespace);
            return Err(ApiError::upgrade_refused(format!("pod not found ({full_name:?})")));
        }
        let pod = PodKey { namespace: key.namespace.clone(), name: key.name.clone() };
        Ok(Forward { shared: shared.clone(), pod })
    }

    /// Goes on as SPDY.
    pub(crate) fn open(
        self,
        headers: &HeaderMap,
        upgrade: OnUpgrade,
        hangup: Option<Hangup>,
    ) -> Result<Answer> {
        let answer = remote_command::accept(headers, PROTOCOL)?;
        tokio::spawn(async move {
            if let Ok(upgraded) = upgrade.await {
                self.serve(Link::over(TokioIo::new(upgraded), hangup)).await;
            }
        });
        Ok(answer)
    }

    /// Goes on as SPDY in a WebSocket.
    pub(crate) fn open_tunnel(
        self,
        headers: &HeaderMap,
        upgrade: OnUpgrade,
        hangup: Option<Hangup>,
    ) -> Result<Answer> {
        let protocol = websocket::protocol(headers, &[TUNNEL_PROTOCOL]).ok_or_else(|| {
            ApiError::bad_request(format!("none of the protocols is known: {TUNNEL_PROTOCOL} is"))
        })?;
        let answer = websocket::accept(headers, protocol)?;
        tokio::spawn(async move {
            if let Ok(upgraded) = upgrade.await {
                let socket = websocket::stream(TokioIo::new(upgraded)).await;
                self.serve(Link::over(websocket::tunnel(socket), hangup)).await;
            }
        });
        Ok(answer)
    }

    /// Until the client goes.
    async fn serve(self, link: Link) {
        let mut waiting: HashMap<String, Half> = HashMap::new();
        let mut look = tokio::time::interval(OPEN_TIMEOUT);
        loop {
            let stream = tokio::select! {
                stream = link.accept() => stream,
                () = self.shared.ended() => return link.close().await,
                _ = look.tick() => {
                    // Dropped, they are reset.
                    waiting.retain(|_, half| half.since.elapsed() < OPEN_TIMEOUT);
                    continue;
                }
            };
            let Some(stream) = stream else { return };
            if let Some((port, error, data)) = pair(&mut waiting, stream) {
                tokio::spawn(self.clone().connection(port, error, data));
            }
        }
    }

    async fn connection(self, port: u16, error: Stream, data: Stream) {
        match self.connect(port).await {
            Ok(socket) => {
                // That it is over is all that the client is told.
                let _ = carry(socket, &data, &error).await;
            }
            Err(Failed { sandbox, why }) => {
                let text = format!("error forwarding port {port} to pod {sandbox}, uid : {why}");
                let _ = error.write(text.as_bytes()).await;
                data.finish();
            }
        }
        error.finish();
    }

    /// Connects to a port of the pod's loopback, by IPv4 and then by IPv6.
    async fn connect(&self, port: u16) -> std::result::Result<TcpStream, Failed> {
        let (root, pod) = (self.shared.root.clone(), self.pod.clone());
        let found = blocking(move || {
            let client = Client::open(&root).map_err(|error| ApiError::internal(with_causes(&error)))?;
            let view = client.get(&pod).map_err(|error| ApiError::internal(with_causes(&error)))?;
            let sandbox = view.status.sandbox_id.clone().unwrap_or_default();
            let network = view.network(&client).map_err(with_causes_of);
            Ok((sandbox, network))
        });
        let failed = |why: String| Failed { sandbox: self.pod.name.clone(), why };
        let (sandbox, network) = found.await.map_err(|error| failed(error.message().to_owned()))?;
        let failed = |why: String| Failed { sandbox: sandbox.clone(), why };
        let Network { namespace, path } = network.map_err(failed)?;
        let there = format!("failed to execute portforward in network namespace {path:?}: ");
        let (v4, v6) =
            sockets(namespace).await.map_err(|error| failed(format!("{there}{}", words(&error))))?;
        let by_v4 = match dial(v4, (Ipv4Addr::LOCALHOST, port).into(), "tcp4").await {
            Ok(socket) => return Ok(socket),
            Err(why) => why,
        };
        dial(v6, (Ipv6Addr::LOCALHOST, port).into(), "tcp6").await.map_err(|by_v6| {
            failed(format!(
                "{there}failed to connect to localhost:{port} inside namespace {sandbox:?}, IPv4: {by_v4} IPv6 {by_v6} "
            ))
        })
    }
}

fn with_causes_of(error: agent::client::ClientError) -> String {
    with_causes(&error)
}

/// Takes a stream in; both of a connection when they are there.
fn pair(waiting: &mut HashMap<String, Half>, stream: Stream) -> Option<(u16, Stream, Stream)> {
    let id = stream.headers.get("requestID").to_owned();
    let half = Half { error: None, data: None, since: Instant::now() };
    let half = waiting.entry(id.clone()).or_insert(half);
    let place = match stream.headers.get("streamType") {
        "error" => Some(&mut half.error),
        "data" => Some(&mut half.data),
        _ => None,
    };
    match place {
        Some(place @ None) if port(&stream).is_some() => *place = Some(stream),
        _ => stream.reset(ResetStatus::PROTOCOL_ERROR),
    }
    match (&half.error, &half.data) {
        (Some(_), Some(_)) => {}
        (None, None) => {
            waiting.remove(&id);
            return None;
        }
        _ => return None,
    }
    let half = waiting.remove(&id)?;
    let (error, data) = (half.error?, half.data?);
    Some((port(&data)?, error, data))
}

fn port(stream: &Stream) -> Option<u16> {
    stream.headers.get("port").parse().ok().filter(|port| *port > 0)
}

/// Sockets in a network namespace: made by a thread that enters it and ends. They stay there wherever they are used.
async fn sockets(namespace: OwnedFd) -> io::Result<(io::Result<OwnedFd>, io::Result<OwnedFd>)> {
    let (say, hear) = oneshot::channel();
    let make = move || {
        let socket = |family| {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            rustix::net::socket_with(family, SocketType::STREAM, flags, None).map_err(io::Error::from)
        };
        let made = sys::namespace::enter(namespace.as_fd())
            .map(|()| (socket(AddressFamily::INET), socket(AddressFamily::INET6)));
        let _ = say.send(made.map_err(io::Error::from));
    };
    std::thread::Builder::new().name("pod-network".to_owned()).stack_size(64 << 10).spawn(make)?;
    hear.await.map_err(io::Error::other)?
}

async fn dial(
    socket: io::Result<OwnedFd>,
    address: SocketAddr,
    network: &str,
) -> std::result::Result<TcpStream, String> {
    let connected = match socket {
        Ok(socket) => {
            let connecting = TcpSocket::from_std_stream(socket.into()).connect(address);
            let done = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
            done.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        }
        Err(error) => Err(error),
    };
    match connected {
        Ok(socket) => {
            let _ = socket.set_nodelay(true);
            Ok(socket)
        }
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            Err(format!("dial {network} {address}: i/o timeout"))
        }
        Err(error) => Err(format!("dial {network} {address}: connect: {}", words(&error))),
    }
}

/// What the kernel said, as Go says it.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

/// Carries bytes both ways until both have ended, or one is reset. When the server has ended, so has the stream of errors:
/// kubectl waits for that before it closes its own side, which may be all that the other way waits for.
async fn carry(mut socket: TcpStream, data: &Stream, error: &Stream) -> std::result::Result<(), Gone> {
    let (mut from, mut to) = socket.split();
    let inward = async {
        let mut reads = true;
        while let Some(bytes) = data.read().await? {
            // What a server does not want any more is passed over: it may still have something to say.
            reads = reads && to.write_all(&bytes).await.is_ok();
        }
        let _ = to.shutdown().await;
        Ok(())
    };
    let outward = async {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            match from.read(&mut buffer).await {
                Ok(0) => {
                    data.finish();
                    error.finish();
                    return Ok(());
                }
                Ok(count) => data.write(&buffer[..count]).await?,
                Err(_) => {
                    data.reset(ResetStatus::CANCEL);
                    return Err(Gone);
                }
            }
        }
    };
    tokio::try_join!(inward, outward).map(drop)
}
