//! Who gets in to the node, and how; and clients of another make than kubectl.

#[path = "support/node.rs"]
mod node;
mod support;
#[path = "support/world.rs"]
mod world;

use node::Node;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// `HOST:PORT` of the node's API.
fn address(node: &Node) -> String {
    let config = std::fs::read_to_string(&node.kubeconfig).unwrap();
    let server = config.lines().find_map(|line| line.trim().strip_prefix("server: https://"));
    server.unwrap().to_owned()
}

#[test]
fn every_path_is_closed_to_who_shows_nothing() {
    let name = "every_path_is_closed_to_who_shows_nothing";
    if !is_there("curl") {
        return support::skipped(name, "no curl");
    }
    let Some(node) = Node::start(name) else { return };
    let address = address(&node);
    let pod = "/api/v1/namespaces/default/pods/a";
    let mut paths: Vec<String> =
        ["", "/exec", "/attach", "/log", "/portforward", "/ephemeralcontainers", "/eviction", "/status"]
            .iter()
            .map(|part| format!("{pod}{part}"))
            .collect();
    let others = [
        "/",
        "/api",
        "/apis",
        "/api/v1",
        "/api/v1/secrets",
        "/healthz",
        "/readyz",
        "/livez",
        "/metrics",
        "/version",
        "/openapi/v3",
        "/openapi/v2",
        "/nosuch",
        "/../x",
        "/%2e%2e",
    ];
    paths.extend(others.map(str::to_owned));
    for path in &paths {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "NONSENSE"] {
            let mut curl = Command::new("curl");
            curl.args(["-sk", "--path-as-is", "-o", "/dev/null", "-w", "%{http_code}", "-X", method]);
            curl.args([
                "-H",
                "Authorization: Bearer guess",
                "-H",
                "X-Remote-User: root",
                "-H",
                "X-Forwarded-For: 127.0.0.1",
            ]);
            let ran = support::ran(curl.arg(format!("https://{address}{path}")).output().unwrap());
            assert_eq!(ran.stdout, "401", "{method} {path}");
        }
    }
    // A certificate that somebody else has made is no better: the handshake does not even end.
    let folder = node.world.root().with_file_name("stranger");
    std::fs::create_dir_all(&folder).unwrap();
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/O=system:masters/CN=admin",
            "-keyout",
            "key",
            "-out",
            "cert",
        ])
        .current_dir(&folder)
        .stderr(Stdio::null())
        .status();
    if made.is_ok_and(|status| status.success()) {
        let mut curl = Command::new("curl");
        curl.args(["-sk", "-o", "/dev/null", "-w", "%{http_code}", "--cert", "cert", "--key", "key"]);
        let ran =
            support::ran(curl.arg(format!("https://{address}/api")).current_dir(&folder).output().unwrap());
        assert!(["000", "401"].contains(&ran.stdout.as_str()), "{ran:?}");
    }
}

#[test]
fn old_versions_of_tls_are_refused() {
    let name = "old_versions_of_tls_are_refused";
    if !is_there("openssl") {
        return support::skipped(name, "no openssl");
    }
    let Some(node) = Node::start(name) else { return };
    let shake = |version: &str| {
        let mut openssl = Command::new("openssl");
        openssl.args(["s_client", "-connect", &address(&node), version, "-cipher", "ALL:@SECLEVEL=0"]);
        let ran =
            openssl.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
        let text = String::from_utf8_lossy(&ran.stdout).into_owned();
        text.lines().any(|line| line.starts_with("New, TLSv1") && !line.contains("NONE"))
    };
    assert!(shake("-tls1_2") && shake("-tls1_3"));
    assert!(!shake("-tls1_1") && !shake("-tls1"));
}

