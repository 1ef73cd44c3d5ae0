//! Events of mounts that come into a pod's volume by propagation, leave it, or are made in it by the pod itself: what
//! [`observe::Watcher`] tells of the whole machine, as far as it concerns a mount for which a pod asks for propagation.
//!
//! Nobody watches while no pod asks: then it costs nothing. A pod's events are bounded: [`AT_ONCE`], and then one in
//! [`REFILL`]; how many were left out is told with the next one.

use crate::events::{self, Happened};
use crate::kinds::Resource;
use crate::object::Key;
use crate::propagation::{asked, normal};
use crate::server::Shared;
use k8s_openapi::api::core::v1 as api;
use mount_table::node::Container;
use mount_table::node::event::{Action, Actor, Done, Event, Spot, What};
use mount_table::{NamespaceId, readable};
use observe::Watcher;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Events that a pod may have at once, and how long one more takes to be allowed.
const AT_ONCE: u32 = 10;
const REFILL: Duration = Duration::from_secs(30);
/// How often it is looked whether there is somebody to watch for.
const LOOK: Duration = Duration::from_secs(2);
/// How long the node's end may go unnoticed.
const END: Duration = Duration::from_millis(500);

/// Reasons of the events.
const ARRIVED: &str = "MountArrived";
const LEFT: &str = "MountLeft";

/// Starts the thread that watches. It ends with the node, and is to be waited for (unparked first): as long as it lives
/// it is in the root's mount namespace.
pub(crate) fn start(shared: Arc<Shared>) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("mounts".to_owned()).spawn(move || keep(&shared))
}

fn keep(shared: &Arc<Shared>) {
    let (mut limits, mut seen) = (Limits::default(), None);
    while !shared.has_ended() {
        // Of pods that have not changed it is known already.
        let version = shared.store.version();
        if seen.replace(version) != Some(version)
            && anybody_asks(shared)
            && let Err(error) = watch(shared, &mut limits)
        {
            tracing::warn!(%error, "mounts are not watched for now");
            seen = None;
        }
        std::thread::park_timeout(LOOK);
    }
}

/// Whether a pod asks for propagation.
fn anybody_asks(shared: &Shared) -> bool {
    shared.store.list(Resource::Pods, None).0.iter().any(|(_, pod)| asks(&pod.text))
}

/// Whether a pod's text asks for propagation, without reading it whole.
fn asks(pod: &[u8]) -> bool {
    let field: &[u8] = b"\"mountPropagation\":\"";
    let mut rest = pod;
    while let Some(at) = rest.windows(field.len()).position(|window| window == field) {
        rest = &rest[at + field.len()..];
        if !rest.starts_with(b"None") {
            return true;
        }
    }
    false
}

/// Watches until nobody asks any more, or the node ends.
fn watch(shared: &Arc<Shared>, limits: &mut Limits) -> observe::Result<()> {
    let root = shared.root.clone();
    let mut watcher = Watcher::new(move || agent::names::read(&root), None)?;
    let own = own_namespace();
    let (mut look, mut host) = (Instant::now() + LOOK, propagation_of_host());
    while !shared.has_ended() {
        for event in watcher.next(END)? {
            take(shared, own, limits, &event);
        }
        if Instant::now() >= look {
            look = Instant::now() + LOOK;
            limits.forget_old();
            // Nothing tells of these, and the watcher reads the whole machine for them: seldom.
            let now = propagation_of_host();
            if std::mem::replace(&mut host, now) != now {
                wake_all_who_ask(shared);
            }
            if !anybody_asks(shared) {
                break;
            }
        }
    }
    Ok(())
}

/// A number that changes with the propagation of a mount of the host.
fn propagation_of_host() -> Option<u64> {
    let table = observe::read_own_mounts().ok()?;
    let mut hasher = DefaultHasher::new();
    for mount in &table.mounts {
        mount.mount_point.hash(&mut hasher);
        let propagation = &mount.propagation;
        (propagation.shared.map(|group| group.0), propagation.master.map(|group| group.0)).hash(&mut hasher);
    }
    Some(hasher.finish())
}

