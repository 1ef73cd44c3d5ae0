//! `rhizome system reset`: a root goes, with all that is of it.

use crate::args::{Global, Reset as Args};
use crate::exit::{Exit, Failure, Result};
use crate::ops::lifecycle;
use crate::output;
use crate::report;
use crate::world::{self, World};
use agent::client::{
    ClientError, Holdings, Reset, ResetError, leftovers, node_runs, require_ours, reset_rest,
};
use std::io::{BufRead as _, IsTerminal as _};

/// Removes all, says what went, and looks whether anything is left.
pub(crate) fn reset(global: &Global, args: &Args) -> Result {
    // Before the folders are touched at all: opening a root makes and closes them.
    let named = world::root(global);
    require_ours(&named).map_err(ClientError::from)?;
    if !named.lib.exists() && !named.run.exists() {
        output::note(&format!(
            "there is nothing of a root at {} and {}",
            named.lib.display(),
            named.run.display()
        ));
        return Ok(Exit::YES);
    }
    let world = World::open(global)?;
    let root = world.client.root().clone();
    if node_runs(&root).map_err(ClientError::from)? {
        return Err(ClientError::from(ResetError::NodeRuns).into());
    }
    if !args.force {
        confirm(&world.client.holdings()?, &root.lib.display().to_string())?;
    }
    let mut done = Reset::default();
    let pods = world.client.reset_pods(&mut done);
    // Also ends the root's own mount namespace, if it has one; then we are back among the host's mounts.
    lifecycle::end(world, pods.map(|()| Exit::YES).map_err(Failure::from), &[])?;
    reset_rest(&root, &mut done).map_err(ClientError::from)?;
    say(&done)?;
    let left = leftovers(&root).map_err(ClientError::from)?;
    match left.is_empty() {
        true => {
            output::note("nothing of this root is left: no file, mount, cgroup or process");
            Ok(Exit::YES)
        }
        false => report::each(&left, |what| Err(Failure::no(anyhow::anyhow!("still there: {what}")))),
    }
}

fn confirm(held: &Holdings, folder: &str) -> Result<()> {
    let list = |what: &str, names: Vec<String>| match names.len() {
        0 => String::new(),
        _ => format!("  {what}: {}\n", names.join(", ")),
    };
    let claims = held.claims.iter().map(|path| path.display().to_string()).collect();
    let text = format!(
        "This removes everything of the root in {folder}:\n{}{}{}",
        list("pods", held.pods.clone()),
        list("images", held.images.clone()),
        list("data of PersistentVolumeClaims", claims),
    );
    if !std::io::stdin().is_terminal() {
        let refused =
            Failure::wrong_use("system reset asks, and nobody is there to answer; nothing was removed");
        return Err(refused.hint("--force does not ask"));
    }
    output::stderr_line(&format!("{text}Type yes to go on:"));
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    match answer.trim().eq_ignore_ascii_case("yes") {
        true => Ok(()),
        false => Err(Failure::no(anyhow::anyhow!("nothing was removed"))),
    }
}

fn say(done: &Reset) -> Result<()> {
    let mut text = String::new();
    done.pods.iter().for_each(|pod| text += &format!("pod {pod} removed\n"));
    done.mounts.iter().for_each(|path| text += &format!("mount {} detached\n", path.display()));
    done.cgroups.iter().for_each(|path| text += &format!("cgroup {} removed\n", path.display()));
    done.folders.iter().for_each(|path| text += &format!("{} removed\n", path.display()));
    output::stdout(&text)
}
