//! Clients that have been let in and speak SPDY as nobody should: the node answers others meanwhile, and has no more memory
//! and no more descriptors afterwards than before.

#[path = "support/node.rs"]
mod node;
mod support;
#[path = "support/world.rs"]
mod world;

use node::{Node, PATIENCE};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

const FORWARD: &str = "portforward";
const EXEC: &str = "exec?command=cat&command=/dev/zero&stdout=true";
const SLEEP: &str = "exec?command=sleep&command=100&stdout=true";

const SYN_STREAM: u8 = 1;
const RST_STREAM: u8 = 3;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 9;

/// A connection that has become SPDY.
struct Client {
    stream: UnixStream,
    /// Whether zlib has begun.
    begun: bool,
    /// What has come of a frame that is not whole yet.
    rest: Vec<u8>,
}

impl Client {
    fn open(node: &Node, part: &str) -> Client {
        let mut stream = UnixStream::connect(node.world.root().join("run/node.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
        let protocol = if part == FORWARD { "portforward.k8s.io" } else { "v4.channel.k8s.io" };
        let head = format!(
            "POST /api/v1/namespaces/default/pods/bb/{part} HTTP/1.1\r\nHost: node\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: {protocol}\r\nContent-Length: 0\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            assert_eq!(stream.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&answer));
            answer.push(byte[0]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
        Client { stream, begun: false, rest: Vec::new() }
    }

    /// Sends bytes; whether the node took them.
    fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// A new stream, its headers stored and not compressed.
    fn syn_stream(&mut self, stream: u32, headers: &[(&str, &str)]) -> Vec<u8> {
        let mut block = (headers.len() as u32).to_be_bytes().to_vec();
        for text in headers.iter().flat_map(|(name, value)| [name, value]) {
            block.extend_from_slice(&(text.len() as u32).to_be_bytes());
            block.extend_from_slice(text.as_bytes());
        }
        let mut payload = stream.to_be_bytes().to_vec();
        payload.extend_from_slice(&[0; 6]);
        if !std::mem::replace(&mut self.begun, true) {
            payload.extend_from_slice(&[0x78, 0x01]);
        }
        for piece in [&block[..], &[]] {
            let length = u16::try_from(piece.len()).unwrap();
            payload.push(0);
            payload.extend_from_slice(&length.to_le_bytes());
            payload.extend_from_slice(&(!length).to_le_bytes());
            payload.extend_from_slice(piece);
        }
        control(SYN_STREAM, &payload)
    }

    /// The kinds of all control frames that come until the node has gone, or says nothing more for a while.
    fn frames(&mut self, quiet: Duration) -> Vec<u8> {
        self.stream.set_read_timeout(Some(quiet)).unwrap();
        let mut bytes = std::mem::take(&mut self.rest);
        let mut chunk = vec![0; 64 << 10];
        while let Ok(count @ 1..) = self.stream.read(&mut chunk) {
            bytes.extend_from_slice(&chunk[..count]);
        }
        let (mut rest, mut kinds) = (bytes.as_slice(), Vec::new());
        while let [a, _, _, kind, _, b, c, d, ..] = *rest {
            let length = u32::from_be_bytes([0, b, c, d]) as usize;
            let Some(after) = rest.get(8 + length..) else { break };
            if a & 0x80 != 0 {
                kinds.push(kind);
            }
            rest = after;
        }
        self.rest = rest.to_vec();
        kinds
    }
}

fn control(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80, 3, 0, kind, 0];
    frame.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes()[1..]);
    frame.extend_from_slice(payload);
    frame
}

fn words(numbers: [u32; 2]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

fn forward_headers(kind: &str) -> [(&str, &str); 3] {
    [("streamtype", kind), ("port", "81"), ("requestid", "0")]
}

fn most_memory(node: &Node) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn descriptors(node: &Node) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", node.pid())).unwrap().count()
}

/// Numbers that are the same in every run (SplitMix64).
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (z ^ (z >> 27)) as u8
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

#[test]
fn no_client_makes_the_node_fall_or_grow() {
    let Some(node) = Node::start("no_client_makes_the_node_fall_or_grow") else { return };
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: bb}\nspec: {terminationGracePeriodSeconds: 0, containers: [{name: main, image: busybox, command: [sleep, '10000']}]}\n";
    assert_eq!(node.with_input(&["create", "-f", "-"], pod.as_bytes()).stdout, "pod/bb created\n");
    node.wait_ready(&["bb"]);
    let (memory, open) = (most_memory(&node), descriptors(&node));
    let well = |what: &str| {
        assert_eq!(node.request("GET", "/readyz", "", b""), (200, "ok".to_owned()), "{what}");
    };
    for part in [FORWARD, EXEC] {
        for seed in 0..20 {
            let mut client = Client::open(&node, part);
            client.send(&noise(seed, 64 << 10));
        }
        well("noise");
        // What can only be an error is told, and nothing is read after it.
        for (what, frame) in [
            ("a frame of 16 MiB", vec![0x80, 3, 0, SYN_STREAM, 0, 0xff, 0xff, 0xff]),
            ("version 2", vec![0x80, 2, 0, SYN_STREAM, 0, 0, 0, 10]),
            (
                "a header block that is none",
                control(SYN_STREAM, &[[0, 0, 0, 1].as_slice(), &[0; 6], &[0xff; 40]].concat()),
            ),
            ("a window that overflows", control(WINDOW_UPDATE, &words([0, 0x7fff_ffff]))),
        ] {
            let mut client = Client::open(&node, part);
            client.send(&frame);
            assert_eq!(client.frames(PATIENCE), [GOAWAY], "{what}");
        }
        let mut again = Client::open(&node, part);
        let twice = [again.syn_stream(3, &[]), again.syn_stream(3, &[])].concat();
        again.send(&twice);
        assert!(again.frames(PATIENCE).contains(&GOAWAY));
        well("errors");
        // More headers than are taken.
        let mut long = Client::open(&node, part);
        let frame = long.syn_stream(1, &[("x", &"y".repeat(60_000))]);
        long.send(&frame);
        assert_eq!(long.frames(PATIENCE), [GOAWAY]);
    }
    // Ten thousand streams, of which most are refused.
    let mut many = Client::open(&node, FORWARD);
    let mut refused = 0;
    for batch in 0..100 {
        let streams: Vec<u8> = (0..100)
            .flat_map(|number| many.syn_stream((batch * 100 + number) * 2 + 1, &forward_headers("other")))
            .collect();
        many.send(&streams);
        refused +=
            many.frames(Duration::from_millis(20)).into_iter().filter(|kind| *kind == RST_STREAM).count();
    }
    refused += many.frames(Duration::from_secs(5)).into_iter().filter(|kind| *kind == RST_STREAM).count();
    assert_eq!(refused, 10_000);
    drop(many);
    // As many opened and taken back, where nobody accepts them; then pings whose answers nobody reads.
    let mut taken_back = Client::open(&node, SLEEP);
    for kind in ["error", "stdout"] {
        let number = if kind == "error" { 1 } else { 3 };
        let stream = taken_back.syn_stream(number, &[("streamtype", kind)]);
        taken_back.send(&stream);
    }
    for number in 2..20_000 {
        let stream = taken_back.syn_stream(number * 2 + 1, &[("streamtype", "stdin")]);
        if !taken_back.send(&[stream, control(RST_STREAM, &words([number * 2 + 1, 5]))].concat()) {
            break;
        }
    }
    let pings: Vec<u8> = (0..10_000).flat_map(|_| control(PING, &1u32.to_be_bytes())).collect();
    while taken_back.send(&pings) {}
    well("pings");
    drop(taken_back);
    // Data that nobody takes: it stops in the kernel.
    let mut flood = Client::open(&node, EXEC);
    let mut data = vec![0, 0, 0, 9, 0, 0, 0xff, 0xff];
    data.extend(std::iter::repeat_n(0, 0xffff));
    let stream = flood.syn_stream(9, &[("streamtype", "error")]);
    flood.send(&stream);
    let begun = Instant::now();
    while flood.send(&data) && begun.elapsed() < PATIENCE {}
    assert!(begun.elapsed() < PATIENCE, "it takes whatever is sent");
    well("data");
    drop(flood);
    // Clients that only begin.
    let silent: Vec<Client> = (0..200).map(|_| Client::open(&node, FORWARD)).collect();
    well("silence");
    drop(silent);
    let deadline = Instant::now() + PATIENCE;
    while descriptors(&node) > open + 8 {
        assert!(Instant::now() < deadline, "{open} descriptors before, {} after", descriptors(&node));
        std::thread::sleep(Duration::from_millis(100));
    }
    let after = most_memory(&node);
    assert!(after < memory + 32 * 1024, "{memory} KiB before, {after} KiB after");
    assert_eq!(node.ok(&["exec", "bb", "--", "echo", "well"]), "well\n");
}
