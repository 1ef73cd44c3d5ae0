//! `exec`, `attach`, `cp`, `port-forward` and `debug` as the real kubectl does them, over WebSocket and over SPDY. What is
//! expected is what kubectl said on a cluster of 1.36.

#[path = "support/node.rs"]
mod node;
#[path = "support/pty.rs"]
mod pty;
mod support;
#[path = "support/world.rs"]
mod world;

use node::{Node, PATIENCE, Streams, old_kubectl_program};
use rustix::process::{Pid, Signal};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// A container that has a shell and tar, reads its input, and says what came; with a web server beside it.
const LISTENER: &str = "apiVersion: v1
kind: Pod
metadata: {name: bb}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: main, image: busybox, stdin: true, command: [sh, -c, 'httpd -p 8080 -h /; while read line; do echo got $line; done; sleep 1000']}
  - {name: web, image: 'nginx:latest'}
  - {name: echo, image: busybox, command: [nc, -ll, -p, '9000', -e, cat]}
";

fn listener(node: &Node) {
    assert_eq!(node.with_input(&["create", "-f", "-"], LISTENER.as_bytes()).stdout, "pod/bb created\n");
    node.wait_ready(&["bb"]);
}

/// Every kubectl that there is, in turn.
fn each_client(node: &mut Node, name: &str, test: impl Fn(&Node)) {
    for streams in Streams::EVERY {
        node.streams = streams;
        test(node);
    }
    let Some(program) = old_kubectl_program(name) else { return };
    node.streams = Streams::WebSocket;
    let newest = std::mem::replace(&mut node.program, program);
    test(node);
    node.program = newest;
}

