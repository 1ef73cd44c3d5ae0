//! `exec` and `attach`: what comes from a client goes to a process or a container, and what that says goes to the client,
//! whichever way the client speaks ([`crate::websocket`], [`crate::remote_command`]).
//!
//! Nothing is buffered but what is on its way: who does not read holds up who writes, on both sides.

use crate::error::{ApiError, Result, with_causes};
use crate::executor::{self, Running, Wanted};
use crate::logs::{self, wake, woken};
use crate::object::{self, Key, text};
use crate::query::Query;
use crate::server::Shared;
use crate::verbs::blocking;
use agent::Client;
use agent::logs::{Follow, Stream};
use agent::record::PodKey;
use hyper::body::Bytes;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::OFlags;
use rustix::pipe::PipeFlags;
use rustix::termios::Winsize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

/// Read from a process at a time.
const READ_BYTES: usize = 32 << 10;
/// Pieces that are on their way, each way.
const PIECES: usize = 4;
/// How long what a process has left behind may go on writing after its end.
const DRAIN: Duration = Duration::from_millis(500);
/// How long to sleep at most where nothing wakes us.
const PAUSE: Duration = Duration::from_millis(500);

/// From a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    Data(Bytes),
    /// There is no more.
    End,
    /// Its terminal's size.
    Size {
        rows: u16,
        columns: u16,
    },
}

/// To a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Output {
    Stdout(Bytes),
    Stderr(Bytes),
}

/// What a session has of its client.
pub(crate) struct Ends {
    /// Closed when the client has gone.
    pub(crate) input: mpsc::Receiver<Input>,
    pub(crate) output: mpsc::Sender<Output>,
}

/// What the client's side has of a session.
pub(crate) struct ClientEnds {
    pub(crate) input: mpsc::Sender<Input>,
    pub(crate) output: mpsc::Receiver<Output>,
}

/// Both sides of a session that is about to be.
pub(crate) fn ends() -> (Ends, ClientEnds) {
    let (to_process, input) = mpsc::channel(PIECES);
    let (output, from_process) = mpsc::channel(PIECES);
    (Ends { input, output }, ClientEnds { input: to_process, output: from_process })
}

/// What is asked for, found to be possible.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    shared: Arc<Shared>,
    pod: PodKey,
    container: String,
    /// To run; none is an attach.
    command: Option<Vec<String>>,
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
    pub(crate) tty: bool,
}

impl Session {
    /// Reads a request.
    pub(crate) fn of(shared: &Arc<Shared>, key: &Key, query: &Query, exec: bool) -> Result<Session> {
        let missing = || ApiError::not_found("pods", "", &key.name);
        let pod = shared.store.get(key).ok_or_else(missing)?.value();
        let command = query.all("command");
        if exec && command.is_empty() {
            return Err(ApiError::bad_request("you must specify at least one command for the container"));
        }
        let container = logs::container(&pod, query.text("container"))?;
        let tty = query.truth("tty");
        let (stdin, stdout) = (query.truth("stdin"), query.truth("stdout"));
        // A terminal has one output.
        let stderr = query.truth("stderr") && !tty;
        if !(stdin || stdout || stderr) {
            return Err(ApiError::bad_request("you must specify at least 1 of stdin, stdout, stderr"));
        }
        if !runs(&pod, &container) {
            return Err(ApiError::upgrade_refused(format!("container not found ({container:?})")));
        }
        Ok(Session {
            shared: shared.clone(),
            pod: PodKey { namespace: key.namespace.clone(), name: key.name.clone() },
            container,
            command: exec.then_some(command),
            stdin,
            stdout,
            stderr,
            tty,
        })
    }

    /// Carries it out, to its end: the status to close with.
    pub(crate) async fn run(self, ends: Ends) -> Value {
        let done = match self.command.clone() {
            Some(command) => self.exec(command, ends).await,
            None => self.attach(ends).await.map(|()| 0),
        };
        match done {
            Ok(0) => json!({"metadata": {}, "status": "Success"}),
            Ok(code) => json!({
                "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
                "message": format!("command terminated with non-zero exit code: exit status {code}"),
                "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
            }),
            Err(words) => json!({
                "metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500,
                "message": format!("Internal error occurred: Internal error occurred: {words}"),
                "details": {"causes": [{"message": words}]},
            }),
        }
    }

