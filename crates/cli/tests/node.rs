//! The node as the real kubectl sees it. What is expected is what kubectl and an API server 1.36 said on a cluster.

#[path = "support/node.rs"]
mod node;
mod support;
#[path = "support/world.rs"]
mod world;

use node::{Node, columns, masked};
use rustix::process::Signal;
use serde_json::Value;

/// The machine's own name, by which its node goes.
fn node_name(node: &Node) -> String {
    node.ok(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"])
}

#[test]
fn the_articles_pod_is_created_shown_and_deleted() {
    for node in Node::with_each_kubectl("the_articles_pod_is_created_shown_and_deleted") {
        let file = node.world.file("mount-a.yaml", &node.manifest("mount-a", "Bidirectional"));
        let empty = node.kubectl(&["get", "pods"]);
        assert_eq!(
            (empty.status, empty.stderr.as_str()),
            (0, "No resources found in default namespace.\n"),
            "{empty:?}"
        );
        assert_eq!(node.ok(&["create", "-f", &file]), "pod/mount-a created\n");
        node.refused(
        &["create", "-f", &file],
        &format!("Error from server (AlreadyExists): error when creating {file:?}: pods \"mount-a\" already exists\n"),
    );
        node.wait_ready(&["mount-a"]);
        let name = node_name(&node);
        assert_eq!(
            masked(&node.ok(&["get", "pods"])),
            "NAME      READY   STATUS    RESTARTS   AGE\nmount-a   1/1     Running   0          AGE\n"
        );
        assert_eq!(
            columns(&node.ok(&["get", "pods", "-o", "wide"])),
            format!(
                "NAME READY STATUS RESTARTS AGE IP NODE NOMINATED NODE READINESS GATES\nmount-a 1/1 Running 0 AGE <none> {name} <none> <none>\n"
            )
        );
        assert_eq!(node.ok(&["get", "pods", "-o", "name"]), "pod/mount-a\n");
        assert_eq!(
            columns(&node.ok(&["get", "pods", "-l", "app=mount", "--show-labels", "-A"])),
            "NAMESPACE NAME READY STATUS RESTARTS AGE LABELS\ndefault mount-a 1/1 Running 0 AGE app=mount\n"
        );
        assert_eq!(
            node.ok(&["get", "pods", "--field-selector", "status.phase=Running", "-o", "name"]),
            "pod/mount-a\n"
        );
        assert_eq!(node.ok(&["get", "pods", "--field-selector", "status.phase!=Running", "-o", "name"]), "");
        node.refused(
        &["get", "pods", "--field-selector", "spec.foo=x"],
        "Error from server (BadRequest): Unable to find \"/v1, Resource=pods\" that match label selector \"\", field selector \"spec.foo=x\": field label not supported: spec.foo\n",
    );
        node.refused(&["get", "pod", "nosuch"], "Error from server (NotFound): pods \"nosuch\" not found\n");
        node.refused(&["get", "pood"], "error: the server doesn't have a resource type \"pood\"\n");
        // The kernel, too: what is mounted in the container arrives on the host.
        let volume = node.world.volume();
        let seen = node.world.run(&[
            "exec",
            "mount-a",
            "--",
            "sh",
            "-c",
            "mkdir /home/none && mount --bind /var /home/none",
        ]);
        assert_eq!(seen.status, 0, "{seen:?}");
        assert!(node.world.on_host(&format!("ls {}/none", volume.display())).stdout.contains("log\n"));
        node.world.on_host(&format!("umount {}/none", volume.display()));
        assert_eq!(node.ok(&["delete", "-f", &file, "--now"]).lines().count(), 1);
        node.refused(
            &["get", "pod", "mount-a"],
            "Error from server (NotFound): pods \"mount-a\" not found\n",
        );
        assert_eq!(node.world.run(&["ps", "-aA", "-o", "name"]).stdout, "");
    }
}

/// The number of the peer group is the kernel's.
fn without_group(text: &str) -> String {
    let Some((before, after)) = text.split_once("\"peerGroup\":") else { return text.to_owned() };
    format!("{before}\"peerGroup\":N{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
}

/// But for what is rhizome's own: the condition and annotation that say what the mounts do.
#[test]
fn yaml_and_describe_are_those_of_a_cluster() {
    for node in Node::with_each_kubectl("yaml_and_describe_are_those_of_a_cluster") {
        let file = node.world.file("mount-a.yaml", &node.manifest("mount-a", "Bidirectional"));
        node.ok(&["create", "-f", &file]);
        node.wait_ready(&["mount-a"]);
        node.until(&["get", "pod", "mount-a", "-o", "jsonpath={.metadata.annotations}"], |text| {
            text.contains("toHost")
        });
        let (_, metrics) = node.request("GET", "/metrics", "", b"");
        for line in [
            "rhizome_pods{phase=\"Running\"} 1",
            "rhizome_pods_propagation{effective=\"as-asked\"} 1",
            "rhizome_pod_start_seconds_count 1",
        ] {
            assert!(metrics.lines().any(|found| found == line), "{line} in {metrics}");
        }
        let (name, volume) = (node_name(&node), node.world.volume().display().to_string());
        let yaml = masked(&node.ok(&["get", "pod", "mount-a", "-o", "yaml"]))
            .replace(&name, "node1")
            .replace(&volume, "/mnt/");
        let yaml: String =
            yaml.lines().filter(|l| !l.contains("resourceVersion:")).map(|l| format!("{l}\n")).collect();
        let yaml = without_group(&yaml);
        assert_eq!(yaml, include_str!("node/mount-a.yaml"));
        let described = masked(&node.ok(&["describe", "pod", "mount-a"]))
            .replace(&name, "node1")
            .replace(&volume, "/mnt/");
        let (described, events) = described.split_once("Events:\n").unwrap();
        let without_times: String = described
            .lines()
            .map(|line| match line.split_once("Start Time:").or_else(|| line.split_once("Started:")) {
                Some((before, _)) => format!("{before}Time\n"),
                None => format!("{line}\n"),
            })
            .collect();
        assert_eq!(without_group(&without_times), include_str!("node/describe-mount-a.txt"));
        for expected in [
            "Normal Scheduled AGE default-scheduler Successfully assigned default/mount-a to node1",
            "Normal Created AGE kubelet",
            "Normal Started AGE kubelet",
        ] {
            assert!(columns(events).lines().any(|line| line.starts_with(expected)), "{expected} in {events}");
        }
        let listed = columns(&node.ok(&["get", "events", "--field-selector", "reason=Scheduled"]));
        let told = columns(&node.ok(&["events", "--for", "pod/mount-a", "--types=Normal", "--no-headers"]));
        for expected in [
            "AGE Normal Pulled Pod/mount-a Container image \"nginx:latest\" already present on machine and can be accessed by the pod",
            "AGE Normal Created Pod/mount-a Container created",
            "AGE Normal Started Pod/mount-a Container started",
        ] {
            assert!(told.lines().any(|line| line == expected), "{expected} in {told}");
        }
        assert_eq!(
            listed.replace(&name, "node1"),
            "LAST SEEN TYPE REASON OBJECT MESSAGE\nAGE Normal Scheduled pod/mount-a Successfully assigned default/mount-a to node1\n"
        );
    }
}

#[test]
fn manifests_are_validated_as_asked() {
    for node in Node::with_each_kubectl("manifests_are_validated_as_asked") {
        let article = node.manifest("mount-a", "None").replace("labels:", "label:");
        let file = node.world.file("mount-a.yaml", &article);
        node.refused(
        &["create", "-f", &file],
        &format!("Error from server (BadRequest): error when creating {file:?}: Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: unknown field \"metadata.label\"\n"),
    );
        let warned = node.kubectl(&["create", "-f", &file, "--validate=warn", "--dry-run=server"]);
        assert_eq!(
            (warned.stdout.as_str(), warned.stderr.as_str()),
            ("pod/mount-a created (server dry run)\n", "Warning: unknown field \"metadata.label\"\n")
        );
        assert_eq!(
            node.ok(&["create", "-f", &file, "--validate=ignore", "--dry-run=server", "-o", "name"]),
            "pod/mount-a\n"
        );
        assert_eq!(node.kubectl(&["get", "pods", "-o", "name"]).stdout, "");
        let bad =
            node.world.file("bad.yaml", &node.manifest("mount-a", "Bidirectional").replace("true", "false"));
        node.refused(
        &["create", "-f", &bad],
        "The Pod \"mount-a\" is invalid: spec.containers[0].volumeMounts.mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers\n",
    );
        let generated = node.manifest("x", "None").replace("name: x", "generateName: web-");
        let made = node.with_input(&["create", "-f", "-", "-o", "name"], generated.as_bytes());
        assert!(
            made.stdout.starts_with("pod/web-") && made.stdout.trim().len() == "pod/web-".len() + 5,
            "{made:?}"
        );
        let elsewhere = node.world.file(
            "elsewhere.yaml",
            &article.replace("label:", "labels:").replace("namespace: default", "namespace: nosuch"),
        );
        node.refused(
        &["create", "-f", &elsewhere],
        &format!("Error from server (NotFound): error when creating {elsewhere:?}: namespaces \"nosuch\" not found\n"),
    );
    }
}

#[test]
fn other_kinds_are_kept_and_pods_wait_for_them() {
    let Some(node) = Node::start("other_kinds_are_kept_and_pods_wait_for_them") else { return };
    assert_eq!(node.ok(&["create", "namespace", "dev"]), "namespace/dev created\n");
    node.refused(
        &["delete", "namespace", "default"],
        "Error from server (Forbidden): namespaces \"default\" is forbidden: this namespace may not be deleted\n",
    );
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: dev}\nspec:\n  containers:\n  - name: main\n    image: busybox\n    command: [sh, -c, 'cat /c/key; sleep 1000']\n    volumeMounts: [{name: c, mountPath: /c}]\n  terminationGracePeriodSeconds: 0\n  volumes: [{name: c, configMap: {name: words}}]\n";
    assert_eq!(node.with_input(&["create", "-f", "-"], pod.as_bytes()).stdout, "pod/a created\n");
    node.until(&["get", "events", "-n", "dev", "-o", "jsonpath={.items[*].message}"], |text| {
        text.contains("MountVolume.SetUp failed for volume \"c\" : configmap \"words\" not found")
    });
    assert_eq!(
        columns(&node.ok(&["get", "pods", "-n", "dev"])),
        "NAME READY STATUS RESTARTS AGE\na 0/1 ContainerCreating 0 AGE\n"
    );
    node.ok(&["create", "configmap", "words", "-n", "dev", "--from-literal=key=value"]);
    node.until(&["get", "pod", "a", "-n", "dev", "-o", "jsonpath={.status.phase}"], |text| text == "Running");
    node.ok(&["create", "secret", "generic", "hidden", "-n", "dev", "--from-literal=key=value"]);
    node.ok(&["create", "serviceaccount", "robot", "-n", "dev"]);
    assert_eq!(columns(&node.ok(&["get", "cm,secrets,sa", "-n", "dev"])).matches('\n').count(), 8);
    assert_eq!(node.ok(&["delete", "namespace", "dev"]).trim_end(), "namespace \"dev\" deleted");
    node.refused(
        &["get", "namespace", "dev"],
        "Error from server (NotFound): namespaces \"dev\" not found\n",
    );
    assert_eq!(node.world.run(&["ps", "-aA", "-o", "name"]).stdout, "");
}

#[test]
fn a_killed_node_finds_everything_again() {
    let Some(mut node) = Node::start("a_killed_node_finds_everything_again") else { return };
    let file = node.world.file("mount-a.yaml", &node.manifest("mount-a", "HostToContainer"));
    node.ok(&["create", "-f", &file]);
    node.wait_ready(&["mount-a"]);
    let started = [
        "get",
        "pod",
        "mount-a",
        "-o",
        "jsonpath={.metadata.uid} {.status.containerStatuses[0].containerID}",
    ];
    let before = node.ok(&started);
    let version = |node: &Node| {
        let list = node.ok(&["get", "--raw", "/api/v1/pods"]);
        let list: Value = serde_json::from_str(&list).unwrap();
        list["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap()
    };
    let version_before = version(&node);
    node.end(Signal::KILL);
    // What was made by others meanwhile is there too, and what was removed is not.
    let other = "apiVersion: v1\nkind: Pod\nmetadata: {name: other, namespace: elsewhere}\nspec: {containers: [{name: main, image: busybox, command: [sleep, '1000']}], terminationGracePeriodSeconds: 0}\n";
    node.world.start(other);
    node.run();
    node.wait_ready(&["mount-a"]);
    assert_eq!(node.ok(&started), before);
    assert!(version(&node) > version_before);
    node.until(&["get", "pod", "other", "-n", "elsewhere", "-o", "jsonpath={.status.phase}"], |text| {
        text == "Running"
    });
    node.end(Signal::TERM);
    assert_eq!(node.world.run(&["rm", "-f", "mount-a"]).status, 0);
    node.run();
    node.until(&["get", "pods", "-A", "-o", "name"], |text| text == "pod/other\n");
    assert_eq!(node.ok(&["delete", "pods", "-n", "elsewhere", "--all"]).lines().count(), 1);
}

#[test]
fn nobody_gets_in_without_the_kubeconfig() {
    use std::os::unix::fs::PermissionsExt as _;
    let Some(node) = Node::start("nobody_gets_in_without_the_kubeconfig") else { return };
    let printed = node.world.run(&["kubeconfig"]);
    assert_eq!(printed.stdout, std::fs::read_to_string(&node.kubeconfig).unwrap());
    let server = printed.stdout.lines().find_map(|line| line.trim().strip_prefix("server: ")).unwrap();
    let path = node.world.file("anonymous", &format!(
        "apiVersion: v1\nkind: Config\nclusters: [{{name: c, cluster: {{server: {server}, insecure-skip-tls-verify: true}}}}]\nusers: [{{name: u, user: {{token: wrong}}}}]\ncontexts: [{{name: x, context: {{cluster: c, user: u}}}}]\ncurrent-context: x\n"
    ));
    for args in [vec!["get", "pods"], vec!["get", "--raw", "/healthz"], vec!["get", "--raw", "/nosuch"]] {
        let ran = node.kubectl(&[&["--kubeconfig", path.as_str()], args.as_slice()].concat());
        assert_eq!(ran.status, 1, "{ran:?}");
        assert!(ran.stderr.contains("You must be logged in to the server"), "{ran:?}");
    }
    for file in ["lib/node/kubeconfig", "lib/node/authority.key", "lib/node/journal", "run/node.sock"] {
        let mode = node.world.root().join(file).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{file} has mode {mode:o}");
    }
    let second = node.world.run(&["node", "--listen", "127.0.0.1:0"]);
    assert_eq!(second.status, 2, "{second:?}");
    assert!(second.stderr.contains("another node has this root"), "{second:?}");
}

#[test]
fn bad_requests_are_answered_and_harm_nothing() {
    let Some(node) = Node::start("bad_requests_are_answered_and_harm_nothing") else { return };
    let pods = "/api/v1/namespaces/default/pods";
    let json = "Content-Type: application/json\r\n";
    let huge = vec![b' '; 10 << 20];
    /// Method, path, headers, body; code, words of the answer.
    type Case<'a> = (&'a str, &'a str, &'a str, &'a [u8], u16, &'a str);
    let cases: [Case<'_>; 13] = [
        ("GET", "/foo", "", b"", 404, "404 page not found"),
        ("GET", "/apis/foo/v1/bars", "", b"", 404, "404 page not found"),
        (
            "GET",
            "/api/v1/namespaces/default/poods",
            "",
            b"",
            404,
            "the server could not find the requested resource",
        ),
        ("POST", pods, json, b"", 400, "unexpected end of JSON input (<empty>)"),
        ("POST", pods, json, b"{\"apiVersion\":", 400, "unexpected end of JSON input ({\\\"apiVersion\\\":)"),
        ("POST", pods, json, &huge, 413, "Request entity too large: limit is 3145728"),
        (
            "POST",
            pods,
            "Content-Type: text/plain\r\n",
            b"x",
            415,
            "the body of the request was in an unknown format",
        ),
        (
            "POST",
            "/api/v1/namespaces/default/pods/x",
            json,
            b"{}",
            405,
            "the server does not allow this method on the requested resource",
        ),
        ("GET", pods, "Accept: text/html\r\n", b"", 406, "406: Not Acceptable"),
        ("GET", "/api/v1/pods?limit=1&continue=foo", "", b"", 400, "invalid continue token"),
        (
            "POST",
            "/api/v1/namespaces/default/pods?fieldValidation=Foo",
            json,
            b"{}",
            422,
            "fieldValidation: Unsupported value: \\\"Foo\\\"",
        ),
        (
            "GET",
            "/api/v1/pods?resourceVersion=abc",
            "",
            b"",
            500,
            "strconv.ParseUint: parsing \\\"abc\\\": invalid syntax",
        ),
        ("DELETE", "/api/v1/namespaces/default/pods/nosuch", "", b"", 404, "pods \\\"nosuch\\\" not found"),
    ];
    for (method, path, headers, body, code, words) in cases {
        let (found, answer) = node.request(method, path, headers, body);
        assert_eq!(found, code, "{method} {path}: {answer}");
        assert!(answer.contains(words), "{method} {path}: {answer}");
    }
    assert_eq!(node.request("GET", "/readyz", "", b""), (200, "ok".to_owned()));
    let (code, watched) =
        node.request("GET", "/api/v1/pods?watch=true&timeoutSeconds=1&resourceVersion=99999999", "", b"");
    assert_eq!(code, 200);
    assert!(
        watched.contains("\"type\":\"ERROR\"") && watched.contains("Too large resource version"),
        "{watched}"
    );
    let (_, events) = node.request("GET", "/api/v1/namespaces?watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=1", "", b"");
    let kinds: Vec<String> = events
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["type"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kinds, ["ADDED", "ADDED", "ADDED", "BOOKMARK", "BOOKMARK"], "{events}");
    assert!(events.contains("k8s.io/initial-events-end"));
}

#[test]
fn objects_are_changed_as_on_a_cluster() {
    for node in Node::with_each_kubectl("objects_are_changed_as_on_a_cluster") {
        let manifest = node.manifest("mount-a", "Bidirectional");
        let file = node.world.file("mount-a.yaml", &manifest);
        assert_eq!(node.ok(&["apply", "-f", &file]), "pod/mount-a created\n");
        node.wait_ready(&["mount-a"]);
        assert_eq!(
            node.ok(&["wait", "--for=condition=Ready", "pod/mount-a", "--timeout=60s"]),
            "pod/mount-a condition met\n"
        );
        node.refused(
            &["wait", "--for=condition=Foo", "pod/mount-a", "--timeout=1s"],
            "error: timed out waiting for the condition on pods/mount-a\n",
        );
        assert_eq!(node.ok(&["apply", "-f", &file]), "pod/mount-a unchanged\n");
        let labelled =
            node.world.file("labelled.yaml", &manifest.replace("app: mount", "app: mount\n      new: x"));
        assert_eq!(node.ok(&["apply", "-f", &labelled]), "pod/mount-a configured\n");
        for (args, said) in [
            (vec!["label", "pod", "mount-a", "tier=x"], "pod/mount-a labeled\n"),
            (vec!["label", "pod", "mount-a", "tier=y", "--overwrite"], "pod/mount-a labeled\n"),
            (vec!["label", "pod", "mount-a", "tier=y"], "pod/mount-a not labeled\n"),
            (vec!["label", "pod", "mount-a", "tier-"], "pod/mount-a unlabeled\n"),
            (vec!["annotate", "pod", "mount-a", "note=1"], "pod/mount-a annotated\n"),
            (vec!["annotate", "pod", "mount-a", "note-"], "pod/mount-a annotated\n"),
            (
                vec!["patch", "pod", "mount-a", "-p", r#"{"metadata":{"labels":{"p":"1"}}}"#],
                "pod/mount-a patched\n",
            ),
            (
                vec!["patch", "pod", "mount-a", "-p", r#"{"metadata":{"labels":{"p":"1"}}}"#],
                "pod/mount-a patched (no change)\n",
            ),
            (
                vec![
                    "patch",
                    "pod",
                    "mount-a",
                    "--type=merge",
                    "-p",
                    r#"{"metadata":{"labels":{"p":null}}}"#,
                ],
                "pod/mount-a patched\n",
            ),
            (
                vec![
                    "patch",
                    "pod",
                    "mount-a",
                    "--type=json",
                    "-p",
                    r#"[{"op":"add","path":"/metadata/labels/j","value":"1"}]"#,
                ],
                "pod/mount-a patched\n",
            ),
        ] {
            assert_eq!(node.ok(&args), said, "{args:?}");
        }
        let labels = node.ok(&["get", "pod", "mount-a", "-o", "jsonpath={.metadata.labels}"]);
        assert_eq!(labels, r#"{"app":"mount","j":"1","new":"x"}"#);
        node.refused(
            &[
                "patch",
                "pod",
                "mount-a",
                "--type=json",
                "-p",
                r#"[{"op":"remove","path":"/metadata/labels/nosuch"}]"#,
            ],
            "The request is invalid: the server rejected our request due to an error in our request\n",
        );
        node.refused(
            &["patch", "pod", "mount-a", "-p", r#"{"metadata":"#],
            "Error from server (BadRequest): unexpected end of JSON input\n",
        );
        let other = node.world.file("other.yaml", &manifest.replace("Bidirectional", "HostToContainer"));
        let refused = node.kubectl(&["apply", "-f", &other]);
        assert!(
        refused.stderr.starts_with("The Pod \"mount-a\" is invalid: spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`"),
        "{refused:?}"
    );
        let mut edit = node.command(&["edit", "pod", "mount-a"]);
        let edited = support::ran(edit.env("KUBE_EDITOR", "sed -i 's/new: x/new: z/'").output().unwrap());
        assert_eq!(edited.stdout, "pod/mount-a edited\n", "{edited:?}");
        // Who comes with an old version is told so.
        let whole = node.ok(&["get", "pod", "mount-a", "-o", "yaml"]);
        node.ok(&["label", "pod", "mount-a", "quick=er"]);
        let stale = node.world.file("stale.yaml", &whole);
        node.refused(
        &["replace", "-f", &stale],
        &format!("Error from server (Conflict): error when replacing {stale:?}: Operation cannot be fulfilled on pods \"mount-a\": the object has been modified; please apply your changes to the latest version and try again\n"),
    );
        let server_side = node.kubectl(&["apply", "--server-side", "-f", &file]);
        assert!(
            server_side.status == 1 && server_side.stderr.contains("server-side apply is not supported yet"),
            "{server_side:?}"
        );
    }
}

/// Two containers: one that says five lines and stays, one that fails once and then stays.
const TALKERS: &str = "apiVersion: v1
kind: Pod
metadata: {name: two}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: c1, image: busybox, command: [sh, -c, 'for i in 1 2 3; do echo c1 line $i; done; echo c1 to stderr >&2; sleep 1000']}
  - {name: c2, image: busybox, command: [sh, -c, 'if [ -e /m/once ]; then echo second; sleep 1000; fi; echo first; touch /m/once; exit 3'], volumeMounts: [{name: m, mountPath: /m}]}
  volumes: [{name: m, emptyDir: {}}]
";

#[test]
fn logs_are_those_of_the_container() {
    for node in Node::with_each_kubectl("logs_are_those_of_the_container") {
        assert_eq!(node.with_input(&["create", "-f", "-"], TALKERS.as_bytes()).stdout, "pod/two created\n");
        let all = "c1 line 1\nc1 line 2\nc1 line 3\nc1 to stderr\n";
        node.until(&["logs", "two", "-c", "c1"], |text| text.lines().count() == 4);
        let defaulted = node.kubectl(&["logs", "two"]);
        assert_eq!(defaulted.stderr, "Defaulted container \"c1\" out of: c1, c2\n");
        let sorted = |text: &str| {
            let mut lines: Vec<&str> = text.lines().collect();
            lines.sort_unstable();
            lines.join("\n") + "\n"
        };
        assert_eq!(sorted(&defaulted.stdout), all);
        assert_eq!(node.ok(&["logs", "two", "-c", "c1", "--tail=2"]).lines().count(), 2);
        assert_eq!(node.ok(&["logs", "two", "-c", "c1", "--limit-bytes=6"]).len(), 6);
        assert_eq!(node.ok(&["logs", "two", "-c", "c1", "--since=1h"]).lines().count(), 4);
        let timed = node.ok(&["logs", "two", "-c", "c1", "--timestamps"]);
        assert!(
            timed
                .lines()
                .all(|line| line.len() > 31 && line.as_bytes()[29] == b'Z' && &line[30..34] == " c1 "),
            "{timed}"
        );
        node.until(&["logs", "two", "-c", "c2"], |text| text == "second\n");
        assert_eq!(node.ok(&["logs", "two", "-c", "c2", "-p"]), "first\n");
        node.refused(
            &["logs", "two", "-c", "c1", "-p"],
            "Error from server (BadRequest): previous terminated container \"c1\" in pod \"two\" not found\n",
        );
        let missing = node.kubectl(&["logs", "nosuch"]);
        assert_eq!(missing.status, 1, "{missing:?}");
        let absent = "apiVersion: v1\nkind: Pod\nmetadata: {name: absent}\nspec: {containers: [{name: main, image: 'localhost:1/none:1', imagePullPolicy: Never}]}\n";
        node.with_input(&["create", "-f", "-"], absent.as_bytes());
        node.until(&["get", "pods"], |text| text.contains("ErrImageNeverPull"));
        node.refused(
        &["logs", "absent"],
        "Error from server (BadRequest): container \"main\" in pod \"absent\" is waiting to start: ErrImageNeverPull\n",
    );
        // The image of a volume is one of the pod's.
        let absent_volume = "apiVersion: v1\nkind: Pod\nmetadata: {name: data}\nspec:\n  volumes: [{name: v, image: {reference: 'localhost:1/none:1', pullPolicy: Never}}]\n  containers: [{name: main, image: busybox, volumeMounts: [{name: v, mountPath: /v}]}]\n";
        node.with_input(&["create", "-f", "-"], absent_volume.as_bytes());
        let reason = "jsonpath={.status.containerStatuses[0].state.waiting.reason}";
        node.until(&["get", "pod", "data", "-o", reason], |text| text == "ErrImageNeverPull");
        node.ok(&["delete", "pod", "data"]);
        // Followed to its end, which is that of the pod.
        let follow = node
            .command(&["logs", "-f", "two", "-c", "c1"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        node.ok(&["delete", "pod", "absent"]);
        let deleted = node.kubectl(&["delete", "pod", "two"]);
        assert_eq!(deleted.status, 0, "{deleted:?}");
        let followed = support::ran(follow.wait_with_output().unwrap());
        assert_eq!((followed.status, sorted(&followed.stdout).as_str()), (0, all), "{followed:?}");
    }
}

#[test]
fn a_watch_tells_what_becomes_of_pods() {
    for node in Node::with_each_kubectl("a_watch_tells_what_becomes_of_pods") {
        let file = node.world.file("mount-b.yaml", &node.manifest("mount-b", "None"));
        node.ok(&["create", "-f", &file]);
        node.wait_ready(&["mount-b"]);
        let mut watch = node.command(&["get", "pods", "-w", "--output-watch-events"]);
        let watch = watch.stdout(std::process::Stdio::piped()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_secs(1));
        node.ok(&["delete", "pod", "mount-b", "--grace-period=1"]);
        node.ok(&["create", "-f", &file]);
        node.wait_ready(&["mount-b"]);
        std::thread::sleep(std::time::Duration::from_millis(500));
        rustix::process::kill_process(rustix::process::Pid::from_child(&watch), Signal::TERM).unwrap();
        let told = String::from_utf8(watch.wait_with_output().unwrap().stdout).unwrap();
        let mut rows: Vec<String> = columns(&told)
            .lines()
            .map(|line| line.split(' ').take(4).collect::<Vec<_>>().join(" "))
            .collect();
        rows.dedup();
        let expected = [
            "EVENT NAME READY STATUS",
            "ADDED mount-b 1/1 Running",
            "MODIFIED mount-b 1/1 Terminating",
            "DELETED mount-b 0/1 ",
            "ADDED mount-b 0/1 Pending",
            "MODIFIED mount-b 0/1 ContainerCreating",
            "MODIFIED mount-b 1/1 Running",
        ];
        let mut rest = rows.iter();
        for expected in expected {
            assert!(rest.any(|row| row.starts_with(expected)), "{expected} is not (there) in {rows:#?}");
        }
    }
}

#[test]
fn a_daemon_set_has_one_pod_of_its_template() {
    let Some(node) = Node::start("a_daemon_set_has_one_pod_of_its_template") else { return };
    let volume = node.world.volume().display().to_string();
    // As kubectl-debug's own: the host's processes, privileged, Bidirectional, asked whether it lives.
    let set = format!(
        "apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: agent, labels: {{app: agent}}}}
spec:
  selector: {{matchLabels: {{app: agent}}}}
  template:
    metadata: {{labels: {{app: agent}}}}
    spec:
      hostPID: true
      terminationGracePeriodSeconds: 0
      containers:
      - name: agent
        image: busybox
        command: [httpd, -f, -p, '10027', -h, /bin]
        securityContext: {{privileged: true}}
        livenessProbe: {{httpGet: {{path: /busybox, port: 10027}}, periodSeconds: 1}}
        volumeMounts: [{{name: lxcfs, mountPath: /var/lib/lxc, mountPropagation: Bidirectional}}]
      volumes: [{{name: lxcfs, hostPath: {{path: {volume}, type: DirectoryOrCreate}}}}]
"
    );
    let file = node.world.file("set.yaml", &set);
    assert_eq!(node.ok(&["apply", "-f", &file]), "daemonset.apps/agent created\n");
    let ready = |node: &Node| {
        node.until(&["get", "ds", "agent"], |text| columns(text).contains("\nagent 1 1 1 1 1 <none> AGE\n"));
        node.ok(&["get", "pods", "-l", "app=agent", "-o", "name"])
    };
    let first = ready(&node);
    assert!(first.starts_with("pod/agent-") && first.lines().count() == 1, "{first}");
    node.ok(&["delete", first.trim()]);
    let second = ready(&node);
    assert_ne!(first, second);
    assert_eq!(node.ok(&["apply", "-f", &file]), "daemonset.apps/agent unchanged\n");
    let changed = node.world.file(
        "changed.yaml",
        &set.replace(
            "metadata: {labels: {app: agent}}\n    spec",
            "metadata: {labels: {app: agent, new: x}}\n    spec",
        ),
    );
    assert_eq!(node.ok(&["apply", "-f", &changed]), "daemonset.apps/agent configured\n");
    node.until(&["get", "pods", "-l", "new=x", "-o", "jsonpath={.items[*].status.phase}"], |text| {
        text == "Running"
    });
    // What is only tried lets no pod go.
    node.ok(&["delete", "ds", "agent", "--cascade=orphan", "--dry-run=server"]);
    let owner = "jsonpath={.items[*].metadata.ownerReferences[*].name}";
    assert_eq!(node.ok(&["get", "pods", "-l", "new=x", "-o", owner]), "agent");
    node.ok(&["delete", "ds", "agent"]);
    node.until(&["get", "pods", "-o", "name"], str::is_empty);
}

#[test]
fn kubectl_explains_and_lists_what_there_is() {
    for node in Node::with_each_kubectl("kubectl_explains_and_lists_what_there_is") {
        let explained = node.ok(&["explain", "pod.spec.containers.volumeMounts.mountPropagation"]);
        let modes = "mounts from the host or other containers, and its own mounts will be\n    propagated from the container to the host or other containers. Note that\n    this mode is recursively applied to all mounts in the volume (\"rshared\" in\n    Linux terminology).\n";
        assert!(explained.contains("\n    Possible enum values:\n     - `\"Bidirectional\"` means that the volume in a container will receive new\n") && explained.contains(modes), "{explained}");
        assert!(node.ok(&["explain", "pod"]).contains("\n  metadata\t<ObjectMeta>\n"));
        // The old one does not list them by themselves.
        let values = "ENUM:\n    Bidirectional\n    HostToContainer\n    None\n\n";
        assert_eq!(explained.contains(values), !node.is_old());
        let begin = "KIND:       Pod\nVERSION:    v1\n\nFIELD: mountPropagation <string>\n\nDESCRIPTION:\n    mountPropagation determines how mounts are propagated from the host to\n    container and the other way around.";
        assert!(explained.replace(values, "\n").starts_with(begin), "{explained}");
        assert!(
            node.ok(&["explain", "ds.spec.template.spec.volumes.hostPath"])
                .contains("FIELD: hostPath <HostPathVolumeSource>")
        );
        node.refused(&["explain", "pod.foo"], "error: field \"foo\" does not exist\n");
        let resources = columns(&node.ok(&["api-resources"]));
        let expected = "NAME SHORTNAMES APIVERSION NAMESPACED KIND\nconfigmaps cm v1 true ConfigMap\nevents ev v1 true Event\nnamespaces ns v1 false Namespace\nnodes no v1 false Node\npersistentvolumeclaims pvc v1 true PersistentVolumeClaim\npersistentvolumes pv v1 false PersistentVolume\npods po v1 true Pod\nsecrets v1 true Secret\nserviceaccounts sa v1 true ServiceAccount\ndaemonsets ds apps/v1 true DaemonSet\n";
        assert_eq!(resources, expected);
        assert_eq!(node.ok(&["api-versions"]), "apps/v1\nv1\n");
    }
}

/// What a real API server answered to wrong manifests. The recordings are not part of the project: `RHIZOME_REFERENCE`
/// names their folder, else it is looked for beside the workspace.
#[test]
fn wrong_manifests_are_refused_in_kubernetes_own_words() {
    let name = "wrong_manifests_are_refused_in_kubernetes_own_words";
    let named = std::env::var_os("RHIZOME_REFERENCE").map(std::path::PathBuf::from);
    let beside = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/reference");
    let folder = named.unwrap_or(beside).join("recordings/errors");
    if !folder.is_dir() {
        return support::skipped(name, "no recordings (RHIZOME_REFERENCE)");
    }
    let Some(node) = Node::start(name) else { return };
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        // A workload that is not served is another matter.
        if text.contains("kind: Deployment") {
            continue;
        }
        let sections: Vec<(&str, &str)> = text
            .split("\n----- ")
            .skip(1)
            .map(|section| section.split_once('\n').unwrap_or((section, "")))
            .collect();
        let section = |title: &str| {
            sections
                .iter()
                .find(|(found, _)| *found == title)
                .map_or(String::new(), |(_, text)| format!("{text}\n"))
        };
        let here = node.world.root().with_file_name("manifests");
        std::fs::create_dir_all(&here).unwrap();
        for (title, content) in sections.iter().filter(|(title, _)| title.starts_with("input file ")) {
            let content = content.trim_end_matches("\\ no newline at end");
            std::fs::write(here.join(title.trim_start_matches("input file ")), format!("{content}\n"))
                .unwrap();
        }
        let command = section("command");
        let args: Vec<&str> = command.split_whitespace().skip(1).collect();
        let ran = support::ran(node.command(&args).current_dir(&here).output().unwrap());
        let expected = section("stderr");
        let expected = if expected == "\n" { "" } else { expected.as_str() };
        let code = section("exit status").trim().parse::<i32>().unwrap();
        // Container ids of 64 digits are never the same.
        let said = ran.stderr.clone();
        if ran.status != code || (said != expected && !expected.contains("ID64")) {
            wrong.push(format!("{}: {ran:?}, expected {code} {expected:?}", path.display()));
        }
        if code == 0 {
            node.kubectl(&["delete", "pods", "--all", "--now"]);
        }
    }
    node.kubectl(&["delete", "pods", "--all", "--now"]);
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn systemd_is_told_when_the_node_is_ready() {
    let name = "systemd_is_told_when_the_node_is_ready";
    let Some(world) = world::World::isolated(name) else { return };
    let path = world.root().with_file_name("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(node::PATIENCE)).unwrap();
    let mut command = world.command(&["node", "--isolated", "--listen", "127.0.0.1:0"]);
    command
        .env("NOTIFY_SOCKET", &path)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut said = [0; 64];
    let count = socket.recv(&mut said).unwrap();
    assert_eq!(&said[..count], b"READY=1");
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM).unwrap();
    let count = socket.recv(&mut said).unwrap();
    assert_eq!(&said[..count], b"STOPPING=1");
    assert!(child.wait().unwrap().success());
    world.assert_nothing_left();
}

#[test]
fn pods_of_the_folder_of_manifests_come_and_go_with_their_files() {
    let Some(node) = Node::start("pods_of_the_folder_of_manifests_come_and_go_with_their_files") else {
        return;
    };
    let path = node.manifests().join("web.yaml");
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: web, labels: {v: one}}\nspec: {terminationGracePeriodSeconds: 0, containers: [{name: main, image: busybox, command: [sleep, '1000']}]}\n";
    std::fs::write(&path, pod).unwrap();
    let running = ["get", "pods", "-o", "jsonpath={.items[*].metadata.labels.v} {.items[*].status.phase}"];
    node.until(&running, |text| text == "one Running");
    assert_eq!(node.ok(&["get", "pods", "-o", "name"]), format!("pod/web-{}\n", node_name(&node)));
    std::fs::write(&path, pod.replace("one", "two")).unwrap();
    node.until(&running, |text| text == "two Running");
    // What cannot be understood takes nothing away.
    std::fs::write(&path, "kind: Pod\n").unwrap();
    std::thread::sleep(std::time::Duration::from_secs(5));
    assert_eq!(node.ok(&running), "two Running");
    std::fs::remove_file(&path).unwrap();
    node.until(&["get", "pods", "-o", "name"], str::is_empty);
}
