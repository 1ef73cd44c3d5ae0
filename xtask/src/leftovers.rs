//! What of this machine a run of tests could change, before and after: mounts, cgroups, processes, temporary files.
//!
//! Ours is what has the run's temporary directory or target directory in its mounts, command line, program or working
//! directory: other people's containers on the machine are none of our business.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Supervisors and the kernel take a moment to finish what they were told.
const PATIENCE: Duration = Duration::from_secs(10);
const MAX_CGROUP_DEPTH: usize = 12;

/// The state of the machine at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    mounts: BTreeSet<String>,
    cgroups: BTreeSet<PathBuf>,
    processes: BTreeSet<u32>,
}

impl Machine {
    /// Reads it.
    pub(crate) fn read() -> Result<Machine> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot read the mount table")?;
        Ok(Machine {
            mounts: mounts.lines().map(without_ids).collect(),
            cgroups: rhizome_cgroups(),
            processes: processes().collect(),
        })
    }

    /// What is there now and was not before, as far as it is ours; waits a little for it to go away.
    pub(crate) fn leftovers(&self, ours: &[PathBuf], temporary: &Path) -> Result<Vec<String>> {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = self.compare(&Machine::read()?, ours, temporary);
            if left.is_empty() || Instant::now() >= end {
                return Ok(left);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn compare(&self, now: &Machine, ours: &[PathBuf], temporary: &Path) -> Vec<String> {
        let new_processes = now.processes.difference(&self.processes).filter_map(|pid| describe(*pid, ours));
        let (pids, shown): (Vec<_>, Vec<_>) = new_processes.unzip();
        let foreign = |cgroup: &PathBuf| {
            let members = members(cgroup);
            !members.is_empty() && members.iter().all(|pid| !pids.contains(pid))
        };
        let mut left: Vec<String> = shown;
        left.extend(now.mounts.difference(&self.mounts).map(|line| format!("a new mount: {line}")));
        left.extend(self.mounts.difference(&now.mounts).map(|line| format!("a mount is gone: {line}")));
        let cgroups = now.cgroups.difference(&self.cgroups).filter(|cgroup| !foreign(cgroup));
        left.extend(cgroups.map(|cgroup| format!("a new cgroup: {}", cgroup.display())));
        let files = fs::read_dir(temporary).into_iter().flatten().flatten().map(|entry| entry.path());
        left.extend(files.map(|path| format!("a temporary file: {}", path.display())));
        left
    }
}

/// A line of mountinfo without the ids of mount and parent, which differ after any remount.
fn without_ids(line: &str) -> String {
    line.splitn(3, ' ').last().unwrap_or(line).to_owned()
}

/// All cgroups of any root or test of ours, below every hierarchy. The folder of all roots together may stay.
fn rhizome_cgroups() -> BTreeSet<PathBuf> {
    let directories = |path: &Path| {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries
            .filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|e| e.path())
            .collect::<Vec<_>>()
    };
    let top = PathBuf::from("/sys/fs/cgroup");
    let mut found = BTreeSet::new();
    for hierarchy in directories(&top).into_iter().chain([top]) {
        let ours = directories(&hierarchy).into_iter().filter(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("rhizome"))
        });
        for pods in ours {
            collect_directories(&pods, MAX_CGROUP_DEPTH, &mut found);
            // That of all roots is made again and again; those of tests are named after their process.
            if pods.ends_with("rhizome") {
                found.remove(&pods);
            }
        }
    }
    found
}

fn collect_directories(path: &Path, depth: usize, found: &mut BTreeSet<PathBuf>) {
    let Ok(entries) = fs::read_dir(path) else { return };
    found.insert(path.to_owned());
    if depth == 0 {
        return;
    }
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect_directories(&entry.path(), depth - 1, found);
        }
    }
}

/// Processes in a cgroup and below it.
fn members(cgroup: &Path) -> Vec<u32> {
    let mut all = BTreeSet::new();
    collect_directories(cgroup, MAX_CGROUP_DEPTH, &mut all);
    let lists = all.iter().filter_map(|path| fs::read_to_string(path.join("cgroup.procs")).ok());
    lists.flat_map(|list| list.lines().filter_map(|line| line.parse().ok()).collect::<Vec<_>>()).collect()
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// A process of ours, in words; none for others.
fn describe(pid: u32, ours: &[PathBuf]) -> Option<(u32, String)> {
    let proc = PathBuf::from(format!("/proc/{pid}"));
    if pid == std::process::id() {
        return None;
    }
    let command_line = fs::read(proc.join("cmdline")).ok()?;
    let command_line = String::from_utf8_lossy(&command_line).replace('\0', " ");
    let links = ["exe", "cwd", "root"].map(|name| fs::read_link(proc.join(name)).unwrap_or_default());
    // Compilers and cargo's own lock holders have our target directory on their command line only.
    let in_path = |path: &PathBuf| ours.iter().any(|ours| path.starts_with(ours));
    let in_mounts = || {
        let mounts = fs::read_to_string(proc.join("mountinfo")).unwrap_or_default();
        ours.iter().any(|ours| mounts.contains(&*ours.to_string_lossy()))
    };
    if links.iter().any(in_path) || in_mounts() {
        return Some((pid, format!("process {pid} still runs: {}", command_line.trim())));
    }
    None
}
