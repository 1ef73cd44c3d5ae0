//! The two worlds that steps are given to: the running kernel and the model.

use crate::step::Step;
use mount_table::{Device, MountTable, NamespaceId, NamespaceTable, Snapshot};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags, UnmountFlags, mount, mount_bind,
    mount_bind_recursive, mount_change, mount_move, unmount,
};
use rustix::process::WaitOptions;
use std::collections::HashMap;
use std::ffi::CStr;
use std::path::Path;
use subtree_model::{Attributes, Effects, Handle, Missing, Op, PropagationType, Refused, TaskId, World};
use sys::namespace::Namespaces;
use sys::process::{exit, spawn};

/// The running kernel. To be used in a process of its own with one thread.
pub(crate) struct Kernel {
    /// `/proc` of the outside, so that mountinfo can be read whatever the root is.
    proc: OwnedFd,
    /// A namespace that is never changed; every sequence begins in a copy of it.
    origin: OwnedFd,
    namespaces: Vec<Option<OwnedFd>>,
    current: usize,
    handles: HashMap<Handle, OwnedFd>,
}

impl Kernel {
    /// Makes a private root of its own, with a `/proc` and a directory `/w`, and leaves the machine's mounts behind.
    /// The process must be in a mount namespace of its own already.
    pub(crate) fn new() -> Result<Kernel, Errno> {
        let none: Option<&CStr> = None;
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        mount("base", "/tmp", "tmpfs", MountFlags::empty(), none)?;
        for name in ["/tmp/proc", "/tmp/base"] {
            rustix::fs::mkdir(name, Mode::from_raw_mode(0o755))?;
        }
        mount_bind("/proc", "/tmp/proc")?;
        // Whatever the machine's has (nosuid,nodev,noexec under systemd), ours has no attributes, as the model's.
        rustix::mount::mount_remount("/tmp/proc", MountFlags::BIND, "")?;
        pivot("/tmp")?;
        let proc = rustix::fs::open("/proc", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let origin = sys::namespace::open_own("mnt")?;
        Ok(Kernel { proc, origin, namespaces: Vec::new(), current: 0, handles: HashMap::new() })
    }

    /// Drops all that a sequence left and begins the next one: in a fresh copy, on a fresh root with `/proc` and a
    /// tmpfs at `/w`.
    pub(crate) fn begin(&mut self) -> Result<(), Errno> {
        self.handles.clear();
        sys::mount::enter_mount_namespace(self.origin.as_fd())?;
        self.namespaces.clear();
        sys::mount::unshare_mounts()?;
        let none: Option<&CStr> = None;
        mount("base", "/base", "tmpfs", MountFlags::empty(), none)?;
        for name in ["/base/proc", "/base/w"] {
            rustix::fs::mkdir(name, Mode::from_raw_mode(0o755))?;
        }
        mount_bind("/proc", "/base/proc")?;
        pivot("/base")?;
        mount("none", "/w", "tmpfs", MountFlags::empty(), none)?;
        self.namespaces.push(Some(sys::namespace::open_own("mnt")?));
        self.current = 0;
        Ok(())
    }

    /// Does a step.
    pub(crate) fn step(&mut self, step: &Step) -> Result<(), Errno> {
        match step {
            Step::Namespace { from, user } => {
                self.enter(*from)?;
                let new = if *user { copy_for_new_user()? } else { self.copy()? };
                self.namespaces.push(Some(new));
            }
            Step::End { at } => {
                if self.current == *at {
                    self.enter(0)?;
                }
                self.namespaces.get_mut(*at).and_then(Option::take).ok_or(Errno::BADF)?;
            }
            Step::Do { at, op } => {
                self.enter(*at)?;
                self.call(op)?;
            }
        }
        Ok(())
    }

    fn copy(&mut self) -> Result<OwnedFd, Errno> {
        sys::mount::unshare_mounts()?;
        self.current = self.namespaces.len();
        sys::namespace::open_own("mnt")
    }

    fn enter(&mut self, at: usize) -> Result<(), Errno> {
        if self.current != at {
            let namespace = self.namespaces.get(at).and_then(Option::as_ref).ok_or(Errno::BADF)?;
            sys::mount::enter_mount_namespace(namespace.as_fd())?;
            self.current = at;
        }
        Ok(())
    }

    fn handle(&self, handle: Handle) -> Result<&OwnedFd, Errno> {
        self.handles.get(&handle).ok_or(Errno::BADF)
    }

    /// One system call (or the short sequence that the operation stands for).
    fn call(&mut self, op: &Op) -> Result<(), Errno> {
        let none: Option<&CStr> = None;
        match op {
            Op::Create { path, kind: Missing::Directory } => {
                rustix::fs::mkdir(path, Mode::from_raw_mode(0o755))
            }
            Op::Create { path, kind: Missing::File } => {
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                rustix::fs::open(path, flags, Mode::from_raw_mode(0o644)).map(drop)
            }
            Op::RemoveDirectory { path } => rustix::fs::rmdir(path),
            Op::Unlink { path } => rustix::fs::unlinkat(CWD, path, AtFlags::empty()),
            Op::Rename { from, to } => rustix::fs::rename(from, to),
            Op::ChangeDirectory { path } => rustix::process::chdir(path),
            Op::ChangeRoot { path } => rustix::process::chroot(path),
            Op::Mount { target, .. } => mount("none", target, "tmpfs", MountFlags::empty(), none),
            Op::Remount { target, attributes, bind } => remount(target, *attributes, *bind),
            Op::Bind { source, target, recursive: false } => mount_bind(source, target),
            Op::Bind { source, target, recursive: true } => mount_bind_recursive(source, target),
            Op::Move { source, target } => mount_move(source, target),
            Op::MoveBeneath { source, target } => {
                let beneath = MoveMountFlags::MOVE_MOUNT_BENEATH;
                rustix::mount::move_mount(CWD, source, CWD, target, beneath)
            }
            Op::ChangeType { target, to, recursive } => change_type(target, *to, *recursive),
            Op::UnmountPath { target, detach, expire } => {
                let mut flags = UnmountFlags::empty();
                flags.set(UnmountFlags::DETACH, *detach);
                flags.set(UnmountFlags::EXPIRE, *expire);
                unmount(target, flags)
            }
            Op::PivotRootTo { new_root, put_old } => rustix::process::pivot_root(new_root, put_old),
            other => self.call_with_handles(other),
        }
    }

    fn call_with_handles(&mut self, op: &Op) -> Result<(), Errno> {
        if let Op::Open { out, .. } | Op::CloneTree { out, .. } | Op::NewFileSystem { out, .. } = op
            && self.handles.contains_key(out)
        {
            return Err(Errno::BADF);
        }
        match op {
            Op::Open { root: Handle::HOST, path, follow, missing: None, out } => {
                let root = sys::mount::open_root(Path::new("/"))?;
                let fd = sys::mount::open_path_in(root.as_fd(), path, *follow)?;
                self.handles.insert(*out, fd);
            }
            Op::CloneTree { from, recursive, out } => {
                let fd = sys::mount::clone_tree(self.handle(*from)?.as_fd(), *recursive)?;
                self.handles.insert(*out, fd);
            }
            Op::NewFileSystem { fs_type, source, options, attributes, out } => {
                let made = sys::mount::new_file_system(fs_type, source, options, flags(*attributes));
                self.handles.insert(*out, made.map_err(|error| error.errno)?);
            }
            Op::MoveMount { from, to } => {
                sys::mount::move_mount(self.handle(*from)?.as_fd(), self.handle(*to)?.as_fd())?;
            }
            Op::MoveMountBeneath { from, to } => {
                sys::mount::move_mount_beneath(self.handle(*from)?.as_fd(), self.handle(*to)?.as_fd())?;
            }
            Op::SetGroup { from, to } => {
                sys::mount::set_group(self.handle(*from)?.as_fd(), self.handle(*to)?.as_fd())?;
            }
            Op::Unmount { at, detach } => sys::mount::unmount(self.handle(*at)?.as_fd(), *detach)?,
            Op::SetAttributes { mount, recursive, set, clear, propagation } => {
                let to = propagation.map(kernel_type);
                let fd = self.handle(*mount)?.as_fd();
                sys::mount::set_attributes(fd, *recursive, flags(*set), flags(*clear), to)?;
            }
            Op::Close { handle } => {
                self.handles.remove(handle).ok_or(Errno::BADF)?;
            }
            other => panic!("not an operation of these tests: {other:?}"),
        }
        Ok(())
    }

    /// The mounts of all namespaces that are alive, in the form in which they are compared.
    pub(crate) fn snapshot(&mut self) -> Result<Snapshot, Errno> {
        self.tables().map(comparable)
    }

    /// The mounts of all namespaces that are alive.
    pub(crate) fn tables(&mut self) -> Result<Snapshot, Errno> {
        let mut namespaces = Vec::new();
        for at in 0..self.namespaces.len() {
            if self.namespaces[at].is_some() {
                self.enter(at)?;
                namespaces.push(NamespaceTable { id: NamespaceId(at as u64), mounts: self.table()? });
            }
        }
        Ok(Snapshot { namespaces })
    }

    fn table(&self) -> Result<MountTable, Errno> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.proc, "self/mountinfo", flags, Mode::empty())?;
        let mut bytes = Vec::new();
        let mut page = [0; 16384];
        loop {
            match rustix::io::read(&file, &mut page)? {
                0 => break,
                count => bytes.extend_from_slice(&page[..count]),
            }
        }
        Ok(MountTable::parse_mountinfo(&bytes).expect("the kernel's own"))
    }
}

