//! What operations say of themselves: each change, and the rule that made it.

use crate::{Change, Handle, Kernel, Missing, Op, PropagationType, World};
use expect_test::{Expect, expect};
use mount_table::{MountId, MountTable};
use std::path::PathBuf;

/// Applies the operations; of the last one, each effect on a line, mounts by their mount points (from the table
/// before or after it).
#[track_caller]
fn check(ops: &[Op], expect: Expect) {
    check_by(Kernel::default(), ops, expect);
}

#[track_caller]
fn check_by(kernel: Kernel, ops: &[Op], expect: Expect) {
    let mut world = World::new();
    world.set_kernel(kernel);
    let (last, first) = ops.split_last().expect("operations");
    for op in first {
        if let Err(refused) = world.apply(World::FIRST_TASK, op) {
            panic!("{op:?}: {refused}");
        }
    }
    let before = world.table(World::FIRST_TASK).expect("the task");
    let effects = world.apply(World::FIRST_TASK, last).expect("the last");
    let after = world.table(World::FIRST_TASK).expect("the task");
    let text: String = effects
        .list
        .iter()
        .map(|effect| format!("{}: {}\n", effect.rule, words(&effect.change, &before, &after)))
        .collect();
    expect.assert_eq(&text);
}

fn words(change: &Change, before: &MountTable, after: &MountTable) -> String {
    let name = |id: &MountId| match after.get(*id).or(before.get(*id)) {
        Some(mount) => format!("{}#{}", mount.mount_point.display(), id.0),
        None => format!("#{}", id.0),
    };
    match change {
        Change::Attached { mount, parent, namespace } => {
            format!("{} on {} in {}", name(mount), name(parent), namespace.0)
        }
        Change::PushedUp { mount, onto } => format!("{} up onto {}", name(mount), name(onto)),
        Change::SlidDown { mount, onto } => format!("{} down onto {}", name(mount), name(onto)),
        Change::Left { mount, parent } => format!("{} from {}", name(mount), name(parent)),
        Change::Detached { mount, namespace } => format!("{} from {}", name(mount), namespace.0),
        Change::Retyped { mount, from, to } => format!("{} {from} -> {to}", name(mount)),
        Change::Handed { mount, master } => {
            format!("{} to {}", name(mount), master.as_ref().map_or("nobody".to_owned(), name))
        }
        Change::Copied { from, to } => format!("{} as {}", name(from), name(to)),
        Change::Untouched { mount }
        | Change::Created { mount }
        | Change::Locked { mount }
        | Change::Unlocked { mount }
        | Change::AttributesChanged { mount } => name(mount),
        Change::NamespaceMade { namespace } | Change::NamespaceGone { namespace } => namespace.0.to_string(),
        Change::Other => "-".to_owned(),
    }
}

fn mkdir(path: &str) -> Op {
    Op::Create { path: PathBuf::from(path), kind: Missing::Directory }
}

fn tmpfs(target: &str) -> Op {
    let (fs_type, source) = ("tmpfs".to_owned(), "none".to_owned());
    Op::Mount { fs_type, source, target: target.into(), attributes: crate::Attributes::default() }
}

fn bind(source: &str, target: &str, recursive: bool) -> Op {
    Op::Bind { source: source.into(), target: target.into(), recursive }
}

fn make(target: &str, to: PropagationType) -> Op {
    Op::ChangeType { target: target.into(), to, recursive: false }
}

fn unmount(target: &str, detach: bool) -> Op {
    Op::UnmountPath { target: target.into(), detach, expire: false }
}

/// `/a` shared, `/b` its peer, `/c` a slave with a mount of its own at `x`, `/d` a part of it that has no `x`.
fn receivers() -> Vec<Op> {
    vec![
        mkdir("/a"),
        mkdir("/b"),
        mkdir("/c"),
        mkdir("/d"),
        tmpfs("/a"),
        mkdir("/a/x"),
        mkdir("/a/y"),
        make("/a", PropagationType::Shared),
        bind("/a", "/b", false),
        bind("/a", "/c", false),
        make("/c", PropagationType::Slave),
        bind("/a/y", "/d", false),
        tmpfs("/c/x"),
    ]
}

