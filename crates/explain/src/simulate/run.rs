//! Runs a script in the model: each line's system calls, what they change where, and how it ends.

use super::mount::{MountCall, MountLine, Types};
use super::script::{Command, HOST, Line, Script};
use super::tools::{ToolLine, Unmount};
use mount_table::{
    Device, Mount, MountId, MountTable, NamespaceId, NamespaceView, Node, PeerGroup, Propagation, Snapshot,
};
use std::collections::{BTreeSet, HashMap};
use std::path::{Component, Path, PathBuf};
use subtree_model::{
    Attributes, Change, Effects, Handle, Kernel, Missing, Op, Refused, RuleId, TableError, TaskId, World,
};

/// Why a line, or a call of it, failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The error's name, such as `EINVAL`; `refused` where the tool itself says no.
    pub errno: String,
    /// The first check that failed, where the model has it.
    pub rule: Option<RuleId>,
    /// What that says.
    pub reason: String,
}

/// A change, told of a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Why.
    pub rule: RuleId,
    /// The namespace's name; none for what is not a mount of one.
    pub namespace: Option<String>,
    /// Where in it: of what went, where it was.
    pub path: Option<PathBuf>,
    /// What happened there.
    pub text: String,
}

/// A system call that a line came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// In the manner of strace(1).
    pub text: String,
    /// Why it failed.
    pub fault: Option<Fault>,
    /// What it changed, in order.
    pub events: Vec<Event>,
    /// What the answer depends on that cannot be read off a machine: it is told as if nothing were in the way.
    pub unknown: Vec<&'static str>,
}

/// What became of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The line's number.
    pub line: usize,
    /// The line.
    pub text: String,
    /// Where it was run.
    pub namespace: String,
    /// Its calls, but for those that only look.
    pub calls: Vec<Call>,
    /// Why it failed.
    pub fault: Option<Fault>,
}

/// All that a script did, and what is there in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// A step each line.
    pub steps: Vec<Step>,
    /// The namespaces by name, in the order in which they were made, each as its shell sees it.
    pub namespaces: Vec<(String, MountTable)>,
}

/// A row of a final table, in the numbering that makes two of them comparable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Where it is mounted.
    pub path: PathBuf,
    /// `rootfs` for the first file system, the others by type and number: `tmpfs-1`.
    pub filesystem: String,
    /// The directory of the file system that is its root, with `//deleted` if that was removed.
    pub root: String,
    /// Peer group, master's group and so on, renumbered.
    pub propagation: Propagation,
}

/// The rows of all namespaces. File systems and groups are numbered by first appearance, in this order; in a row its
/// group comes before its master and that before `propagate_from`. The first file system is `rootfs`, the one
/// after it has the number 1, whatever the types.
pub fn rows(namespaces: &[(String, MountTable)]) -> Vec<(String, Vec<Row>)> {
    let mut devices: HashMap<Device, usize> = HashMap::new();
    let mut groups: HashMap<PeerGroup, u64> = HashMap::new();
    let mut row = |mount: &Mount| {
        let next = devices.len();
        let number = *devices.entry(mount.device).or_insert(next);
        let mut group = |group: Option<PeerGroup>| {
            group.map(|group| {
                let next = groups.len() as u64 + 1;
                PeerGroup(*groups.entry(group).or_insert(next))
            })
        };
        let from = mount.propagation;
        Row {
            path: mount.mount_point.clone(),
            filesystem: if number == 0 { "rootfs".to_owned() } else { format!("{}-{number}", mount.fs_type) },
            root: format!("{}{}", mount.root.display(), if mount.deleted { "//deleted" } else { "" }),
            propagation: Propagation {
                shared: group(from.shared),
                master: group(from.master),
                propagate_from: group(from.propagate_from),
                unbindable: from.unbindable,
            },
        }
    };
    let table =
        |(name, table): &(String, MountTable)| (name.clone(), table.mounts.iter().map(&mut row).collect());
    namespaces.iter().map(table).collect()
}

/// Whether a namespace can be called so in a script.
fn is_word(name: &str) -> bool {
    let fine = |letter: char| letter.is_alphanumeric() || "._-/:".contains(letter);
    !name.is_empty() && name.chars().all(fine)
}

/// Runs scripts in a world.
#[derive(Debug, Clone)]
pub struct Simulation {
    world: World,
    namespaces: Vec<(String, TaskId)>,
    /// Whether all of the world is known: else it is one that was read off a machine, as far as that can be read.
    pub(super) known: bool,
    /// Namespaces whose mounts may be locked: they belong to another user namespace than the host's.
    foreign: BTreeSet<NamespaceId>,
}

/// Open while a namespace is handed from one task to another.
const BETWEEN: Handle = Handle(u32::MAX);

/// Where every mount is, by id: the namespace's position and the row.
type Places = HashMap<MountId, (usize, Mount)>;

impl Default for Simulation {
    fn default() -> Simulation {
        Simulation {
            world: World::new(),
            namespaces: vec![(HOST.to_owned(), World::FIRST_TASK)],
            known: true,
            foreign: BTreeSet::new(),
        }
    }
}

