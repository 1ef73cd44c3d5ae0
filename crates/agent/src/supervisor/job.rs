//! What the supervisors of one Job's Pods have in common: a folder of files that they lock.
//!
//! ```text
//! <run>/jobs/<uid>/failures   a byte a failure; locked for reading by each supervisor that is there
//! <run>/jobs/<uid>/turn-N     locked by the supervisor whose Pod runs as one of the N that may
//! ```
//!
//! Locks are a process' (fcntl(2)): those of a supervisor that is killed are gone with it, so that nobody waits for a turn
//! that nobody gives back. Who finds nobody else there begins to count anew, and who leaves last removes the folder.

use super::Supervisor;
use crate::lifecycle::{Event, Uptime, takes_turns};
use crate::record::PodUid;
use crate::root::{Root, make_private_directory};
use manifest::workloads::JobTerms;
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a supervisor looks whether the Job's other Pods have failed.
const LOOK_EVERY_MS: u64 = 1_000;
/// How often another may be just leaving while one joins.
const TRIES: u32 = 200;

/// The folder, joined.
#[derive(Debug)]
pub(super) struct JobFolder {
    path: PathBuf,
    failures: File,
    parallelism: u32,
    /// Held while the Pod may run.
    turn: Option<File>,
    /// Whether nobody else was there, so that the count began anew.
    was_first: bool,
    /// How many of the failures that are counted there are this Pod's.
    own: u32,
}

/// The folder of a Job; a uid that is none is nobody's.
fn folder(root: &Root, terms: &JobTerms) -> io::Result<PathBuf> {
    let uid = PodUid::parse(&terms.uid).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(root.job_run(&uid))
}

fn open(path: &Path) -> io::Result<File> {
    File::options().read(true).append(true).create(true).open(path)
}

