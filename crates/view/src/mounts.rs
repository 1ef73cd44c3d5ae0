//! Mounts as findmnt(8) shows them, for any number of namespaces: as a table, as a tree, as a document; and propagation
//! in words, with whom.

use crate::table::lines;
use crate::text::{duration, printable};
use jiff::Timestamp;
use mount_table::node::{Gap, Groups, Labels, Missing, Owner, Place};
use mount_table::{Mount, MountId, Node, PeerGroup, join, readable};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// So many are named where a mount is shared with more.
const NAMED: usize = 3;

/// A tree is not indented any further than this: a container can mount ten thousand deep.
const DEEPEST: usize = 24;

/// What a table can show of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// Whose namespace it is in.
    Owner,
    /// The namespace's number.
    Namespace,
    /// The Kubernetes namespace of the owner.
    PodNamespace,
    /// What runs the owner.
    Runtime,
    /// How long the oldest process of its namespace has been there.
    NamespaceAge,
    /// Mount id.
    Id,
    /// The parent's.
    Parent,
    /// Unique 64-bit id.
    UniqueId,
    /// Where it is mounted.
    Target,
    /// What is mounted, with the path inside of it.
    Source,
    /// File system type.
    FsType,
    /// The mount's options.
    Options,
    /// The file system's options.
    SuperOptions,
    /// `major:minor`
    Device,
    /// The path inside the file system.
    Root,
    /// Peer group.
    Shared,
    /// The group that it receives from.
    Master,
    /// In words, with whom.
    Propagation,
}

impl Column {
    /// All, with what they are called.
    pub const ALL: [(Column, &str); 18] = [
        (Column::Owner, "OWNER"),
        (Column::Namespace, "NAMESPACE"),
        (Column::PodNamespace, "POD-NAMESPACE"),
        (Column::Runtime, "RUNTIME"),
        (Column::NamespaceAge, "NS-AGE"),
        (Column::Id, "ID"),
        (Column::Parent, "PARENT"),
        (Column::UniqueId, "UNIQUE-ID"),
        (Column::Target, "TARGET"),
        (Column::Source, "SOURCE"),
        (Column::FsType, "FSTYPE"),
        (Column::Options, "OPTIONS"),
        (Column::SuperOptions, "SUPER-OPTIONS"),
        (Column::Device, "MAJ:MIN"),
        (Column::Root, "FSROOT"),
        (Column::Shared, "SHARED"),
        (Column::Master, "MASTER"),
        (Column::Propagation, "PROPAGATION"),
    ];

    /// What it is called.
    pub fn name(self) -> &'static str {
        Column::ALL.iter().find(|(column, _)| *column == self).map_or("", |(_, name)| name)
    }

    /// By name, in letters of any case.
    pub fn parse(name: &str) -> Option<Column> {
        Column::ALL.iter().find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(column, _)| *column)
    }

    /// Those of a table. Whose a mount is, is said where there are several owners.
    pub fn usual(several: bool, wide: bool) -> Vec<Column> {
        let mut columns = Vec::new();
        if several || wide {
            columns.push(Column::Owner);
        }
        if wide {
            columns.extend([Column::Namespace, Column::NamespaceAge, Column::Id, Column::Parent]);
        }
        columns.extend([Column::Target, Column::Source, Column::FsType, Column::Options]);
        if wide {
            columns.push(Column::SuperOptions);
        }
        columns.push(Column::Propagation);
        columns
    }
}

/// A node with what is asked of it again and again.
#[derive(Debug)]
pub struct Scene<'a> {
    node: &'a Node,
    groups: Groups<'a>,
    labels: Labels,
}

impl<'a> Scene<'a> {
    /// Of a node.
    pub fn of(node: &'a Node) -> Scene<'a> {
        Scene { node, groups: Groups::of(node), labels: Labels::of(node) }
    }

    /// The peer groups.
    pub fn groups(&self) -> &Groups<'a> {
        &self.groups
    }

