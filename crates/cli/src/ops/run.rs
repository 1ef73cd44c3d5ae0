//! `rhizome run`: from manifests to pods.

use crate::args::{self, Document, Global, Object, Validate};
use crate::dry_run::{self, Given};
use crate::exit::{Context as _, Exit, Failure, Result};
use crate::ops::{self, lifecycle};
use crate::world::{self, World};
use crate::{foreground, manifests, output, pods, report};
use agent::client::{PodRef, Progress, Removed, remarks};
use agent::record::{NewPod, PodKey};
use agent::{Client, Root};
use explain::plan::{Manifests, Origin, Plan, Request};
use image::{Image, Store};
use k8s_openapi::api::core::v1::Pod;
use manifest::{Loaded, Source, ValidationMode};
use runtime::cni::Places;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use sys::signal::Signals;
use view::operations::ContainerPlan;

/// Loads, validates and runs.
pub(crate) fn run(global: &Global, args: &args::Run) -> Result {
    world::before_starting(global, args.isolated && !args.dry_run)?;
    let network = args.network.places().context("naming the folders of CNI")?;
    let files = manifests::read(&args.files)?;
    let loaded = load(global, args, &files)?;
    if args.dry_run {
        return plan(global, args, &loaded, &files);
    }
    ops::image::ensure(global, &loaded)?;
    let mut world = World::open_for_creating(global, args.isolated)?;
    let mut gone = Vec::new();
    let result = run_pods(&mut world, args, network, &loaded, &mut gone);
    if args.detach && result.is_ok() && gone.is_empty() {
        // Nothing was removed, and `create` has swept.
        return result;
    }
    lifecycle::end(world, result, &gone)
}

/// Creates the pods, starts them, and stays with them unless told not to. What cannot be started is removed again.
fn run_pods(
    world: &mut World,
    args: &args::Run,
    network: Option<Places>,
    loaded: &Loaded,
    gone: &mut Vec<(PodRef, Removed)>,
) -> Result {
    images(world.client.root(), loaded)?;
    // From here on a signal must not end us with pods half made.
    let signals = foreground::signals()?;
    let mut new = NewPod::of_loaded(loaded);
    new.iter_mut().for_each(|new| new.network.clone_from(&network));
    if args.replace {
        replace(&world.client, &new, gone)?;
    }
    let pods = world.client.create(new)?;
    world.created();
    let client = &world.client;
    let started = pods.iter().try_for_each(|pod| Ok(client.start(pod)?));
    let result = match (started, args.detach) {
        (Ok(()), true) => wait_until_started(client, &pods, &signals),
        (Ok(()), false) => foreground::show(client, &pods, &signals).map(Exit),
        (Err(failure), _) => Err(failure),
    };
    if args.detach && result.is_ok() {
        let names: String = pods.iter().map(|pod| format!("pod/{}\n", pod.key.name)).collect();
        output::stdout(&names)?;
        return result;
    }
    let removed = report::each(&pods, |pod| {
        gone.push((pod.clone(), client.remove(pod, true)?));
        Ok(())
    });
    let status = result?;
    removed.map(|Exit(failed)| if failed == 0 { status } else { Exit(failed) })
}

/// Stops and removes the pods whose names the new ones will have. All is valid by now, and the images are here.
fn replace(client: &Client, new: &[NewPod], gone: &mut Vec<(PodRef, Removed)>) -> Result<()> {
    for key in new.iter().map(|new| PodKey::of(&new.pod)) {
        let Some(uid) = agent::record::find(client.root(), &key)? else { continue };
        let pod = PodRef { key, uid };
        client.stop(&pod, None)?;
        let removed = client.remove(&pod, true)?;
        output::stdout(&format!("pod/{} removed\n", pod.key.name))?;
        gone.push((pod, removed));
    }
    Ok(())
}

/// Until all containers of all pods run, or one cannot.
fn wait_until_started(client: &Client, pods: &[PodRef], signals: &Signals) -> Result {
    for pod in pods {
        loop {
            let (progress, status) = client.wait_started(pod, Some(Duration::from_millis(100)))?;
            if signals.read()?.is_some() {
                return Err(Failure::quiet(1));
            }
            match progress {
                Progress::Starting => continue,
                Progress::Started => {}
                Progress::Failed(failures) => return Err(pods::not_started(pod, &failures)),
            }
            remarks(&status.state).for_each(|event| pods::say_remark(pod, event));
            break;
        }
    }
    Ok(Exit::YES)
}

/// What is to be run, with what there is to say of it.
fn load(global: &Global, args: &args::Run, files: &[(String, Vec<u8>)]) -> Result<Loaded> {
    let validation = match args.validate {
        Validate::Strict => ValidationMode::Strict,
        Validate::Warn => ValidationMode::Warn,
        Validate::Ignore => ValidationMode::Ignore,
    };
    let loaded = manifests::objects(global, files, validation, "nothing was created")?;
    let colour = output::stderr_paint().colour;
    for warning in &loaded.warnings {
        output::stderr_line(&warning.render_warning(colour));
    }
    for note in &loaded.notes {
        output::note(&note.to_string());
    }
    if loaded.pods().next().is_none() {
        return Err(Failure::no(anyhow::anyhow!("these objects make no Pod; nothing was created")));
    }
    Ok(loaded)
}

