//! `rhizome mend`: makes a change that `why` or `audit` advised, if nothing has changed since.
//!
//! 1. The node is read; every mount that the mend relies on must be there as it was, and be what a path leads to.
//! 2. The model says what will be touched; if it cannot, nothing is done.
//! 3. A child enters the namespaces and makes the operations: it alone can be held up by a file system that hangs.
//! 4. The node is read again: what differs was touched.

use crate::args::{self, Global, NodeSource};
use crate::exit::{Context as _, Exit, Failure, Result};
use crate::mends::{self, Kept};
use crate::{ask, output};
use explain::mend::{Action, Operations, Seen, Touched, operations, predict, touched};
use mount_table::node::Labels;
use mount_table::{MountId, NamespaceId, Node};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::pipe::PipeFlags;
use std::collections::BTreeSet;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use subtree_model::Handle;
use sys::namespace::Namespaces;
use view::text::printable;

/// How often the node is read until its tables agree.
const READINGS_MAX: usize = 4;
/// How long the operations may take, in seconds.
const SECONDS_MAX: i64 = 60;

/// Makes it, or says what would be touched.
pub(crate) fn run(global: &Global, args: &args::Mend) -> Result {
    let Kept { id, title, actions } = mends::find(global, &args.mend)?;
    let list = operations(&actions);
    let source = NodeSource { snapshot: None };
    let mut node = ask::node(global, &source)?;
    let mut expected = predict(&node, &list);
    // The tables of many namespaces are not of one moment: where others mount meanwhile they can contradict each other.
    for _ in 1..READINGS_MAX {
        if expected.is_ok() {
            break;
        }
        node = ask::node(global, &source)?;
        expected = predict(&node, &list);
    }
    unchanged(&node, &actions)?;
    let paint = output::stdout_paint();
    let mut text = format!("{} {}\n", paint.label(&id), printable(&title));
    for action in &actions {
        text.push_str(&format!("  {}\n", printable(&action.to_string())));
    }
    let mut concerned: BTreeSet<NamespaceId> = list.namespaces.keys().copied().collect();
    match expected {
        Ok(touched) => {
            concerned.extend(touched.iter().map(Touched::namespace));
            text.push_str(&told("will touch:", &touched));
        }
        Err(why) => {
            output::stdout(&text)?;
            return Err(refused(&id, &format!("what it would touch is not known ({why})")));
        }
    }
    output::stdout(&text)?;
    if args.dry_run {
        return Ok(Exit::YES);
    }
    let result = make(&node, &list);
    let after = ask::node(global, &NodeSource { snapshot: None })?;
    // Others mount and unmount meanwhile, in namespaces that this has nothing to do with.
    let mut differs = touched(&node, &node.to_snapshot(), &after.to_snapshot());
    differs.retain(|touched| concerned.contains(&touched.namespace()));
    output::stdout(&told("touched:", &differs))?;
    result.map(|()| Exit::YES)
}

fn told(label: &str, touched: &[Touched]) -> String {
    let paint = output::stdout_paint();
    let mut text = format!("{}\n", paint.strong(label));
    for touched in touched {
        text.push_str(&format!("  {}\n", printable(&touched.to_string())));
    }
    if touched.is_empty() {
        text.push_str("  nothing\n");
    }
    text
}

