//! docs/reference/operations.schema.json says what operations, effects and words are in JSON: no more, no less.

#[path = "../../../mount-table/tests/schema/check.rs"]
mod check;

use crate::{
    Attributes, Change, Effects, Errno, Handle, Kernel, Missing, Node, Op, PropagationType, RuleId, World,
};
use check::Schema;
use mount_table::{MountId, NamespaceId, PeerGroup, Propagation};
use serde_json::{Value, json};
use std::path::PathBuf;

const SCHEMA: &str = include_str!("../../../../docs/reference/operations.schema.json");

/// Every operation. What [`Op`] gets more, the schema has to get too: [`is_listed`] then does not compile.
fn operations() -> Vec<Op> {
    let path = || PathBuf::from("/a");
    let (at, out) = (Handle(1), Handle(2));
    let (fs_type, source) = ("tmpfs".to_owned(), "none".to_owned());
    let attributes = Attributes { read_only: true, ..Attributes::NONE };
    let options = vec![("size".to_owned(), Some("1m".to_owned())), ("ro".to_owned(), None)];
    let types = [
        Some(PropagationType::Shared),
        Some(PropagationType::Slave),
        Some(PropagationType::Private),
        Some(PropagationType::Unbindable),
        None,
    ];
    let nodes = [
        Node::Directory { mode: 0o755 },
        Node::File { mode: 0o644 },
        Node::Symlink { target: path() },
        Node::CharDevice { mode: 0o666, major: 1, minor: 3 },
        Node::BlockDevice { mode: 0o660, major: 8, minor: 1 },
    ];
    let missing = [Some(Missing::Directory), Some(Missing::File), None];
    let mut all = vec![
        Op::CloneTree { from: at, recursive: true, out },
        Op::NewFileSystem { fs_type: fs_type.clone(), source: source.clone(), options, attributes, out },
        Op::MapIds { mount: at, recursive: true },
        Op::MoveMount { from: at, to: out },
        Op::SetGroup { from: at, to: out },
        Op::Unmount { at, detach: true },
        Op::UnshareMounts,
        Op::PivotRoot { new_root: at },
        Op::Close { handle: at },
        Op::MoveMountBeneath { from: at, to: out },
        Op::OpenNamespace { out },
        Op::EnterNamespace { namespace: at },
        Op::UnshareUserAndMounts,
        Op::Mount { fs_type, source, target: path(), attributes },
        Op::Remount { target: path(), attributes, bind: true },
        Op::Bind { source: path(), target: path(), recursive: true },
        Op::Move { source: path(), target: path() },
        Op::MoveBeneath { source: path(), target: path() },
        Op::ChangeType { target: path(), to: PropagationType::Shared, recursive: true },
        Op::UnmountPath { target: path(), detach: true, expire: false },
        Op::PivotRootTo { new_root: path(), put_old: path() },
        Op::ChangeRoot { path: path() },
        Op::ChangeDirectory { path: path() },
        Op::Create { path: path(), kind: Missing::File },
        Op::RemoveDirectory { path: path() },
        Op::Unlink { path: path() },
        Op::Rename { from: path(), to: path() },
    ];
    all.extend(missing.map(|missing| Op::Open { root: at, path: path(), follow: true, missing, out }));
    all.extend(nodes.map(|node| Op::Make { root: at, path: path(), node }));
    all.extend(types.map(|propagation| Op::SetAttributes {
        mount: at,
        recursive: true,
        set: attributes,
        clear: Attributes::NONE,
        propagation,
    }));
    assert!(all.iter().all(is_listed));
    all
}

/// Without a `_`: a new operation is missed here.
fn is_listed(op: &Op) -> bool {
    match op {
        Op::Open { .. } | Op::CloneTree { .. } | Op::NewFileSystem { .. } | Op::Make { .. } => true,
        Op::SetAttributes { .. } | Op::MapIds { .. } | Op::MoveMount { .. } | Op::SetGroup { .. } => true,
        Op::Unmount { .. } | Op::UnshareMounts | Op::PivotRoot { .. } | Op::Close { .. } => true,
        Op::MoveMountBeneath { .. } | Op::OpenNamespace { .. } | Op::EnterNamespace { .. } => true,
        Op::UnshareUserAndMounts | Op::Mount { .. } | Op::Remount { .. } | Op::Bind { .. } => true,
        Op::Move { .. } | Op::MoveBeneath { .. } | Op::ChangeType { .. } | Op::UnmountPath { .. } => true,
        Op::PivotRootTo { .. } | Op::ChangeRoot { .. } | Op::ChangeDirectory { .. } => true,
        Op::Create { .. } | Op::RemoveDirectory { .. } | Op::Unlink { .. } | Op::Rename { .. } => true,
    }
}