/// The images of all containers, by the reference that the pods have; or all that are missing, and a no.
fn images(root: &Root, loaded: &Loaded) -> Result<BTreeMap<String, Image>> {
    let store = Store::open(root.images())?;
    let mut images = BTreeMap::new();
    let mut missing = Vec::new();
    for reference in loaded.pods().flat_map(references) {
        match store.get(reference) {
            Ok(image) => drop(images.insert(reference.to_owned(), image)),
            Err(image::Error::NotFound { .. }) if missing.contains(&reference) => {}
            Err(image::Error::NotFound { .. }) => missing.push(reference),
            Err(error) => return Err(error).context(format!("image {reference}")),
        }
    }
    if missing.is_empty() {
        return Ok(images);
    }
    let names = missing.join(", ");
    let are = if missing.len() == 1 { format!("image {names} is") } else { format!("images {names} are") };
    let hint = format!("rhizome image pull {}", missing[0]);
    Err(Failure::no(anyhow::anyhow!("{are} not here; nothing was created")).hint(hint))
}

fn references(pod: &Pod) -> impl Iterator<Item = &str> {
    let spec = pod.spec.as_ref();
    let init = spec.and_then(|spec| spec.init_containers.as_deref()).unwrap_or_default();
    let all = spec.map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let volumes = spec.and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
    let of_volumes = volumes.iter().filter_map(|volume| volume.image.as_ref()?.reference.as_deref());
    init.iter().chain(all).filter_map(|container| container.image.as_deref()).chain(of_volumes)
}

/// `--dry-run`
fn plan(global: &Global, args: &args::Run, loaded: &Loaded, files: &[(String, Vec<u8>)]) -> Result {
    let world = World::open(global)?;
    let images = images(world.client.root(), loaded)?;
    let by_name = |name: &Option<String>| name.clone().unwrap_or_default();
    let config_maps = loaded.config_maps().map(|map| (by_name(&map.metadata.name), map.clone())).collect();
    let secrets = loaded.secrets().map(|secret| (by_name(&secret.metadata.name), secret.clone())).collect();
    let (mut plans, no_claims) = (Vec::new(), BTreeMap::new());
    for pod in loaded.pods() {
        let name = by_name(&pod.metadata.name);
        let given = Given {
            root: world.client.root(),
            config_maps: &config_maps,
            secrets: &secrets,
            claims: loaded.claims.get(&by_name(&pod.metadata.namespace)).unwrap_or(&no_claims),
            images: &images,
        };
        let containers = dry_run::plan(pod, &given).map_err(|failure| failure.said(format!("pod {name}")))?;
        plans.push((name, containers));
    }
    let sources: Vec<Source<'_>> = files.iter().map(|(name, bytes)| Source { name, bytes }).collect();
    let manifests = Manifests::survey(&sources);
    let node = ops::plan::here(world.client.root(), &manifests)?;
    let request = Request { node: &node, then: &[], restarts: RESTARTS };
    let outcome = explain::plan::plan(&manifests, &request).map_err(Failure::no)?;
    print(args.output, &plans, &outcome)?;
    // What the API server refuses has been judged by `--validate`.
    let starts = outcome.containers.iter().all(|container| container.fault.is_none());
    Ok(if starts { Exit::YES } else { Exit::NO })
}

/// Restarts of which `--dry-run` tells what they leave.
const RESTARTS: u32 = 5;

fn print(format: Document, plans: &[(String, Vec<ContainerPlan>)], outcome: &Plan) -> Result<()> {
    let document = || {
        let pods: Vec<Value> = plans.iter().map(|(pod, plans)| pod_document(pod, plans)).collect();
        let outcome = view::plan::document(outcome, Origin::Here);
        json!({"apiVersion": "rhizome.dev/v1", "kind": "MountPlan", "pods": pods, "plan": outcome})
    };
    match format {
        Document::Json => output::document(&document(), Object::Json),
        Document::Yaml => output::document(&document(), Object::Yaml),
        Document::Table => {
            let paint = output::stdout_paint();
            let one = |pod, plan| view::operations::operations(pod, plan, paint);
            let texts = plans.iter().flat_map(|(pod, plans)| plans.iter().map(move |plan| one(pod, plan)));
            let operations = texts.collect::<Vec<_>>().join("\n");
            let columns = output::columns();
            let faults = view::plan::faults(outcome, columns, paint);
            let outcome = view::plan::outcome(outcome, columns, paint);
            output::stdout(&format!("{operations}{faults}{outcome}"))
        }
    }
}

fn pod_document(pod: &str, plans: &[ContainerPlan]) -> Value {
    let container = |plan: &ContainerPlan| {
        let section =
            |section: &explain::build::Section| json!({"first": section.first, "title": section.title});
        json!({
            "name": plan.container,
            "mounts": plan.mounts,
            "operations": plan.build.ops,
            "sections": plan.build.sections.iter().map(section).collect::<Vec<_>>(),
            "leaks": plan.build.leaks,
        })
    };
    json!({"name": pod, "containers": plans.iter().map(container).collect::<Vec<_>>()})
}
