//! The node: its folder, its lock, its doors, and what goes on beside the requests.

use crate::controllers;
use crate::delete::{self, LASTING_NAMESPACES};
use crate::error::{NodeError, file};
use crate::events;
use crate::hangup::Hangup;
use crate::http::{self, Peer};
use crate::kinds::Resource;
use crate::metrics::Counters;
use crate::mount_events;
use crate::node::Facts;
use crate::notify;
use crate::object::{self, Key, text};
use crate::pki::{self, Authority};
use crate::pods::{self, Workers};
use crate::static_pods;
use crate::store::{Durability, Next, Store, WriteError};
use agent::record::Index;
use agent::{Client, Root};
use jiff::Timestamp;
use runtime::cni::Places;
use rustix::fs::FlockOperation;
use rustix::process::{Resource as Limit, Rlimit};
use serde_json::{Value, json};
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Child;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::TlsAcceptor;

/// Connections at a time.
const MOST_CONNECTIONS: usize = 4096;
/// Descriptors that are asked for, if the machine allows as many.
const DESCRIPTORS: u64 = 16 * 1024;
/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often it is looked for pods that others have made in the same root, and into the folder of manifests.
const ADOPT_EVERY: Duration = Duration::from_secs(2);
/// How often the node says that it is there, as the kubelet does.
const STATUS_EVERY: Duration = Duration::from_secs(300);
/// How long answers may take to be written when the node ends.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// How to be a node.
#[derive(Debug, Clone)]
pub struct Config {
    /// Its pods' root, whose mount namespace this process is in.
    pub root: Root,
    /// Where to listen; port 0 takes any that is free.
    pub listen: SocketAddr,
    /// A folder of manifests whose pods are run.
    pub manifests: Option<PathBuf>,
    /// Where the configuration of pods' network is looked for; none leaves them their loopback.
    pub network: Option<Places>,
}

/// A node that can be talked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// The kubeconfig.
    pub kubeconfig: PathBuf,
    /// The address of the API.
    pub address: SocketAddr,
    /// The API's socket, for this user only.
    pub socket: PathBuf,
}

/// What all requests and tasks share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) root: Root,
    pub(crate) facts: Facts,
    /// `HOST:PORT`
    pub(crate) address: String,
    pub(crate) pods: Workers,
    /// Starts supervisors, which are its children and end under it.
    pub(crate) starter: Arc<Mutex<Client>>,
    pub(crate) executors: Executors,
    pub(crate) counters: Counters,
    ended: watch::Receiver<bool>,
}

/// Executors that were started; each ends with its process, and is then taken leave of.
#[derive(Debug, Default)]
pub(crate) struct Executors {
    children: Mutex<Vec<Child>>,
}

impl Executors {
    /// Takes one in, and leave of those that have ended.
    pub(crate) fn keep(&self, child: Child) {
        let mut children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        children.retain_mut(|child| !matches!(child.try_wait(), Ok(Some(_))));
        children.push(child);
    }

    fn reap(&self) {
        let mut children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        children.retain_mut(|child| !matches!(child.try_wait(), Ok(Some(_))));
    }
}

/// Runs until SIGTERM or SIGINT. Pods run on; the next start finds them.
///
/// The process must have one thread, be in the root's mount namespace and run from a read-only path
/// ([`sys::process::ensure_read_only_exe`]): what it executes is itself.
///
/// # Errors
/// What keeps it from starting.
pub fn run(config: &Config, ready: impl FnOnce(&Ready)) -> Result<(), NodeError> {
    let root = config.root.open()?;
    let folder = pki::folder(&root);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(file("make", &folder))?;
    let _lock = lock(&root.run.join("node.lock"))?;
    allow_many_descriptors();
    // 2,750 pods' lives took 71 MiB with an arena for every thread, and went on growing until each had seen the most.
    sys::memory::share_one_arena();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(32)
        .enable_all()
        .build()
        .map_err(|source| NodeError::System { action: "start threads", source })?;
    let served = runtime.block_on(serve(config, root, &folder, ready));
    runtime.shutdown_timeout(END_TIMEOUT);
    let mounts = served?;
    mounts.thread().unpark();
    let _ = mounts.join();
    Ok(())
}

fn lock(path: &Path) -> Result<File, NodeError> {
    let open = File::options().create(true).truncate(false).write(true).open(path);
    let opened = open.map_err(file("open", path))?;
    match rustix::fs::flock(&opened, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(opened),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(NodeError::Taken { path: path.to_owned() }),
        Err(errno) => Err(file("lock", path)(errno.into())),
    }
}