#[test]
fn another_user_reads_no_keys_and_reaches_no_socket() {
    let name = "another_user_reads_no_keys_and_reaches_no_socket";
    if !is_there("setpriv") || !is_there("curl") {
        return support::skipped(name, "no setpriv or no curl");
    }
    let Some(node) = Node::start(name) else { return };
    // The test's own folder would keep everybody out: only the node's own modes are to count.
    let root = node.world.root();
    std::fs::set_permissions(root.parent().unwrap(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let root = root.display();
    let as_nobody = |script: &str| {
        let script = script.replace('\'', "'\\''");
        node.world.on_host(&format!("setpriv --reuid 65534 --regid 65534 --clear-groups sh -c '{script}'"))
    };
    assert_eq!(as_nobody("id -u").stdout, "65534\n");
    assert_eq!(as_nobody(&format!("cd {root}/.. && echo there")).stdout, "there\n");
    for file in ["kubeconfig", "authority.key", "authority.crt", "journal"] {
        assert!(node.world.on_host(&format!("test -s {root}/lib/node/{file}")).status == 0, "{file}");
        let read = as_nobody(&format!("cat {root}/lib/node/{file}"));
        assert_ne!(read.status, 0, "{file}: {read:?}");
    }
    let asked = |uid: &str| {
        format!("curl -s -o /dev/null -w %{{http_code}} --unix-socket {root}/run/node.sock http://node/{uid}")
    };
    assert_eq!(node.world.on_host(&asked("readyz")).stdout, "200");
    assert_eq!(as_nobody(&asked("readyz")).stdout, "000");
    let listed = as_nobody(&format!("find {root}/lib {root}/run -type f -readable 2>/dev/null"));
    assert_eq!(listed.stdout, "", "readable by others");
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    let name = "systemd_finds_nothing_wrong_with_the_unit";
    let unit =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../dist/rhizome-node.service"))
            .unwrap();
    for line in ["Type=notify", "Delegate=yes", "KillMode=process", "PrivateMounts=no"] {
        assert!(unit.lines().any(|found| found == line), "{line}");
    }
    assert!(
        !unit.contains("Protect") && !unit.contains("PrivateTmp"),
        "each of these makes a mount namespace"
    );
    if !is_there("systemd-analyze") {
        return support::skipped(name, "no systemd-analyze");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rhizome-node.service");
    std::fs::write(&path, unit.replace("/usr/local/bin/rhizome", env!("CARGO_BIN_EXE_rhizome"))).unwrap();
    let ran = support::ran(
        Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path).output().unwrap(),
    );
    let about = ran.stderr.lines().filter(|line| line.contains("rhizome-node")).collect::<Vec<_>>();
    assert!(about.is_empty(), "{about:?}");
}

/// What Python's client does, as a program of its user.
const PROGRAM: &str = r#"
import faulthandler, sys
faulthandler.dump_traceback_later(150, exit=True)
from kubernetes import client, config, watch
from kubernetes.stream import stream
config.load_kube_config(sys.argv[1])
api = client.CoreV1Api()
print("nodes", len(api.list_node().items))
seen = api.list_namespaced_pod("default").metadata.resource_version
pod = {"metadata": {"name": "py", "labels": {"made": "by-python"}}, "spec": {"terminationGracePeriodSeconds": 0,
    "containers": [{"name": "main", "image": "busybox", "command": ["sleep", "1000"]}]}}
made = api.create_namespaced_pod("default", pod)
print("made", made.metadata.name, made.spec.restart_policy)
kinds, phase = [], None
for event in watch.Watch().stream(api.list_namespaced_pod, "default", resource_version=seen, timeout_seconds=60):
    kinds.append(event["type"])
    phase = event["object"].status.phase
    if phase == "Running":
        break
print("watched", kinds[0], phase)
run = lambda **more: stream(api.connect_get_namespaced_pod_exec, "py", "default", stderr=True, stdout=True, tty=False, **more)
print("exec", run(command=["echo", "hello"], stdin=False).strip())
patched = api.patch_namespaced_pod("py", "default", {"metadata": {"labels": {"more": "x"}}})
print("patched", sorted(patched.metadata.labels))
selected = api.list_namespaced_pod("default", label_selector="more=x", limit=1)
print("selected", [pod.metadata.name for pod in selected.items])
try:
    api.create_namespaced_pod("default", pod)
except client.ApiException as error:
    print("refused", error.status, error.reason)
api.delete_namespaced_pod("py", "default")
for event in watch.Watch().stream(api.list_namespaced_pod, "default", resource_version=seen, timeout_seconds=60):
    if event["type"] == "DELETED":
        print("deleted", event["object"].metadata.name)
        break
"#;

#[test]
fn pythons_client_lists_watches_creates_and_executes() {
    let name = "pythons_client_lists_watches_creates_and_executes";
    let Some(library) = std::env::var_os("RHIZOME_TEST_PYTHON_CLIENT") else {
        return support::skipped(
            name,
            "no RHIZOME_TEST_PYTHON_CLIENT; cargo xtask test gets Python's client",
        );
    };
    let Some(node) = Node::start(name) else { return };
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", library).env("HOME", node.world.root()).args([
        "-u",
        "-c",
        PROGRAM,
        &node.kubeconfig,
    ]);
    let ran = support::ran(python.stdin(Stdio::null()).output().unwrap());
    let expected = "nodes 1
made py Always
watched ADDED Running
exec hello
patched ['made', 'more']
selected ['py']
refused 409 Conflict
deleted py
";
    assert_eq!((ran.status, ran.stdout.as_str()), (0, expected), "{}", ran.stderr);
}
