//! The state, and the few changes that keep its parts in step.

use crate::effect::{Change, Effects};
use crate::errno::check;
use crate::fast::FastMap;
use crate::files::{Files, Kind};
use crate::mounts::{DentryIx, MountIx, Mounts, NamespaceIx, UserIx};
use crate::{Handle, Kernel, Refused, RuleId};
use mount_table::{Device, MountId, NamespaceId, PeerGroup, Propagation};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// A task: something that makes system calls, with a mount namespace, a root and a working directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskId(pub u32);

/// The kernel's default of `fs.mount-max`: mounts a namespace.
pub const MOUNT_MAX: u32 = 100_000;

/// A mount and a dentry of its file system: where a path leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) mount: MountIx,
    pub(crate) dentry: DentryIx,
}

#[derive(Debug, Clone)]
pub(crate) struct Namespace {
    pub(crate) id: NamespaceId,
    /// None once it is dead.
    pub(crate) root: MountIx,
    pub(crate) owner: UserIx,
    pub(crate) mounts: u32,
    /// Mounts that an attach in progress would add.
    pub(crate) pending: u32,
    pub(crate) anonymous: bool,
    /// Of an anonymous one: the namespace that its mounts were copied from, none for a new file system.
    pub(crate) origin: Option<NamespaceId>,
    /// Tasks and descriptors.
    pub(crate) holds: u32,
    /// Stands for namespaces that nothing is known of but that groups reach into them.
    pub(crate) elsewhere: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) namespace: NamespaceIx,
    pub(crate) root: Place,
    pub(crate) directory: Place,
    pub(crate) user: UserIx,
}

/// What a handle holds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Held {
    Place {
        place: Place,
        /// It is the descriptor of open_tree(2) or fsmount(2) that a detached tree lives by.
        owns_tree: bool,
    },
    Namespace(NamespaceIx),
}

/// What mountinfo shows of a mount that decides nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Label {
    pub(crate) options: String,
    pub(crate) fs_type: String,
    pub(crate) source: String,
    pub(crate) super_options: String,
}

/// Mounts, namespaces, tasks and descriptors: a machine as far as mounts go. [`World::apply`] does to it what
/// the kernel would do.
///
/// A world can begin empty ([`World::new`]) or as a machine's tables show it:
///
/// ```
/// use mount_table::{MountTable, NamespaceId, NamespaceTable, Snapshot};
/// use subtree_model::{Op, World};
///
/// let host = MountTable::parse_mountinfo(
///     b"1 0 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n2 1 0:30 / /mnt rw shared:2 - tmpfs none rw\n",
/// )?;
/// let container = MountTable::parse_mountinfo(
///     b"10 9 0:40 / / rw - overlay overlay rw\n11 10 0:30 / /data rw master:2 - tmpfs none rw\n",
/// )?;
/// let namespace = |id, mounts| NamespaceTable { id: NamespaceId(id), mounts };
/// let node = Snapshot { namespaces: vec![namespace(1, host), namespace(2, container)] };
/// let mut world = World::from_snapshot(&node)?;
///
/// // What the container sees of a mount that the host makes.
/// let mount = Op::Mount {
///     fs_type: "tmpfs".into(),
///     source: "none".into(),
///     target: "/mnt/new".into(),
///     attributes: Default::default(),
/// };
/// world.apply(World::FIRST_TASK, &mount)?;
/// let seen = world.table_of(NamespaceId(2)).expect("the container's");
/// assert_eq!(seen.mounts[2].mount_point.to_str(), Some("/data/new"));
/// assert_eq!(seen.mounts[2].propagation.in_words(), "slave");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct World {
    pub(crate) kernel: Kernel,
    pub(crate) mounts: Mounts,
    pub(crate) files: Files,
    /// The mount at a place, by mount and dentry. There is at most one.
    pub(crate) children: FastMap<MountIx>,
    pub(crate) namespaces: Vec<Namespace>,
    /// Each user namespace's parent; the first is the initial one.
    pub(crate) users: Vec<UserIx>,
    pub(crate) tasks: Vec<Option<Task>>,
    pub(crate) handles: HashMap<Handle, Held>,
    pub(crate) labels: Vec<Label>,
    /// Where in `labels` a label is: most mounts share theirs with others.
    label_numbers: HashMap<Label, u32>,
    pub(crate) next_id: u64,
    pub(crate) next_age: u64,
    pub(crate) next_group: u64,
    pub(crate) next_namespace: u64,
    pub(crate) next_minor: u32,
    pub(crate) mount_max: u32,
    /// Counts walks, so that [`Mounts`]' marks need not be cleared.
    pub(crate) walks: u64,
    pub(crate) receivers: Vec<crate::attach::Receiver>,
}

impl Default for World {
    fn default() -> Self {
        World::new()
    }
}

