//! The network of a container, for who does something in it from outside.

use crate::control::status;
use crate::error::{Error, Result};
use crate::state::{Dirs, Status};
use manifest::cri::NamespaceMode;
use rustix::fd::{AsFd, AsRawFd as _, OwnedFd};
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

/// Opens the network namespace of a sandbox, from a container of it that runs; none where none does, or where the pod's
/// network is the node's.
pub fn network_of_sandbox(dirs: &Dirs, sandbox: &str) -> Result<Option<Network>> {
    let own =
        |record: crate::state::SandboxRecord| record.config.namespace_options.network != NamespaceMode::Node;
    if !crate::state::read_sandbox(dirs, sandbox).is_ok_and(own) {
        return Ok(None);
    }
    let containers = crate::control::list_containers_of(dirs, sandbox)?;
    Ok(containers.iter().find_map(|id| network(dirs, id).ok()))
}

impl Network {
    /// Where it is as long as this is held, also when no process is in it any more.
    pub(crate) fn held_path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.namespace.as_raw_fd())
    }
}
