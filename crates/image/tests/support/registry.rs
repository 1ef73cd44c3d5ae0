//! A real registry (Debian's `docker-registry`) on a free port of loopback, and a front that can stand before it:
//! one that cuts, stalls, redirects, refuses or asks for tokens.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use image::Digest;
use serde_json::{Value, json};

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// What a registry is started with.
#[derive(Default)]
pub(crate) struct Setup {
    /// Lines of a htpasswd file.
    pub(crate) htpasswd: Option<String>,
    /// Certificate and key.
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
}

/// Runs until dropped.
pub(crate) struct Registry {
    child: Child,
    pub(crate) port: u16,
    dir: tempfile::TempDir,
    tls: bool,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Registry {
    /// Nothing, said aloud, where there is no such program.
    pub(crate) fn start(test: &str) -> Option<Registry> {
        Registry::start_with(test, &Setup::default())
    }

    pub(crate) fn start_with(test: &str, setup: &Setup) -> Option<Registry> {
        if !super::is_root(test) {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let mut config = json!({
            "version": "0.1",
            "log": {"level": "info"},
            "storage": {"filesystem": {"rootdirectory": dir.path().join("data")}, "delete": {"enabled": true}},
            "http": {"addr": "127.0.0.1:0", "secret": "for tests"},
        });
        if let Some(lines) = &setup.htpasswd {
            let path = dir.path().join("htpasswd");
            std::fs::write(&path, lines).unwrap();
            config["auth"] = json!({"htpasswd": {"realm": "test", "path": path}});
        }
        if let Some((certificate, key)) = &setup.tls {
            config["http"]["tls"] = json!({"certificate": certificate, "key": key});
        }
        let config_path = dir.path().join("config.json");
        std::fs::write(&config_path, config.to_string()).unwrap();
        let log = dir.path().join("log");
        let output = || Stdio::from(std::fs::File::options().create(true).append(true).open(&log).unwrap());
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&config_path).stdin(Stdio::null()).stdout(output()).stderr(output());
        let Ok(child) = command.spawn() else {
            super::skip(test, "the program docker-registry is not installed");
            return None;
        };
        let mut registry = Registry { child, port: 0, dir, tls: setup.tls.is_some() };
        registry.port = registry.wait_for_port(&log);
        Some(registry)
    }

    fn wait_for_port(&mut self, log: &Path) -> u16 {
        let end = Instant::now() + Duration::from_secs(30);
        while Instant::now() < end {
            let text = std::fs::read_to_string(log).unwrap();
            if let Some((_, rest)) = text.split_once("listening on 127.0.0.1:") {
                let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
                if rest.len() > digits.len() {
                    return digits.parse().unwrap();
                }
            }
            assert!(self.child.try_wait().unwrap().is_none(), "docker-registry ended: {text}");
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("docker-registry does not listen: {}", std::fs::read_to_string(log).unwrap());
    }

    /// `127.0.0.1:PORT/name`
    pub(crate) fn reference(&self, name: &str) -> String {
        format!("127.0.0.1:{}/{name}", self.port)
    }

    /// The file in which the registry keeps a blob.
    pub(crate) fn blob_file(&self, digest: &Digest) -> PathBuf {
        let blobs = self.dir.path().join("data/docker/registry/v2/blobs/sha256");
        blobs.join(&digest.hex()[..2]).join(digest.hex()).join("data")
    }

    /// Makes all images of `other` its own.
    pub(crate) fn copy_storage_of(&self, other: &Registry) {
        let (from, to) = (other.dir.path().join("data/."), self.dir.path().join("data"));
        std::fs::create_dir_all(&to).unwrap();
        assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
    }

    /// Uploads in one go (distribution spec, "POST then PUT").
    pub(crate) fn push_blob(&self, repository: &str, bytes: &[u8]) -> Digest {
        assert!(!self.tls, "the test's own client speaks plain HTTP");
        let digest = Digest::of(bytes);
        let begun = http(self.port, "POST", &format!("/v2/{repository}/blobs/uploads/"), &[], b"");
        assert_eq!(begun.status, 202, "{}", String::from_utf8_lossy(&begun.body));
        let location = begun.header("location").unwrap();
        let path = location.split_once("://").map_or(location, |(_, rest)| &rest[rest.find('/').unwrap()..]);
        let put = http(self.port, "PUT", &format!("{path}&digest={digest}"), &[], bytes);
        assert_eq!(put.status, 201, "{}", String::from_utf8_lossy(&put.body));
        digest
    }

    pub(crate) fn push_manifest(&self, repository: &str, name: &str, kind: &str, text: &[u8]) -> Digest {
        let path = format!("/v2/{repository}/manifests/{name}");
        let put = http(self.port, "PUT", &path, &[("Content-Type", kind)], text);
        assert_eq!(put.status, 201, "{}", String::from_utf8_lossy(&put.body));
        Digest::of(text)
    }

    /// An image of these layers (as they are packed, and as they are not) under `repository:tag`.
    pub(crate) fn push(&self, repository: &str, tag: &str, layers: &[Layer]) -> Pushed {
        let manifest = self.push_parts(repository, layers, image_config(layers, super::architecture()));
        let text = serde_json::to_vec(&manifest).unwrap();
        let digest = self.push_manifest(repository, tag, MANIFEST, &text);
        Pushed { digest, size: text.len(), blobs: layers.iter().map(|l| Digest::of(&l.packed)).collect() }
    }

    /// Layers and config; the manifest remains to be pushed.
    pub(crate) fn push_parts(&self, repository: &str, layers: &[Layer], config: Value) -> Value {
        let blobs: Vec<Value> = layers
            .iter()
            .map(|layer| {
                let digest = self.push_blob(repository, &layer.packed);
                json!({"mediaType": layer.media_type, "digest": digest.to_string(), "size": layer.packed.len()})
            })
            .collect();
        let config = serde_json::to_vec(&config).unwrap();
        let digest = self.push_blob(repository, &config);
        json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": digest.to_string(),
                "size": config.len(),
            },
            "layers": blobs,
        })
    }
}

