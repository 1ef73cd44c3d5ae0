//! Running a program as our child: which file it is, signals passed on, and how it ended.

use crate::exit::{Failure, Result};
use rustix::event::{PollFd, PollFlags};
use rustix::fd::AsFd as _;
use rustix::io::Errno;
use rustix::process::{Signal, WaitId, WaitIdOptions, WaitOptions};
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use sys::process::Child;
use sys::signal::Signals;

/// The signals that end a program when a person or a service manager wants it to end.
pub(crate) const ENDING: [Signal; 4] = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM];

/// The shell to use where no command was given: `$SHELL`, else bash, else sh.
pub(crate) fn default_shell() -> OsString {
    match std::env::var_os("SHELL") {
        Some(shell) if !shell.is_empty() => shell,
        _ if Path::new("/bin/bash").exists() => "/bin/bash".into(),
        _ => "/bin/sh".into(),
    }
}

/// Becomes another program, found as execvp(3) finds it: by `PATH` unless the name has a slash. Signals are as a
/// new program expects them. Returns only on failure: 127 if there is no such program, 126 if it cannot be run.
pub(crate) fn become_program(command: &[OsString]) -> Failure {
    let Some(name) = command.first() else { return Failure::wrong_use("no command") };
    let argv: Option<Vec<CString>> = command.iter().map(|arg| c_string(arg.clone())).collect();
    let Some(argv) = argv else { return Failure::wrong_use("the command has a NUL byte in it") };
    let environment: Vec<CString> = std::env::vars_os()
        .filter_map(|(mut name, value)| {
            name.push("=");
            name.push(value);
            c_string(name)
        })
        .collect();
    sys::process::reset_signals();
    let mut denied = None;
    for path in candidates(name) {
        let Some(path) = c_string(path.into_os_string()) else { continue };
        match sys::process::execve(&path, &argv, &environment) {
            Errno::NOENT | Errno::NOTDIR => {}
            errno => denied = denied.or(Some(errno)),
        }
    }
    let name = name.display();
    match denied {
        Some(errno) => Failure::no(std::io::Error::from(errno)).said(format!("running {name}")).status(126),
        None if command[0].as_bytes().contains(&b'/') => {
            Failure::no(std::io::Error::from(Errno::NOENT)).said(format!("running {name}")).status(127)
        }
        None => Failure::no(anyhow::anyhow!("{name}: no such program in $PATH")).status(127),
    }
}

fn c_string(text: OsString) -> Option<CString> {
    CString::new(text.into_vec()).ok()
}

/// The files that a program's name may mean.
fn candidates(name: &OsStr) -> Vec<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return vec![name.into()];
    }
    // What execvp(3) of glibc and musl fall back on.
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    std::env::split_paths(&path).map(|directory| directory.join(name)).collect()
}

/// Waits until the child has ended, and passes on to it the signals that come in `signals` meanwhile. Those that
/// the terminal sent have reached the child already: it is in our process group.
///
/// Returns the exit status as shells have it: 128 + N if signal N ended the child.
pub(crate) fn wait_passing_signals(child: &Child, signals: &Signals) -> Result<u8> {
    loop {
        let mut fds = [
            PollFd::new(&child.pidfd, PollFlags::IN),
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
        ];
        rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, None))?;
        pass_on(child, signals)?;
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        if let Some(status) = rustix::process::waitid(WaitId::PidFd(child.pidfd.as_fd()), options)? {
            return Ok(exit_status(status.exit_status(), status.terminating_signal()));
        }
    }
}

/// As [`wait_passing_signals`], for the first process of a PID namespace: takes leave of every process that ends
/// and has nobody else to do so. `signals` has `SIGCHLD` among them.
pub(crate) fn reap_until_ended(child: &Child, signals: &Signals) -> Result<u8> {
    loop {
        let mut fds = [PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)];
        rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, None))?;
        pass_on(child, signals)?;
        while let Some((pid, status)) = rustix::process::wait(WaitOptions::NOHANG)? {
            if pid == child.pid {
                return Ok(exit_status(status.exit_status(), status.terminating_signal()));
            }
        }
    }
}

fn pass_on(child: &Child, signals: &Signals) -> Result<()> {
    while let Some(received) = signals.read()? {
        if !received.by_kernel && received.signal != Signal::CHILD {
            // Gone meanwhile: then there is nobody to tell.
            let _ = sys::process::send_signal(child.pidfd.as_fd(), received.signal.as_raw());
            kill_if_dropped(child, received.signal);
        }
    }
    Ok(())
}

/// The exit status in the form of shells.
pub(crate) fn exit_status(exited: Option<i32>, signal: Option<i32>) -> u8 {
    match (exited, signal) {
        (Some(status), _) => status as u8,
        (None, Some(signal)) => 128u8.wrapping_add(signal as u8),
        (None, None) => 0,
    }
}

/// Process 1 of a PID namespace gets only the signals that it handles (pid_namespaces(7)). One that would have
/// ended any other process ends it too, only harder.
fn kill_if_dropped(child: &Child, signal: Signal) {
    let path = format!("/proc/{}/status", child.pid.as_raw_nonzero());
    let Ok(status) = std::fs::read_to_string(path) else { return };
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let is_first = field("NSpid:").is_some_and(|ids| ids.contains('\t') && ids.ends_with("\t1"));
    let handled = |name: &str| {
        let set = field(name).and_then(|set| u64::from_str_radix(set, 16).ok()).unwrap_or(u64::MAX);
        set & (1 << (signal.as_raw() - 1)) != 0
    };
    if is_first && !handled("SigCgt:") && !handled("SigIgn:") && !handled("SigBlk:") {
        let _ = sys::process::send_signal(child.pidfd.as_fd(), Signal::KILL.as_raw());
    }
}
