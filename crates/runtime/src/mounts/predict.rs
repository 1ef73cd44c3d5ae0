//! The pair assertion: what the model says a container's mounts are, held against what the kernel made.
//!
//! The same list of operations that the container's first process executed is applied to a model of the host's
//! mounts. If the two differ, either the host's mounts changed meanwhile (then it is done again), or it is a bug in
//! the builder or in the model, which is reported with both.

use super::{MountError, Prepared, read_own_table, read_table};
use mount_table::{Mount, MountTable, PeerGroup};
use rustix::process::Pid;
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use subtree_model::{Op, World};

/// As often as both tables are read until the host's did not change in between.
const READ_MAX: usize = 16;

/// What [`Prepared::verify`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The container has what was planned.
    AsPlanned,
    /// Mounts of the host below this volume source changed while the container's were made, and it missed that:
    /// throw the container's first process away and start again from [`prepare`](super::prepare).
    Redo {
        /// The source.
        source: PathBuf,
    },
    /// The model and the kernel disagree though nothing changed: a bug in one of the two.
    Mismatch(Mismatch),
}

/// Rows of a container's mount table, as far as they are compared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mismatch {
    /// What the model says and the kernel does not.
    pub only_predicted: Vec<Row>,
    /// What the kernel says and the model does not.
    pub only_real: Vec<Row>,
    /// Mounts that the model says would appear on the host.
    pub leaked: Vec<PathBuf>,
    /// Why there is no prediction at all, if there is none.
    pub refused: Option<String>,
}

/// What of a mount is compared: everything but ids, sources and options that the kernel makes up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    mount_point: PathBuf,
    root: PathBuf,
    fs_type: String,
    shared: Option<PeerGroup>,
    master: Option<PeerGroup>,
    unbindable: bool,
    read_only: bool,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { mount_point, root, fs_type, .. } = self;
        write!(f, "{} ({fs_type} {}", mount_point.display(), root.display())?;
        for (word, group) in [("shared", self.shared), ("master", self.master)] {
            if let Some(group) = group {
                write!(f, " {word}:{}", group.0)?;
            }
        }
        for (word, set) in [("unbindable", self.unbindable), ("ro", self.read_only)] {
            if set {
                write!(f, " {word}")?;
            }
        }
        f.write_str(")")
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |rows: &[Row]| rows.iter().map(Row::to_string).collect::<Vec<_>>().join(", ");
        write!(f, "predicted but not there: [{}]", list(&self.only_predicted))?;
        write!(f, "; there but not predicted: [{}]", list(&self.only_real))?;
        let leaked: Vec<_> = self.leaked.iter().map(|path| path.display().to_string()).collect();
        write!(f, "; on the host: [{}]", leaked.join(", "))?;
        match &self.refused {
            Some(reason) => write!(f, "; no prediction: {reason}"),
            None => Ok(()),
        }
    }
}

impl Prepared {
    /// To be called in the host's mount namespace, once the child has built its mounts and before anything of the
    /// image runs. `pid` is the child's. Looks only at the container and at what its volumes receive, so that others
    /// may mount elsewhere at the same time.
    pub fn verify(&self, pid: Pid) -> Result<Verdict, MountError> {
        let (host, container) = self.read_both(pid)?;
        let changed = host.as_ref().and_then(|host| Some((host, self.changed(&self.host, host)?)));
        let table = changed.map_or(&self.host, |(host, _)| host);
        let mismatch = compare(&self.build.ops, table, &container);
        Ok(match (mismatch, changed) {
            (None, _) => Verdict::AsPlanned,
            (Some(_), Some((_, source))) => Verdict::Redo { source: source.clone() },
            (Some(mismatch), None) => Verdict::Mismatch(mismatch),
        })
    }

    /// The host's table and the container's, as of one moment as far as the volumes go (bounded: on a host that
    /// mounts without end the last two readings serve, and a difference leads to a redo). Where no volume receives
    /// anything, the host's table of now says nothing, and is not read.
    fn read_both(&self, pid: Pid) -> Result<(Option<MountTable>, MountTable), MountError> {
        let path = PathBuf::from(format!("/proc/{}/mountinfo", pid.as_raw_nonzero()));
        if self.receiving.is_empty() {
            return Ok((None, read_table(&path)?));
        }
        let mut host = read_own_table()?;
        let mut container = read_table(&path)?;
        for _ in 0..READ_MAX {
            let after = read_own_table()?;
            let same = self.changed(&host, &after).is_none();
            host = after;
            if same {
                break;
            }
            container = read_table(&path)?;
        }
        Ok((Some(host), container))
    }

    /// A volume source below which the two tables differ.
    fn changed(&self, before: &MountTable, after: &MountTable) -> Option<&PathBuf> {
        self.receiving.iter().find(|source| before.below(source) != after.below(source))
    }
}

/// Applies the operations to a model of the host, and compares what comes out with the container's real table.
fn compare(ops: &[Op], host: &MountTable, container: &MountTable) -> Option<Mismatch> {
    let refused = |reason: String| Some(Mismatch { refused: Some(reason), ..Mismatch::default() });
    let mut world = match World::from_table(host) {
        Ok(world) => world,
        Err(error) => return refused(error.to_string()),
    };
    let Some(namespace) = world.namespace_of(World::FIRST_TASK) else {
        return refused("the model has no first namespace".to_owned());
    };
    // The first task is the supervisor: it stays, and with it the host's namespace.
    let child = match world.fork(World::FIRST_TASK) {
        Ok(child) => child,
        Err(error) => return refused(error.to_string()),
    };
    for (index, op) in ops.iter().enumerate() {
        if let Err(error) = world.apply(child, op) {
            return refused(format!("operation {index}, {op:?}: {error}"));
        }
    }
    let predicted = match world.table(child) {
        Ok(table) => rows(&table),
        Err(error) => return refused(error.to_string()),
    };
    let real = rows(container);
    let points = |table: &MountTable| -> Vec<PathBuf> {
        table.mounts.iter().map(|mount| mount.mount_point.clone()).collect()
    };
    let mut leaked = world.table_of(namespace).map_or_else(Vec::new, |table| points(&table));
    for point in points(host) {
        if let Some(index) = leaked.iter().position(|other| *other == point) {
            // Both are in the order of creation: what is looked for is mostly the first of what is left.
            leaked.remove(index);
        }
    }
    let difference = |a: &BTreeSet<Row>, b: &BTreeSet<Row>| a.difference(b).cloned().collect::<Vec<_>>();
    let mismatch = Mismatch {
        only_predicted: difference(&predicted, &real),
        only_real: difference(&real, &predicted),
        leaked,
        refused: None,
    };
    (mismatch != Mismatch::default()).then_some(mismatch)
}

fn rows(table: &MountTable) -> BTreeSet<Row> {
    // The terminal is put at /dev/console after the list was executed (`attach_console`).
    table.mounts.iter().filter(|mount| mount.mount_point != Path::new("/dev/console")).map(row).collect()
}

fn row(mount: &Mount) -> Row {
    // A cgroup mount's root is shown relative to the reader's cgroup namespace.
    let root = if mount.fs_type == "cgroup2" { PathBuf::from("/") } else { mount.root.clone() };
    Row {
        mount_point: mount.mount_point.clone(),
        root,
        fs_type: mount.fs_type.clone(),
        shared: mount.propagation.shared,
        master: mount.propagation.master,
        unbindable: mount.propagation.unbindable,
        read_only: mount.options.split(',').any(|option| option == "ro"),
    }
}
