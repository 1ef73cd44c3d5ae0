//! `exec` and `attach` over SPDY, as kubectl up to 1.29 speaks it, and newer ones with
//! `KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false`: the client opens a stream for each of what it wants (`streamType`), and in
//! the end gets a Status on the stream `error` (`v4.channel.k8s.io`).

use crate::error::{ApiError, Result};
use crate::hangup::Hangup;
use crate::http::Answer;
use crate::session::{self, ClientEnds, Input, Output, Session};
use crate::streams::{Link, Stream};
use crate::websocket::parse_size;
use hyper::HeaderMap;
use hyper::header::{HeaderName, UPGRADE};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use spdy::ResetStatus;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// The one form of the streams that is known, since Kubernetes 1.4.
const PROTOCOL: &str = "v4.channel.k8s.io";
/// The header in which a client says what it can do on the streams, and is told what it is to do.
pub(crate) const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
/// How long a client may take to open its streams, as for the kubelet.
pub(crate) const OPEN_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest window size, as JSON, that comes in pieces.
const MAX_SIZE_BYTES: usize = 1 << 10;

/// Whether a request wants to go on as SPDY.
pub(crate) fn is_asked_for(headers: &HeaderMap) -> bool {
    let upgrade = headers.get(UPGRADE).and_then(|value| value.to_str().ok());
    upgrade.is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("SPDY/3.1"))
}

/// The answer with which SPDY begins.
pub(crate) fn accept(headers: &HeaderMap, known: &'static str) -> Result<Answer> {
    let values = headers.get_all(STREAM_PROTOCOL);
    let asked: Vec<&str> = values
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    match asked.contains(&known) {
        true => Ok(Answer::upgrade("SPDY/3.1").header(STREAM_PROTOCOL, known)),
        // As Go prints lists of strings.
        false => Err(ApiError::bad_request(format!(
            "unable to upgrade: unable to negotiate protocol: client supports {asked:?}, server accepts [{known:?}]"
        ))),
    }
}

/// Opens a session.
pub(crate) fn open(
    session: Session,
    headers: &HeaderMap,
    upgrade: OnUpgrade,
    hangup: Option<Hangup>,
) -> Result<Answer> {
    let answer = accept(headers, PROTOCOL)?;
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            serve(Link::over(TokioIo::new(upgraded), hangup), session).await;
        }
    });
    Ok(answer)
}

/// The streams of a session.
#[derive(Default)]
struct Streams {
    error: Option<Stream>,
    stdin: Option<Stream>,
    stdout: Option<Stream>,
    stderr: Option<Stream>,
    resize: Option<Stream>,
}

impl Streams {
    /// All that a client wants, as it opens them; none if it does not.
    async fn open(link: &Link, session: &Session) -> Option<Streams> {
        let mut streams = Streams::default();
        while !streams.complete(session) {
            let stream = link.accept().await?;
            let wanted = match stream.headers.get("streamType") {
                "error" => Some(&mut streams.error),
                "stdin" if session.stdin => Some(&mut streams.stdin),
                "stdout" if session.stdout => Some(&mut streams.stdout),
                "stderr" if session.stderr => Some(&mut streams.stderr),
                "resize" if session.tty => Some(&mut streams.resize),
                _ => None,
            };
            match wanted {
                Some(place @ None) => *place = Some(stream),
                _ => stream.reset(ResetStatus::PROTOCOL_ERROR),
            }
        }
        Some(streams)
    }

    fn complete(&self, session: &Session) -> bool {
        let there = |wanted: bool, stream: &Option<Stream>| !wanted || stream.is_some();
        there(true, &self.error)
            && there(session.stdin, &self.stdin)
            && there(session.stdout, &self.stdout)
            && there(session.stderr, &self.stderr)
            && there(session.tty, &self.resize)
    }
}

async fn serve(link: Link, session: Session) {
    let opened = tokio::time::timeout(OPEN_TIMEOUT, Streams::open(&link, &session)).await;
    let Ok(Some(Streams { error, stdin, stdout, stderr, resize })) = opened else { return };
    let (ends, ClientEnds { input, mut output }) = session::ends();
    let (say_status, status) = oneshot::channel::<Value>();
    tokio::spawn(async move {
        let _ = say_status.send(session.run(ends).await);
    });
    let reading = [
        stdin.map(|stream| tokio::spawn(feed(stream, input.clone()))),
        resize.map(|stream| tokio::spawn(resized(stream, input.clone()))),
    ];
    let written = async {
        while let Some(piece) = output.recv().await {
            let (stream, bytes) = match &piece {
                Output::Stdout(bytes) => (&stdout, bytes),
                Output::Stderr(bytes) => (&stderr, bytes),
            };
            match stream {
                Some(stream) if stream.write(bytes).await.is_err() => return,
                _ => {}
            }
        }
    };
    tokio::select! {
        () = written => {}
        () = link.gone() => {}
    }
    // With both of them gone the session learns that the client has; until here it has one.
    drop((input, output));
    for stream in [&stdout, &stderr].into_iter().flatten() {
        stream.finish();
    }
    if let (Ok(status), Some(error)) = (status.await, &error) {
        let _ = error.write(status.to_string().as_bytes()).await;
        error.finish();
    }
    reading.into_iter().flatten().for_each(|task| task.abort());
    link.close().await;
}

/// A client's input.
async fn feed(stream: Stream, input: mpsc::Sender<Input>) {
    loop {
        let said = match stream.read().await {
            Ok(Some(bytes)) => Input::Data(bytes),
            Ok(None) => Input::End,
            Err(_) => return,
        };
        let more = said != Input::End;
        if input.send(said).await.is_err() || !more {
            return;
        }
    }
}

/// The sizes of a client's terminal, a line of JSON each, in any pieces.
async fn resized(stream: Stream, input: mpsc::Sender<Input>) {
    let mut text = Vec::new();
    while let Ok(Some(bytes)) = stream.read().await {
        text.extend_from_slice(&bytes);
        while let Some(end) = text.iter().position(|byte| *byte == b'}') {
            let size: Vec<u8> = text.drain(..=end).collect();
            if let Some(size) = parse_size(&size)
                && input.send(size).await.is_err()
            {
                return;
            }
        }
        if text.len() > MAX_SIZE_BYTES {
            return;
        }
    }
}
