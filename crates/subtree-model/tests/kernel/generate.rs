//! Random sequences: a prelude that makes shared mounts, slave chains and namespaces on purpose, then anything.
//!
//! Change [`VERSION`] with every change of what a seed gives.

use crate::machine::Model;
use crate::step::{Step, new_detached, new_tmpfs, open};
use mount_table::Mount;
use std::path::{Path, PathBuf};
use subtree_model::{Attributes, Handle, Missing, Op, PropagationType};

/// Of the generator: a seed means a sequence only together with this.
pub(crate) const VERSION: u32 = 3;

/// Steps of a sequence after the prelude.
pub(crate) const STEPS: usize = 40;
/// Above this many mounts only what makes fewer is chosen.
const MOUNTS_MAX: usize = 150;
const NAMESPACES_MAX: usize = 5;
const HANDLES_MAX: u32 = 6;

/// Numbers from a seed (splitmix64).
pub(crate) struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        if from.is_empty() { None } else { Some(&from[self.below(from.len())]) }
    }
}

/// A generator for one sequence. It looks at the model's tables to choose places that mean something.
pub(crate) struct Generator {
    random: Random,
    /// Steps that are to come next whatever happens.
    queue: Vec<Step>,
    open: Vec<u32>,
    left: usize,
}

const NAMES: [&str; 3] = ["a", "b", "c"];

impl Generator {
    pub(crate) fn new(seed: u64) -> Generator {
        let mut generator =
            Generator { random: Random(seed), queue: Vec::new(), open: Vec::new(), left: STEPS };
        generator.prelude();
        generator.queue.reverse();
        generator
    }

    /// The next step; `None` at the end.
    pub(crate) fn next(&mut self, model: &Model) -> Option<Step> {
        if let Some(step) = self.queue.pop() {
            return Some(step);
        }
        self.left = self.left.checked_sub(1)?;
        let step = self.choose(model);
        self.queue.reverse();
        Some(step)
    }

    fn at(at: usize, op: Op) -> Step {
        Step::Do { at, op }
    }

    fn fill(&mut self, at: usize, path: &Path) {
        for name in ["a", "b", "c", "a/a", "a/b", "b/a"] {
            let op = Op::Create { path: path.join(name), kind: Missing::Directory };
            self.queue.push(Generator::at(at, op));
        }
    }

    fn prelude(&mut self) {
        self.fill(0, Path::new("/w"));
        let file = Op::Create { path: "/w/f".into(), kind: Missing::File };
        self.queue.push(Generator::at(0, file));
        let shared = |path: &str, recursive| {
            Generator::at(0, Op::ChangeType { target: path.into(), to: PropagationType::Shared, recursive })
        };
        if self.random.chance(75) {
            self.queue.push(shared("/w", false));
        }
        if self.random.chance(60) {
            self.queue.push(Generator::at(0, new_tmpfs("/w/a".into())));
            self.fill(0, Path::new("/w/a"));
            if self.random.chance(50) {
                self.queue.push(shared("/w/a", false));
            }
        }
        for _ in 0..self.random.below(4) {
            self.chain_link();
        }
        let namespaces = 1 + self.random.below(3);
        for made in 0..namespaces {
            let from = self.random.below(made + 1);
            let user = self.random.chance(35);
            self.queue.push(Step::Namespace { from, user });
            if self.random.chance(50) {
                self.retype(made + 1, "/w".into());
            }
        }
    }

    /// A bind of the work area (or a part of it) that becomes a slave, perhaps shared again: a link of a chain.
    fn chain_link(&mut self) {
        let source = ["/w", "/w/a", "/w/b", "/w/c"][self.random.below(4)];
        let target = ["/w/b", "/w/c", "/w/a/a", "/w/a/b", "/w/b/a"][self.random.below(5)];
        let recursive = self.random.chance(40);
        let bind = Op::Bind { source: source.into(), target: target.into(), recursive };
        self.queue.push(Generator::at(0, bind));
        self.retype(0, target.into());
    }

    fn retype(&mut self, at: usize, target: PathBuf) {
        let to = |to| {
            let target = target.clone();
            Generator::at(at, Op::ChangeType { target, to, recursive: false })
        };
        self.queue.push(to(PropagationType::Slave));
        if self.random.chance(60) {
            self.queue.push(to(PropagationType::Shared));
        }
    }

