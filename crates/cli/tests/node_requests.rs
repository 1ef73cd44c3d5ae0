//! What clients of the node send besides objects: evictions, and all that a server must bear.

#[path = "support/node.rs"]
mod node;
mod support;
#[path = "support/world.rs"]
mod world;

use node::{Node, columns};
use rustix::process::Signal;

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
