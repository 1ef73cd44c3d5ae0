//! A node of its own with mounts of its own, and the real kubectl that talks to it.
#![allow(dead_code, unreachable_pub, missing_docs)]

use crate::support::{Ran, images, ran, skipped};
use crate::world::World;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take on a machine that is busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The kubectl that `cargo xtask test` provides, else the one in `PATH`.
pub fn kubectl_program(name: &str) -> Option<PathBuf> {
    let provided = std::env::var_os("RHIZOME_TEST_KUBECTL").map(PathBuf::from);
    let found = provided.or_else(|| {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|folder| folder.join("kubectl")).find(|file| file.is_file())
    });
    if found.is_none() {
        skipped(name, "no kubectl in RHIZOME_TEST_KUBECTL or PATH; cargo xtask test gets one");
    }
    found
}

/// A kubectl of before 1.30, which speaks SPDY, if `cargo xtask test` provides one.
pub fn old_kubectl_program(name: &str) -> Option<PathBuf> {
    let found = std::env::var_os("RHIZOME_TEST_KUBECTL_OLD").map(PathBuf::from);
    if found.is_none() {
        skipped(name, "no kubectl of before 1.30 in RHIZOME_TEST_KUBECTL_OLD; cargo xtask test gets one");
    }
    found
}

/// How a kubectl streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Streams {
    /// As the newest does by itself.
    WebSocket,
    /// As older ones, and the newest when told to.
    Spdy,
}

impl Streams {
    pub const EVERY: [Streams; 2] = [Streams::WebSocket, Streams::Spdy];
}

pub struct Node {
    pub world: World,
    child: Option<Child>,
    pub program: PathBuf,
    pub streams: Streams,
    pub kubeconfig: String,
}

impl Node {
    /// A node with the images busybox and nginx:latest, or the reason why there is none was said.
    pub fn start(name: &str) -> Option<Node> {
        Node::start_for(kubectl_program(name)?, name)
    }

    /// A node for the newest kubectl, and then one for the old one.
    pub fn with_each_kubectl(name: &str) -> impl Iterator<Item = Node> {
        let programs = [kubectl_program, old_kubectl_program].into_iter();
        programs.filter_map(move |program| Node::start_for(program(name)?, name))
    }

    /// Whether its kubectl is the old one.
    pub fn is_old(&self) -> bool {
        std::env::var_os("RHIZOME_TEST_KUBECTL_OLD").is_some_and(|old| self.program.as_os_str() == old)
    }

    fn start_for(program: PathBuf, name: &str) -> Option<Node> {
        let world = World::isolated(name)?;
        let nginx = images(name)?.join("nginx.tar");
        let imported = world.run(&["image", "import", nginx.to_str().unwrap(), "--name", "nginx:latest"]);
        assert_eq!(imported.status, 0, "{imported:?}");
        let mut node =
            Node { world, child: None, program, streams: Streams::WebSocket, kubeconfig: String::new() };
        node.run();
        Some(node)
    }

    /// Starts the node in the world, and waits until it is ready.
    pub fn run(&mut self) {
        let folder = self.manifests().display().to_string();
        let args = ["node", "--isolated", "--listen", "127.0.0.1:0", "--manifests", &folder];
        let mut command = self.world.command(&args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let kubeconfig = line.trim().strip_prefix("ready: kubectl --kubeconfig ").map(str::to_owned);
        let Some(kubeconfig) = kubeconfig else {
            panic!("{line:?}: {:?}", ran(child.wait_with_output().unwrap()));
        };
        self.kubeconfig = kubeconfig;
        self.child = Some(child);
    }

    /// The folder of its static pods, which is there but empty.
    pub fn manifests(&self) -> PathBuf {
        let folder = self.world.root().with_file_name("static");
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// Ends the node with a signal, and waits for that.
    pub fn end(&mut self, signal: rustix::process::Signal) -> Ran {
        let child = self.child.take().expect("it runs");
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal).unwrap();
        ran(child.wait_with_output().unwrap())
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let cache = self.world.root().with_file_name("kubectl-cache");
        let mut command = Command::new(&self.program);
        command
            .args(["--kubeconfig", &self.kubeconfig, "--cache-dir", cache.to_str().unwrap()])
            .args(args)
            .env_remove("KUBECONFIG")
            .env("HOME", self.world.root())
            .stdin(Stdio::null());
        if self.streams == Streams::Spdy {
            command.env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "false");
            command.env("KUBECTL_PORT_FORWARD_WEBSOCKETS", "false");
        }
        command
    }

    /// Runs kubectl to its end.
    pub fn kubectl(&self, args: &[&str]) -> Ran {
        ran(self.command(args).output().unwrap())
    }

