//! The mounts of each namespace, by the cheapest way that shows all of them.

use super::row::row;
use super::shares::in_shares;
use crate::mounts::read_mountinfo_into;
use crate::{Error, Result};
use mount_table::{MountId, MountTable, NamespaceId};
use rustix::io::Errno;
use std::path::PathBuf;
use sys::listing::{Detail, list_mounts, stat_mount};

/// Where the rows come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// From `/proc/PID/mountinfo` of a process that sees the whole namespace, which is the cheapest; by statmount(2)
    /// where there is none.
    Mountinfo,
    /// From statmount(2) wherever it answers.
    Statmount,
}

/// Which of a kernel's ways are used: all that it has, unless somebody compares them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ways {
    /// Namespaces by the ioctls of nsfs (Linux 6.12), not only those that processes are in.
    pub iterate: bool,
    /// Unique ids by listmount(2) (Linux 6.11), which also tell what has changed.
    pub unique_ids: bool,
    /// The rows.
    pub content: Content,
}

impl Default for Ways {
    fn default() -> Ways {
        Ways { iterate: true, unique_ids: true, content: Content::Mountinfo }
    }
}

/// A namespace that is there, and how it can be read.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) id: NamespaceId,
    /// The 64-bit id, if the kernel tells.
    pub(super) unique: Option<u64>,
    /// A process that sees all of it, else any, with its root directory.
    pub(super) process: Option<(u32, Option<PathBuf>)>,
    /// Its other processes, should that one end meanwhile.
    pub(super) others: Vec<u32>,
}

/// What was read of a namespace.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    pub(super) mounts: MountTable,
    /// What listmount(2) listed; empty if it was not asked.
    pub(super) ids: Vec<u64>,
    /// Whether `ids` are those of the rows, one by one.
    pub(super) matched: bool,
    pub(super) seen_from: Option<PathBuf>,
    /// Whether rows came from statmount(2), which does not say `propagate_from`.
    pub(super) by_statmount: bool,
    pub(super) moved: bool,
}

impl Table {
    pub(super) fn unique_mount_ids(&self) -> Vec<MountId> {
        if self.matched { self.ids.iter().copied().map(MountId).collect() } else { Vec::new() }
    }
}

/// Buffers that are used again, and what the last namespaces cost.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    text: Vec<u8>,
    stat: Vec<u8>,
    costs: Costs,
}

/// What a row costs by each way, in nanoseconds of this thread, and what follows from it.
///
/// For every row of a slave in mountinfo, the kernel goes through the peers of its master, one after the other, until one is
/// in the same namespace (`get_dominating_id()`, fs/pnode.c): with hundreds of containers that receive from each other,
/// the time grows with their square. statmount(2) is not asked for that, and costs always the same.
#[derive(Debug, Default)]
struct Costs {
    statmount: u64,
    /// For how many more namespaces statmount(2) is used, since mountinfo was dear.
    turns: u64,
}

/// Up to this, nothing is cheaper than mountinfo, in nanoseconds a row (measured: 1,400; statmount(2) 2,600).
const CHEAP: u64 = 2_600;
/// After so many namespaces mountinfo is tried again, times how much dearer it was: a try costs as much.
const TURNS: u64 = 8;
const MAX_TURNS: u64 = 64;
/// So much of a mountinfo is looked at for what it costs while it is read.
const LOOKED_AT: usize = 1 << 15;
/// Fewer rows say nothing about what one costs.
const TELLING: usize = 16;

impl Costs {
    /// Whether statmount(2) is to be used for the next namespace.
    fn prefer_statmount(&mut self) -> bool {
        let prefer = self.turns > 0;
        self.turns = self.turns.saturating_sub(1);
        prefer
    }

    /// What a row of mountinfo may cost: beyond, statmount(2) is cheaper, as far as is known.
    fn limit(&self) -> u64 {
        self.statmount.max(CHEAP)
    }

    fn mountinfo_was(&mut self, cost: u64) {
        let times = cost / self.limit();
        self.turns = if times == 0 { 0 } else { (times * TURNS).min(MAX_TURNS) };
    }
}

/// What this thread has worked, in nanoseconds.
fn worked() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// What something costs a row; none where there are too few to tell.
fn cost_of(before: u64, rows: usize) -> Option<u64> {
    (rows >= TELLING).then(|| worked().saturating_sub(before) / rows as u64)
}

