//! The model of the kernel: any operations, in any order, by any tasks. `apply` never panics, what it refuses changes
//! nothing, and after each operation the state is sound (`World::check_invariants`).

use std::path::PathBuf;
use subtree_model::{Attributes, Handle, Kernel, Missing, Op, PropagationType, TaskId, World};

/// The bytes are numbers: a task and the kind of an operation.
pub(crate) const WORDS: &[&str] = &[
    "\0\0",
    "\0\u{2}",
    "\0\u{6}\0\u{1}",
    "\0\u{9}",
    "\0\u{13}",
    "\0\u{14}",
    "\0\u{18}",
    "\0\u{1a}",
    "\0\u{1e}",
];

/// Operations of one input.
const MAX_OPERATIONS: usize = 150;
/// Small, so that trees that are bound into themselves end.
const MOUNT_MAX: u32 = 200;
const PATHS: [&str; 12] =
    ["/", "/a", "/b", "/a/a", "/a/b", "/b/a", "/a/b/c", "/f", "..", ".", "a/../b", "/no/such"];
const TYPES: [PropagationType; 4] =
    [PropagationType::Shared, PropagationType::Slave, PropagationType::Private, PropagationType::Unbindable];

/// Bytes as numbers; zero when there are no more.
struct Numbers<'a>(std::slice::Iter<'a, u8>);

impl Numbers<'_> {
    fn next(&mut self) -> u8 {
        self.0.next().copied().unwrap_or_default()
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::from(self.next()) % bound
    }

    fn path(&mut self) -> PathBuf {
        PATHS[self.below(PATHS.len())].into()
    }

    fn handle(&mut self) -> Handle {
        Handle(self.below(5) as u32)
    }

    fn flag(&mut self) -> bool {
        self.next() % 2 == 1
    }

    fn attributes(&mut self) -> Attributes {
        let bits = self.next();
        Attributes {
            read_only: bits & 1 != 0,
            no_suid: bits & 2 != 0,
            no_dev: bits & 4 != 0,
            no_exec: bits & 8 != 0,
        }
    }
}

/// Gives them to a world.
pub(crate) fn run(bytes: &[u8]) {
    let mut numbers = Numbers(bytes.iter());
    let mut world = World::new();
    world.set_kernel(Kernel::ALL[numbers.below(Kernel::ALL.len())]);
    world.set_mount_max(MOUNT_MAX);
    let mut tasks = vec![World::FIRST_TASK];
    for path in ["/a", "/b", "/a/a", "/a/b", "/b/a"] {
        let _ = world.apply(World::FIRST_TASK, &Op::Create { path: path.into(), kind: Missing::Directory });
    }
    for _ in 0..MAX_OPERATIONS {
        if numbers.0.as_slice().is_empty() {
            break;
        }
        let task = tasks[numbers.below(tasks.len())];
        step(&mut world, &mut tasks, task, &mut numbers);
        world.check_invariants().expect("a sound state");
    }
    // Reading what came of it, and beginning with it again.
    let snapshot = world.snapshot();
    if let Ok(again) = World::from_snapshot(&snapshot) {
        again.check_invariants().expect("a sound world from tables");
    }
}

fn step(world: &mut World, tasks: &mut Vec<TaskId>, task: TaskId, numbers: &mut Numbers<'_>) {
    match numbers.below(32) {
        30 if tasks.len() < 8 => tasks.extend(world.fork(task).ok()),
        31 => drop(world.exit(task)),
        kind => {
            let Some(op) = operation(kind, numbers) else { return };
            let before = world.snapshot();
            if world.apply(task, &op).is_err() {
                assert_eq!(world.snapshot(), before, "refused, and yet something changed: {op:?}");
            }
        }
    }
}

fn operation(kind: usize, numbers: &mut Numbers<'_>) -> Option<Op> {
    let missing = [None, Some(Missing::Directory), Some(Missing::File)];
    Some(match kind {
        0 | 1 => Op::Mount {
            fs_type: ["tmpfs", "ramfs", "ext4"][numbers.below(3)].to_owned(),
            source: "none".to_owned(),
            target: numbers.path(),
            attributes: numbers.attributes(),
        },
        2 | 3 => Op::Bind { source: numbers.path(), target: numbers.path(), recursive: numbers.flag() },
        4 => Op::Move { source: numbers.path(), target: numbers.path() },
        5 => Op::MoveBeneath { source: numbers.path(), target: numbers.path() },
        6..=8 => {
            let to = TYPES[numbers.below(4)];
            Op::ChangeType { target: numbers.path(), to, recursive: numbers.flag() }
        }
        9 | 10 => Op::UnmountPath {
            target: numbers.path(),
            detach: numbers.flag(),
            expire: numbers.next().is_multiple_of(8),
        },
        11 => Op::Remount { target: numbers.path(), attributes: numbers.attributes(), bind: numbers.flag() },
        12 => Op::PivotRootTo { new_root: numbers.path(), put_old: numbers.path() },
        13 => Op::ChangeRoot { path: numbers.path() },
        14 => Op::ChangeDirectory { path: numbers.path() },
        15 => {
            let kind = if numbers.flag() { Missing::Directory } else { Missing::File };
            Op::Create { path: numbers.path(), kind }
        }
        16 => Op::RemoveDirectory { path: numbers.path() },
        17 => Op::Unlink { path: numbers.path() },
        18 => Op::Rename { from: numbers.path(), to: numbers.path() },
        19 => Op::UnshareMounts,
        20 => Op::UnshareUserAndMounts,
        21 => Op::OpenNamespace { out: numbers.handle() },
        22 => Op::EnterNamespace { namespace: numbers.handle() },
        23 => Op::Open {
            root: numbers.handle(),
            path: numbers.path(),
            follow: numbers.flag(),
            missing: missing[numbers.below(3)],
            out: numbers.handle(),
        },
        24 => Op::CloneTree { from: numbers.handle(), recursive: numbers.flag(), out: numbers.handle() },
        25 => {
            let (from, to) = (numbers.handle(), numbers.handle());
            if numbers.flag() { Op::MoveMountBeneath { from, to } } else { Op::MoveMount { from, to } }
        }
        26 => Op::SetGroup { from: numbers.handle(), to: numbers.handle() },
        27 => Op::Close { handle: numbers.handle() },
        28 => Op::SetAttributes {
            mount: numbers.handle(),
            recursive: numbers.flag(),
            set: numbers.attributes(),
            clear: numbers.attributes(),
            propagation: numbers.flag().then(|| TYPES[numbers.below(4)]),
        },
        29 => match numbers.below(3) {
            0 => Op::Unmount { at: numbers.handle(), detach: numbers.flag() },
            1 => Op::PivotRoot { new_root: numbers.handle() },
            _ => Op::NewFileSystem {
                fs_type: "tmpfs".to_owned(),
                source: "none".to_owned(),
                options: Vec::new(),
                attributes: numbers.attributes(),
                out: numbers.handle(),
            },
        },
        _ => return None,
    })
}
