//! This machine as a Node object: what it has and is, read once, and whether pods can run.

use jiff::Timestamp;
use runtime::cni::{Places, find_configuration};
use rustix::system::uname;
use serde_json::{Value, json};
use std::path::Path;

/// What is told of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) name: String,
    pub(crate) address: String,
    /// Where the configuration of pods' network is looked for.
    pub(crate) network: Option<Places>,
    processors: usize,
    memory_kib: u64,
    kernel: String,
    system: String,
    machine_id: String,
    boot_id: String,
}

/// Pods that are taken; the kubelet's default.
const MOST_PODS: u32 = 110;

impl Facts {
    /// Reads what there is to know; what cannot be read is empty.
    pub(crate) fn read(network: Option<Places>) -> Facts {
        let wired = network.as_ref().is_some_and(|places| matches!(find_configuration(places), Ok(Some(_))));
        let line = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let memory = line("/proc/meminfo");
        let memory = memory.lines().find_map(|l| l.strip_prefix("MemTotal:"));
        let kernel = uname();
        Facts {
            name: node_name(&kernel.nodename().to_string_lossy()),
            address: agent::node::read_address(wired).to_string(),
            network,
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            memory_kib: memory
                .and_then(|text| text.trim().strip_suffix(" kB")?.parse().ok())
                .unwrap_or_default(),
            kernel: kernel.release().to_string_lossy().into_owned(),
            system: system_name(Path::new("/etc/os-release")),
            machine_id: line("/etc/machine-id"),
            boot_id: line("/proc/sys/kernel/random/boot_id"),
        }
    }

    /// The object, as it is made at the first start.
    pub(crate) fn object(&self, uid: &str, now: Timestamp) -> Value {
        let now = crate::object::time_text(now);
        json!({
            "kind": "Node",
            "apiVersion": "v1",
            "metadata": {
                "name": self.name,
                "uid": uid,
                "creationTimestamp": now,
                "labels": {
                    "kubernetes.io/arch": crate::discovery::go_architecture(std::env::consts::ARCH),
                    "kubernetes.io/hostname": self.name,
                    "kubernetes.io/os": "linux",
                },
            },
            "spec": {},
            "status": self.status(&now, &Value::Null),
        })
    }

    /// Its status, as of now; conditions keep since when they hold.
    pub(crate) fn status(&self, now: &str, before: &Value) -> Value {
        let architecture = crate::discovery::go_architecture(std::env::consts::ARCH);
        let capacity = json!({
            "cpu": self.processors.to_string(),
            "memory": format!("{}Ki", self.memory_kib),
            "pods": MOST_PODS.to_string(),
        });
        let condition = |kind: &str, status: &str, reason: &str, message: &str| {
            let had = crate::object::items(before, "/conditions").iter().find(|c| c["type"] == kind);
            let since = had.filter(|c| c["status"] == status).map(|c| c["lastTransitionTime"].clone());
            json!({
                "type": kind, "status": status, "lastHeartbeatTime": now,
                "lastTransitionTime": since.unwrap_or_else(|| now.into()), "reason": reason, "message": message,
            })
        };
        let (unavailable, reason, message) = self.network_condition();
        json!({
            "capacity": capacity,
            "allocatable": capacity,
            "conditions": [
                condition("NetworkUnavailable", unavailable, reason, &message),
                condition("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
                condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
                condition("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
                condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
            ],
            "addresses": [
                {"type": "InternalIP", "address": self.address},
                {"type": "Hostname", "address": self.name},
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 0}},
            "nodeInfo": {
                "machineID": self.machine_id,
                "systemUUID": self.machine_id,
                "bootID": self.boot_id,
                "kernelVersion": self.kernel,
                "osImage": self.system,
                "containerRuntimeVersion": format!("rhizome://{}", env!("CARGO_PKG_VERSION")),
                "kubeletVersion": crate::discovery::git_version(),
                "kubeProxyVersion": "",
                "operatingSystem": "linux",
                "architecture": architecture,
            },
        })
    }
}

impl Facts {
    /// Status, reason and message of `NetworkUnavailable`. A node without a network runs pods all the same: each has its
    /// loopback.
    fn network_condition(&self) -> (&'static str, &'static str, String) {
        let alone = "pods have only a loopback of their own, or the node's network with hostNetwork";
        let Some(places) = &self.network else {
            return ("True", "NoNetworkWanted", format!("{alone}: CNI is turned off"));
        };
        let folder = places.configurations.display();
        match find_configuration(places) {
            Ok(Some(network)) => {
                let message = format!("pods are wired to network {:?} by CNI plugins", network.name);
                ("False", "NetworkConfigured", message)
            }
            Ok(None) => {
                ("True", "NoNetworkConfiguration", format!("{alone}: no CNI configuration in {folder}"))
            }
            Err(error) => ("True", "InvalidNetworkConfiguration", format!("pods cannot start: {error}")),
        }
    }
}

/// A host's name as the kubelet makes a node's of it.
fn node_name(host: &str) -> String {
    let name: String = host.trim().to_lowercase().replace('_', "-");
    let plain = !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
        && !name.starts_with(['-', '.'])
        && !name.ends_with(['-', '.']);
    if plain { name } else { "localhost".to_owned() }
}

fn system_name(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let pretty = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    pretty.map_or_else(|| "Linux".to_owned(), |name| name.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_keeps_since_when_it_holds() {
        let facts = Facts::read(None);
        let first = facts.status("2020-01-01T00:00:00Z", &Value::Null);
        let later = facts.status("2020-01-02T00:00:00Z", &first);
        assert_eq!(later["conditions"][4]["lastTransitionTime"], "2020-01-01T00:00:00Z");
        assert_eq!(later["conditions"][4]["lastHeartbeatTime"], "2020-01-02T00:00:00Z");
        assert!(facts.memory_kib > 0 && !facts.kernel.is_empty());
        assert_eq!(node_name("My_Host"), "my-host");
        assert_eq!(node_name("a b"), "localhost");
    }
}
