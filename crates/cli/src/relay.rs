//! Carrying bytes between our standard streams and a program in a container, with a bounded buffer a stream.

use crate::detach::{DetachKeys, DetachScan};
use crate::exit::Result;
use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use sys::signal::{Received, Signals};

/// Read at once at most.
const READ_BYTES: usize = 64 * 1024;
/// Written at once at most to what could block: what a pipe that is ready takes without blocking (`PIPE_BUF`), since
/// our standard streams are not ours alone, to be made non-blocking.
const CAREFUL_WRITE_BYTES: usize = 4096;

/// One direction: from one descriptor to another, until the first ends or the second breaks.
#[derive(Debug)]
pub(crate) struct Pump {
    from: Option<OwnedFd>,
    to: Option<OwnedFd>,
    waiting: Vec<u8>,
    write_bytes: usize,
    scan: DetachScan,
}

/// How carrying ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carried {
    /// The program has ended.
    Ended,
    /// Whoever typed wants to leave.
    Detached,
}

impl Pump {
    /// A pump that carries from `from` to `to`, and closes both at the end.
    pub(crate) fn new(from: OwnedFd, to: OwnedFd) -> Pump {
        let never_blocks = |to: &OwnedFd| {
            let flags = rustix::fs::fcntl_getfl(to).unwrap_or(OFlags::empty());
            let mode = rustix::fs::fstat(to).map_or(0, |stat| stat.st_mode);
            flags.contains(OFlags::NONBLOCK) || FileType::from_raw_mode(mode).is_file()
        };
        let write_bytes = if never_blocks(&to) { READ_BYTES } else { CAREFUL_WRITE_BYTES };
        let scan = DetachScan::default();
        Pump { from: Some(from), to: Some(to), waiting: Vec::new(), write_bytes, scan }
    }

    /// The same, which stops where these keys are typed.
    pub(crate) fn until_typed(self, keys: &DetachKeys) -> Pump {
        Pump { scan: DetachScan::new(keys), ..self }
    }

    /// What it writes to.
    pub(crate) fn target(&self) -> Option<BorrowedFd<'_>> {
        self.to.as_ref().map(|to| to.as_fd())
    }

    /// Whether the keys were typed.
    pub(crate) fn detached(&self) -> bool {
        self.scan.found()
    }

    /// What to wait for: room for what waits to be written, else something to read.
    pub(crate) fn interest(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        match self.waiting.is_empty() {
            true => self.from.as_ref().map(|from| (from.as_fd(), PollFlags::IN)),
            false => self.to.as_ref().map(|to| (to.as_fd(), PollFlags::OUT)),
        }
    }

    /// One read or one write, whichever was waited for.
    pub(crate) fn advance(&mut self) {
        if self.waiting.is_empty() {
            self.read()
        } else {
            self.write()
        }
        if self.waiting.is_empty() && self.from.is_none() {
            self.to = None;
        }
    }

    fn read(&mut self) {
        let Some(from) = &self.from else { return };
        let mut buffer = vec![0; READ_BYTES];
        match rustix::io::read(from, &mut buffer) {
            Ok(0) => self.from = None,
            Ok(read) => {
                buffer.truncate(read);
                self.waiting = self.scan.pass(&buffer);
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            // EIO is how a terminal says that nobody is at its other end any more.
            Err(_) => self.from = None,
        }
    }

    fn write(&mut self) {
        let Some(to) = &self.to else { return };
        let piece = &self.waiting[..self.waiting.len().min(self.write_bytes)];
        match rustix::io::write(to, piece) {
            Ok(written) => drop(self.waiting.drain(..written)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            // Nobody reads any more: whoever writes to us is to learn that from the pipe, too.
            Err(_) => {
                self.from = None;
                self.to = None;
                self.waiting.clear();
            }
        }
    }

    /// Carries what is there, without waiting for more of it.
    fn drain(&mut self) {
        if let Some(from) = &self.from {
            let flags = rustix::fs::fcntl_getfl(from).unwrap_or(OFlags::empty());
            let _ = rustix::fs::fcntl_setfl(from, flags | OFlags::NONBLOCK);
        }
        loop {
            while !self.waiting.is_empty() {
                let Some(to) = &self.to else { return };
                let mut fds = [PollFd::new(to, PollFlags::OUT)];
                if rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, None)).is_err() {
                    return;
                }
                self.write();
            }
            self.read();
            if self.waiting.is_empty() {
                return;
            }
        }
    }
}