    /// The namespaces in words.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// A mount's propagation in words, with whom: `shared with host, mount-b's /home`, `slave of the host's /mnt`,
    /// `private`. Not printable yet: it has paths in it.
    pub fn propagation(&self, place: &Place<'a>) -> String {
        let propagation = &place.mount.propagation;
        let mut parts = Vec::new();
        if let Some(master) = propagation.master {
            parts.push(format!("slave of {}", self.master(place, master)));
        }
        if propagation.is_shared() {
            parts.push(format!("shared {}", self.shared_with(place)));
        }
        if propagation.unbindable {
            parts.push("unbindable".to_owned());
        }
        if parts.is_empty() { "private".to_owned() } else { parts.join(", ") }
    }

    fn shared_with(&self, place: &Place<'a>) -> String {
        let mut names: Vec<String> = Vec::new();
        let mut more = 0;
        let is_own = |peer: &Place<'a>| peer.namespace.id == place.namespace.id;
        let own = self.groups.peers(place).filter(is_own);
        let others = self.groups.peers(place).filter(|peer| !is_own(peer));
        for peer in own.chain(others) {
            if names.len() == NAMED {
                more += 1;
                continue;
            }
            // A place once, however many mounts are stacked on it.
            let name = self.from(&peer, place);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        match (names.is_empty(), more) {
            (true, _) => "with nobody".to_owned(),
            (_, 0) => format!("with {}", names.join(", ")),
            _ => format!("with {} and {more} more", names.join(", ")),
        }
    }

    /// A peer as seen from this mount: whose, and where, if it is at another place.
    fn from(&self, other: &Place<'a>, own: &Place<'a>) -> String {
        let there = same_place(other.mount, own.mount);
        let there = there.as_deref().unwrap_or(&other.mount.mount_point);
        if other.namespace.id == own.namespace.id {
            return format!("its own {}", path(there));
        }
        let label = self.labels.get(other.namespace.id);
        if there == own.mount.mount_point { label.into_owned() } else { format!("{label}'s {}", path(there)) }
    }

    fn master(&self, place: &Place<'a>, group: PeerGroup) -> String {
        // Which member it is cannot be read. Named is one that has the same place, and sooner the host's than a
        // container's.
        let likeness = |other: &&Place<'a>| {
            let there = same_place(other.mount, place.mount);
            let rank = match &other.namespace.owner {
                Owner::Host => 0,
                Owner::Container(_) => 2,
                _ => 1,
            };
            (there.is_none(), rank, there.as_ref() != Some(&place.mount.mount_point))
        };
        let Some(first) = self.groups.members(group).iter().min_by_key(likeness) else {
            return format!("group {}, which is not visible here", group.0);
        };
        let there = same_place(first.mount, place.mount);
        let path = path(there.as_deref().unwrap_or(&first.mount.mount_point));
        match &first.namespace.owner {
            _ if first.namespace.id == place.namespace.id => format!("its own {path}"),
            Owner::Host => format!("the host's {path}"),
            _ => format!("{}'s {path}", self.labels.get(first.namespace.id)),
        }
    }