fn wake_all_who_ask(shared: &Shared) {
    for (key, pod) in shared.store.list(Resource::Pods, None).0 {
        if asks(&pod.text) {
            shared.pods.wake(&key);
        }
    }
}

/// The mount namespace that this node calls the host's: its own.
fn own_namespace() -> Option<NamespaceId> {
    let link = std::fs::read_link("/proc/self/ns/mnt").ok()?;
    let number = link.to_str()?.strip_prefix("mnt:[")?.strip_suffix(']')?;
    number.parse().ok().map(NamespaceId)
}

fn take(shared: &Arc<Shared>, own: Option<NamespaceId>, limits: &mut Limits, event: &Event) {
    match &event.what {
        What::Mount(done) if done.action != Action::Move => {
            // Found by reading again: which of the copies was the first is not known.
            if done.actor.is_none() {
                for spot in std::iter::once(&done.origin).chain(&done.receivers) {
                    tell(
                        shared,
                        limits,
                        done,
                        spot,
                        "(seen when mounts were read again: from where is not known)",
                    );
                }
                return;
            }
            for spot in &done.receivers {
                tell(
                    shared,
                    limits,
                    done,
                    spot,
                    &format!("by propagation, from {}", whose(&done.origin, own)),
                );
            }
            let others = match done.receivers.as_slice() {
                [] => "nowhere else".to_owned(),
                [one] => format!("and {}", whose(one, own)),
                more => format!("and {} other mount namespaces", more.len()),
            };
            tell(shared, limits, done, &done.origin, &format!("by the pod itself, {others}"));
        }
        // A type of propagation may be another one, of the host's mount or of the pod's.
        What::Changed { .. } | What::Overflow => wake_all_who_ask(shared),
        _ => {}
    }
}

fn whose(spot: &Spot, own: Option<NamespaceId>) -> String {
    let path = readable(spot.mount.mount_point.as_os_str().as_bytes());
    match Some(spot.namespace.id) == own {
        true => format!("the host ({path})"),
        false => format!("{} ({path})", spot.namespace.name),
    }
}

/// Tells the pod that has a mount, if it is below one for which it asks for propagation.
fn tell(shared: &Arc<Shared>, limits: &mut Limits, done: &Done, spot: &Spot, how: &str) {
    let Some((key, container)) = spot.namespace.container.as_ref().and_then(pod_of) else { return };
    let Some(stored) = shared.store.get(&key) else { return };
    let Ok(pod) = serde_json::from_slice::<api::Pod>(&stored.text) else { return };
    // Before it runs, it is its making that is seen.
    if !runs(&pod, container) {
        return;
    }
    let Some(mode) = mode_of(&pod, container, &spot.mount.mount_point) else { return };
    let Some(left_out) = limits.allow(pod.metadata.uid.as_deref().unwrap_or_default()) else { return };
    let (reason, verb) = match done.action {
        Action::Unmount => (LEFT, "went"),
        _ => (ARRIVED, "came"),
    };
    let at = readable(spot.mount.mount_point.as_os_str().as_bytes());
    let by = done.actor.as_ref().map(in_words).unwrap_or_default();
    let more = if left_out == 0 { String::new() } else { format!(" (and {left_out} more before, not told)") };
    let kind = &spot.mount.fs_type;
    let message = format!("{container}: a mount ({kind}) {verb} at {at} {how}{by}; {mode}{more}");
    let object = stored.value();
    let what = Happened::now(false, reason, &message, Some(container));
    events::record(&shared.store, &shared.facts.name, &object, &what);
    shared.pods.wake(&key);
}

fn in_words(actor: &Actor) -> String {
    match &actor.comm {
        Some(comm) => format!(", done by {} (process {})", readable(comm.as_bytes()), actor.pid),
        None => format!(", done by process {}", actor.pid),
    }
}

/// The pod that a container is of, and its name there.
fn pod_of(container: &Container) -> Option<(Key, &str)> {
    let pod = container.pod.as_ref()?;
    let key = Key::new(Resource::Pods, pod.namespace.as_deref()?, pod.name.as_deref()?);
    Some((key, container.name.as_deref()?))
}

