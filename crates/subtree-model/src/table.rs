//! Tables in and out: a world from the mountinfo of a live machine, and a mountinfo of a world.

use crate::files::Kind;
use crate::mounts::{DentryIx, MountIx, NamespaceIx, SuperIx, UserIx, attribute};
use crate::world::{Label, Place, TaskId, World};
use crate::{Kernel, Refused};
use mount_table::{Device, Mount, MountId, MountTable, NamespaceId, NamespaceTable, PeerGroup, Snapshot};
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Ids in tables are below this, so that new ones are left. (The kernel's unique ids begin above 2^31.)
const ID_MAX: u64 = 1 << 62;

/// Why a table is not one that a kernel can have printed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// No rows, or no namespaces.
    #[error("no mounts")]
    Empty,
    /// Two rows of one id.
    #[error("mount {} is there twice", .0.0)]
    Duplicate(MountId),
    /// A mount point that is not at or below the parent's.
    #[error("mount {} is not mounted below its parent", .0.0)]
    NotBelowParent(MountId),
    /// Parents that go round in a circle.
    #[error("mount {} is its own ancestor", .0.0)]
    Circle(MountId),
    /// Peers with different masters, or masters that go round in a circle.
    #[error("peer group {} has no consistent master", .0.0)]
    Masters(PeerGroup),
    /// A row both shared and unbindable.
    #[error("mount {} is shared and unbindable", .0.0)]
    SharedUnbindable(MountId),
    /// More than the model numbers.
    #[error("too many mounts")]
    TooLarge,
}

impl World {
    /// [`World::from_snapshot`] of one namespace.
    ///
    /// # Errors
    /// A table that no kernel can have printed.
    pub fn from_table(table: &MountTable) -> Result<World, TableError> {
        let namespace = NamespaceTable { id: NamespaceId(1), mounts: table.clone() };
        World::from_snapshot(&Snapshot { namespaces: vec![namespace] })
    }

    /// A world that is in the state that tables of mountinfo show, with one task in each namespace that has rows
    /// ([`World::task_in`]), at the topmost mount on its root; the first is [`World::FIRST_TASK`]. Mount, group and
    /// namespace ids are kept; new ones are above them.
    ///
    /// What tables do not tell is assumed, and whoever explains a prediction should know it:
    /// * which mounts are locked: none; which attributes are: none;
    /// * which mount of the master group is the master: the first in the table; the order of a peer ring and of a
    ///   master's slaves, and of a mount's children: that of the table;
    /// * groups that only appear as somebody's master, or that stand between that and `propagate_from`: one member
    ///   each, in a namespace of which nothing else is known, with the whole file system as its root;
    /// * what uses a mount (open files, other tasks): nothing;
    /// * what carries the reader's root, if no row does: one private mount;
    /// * namespaces that are not in the snapshot and detached trees: none; the owner of every namespace: the
    ///   initial user namespace;
    /// * the contents of file systems: every path exists and is of the kind that is needed;
    /// * two mounts that have the same device number share one file system;
    /// * two mounts at one place of one parent (only before Linux 6.17): the later in the table lies on the earlier.
    ///
    /// # Errors
    /// Tables that no kernel can have printed.
    pub fn from_snapshot(snapshot: &Snapshot) -> Result<World, TableError> {
        if snapshot.namespaces.iter().all(|namespace| namespace.mounts.mounts.is_empty()) {
            return Err(TableError::Empty);
        }
        let mut builder = Builder { world: World::empty(), ..Builder::default() };
        builder.count_ids(snapshot)?;
        builder.note_dominating(snapshot);
        for namespace in &snapshot.namespaces {
            builder.add_rows(namespace)?;
        }
        builder.link_groups()?;
        builder.link_masters(snapshot)?;
        Ok(builder.world)
    }

    /// What the task would read in `/proc/self/mountinfo`, in order of creation: the mounts that are reachable from
    /// its root. The parent of a namespace's first mount is itself. Options are those that the model knows.
    ///
    /// # Errors
    /// `ESRCH` if there is no such task.
    pub fn table(&self, task: TaskId) -> Result<MountTable, Refused> {
        let task = self.task(task)?;
        Ok(self.table_from(task.root))
    }

    /// What a task that enters the namespace would read; `None` if it does not exist any more.
    pub fn table_of(&self, namespace: NamespaceId) -> Option<MountTable> {
        let found = self.namespaces.iter().find(|entry| entry.id == namespace && entry.root.is_some())?;
        let top = self.mounts.topmost(found.root);
        Some(self.table_from(Place { mount: top, dentry: self.mounts[top].root }))
    }

