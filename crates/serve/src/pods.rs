//! What the kubelet does: brings each pod that is stored to life through `agent`, writes what becomes of it into its
//! status, and ends it when it is to go. One task a pod, which sleeps until its supervisor or the store has news.
//!
//! Steps of a pod: 1. the volumes of its claims are waited for, and it is bound to this node; 2. its images are pulled, and the ConfigMaps and Secrets that it names are
//! waited for; 3. it is handed to `agent` under the uid that it has here, and started; 4. its supervisor is followed, and
//! replaced if it was killed; 5. it is stopped, removed there, and then here. A node that is killed in between finds at its
//! next start where it was: by what is in the store, and by what `agent` has under the pod's uid.

mod ephemeral;

use crate::claims;
use crate::error::with_causes;
use crate::events::{self, Happened, Reporter};
use crate::images::{self, Obstacle};
use crate::kinds::Resource;
use crate::object::{self, Key, text};
use crate::propagation::{self, Found};
use crate::server::Shared;
use crate::store::{Durability, Next, WriteError};
use agent::client::{Client, ClientError, PodRef, Watch};
use agent::lifecycle::{Event, Now, PodEvent, PodState, Uptime, step};
use agent::record::{NewPod, PodKey, PodObjects, PodUid, RecordError};
use ephemeral::Adding;
use jiff::Timestamp;
use k8s_openapi::api::core::v1 as api;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::Notify;

/// How long to wait before something that failed is tried again: at first, and at most.
const RETRY_FIRST: Duration = Duration::from_secs(2);
const RETRY_MOST: Duration = Duration::from_secs(120);

/// Reasons of events that are this node's own: an ask for propagation that is not met, and what to do about something.
const LESS_THAN_ASKED: &str = "LessPropagation";
const HOW_TO_MEND: &str = "HowToMend";

/// What of a pod's object says that `agent` has had it. Nobody else writes it, and it is in the journal from then on.
const HANDED_OVER: &str = "/status/observedGeneration";

fn mark_handed_over(object: &mut Value) {
    object["status"]["observedGeneration"] = json!(1);
}

/// The tasks, by pod.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    wakes: Mutex<HashMap<Key, Arc<Notify>>>,
}

impl Workers {
    /// Wakes one pod, if it is looked after.
    pub(crate) fn wake(&self, key: &Key) {
        let wakes = self.wakes.lock().unwrap_or_else(PoisonError::into_inner);
        wakes.get(key).into_iter().for_each(|wake| wake.notify_one());
    }

    /// Wakes every pod: the node has changed.
    pub(crate) fn wake_all(&self) {
        let wakes = self.wakes.lock().unwrap_or_else(PoisonError::into_inner);
        wakes.values().for_each(|wake| wake.notify_one());
    }

    /// Wakes every pod of a namespace: something that one of them may wait for has come.
    pub(crate) fn wake_namespace(&self, namespace: &str) {
        let wakes = self.wakes.lock().unwrap_or_else(PoisonError::into_inner);
        wakes.iter().filter(|(key, _)| key.namespace == namespace).for_each(|(_, wake)| wake.notify_one());
    }
}

/// Sees to it that a pod is looked after, and tells who does that something has changed.
pub(crate) fn look_after(shared: &Arc<Shared>, key: &Key) {
    let mut wakes = shared.pods.wakes.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(wake) = wakes.get(key) {
        wake.notify_one();
        return;
    }
    let wake = Arc::new(Notify::new());
    wakes.insert(key.clone(), wake.clone());
    let (shared, key) = (shared.clone(), key.clone());
    tokio::spawn(async move {
        // Deleted and made again under the same name: another pod, looked after in its turn.
        while let Some(worker) = Worker::of(&shared, &key, &wake) {
            let mut pause = RETRY_FIRST;
            while let Err(error) = worker.live().await {
                tracing::warn!(pod = %key, error = %with_causes(&error), "a pod cannot be looked after");
                worker.tell(true, "FailedSync", &with_causes(&error), None);
                worker.pause(pause).await;
                pause = (pause * 2).min(RETRY_MOST);
            }
            let mut wakes = shared.pods.wakes.lock().unwrap_or_else(PoisonError::into_inner);
            if shared.store.get(&key).is_none() {
                wakes.remove(&key);
                return;
            }
        }
    });
}

