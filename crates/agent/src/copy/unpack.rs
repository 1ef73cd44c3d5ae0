//! A tar stream to files, believing nothing of what it says.
//!
//! Architecture invariant: nothing is written but below the destination. The destination's path is resolved once; below
//! it every parent is opened with openat2(2) `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS`, so that no symbolic link, made by
//! the archive or by somebody else meanwhile, leads anywhere; and what has a member's name is replaced, not written
//! through. Devices are not made, and set-user-id bits not set.

use super::{Copied, CopyError, To, Top, shown};
use image::tar_stream::{Kind, Member, TarStream, Time};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// The most that is taken out of one archive: times of directories are remembered to its end.
const MAX_MEMBERS: u64 = 10_000_000;
const BENEATH: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// Unpacks, and says what was left out.
pub(super) fn unpack(to: &To, from: File) -> Result<Copied, CopyError> {
    let mut stream = TarStream::new(BufReader::with_capacity(64 * 1024, from), MAX_MEMBERS);
    let mut unpacker = Unpacker { to, root: None, alone: None, times: Vec::new(), copied: Copied::default() };
    if matches!(to.top, Top::None) {
        unpacker.root = Some(open_directory(to, &to.path)?);
    }
    while let Some(member) = stream.next_member()? {
        unpacker.member(&member, &mut stream)?;
    }
    if unpacker.root.is_none() && unpacker.alone.is_none() {
        // An empty stream: who packs has said why.
        return Ok(unpacker.copied);
    }
    unpacker.set_times();
    Ok(unpacker.copied)
}

struct Unpacker<'a> {
    to: &'a To,
    /// The directory below which all is.
    root: Option<OwnedFd>,
    /// Where the one file is: a directory, and its name in it.
    alone: Option<(OwnedFd, OsString)>,
    /// Directories that were made, with their times and modes: set last, since writing into one changes its time, and
    /// one that is read-only could not be written into.
    times: Vec<(PathBuf, u32, Time)>,
    copied: Copied,
}

type Stream = TarStream<BufReader<File>>;

