//! What the comparison with the running kernel cannot reach: permissions, limits, other kernels, first mounts.

use crate::{Attributes, Errno, Handle, Kernel, Missing, Node, Op, PropagationType, RuleId, TaskId, World};
use mount_table::MountTable;

const TASK: TaskId = World::FIRST_TASK;

/// A world with `/a` and `/b`, and a tmpfs on `/a`.
fn world() -> World {
    let mut world = World::new();
    for op in [mkdir("/a"), mkdir("/b"), mount("/a")] {
        world.apply(TASK, &op).expect("the beginning");
    }
    world
}

fn mkdir(path: &str) -> Op {
    Op::Create { path: path.into(), kind: Missing::Directory }
}

fn mount(target: &str) -> Op {
    Op::Mount {
        fs_type: "tmpfs".into(),
        source: "none".into(),
        target: target.into(),
        attributes: Attributes::default(),
    }
}

fn bind(source: &str, target: &str) -> Op {
    Op::Bind { source: source.into(), target: target.into(), recursive: true }
}

fn change(target: &str, to: PropagationType) -> Op {
    Op::ChangeType { target: target.into(), to, recursive: false }
}

fn open(path: &str, out: u32) -> Op {
    Op::Open { root: Handle::HOST, path: path.into(), follow: true, missing: None, out: Handle(out) }
}

/// The operation is refused by this rule and nothing has changed.
#[track_caller]
fn check_refused(world: &mut World, task: TaskId, op: &Op, rule: RuleId) {
    let before = world.snapshot();
    let refused = world.apply(task, op).map(|_| ()).unwrap_err();
    assert_eq!((refused.rule, Some(refused.errno)), (rule, rule.errno()));
    assert_eq!(world.snapshot(), before);
    world.check_invariants().expect("invariants");
}

#[track_caller]
fn run(world: &mut World, task: TaskId, ops: &[Op]) {
    for op in ops {
        if let Err(refused) = world.apply(task, op) {
            panic!("{op:?}: {refused}");
        }
        world.check_invariants().expect("invariants");
    }
}

#[test]
fn ids_are_unique_and_errors_are_errors() {
    let mut ids: Vec<_> = RuleId::ALL.iter().map(|rule| rule.id()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), RuleId::ALL.len());
    for rule in RuleId::ALL {
        assert!(rule.id().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{rule}");
        assert!(!rule.meaning().is_empty() && !rule.meaning().ends_with('.'), "{rule}");
        assert_eq!(serde_json::to_string(rule).expect("a word"), format!("\"{rule}\""));
    }
}

#[test]
fn paths() {
    let mut world = world();
    let task = TASK;
    let long = "/".to_owned() + &"x".repeat(256);
    check_refused(&mut world, task, &mkdir(""), RuleId::PathEmpty);
    check_refused(&mut world, task, &mkdir(&long), RuleId::PathTooLong);
    check_refused(&mut world, task, &mkdir(&"/a".repeat(2048)), RuleId::PathTooLong);
    let link = |path: &str, target: &str| Op::Make {
        root: Handle::HOST,
        path: path.into(),
        node: Node::Symlink { target: target.into() },
    };
    run(&mut world, task, &[link("/l", "a"), link("/loop", "/loop"), link("/up", "../../../b")]);
    check_refused(&mut world, task, &mount("/loop"), RuleId::PathLinkLoop);
    run(&mut world, task, &[mount("/l"), mount("/up")]);
    let table = world.table(task).expect("the task");
    let points: Vec<_> = table.mounts.iter().map(|mount| mount.mount_point.to_str()).collect();
    assert_eq!(points, [Some("/"), Some("/a"), Some("/a"), Some("/b")]);
    let unfollowed =
        Op::Open { root: Handle::HOST, path: "/l".into(), follow: false, missing: None, out: Handle(1) };
    check_refused(&mut world, task, &unfollowed, RuleId::PathLinkLoop);
}

#[test]
fn missing_is_made_and_stays_below_the_root() {
    let mut world = world();
    let made = |path: &str, missing, out| Op::Open {
        root: Handle::HOST,
        path: path.into(),
        follow: false,
        missing: Some(missing),
        out: Handle(out),
    };
    run(&mut world, TASK, &[made("/a/x/y/f", Missing::File, 1), made("/a/x/z", Missing::Directory, 2)]);
    check_refused(&mut world, TASK, &mkdir("/a/x/y/f/g"), RuleId::PathNotDirectory);
    let below =
        Op::Open { root: Handle(2), path: "../../../..".into(), follow: true, missing: None, out: Handle(3) };
    run(&mut world, TASK, &[below]);
    check_refused(
        &mut world,
        TASK,
        &Op::SetAttributes {
            mount: Handle(3),
            recursive: false,
            set: Attributes { read_only: true, ..Attributes::default() },
            clear: Attributes::default(),
            propagation: None,
        },
        RuleId::TargetNotMountRoot,
    );
}