/// Who looks after one pod.
struct Worker {
    shared: Arc<Shared>,
    key: Key,
    pod: PodRef,
    wake: Arc<Notify>,
    /// Whether it was handed to `agent` before we began.
    was_handed_over: bool,
    /// When we began.
    begun: Instant,
    adding: Adding,
}

/// A pod that is to go, and the seconds that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Going {
    grace_seconds: u64,
}

impl Worker {
    fn of(shared: &Arc<Shared>, key: &Key, wake: &Arc<Notify>) -> Option<Worker> {
        let object = shared.store.get(key)?.value();
        let uid = PodUid::parse(text(&object, "/metadata/uid"))?;
        let pod_key = PodKey { namespace: key.namespace.clone(), name: key.name.clone() };
        Some(Worker {
            shared: shared.clone(),
            key: key.clone(),
            pod: PodRef { key: pod_key, uid },
            wake: wake.clone(),
            begun: Instant::now(),
            was_handed_over: object.pointer(HANDED_OVER).is_some(),
            adding: Adding::default(),
        })
    }

    /// The object, as long as it is this pod's.
    fn object(&self) -> Option<Value> {
        let object = self.shared.store.get(&self.key)?.value();
        (text(&object, "/metadata/uid") == self.pod.uid.as_str()).then_some(object)
    }

