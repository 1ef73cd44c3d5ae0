//! A command in a container, in steps that do not wait, for the supervisor's own loop: a process beside the command's own
//! would be half of what a hundred idle pods cost.

use super::MAX_OUTPUT_BYTES;
use crate::lifecycle::Outcome;
use crate::supervisor::chain;
use rustix::event::PollFlags;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitId, WaitIdOptions};
use std::time::Duration;

/// The text of a command that took too long, as containerd and the kubelet have it.
pub(super) fn timed_out(command: &[String], timeout: Duration) -> String {
    format!("command timed out: {:?} timed out after {}s", command.join(" "), timeout.as_secs())
}

/// A command under way.
#[derive(Debug)]
pub(crate) struct Command {
    process: Process,
    /// None when nobody can write to it any more: a pipe at its end would wake us for ever.
    output: Option<OwnedFd>,
    said: Vec<u8>,
}

#[derive(Debug)]
enum Process {
    Beginning(runtime::Execution),
    Running(runtime::ExecProcess),
    /// It has ended, and was waited for.
    Over,
}

impl Command {
    /// Begins it in a container that runs.
    ///
    /// # Errors
    /// Why it cannot be begun, in words.
    pub(crate) fn begin(container: &mut runtime::Container, command: &[String]) -> Result<Command, String> {
        let pipe = pipe_with(PipeFlags::CLOEXEC);
        let (output, theirs) = pipe.map_err(|e| format!("cannot make a pipe: {e}"))?;
        rustix::io::ioctl_fionbio(&output, true).map_err(|e| e.to_string())?;
        let config = runtime::ExecConfig { command: command.to_vec(), ..runtime::ExecConfig::default() };
        let stdio = runtime::ExecStdio { stdin: None, stdout: theirs.as_fd(), stderr: theirs.as_fd() };
        let execution = container.begin_exec(&config, stdio).map_err(|e| chain(&e))?;
        Ok(Command { process: Process::Beginning(execution), output: Some(output), said: Vec::new() })
    }

    /// What to wait for.
    pub(crate) fn fds(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        // That it is executed is not waited for: whatever it prints, and its end, says so as well.
        let process = match &self.process {
            Process::Beginning(execution) => Some(execution.pidfd()),
            Process::Running(process) => Some(process.pidfd.as_fd()),
            Process::Over => None,
        };
        let output = self.output.as_ref().filter(|_| process.is_some()).map(AsFd::as_fd);
        process.into_iter().chain(output).map(|fd| (fd, PollFlags::IN))
    }

    /// Its process, as long as it was not waited for.
    pub(crate) fn pid(&self) -> Option<Pid> {
        match &self.process {
            Process::Beginning(execution) => Some(execution.pid()),
            Process::Running(process) => Some(process.pid),
            Process::Over => None,
        }
    }

    /// Goes on, one of the descriptors being ready; what came of it, if it is over. What it has printed is the text of a
    /// failure.
    pub(crate) fn step(&mut self) -> Option<Outcome> {
        if let Process::Beginning(execution) = &self.process {
            match execution.wait(Duration::ZERO) {
                Ok(false) => return None,
                Ok(true) => self.is_executed(),
                Err(error) => {
                    self.end();
                    return Some(Outcome::Error(chain(&error)));
                }
            }
        }
        let Process::Running(process) = &self.process else { return None };
        // Looked at before the output is read: what was printed before the end is there then.
        let ended = process.try_wait();
        self.read();
        let code = match ended {
            Ok(None) => return None,
            Ok(Some(code)) => code,
            Err(error) => {
                self.end();
                return Some(Outcome::Error(chain(&error)));
            }
        };
        self.process = Process::Over;
        Some(match code {
            0 => Outcome::Success,
            _ => Outcome::Failure(String::from_utf8_lossy(&self.said).into_owned()),
        })
    }

    fn is_executed(&mut self) {
        if let Process::Beginning(execution) = std::mem::replace(&mut self.process, Process::Over) {
            self.process = Process::Running(execution.into_process());
        }
    }

    /// Takes what is there; beyond what is kept it is read and thrown away, so that the command is not held up.
    fn read(&mut self) {
        let mut chunk = [0; 4096];
        // A pipe's worth in one go, then others have their turn.
        for _ in 0..16 {
            let Some(output) = &self.output else { return };
            match rustix::io::read(output, &mut chunk) {
                Ok(0) => self.output = None,
                Ok(count) => {
                    let room = MAX_OUTPUT_BYTES.saturating_sub(self.said.len());
                    self.said.extend_from_slice(&chunk[..count.min(room)]);
                }
                Err(_) => return,
            }
        }
    }

    /// Kills it if it still runs. Its own processes are in the container's cgroup, and go with the container. If it has not
    /// ended by now its end is a SIGCHLD like that of other orphans.
    pub(crate) fn end(&mut self) {
        let pidfd = match &self.process {
            Process::Beginning(execution) => execution.pidfd(),
            Process::Running(process) => process.pidfd.as_fd(),
            Process::Over => return,
        };
        let _ = sys::process::send_signal(pidfd, 9);
        let _ = rustix::process::waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        self.process = Process::Over;
    }
}
