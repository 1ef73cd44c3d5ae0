//! What clients of the node send besides objects: evictions, and all that a server must bear.

#[path = "support/node.rs"]
mod node;
mod support;
#[path = "support/world.rs"]
mod world;

use node::{Node, PATIENCE, columns};
use rustix::process::Signal;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

fn sleeper(name: &str, more: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{terminationGracePeriodSeconds: 0, containers: [{{name: main, image: busybox, command: [sleep, '1000']}}]{more}}}\n"
    )
}

#[test]
fn a_drained_node_takes_no_pods_until_it_is_uncordoned() {
    let Some(mut node) = Node::start("a_drained_node_takes_no_pods_until_it_is_uncordoned") else { return };
    let create = |node: &Node, name: &str, more: &str| {
        node.with_input(&["create", "-f", "-"], sleeper(name, more).as_bytes());
    };
    create(&node, "first", "");
    node.wait_ready(&["first"]);
    let name = node.ok(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"]);
    let drained = node.kubectl(&["drain", &name, "--force"]);
    assert_eq!(drained.status, 0, "{drained:?}");
    let expected =
        format!("node/{name} cordoned\nevicting pod default/first\npod/first evicted\nnode/{name} drained\n");
    assert_eq!(drained.stdout, expected, "{drained:?}");
    create(&node, "later", "");
    create(&node, "tolerant", ", tolerations: [{key: node.kubernetes.io/unschedulable, operator: Exists}]");
    node.wait_ready(&["tolerant"]);
    node.until(&["get", "pod", "later", "-o", "jsonpath={.status.conditions[0].message}"], |text| {
        text.starts_with("0/1 nodes are available: 1 node(s) were unschedulable. ")
    });
    // What waits is changed and outlives the node: it was never anybody's.
    node.ok(&["label", "pod", "later", "a=b"]);
    node.end(Signal::KILL);
    node.run();
    assert_eq!(
        columns(&node.ok(&["get", "pods", "--no-headers"])),
        "later 0/1 Pending 0 AGE\ntolerant 1/1 Running 0 AGE\n"
    );
    node.ok(&["uncordon", &name]);
    node.wait_ready(&["later"]);
    let evict = |pod: &str, body: &str| {
        let path = format!("/api/v1/namespaces/default/pods/{pod}/eviction");
        node.request("POST", &path, "Content-Type: application/json\r\n", body.as_bytes())
    };
    let of = |pod: &str, more: &str| {
        format!(
            "{{\"apiVersion\": \"policy/v1\", \"kind\": \"Eviction\", \"metadata\": {{\"name\": \"{pod}\"}}{more}}}"
        )
    };
    assert_eq!(evict("later", &of("other", "")).0, 400);
    assert_eq!(evict("nosuch", &of("nosuch", "")).0, 404);
    assert_eq!(
        evict("later", &of("later", ", \"deleteOptions\": {\"preconditions\": {\"uid\": \"x\"}}")).0,
        409
    );
    assert_eq!(evict("later", &of("later", ", \"deleteOptions\": {\"dryRun\": [\"All\"]}")).0, 201);
    node.wait_ready(&["later"]);
    assert_eq!(evict("later", &of("later", "")).0, 201);
    node.until(&["get", "pods", "-o", "name"], |text| text == "pod/tolerant\n");
}

#[test]
fn a_pod_may_name_this_node_and_waits_for_ever_for_another() {
    let Some(node) = Node::start("a_pod_may_name_this_node_and_waits_for_ever_for_another") else { return };
    let name = node.ok(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"]);
    for (pod, of) in [("here", name.as_str()), ("there", "elsewhere")] {
        node.with_input(&["create", "-f", "-"], sleeper(pod, &format!(", nodeName: {of}")).as_bytes());
    }
    node.wait_ready(&["here"]);
    assert_eq!(
        columns(&node.ok(&["get", "pods", "--no-headers"])),
        "here 1/1 Running 0 AGE\nthere 0/1 Pending 0 AGE\n"
    );
    node.ok(&["delete", "pods", "--all"]);
}

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const JSON: &str = "Content-Type: application/json\r\n";

fn connect(node: &Node) -> UnixStream {
    let stream = UnixStream::connect(node.world.root().join("run/node.sock")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// The node's memory now, in KiB.
fn memory(node: &Node) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Who says nothing, or not all, is sent away in time, and holds nobody up meanwhile.
#[test]
fn connections_that_are_half_open_are_closed() {
    let Some(node) = Node::start("connections_that_are_half_open_are_closed") else { return };
    let begun = Instant::now();
    let mut half: Vec<(UnixStream, &str)> = Vec::new();
    for said in ["", "GET /api/v1/pods HTTP/1.1\r\nHost:", "GET / HTTP/1.1\r\nHost: x\r\n"] {
        for _ in 0..100 {
            let mut stream = connect(&node);
            stream.write_all(said.as_bytes()).unwrap();
            half.push((stream, said));
        }
    }
    // The body of this one does not come.
    let mut body = connect(&node);
    let head = format!("POST {CONFIG_MAPS} HTTP/1.1\r\nHost: x\r\n{JSON}Content-Length: 10\r\n\r\n{{");
    body.write_all(head.as_bytes()).unwrap();
    assert_eq!(node.request("GET", "/readyz", "", b"").0, 200);
    assert!(begun.elapsed() < Duration::from_secs(25), "others are answered meanwhile");
    for (mut stream, said) in half {
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        assert!(read.is_ok(), "{said:?} is still open after {:?}: {read:?}", begun.elapsed());
    }
    let mut answer = String::new();
    body.set_read_timeout(Some(PATIENCE * 2)).unwrap();
    let _ = body.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("did not come in time"), "{answer:?}");
}

#[test]
fn a_thousand_watches_are_told_and_cost_little() {
    const WATCHES: usize = 1000;
    let Some(node) = Node::start("a_thousand_watches_are_told_and_cost_little") else { return };
    let rustix::process::Rlimit { maximum, .. } =
        rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let enough = rustix::process::Rlimit { current: Some(4096), maximum };
    if rustix::process::setrlimit(rustix::process::Resource::Nofile, enough).is_err() {
        return support::skipped("a_thousand_watches_are_told_and_cost_little", "not enough descriptors");
    }
    let before = memory(&node);
    let mut watches: Vec<UnixStream> = (0..WATCHES).map(|_| connect(&node)).collect();
    for stream in &mut watches {
        let head = format!("GET {CONFIG_MAPS}?watch=true&resourceVersion=0 HTTP/1.1\r\nHost: x\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
    }
    let open = |node: &Node| {
        let (_, metrics) = node.request("GET", "/metrics", "", b"");
        metrics
            .lines()
            .any(|line| line.starts_with("rhizome_watch") && line.ends_with(&format!(" {WATCHES}")))
    };
    let deadline = Instant::now() + PATIENCE;
    while !open(&node) {
        assert!(Instant::now() < deadline, "{:?}", node.request("GET", "/metrics", "", b""));
        std::thread::sleep(Duration::from_millis(100));
    }
    let grown = memory(&node).saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB for {WATCHES} watches");
    node.ok(&["create", "configmap", "news"]);
    for stream in &mut watches {
        let (mut text, mut chunk) = (Vec::new(), [0; 4096]);
        while !text.windows(6).any(|window| window == b"\"news\"") {
            let count = stream.read(&mut chunk).unwrap();
            assert!(count > 0, "{}", String::from_utf8_lossy(&text));
            text.extend_from_slice(&chunk[..count]);
        }
    }
}

/// Watches whose clients do not read hold nobody up, cost what a buffer holds, and lose their connection; a client that comes
/// back with what it knew last is told that this is too old.
#[test]
fn clients_that_do_not_read_are_sent_away() {
    const SLOW: usize = 50;
    let Some(node) = Node::start("clients_that_do_not_read_are_sent_away") else { return };
    node.ok(&["create", "configmap", "news"]);
    let version = node.ok(&["get", "configmap", "news", "-o", "jsonpath={.metadata.resourceVersion}"]);
    let path = format!("{CONFIG_MAPS}?watch=true&resourceVersion={version}");
    let open = || {
        let mut stream = connect(&node);
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
        stream
    };
    let mut slow: Vec<UnixStream> = (0..SLOW).map(|_| open()).collect();
    let mut quick = open();
    let reader = std::thread::spawn(move || {
        let (mut count, mut chunk) = (0, vec![0; 64 << 10]);
        let mut last = Vec::new();
        while !last.windows(12).any(|window| window == b"\"the-last-of") {
            let read = quick.read(&mut chunk).unwrap();
            assert!(read > 0, "a client that reads was sent away after {count} bytes");
            count += read;
            // A word may be cut in two.
            last.drain(..last.len().saturating_sub(16));
            last.extend_from_slice(&chunk[..read]);
        }
        count
    });
    let watches = |node: &Node| {
        let (_, metrics) = node.request("GET", "/metrics", "", b"");
        let line = metrics.lines().find(|line| line.starts_with("rhizome_watches ")).unwrap_or_default();
        line.rsplit(' ').next().and_then(|number| number.parse::<usize>().ok())
    };
    let deadline = Instant::now() + PATIENCE;
    while watches(&node) != Some(SLOW + 1) {
        assert!(Instant::now() < deadline, "{:?}", node.request("GET", "/metrics", "", b""));
        std::thread::sleep(Duration::from_millis(100));
    }

    // 150 MiB of news, which nobody of the slow ones takes.
    let before = memory(&node);
    let news = "n".repeat(512 << 10);
    let begun = Instant::now();
    for number in 0..300 {
        let key = if number == 299 { "the-last-of" } else { "news" };
        let body = format!(
            "{{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{{\"name\":\"news\"}},\"data\":{{\"{key}\":\"{number}{news}\"}}}}"
        );
        let (code, answer) = node.request("PUT", &format!("{CONFIG_MAPS}/news"), JSON, body.as_bytes());
        assert_eq!(code, 200, "{answer:.200}");
    }
    assert!(reader.join().unwrap() > 100 << 20);
    let grown = memory(&node).saturating_sub(before);
    assert!(
        grown < 128 * 1024,
        "{grown} KiB for {SLOW} clients that do not read, after {:?}",
        begun.elapsed()
    );

    // They are sent away: what comes is what was in the buffers, and then no end in order.
    let deadline = Instant::now() + PATIENCE * 2;
    while watches(&node) != Some(0) {
        assert!(Instant::now() < deadline, "{:?} watches after {:?}", watches(&node), begun.elapsed());
        std::thread::sleep(Duration::from_millis(200));
        // The quick one has gone; its watch ends with the next news at the latest.
        node.ok(&[
            "label",
            "configmap",
            "news",
            "--overwrite",
            &format!("at=t{}", begun.elapsed().as_millis()),
        ]);
    }
    for stream in &mut slow {
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        assert!(said.len() < 16 << 20 && !said.ends_with(b"0\r\n\r\n"), "{} bytes", said.len());
    }
    let (code, told) = node.request("GET", &path, "", b"");
    assert_eq!(code, 200);
    assert!(
        told.contains("\"ERROR\"")
            && told.contains("\"code\":410")
            && told.contains("too old resource version"),
        "{told:.400}"
    );
    // What the allocator has free it gives back once nothing changes any more.
    let deadline = Instant::now() + PATIENCE;
    while memory(&node).saturating_sub(before) >= 64 * 1024 {
        let stay = memory(&node).saturating_sub(before);
        assert!(Instant::now() < deadline, "{stay} KiB stay");
        std::thread::sleep(Duration::from_millis(200));
    }
}