impl Simulation {
    /// Begins with what a machine's tables show; see [`World::from_snapshot`] for what they do not. `host` is the
    /// namespace of that id, or else the first; the others are called `ns-ID`.
    ///
    /// # Errors
    /// Tables that no kernel can have printed.
    pub fn of_snapshot(mut snapshot: Snapshot, host: Option<NamespaceId>) -> Result<Simulation, TableError> {
        snapshot.namespaces.retain(|namespace| !namespace.mounts.mounts.is_empty());
        let first = snapshot.namespaces.iter().position(|namespace| Some(namespace.id) == host).unwrap_or(0);
        if let Some(all) = snapshot.namespaces.get_mut(..=first) {
            all.rotate_right(1);
        }
        let world = World::from_snapshot(&snapshot)?;
        let named = snapshot.namespaces.iter().enumerate().filter_map(|(index, namespace)| {
            let name = if index == 0 { HOST.to_owned() } else { format!("ns-{}", namespace.id.0) };
            Some((name, world.task_in(namespace.id)?))
        });
        let namespaces = named.collect();
        Ok(Simulation { world, namespaces, known: false, foreign: BTreeSet::new() })
    }

    /// Begins with a machine that was read: as [`Simulation::of_snapshot`], but containers' namespaces have their names,
    /// and it is known which belong to another user namespace. `host` is the one of that id, else that of process 1.
    ///
    /// # Errors
    /// Tables that no kernel can have printed.
    pub fn of_node(node: &Node, host: Option<NamespaceId>) -> Result<Simulation, TableError> {
        let mut simulation = Simulation::of_snapshot(node.to_snapshot(), host.or(node.host))?;
        let first = simulation.world.namespace_of(World::FIRST_TASK);
        let owner = |id: Option<NamespaceId>| node.namespace(id?)?.user_namespace;
        let own = owner(first);
        let is_foreign = |view: &&NamespaceView| match (view.user_namespace, own) {
            (Some(user), Some(own)) => user != own,
            _ => Some(view.id) != first,
        };
        simulation.foreign = node.namespaces.iter().filter(is_foreign).map(|view| view.id).collect();
        for (name, task) in simulation.namespaces.iter_mut().skip(1) {
            let view = simulation.world.namespace_of(*task).and_then(|id| node.namespace(id));
            let target = view.map(|view| node.target(view)).filter(|target| is_word(target));
            target.into_iter().for_each(|target| *name = target);
        }
        Ok(simulation)
    }

    /// Begins with a world that has come about otherwise; of its file systems it is not known what they hold.
    pub(crate) fn of_world(world: World, namespaces: Vec<(String, TaskId)>) -> Simulation {
        Simulation { world, namespaces, known: false, foreign: BTreeSet::new() }
    }

    /// Follow another kernel's rules from now on.
    pub fn set_kernel(&mut self, kernel: Kernel) {
        self.world.set_kernel(kernel);
    }

    /// Sets `fs.mount-max` (mounts a namespace).
    pub fn set_mount_max(&mut self, mounts: u32) {
        self.world.set_mount_max(mounts);
    }

    /// The namespaces that there are.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.namespaces.iter().map(|(name, _)| name.as_str())
    }

    /// The namespaces by name, in the order in which they were made, each as its shell sees it.
    pub fn tables(&self) -> Vec<(String, MountTable)> {
        let table =
            |(name, task): &(String, TaskId)| (name.clone(), self.world.table(*task).unwrap_or_default());
        self.namespaces.iter().map(table).collect()
    }

    /// Runs all lines.
    pub fn run(mut self, script: &Script) -> Outcome {
        let steps = script.lines().iter().map(|line| self.step(line)).collect();
        Outcome { steps, namespaces: self.tables() }
    }

    /// Runs a line.
    pub fn step(&mut self, line: &Line) -> Step {
        let mut run =
            Run { places: self.places(), simulation: self, task: TaskId(u32::MAX), calls: Vec::new() };
        let fault = run.line(line).err();
        Step {
            line: line.number,
            text: line.text.clone(),
            namespace: line.namespace.clone(),
            calls: run.calls,
            fault,
        }
    }

    fn task(&self, name: &str) -> Option<TaskId> {
        self.namespaces.iter().find(|(known, _)| known == name).map(|(_, task)| *task)
    }

    fn places(&self) -> Places {
        let tables = self.namespaces.iter().map(|(_, task)| self.world.table(*task).unwrap_or_default());
        let rows =
            tables.enumerate().flat_map(|(at, table)| table.mounts.into_iter().map(move |row| (at, row)));
        rows.map(|(at, row)| (row.id, (at, row))).collect()
    }

    fn copy_namespace(&mut self, from: TaskId, user: bool) -> Result<(TaskId, Effects), Refused> {
        let child = self.world.fork(from)?;
        // Whoever makes it enters the old one first (setns(2)): its root is what is topmost there.
        self.world.apply(child, &Op::OpenNamespace { out: BETWEEN })?;
        self.world.apply(child, &Op::EnterNamespace { namespace: BETWEEN })?;
        self.world.apply(child, &Op::Close { handle: BETWEEN })?;
        if !user {
            return match self.world.apply(child, &Op::UnshareMounts) {
                Ok(effects) => Ok((child, effects)),
                Err(refused) => self.world.exit(child).and(Err(refused)),
            };
        }
        // Made by a child that is root only in there; entered by the machine's root.
        let made = self.world.apply(child, &Op::UnshareUserAndMounts);
        let held = made.and_then(|made| {
            self.world.apply(child, &Op::OpenNamespace { out: BETWEEN })?;
            Ok(made)
        });
        self.world.exit(child)?;
        let made = held?;
        let task = self.world.fork(World::FIRST_TASK)?;
        self.world.apply(task, &Op::EnterNamespace { namespace: BETWEEN })?;
        self.world.apply(task, &Op::Close { handle: BETWEEN })?;
        Ok((task, made))
    }
}

