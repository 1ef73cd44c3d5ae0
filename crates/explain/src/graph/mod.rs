//! The picture of propagation as a value: namespaces with the mounts that matter, peer groups, and who receives from whom.
//! How it is drawn is a matter of `view`.
//!
//! What is left out, so that a node of 200 containers can be read: the kernel's own file systems, mounts that have nothing to do
//! with another namespace, and namespaces that look like one that is shown (they are counted and named there).

mod alike;
mod layers;
mod select;

use crate::topology::Topology;
use mount_table::{Mount, MountId, MountTable, NamespaceId, Node};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// What to look at; nothing means all.
#[derive(Debug, Clone, Copy, Default)]
pub struct Focus<'a> {
    /// A path (absolute, canonical) of the host: what is mounted at and below it, and what shows that elsewhere.
    pub path: Option<&'a Path>,
    /// Only these namespaces, the host, and who is tied to them.
    pub namespaces: &'a [NamespaceId],
    /// Show every namespace, also those that look alike, and those that only have private copies of the host's mounts.
    pub all: bool,
    /// Every mount, tied to something or not, also those that are covered.
    pub every: bool,
    /// Mounts that are shown whatever they are tied to, and what has just become of them.
    pub marks: Option<&'a Marks>,
}

impl Focus<'_> {
    /// Whether nothing is asked for but the node.
    fn is_general(&self) -> bool {
        self.path.is_none() && self.namespaces.is_empty() && !self.all && !self.every && self.marks.is_none()
    }
}

/// By mount, what has just become of it; nothing for one that only is to be shown.
pub type Marks = BTreeMap<MountId, Option<Change>>;

/// What has just become of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// It came.
    New,
    /// It was there, and is otherwise or elsewhere.
    Changed,
    /// It is there no longer: the row says what it was, and no line leads to it.
    Gone,
}

/// A picture.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Graph {
    /// The namespaces, the host's first.
    pub spaces: Vec<Space>,
    /// The peer groups that tie mounts of the picture together, or that a mount of it receives from.
    pub groups: Vec<Group>,
    /// Namespaces that have nothing to do with what is shown.
    pub left_out: usize,
}

/// What a namespace is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// The node's own.
    Host,
    /// A container's.
    Container,
    /// Any other.
    Other,
}

/// A namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Space {
    /// What it is called.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// How far from the host: 0 the host, 1 what is tied to it, 2 what is tied to those…
    pub layer: usize,
    /// Others that look the same, by name.
    pub alike: Vec<String>,
    /// Its mounts, by path.
    pub mounts: Vec<Row>,
    /// How many more it has that matter.
    pub more: usize,
}

/// A mount of a [`Space`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Its id.
    pub id: u64,
    /// Where it is mounted.
    pub path: String,
    /// Type and source.
    pub file_system: String,
    /// Which folder of the file system it shows.
    pub root: String,
    /// `shared`, `slave`, `shared+slave`, `private`, `unbindable`
    pub propagation: &'static str,
    /// Its peer group.
    pub shared: Option<u64>,
    /// The group that it receives from.
    pub master: Option<u64>,
    /// The mount of the host that it is a copy of, without being tied to it: its place in the host's list.
    pub copy_of: Option<usize>,
    /// What has just become of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
}

/// A mount of the picture: the namespace's place and the row's.
pub type Port = (usize, usize);

/// A peer group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// Its number.
    pub id: u64,
    /// Its mounts in the picture.
    pub members: Vec<Port>,
    /// The mounts in the picture that receive from it.
    pub slaves: Vec<Port>,
    /// How many members it has on the node.
    pub all_members: usize,
    /// How many mounts of the node receive from it directly.
    pub all_slaves: usize,
}

/// The picture of a node.
pub fn of_node(node: &Node, host: NamespaceId, focus: Focus<'_>) -> Graph {
    let topology = Topology::of_node(node);
    match topology.position(host) {
        Some(host) => of(&topology, host, focus),
        None => Graph::default(),
    }
}

/// The picture of named tables, as a simulation has them; the first is the host.
pub fn of_tables(tables: &[(String, MountTable)]) -> Graph {
    if tables.is_empty() {
        return Graph::default();
    }
    of(&Topology::of_tables(tables), 0, Focus { all: true, ..Focus::default() })
}

/// The picture of what became of tables in a step: what came, changed and went is marked. `every`: with the mounts that
/// are tied to nothing and are not marked.
pub fn of_step(
    before: &[(String, MountTable)],
    after: &[(String, MountTable)],
    marks: &Marks,
    every: bool,
) -> Graph {
    if after.is_empty() {
        return Graph::default();
    }
    let focus = Focus { all: true, every, marks: Some(marks), ..Focus::default() };
    let mut graph = of(&Topology::of_tables(after), 0, focus);
    for (name, table) in before {
        let gone = |row: &&Mount| marks.get(&row.id) == Some(&Some(Change::Gone));
        let mut gone = table.mounts.iter().filter(gone).peekable();
        if gone.peek().is_none() {
            continue;
        }
        let place = graph.spaces.iter().position(|space| space.name == *name);
        let place = place.unwrap_or_else(|| {
            graph.spaces.push(Space::of_nothing(name));
            graph.spaces.len() - 1
        });
        // Behind the others, whose places the lines know.
        graph.spaces[place].add_gone(gone);
    }
    graph
}

fn of(topology: &Topology<'_>, host: usize, focus: Focus<'_>) -> Graph {
    let chosen = select::rows(topology, host, focus);
    let layered = layers::layers(topology, host, &chosen);
    let left_out = topology.count() - layered.len();
    alike::graph(topology, host, &chosen, &layered, left_out, focus)
}