    async fn exec(&self, command: Vec<String>, ends: Ends) -> Result<i32, String> {
        let (root, pod, container) = (self.shared.root.clone(), self.pod.clone(), self.container.clone());
        let (stdin, stdout, stderr, tty) = (self.stdin, self.stdout, self.stderr, self.tty);
        let spawned = blocking(move || {
            let client = Client::open(&root).map_err(|error| ApiError::internal(with_causes(&error)))?;
            let id = client
                .get(&pod)
                .and_then(|view| view.running_id(&container).map(str::to_owned))
                .map_err(|error| ApiError::internal(with_causes(&error)))?;
            let pipes =
                Pipes::new(stdin && !tty, stdout && !tty, stderr && !tty).map_err(ApiError::internal)?;
            let wanted = Wanted {
                root,
                container: id,
                command,
                tty,
                stdin: pipes.theirs.0,
                stdout: pipes.theirs.1,
                stderr: pipes.theirs.2,
            };
            let (child, control) = executor::spawn(&wanted).map_err(ApiError::internal)?;
            Ok((child, control, pipes.ours))
        });
        let (child, control, ours) = spawned.await.map_err(|error| error.message().to_owned())?;
        self.shared.executors.keep(child);
        let running = executor::started(control)
            .await
            .map_err(|words| format!("error executing command in container: {words}"))?;
        carry(running, ours, ends).await
    }

    /// A container's output from now on, from its log, and its input, until it or the client ends.
    async fn attach(&self, ends: Ends) -> Result<(), String> {
        let (root, pod, container) = (self.shared.root.clone(), self.pod.clone(), self.container.clone());
        let stdin = self.stdin;
        let begun = blocking(move || {
            let words = |error: agent::client::ClientError| ApiError::internal(with_causes(&error));
            let client = Client::open(&root).map_err(words)?;
            let view = client.get(&pod).map_err(words)?;
            let source = view.log_source(&container, false).map_err(words)?;
            let follow = Follow::last(&root, vec![source], 0).map_err(ApiError::internal)?;
            let input =
                if stdin { Some(client.attach_input(&view.pod, &container).map_err(words)?) } else { None };
            Ok((follow.of_one_run(), input))
        });
        let (mut follow, input) = begun.await.map_err(|error| error.message().to_owned())?;
        let Ends { input: from_client, output } = ends;
        let terminal =
            input.as_ref().filter(|_| self.tty).map(copy).transpose().map_err(|e| e.to_string())?;
        let mut feeding = tokio::spawn(feed(from_client, input, terminal));
        let wake = wake(&follow);
        loop {
            let (root, pod, container) = (self.shared.root.clone(), self.pod.clone(), self.container.clone());
            let read = tokio::task::spawn_blocking(move || {
                let over = logs::is_over(&root, &pod, &container);
                (follow.read(), over, follow)
            });
            let (records, over, again) = read.await.map_err(|error| error.to_string())?;
            let records = records.map_err(|error| error.to_string())?;
            follow = again;
            if records.is_empty() && over {
                break;
            }
            let idle = records.is_empty();
            for line in records.into_iter().map(|followed| followed.line) {
                let mut bytes = line.content;
                if line.whole {
                    bytes.push(b'\n');
                }
                let sent = match line.stream {
                    Stream::Stdout if self.stdout => output.send(Output::Stdout(bytes.into())).await,
                    Stream::Stderr if self.stderr => output.send(Output::Stderr(bytes.into())).await,
                    _ => Ok(()),
                };
                if sent.is_err() {
                    return Ok(());
                }
            }
            if idle {
                tokio::select! {
                    () = woken(wake.as_ref()) => {}
                    () = tokio::time::sleep(PAUSE) => {}
                    gone = &mut feeding => if gone.unwrap_or(true) { return Ok(()) },
                    () = output.closed() => return Ok(()),
                    () = self.shared.ended() => return Ok(()),
                }
            }
        }
        feeding.abort();
        Ok(())
    }
}

/// Whether the store says that a container runs; its log says so too when it has been made.
fn runs(pod: &Value, container: &str) -> bool {
    let lists = ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"];
    let all = lists.iter().flat_map(|list| object::items(&pod["status"], &format!("/{list}")));
    all.into_iter().any(|status| text(status, "/name") == container && status["state"]["running"].is_object())
}

type Three = (Option<OwnedFd>, Option<OwnedFd>, Option<OwnedFd>);