fn poll(what: &str, reached: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !reached() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn commands_run_in_containers() {
    let name = "commands_run_in_containers";
    let Some(mut node) = Node::start(name) else { return };
    listener(&node);
    let absent = "apiVersion: v1\nkind: Pod\nmetadata: {name: absent}\nspec: {containers: [{name: main, image: 'localhost:1/none:1', imagePullPolicy: Never}]}\n";
    node.with_input(&["create", "-f", "-"], absent.as_bytes());
    each_client(&mut node, name, |node| {
        let exec = |script: &str| node.kubectl(&["exec", "bb", "-c", "main", "--", "sh", "-c", script]);
        let ran = exec("echo out; echo err >&2; exit 7");
        let expected = (7, "out\n", "err\ncommand terminated with exit code 7\n");
        assert_eq!((ran.status, ran.stdout.as_str(), ran.stderr.as_str()), expected);
        let killed = exec("kill -9 $$");
        assert_eq!((killed.status, killed.stderr.as_str()), (137, "command terminated with exit code 137\n"));
        for (command, why) in
            [("nosuch", "executable file not found in $PATH"), ("/etc", "permission denied")]
        {
            let refused = node.kubectl(&["exec", "bb", "-c", "main", "--", command]);
            let said = node::without_ids(&refused.stderr);
            let expected = format!(
                "error: Internal error occurred: Internal error occurred: error executing command in container: failed to exec in container: failed to start exec \"ID64\": OCI runtime exec failed: exec failed: unable to start container process: exec: {command:?}: {why}\n"
            );
            assert_eq!((refused.status, said), (1, expected));
        }
        let input = node.with_input(&["exec", "-i", "bb", "-c", "main", "--", "cat"], b"hi\nthere");
        assert_eq!((input.status, input.stdout.as_str()), (0, "hi\nthere"));
        node.refused(
            &["exec", "nosuch", "--", "ls"],
            "Error from server (NotFound): pods \"nosuch\" not found\n",
        );
        node.refused(
            &["exec", "absent", "--", "ls"],
            "error: unable to upgrade connection: container not found (\"main\")\n",
        );
        // What is left in the background holds nobody up.
        assert_eq!(exec("sleep 1000 & echo started").stdout, "started\n");
        // One that goes away while nothing of what it sent is read is noticed at once, though the process stays.
        let sockets = || {
            let all = std::fs::read_dir(format!("/proc/{}/fd", node.pid())).unwrap().flatten();
            let targets = all.filter_map(|entry| std::fs::read_link(entry.path()).ok());
            targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
        };
        let before = sockets();
        let mut deaf = node.command(&["exec", "-i", "bb", "-c", "main", "--", "sleep", "1000"]);
        let zeros = std::fs::File::open("/dev/zero").unwrap();
        let mut deaf = deaf.stdin(zeros).stderr(Stdio::null()).spawn().unwrap();
        poll("the client is there", || sockets() > before);
        std::thread::sleep(Duration::from_secs(1));
        deaf.kill().unwrap();
        deaf.wait().unwrap();
        poll("a client that has gone is still there", || sockets() <= before + 1);
        exec("kill -9 $(pidof sleep); true");
        // A client that goes away leaves no executor waiting for it, once its process has ended.
        let mut gone = node.command(&["exec", "-i", "bb", "-c", "main", "--", "cat"]);
        let mut gone = gone.stdin(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_secs(1));
        gone.kill().unwrap();
        gone.wait().unwrap();
        poll("an executor waits for a client that has gone", || {
            !node.world.processes().iter().any(|line| line.contains(" execute "))
        });
    });
}

#[test]
fn a_shell_has_a_terminal_of_its_own() {
    let name = "a_shell_has_a_terminal_of_its_own";
    let Some(mut node) = Node::start(name) else { return };
    listener(&node);
    each_client(&mut node, name, |node| {
        let command = node.command(&["exec", "-it", "bb", "-c", "main", "--", "sh"]);
        let mut terminal = pty::Terminal::start(&command, 30, 101);
        terminal.wait_for("/ # ");
        terminal.type_keys("stty size; tty\n");
        terminal.wait_for("30 101");
        terminal.wait_for("/dev/pts/");
        terminal.resize(40, 120);
        terminal.wait_for("# ");
        // The new size is on its way.
        terminal.type_keys("until [ \"$(stty size)\" = '40 120' ]; do sleep 0.1; done; echo resi''zed\n");
        terminal.wait_for("resized");
        terminal.type_keys("exit 3\n");
        let (status, shown) = terminal.end();
        assert!(status == 3 && shown.contains("command terminated with exit code 3"), "{status}: {shown}");
        let without =
            node.with_input(&["exec", "-it", "bb", "-c", "main", "--", "sh", "-c", "tty; echo hi"], b"");
        let complaint = "Unable to use a TTY - input is not a terminal or the right kind of file\n";
        assert_eq!((without.stdout.as_str(), without.stderr.as_str()), ("not a tty\nhi\n", complaint));
    });
}

/// The article's form, without `--`: kubectl has refused it since 1.31, before anything is sent.
#[test]
fn the_articles_command_runs_as_far_as_the_client_lets_it() {
    let name = "the_articles_command_runs_as_far_as_the_client_lets_it";
    let Some(mut node) = Node::start(name) else { return };
    let manifest = node.manifest("mount-a", "Bidirectional");
    // The shell of the recordings.
    let manifest = manifest.replace("image: nginx:latest", "image: busybox\n      command: [sleep, '1000']");
    let file = node.world.file("mount-a.yaml", &manifest);
    node.ok(&["create", "-f", &file]);
    node.wait_ready(&["mount-a"]);
    let command = node.command(&["exec", "-it", "mount-a", "sh"]);
    let (status, shown) = pty::Terminal::start(&command, 24, 80).end();
    let refused = "error: exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead\r\nSee 'kubectl exec -h' for help and examples\r\n";
    assert_eq!((status, shown.as_str()), (1, refused));
    let Some(old) = old_kubectl_program(name) else { return };
    node.program = old;
    let command = node.command(&["exec", "-it", "mount-a", "sh"]);
    let mut terminal = pty::Terminal::start(&command, 24, 200);
    terminal.wait_for("kubectl exec [POD] [COMMAND] is DEPRECATED and will be removed in a future version. Use kubectl exec [POD] -- [COMMAND] instead.\r\n");
    terminal.wait_for("/ # ");
    terminal.type_keys("cd /home\n");
    terminal.wait_for("/home # ");
    terminal.type_keys("exit\n");
    let (status, shown) = terminal.end();
    assert!(status == 0 && shown.contains("exit\r\n"), "{status}: {shown}");
}

#[test]
fn an_attached_client_talks_to_the_container() {
    let name = "an_attached_client_talks_to_the_container";
    let Some(mut node) = Node::start(name) else { return };
    each_client(&mut node, name, |node| {
        listener(node);
        let mut attach = node.command(&["attach", "-i", "bb", "-c", "main"]);
        attach.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut attached = attach.spawn().unwrap();
        let mut input = attached.stdin.take().unwrap();
        // Output is shown from when the client is there.
        std::thread::sleep(Duration::from_secs(2));
        input.write_all(b"line\n").unwrap();
        node.until(&["logs", "bb", "-c", "main"], |text| text == "got line\n");
        let deleted = node.kubectl(&["delete", "pod", "bb"]);
        assert_eq!(deleted.status, 0, "{deleted:?}");
        drop(input);
        let attached = support::ran(attached.wait_with_output().unwrap());
        assert_eq!((attached.status, attached.stdout.as_str()), (0, "got line\n"), "{attached:?}");
    });
}

/// What the node has had in memory at most, in KiB.
fn most_memory(node: &Node) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// How much is sent: 64 MiB, or `RHIZOME_STREAM_MIB`.
fn much() -> usize {
    let mib = std::env::var("RHIZOME_STREAM_MIB").ok().and_then(|text| text.parse().ok());
    mib.unwrap_or(64usize) << 20
}

#[test]
fn files_and_streams_go_both_ways_without_growth() {
    let name = "files_and_streams_go_both_ways_without_growth";
    let Some(mut node) = Node::start(name) else { return };
    listener(&node);
    each_client(&mut node, name, |node| {
        let (from, back) = (node.world.file("from.txt", "hello\n"), node.world.file("back.txt", ""));
        node.ok(&["cp", &from, "bb:/tmp/f.txt", "-c", "main"]);
        let copied = node.kubectl(&["cp", "bb:/tmp/f.txt", &back, "-c", "main"]);
        assert_eq!(copied.status, 0, "{copied:?}");
        assert_eq!(std::fs::read_to_string(&back).unwrap(), "hello\n");
    });
    let before = most_memory(&node);
    let size = much();
    let large = node.world.file("large", "");
    std::fs::File::options().write(true).open(&large).unwrap().set_len(size as u64).unwrap();
    each_client(&mut node, name, |node| {
        let mut send = node.command(&["exec", "-i", "bb", "-c", "main", "--", "wc", "-c"]);
        let sent = send.stdin(std::fs::File::open(&large).unwrap()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&sent.stdout).trim(), size.to_string(), "{sent:?}");
        let count = size.to_string();
        let mut get = node.command(&["exec", "bb", "-c", "main", "--", "head", "-c", &count, "/dev/zero"]);
        let mut got = get.stdout(Stdio::piped()).spawn().unwrap();
        let come = std::io::copy(&mut got.stdout.take().unwrap(), &mut std::io::sink()).unwrap();
        assert_eq!((come, got.wait().unwrap().code()), (size as u64, Some(0)));
        let copied = node.kubectl(&["cp", &large, "bb:/tmp/large", "-c", "main"]);
        assert_eq!(copied.status, 0, "{copied:?}");
        let there =
            node.ok(&["exec", "bb", "-c", "main", "--", "sh", "-c", "wc -c < /tmp/large; rm /tmp/large"]);
        assert_eq!(there.trim(), size.to_string());
        // One that does not read: what it does not take stays in the container's pipe and in ours.
        let mut slow = node.command(&["exec", "bb", "-c", "main", "--", "cat", "/dev/zero"]);
        let mut slow = slow.stdout(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_secs(2));
        slow.kill().unwrap();
        slow.wait().unwrap();
    });
    let after = most_memory(&node);
    println!(
        "{} MiB each way: the node's most memory was {before} KiB before and {after} KiB after",
        size >> 20
    );
    assert!(after < before + 16 * 1024, "{before} KiB before, {after} KiB after");
}