#[test]
fn tasks_and_permissions() {
    let mut world = world();
    check_refused(&mut world, TaskId(9), &mkdir("/x"), RuleId::NoSuchTask);
    let container = world.fork(TASK).expect("a task");
    run(&mut world, TASK, &[Op::OpenNamespace { out: Handle(1) }, open("/a", 2)]);
    run(&mut world, container, &[Op::UnshareUserAndMounts]);
    // In its own namespace the container's root may mount, but it cannot go back or change the host's mounts.
    run(&mut world, container, &[mount("/b"), change("/b", PropagationType::Shared)]);
    let back = Op::EnterNamespace { namespace: Handle(1) };
    check_refused(&mut world, container, &back, RuleId::NamespaceNotPermitted);
    let join = Op::SetGroup { from: Handle(2), to: Handle(2) };
    check_refused(&mut world, container, &join, RuleId::NotPermitted);
    check_refused(&mut world, TASK, &Op::EnterNamespace { namespace: Handle(2) }, RuleId::BadHandle);
    let effects = world.apply(TASK, &back).expect("its own");
    assert!(effects.rules().any(|rule| rule == RuleId::NamespaceEnter));
}

#[test]
fn mount_max_counts_every_receiving_namespace() {
    let mut world = world();
    run(&mut world, TASK, &[mkdir("/a/x"), change("/a", PropagationType::Shared)]);
    let other = world.fork(TASK).expect("a task");
    run(&mut world, other, &[Op::UnshareMounts, mount("/b")]);
    // Here: the unseen first mount, /, /a; there one more.
    world.set_mount_max(4);
    check_refused(&mut world, TASK, &mount("/a/x"), RuleId::MountMax);
    run(&mut world, TASK, &[mount("/b")]);
    check_refused(&mut world, TASK, &bind("/a", "/b"), RuleId::MountMax);
    world.set_mount_max(5);
    run(&mut world, TASK, &[mount("/a/x")]);
}

/// Each doubles the mounts: sixteen fit below the kernel's limit.
#[test]
fn all_bound_into_itself_again_and_again() {
    let mut world = World::new();
    run(&mut world, TASK, &[mkdir("/a")]);
    for _ in 0..16 {
        world.apply(TASK, &bind("/", "/a")).expect("room");
    }
    assert_eq!(world.mount_count(), 65_536 + 1);
    assert_eq!(world.apply(TASK, &bind("/", "/a")).unwrap_err().rule, RuleId::MountMax);
}

#[test]
fn first_mounts() {
    let rows = "1 1 0:1 / / rw - tmpfs t rw\n2 1 0:2 / /a rw - tmpfs a rw\n";
    let table = MountTable::parse_mountinfo(rows.as_bytes()).expect("two rows");
    let mut world = World::from_table(&table).expect("a table");
    let moved = Op::Move { source: "/".into(), target: "/a".into() };
    check_refused(&mut world, TASK, &moved, RuleId::MoveNoParent);
    let unmounted = Op::UnmountPath { target: "/".into(), detach: true, expire: false };
    check_refused(&mut world, TASK, &unmounted, RuleId::UnmountNoParent);
    let pivot = |new: &str, old: &str| Op::PivotRootTo { new_root: new.into(), put_old: old.into() };
    check_refused(&mut world, TASK, &pivot("/a", "/a"), RuleId::PivotRootNoParent);
    // From inside a chroot the first mount can be named as the new root, by a working directory outside.
    run(&mut world, TASK, &[Op::ChangeDirectory { path: "/".into() }, Op::ChangeRoot { path: "/a".into() }]);
    check_refused(&mut world, TASK, &pivot(".", "b"), RuleId::PivotNewNoParent);
    let beneath = Op::MoveMountBeneath { from: Handle(2), to: Handle(1) };
    run(
        &mut world,
        TASK,
        &[
            Op::NewFileSystem {
                fs_type: "tmpfs".into(),
                source: "none".into(),
                options: Vec::new(),
                attributes: Attributes::default(),
                out: Handle(1),
            },
            open("/", 3),
            Op::CloneTree { from: Handle(3), recursive: false, out: Handle(2) },
        ],
    );
    check_refused(&mut world, TASK, &beneath, RuleId::BeneathNoParent);
}