/// Makes a mount the root and leaves the old one behind.
fn pivot(new_root: &str) -> Result<(), Errno> {
    rustix::process::chdir(new_root)?;
    rustix::process::pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/")
}

fn remount(target: &Path, attributes: Attributes, bind: bool) -> Result<(), Errno> {
    let mut flags = MountFlags::empty();
    flags.set(MountFlags::BIND, bind);
    flags.set(MountFlags::RDONLY, attributes.read_only);
    flags.set(MountFlags::NOSUID, attributes.no_suid);
    rustix::mount::mount_remount(target, flags, "")
}

fn change_type(target: &Path, to: PropagationType, recursive: bool) -> Result<(), Errno> {
    let mut flags = match to {
        PropagationType::Shared => MountPropagationFlags::SHARED,
        PropagationType::Slave => MountPropagationFlags::DOWNSTREAM,
        PropagationType::Private => MountPropagationFlags::PRIVATE,
        PropagationType::Unbindable => MountPropagationFlags::UNBINDABLE,
    };
    flags.set(MountPropagationFlags::REC, recursive);
    mount_change(target, flags)
}

fn kernel_type(to: PropagationType) -> sys::mount::Propagation {
    match to {
        PropagationType::Shared => sys::mount::Propagation::Shared,
        PropagationType::Slave => sys::mount::Propagation::Slave,
        PropagationType::Private => sys::mount::Propagation::Private,
        PropagationType::Unbindable => sys::mount::Propagation::Unbindable,
    }
}

