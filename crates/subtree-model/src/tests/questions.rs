//! What a world can be asked beside its tables, and what it is told of what it cannot know.

use crate::{Attributes, Handle, Kernel, Missing, Node, Op, PropagationType, RuleId, World};
use mount_table::{MountTable, NamespaceId, NamespaceTable, Snapshot};
use std::path::Path;

const TASK: crate::TaskId = World::FIRST_TASK;

fn mkdir(path: &str) -> Op {
    Op::Create { path: path.into(), kind: Missing::Directory }
}

fn mount(target: &str) -> Op {
    let (fs_type, source) = ("tmpfs".to_owned(), "none".to_owned());
    Op::Mount { fs_type, source, target: target.into(), attributes: Attributes::default() }
}

fn open(path: &str, missing: Option<Missing>, out: u32) -> Op {
    Op::Open { root: Handle::HOST, path: path.into(), follow: true, missing, out: Handle(out) }
}

fn unmount(target: &str) -> Op {
    Op::UnmountPath { target: target.into(), detach: true, expire: false }
}

#[track_caller]
fn run(world: &mut World, ops: &[Op]) {
    for op in ops {
        if let Err(refused) = world.apply(TASK, op) {
            panic!("{op:?}: {refused}");
        }
        world.check_invariants().expect("invariants");
    }
}

#[track_caller]
fn check_refused(world: &mut World, op: &Op, rule: RuleId) {
    assert_eq!(world.apply(TASK, op).map(|_| ()).map_err(|refused| refused.rule), Err(rule));
}

fn table(rows: &str) -> MountTable {
    MountTable::parse_mountinfo(rows.as_bytes()).expect("a mountinfo")
}

fn of_rows(rows: &str) -> World {
    let world = World::from_table(&table(rows)).expect("a table");
    world.check_invariants().expect("a world");
    world
}

/// What the first task sees: mount points.
fn points(world: &World) -> Vec<String> {
    let table = world.table(TASK).expect("the first task");
    table.mounts.iter().map(|mount| mount.mount_point.display().to_string()).collect()
}

#[test]
fn names_in_a_directory() {
    let mut world = World::new();
    let file = Op::Create { path: "/a/f".into(), kind: Missing::File };
    let gone = Op::RemoveDirectory { path: "/a/gone".into() };
    run(&mut world, &[mkdir("/a"), mount("/a"), mkdir("/a/d"), file, mkdir("/a/gone"), gone]);
    let names = |world: &mut World, path: &str| world.names(TASK, Path::new(path)).map_err(|no| no.rule);
    let expected = vec![("d".into(), true), ("f".into(), false)];
    assert_eq!(names(&mut world, "/a"), Ok(Some(expected)));
    assert_eq!(names(&mut world, "/a/d"), Ok(Some(Vec::new())));
    assert_eq!(names(&mut world, "/a/f"), Err(RuleId::PathNotDirectory));
    assert_eq!(names(&mut world, "/a/gone"), Err(RuleId::PathMissing));
    // What a machine's file systems hold is not known.
    assert_eq!(names(&mut of_rows("1 1 8:1 / / rw - ext4 /dev/sda1 rw"), "/etc"), Ok(None));
}

#[test]
fn one_file_by_two_paths() {
    let mut world = World::new();
    let bind = Op::Bind { source: "/a".into(), target: "/b".into(), recursive: false };
    run(&mut world, &[mkdir("/a"), mkdir("/b"), bind, mkdir("/a/x"), mkdir("/a/y")]);
    let mut same = |one: &str, other: &str| world.is_same_file(TASK, Path::new(one), Path::new(other));
    assert!(same("/a/x", "/b/x") && same("/a/./x/..", "/b"));
    assert!(!same("/a/x", "/a/y") && !same("/a/x", "/a/none") && !same("/none", "/none"));
}

#[test]
fn links_that_exist() {
    let mut world = of_rows("1 1 8:1 / / rw - ext4 /dev/sda1 rw");
    world.add_link(Path::new("/run/link"), Path::new("../srv")).expect("a new name");
    run(&mut world, &[mount("/run/link/x")]);
    assert_eq!(points(&world), ["/", "/srv/x"]);
    for path in ["/run/link", "/run/..", "/"] {
        let refused = world.add_link(Path::new(path), Path::new("x"));
        assert_eq!(refused.map_err(|refused| refused.rule), Err(RuleId::PathExists), "{path}");
    }
}

