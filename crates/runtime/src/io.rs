//! A container's input and output: pipes or a terminal, their ends on both sides, and how a supervisor that takes over
//! finds the pipes again.

use crate::error::{Error, Result};
use manifest::cri::ContainerConfig;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::process::Pid;

/// The supervisor's ends of a container's input and output.
#[derive(Debug)]
pub enum Io {
    /// Without a terminal.
    Pipes {
        /// To write to, if the container keeps its stdin open; else that is `/dev/null`.
        stdin: Option<OwnedFd>,
        /// To read from.
        stdout: OwnedFd,
        /// To read from.
        stderr: OwnedFd,
    },
    /// With a terminal: its master.
    Terminal {
        /// To read from and write to.
        master: OwnedFd,
    },
}

/// A container's stdio before it is split between the two processes.
pub(crate) struct Stdio {
    pub(crate) ours: Io0,
    pub(crate) theirs: [OwnedFd; 3],
}

/// [`Io`] before a terminal's master has arrived.
pub(crate) struct Io0 {
    stdin: Option<OwnedFd>,
    outputs: Option<(OwnedFd, OwnedFd)>,
}

pub(crate) fn stdio(config: &ContainerConfig) -> Result<Stdio> {
    let null = || {
        rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
            .map_err(Error::system("open /dev/null"))
    };
    let pipe =
        || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(Error::system("make a pipe"));
    if config.tty {
        // Until its own terminal is open.
        let theirs = [null()?, null()?, null()?];
        return Ok(Stdio { ours: Io0 { stdin: None, outputs: None }, theirs });
    }
    let (stdin_read, stdin) = if config.stdin {
        let (read, write) = pipe()?;
        (read, Some(write))
    } else {
        (null()?, None)
    };
    let (stdout, stdout_write) = output_pipe()?;
    let (stderr, stderr_write) = output_pipe()?;
    let ours = Io0 { stdin, outputs: Some((stdout, stderr)) };
    Ok(Stdio { ours, theirs: [stdin_read, stdout_write, stderr_write] })
}

/// A pipe for a container's output. The container's end is open for reading too (as a FIFO may be:
/// `fifo_open()` in fs/pipe.c): so the pipe always has a reader, and a container whose supervisor was killed
/// is not ended by SIGPIPE at its next line; when the pipe is full it waits until somebody reads. Ours still
/// ends when the container's last process does.
fn output_pipe() -> Result<(OwnedFd, OwnedFd)> {
    let (read, write) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(Error::system("make a pipe"))?;
    let path = sys::mount::magic_link(write.as_fd());
    let both = rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(Error::system("open a pipe for reading and writing"))?;
    Ok((read, both))
}

pub(crate) fn io(ours: Io0, master: Option<OwnedFd>, tty: bool) -> Result<Io> {
    match (ours.outputs, master) {
        (Some((stdout, stderr)), _) if !tty => Ok(Io::Pipes { stdin: ours.stdin, stdout, stderr }),
        (_, Some(master)) => Ok(Io::Terminal { master }),
        _ => Err(Error::System {
            action: "receive the container's terminal",
            source: std::io::ErrorKind::NotFound.into(),
        }),
    }
}

/// What tells the output pipes from others.
pub(crate) fn output_pipes(io: &Io) -> Result<Option<[u64; 2]>> {
    let inode = |fd: &OwnedFd| {
        rustix::fs::fstat(fd).map(|stat| stat.st_ino).map_err(Error::system("look at a container's output"))
    };
    match io {
        Io::Pipes { stdout, stderr, .. } => Ok(Some([inode(stdout)?, inode(stderr)?])),
        Io::Terminal { .. } => Ok(None),
    }
}

/// The reading end of the pipe that was given to a process as its output. Where the program has put something
/// else in its place there is nothing to read: then it is the end of a pipe without a writer.
pub(crate) fn reopen(pid: Pid, descriptor: usize, inode: Option<u64>) -> Result<OwnedFd> {
    let link = format!("/proc/{}/fd/{descriptor}", pid.as_raw_nonzero());
    if let Some(pipe) = inode.and_then(|inode| open_pipe(&link, inode)) {
        return Ok(pipe);
    }
    let pipe = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
    pipe.map(|(read, _)| read).map_err(Error::system("make a pipe"))
}

/// Opens a link of `/proc/PID/fd` for reading if it leads to that anonymous pipe. The container chooses what
/// is there, at any moment: it is held first, and opened only once it is seen to be the pipe.
fn open_pipe(link: &str, inode: u64) -> Option<OwnedFd> {
    /// `PIPEFS_MAGIC`, include/uapi/linux/magic.h
    const PIPEFS_MAGIC: u64 = 0x5049_5045;
    let held = rustix::fs::open(link, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let of_pipefs = rustix::fs::fstatfs(&held).is_ok_and(|fs| fs.f_type as u64 == PIPEFS_MAGIC);
    let same = of_pipefs && rustix::fs::fstat(&held).is_ok_and(|stat| stat.st_ino == inode);
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    same.then(|| rustix::fs::open(sys::mount::magic_link(held.as_fd()), flags, Mode::empty()).ok()).flatten()
}
