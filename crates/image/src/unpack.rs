//! Writes the members of one layer below a directory, in the form that overlayfs takes as a lower directory.
//!
//! **Architecture invariant:** nothing is written outside the directory, whatever the archive says. A member's parent
//! is resolved by the kernel within the directory (`openat2(2)` with `RESOLVE_IN_ROOT`, so that an absolute or
//! climbing symbolic link of the layer means the layer's own root), and the member itself is made with an
//! `…at` call on that descriptor that does not follow its last component. `..` in a member's own path is refused.
//!
//! Whiteouts (OCI image spec, "Layer Filesystem Changeset") become overlayfs' own: a character device 0/0, and
//! `trusted.overlay.opaque` (kernel `Documentation/filesystems/overlayfs.rst`).

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{
    self, AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

use crate::error::UnpackError;
use crate::tar_stream::{Kind, Member, TarStream, Time, lossy};

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const WHITEOUT_META: &[u8] = b".wh..wh.";
const OPAQUE_XATTR: &str = "trusted.overlay.opaque";
const MAX_PATH: usize = 4096;
const MAX_NAME: usize = 255;
/// openat2 gives up with EAGAIN when anything on the machine is renamed or mounted while it resolves `..`.
const RESOLVE_TRIES: usize = 1000;

/// Bounds of one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Members, extension headers included.
    pub members: u64,
    /// Bytes of the uncompressed archive.
    pub bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { members: 2_000_000, bytes: 64 << 30 }
    }
}

/// What a layer amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Unpacked {
    /// Bytes of contents.
    pub(crate) bytes: u64,
    /// Members written.
    pub(crate) members: u64,
}

/// Writes all members of `stream` below `root`, then sets the directories' times.
///
/// # Errors
/// The first member that cannot be written as it is; the caller throws `root` away.
pub(crate) fn unpack<R: io::Read>(
    stream: &mut TarStream<R>,
    root: BorrowedFd<'_>,
) -> Result<Unpacked, UnpackError> {
    let mut layer = Layer { root, parent: None, directory_times: Vec::new(), done: Unpacked::default() };
    while let Some(member) = stream.next_member()? {
        layer.write(&member, stream)?;
        layer.done.members += 1;
    }
    layer.set_directory_times()?;
    Ok(layer.done)
}

struct Layer<'a> {
    root: BorrowedFd<'a>,
    /// The parent of the last member: most members share it with their neighbours.
    parent: Option<(Vec<u8>, OwnedFd)>,
    /// Set last, since writing into a directory changes its time.
    directory_times: Vec<(Vec<u8>, Time)>,
    done: Unpacked,
}

/// What was at a member's place before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    Directory,
    Whiteout,
    Other,
}