/// Runs a script in a world of one private file system.
pub fn simulate(script: &Script) -> Outcome {
    Simulation::default().run(script)
}

/// A line being run.
struct Run<'a> {
    simulation: &'a mut Simulation,
    task: TaskId,
    /// Before the next call.
    places: Places,
    calls: Vec<Call>,
}

fn refused_by_tool(reason: &str) -> Fault {
    Fault { errno: "refused".to_owned(), rule: None, reason: reason.to_owned() }
}

fn errno(errno: &str, reason: &str) -> Fault {
    Fault { errno: errno.to_owned(), rule: None, reason: reason.to_owned() }
}

impl From<Refused> for Fault {
    fn from(refused: Refused) -> Fault {
        let (errno, rule) = (refused.errno.to_string(), Some(refused.rule));
        Fault { errno, rule, reason: refused.rule.meaning().to_owned() }
    }
}

/// Whether something is a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum There {
    Directory,
    NoDirectory,
}

impl Run<'_> {
    fn line(&mut self, line: &Line) -> Result<(), Fault> {
        self.task =
            self.simulation.task(&line.namespace).ok_or(Fault::from(Refused::from(RuleId::NoSuchTask)))?;
        match &line.command {
            Command::Namespace { name, user } => self.namespace(name, *user),
            Command::Mount(MountLine::Nothing) | Command::Tool(ToolLine::Nothing) => Ok(()),
            Command::Mount(MountLine::Refused(why)) | Command::Tool(ToolLine::Refused(why)) => {
                Err(refused_by_tool(why))
            }
            Command::Mount(MountLine::Calls { make_target, calls }) => {
                if let Some(target) = make_target
                    && self.there(target).is_err()
                {
                    self.make_parents(target)?;
                }
                self.mount_calls(calls)
            }
            Command::Tool(tool) => self.tool(tool),
        }
    }

    fn namespace(&mut self, name: &str, user: bool) -> Result<(), Fault> {
        let text = if user { "unshare(CLONE_NEWUSER|CLONE_NEWNS)" } else { "unshare(CLONE_NEWNS)" };
        let made = self.simulation.copy_namespace(self.task, user).map(|(task, effects)| {
            self.simulation.namespaces.push((name.to_owned(), task));
            effects
        });
        self.tell(text.to_owned(), made)
    }

    fn call(&mut self, op: &Op) -> Result<(), Fault> {
        let result = self.simulation.world.apply(self.task, op);
        let unknown = match &result {
            Ok(effects) if !self.simulation.known => self.unknown(op, effects),
            _ => Vec::new(),
        };
        let told = self.tell(call_text(op), result);
        self.calls.iter_mut().next_back().into_iter().for_each(|call| call.unknown.clone_from(&unknown));
        told
    }

    /// What the success of a call depends on that no table tells.
    fn unknown(&self, op: &Op, effects: &Effects) -> Vec<&'static str> {
        let namespace = self.simulation.world.namespace_of(self.task);
        let may_be_locked = namespace.is_some_and(|id| self.simulation.foreign.contains(&id));
        let mut unknown = Vec::new();
        match op {
            Op::UnmountPath { detach: false, .. } => unknown.push("whether something uses it: EBUSY"),
            Op::Remount { attributes, .. } if attributes.read_only => {
                unknown.push("whether something is open for writing: EBUSY");
            }
            Op::Create { .. } | Op::RemoveDirectory { .. } | Op::Unlink { .. } | Op::Rename { .. } => {
                unknown.push("what the file system holds");
            }
            _ => {}
        }
        let needs_no_lock = matches!(
            op,
            Op::UnmountPath { .. }
                | Op::Move { .. }
                | Op::MoveBeneath { .. }
                | Op::Bind { recursive: false, .. }
                | Op::PivotRootTo { .. }
        );
        if may_be_locked && needs_no_lock {
            unknown.push("whether a mount is locked (its namespace is another user namespace's): EINVAL");
        }
        if may_be_locked && matches!(op, Op::Remount { .. }) {
            unknown.push("whether attributes are locked (its namespace is another user namespace's): EPERM");
        }
        let copies = effects.list.iter().filter_map(|effect| match effect.change {
            Change::Attached { namespace, .. } => Some(namespace),
            _ => None,
        });
        let mut seen = BTreeSet::new();
        if !copies.into_iter().all(|namespace| seen.insert(namespace)) {
            unknown.push("the order in which the copies are made, and so that of their rows");
        }
        unknown
    }

    fn tell(&mut self, text: String, result: Result<Effects, Refused>) -> Result<(), Fault> {
        let (events, fault) = match result {
            Ok(effects) => {
                let after = self.simulation.places();
                let events = events(&effects, &self.simulation.namespaces, &self.places, &after);
                self.places = after;
                (events, None)
            }
            Err(refused) => (Vec::new(), Some(Fault::from(refused))),
        };
        self.calls.push(Call { text, fault: fault.clone(), events, unknown: Vec::new() });
        fault.map_or(Ok(()), Err)
    }

    /// A call that the model is not asked about, and its error.
    fn fails(&mut self, text: String, fault: Fault) -> Result<(), Fault> {
        let events = Vec::new();
        self.calls.push(Call { text, fault: Some(fault.clone()), events, unknown: Vec::new() });
        Err(fault)
    }

    /// What a path leads to, without a call of the line's.
    fn there(&mut self, path: &Path) -> Result<There, Refused> {
        let world = &mut self.simulation.world;
        let look = |world: &mut World, path: &Path| {
            let child = world.fork(self.task)?;
            let went = world.apply(child, &Op::ChangeDirectory { path: path.to_path_buf() });
            world.exit(child)?;
            went
        };
        match look(world, path) {
            Ok(_) => Ok(There::Directory),
            Err(refused) if refused.rule == RuleId::PathNotDirectory => {
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                look(world, parent.unwrap_or(Path::new("."))).map(|_| There::NoDirectory)
            }
            Err(refused) => Err(refused),
        }
    }

    fn mount_calls(&mut self, calls: &[MountCall]) -> Result<(), Fault> {
        let found = match calls.first() {
            Some(MountCall::Remount { target, known: true, .. }) => self.mounted_as(target),
            _ => None,
        };
        // Once, before the first: what that mounts may hide what a later path goes through.
        let calls: Vec<MountCall> = calls.iter().map(|call| self.with_real_paths(call.clone())).collect();
        calls.into_iter().try_for_each(|call| self.mount_call(call, found.as_ref()))
    }

    fn with_real_paths(&mut self, mut call: MountCall) -> MountCall {
        let paths = match &mut call {
            MountCall::New { target, .. }
            | MountCall::ChangeType { target, .. }
            | MountCall::Remount { target, .. } => vec![target],
            MountCall::Bind { source, target, .. } | MountCall::Move { source, target } => {
                vec![source, target]
            }
            MountCall::MoveBeneath { .. } => Vec::new(),
        };
        for path in paths {
            *path = self.real_path(std::mem::take(path));
        }
        call
    }

    /// A path as mount(8) gives it to the kernel: by names from the root, if it leads somewhere. So `/a/..` is `/`, which
    /// is not what covers the root.
    fn real_path(&mut self, path: PathBuf) -> PathBuf {
        let mut real = PathBuf::from("/");
        for component in path.components() {
            match component {
                Component::Normal(name) => {
                    real.push(name);
                    if self.there(&real).is_err() {
                        return path;
                    }
                }
                Component::ParentDir => drop(real.pop()),
                _ => {}
            }
        }
        // A file does not go by a name that ends as a directory's.
        let ends = path.as_os_str().as_encoded_bytes();
        let as_directory = ends.ends_with(b"/") || ends.ends_with(b"/.");
        if as_directory && self.there(&real) == Ok(There::NoDirectory) { path } else { real }
    }

    /// `found` is the mount that the line is about, if the tool looked for it in the mount table.
    fn mount_call(&mut self, call: MountCall, found: Option<&Mount>) -> Result<(), Fault> {
        let op = match call {
            MountCall::New { types, source, target, attributes, data } => {
                return self.new_mount(&types, &source, &target, attributes, &data);
            }
            MountCall::Bind { source, target, recursive } => Op::Bind { source, target, recursive },
            MountCall::Move { source, target } => Op::Move { source, target },
            MountCall::MoveBeneath { source, target } => Op::MoveBeneath { source, target },
            MountCall::ChangeType { target, to, recursive } => {
                let target = found.map_or(target, |row| row.mount_point.clone());
                Op::ChangeType { target, to, recursive }
            }
            MountCall::Remount { target, bind, asked, known: _ } => {
                let mut attributes = found.map_or(Attributes::default(), attributes_of);
                asked.iter().for_each(|(which, on)| which.set(&mut attributes, *on));
                let target = found.map_or(target, |row| row.mount_point.clone());
                Op::Remount { target, attributes, bind }
            }
        };
        self.call(&op)
    }

    /// The row that the tools find for a word: the latest at that place, or else the latest of that source.
    fn mounted_as(&self, word: &Path) -> Option<Mount> {
        let path = absolute(word);
        let rows = self.table().mounts;
        let by_place = rows.iter().rev().find(|row| row.mount_point == path);
        by_place.or_else(|| rows.iter().rev().find(|row| Path::new(&row.source) == word)).cloned()
    }

    fn table(&self) -> MountTable {
        self.simulation.world.table(self.task).unwrap_or_default()
    }

    fn new_mount(
        &mut self,
        types: &Types,
        source: &str,
        target: &Path,
        attributes: Attributes,
        data: &[String],
    ) -> Result<(), Fault> {
        let guessed = ["ext3".to_owned()];
        let types = match types {
            Types::Listed(types) => types.as_slice(),
            Types::Guessed => &guessed,
        };
        let mut result = Err(refused_by_tool("no file system type"));
        for fs_type in types {
            let op = Op::Mount {
                fs_type: fs_type.clone(),
                source: source.to_owned(),
                target: target.to_path_buf(),
                attributes,
            };
            result = match self.file_system_fault(fs_type, source, target, data) {
                Some(fault) => self.fails(call_text(&op), fault),
                None => self.call(&op),
            };
            if result.is_ok() {
                break;
            }
        }
        result
    }

    /// Why there is no such file system, after the target was found and before anything else is checked.
    fn file_system_fault(
        &mut self,
        fs_type: &str,
        source: &str,
        target: &Path,
        data: &[String],
    ) -> Option<Fault> {
        if let Err(refused) = self.there(target) {
            return Some(refused.into());
        }
        if fs_type == "tmpfs" {
            let bad = data.iter().find(|option| !is_tmpfs_option(option))?;
            return Some(errno("EINVAL", &format!("tmpfs has no option {bad}")));
        }
        if NO_DEVICE_TYPES.contains(&fs_type) || !self.simulation.known {
            return None;
        }
        if !DEVICE_TYPES.contains(&fs_type) {
            return Some(errno("ENODEV", &format!("no file system type is called {fs_type}")));
        }
        Some(match self.there(Path::new(source)) {
            Ok(_) => errno("ENOTBLK", "the source is not a block device"),
            Err(refused) => refused.into(),
        })
    }

    fn tool(&mut self, line: &ToolLine) -> Result<(), Fault> {
        match line {
            ToolLine::Unmount(unmount) => self.unmount(unmount),
            ToolLine::PivotRoot { new_root, put_old } => {
                self.call(&Op::PivotRootTo { new_root: new_root.clone(), put_old: put_old.clone() })
            }
            ToolLine::MakeDirectories { paths, parents: true } => {
                self.each(paths, |run, path| run.make_parents(path))
            }
            ToolLine::MakeDirectories { paths, parents: false } => {
                self.each(paths, |run, path| run.create(path, Missing::Directory))
            }
            ToolLine::Touch { paths, create } => self.each(paths, |run, path| run.touch(path, *create)),
            ToolLine::RemoveDirectories { paths, parents } => {
                self.each(paths, |run, path| run.remove_directories(path, *parents))
            }
            ToolLine::Rename { from, to, into } => self.rename(from, to, *into),
            ToolLine::Refused(why) => Err(refused_by_tool(why)),
            ToolLine::Nothing => Ok(()),
        }
    }

    /// Goes on after a failure, as the tools do; the first one counts.
    fn each<T>(
        &mut self,
        all: &[T],
        mut one: impl FnMut(&mut Self, &T) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut first = Ok(());
        for item in all {
            let result = one(self, item);
            if first.is_ok() {
                first = result;
            }
        }
        first
    }

    fn create(&mut self, path: &Path, kind: Missing) -> Result<(), Fault> {
        self.call(&Op::Create { path: path.to_path_buf(), kind })
    }

    /// `mkdir -p`
    fn make_parents(&mut self, path: &Path) -> Result<(), Fault> {
        let components: Vec<Component<'_>> = path.components().collect();
        let mut prefix = PathBuf::new();
        for (index, component) in components.iter().enumerate() {
            prefix.push(component);
            if !matches!(component, Component::Normal(_)) && index + 1 < components.len() {
                continue;
            }
            match self.there(&prefix) {
                Ok(There::Directory) => {}
                Ok(There::NoDirectory) if index + 1 == components.len() => {
                    return self.create(&prefix, Missing::Directory);
                }
                Ok(There::NoDirectory) => return Err(Refused::from(RuleId::PathNotDirectory).into()),
                Err(_) => self.create(&prefix, Missing::Directory)?,
            }
        }
        if components.is_empty() { Err(Refused::from(RuleId::PathMissing).into()) } else { Ok(()) }
    }

    fn touch(&mut self, path: &Path, create: bool) -> Result<(), Fault> {
        match self.there(path) {
            Ok(there) => {
                // Whether it could be changed: what removing it, or something in it, would be told.
                let within = there == There::Directory;
                let path = if within { path.join("name that nobody has") } else { path.to_path_buf() };
                match self.simulation.world.clone().apply(self.task, &Op::Unlink { path }) {
                    Err(refused) if refused.rule == RuleId::PathReadOnly => Err(refused.into()),
                    _ => Ok(()),
                }
            }
            Err(refused) if !create && refused.rule == RuleId::PathMissing => Ok(()),
            Err(_) => self.create(path, Missing::File),
        }
    }

    fn remove_directories(&mut self, path: &Path, parents: bool) -> Result<(), Fault> {
        self.call(&Op::RemoveDirectory { path: path.to_path_buf() })?;
        let above = path.ancestors().skip(1).filter(|above| parents && !above.as_os_str().is_empty());
        for path in above {
            self.call(&Op::RemoveDirectory { path: path.to_path_buf() })?;
        }
        Ok(())
    }

    /// `mv`: into a directory that exists; across mounts it is made anew, and the old removed.
    fn rename(&mut self, from: &Path, to: &Path, into: bool) -> Result<(), Fault> {
        let found = self.there(from)?;
        let mut to = to.to_path_buf();
        if into && self.there(&to) == Ok(There::Directory) {
            match from.components().next_back() {
                Some(Component::Normal(name)) => to.push(name),
                _ => return Err(Refused::from(RuleId::PathNoName).into()),
            }
        }
        if absolute(from) == absolute(&to) {
            return Err(refused_by_tool("they are the same"));
        }
        let renamed = self.call(&Op::Rename { from: from.to_path_buf(), to: to.clone() });
        let crosses = |fault: &Fault| fault.rule == Some(RuleId::PathAcrossMounts);
        if !renamed.as_ref().is_err_and(crosses) {
            return renamed;
        }
        let path = from.to_path_buf();
        let remove = match found {
            There::Directory => Op::RemoveDirectory { path },
            There::NoDirectory => Op::Unlink { path },
        };
        // A tree of which nobody knows what is in it cannot be copied: what the kernel said stands.
        if found == There::Directory && !matches!(self.simulation.world.names(self.task, from), Ok(Some(_))) {
            return renamed;
        }
        match self.simulation.world.clone().apply(self.task, &remove) {
            Err(refused) if refused.rule == RuleId::DirectoryNotEmpty => {}
            Err(refused) if refused.rule == RuleId::MountPointInUse => {}
            Err(refused) => return Err(refused.into()),
            Ok(_) => {}
        }
        self.copy_tree(from, &to, found)?;
        self.remove_tree(from, found)
    }

    /// As `mv` copies what it cannot rename: name by name, also what is mounted in it.
    fn copy_tree(&mut self, from: &Path, to: &Path, what: There) -> Result<(), Fault> {
        if what == There::NoDirectory {
            return self.create(to, Missing::File);
        }
        // Looked at before anything is made: the copy may lie in what is copied.
        let names = self.names(from);
        self.create(to, Missing::Directory)?;
        self.each(&names, |run, (name, what)| run.copy_tree(&from.join(name), &to.join(name), *what))
    }

    /// As `rm -r`: a directory that something is mounted on stays, without what was in it.
    fn remove_tree(&mut self, path: &Path, what: There) -> Result<(), Fault> {
        if what == There::NoDirectory {
            return self.call(&Op::Unlink { path: path.to_path_buf() });
        }
        let names = self.names(path);
        let inside = self.each(&names, |run, (name, what)| run.remove_tree(&path.join(name), *what));
        inside?;
        self.call(&Op::RemoveDirectory { path: path.to_path_buf() })
    }

    fn names(&mut self, path: &Path) -> Vec<(std::ffi::OsString, There)> {
        let names = self.simulation.world.names(self.task, path).ok().flatten().unwrap_or_default();
        let kind = |directory| if directory { There::Directory } else { There::NoDirectory };
        names.into_iter().map(|(name, directory)| (name, kind(directory))).collect()
    }

    fn unmount(&mut self, line: &Unmount) -> Result<(), Fault> {
        if line.recursive {
            return self.each(&line.targets, |run, target| run.unmount_below(target, line));
        }
        self.each(&line.targets, |run, target| run.unmount_one(target, line))
    }

    fn unmount_one(&mut self, target: &str, line: &Unmount) -> Result<(), Fault> {
        let path = Path::new(target);
        let direct = line.plain && path.is_absolute() && self.there(path) == Ok(There::Directory);
        let table = self.table();
        let mounted = |path: &Path| table.mounts.iter().rev().find(|row| row.mount_point == path);
        if direct || target.is_empty() {
            return self.unmount_path(path, line);
        }
        let named = self.canonical(path);
        if let Some(row) = mounted(&named) {
            return self.unmount_path(&row.mount_point, line);
        }
        // Perhaps the name of what is mounted.
        match table.mounts.iter().rev().find(|row| row.source == target) {
            Some(row) if mounted(&row.mount_point).is_some_and(|top| top.id == row.id) => {
                self.unmount_path(&row.mount_point, line)
            }
            Some(_) => Err(refused_by_tool("umount failed: something is mounted over it at the same place")),
            None => self.unmount_path(path, line),
        }
    }

    /// As umount(8) looks for a path in the mount table: without dots if it leads somewhere, else as it is.
    fn canonical(&mut self, path: &Path) -> PathBuf {
        if self.there(path).is_ok() { absolute(path) } else { path.to_path_buf() }
    }

    fn unmount_path(&mut self, path: &Path, line: &Unmount) -> Result<(), Fault> {
        let op = Op::UnmountPath { target: path.to_path_buf(), detach: line.lazy, expire: false };
        let has_device = line.or_read_only
            && self
                .table()
                .mounts
                .iter()
                .rev()
                .find(|row| row.mount_point == path)
                .is_some_and(is_of_a_device);
        match self.call(&op) {
            Err(fault) if has_device && fault.errno == "EBUSY" => {
                let attributes = Attributes { read_only: true, ..Attributes::default() };
                self.call(&Op::Remount { target: path.to_path_buf(), attributes, bind: false })
            }
            result => result,
        }
    }

    /// `umount -R`: from the table as it was at the beginning, what covers a mount first, then what is below it.
    fn unmount_below(&mut self, target: &str, line: &Unmount) -> Result<(), Fault> {
        let table = self.table();
        let path = self.canonical(Path::new(target));
        let Some(top) = table.mounts.iter().rev().find(|row| row.mount_point == path) else {
            return Err(refused_by_tool("not mounted"));
        };
        for id in unmount_order(&table, top) {
            let Some(row) = table.mounts.iter().find(|row| row.id == id) else { continue };
            // An earlier one may have taken it along.
            if self.table().mounts.iter().any(|now| now.mount_point == row.mount_point) {
                self.unmount_path(&row.mount_point, line)?;
            }
        }
        Ok(())
    }
}

