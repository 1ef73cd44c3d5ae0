//! What other runtimes call their containers, from the folders in which they keep them.
//!
//! | runtime | file | says |
//! |---|---|---|
//! | containerd | `run/containerd/io.containerd.runtime.v2.task/NAMESPACE/ID/config.json`, or below [`CONTAINERD`] | annotations `io.kubernetes.cri.*` |
//! | CRI-O, podman | `run/containers/storage/*-containers/ID/userdata/config.json` | annotations `io.kubernetes.*` |
//! | podman | `var/lib/containers/storage/*-containers/containers.json` | `names` by `id` |
//! | podman | `var/lib/containers/storage/*-containers/ID/userdata/config.json` | the pod's infra container, whose `hostname` is the pod's name unless another was asked for |
//! | docker | `var/lib/docker/containers/ID/config.v2.json` | `Name`, labels `io.kubernetes.*` |
//!
//! Files of containers, written by their runtimes for themselves: whatever is not as expected says nothing.

use super::cri;
use mount_table::node::{Container, Pod, Runtime};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

/// No file of a container's configuration is longer; the list of all of podman's may be.
const MAX_BYTES: u64 = 16 << 20;

/// Where containerd keeps its state: by itself, and as a part of k3s, k0s and MicroK8s.
const CONTAINERD: [&str; 4] =
    ["run/containerd", "run/k3s/containerd", "run/k0s/containerd", "var/snap/microk8s/common/run/containerd"];

/// Folders of other runtimes, each container asked for once.
#[derive(Debug)]
pub(super) struct Folders {
    root: PathBuf,
    known: HashMap<String, Option<Container>>,
    /// `containers.json` of podman and CRI-O, once it was read.
    stored: Option<HashMap<String, String>>,
    /// What the runtimes' sockets tell, once they were asked.
    told: Option<HashMap<String, Container>>,
    /// Runtimes whose folders may not be read.
    pub(super) denied: BTreeSet<Runtime>,
}

impl Folders {
    /// Those of the machine, or of a test.
    pub(super) fn below(root: &Path) -> Folders {
        Folders {
            root: root.to_owned(),
            known: HashMap::new(),
            stored: None,
            told: None,
            denied: BTreeSet::new(),
        }
    }

    /// Completes what is known of a container, if that has no name.
    pub(super) fn complete(&mut self, container: &mut Container) {
        let is_elsewhere =
            matches!(container.runtime, Some(Runtime::Rhizome | Runtime::Machine | Runtime::Lxc));
        // An id is a part of the paths below.
        let is_plain = container.id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if container.name.is_some() || is_elsewhere || !is_plain {
            return;
        }
        if !self.known.contains_key(&container.id) {
            let found = self.find(&container.id, container.runtime);
            self.known.insert(container.id.clone(), found);
        }
        let Some(Some(known)) = self.known.get(&container.id) else { return };
        container.runtime = container.runtime.or(known.runtime);
        container.name = known.name.clone();
        if let Some(pod) = &known.pod {
            let uid = container.pod.as_ref().and_then(|pod| pod.uid.clone());
            container.pod = Some(Pod { uid: uid.or_else(|| pod.uid.clone()), ..pod.clone() });
        }
    }

    fn find(&mut self, id: &str, runtime: Option<Runtime>) -> Option<Container> {
        let may_be = |of: Runtime| runtime.is_none_or(|runtime| runtime == of);
        let mut found = None;
        if may_be(Runtime::Containerd) {
            found = self.containerd(id);
        }
        if found.is_none() && (may_be(Runtime::CriO) || may_be(Runtime::Podman)) {
            found = self.containers_storage(id, runtime);
        }
        if found.is_none() && may_be(Runtime::Docker) {
            found = self.docker(id);
        }
        let is_named = found.as_ref().is_some_and(|found| found.name.is_some());
        if !is_named && runtime != Some(Runtime::Podman) {
            let told = self.told.get_or_insert_with(|| cri::containers(&self.root));
            found = told.get(id).cloned().or(found);
        }
        found
    }