impl Layer<'_> {
    fn write<R: io::Read>(&mut self, member: &Member, stream: &mut TarStream<R>) -> Result<(), UnpackError> {
        let (parent, name) = split(&member.path, member)?;
        let Some(name) = name else { return self.write_root(member) };
        self.open_parent(&parent, member)?;
        if name == OPAQUE {
            return self.mark_opaque(None, member);
        }
        if name.starts_with(WHITEOUT_META) {
            // Bookkeeping of aufs (hard link pool and the like): nothing that a layer holds.
            return Ok(());
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            return self.write_whiteout(hidden, member);
        }
        match &member.kind {
            Kind::Directory => self.write_directory(&name, member),
            Kind::File { .. } => self.write_file(&name, member, stream),
            Kind::HardLink { target } => self.write_hard_link(&name, target, member),
            Kind::Symlink { .. } | Kind::Fifo | Kind::CharacterDevice { .. } | Kind::BlockDevice { .. } => {
                self.write_special(&name, member)
            }
        }
    }

    /// The root itself (`./`): only its owner, mode and times.
    fn write_root(&mut self, member: &Member) -> Result<(), UnpackError> {
        if member.kind != Kind::Directory {
            return Err(UnpackError::Path {
                member: member.name(),
                reason: "only a directory can be the root",
            });
        }
        let root = open_directory(self.root, b".").map_err(failed("open", member))?;
        set_metadata(root.as_fd(), member)?;
        self.directory_times.push((b".".to_vec(), member.mtime));
        Ok(())
    }

    fn write_directory(&mut self, name: &[u8], member: &Member) -> Result<(), UnpackError> {
        let before = self.clear(name, true, member)?;
        let parent = self.parent_fd();
        if before != Before::Directory {
            fs::mkdirat(parent, name, Mode::RWXU).map_err(failed("make directory", member))?;
        }
        let directory = open_directory(parent, name).map_err(failed("open directory", member))?;
        set_metadata(directory.as_fd(), member)?;
        if before == Before::Whiteout {
            // The layer removes what is below and makes it anew: what is below must not show through.
            self.mark_opaque(Some(name), member)?;
        }
        self.directory_times.push((member.path.clone(), member.mtime));
        Ok(())
    }

    fn write_file<R: io::Read>(
        &mut self,
        name: &[u8],
        member: &Member,
        stream: &mut TarStream<R>,
    ) -> Result<(), UnpackError> {
        self.clear(name, false, member)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = fs::openat(self.parent_fd(), name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(failed("create file", member))?;
        let mut file = std::fs::File::from(fd);
        let mut buffer = [0_u8; 64 * 1024];
        loop {
            match stream.read_contents(&mut buffer)? {
                0 => break,
                read => {
                    let written = file.write_all(&buffer[..read]);
                    written.map_err(|source| io_error("write", member, source))?;
                    self.done.bytes += read as u64;
                }
            }
        }
        // After the contents: writing takes setuid bits and file capabilities away.
        set_metadata(file.as_fd(), member)?;
        fs::futimens(&file, &timestamps(member.mtime)).map_err(failed("set the times of", member))
    }

    fn write_hard_link(&mut self, name: &[u8], target: &[u8], member: &Member) -> Result<(), UnpackError> {
        let (target_parent, target_name) = split(target, member)?;
        let no_target = || UnpackError::LinkTarget { member: member.name(), target: lossy(target) };
        let target_name = target_name.ok_or_else(no_target)?;
        let directory = resolve(self.root, &target_parent).map_err(|errno| match errno {
            Errno::NOENT | Errno::NOTDIR => no_target(),
            errno => failed("resolve the link of", member)(errno),
        })?;
        // Before its place is cleared: a link to itself would lose its target.
        fs::statat(&directory, target_name.as_slice(), AtFlags::SYMLINK_NOFOLLOW).map_err(|_| no_target())?;
        if target_name == name && same_file(&directory, self.parent_fd()) {
            return Ok(());
        }
        self.clear(name, false, member)?;
        fs::linkat(&directory, target_name.as_slice(), self.parent_fd(), name, AtFlags::empty())
            .map_err(failed("link", member))
    }

    /// Everything that is made by one call and has no contents.
    fn write_special(&mut self, name: &[u8], member: &Member) -> Result<(), UnpackError> {
        self.clear(name, false, member)?;
        let parent = self.parent_fd();
        let mode = Mode::RUSR | Mode::WUSR;
        let node = |kind, major, minor| fs::mknodat(parent, name, kind, mode, fs::makedev(major, minor));
        let is_symlink = matches!(member.kind, Kind::Symlink { .. });
        match &member.kind {
            Kind::Symlink { target } => fs::symlinkat(target.as_slice(), parent, name),
            Kind::CharacterDevice { major, minor } => node(FileType::CharacterDevice, *major, *minor),
            Kind::BlockDevice { major, minor } => node(FileType::BlockDevice, *major, *minor),
            _ => node(FileType::Fifo, 0, 0),
        }
        .map_err(failed("make", member))?;
        let (uid, gid) = owner(member);
        fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(failed("set the owner of", member))?;
        if !is_symlink {
            // Nothing else writes below the root, so the name is still the node that was just made.
            fs::chmodat(parent, name, Mode::from_raw_mode(member.mode), AtFlags::empty())
                .map_err(failed("set the mode of", member))?;
        }
        fs::utimensat(parent, name, &timestamps(member.mtime), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(failed("set the times of", member))
    }

    /// Hides `hidden` of the layers below. What this very layer has there stays, wherever the whiteout stands.
    fn write_whiteout(&mut self, hidden: &[u8], member: &Member) -> Result<(), UnpackError> {
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(UnpackError::Path { member: member.name(), reason: "a whiteout of nothing" });
        }
        match self.look(hidden, member)? {
            Before::Nothing => fs::mknodat(
                self.parent_fd(),
                hidden,
                FileType::CharacterDevice,
                Mode::empty(),
                fs::makedev(0, 0),
            )
            .map_err(failed("make the whiteout", member)),
            Before::Directory => self.mark_opaque(Some(hidden), member),
            Before::Whiteout | Before::Other => Ok(()),
        }
    }

    /// Marks a directory as hiding all that the layers below have in it: the parent, or `name` in it.
    fn mark_opaque(&self, name: Option<&[u8]>, member: &Member) -> Result<(), UnpackError> {
        let directory = open_directory(self.parent_fd(), name.unwrap_or(b"."))
            .map_err(failed("open directory", member))?;
        fs::fsetxattr(&directory, OPAQUE_XATTR, b"y", XattrFlags::empty())
            .map_err(failed("mark as opaque the directory of", member))
    }

    fn look(&self, name: &[u8], member: &Member) -> Result<Before, UnpackError> {
        match fs::statat(self.parent_fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(Before::Nothing),
            Err(errno) => Err(failed("look at", member)(errno)),
            Ok(stat) => Ok(match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => Before::Directory,
                FileType::CharacterDevice if stat.st_rdev == 0 => Before::Whiteout,
                _ => Before::Other,
            }),
        }
    }

    /// Makes room for a member: a later one replaces an earlier one of the same path.
    fn clear(&mut self, name: &[u8], keep_directory: bool, member: &Member) -> Result<Before, UnpackError> {
        let before = self.look(name, member)?;
        let flags = match before {
            Before::Nothing => return Ok(before),
            Before::Directory if keep_directory => return Ok(before),
            Before::Directory => AtFlags::REMOVEDIR,
            Before::Whiteout | Before::Other => AtFlags::empty(),
        };
        fs::unlinkat(self.parent_fd(), name, flags).map_err(|errno| match errno {
            Errno::NOTEMPTY | Errno::EXIST => UnpackError::ReplacesDirectory { member: member.name() },
            errno => failed("replace", member)(errno),
        })?;
        Ok(before)
    }

    fn parent_fd(&self) -> BorrowedFd<'_> {
        self.parent.as_ref().map_or(self.root, |(_, fd)| fd.as_fd())
    }

    /// Resolves the parent within the root and makes what is missing of it (some writers leave directories out).
    fn open_parent(&mut self, path: &[u8], member: &Member) -> Result<(), UnpackError> {
        // Good only for the very next members: none of them, being in it, can replace it or what leads to it.
        if self.parent.as_ref().is_some_and(|(kept, _)| kept == path) {
            return Ok(());
        }
        self.parent = None;
        let fd = match resolve(self.root, path) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => self.make_directories(path, member)?,
            Err(errno) => return Err(self.parent_error(errno, path, member)),
        };
        self.parent = Some((path.to_vec(), fd));
        Ok(())
    }

    fn make_directories(&self, path: &[u8], member: &Member) -> Result<OwnedFd, UnpackError> {
        let mut directory = resolve(self.root, b"").map_err(failed("open the root for", member))?;
        let mut end = 0;
        for component in path.split(|b| *b == b'/') {
            end += component.len();
            let so_far = &path[..end];
            directory = match resolve(self.root, so_far) {
                Ok(next) => next,
                Err(Errno::NOENT) => {
                    let mode = Mode::from_raw_mode(0o755);
                    match fs::mkdirat(&directory, component, mode) {
                        Ok(()) => resolve(self.root, so_far).map_err(failed("open the parent of", member))?,
                        // A symbolic link that leads nowhere.
                        Err(errno) => return Err(self.parent_error(errno, so_far, member)),
                    }
                }
                Err(errno) => return Err(self.parent_error(errno, so_far, member)),
            };
            end += 1;
        }
        Ok(directory)
    }

    fn parent_error(&self, errno: Errno, path: &[u8], member: &Member) -> UnpackError {
        match errno {
            Errno::NOTDIR | Errno::EXIST | Errno::LOOP => {
                UnpackError::Parent { member: member.name(), parent: lossy(path) }
            }
            errno => failed("open the parent of", member)(errno),
        }
    }

    fn set_directory_times(&mut self) -> Result<(), UnpackError> {
        for (path, time) in std::mem::take(&mut self.directory_times) {
            let Ok((parent, name)) = components(&path).map(split_last) else { continue };
            let times = timestamps(time);
            let set = match name {
                None => open_directory(self.root, b".").and_then(|fd| fs::futimens(&fd, &times)),
                Some(name) => resolve(self.root, &parent)
                    .and_then(|fd| fs::utimensat(&fd, name.as_slice(), &times, AtFlags::SYMLINK_NOFOLLOW)),
            };
            match set {
                // Replaced by a later member.
                Ok(()) | Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(errno) => {
                    return Err(UnpackError::Io {
                        action: "set the times of",
                        member: lossy(&path),
                        source: errno.into(),
                    });
                }
            }
        }
        Ok(())
    }
}

