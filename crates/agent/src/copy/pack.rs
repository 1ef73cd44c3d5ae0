//! A file or a tree to a tar stream. Symbolic links are packed as links; only the path that was named is followed.

use super::{Copied, CopyError, From, system};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};

/// How deep a tree may be: an open directory a level.
const MAX_DEPTH: usize = 256;
/// Files that say 0 bytes and have contents, as those of `/proc`: read up to this.
const MAX_UNSIZED_BYTES: u64 = 1 << 20;
/// File systems that are the kernel's own face; their files are copied only by name. Magic numbers of statfs(2), in order:
/// proc, sysfs, cgroup, cgroup2, devpts, mqueue, debugfs, tracefs, bpf, securityfs.
const OF_THE_KERNEL: [u64; 10] = [
    0x9fa0,
    0x6265_6572,
    0x0027_e0eb,
    0x6367_7270,
    0x1cd1,
    0x1980_0202,
    0x6462_6720,
    0x7472_6163,
    0xcafe_4a11,
    0x7363_6673,
];

/// A directory that is being packed.
struct Open {
    fd: OwnedFd,
    entries: Dir,
    /// Its name in the stream.
    name: PathBuf,
}

/// Packs, and says what was left out.
pub(super) fn pack(from: &From, out: File) -> Result<Copied, CopyError> {
    let fail = |errno: Errno| CopyError::path("open", &from.path, errno);
    let top = open_named(from, OFlags::PATH).map_err(fail)?;
    let stat = rustix::fs::fstat(&top).map_err(fail)?;
    let mut packer =
        Packer { out: Builder::new(BufWriter::with_capacity(64 * 1024, out)), copied: Copied::default() };
    let name = Path::new(&from.name);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => packer.tree(top.as_fd(), &stat, name)?,
        FileType::RegularFile => {
            // Again by name: a descriptor of its place alone cannot be read.
            let file = open_named(from, OFlags::RDONLY | OFlags::NONBLOCK).map_err(fail)?;
            let stat = rustix::fs::fstat(&file).map_err(fail)?;
            packer.file(file, &stat, name)?;
        }
        other => {
            let source = std::io::Error::other(format!("it is {}", kind_in_words(other)));
            return Err(CopyError::path("copy", &from.path, source));
        }
    }
    let end = |error| system("write the archive")(error);
    packer.out.into_inner().and_then(|mut out| out.flush()).map_err(end)?;
    Ok(packer.copied)
}

/// Opens what was named, where its links lead.
///
/// Where `fs.protected_symlinks` is on (proc_sys_fs(5)) root is refused a link in `/tmp` that another user has made. It
/// is followed by its text then: reading shows only to who copies what the container has.
fn open_named(from: &From, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::CLOEXEC;
    if !from.inside {
        return rustix::fs::open(&from.path, flags, Mode::empty());
    }
    let open = |path: &Path, resolve| rustix::fs::openat2(CWD, path, flags, Mode::empty(), resolve);
    match open(&from.path, ResolveFlags::NO_MAGICLINKS) {
        Err(Errno::ACCESS) => {
            let path = std::fs::canonicalize(&from.path).map_err(|_| Errno::ACCESS)?;
            open(&path, ResolveFlags::NO_SYMLINKS)
        }
        opened => opened,
    }
}

struct Packer {
    out: Builder<BufWriter<File>>,
    copied: Copied,
}

