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
use std::collections::{HashMap, HashSet};
use std::ffi::CStr;
use std::path::Path;
use std::time::{Duration, Instant};
use subtree_model::{
    Attributes, Effects, Handle, Missing, Op, PropagationType, Refused, RuleId, TaskId, World,
};
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
    /// One for each namespace that was read, so that reading neither enters nor opens anything again.
    readers: Vec<Option<Reader>>,
    /// A root was changed in this sequence: open mountinfo files would show, and hold, the old one.
    root_changed: bool,
}

/// The mountinfo of a namespace.
struct Reader {
    file: OwnedFd,
    bytes: Vec<u8>,
    table: MountTable,
}

impl Reader {
    /// Reads it again; whether it changed.
    fn refresh(&mut self, scratch: &mut Vec<u8>) -> Result<bool, Errno> {
        scratch.clear();
        rustix::fs::seek(&self.file, rustix::fs::SeekFrom::Start(0))?;
        let mut page = [0; 16384];
        loop {
            match rustix::io::read(&self.file, &mut page)? {
                0 => break,
                count => scratch.extend_from_slice(&page[..count]),
            }
        }
        if *scratch == self.bytes {
            return Ok(false);
        }
        self.table = MountTable::parse_mountinfo(scratch).expect("the kernel's own");
        self.bytes.clone_from(scratch);
        Ok(true)
    }
}

