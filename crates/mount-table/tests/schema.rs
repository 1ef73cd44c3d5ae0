//! docs/reference/node-snapshot.schema.json says what documents have: no more, no less.

#[path = "schema/check.rs"]
mod check;

use check::Schema;
use mount_table::node::{Container, Gap, Keeper, Missing, Owner, Pod, Process, Runtime};
use mount_table::{MountId, MountTable, NamespaceId, NamespaceTable, NamespaceView, Node, Snapshot};
use serde_json::Value;

const SCHEMA: &str = include_str!("../../../docs/reference/node-snapshot.schema.json");

/// A node that has everything that a document can have.
fn node() -> Node {
    let mounts = |text: &str| MountTable::parse_mountinfo(text.as_bytes()).unwrap();
    let rows = "21 1 8:1 / / rw shared:7 - ext4 /dev/sda1 rw\n\
                30 21 0:25 /x//deleted /mnt/a\\040b rw master:7 propagate_from:1 - tmpfs none rw\n\
                31 21 0:26 / /mnt/c rw unbindable - tmpfs none rw\n";
    let time = "2026-11-23T08:00:00Z".parse().unwrap();
    let mut node = Node::new(time, "6.18.0".to_owned());
    node.boot_id = Some("5f6f2a3e".to_owned());
    node.host = Some(NamespaceId(1));
    node.reader = Some(NamespaceId(1));
    node.mount_max = Some(100_000);
    let missing = [
        Missing::Processes(vec![7]),
        Missing::Mounts(NamespaceId(9)),
        Missing::KeptNamespaces,
        Missing::UniqueIds(NamespaceId(1)),
        Missing::Names(Runtime::CriO),
    ];
    node.gaps = missing.into_iter().map(|what| Gap { what, why: "no".to_owned() }).collect();
    let container = |runtime| {
        let word = || Some("word".to_owned());
        let pod = Some(Pod { uid: word(), namespace: word(), name: word() });
        Container { runtime: Some(runtime), id: "id".to_owned(), name: word(), pod }
    };
    let runtimes = [
        Runtime::Rhizome,
        Runtime::Containerd,
        Runtime::CriO,
        Runtime::Docker,
        Runtime::Podman,
        Runtime::Machine,
        Runtime::Lxc,
    ];
    let service = Owner::Service { name: "systemd-udevd.service".to_owned() };
    let others = [Owner::Host, service, Owner::Processes, Owner::Kept, Owner::Unknown];
    let owners = others.into_iter().chain(runtimes.map(|runtime| Owner::Container(container(runtime))));
    for (owner, id) in owners.zip(1..) {
        let mut view = NamespaceView::new(NamespaceId(id), mounts(rows));
        view.owner = owner;
        view.unique_id = Some(id);
        view.user_namespace = Some(2);
        view.unique_mount_ids = (1..=3).map(MountId).collect();
        view.seen_from = Some("/chroot".into());
        view.moved = true;
        view.since = Some(time);
        view.processes = vec![Process {
            pid: 7,
            comm: "sleep".to_owned(),
            root: Some("/chroot".into()),
            container: Some(container(Runtime::Lxc)),
        }];
        view.kept_by = vec![
            Keeper::Descriptor { pid: 3, comm: "x".to_owned(), fd: 7 },
            Keeper::Thread { pid: 3, tid: 4, comm: "x".to_owned() },
            Keeper::Bind { namespace: NamespaceId(1), mount_point: "/run/netns/x".into() },
        ];
        node.namespaces.push(view);
    }
    node
}

#[test]
fn the_schema_says_what_a_document_has_and_no_more() {
    let schema = Schema::parse(SCHEMA);
    let node = node();
    let document: Value = serde_json::from_slice(&node.to_json().unwrap()).unwrap();
    schema.check("NodeSnapshot", &document).unwrap();
    let of = |id| NamespaceTable { id: NamespaceId(id), mounts: node.namespaces[0].mounts.clone() };
    let snapshot = Snapshot { namespaces: vec![of(1), of(2)] };
    schema.check("Snapshot", &serde_json::to_value(&snapshot).unwrap()).unwrap();
    assert_eq!(schema.not_met(), Vec::<String>::new());
    // A node of which nothing is known.
    let bare = Node::new(node.taken, String::new());
    let document: Value = serde_json::from_slice(&bare.to_json().unwrap()).unwrap();
    schema.check("NodeSnapshot", &document).unwrap();
}

/// What is asserted of documents is asserted by something that can fail.
#[test]
fn what_is_not_in_the_schema_is_seen() {
    let schema = Schema::parse(SCHEMA);
    let good: Value = serde_json::from_slice(&node().to_json().unwrap()).unwrap();
    let with = |pointer: &str, value: Value| {
        let mut other = good.clone();
        *other.pointer_mut(pointer).unwrap() = value;
        schema.check("NodeSnapshot", &other)
    };
    assert!(schema.check("NodeSnapshot", &good).is_ok());
    assert!(with("/kind", "Node".into()).is_err());
    assert!(with("/mountMax", (-1).into()).is_err());
    assert!(with("/namespaces/0/mounts/0/id", "21".into()).is_err());
    assert!(with("/namespaces/0/owner/kind", "pod".into()).is_err());
    assert!(with("/namespaces/0/mounts/0/propagation", Value::Object(Default::default())).is_err());
    let mut more = good.clone();
    more["namespaces"][0]["more"] = 1.into();
    assert!(schema.check("NodeSnapshot", &more).is_err());
}
