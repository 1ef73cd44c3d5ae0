//! What Kubernetes' container runtimes call their containers, by their own interface (CRI, `runtime.v1`): asked only about
//! those that nothing else names, within a moment, so that a runtime that hangs holds nobody up.

mod grpc;
mod protobuf;

use grpc::Connection;
use mount_table::node::{Container, Pod, Runtime};
use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// Where runtimes listen, from the root of the machine.
pub(super) const SOCKETS: [(&str, Runtime); 6] = [
    ("run/containerd/containerd.sock", Runtime::Containerd),
    ("run/crio/crio.sock", Runtime::CriO),
    ("run/cri-dockerd.sock", Runtime::Docker),
    ("run/k3s/containerd/containerd.sock", Runtime::Containerd),
    ("run/k0s/containerd.sock", Runtime::Containerd),
    ("var/snap/microk8s/common/run/containerd.sock", Runtime::Containerd),
];

/// As long as they may take.
const PATIENCE: Duration = Duration::from_millis(300);

/// All containers that the runtimes below a folder tell of, by id. Each is asked by a thread of its own.
pub(super) fn containers(root: &Path) -> HashMap<String, Container> {
    let until = Instant::now() + PATIENCE;
    let there = SOCKETS.map(|(socket, runtime)| (root.join(socket), runtime));
    std::thread::scope(|scope| {
        let there = there.iter().filter(|(socket, _)| socket.exists());
        let asked: Vec<_> =
            there.map(|(socket, runtime)| scope.spawn(move || ask(socket, *runtime, until))).collect();
        // One that does not answer, or does not speak CRI (docker's containerd), tells nothing.
        let told = asked.into_iter().filter_map(|asked| asked.join().ok()?.ok()).flatten();
        told.map(|container| (container.id.clone(), container)).collect()
    })
}

fn ask(socket: &Path, runtime: Runtime, until: Instant) -> io::Result<Vec<Container>> {
    let mut connection = Connection::open(socket, until)?;
    let mut list = |method: &str| {
        let answer = connection.call(&format!("/runtime.v1.RuntimeService/{method}"), &[])?;
        Ok::<_, io::Error>(answer.unwrap_or_default())
    };
    let pods = pods(&list("ListPodSandbox")?);
    let mut told: Vec<Container> =
        pods.iter().map(|(id, pod)| container(runtime, id, "sandbox", pod)).collect();
    for (id, sandbox, name) in names(&list("ListContainers")?) {
        told.extend(pods.get(&sandbox).map(|pod| container(runtime, &id, &name, pod)));
    }
    Ok(told)
}

fn container(runtime: Runtime, id: &str, name: &str, pod: &Pod) -> Container {
    Container {
        runtime: Some(runtime),
        id: id.to_owned(),
        name: Some(name.to_owned()),
        pod: Some(pod.clone()),
    }
}

/// `ListPodSandboxResponse`: its pods, by the ids of their sandboxes.
fn pods(message: &[u8]) -> HashMap<String, Pod> {
    let items = protobuf::fields(message).filter_map(|(number, field)| field.bytes().filter(|_| number == 1));
    let pod = |item: &[u8]| {
        let metadata = protobuf::bytes_of(item, 2)?;
        let text = |number| protobuf::text_of(metadata, number);
        let pod = Pod { name: Some(text(1)?), uid: text(2), namespace: text(3) };
        Some((protobuf::text_of(item, 1)?, pod))
    };
    items.filter_map(pod).collect()
}

