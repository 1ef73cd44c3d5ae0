//! `rhizome top`: what containers use, from their cgroups.

use crate::args::{self, Global};
use crate::exit::{Exit, Result};
use crate::world::World;
use crate::{output, pods, report};
use agent::client::PodView;
use runtime::cgroup::{Cgroup, Hierarchies, Usage};
use std::time::Instant;
use view::usage::{ContainerUsage, UsageColumns};

/// A container whose processor time is measured.
struct Measured {
    usage: ContainerUsage,
    cgroup: Cgroup,
    before: Usage,
}

/// Looks twice, a while apart, and prints what was used between.
pub(crate) fn run(global: &Global, args: &args::Top) -> Result {
    let world = World::open(global)?;
    let mut found = Exit::YES;
    let mut views: Vec<PodView> = Vec::new();
    if args.pods.is_empty() {
        let namespace = (!args.all_namespaces).then(|| pods::namespace(global));
        views.extend(world.client.list(namespace)?.pods);
    } else {
        found = report::each(&args.pods, |name| {
            views.push(pods::look(&world.client, global, name)?);
            Ok(())
        })?;
    }
    let hierarchies = Hierarchies::read()?;
    let mut measured = Vec::new();
    for view in &views {
        for container in view.state().containers.iter().filter(|container| container.running()) {
            // One that ends at this moment has nothing to show.
            let Ok(record) = runtime::status(&world.client.root().runtime_dirs(), &container.id) else {
                continue;
            };
            let cgroup = Cgroup::at(&hierarchies, &record.cgroup)?;
            let usage = ContainerUsage {
                namespace: view.pod.key.namespace.clone(),
                pod: view.pod.key.name.clone(),
                container: container.name.clone(),
                cpu_nanocores: None,
                memory_bytes: None,
            };
            measured.push(Measured { usage, before: cgroup.usage(), cgroup });
        }
    }
    if measured.is_empty() {
        output::stderr_line(&match args.all_namespaces || !args.pods.is_empty() {
            true => "No running containers found.".to_owned(),
            false => format!("No running containers found in {} namespace.", pods::namespace(global)),
        });
        return Ok(found);
    }
    let begun = Instant::now();
    std::thread::sleep(args.interval);
    let used: Vec<ContainerUsage> = measured.into_iter().map(|one| one.after(begun)).collect();
    let columns = UsageColumns {
        namespace: args.all_namespaces,
        containers: args.containers,
        header: !args.no_headers,
    };
    output::stdout(&view::usage::table(&used, columns))?;
    Ok(found)
}

impl Measured {
    fn after(self, begun: Instant) -> ContainerUsage {
        let now = self.cgroup.usage();
        let nanoseconds = begun.elapsed().as_nanos().max(1);
        let used = now.cpu.zip(self.before.cpu).map(|(now, before)| now.saturating_sub(before).as_nanos());
        let nanocores =
            used.map(|used| u64::try_from(used * 1_000_000_000 / nanoseconds).unwrap_or(u64::MAX));
        ContainerUsage { cpu_nanocores: nanocores, memory_bytes: now.memory_bytes, ..self.usage }
    }
}
