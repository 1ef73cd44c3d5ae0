//! The world that scripts are run in, and its namespaces by name: where it comes from, and how another is made.

use super::outcome::{Outcome, Step};
use super::run;
use super::script::{HOST, Line, Script};
use mount_table::{Mount, MountId, MountTable, NamespaceId, NamespaceView, Node, Snapshot};
use std::collections::{BTreeSet, HashMap};
use subtree_model::{Effects, Handle, Kernel, Op, Refused, TableError, TaskId, World};

/// Whether a namespace can be called so in a script.
fn is_word(name: &str) -> bool {
    let fine = |letter: char| letter.is_alphanumeric() || "._-/:".contains(letter);
    !name.is_empty() && name.chars().all(fine)
}

/// Runs scripts in a world.
#[derive(Debug, Clone)]
pub struct Simulation {
    pub(super) world: World,
    pub(super) namespaces: Vec<(String, TaskId)>,
    /// Whether all of the world is known: else it is one that was read off a machine, as far as that can be read.
    pub(super) known: bool,
    /// Namespaces whose mounts may be locked: they belong to another user namespace than the host's.
    pub(super) foreign: BTreeSet<NamespaceId>,
}

/// Open while a namespace is handed from one task to another.
const BETWEEN: Handle = Handle(u32::MAX);

/// Where every mount is, by id: the namespace's position and the row.
pub(super) type Places = HashMap<MountId, (usize, Mount)>;

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
        run::step(self, line)
    }

    pub(super) fn task(&self, name: &str) -> Option<TaskId> {
        self.namespaces.iter().find(|(known, _)| known == name).map(|(_, task)| *task)
    }

    pub(super) fn places(&self) -> Places {
        let tables = self.namespaces.iter().map(|(_, task)| self.world.table(*task).unwrap_or_default());
        let rows =
            tables.enumerate().flat_map(|(at, table)| table.mounts.into_iter().map(move |row| (at, row)));
        rows.map(|(at, row)| (row.id, (at, row))).collect()
    }

    pub(super) fn copy_namespace(&mut self, from: TaskId, user: bool) -> Result<(TaskId, Effects), Refused> {
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