/// A `kubectl port-forward` that runs.
struct Forwarding {
    child: Child,
    port: u16,
}

impl Forwarding {
    fn start(node: &Node, pod: &str, port: u16) -> Forwarding {
        let mut command = node.command(&["port-forward", pod, &format!(":{port}")]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let from = line.strip_prefix("Forwarding from 127.0.0.1:").and_then(|rest| rest.split(' ').next());
        let from = from.and_then(|port| port.parse().ok());
        Forwarding { port: from.unwrap_or_else(|| panic!("{line:?}")), child }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// What is answered to these bytes. Our side is not closed before the answer: busybox' httpd resets a connection now and
    /// then whose client has.
    fn ask(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        answer
    }

    /// Ends it: what it complained of.
    fn end(self) -> String {
        let _ = rustix::process::kill_process(Pid::from_child(&self.child), Signal::TERM);
        String::from_utf8(self.child.wait_with_output().unwrap().stderr).unwrap()
    }
}

#[test]
fn ports_of_a_pod_are_forwarded() {
    let name = "ports_of_a_pod_are_forwarded";
    let Some(mut node) = Node::start(name) else { return };
    listener(&node);
    let before = most_memory(&node);
    each_client(&mut node, name, |node| {
        let web = Forwarding::start(node, "pod/bb", 8080);
        let page = web.ask(b"GET /bin/busybox HTTP/1.0\r\n\r\n");
        assert!(page.starts_with(b"HTTP/1.1 200 OK\r\n") && page.len() > 500_000, "{}", page.len());
        let nginx = Forwarding::start(node, "pod/bb", 80);
        let page = nginx.ask(b"GET / HTTP/1.0\r\n\r\n");
        let page = String::from_utf8_lossy(&page);
        assert!(page.starts_with("HTTP/1.1 200 OK\r\nServer: nginx/"), "{page}");
        assert_eq!(nginx.end(), "");
        // Many at once, one of which says nothing meanwhile.
        let idle = web.connect();
        std::thread::scope(|scope| {
            let ask = || web.ask(b"GET /etc/passwd HTTP/1.0\r\n\r\n");
            let all: Vec<_> = (0..30).map(|_| scope.spawn(ask)).collect();
            for answer in all {
                let answer = answer.join().unwrap();
                let said = String::from_utf8_lossy(&answer);
                assert!(said.starts_with("HTTP/1.1 200 OK\r\n"), "{said:?}");
            }
        });
        drop(idle);
        assert_eq!(web.end(), "");
        // The end of what is sent arrives there, and what comes after it here.
        let echo = Forwarding::start(node, "pod/bb", 9000);
        let bytes: Vec<u8> = (0..1_000_000u32).map(|number| number as u8).collect();
        let sent = bytes.clone();
        let mut writer = echo.connect();
        let mut reader = writer.try_clone().unwrap();
        let writing = std::thread::spawn(move || {
            writer.write_all(&sent).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let mut come = Vec::new();
        reader.read_to_end(&mut come).unwrap();
        writing.join().unwrap();
        assert!(come == bytes, "{} of {} bytes", come.len(), bytes.len());
        echo.end();
        // Nobody listens there.
        let refused = Forwarding::start(node, "pod/bb", 81);
        let mut stream = refused.connect();
        let _ = stream.read_to_end(&mut Vec::new());
        let told = refused.end();
        let words = [
            "error forwarding port 81 to pod ",
            ", uid : failed to execute portforward in network namespace \"/proc/",
            "failed to connect to localhost:81 inside namespace \"",
            "\", IPv4: dial tcp4 127.0.0.1:81: connect: connection refused IPv6 dial tcp6 [::1]:81: connect: ",
        ];
        assert!(words.iter().all(|words| told.replace('\\', "").contains(words)), "{told}");
    });
    let after = most_memory(&node);
    assert!(after < before + 16 * 1024, "{before} KiB before, {after} KiB after");
    node.refused(
        &["port-forward", "pod/nosuch", "1:1"],
        "Error from server (NotFound): pods \"nosuch\" not found\n",
    );
}

#[test]
fn a_running_pod_is_debugged() {
    let name = "a_running_pod_is_debugged";
    let Some(mut node) = Node::start(name) else { return };
    let file = node.world.file("mount-a.yaml", &node.manifest("mount-a", "HostToContainer"));
    node.ok(&["create", "-f", &file]);
    node.wait_ready(&["mount-a"]);
    // In the recordings' words.
    let patch = |mount: &str| {
        let mount = format!("{{\"name\":\"testmount\",\"mountPath\":\"/home\",{mount}}}");
        format!(
            "{{\"spec\":{{\"ephemeralContainers\":[{{\"name\":\"dbg\",\"image\":\"busybox\",\"volumeMounts\":[{mount}]}}]}}}}"
        )
    };
    let sub = ["patch", "pod", "mount-a", "--subresource=ephemeralcontainers", "-p"];
    node.refused(
        &[&sub[..], &[&patch("\"mountPropagation\":\"Bidirectional\"")]].concat(),
        "The Pod \"mount-a\" is invalid: spec.ephemeralContainers[0].volumeMounts.mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers\n",
    );
    node.refused(
        &[&sub[..], &[&patch("\"subPath\":\"a\"")]].concat(),
        "The Pod \"mount-a\" is invalid: spec.ephemeralContainers[0].volumeMounts[0].subPath: Forbidden: cannot be set for an Ephemeral Container\n",
    );
    let plain = "{\"spec\":{\"ephemeralContainers\":[{\"name\":\"dbg\",\"image\":\"busybox\"}]}}";
    let refused = node.kubectl(&["patch", "pod", "mount-a", "-p", plain]);
    assert!(
        refused.stderr.starts_with(
            "The Pod \"mount-a\" is invalid: spec: Forbidden: pod updates may not change fields other than"
        ),
        "{refused:?}"
    );
    // One that only runs.
    node.ok(&[
        "debug",
        "mount-a",
        "--image=busybox",
        "--image-pull-policy=IfNotPresent",
        "-c",
        "dbg",
        "--",
        "sleep",
        "1",
    ]);
    let ended = "jsonpath={.status.ephemeralContainerStatuses[0].state.terminated.reason}";
    node.until(&["get", "pod", "mount-a", "-o", ended], |text| text == "Completed");
    // The pod can still be changed otherwise.
    assert_eq!(node.ok(&["label", "pod", "mount-a", "x=y"]), "pod/mount-a labeled\n");
    // One with a shell, among the processes of another.
    for (index, streams) in Streams::EVERY.into_iter().enumerate() {
        node.streams = streams;
        let container = format!("shell-{index}");
        let command = node.command(&[
            "debug",
            "-it",
            "mount-a",
            "--image=busybox",
            "--image-pull-policy=IfNotPresent",
            "--target=main",
            "-c",
            &container,
            "--",
            "sh",
        ]);
        let mut terminal = pty::Terminal::start(&command, 24, 200);
        terminal.wait_for("Targeting container \"main\".");
        terminal.wait_for("If you don't see a command prompt, try pressing enter.");
        terminal.type_keys("\n");
        terminal.wait_for("/ # ");
        terminal.type_keys("cat /proc/1/comm; echo do''ne\n");
        let shown = terminal.wait_for("done\r\n");
        assert!(shown.contains("nginx"), "{shown}");
        terminal.type_keys("stty size\n");
        terminal.wait_for("24 200");
        terminal.type_keys("exit\n");
        assert_eq!(terminal.end().0, 0);
    }
    let missing = node.kubectl(&[
        "debug",
        "mount-a",
        "--image=busybox",
        "--image-pull-policy=IfNotPresent",
        "--target=nosuch",
        "-c",
        "c",
    ]);
    assert!(
        missing.status == 1
            && missing
                .stderr
                .contains("spec.ephemeralContainers[3].targetContainerName: Not found: \"nosuch\""),
        "{missing:?}"
    );
    let gone = node.kubectl(
        &[
            &sub[..3],
            &[
                "--subresource=ephemeralcontainers",
                "--type=json",
                "-p",
                "[{\"op\":\"remove\",\"path\":\"/spec/ephemeralContainers/0\"}]",
            ],
        ]
        .concat(),
    );
    assert!(gone.stderr.contains("existing ephemeral containers \"dbg\" may not be removed"), "{gone:?}");
    // An image that is not there is said as the kubelet says it, and the pod goes on.
    node.ok(&["debug", "mount-a", "--image=localhost:1/none:1", "--image-pull-policy=Never", "-c", "none"]);
    let waits = "jsonpath={.status.ephemeralContainerStatuses[?(@.name=='none')].state.waiting.reason}";
    node.until(&["get", "pod", "mount-a", "-o", waits], |text| text == "ErrImageNeverPull");
    // A copy of the pod, with another command: the newest kubectl sends it as protobuf, the old one as JSON.
    let newest = node.program.clone();
    for (copy, program) in [("copied", Some(newest)), ("copied-too", old_kubectl_program(name))] {
        let Some(program) = program else { continue };
        node.program = program;
        let to = format!("--copy-to={copy}");
        node.ok(&["debug", "mount-a", &to, "--container=main", "--share-processes", "--", "sleep", "1000"]);
        node.wait_ready(&[copy]);
        let of = "jsonpath={.spec.containers[0].command}{.spec.containers[0].args} {.spec.shareProcessNamespace} {.spec.containers[0].volumeMounts[0].mountPropagation} {.spec.volumes[0].hostPath.type}.";
        assert_eq!(node.ok(&["get", "pod", copy, "-o", of]), "[\"sleep\",\"1000\"] true HostToContainer .");
    }
    node.kubectl(&["delete", "pods", "--all", "--now"]);
}