    fn choose(&mut self, model: &Model) -> Step {
        let alive = model.alive();
        let at = self.random.pick(&alive).copied().unwrap_or(0);
        let crowded = model.world.mount_count() > MOUNTS_MAX;
        match if crowded { 60 + self.random.below(14) } else { self.random.below(100) } {
            0..=11 => self.bind(model, at, false),
            12..=20 => self.bind(model, at, true),
            21..=29 => self.mount(model, at),
            30..=36 => {
                let (source, target) = (self.mount_point(model, at), self.place(model, at));
                Generator::at(at, Op::Move { source, target })
            }
            37..=40 => {
                let (source, target) = (self.mount_point(model, at), self.mount_point(model, at));
                Generator::at(at, Op::MoveBeneath { source, target })
            }
            41..=59 => self.change_type(model, at),
            60..=66 => self.unmount(model, at, false),
            67..=72 => self.unmount(model, at, true),
            73 => self.end(&alive),
            74..=77 if alive.len() < NAMESPACES_MAX => {
                Step::Namespace { from: at, user: self.random.chance(40) }
            }
            74..=78 => Generator::at(at, self.file_operation(model, at)),
            79..=83 => self.open(model, at),
            84 | 85 => self.fsmount(),
            86 => self.join(model, at),
            87 => self.move_receivers(model, at),
            88 => self.remount(model, at),
            _ => self.with_handles(at),
        }
    }

    fn end(&mut self, alive: &[usize]) -> Step {
        match self.random.pick(&alive[1..]) {
            Some(&at) if self.random.chance(50) => Step::End { at },
            _ => self.any_close(),
        }
    }

    fn any_close(&mut self) -> Step {
        let handle = self.any_handle();
        self.open.retain(|&open| open != handle.0);
        Generator::at(0, Op::Close { handle })
    }

    fn bind(&mut self, model: &Model, at: usize, recursive: bool) -> Step {
        let (source, target) = (self.place(model, at), self.place(model, at));
        Generator::at(at, Op::Bind { source, target, recursive })
    }

    fn mount(&mut self, model: &Model, at: usize) -> Step {
        let target = self.place(model, at);
        self.fill(at, &target);
        Generator::at(at, new_tmpfs(target))
    }

    fn change_type(&mut self, model: &Model, at: usize) -> Step {
        let target = if self.random.chance(95) { self.mount_point(model, at) } else { self.place(model, at) };
        let to = self.any_type();
        let recursive = self.random.chance(25);
        Generator::at(at, Op::ChangeType { target, to, recursive })
    }

    fn any_type(&mut self) -> PropagationType {
        match self.random.below(20) {
            0..=8 => PropagationType::Shared,
            9..=13 => PropagationType::Slave,
            14..=16 => PropagationType::Private,
            _ => PropagationType::Unbindable,
        }
    }

    fn unmount(&mut self, model: &Model, at: usize, detach: bool) -> Step {
        let target = if self.random.chance(95) { self.mount_point(model, at) } else { self.place(model, at) };
        let expire = !detach && self.random.chance(10);
        Generator::at(at, Op::UnmountPath { target, detach, expire })
    }

    fn file_operation(&mut self, model: &Model, at: usize) -> Op {
        let path = self.place(model, at);
        match self.random.below(5) {
            0 | 1 => Op::RemoveDirectory { path },
            2 | 3 => {
                let to = self.place(model, at);
                Op::Rename { from: path, to }
            }
            _ => Op::Unlink { path },
        }
    }

    fn new_handle(&mut self) -> Handle {
        let free = (1..=HANDLES_MAX).find(|number| !self.open.contains(number));
        let number = free.unwrap_or_else(|| {
            let old = self.open.remove(self.random.below(self.open.len()));
            // It is closed first: the queue is turned round after the step, so this comes before what is in it.
            old
        });
        self.open.push(number);
        Handle(number)
    }

    fn any_handle(&mut self) -> Handle {
        match self.random.pick(&self.open) {
            Some(&number) => Handle(number),
            None => Handle(1),
        }
    }

    /// A step that opens a handle, after one that closes it if it is open.
    fn opening(&mut self, at: usize, op: impl FnOnce(&mut Generator, Handle) -> Op) -> Step {
        let was_full = self.open.len() >= HANDLES_MAX as usize;
        let out = self.new_handle();
        let step = Generator::at(at, op(self, out));
        if !was_full {
            return step;
        }
        self.queue.insert(0, step);
        Generator::at(at, Op::Close { handle: out })
    }

    fn open(&mut self, model: &Model, at: usize) -> Step {
        let path = if self.random.chance(70) { self.mount_point(model, at) } else { self.place(model, at) };
        self.opening(at, |_, out| open(out, &path))
    }

    fn fsmount(&mut self) -> Step {
        self.opening(0, |_, out| new_detached(out))
    }

    fn with_handles(&mut self, at: usize) -> Step {
        let from = self.any_handle();
        match self.random.below(20) {
            0..=4 => {
                let recursive = self.random.chance(60);
                self.opening(at, |_, out| Op::CloneTree { from, recursive, out })
            }
            5..=9 => Generator::at(at, Op::MoveMount { from, to: self.any_handle() }),
            10 => Generator::at(at, Op::MoveMountBeneath { from, to: self.any_handle() }),
            11..=14 => Generator::at(at, Op::SetGroup { from, to: self.any_handle() }),
            15 | 16 => self.set_attributes(at, from),
            17 => Generator::at(at, Op::Unmount { at: from, detach: self.random.chance(70) }),
            _ => self.any_close(),
        }
    }