    fn cell(&self, column: Column, place: &Place<'a>, unique: Option<MountId>, now: Timestamp) -> String {
        let (view, mount) = (place.namespace, place.mount);
        let number = |group: Option<PeerGroup>| group.map_or(String::new(), |group| group.0.to_string());
        let container = view.container();
        match column {
            Column::Owner => self.labels.get(view.id).into_owned(),
            Column::Namespace if view.id.has_number() => view.id.0.to_string(),
            Column::Namespace => String::new(),
            Column::PodNamespace => {
                let pod = container.and_then(|container| container.pod.as_ref());
                pod.and_then(|pod| pod.namespace.clone()).unwrap_or_default()
            }
            Column::Runtime => {
                container.and_then(|container| container.runtime).map_or(String::new(), |it| it.to_string())
            }
            Column::NamespaceAge => {
                view.since.map_or(String::new(), |since| duration(now.as_second() - since.as_second()))
            }
            Column::Id => mount.id.0.to_string(),
            Column::Parent => mount.parent.0.to_string(),
            Column::UniqueId => unique.map_or(String::new(), |id| id.0.to_string()),
            Column::Target => path(&mount.mount_point),
            Column::Source => source(mount),
            Column::FsType => mount.fs_type.clone(),
            Column::Options => mount.options.clone(),
            Column::SuperOptions => mount.super_options.clone(),
            Column::Device => mount.device.to_string(),
            Column::Root => root(mount),
            Column::Shared => number(mount.propagation.shared),
            Column::Master => number(mount.propagation.master),
            Column::Propagation => self.propagation(place),
        }
    }
}

/// Mounts of a namespace, by their places in its table.
#[derive(Debug, Clone)]
pub struct Chosen<'a> {
    /// The namespace.
    pub namespace: &'a mount_table::NamespaceView,
    /// Which rows, ascending.
    pub rows: Vec<usize>,
}