/// `ListContainersResponse`: id, sandbox and name of each.
fn names(message: &[u8]) -> Vec<(String, String, String)> {
    let items = protobuf::fields(message).filter_map(|(number, field)| field.bytes().filter(|_| number == 1));
    let one = |item: &[u8]| {
        let name = protobuf::text_of(protobuf::bytes_of(item, 3)?, 1)?;
        Some((protobuf::text_of(item, 1)?, protobuf::text_of(item, 2)?, name))
    };
    items.filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Full;
    use hyper::body::{Bytes, Incoming};
    use hyper::server::conn::http2;
    use hyper::service::service_fn;
    use hyper::{Request, Response};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use std::convert::Infallible;
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixListener;

    fn text(number: u8, text: &str) -> Vec<u8> {
        [&[number << 3 | 2, text.len() as u8][..], text.as_bytes()].concat()
    }

    fn message(number: u8, parts: &[Vec<u8>]) -> Vec<u8> {
        let body = parts.concat();
        let length = match body.len() {
            short @ 0..128 => vec![short as u8],
            long => vec![long as u8 & 0x7f | 0x80, (long >> 7) as u8],
        };
        [&[number << 3 | 2][..], &length, &body].concat()
    }

    fn listen(root: &Path, socket: &str) -> UnixListener {
        let path = root.join(socket);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        UnixListener::bind(path).unwrap()
    }

    /// A runtime that answers the two calls with these messages.
    fn runtime(root: &Path, socket: &str, pods: Vec<u8>, containers: Vec<u8>) {
        let listener = listen(root, socket);
        let answer = move |request: Request<Incoming>| {
            let message = match request.uri().path() {
                "/runtime.v1.RuntimeService/ListPodSandbox" => &pods,
                "/runtime.v1.RuntimeService/ListContainers" => &containers,
                other => panic!("{other}"),
            };
            let length = u32::try_from(message.len()).unwrap().to_be_bytes();
            let body = Full::<Bytes>::from([&[0][..], &length, message].concat());
            std::future::ready(Ok::<_, Infallible>(Response::new(body)))
        };
        std::thread::spawn(move || {
            let (client, _) = listener.accept().unwrap();
            client.set_nonblocking(true).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
            runtime.block_on(async {
                let client = TokioIo::new(tokio::net::UnixStream::from_std(client).unwrap());
                let server = http2::Builder::new(TokioExecutor::new());
                server.serve_connection(client, service_fn(answer)).await.unwrap();
            });
        });
    }

    /// One that says this to a client, and then nothing until it goes.
    fn hangs(root: &Path, socket: &str, says: Vec<u8>) {
        let listener = listen(root, socket);
        std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            client.write_all(&says).unwrap();
            let _ = client.read_to_end(&mut Vec::new());
        });
    }

    #[test]
    fn containers_and_sandboxes_are_named() {
        let pod = message(2, &[text(1, "web"), text(2, "u-1"), text(3, "shop"), vec![4 << 3, 1]]);
        // A state, and a label beside it.
        let pods =
            message(1, &[text(1, "s1"), pod, vec![3 << 3, 0], message(6, &[text(1, "a"), text(2, "b")])]);
        let of = |id: &str, sandbox: &str| {
            message(1, &[text(1, id), text(2, sandbox), message(3, &[text(1, "main"), vec![2 << 3, 3]])])
        };
        let containers = [of("c1", "s1"), of("c2", "gone")].concat();
        let root = tempfile::tempdir().unwrap();
        runtime(root.path(), "run/crio/crio.sock", pods, containers);
        let found = super::containers(root.path());
        let words = |id: &str| found.get(id).map(|it| (it.runtime.unwrap().to_string(), it.in_words()));
        let said = |words: &str| Some(("cri-o".to_owned(), words.to_owned()));
        assert_eq!((words("c1"), words("s1"), words("c2")), (said("web/main"), said("web/sandbox"), None));
        let pod = found["c1"].pod.clone().unwrap();
        assert_eq!((pod.uid.as_deref(), pod.namespace.as_deref()), (Some("u-1"), Some("shop")));
    }

    /// Its state is on a tmpfs in a mount namespace of its own, its socket where the test can reach it.
    const CONTAINERD: &str = r#"mount -t tmpfs state "$1/state" && mount --make-private "$1/state" && cat >"$1/state/config" <<END
version = 2
root = "$1/state/root"
state = "$1/state/run"
[grpc]
  address = "$1/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/library/busybox:latest"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    conf_dir = "$1/state/cni"