    fn containerd(&mut self, id: &str) -> Option<Container> {
        // `k8s.io` for CRI; `default` and others for `ctr` and nerdctl.
        let tasks = CONTAINERD.map(|state| self.root.join(state).join("io.containerd.runtime.v2.task"));
        for namespace in
            tasks.iter().flat_map(|tasks| self.entries(tasks, Runtime::Containerd)).collect::<Vec<_>>()
        {
            let path = namespace.join(id).join("config.json");
            let Some(config) = self.json(&path, Runtime::Containerd) else { continue };
            let text = |key: &str| annotation(&config["annotations"], &format!("io.kubernetes.cri.{key}"));
            let is_sandbox = text("container-type").as_deref() == Some("sandbox");
            return Some(Container {
                runtime: Some(Runtime::Containerd),
                id: id.to_owned(),
                name: text("container-name")
                    .or_else(|| is_sandbox.then(|| "sandbox".to_owned()))
                    .or_else(|| annotation(&config["annotations"], "nerdctl/name")),
                pod: pod(text("sandbox-name"), text("sandbox-namespace"), text("sandbox-uid")),
            });
        }
        None
    }

    fn containers_storage(&mut self, id: &str, runtime: Option<Runtime>) -> Option<Container> {
        let owner = runtime.unwrap_or(Runtime::CriO);
        let mut found = None;
        for driver in self.entries(&self.root.join("run/containers/storage"), owner) {
            let path = driver.join(id).join("userdata/config.json");
            let Some(config) = self.json(&path, owner) else { continue };
            let text = |key: &str| annotation(&config["annotations"], &format!("io.kubernetes.{key}"));
            let pod = pod(text("pod.name"), text("pod.namespace"), text("pod.uid"));
            if pod.is_some() {
                // The infra container of a pod is called POD.
                let name = text("container.name")
                    .map(|name| if name == "POD" { "sandbox".to_owned() } else { name });
                let runtime = Some(Runtime::CriO);
                found = Some(Container { runtime, id: id.to_owned(), name, pod });
            }
        }
        found.or_else(|| {
            let name = self.stored(owner).get(id).cloned()?;
            let runtime = runtime.unwrap_or(Runtime::Podman);
            let (name, pod) = match runtime {
                Runtime::Podman => self.in_pod_of_podman(id, name),
                _ => (name, None),
            };
            Some(Container { runtime: Some(runtime), id: id.to_owned(), name: Some(name), pod })
        })
    }

    /// The name and the pod of a container of podman's. Its database alone has the pods by name; but the infra container
    /// is called `POD_ID-infra`, and its host name is the pod's.
    fn in_pod_of_podman(&mut self, id: &str, name: String) -> (String, Option<Pod>) {
        let is_infra = name.strip_suffix("-infra").is_some_and(|id| id.len() == 12 && is_hex(id));
        let infra = match is_infra {
            true => Some(id.to_owned()),
            false => self.of_libpod(id).and_then(|config| {
                annotation(&config["annotations"], "io.kubernetes.cri-o.SandboxID")
                    .filter(|infra| !infra.is_empty() && is_hex(infra))
            }),
        };
        let pod = infra.and_then(|infra| annotation(&self.of_libpod(&infra)?, "hostname"));
        let Some(pod) = pod else { return (name, None) };
        // `play kube` calls containers POD-CONTAINER.
        let own = name.strip_prefix(&pod).and_then(|rest| rest.strip_prefix('-')).map(str::to_owned);
        let name = if is_infra { "sandbox".to_owned() } else { own.unwrap_or(name) };
        (name, Some(Pod { uid: None, namespace: None, name: Some(pod) }))
    }

    /// What podman told the OCI runtime of a container.
    fn of_libpod(&mut self, id: &str) -> Option<Value> {
        let drivers = self.entries(&self.root.join("var/lib/containers/storage"), Runtime::Podman);
        drivers
            .iter()
            .find_map(|driver| self.json(&driver.join(id).join("userdata/config.json"), Runtime::Podman))
    }

