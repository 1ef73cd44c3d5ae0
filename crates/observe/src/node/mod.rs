//! The whole node: every mount namespace that can be seen, its mounts, and whose it is.
//!
//! How it is read, and what for:
//!
//! 1. the processes of /proc: which namespace each is in ([`processes`]); the kernel's own list of namespaces, which also
//!    has those that no process is in ([`namespaces`]);
//! 2. the mounts of each ([`tables`]): listmount(2) for unique ids, `/proc/PID/mountinfo` for the rows, statmount(2) where no
//!    process sees all of a namespace;
//! 3. 1 and 2 again, of 2 only listmount(2), which is cheap: what has changed is read again, until nothing has;
//! 4. owners ([`owners`]), names ([`names`]), and what keeps namespaces without processes ([`kept`]).

mod cgroup;
mod cri;
mod folders;
mod kept;
mod names;
mod namespaces;
mod owners;
mod processes;
mod propagate;
mod row;
mod shares;
mod tables;

pub use cgroup::{Membership, parse_cgroup};
pub use names::Names;
pub(crate) use namespaces::{each, may_list};
pub(crate) use processes::process_ids;
pub(crate) use row::stat_row;
pub use tables::{Content, Ways};

use crate::{Result, read_mounts_of};
use jiff::Timestamp;
use mount_table::node::{Gap, Missing, Owner, Process};
use mount_table::{MountId, MountTable, NamespaceId, NamespaceView, Node};
use namespaces::Walk;
use processes::Seen;
use shares::in_shares;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tables::{Found, Table};

/// How often a node is read at most until nothing changes meanwhile.
pub const MAX_ROUNDS: u32 = 6;

/// Of these, so many by the cheapest way.
const CALM_ROUNDS: u32 = 2;

/// Reads the node as it is now.
///
/// It runs with whatever rights the caller has. What it could not read is in [`Node::gaps`]; namespaces whose number may
/// not be asked for, but whose mounts may be read, are there without a number. Namespaces in which mounts came and went
/// during every one of [`MAX_ROUNDS`] readings are marked ([`NamespaceView::moved`]); changes of propagation types and of
/// options move nothing: each row is right on its own.
///
/// # Errors
/// /proc cannot be listed: then nothing is known.
pub fn read_node(names: &Names) -> Result<Node> {
    read_node_by(names, Ways::default())
}

/// [`read_node`] by some of the kernel's ways only.
///
/// # Errors
/// As [`read_node`].
pub fn read_node_by(names: &Names, ways: Ways) -> Result<Node> {
    NodeReader { keeps: false, ..NodeReader::new(ways) }.read(names)
}

/// Reads a node again and again: namespaces whose mounts are the same (by their unique ids) are not read again.
#[derive(Debug)]
pub struct NodeReader {
    ways: Ways,
    tables: BTreeMap<NamespaceId, Table>,
    /// Which namespaces the last [`NodeReader::read`] read.
    read: BTreeSet<NamespaceId>,
    /// Whether it will be asked again.
    keeps: bool,
}

impl NodeReader {
    /// Has read nothing yet.
    pub fn new(ways: Ways) -> NodeReader {
        NodeReader { ways, tables: BTreeMap::new(), read: BTreeSet::new(), keeps: true }
    }

    /// Reads the node. Without listmount(2) (before Linux 6.11, or without root) that is all of it each time.
    ///
    /// # Errors
    /// As [`read_node`].
    pub fn read(&mut self, names: &Names) -> Result<Node> {
        self.read.clear();
        let mut gaps = Vec::new();
        let mut walk = namespaces::walk(self.ways);
        let mut seen = processes::read_processes()?;
        let mut found = namespaces::find(&seen, &walk, self.ways);
        for round in 1..=MAX_ROUNDS {
            gaps.clear();
            let changed = self.refresh(&found, round, &mut gaps);
            if changed.is_empty() || round == MAX_ROUNDS {
                for id in changed {
                    self.tables.entry(id).and_modify(|table| table.moved = true);
                }
                break;
            }
            // Did namespaces come or go?
            let now = namespaces::walk(self.ways);
            if now.known.keys().ne(walk.known.keys()) {
                walk = now;
                seen = processes::read_processes()?;
                found = namespaces::find(&seen, &walk, self.ways);
            }
        }
        let mut others = Others::default();
        others.read(&mut seen, &self.tables, &mut gaps);
        if let Some(why) = walk.incomplete.clone().filter(|_| self.ways.iterate) {
            gaps.push(Gap { what: Missing::KeptNamespaces, why });
        }
        Ok(self.assemble(seen, &walk, &found, others.read, gaps, names))
    }

