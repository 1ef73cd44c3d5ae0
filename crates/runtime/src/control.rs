//! The verbs that work from the records alone, by whichever process, also after the supervisor's death:
//! status, kill, stop, remove.

use crate::cgroup::{Cgroup, Hierarchies};
use crate::container::wait_for_end;
use crate::error::{Error, Result};
use crate::fault;
use crate::network::{Network, network_of_sandbox};
use crate::removal::remove_tree;
use crate::sandbox::{SHM_DIRECTORY, mark_of_id};
use crate::signal;
use crate::state::{
    CONTAINER_FILE, ContainerRecord, Dirs, Exit, Liveness, SANDBOX_FILE, SandboxRecord, Status, check_id,
    read_container, read_sandbox,
};
use rustix::fd::AsFd;
use std::path::Path;
use std::time::Duration;

/// How long after SIGKILL a process may take to end.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// ContainerStatus: what is on record, corrected by what is. A container whose process is gone without
/// anybody having seen its end is exited with an unknown code. Changes nothing.
pub fn status(dirs: &Dirs, id: &str) -> Result<ContainerRecord> {
    let mut record = read_container(dirs, id)?;
    if !matches!(record.status, Status::Created | Status::Running) {
        return Ok(record);
    }
    let code = match record.init.map(|init| init.look()).transpose()? {
        Some(Liveness::Alive(_)) => return Ok(record),
        Some(Liveness::Ended { wait_status }) => Some(wait_status),
        Some(Liveness::Gone) | None => None,
    };
    // Its supervisor may have written the end down since the record was read.
    let again = read_container(dirs, id)?;
    if again.status == Status::Exited {
        return Ok(again);
    }
    let signal = code.map(|status| status & 0x7f).filter(|signal| *signal != 0);
    record.status = Status::Exited;
    record.exit = Some(Exit {
        code: code.map(|status| signal.map_or((status >> 8) & 0xff, |signal| 128 + signal)),
        signal,
        oom_killed: cgroup_of(&record)?.oom_kills() > 0,
        at: None,
        start_error: None,
    });
    Ok(record)
}

/// PodSandboxStatus: what is on record.
pub fn sandbox_status(dirs: &Dirs, id: &str) -> Result<SandboxRecord> {
    read_sandbox(dirs, id)
}

/// ListContainers: the ids of all containers with a state.
pub fn list_containers(dirs: &Dirs) -> Result<Vec<String>> {
    list(dirs, CONTAINER_FILE, "")
}

/// ListContainers of one sandbox: also those whose creation or removal was cut short. Costs nothing more
/// where there are many other pods.
pub fn list_containers_of(dirs: &Dirs, sandbox: &str) -> Result<Vec<String>> {
    check_id("sandbox", sandbox)?;
    let directory = dirs.members_of(sandbox);
    let entries = match std::fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::file("read", directory)(error)),
    };
    let mut ids: Vec<String> =
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    ids.sort();
    Ok(ids)
}

/// ListPodSandbox: the ids of all sandboxes with a state.
pub fn list_sandboxes(dirs: &Dirs) -> Result<Vec<String>> {
    list(dirs, SANDBOX_FILE, "")
}

/// The same of those whose ids have this mark ([`Sandbox::new_id`](crate::Sandbox::new_id)): costs nothing more where there
/// are many other pods.
pub fn list_sandboxes_marked(dirs: &Dirs, mark: u64) -> Result<Vec<String>> {
    list(dirs, SANDBOX_FILE, &mark_of_id(mark))
}

fn list(dirs: &Dirs, file: &str, begins: &str) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(&dirs.state) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::file("read", &dirs.state)(error)),
    };
    let mut ids: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(begins.as_bytes()))
        .filter(|entry| entry.path().join(file).exists())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    ids.sort();
    Ok(ids)
}

fn cgroup_of(record: &ContainerRecord) -> Result<Cgroup> {
    Ok(Cgroup::at(&read_hierarchies()?, &record.cgroup)?)
}

pub(crate) fn read_hierarchies() -> Result<Hierarchies> {
    Hierarchies::read().map_err(Error::file("read", "/proc/self/mountinfo"))
}

/// Sends a signal to the container's first process, or to `all` in it. A container that has ended is not an
/// error.
pub fn kill(dirs: &Dirs, id: &str, signal: i32, all: bool) -> Result<()> {
    let record = read_container(dirs, id)?;
    point("kill")?;
    if all && signal == signal::KILL {
        return Ok(cgroup_of(&record)?.kill()?);
    }
    if all {
        return Ok(cgroup_of(&record)?.signal(signal)?);
    }
    let Some(pidfd) = record.init.map(|init| init.open()).transpose()?.flatten() else { return Ok(()) };
    match sys::process::send_signal(pidfd.as_fd(), signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(errno) => Err(Error::system("send a signal to the container")(errno)),
    }
}

/// StopContainer: the image's stop signal, up to `grace` to end, then SIGKILL to everything in it. Waits;
/// answers whether it ended by itself.
pub fn stop_container(dirs: &Dirs, id: &str, grace: Duration) -> Result<bool> {
    let record = read_container(dirs, id)?;
    point("stop")?;
    let Some(pidfd) = record.init.map(|init| init.open()).transpose()?.flatten() else {
        cgroup_of(&record)?.kill()?;
        return Ok(true);
    };
    let mut by_itself = false;
    if !grace.is_zero() && record.status == Status::Running {
        let _ = sys::process::send_signal(pidfd.as_fd(), record.stop_signal);
        by_itself = wait_for_end(pidfd.as_fd(), grace)?;
    }
    point("stop.kill")?;
    if !by_itself {
        let _ = sys::process::send_signal(pidfd.as_fd(), signal::KILL);
        wait_for_end(pidfd.as_fd(), KILL_TIMEOUT)?;
    }
    kill_rest(&cgroup_of(&record)?, record.init.map(|init| init.pid))?;
    Ok(by_itself)
}