impl Kernel {
    /// Makes a private root of its own, with a `/proc` and a directory `/w`, and leaves the machine's mounts behind.
    /// The process must be in a mount namespace of its own already. Only this once, since changing the root looks at
    /// every task of the machine.
    pub(crate) fn new() -> Result<Kernel, Errno> {
        let none: Option<&CStr> = None;
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        mount("base", "/tmp", "tmpfs", MountFlags::empty(), none)?;
        for name in ["/tmp/proc", "/tmp/w"] {
            rustix::fs::mkdir(name, Mode::from_raw_mode(0o755))?;
        }
        mount_bind("/proc", "/tmp/proc")?;
        // Whatever the machine's has (nosuid,nodev,noexec under systemd), ours has no attributes, as the model's.
        rustix::mount::mount_remount("/tmp/proc", MountFlags::BIND, "")?;
        pivot("/tmp")?;
        let proc = rustix::fs::open("/proc", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let origin = sys::namespace::open_own("mnt")?;
        Ok(Kernel {
            proc,
            origin,
            namespaces: Vec::new(),
            current: 0,
            handles: HashMap::new(),
            readers: Vec::new(),
            root_changed: false,
        })
    }

    /// Drops all that a sequence left and begins the next one: in a fresh copy, with a fresh tmpfs at `/w`.
    pub(crate) fn begin(&mut self) -> Result<(), Errno> {
        self.handles.clear();
        self.readers.clear();
        self.root_changed = false;
        sys::mount::enter_mount_namespace(self.origin.as_fd())?;
        self.namespaces.clear();
        sys::mount::unshare_mounts()?;
        empty_work_area()?;
        let none: Option<&CStr> = None;
        mount("none", "/w", "tmpfs", MountFlags::empty(), none)?;
        self.namespaces.push(Some(sys::namespace::open_own("mnt")?));
        self.current = 0;
        Ok(())
    }

    /// Does a step.
    pub(crate) fn step(&mut self, step: &Step) -> Result<(), Errno> {
        if self.root_changed {
            self.readers.clear();
        }
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
                if let Some(reader) = self.readers.get_mut(*at) {
                    *reader = None;
                }
                let namespace = self.namespaces.get_mut(*at).and_then(Option::take).ok_or(Errno::BADF)?;
                end(namespace)?;
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
            Op::ChangeRoot { path } => {
                self.forget_readers();
                rustix::process::chroot(path)
            }
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
            Op::PivotRootTo { new_root, put_old } => {
                self.forget_readers();
                rustix::process::pivot_root(new_root, put_old)
            }
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

    fn forget_readers(&mut self) {
        self.root_changed = true;
        self.readers.clear();
    }

    /// Reads the mounts of all namespaces that are alive; whether anything is not as it was at the last reading.
    pub(crate) fn read(&mut self) -> Result<bool, Errno> {
        let mut changed = false;
        let mut scratch = Vec::new();
        self.readers.resize_with(self.namespaces.len(), || None);
        for at in 0..self.namespaces.len() {
            if self.namespaces[at].is_none() {
                continue;
            }
            if self.readers[at].is_none() || self.root_changed {
                self.readers[at] = None;
                self.enter(at)?;
                let flags = OFlags::RDONLY | OFlags::CLOEXEC;
                let file = rustix::fs::openat(&self.proc, "self/mountinfo", flags, Mode::empty())?;
                self.readers[at] = Some(Reader { file, bytes: Vec::new(), table: MountTable::default() });
            }
            if let Some(reader) = &mut self.readers[at] {
                changed |= reader.refresh(&mut scratch)?;
            }
        }
        Ok(changed)
    }

    /// The mounts of all namespaces that are alive, as they were last read.
    pub(crate) fn tables(&self) -> Snapshot {
        let table = |(at, reader): (usize, &Option<Reader>)| {
            let mounts = reader.as_ref()?.table.clone();
            Some(NamespaceTable { id: NamespaceId(at as u64), mounts })
        };
        Snapshot { namespaces: self.readers.iter().enumerate().filter_map(table).collect() }
    }
}

/// Lets go of a namespace, and waits until the kernel has: whoever looks at this machine's mount namespaces meanwhile (all of
/// them can be listed and opened) keeps one alive for as long as he looks, and with it mounts that are peers and masters of
/// ours, though no table of ours has them any more. Before Linux 6.12 there is no asking.
fn end(namespace: OwnedFd) -> Result<(), Errno> {
    let Ok(info) = sys::listing::namespace_info(namespace.as_fd()) else { return Ok(()) };
    drop(namespace);
    let mut mounts = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while sys::listing::list_mounts(info.id, &mut mounts).is_ok() && !mounts.is_empty() {
        assert!(
            Instant::now() < deadline,
            "somebody on this machine keeps a mount namespace of this test open"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// How long somebody may look at a namespace.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes the root's `/w` anew. What a sequence did where nothing was mounted on `/w` is left in the root's file system,
/// which perhaps is read-only now.
fn empty_work_area() -> Result<(), Errno> {
    if rustix::fs::rmdir("/w") == Err(Errno::ROFS) {
        rustix::mount::mount_remount("/", MountFlags::empty(), "")?;
    }
    // What is not a directory any more, or not an empty one.
    let _ = std::fs::remove_file("/w");
    let _ = std::fs::remove_dir_all("/w");
    rustix::fs::mkdir("/w", Mode::from_raw_mode(0o755))
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
    /// The cover of an unmounted mount slid down in this sequence (see [`Model::would_break_the_kernel`]).
    has_slid: bool,
}

/// Open while a namespace is handed from one task to another.
const BETWEEN: Handle = Handle(u32::MAX);

impl Model {
    /// What [`Kernel::begin`] makes.
    pub(crate) fn new() -> Model {
        Model::of(crate::running_kernel().unwrap_or_default())
    }

    /// The same by the rules of some kernel.
    pub(crate) fn of(kernel: subtree_model::Kernel) -> Model {
        let mut world = World::new();
        world.set_kernel(kernel);
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
        Model { world, tasks: vec![Some(World::FIRST_TASK)], has_slid: false }
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
        let result = self.do_step(step);
        self.has_slid |= result
            .as_ref()
            .is_ok_and(|effects| effects.rules().any(|rule| rule == RuleId::UnmountSlidesDown));
        result
    }

    /// Whether the running kernel may fail itself at a step that the model answers so.
    ///
    /// Since Linux 6.17 a mount points to its cover (`overmount`), and a cover that slides down from a mount that a
    /// received unmount takes away (`reparent()`, fs/pnode.c, 6.18) is still pointed to. Once the cover is freed,
    /// `move_mount(MOVE_MOUNT_BENEATH)` at a descriptor of the unmounted mount follows that pointer
    /// (`topmost_overmount()` in `do_lock_mount()`): a null pointer, if not worse. To be refused is all that it could be.
    pub(crate) fn would_break_the_kernel(&self, step: &Step, answer: &Result<Effects, Refused>) -> bool {
        let is_beneath = matches!(step, Step::Do { op: Op::MoveMountBeneath { .. }, .. });
        is_beneath
            && self.has_slid
            && self.world.kernel() >= subtree_model::Kernel::V6_18
            && answer.as_ref().is_err_and(|refused| refused.rule == RuleId::TargetGone)
    }

    fn do_step(&mut self, step: &Step) -> Result<Effects, Refused> {
        let dead = Refused { errno: subtree_model::Errno::EBADF, rule: RuleId::BadHandle };
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
    let tells_all = |table: &MountTable| !has_two_at_one_place(table) && shows_a_root(table);
    if !tables.namespaces.iter().all(|table| tells_all(&table.mounts)) {
        return Ok(());
    }
    let world = World::from_snapshot(tables).map_err(|error| format!("no world from the tables: {error}"))?;
    world.check_invariants().map_err(|broken| format!("a broken world from the tables: {broken}"))?;
    let (before, after) = (comparable(tables.clone()), comparable(world.snapshot()));
    if before == after { Ok(()) } else { Err("a world from the tables shows other tables".to_owned()) }
}

/// Not so for a reader whose root is no mount's: what its mounts are on is assumed, and shown as such.
fn shows_a_root(table: &MountTable) -> bool {
    table.mounts.is_empty() || table.mounts.iter().any(|mount| mount.mount_point == Path::new("/"))
}

/// As kernels before 6.17 may have it: which one hides the other is not told.
fn has_two_at_one_place(table: &MountTable) -> bool {
    let mut places = HashSet::new();
    table.mounts.iter().any(|mount| !places.insert((mount.parent, &mount.mount_point)))
}

/// Numbers mounts, groups and devices by first appearance and leaves out what is not modelled.
pub(crate) fn comparable(mut snapshot: Snapshot) -> Snapshot {
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