fn runs(pod: &api::Pod, container: &str) -> bool {
    let status = pod.status.iter();
    let mut all = status.flat_map(|s| {
        s.init_container_statuses.iter().flatten().chain(s.container_statuses.iter().flatten())
    });
    all.any(|c| c.name == container && c.state.as_ref().is_some_and(|state| state.running.is_some()))
}

/// What the container asks for at the place: of the mount of a volume that it lies below.
fn mode_of(pod: &api::Pod, container: &str, at: &Path) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let all = spec.init_containers.iter().flatten().chain(&spec.containers);
    let mounts = all.filter(|c| c.name == container).flat_map(|c| c.volume_mounts.iter().flatten());
    // The innermost; a mount exactly there is the volume's own.
    let below = mounts.filter(|mount| at.starts_with(normal(&mount.mount_path)));
    let mount = below.max_by_key(|mount| normal(&mount.mount_path).len())?;
    let mode = asked(mount).filter(|_| at != Path::new(&normal(&mount.mount_path)))?;
    Some(format!("{} is {mode}", mount.mount_path))
}

/// How many events each pod may have yet.
#[derive(Debug, Default)]
struct Limits {
    pods: HashMap<String, Limit>,
}

#[derive(Debug)]
struct Limit {
    left: u32,
    since: Instant,
    left_out: u64,
}

impl Limits {
    /// Whether one more may be told; then how many were left out before it.
    fn allow(&mut self, uid: &str) -> Option<u64> {
        self.allow_at(uid, Instant::now())
    }

    fn allow_at(&mut self, uid: &str, now: Instant) -> Option<u64> {
        let new = || Limit { left: AT_ONCE, since: now, left_out: 0 };
        let limit = self.pods.entry(uid.to_owned()).or_insert_with(new);
        while limit.left < AT_ONCE && now.saturating_duration_since(limit.since) >= REFILL {
            limit.left += 1;
            limit.since += REFILL;
        }
        if limit.left == AT_ONCE {
            limit.since = now;
        }
        if limit.left == 0 {
            limit.left_out += 1;
            return None;
        }
        limit.left -= 1;
        Some(std::mem::take(&mut limit.left_out))
    }

    /// Those who have had none for so long that they may have all again.
    fn forget_old(&mut self) {
        self.pods.retain(|_, limit| limit.since.elapsed() < REFILL * (AT_ONCE + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_has_so_many_events_and_no_more() {
        let (mut limits, begun) = (Limits::default(), Instant::now());
        let mut told = |after: Duration| limits.allow_at("u", begun + after);
        assert!((0..AT_ONCE).all(|_| told(Duration::ZERO) == Some(0)));
        assert!((0..1000).all(|_| told(Duration::from_secs(1)).is_none()));
        assert_eq!(told(REFILL + Duration::from_secs(1)), Some(1000));
        assert_eq!(told(REFILL + Duration::from_secs(2)), None);
        assert_eq!(told(REFILL * 3), Some(1));
    }

    #[test]
    fn only_what_lies_below_a_mount_that_asks_is_told() {
        let pod: api::Pod =
            serde_json::from_value(serde_json::json!({"metadata": {}, "spec": {"containers": [{
            "name": "main", "volumeMounts": [
                {"name": "v", "mountPath": "/data/", "mountPropagation": "HostToContainer"},
                {"name": "w", "mountPath": "/data/own", "mountPropagation": "None"}]}]}}))
            .unwrap();
        let mode = |at: &str| mode_of(&pod, "main", Path::new(at));
        assert_eq!(mode("/data/sub").as_deref(), Some("/data/ is HostToContainer"));
        for at in ["/data", "/data/own", "/data/own/sub", "/datum", "/"] {
            assert_eq!(mode(at), None, "{at}");
        }
        let text = serde_json::to_vec(&pod).unwrap();
        assert!(asks(&text) && !asks(b"{\"mountPropagation\":\"None\"}"));
    }
}
