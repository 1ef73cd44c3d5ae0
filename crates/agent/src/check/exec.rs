//! A command in a container, with its output and an end.

use super::MAX_OUTPUT_BYTES;
use crate::lifecycle::Outcome;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::{AsFd, OwnedFd};
use std::io;
use std::time::{Duration, Instant};

/// The text of a command that took too long, as containerd and the kubelet have it.
pub(super) fn timed_out(command: &[String], timeout: Duration) -> String {
    format!("command timed out: {:?} timed out after {}s", command.join(" "), timeout.as_secs())
}

/// Runs it; with a timeout it is killed when that has passed. What it prints is the text of a failure.
pub(super) fn probe(
    dirs: &runtime::Dirs,
    id: &str,
    command: &[String],
    timeout: Option<Duration>,
) -> Outcome {
    let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    match run(dirs, id, command, until) {
        Ok((Some(0), _)) => Outcome::Success,
        Ok((Some(_), output)) => Outcome::Failure(output),
        Ok((None, _)) => Outcome::Failure(timed_out(command, timeout.unwrap_or_default())),
        Err(text) => Outcome::Error(text),
    }
}

/// The exit code, or none if the time has passed before; and what it has printed.
fn run(
    dirs: &runtime::Dirs,
    id: &str,
    command: &[String],
    until: Option<Instant>,
) -> Result<(Option<i32>, String), String> {
    let pipe = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
    let (output, theirs) = pipe.map_err(|e| format!("cannot make a pipe: {e}"))?;
    rustix::io::ioctl_fionbio(&output, true).map_err(|e| e.to_string())?;
    let config = runtime::ExecConfig { command: command.to_vec(), ..runtime::ExecConfig::default() };
    let stdio = runtime::ExecStdio { stdin: None, stdout: theirs.as_fd(), stderr: theirs.as_fd() };
    let process = runtime::exec(dirs, id, &config, stdio).map_err(|e| crate::supervisor::chain(&e))?;
    drop(theirs);
    let mut said = Vec::new();
    let code = loop {
        let ended = wait(&output, &process.pidfd, until).map_err(|e| format!("cannot wait: {e}"))?;
        read(&output, &mut said);
        match ended {
            Waited::Ended => break Some(process.wait().map_err(|e| crate::supervisor::chain(&e))?),
            Waited::TimeIsUp => {
                // It has its processes in the container's cgroup: those go with the container.
                let _ = sys::process::send_signal(process.pidfd.as_fd(), 9);
                break None;
            }
            Waited::Output => {}
        }
    };
    Ok((code, String::from_utf8_lossy(&said).into_owned()))
}

enum Waited {
    Output,
    Ended,
    TimeIsUp,
}

fn wait(output: &OwnedFd, process: &OwnedFd, until: Option<Instant>) -> io::Result<Waited> {
    let mut fds = [PollFd::new(process, PollFlags::IN), PollFd::new(output, PollFlags::IN)];
    let left = until.map(|until| until.saturating_duration_since(Instant::now()));
    let timeout = left
        .map(|left| Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() });
    match rustix::event::poll(&mut fds, timeout.as_ref()) {
        Ok(0) => return Ok(Waited::TimeIsUp),
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(e) => return Err(e.into()),
    }
    if !fds[0].revents().is_empty() {
        return Ok(Waited::Ended);
    }
    if fds[1].revents().contains(PollFlags::HUP) && !fds[1].revents().contains(PollFlags::IN) {
        // Nobody can write any more, and it runs on: a pipe at its end would wake us for ever.
        return wait_for_end(process, left);
    }
    Ok(Waited::Output)
}

fn wait_for_end(process: &OwnedFd, left: Option<Duration>) -> io::Result<Waited> {
    let timeout = left
        .map(|left| Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() });
    match rustix::event::poll(&mut [PollFd::new(process, PollFlags::IN)], timeout.as_ref()) {
        Ok(0) => Ok(Waited::TimeIsUp),
        Ok(_) => Ok(Waited::Ended),
        Err(rustix::io::Errno::INTR) => Ok(Waited::Output),
        Err(e) => Err(e.into()),
    }
}

/// Takes what is there; beyond what is kept it is read and thrown away, so that the command is not held up.
fn read(output: &OwnedFd, said: &mut Vec<u8>) {
    let mut chunk = [0; 4096];
    // A pipe's worth in one go, then the end is looked for again.
    for _ in 0..16 {
        match rustix::io::read(output, &mut chunk) {
            Ok(count) if count > 0 => {
                let room = MAX_OUTPUT_BYTES.saturating_sub(said.len());
                said.extend_from_slice(&chunk[..count.min(room)]);
            }
            _ => return,
        }
    }
}
