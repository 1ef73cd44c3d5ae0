//! `rhizome unshare`: a command in new namespaces, as clone(2) makes them, and what it means for its mounts.

use crate::args::{self, Propagation};
use crate::exit::{Context as _, Exit, Failure, Result};
use crate::{output, process, report};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::pipe::PipeFlags;
use rustix::process::Signal;
use std::convert::Infallible;
use std::ffi::OsString;
use sys::namespace::Namespaces;
use sys::process::{Child, SpawnError};
use sys::signal::Signals;

/// What happens inside, before the command.
struct Inside {
    /// What to make of all mounts; none leaves them as they are.
    propagation: Option<MountPropagationFlags>,
    mount_proc: bool,
    fork: bool,
    command: Vec<OsString>,
}

/// Runs the command in a child in new namespaces, waits for it, and gives its exit status:
/// 1. a child is cloned into the namespaces; 2. its user ids are mapped, where it has a user namespace; 3. it
///    changes the propagation of its mounts; 4. it becomes the command; 5. we wait, passing signals on. The
///    namespaces, and with them the mounts, go with the last process in them.
pub(crate) fn run(args: args::Unshare) -> Result {
    let namespaces = namespaces(&args)?;
    let inside = Inside {
        propagation: propagation(&args, namespaces)?,
        mount_proc: args.mount_proc,
        fork: args.fork,
        command: if args.command.is_empty() { vec![process::default_shell()] } else { args.command },
    };
    output::stdout(&format!("Parent [{:5}] - start a container!\n", std::process::id()))?;
    let signals = Signals::block(&process::ENDING).context("blocking signals")?;
    let (mapped, map) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let child = sys::process::spawn(namespaces, None, || be_the_container(inside, namespaces, &mapped))
        .map_err(|error| cannot_make(namespaces, error))?;
    if namespaces.contains(Namespaces::USER) {
        map_root(&child, &map)?;
    }
    let status = process::wait_passing_signals(&child, &signals)?;
    output::stdout("Parent - container stopped!\n")?;
    Ok(Exit(status))
}

/// The namespaces asked for; `--mount` if none is.
fn namespaces(args: &args::Unshare) -> Result<Namespaces> {
    let asked = [
        (args.mount, Namespaces::MOUNT),
        (args.pid, Namespaces::PROCESS_ID),
        (args.uts, Namespaces::HOST_NAME_AND_NIS_DOMAIN_NAME),
        (args.ipc, Namespaces::INTER_PROCESS_COMMUNICATION),
        (args.net, Namespaces::NETWORK),
        (args.user, Namespaces::USER),
        (args.cgroup, Namespaces::CONTROL_GROUP),
        (args.time, Namespaces::TIME),
    ];
    let all =
        asked.into_iter().filter(|(asked, _)| *asked).fold(Namespaces::empty(), |all, (_, one)| all | one);
    let all = if all.is_empty() { Namespaces::MOUNT } else { all };
    let needs_mount = args.propagation.is_some() || args.no_recursive || args.mount_proc;
    if needs_mount && !all.contains(Namespaces::MOUNT) {
        let text =
            "--propagation, --no-recursive and --mount-proc are about the mounts of a new mount namespace";
        return Err(Failure::wrong_use(text).hint("add --mount"));
    }
    Ok(all)
}

/// How the mounts of the new namespace change.
fn propagation(args: &args::Unshare, namespaces: Namespaces) -> Result<Option<MountPropagationFlags>> {
    if !namespaces.contains(Namespaces::MOUNT) {
        return Ok(None);
    }
    let kind = match args.propagation.unwrap_or(Propagation::Private) {
        Propagation::Private => MountPropagationFlags::PRIVATE,
        Propagation::Slave => MountPropagationFlags::DOWNSTREAM,
        Propagation::Shared => MountPropagationFlags::SHARED,
        Propagation::Unbindable => MountPropagationFlags::UNBINDABLE,
        Propagation::Unchanged if args.no_recursive => {
            return Err(Failure::wrong_use("--no-recursive has no meaning with --propagation unchanged"));
        }
        Propagation::Unchanged => return Ok(None),
    };
    let recursive =
        if args.no_recursive { MountPropagationFlags::empty() } else { MountPropagationFlags::REC };
    Ok(Some(kind | recursive))
}

/// In the child: never returns.
fn be_the_container(inside: Inside, namespaces: Namespaces, mapped: &OwnedFd) -> Infallible {
    let status = report::status(prepare(&inside, namespaces, mapped).and_then(|()| start(&inside)));
    sys::process::exit(i32::from(status))
}

