//! `rhizome detach-mounts`: what a pod's containers left mounted on the host goes.

use crate::args::{self, Global};
use crate::exit::{Failure, Result};
use crate::world::World;
use crate::{output, pods, report};

/// Detaches, or says what it would do.
pub(crate) fn run(global: &Global, args: &args::DetachMounts) -> Result {
    let world = World::open(global)?;
    let client = &world.client;
    report::each(&args.pods, |name| {
        let pod = pods::find(client, global, name)?;
        if args.dry_run {
            let left = client.left_mounts(&pod)?;
            let commands = left.iter().map(|mount| pods::detach_command(client.root(), mount) + "\n");
            return output::stdout(&commands.collect::<String>());
        }
        let result = client.detach_mounts(&pod)?;
        for mount in &result.detached {
            output::stdout(&format!("{} detached\n", mount.mount_point.display()))?;
        }
        match result.kept.split_last() {
            None => Ok(()),
            Some(((mount, why), others)) => {
                let failure = |mount: &agent::status_file::LeftMount, why: &str| {
                    let text = format!("cannot detach {}: {why}", mount.mount_point.display());
                    Failure::no(anyhow::Error::msg(text))
                };
                for (mount, why) in others {
                    report::status(Err(failure(mount, why)));
                }
                Err(failure(mount, why))
            }
        }
    })
}