/// Carries `input` and `outputs` until the process behind `pidfd` has ended, then what it has still written; or until
/// the keys to leave were typed.
/// What a process that it left behind writes later is not waited for.
pub(crate) fn carry(
    pidfd: BorrowedFd<'_>,
    mut input: Option<Pump>,
    mut outputs: Vec<Pump>,
    signals: &Signals,
    mut on_signal: impl FnMut(Received),
) -> Result<Carried> {
    loop {
        let pumps = || input.iter().chain(&outputs);
        let interests: Vec<_> = pumps().map(Pump::interest).collect();
        let mut fds = vec![
            PollFd::from_borrowed_fd(pidfd, PollFlags::IN),
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
        ];
        fds.extend(interests.iter().flatten().map(|(fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)));
        rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, None))?;
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        let mut pumps_ready = ready[2..].iter();
        let has_interest: Vec<bool> = interests.iter().map(Option::is_some).collect();
        drop(interests);
        drop(fds);
        while let Some(received) = signals.read()? {
            on_signal(received);
        }
        for (pump, waited) in input.iter_mut().chain(&mut outputs).zip(has_interest) {
            if waited && pumps_ready.next() == Some(&true) {
                pump.advance();
            }
        }
        if ready[0] {
            outputs.iter_mut().for_each(Pump::drain);
            return Ok(Carried::Ended);
        }
        if input.as_ref().is_some_and(Pump::detached) {
            return Ok(Carried::Detached);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Pid, PidfdFlags};
    use std::fs::File;
    use std::io::{Read as _, Write as _};
    use std::process::{Command, Stdio};

    /// `cat` between two pumps: what is written to the first comes out of the second.
    fn through(program: &[&str], input: Vec<u8>) -> Vec<u8> {
        let mut child = Command::new(program[0])
            .args(&program[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let pidfd = rustix::process::pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        let (our_in, their_out) = rustix::pipe::pipe().unwrap();
        let (result, our_out) = rustix::pipe::pipe().unwrap();
        let writer = std::thread::spawn(move || File::from(their_out).write_all(&input));
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            File::from(result).read_to_end(&mut all).map(|_| all)
        });
        let input = Pump::new(our_in, child.stdin.take().unwrap().into());
        let output = Pump::new(child.stdout.take().unwrap().into(), our_out);
        let signals = Signals::block(&[]).unwrap();
        carry(pidfd.as_fd(), Some(input), vec![output], &signals, |_| {}).unwrap();
        child.wait().unwrap();
        // A program that does not read its input breaks the pipe.
        let _ = writer.join().unwrap();
        reader.join().unwrap().unwrap()
    }

    #[test]
    fn every_byte_arrives() {
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
        assert!(through(&["cat"], bytes.clone()) == bytes);
    }

    #[test]
    fn input_that_nobody_reads_ends_nothing() {
        assert_eq!(through(&["echo", "hi"], vec![0; 1_000_000]), b"hi\n");
    }

    #[test]
    fn what_a_process_leaves_behind_is_not_waited_for() {
        let begun = std::time::Instant::now();
        let said = through(&["sh", "-c", "sleep 20 & echo $!"], vec![]);
        assert!(begun.elapsed().as_secs() < 15);
        let left =
            String::from_utf8(said).unwrap().trim().parse().ok().and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(left.unwrap(), rustix::process::Signal::KILL).unwrap();
    }
}
