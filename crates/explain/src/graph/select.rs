//! Which mounts are shown.

use super::Focus;
use crate::topology::{At, Topology, place};
use mount_table::Mount;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The chosen rows of a namespace, and for the copies among them the host's mount that they are of.
#[derive(Debug, Clone, Default)]
pub(super) struct Chosen {
    pub(super) rows: Vec<At>,
    pub(super) copy_of: BTreeMap<At, At>,
}

/// The kernel's own file systems: every namespace has them, and nobody asks where they go.
const KERNEL: [&str; 20] = [
    "proc",
    "sysfs",
    "devtmpfs",
    "devpts",
    "mqueue",
    "cgroup",
    "cgroup2",
    "securityfs",
    "debugfs",
    "tracefs",
    "bpf",
    "pstore",
    "configfs",
    "fusectl",
    "hugetlbfs",
    "binfmt_misc",
    "efivarfs",
    "autofs",
    "rpc_pipefs",
    "selinuxfs",
];

/// What runtimes bind into every container.
const GIVEN: [&str; 7] = [
    "/etc/hosts",
    "/etc/hostname",
    "/etc/resolv.conf",
    "/dev/termination-log",
    "/dev/shm",
    "/run/.containerenv",
    "/run/secrets",
];

/// The rows that matter, by namespace.
pub(super) fn rows(topology: &Topology<'_>, host: usize, focus: Focus<'_>) -> Vec<Chosen> {
    let scope = scope(topology, host, focus);
    let mut chosen = vec![Chosen::default(); topology.count()];
    let is_wanted = |at: At| topology.is_visible(at) && is_in_focus(topology, host, at, focus.path);
    let is_kept =
        |at: At| focus.every || focus.marks.is_some_and(|marks| marks.contains_key(&topology.mount(at).id));
    let mut sources: BTreeSet<At> = BTreeSet::new();
    for &namespace in &scope {
        // A process that went its own way with all of the host's mounts (unshare) has copies of each.
        let apart = !focus.all
            && namespace != host
            && focus.path.is_none()
            && !focus.namespaces.iter().any(|id| topology.position(*id) == Some(namespace))
            && !topology.is_inside(namespace, host)
            && !topology.rows(namespace).any(|at| is_wanted(at) && ties_to(topology, at, host));
        if apart {
            continue;
        }
        for at in topology.rows(namespace).filter(|at| is_wanted(*at) || is_kept(*at)) {
            let tied = is_tied(topology, at, &scope);
            let given = focus.path.is_none()
                && GIVEN.iter().any(|path| topology.mount(at).mount_point == Path::new(path));
            let copied =
                (namespace != host && !tied && !given).then(|| copied_from(topology, host, at)).flatten();
            // Whoever has all of the node's folders has copies of what each pod has for itself: a line a pod, which says nothing.
            let copied = copied.filter(|source| !focus.is_general() || !is_of_a_pod(topology.mount(*source)));
            if let Some(source) = copied {
                sources.insert(source);
                chosen[namespace].copy_of.insert(at, source);
            }
            if tied || copied.is_some() || is_kept(at) {
                chosen[namespace].rows.push(at);
            }
        }
    }
    // What copies are of is shown as well, and what is asked about, tied to something or not.
    let asked = focus.path.and_then(|path| topology.carrier(host, path));
    let below = topology
        .rows(host)
        .filter(|at| focus.path.is_some_and(|path| topology.mount(*at).mount_point.starts_with(path)));
    sources.extend(asked.into_iter().chain(below.filter(|at| topology.is_visible(*at))));
    for source in sources {
        if !chosen[host].rows.contains(&source) {
            chosen[host].rows.push(source);
        }
    }
    for chosen in &mut chosen {
        chosen.rows.sort_by(|a, b| topology.mount(*a).mount_point.cmp(&topology.mount(*b).mount_point));
    }
    chosen
}

