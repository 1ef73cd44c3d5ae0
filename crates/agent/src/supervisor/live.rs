//! A container that runs: its process, its outputs, its log.

use crate::check::Command;
use crate::lifecycle::Exit;
use crate::logs::{LogWriter, Stream};
use jiff::Timestamp;
use rustix::io::Errno;
use rustix::process::Pid;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// What is read of an output in one go; the loop comes back for more, so that no container holds the others up.
const CHUNK_BYTES: usize = 32 * 1024;
/// What is read of an output after the end of its container: more than a pipe holds (fcntl(2), `F_SETPIPE_SZ` of root
/// aside), less than for ever, since a process that has left the container could go on writing.
const LAST_BYTES: usize = 2 << 20;

/// A container that runs.
#[derive(Debug)]
pub(super) struct Live {
    container: runtime::Container,
    outputs: Vec<(Stream, OwnedFd)>,
    /// Kept open for a container with `stdin: true`: who attaches writes to it.
    stdin: Option<OwnedFd>,
    log: LogWriter,
    termination_log: PathBuf,
}

impl Live {
    /// Of a container that was just started.
    pub(super) fn new(
        mut container: runtime::Container,
        log: LogWriter,
        termination_log: PathBuf,
    ) -> io::Result<Live> {
        let (null, _) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let taken = std::mem::replace(&mut container.io, runtime::Io::Terminal { master: null });
        let (outputs, stdin) = match taken {
            runtime::Io::Pipes { stdin, stdout, stderr } => {
                (vec![(Stream::Stdout, stdout), (Stream::Stderr, stderr)], stdin)
            }
            runtime::Io::Terminal { master } => (vec![(Stream::Stdout, master)], None),
        };
        for (_, fd) in &outputs {
            rustix::io::ioctl_fionbio(fd, true)?;
        }
        Ok(Live { container, outputs, stdin, log, termination_log })
    }

    pub(super) fn id(&self) -> &str {
        &self.container.id
    }

    /// Begins a command in it.
    pub(super) fn begin_command(&mut self, command: &[String]) -> Result<Command, String> {
        Command::begin(&mut self.container, command)
    }

    pub(super) fn stop_signal(&self) -> i32 {
        self.container.record().stop_signal
    }

    /// Our child (or, taken over, another's).
    pub(super) fn child(&self) -> Option<Pid> {
        Some(self.container.pid)
    }

    /// Readable when it has ended.
    pub(super) fn exit_fd(&self) -> BorrowedFd<'_> {
        self.container.pidfd.as_fd()
    }

    pub(super) fn outputs(&self) -> impl Iterator<Item = (Stream, BorrowedFd<'_>)> {
        self.outputs.iter().map(|(stream, fd)| (*stream, fd.as_fd()))
    }

    /// What a client may write to: the container's standard input, or the master of its terminal. With `once` we let go
    /// of the pipe, so that the input ends when the client does (`stdinOnce`).
    pub(super) fn give_input(&mut self, terminal: bool, once: bool) -> io::Result<Option<OwnedFd>> {
        let held = match terminal {
            true => self.outputs.first().map(|(_, master)| master),
            false => self.stdin.as_ref(),
        };
        let given = held.map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, 0)).transpose()?;
        if once {
            self.stdin = None;
        }
        Ok(given)
    }

    /// Takes what is there of one output to the log; the output goes when it has ended.
    ///
    /// # Errors
    /// The log cannot be written; told once.
    pub(super) fn read_output(&mut self, stream: Stream, now: Timestamp) -> io::Result<()> {
        self.read_up_to(stream, now, CHUNK_BYTES).map(drop)
    }

    /// The number of bytes read.
    fn read_up_to(&mut self, stream: Stream, now: Timestamp, bytes: usize) -> io::Result<usize> {
        let Some(at) = self.outputs.iter().position(|(s, _)| *s == stream) else { return Ok(0) };
        let mut chunk = vec![0; bytes.min(CHUNK_BYTES)];
        match rustix::io::read(&self.outputs[at].1, &mut chunk) {
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            // A terminal says EIO when its last user has gone.
            Ok(0) | Err(_) => {
                self.outputs.remove(at);
                Ok(0)
            }
            Ok(count) => self.log.write(now, stream, &chunk[..count]).map(|()| count),
        }
    }

    /// After the end: what is still in the pipes.
    pub(super) fn drain(&mut self, now: Timestamp) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let mut left = LAST_BYTES;
            while left > 0 {
                match self.read_up_to(stream, now, left) {
                    Ok(0) => break,
                    Ok(count) => left = left.saturating_sub(count),
                    // Told before; what is left is lost, but must be read so that no writer waits.
                    Err(_) => left = left.saturating_sub(CHUNK_BYTES),
                }
            }
        }
    }

    /// Its exit, if it has ended.
    pub(super) fn try_wait(&mut self) -> runtime::Result<Option<Exit>> {
        let Some(exit) = self.container.try_wait()? else { return Ok(None) };
        Ok(Some(Exit {
            message: crate::volumes::node_files::read_termination_log(&self.termination_log),
            ..crate::orphan::exit_of(&exit)
        }))
    }
}