/// A tree's mounts, each after what covers it and after its other children.
fn unmount_order(table: &MountTable, top: &Mount) -> Vec<MountId> {
    let mut children: HashMap<MountId, Vec<&Mount>> = HashMap::new();
    for row in table.mounts.iter().filter(|row| row.parent != row.id) {
        children.entry(row.parent).or_default().push(row);
    }
    let mut order = Vec::new();
    let mut stack = vec![(top, false)];
    while let Some((row, done)) = stack.pop() {
        if done {
            order.push(row.id);
            continue;
        }
        stack.push((row, true));
        let below = children.remove(&row.id).unwrap_or_default();
        let (over, others): (Vec<&Mount>, Vec<&Mount>) =
            below.into_iter().partition(|child| child.mount_point == row.mount_point);
        stack.extend(others.into_iter().rev().map(|child| (child, false)));
        stack.extend(over.into_iter().rev().map(|child| (child, false)));
    }
    order
}

/// A path from the root, without dots: shells here are at `/`.
fn absolute(path: &Path) -> PathBuf {
    let mut absolute = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => absolute.push(name),
            Component::ParentDir => {
                absolute.pop();
            }
            _ => {}
        }
    }
    absolute
}

/// As the mount table has them for whoever wants to keep them.
fn attributes_of(row: &Mount) -> Attributes {
    let has = |word: &str| row.options.split(',').any(|option| option == word);
    Attributes {
        read_only: has("ro") || row.super_options.split(',').any(|option| option == "ro"),
        no_suid: has("nosuid"),
        no_dev: has("nodev"),
        no_exec: has("noexec"),
    }
}