/// Kills what is in a cgroup but a zombie that its parent has not waited for (which stays in the list until
/// then).
fn kill_rest(cgroup: &Cgroup, zombie: Option<i32>) -> Result<()> {
    let rest: Vec<i32> = cgroup.pids()?.into_iter().filter(|pid| Some(*pid) != zombie).collect();
    if rest.is_empty() { Ok(()) } else { Ok(cgroup.kill()?) }
}

/// RemoveContainer: kills what is left of it and removes its cgroup, writable layer and record. Its mounts
/// die with its last process. Removing what is not there is not an error, and what could not be removed the
/// first time can be the second.
pub fn remove_container(dirs: &Dirs, id: &str) -> Result<()> {
    remove_container_in(dirs, id, None)
}

/// The work of [`remove_container`], with the machine's hierarchies where they are known already.
pub(crate) fn remove_container_in(dirs: &Dirs, id: &str, hierarchies: Option<&Hierarchies>) -> Result<()> {
    let record = match read_container(dirs, id) {
        Ok(record) => record,
        Err(Error::NotFound { .. }) => {
            check_id("container", id)?;
            remove(&dirs.data_of(id))?;
            return remove(&dirs.state_of(id));
        }
        Err(error) => return Err(error),
    };
    let cgroup = match hierarchies {
        Some(hierarchies) => Cgroup::at(hierarchies, &record.cgroup)?,
        None => cgroup_of(&record)?,
    };
    discard(dirs, &record.sandbox_id, id, &cgroup)
}

/// The work of [`remove_container`], the record and the sandbox's entry last, so that a second try finds it.
pub(crate) fn discard(dirs: &Dirs, sandbox: &str, id: &str, cgroup: &Cgroup) -> Result<()> {
    point("remove.cgroup")?;
    cgroup.kill_and_remove()?;
    point("remove.data")?;
    remove(&dirs.data_of(id))?;
    point("remove.state")?;
    remove(&dirs.state_of(id))?;
    let entry = dirs.members_of(sandbox).join(id);
    match std::fs::remove_file(&entry) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::file("remove", entry)(error))
        }
        _ => Ok(()),
    }
}

fn remove(path: &Path) -> Result<()> {
    remove_tree(path).map_err(|errno| Error::file("remove", path)(errno.into()))
}

fn point(name: &'static str) -> Result<()> {
    fault::point(name).map_err(Error::system(name))
}

/// StopPodSandbox by its record: kills everything in the pod's cgroup.
pub fn stop_sandbox(dirs: &Dirs, id: &str) -> Result<()> {
    let record = match read_sandbox(dirs, id) {
        Ok(record) => record,
        Err(Error::NotFound { .. }) => return Ok(()),
        Err(error) => return Err(error),
    };
    point("sandbox.stop")?;
    Ok(Cgroup::at(&read_hierarchies()?, &record.config.cgroup_parent)?.kill()?)
}

/// RemovePodSandbox by its record: its containers, if there are any left, its cgroup, `/dev/shm`, what CNI plugins hold
/// for it, and state. Not being there is not an error.
pub fn remove_sandbox(dirs: &Dirs, id: &str) -> Result<()> {
    let network = network_of_sandbox(dirs, id)?;
    remove_sandbox_of_network(dirs, id, network.as_ref())
}

/// The same by who has opened the sandbox's network while something still ran in it.
pub fn remove_sandbox_of_network(dirs: &Dirs, id: &str, network: Option<&Network>) -> Result<()> {
    remove_sandbox_in(dirs, id, None, network.map(Network::held_path).as_deref())
}

/// The work of [`remove_sandbox`], with the machine's hierarchies where they are known already, and where the network
/// namespace is if there still is one.
pub(crate) fn remove_sandbox_in(
    dirs: &Dirs,
    id: &str,
    hierarchies: Option<&Hierarchies>,
    network: Option<&str>,
) -> Result<()> {
    check_id("sandbox", id)?;
    let state = dirs.state_of(id);
    let record = match read_sandbox(dirs, id) {
        Ok(record) => record,
        // Also of a boot before this one, of which the network alone is on record.
        Err(Error::NotFound { .. }) => {
            crate::cni::detach(dirs, id, network)?;
            return remove(&state);
        }
        Err(error) => return Err(error),
    };
    for container in list_containers_of(dirs, id)? {
        remove_container_in(dirs, &container, hierarchies)?;
    }
    point("sandbox.remove.cgroup")?;
    let cgroup = match hierarchies {
        Some(hierarchies) => Cgroup::at(hierarchies, &record.config.cgroup_parent)?,
        None => Cgroup::at(&read_hierarchies()?, &record.config.cgroup_parent)?,
    };
    cgroup.kill_and_remove()?;
    // The cgroups above a pod's are shared by pods: they go with the last one.
    let mut above = cgroup.parent();
    while let Some(parent) = above.filter(Cgroup::remove_if_empty) {
        above = parent.parent();
    }
    point("sandbox.remove.shm")?;
    crate::mounts::detach_all_at(&state.join(SHM_DIRECTORY))?;
    if let Some(base) = record.user_base {
        crate::user_namespace::release(dirs, base, id)?;
    }
    crate::cni::detach(dirs, id, network)?;
    point("sandbox.remove.state")?;
    remove(&state)
}
