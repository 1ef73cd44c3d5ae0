//! `rhizome stop`, `start` and `rm`: the life of pods that are there.

use crate::args::{self, Global};
use crate::exit::{self, Result};
use crate::world::World;
use crate::{output, pods};
use agent::client::{Client, ClientError, PodRef, Progress, Removed};
use agent::record::PodKey;

/// Ends pods, and keeps them.
pub(crate) fn stop(global: &Global, args: &args::Stop) -> Result {
    let world = World::open(global)?;
    let grace = args.grace_period.map(u64::from);
    exit::each(&args.pods, |name| {
        let pod = pods::find(&world.client, global, name)?;
        let stopped = world.client.stop(&pod, grace)?;
        output::stdout(&format!("pod/{} stopped\n", pod.key.name))?;
        pods::say_left(&pod, &stopped.left);
        Ok(())
    })
}

/// Starts pods that have ended.
pub(crate) fn start(global: &Global, args: &args::Start) -> Result {
    let world = World::open_for_creating(global, false)?;
    exit::each(&args.pods, |name| {
        let pod = pods::find(&world.client, global, name)?;
        world.client.start(&pod)?;
        match world.client.wait_started(&pod, None)? {
            (Progress::Failed(failures), _) => Err(pods::not_started(&pod, &failures)),
            _ => output::stdout(&format!("pod/{} started\n", pod.key.name)),
        }
    })
}

/// Removes pods and all that is of them.
pub(crate) fn remove(global: &Global, args: &args::Rm) -> Result {
    let world = World::open(global)?;
    let result = match args.all {
        true => {
            let all = agent::record::list(world.client.root(), Some(pods::namespace(global)))?;
            exit::each(&all, |(key, uid)| {
                remove_one(&world.client, &PodRef { key: key.clone(), uid: uid.clone() }, args.force)
            })
        }
        false => exit::each(&args.pods, |name| match pods::find(&world.client, global, name) {
            Err(failure) if args.force && failure.is::<ClientError>(is_missing) => Ok(()),
            found => remove_one(&world.client, &found?, args.force),
        }),
    };
    let ended = world.end_if_unused();
    let status = result?;
    ended.map(|()| status)
}

fn is_missing(error: &ClientError) -> bool {
    matches!(error, ClientError::NoPod { .. })
}

fn remove_one(client: &Client, pod: &PodRef, force: bool) -> Result<()> {
    let removed = client.remove(pod, force)?;
    output::stdout(&format!("pod/{} removed\n", pod.key.name))?;
    say_what_stays(pod, &removed);
    Ok(())
}

/// What of a removed pod is still on the machine, and why.
pub(crate) fn say_what_stays(pod: &PodRef, removed: &Removed) {
    pods::say_left(pod, &removed.left);
    let PodKey { name, .. } = &pod.key;
    for (path, mount) in &removed.still_shared {
        output::note(&format!(
            "{} was made shared for pod {name} and stays so: {} is mounted there since",
            path.display(),
            mount.display()
        ));
    }
    for layer in &removed.kept_layers {
        output::note(&format!("{} stays until the mounts that show it are gone", layer.display()));
    }
}