    fn going(&self) -> Option<Going> {
        let object = self.object()?;
        let seconds = object["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
        object::is_going(&object).then(|| Going { grace_seconds: seconds.try_into().unwrap_or(0) })
    }

    /// Runs something with `agent`'s client where it may wait.
    async fn agent<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Client) -> agent::client::Result<T> + Send + 'static,
    ) -> agent::client::Result<T> {
        let root = self.shared.root.clone();
        let done = tokio::task::spawn_blocking(move || work(&Client::open(&root)?)).await;
        done.unwrap_or_else(|error| Err(ClientError::Wait(std::io::Error::other(error))))
    }

    async fn pause(&self, time: Duration) {
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = self.wake.notified() => {}
        }
    }

    fn tell(&self, warning: bool, reason: &str, message: &str, container: Option<&str>) {
        if let Some(object) = self.object() {
            let what = Happened::now(warning, reason, message, container);
            events::record(&self.shared.store, &self.shared.facts.name, &object, &what);
        }
    }

    /// From wherever the pod is to its end.
    async fn live(&self) -> agent::client::Result<()> {
        let pod = self.pod.clone();
        match self.agent(move |client| client.view(&pod)).await {
            Ok(_) => {
                // Killed between handing it over and writing that down.
                self.note_hand_over();
            }
            Err(error) if is_gone(&error) && self.was_handed_over => return self.forget(),
            Err(error) if is_gone(&error) => {
                if !self.prepare().await? {
                    return self.forget();
                }
            }
            Err(error) => return Err(error),
        }
        self.follow().await
    }

    /// Says in the object that it is this node's.
    fn bind(&self) {
        let node = self.shared.facts.name.clone();
        self.change(Durability::Passing, |object| object["spec"]["nodeName"] = node.into());
    }

    /// Says on the disk that `agent` has the pod: if it has it no more at our next start, it was removed there.
    fn note_hand_over(&self) {
        let node = self.shared.facts.name.clone();
        self.change(Durability::Lasting, |object| {
            object["spec"]["nodeName"] = node.into();
            mark_handed_over(object);
        });
    }

    /// Changes the object, if it is still this pod's.
    fn change(&self, durability: Durability, change: impl FnOnce(&mut Value)) {
        let changed = self.shared.store.change::<WriteError>(&self.key, durability, |now| {
            let mine = now.filter(|object| text(object, "/metadata/uid") == self.pod.uid.as_str());
            Ok(mine.map_or(Next::Keep, |mut object| {
                change(&mut object);
                Next::Put(object)
            }))
        });
        if let Err(error) = changed {
            tracing::error!(pod = %self.key, error = %with_causes(&error), "the pod's object cannot be written");
        }
    }

    /// Takes the object away: the pod has ended, or never began.
    fn forget(&self) -> agent::client::Result<()> {
        let removed = self.shared.store.change::<WriteError>(&self.key, Durability::Lasting, |now| {
            let mine = now.filter(|object| text(object, "/metadata/uid") == self.pod.uid.as_str());
            Ok(match mine {
                Some(object) if object::items(&object, "/metadata/finalizers").is_empty() => Next::Remove,
                _ => Next::Keep,
            })
        });
        removed.map_err(|error| ClientError::Wait(std::io::Error::other(error)))?;
        self.shared.is_gone(&self.key);
        Ok(())
    }

    /// Everything that a pod needs before it is made, and then that. False if it is to go before.
    async fn prepare(&self) -> agent::client::Result<bool> {
        let mut pause = RETRY_FIRST;
        while self.going().is_none() {
            let Some(object) = self.object() else { return Ok(false) };
            let Ok(pod) = serde_json::from_value::<api::Pod>(object) else { return Ok(false) };
            let named = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
            if named.is_some_and(|node| *node != self.shared.facts.name) {
                // Another node's, of which there is none.
                self.until_going().await;
                break;
            }
            let gathered = tokio::select! {
                gathered = self.gather(pod.clone()) => gathered,
                // A pull that is under way goes on: another pod may want the image.
                () = self.until_going() => break,
            };
            let obstacle = match gathered {
                Ok(new) => match self.hand_over(new).await {
                    Ok(()) => return Ok(true),
                    Err(error) => Obstacle::of_pod("FailedCreate", with_causes(&error)),
                },
                Err(obstacle) => obstacle,
            };
            self.say_obstacle(&pod, &obstacle);
            self.pause(pause).await;
            pause = (pause * 2).min(RETRY_MOST);
        }
        Ok(false)
    }

    /// Whether no pods are taken (`kubectl cordon`), unless they tolerate that.
    fn is_cordoned(&self, pod: &api::Pod) -> bool {
        let node = self.shared.store.get(&Key::new(Resource::Nodes, "", &self.shared.facts.name));
        let tolerates = |t: &api::Toleration| {
            let key = t.key.as_deref().unwrap_or_default();
            let effect = t.effect.as_deref().unwrap_or_default();
            let all = key.is_empty() && t.operator.as_deref() == Some("Exists");
            (all || key == "node.kubernetes.io/unschedulable") && ["", "NoSchedule"].contains(&effect)
        };
        let tolerations = pod.spec.iter().flat_map(|spec| spec.tolerations.iter().flatten());
        node.is_some_and(|node| node.value()["spec"]["unschedulable"] == true)
            && !tolerations.into_iter().any(tolerates)
    }

    async fn until_going(&self) {
        while self.going().is_none() {
            self.wake.notified().await;
        }
    }

    /// Claims, without which it is no node's; images, ConfigMaps and Secrets.
    async fn gather(&self, mut pod: api::Pod) -> Result<NewPod, Obstacle> {
        let claims = claims::of_pod(&self.shared.store, &pod)?;
        if pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_none()) && self.is_cordoned(&pod) {
            return Err(Obstacle::of_scheduling("1 node(s) were unschedulable"));
        }
        self.bind();
        pod.spec.get_or_insert_default().node_name = Some(self.shared.facts.name.clone());
        self.set_status(&waiting_status(&pod, None));
        let mut new = images::with_objects(&self.shared.store, &pod)?;
        (new.claims, new.network) = (claims, self.shared.facts.network.clone());
        let shared = self.shared.clone();
        let (then, secrets) = (pod, new.secrets.clone());
        let pulled = tokio::task::spawn_blocking(move || images::ensure(&shared, &then, &secrets)).await;
        pulled.unwrap_or_else(|error| Err(Obstacle::of_pod("Failed", error.to_string())))?;
        Ok(new)
    }

    async fn hand_over(&self, new: NewPod) -> agent::client::Result<()> {
        self.agent(move |client| client.create(vec![new])).await?;
        self.note_hand_over();
        Ok(())
    }

    fn say_obstacle(&self, pod: &api::Pod, obstacle: &Obstacle) {
        if let Some(object) = self.object() {
            for (reason, message) in &obstacle.events {
                let told = Happened::now(true, reason, message, obstacle.container.as_deref());
                let what = Happened { by: obstacle.by, ..told };
                events::record(&self.shared.store, &self.shared.facts.name, &object, &what);
            }
        }
        self.set_status(&waiting_status(pod, Some(obstacle)));
    }

    fn set_status(&self, status: &Value) {
        let status = self.shared.complete_status(status.clone(), self.object().as_ref());
        self.change(Durability::Passing, |object| object["status"] = status);
    }

    /// Follows a pod that `agent` has, until it is gone.
    async fn follow(&self) -> agent::client::Result<()> {
        let mut told = Told::default();
        loop {
            let pod = self.pod.clone();
            let view = match self.agent(move |client| client.view(&pod)).await {
                Err(error) if is_gone(&error) => return self.forget(),
                view => view?,
            };
            let record = view.record.pod.clone();
            let had = PodObjects::of(&record, view.record.config_maps.clone(), view.record.secrets.clone());
            told.objects = digest(&had);
            drop(had);
            self.show(&record, view.state(), &mut told).await;
            match (self.going(), view.state().done(), view.supervised) {
                (Some(going), done, supervised) if done || !supervised => {
                    let pod = self.pod.clone();
                    // One that was never begun is not done either, and only has to be removed.
                    let removed = self.agent(move |client| {
                        client.stop(&pod, Some(going.grace_seconds))?;
                        client.remove(&pod, true)
                    });
                    let removed = removed.await;
                    self.shared.reap().await;
                    match removed {
                        Err(error) if !is_gone(&error) => return Err(error),
                        _ => return self.forget(),
                    }
                }
                (None, true, _) => self.wake.notified().await,
                (None, false, false) => self.start().await?,
                (_, _, _) => tokio::select! {
                    followed = self.follow_supervisor(&record, &mut told) => followed?,
                    () = self.add_ephemeral() => {}
                },
            }
        }
    }

    async fn start(&self) -> agent::client::Result<()> {
        let (starter, pod) = (self.shared.starter.clone(), self.pod.clone());
        let started = tokio::task::spawn_blocking(move || {
            starter.lock().unwrap_or_else(PoisonError::into_inner).start(&pod)
        });
        match started.await.unwrap_or_else(|error| Err(ClientError::Wait(std::io::Error::other(error)))) {
            // Somebody else was quicker.
            Err(ClientError::Running { supervised: true, .. }) => Ok(()),
            started => started,
        }
    }

    /// Until the pod is done or its supervisor has gone.
    async fn follow_supervisor(&self, record: &api::Pod, told: &mut Told) -> agent::client::Result<()> {
        let pod = self.pod.clone();
        let mut watch = self.agent(move |client| client.watch(&pod)).await?;
        let Some(readable) = readable(&watch).map_err(ClientError::Wait)? else { return Ok(()) };
        let mut asked = None;
        loop {
            let state = watch.latest().state.clone();
            self.show(record, &state, told).await;
            self.refresh(told).await;
            if watch.latest().state.done() || watch.wake_fd().is_none() {
                return Ok(());
            }
            if let Some(going) = self.going()
                && asked != Some(going)
            {
                let pod = self.pod.clone();
                self.agent(move |client| client.ask_to_stop(&pod, Some(going.grace_seconds))).await?;
                asked = Some(going);
            }
            tokio::select! {
                ready = wait_readable(&readable) => ready.map_err(ClientError::Wait)?,
                () = self.wake.notified() => {
                    // Mounts may have come, gone or changed.
                    told.running.clear();
                    self.adding.wake.notify_one();
                    continue;
                }
            }
            watch = self
                .agent(move |client| {
                    watch.read(client)?;
                    Ok(watch)
                })
                .await?;
        }
    }

    /// Gives the pod what its ConfigMaps, Secrets, labels and annotations are now, if that is not what it has.
    async fn refresh(&self, told: &mut Told) {
        let pod = self.object().and_then(|object| serde_json::from_value::<api::Pod>(object).ok());
        let Some(now) = pod.filter(|pod| pod.metadata.deletion_timestamp.is_none()) else { return };
        let new = match images::with_objects(&self.shared.store, &now) {
            Ok(new) => new,
            // It keeps what it has. What only a container's variables are made from is told when one is made.
            Err(missing) => {
                let again = told.missing.replace(missing.message.clone()) == Some(missing.message.clone());
                if missing.container.is_none() && !again {
                    self.tell(true, &missing.reason, &missing.message, None);
                }
                return;
            }
        };
        told.missing = None;
        let objects = PodObjects::of(&now, new.config_maps, new.secrets);
        let wanted = digest(&objects);
        if wanted == told.objects {
            return;
        }
        let pod = self.pod.clone();
        match self.agent(move |client| client.update_objects(&pod, &objects)).await {
            Ok(_) => told.objects = wanted,
            Err(error) => {
                tracing::warn!(pod = %self.key, error = %with_causes(&error), "the pod keeps its old contents");
            }
        }
    }

    /// Writes what has become of the pod into its object, and what happened to it as events.
    async fn show(&self, record: &api::Pod, state: &PodState, told: &mut Told) {
        let running = propagation::running(state);
        if running != told.running {
            let (root, pod, now) = (self.shared.root.clone(), record.clone(), state.clone());
            let read = tokio::task::spawn_blocking(move || {
                (propagation::read(&root, &pod, &now), users_of(&root, &now))
            });
            let (found, users) = read.await.unwrap_or_default();
            told.users = users;
            if let Some(found) = &found
                && found.does_less_than(told.propagation.as_ref())
            {
                self.tell_less(found);
            }
            told.propagation = found;
            told.running = running;
        }
        self.take_ephemeral(state).await;
        let now = self.object();
        let record = &*ephemeral::with_those_of(record, now.as_ref());
        if let Ok(status) = serde_json::to_value(agent::status::pod_status(record, state)) {
            let mut status = self.shared.complete_status(status, now.as_ref());
            self.change(Durability::Passing, |object| {
                self.adding.complete(&mut status, &object["spec"]);
                told.add_users(&mut status);
                let before = std::mem::replace(&mut object["status"], status);
                if let Some(found) = &told.propagation {
                    found.write(object, &before);
                }
            });
        }
        for (event, made) in state.events.iter().zip(agent::events::of_pod(record, state)) {
            if !told.events.contains(event) {
                events::put(&self.shared.store, &made);
                // `kubectl describe` shows no annotations.
                if let Some(hint) = &event.hint {
                    self.tell(false, HOW_TO_MEND, hint, event.container.as_deref());
                }
            }
        }
        told.events.clone_from(&state.events);
        let phase = state.phase().as_str();
        if phase == "Running" && !told.ran && !self.was_handed_over {
            self.shared.counters.started(self.begun.elapsed());
        }
        told.ran |= phase == "Running";
    }
}