fn flags(attributes: Attributes) -> MountAttrFlags {
    let mut flags = MountAttrFlags::empty();
    flags.set(MountAttrFlags::MOUNT_ATTR_RDONLY, attributes.read_only);
    flags.set(MountAttrFlags::MOUNT_ATTR_NOSUID, attributes.no_suid);
    flags.set(MountAttrFlags::MOUNT_ATTR_NODEV, attributes.no_dev);
    flags.set(MountAttrFlags::MOUNT_ATTR_NOEXEC, attributes.no_exec);
    flags
}

/// A child makes a user namespace and a mount namespace owned by it, which outlives it by our descriptor.
fn copy_for_new_user() -> Result<OwnedFd, Errno> {
    let (wait, go) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let child = spawn(Namespaces::USER | Namespaces::MOUNT, None, || {
        // The child's own copy of the writing end would keep the pipe open for ever: one byte is the sign.
        let _ = rustix::io::read(&wait, &mut [0]);
        exit(0)
    });
    let child = child.map_err(|_| Errno::AGAIN)?;
    let namespace = sys::namespace::open_of(child.pid, "mnt");
    rustix::io::write(&go, b".")?;
    rustix::process::waitpid(Some(child.pid), WaitOptions::empty())?;
    namespace
}

/// The model, with one task in each namespace.
pub(crate) struct Model {
    pub(crate) world: World,
    tasks: Vec<Option<TaskId>>,
}

/// Open while a namespace is handed from one task to another.
const BETWEEN: Handle = Handle(u32::MAX);

