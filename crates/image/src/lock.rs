//! Locks between processes that use one store: `flock(2)` on a file, released with its descriptor.

use std::fs::File;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::{Error, Result};

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

fn open(path: &Path) -> Result<File> {
    let file = File::options().create(true).truncate(false).write(true).open(path);
    file.map_err(Error::io("open", path))
}
