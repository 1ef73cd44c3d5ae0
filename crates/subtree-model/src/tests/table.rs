//! Worlds from tables and tables from worlds; what a container start makes of a node's table.

use crate::{Attributes, Handle, Missing, Op, PropagationType, World};
use expect_test::{Expect, expect};
use mount_table::MountTable;

const NODE: &str = "\
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
22 21 0:21 / /proc rw,nosuid,nodev,noexec,relatime shared:5 - proc proc rw
23 21 0:22 / /sys ro,nosuid shared:6 - sysfs sysfs rw
24 21 0:23 / /run rw,nosuid shared:7 - tmpfs tmpfs rw
40 24 0:24 / /run/x rw - tmpfs tmpfs rw
41 21 8:1 /var/lib/kubelet /var/lib/kubelet rw,relatime shared:1 - ext4 /dev/sda1 rw
42 41 0:40 / /var/lib/kubelet/vol rw,relatime shared:9 master:80 propagate_from:1 - tmpfs vol rw
43 21 0:41 / /other rw,relatime master:81 - tmpfs other rw
44 21 0:42 /gone//deleted /gone rw unbindable - tmpfs gone rw
45 21 0:4 mnt:[4026532200] /run-ns rw - nsfs nsfs rw
";

fn node() -> World {
    let table = MountTable::parse_mountinfo(NODE.as_bytes()).expect("a mountinfo");
    let world = World::from_table(&table).expect("a table of a node");
    world.check_invariants().expect("a world");
    world
}

#[test]
fn a_table_read_back_is_the_table() {
    let table = node().table(World::FIRST_TASK).expect("the first task").to_string();
    assert_eq!(table.replace("21 46 8:1", "21 1 8:1"), NODE);
    let table = MountTable::parse_mountinfo(table.as_bytes()).expect("a mountinfo");
    let again = World::from_table(&table).expect("a table of a world");
    assert_eq!(again.table(World::FIRST_TASK), Ok(table));
}

#[track_caller]
fn check_refused(rows: &str, expect: Expect) {
    let table = MountTable::parse_mountinfo(rows.as_bytes()).expect("a mountinfo");
    let error = World::from_table(&table).map(|_| ()).unwrap_err();
    expect.assert_eq(&error.to_string());
}

#[test]
fn tables_that_no_kernel_prints() {
    check_refused("", expect!["no mounts"]);
    check_refused("1 0 0:1 / / rw - t t rw\n1 0 0:1 / /a rw - t t rw", expect!["mount 1 is there twice"]);
    check_refused(
        "1 0 0:1 / / rw - t t rw\n2 3 0:1 / /a rw - t t rw\n3 2 0:1 / /a rw - t t rw",
        expect!["mount 1 is its own ancestor"],
    );
    check_refused(
        "1 1 0:1 / / rw - t t rw\n2 3 0:1 / /a rw - t t rw\n3 2 0:1 / /a rw - t t rw\n4 2 0:1 / /a rw - t t rw",
        expect!["mount 2 is its own ancestor"],
    );
    check_refused(
        "1 0 0:1 / / rw - t t rw\n2 1 0:1 / /a rw - t t rw\n3 2 0:1 / /b rw - t t rw",
        expect!["mount 3 is not mounted below its parent"],
    );
    check_refused(
        "1 0 0:1 / / rw shared:1 master:2 - t t rw\n2 1 0:1 / /a rw shared:1 master:3 - t t rw",
        expect!["peer group 1 has no consistent master"],
    );
    check_refused(
        "1 0 0:1 / / rw shared:1 master:2 - t t rw\n2 1 0:1 / /a rw shared:2 master:1 - t t rw",
        expect!["peer group 1 has no consistent master"],
    );
    check_refused("1 0 0:1 / / rw shared:1 unbindable - t t rw", expect!["mount 1 is shared and unbindable"]);
    check_refused("18446744073709551615 0 0:1 / / rw - t t rw", expect!["too many mounts"]);
    check_refused("4611686018427387904 0 0:1 / / rw - t t rw", expect!["too many mounts"]);
    let largest = MountTable::parse_mountinfo(b"4611686018427387903 0 0:1 / / rw - t t rw").expect("a row");
    assert!(World::from_table(&largest).is_ok());
}

