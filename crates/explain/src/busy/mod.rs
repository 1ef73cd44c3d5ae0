//! Why is a mount, or the folder that it is on, `busy`? Who holds it: mounts in it, processes, what the kernel keeps open,
//! and copies elsewhere, which do not keep the mount but its file system.
//!
//! Architecture invariant: a finding says whether it stops the unmount ([`Severity::Problem`](crate::finding::Severity)) or
//! only keeps the file system in use ([`Severity::Limit`](crate::finding::Severity)).

mod rules;

pub use rules::RULES;

use crate::finding::Finding;
use crate::topology::{At, Topology};
use mount_table::holders::{Held, Use};
use mount_table::{Device, MountId};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What is asked about: the mount at a path, or those below it where the path is only a folder.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The path.
    pub path: PathBuf,
    /// Its namespace, by position.
    pub namespace: usize,
    /// What is mounted there, if the path is a mount point.
    pub mount: Option<At>,
}

impl Subject {
    /// The subject that a path (absolute, canonical) of a namespace is; none if no mount carries it.
    pub fn of(topology: &Topology<'_>, namespace: usize, path: &Path) -> Option<Subject> {
        let carrier = topology.carrier(namespace, path)?;
        let mount = (topology.mount(carrier).mount_point == path).then_some(carrier);
        Some(Subject { path: path.to_owned(), namespace, mount })
    }

    /// The mounts whose use matters: the mount, what an unmount takes along, and copies of its file system.
    pub fn mounts(&self, topology: &Topology<'_>) -> BTreeSet<MountId> {
        let Some(device) = self.devices(topology).pop_first() else { return BTreeSet::new() };
        let same = topology.all().filter(|at| topology.mount(*at).device == device);
        same.map(|at| topology.mount(at).id).collect()
    }

    /// The file system.
    pub fn devices(&self, topology: &Topology<'_>) -> BTreeSet<Device> {
        self.mount.iter().map(|at| topology.mount(*at).device).collect()
    }
}

/// What holds it; none: nothing does.
pub fn busy(topology: &Topology<'_>, subject: &Subject, held: &Held) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        rules::TABLE.iter().filter_map(|rule| rule(topology, subject, held)).collect();
    findings.sort_by_key(|finding| finding.severity);
    findings
}

/// `pid 812 (bash): working directory /mnt/a`
fn words(how: Use) -> String {
    match how {
        Use::File(number) => format!("descriptor {number}"),
        Use::WorkingDirectory => "working directory".to_owned(),
        Use::Root => "root directory".to_owned(),
        Use::Program => "program".to_owned(),
        Use::Mapping => "mapping".to_owned(),
        Use::Socket(number) => format!("descriptor {number}, a socket bound at"),
    }
}