/// Pipes for what is wanted of a process's input, output and errors.
struct Pipes {
    ours: Three,
    theirs: Three,
}

impl Pipes {
    fn new(stdin: bool, stdout: bool, stderr: bool) -> std::io::Result<Pipes> {
        let pipe = |wanted: bool| match wanted {
            true => {
                rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map(|(read, write)| (Some(read), Some(write)))
            }
            false => Ok((None, None)),
        };
        let (their_in, our_in) = pipe(stdin)?;
        let (our_out, their_out) = pipe(stdout)?;
        let (our_err, their_err) = pipe(stderr)?;
        Ok(Pipes { ours: (our_in, our_out, our_err), theirs: (their_in, their_out, their_err) })
    }
}

fn copy(fd: &OwnedFd) -> std::io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(fd, 3)?)
}

fn non_blocking(fd: OwnedFd) -> std::io::Result<OwnedFd> {
    let flags = rustix::fs::fcntl_getfl(&fd)?;
    rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?;
    Ok(fd)
}

fn reader(fd: OwnedFd) -> std::io::Result<pipe::Receiver> {
    pipe::Receiver::from_owned_fd_unchecked(non_blocking(fd)?)
}

/// Carries bytes until the process has ended: its exit code.
async fn carry(mut running: Running, ours: Three, ends: Ends) -> Result<i32, String> {
    let words = |error: std::io::Error| error.to_string();
    let Ends { input, output } = ends;
    let (stdin, stdout, stderr, terminal) = match running.terminal.take() {
        // One description, so that the reader cannot be non-blocking alone.
        Some(master) => {
            let (read, size) = (copy(&master).map_err(words)?, copy(&master).map_err(words)?);
            (Some(master), Some(read), None, Some(size))
        }
        None => (ours.0, ours.1, ours.2, None),
    };
    let mut pumps = Vec::new();
    for (fd, wrap) in [(stdout, Output::Stdout as fn(Bytes) -> Output), (stderr, Output::Stderr)] {
        if let Some(fd) = fd {
            pumps.push(tokio::spawn(pump(reader(fd).map_err(words)?, output.clone(), wrap)));
        }
    }
    let mut feeding = tokio::spawn(feed(input, stdin, terminal));
    let (mut client_is_there, gone) = (true, || Err("the client has gone".to_owned()));
    let ended = loop {
        tokio::select! {
            ended = running.ended() => break ended,
            gone_too = &mut feeding, if client_is_there => {
                if gone_too.unwrap_or(true) {
                    break gone();
                }
                client_is_there = false;
            }
            () = output.closed() => break gone(),
        }
    };
    // What it has still to be given, nobody waits for: its input ends.
    feeding.abort();
    let drained = async {
        for pump in &mut pumps {
            let _ = pump.await;
        }
    };
    // What the process has left behind may hold its pipes open for ever.
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        pumps.iter().for_each(|pump| pump.abort());
    }
    ended
}

/// From a process to the client, until the process has closed its end or the client has gone.
async fn pump(mut from: pipe::Receiver, to: mpsc::Sender<Output>, wrap: fn(Bytes) -> Output) {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            () = to.closed() => return,
        };
        match read {
            // A terminal ends with EIO.
            Ok(0) | Err(_) => return,
            Ok(count) => {
                if to.send(wrap(Bytes::copy_from_slice(&buffer[..count]))).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// From the client to a process. Whether the client has gone; it has not while it only has no more to say.
async fn feed(mut from: mpsc::Receiver<Input>, to: Option<OwnedFd>, terminal: Option<OwnedFd>) -> bool {
    let writer = |fd| pipe::Sender::from_owned_fd_unchecked(non_blocking(fd)?);
    let mut to = to.and_then(|fd| writer(fd).ok());
    while let Some(input) = from.recv().await {
        match (input, &mut to) {
            (Input::Data(bytes), Some(writer)) => {
                // A process that does not read any more is no reason to end.
                if writer.write_all(&bytes).await.is_err() {
                    to = None;
                }
            }
            (Input::End, _) if terminal.is_none() => to = None,
            (Input::Size { rows, columns }, _) => {
                let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
                if let Some(terminal) = &terminal {
                    let _ = rustix::termios::tcsetwinsize(terminal.as_fd(), size);
                }
            }
            (Input::Data(_) | Input::End, _) => {}
        }
    }
    true
}