/// Options of tmpfs(5).
fn is_tmpfs_option(option: &str) -> bool {
    const WITH_VALUE: [&str; 12] = [
        "size",
        "nr_blocks",
        "nr_inodes",
        "mode",
        "uid",
        "gid",
        "huge",
        "mpol",
        "usrquota_block_hardlimit",
        "usrquota_inode_hardlimit",
        "grpquota_block_hardlimit",
        "grpquota_inode_hardlimit",
    ];
    match option.split_once('=') {
        Some((name, _)) => WITH_VALUE.contains(&name),
        None => matches!(option, "inode32" | "inode64" | "noswap" | "quota" | "usrquota" | "grpquota"),
    }
}

/// File system types of Linux that need no block device (`nodev` in /proc/filesystems).
const NO_DEVICE_TYPES: &[&str] = &[
    "tmpfs",
    "ramfs",
    "proc",
    "sysfs",
    "devtmpfs",
    "devpts",
    "mqueue",
    "hugetlbfs",
    "cgroup",
    "cgroup2",
    "debugfs",
    "tracefs",
    "securityfs",
    "configfs",
    "bpf",
    "pstore",
    "efivarfs",
    "binfmt_misc",
    "fusectl",
    "overlay",
    "autofs",
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "9p",
    "virtiofs",
    "ceph",
    "fuse",
    "rpc_pipefs",
    "nfsd",
    "selinuxfs",
];