/// Refuses if a mount that the mend relies on is not there as it was, or if no path leads to it or to the place of a copy
/// when its turn comes: what the mend itself unmounts before is not in the way.
fn unchanged(node: &Node, actions: &[Action]) -> Result<()> {
    let mut unmounted = BTreeSet::new();
    for action in actions {
        for seen in action.relies_on() {
            is_there(node, seen, &unmounted)?;
        }
        match action {
            Action::Detach { mount } | Action::Unmount { mount } => {
                unmounted.insert((mount.namespace, mount.mount.id));
            }
            Action::CopyInto { onto, place, .. }
                if !leads_to(node, onto.namespace, place, onto.mount.id, &unmounted) =>
            {
                return Err(refused(
                    &format!("{}:{}", onto.name, place.display()),
                    "something else is mounted there",
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_there(node: &Node, seen: &Seen, unmounted: &BTreeSet<(NamespaceId, MountId)>) -> Result<()> {
    let refuse = |why: &str| refused(&seen.to_string(), why);
    let view = node.namespace(seen.namespace).ok_or_else(|| refuse("the namespace is gone"))?;
    let now = view.mounts.get(seen.mount.id).filter(|now| seen.is_still(now));
    let now = now.ok_or_else(|| refuse("it is not as it was when the mend was advised"))?;
    match leads_to(node, seen.namespace, &now.mount_point, now.id, unmounted) {
        true => Ok(()),
        false => Err(refuse("another mount covers it")),
    }
}

/// Whether a path leads to a mount once others are unmounted.
fn leads_to(
    node: &Node,
    namespace: NamespaceId,
    path: &Path,
    wanted: MountId,
    unmounted: &BTreeSet<(NamespaceId, MountId)>,
) -> bool {
    let Some(view) = node.namespace(namespace) else { return false };
    let mut at = view.mounts.carrier(path);
    // Each step leaves one of them behind.
    for _ in 0..=unmounted.len() {
        match at {
            Some(mount) if mount.id == wanted => return true,
            Some(mount) if unmounted.contains(&(namespace, mount.id)) => at = view.mounts.get(mount.parent),
            _ => return false,
        }
    }
    false
}

fn refused(what: &str, why: &str) -> Failure {
    let text = format!("{}: {why}, so nothing was changed", printable(what));
    Failure::no(anyhow::Error::msg(text)).hint("ask `rhizome why-not` or `rhizome audit` again")
}

/// Has a child make the operations.
fn make(node: &Node, list: &Operations) -> Result<()> {
    let labels = Labels::of(node);
    let mut opened: Vec<(Handle, OwnedFd, PathBuf)> = Vec::new();
    for (id, handle) in &list.namespaces {
        let name = labels.get(*id).into_owned();
        let pid = node.namespace(*id).and_then(|view| view.first_process()).map(|process| process.pid);
        let pid = pid.ok_or_else(|| {
            Failure::wrong_use(format!("{name}: no process is in it, through which it could be entered"))
        })?;
        let path = PathBuf::from(format!("/proc/{pid}/ns/mnt"));
        let file = std::fs::File::open(&path).context(format!("opening the mount namespace of {name}"))?;
        if file.metadata().context(format!("looking at {}", path.display()))?.ino() != id.0 {
            return Err(Failure::no(anyhow::Error::msg(format!(
                "{name}: process {pid} has left it meanwhile"
            ))));
        }
        opened.push((*handle, file.into(), PathBuf::from(name)));
    }
    let (hear, say) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let child = sys::process::spawn(Namespaces::empty(), None, || {
        let mut handles = runtime::mounts::execute::Handles::default();
        opened.into_iter().for_each(|(handle, fd, path)| handles.insert(handle, fd, path));
        match handles.execute(&list.ops) {
            Ok(()) => sys::process::exit(0),
            Err(error) => {
                let _ = std::fs::File::from(say).write_all(error.to_string().as_bytes());
                sys::process::exit(1)
            }
        }
    })
    .context("making a process that enters the namespaces")?;
    let mut fds = [PollFd::from_borrowed_fd(child.pidfd.as_fd(), PollFlags::IN)];
    let most = Timespec { tv_sec: SECONDS_MAX, tv_nsec: 0 };
    let ended = rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, Some(&most)))?;
    if ended == 0 {
        let _ = rustix::process::pidfd_send_signal(&child.pidfd, rustix::process::Signal::KILL);
        let text = format!("a file system on the way does not answer: given up after {SECONDS_MAX} s");
        return Err(Failure::wrong_use(text));
    }
    let status = rustix::process::waitpid(Some(child.pid), rustix::process::WaitOptions::empty())?;
    if status.is_some_and(|(_, status)| status.exit_status() == Some(0)) {
        return Ok(());
    }
    // An error is shorter than what a pipe holds.
    let mut page = vec![0; 4096];
    let count = rustix::io::read(&hear, &mut page[..]).unwrap_or(0);
    let said = String::from_utf8_lossy(&page[..count]).into_owned();
    let said = if said.is_empty() { "the process that was to do it died".to_owned() } else { said };
    Err(Failure::no(anyhow::Error::msg(format!("the kernel refused: {}", printable(&said)))))
}