    /// A mount joins the group or master of another of its file system.
    fn join(&mut self, model: &Model, at: usize) -> Step {
        let table = model.task(at).and_then(|task| model.world.table(task).ok()).unwrap_or_default();
        let rows: Vec<&Mount> = table.mounts.iter().filter(|row| row.mount_point.starts_with("/w")).collect();
        let grouped: Vec<_> =
            rows.iter().filter(|row| row.propagation.is_shared() || row.propagation.is_slave()).collect();
        let Some(from) = self.random.pick(&grouped) else { return self.any_close() };
        let lone: Vec<_> = rows
            .iter()
            .filter(|row| row.device == from.device && !grouped.iter().any(|other| other.id == row.id))
            .collect();
        let Some(to) = self.random.pick(&lone) else { return self.any_close() };
        let (model, joining) = (Handle(HANDLES_MAX + 1), Handle(HANDLES_MAX + 2));
        self.queue.extend([
            Generator::at(at, open(joining, &to.mount_point)),
            Generator::at(at, Op::SetGroup { from: model, to: joining }),
            Generator::at(at, Op::Close { handle: model }),
            Generator::at(at, Op::Close { handle: joining }),
        ]);
        Generator::at(at, open(model, &from.mount_point))
    }

    /// A tree that itself holds a receiver of the place it goes to: `D` is shared, `S` not, a slave of `D` is mounted in
    /// `S`, and `S` goes into `D`.
    fn move_receivers(&mut self, model: &Model, at: usize) -> Step {
        let (to, tree) = (self.mount_point(model, at), self.mount_point(model, at));
        let (inside, place) = (tree.join(NAMES[self.random.below(3)]), to.join(NAMES[self.random.below(3)]));
        let change = |target: &PathBuf, to| Op::ChangeType { target: target.clone(), to, recursive: false };
        self.queue.push(Generator::at(at, change(&to, PropagationType::Shared)));
        self.queue.push(Generator::at(
            at,
            Op::Bind { source: to.clone(), target: inside.clone(), recursive: self.random.chance(30) },
        ));
        self.queue.push(Generator::at(at, change(&inside, PropagationType::Slave)));
        if self.random.chance(50) {
            self.queue.push(Generator::at(at, change(&inside, PropagationType::Shared)));
        }
        let carry = if self.random.chance(60) {
            Op::Move { source: tree.clone(), target: place }
        } else {
            Op::Bind { source: tree.clone(), target: place, recursive: true }
        };
        self.queue.push(Generator::at(at, carry));
        let slave_or_private =
            if self.random.chance(50) { PropagationType::Slave } else { PropagationType::Private };
        Generator::at(at, change(&tree, slave_or_private))
    }

    fn set_attributes(&mut self, at: usize, mount: Handle) -> Step {
        let (mut set, mut clear) = (Attributes::default(), Attributes::default());
        match self.random.below(4) {
            0 => set.no_suid = true,
            1 => clear.no_suid = true,
            _ => {}
        }
        let propagation = self.random.chance(70).then(|| self.any_type());
        let recursive = self.random.chance(40);
        Generator::at(at, Op::SetAttributes { mount, recursive, set, clear, propagation })
    }

    /// Often of a mount that was read-only before, so that file systems do not all end so.
    fn remount(&mut self, model: &Model, at: usize) -> Step {
        let target = if self.random.chance(90) { self.mount_point(model, at) } else { self.place(model, at) };
        let attributes = Attributes {
            read_only: self.random.chance(40),
            no_suid: self.random.chance(20),
            ..Attributes::default()
        };
        let bind = self.random.chance(50);
        Generator::at(at, Op::Remount { target, attributes, bind })
    }

    fn mount_points(&self, model: &Model, at: usize) -> Vec<PathBuf> {
        let table = model.task(at).and_then(|task| model.world.table(task).ok()).unwrap_or_default();
        let rows = table.mounts.into_iter().map(|mount| mount.mount_point);
        rows.filter(|path| path.starts_with("/w")).collect()
    }

    fn mount_point(&mut self, model: &Model, at: usize) -> PathBuf {
        let points = self.mount_points(model, at);
        self.random.pick(&points).cloned().unwrap_or_else(|| "/w".into())
    }

    /// A mount point or a directory a little below one.
    fn place(&mut self, model: &Model, at: usize) -> PathBuf {
        let mut path = self.mount_point(model, at);
        if self.random.chance(3) {
            return "/w/f".into();
        }
        for _ in 0..[0, 1, 1, 1, 2][self.random.below(5)] {
            path.push(NAMES[self.random.below(3)]);
        }
        path
    }
}