/// Those that are on one.
const DEVICE_TYPES: &[&str] = &[
    "ext2", "ext3", "ext4", "xfs", "btrfs", "vfat", "msdos", "exfat", "ntfs3", "iso9660", "udf", "squashfs",
    "erofs", "f2fs", "fuseblk", "hfs", "hfsplus", "minix", "romfs", "cramfs",
];

/// A call as strace(1) would print it.
fn call_text(op: &Op) -> String {
    let quoted = |path: &Path| format!("\"{}\"", path.display());
    match op {
        Op::Mount { fs_type, source, target, attributes } => {
            let flags = flag_names(*attributes);
            let flags = if flags.is_empty() { "0".to_owned() } else { flags };
            format!("mount(\"{source}\", {}, \"{fs_type}\", {flags})", quoted(target))
        }
        Op::Remount { target, attributes, bind } => {
            let flags =
                [if *bind { "MS_REMOUNT|MS_BIND" } else { "MS_REMOUNT" }.to_owned(), flag_names(*attributes)];
            let flags: Vec<String> = flags.into_iter().filter(|part| !part.is_empty()).collect();
            format!("mount({}, {})", quoted(target), flags.join("|"))
        }
        Op::Bind { source, target, recursive } => {
            let recursive = if *recursive { "|MS_REC" } else { "" };
            format!("mount({}, {}, MS_BIND{recursive})", quoted(source), quoted(target))
        }
        Op::Move { source, target } => format!("mount({}, {}, MS_MOVE)", quoted(source), quoted(target)),
        Op::MoveBeneath { source, target } => {
            format!("move_mount({}, {}, MOVE_MOUNT_BENEATH)", quoted(source), quoted(target))
        }
        Op::ChangeType { target, to, recursive } => {
            let recursive = if *recursive { "MS_REC|" } else { "" };
            format!("mount({}, {recursive}MS_{})", quoted(target), format!("{to:?}").to_uppercase())
        }
        Op::UnmountPath { target, detach, .. } => {
            format!("umount2({}, {})", quoted(target), if *detach { "MNT_DETACH" } else { "0" })
        }
        Op::PivotRootTo { new_root, put_old } => {
            format!("pivot_root({}, {})", quoted(new_root), quoted(put_old))
        }
        Op::Create { path, kind: Missing::Directory } => format!("mkdir({})", quoted(path)),
        Op::Create { path, kind: Missing::File } => format!("open({}, O_CREAT)", quoted(path)),
        Op::RemoveDirectory { path } => format!("rmdir({})", quoted(path)),
        Op::Unlink { path } => format!("unlink({})", quoted(path)),
        Op::Rename { from, to } => format!("rename({}, {})", quoted(from), quoted(to)),
        other => format!("{other:?}"),
    }
}

