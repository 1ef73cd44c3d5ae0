//! Anything at all: whatever operations come, by whatever task, on whatever world and kernel, nothing panics, the
//! invariants hold, and what is refused has changed nothing.

use crate::{Attributes, Handle, Kernel, Missing, Node, Op, PropagationType, RuleId, TaskId, World};
use mount_table::MountTable;
use std::path::PathBuf;

/// Numbers (xorshift), the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) % bound
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn path(&mut self) -> PathBuf {
        if self.chance(3) {
            return PathBuf::from(["", "/", ".", "..", "/a//b/", "a/../../b"][self.below(6) as usize]);
        }
        let names = ["a", "b", "c", "f", "l", "..", "."];
        let mut path = String::from(if self.chance(95) { "/" } else { "" });
        for _ in 0..self.below(4) {
            path.push_str(names[if self.chance(90) { self.below(4) } else { self.below(7) } as usize]);
            path.push('/');
        }
        if self.chance(98) && path.len() > 1 {
            path.pop();
        }
        PathBuf::from(path)
    }

    fn handle(&mut self) -> Handle {
        Handle(self.below(8) as u32)
    }

    fn propagation(&mut self) -> PropagationType {
        use PropagationType::{Private, Shared, Slave, Unbindable};
        [Shared, Shared, Slave, Private, Unbindable][self.below(5) as usize]
    }

    fn attributes(&mut self) -> Attributes {
        let mut on = || self.chance(8);
        Attributes { read_only: on(), no_suid: on(), no_dev: on(), no_exec: on() }
    }

    fn node(&mut self) -> Node {
        match self.below(4) {
            0 => Node::Symlink { target: self.path() },
            1 => Node::CharDevice { mode: 0, major: 1, minor: 3 },
            2 => Node::File { mode: 0o644 },
            _ => Node::Directory { mode: 0o755 },
        }
    }

    fn op(&mut self) -> Op {
        let fs_type = ["tmpfs", "overlay"][self.below(2) as usize].to_owned();
        let source = String::from("none");
        let missing = if self.chance(50) { Missing::Directory } else { Missing::File };
        match self.below(31) {
            0 | 1 => Op::Create { path: self.path(), kind: missing },
            2 => Op::RemoveDirectory { path: self.path() },
            3 => Op::Unlink { path: self.path() },
            4 => Op::Rename { from: self.path(), to: self.path() },
            5 => Op::ChangeDirectory { path: self.path() },
            6 if self.chance(20) => Op::ChangeRoot { path: self.path() },
            6 | 7 => Op::Mount { fs_type, source, target: self.path(), attributes: self.attributes() },
            8..=11 => Op::Bind { source: self.path(), target: self.path(), recursive: self.chance(50) },
            12 => Op::Move { source: self.path(), target: self.path() },
            13 => Op::MoveBeneath { source: self.path(), target: self.path() },
            14 | 15 => {
                Op::ChangeType { target: self.path(), to: self.propagation(), recursive: self.chance(30) }
            }
            16 | 17 => {
                Op::UnmountPath { target: self.path(), detach: self.chance(40), expire: self.chance(10) }
            }
            18 => Op::PivotRootTo { new_root: self.path(), put_old: self.path() },
            19 => Op::PivotRoot { new_root: self.handle() },
            20 | 21 => Op::Open {
                root: self.handle(),
                path: self.path(),
                follow: self.chance(70),
                missing: self.chance(50).then_some(missing),
                out: self.handle(),
            },
            22 => Op::CloneTree { from: self.handle(), recursive: self.chance(50), out: self.handle() },
            23 => {
                let (options, attributes) = (Vec::new(), self.attributes());
                Op::NewFileSystem { fs_type, source, options, attributes, out: self.handle() }
            }
            24 => Op::Make { root: self.handle(), path: self.path(), node: self.node() },
            25 => Op::SetAttributes {
                mount: self.handle(),
                recursive: self.chance(50),
                set: self.attributes(),
                clear: self.attributes(),
                propagation: self.chance(60).then(|| self.propagation()),
            },
            26 => Op::MoveMount { from: self.handle(), to: self.handle() },
            27 => Op::MoveMountBeneath { from: self.handle(), to: self.handle() },
            28 => Op::SetGroup { from: self.handle(), to: self.handle() },
            29 => Op::Unmount { at: self.handle(), detach: self.chance(60) },
            _ => self.rare_op(),
        }
    }

    fn rare_op(&mut self) -> Op {
        match self.below(6) {
            0 => Op::UnshareMounts,
            1 => Op::UnshareUserAndMounts,
            2 => Op::OpenNamespace { out: self.handle() },
            3 => Op::EnterNamespace { namespace: self.handle() },
            _ => Op::Close { handle: self.handle() },
        }
    }

    fn world(&mut self) -> World {
        let table = "\
            21 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n\
            24 21 0:23 / /a rw shared:7 master:70 - tmpfs tmpfs rw\n\
            40 24 0:24 / /a/b rw master:80 propagate_from:7 - tmpfs tmpfs rw\n\
            41 21 8:1 /b /b rw shared:1 - ext4 /dev/sda1 rw\n\
            44 21 0:42 /gone//deleted /c rw unbindable - tmpfs gone rw\n";
        let mut world = if self.chance(50) {
            World::new()
        } else {
            let table = MountTable::parse_mountinfo(table.as_bytes()).expect("a mountinfo");
            World::from_table(&table).expect("a table")
        };
        let kernels = [Kernel::V6_18, Kernel::V6_18, Kernel::V6_1, Kernel::V6_12, Kernel::V7];
        world.set_kernel(kernels[self.below(5) as usize]);
        world.set_mount_max([100, 25, 12][self.below(3) as usize]);
        world
    }
}