END
exec containerd --config "$1/state/config""#;

    /// A pod that the real containerd makes, and what it says of it.
    #[test]
    fn pods_of_a_running_containerd_are_named() {
        use std::process::{Command, Stdio};
        let name = "pods_of_a_running_containerd_are_named";
        let skip = |why: &str| writeln!(io::stdout(), "SKIPPED: {name}: {why}").unwrap();
        let image =
            std::env::var_os("RHIZOME_TEST_IMAGES").map(|folder| Path::new(&folder).join("busybox.tar"));
        let Some(image) = image.filter(|_| rustix::process::geteuid().is_root()) else {
            return skip("needs root, and images: cargo xtask test has both");
        };
        let ctr = |root: &Path, args: &[&str]| {
            let mut command = Command::new("ctr");
            command.arg("--address").arg(root.join(SOCKETS[0].0)).args(["--namespace", "k8s.io"]).args(args);
            command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
        };
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("state")).unwrap();
        let mut daemon = Command::new("unshare");
        daemon.args(["--mount", "--propagation", "private", "sh", "-c", CONTAINERD, "sh"]).arg(root.path());
        let mut daemon = daemon.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        while !ctr(root.path(), &["version"]) {
            if daemon.try_wait().unwrap().is_some() || Instant::now() > until {
                let _ = daemon.kill();
                daemon.wait().unwrap();
                return skip("containerd is not installed, or does not start here");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let imported = ctr(root.path(), &["images", "import", image.to_str().unwrap()]);
        let mut connection = Connection::open(&root.path().join(SOCKETS[0].0), until).unwrap();
        let mut call = |method: &str, body: &[u8]| {
            connection.call(&format!("/runtime.v1.RuntimeService/{method}"), body).unwrap()
        };
        assert_eq!(call("ListContainers", &[]), Some(Vec::new()));
        let metadata = message(1, &[text(1, "web"), text(2, "11f0ca05"), text(3, "shop")]);
        // In the node's network: NamespaceMode NODE.
        let context = message(2, &[message(1, &[vec![1 << 3, 2]])]);
        let group = format!("/rhizome-test-{}", std::process::id());
        let config = message(1, &[metadata, message(8, &[text(1, &group), context])]);
        let made = call("RunPodSandbox", &config).and_then(|answer| protobuf::text_of(&answer, 1));
        let found = super::containers(root.path());
        if let Some(id) = &made {
            call("StopPodSandbox", &text(1, id));
            call("RemovePodSandbox", &text(1, id));
        }
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        let left = [
            "/sys/fs/cgroup",
            "-depth",
            "-type",
            "d",
            "-path",
            &format!("*{group}*"),
            "-exec",
            "rmdir",
            "{}",
            "+",
        ];
        Command::new("find").args(left).status().unwrap();
        let Some(id) = made else {
            assert!(imported && found.is_empty(), "{found:?}");
            return skip("containerd makes no pod on this machine");
        };
        let pod =
            Pod { name: Some("web".into()), uid: Some("11f0ca05".into()), namespace: Some("shop".into()) };
        assert_eq!(found.get(&id), Some(&container(Runtime::Containerd, &id, "sandbox", &pod)), "{found:?}");
    }

    #[test]
    fn one_that_hangs_or_talks_rubbish_holds_nobody_up() {
        let root = tempfile::tempdir().unwrap();
        hangs(root.path(), SOCKETS[0].0, vec![0xff; 4096]);
        hangs(root.path(), SOCKETS[1].0, Vec::new());
        let begun = Instant::now();
        assert!(super::containers(root.path()).is_empty());
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }

    #[test]
    fn any_bytes() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..24)
                .map(|_| {
                    state =
                        state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    if state >> 62 == 0 {
                        (state >> 33) as u8
                    } else {
                        [10, 18, 26, 2, 4, 8][(state >> 40) as usize % 6]
                    }
                })
                .collect();
            std::hint::black_box((pods(&bytes), names(&bytes)));
        }
    }
}
