//! A process in a container, for a node of many threads: made by our own program once more, which has one thread and says
//! over a socket what becomes of it.
//!
//! The node sends one packet: what to run, and with it the pipes for its input and output. The executor answers that it has
//! started (with the master of its terminal, if it has one) or why not, and in the end with the exit code. The bytes
//! themselves never pass through it. It outlives a node that goes away: somebody has to take leave of the process.

use agent::Root;
use runtime::{ExecConfig, ExecStdio};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use serde::{Deserialize, Serialize};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// The hidden subcommand.
pub const SUBCOMMAND: &str = "execute";

/// The longest packet: a command of the longest URL that is taken, with room.
const MAX_PACKET_BYTES: usize = 160 << 10;
/// Descriptors that go with a packet at most.
const MOST_DESCRIPTORS: usize = 3;

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Order {
    lib: PathBuf,
    run: PathBuf,
    container: String,
    command: Vec<String>,
    tty: bool,
    /// Whether the first descriptor is its input; then its output and its errors.
    stdin: bool,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "is")]
enum Word {
    /// With the master of its terminal.
    Started,
    /// It could not be started.
    Failed { message: String },
    /// It has ended.
    #[serde(rename_all = "camelCase")]
    Ended { exit_code: i32 },
}

/// The subcommand: runs one process, for the node that is at the other end of standard input. To be called before any thread
/// is started.
pub fn main() -> ExitCode {
    let control = rustix::stdio::stdin();
    let done = run(control);
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = send(control, &Word::Failed { message: error.to_string() }, &[]);
            ExitCode::FAILURE
        }
    }
}

fn run(control: BorrowedFd<'_>) -> io::Result<()> {
    sys::process::ensure_read_only_exe()?;
    let (order, mut descriptors) = receive::<Order>(control)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let root = Root { lib: order.lib, run: order.run };
    let config = ExecConfig { command: order.command, tty: order.tty, ..ExecConfig::default() };
    let stdin = (order.stdin && !descriptors.is_empty()).then(|| descriptors.remove(0));
    let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    let fd = |at: usize| descriptors.get(at).map_or(null.as_fd(), AsFd::as_fd);
    let stdio = ExecStdio { stdin: stdin.as_ref().map(AsFd::as_fd), stdout: fd(0), stderr: fd(1) };
    let started = runtime::exec(&root.runtime_dirs(), &order.container, &config, stdio);
    // The node is to see the ends of the pipes when the process has closed them.
    drop((stdin, descriptors));
    let mut process = match started {
        Ok(process) => process,
        Err(error) => {
            let message = in_containerds_words(&error);
            return Ok(send(control, &Word::Failed { message }, &[])?);
        }
    };
    let master = process.terminal.take();
    let given: Vec<BorrowedFd<'_>> = master.iter().map(AsFd::as_fd).collect();
    // A node that has gone hears nothing; the process is waited for all the same.
    let _ = send(control, &Word::Started, &given);
    drop(master);
    let exit_code = process.wait().map_err(io::Error::other)?;
    let _ = send(control, &Word::Ended { exit_code }, &[]);
    Ok(())
}

/// A command that cannot be executed is told as a cluster with containerd and runc tells it: scripts look for these words.
fn in_containerds_words(error: &runtime::Error) -> String {
    let message = crate::error::with_causes(error);
    if !matches!(error, runtime::Error::Execute { .. }) {
        return message;
    }
    // containerd names the exec that it was to be by 64 random digits.
    let half = || agent::record::PodUid::random().map(|uid| uid.to_string().replace('-', ""));
    let id: String = [half(), half()].into_iter().flatten().collect();
    format!(
        "failed to exec in container: failed to start exec {id:?}: OCI runtime exec failed: exec failed: unable to start container process: {message}"
    )
}

fn send(socket: BorrowedFd<'_>, word: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let text = serde_json::to_vec(word).map_err(|_| Errno::INVAL)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::NOBUFS);
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(&text)], &mut control, SendFlags::NOSIGNAL).map(drop)
}