    /// Runs kubectl, which must succeed and have no complaint; what it says.
    pub fn ok(&self, args: &[&str]) -> String {
        let ran = self.kubectl(args);
        assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "kubectl {args:?}: {ran:?}");
        ran.stdout
    }

    /// Runs kubectl, which must fail with this on standard error.
    pub fn refused(&self, args: &[&str], expected: &str) {
        let ran = self.kubectl(args);
        assert_eq!((ran.status, ran.stderr.as_str()), (1, expected), "kubectl {args:?}: {ran:?}");
    }

    /// Runs kubectl with something on standard input.
    pub fn with_input(&self, args: &[&str], input: &[u8]) -> Ran {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(input);
        ran(child.wait_with_output().unwrap())
    }

    /// Runs kubectl until it says what is waited for.
    pub fn until(&self, args: &[&str], reached: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ran = self.kubectl(args);
            if reached(&ran.stdout) {
                return ran.stdout;
            }
            assert!(Instant::now() < deadline, "kubectl {args:?}: {ran:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until these pods are ready.
    pub fn wait_ready(&self, pods: &[&str]) {
        for pod in pods {
            let path = "jsonpath={.status.conditions[?(@.type=='Ready')].status}";
            self.until(&["get", "pod", pod, "-o", path], |text| text == "True");
        }
    }

    /// A request over the node's socket: the code and the body.
    pub fn request(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> (u16, String) {
        let socket = self.world.root().join("run/node.sock");
        let mut stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        // It may be refused before it has been read.
        let _ = stream.write_all(body);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        (code.unwrap_or_else(|| panic!("{method} {path}: {answer:?}")), unchunked(head, body))
    }

    /// The article's manifest of a pod, on the world's volume.
    pub fn manifest(&self, name: &str, propagation: &str) -> String {
        article_manifest(name, propagation, &self.world.volume())
    }
}

/// A body that came in pieces, whole.
fn unchunked(head: &str, body: &str) -> String {
    if !head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        return body.to_owned();
    }
    let (mut rest, mut whole) = (body, String::new());
    while let Some((length, after)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap_or(0);
        if length == 0 || after.len() < length {
            break;
        }
        whole.push_str(&after[..length]);
        rest = after[length..].trim_start_matches("\r\n");
    }
    whole
}

pub fn article_manifest(name: &str, propagation: &str, volume: &Path) -> String {
    let privileged = propagation == "Bidirectional";
    format!(
        "apiVersion: v1
kind: Pod
metadata:
    name: {name}
    namespace: default
    labels:
      app: mount
spec:
    containers:
    - name: main
      image: nginx:latest
      securityContext:
        privileged: {privileged}
      volumeMounts:
      - name: testmount
        mountPath: /home
        mountPropagation: {propagation}
    volumes:
    - name: testmount
      hostPath:
        path: {}
",
        volume.display()
    )
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = rustix::process::kill_process(
                rustix::process::Pid::from_child(&child),
                rustix::process::Signal::TERM,
            );
            let _ = child.wait();
        }
    }
}

/// What changes from run to run, by fixed words.
pub fn masked(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let words: Vec<String> = line.split(' ').map(mask_word).collect();
        out.push_str(words.join(" ").trim_end());
        out.push('\n');
    }
    out
}

/// Columns of a table, a blank between them, so that names of other lengths do not matter.
pub fn columns(text: &str) -> String {
    masked(text).lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n").collect()
}

/// Numbers of 64 hexadecimal digits, by the word that the recordings have for them.
pub fn without_ids(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
        let (word, after) = rest.split_at(digits.max(rest.chars().next().map_or(0, char::len_utf8)));
        out.push_str(if digits == 64 { "ID64" } else { word });
        rest = after;
    }
    out
}

fn mask_word(word: &str) -> String {
    let bare = word.trim_matches(['"', ',', '(', ')']);
    let masked = if is_age(bare) {
        "AGE"
    } else if bare.len() == 20 && bare.ends_with('Z') && bare.starts_with("20") {
        "TIMESTAMP"
    } else if bare.len() == 36 && bare.matches('-').count() == 4 {
        "UID"
    } else if let Some(digits) = bare.strip_prefix("rhizome://").filter(|digits| digits.len() == 64) {
        return word.replace(digits, "CONTAINER_ID");
    } else if let Some(digits) = bare.strip_prefix("sha256:").filter(|digits| digits.len() == 64) {
        return word.replace(digits, "IMAGE_ID");
    } else {
        return word.to_owned();
    };
    word.replace(bare, masked)
}

fn is_age(word: &str) -> bool {
    word.len() < 8
        && word.ends_with(['s', 'm', 'h'])
        && word.starts_with(|c: char| c.is_ascii_digit())
        && word.chars().all(|c| c.is_ascii_digit() || "smh".contains(c))
}