    /// The tables of all namespaces (not of detached trees), in the order in which they were made.
    pub fn snapshot(&self) -> Snapshot {
        let shown = self.namespaces.iter().filter(|n| !n.anonymous && !n.elsewhere);
        let namespaces = shown
            .filter_map(|namespace| {
                Some(NamespaceTable { id: namespace.id, mounts: self.table_of(namespace.id)? })
            })
            .collect();
        Snapshot { namespaces }
    }

    fn table_from(&self, root: Place) -> MountTable {
        let mut reached = Vec::new();
        let mut stack = vec![(root.mount, root.dentry, Vec::new())];
        while let Some((mount, from, path)) = stack.pop() {
            let entry = &self.mounts[mount];
            let mut kid = entry.first_kid;
            while let Some(child) = kid.get() {
                let point = self.mounts[child].point;
                if self.files.is_below(point, from) {
                    let mut child_path = path.clone();
                    self.files.push_path(point, from, &mut child_path);
                    stack.push((child, self.mounts[child].root, child_path));
                }
                kid = self.mounts[child].next_kid;
            }
            // A reader's root may be unmounted: it is in no table then.
            if from == entry.root && entry.namespace.is_some() {
                reached.push((entry.age, mount, path));
            }
        }
        reached.sort_unstable_by_key(|&(age, ..)| age);
        let groups: HashSet<u64> = reached
            .iter()
            .map(|&(_, mount, _)| &self.mounts[mount])
            .filter(|mount| mount.shared)
            .map(|mount| mount.group)
            .collect();
        let rows = reached.into_iter().map(|(_, mount, path)| self.row(mount, path, &groups));
        MountTable { mounts: rows.collect() }
    }

    fn row(&self, at: MountIx, mut path: Vec<u8>, reachable_groups: &HashSet<u64>) -> Mount {
        let mount = &self.mounts[at];
        let label = &self.labels[mount.label as usize];
        if path.is_empty() {
            path.push(b'/');
        }
        let mut root = Vec::new();
        self.files.push_path(mount.root, DentryIx::NONE, &mut root);
        if root.is_empty() {
            root.push(b'/');
        } else if self.is_namespace_file(&root) {
            root.remove(0);
        }
        let mut propagation = self.propagation(at);
        propagation.propagate_from =
            self.dominating_group(at, reachable_groups).filter(|&group| Some(group) != propagation.master);
        Mount {
            id: self.id(at),
            parent: self.id(mount.parent.get().unwrap_or(at)),
            device: self.files.device_of(mount.root),
            root: PathBuf::from(OsString::from_vec(root)),
            deleted: self.files[mount.root].removed,
            mount_point: PathBuf::from(OsString::from_vec(path)),
            options: options_text(mount.attributes, &label.options),
            propagation,
            fs_type: label.fs_type.clone(),
            source: label.source.clone(),
            super_options: self.super_options_text(mount.root, &label.super_options),
        }
    }

    /// What the file system's options were, beginning with whether it is read-only now.
    fn super_options_text(&self, dentry: DentryIx, options: &str) -> String {
        let now = if self.files.is_read_only(dentry) { "ro" } else { "rw" };
        match options.split_once(',') {
            Some(("ro" | "rw", others)) => format!("{now},{others}"),
            None if matches!(options, "ro" | "rw") => now.to_owned(),
            _ => options.to_owned(),
        }
    }

    /// nsfs' roots are names like `mnt:[4026531840]`, which mountinfo prints without a slash.
    fn is_namespace_file(&self, root: &[u8]) -> bool {
        root.ends_with(b"]") && root.windows(2).any(|pair| pair == b":[") && !root[1..].contains(&b'/')
    }

    /// The nearest group above that has a member where the reader sees it.
    fn dominating_group(&self, at: MountIx, reachable_groups: &HashSet<u64>) -> Option<PeerGroup> {
        let mut master = self.mounts[at].master;
        while let Some(above) = master.get() {
            let group = self.mounts[above].group;
            if reachable_groups.contains(&group) {
                return Some(PeerGroup(group));
            }
            master = self.mounts[above].master;
        }
        None
    }
}

/// `rw,nosuid,…` as mountinfo orders them.
fn options_text(attributes: u8, others: &str) -> String {
    let mut text = String::from(if attributes & attribute::READ_ONLY != 0 { "ro" } else { "rw" });
    for (bit, word) in
        [(attribute::NO_SUID, ",nosuid"), (attribute::NO_DEV, ",nodev"), (attribute::NO_EXEC, ",noexec")]
    {
        if attributes & bit != 0 {
            text.push_str(word);
        }
    }
    if !others.is_empty() {
        text.push(',');
        text.push_str(others);
    }
    text
}