#[test]
fn older_and_newer_kernels() {
    let unbindable = |world: &mut World| {
        run(
            world,
            TASK,
            &[
                change("/a", PropagationType::Shared),
                bind("/a", "/b"),
                change("/b", PropagationType::Unbindable),
                open("/a", 1),
                open("/b", 2),
                Op::CloneTree { from: Handle(1), recursive: false, out: Handle(3) },
            ],
        );
    };
    let mut old = world();
    unbindable(&mut old);
    old.set_kernel(Kernel::V6_1);
    let beneath = Op::MoveBeneath { source: "/a".into(), target: "/b".into() };
    check_refused(&mut old, TASK, &beneath, RuleId::BeneathUnsupported);
    let clone = Op::CloneTree { from: Handle(3), recursive: false, out: Handle(4) };
    check_refused(&mut old, TASK, &clone, RuleId::DetachedUnsupported);
    run(&mut old, TASK, &[Op::SetGroup { from: Handle(1), to: Handle(2) }]);

    let mut new = world();
    unbindable(&mut new);
    new.set_kernel(Kernel::V7);
    let join = Op::SetGroup { from: Handle(1), to: Handle(2) };
    check_refused(&mut new, TASK, &join, RuleId::SetGroupUnbindable);
    // Before 6.17, and in 7 again, a new namespace's copy of an unbindable mount is unbindable.
    for (kernel, kept) in [(Kernel::V6_12, true), (Kernel::V6_18, false), (Kernel::V7, true)] {
        let mut world = world();
        world.set_kernel(kernel);
        run(&mut world, TASK, &[change("/a", PropagationType::Unbindable), Op::UnshareMounts]);
        let table = world.table(TASK).expect("the task");
        assert_eq!(table.mounts.last().map(|mount| mount.propagation.unbindable), Some(kept), "{kernel:?}");
    }
}

#[test]
fn older_kernels_choose_the_master_by_its_root() {
    // /a's ring: /a, /c (its part), /b. Made slave, /a goes to the next, or to the one that shows the same.
    for (kernel, master_is_b) in [(Kernel::V6_12, true), (Kernel::V6_18, false)] {
        let mut world = world();
        world.set_kernel(kernel);
        run(
            &mut world,
            TASK,
            &[
                mkdir("/a/in"),
                mkdir("/c"),
                change("/a", PropagationType::Shared),
                bind("/a", "/b"),
                bind("/a/in", "/c"),
                change("/a", PropagationType::Slave),
            ],
        );
        // If /b is the master, making that private hands /a on to /c.
        let effects = world.apply(TASK, &change("/b", PropagationType::Private)).expect("a change");
        assert_eq!(effects.rules().any(|rule| rule == RuleId::SlavesToPeer), master_is_b, "{kernel:?}");
    }
}

#[test]
fn kernels_are_known_by_their_releases() {
    let names: Vec<&str> = Kernel::ALL.iter().map(|kernel| kernel.name()).collect();
    assert_eq!(names, ["6.1", "6.6", "6.12", "6.18", "7"]);
    for kernel in Kernel::ALL {
        assert_eq!(Kernel::of_release(kernel.name()), Some(kernel));
        assert_eq!(kernel.standing().starts_with("read"), !matches!(kernel, Kernel::V6_1 | Kernel::V6_18));
        assert_eq!(kernel.not_modelled().is_empty(), kernel != Kernel::V7);
    }
    let of = |release| Kernel::of_release(release).map(Kernel::name);
    assert_eq!(
        [of("5.15.0-1"), of("6.4.16"), of("6.5"), of("6.7.9"), of("6.8-rc1")].map(Option::unwrap),
        ["6.1", "6.1", "6.6", "6.6", "6.12"]
    );
    assert_eq!([of("6.14.1"), of("6.17.0"), of("7.2.13-cloud")].map(Option::unwrap), ["6.12", "6.18", "7"]);
    assert_eq!([of("5.10.262"), of("6.15"), of("6.16.3"), of("8.0"), of(""), of("next")], [None; 6]);
}

#[test]
fn what_goes_under_a_locked_mount_takes_its_lock_since_7() {
    // /b shows / without its /a, so that something can be mounted at that place although /a is there.
    let world = |kernel| {
        let mut world = world();
        world.set_kernel(kernel);
        let bind = Op::Bind { source: "/".into(), target: "/b".into(), recursive: false };
        run(&mut world, TASK, &[change("/", PropagationType::Shared), bind]);
        let container = world.fork(TASK).expect("a task");
        run(&mut world, container, &[Op::UnshareUserAndMounts]);
        run(&mut world, TASK, &[mount("/b/a")]);
        (world, container)
    };
    let unmount = Op::UnmountPath { target: "/a".into(), detach: false, expire: false };
    let (mut stays, container) = world(Kernel::V6_18);
    check_refused(&mut stays, container, &unmount, RuleId::UnmountLocked);
    let (mut passes, container) = world(Kernel::V7);
    run(&mut passes, container, std::slice::from_ref(&unmount));
    check_refused(&mut passes, container, &unmount, RuleId::UnmountLocked);
}

#[test]
fn errors_have_their_numbers() {
    assert_eq!((Errno::EPERM.number(), Errno::EINVAL.number(), Errno::ELOOP.number()), (1, 22, 40));
    assert_eq!(Errno::EBUSY.to_string(), "EBUSY");
}
