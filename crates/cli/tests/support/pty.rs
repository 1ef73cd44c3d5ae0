//! A command on a terminal of its own, and somebody who types.
#![allow(dead_code, unreachable_pub, missing_docs)]

use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// A terminal with a command on it.
pub struct Terminal {
    master: File,
    child: Child,
    /// What is shown, in pieces as they come.
    shown: Receiver<Vec<u8>>,
    /// What was shown and not waited for yet.
    unread: String,
}

impl Terminal {
    /// Starts a command as a login would: leader of a session whose terminal this is.
    pub fn start(command: &Command, rows: u16, columns: u16) -> Terminal {
        let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        rustix::pty::grantpt(&master).unwrap();
        rustix::pty::unlockpt(&master).unwrap();
        let name = rustix::pty::ptsname(&master, Vec::new()).unwrap();
        let slave = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty());
        let slave: OwnedFd = slave.unwrap();
        let mut session = Command::new("setsid");
        session.args(["--ctty", "--wait"]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => session.env(name, value),
                None => session.env_remove(name),
            };
        }
        session.env("NO_COLOR", "1");
        let copy = || slave.try_clone().unwrap();
        let master = File::from(master);
        set_size(&master, rows, columns);
        let child = session.stdin(copy()).stdout(copy()).stderr(copy()).spawn().unwrap();
        let (sender, shown) = channel();
        let mut from = master.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            // EIO when the last of them has left the terminal.
            while let Ok(count @ 1..) = from.read(&mut chunk) {
                if sender.send(chunk[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Terminal { master, child, shown, unread: String::new() }
    }

    pub fn resize(&self, rows: u16, columns: u16) {
        set_size(&self.master, rows, columns);
    }

    pub fn type_keys(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Types into a shell once it asks for it: what is typed earlier is the terminal's to read as it is set then, or lost.
    pub fn type_at_prompt(&mut self, keys: &str) {
        self.wait_for("/ # ");
        self.type_keys(keys);
    }

    /// Waits until this is shown, and passes over all up to it; gives what was before it.
    pub fn wait_for(&mut self, text: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(at) = self.unread.find(text) {
                let rest = self.unread.split_off(at + text.len());
                return std::mem::replace(&mut self.unread, rest);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.shown.recv_timeout(left) {
                Ok(piece) => self.unread += &String::from_utf8_lossy(&piece),
                Err(_) => panic!("{text:?} is not shown, but {:?}", self.unread),
            }
        }
    }

    /// Waits for the command's end: its exit status and what was shown and not waited for.
    pub fn end(mut self) -> (i32, String) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status.code().unwrap(),
                None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(10)),
                None => panic!("it does not end; shown: {:?}", self.unread),
            }
        };
        while let Ok(piece) = self.shown.recv_timeout(Duration::from_millis(200)) {
            self.unread += &String::from_utf8_lossy(&piece);
        }
        (status, self.unread)
    }
}

fn set_size(terminal: &File, rows: u16, columns: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(terminal, size).unwrap();
}
