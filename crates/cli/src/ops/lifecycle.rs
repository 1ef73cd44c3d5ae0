//! `rhizome stop`, `start` and `rm`: the life of pods that are there.

use crate::args::{self, Global};
use crate::exit::{Exit, Result};
use crate::world::{self, World};
use crate::{manifests, output, pods, report};
use agent::Root;
use agent::client::{Client, ClientError, PodRef, Progress, Removed, remarks};
use agent::record::{PodKey, RecordError};

/// Ends pods, and keeps them.
pub(crate) fn stop(global: &Global, args: &args::Stop) -> Result {
    let world = World::open(global)?;
    let grace = args.grace_period.map(u64::from);
    let stop = |pod: PodRef| {
        let stopped = world.client.stop(&pod, grace)?;
        output::stdout(&format!("pod/{} stopped\n", pod.key.name))?;
        pods::say_left(world.client.root(), &pod, &stopped.left);
        Ok(())
    };
    each(global, &world.client, &args.pods, false, stop)
}

/// Starts pods that have ended.
pub(crate) fn start(global: &Global, args: &args::Start) -> Result {
    world::before_starting(global, false)?;
    let world = World::open_for_creating(global, false)?;
    let start = |pod: PodRef| {
        match world.client.start(&pod) {
            Err(ClientError::Running { .. }) if args.pods.all => return Ok(()),
            started => started?,
        }
        match world.client.wait_started(&pod, None)? {
            (Progress::Failed(failures), _) => Err(pods::not_started(&pod, &failures)),
            (_, status) => {
                remarks(&status.state).for_each(|event| pods::say_remark(&pod, event));
                output::stdout(&format!("pod/{} started\n", pod.key.name))
            }
        }
    };
    each(global, &world.client, &args.pods, false, start)
}

/// Does something to each pod that is meant. With `missing_is_fine`, pods that are not there are passed over.
fn each(
    global: &Global,
    client: &Client,
    pods: &args::Pods,
    missing_is_fine: bool,
    mut act: impl FnMut(PodRef) -> Result<()>,
) -> Result {
    let mut all = Vec::new();
    let mut add = |found: Result<Vec<PodRef>>| match found {
        Err(failure) if missing_is_fine && failure.is::<ClientError>(is_missing) => Ok(()),
        found => found.map(|found| all.extend(found)),
    };
    let Exit(missing) = match pods.file.as_slice() {
        _ if pods.all => report::each(&[()], |()| add(of_namespace(global, client)))?,
        [] => report::each(&pods.names, |name| add(pods::find_all(client, global, name)))?,
        files => report::each(&manifests::made(global, files)?, |one| add(one.find(client)))?,
    };
    let Exit(failed) = report::each(&all, |pod| act(pod.clone()))?;
    Ok(Exit(if missing == 0 { failed } else { missing }))
}

fn of_namespace(global: &Global, client: &Client) -> Result<Vec<PodRef>> {
    let all = agent::record::list(client.root(), Some(pods::namespace(global)))?;
    Ok(all.into_iter().map(|(key, uid)| PodRef { key, uid }).collect())
}

/// Removes pods and all that is of them.
pub(crate) fn remove(global: &Global, args: &args::Rm) -> Result {
    let world = World::open(global)?;
    let mut gone = Vec::new();
    let mut claims = Vec::new();
    let mut remove = |pod: PodRef| -> Result<()> {
        if args.volumes {
            claims.extend(world.client.claim_folders(&pod)?);
        }
        let removed = world.client.remove(&pod, args.force)?;
        output::stdout(&format!("pod/{} removed\n", pod.key.name))?;
        gone.push((pod, removed));
        Ok(())
    };
    let result = each(global, &world.client, &args.pods, args.force, &mut remove);
    for folder in world.client.remove_claims(&claims)? {
        output::stdout(&format!("{} removed\n", folder.display()))?;
    }
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
        // Each removal tells of all that the root keeps: what the last one tells is as of now.
        for layer in gone.last().map(|(_, removed)| removed.kept_layers.as_slice()).unwrap_or_default() {
            output::note(&format!("{} stays until the mounts that show it are gone", layer.display()));
        }
    }
    let status = result?;
    ended.map(|_| status)
}

fn is_missing(error: &ClientError) -> bool {
    matches!(
        error,
        ClientError::NoPod { .. }
            | ClientError::NoWorkload { .. }
            | ClientError::Record(RecordError::NotFound { .. })
    )
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
}
