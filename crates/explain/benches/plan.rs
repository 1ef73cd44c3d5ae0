//! How long plans and lint take: a plan on a node of 25,000 mounts, lint of 1,000 documents. `cargo bench -p explain`.
#![allow(clippy::disallowed_macros, clippy::disallowed_methods, reason = "a measuring program")]

use explain::plan::{Manifests, Node, Origin, Request, plan};
use manifest::Source;
use mount_table::MountTable;
use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Instant;

const POD: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: pNUMBER}
spec:
  containers:
  - name: main
    image: busybox
    securityContext: {privileged: true}
    volumeMounts:
    - {name: v, mountPath: /v, mountPropagation: Bidirectional}
    - {name: w, mountPath: /v/inner}
    - {name: c, mountPath: /c, readOnly: true}
  - name: other
    image: busybox
    volumeMounts:
    - {name: v, mountPath: /v, mountPropagation: HostToContainer}
  volumes: [{name: v, hostPath: {path: /srv/v}}, {name: w, emptyDir: {}}, {name: c, configMap: {name: c}}]
---
";

fn main() {
    let node = node();
    for (what, count) in [("1 pod", 1), ("10 pods", 10)] {
        let text: String = (0..count).map(|at| POD.replace("NUMBER", &at.to_string())).collect();
        let start = Instant::now();
        let manifests = Manifests::survey(&[Source { name: "f.yaml", bytes: text.as_bytes() }]);
        let planned = plan(&manifests, &Request { node: &node, then: &[], restarts: 5 }).expect("a plan");
        let milliseconds = start.elapsed().as_secs_f64() * 1e3;
        println!("plan of {what} on 25,000 mounts: {milliseconds:.1} ms ({} places)", planned.matrices.len());
    }
    let text: String = (0..1_000).map(|at| POD.replace("NUMBER", &at.to_string())).collect();
    let start = Instant::now();
    let found = explain::lint::lint(&[Source { name: "f.yaml", bytes: text.as_bytes() }]);
    let milliseconds = start.elapsed().as_secs_f64() * 1e3;
    println!("lint of 1,000 documents: {milliseconds:.1} ms ({} findings)", black_box(found.len()));
}

fn node() -> Node {
    let mut text = String::from("1 0 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n");
    for n in 2..25_001 {
        let _ = writeln!(
            text,
            "{n} 1 0:{n} / /var/lib/kubelet/pods/{n}/volumes/kubernetes.io~empty-dir/cache rw,relatime shared:{n} - tmpfs tmpfs rw,size=1024k"
        );
    }
    Node::new(Origin::Snapshot, MountTable::parse_mountinfo(text.as_bytes()).expect("a table"))
}