impl Packer {
    fn tree(&mut self, top: BorrowedFd<'_>, stat: &Stat, name: &Path) -> Result<(), CopyError> {
        let mut open = vec![self.directory(top, c".", stat, name)?];
        while let Some(directory) = open.last_mut() {
            let entry = match directory.entries.next() {
                Some(Ok(entry)) => entry,
                Some(Err(errno)) => {
                    let text = format!("{}: {}", directory.name.display(), std::io::Error::from(errno));
                    self.copied.note(true, text);
                    open.pop();
                    continue;
                }
                None => {
                    open.pop();
                    continue;
                }
            };
            let entry_name = entry.file_name();
            if matches!(entry_name.to_bytes(), b"." | b"..") {
                continue;
            }
            let name = directory.name.join(OsStr::from_bytes(entry_name.to_bytes()));
            if open.len() >= MAX_DEPTH {
                let source = std::io::Error::other(format!("it is more than {MAX_DEPTH} directories deep"));
                return Err(CopyError::path("copy", &name, source));
            }
            let Some(parent) = open.last().map(|directory| directory.fd.as_fd()) else { break };
            match self.entry(parent, entry_name, &name) {
                Ok(Some(directory)) => open.push(directory),
                Ok(None) => {}
                // Of what cannot be read, or has just gone, it is said at the end.
                Err(CopyError::Path { path, source, .. }) => {
                    self.copied.note(true, format!("{path}: {source}"))
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// One name of a directory; gives it open if it is one itself.
    fn entry(
        &mut self,
        parent: BorrowedFd<'_>,
        entry: &CStr,
        name: &Path,
    ) -> Result<Option<Open>, CopyError> {
        let fail = |errno: Errno| CopyError::path("read", name, errno);
        let stat = rustix::fs::statat(parent, entry, AtFlags::SYMLINK_NOFOLLOW).map_err(fail)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let directory = self.open_directory(parent, entry, name)?;
                let magic = rustix::fs::fstatfs(&directory).map_err(fail)?.f_type as u64;
                if OF_THE_KERNEL.contains(&magic) {
                    self.copied.note(false, format!("{}: of the kernel", name.display()));
                    return Ok(None);
                }
                self.header(EntryType::Directory, &stat, 0, name, std::io::empty())?;
                let entries = Dir::read_from(&directory).map_err(fail)?;
                Ok(Some(Open { fd: directory, entries, name: name.to_owned() }))
            }
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let file = rustix::fs::openat(parent, entry, flags, Mode::empty()).map_err(fail)?;
                let now = rustix::fs::fstat(&file).map_err(fail)?;
                if (now.st_dev, now.st_ino) != (stat.st_dev, stat.st_ino) {
                    self.copied.note(true, format!("{}: replaced while it was read", name.display()));
                    return Ok(None);
                }
                self.file(file, &now, name).map(|()| None)
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(parent, entry, Vec::new()).map_err(fail)?;
                let mut header = header_of(EntryType::Symlink, &stat, 0);
                let target = OsStr::from_bytes(target.to_bytes());
                self.out.append_link(&mut header, name, target).map_err(system("write the archive"))?;
                self.copied.entries += 1;
                Ok(None)
            }
            other => {
                self.copied.note(false, format!("{}: {}", name.display(), kind_in_words(other)));
                Ok(None)
            }
        }
    }

    fn directory(
        &mut self,
        at: BorrowedFd<'_>,
        entry: &CStr,
        stat: &Stat,
        name: &Path,
    ) -> Result<Open, CopyError> {
        let fd = self.open_directory(at, entry, name)?;
        self.header(EntryType::Directory, stat, 0, name, std::io::empty())?;
        let entries = Dir::read_from(&fd).map_err(|errno| CopyError::path("read", name, errno))?;
        Ok(Open { fd, entries, name: name.to_owned() })
    }

    fn open_directory(&self, at: BorrowedFd<'_>, entry: &CStr, name: &Path) -> Result<OwnedFd, CopyError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(at, entry, flags, Mode::empty())
            .map_err(|errno| CopyError::path("open", name, errno))
    }

    /// Exactly as many bytes as the header says, also where the file grows or shrinks meanwhile.
    fn file(&mut self, file: OwnedFd, stat: &Stat, name: &Path) -> Result<(), CopyError> {
        let mut file = File::from(file);
        if stat.st_size == 0 {
            let mut contents = Vec::new();
            let read = (&mut file).take(MAX_UNSIZED_BYTES).read_to_end(&mut contents);
            read.map_err(|error| CopyError::path("read", name, error))?;
            let size = contents.len() as u64;
            return self.header(EntryType::Regular, stat, size, name, contents.as_slice());
        }
        let size = stat.st_size.cast_unsigned();
        let mut exact = Exact { file, left: size, lost: None };
        self.header(EntryType::Regular, stat, size, name, &mut exact)?;
        if let Some(why) = exact.lost {
            self.copied.note(true, format!("{}: {why}; the rest is zeros", name.display()));
        }
        Ok(())
    }

    fn header(
        &mut self,
        kind: EntryType,
        stat: &Stat,
        size: u64,
        name: &Path,
        contents: impl Read,
    ) -> Result<(), CopyError> {
        let mut header = header_of(kind, stat, size);
        let mut name = name.as_os_str().to_owned();
        if kind == EntryType::Directory {
            name.push("/");
        }
        self.out.append_data(&mut header, &name, contents).map_err(system("write the archive"))?;
        self.copied.entries += 1;
        self.copied.bytes += size;
        Ok(())
    }
}

fn header_of(kind: EntryType, stat: &Stat, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(stat.st_mode & 0o7777);
    header.set_uid(stat.st_uid.into());
    header.set_gid(stat.st_gid.into());
    // Times before 1970 are those of no file that somebody misses.
    header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0));
    header
}

fn kind_in_words(kind: FileType) -> &'static str {
    match kind {
        FileType::Socket => "a socket",
        FileType::Fifo => "a named pipe",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Symlink => "a symbolic link",
        _ => "of an unknown type",
    }
}

/// A file's contents up to a size; zeros for what is missing of them.
struct Exact {
    file: File,
    left: u64,
    lost: Option<String>,
}

impl Read for Exact {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let buffer = &mut buffer[..wanted];
        let read = match (&self.lost, wanted) {
            (_, 0) => return Ok(0),
            (None, _) => match self.file.read(buffer) {
                Ok(0) => {
                    self.lost = Some("it became shorter while it was read".to_owned());
                    0
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Err(error),
                Err(error) => {
                    self.lost = Some(error.to_string());
                    0
                }
                Ok(read) => read,
            },
            (Some(_), _) => 0,
        };
        let read = if read == 0 {
            buffer.fill(0);
            wanted
        } else {
            read
        };
        self.left -= read as u64;
        Ok(read)
    }
}