/// A directory within the root, whatever symbolic links of the layer lie on the way.
fn resolve(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b"." } else { path };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let within = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    for _ in 0..RESOLVE_TRIES {
        match fs::openat2(root, path, flags, Mode::empty(), within) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
    Err(Errno::AGAIN)
}

/// A directory of `parent` itself, for calls that take no `O_PATH` descriptor.
fn open_directory(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(parent, name, flags, Mode::empty())
}

/// Owner, extended attributes, mode: in this order, since chown takes setuid bits and capabilities away.
fn set_metadata(fd: BorrowedFd<'_>, member: &Member) -> Result<(), UnpackError> {
    let (uid, gid) = owner(member);
    fs::fchown(fd, Some(uid), Some(gid)).map_err(failed("set the owner of", member))?;
    for (name, value) in member.xattrs.iter().filter(|(name, _)| is_kept(name)) {
        match fs::fsetxattr(fd, name.as_str(), value, XattrFlags::empty()) {
            // A store on a file system without user attributes (tmpfs before Linux 6.6).
            Err(Errno::OPNOTSUPP) if name.starts_with("user.") => {
                tracing::debug!(
                    member = member.name(),
                    name,
                    "the store's file system has no such attribute"
                );
            }
            result => result.map_err(failed("set an extended attribute of", member))?,
        }
    }
    fs::fchmod(fd, Mode::from_raw_mode(member.mode)).map_err(failed("set the mode of", member))
}