/// Whether the lock could be taken.
fn lock(file: &File, operation: FlockOperation) -> io::Result<bool> {
    match rustix::fs::fcntl_lock(file, operation) {
        Ok(()) => Ok(true),
        Err(Errno::AGAIN | Errno::ACCESS) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

impl JobFolder {
    /// Makes the folder where it is missing, and is in it from now on.
    pub(super) fn join(root: &Root, terms: &JobTerms) -> io::Result<JobFolder> {
        let path = folder(root, terms)?;
        for _ in 0..TRIES {
            if let Some((failures, was_first)) = enter(&path)? {
                let parallelism = if takes_turns(terms) { terms.parallelism } else { 0 };
                return Ok(JobFolder { path, failures, parallelism, turn: None, was_first, own: 0 });
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    /// Takes one of the turns, if one is free. Without turns it is always one's own.
    fn take_turn(&mut self) -> io::Result<bool> {
        for number in 0..self.parallelism {
            if self.turn.is_some() {
                break;
            }
            let file = open(&self.path.join(format!("turn-{number}")))?;
            if lock(&file, FlockOperation::NonBlockingLockExclusive)? {
                self.turn = Some(file);
            }
        }
        Ok(self.parallelism == 0 || self.turn.is_some())
    }

    /// Goes on for a supervisor that was killed, which has counted these failures already.
    pub(super) fn take_over(&mut self, failures: u32) {
        if !self.was_first {
            self.own = failures;
        }
    }

    /// Counts this Pod's failures, all that it has had.
    fn count(&mut self, failures: u32) -> io::Result<()> {
        let more = failures.saturating_sub(self.own);
        self.own = failures;
        (&self.failures).write_all(&vec![b'.'; usize::try_from(more).unwrap_or_default()])
    }

    /// How often the others have failed.
    fn of_others(&self) -> io::Result<u32> {
        let all = u32::try_from(self.failures.metadata()?.len()).unwrap_or(u32::MAX);
        Ok(all.saturating_sub(self.own))
    }

    /// Lets go of the turn, and of the folder if nobody else is there.
    pub(super) fn leave(self) {
        let JobFolder { path, failures, turn, .. } = self;
        drop((failures, turn));
        remove_unused(&path);
    }
}

/// The open file of failures, if it is still the folder's once it is locked; and whether nobody else had locked it.
fn enter(path: &Path) -> io::Result<Option<(File, bool)>> {
    make_private_directory(path)?;
    let name = path.join("failures");
    let failures = match open(&name) {
        // Removed by who left last, just now.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let alone = lock(&failures, FlockOperation::NonBlockingLockExclusive)?;
    if !alone && !lock(&failures, FlockOperation::NonBlockingLockShared)? {
        return Ok(None);
    }
    let is = failures.metadata()?.ino();
    if name.metadata().map(|there| there.ino()).ok() != Some(is) {
        return Ok(None);
    }
    if alone {
        failures.set_len(0)?;
        lock(&failures, FlockOperation::NonBlockingLockShared)?;
    }
    Ok(Some((failures, alone)))
}

/// Removes the folder if no supervisor is in it.
fn remove_unused(path: &Path) {
    let Ok(failures) = File::options().read(true).write(true).open(path.join("failures")) else { return };
    if lock(&failures, FlockOperation::NonBlockingLockExclusive).is_ok_and(|alone| alone)
        && let Err(error) = crate::removal::remove_tree(path)
    {
        tracing::warn!(?error, path = %path.display(), "the folder of a job stays");
    }
}

/// Removes what killed supervisors of a Job's Pods have left.
pub(crate) fn forget(root: &Root, terms: &JobTerms) {
    if let Ok(path) = folder(root, terms) {
        remove_unused(&path);
    }
}

impl Supervisor {
    pub(super) fn ask_for_turn(&mut self) {
        let has_come = self.job.as_mut().map_or(Ok(true), JobFolder::take_turn);
        let has_come = has_come.unwrap_or_else(|error| {
            tracing::error!(%error, "the turns of the job's pods cannot be read");
            false
        });
        self.queue.push_back(Event::Turn { has_come });
    }

    /// When it is next looked whether the Job's other Pods have failed.
    pub(super) fn look_at_job_at(&self) -> Option<Uptime> {
        self.job.as_ref().map(|_| self.job_next)
    }

    pub(super) fn look_at_job(&mut self, now: Uptime) {
        let Some(job) = &self.job else { return };
        self.job_next = Uptime(now.0.saturating_add(LOOK_EVERY_MS));
        match job.of_others() {
            Ok(times) if times != self.state().job.of_others => {
                self.queue.push_back(Event::OthersFailed { times });
            }
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "the failures of the job's pods cannot be read"),
        }
    }

    /// Tells the others of this Pod's failures.
    pub(super) fn count_failures(&mut self) {
        let failures = self.file.state.job.failures;
        let Some(job) = self.job.as_mut().filter(|job| job.own != failures) else { return };
        if let Err(error) = job.count(failures) {
            tracing::error!(%error, "a failure cannot be told to the job's other pods");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(pods: u32, parallelism: u32) -> JobTerms {
        JobTerms { uid: "0a".into(), pods, parallelism, ..JobTerms::default() }
    }

    /// Other processes' locks are seen by the supervisors' test; here is what one process can see.
    #[test]
    fn failures_are_counted_and_the_folder_goes_with_the_last() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path()).open().unwrap();
        let mut job = JobFolder::join(&root, &terms(3, 1)).unwrap();
        assert_eq!(job.of_others().unwrap(), 0);
        job.count(2).unwrap();
        open(&job.path.join("failures")).unwrap().write_all(b"..").unwrap();
        job.count(3).unwrap();
        assert_eq!(job.of_others().unwrap(), 2);
        assert!(job.take_turn().unwrap() && job.take_turn().unwrap());
        assert_eq!(std::fs::read_dir(&job.path).unwrap().count(), 2);
        let path = job.path.clone();
        job.leave();
        assert!(!path.exists());
    }

    #[test]
    fn where_all_run_at_once_it_is_always_ones_turn() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path()).open().unwrap();
        let mut job = JobFolder::join(&root, &terms(2, 2)).unwrap();
        assert!(job.take_turn().unwrap());
        assert_eq!(std::fs::read_dir(&job.path).unwrap().count(), 1);
        let odd = JobTerms { uid: "../x".into(), ..terms(2, 1) };
        assert!(JobFolder::join(&root, &odd).is_err());
    }
}