#[test]
fn whatever_comes_the_state_is_sound() {
    let mut random = Random(0x1234_5678_9abc_def1);
    let (mut refused, mut full) = (0, 0);
    for _ in 0..200 {
        let mut world = random.world();
        let mut tasks = vec![World::FIRST_TASK];
        for _ in 0..120 {
            let task = tasks[random.below(tasks.len() as u64) as usize];
            if random.chance(2) && tasks.len() < 5 {
                tasks.extend(world.fork(task));
            } else if random.chance(1) && tasks.len() > 1 {
                tasks.retain(|other| *other != task);
                world.exit(task).expect("a task");
            }
            let op = random.op();
            let before = world.snapshot();
            if let Err(error) = world.apply(task, &op) {
                assert_eq!(world.snapshot(), before, "{op:?} was refused ({error}) but changed something");
                refused += 1;
                full += u32::from(error.rule == RuleId::MountMax);
            }
            if let Err(broken) = world.check_invariants() {
                panic!("after {op:?}: {broken}");
            }
        }
        let snapshot = world.snapshot();
        if !snapshot.namespaces.is_empty() {
            // What a table cannot say may be lost (a root without a row), but it must not be refused or panic.
            let again = World::from_snapshot(&snapshot);
            assert!(again.is_ok_and(|world| world.check_invariants().is_ok()), "{snapshot:?}");
        }
    }
    assert!(refused > 2_500 && full > 25, "the operations were not what they should be: {refused}, {full}");
}

#[test]
fn tasks_that_are_not_there() {
    let mut world = World::new();
    assert!(world.apply(TaskId(u32::MAX), &Op::UnshareMounts).is_err());
    assert!(world.exit(TaskId(7)).is_err() && world.fork(TaskId(7)).is_err());
    assert!(world.exit(World::FIRST_TASK).is_ok() && world.exit(World::FIRST_TASK).is_err());
    assert!(world.snapshot().namespaces.is_empty());
    world.check_invariants().expect("invariants");
}