impl Model {
    /// What [`Kernel::begin`] makes.
    pub(crate) fn new() -> Model {
        let mut world = World::new();
        world.set_kernel(crate::running_kernel().unwrap_or_default());
        let create = |path: &str| Op::Create { path: path.into(), kind: Missing::Directory };
        let mount = |fs_type: &str, source: &str, target: &str| Op::Mount {
            fs_type: fs_type.into(),
            source: source.into(),
            target: target.into(),
            attributes: Attributes::default(),
        };
        let setup =
            [create("/proc"), create("/w"), mount("proc", "proc", "/proc"), mount("tmpfs", "none", "/w")];
        for op in setup {
            world.apply(World::FIRST_TASK, &op).expect("the beginning");
        }
        Model { world, tasks: vec![Some(World::FIRST_TASK)] }
    }

    /// The task in a namespace that is alive.
    pub(crate) fn task(&self, at: usize) -> Option<TaskId> {
        self.tasks.get(at).copied().flatten()
    }

    /// Namespaces that are alive.
    pub(crate) fn alive(&self) -> Vec<usize> {
        (0..self.tasks.len()).filter(|&at| self.tasks[at].is_some()).collect()
    }

    /// Does a step.
    pub(crate) fn step(&mut self, step: &Step) -> Result<Effects, Refused> {
        let dead = Refused { errno: subtree_model::Errno::EBADF, rule: subtree_model::RuleId::BadHandle };
        match step {
            Step::Namespace { from, user: false } => {
                let task = self.world.fork(self.task(*from).ok_or(dead)?)?;
                let effects = self.world.apply(task, &Op::UnshareMounts)?;
                self.tasks.push(Some(task));
                Ok(effects)
            }
            Step::Namespace { from, user: true } => {
                // The kernel's side does this with a child that ends, and enters from the initial user namespace.
                let first = self.task(0).ok_or(dead)?;
                let child = self.world.fork(self.task(*from).ok_or(dead)?)?;
                let effects = self.world.apply(child, &Op::UnshareUserAndMounts)?;
                self.world.apply(child, &Op::OpenNamespace { out: BETWEEN })?;
                self.world.exit(child)?;
                let task = self.world.fork(first)?;
                self.world.apply(task, &Op::EnterNamespace { namespace: BETWEEN })?;
                self.world.apply(task, &Op::Close { handle: BETWEEN })?;
                self.tasks.push(Some(task));
                Ok(effects)
            }
            Step::End { at } => {
                let task = self.tasks.get_mut(*at).and_then(Option::take).ok_or(dead)?;
                self.world.exit(task)
            }
            Step::Do { at, op } => self.world.apply(self.task(*at).ok_or(dead)?, op),
        }
    }

    /// The mounts of all namespaces that are alive, in the form in which they are compared.
    pub(crate) fn snapshot(&self) -> Snapshot {
        comparable(self.tables())
    }

    /// The mounts of all namespaces that are alive.
    pub(crate) fn tables(&self) -> Snapshot {
        let table = |at: usize| NamespaceTable {
            id: NamespaceId(at as u64),
            mounts: self.task(at).and_then(|task| self.world.table(task).ok()).unwrap_or_default(),
        };
        Snapshot { namespaces: self.alive().into_iter().map(table).collect() }
    }
}

/// Whether a world made from the kernel's tables shows the same tables again.
pub(crate) fn check_reading_back(tables: &Snapshot) -> Result<(), String> {
    let world = World::from_snapshot(tables).map_err(|error| format!("no world from the tables: {error}"))?;
    world.check_invariants().map_err(|broken| format!("a broken world from the tables: {broken}"))?;
    let (before, after) = (comparable(tables.clone()), comparable(world.snapshot()));
    if before == after { Ok(()) } else { Err("a world from the tables shows other tables".to_owned()) }
}

/// Numbers mounts, groups and devices by first appearance and leaves out what is not modelled.
fn comparable(mut snapshot: Snapshot) -> Snapshot {
    snapshot.renumber();
    let mut devices: HashMap<Device, u32> = HashMap::new();
    for mount in snapshot.namespaces.iter_mut().flat_map(|namespace| &mut namespace.mounts.mounts) {
        let next = devices.len() as u32 + 1;
        mount.device = Device { major: 0, minor: *devices.entry(mount.device).or_insert(next) };
        mount.super_options.clear();
        mount.fs_type.clear();
        mount.source.clear();
    }
    snapshot
}