fn changes() -> Vec<Change> {
    let (mount, parent, onto, namespace) = (MountId(1), MountId(2), MountId(3), NamespaceId(4));
    let shared =
        Propagation { shared: Some(PeerGroup(1)), master: Some(PeerGroup(2)), ..Propagation::PRIVATE };
    let from = Propagation { propagate_from: Some(PeerGroup(1)), ..shared };
    let all = vec![
        Change::Attached { mount, parent, namespace },
        Change::PushedUp { mount, onto },
        Change::SlidDown { mount, onto },
        Change::Left { mount, parent },
        Change::Detached { mount, namespace },
        Change::Untouched { mount },
        Change::Retyped { mount, from, to: shared },
        Change::Handed { mount, master: Some(parent) },
        Change::Handed { mount, master: None },
        Change::Copied { from: mount, to: onto },
        Change::Created { mount },
        Change::Locked { mount },
        Change::Unlocked { mount },
        Change::AttributesChanged { mount },
        Change::NamespaceMade { namespace },
        Change::NamespaceGone { namespace },
        Change::Other,
    ];
    // Without a `_`, as above.
    let is_listed = |change: &Change| match change {
        Change::Attached { .. } | Change::PushedUp { .. } | Change::SlidDown { .. } | Change::Left { .. } => {
            true
        }
        Change::Detached { .. } | Change::Untouched { .. } | Change::Retyped { .. } => true,
        Change::Handed { .. } | Change::Copied { .. } | Change::Created { .. } | Change::Locked { .. } => {
            true
        }
        Change::Unlocked { .. } | Change::AttributesChanged { .. } | Change::NamespaceMade { .. } => true,
        Change::NamespaceGone { .. } | Change::Other => true,
    };
    assert!(all.iter().all(is_listed));
    all
}

#[test]
fn the_schema_says_what_is_written_and_no_more() {
    let schema = Schema::parse(SCHEMA);
    for op in operations() {
        let written = serde_json::to_value(&op).unwrap();
        schema.check("Op", &written).unwrap();
        assert_eq!(serde_json::from_value::<Op>(written).unwrap(), op);
    }
    let mut effects = Effects::default();
    changes().into_iter().for_each(|change| effects.push(RuleId::AttachOnTop, change));
    let written = serde_json::to_value(&effects).unwrap();
    schema.check("Effects", &written).unwrap();
    assert_eq!(serde_json::from_value::<Effects>(written).unwrap(), effects);
    for rule in RuleId::ALL {
        schema.check("Rule", &serde_json::to_value(rule).unwrap()).unwrap();
        if let Some(errno) = rule.errno() {
            schema.check("Errno", &serde_json::to_value(errno).unwrap()).unwrap();
        }
    }
    // Only a task's own, of which no rule tells.
    for errno in [Errno::EAGAIN, Errno::ENOMEM, Errno::EXDEV, Errno::EISDIR, Errno::EEXIST] {
        schema.check("Errno", &serde_json::to_value(errno).unwrap()).unwrap();
    }
    for kernel in Kernel::ALL {
        schema.check("Kernel", &serde_json::to_value(kernel).unwrap()).unwrap();
    }
    assert_eq!(schema.not_met(), Vec::<String>::new());
}

/// A world's own effects, and what is asserted can fail.
#[test]
fn effects_of_a_world_are_as_the_schema_says() {
    let schema = Schema::parse(SCHEMA);
    let mut world = World::new();
    let share = Op::ChangeType { target: "/".into(), to: PropagationType::Shared, recursive: true };
    let effects = world.apply(World::FIRST_TASK, &share).unwrap();
    let mut written: Value = serde_json::to_value(&effects).unwrap();
    schema.check("Effects", &written).unwrap();
    written[0]["because"] = json!("more");
    assert!(schema.check("Effects", &written).is_err());
    assert!(schema.check("Op", &json!({"Open": {}})).is_err());
    assert!(schema.check("Op", &json!("Nothing")).is_err());
}