    /// Names by id, of all containers of podman and CRI-O.
    fn stored(&mut self, runtime: Runtime) -> &HashMap<String, String> {
        if self.stored.is_none() {
            let mut names = HashMap::new();
            for driver in self.entries(&self.root.join("var/lib/containers/storage"), runtime) {
                let all = self.json(&driver.join("containers.json"), runtime).unwrap_or_default();
                for one in all.as_array().into_iter().flatten() {
                    if let (Some(id), Some(name)) = (one["id"].as_str(), one["names"][0].as_str()) {
                        names.insert(id.to_owned(), name.to_owned());
                    }
                }
            }
            self.stored = Some(names);
        }
        self.stored.get_or_insert_default()
    }

    fn docker(&mut self, id: &str) -> Option<Container> {
        let path = self.root.join("var/lib/docker/containers").join(id).join("config.v2.json");
        let config = self.json(&path, Runtime::Docker)?;
        let labels = &config["Config"]["Labels"];
        let text = |key: &str| annotation(labels, &format!("io.kubernetes.{key}"));
        let own = || config["Name"].as_str().map(|name| name.trim_start_matches('/').to_owned());
        Some(Container {
            runtime: Some(Runtime::Docker),
            id: id.to_owned(),
            name: text("container.name").or_else(own),
            pod: pod(text("pod.name"), text("pod.namespace"), text("pod.uid")),
        })
    }

    fn json(&mut self, path: &Path, runtime: Runtime) -> Option<Value> {
        let file = self.allowed(std::fs::File::open(path), runtime)?;
        let mut bytes = Vec::new();
        file.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// The folder's entries, sorted; of one that is not there, none.
    fn entries(&mut self, folder: &Path, runtime: Runtime) -> Vec<PathBuf> {
        let entries = self.allowed(std::fs::read_dir(folder), runtime);
        let mut entries: Vec<PathBuf> =
            entries.into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        entries.sort();
        entries
    }

    fn allowed<T>(&mut self, result: std::io::Result<T>, runtime: Runtime) -> Option<T> {
        if let Err(error) = &result
            && error.kind() == ErrorKind::PermissionDenied
        {
            self.denied.insert(runtime);
        }
        result.ok()
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn annotation(of: &Value, key: &str) -> Option<String> {
    of[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn pod(name: Option<String>, namespace: Option<String>, uid: Option<String>) -> Option<Pod> {
    name.is_some().then_some(Pod { uid, namespace, name })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    /// What a container is called, given one file; the runtime as its cgroup tells it.
    fn called(file: &str, text: &str, runtime: Option<Runtime>) -> String {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(file.replace("ID", ID));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text.replace("ID", ID)).unwrap();
        let mut container = Container { runtime, id: ID.to_owned(), name: None, pod: None };
        let mut folders = Folders::below(root.path());
        folders.complete(&mut container);
        assert!(folders.denied.is_empty());
        let runtime = container.runtime.map_or("?".to_owned(), |runtime| runtime.to_string());
        let namespace = container.pod.as_ref().and_then(|pod| pod.namespace.clone()).unwrap_or_default();
        let name = container.name.is_some();
        if name { format!("{runtime} {namespace} {}", container.in_words()) } else { format!("{runtime} -") }
    }

    #[test]
    fn names_of_every_runtime() {
        let cri = r#"{"annotations": {"io.kubernetes.cri.container-name": "main", "io.kubernetes.cri.container-type": "container",
            "io.kubernetes.cri.sandbox-name": "web", "io.kubernetes.cri.sandbox-namespace": "shop", "io.kubernetes.cri.sandbox-uid": "u"}}"#;
        let task = "run/containerd/io.containerd.runtime.v2.task/k8s.io/ID/config.json";
        assert_eq!(called(task, cri, None), "containerd shop web/main");
        assert_eq!(called(task, cri, Some(Runtime::Containerd)), "containerd shop web/main");
        assert_eq!(called(task, cri, Some(Runtime::Docker)), "docker -");
        let sandbox = cri.replace("cri.container-name", "x").replace("\"container\"", "\"sandbox\"");
        assert_eq!(called(task, &sandbox, None), "containerd shop web/sandbox");
        let crio = r#"{"annotations": {"io.kubernetes.container.name": "main", "io.kubernetes.pod.name": "web",
            "io.kubernetes.pod.namespace": "shop", "io.kubernetes.pod.uid": "u"}}"#;
        let userdata = "run/containers/storage/overlay-containers/ID/userdata/config.json";
        assert_eq!(called(userdata, crio, Some(Runtime::CriO)), "cri-o shop web/main");
        assert_eq!(called(userdata, &crio.replace("main", "POD"), None), "cri-o shop web/sandbox");
        let stored = r#"[{"id": "other", "names": ["x"]}, {"id": "ID", "names": ["happy_name"]}]"#;
        let list = "var/lib/containers/storage/overlay-containers/containers.json";
        assert_eq!(called(list, stored, Some(Runtime::Podman)), "podman  happy_name");
        let docker = r#"{"Name": "/web-1", "Config": {"Labels": {"a": "b"}}}"#;
        let config = "var/lib/docker/containers/ID/config.v2.json";
        assert_eq!(called(config, docker, Some(Runtime::Docker)), "docker  web-1");
        for (text, expected) in [("{", "docker -"), ("[]", "docker -"), ("{\"Name\": 7}", "docker -")] {
            assert_eq!(called(config, text, Some(Runtime::Docker)), expected);
        }
        assert_eq!(called("x", "", None), "? -");
    }

