//! Pods that Debian's CNI plugins wire (package containernetworking-plugins), on a "host" that is a network namespace of
//! the test's own: the machine's network, its iptables and the plugins' usual books are not touched.

#[path = "support/node.rs"]
mod node;
mod support;
#[path = "support/world.rs"]
mod world;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::{Ran, ran, skipped};
use sys::namespace::Namespaces;
use world::World;

const PATIENCE: Duration = Duration::from_secs(60);

/// A world whose commands run in the network namespace of the test's thread, which begins with a loopback only.
struct Net {
    world: World,
}

impl Net {
    fn new(name: &str) -> Option<Net> {
        let plugins = ["bridge", "host-local", "portmap", "loopback"];
        let is_there =
            |folder: &str| plugins.iter().all(|plugin| PathBuf::from(folder).join(plugin).is_file());
        if !runtime::cni::PLUGIN_FOLDERS.iter().any(|folder| is_there(folder)) {
            skipped(name, "no CNI plugins; cargo xtask setup installs containernetworking-plugins");
            return None;
        }
        if Command::new("iptables").arg("--version").stdout(Stdio::null()).status().is_err() {
            skipped(name, "no iptables; cargo xtask setup installs it");
            return None;
        }
        if !support::is_root(name) {
            return None;
        }
        sys::namespace::unshare(Namespaces::NETWORK).unwrap();
        sys::namespace::loopback_up().unwrap();
        let world = World::isolated(name)?;
        std::fs::create_dir(world.root().with_file_name("net.d")).unwrap();
        Some(Net { world })
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.world.root().with_file_name(name)
    }