/// Whether it is of one pod or container, and tied to nothing: a folder on the way to it is called by an id, as the kubelet
/// and all runtimes call those of volumes, root file systems and /dev/shm.
fn is_of_a_pod(mount: &Mount) -> bool {
    let is_id = |part: std::path::Component<'_>| {
        let name = part.as_os_str().as_encoded_bytes();
        name.len() >= 32 && name.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b'-')
    };
    mount.propagation.is_private() && mount.mount_point.components().any(is_id)
}

/// The namespaces that are looked at.
fn scope(topology: &Topology<'_>, host: usize, focus: Focus<'_>) -> BTreeSet<usize> {
    let all = || (0..topology.count()).collect::<BTreeSet<_>>();
    if focus.namespaces.is_empty() {
        return all();
    }
    let wanted: BTreeSet<usize> = focus.namespaces.iter().filter_map(|id| topology.position(*id)).collect();
    let everyone = all();
    let mut scope: BTreeSet<usize> = wanted.clone();
    scope.insert(host);
    for at in wanted.iter().flat_map(|namespace| topology.rows(*namespace)) {
        if KERNEL.contains(&topology.mount(at).fs_type.as_str()) || !is_tied(topology, at, &everyone) {
            continue;
        }
        for group in topology.sources(at) {
            scope.extend(topology.members(group).iter().map(|member| member.namespace));
        }
    }
    scope
}

/// Whether something of another namespace receives from it, or it from another.
fn is_tied(topology: &Topology<'_>, at: At, scope: &BTreeSet<usize>) -> bool {
    let propagation = topology.mount(at).propagation;
    let elsewhere = |other: &At| other.namespace != at.namespace && scope.contains(&other.namespace);
    propagation.master.is_some()
        || propagation.shared.is_some_and(|group| {
            topology.members(group).iter().any(elsewhere) || topology.slaves(group).iter().any(elsewhere)
        })
}

/// Whether it receives from a mount of the host, or the host from it.
fn ties_to(topology: &Topology<'_>, at: At, host: usize) -> bool {
    topology
        .sources(at)
        .iter()
        .any(|group| topology.members(*group).iter().any(|member| member.namespace == host))
        || topology.receivers(at).iter().any(|receiver| receiver.namespace == host)
}

/// The host's mount of which a row shows a folder.
fn copied_from(topology: &Topology<'_>, host: usize, at: At) -> Option<At> {
    let mount = topology.mount(at);
    // A namespace whose own / is a private copy of the host's is no container with a volume of it.
    if KERNEL.contains(&mount.fs_type.as_str()) || mount.mount_point == Path::new("/") {
        return None;
    }
    let same = topology.rows(host).filter(|row| {
        let source = topology.mount(*row);
        topology.is_visible(*row) && source.device == mount.device && mount.root.starts_with(&source.root)
    });
    // The one that shows least beside it.
    same.max_by_key(|row| topology.mount(*row).root.components().count())
}

fn is_in_focus(topology: &Topology<'_>, host: usize, at: At, path: Option<&Path>) -> bool {
    let mount = topology.mount(at);
    let Some(path) = path else { return !KERNEL.contains(&mount.fs_type.as_str()) };
    let shows = |source: &Mount, folder: &Path| {
        source.device == mount.device && (mount.root.starts_with(folder) || place(mount, folder).is_some())
    };
    if at.namespace == host && mount.mount_point.starts_with(path) {
        return true;
    }
    let carrier = topology.carrier(host, path).map(|at| topology.mount(at));
    let carried = carrier.and_then(|carrier| Some((carrier, carrier.inner(path)?)));
    let by_carrier = carried.is_some_and(|(carrier, folder)| shows(carrier, &folder));
    // What is mounted below it, wherever that is seen.
    by_carrier
        || topology.rows(host).any(|row| {
            let below = topology.mount(row);
            below.mount_point.starts_with(path) && topology.is_visible(row) && shows(below, &below.root)
        })
}