impl Worker {
    fn tell_less(&self, found: &Found) {
        let Some(object) = self.object() else { return };
        let (message, hint) = found.less_and_mend(&object);
        let what = Happened { hint: Some(&hint), ..Happened::now(true, LESS_THAN_ASKED, &message, None) };
        events::record(&self.shared.store, &self.shared.facts.name, &object, &what);
        self.tell(false, HOW_TO_MEND, &hint, None);
    }
}

/// As whom the containers that run do so, by their ids, as the API has it.
fn users_of(root: &agent::Root, state: &PodState) -> HashMap<String, Value> {
    let mut users = HashMap::new();
    for id in propagation::running(state) {
        let record = runtime::status(&root.runtime_dirs(), &id).ok();
        if let Some(user) = record.and_then(|record| record.process).map(|process| process.user) {
            let linux = json!({"uid": user.uid, "gid": user.gid, "supplementalGroups": user.groups});
            users.insert(format!("rhizome://{id}"), json!({"linux": linux}));
        }
    }
    users
}

impl Told {
    fn add_users(&self, status: &mut Value) {
        for list in ["initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"] {
            for container in status.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                let user = container["containerID"].as_str().and_then(|id| self.users.get(id));
                if let Some(user) = user.cloned() {
                    container["user"] = user;
                }
            }
        }
    }
}