/// The unique ids of a namespace; none if nobody may ask, or nobody can be asked.
pub(super) fn list(found: &Found, ways: Ways, ids: &mut Vec<u64>) -> bool {
    ids.clear();
    match found.unique.filter(|_| ways.unique_ids) {
        Some(unique) => list_mounts(unique, ids).is_ok(),
        None => false,
    }
}

/// Reads a namespace. None if it has gone meanwhile.
pub(super) fn read(found: &Found, ways: Ways, buffers: &mut Buffers) -> Result<Option<Table>> {
    let mut ids = Vec::new();
    let listed = list(found, ways, &mut ids);
    // Through a process that sees all of it.
    let whole = matches!(&found.process, Some((_, None)));
    let by_rows = listed && buffers.costs.prefer_statmount();
    let before = worked();
    if ways.content == Content::Mountinfo
        && whole
        && !by_rows
        && let Some(mounts) = by_mountinfo(found, buffers, listed)?
        // A process can be in a place of its namespace from which not all is to be seen without a root that says so.
        && (!listed || mounts.mounts.len() >= ids.len())
    {
        if let Some(cost) = cost_of(before, mounts.mounts.len()) {
            buffers.costs.mountinfo_was(cost);
        }
        let matched = listed && mounts.mounts.len() == ids.len();
        return Ok(Some(Table { mounts, ids, matched, ..Table::default() }));
    }
    let before = worked();
    if let Some(unique) = found.unique {
        if !listed {
            // Then it is asked for the rows alone.
            let _ = list_mounts(unique, &mut ids);
        }
        if let Some(mounts) = by_statmount(unique, &mut ids, buffers) {
            buffers.costs.statmount = cost_of(before, mounts.mounts.len()).unwrap_or(buffers.costs.statmount);
            return Ok(Some(Table { mounts, ids, matched: true, by_statmount: true, ..Table::default() }));
        }
    }
    let seen_from = found.process.as_ref().and_then(|(_, root)| root.clone());
    let table = by_mountinfo(found, buffers, false)?;
    Ok(table.map(|mounts| Table { mounts, seen_from, ..Table::default() }))
}

/// Through the process that was chosen, or another if that has ended. None if all have, or if it turns out to be dearer than
/// statmount(2) and that is `another_way`.
fn by_mountinfo(found: &Found, buffers: &mut Buffers, another_way: bool) -> Result<Option<MountTable>> {
    let chosen = found.process.iter().map(|(pid, _)| *pid);
    let Buffers { text, costs, .. } = buffers;
    let begun = worked();
    // It comes a page at a time.
    let mut go_on = |so_far: &[u8]| {
        if !another_way || so_far.len() > LOOKED_AT {
            return true;
        }
        let rows = so_far.iter().filter(|byte| **byte == b'\n').count();
        let dear = cost_of(begun, rows).filter(|cost| *cost > costs.limit());
        if let Some(cost) = dear {
            costs.mountinfo_was(cost);
        }
        dear.is_none()
    };
    for pid in chosen.chain(found.others.iter().copied()) {
        match read_mountinfo_into(format!("/proc/{pid}/mountinfo").into(), text, &mut go_on) {
            Ok(table) => return Ok(table),
            // A zombie's mountinfo is EINVAL: it has left its namespace.
            Err(Error::Read { ref source, .. }) if source.raw_os_error() == Some(INVALID) => {}
            Err(error) if error.is_gone() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

const INVALID: i32 = Errno::INVAL.raw_os_error();

/// Row by row. What is unmounted meanwhile is taken from the ids too. None if it may not be asked.
fn by_statmount(unique: u64, ids: &mut Vec<u64>, buffers: &mut Buffers) -> Option<MountTable> {
    let mut mounts = Vec::with_capacity(ids.len());
    let mut asked = true;
    ids.retain(|&id| match stat_mount(unique, id, Detail::Row, &mut buffers.stat) {
        Ok(stat) => {
            mounts.push(row(stat));
            true
        }
        Err(Errno::NOENT) => false,
        Err(_) => {
            asked = false;
            false
        }
    });
    (asked && !mounts.is_empty()).then_some(MountTable { mounts })
}

/// Reads these namespaces, in their order.
pub(super) fn read_all(found: &[&Found], ways: Ways) -> Vec<Result<Option<Table>>> {
    in_shares(found, Buffers::default, |buffers, found| read(found, ways, buffers))
}