/// Runs operations in the first task, all of which the kernel would do.
fn run(world: &mut World, ops: &[Op]) {
    for op in ops {
        if let Err(refused) = world.apply(World::FIRST_TASK, op) {
            panic!("{op:?}: {refused}");
        }
        world.check_invariants().expect("invariants");
    }
}

fn open(root: Handle, path: &str, missing: Option<Missing>, out: u32) -> Op {
    Op::Open { root, path: path.into(), follow: true, missing, out: Handle(out) }
}

fn set_type(mount: u32, recursive: bool, to: PropagationType) -> Op {
    Op::SetAttributes {
        mount: Handle(mount),
        recursive,
        set: Attributes::default(),
        clear: Attributes::default(),
        propagation: Some(to),
    }
}

fn tmpfs(out: u32) -> Op {
    Op::NewFileSystem {
        fs_type: "tmpfs".into(),
        source: "tmpfs".into(),
        options: Vec::new(),
        attributes: Attributes::default(),
        out: Handle(out),
    }
}

fn clone(from: u32, recursive: bool, out: u32) -> Op {
    Op::CloneTree { from: Handle(from), recursive, out: Handle(out) }
}

fn attach(from: u32, root: u32, path: &str, missing: Missing, through: u32) -> [Op; 3] {
    [
        open(Handle(root), path, Some(missing), through),
        Op::MoveMount { from: Handle(from), to: Handle(through) },
        Op::Close { handle: Handle(through) },
    ]
}

/// A container start in small: a Bidirectional volume with a file of our own inside, a HostToContainer and a private
/// one. The shared mount that carries our file is private while that is put on it, and joins its group again.
#[test]
fn a_container_start_shows_nothing_on_the_host() {
    let mut world = node();
    let before = world.table(World::FIRST_TASK).expect("the first task");
    run(
        &mut world,
        &[
            Op::OpenNamespace { out: Handle(99) },
            open(Handle::HOST, "/var/lib/kubelet", None, 1),
            clone(1, true, 2),
            open(Handle::HOST, "/run", None, 3),
            clone(3, true, 4),
            set_type(4, true, PropagationType::Slave),
            open(Handle::HOST, "/var/lib/hosts", None, 5),
            clone(5, true, 6),
            set_type(6, true, PropagationType::Private),
            Op::UnshareMounts,
            set_type(0, true, PropagationType::Private),
            tmpfs(10),
        ],
    );
    run(&mut world, &attach(10, 0, "/run/staging", Missing::Directory, 20));
    run(&mut world, &attach(2, 10, "vol", Missing::Directory, 21));
    run(&mut world, &attach(4, 10, "run", Missing::Directory, 22));
    run(
        &mut world,
        &[
            open(Handle(10), "vol", None, 30),
            clone(30, false, 31),
            set_type(30, false, PropagationType::Private),
        ],
    );
    run(&mut world, &attach(6, 10, "vol/hosts", Missing::File, 23));
    run(
        &mut world,
        &[
            Op::SetGroup { from: Handle(31), to: Handle(30) },
            Op::Close { handle: Handle(31) },
            Op::PivotRoot { new_root: Handle(10) },
        ],
    );
    let mut container = world.table(World::FIRST_TASK).expect("the first task");
    container.renumber();
    expect![[r#"
        1 6 8:1 /var/lib/kubelet /vol rw,relatime shared:1 - ext4 /dev/sda1 rw
        2 1 0:40 / /vol/vol rw,relatime shared:2 master:3 propagate_from:1 - tmpfs vol rw
        3 6 0:23 / /run rw,nosuid master:4 - tmpfs tmpfs rw
        4 3 0:24 / /run/x rw - tmpfs tmpfs rw
        5 1 8:1 /var/lib/hosts /vol/hosts rw,relatime - ext4 /dev/sda1 rw
        6 0 0:45 / / rw,relatime - tmpfs tmpfs rw
    "#]]
    .assert_eq(&container.to_string());
    let host = world.table_of(mount_table::NamespaceId(1)).expect("held by a handle");
    assert_eq!(host, before);
}