    /// Writes the configuration: a bridge with addresses of 10.77.0.0/24, ports, a loopback, and what else is said.
    fn configure(&self, more: &[Value]) {
        let books = self.folder("ipam");
        let ipam = json!({
            "type": "host-local", "dataDir": books, "ranges": [[{"subnet": "10.77.0.0/24"}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        });
        let mut plugins = vec![
            json!({"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "ipam": ipam}),
            json!({"type": "portmap", "capabilities": {"portMappings": true}, "snat": true}),
            json!({"type": "loopback"}),
        ];
        plugins.extend_from_slice(more);
        let list = json!({"cniVersion": "1.0.0", "name": "testnet", "plugins": plugins});
        std::fs::write(self.folder("net.d").join("10-test.conflist"), list.to_string()).unwrap();
    }

    /// A plugin of the test's own, which lies beside the real ones.
    fn plugin(&self, name: &str, script: &str) {
        std::fs::create_dir_all(self.folder("bin")).unwrap();
        let path = self.folder("bin").join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.world.command(args);
        let folders: Vec<String> = [self.folder("bin").display().to_string()]
            .into_iter()
            .chain(runtime::cni::PLUGIN_FOLDERS.map(str::to_owned))
            .collect();
        command
            .env("RHIZOME_CNI_CONF_DIR", self.folder("net.d"))
            .env("CNI_PATH", folders.join(":"))
            .env("XTABLES_LOCKFILE", self.folder("xtables.lock"));
        command
    }

    fn run(&self, args: &[&str]) -> Ran {
        ran(self.command(args).output().unwrap())
    }

    fn ok(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.status, 0, "{args:?}: {ran:?}");
        ran.stdout
    }

    /// `run -d` of a manifest.
    fn start(&self, manifest: &str) -> Ran {
        let mut command = self.command(&["run", "--isolated", "-d", "-"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(manifest.as_bytes()).unwrap();
        ran(child.wait_with_output().unwrap())
    }

    fn started(&self, manifest: &str) {
        let ran = self.start(manifest);
        assert_eq!(ran.status, 0, "{ran:?}");
    }

    fn ip_of(&self, pod: &str) -> String {
        let shown: Value = serde_json::from_str(&self.ok(&["inspect", pod, "-o", "json"])).unwrap();
        let status = &shown["status"];
        assert_eq!(status["podIPs"], json!([{"ip": status["podIP"]}]), "{status}");
        status["podIP"].as_str().unwrap().to_owned()
    }

    /// The addresses that host-local has given away and not got back.
    fn leased(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder("ipam/testnet")).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut addresses: Vec<String> = names.filter(|name| name.starts_with("10.")).collect();
        addresses.sort();
        addresses
    }

    /// The rules of the namespace's NAT that are of a pod.
    fn rules(&self) -> Vec<String> {
        let mut command = Command::new("iptables");
        command.args(["-t", "nat", "-S"]).env("XTABLES_LOCKFILE", self.folder("xtables.lock"));
        let listed = ran(command.output().unwrap()).stdout;
        listed
            .lines()
            .filter(|line| line.contains("testnet") || line.contains("CNI-DN-"))
            .map(str::to_owned)
            .collect()
    }

    /// Nothing of a pod is anywhere: not with the plugins, not with us.
    fn assert_given_back(&self) {
        assert_eq!(self.leased(), [""; 0]);
        assert_eq!(self.rules(), [""; 0]);
        self.assert_forgotten();
    }

    fn assert_forgotten(&self) {
        let records = std::fs::read_dir(self.world.root().join("lib/networks")).into_iter().flatten();
        assert_eq!(records.count(), 0);
        self.world.assert_nothing_left();
    }
}

/// A pod that serves its name over HTTP.
fn server(name: &str, ports: &str) -> String {
    let script = "mkdir /www; echo \\\"I am $IP at $(tail -n 1 /etc/hosts)\\\" > /www/index.html; exec httpd -f -p 80 -h /www";
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: busybox
    command: [sh, -c, \"{script}\"]
    ports: [{{containerPort: 80{ports}}}]
    env: [{{name: IP, valueFrom: {{fieldRef: {{fieldPath: status.podIP}}}}}}]
---
"
    )
}

/// What a server says, from the namespace of the calling thread; waits until there is one.
fn get(address: &str) -> String {
    let address: SocketAddr = address.parse().unwrap();
    let until = Instant::now() + PATIENCE;
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.split("\r\n\r\n").nth(1).unwrap_or_default().trim().to_owned())
    };
    loop {
        match ask() {
            Ok(said) => return said,
            Err(error) => assert!(Instant::now() < until, "{address}: {error}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn kill(pid: u32) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL).unwrap();
}

#[test]
fn pods_have_addresses_and_give_them_back() {
    let Some(net) = Net::new("pods_have_addresses_and_give_them_back") else { return };
    net.configure(&[]);
    net.started(&(server("a", ", hostPort: 8088") + &server("b", "")));
    let (a, b) = (net.ip_of("a"), net.ip_of("b"));
    assert_eq!(net.leased(), {
        let mut both = vec![a.clone(), b.clone()];
        both.sort();
        both
    });
    let wide = net.ok(&["ps", "-o", "wide"]);
    assert!(wide.contains(&a) && wide.contains(&b), "{wide}");

    // From the host, from the other pod, and by the node's port.
    assert_eq!(get(&format!("{a}:80")), format!("I am {a} at {a}\ta"));
    assert_eq!(
        net.ok(&["exec", "b", "--", "wget", "-qO-", &format!("http://{a}/")]),
        format!("I am {a} at {a}\ta\n")
    );
    net.ok(&["exec", "a", "--", "ping", "-c", "1", &b]);
    assert_eq!(get("10.77.0.1:8088"), format!("I am {a} at {a}\ta"));
    net.ok(&["exec", "a", "--", "ping", "-c", "1", "127.0.0.1"]);

    // A pod that is stopped has none, one that is started again has one again.
    net.ok(&["stop", "a"]);
    assert_eq!(net.leased(), std::slice::from_ref(&b));
    let stopped: Value = serde_json::from_str(&net.ok(&["inspect", "a", "-o", "json"])).unwrap();
    assert_eq!(stopped["status"]["podIP"], Value::Null);
    net.ok(&["start", "a"]);
    let again = net.ip_of("a");
    assert_eq!(get("10.77.0.1:8088"), format!("I am {again} at {again}\ta"));
    assert!(net.rules().iter().any(|rule| rule.contains("--dport 8088")));
    net.ok(&["rm", "-f", "a", "b"]);
    net.assert_given_back();
}

#[test]
fn what_is_killed_gives_its_address_back_when_it_is_removed() {
    let Some(net) = Net::new("what_is_killed_gives_its_address_back_when_it_is_removed") else { return };
    net.configure(&[]);
    // The supervisor alone: what still runs is taken over with its network, which CHECK finds in order.
    net.started(&server("a", ", hostPort: 8088"));
    let ip = net.ip_of("a");
    let kill_supervisors = || net.world.supervisors().into_iter().for_each(kill);
    kill_supervisors();
    net.ok(&["start", "a"]);
    assert_eq!(get(&format!("{ip}:80")), format!("I am {ip} at {ip}\ta"));
    assert_eq!(net.ip_of("a"), ip);
    // Again, and now it is removed by who has no supervisor.
    kill_supervisors();
    net.ok(&["rm", "-f", "a"]);
    net.assert_given_back();

    // Stopped by who has none.
    net.started(&server("a", ""));
    kill_supervisors();
    net.ok(&["stop", "a"]);
    assert_eq!((net.leased(), net.rules()), (vec![], vec![]));
    net.ok(&["rm", "a"]);

    // And everything: the namespace is gone, and the plugins are called without one.
    net.started(&server("a", ", hostPort: 8088"));
    let pids = container_pids(&net);
    assert_eq!(pids.len(), 1);
    kill_supervisors();
    pids.into_iter().for_each(kill);
    net.ok(&["rm", "-f", "a"]);
    assert_eq!(net.leased(), [""; 0]);
    assert!(!net.rules().iter().any(|rule| rule.contains("8088")), "{:?}", net.rules());
    net.assert_forgotten();
}

/// The first processes of the root's containers, as the runtime has them on record.
fn container_pids(net: &Net) -> Vec<u32> {
    let folders = std::fs::read_dir(net.world.root().join("run/runtime")).unwrap().flatten();
    let texts = folders.filter_map(|folder| std::fs::read(folder.path().join("state.json")).ok());
    let pid =
        |text: Vec<u8>| serde_json::from_slice::<Value>(&text).ok()?["init"]["pid"].as_u64()?.try_into().ok();
    texts.filter_map(pid).collect()
}

#[test]
fn what_cannot_be_wired_is_undone_and_said() {
    let Some(net) = Net::new("what_cannot_be_wired_is_undone_and_said") else { return };
    let refused = |expected: &[&str]| {
        let ran = net.start(&server("a", ", hostPort: 8088"));
        assert_eq!(ran.status, 1, "{ran:?}");
        for words in expected {
            assert!(ran.stderr.contains(words), "{words}: {}", ran.stderr);
        }
        net.assert_given_back();
    };
    // Behind a bridge that was made, an address that was taken and a port that was mapped.
    net.plugin("refuse", r#"[ $CNI_COMMAND != ADD ] || { echo '{"code": 11, "msg": "not today", "details": "come again"}'; exit 1; }"#);
    net.configure(&[json!({"type": "refuse"})]);
    refused(&[
        "Failed to create pod sandbox: failed to setup network for sandbox \"",
        "plugin type=\"refuse\" name=\"testnet\" failed (add): not today; come again",
    ]);
    net.configure(&[json!({"type": "nosuch"})]);
    refused(&["failed to find plugin \"nosuch\" in path [", "/usr/lib/cni", "containernetworking-plugins"]);
    net.plugin("babble", "[ $CNI_COMMAND != ADD ] || echo Hello");
    net.configure(&[json!({"type": "babble"})]);
    refused(&["plugin type=\"babble\" name=\"testnet\" failed (add): its answer is no result", "Hello"]);
    std::fs::write(net.folder("net.d").join("05.conf"), "{\"cniVersion\": \"1.0.0\"").unwrap();
    refused(&["05.conf is not valid: EOF while parsing", "--cni-conf-dir none"]);
}

#[test]
fn a_plugin_that_does_not_give_back_keeps_the_pod_until_it_does() {
    let Some(net) = Net::new("a_plugin_that_does_not_give_back_keeps_the_pod_until_it_does") else { return };
    let keep = net.folder("keep");
    // It passes on what it got, as a plugin in a chain does, which is the only one that needs jq or the like: so the first.
    let script = format!(
        "case $CNI_COMMAND in ADD) echo '{{\"cniVersion\": \"1.0.0\", \"ips\": [{{\"address\": \"10.1.2.3/24\"}}]}}';; \
         DEL) [ ! -e {} ] || {{ echo '{{\"code\": 1, \"msg\": \"I keep it\"}}'; exit 1; }};; esac",
        keep.display()
    );
    net.plugin("miser", &script);
    let list = json!({"cniVersion": "0.3.1", "name": "testnet", "plugins": [{"type": "miser"}]});
    std::fs::write(net.folder("net.d").join("10.conflist"), list.to_string()).unwrap();
    net.started(&server("a", ", hostPort: 8088"));
    assert_eq!(net.ip_of("a"), "10.1.2.3");
    std::fs::write(&keep, "").unwrap();
    let kept = net.run(&["rm", "-f", "a"]);
    assert_eq!(kept.status, 2, "{kept:?}");
    assert!(
        kept.stderr.contains("plugin type=\"miser\" name=\"testnet\" failed (delete): I keep it"),
        "{kept:?}"
    );
    assert!(net.ok(&["ps", "-a"]).contains("a "));
    std::fs::remove_file(&keep).unwrap();
    net.ok(&["rm", "-f", "a"]);
    net.assert_given_back();
}

#[test]
fn without_a_configuration_a_pod_has_its_loopback() {
    let Some(net) = Net::new("without_a_configuration_a_pod_has_its_loopback") else { return };
    let ran = net.start(&server("a", ", hostPort: 8088"));
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(ran.stderr.contains("no port of the node leads to the pod"), "{ran:?}");
    let devices = net.ok(&["exec", "a", "--", "ls", "/sys/class/net"]);
    assert_eq!(devices, "lo\n");
    let shown: Value = serde_json::from_str(&net.ok(&["inspect", "a", "-o", "json"])).unwrap();
    assert_eq!(shown["status"]["podIP"], Value::Null);
    assert!(net.ok(&["exec", "a", "--", "cat", "/etc/hosts"]).ends_with("\n127.0.0.1\ta\n"));
    net.ok(&["rm", "-f", "a"]);
    net.assert_given_back();
}

#[test]
fn kubectl_shows_addresses_and_the_node_says_what_network_it_has() {
    let name = "kubectl_shows_addresses_and_the_node_says_what_network_it_has";
    let Some(program) = node::kubectl_program(name) else { return };
    let Some(net) = Net::new(name) else { return };
    net.configure(&[]);
    let mut command = net.command(&["node", "--isolated", "--listen", "127.0.0.1:0"]);
    let mut served = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(served.stdout.take().unwrap()), &mut line)
        .unwrap();
    let kubeconfig = line.trim().strip_prefix("ready: kubectl --kubeconfig ").unwrap().to_owned();
    let cache = net.folder("kubectl-cache").display().to_string();
    let kubectl = |args: &[&str]| {
        let mut command = Command::new(&program);
        command.args(["--kubeconfig", &kubeconfig, "--cache-dir", &cache]).args(args);
        let ran = ran(command.env_remove("KUBECONFIG").env("HOME", net.folder("home")).output().unwrap());
        assert_eq!(ran.status, 0, "kubectl {args:?}: {ran:?}");
        ran.stdout
    };
    let manifest = net.world.file("a.yaml", &server("a", ", hostPort: 8088"));
    kubectl(&["create", "-f", &manifest]);
    kubectl(&["wait", "--for=condition=Ready", "pod/a", "--timeout=60s"]);
    let ip = kubectl(&["get", "pod", "a", "-o", "jsonpath={.status.podIP}"]);
    assert!(ip.starts_with("10.77.0."), "{ip}");
    assert_eq!(
        kubectl(&["get", "pod", "a", "-o", "jsonpath={.status.podIPs}"]),
        format!("[{{\"ip\":\"{ip}\"}}]")
    );
    let wide = kubectl(&["get", "pods", "-o", "wide", "--no-headers"]);
    assert!(wide.split_whitespace().any(|word| word == ip), "{wide}");
    assert_eq!(get("10.77.0.1:8088"), format!("I am {ip} at {ip}\ta"));
    let condition = "jsonpath={.items[0].status.conditions[?(@.type=='NetworkUnavailable')].message}";
    assert_eq!(
        kubectl(&["get", "nodes", "-o", condition]),
        "pods are wired to network \"testnet\" by CNI plugins"
    );
    kubectl(&["delete", "pod", "a"]);
    assert_eq!((net.leased(), net.rules()), (vec![], vec![]));
    kill_process(Pid::from_child(&served), Signal::TERM).unwrap();
    served.wait().unwrap();
    net.assert_forgotten();
}