impl World {
    /// A world of one namespace with one private, empty file system `rootfs` at `/`, and one task in it. As on a
    /// machine that booted from an initial RAM disk, the root is itself mounted on something that no table shows
    /// (without which it could neither be moved nor pivoted away).
    pub fn new() -> World {
        let mut world = World::empty();
        let unseen = world.add_unseen_mount();
        let device = world.new_device();
        let file_system = world.files.add_super(device, Kind::Directory, true);
        let label = world.add_label(Label {
            options: "relatime".to_owned(),
            fs_type: "rootfs".to_owned(),
            source: "rootfs".to_owned(),
            super_options: "rw".to_owned(),
        });
        let root = world.files[file_system].root;
        let mount = world.add_mount(root, label);
        let namespace = world.add_namespace(UserIx(0), None);
        world.place(mount, unseen, world.mounts[unseen].root);
        world.settle(unseen, namespace);
        world.add_task(namespace, Place { mount, dentry: root });
        world
    }

    pub(crate) fn empty() -> World {
        World {
            kernel: Kernel::default(),
            mounts: Mounts::default(),
            files: Files::default(),
            children: FastMap::default(),
            namespaces: Vec::new(),
            users: vec![UserIx::NONE],
            tasks: Vec::new(),
            handles: HashMap::new(),
            labels: Vec::new(),
            label_numbers: HashMap::new(),
            next_id: 1,
            next_age: 1,
            next_group: 1,
            next_namespace: 1,
            next_minor: 1,
            mount_max: MOUNT_MAX,
            walks: 0,
            receivers: Vec::new(),
        }
    }

    /// The task that every world begins with, in the first namespace.
    pub const FIRST_TASK: TaskId = TaskId(0);

    /// A task of the initial user namespace.
    pub(crate) fn add_task(&mut self, namespace: NamespaceIx, root: Place) {
        let task = Task { namespace, root, directory: root, user: UserIx(0) };
        self.namespaces[namespace.0 as usize].holds += 1;
        self.hold(root.mount);
        self.hold(root.mount);
        self.tasks.push(Some(task));
    }

    /// Follow another kernel's rules from now on. See [`Kernel::not_modelled`].
    pub fn set_kernel(&mut self, kernel: Kernel) {
        self.kernel = kernel;
    }

    /// Sets `fs.mount-max` (mounts a namespace).
    pub fn set_mount_max(&mut self, mounts: u32) {
        self.mount_max = mounts;
    }

    /// The mounts that exist, in all namespaces, detached trees included.
    pub fn mount_count(&self) -> usize {
        self.mounts.count()
    }

    /// A task in a mount namespace: the one made first.
    pub fn task_in(&self, namespace: NamespaceId) -> Option<TaskId> {
        let is_there = |task: &Option<Task>| {
            task.as_ref().is_some_and(|task| self.namespace(task.namespace).id == namespace)
        };
        self.tasks.iter().position(is_there).map(|at| TaskId(at as u32))
    }

    /// The mount namespace that a task is in.
    pub fn namespace_of(&self, task: TaskId) -> Option<NamespaceId> {
        self.task(task).ok().map(|task| self.namespace(task.namespace).id)
    }

    /// A new task like `task`: same namespaces, root and working directory (fork(2)).
    ///
    /// # Errors
    /// `ESRCH` if there is no such task.
    pub fn fork(&mut self, task: TaskId) -> Result<TaskId, Refused> {
        let new = self.task(task)?.clone();
        check(self.tasks.len() < u32::MAX as usize / 2, RuleId::TooLarge)?;
        self.hold(new.root.mount);
        self.hold(new.directory.mount);
        self.namespaces[new.namespace.0 as usize].holds += 1;
        self.tasks.push(Some(new));
        Ok(TaskId(self.tasks.len() as u32 - 1))
    }

    /// A task ends. Its mount namespace dies with it if nothing else holds that. Handles stay open: they belong
    /// to the world, as if every task had all of them.
    ///
    /// # Errors
    /// `ESRCH` if there is no such task.
    pub fn exit(&mut self, task: TaskId) -> Result<Effects, Refused> {
        let mut effects = Effects::default();
        let gone = self.tasks.get_mut(task.0 as usize).and_then(Option::take).ok_or(RuleId::NoSuchTask)?;
        self.release(gone.root.mount);
        self.release(gone.directory.mount);
        self.leave_namespace(gone.namespace, &mut effects);
        Ok(effects)
    }

    pub(crate) fn task(&self, task: TaskId) -> Result<&Task, Refused> {
        self.tasks.get(task.0 as usize).and_then(Option::as_ref).ok_or(RuleId::NoSuchTask.into())
    }

