//! `rhizome stop`, `start` and `rm`: the life of pods that are there.

use crate::args::{self, Global};
use crate::exit::{self, Result};
use crate::world::{self, World};
use crate::{output, pods};
use agent::Root;
use agent::client::{ClientError, PodRef, Progress, Removed};
use agent::record::{PodKey, RecordError};

/// Ends pods, and keeps them.
pub(crate) fn stop(global: &Global, args: &args::Stop) -> Result {
    let world = World::open(global)?;
    let grace = args.grace_period.map(u64::from);
    exit::each(&args.pods, |name| {
        let pod = pods::find(&world.client, global, name)?;
        let stopped = world.client.stop(&pod, grace)?;
        output::stdout(&format!("pod/{} stopped\n", pod.key.name))?;
        pods::say_left(world.client.root(), &pod, &stopped.left);
        Ok(())
    })
}

/// Starts pods that have ended.
pub(crate) fn start(global: &Global, args: &args::Start) -> Result {
    world::before_starting(global, false)?;
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
    let mut gone = Vec::new();
    let mut remove = |pod: PodRef| -> Result<()> {
        let removed = world.client.remove(&pod, args.force)?;
        output::stdout(&format!("pod/{} removed\n", pod.key.name))?;
        gone.push((pod, removed));
        Ok(())
    };
    let result = if args.all {
        let all = agent::record::list(world.client.root(), Some(pods::namespace(global)))?;
        exit::each(&all, |(key, uid)| remove(PodRef { key: key.clone(), uid: uid.clone() }))
    } else {
        exit::each(&args.pods, |name| {
            let removed = pods::find(&world.client, global, name).and_then(&mut remove);
            match removed {
                Err(failure) if args.force && failure.is::<ClientError>(is_missing) => Ok(()),
                removed => removed,
            }
        })
    };
    end(world, result, &gone)
}

/// After pods were removed: what killed commands have left goes too; and the root's mount namespace, if these were the
/// last pods. Else says what they left.
pub(crate) fn end(world: World, result: Result, gone: &[(PodRef, Removed)]) -> Result {
    world.client.sweep();
    let root = world.client.root().clone();
    let ended = world.end_if_unused();
    if !matches!(ended, Ok(true)) {
        gone.iter().for_each(|(pod, removed)| say_what_stays(&root, pod, removed));
    }
    let status = result?;
    ended.map(|_| status)
}

fn is_missing(error: &ClientError) -> bool {
    matches!(error, ClientError::NoPod { .. } | ClientError::Record(RecordError::NotFound { .. }))
}

/// What of a removed pod is still on the machine, and why.
fn say_what_stays(root: &Root, pod: &PodRef, removed: &Removed) {
    pods::say_left(root, pod, &removed.left);
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