/// What the object says already.
#[derive(Debug, Default)]
struct Told {
    /// As [`users_of`] found them when it was last looked.
    users: HashMap<String, Value>,
    events: Vec<PodEvent>,
    /// The containers that ran when it was last looked what their mounts do.
    running: Vec<String>,
    propagation: Option<Found>,
    /// Whether it has been seen to run.
    ran: bool,
    /// What the pod has been given, as [`digest`] has it.
    objects: u64,
    /// What of it is missing now.
    missing: Option<String>,
}

/// A number that changes with what a pod is given.
fn digest(objects: &PodObjects) -> u64 {
    let mut hasher = DefaultHasher::new();
    // A value of ours always has a JSON.
    serde_json::to_vec(objects).unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}

/// To wait for a supervisor's word; none where there is no supervisor. Nothing is read from it: the watch does that.
fn readable(watch: &Watch) -> std::io::Result<Option<UnixStream>> {
    let Some(fd) = watch.wake_fd() else { return Ok(None) };
    let copy = std::os::unix::net::UnixStream::from(rustix::io::fcntl_dupfd_cloexec(fd, 3)?);
    copy.set_nonblocking(true)?;
    UnixStream::from_std(copy).map(Some)
}

/// Waits until there is something to read.
async fn wait_readable(stream: &UnixStream) -> std::io::Result<()> {
    stream.readable().await?;
    // That there is nothing left, as far as the waiting goes: the watch reads all of it.
    let forget = || Err::<(), _>(std::io::ErrorKind::WouldBlock.into());
    let _ = stream.try_io(Interest::READABLE, forget);
    Ok(())
}