/// `trusted.overlay.*` would let a layer redirect overlayfs to other files; labels and signatures
/// (`security.selinux`, `security.ima`) are the machine's own.
fn is_kept(xattr: &str) -> bool {
    xattr == "security.capability" || (xattr.starts_with("user.") && !xattr.starts_with("user.overlay."))
}

fn owner(member: &Member) -> (Uid, Gid) {
    (Uid::from_raw(member.uid), Gid::from_raw(member.gid))
}

fn timestamps(time: Time) -> Timestamps {
    let point = Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() };
    Timestamps { last_access: point, last_modification: point }
}

fn same_file(a: &OwnedFd, b: BorrowedFd<'_>) -> bool {
    match (fs::fstat(a), fs::fstat(b)) {
        (Ok(a), Ok(b)) => (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino),
        _ => false,
    }
}

/// Parent and last component; none for the root itself.
fn split(path: &[u8], member: &Member) -> Result<(Vec<u8>, Option<Vec<u8>>), UnpackError> {
    components(path).map(split_last).map_err(|reason| match reason {
        PathFault::Climbs => UnpackError::Escape { member: member.name() },
        PathFault::Invalid(reason) => UnpackError::Path { member: member.name(), reason },
    })
}

fn split_last(mut components: Vec<&[u8]>) -> (Vec<u8>, Option<Vec<u8>>) {
    let name = components.pop().map(<[u8]>::to_vec);
    (components.join(&b'/'), name)
}

#[derive(Debug, PartialEq, Eq)]
enum PathFault {
    Climbs,
    Invalid(&'static str),
}

/// A leading slash means the layer's root, as docker and containerd take it.
fn components(path: &[u8]) -> Result<Vec<&[u8]>, PathFault> {
    if path.is_empty() {
        return Err(PathFault::Invalid("it is empty"));
    }
    if path.len() > MAX_PATH {
        return Err(PathFault::Invalid("it is longer than 4096 bytes"));
    }
    if path.contains(&0) {
        return Err(PathFault::Invalid("it holds a zero byte"));
    }
    let mut components = Vec::new();
    for component in path.split(|b| *b == b'/') {
        match component {
            b"" | b"." => {}
            b".." => return Err(PathFault::Climbs),
            long if long.len() > MAX_NAME => {
                return Err(PathFault::Invalid("a part is longer than 255 bytes"));
            }
            component => components.push(component),
        }
    }
    Ok(components)
}

fn failed(action: &'static str, member: &Member) -> impl FnOnce(Errno) -> UnpackError {
    let name = member.name();
    move |errno| UnpackError::Io { action, member: name, source: errno.into() }
}

fn io_error(action: &'static str, member: &Member, source: io::Error) -> UnpackError {
    UnpackError::Io { action, member: member.name(), source }
}

/// Opens a directory that this room made itself.
pub(crate) fn open_root(path: &std::path::Path) -> io::Result<OwnedFd> {
    let name: &OsStr = path.as_os_str();
    Ok(open_directory(CWD, name.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_apart() {
        assert_eq!(components(b"./a//b/").unwrap(), [&b"a"[..], b"b"]);
        assert_eq!(components(b"/etc/x").unwrap(), [&b"etc"[..], b"x"]);
        assert!(components(b"./").unwrap().is_empty());
        assert_eq!(components(b"a/../b"), Err(PathFault::Climbs));
        assert_eq!(components(b".."), Err(PathFault::Climbs));
        assert!(matches!(components(b"a\0b"), Err(PathFault::Invalid(_))));
        assert!(matches!(components(&[b'a'; 256]), Err(PathFault::Invalid(_))));
        assert!(components(b"..a/b..").is_ok());
    }

    #[test]
    fn only_harmless_attributes_are_kept() {
        for kept in ["user.x", "security.capability"] {
            assert!(is_kept(kept));
        }
        for dropped in
            ["trusted.overlay.redirect", "user.overlay.opaque", "security.selinux", "system.x", "trusted.x"]
        {
            assert!(!is_kept(dropped));
        }
    }
}