impl Unpacker<'_> {
    fn member(&mut self, member: &Member, stream: &mut Stream) -> Result<(), CopyError> {
        let names = names(member)?;
        let names = match self.to.top {
            Top::Named(_) => names.get(1..).unwrap_or_default(),
            Top::Contents | Top::None => names.as_slice(),
        };
        if self.root.is_none() && self.alone.is_none() {
            self.begin(member)?;
            if let Some((parent, name)) = self.alone.take() {
                let written = self.write(parent.as_fd(), &name, member, stream);
                self.alone = Some((parent, name));
                return written.map(drop);
            }
        }
        let Some((name, parents)) = names.split_last() else { return Ok(()) };
        let parent = self.open_parent(parents, member)?;
        if self.write(parent.as_fd(), name, member, stream)? {
            self.times.push((names.iter().collect(), member.mode, member.mtime));
        }
        Ok(())
    }

    /// What the first member says of the destination: cp's rules.
    fn begin(&mut self, member: &Member) -> Result<(), CopyError> {
        let path = &self.to.path;
        let is_directory = member.kind == Kind::Directory;
        let (parent, name) = match (open_directory(self.to, path), &self.to.top) {
            (Ok(existing), Top::Named(name)) => (existing, name.clone()),
            (Ok(existing), _) => {
                self.root = Some(existing);
                return Ok(());
            }
            (Err(error), _) => {
                let missing = matches!(&error, CopyError::Path { source, .. } if source.kind() == std::io::ErrorKind::NotFound);
                let is_file = matches!(&error, CopyError::Path { source, .. } if source.kind() == std::io::ErrorKind::NotADirectory);
                if is_file && is_directory {
                    return Err(CopyError::NotADirectory { path: path.display().to_string() });
                }
                let named_as_directory = path.as_os_str().as_bytes().ends_with(b"/");
                match path.file_name() {
                    Some(name) if (missing && (is_directory || !named_as_directory)) || is_file => {
                        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                        (open_directory(self.to, parent.unwrap_or(Path::new(".")))?, name.to_owned())
                    }
                    _ => return Err(error),
                }
            }
        };
        if is_directory {
            if self.make_directory(parent.as_fd(), &name, member)? {
                self.times.push((".".into(), member.mode, member.mtime));
            }
            self.root = Some(open_below(parent.as_fd(), Path::new(&name), member)?);
            self.copied.entries += 1;
        } else {
            self.alone = Some((parent, name));
        }
        Ok(())
    }

    fn open_parent(&self, names: &[OsString], member: &Member) -> Result<OwnedFd, CopyError> {
        let Some(root) = &self.root else {
            return Err(CopyError::Unsafe { member: member_name(member), reason: "it is below a file" });
        };
        let mut path = PathBuf::from(".");
        path.extend(names);
        match open_below(root.as_fd(), &path, member) {
            Err(CopyError::Path { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
            other => return other,
        }
        // Archives of others need not name all directories.
        let mut parent = open_below(root.as_fd(), Path::new("."), member)?;
        for name in names {
            match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
                Ok(()) => self
                    .own(parent.as_fd(), name)
                    .map_err(|errno| failed("set the owner of", member)(errno))?,
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(failed("make the directory of", member)(errno)),
            }
            parent = open_below(parent.as_fd(), Path::new(name), member)?;
        }
        Ok(parent)
    }

    /// Whether it is a directory that was not there.
    fn write(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        member: &Member,
        stream: &mut Stream,
    ) -> Result<bool, CopyError> {
        let mut made = false;
        match &member.kind {
            Kind::Directory => made = self.make_directory(parent, name, member)?,
            Kind::File { .. } => self.write_file(parent, name, member, stream)?,
            Kind::Symlink { target } => {
                clear(parent, name).map_err(failed("replace", member))?;
                rustix::fs::symlinkat(target.as_slice(), parent, name).map_err(failed("make", member))?;
                self.own(parent, name).map_err(failed("set the owner of", member))?;
                let times = timestamps(member.mtime);
                let _ = rustix::fs::utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW);
            }
            Kind::HardLink { target } => self.link(parent, name, target, member)?,
            Kind::CharacterDevice { .. } | Kind::BlockDevice { .. } | Kind::Fifo => {
                self.copied.note(false, format!("{}: neither file, directory nor link", member_name(member)));
                return Ok(false);
            }
        }
        self.copied.entries += 1;
        Ok(made)
    }

    /// Whether it was not there; one that is stays as it is.
    fn make_directory(
        &self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        member: &Member,
    ) -> Result<bool, CopyError> {
        match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
            Ok(()) => self.own(parent, name).map(|()| true).map_err(failed("set the owner of", member)),
            Err(Errno::EXIST) => {
                let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW);
                match stat.map_err(failed("look at", member))?.st_mode {
                    mode if FileType::from_raw_mode(mode).is_dir() => Ok(false),
                    mode if FileType::from_raw_mode(mode).is_symlink() => Err(CopyError::Unsafe {
                        member: member_name(member),
                        reason: "a symbolic link has its place, and nothing is written through one",
                    }),
                    _ => Err(CopyError::NotADirectory { path: member_name(member) }),
                }
            }
            Err(errno) => Err(failed("make the directory", member)(errno)),
        }
    }

    fn write_file(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        member: &Member,
        stream: &mut Stream,
    ) -> Result<(), CopyError> {
        let base = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let fd = match clear(parent, name) {
            Ok(()) => rustix::fs::openat(parent, name, base | OFlags::CREATE | OFlags::EXCL, mode),
            // Something is mounted there, such as /etc/hosts: that file is written.
            Err(Errno::BUSY) => {
                rustix::fs::openat(parent, name, base | OFlags::TRUNC | OFlags::NONBLOCK, mode)
            }
            Err(errno) => Err(errno),
        };
        let mut file = File::from(fd.map_err(failed("create", member))?);
        if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            return Err(CopyError::Unsafe {
                member: member_name(member),
                reason: "what has its place is no file",
            });
        }
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = stream.read_contents(&mut buffer)?;
            if count == 0 {
                break;
            }
            file.write_all(&buffer[..count]).map_err(|error| failed("write", member)(error))?;
            self.copied.bytes += count as u64;
        }
        if let Some((uid, gid)) = self.to.owner {
            let owned = rustix::fs::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            owned.map_err(failed("set the owner of", member))?;
        }
        let mode = Mode::from_raw_mode(member.mode & 0o777);
        rustix::fs::fchmod(&file, mode).map_err(failed("set the mode of", member))?;
        // A file system that keeps no times is no reason to fail.
        let _ = rustix::fs::futimens(&file, &timestamps(member.mtime));
        Ok(())
    }

    fn link(
        &self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        target: &[u8],
        member: &Member,
    ) -> Result<(), CopyError> {
        let target = names_of(Path::new(OsStr::from_bytes(target)), member)?;
        let Some((target_name, parents)) = target.split_last() else {
            return Err(CopyError::Unsafe { member: member_name(member), reason: "it is a link to nothing" });
        };
        let Some(root) = &self.root else {
            return Err(CopyError::Unsafe { member: member_name(member), reason: "it is below a file" });
        };
        let mut path = PathBuf::from(".");
        path.extend(parents);
        let directory = open_below(root.as_fd(), &path, member)?;
        clear(parent, name).map_err(failed("replace", member))?;
        rustix::fs::linkat(&directory, target_name, parent, name, AtFlags::empty())
            .map_err(failed("link", member))
    }

    fn own(&self, parent: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
        let Some((uid, gid)) = self.to.owner else { return Ok(()) };
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
    }

    /// The deepest first: a directory's mode may close it for us, and setting times needs none of it.
    fn set_times(&mut self) {
        let Some(root) = &self.root else { return };
        while let Some((path, mode, time)) = self.times.pop() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            // What was exchanged meanwhile is not ours any more.
            if let Ok(directory) = rustix::fs::openat2(root, &path, flags, Mode::empty(), BENEATH) {
                let _ = rustix::fs::fchmod(&directory, Mode::from_raw_mode(mode & 0o777));
                let _ = rustix::fs::futimens(&directory, &timestamps(time));
            }
        }
    }
}

