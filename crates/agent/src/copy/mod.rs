//! Copying files into and out of containers, without a program in them: a child of ours that sees a container's files
//! (`runtime::inside`) packs or unpacks a tar stream, whose other end is the host's side. Memory does not grow with what
//! is copied.
//!
//! Architecture invariant: neither side believes the other. Who packs follows no symbolic link but the one that was
//! named; who unpacks writes through none, whatever the stream says (see [`unpack`]).

mod pack;
mod unpack;

use image::UnpackError;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::pipe::PipeFlags;
use rustix::process::{WaitId, WaitIdOptions};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

/// How many names are remembered of what was not copied.
const MAX_NAMES: usize = 20;
/// The longest report of a child.
const MAX_REPORT_BYTES: u64 = 1 << 20;

/// Where files come from or go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A path of the caller's.
    Host(PathBuf),
    /// A path of a running container; a relative one is below its working directory.
    Container {
        /// The container's id.
        id: String,
        /// The path.
        path: PathBuf,
    },
    /// A tar archive on standard input or output.
    Archive,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Copied {
    /// Files, directories and links.
    pub entries: u64,
    /// Contents, in bytes.
    pub bytes: u64,
    /// What is no file, directory or link, and was left out: at most [`MAX_NAMES`] with the reason each.
    pub skipped: Vec<String>,
    /// What could not be read: likewise.
    pub failed: Vec<String>,
    /// How many more were skipped or failed.
    pub more: u64,
}

impl Copied {
    fn note(&mut self, failed: bool, text: String) {
        let names = if failed { &mut self.failed } else { &mut self.skipped };
        if names.len() < MAX_NAMES { names.push(text) } else { self.more += 1 }
    }

    fn and(mut self, other: Copied) -> Copied {
        self.skipped.extend(other.skipped);
        self.failed.extend(other.failed);
        self.more += other.more;
        self
    }
}