impl<'a> Chosen<'a> {
    fn places(&self) -> impl Iterator<Item = (Place<'a>, Option<MountId>)> + '_ {
        let view = self.namespace;
        self.rows.iter().filter_map(move |&at| {
            let mount = view.mounts.mounts.get(at)?;
            Some((Place { namespace: view, mount }, view.unique_mount_ids.get(at).copied()))
        })
    }
}

/// A row a mount.
pub fn table(
    scene: &Scene<'_>,
    chosen: &[Chosen<'_>],
    columns: &[Column],
    header: bool,
    now: Timestamp,
) -> String {
    let names: Vec<&str> = columns.iter().map(|column| column.name()).collect();
    let row = |(place, unique): (Place<'_>, Option<MountId>)| -> Vec<String> {
        columns.iter().map(|&column| scene.cell(column, &place, unique, now)).collect()
    };
    let rows = chosen.iter().flat_map(|chosen| chosen.places().map(row)).collect();
    lines(header.then_some(&names), rows)
}

/// A tree for each namespace, the mounts below those that they are mounted on.
pub fn tree(
    scene: &Scene<'_>,
    chosen: &[Chosen<'_>],
    columns: &[Column],
    header: bool,
    now: Timestamp,
) -> String {
    let columns: Vec<Column> = columns.iter().copied().filter(|&column| column != Column::Owner).collect();
    let names: Vec<&str> = columns.iter().map(|column| column.name()).collect();
    let mut text = String::new();
    for (at, chosen) in chosen.iter().filter(|chosen| !chosen.rows.is_empty()).enumerate() {
        let view = chosen.namespace;
        let number = if view.id.has_number() { format!(" (ns:{})", view.id.0) } else { String::new() };
        text.push_str(if at > 0 { "\n" } else { "" });
        text.push_str(&printable(&scene.labels.get(view.id)));
        text.push_str(&number);
        text.push('\n');
        let places: Vec<_> = chosen.places().collect();
        let rows = branches(&places)
            .into_iter()
            .map(|(at, branch)| {
                let (place, unique) = &places[at];
                let cell = |&column: &Column| {
                    let cell = scene.cell(column, place, *unique, now);
                    if column == Column::Target { format!("{branch}{cell}") } else { cell }
                };
                columns.iter().map(cell).collect()
            })
            .collect();
        text.push_str(&lines(header.then_some(&names), rows));
    }
    text
}

/// The order of a tree, and what is drawn before each. Whose parent is not among them stands at the left; each stands
/// there once, whatever the parents say.
fn branches(places: &[(Place<'_>, Option<MountId>)]) -> Vec<(usize, String)> {
    let known: HashMap<MountId, usize> =
        places.iter().enumerate().map(|(at, (place, _))| (place.mount.id, at)).collect();
    let mut children: HashMap<usize, Vec<usize>> = HashMap::new();
    let mut next = Vec::new();
    for (at, (place, _)) in places.iter().enumerate() {
        match known.get(&place.mount.parent) {
            Some(&parent) if parent != at => children.entry(parent).or_default().push(at),
            _ => next.push((at, String::new(), String::new())),
        }
    }
    next.reverse();
    let mut found = Vec::with_capacity(places.len());
    let mut seen = vec![false; places.len()];
    let mut left_over = 0..places.len();
    loop {
        while let Some((at, branch, below)) = next.pop() {
            if std::mem::replace(&mut seen[at], true) {
                continue;
            }
            let of = children.remove(&at).unwrap_or_default();
            for (rank, &child) in of.iter().enumerate().rev() {
                let last = rank + 1 == of.len();
                // Two columns a step.
                let (mark, line) = match below.chars().count() < 2 * DEEPEST {
                    true if last => (format!("{below}└─"), format!("{below}  ")),
                    true => (format!("{below}├─"), format!("{below}│ ")),
                    false => (format!("{below}… "), below.clone()),
                };
                next.push((child, mark, line));
            }
            found.push((at, branch));
        }
        // Only a file can hold mounts that are each other's parents.
        match left_over.find(|&at| !seen[at]) {
            Some(at) => next.push((at, String::new(), String::new())),
            None => return found,
        }
    }
}

/// The mounts as a document, with the groups that they name.
pub fn document(scene: &Scene<'_>, chosen: &[Chosen<'_>]) -> Value {
    let mut named: BTreeSet<PeerGroup> = BTreeSet::new();
    let namespaces: Vec<Value> = chosen
        .iter()
        .map(|chosen| {
            let view = chosen.namespace;
            let mounts: Vec<Value> = chosen
                .places()
                .map(|(place, unique)| {
                    named.extend(
                        [place.mount.propagation.shared, place.mount.propagation.master].iter().flatten(),
                    );
                    row(scene, &place, unique)
                })
                .collect();
            let mut value = json!({
                "id": view.id.0,
                "name": scene.labels.get(view.id),
                "target": scene.node.target(view),
                "owner": view.owner,
                "mounts": mounts,
            });
            let mut more = |key: &str, more: Option<Value>| {
                if let Some(more) = more {
                    value[key] = more;
                }
            };
            more("since", view.since.map(|since| json!(since)));
            more("userNamespace", view.user_namespace.map(Value::from));
            more("seenFrom", view.seen_from.as_deref().map(|path| text(path).into()));
            more("moved", view.moved.then_some(Value::Bool(true)));
            more("keptBy", (!view.kept_by.is_empty()).then(|| json!(view.kept_by)));
            value
        })
        .collect();
    let groups: Map<String, Value> =
        named.iter().map(|&group: &PeerGroup| (group.0.to_string(), group_value(scene, group))).collect();
    json!({
        "apiVersion": "rhizome.dev/v1",
        "kind": "MountList",
        "taken": scene.node.taken,
        "kernel": scene.node.kernel,
        "namespaces": namespaces,
        "groups": groups,
        "gaps": scene.node.gaps,
    })
}

fn row(scene: &Scene<'_>, place: &Place<'_>, unique: Option<MountId>) -> Value {
    let mount = place.mount;
    let mut value = json!({
        "id": mount.id.0,
        "parent": mount.parent.0,
        "target": text(&mount.mount_point),
        "source": mount.source,
        "root": text(&mount.root),
        "fsType": mount.fs_type,
        "options": mount.options,
        "superOptions": mount.super_options,
        "device": mount.device.to_string(),
        "propagation": mount.propagation.in_words(),
        "propagationInWords": scene.propagation(place),
    });
    if mount.deleted {
        value["deleted"] = true.into();
    }
    if let Some(unique) = unique {
        value["uniqueId"] = unique.0.into();
    }
    for (key, group) in [("shared", mount.propagation.shared), ("master", mount.propagation.master)] {
        if let Some(group) = group {
            value[key] = group.0.into();
        }
    }
    value
}

fn group_value(scene: &Scene<'_>, group: PeerGroup) -> Value {
    let places = |places: &[Place<'_>]| -> Vec<Value> {
        places
            .iter()
            .map(|place| {
                json!({
                    "namespace": place.namespace.id.0,
                    "name": scene.labels.get(place.namespace.id),
                    "id": place.mount.id.0,
                    "target": text(&place.mount.mount_point),
                })
            })
            .collect()
    };
    json!({"members": places(scene.groups.members(group)), "slaves": places(scene.groups.slaves(group))})
}

/// What could not be read, a sentence each.
pub fn gaps(gaps: &[Gap]) -> Vec<String> {
    let mut said = Vec::new();
    let mut namespaces: BTreeMap<&str, usize> = BTreeMap::new();
    for gap in gaps {
        let what = match &gap.what {
            Missing::Processes(pids) if pids.len() == 1 => "the mount namespace of 1 process".to_owned(),
            Missing::Processes(pids) => format!("the mount namespaces of {} processes", pids.len()),
            Missing::Mounts(_) => {
                *namespaces.entry(&gap.why).or_default() += 1;
                continue;
            }
            Missing::KeptNamespaces => "namespaces that no process is in".to_owned(),
            Missing::UniqueIds(id) => format!("unique ids of the mounts of ns:{}", id.0),
            Missing::Names(runtime) => format!("names of {runtime}'s containers"),
        };
        said.push(printable(&format!("not seen: {what}: {}", gap.why)).into_owned());
    }
    said.extend(namespaces.into_iter().map(|(why, count)| {
        let what = if count == 1 {
            "the mounts of 1 namespace".to_owned()
        } else {
            format!("the mounts of {count} namespaces")
        };
        printable(&format!("not seen: {what}: {why}")).into_owned()
    }));
    said
}

/// The path at which a mount shows what is this one's root: `/data` of a mount of the whole disk at `/`, where this one is a
/// bind mount of its `/data`. None if it does not show it.
fn same_place(other: &Mount, own: &Mount) -> Option<PathBuf> {
    // A folder that was removed is at no path any more: only mounts of itself show it.
    let is_there = match own.deleted || other.deleted {
        true => own.deleted == other.deleted && own.root == other.root,
        false => true,
    };
    let below = own.root.strip_prefix(&other.root).ok();
    let below = below.filter(|_| own.device == other.device && is_there)?;
    Some(join(&other.mount_point, below))
}

/// What is mounted, as findmnt has it: the source, and in brackets the path inside of it.
fn source(mount: &Mount) -> String {
    match root(mount).as_str() {
        "/" => mount.source.clone(),
        root => format!("{}[{root}]", mount.source),
    }
}

fn root(mount: &Mount) -> String {
    let root = path(&mount.root);
    match (mount.deleted, root.as_str()) {
        (false, _) => root,
        (true, "/") => "//deleted".to_owned(),
        (true, _) => format!("{root}//deleted"),
    }
}

fn path(path: &Path) -> String {
    readable(path.as_os_str().as_bytes())
}

/// A path in a document: so that it can be read back, see `mount_table::path_as_text`.
fn text(path: &Path) -> String {
    mount_table::text_of_path(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use mount_table::node::{Container, Pod, Process, Runtime};
    use mount_table::{MountTable, NamespaceId, NamespaceView};

    fn now() -> Timestamp {
        "2026-11-23T08:01:00Z".parse().unwrap()
    }

    fn view(id: u64, owner: Owner, mountinfo: &[u8]) -> NamespaceView {
        let mut view = NamespaceView::new(NamespaceId(id), MountTable::parse_mountinfo(mountinfo).unwrap());
        view.owner = owner;
        view
    }

    fn pod(name: &str, container: &str) -> Owner {
        Owner::Container(Container {
            runtime: Some(Runtime::Rhizome),
            id: "0".repeat(64),
            name: Some(container.to_owned()),
            pod: Some(Pod { uid: None, namespace: Some("default".to_owned()), name: Some(name.to_owned()) }),
        })
    }

    /// A host whose /mnt is shared with one pod and goes to another, and a container that plays tricks.
    fn node() -> Node {
        let mut node = Node::new("2026-11-23T08:00:00Z".parse().unwrap(), "6.18.0".to_owned());
        node.host = Some(NamespaceId(10));
        node.namespaces = vec![
            view(
                10,
                Owner::Host,
                b"1 0 8:1 / / rw shared:1 - ext4 /dev/sda rw\n\
                  2 1 0:9 / /mnt rw shared:2 - tmpfs t rw\n\
                  3 2 0:10 / /mnt/a rw shared:3 - tmpfs t rw\n",
            ),
            view(20, pod("mount-a", "main"), b"11 0 0:8 / / rw - overlay o rw\n12 11 0:9 / /mnt rw shared:2 - tmpfs t rw\n"),
            view(
                30,
                pod("mount-b", "main"),
                b"21 0 0:8 / / rw - overlay o rw\n22 21 0:9 /sub /home rw shared:4 master:2 - tmpfs t rw\n\
                  23 22 0:9 / /home/gone rw master:77 - tmpfs t rw\n24 22 0:9 /x//deleted /u rw unbindable - tmpfs t rw\n",
            ),
            view(40, Owner::Processes, b"31 0 0:8 / / rw - overlay \x1b[31m rw\n32 31 0:9 / /a\\012b\x1b]0;x\x07 rw shared:2 - t t rw\n"),
        ];
        node.namespaces[3].processes =
            vec![Process { pid: 9, comm: "e\x1b[2Jvil\n".to_owned(), root: None, container: None }];
        node.namespaces[1].since = Some("2026-11-23T08:00:30Z".parse().unwrap());
        node
    }

    fn all(node: &Node) -> Vec<Chosen<'_>> {
        let rows = |namespace: &NamespaceView| (0..namespace.mounts.mounts.len()).collect();
        node.namespaces.iter().map(|namespace| Chosen { namespace, rows: rows(namespace) }).collect()
    }

    #[test]
    fn tables() {
        let node = node();
        let columns = Column::usual(true, false);
        expect![[r#"
            OWNER                   TARGET              SOURCE           FSTYPE    OPTIONS   PROPAGATION
            host                    /                   /dev/sda         ext4      rw        shared with nobody
            host                    /mnt                t                tmpfs     rw        shared with mount-a, pid 9 (e\x1b[2Jvil\n)'s /a\nb\x1b]0;x\x07
            host                    /mnt/a              t                tmpfs     rw        shared with nobody
            mount-a                 /                   o                overlay   rw        private
            mount-a                 /mnt                t                tmpfs     rw        shared with host, pid 9 (e\x1b[2Jvil\n)'s /a\nb\x1b]0;x\x07
            mount-b                 /                   o                overlay   rw        private
            mount-b                 /home               t[/sub]          tmpfs     rw        slave of the host's /mnt/sub, shared with nobody
            mount-b                 /home/gone          t                tmpfs     rw        slave of group 77, which is not visible here
            mount-b                 /u                  t[/x//deleted]   tmpfs     rw        unbindable
            pid 9 (e\x1b[2Jvil\n)   /                   \x1b[31m         overlay   rw        private
            pid 9 (e\x1b[2Jvil\n)   /a\nb\x1b]0;x\x07   t                t         rw        shared with host's /mnt, mount-a's /mnt
        "#]]
        .assert_eq(&table(&Scene::of(&node), &all(&node), &columns, true, now()));
        let wide = Column::usual(true, true);
        expect![[r#"
            OWNER     NAMESPACE   NS-AGE   ID   PARENT   TARGET   SOURCE   FSTYPE    OPTIONS   SUPER-OPTIONS   PROPAGATION
            mount-a   20          30s      11   0        /        o        overlay   rw        rw              private
            mount-a   20          30s      12   11       /mnt     t        tmpfs     rw        rw              shared with host, pid 9 (e\x1b[2Jvil\n)'s /a\nb\x1b]0;x\x07
        "#]]
        .assert_eq(&table(&Scene::of(&node), &all(&node)[1..2], &wide, true, now()));
    }

    #[test]
    fn trees() {
        let node = node();
        let columns = [Column::Target, Column::FsType];
        expect![[r#"
            host (ns:10)
            /            ext4
            └─/mnt       tmpfs
              └─/mnt/a   tmpfs

            mount-a (ns:20)
            /        overlay
            └─/mnt   tmpfs

            mount-b (ns:30)
            /                overlay
            └─/home          tmpfs
              ├─/home/gone   tmpfs
              └─/u           tmpfs

            pid 9 (e\x1b[2Jvil\n) (ns:40)
            /                     overlay
            └─/a\nb\x1b]0;x\x07   t
        "#]]
        .assert_eq(&tree(&Scene::of(&node), &all(&node), &columns, false, now()));
    }

    /// Ten thousand deep, and parents of each other.
    #[test]
    fn a_tree_ends_whatever_the_parents_are() {
        let mut node = node();
        let rows: String = (1..=10_000)
            .map(|id| format!("{id} {} 0:1 / /d rw - t t rw\n", if id == 1 { 10_000 } else { id - 1 }))
            .collect();
        node.namespaces = vec![view(10, Owner::Host, rows.as_bytes())];
        let text = tree(&Scene::of(&node), &all(&node), &[Column::Target], false, now());
        assert_eq!(text.lines().count(), 10_001);
        assert!(text.len() < 2_000_000, "{}", text.len());
    }

    #[test]
    fn many_peers_are_counted() {
        let mut node = node();
        for id in 100..110 {
            node.namespaces.push(view(
                id,
                pod(&format!("p{id}"), "c"),
                b"1 0 0:9 / /mnt rw shared:2 - t t rw\n",
            ));
        }
        let scene = Scene::of(&node);
        let place = node.mounts().nth(1).unwrap();
        assert_eq!(
            scene.propagation(&place),
            "shared with mount-a, pid 9 (e\x1b[2Jvil\n)'s /a\nb\x1b]0;x\x07, p100 and 9 more"
        );
    }

    #[test]
    fn documents_are_json_whatever_is_in_them() {
        let node = node();
        let document = document(&Scene::of(&node), &all(&node));
        let text = crate::document::json(&document);
        assert!(!text.contains('\x1b') && !text.contains('\x07'));
        assert_eq!(document["groups"]["2"]["members"].as_array().unwrap().len(), 3);
        assert_eq!(document["groups"]["2"]["slaves"][0]["name"], "mount-b");
        assert_eq!(document["namespaces"][2]["mounts"][3]["deleted"], true);
    }

    #[test]
    fn gaps_in_words() {
        let gap = |what, why: &str| Gap { what, why: why.to_owned() };
        let said = gaps(&[
            gap(Missing::Processes(vec![1, 2]), "no\x1b"),
            gap(Missing::Mounts(NamespaceId(1)), "gone"),
            gap(Missing::Mounts(NamespaceId(2)), "gone"),
            gap(Missing::KeptNamespaces, "no"),
            gap(Missing::Names(Runtime::Docker), "no"),
        ]);
        expect![[r#"
            not seen: the mount namespaces of 2 processes: no\x1b
            not seen: namespaces that no process is in: no
            not seen: names of docker's containers: no
            not seen: the mounts of 2 namespaces: gone
        "#]]
        .assert_eq(&(said.join("\n") + "\n"));
    }
}