#[test]
fn of_a_mount() {
    let mut ops = receivers();
    ops.push(tmpfs("/a/x"));
    check(
        &ops,
        expect![[r#"
        skip-outside-root: /d#6
        new-mount: /a/x#8
        source-becomes-shared: /a/x#8 private -> shared
        attach-on-top: /a/x#8 on /a#3 in 1
        receive-slave: /c/x#10 on /c#5 in 1
        tuck-under: /c/x#7 up onto /c/x#10
        receive-peer: /b/x#9 on /b#4 in 1
    "#]],
    );
}

#[test]
fn of_an_unmount() {
    let mut ops = receivers();
    ops.extend([tmpfs("/a/x"), unmount("/a/x", false)]);
    check(
        &ops,
        expect![[r#"
        unmount-slides-down: /c/x#7 down onto /c#5
        unmount-target: /a/x#8 from 1
        unmount-received: /b/x#9 from 1
        unmount-received: /c/x#10 from 1
    "#]],
    );
}

#[test]
fn of_a_change_of_type() {
    let mut ops = receivers();
    ops.push(make("/b", PropagationType::Private));
    check(
        &ops,
        expect![[r#"
        slaves-to-peer: /c#5 to /a#3
        make-private: /b#4 shared -> private
    "#]],
    );
}

#[test]
fn of_a_lazy_unmount_of_a_recursive_bind() {
    let ops = [
        mkdir("/a"),
        mkdir("/b"),
        tmpfs("/a"),
        mkdir("/a/x"),
        make("/a", PropagationType::Shared),
        tmpfs("/a/x"),
        bind("/a", "/b", true),
        unmount("/b", true),
    ];
    check(
        &ops,
        expect![[r#"
        unmount-target: /b#5 from 1
        unmount-lazy-subtree: /b/x#6 from 1
        unmount-received: /a/x#4 from 1
    "#]],
    );
}

#[test]
fn of_a_new_namespace() {
    let mut ops = receivers();
    ops.extend([make("/d", PropagationType::Unbindable), Op::UnshareUserAndMounts]);
    check(
        &ops,
        expect![[r#"
        namespace-copy: #1 as #8
        namespace-copy: /#2 as /#9
        namespace-copy-slave: /a#3 as /a#10
        namespace-copy-slave: /b#4 as /b#11
        namespace-copy: /c#5 as /c#12
        namespace-copy: /c/x#7 as /c/x#13
        namespace-drops-unbindable: /d#6 as /d#14
        namespace-copy-locks: #8
        namespace-copy: 2
        slaves-orphaned: /a#10 to nobody
        slaves-orphaned: /b#11 to nobody
        slaves-orphaned: /c#12 to nobody
        namespace-death: #1 from 1
        namespace-death: /#2 from 1
        namespace-death: /a#3 from 1
        namespace-death: /b#4 from 1
        namespace-death: /c#5 from 1
        namespace-death: /c/x#7 from 1
        namespace-death: /d#6 from 1
        namespace-death: 1
    "#]],
    );
}

/// What was met and kept at first, and taken after all, is not told to be kept. The last of the tree is unmounted first
/// before 6.8.
#[test]
fn of_a_lazy_unmount_before_6_17() {
    let ops = [
        mkdir("/a"),
        mkdir("/b"),
        make("/", PropagationType::Shared),
        tmpfs("/a"),
        mkdir("/a/a"),
        mkdir("/a/b"),
        bind("/a", "/a/b", false),
        bind("/", "/b", true),
        bind("/", "/a/a", true),
        unmount("/b/a/a/a", true),
    ];
    check_by(
        Kernel::V6_1,
        &ops,
        expect![[r#"
        unmount-kept-child: /b/a#6
        unmount-kept-child: /a#3
        unmount-kept-child: /b/a/b#7
        unmount-kept-child: /a/b#4
        unmount-lazy-subtree: /b/a/a/a/b#16 from 1
        unmount-target: /b/a/a/a#15 from 1
        unmount-received: /a/b/a/a/b#22 from 1
        unmount-received: /a/b/a/a#21 from 1
        unmount-received: /b/a/b/a/a/b#28 from 1
        unmount-received: /b/a/b/a/a#27 from 1
        unmount-received: /a/a/b/a/b#13 from 1
        unmount-received: /a/a/b/a#12 from 1
        unmount-received: /b/a/a/b/a/b#19 from 1
        unmount-received: /b/a/a/b/a#18 from 1
        unmount-received: /a/b/a/b/a/b#25 from 1
        unmount-received: /a/b/a/b/a#24 from 1
        unmount-received: /b/a/b/a/b/a/b#31 from 1
        unmount-received: /b/a/b/a/b/a#30 from 1
        unmount-received: /a/a/a/b#10 from 1
        unmount-received: /a/a/a#9 from 1
    "#]],
    );
    check_by(
        Kernel::V6_12,
        &ops,
        expect![[r#"
        unmount-kept-child: /b/a/b#7
        unmount-kept-child: /a/b#4
        unmount-kept-child: /b/a#6
        unmount-kept-child: /a#3
        unmount-target: /b/a/a/a#15 from 1
        unmount-lazy-subtree: /b/a/a/a/b#16 from 1
        unmount-received: /a/b/a/a/b#22 from 1
        unmount-received: /b/a/b/a/a/b#28 from 1
        unmount-received: /a/a/b/a/b#13 from 1
        unmount-received: /b/a/a/b/a/b#19 from 1
        unmount-received: /a/b/a/b/a/b#25 from 1
        unmount-received: /b/a/b/a/b/a/b#31 from 1
        unmount-received: /a/a/a/b#10 from 1
        unmount-received: /a/b/a/a#21 from 1
        unmount-received: /b/a/b/a/a#27 from 1
        unmount-received: /a/a/b/a#12 from 1
        unmount-received: /b/a/a/b/a#18 from 1
        unmount-received: /a/b/a/b/a#24 from 1
        unmount-received: /b/a/b/a/b/a#30 from 1
        unmount-received: /a/a/a#9 from 1
    "#]],
    );
}

/// A locked mount that was met and stays is told once, when it is met, and does not keep what it is in.
#[test]
fn of_an_unmount_that_meets_locked_mounts_before_6_17() {
    let mut world = World::new();
    world.set_kernel(Kernel::V6_1);
    let host = World::FIRST_TASK;
    let beginning = [
        mkdir("/w"),
        tmpfs("/w"),
        mkdir("/w/a"),
        mkdir("/w/b"),
        mkdir("/w/a/a"),
        mkdir("/w/a/b"),
        mkdir("/w/b/a"),
        make("/w", PropagationType::Shared),
        bind("/w/a", "/w/b/a", true),
    ];
    let apply = |world: &mut World, task, op: Op| {
        world.apply(task, &op).unwrap_or_else(|refused| panic!("{op:?}: {refused}"))
    };
    for op in beginning {
        apply(&mut world, host, op);
    }
    // A container's namespace, and a copy of that by one who is of the host's user namespace.
    let container = world.fork(host).expect("a task");
    apply(&mut world, container, Op::UnshareUserAndMounts);
    apply(&mut world, container, Op::OpenNamespace { out: Handle(1) });
    let guest = world.fork(host).expect("a task");
    apply(&mut world, guest, Op::EnterNamespace { namespace: Handle(1) });
    apply(&mut world, guest, Op::UnshareMounts);
    apply(&mut world, host, mkdir("/w/a/a/a"));
    apply(&mut world, host, make("/w/b/a", PropagationType::Slave));
    apply(&mut world, host, bind("/w/a", "/w/a", true));
    apply(&mut world, guest, bind("/w/a/a/a", "/w/a/b", false));
    let effects = apply(&mut world, host, unmount("/w", true));
    let kept: Vec<&str> = effects.rules().map(|rule| rule.id()).filter(|id| id.contains("-kept-")).collect();
    assert_eq!(kept, ["unmount-kept-locked", "unmount-kept-locked", "unmount-kept-child"]);
}
