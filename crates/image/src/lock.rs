//! Locks between processes that use one store: `flock(2)` on a file, released with its descriptor.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::{Error, Result};

/// A second in all.
const MOMENT_TRIES: u32 = 100;
const MOMENT_PAUSE: Duration = Duration::from_millis(10);

/// Held until dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Waits for the lock.
pub(crate) fn wait_for(path: &Path) -> Result<Lock> {
    wait(path, FlockOperation::LockExclusive)
}

/// Waits until nobody has the lock alone, and shares it.
pub(crate) fn share(path: &Path) -> Result<Lock> {
    wait(path, FlockOperation::LockShared)
}

fn wait(path: &Path, operation: FlockOperation) -> Result<Lock> {
    let file = open(path)?;
    loop {
        match flock(&file, operation) {
            Ok(()) => return Ok(Lock { _file: file }),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::io("lock", path)(errno.into())),
        }
    }
}

/// The lock, unless somebody has it, alone or shared.
pub(crate) fn try_now(path: &Path) -> Result<Option<Lock>> {
    let file = open(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(Lock { _file: file })),
        Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(None),
        Err(errno) => Err(Error::io("lock", path)(errno.into())),
    }
}

/// The lock, unless somebody has it for longer than a moment. For that long it can be had by nobody: a process that
/// another thread has just forked holds all descriptors until its execve.
pub(crate) fn try_for_a_moment(path: &Path) -> Result<Option<Lock>> {
    for _ in 0..MOMENT_TRIES {
        if let Some(lock) = try_now(path)? {
            return Ok(Some(lock));
        }
        std::thread::sleep(MOMENT_PAUSE);
    }
    try_now(path)
}

fn open(path: &Path) -> Result<File> {
    let file = File::options().create(true).truncate(false).write(true).open(path);
    file.map_err(Error::io("open", path))
}
