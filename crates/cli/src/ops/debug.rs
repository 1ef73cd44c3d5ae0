//! `rhizome debug`: one more container in a pod that runs.

use super::{attach, image};
use crate::args::{self, Global};
use crate::exit::{Context as _, Exit, Failure, Result};
use crate::world::World;
use crate::{output, pods};
use agent::client::Client;
use agent::lifecycle::{Current, PodState};
use agent::logs::LogReader;
use k8s_openapi::api::core::v1::{EnvVar, EphemeralContainer};
use manifest::generate::generated_name;
use std::time::Duration;

/// How long its start may take until it is left alone: mounts are made, an image may lie on a slow disk.
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// Adds the container, waits until it runs, and attaches to it if asked to.
pub(crate) fn run(global: &Global, args: args::Debug) -> Result {
    image::ensure_one(global, &args.image)?;
    let world = World::open(global)?;
    let client = &world.client;
    let pod = pods::find(client, global, &args.pod)?;
    let name = match &args.container {
        Some(name) => name.clone(),
        None => {
            let name = generated_name("debugger-", dice()?);
            output::stderr_line(&format!("Defaulting debug container name to {name}."));
            name
        }
    };
    client.add_ephemeral_container(&pod, container(&args, &name)?)?;
    let settled = |state: &PodState| {
        let current = state.container(&name).map(|c| &c.current);
        !matches!(current, None | Some(Current::Starting { .. })) && !is_fresh(current)
    };
    let status = client.wait_until(&pod, Some(START_TIMEOUT), |file| settled(&file.state))?;
    let container = status.state.container(&name);
    match container.map(|c| &c.current) {
        Some(Current::Waiting { reason, message, .. }) => {
            let message = message.as_deref().unwrap_or("it does not start");
            Err(Failure::no(anyhow::anyhow!("container {name}: {reason}: {message}")))
        }
        Some(Current::Terminated { run }) if run.started_at.is_none() => {
            let message = run.message.as_deref().unwrap_or("it did not start");
            Err(Failure::no(anyhow::anyhow!("container {name}: {}: {message}", run.reason)))
        }
        _ if !args.stdin => Ok(Exit::YES),
        Some(Current::Terminated { run }) => {
            show_log(client, &client.view(&pod)?, &name)?;
            Ok(Exit(run.exit_code as u8))
        }
        _ => attach::run(
            global,
            &args::Attach {
                stdin: true,
                tty: args.tty,
                detach_keys: args.detach_keys,
                of: args::Named { container: Some(name), pod: args.pod },
            },
        ),
    }
}

/// Added, and not looked at by its supervisor yet.
fn is_fresh(current: Option<&Current>) -> bool {
    matches!(current, Some(Current::Waiting { reason, .. }) if reason == "ContainerCreating")
}

fn container(args: &args::Debug, name: &str) -> Result<EphemeralContainer> {
    let variable = |text: &String| match text.split_once('=') {
        Some((name, value)) => {
            Ok(EnvVar { name: name.to_owned(), value: Some(value.to_owned()), value_from: None })
        }
        None => Err(Failure::wrong_use(format!("--env {text}: NAME=VALUE is meant"))),
    };
    Ok(EphemeralContainer {
        name: name.to_owned(),
        image: Some(args.image.clone()),
        command: (!args.command.is_empty()).then(|| args.command.clone()),
        env: Some(args.env.iter().map(variable).collect::<Result<Vec<_>>>()?).filter(|env| !env.is_empty()),
        stdin: args.stdin.then_some(true),
        // What ends our input ends its own; a terminal can be left and come back to.
        stdin_once: (args.stdin && !args.tty).then_some(true),
        tty: args.tty.then_some(true),
        target_container_name: args.target.clone(),
        ..EphemeralContainer::default()
    })
}

fn dice() -> Result<u64> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(bytes.as_mut_slice(), rustix::rand::GetRandomFlags::empty())?;
    Ok(u64::from_ne_bytes(bytes))
}

/// What a container that was quicker than we wrote.
fn show_log(client: &Client, pod: &agent::client::PodView, name: &str) -> Result<()> {
    let mut reader = LogReader::new(pod.log_source(name, false)?.path(client.root()));
    loop {
        let lines = reader.read().context("reading the log")?;
        if lines.is_empty() {
            return Ok(());
        }
        lines.into_iter().try_for_each(attach::show_line)?;
    }
}