    /// Of which namespaces the last reading read the mounts; of the others they are those of the reading before.
    pub fn read_anew(&self) -> &BTreeSet<NamespaceId> {
        &self.read
    }

    /// Forgets the tables, so that all is read again: for changes that unique ids do not show.
    pub fn forget(&mut self) {
        self.tables.clear();
    }

    /// Reads what is not known or has changed, and says which those were: none means that all of it is of one moment.
    fn refresh(&mut self, found: &[Found], round: u32, gaps: &mut Vec<Gap>) -> Vec<NamespaceId> {
        let stale = in_shares(found, Vec::new, |ids, found| self.is_stale(found, ids));
        let stale: Vec<&Found> =
            found.iter().zip(stale).filter_map(|(it, stale)| stale.then_some(it)).collect();
        let there: BTreeSet<NamespaceId> = found.iter().map(|found| found.id).collect();
        self.tables.retain(|id, _| there.contains(id));
        // What keeps changing is read row by row, as only that says which id is whose.
        let content = if round > CALM_ROUNDS { Content::Statmount } else { self.ways.content };
        let read = tables::read_all(&stale, Ways { content, ..self.ways });
        self.read.extend(stale.iter().map(|found| found.id));
        let mut changed = Vec::new();
        for (found, read) in stale.into_iter().zip(read) {
            match read {
                Ok(Some(table)) => {
                    let before = self.tables.insert(found.id, table);
                    let same = |before: &Table| before.mounts == self.tables[&found.id].mounts;
                    if !(round > 1 && before.as_ref().is_some_and(same)) {
                        changed.push(found.id);
                    }
                }
                // It has gone, or nobody may read it.
                Ok(None) => {
                    self.tables.remove(&found.id);
                    // One that has ended meanwhile lists nothing.
                    if found.process.is_none() && tables::list(found, Ways::default(), &mut Vec::new()) {
                        let why = "no process is in it, and statmount(2) does not show it".to_owned();
                        gaps.push(Gap { what: Missing::Mounts(found.id), why });
                    }
                }
                Err(error) => gaps.push(Gap { what: Missing::Mounts(found.id), why: said(&error) }),
            }
        }
        changed
    }

    /// Whether a namespace is not known, or has other mounts now.
    fn is_stale(&self, found: &Found, ids: &mut Vec<u64>) -> bool {
        match self.tables.get(&found.id) {
            Some(table) if !table.ids.is_empty() && table.matched => {
                !tables::list(found, self.ways, ids) || *ids != table.ids
            }
            _ => true,
        }
    }

    fn assemble(
        &mut self,
        seen: Vec<Seen>,
        walk: &Walk,
        found: &[Found],
        others: BTreeMap<NamespaceId, MountTable>,
        gaps: Vec<Gap>,
        names: &Names,
    ) -> Node {
        let mut node = empty_node();
        node.gaps = gaps;
        node.host = seen.iter().find(|process| process.pid == 1).and_then(|process| process.namespace);
        let own = std::process::id();
        node.reader = seen.iter().find(|process| process.pid == own).and_then(|process| process.namespace);
        let user_namespaces = namespaces::owners(found, walk);
        let mut derive = BTreeSet::new();
        for found in found {
            let Some(table) = self.tables.get_mut(&found.id) else { continue };
            let mounts = if self.keeps { table.mounts.clone() } else { std::mem::take(&mut table.mounts) };
            let mut view = NamespaceView::new(found.id, mounts);
            view.unique_id = found.unique;
            view.unique_mount_ids = table.unique_mount_ids();
            view.user_namespace = user_namespaces.get(&found.id).copied();
            view.seen_from = table.seen_from.clone();
            view.moved = table.moved;
            if table.by_statmount {
                derive.insert(found.id);
            }
            node.namespaces.push(view);
        }
        node.namespaces.extend(others.into_iter().map(|(id, mounts)| NamespaceView::new(id, mounts)));
        propagate::derive(&mut node, &derive);
        let pids: Vec<u32> = seen.iter().map(|process| process.pid).collect();
        owners::assign(&mut node, by_namespace(seen), names);
        keepers(&mut node, &pids);
        let host = node.host;
        node.namespaces.sort_by_key(|view| (Some(view.id) != host, view.id));
        node
    }
}

