//! The network of a container, for who does something in it from outside.

use crate::control::status;
use crate::error::{Error, Result};
use crate::state::{Dirs, Status};
use rustix::fd::{AsFd, OwnedFd};
use rustix::process::Pid;

/// A network namespace.
#[derive(Debug)]
pub struct Network {
    /// To be entered by a thread of its own, which is left in it (`sys::namespace::enter`).
    pub namespace: OwnedFd,
    /// Where it was opened: `/proc/PID/ns/net`.
    pub path: String,
}

/// Opens the network namespace of a container that runs.
pub fn network(dirs: &Dirs, id: &str) -> Result<Network> {
    let record = status(dirs, id)?;
    let not_running = || Error::WrongState {
        id: id.to_owned(),
        is: record.status.in_words().to_owned(),
        wanted: Status::Running.in_words(),
    };
    let init = record.init.ok_or_else(not_running)?;
    let pidfd = init.open()?.ok_or_else(not_running)?;
    let pid = Pid::from_raw(init.pid).ok_or_else(not_running)?;
    // By number, which was the container's if the pidfd says afterwards that it lives.
    let namespace =
        sys::namespace::open_of(pid, "net").map_err(Error::system("open the container's network"))?;
    sys::process::send_signal(pidfd.as_fd(), 0).map_err(|_| not_running())?;
    Ok(Network { namespace, path: format!("/proc/{}/ns/net", init.pid) })
}