/// The attributes in an option text, and what else is in it.
fn split_options(text: &str) -> (u8, String) {
    let mut attributes = 0;
    let mut others = Vec::new();
    for word in text.split(',') {
        match word {
            "rw" | "" => {}
            "ro" => attributes |= attribute::READ_ONLY,
            "nosuid" => attributes |= attribute::NO_SUID,
            "nodev" => attributes |= attribute::NO_DEV,
            "noexec" => attributes |= attribute::NO_EXEC,
            other => others.push(other),
        }
    }
    (attributes, others.join(","))
}

/// A world being made from tables.
#[derive(Default)]
struct Builder {
    world: World,
    supers: HashMap<Device, SuperIx>,
    by_id: HashMap<MountId, MountIx>,
    groups: HashMap<PeerGroup, Vec<MountIx>>,
    group_order: Vec<PeerGroup>,
    /// For groups that some row has as its master: what rows say is above them.
    dominating: HashMap<PeerGroup, PeerGroup>,
    /// The namespace of mounts that are only known by their groups, and its root.
    elsewhere: Option<MountIx>,
}

impl Builder {
    /// Sees to it that new ids will be above all that the tables use.
    fn count_ids(&mut self, snapshot: &Snapshot) -> Result<(), TableError> {
        let world = &mut self.world;
        let above =
            |known: u64, id: u64| if id < ID_MAX { Ok(known.max(id + 1)) } else { Err(TableError::TooLarge) };
        for namespace in &snapshot.namespaces {
            world.next_namespace = above(world.next_namespace, namespace.id.0)?;
            for row in &namespace.mounts.mounts {
                world.next_id = above(world.next_id, row.id.0)?;
                if row.device.major == 0 {
                    world.next_minor = world.next_minor.max(row.device.minor.saturating_add(1));
                }
                let groups = row.propagation;
                for group in [groups.shared, groups.master, groups.propagate_from].into_iter().flatten() {
                    world.next_group = above(world.next_group, group.0)?;
                }
            }
        }
        Ok(())
    }

    fn note_dominating(&mut self, snapshot: &Snapshot) {
        for row in snapshot.namespaces.iter().flat_map(|namespace| &namespace.mounts.mounts) {
            if let (Some(master), Some(above)) = (row.propagation.master, row.propagation.propagate_from) {
                self.dominating.entry(master).or_insert(above);
            }
        }
    }

    fn add_rows(&mut self, namespace: &NamespaceTable) -> Result<(), TableError> {
        let rows = &namespace.mounts.mounts;
        let Some(first) = rows.first() else { return Ok(()) };
        if rows.len() > u32::MAX as usize / 8 {
            return Err(TableError::TooLarge);
        }
        let at = self.world.add_namespace(UserIx(0), None);
        self.world.next_namespace -= 1;
        self.world.namespaces[at.0 as usize].id = namespace.id;
        for row in rows {
            self.add_row(row, at)?;
        }
        let root = self.root_of(rows, at);
        self.world.namespaces[at.0 as usize].root = root;
        for row in rows {
            self.place_row(row, rows, root)?;
        }
        if self.world.mounts.tree(root).count() != self.world.namespaces[at.0 as usize].mounts as usize {
            return Err(TableError::Circle(first.id));
        }
        let root = Place { mount: root, dentry: self.world.mounts[root].root };
        let root = self.world.onto_mounts(root);
        self.world.add_task(at, root);
        Ok(())
    }

    fn add_row(&mut self, row: &Mount, namespace: NamespaceIx) -> Result<(), TableError> {
        let file_system = self.file_system(row.device);
        if row.super_options.split(',').next() == Some("ro") {
            let top = self.world.files[file_system].root;
            self.world.files.set_read_only(top, true);
        }
        let root = self.root_dentry(file_system, row)?;
        let (attributes, options) = split_options(&row.options);
        let world = &mut self.world;
        let label = world.add_label(Label {
            options,
            fs_type: row.fs_type.clone(),
            source: row.source.clone(),
            super_options: row.super_options.clone(),
        });
        let mount = world.mounts.add(row.id.0, world.next_age, root, label);
        world.next_age += 1;
        let entry = &mut world.mounts[mount];
        entry.namespace = namespace;
        entry.attributes = attributes;
        entry.unbindable = row.propagation.unbindable;
        world.namespaces[namespace.0 as usize].mounts += 1;
        if row.id.0 == 0 || self.by_id.insert(row.id, mount).is_some() {
            return Err(TableError::Duplicate(row.id));
        }
        if let Some(group) = row.propagation.shared {
            if row.propagation.unbindable {
                return Err(TableError::SharedUnbindable(row.id));
            }
            if group.0 == 0 {
                return Err(TableError::Masters(group));
            }
            let members = self.groups.entry(group).or_default();
            if members.is_empty() {
                self.group_order.push(group);
            }
            members.push(mount);
        }
        Ok(())
    }