pub(crate) fn image_config(layers: &[Layer], architecture: &str) -> Value {
    let diff_ids: Vec<String> = layers.iter().map(|layer| Digest::of(&layer.plain).to_string()).collect();
    json!({
        "created": "2024-05-06T07:08:09Z",
        "architecture": architecture,
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["/bin/sh"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    })
}

/// What was pushed.
pub(crate) struct Pushed {
    pub(crate) digest: Digest,
    pub(crate) size: usize,
    pub(crate) blobs: Vec<Digest>,
}

/// A layer before it is packed and after.
#[derive(Clone)]
pub(crate) struct Layer {
    pub(crate) plain: Vec<u8>,
    pub(crate) packed: Vec<u8>,
    pub(crate) media_type: &'static str,
}

impl Layer {
    pub(crate) fn gzip(plain: Vec<u8>) -> Layer {
        let packed = super::gzip(&plain);
        Layer { plain, packed, media_type: "application/vnd.oci.image.layer.v1.tar+gzip" }
    }

    pub(crate) fn zstd(plain: Vec<u8>) -> Layer {
        let packed =
            ruzstd::encoding::compress_to_vec(&plain[..], ruzstd::encoding::CompressionLevel::Fastest);
        Layer { plain, packed, media_type: "application/vnd.oci.image.layer.v1.tar+zstd" }
    }

    pub(crate) fn plain(plain: Vec<u8>) -> Layer {
        Layer { packed: plain.clone(), plain, media_type: "application/vnd.docker.image.rootfs.diff.tar" }
    }

    /// One file of `size` bytes that do not compress, different for each name.
    pub(crate) fn noise(name: &str, size: usize) -> Layer {
        let mut bytes = Vec::with_capacity(size + 32);
        let mut seed = Digest::of(name.as_bytes());
        while bytes.len() < size {
            seed = Digest::of(seed.hex().as_bytes());
            bytes.extend_from_slice(seed.hex().as_bytes());
        }
        bytes.truncate(size);
        Layer::plain(super::Tar::new().file(name, &bytes).end())
    }
}

/// A message of HTTP/1.1: a request or an answer.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// `GET /path HTTP/1.1`, `HTTP/1.1 200 OK`
    pub(crate) start: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Message {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// Path and query of a request.
    pub(crate) fn path(&self) -> &str {
        self.start.split(' ').nth(1).unwrap()
    }

    pub(crate) fn is_blob(&self) -> bool {
        self.path().contains("/blobs/sha256:")
    }

    /// Reads the head and a body with a known length.
    fn read(reader: &mut impl BufRead) -> Option<Message> {
        let mut message = Message::read_head(reader)?;
        let length = message.header("content-length").map_or(0, |v| v.parse().unwrap());
        message.body = vec![0; length];
        reader.read_exact(&mut message.body).ok()?;
        Some(message)
    }

    fn read_head(reader: &mut impl BufRead) -> Option<Message> {
        let mut line = || {
            let mut text = String::new();
            let read = reader.read_line(&mut text).ok()?;
            (read > 0).then(|| text.trim_end().to_owned())
        };
        let start = line()?;
        let mut headers = Vec::new();
        loop {
            let text = line()?;
            match text.split_once(':') {
                Some((name, value)) => headers.push((name.to_owned(), value.trim().to_owned())),
                None => break,
            }
        }
        let status = start.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
        Some(Message { start, headers, status, body: Vec::new() })
    }
}

/// One request to a server on loopback, in plain HTTP.
pub(crate) fn http(port: u16, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Message {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    Message::read(&mut BufReader::new(stream)).unwrap()
}

/// What a front does with a request.
pub(crate) enum Action {
    /// Hand it on and the answer back.
    Forward,
    /// The same, but only so many bytes of the answer's body; then the connection is cut.
    Cut(usize),
    /// So many bytes, and then nothing more, with the connection open.
    Stall(usize),
    /// No byte of an answer.
    Hang,
    /// An answer of its own: status, headers, body.
    Answer(u16, Vec<(String, String)>, Vec<u8>),
}

type Rule = dyn Fn(&Message) -> Action + Send + Sync;

/// A server before the registry. Its threads end with their connections; the listener's when it is dropped.
pub(crate) struct Front {
    pub(crate) port: u16,
    seen: Arc<Mutex<Vec<Message>>>,
}

impl Drop for Front {
    fn drop(&mut self) {
        // Wakes the listener, which then sees that it is alone.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Front {
    pub(crate) fn start(upstream: u16, rule: impl Fn(&Message) -> Action + Send + Sync + 'static) -> Front {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen: Arc<Mutex<Vec<Message>>> = Arc::default();
        let (rule, log): (Arc<Rule>, _) = (Arc::new(rule), Arc::downgrade(&seen));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Some(log) = log.upgrade() else { return };
                let rule = rule.clone();
                std::thread::spawn(move || serve(client, upstream, &*rule, &log));
            }
        });
        Front { port, seen }
    }

    pub(crate) fn reference(&self, name: &str) -> String {
        format!("127.0.0.1:{}/{name}", self.port)
    }

    /// Everything that was asked for so far.
    pub(crate) fn seen(&self) -> Vec<Message> {
        self.seen.lock().unwrap().clone()
    }

    /// How often this blob was asked for.
    pub(crate) fn asked(&self, blob: &Digest) -> usize {
        self.seen().iter().filter(|request| request.path().contains(blob.hex())).count()
    }
}

