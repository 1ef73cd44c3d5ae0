//! What the node costs, and how soon it answers: over its socket, with a client of our own that only writes requests and
//! looks for words in the answers.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::figures::{Bench, Figure};
use super::measure::{median, memory_of, run};

/// Pods that run at once.
const MANY: usize = 100;
/// Pods that are stored and listed; they name another node, so that nothing runs.
const STORED: usize = 1000;
/// How long the node is left alone, and then its processor time is counted.
const SETTLE: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_secs(30);
/// After so long something is wrong.
const PATIENCE: Duration = Duration::from_secs(120);

const PODS: &str = "/api/v1/namespaces/default/pods";

/// A running node.
struct Node {
    child: Child,
    socket: PathBuf,
}

impl Drop for Node {
    fn drop(&mut self) {
        // Killed, as by the kernel: what it runs goes on, and is removed by who made the root.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Node {
    fn connect(&self) -> Result<UnixStream> {
        let stream = UnixStream::connect(&self.socket).context("the node's socket")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// A request and its whole answer.
    fn ask(&self, method: &str, path: &str, body: &str) -> Result<String> {
        let mut stream = self.connect()?;
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        if !answer.starts_with("HTTP/1.1 20") {
            bail!("{method} {path}: {}", answer.lines().next().unwrap_or_default());
        }
        Ok(answer)
    }

    /// What becomes of the pods from now on, a line an event.
    fn watch(&self) -> Result<BufReader<UnixStream>> {
        let listed = self.ask("GET", &format!("{PODS}?limit=1"), "")?;
        let version = listed.split("\"resourceVersion\":\"").nth(1).and_then(|rest| rest.split('"').next());
        let version = version.context("the list has no version")?;
        let mut stream = self.connect()?;
        write!(stream, "GET {PODS}?watch=true&resourceVersion={version} HTTP/1.1\r\nHost: node\r\n\r\n")?;
        Ok(BufReader::new(stream))
    }

    fn create(&self, name: &str, node: &str) -> Result<()> {
        let spec = format!(
            "{{\"restartPolicy\":\"Never\",\"terminationGracePeriodSeconds\":0{node},\"containers\":[{{\"name\":\"main\",\"image\":\"docker.io/library/busybox:latest\",\"imagePullPolicy\":\"IfNotPresent\",\"command\":[\"sleep\",\"100000\"]}}]}}"
        );
        let pod = format!(
            "{{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{{\"name\":\"{name}\"}},\"spec\":{spec}}}"
        );
        self.ask("POST", PODS, &pod).map(drop)
    }

    /// User and system time of its process.
    fn cpu(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        // Hundredths of a second: USER_HZ is 100 on every architecture that we run on.
        Ok(Duration::from_millis((ticks(11) + ticks(12)) * 10))
    }

    fn running(&self) -> Result<usize> {
        Ok(self.ask("GET", PODS, "")?.matches("\"phase\":\"Running\"").count())
    }
}

/// Reads events until one has all the words.
fn until(watch: &mut BufReader<UnixStream>, words: &[&str]) -> Result<()> {
    let mut line = String::new();
    loop {
        line.clear();
        if watch.read_line(&mut line)? == 0 {
            bail!("the watch has ended before {words:?}");
        }
        if words.iter().all(|word| line.contains(word)) {
            return Ok(());
        }
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

impl Bench {
    fn start_node(&self) -> Result<Node> {
        let mut command = self.rhizome();
        command.args(["node", "--listen", "127.0.0.1:0"]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::null()).spawn().context("cannot start the node")?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no pipe")?).read_line(&mut line)?;
        let node = Node { child, socket: self.root().join("rhizome/run/node.sock") };
        if !line.starts_with("ready:") {
            bail!("the node did not begin: {line:?}");
        }
        Ok(node)
    }

    pub(super) fn api(&mut self) -> Result<Vec<Figure>> {
        let node = self.start_node()?;
        let created = self.create_until_running(&node)?;
        let all = hundred_at_once(&node)?;
        std::thread::sleep(SETTLE);
        let before = node.cpu()?;
        std::thread::sleep(IDLE);
        let idle = (node.cpu()?.saturating_sub(before)).as_secs_f64() / IDLE.as_secs_f64() * 100.0;
        let memory = memory_of(node.child.id())?;
        drop(node);
        let begun = Instant::now();
        let node = self.start_node()?;
        let ready = ms(begun.elapsed());
        while node.running()? < MANY {
            if begun.elapsed() > PATIENCE {
                bail!("the node does not find its pods again");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let found = ms(begun.elapsed());
        delete_all(&node)?;
        let (listed, bytes) = self.list_many(&node)?;
        drop(node);
        let mut starts = vec![("rhizome: POST until the watch says Running".to_owned(), vec![created])];
        if let Some(podman) = self.podman() {
            let manifest = self.manifest("bench", "")?;
            let took = self.repeat(|| podman.play(&manifest), || podman.remove("bench"))?;
            starts.push(("podman play kube".to_owned(), vec![took]));
        }
        if let Some(containerd) = self.containerd() {
            let took = self.repeat(|| containerd.begin("bench"), || containerd.remove("bench"))?;
            starts.push(("containerd: ctr run".to_owned(), vec![took]));
        }
        let row = |name: &str, value: f64, asked: f64| (name.to_owned(), vec![value, asked]);
        Ok(vec![
            Figure {
                title: "The node: a pod created through the API",
                about: "From the request until a watch that was open before tells that the pod is Running; one container \
                        (`sleep`), the image there. podman and containerd's `ctr` (one container, no pod): until the command has \
                        returned."
                    .to_owned(),
                columns: vec!["wall ms"],
                rows: starts,
                drawn: Some(0),
            },
            Figure {
                title: "The node",
                about: format!(
                    "With one client at a time over its socket. {MANY} pods: created one request after the other, until the \
                     last is Running; memory and processor time of the node's own process while they run and nobody asks, over {} s; \
                     the node killed (SIGKILL) and started again, until it is ready and until it has found all of them running. {STORED} \
                     pods of another node, which are only stored: a list of {} KiB.",
                    IDLE.as_secs(),
                    bytes / 1024
                ),
                columns: vec!["measured", "asked for"],
                rows: vec![
                    row("100 pods Running, ms", all, 5000.0),
                    row("list of 1,000 pods, ms", listed, 20.0),
                    row("resident with 100 pods, MiB", memory.resident_kib / 1024.0, 30.0),
                    row("idle with 100 pods, % of a processor", idle, 0.1),
                    row("restart with 100 pods until ready, ms", ready, 1000.0),
                    row("restart with 100 pods until all are found, ms", found, 1000.0),
                ],
                drawn: None,
            },
        ])
    }

    /// How long a command takes whose work another undoes, in milliseconds; the first time is for nothing.
    fn repeat(&self, begin: impl Fn() -> Command, undo: impl Fn() -> Command) -> Result<f64> {
        let mut took = Vec::new();
        for round in 0..=self.rounds() {
            let begun = run(&mut begin())?;
            run(&mut undo())?;
            took.extend((round > 0).then_some(begun.wall_ms));
        }
        Ok(median(&took))
    }

    fn create_until_running(&self, node: &Node) -> Result<f64> {
        let mut took = Vec::new();
        for round in 0..=self.rounds() {
            let name = format!("bench-node-{round}");
            let quoted = format!("\"name\":\"{name}\"");
            let mut watch = node.watch()?;
            let begun = Instant::now();
            node.create(&name, "")?;
            until(&mut watch, &[&quoted, "\"phase\":\"Running\""])?;
            // The first is for nothing.
            took.extend((round > 0).then(|| ms(begun.elapsed())));
            node.ask("DELETE", &format!("{PODS}/{name}?gracePeriodSeconds=0"), "")?;
            until(&mut watch, &[&quoted, "\"type\":\"DELETED\""])?;
        }
        Ok(median(&took))
    }

    /// How long a list of many takes, and how long it is.
    fn list_many(&self, node: &Node) -> Result<(f64, usize)> {
        for n in 0..STORED {
            node.create(&format!("stored-{n}"), ",\"nodeName\":\"another\"")?;
        }
        let (mut took, mut bytes) = (Vec::new(), 0);
        for round in 0..=self.rounds() {
            let begun = Instant::now();
            bytes = node.ask("GET", PODS, "")?.len();
            took.extend((round > 0).then(|| ms(begun.elapsed())));
        }
        delete_all(node)?;
        Ok((median(&took), bytes))
    }
}

fn hundred_at_once(node: &Node) -> Result<f64> {
    let begun = Instant::now();
    for n in 0..MANY {
        node.create(&format!("bench-node-many-{n}"), "")?;
    }
    while node.running()? < MANY {
        if begun.elapsed() > PATIENCE {
            bail!("{} of {MANY} pods run", node.running()?);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(ms(begun.elapsed()))
}

fn delete_all(node: &Node) -> Result<()> {
    node.ask("DELETE", &format!("{PODS}?gracePeriodSeconds=0"), "")?;
    let begun = Instant::now();
    while !node.ask("GET", &format!("{PODS}?limit=1"), "")?.contains("\"items\":[]") {
        if begun.elapsed() > PATIENCE {
            bail!("the pods do not go");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