/// Whether an error says that there is no such pod.
fn is_gone(error: &ClientError) -> bool {
    matches!(error, ClientError::NoPod { .. } | ClientError::Record(RecordError::NotFound { .. }))
}

/// The status of a pod that is not made yet, and why.
fn waiting_status(pod: &api::Pod, obstacle: Option<&Obstacle>) -> Value {
    let now = Now { wall: Timestamp::now(), uptime: Uptime(0) };
    let (state, _) = step(PodState::new(agent::status::rules(pod)), Event::Begin, now);
    let mut status = serde_json::to_value(agent::status::pod_status(pod, &state)).unwrap_or_default();
    if let Some(status) = status.as_object_mut() {
        status.shift_remove("observedGeneration");
    }
    let Some(obstacle) = obstacle else { return status };
    if obstacle.by == Reporter::Scheduler {
        return unscheduled_status(pod, &status["qosClass"], &obstacle.message);
    }
    for list in ["initContainerStatuses", "containerStatuses"] {
        for container in status[list].as_array_mut().into_iter().flatten() {
            if obstacle.container.as_deref() == container["name"].as_str() {
                container["state"] =
                    json!({"waiting": {"reason": obstacle.reason, "message": obstacle.message}});
            }
        }
    }
    status
}

/// The status of a pod that is no node's.
fn unscheduled_status(pod: &api::Pod, qos_class: &Value, why: &str) -> Value {
    let before = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let since = before.filter(|c| c.type_ == "PodScheduled" && c.status == "False");
    let since = since.filter_map(|c| c.last_transition_time.as_ref()).next().map(|time| time.0);
    let condition = json!({
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why,
        "observedGeneration": 1,
        "lastTransitionTime": object::time_text(since.unwrap_or_else(Timestamp::now)),
    });
    json!({"phase": "Pending", "qosClass": qos_class, "conditions": [condition]})
}

/// Takes pods in that `agent` has and the store has not: made by `rhizome run` in the same root. False if some could not be.
pub(crate) fn adopt(shared: &Arc<Shared>) -> bool {
    let listed = match agent::record::list(&shared.root, None) {
        Ok(listed) => listed,
        Err(error) => {
            tracing::warn!(%error, "the pods cannot be listed");
            return false;
        }
    };
    let mut all = true;
    for (name, uid) in listed {
        let key = Key::new(Resource::Pods, &name.namespace, &name.name);
        if shared.store.get(&key).is_some() {
            continue;
        }
        let Ok(record) = agent::record::load(&shared.root, &uid) else { continue };
        let Ok(mut object) = serde_json::to_value(&record.pod) else { continue };
        object["spec"]["nodeName"] = shared.facts.name.clone().into();
        object["status"] = json!({"phase": "Pending"});
        mark_handed_over(&mut object);
        shared.ensure_namespace(&name.namespace);
        let adopted = shared.store.change::<WriteError>(&key, Durability::Lasting, |now| {
            Ok(if now.is_some() { Next::Keep } else { Next::Put(object) })
        });
        match adopted {
            Ok(_) => look_after(shared, &key),
            Err(error) => {
                tracing::warn!(pod = %key, %error, "a pod cannot be taken in");
                all = false;
            }
        }
    }
    all
}
