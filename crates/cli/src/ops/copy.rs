//! `rhizome cp`: files into and out of containers.

use crate::args::{self, Global};
use crate::exit::{Exit, Failure, Result};
use crate::target::Target;
use crate::world::World;
use crate::{output, pods};
use agent::client::Client;
use agent::copy::{Copied, Place};
use rustix::fd::AsFd as _;
use rustix::fs::{Mode, OFlags};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

/// One of the two, as typed.
enum Named<'a> {
    Archive,
    Host(&'a OsStr),
    Pod(&'a str, &'a OsStr),
}

/// Copies, and says what was left out.
pub(crate) fn run(global: &Global, args: &args::Cp) -> Result {
    let (source, destination) = (parse(&args.source)?, parse(&args.destination)?);
    if ![&source, &destination].iter().any(|named| matches!(named, Named::Pod(..))) {
        return Err(Failure::wrong_use("neither is in a pod: one of the two must be POD[/CONTAINER]:PATH"));
    }
    let here = rustix::fs::open(".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let world = World::open(global)?;
    let from = place(&world.client, global, args, source)?;
    let to = place(&world.client, global, args, destination)?;
    // A path of ours is meant where the command was typed, not among the root's own mounts.
    let home = || world.go_home(here.as_fd());
    let copied = agent::copy::copy(&world.client.root().runtime_dirs(), &from, &to, home)?;
    Ok(say(&copied))
}

fn parse(text: &OsStr) -> Result<Named<'_>> {
    let bytes = text.as_bytes();
    if bytes == b"-" {
        return Ok(Named::Archive);
    }
    let is_path = bytes.starts_with(b"/") || bytes.starts_with(b"./") || bytes.starts_with(b"../");
    let colon = bytes.iter().position(|byte| *byte == b':').filter(|_| !is_path);
    let Some(colon) = colon else { return Ok(Named::Host(text)) };
    let (pod, path) = (&bytes[..colon], &bytes[colon + 1..]);
    match std::str::from_utf8(pod) {
        Ok(pod) if !pod.is_empty() && !path.is_empty() => Ok(Named::Pod(pod, OsStr::from_bytes(path))),
        _ => Err(Failure::wrong_use(format!("{:?} is not POD[/CONTAINER]:PATH", text.display().to_string()))),
    }
}

fn place(client: &Client, global: &Global, args: &args::Cp, named: Named<'_>) -> Result<Place> {
    Ok(match named {
        Named::Archive => Place::Archive,
        Named::Host(path) => Place::Host(PathBuf::from(path)),
        Named::Pod(text, path) => {
            let target = Target::parse(text, args.container.as_deref())?;
            let pod = pods::look(client, global, &target.pod)?;
            let container = pods::container(&pod, &target)?.name.clone();
            Place::Container { id: pod.running_id(&container)?.to_owned(), path: PathBuf::from(path) }
        }
    })
}

fn say(copied: &Copied) -> Exit {
    for name in &copied.skipped {
        output::note(&format!("not copied: {name}"));
    }
    for name in &copied.failed {
        output::warning(&format!("not copied: {name}"));
    }
    if copied.more > 0 {
        output::warning(&format!("not copied: {} more", copied.more));
    }
    if copied.failed.is_empty() { Exit::YES } else { Exit::NO }
}