/// Why it was not copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The source or the destination cannot be used as such.
    #[error("cannot {action} {path}")]
    Path {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A directory, or many files, would replace a file.
    #[error("{path} is not a directory")]
    NotADirectory {
        /// The destination.
        path: String,
    },
    /// An archive names a path that leads out of the destination, or through a symbolic link.
    #[error("{member:?} is not written: {reason}")]
    Unsafe {
        /// As the archive has it.
        member: String,
        /// Why.
        reason: &'static str,
    },
    /// The stream is no archive, or is cut off.
    #[error("cannot read the archive")]
    Archive(#[from] UnpackError),
    /// What a child in the container says.
    #[error("{message}")]
    Inside {
        /// Its words.
        message: String,
        /// Whether something that was named is not there.
        missing: bool,
    },
    /// The runtime.
    #[error(transparent)]
    Runtime(Box<runtime::Error>),
    /// A pipe or a child of ours.
    #[error("cannot {action}")]
    System {
        /// What was being done.
        action: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Both are on the host.
    #[error("one of the two must be in a container")]
    NoContainer,
}

impl CopyError {
    fn path(action: &'static str, path: &Path, source: impl Into<io::Error>) -> CopyError {
        CopyError::Path { action, path: path.display().to_string(), source: source.into() }
    }

    /// Whether something that was named is not there.
    pub fn is_missing(&self) -> bool {
        match self {
            CopyError::Path { source, .. } => {
                matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
            }
            CopyError::NotADirectory { .. } => true,
            CopyError::Inside { missing, .. } => *missing,
            _ => false,
        }
    }

    fn is_broken_pipe(&self) -> bool {
        matches!(self, CopyError::Path { source, .. } | CopyError::System { source, .. }
            if source.kind() == io::ErrorKind::BrokenPipe)
    }

    fn is_cut_off(&self) -> bool {
        matches!(self, CopyError::Archive(UnpackError::Truncated { .. } | UnpackError::Malformed { .. }))
    }
}

fn system<E: Into<io::Error>>(action: &'static str) -> impl FnOnce(E) -> CopyError {
    move |source| CopyError::System { action, source: source.into() }
}

/// What a child says at its end.
#[derive(Debug, Serialize, Deserialize)]
enum Report {
    Done(Copied),
    Failed { message: String, missing: bool },
}

/// What is packed.
#[derive(Debug, Clone)]
struct From {
    path: PathBuf,
    /// What the top of the stream is called.
    name: OsString,
    /// No magic links: the path is a container's.
    inside: bool,
}

/// Where it is unpacked.
#[derive(Debug, Clone)]
struct To {
    path: PathBuf,
    top: Top,
    inside: bool,
    /// Whom what is made belongs to; else the caller.
    owner: Option<(u32, u32)>,
}

/// What the first component of the stream's names means.
#[derive(Debug, Clone)]
enum Top {
    /// One file or directory, which gets the destination's name, or this one in the destination if that is a directory.
    Named(OsString),
    /// A directory whose contents go into the destination.
    Contents,
    /// There is none: all goes into the destination, which is there.
    None,
}

/// Copies `from` to `to`, as `cp -rHp` does: into `to` if that is a directory, else by that name; with `/.` at its end the
/// contents of `from`. In containers what is made belongs to the container's user, on the host to the caller. Permission
/// bits and times are kept; owners, extended attributes, set-user-id bits and hard links are not.
///
/// The calling process must have one thread. `home` is called when what is in containers was begun, and before a path of
/// the host is opened: a caller that is among the mounts of a root goes back to its own then.
///
/// # Errors
/// `from` is not there, `to` cannot be written, or the stream between breaks off. What was written until then stays.
pub fn copy(
    dirs: &runtime::Dirs,
    from: &Place,
    to: &Place,
    home: impl FnOnce() -> io::Result<()>,
) -> Result<Copied, CopyError> {
    if ![from, to].iter().any(|place| matches!(place, Place::Container { .. })) {
        return Err(CopyError::NoContainer);
    }
    let source = source_of(dirs, from)?;
    let target = target_of(dirs, to, source.as_ref())?;
    let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(system("make a pipe"));
    let (data_read, data_write) = pipe()?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(system("open /dev/null"))?;
    let packer = match (from, &source) {
        (Place::Container { id, .. }, Some(source)) => {
            let streams = [null.as_fd(), data_write.as_fd()];
            Some(Child::start(dirs, id, streams, |_, out| pack::pack(source, out))?)
        }
        _ => None,
    };
    let unpacker = match (to, &target) {
        (Place::Container { id, .. }, Some(target)) => {
            let streams = [data_read.as_fd(), null.as_fd()];
            Some(Child::start(dirs, id, streams, |from, _| unpack::unpack(target, from))?)
        }
        _ => None,
    };
    home().map_err(system("go back to our own mounts"))?;
    let ours = match (&packer, &unpacker) {
        (Some(_), Some(_)) => {
            drop((data_read, data_write));
            Ok(Copied::default())
        }
        (Some(_), None) => {
            drop(data_write);
            receive(target.as_ref(), data_read.into())
        }
        _ => {
            drop(data_read);
            send(source.as_ref(), data_write.into())
        }
    };
    finish(packer.map(Child::end), unpacker.map(Child::end), ours)
}

/// The reason that is told: what broke first, not that the other end of the pipe broke after it.
fn finish(
    packed: Option<Result<Copied, CopyError>>,
    unpacked: Option<Result<Copied, CopyError>>,
    ours: Result<Copied, CopyError>,
) -> Result<Copied, CopyError> {
    let mut copied = Copied::default();
    let mut errors = Vec::new();
    for (index, end) in [packed, unpacked, Some(ours)].into_iter().enumerate() {
        match end {
            // Only who writes counts what was written; we do where nobody else does.
            Some(Ok(more)) if more.entries > 0 => {
                copied = Copied { entries: more.entries, bytes: more.bytes, ..copied.and(more) }
            }
            Some(Ok(more)) => copied = copied.and(more),
            Some(Err(error)) => errors.push((error.is_broken_pipe() || error.is_cut_off(), index, error)),
            None => {}
        }
    }
    errors.sort_by_key(|(follows, index, _)| (*follows, *index));
    errors.into_iter().next().map_or(Ok(copied), |(_, _, error)| Err(error))
}

fn source_of(dirs: &runtime::Dirs, from: &Place) -> Result<Option<From>, CopyError> {
    Ok(match from {
        Place::Archive => None,
        Place::Host(path) => Some(From { path: path.clone(), name: top_name(path), inside: false }),
        Place::Container { id, path } => {
            let path = working_directory(dirs, id)?.join(path);
            Some(From { name: top_name(&path), path, inside: true })
        }
    })
}

fn target_of(dirs: &runtime::Dirs, to: &Place, from: Option<&From>) -> Result<Option<To>, CopyError> {
    let top = match from {
        None => Top::None,
        Some(from) if from.name == "." => Top::Contents,
        Some(from) => Top::Named(from.name.clone()),
    };
    Ok(match to {
        Place::Archive => None,
        Place::Host(path) => Some(To { path: path.clone(), top, inside: false, owner: None }),
        Place::Container { id, path } => {
            let user = status(dirs, id)?.process.map(|process| (process.user.uid, process.user.gid));
            Some(To { path: working_directory(dirs, id)?.join(path), top, inside: true, owner: user })
        }
    })
}

fn status(dirs: &runtime::Dirs, id: &str) -> Result<runtime::ContainerRecord, CopyError> {
    runtime::status(dirs, id).map_err(|error| CopyError::Runtime(Box::new(error)))
}

fn working_directory(dirs: &runtime::Dirs, id: &str) -> Result<PathBuf, CopyError> {
    let cwd = status(dirs, id)?.process.map(|process| process.cwd).unwrap_or_default();
    Ok(Path::new("/").join(cwd))
}

/// The last component; `.` where the path ends in one that is no name, and so means a directory's contents.
fn top_name(path: &Path) -> OsString {
    use std::os::unix::ffi::OsStrExt;
    let bytes = path.as_os_str().as_bytes();
    // `Path` passes over a dot at the end.
    if bytes.ends_with(b"/.") || bytes == b"." {
        return ".".into();
    }
    match path.components().next_back() {
        Some(Component::Normal(name)) => name.to_owned(),
        _ => ".".into(),
    }
}

/// The host's side where a container packs.
fn receive(to: Option<&To>, mut from: File) -> Result<Copied, CopyError> {
    match to {
        Some(to) => unpack::unpack(to, from),
        None => {
            let mut out = io::stdout().lock();
            io::copy(&mut from, &mut out).and_then(|_| out.flush()).map_err(system("write the archive"))?;
            Ok(Copied::default())
        }
    }
}

/// The host's side where a container unpacks.
fn send(from: Option<&From>, mut to: File) -> Result<Copied, CopyError> {
    match from {
        Some(from) => pack::pack(from, to),
        None => {
            let sent = io::copy(&mut io::stdin().lock(), &mut to);
            sent.map(|_| Copied::default()).map_err(system("pass the archive on"))
        }
    }
}

/// A child in a container, and what it reports.
struct Child {
    process: sys::process::Child,
    report: OwnedFd,
}

impl Child {
    fn start(
        dirs: &runtime::Dirs,
        id: &str,
        [input, output]: [BorrowedFd<'_>; 2],
        work: impl FnOnce(File, File) -> Result<Copied, CopyError>,
    ) -> Result<Child, CopyError> {
        let (report, theirs) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(system("make a pipe"))?;
        let stdio = [input, output, theirs.as_fd()];
        let process = runtime::inside(dirs, id, stdio, |entered| -> Infallible {
            let done =
                entered.map_err(|failure| CopyError::Inside { message: failure.to_string(), missing: false });
            let report =
                match done.and_then(|()| work(own(rustix::stdio::stdin())?, own(rustix::stdio::stdout())?)) {
                    Ok(copied) => Report::Done(copied),
                    Err(error) => Report::Failed { missing: error.is_missing(), message: chain(&error) },
                };
            if let (Ok(mut out), Ok(text)) = (own(rustix::stdio::stderr()), serde_json::to_vec(&report)) {
                let _ = out.write_all(&text);
            }
            sys::process::exit(0)
        });
        Ok(Child { process: process.map_err(|error| CopyError::Runtime(Box::new(error)))?, report })
    }

    /// Waits for its end.
    fn end(self) -> Result<Copied, CopyError> {
        let mut text = Vec::new();
        let read = File::from(self.report).take(MAX_REPORT_BYTES).read_to_end(&mut text);
        let pidfd = || WaitId::PidFd(self.process.pidfd.as_fd());
        let ended = rustix::io::retry_on_intr(|| rustix::process::waitid(pidfd(), WaitIdOptions::EXITED));
        read.map_err(system("hear from the process in the container"))?;
        match serde_json::from_slice(&text) {
            Ok(Report::Done(copied)) => Ok(copied),
            Ok(Report::Failed { message, missing }) => Err(CopyError::Inside { message, missing }),
            Err(_) => Err(CopyError::Inside {
                message: format!("the process in the container ended without a word: {ended:?}"),
                missing: false,
            }),
        }
    }
}

/// A descriptor of a standard stream, as a file.
fn own(fd: BorrowedFd<'_>) -> Result<File, CopyError> {
    let copy = rustix::io::fcntl_dupfd_cloexec(fd, 3).map_err(system("copy a descriptor"))?;
    Ok(copy.into())
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text = format!("{text}: {source}");
        cause = source.source();
    }
    text
}

/// A name for messages.
fn shown(name: &OsStr) -> String {
    Path::new(name).display().to_string()
}