#[test]
fn tasks_namespaces_and_counts() {
    let mut world = of_rows("1 1 8:1 / / rw - ext4 /dev/sda1 rw");
    assert_eq!((world.mount_count(), world.kernel()), (1, Kernel::V6_18));
    world.set_kernel(Kernel::V6_1);
    assert_eq!(world.kernel(), Kernel::V6_1);
    let other = world.fork(TASK).expect("a task");
    assert_eq!(
        (world.namespace_of(TASK), world.namespace_of(other)),
        (Some(NamespaceId(1)), Some(NamespaceId(1)))
    );
    world.apply(other, &Op::UnshareMounts).expect("a copy");
    assert_eq!(world.namespace_of(other), Some(NamespaceId(2)));
    assert_eq!(world.task_in(NamespaceId(1)), Some(TASK));
    assert_eq!(world.task_in(NamespaceId(2)), Some(other));
    assert_eq!(world.task_in(NamespaceId(3)), None);
    run(&mut world, &[mount("/a"), mount("/b")]);
    assert_eq!(world.mount_count(), 4);
    run(&mut world, &[unmount("/a")]);
    assert_eq!(world.mount_count(), 3);
}

/// Neither detached trees nor what only stands for groups elsewhere is a namespace of the machine's.
#[test]
fn a_snapshot_is_of_namespaces() {
    let mut world = of_rows("1 1 8:1 / / rw shared:2 master:7 - ext4 /dev/sda1 rw");
    run(
        &mut world,
        &[open("/", None, 1), Op::CloneTree { from: Handle(1), recursive: true, out: Handle(2) }],
    );
    let other = world.fork(TASK).expect("a task");
    world.apply(other, &Op::UnshareMounts).expect("a copy");
    world.exit(other).expect("a task");
    let ids: Vec<_> = world.snapshot().namespaces.iter().map(|namespace| namespace.id).collect();
    assert_eq!(ids, [NamespaceId(1)]);
}

#[test]
fn options_as_they_are_shown() {
    let mut world = of_rows(
        "1 1 8:1 / / rw - ext4 /dev/sda1 rw,data=x\n2 1 0:1 / /a rw - tmpfs none rw\n3 1 0:2 / /b rw - odd none size=1\n\
         4 1 0:3 / /c rw - odd none size=1,x",
    );
    let read_only = Attributes { read_only: true, ..Attributes::default() };
    let remount = |target: &str| Op::Remount { target: target.into(), attributes: read_only, bind: false };
    run(&mut world, &[remount("/"), remount("/a"), remount("/b"), remount("/c")]);
    let table = world.table(TASK).expect("the first task");
    let shown: Vec<_> = table.mounts.iter().map(|mount| mount.super_options.as_str()).collect();
    assert_eq!(shown, ["ro,data=x", "ro", "size=1", "size=1,x"]);
    assert!(table.mounts.iter().all(|mount| mount.options == "ro"));
    let attributes = Attributes { read_only: true, no_exec: true, ..Attributes::default() };
    let mount = |out| Op::NewFileSystem {
        fs_type: "tmpfs".to_owned(),
        source: String::new(),
        options: Vec::new(),
        attributes,
        out: Handle(out),
    };
    let mut world = World::new();
    run(&mut world, &[mkdir("/a"), mount(1), open("/a", None, 2)]);
    run(&mut world, &[Op::MoveMount { from: Handle(1), to: Handle(2) }]);
    let table = world.table(TASK).expect("the first task");
    assert_eq!(table.mounts[1].options, "ro,noexec,relatime");
}

/// `mnt:[4026531840]` is not a name in a directory, `/x]` is.
#[test]
fn roots_that_look_like_namespace_files() {
    let rows = "1 1 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 8:1 /x] /a rw - ext4 /dev/sda1 rw\n\
                3 1 8:1 /a:[b /b rw - ext4 /dev/sda1 rw\n4 1 0:4 mnt:[40] /c rw - nsfs nsfs rw\n";
    assert_eq!(of_rows(rows).table(TASK).expect("the first task").to_string(), rows);
}

/// A row's parent may be a mount of another namespace: what this one's root hangs on, out of its sight.
#[test]
fn parents_in_other_namespaces() {
    let namespace = |id, rows| NamespaceTable { id: NamespaceId(id), mounts: table(rows) };
    let host = namespace(4, "1 1 8:1 / / rw - ext4 x rw\n2 1 0:1 / /a rw - tmpfs a rw\n");
    let inner = namespace(5, "10 2 0:5 / / rw - tmpfs b rw\n11 10 0:6 / /c rw - tmpfs c rw\n");
    let world = World::from_snapshot(&Snapshot { namespaces: vec![host.clone(), inner] }).expect("a world");
    world.check_invariants().expect("a world");
    assert_eq!(world.table_of(NamespaceId(4)), Some(host.mounts));
    let seen = world.table_of(NamespaceId(5)).expect("the inner");
    let seen: Vec<_> = seen.mounts.iter().map(|mount| (mount.id.0, mount.mount_point.to_str())).collect();
    assert_eq!(seen, [(10, Some("/")), (11, Some("/c"))]);
    // New ids are above all of them, and not further.
    let mut world = world;
    world.apply(TASK, &Op::UnshareMounts).expect("a copy");
    assert_eq!(world.namespace_of(TASK), Some(NamespaceId(6)));
}