fn by_namespace(seen: Vec<Seen>) -> BTreeMap<NamespaceId, Vec<Seen>> {
    let mut by_namespace: BTreeMap<NamespaceId, Vec<Seen>> = BTreeMap::new();
    for process in seen {
        if let Some(id) = process.namespace {
            by_namespace.entry(id).or_default().push(process);
        }
    }
    by_namespace
}

fn keepers(node: &mut Node, pids: &[u32]) {
    let kept = node.namespaces.iter().filter(|view| view.owner == Owner::Kept);
    let kept: BTreeSet<NamespaceId> = kept.map(|view| view.id).collect();
    if kept.is_empty() {
        return;
    }
    let mut found = kept::find(&kept, pids, node);
    for view in &mut node.namespaces {
        view.kept_by = found.remove(&view.id).unwrap_or_default();
    }
}

fn empty_node() -> Node {
    let text = |path| std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut node = Node::new(Timestamp::now(), kernel);
    node.boot_id = text("/proc/sys/kernel/random/boot_id");
    node.mount_max = text("/proc/sys/fs/mount-max").and_then(|number| number.parse().ok());
    node
}

/// Namespaces of processes whose namespace may not be asked for. Their mounts may be read all the same (unless /proc is
/// mounted with `hidepid`): no two namespaces have a mount in common, so the first row tells them apart.
#[derive(Debug, Default)]
struct Others {
    read: BTreeMap<NamespaceId, MountTable>,
    /// Which namespace a mount is in.
    known: HashMap<MountId, NamespaceId>,
}

impl Others {
    fn read(&mut self, seen: &mut [Seen], tables: &BTreeMap<NamespaceId, Table>, gaps: &mut Vec<Gap>) {
        let mut unknown = Vec::new();
        for process in seen.iter_mut().filter(|process| process.namespace.is_none()) {
            if self.known.is_empty() {
                let rows = tables
                    .iter()
                    .flat_map(|(id, table)| table.mounts.mounts.iter().map(move |it| (it.id, *id)));
                self.known = rows.collect();
            }
            match self.namespace_of(process.pid) {
                Ok(namespace) => process.namespace = namespace,
                Err(error) if error.is_gone() => continue,
                Err(_) => {}
            }
            if process.namespace.is_none() {
                unknown.push(process.pid);
            }
        }
        if !unknown.is_empty() {
            let why = "only root, or the user that they belong to, may ask".to_owned();
            gaps.push(Gap { what: Missing::Processes(unknown), why });
        }
    }

    /// None if it shows no mounts at all, as in a chroot that is no mount.
    fn namespace_of(&mut self, pid: u32) -> Result<Option<NamespaceId>> {
        if let Some(known) = read_first_id(pid).and_then(|first| self.known.get(&first)) {
            return Ok(Some(*known));
        }
        let mounts = read_mounts_of(pid)?;
        let Some(first) = mounts.mounts.first().map(|mount| mount.id) else { return Ok(None) };
        // Processes of one namespace with different roots begin with different rows.
        let known = mounts.mounts.iter().find_map(|mount| self.known.get(&mount.id)).copied();
        let id = known.unwrap_or_else(|| NamespaceId::without_number(first));
        self.known.extend(mounts.mounts.iter().map(|mount| (mount.id, id)));
        if known.is_none() {
            self.read.insert(id, mounts);
        }
        Ok(Some(id))
    }
}

/// The id of the first row of a mountinfo, without reading all of it.
fn read_first_id(pid: u32) -> Option<MountId> {
    let mut start = [0; 16];
    let mut file = std::fs::File::open(format!("/proc/{pid}/mountinfo")).ok()?;
    let read = std::io::Read::read(&mut file, &mut start).ok()?;
    let digits = start[..read].split(|byte| *byte == b' ').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok().map(MountId)
}

/// An error with its causes, for a [`Gap`].
fn said(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// The process as it stands in a [`NamespaceView`].
fn process(seen: &Seen) -> Process {
    Process { pid: seen.pid, comm: seen.comm.clone(), root: seen.root.clone(), container: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_namespace_is_among_them() {
        let node = read_node(&Names::default()).unwrap();
        let (own, process) = node.process(std::process::id()).unwrap();
        assert_eq!(Some(own.id), node.reader);
        assert_eq!(process.root, None);
        assert_eq!(own.mounts, crate::read_own_mounts().unwrap());
        if let Some(host) = node.host() {
            assert_eq!(host.owner, Owner::Host);
            assert_eq!(node.namespaces[0].id, host.id);
        }
        assert_eq!(Node::parse_json(&node.to_json().unwrap()).unwrap(), node);
    }
}