/// The next packet, with its descriptors; none when the other end is closed.
fn receive<T: serde::de::DeserializeOwned>(socket: BorrowedFd<'_>) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut text = vec![0; MAX_PACKET_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut text)];
    let bytes = match rustix::net::recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
        Ok(message) => message.bytes,
        Err(Errno::CONNRESET) => 0,
        Err(errno) => return Err(errno.into()),
    };
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(given) = message {
            descriptors.extend(given);
        }
    }
    if bytes == 0 {
        return Ok(None);
    }
    Ok(Some((serde_json::from_slice(&text[..bytes])?, descriptors)))
}

/// What the node asks for.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) root: Root,
    /// The container's id.
    pub(crate) container: String,
    pub(crate) command: Vec<String>,
    pub(crate) tty: bool,
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: Option<OwnedFd>,
    pub(crate) stderr: Option<OwnedFd>,
}

/// A process under way, as the node has it.
#[derive(Debug)]
pub(crate) struct Running {
    control: UnixStream,
    /// The master of its terminal.
    pub(crate) terminal: Option<OwnedFd>,
}

/// Executes our own program as an executor, and tells it what to run. Waits for nothing but that.
pub(crate) fn spawn(wanted: &Wanted) -> io::Result<(Child, std::os::unix::net::UnixStream)> {
    let (ours, theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    let exe = sys::process::read_only_exe()?;
    let child = Command::new(format!("/proc/self/fd/{}", exe.as_raw_fd()))
        .arg0("rhizome")
        .arg(SUBCOMMAND)
        // Only there to be seen in ps(1).
        .arg(&wanted.root.run)
        .current_dir("/")
        .stdin(theirs)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    let mut descriptors: Vec<BorrowedFd<'_>> = wanted.stdin.iter().map(AsFd::as_fd).collect();
    for output in [&wanted.stdout, &wanted.stderr] {
        descriptors.push(output.as_ref().map_or(null.as_fd(), AsFd::as_fd));
    }
    let order = Order {
        lib: wanted.root.lib.clone(),
        run: wanted.root.run.clone(),
        container: wanted.container.clone(),
        command: wanted.command.clone(),
        tty: wanted.tty,
        stdin: wanted.stdin.is_some(),
    };
    send(ours.as_fd(), &order, &descriptors)?;
    Ok((child, ours.into()))
}

/// Waits until the process runs.
///
/// # Errors
/// The words why it does not.
pub(crate) async fn started(control: std::os::unix::net::UnixStream) -> Result<Running, String> {
    let words = |error: io::Error| error.to_string();
    control.set_nonblocking(true).map_err(words)?;
    let control = UnixStream::from_std(control).map_err(words)?;
    match next(&control).await.map_err(words)? {
        Some((Word::Started, mut given)) => Ok(Running { terminal: given.pop(), control }),
        Some((Word::Failed { message }, _)) => Err(message),
        _ => Err("the executor has ended without a word".to_owned()),
    }
}

impl Running {
    /// Waits for its end: its exit code, or 128 and the signal.
    pub(crate) async fn ended(&self) -> Result<i32, String> {
        match next(&self.control).await {
            Ok(Some((Word::Ended { exit_code }, _))) => Ok(exit_code),
            Ok(Some((Word::Failed { message }, _))) => Err(message),
            Ok(_) => Err("the executor has ended without a word".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

async fn next(control: &UnixStream) -> io::Result<Option<(Word, Vec<OwnedFd>)>> {
    loop {
        control.readable().await?;
        match control.try_io(Interest::READABLE, || receive(control.as_fd())) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_descriptors_arrive() {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        send(ours.as_fd(), &Word::Started, &[write.as_fd()]).unwrap();
        send(ours.as_fd(), &Word::Ended { exit_code: 7 }, &[]).unwrap();
        drop((ours, write));
        let (word, given) = receive::<Word>(theirs.as_fd()).unwrap().unwrap();
        assert_eq!(word, Word::Started);
        rustix::io::write(&given[0], b"x").unwrap();
        let mut byte = [0; 2];
        assert_eq!(rustix::io::read(&read, &mut byte).unwrap(), 1);
        assert_eq!(receive::<Word>(theirs.as_fd()).unwrap().unwrap().0, Word::Ended { exit_code: 7 });
        assert!(receive::<Word>(theirs.as_fd()).unwrap().is_none());
    }
}