    fn file_system(&mut self, device: Device) -> SuperIx {
        let files = &mut self.world.files;
        *self.supers.entry(device).or_insert_with(|| files.add_super(device, Kind::Assumed, false))
    }

    fn root_dentry(&mut self, file_system: SuperIx, row: &Mount) -> Result<DentryIx, TableError> {
        let top = self.world.files[file_system].root;
        let dentry = self.path_dentry(top, &row.root)?;
        if !row.deleted || dentry == top {
            return Ok(dentry);
        }
        // Each removed root is taken for a directory of its own: its name may have been used again.
        let files = &mut self.world.files;
        let (parent, name) = match (row.root.parent(), row.root.file_name()) {
            (Some(_), Some(name)) => (files[dentry].parent, name.as_bytes()),
            _ => return Ok(dentry),
        };
        let removed = files.create_removed(parent, name).map_err(|_| TableError::TooLarge)?;
        Ok(removed)
    }

    /// The dentry of a path (with or without a slash before it) below another.
    fn path_dentry(&mut self, top: DentryIx, path: &Path) -> Result<DentryIx, TableError> {
        let files = &mut self.world.files;
        let mut at = top;
        for name in path.as_os_str().as_bytes().split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            at = match files.existing(at, name) {
                Some(found) => found,
                None => files.create(at, name, Kind::Assumed).map_err(|_| TableError::TooLarge)?,
            };
        }
        Ok(at)
    }

    /// The namespace's first mount: the row that is its own parent, or one that no row shows, which carries what has
    /// a parent outside the table.
    fn root_of(&mut self, rows: &[Mount], namespace: NamespaceIx) -> MountIx {
        if let Some(own) = rows.iter().find(|row| row.parent == row.id) {
            return self.by_id[&own.id];
        }
        let world = &mut self.world;
        let root = world.add_unseen_mount();
        world.mounts[root].namespace = namespace;
        world.namespaces[namespace.0 as usize].mounts += 1;
        root
    }

    fn place_row(&mut self, row: &Mount, rows: &[Mount], root: MountIx) -> Result<(), TableError> {
        let mount = self.by_id[&row.id];
        if mount == root {
            return Ok(());
        }
        let parent = self.by_id.get(&row.parent).copied().filter(|&parent| {
            parent != mount && self.world.mounts[parent].namespace == self.world.mounts[mount].namespace
        });
        let (parent, path) = match parent {
            None => (root, row.mount_point.as_path()),
            Some(parent) => {
                let above = self.mount_point_of(row.parent, rows);
                let path = row.mount_point.strip_prefix(above);
                (parent, path.map_err(|_| TableError::NotBelowParent(row.id))?)
            }
        };
        let top = self.world.mounts[parent].root;
        let point = self.path_dentry(top, path)?;
        let place = self.world.onto_mounts_or_round(Place { mount: parent, dentry: point });
        let Some(place) = place else { return Err(TableError::Circle(row.parent)) };
        self.world.place(mount, place.mount, place.dentry);
        Ok(())
    }

    fn mount_point_of<'rows>(&self, id: MountId, rows: &'rows [Mount]) -> &'rows Path {
        // Rows are in order of ids in most tables; ages are positions in any case.
        let first_age = self.by_id.get(&rows[0].id).map_or(0, |&first| self.world.mounts[first].age);
        let age = self.by_id.get(&id).map_or(0, |&mount| self.world.mounts[mount].age);
        let index = age.saturating_sub(first_age) as usize;
        rows.get(index).map_or(Path::new("/"), |row| &row.mount_point)
    }

    fn link_groups(&mut self) -> Result<(), TableError> {
        for group in &self.group_order {
            let mut last = MountIx::NONE;
            for &member in &self.groups[group] {
                self.world.mounts[member].group = group.0;
                self.world.mounts[member].shared = true;
                if last.is_some() {
                    self.world.mounts.join_ring(last, member);
                }
                last = member;
            }
        }
        Ok(())
    }

    /// Makes every row with a master a slave, a group's members side by side.
    fn link_masters(&mut self, snapshot: &Snapshot) -> Result<(), TableError> {
        let rows: Vec<&Mount> = snapshot.namespaces.iter().flat_map(|n| &n.mounts.mounts).collect();
        // To the front of the list each, so from the end.
        for row in rows.into_iter().rev() {
            let mount = self.by_id[&row.id];
            let shared = row.propagation.shared;
            let Some(group) = row.propagation.master else {
                continue;
            };
            if self.world.mounts[mount].master.is_some() {
                continue;
            }
            let master = self.member_of(group, mount)?;
            match shared {
                None => self.world.mounts.join_slaves(master, mount),
                Some(own) => {
                    for &member in self.groups[&own].iter().rev() {
                        self.world.mounts.join_slaves(master, member);
                    }
                }
            }
        }
        self.check_masters(snapshot)
    }

    /// A mount of a group; one made up for it if no row is of it.
    fn member_of(&mut self, group: PeerGroup, slave: MountIx) -> Result<MountIx, TableError> {
        if let Some(first) = self.groups.get(&group).and_then(|members| members.first()) {
            return Ok(*first);
        }
        let unseen = self.unseen_member(group, self.world.files.root_of(self.world.mounts[slave].root))?;
        let above = self.dominating.get(&group).filter(|&&above| above != group);
        if let Some(above) = above
            && let Some(master) = self.groups.get(above).and_then(|members| members.first().copied())
        {
            self.world.mounts.join_slaves(master, unseen);
        }
        Ok(unseen)
    }

    fn unseen_member(&mut self, group: PeerGroup, root: DentryIx) -> Result<MountIx, TableError> {
        if group.0 == 0 {
            return Err(TableError::Masters(group));
        }
        let top = match self.elsewhere {
            Some(top) => top,
            None => {
                let namespace = self.world.add_namespace(UserIx(0), None);
                self.world.namespaces[namespace.0 as usize].elsewhere = true;
                self.world.namespaces[namespace.0 as usize].holds = 1;
                let top = self.world.add_unseen_mount();
                self.world.settle(top, namespace);
                *self.elsewhere.insert(top)
            }
        };
        let world = &mut self.world;
        let point = world
            .files
            .create(world.mounts[top].root, group.0.to_string().as_bytes(), Kind::Directory)
            .map_err(|_| TableError::TooLarge)?;
        let label = world.add_label(Label::default());
        let member = world.add_mount(root, label);
        world.mounts[member].group = group.0;
        world.mounts[member].shared = true;
        world.place(member, top, point);
        world.join_namespace(member, world.mounts[top].namespace);
        self.groups.insert(group, vec![member]);
        Ok(member)
    }

    fn check_masters(&self, snapshot: &Snapshot) -> Result<(), TableError> {
        let mounts = &self.world.mounts;
        for row in snapshot.namespaces.iter().flat_map(|n| &n.mounts.mounts) {
            let mount = self.by_id[&row.id];
            let master = mounts[mount].master.get().map(|master| PeerGroup(mounts[master].group));
            if master != row.propagation.master {
                return Err(TableError::Masters(row.propagation.shared.or(master).unwrap_or(PeerGroup(0))));
            }
            // Two hares: at most as many steps up as there are mounts.
            let mut above = mounts[mount].master;
            for _ in 0..=mounts.count() {
                let Some(at) = above.get() else { break };
                if mounts.are_peers(at, mount) {
                    return Err(TableError::Masters(PeerGroup(mounts[at].group)));
                }
                above = mounts[at].master;
            }
            if above.is_some() {
                return Err(TableError::Masters(PeerGroup(mounts[above].group)));
            }
        }
        Ok(())
    }
}

impl World {
    /// A private mount of a file system of which nothing is known.
    pub(crate) fn add_unseen_mount(&mut self) -> MountIx {
        let device = self.new_device();
        let file_system = self.files.add_super(device, Kind::Assumed, false);
        let label = self.add_label(Label { fs_type: "unknown".to_owned(), ..Label::default() });
        self.add_mount(self.files[file_system].root, label)
    }

    /// [`World::onto_mounts`] while it is not known yet whether parents go round in a circle: `None` if it is met.
    fn onto_mounts_or_round(&self, mut at: Place) -> Option<Place> {
        for _ in 0..=self.mounts.count() {
            let Some(child) = self.child_at(at.mount, at.dentry) else { return Some(at) };
            at = Place { mount: child, dentry: self.mounts[child].root };
        }
        None
    }

    /// The kernel whose rules are followed.
    pub fn kernel(&self) -> Kernel {
        self.kernel
    }
}