/// A directory of the destination's path, which may have links: it is the caller's, or within the container's root.
fn open_directory(to: &To, path: &Path) -> Result<OwnedFd, CopyError> {
    let resolve = if to.inside { ResolveFlags::NO_MAGICLINKS } else { ResolveFlags::empty() };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::openat2(CWD, path, flags, Mode::empty(), resolve);
    opened.map_err(|errno| CopyError::path("open", path, errno))
}

fn open_below(root: BorrowedFd<'_>, path: &Path, member: &Member) -> Result<OwnedFd, CopyError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat2(root, path, flags, Mode::empty(), BENEATH).map_err(|errno| match errno {
        Errno::LOOP | Errno::XDEV => CopyError::Unsafe {
            member: member_name(member),
            reason: "a symbolic link leads to its place, and nothing is written through one",
        },
        errno => failed("open the directory of", member)(errno),
    })
}

/// Makes room: what is there goes, unless it is a directory with something in it.
fn clear(parent: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        // EPERM is what POSIX has for a directory.
        Err(Errno::ISDIR | Errno::PERM) => rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR),
        Err(errno) => Err(errno),
    }
}

fn names(member: &Member) -> Result<Vec<OsString>, CopyError> {
    names_of(Path::new(OsStr::from_bytes(&member.path)), member)
}

/// The components of a path in an archive; `.` is passed over, and what leads out is refused.
fn names_of(path: &Path, member: &Member) -> Result<Vec<OsString>, CopyError> {
    let wrong = |reason| CopyError::Unsafe { member: member_name(member), reason };
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name.to_owned()),
            Component::CurDir => {}
            Component::ParentDir => return Err(wrong("it has `..` in it")),
            // As tar(1): below the destination all the same.
            Component::RootDir | Component::Prefix(_) => {}
        }
    }
    Ok(names)
}

fn member_name(member: &Member) -> String {
    shown(OsStr::from_bytes(&member.path))
}

fn failed<E: Into<std::io::Error>>(action: &'static str, member: &Member) -> impl FnOnce(E) -> CopyError {
    let path = member_name(member);
    move |source| CopyError::Path { action, path, source: source.into() }
}

fn timestamps(time: Time) -> Timestamps {
    let time = Timespec { tv_sec: time.seconds, tv_nsec: i64::from(time.nanoseconds) };
    Timestamps { last_access: time, last_modification: time }
}
