//! What can go wrong when reading.

use std::path::PathBuf;

/// Something could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of /proc or /sys could not be read.
    #[error("reading {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A mountinfo is not in the kernel's form.
    #[error("reading {}", path.display())]
    Parse {
        /// Which.
        path: PathBuf,
        /// Where and what.
        #[source]
        source: mount_table::ParseError,
    },
    /// The kernel does not tell of mounts any more.
    #[error("watching mounts")]
    Watch {
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The mounts changed during every one of so many readings.
    #[error("reading {}: the mounts changed during each of {reads} readings", path.display())]
    Unstable {
        /// Which.
        path: PathBuf,
        /// How many readings.
        reads: u32,
    },
}

impl Error {
    /// Whether it is only that the process is gone (or never was).
    pub fn is_gone(&self) -> bool {
        match self {
            Error::Read { source, .. } => {
                source.kind() == std::io::ErrorKind::NotFound
                    || source.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
            }
            _ => false,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Read { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                Some("run it as root".to_owned())
            }
            Error::Unstable { .. } => {
                Some("something mounts and unmounts without pause; ask again when it has ended".to_owned())
            }
            _ => None,
        }
    }
}