fn flag_names(attributes: Attributes) -> String {
    let named = [
        (attributes.read_only, "MS_RDONLY"),
        (attributes.no_suid, "MS_NOSUID"),
        (attributes.no_dev, "MS_NODEV"),
        (attributes.no_exec, "MS_NOEXEC"),
    ];
    named.into_iter().filter(|(set, _)| *set).map(|(_, name)| name).collect::<Vec<_>>().join("|")
}

/// The effects of a call, told with names and paths.
fn events(effects: &Effects, names: &[(String, TaskId)], before: &Places, after: &Places) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    for (index, effect) in effects.list.iter().enumerate() {
        let pushes =
            matches!(effects.list.get(index + 1).map(|next| next.change), Some(Change::PushedUp { .. }));
        let Some((mount, text)) = told(effect.change, pushes, before, after) else { continue };
        let place = mount.and_then(|mount| match effect.change {
            Change::Left { .. } | Change::Detached { .. } => before.get(&mount),
            _ => after.get(&mount).or_else(|| before.get(&mount)),
        });
        // Mounts that no table shows (detached trees, the unseen root of all) are not told.
        if mount.is_some() && place.is_none() {
            continue;
        }
        events.push(Event {
            rule: effect.rule,
            namespace: place.and_then(|(at, _)| names.get(*at)).map(|(name, _)| name.clone()),
            path: place.map(|(_, row)| row.mount_point.clone()),
            text: if text.is_empty() { effect.rule.meaning().to_owned() } else { text },
        });
    }
    events
}