/// Before Linux 6.17 two mounts may be at one place of one parent; a table does not say which hides the other.
#[test]
fn two_at_one_place() {
    let world = of_rows(
        "1 1 8:1 / / rw - ext4 x rw\n2 1 0:1 / /a rw - tmpfs a rw\n3 1 0:2 / /a rw - tmpfs b rw\n4 1 0:3 / /a rw - tmpfs c rw\n",
    );
    let table = world.table(TASK).expect("the first task");
    let parents: Vec<_> = table.mounts.iter().map(|mount| mount.parent.0).collect();
    assert_eq!(parents, [1, 1, 2, 3]);
}

/// What is below all is seen when nothing is on it any more.
#[test]
fn what_is_below_the_root() {
    let mut world = World::new();
    run(&mut world, &[Op::OpenNamespace { out: Handle(1) }, unmount("/")]);
    assert_eq!(points(&world), Vec::<String>::new());
    run(&mut world, &[Op::EnterNamespace { namespace: Handle(1) }]);
    let table = world.table(TASK).expect("the first task");
    assert_eq!(table.mounts.iter().map(|mount| mount.fs_type.as_str()).collect::<Vec<_>>(), ["unknown"]);
}

#[test]
fn only_what_is_missing_is_made() {
    let mut world = World::new();
    let file = Op::Create { path: "/f".into(), kind: Missing::File };
    run(&mut world, &[file]);
    check_refused(&mut world, &open("/new/../f/g", Some(Missing::File), 1), RuleId::PathNotDirectory);
    check_refused(&mut world, &open(&"/x".repeat(2048), Some(Missing::Directory), 1), RuleId::PathTooLong);
    check_refused(&mut world, &open("/x/x", None, 1), RuleId::PathMissing);
    let link =
        Op::Make { root: Handle::HOST, path: "/l".into(), node: Node::Symlink { target: "nowhere".into() } };
    run(&mut world, &[link]);
    check_refused(&mut world, &open("/l", Some(Missing::File), 1), RuleId::PathMissing);
    let rename = Op::Rename { from: "/f".into(), to: format!("/{}", "y".repeat(256)).into() };
    check_refused(&mut world, &rename, RuleId::PathTooLong);
}

#[test]
fn what_is_moved_counts_where_it_is_new() {
    let mut world = World::new();
    let new = Op::NewFileSystem {
        fs_type: "tmpfs".to_owned(),
        source: String::new(),
        options: Vec::new(),
        attributes: Attributes::default(),
        out: Handle(1),
    };
    run(&mut world, &[mkdir("/a"), mkdir("/b"), mount("/a"), new, open("/b", None, 2)]);
    // The unseen first mount, /, /a.
    world.set_mount_max(3);
    let attach = Op::MoveMount { from: Handle(1), to: Handle(2) };
    check_refused(&mut world, &attach, RuleId::MountMax);
    run(&mut world, &[Op::Move { source: "/a".into(), target: "/b".into() }]);
    world.set_mount_max(4);
    run(&mut world, &[attach]);
}

/// By mount_setattr: the root of a detached tree, or a mount of one's own namespace, but not another namespace's root.
#[test]
fn whose_attributes_are_changed() {
    let mut world = of_rows("1 1 8:1 / / rw - ext4 /dev/sda1 rw");
    run(
        &mut world,
        &[open("/", None, 1), Op::CloneTree { from: Handle(1), recursive: true, out: Handle(2) }],
    );
    let set = |mount| Op::SetAttributes {
        mount: Handle(mount),
        recursive: false,
        set: Attributes::default(),
        clear: Attributes::default(),
        propagation: Some(PropagationType::Shared),
    };
    let other = world.fork(TASK).expect("a task");
    world.apply(other, &Op::UnshareMounts).expect("a copy");
    let refused = world.apply(other, &set(1)).map(|_| ()).map_err(|refused| refused.rule);
    assert_eq!(refused, Err(RuleId::ChangeElsewhere));
    world.apply(other, &set(2)).expect("a detached tree's root");
    run(&mut world, &[set(1)]);
}
