//! How fast the model is: operations a second in a small world, time a receiver, large worlds, large tables.
//! `cargo bench -p subtree-model`. With `--figures`, the lines that `cargo xtask bench model` reads: `operation MICROSECONDS`
//! and `receivers COUNT MICROSECONDS MICROSECONDS` (a receiver, of a mount and of an unmount).
#![allow(clippy::disallowed_macros, clippy::disallowed_methods, reason = "a measuring program")]

use mount_table::MountTable;
use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Instant;
use subtree_model::{Attributes, Missing, Op, PropagationType, TaskId, World};

const TASK: TaskId = World::FIRST_TASK;

fn main() {
    if std::env::args().any(|arg| arg == "--figures") {
        println!("operation {:.4}", small_world());
        for count in [10, 100, 1_000, 10_000, 100_000] {
            let (mounting, unmounting) = receivers("peers", count, &[]);
            let count_f = f64::from(count);
            println!("receivers {count} {:.4} {:.4}", mounting / count_f, unmounting / count_f);
        }
        return;
    }
    small_world();
    for count in [1, 10, 100, 1_000, 10_000, 50_000, 100_000] {
        receivers("peers", count, &[]);
    }
    for count in [100, 10_000] {
        receivers("slaves", count, &[PropagationType::Slave]);
        receivers("chain", count, &[PropagationType::Slave, PropagationType::Shared]);
    }
    tables();
}

fn do_all(world: &mut World, ops: &[Op]) {
    for op in ops {
        if let Err(refused) = world.apply(TASK, op) {
            panic!("{op:?}: {refused}");
        }
    }
}

fn mkdir(path: String) -> Op {
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

fn bind(source: &str, target: &str, recursive: bool) -> Op {
    Op::Bind { source: source.into(), target: target.into(), recursive }
}

fn change(target: &str, to: PropagationType) -> Op {
    Op::ChangeType { target: target.into(), to, recursive: false }
}

fn unmount(target: &str, detach: bool) -> Op {
    Op::UnmountPath { target: target.into(), detach, expire: false }
}

/// 100 mounts, some shared, in one namespace; what an operation of a script of mounts and unmounts costs, in microseconds.
fn small_world() -> f64 {
    let mut world = World::new();
    do_all(&mut world, &[mkdir("/w".into()), mount("/w"), mkdir("/w/x".into()), mkdir("/w/y".into())]);
    for n in 0..95 {
        do_all(&mut world, &[mkdir(format!("/w/{n}")), mount(&format!("/w/{n}"))]);
    }
    do_all(&mut world, &[change("/w/1", PropagationType::Shared), mkdir("/w/1/a".into())]);
    let script = [
        mount("/w/x"),
        bind("/w/1", "/w/y", false),
        change("/w/x", PropagationType::Shared),
        mount("/w/1/a"),
        unmount("/w/y/a", false),
        unmount("/w/y", false),
        change("/w/x", PropagationType::Private),
        unmount("/w/x", false),
    ];
    let rounds = 100_000;
    let start = Instant::now();
    for _ in 0..rounds {
        do_all(&mut world, &script);
    }
    let seconds = start.elapsed().as_secs_f64();
    let operations = f64::from(rounds) * script.len() as f64;
    eprintln!("small world: {} mounts, {:.0} operations/s", world.mount_count(), operations / seconds);
    seconds / operations * 1e6
}

/// One mount and its unmount with many receivers, in microseconds.
fn receivers(kind: &str, count: u32, to: &[PropagationType]) -> (f64, f64) {
    let mut world = World::new();
    world.set_mount_max(u32::MAX);
    do_all(&mut world, &[mkdir("/s".into()), mount("/s"), mkdir("/s/a".into())]);
    do_all(&mut world, &[change("/s", PropagationType::Shared)]);
    for n in 0..count {
        let target = format!("/{n}");
        do_all(&mut world, &[mkdir(target.clone()), bind("/s", &target, false)]);
        to.iter().for_each(|&to| do_all(&mut world, &[change(&target, to)]));
    }
    let rounds = (1_000_000 / count).clamp(3, 10_000);
    let (mut mounting, mut unmounting) = (0.0, 0.0);
    let (mount, unmount) = (mount("/s/a"), unmount("/s/a", false));
    for _ in 0..rounds {
        let start = Instant::now();
        do_all(&mut world, std::slice::from_ref(&mount));
        let between = Instant::now();
        do_all(&mut world, std::slice::from_ref(&unmount));
        mounting += (between - start).as_secs_f64();
        unmounting += between.elapsed().as_secs_f64();
    }
    let each = |seconds: f64| seconds / f64::from(rounds) * 1e6;
    let (mounting, unmounting) = (each(mounting), each(unmounting));
    eprintln!(
        "{count:6} {kind}: mount {mounting:10.2} us ({:.3} a receiver), umount {unmounting:10.2} us ({:.3})",
        mounting / f64::from(count),
        unmounting / f64::from(count),
    );
    (mounting, unmounting)
}

/// A node of 25,000 mounts: parsed, made a world, copied to a new namespace, read back, and looked at.
fn tables() {
    let mut text = String::from("1 0 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n");
    for n in 2..25_001 {
        let _ = writeln!(
            text,
            "{n} 1 0:{n} / /var/lib/kubelet/pods/{n}/volumes/kubernetes.io~empty-dir/cache rw,relatime shared:{n} - tmpfs tmpfs rw,size=1024k"
        );
    }
    let time = |what: &str, start: Instant| {
        eprintln!("25,000 rows: {what} {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    };
    let start = Instant::now();
    let table = MountTable::parse_mountinfo(text.as_bytes()).expect("a table");
    time("parsed in", start);
    let start = Instant::now();
    let mut world = World::from_table(&table).expect("a world");
    time("made a world in", start);
    let start = Instant::now();
    do_all(&mut world, &[Op::UnshareMounts]);
    time("copied to a new namespace in", start);
    let start = Instant::now();
    let read = world.table(TASK).expect("the task");
    time("read back in", start);
    let start = Instant::now();
    black_box(read.below("/var".as_ref()).len());
    time("what is visible below a path, found in", start);
    let start = Instant::now();
    black_box(read.carrier("/var/lib/kubelet/pods/900/volumes".as_ref()).map(|mount| mount.id));
    time("the carrier of a path found in", start);
    let start = Instant::now();
    black_box(world.clone().mount_count());
    time("a world cloned in", start);
}