/// What a change was done to, and in words what.
fn told(change: Change, pushes: bool, before: &Places, after: &Places) -> Option<(Option<MountId>, String)> {
    let row = |mount: MountId| after.get(&mount).or_else(|| before.get(&mount)).map(|(_, row)| row);
    let path = |mount| row(mount).map_or("?".to_owned(), |row| row.mount_point.display().to_string());
    let (mount, text) = match change {
        Change::Attached { mount, .. } => {
            let where_to = if pushes { "mounted, tucked under what was there" } else { "mounted, on top" };
            (mount, format!("{where_to}, {}", row(mount).map_or("", |row| row.propagation.in_words())))
        }
        Change::PushedUp { mount, .. } => (mount, "stays visible, on top of what came under it".to_owned()),
        Change::SlidDown { mount, .. } => (mount, "stays visible, slides down".to_owned()),
        Change::Left { mount, .. } => (mount, "leaves".to_owned()),
        Change::Detached { mount, .. } => (mount, "unmounted".to_owned()),
        Change::Untouched { mount } => (mount, "untouched".to_owned()),
        Change::Retyped { mount, from, to } if from.in_words() == to.in_words() => {
            (mount, format!("stays {}", to.in_words()))
        }
        Change::Retyped { mount, from, to } => {
            (mount, format!("{} becomes {}", from.in_words(), to.in_words()))
        }
        Change::Handed { mount, master: Some(master) } => {
            (mount, format!("its master is now {}", path(master)))
        }
        Change::Handed { mount, master: None } => (mount, "has no master any more".to_owned()),
        Change::Copied { from, to } => (
            to,
            format!("a copy of {}, {}", path(from), row(to).map_or("", |row| row.propagation.in_words())),
        ),
        Change::Locked { mount } => {
            (mount, "locked: its attributes, and all that is mounted below it".to_owned())
        }
        Change::Unlocked { mount } => (mount, "no longer locked".to_owned()),
        Change::AttributesChanged { mount } => {
            (mount, format!("now {}", row(mount).map_or("", |row| row.options.as_str())))
        }
        // What follows says it better.
        Change::Created { .. } | Change::NamespaceMade { .. } => return None,
        Change::NamespaceGone { .. } | Change::Other => {
            return Some((None, String::new()));
        }
    };
    Some((Some(mount), text))
}

/// Whether libmount takes what a mount shows for something that is on a device: only that does `umount -r` try to make
/// read-only (`mnt_fstype_is_pseudofs`, util-linux 2.38; of its types those that are met).
fn is_of_a_device(row: &Mount) -> bool {
    const PSEUDO: [&str; 22] = [
        "autofs",
        "binfmt_misc",
        "bpf",
        "cgroup",
        "cgroup2",
        "configfs",
        "debugfs",
        "devpts",
        "devtmpfs",
        "efivarfs",
        "fusectl",
        "hugetlbfs",
        "mqueue",
        "none",
        "nsfs",
        "overlay",
        "proc",
        "pstore",
        "ramfs",
        "sysfs",
        "tmpfs",
        "tracefs",
    ];
    !PSEUDO.contains(&row.fs_type.as_str())
}