    pub(crate) fn task_mut(&mut self, task: TaskId) -> Result<&mut Task, Refused> {
        self.tasks.get_mut(task.0 as usize).and_then(Option::as_mut).ok_or(RuleId::NoSuchTask.into())
    }

    pub(crate) fn namespace(&self, at: NamespaceIx) -> &Namespace {
        &self.namespaces[at.0 as usize]
    }

    pub(crate) fn new_device(&mut self) -> Device {
        let minor = self.next_minor;
        self.next_minor = minor.wrapping_add(1);
        Device { major: 0, minor }
    }

    pub(crate) fn add_label(&mut self, label: Label) -> u32 {
        if let Some(&number) = self.label_numbers.get(&label) {
            return number;
        }
        let number = self.labels.len() as u32;
        self.labels.push(label.clone());
        self.label_numbers.insert(label, number);
        number
    }

    /// A new mount, private, in no namespace.
    pub(crate) fn add_mount(&mut self, root: DentryIx, label: u32) -> MountIx {
        let mount = self.mounts.add(self.next_id, self.next_age, root, label);
        self.next_id += 1;
        self.next_age += 1;
        mount
    }

    pub(crate) fn new_group(&mut self) -> u64 {
        let group = self.next_group;
        self.next_group += 1;
        group
    }

    /// A new namespace without mounts; anonymous if `origin` is given.
    pub(crate) fn add_namespace(
        &mut self,
        owner: UserIx,
        origin: Option<Option<NamespaceId>>,
    ) -> NamespaceIx {
        let at = NamespaceIx(self.namespaces.len() as u32);
        self.namespaces.push(Namespace {
            id: NamespaceId(self.next_namespace),
            root: MountIx::NONE,
            owner,
            mounts: 0,
            pending: 0,
            anonymous: origin.is_some(),
            origin: origin.flatten(),
            holds: 0,
            elsewhere: false,
        });
        self.next_namespace += 1;
        at
    }

    /// Puts a tree that is in no namespace into an empty one, as its root.
    pub(crate) fn settle(&mut self, top: MountIx, namespace: NamespaceIx) {
        self.namespaces[namespace.0 as usize].root = top;
        self.join_namespace(top, namespace);
    }

    /// Puts the mounts of a tree into a namespace.
    pub(crate) fn join_namespace(&mut self, top: MountIx, namespace: NamespaceIx) {
        let mut at = Some(top);
        while let Some(mount) = at {
            self.mounts[mount].namespace = namespace;
            if self.kernel.lists_by_joining() {
                self.mounts[mount].age = self.next_age;
                self.next_age += 1;
            }
            self.namespaces[namespace.0 as usize].mounts += 1;
            at = self.mounts.next_in_tree(mount, top);
        }
    }

    pub(crate) fn key(parent: MountIx, point: DentryIx) -> u64 {
        u64::from(parent.0) << 32 | u64::from(point.0)
    }

    /// What is mounted on this mount at this dentry.
    pub(crate) fn child_at(&self, parent: MountIx, point: DentryIx) -> Option<MountIx> {
        if self.files[point].first_mount.is_none() {
            return None;
        }
        self.children.get(&World::key(parent, point)).copied()
    }

    /// Mounts on a place. It is free, but for old kernels (see [`crate::Kernel`]): there the latest at a place hides the others.
    pub(crate) fn place(&mut self, mount: MountIx, parent: MountIx, point: DentryIx) {
        let first = std::mem::replace(&mut self.files[point].first_mount, mount);
        if first.is_some() {
            self.mounts[first].prev_on_dentry = mount;
        }
        let entry = &mut self.mounts[mount];
        entry.parent = parent;
        entry.point = point;
        entry.next_on_dentry = first;
        entry.prev_on_dentry = MountIx::NONE;
        self.mounts.link_kid(mount);
        self.children.insert(World::key(parent, point), mount);
        if self.mounts[parent].root == point {
            self.mounts[parent].cover = mount;
        }
    }

    /// Takes a mount from its place; it has no parent then.
    pub(crate) fn displace(&mut self, mount: MountIx) {
        let crate::mounts::Mount { parent, point, prev_on_dentry, next_on_dentry, .. } = self.mounts[mount];
        if parent.is_none() {
            return;
        }
        match prev_on_dentry.get() {
            Some(prev) => self.mounts[prev].next_on_dentry = next_on_dentry,
            None => self.files[point].first_mount = next_on_dentry,
        }
        if let Some(next) = next_on_dentry.get() {
            self.mounts[next].prev_on_dentry = prev_on_dentry;
        }
        self.mounts.unlink_kid(mount);
        let key = World::key(parent, point);
        if self.children.get(&key) == Some(&mount) {
            let hidden = self.hidden_by(parent, next_on_dentry);
            match hidden.get() {
                Some(hidden) => self.children.insert(key, hidden),
                None => self.children.remove(&key),
            };
            if self.mounts[parent].cover == mount {
                self.mounts[parent].cover = hidden;
            }
        }
        let entry = &mut self.mounts[mount];
        entry.parent = MountIx::NONE;
        entry.point = DentryIx::NONE;
        entry.prev_on_dentry = MountIx::NONE;
        entry.next_on_dentry = MountIx::NONE;
    }