/// One request a connection.
fn serve(client: TcpStream, upstream: u16, rule: &Rule, log: &Mutex<Vec<Message>>) {
    let Some(request) = Message::read(&mut BufReader::new(&client)) else { return };
    let action = rule(&request);
    log.lock().unwrap().push(request.clone());
    let _ = match action {
        Action::Forward => forward(&client, upstream, &request, usize::MAX),
        Action::Cut(bytes) => forward(&client, upstream, &request, bytes),
        Action::Stall(bytes) => forward(&client, upstream, &request, bytes).map(|()| {
            std::thread::sleep(Duration::from_secs(60));
        }),
        Action::Hang => {
            std::thread::sleep(Duration::from_secs(60));
            Ok(())
        }
        Action::Answer(status, headers, body) => answer(&client, status, &headers, &body),
    };
    let _ = client.shutdown(Shutdown::Both);
}

fn answer(
    mut client: &TcpStream,
    status: u16,
    headers: &[(String, String)],
    body: &[u8],
) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {status} Whatever\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    client.write_all(format!("{head}Content-Length: {}\r\n\r\n", body.len()).as_bytes())?;
    client.write_all(body)
}

fn forward(mut client: &TcpStream, upstream: u16, request: &Message, most: usize) -> std::io::Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", upstream))?;
    let mut head = format!("{}\r\nConnection: close\r\n", request.start);
    for (name, value) in &request.headers {
        if !name.eq_ignore_ascii_case("connection") {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    server.write_all(format!("{head}\r\n").as_bytes())?;
    server.write_all(&request.body)?;
    let mut reader = BufReader::new(server);
    let Some(response) = Message::read_head(&mut reader) else { return Ok(()) };
    let mut head = format!("{}\r\n", response.start);
    for (name, value) in &response.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    client.write_all(format!("{head}\r\n").as_bytes())?;
    std::io::copy(&mut reader.take(most as u64), &mut client)?;
    client.flush()
}