/// Steps 2 and 3 of [`run`], seen from the child.
fn prepare(inside: &Inside, namespaces: Namespaces, mapped: &OwnedFd) -> Result<()> {
    // Nothing of the container outlives the one who started it, however that one ends.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if namespaces.contains(Namespaces::USER) {
        wait_until_mapped(mapped)?;
    }
    output::stdout(&format!(
        "Container [{:5}] - inside the container!\n",
        rustix::process::getpid().as_raw_nonzero()
    ))?;
    if let Some(flags) = inside.propagation {
        rustix::mount::mount_change("/", flags)
            .context("changing the propagation of the mount at /")
            .map_err(|failure| {
                failure.hint("/ must be a mount point; in a chroot it is not: --propagation unchanged")
            })?;
    }
    if inside.mount_proc {
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        rustix::mount::mount("proc", "/proc", "proc", flags, None).context("mounting /proc")?;
    }
    Ok(())
}

/// The parent writes a byte when the maps are there; if it cannot write them, it ends us.
fn wait_until_mapped(mapped: &OwnedFd) -> Result<()> {
    let mut byte = [0];
    rustix::io::retry_on_intr(|| rustix::io::read(mapped, &mut byte))?;
    Ok(())
}

/// Step 4 of [`run`].
fn start(inside: &Inside) -> Result {
    if !inside.fork {
        return Err(process::become_program(&inside.command));
    }
    let signals = Signals::block(&[process::ENDING.as_slice(), &[Signal::CHILD]].concat())?;
    let command = || {
        let status = report::status(Err(process::become_program(&inside.command)));
        sys::process::exit(i32::from(status))
    };
    let child = sys::process::spawn(Namespaces::empty(), None, command)?;
    process::reap_until_ended(&child, &signals).map(Exit)
}

/// Step 2 of [`run`]: root inside is the caller outside. The child goes on afterwards, or is ended.
fn map_root(child: &Child, map: &OwnedFd) -> Result<()> {
    let written = write_maps(child);
    if written.is_err() {
        sys::process::send_signal(child.pidfd.as_fd(), Signal::KILL.as_raw())?;
    }
    written?;
    rustix::io::write(map, &[1])?;
    Ok(())
}

fn write_maps(child: &Child) -> Result<()> {
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let write = |file: &str, text: &str| {
        let path = format!("/proc/{}/{file}", child.pid.as_raw_nonzero());
        std::fs::write(&path, text).context(format!("writing {path}")).map_err(|failure| {
            failure.hint(
                "something restricts user namespaces: see sysctl kernel.apparmor_restrict_unprivileged_userns \
                 and kernel.unprivileged_userns_clone, or run it as root",
            )
        })
    };
    write("uid_map", &format!("0 {user} 1\n"))?;
    // Whoever is not root may map a group only after giving up setgroups(2), user_namespaces(7).
    write("setgroups", "deny\n")?;
    write("gid_map", &format!("0 {group} 1\n"))
}

/// Says which namespaces, why not, and what to do.
fn cannot_make(namespaces: Namespaces, error: SpawnError) -> Failure {
    let names: Vec<&str> =
        NAMES.iter().filter(|(one, ..)| namespaces.contains(*one)).map(|(_, name, _)| *name).collect();
    let hint = match error {
        SpawnError::Clone(Errno::PERM) if !namespaces.contains(Namespaces::USER) => {
            Some("run it as root, or add --user: in a user namespace of your own you may".to_owned())
        }
        SpawnError::Clone(Errno::PERM) => Some("run it as root".to_owned()),
        SpawnError::Clone(Errno::NOSPC | Errno::USERS) => {
            let limits = NAMES.iter().filter(|(one, ..)| namespaces.contains(*one));
            let limits: Vec<String> =
                limits.map(|(.., limit)| format!("user.max_{limit}_namespaces")).collect();
            Some(format!("a limit is reached; see sysctl {}", limits.join(" ")))
        }
        SpawnError::Clone(Errno::INVAL) => {
            Some("this kernel lacks one of them; see ls /proc/self/ns".to_owned())
        }
        _ => None,
    };
    let words = if names.len() == 1 { "a new namespace" } else { "new namespaces" };
    let failure = Failure::from(error).said(format!("making {words} ({})", names.join(", ")));
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Each namespace, its name on the command line, and its name in user.max_*_namespaces.
const NAMES: [(Namespaces, &str, &str); 8] = [
    (Namespaces::MOUNT, "mount", "mnt"),
    (Namespaces::PROCESS_ID, "pid", "pid"),
    (Namespaces::HOST_NAME_AND_NIS_DOMAIN_NAME, "uts", "uts"),
    (Namespaces::INTER_PROCESS_COMMUNICATION, "ipc", "ipc"),
    (Namespaces::NETWORK, "net", "net"),
    (Namespaces::USER, "user", "user"),
    (Namespaces::CONTROL_GROUP, "cgroup", "cgroup"),
    (Namespaces::TIME, "time", "time"),
];