/// A watch is a descriptor; 1,024 of them, which is what most shells give, are soon gone.
fn allow_many_descriptors() {
    let Rlimit { current, maximum } = rustix::process::getrlimit(Limit::Nofile);
    let wanted = DESCRIPTORS.min(maximum.unwrap_or(u64::MAX));
    if current.is_some_and(|current| current < wanted) {
        // What is not given is missed only by who comes late.
        let _ = rustix::process::setrlimit(Limit::Nofile, Rlimit { current: Some(wanted), maximum });
    }
}

async fn serve(
    config: &Config,
    root: Root,
    folder: &Path,
    ready: impl FnOnce(&Ready),
) -> Result<JoinHandle<()>, NodeError> {
    let system = |action| move |source| NodeError::System { action, source };
    let mut term = signal(SignalKind::terminate()).map_err(system("wait for signals"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system("wait for signals"))?;
    let listen_failed = |source| NodeError::Listen { address: config.listen.to_string(), source };
    let tcp = TcpListener::bind(config.listen).await.map_err(listen_failed)?;
    let address = tcp.local_addr().map_err(listen_failed)?;
    let authority = Authority::open(folder)?;
    let tls = TlsAcceptor::from(Arc::new(authority.server(&[address.ip()])?));
    let kubeconfig = pki::kubeconfig_path(&root);
    authority.write_kubeconfig(&kubeconfig, reachable(address))?;
    let socket = root.run.join("node.sock");
    let unix = listen_unix(&socket).map_err(file("listen on", &socket))?;
    let (end, ended) = watch::channel(false);
    let shared = Arc::new(Shared {
        store: Store::open(&folder.join("journal"))?,
        starter: Arc::new(Mutex::new(Client::open(&root)?)),
        root,
        facts: Facts::read(config.network.clone()),
        address: address.to_string(),
        pods: Workers::default(),
        executors: Executors::default(),
        counters: Counters::default(),
        ended,
    });
    shared.begin();
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let doors = tokio::spawn(listen(shared.clone(), tcp, tls, unix, places));
    tokio::spawn(keep_up(shared.clone(), config.manifests.clone()));
    tokio::spawn(controllers::keep(shared.clone()));
    let mounts = mount_events::start(shared.clone()).map_err(system("start a thread"))?;
    ready(&Ready { kubeconfig, address, socket: socket.clone() });
    notify::tell("READY=1");
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
    notify::tell("STOPPING=1");
    doors.abort();
    let _ = end.send(true);
    let _ = std::fs::remove_file(&socket);
    Ok(mounts)
}

/// An address at which a server that listens everywhere is reached from here.
fn reachable(address: SocketAddr) -> SocketAddr {
    let mut reachable = address;
    if address.ip().is_unspecified() {
        reachable.set_ip(if address.is_ipv4() {
            [127, 0, 0, 1].into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    reachable
}

/// The folder is this user's alone, so that nobody comes in between making the socket and setting its mode.
fn listen_unix(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Lets clients in, as many as there are places for; the others wait at the door.
async fn listen(
    shared: Arc<Shared>,
    tcp: TcpListener,
    tls: TlsAcceptor,
    unix: UnixListener,
    places: Arc<Semaphore>,
) {
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let shared = shared.clone();
        let accepted = tokio::select! {
            accepted = tcp.accept() => accepted.map(|(stream, _)| {
                let tls = tls.clone();
                tokio::spawn(async move {
                    let _ = stream.set_nodelay(true);
                    look_after_dead_clients(&stream);
                    let hangup = Hangup::of(&stream);
                    let stream = Placed { io: stream, _place: place };
                    let shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await;
                    let Ok(Ok(stream)) = shaken else { return };
                    let known = stream.get_ref().1.peer_certificates().is_some_and(|chain| !chain.is_empty());
                    let peer = if known { Peer::Known } else { Peer::Unknown };
                    http::serve(shared, stream, peer, hangup).await;
                });
            }),
            accepted = unix.accept() => accepted.map(|(stream, _)| {
                let us = rustix::process::geteuid().as_raw();
                let known = stream.peer_cred().is_ok_and(|them| them.uid() == us || them.uid() == 0);
                let peer = if known { Peer::Known } else { Peer::Unknown };
                let hangup = Hangup::of(&stream);
                tokio::spawn(http::serve(shared, Placed { io: stream, _place: place }, peer, hangup));
            }),
        };
        if let Err(error) = accepted {
            // Out of descriptors, most likely: some will be free soon.
            tracing::warn!(%error, "a connection cannot be taken");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// A connection and its place, which it keeps when it goes on as something else than HTTP.
struct Placed<S> {
    io: S,
    _place: OwnedSemaphorePermit,
}

impl<S: AsyncRead + Unpin> AsyncRead for Placed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Placed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

/// A client whose machine has gone says nothing, not even that: the kernel asks for it after half a minute of silence
/// (tcp(7)), so that what it had open ends.
fn look_after_dead_clients(stream: &TcpStream) {
    use rustix::net::sockopt;
    // Where this cannot be had, connections are as long as they were.
    let _ = sockopt::set_socket_keepalive(stream, true)
        .and_then(|()| sockopt::set_tcp_keepidle(stream, Duration::from_secs(30)))
        .and_then(|()| sockopt::set_tcp_keepintvl(stream, Duration::from_secs(10)))
        .and_then(|()| sockopt::set_tcp_keepcnt(stream, 6));
}

/// Whether work has come to an end, by looks at the store's version.
#[derive(Debug, Default)]
struct Quiet {
    seen: u64,
    had_work: bool,
}

impl Quiet {
    /// That nothing has changed since the last look, but had before it.
    fn begins(&mut self, version: u64) -> bool {
        let changed = std::mem::replace(&mut self.seen, version) != version;
        std::mem::replace(&mut self.had_work, changed) && !changed
    }
}

/// What has to be done now and then.
async fn keep_up(shared: Arc<Shared>, manifests: Option<PathBuf>) {
    let told = Arc::new(Mutex::new(String::new()));
    let adopted = Arc::new(Mutex::new(Index::default()));
    let mut quiet = Quiet::default();
    let mut adopt = tokio::time::interval(ADOPT_EVERY);
    let mut status = tokio::time::interval(STATUS_EVERY);
    loop {
        tokio::select! {
            _ = adopt.tick() => {
                shared.executors.reap();
                let has_work_behind = quiet.begins(shared.store.version());
                let (shared, manifests, told) = (shared.clone(), manifests.clone(), told.clone());
                let adopted = adopted.clone();
                let look = move || {
                    if has_work_behind {
                        sys::memory::trim();
                    }
                    let mut adopted = adopted.lock().unwrap_or_else(PoisonError::into_inner);
                    if adopted.may_have_changed(&shared.root) && !pods::adopt(&shared) {
                        *adopted = Index::default();
                    }
                    if let Some(folder) = manifests {
                        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
                        static_pods::look(&shared, &folder, &mut told);
                    }
                };
                let _ = tokio::task::spawn_blocking(look).await;
            }
            _ = status.tick() => {
                shared.renew_node();
                events::forget_old(&shared.store);
            }
            () = shared.ended() => return,
        }
    }
}

impl Shared {
    /// Ends when the node does.
    pub(crate) async fn ended(&self) {
        let mut ended = self.ended.clone();
        let _ = ended.wait_for(|ended| *ended).await;
    }

    pub(crate) fn has_ended(&self) -> bool {
        *self.ended.borrow()
    }

    /// What is always there, and what was left by the last run.
    fn begin(self: &Arc<Self>) {
        LASTING_NAMESPACES.iter().for_each(|name| self.ensure_namespace(name));
        self.renew_node();
        for (key, stored) in self.store.list(Resource::Namespaces, None).0 {
            if object::is_going(&stored.value()) {
                self.changed(&key);
            }
        }
        pods::adopt(self);
        for (key, _) in self.store.list(Resource::Pods, None).0 {
            pods::look_after(self, &key);
        }
    }

    pub(crate) fn ensure_namespace(&self, name: &str) {
        let key = Key::new(Resource::Namespaces, "", name);
        if self.store.get(&key).is_some() {
            return;
        }
        let uid = agent::record::PodUid::random().map(|uid| uid.to_string()).unwrap_or_default();
        let object = json!({
            "kind": "Namespace",
            "apiVersion": "v1",
            "metadata": {
                "name": name, "uid": uid, "creationTimestamp": object::now_text(),
                "labels": {"kubernetes.io/metadata.name": name},
            },
            "spec": {"finalizers": ["kubernetes"]},
            "status": {"phase": "Active"},
        });
        let made = self.store.change::<WriteError>(&key, Durability::Lasting, |now| {
            Ok(if now.is_some() { Next::Keep } else { Next::Put(object) })
        });
        if let Err(error) = made {
            tracing::error!(%error, namespace = name, "a namespace cannot be made");
        }
    }

    /// Says in the Node object how this machine is.
    fn renew_node(&self) {
        let key = Key::new(Resource::Nodes, "", &self.facts.name);
        let durability =
            if self.store.get(&key).is_some() { Durability::Passing } else { Durability::Lasting };
        let renewed = self.store.change::<WriteError>(&key, durability, |now| {
            Ok(Next::Put(match now {
                Some(mut object) => {
                    object["status"] = self.facts.status(&object::now_text(), &object["status"]);
                    object
                }
                None => {
                    let uid = agent::record::PodUid::random().map(|uid| uid.to_string()).unwrap_or_default();
                    self.facts.object(&uid, Timestamp::now())
                }
            }))
        });
        if let Err(error) = renewed {
            tracing::error!(%error, "the node cannot be written");
        }
    }

    /// To be called after an object was made.
    pub(crate) fn created(self: &Arc<Self>, key: &Key) {
        self.changed(key);
    }

    /// To be called after an object was changed or deleted.
    pub(crate) fn changed(self: &Arc<Self>, key: &Key) {
        match key.resource {
            Resource::Pods => pods::look_after(self, key),
            Resource::ConfigMaps | Resource::Secrets => self.pods.wake_namespace(&key.namespace),
            Resource::Namespaces => self.end_namespace(&key.name),
            Resource::Nodes => self.pods.wake_all(),
            _ => {}
        }
    }

    /// To be called when an object that has an end of its own was removed.
    pub(crate) fn is_gone(self: &Arc<Self>, key: &Key) {
        self.end_namespace(&key.namespace);
    }

    /// Deletes what is in a namespace that is to go, and the namespace when nothing is left.
    fn end_namespace(self: &Arc<Self>, name: &str) {
        let key = Key::new(Resource::Namespaces, "", name);
        let going = self.store.get(&key).is_some_and(|stored| object::is_going(&stored.value()));
        if !going {
            return;
        }
        let mut left = 0;
        for resource in Resource::EVERY.into_iter().filter(|resource| resource.about().namespaced) {
            for (key, stored) in self.store.list(resource, Some(name)).0 {
                let waits = object::is_going(&stored.value());
                match resource {
                    Resource::Events => {
                        let _ =
                            self.store.change::<WriteError>(&key, Durability::Passing, |_| Ok(Next::Remove));
                    }
                    _ if waits => left += 1,
                    _ => match delete::delete(self, &key, &crate::decode::DeleteOptions::default()) {
                        Ok((_, true)) => {}
                        _ => left += 1,
                    },
                }
            }
        }
        if left == 0 {
            let _ = self.store.change::<WriteError>(&key, Durability::Lasting, |_| Ok(Next::Remove));
        }
    }

    /// Takes leave of supervisors that have ended.
    pub(crate) async fn reap(&self) {
        let starter = self.starter.clone();
        let reap = move || starter.lock().unwrap_or_else(PoisonError::into_inner).reap();
        let _ = tokio::task::spawn_blocking(reap).await;
    }

    /// A pod's status with what `agent` does not know: addresses; and as Go writes it, with nulls where it writes them.
    pub(crate) fn complete_status(&self, mut status: Value, object: Option<&Value>) -> Value {
        for condition in status["conditions"].as_array_mut().into_iter().flatten() {
            if let Value::Object(condition) = condition {
                condition.entry("lastProbeTime").or_insert(Value::Null);
            }
        }
        if text(&status, "/startTime").is_empty() {
            return status;
        }
        // What the pod as a whole has been given; nothing of it changes while it runs.
        let resources = object.map(|object| &object["spec"]["resources"]).filter(|all| all.is_object());
        status["resources"] = resources.cloned().unwrap_or_else(|| json!({}));
        let address = json!(self.facts.address);
        status["hostIP"] = address.clone();
        status["hostIPs"] = json!([{"ip": address}]);
        let of_host = object.is_some_and(|object| object["spec"]["hostNetwork"] == true);
        if of_host {
            status["podIP"] = address.clone();
            status["podIPs"] = json!([{"ip": address}]);
        }
        status
    }
}