    /// What an older mount at the same place of `parent` there is: from `on_dentry` on, as the latest come first.
    fn hidden_by(&self, parent: MountIx, on_dentry: MountIx) -> MountIx {
        let mut older = if self.kernel.tucks_onto_the_root() { on_dentry } else { MountIx::NONE };
        while let Some(at) = older.get()
            && self.mounts[at].parent != parent
        {
            older = self.mounts[at].next_on_dentry;
        }
        older
    }

    pub(crate) fn hold(&mut self, mount: MountIx) {
        self.mounts[mount].holds += 1;
    }

    pub(crate) fn release(&mut self, mount: MountIx) {
        self.mounts[mount].holds -= 1;
        self.mounts[mount].expiry_mark = false;
        self.drop_if_unused(mount);
    }

    /// Forgets an unmounted, disconnected mount that nothing holds, and then what was still connected to it.
    pub(crate) fn drop_if_unused(&mut self, mount: MountIx) {
        let mut doubtful = vec![mount];
        while let Some(mount) = doubtful.pop() {
            let entry = &self.mounts[mount];
            if entry.holds > 0 || entry.namespace.is_some() || entry.parent.is_some() {
                continue;
            }
            while let Some(kid) = self.mounts[mount].first_kid.get() {
                self.displace(kid);
                doubtful.push(kid);
            }
            self.mounts.remove(mount);
        }
    }

    /// One holder of a namespace fewer; the last takes the namespace with it.
    pub(crate) fn leave_namespace(&mut self, at: NamespaceIx, effects: &mut Effects) {
        let namespace = &mut self.namespaces[at.0 as usize];
        namespace.holds -= 1;
        if namespace.holds > 0 {
            return;
        }
        let (id, root) = (namespace.id, namespace.root);
        if root.is_some() {
            self.unmount_namespace(root, effects);
            self.namespaces[at.0 as usize].root = MountIx::NONE;
        }
        effects.push(RuleId::NamespaceDeath, Change::NamespaceGone { namespace: id });
    }

    pub(crate) fn held(&self, handle: Handle) -> Result<Held, Refused> {
        self.handles.get(&handle).copied().ok_or(RuleId::BadHandle.into())
    }

    /// The place that a handle holds; [`Handle::HOST`] is the task's root as it is now.
    pub(crate) fn held_place(&self, task: TaskId, handle: Handle) -> Result<Place, Refused> {
        if handle == Handle::HOST {
            return Ok(self.task(task)?.root);
        }
        match self.held(handle)? {
            Held::Place { place, .. } => Ok(place),
            Held::Namespace(_) => Err(RuleId::BadHandle.into()),
        }
    }

    pub(crate) fn open(&mut self, handle: Handle, held: Held) {
        match held {
            Held::Place { place, .. } => self.hold(place.mount),
            Held::Namespace(at) => self.namespaces[at.0 as usize].holds += 1,
        }
        self.handles.insert(handle, held);
    }

    pub(crate) fn is_mount_root(&self, place: Place) -> bool {
        self.mounts[place.mount].root == place.dentry
    }

    /// Whether a mount is in the task's mount namespace.
    pub(crate) fn is_ours(&self, task: &Task, mount: MountIx) -> bool {
        self.mounts[mount].namespace == task.namespace
    }

    /// Whether a task has its capabilities in a user namespace: in its own and those below it.
    pub(crate) fn is_capable(&self, task: &Task, user: UserIx) -> bool {
        let mut at = user;
        while at.is_some() {
            if at == task.user {
                return true;
            }
            at = self.users[at.0 as usize];
        }
        false
    }

    /// Whether a task may make mount calls at all: capable over its mount namespace.
    pub(crate) fn may_mount(&self, task: &Task) -> Result<(), Refused> {
        check(self.is_capable(task, self.namespace(task.namespace).owner), RuleId::NotPermitted)
    }

    pub(crate) fn id(&self, mount: MountIx) -> MountId {
        MountId(self.mounts[mount].id)
    }

    pub(crate) fn propagation(&self, mount: MountIx) -> Propagation {
        let mount = &self.mounts[mount];
        Propagation {
            shared: mount.shared.then_some(PeerGroup(mount.group)),
            master: mount.master.get().map(|master| PeerGroup(self.mounts[master].group)),
            propagate_from: None,
            unbindable: mount.unbindable,
        }
    }
}