    /// As podman 4.3 wrote them for `play kube` with a pod `shop` and a container `web`.
    #[test]
    fn pods_of_podman() {
        let root = tempfile::tempdir().unwrap();
        let storage = root.path().join("var/lib/containers/storage/overlay-containers");
        let infra = ID.replace('0', "a");
        let write = |path: &str, text: &str| {
            let path = storage.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let listed = format!(
            r#"[{{"id": "{ID}", "names": ["shop-web"]}}, {{"id": "{infra}", "names": ["8161b5a35abd-infra"]}}]"#
        );
        write("containers.json", &listed);
        let own = format!(r#"{{"annotations": {{"io.kubernetes.cri-o.SandboxID": "{infra}"}}}}"#);
        write(&format!("{ID}/userdata/config.json"), &own);
        write(&format!("{infra}/userdata/config.json"), r#"{"hostname": "shop", "annotations": {}}"#);
        let mut folders = Folders::below(root.path());
        let mut name = |id: &str| {
            let mut container =
                Container { runtime: Some(Runtime::Podman), id: id.to_owned(), name: None, pod: None };
            folders.complete(&mut container);
            container.in_words()
        };
        assert_eq!((name(ID), name(&infra)), ("shop/web".to_owned(), "shop/sandbox".to_owned()));
        // An infra container that is named by a path is none.
        let evil = r#"{"annotations": {"io.kubernetes.cri-o.SandboxID": "../evil"}}"#;
        write(&format!("{ID}/userdata/config.json"), evil);
        write("evil/userdata/config.json", r#"{"hostname": "evil"}"#);
        let mut folders = Folders::below(root.path());
        let mut container =
            Container { runtime: Some(Runtime::Podman), id: ID.to_owned(), name: None, pod: None };
        folders.complete(&mut container);
        assert_eq!(container.in_words(), "shop-web");
    }

    #[test]
    fn an_id_that_is_a_path_is_not_looked_for() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("var/lib/docker/evil");
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("config.v2.json"), r#"{"Name": "evil"}"#).unwrap();
        let id = "../evil".to_owned();
        let mut container = Container { runtime: Some(Runtime::Docker), id, name: None, pod: None };
        Folders::below(root.path()).complete(&mut container);
        assert_eq!(container.name, None);
    }
}
