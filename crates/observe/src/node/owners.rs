//! Whose each namespace is, from the cgroups of its processes.

use super::folders::Folders;
use super::processes::{Seen, time_of};
use super::{Names, process};
use mount_table::node::{Container, Gap, Missing, Owner};
use mount_table::{NamespaceId, NamespaceView, Node};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Fills in processes and owners.
pub(super) fn assign(node: &mut Node, seen: BTreeMap<NamespaceId, Vec<Seen>>, names: &Names) {
    let containers = main_namespaces(&seen);
    let services = service_namespaces(&seen);
    let host = node.host;
    let mut folders = Folders::below(Path::new("/"));
    let mut complete = |container: &mut Container| {
        names.complete(container);
        folders.complete(container);
    };
    for view in &mut node.namespaces {
        let Some(processes) = seen.get(&view.id) else {
            view.owner = Owner::Kept;
            continue;
        };
        view.since = processes.iter().map(|process| process.started).min().and_then(time_of);
        view.owner = owner(view.id, processes, host, &containers, &services);
        if let Owner::Container(container) = &mut view.owner {
            complete(container);
        }
        view.processes = processes.iter().map(|seen| with_container(seen, view, &mut complete)).collect();
    }
    for runtime in folders.denied {
        let why = "only root may read the folders of its containers".to_owned();
        node.gaps.push(Gap { what: Missing::Names(runtime), why });
    }
}

/// For each container, the namespace that its oldest process is in; others that its processes made are not the
/// container's own.
fn main_namespaces(seen: &BTreeMap<NamespaceId, Vec<Seen>>) -> HashMap<&str, NamespaceId> {
    oldest(seen, |process| process.membership.container.as_ref().map(|container| container.id.as_str()))
}

/// The same for services, of which many are in the host's namespace.
fn service_namespaces(seen: &BTreeMap<NamespaceId, Vec<Seen>>) -> HashMap<&str, NamespaceId> {
    oldest(seen, |process| process.membership.service.as_deref())
}

fn oldest<'a>(
    seen: &'a BTreeMap<NamespaceId, Vec<Seen>>,
    key: impl Fn(&'a Seen) -> Option<&'a str>,
) -> HashMap<&'a str, NamespaceId> {
    let mut oldest: HashMap<&str, ((u64, u32), NamespaceId)> = HashMap::new();
    for (id, processes) in seen {
        for process in processes {
            let Some(key) = key(process) else { continue };
            let age = (process.started, process.pid);
            let known = oldest.entry(key).or_insert((age, *id));
            if age < known.0 {
                *known = (age, *id);
            }
        }
    }
    oldest.into_iter().map(|(key, (_, id))| (key, id)).collect()
}

fn owner(
    id: NamespaceId,
    processes: &[Seen],
    host: Option<NamespaceId>,
    containers: &HashMap<&str, NamespaceId>,
    services: &HashMap<&str, NamespaceId>,
) -> Owner {
    if Some(id) == host {
        return Owner::Host;
    }
    let container = |process: &Seen| {
        let container = process.membership.container.as_ref()?;
        (containers.get(container.id.as_str()) == Some(&id)).then(|| container.clone())
    };
    if let Some(container) = processes.iter().find_map(container) {
        return Owner::Container(container);
    }
    let service = |process: &Seen| {
        let name = process.membership.service.as_deref()?;
        (services.get(name) == Some(&id)).then(|| name.to_owned())
    };
    match processes.iter().find_map(service) {
        Some(name) => Owner::Service { name },
        None => Owner::Processes,
    }
}

fn with_container(
    seen: &Seen,
    view: &NamespaceView,
    complete: &mut impl FnMut(&mut Container),
) -> mount_table::node::Process {
    let is_owner = |container: &&Container| view.container().is_none_or(|own| own.id != container.id);
    let container = seen.membership.container.as_ref().filter(is_owner).cloned();
    let mut process = process(seen);
    process.container = container.map(|mut container| {
        complete(&mut container);
        container
    });
    process
}
