//! Removing a container's files: never across a mount, never through a symbolic link, however deep.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::path::Path;

/// Directories deeper than this are first moved up: a container can nest them deeper than a stack or a table
/// of file descriptors goes.
const DEPTH_MAX: usize = 48;

/// Removes a directory and everything in it. Gone already is fine. A mount in it is `EXDEV` and stays, with
/// what it is mounted on.
pub fn remove_tree(path: &Path) -> Result<(), Errno> {
    let parent = match path.parent().map(|parent| open_directory(rustix::fs::CWD, parent)) {
        Some(Ok(parent)) => parent,
        Some(Err(Errno::NOENT)) => return Ok(()),
        Some(Err(errno)) => return Err(errno),
        None => return Err(Errno::INVAL),
    };
    let name = path.file_name().ok_or(Errno::INVAL)?;
    let name = CString::new(name.as_encoded_bytes()).map_err(|_| Errno::INVAL)?;
    let top = match open_below(parent.as_fd(), &name) {
        Ok(top) => top,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    let mut moved = 0;
    loop {
        let before = moved;
        empty(top.as_fd(), top.as_fd(), 0, &mut moved)?;
        // What was moved up is emptied by the next round, which finds less each time.
        if moved == before {
            return rustix::fs::unlinkat(&parent, &name, AtFlags::REMOVEDIR);
        }
    }
}

fn open_directory(at: BorrowedFd<'_>, path: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(at, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Opens a directory of `at` that is on the same mount.
fn open_below(at: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    rustix::fs::openat2(at, name, flags, Mode::empty(), resolve)
}

fn empty(directory: BorrowedFd<'_>, top: BorrowedFd<'_>, depth: usize, moved: &mut u64) -> Result<(), Errno> {
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        if entry.file_type() == FileType::Directory {
            remove_directory(directory, name, top, depth, moved)?;
            continue;
        }
        match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            // A file system that does not tell types.
            Err(Errno::ISDIR) => remove_directory(directory, name, top, depth, moved)?,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn remove_directory(
    directory: BorrowedFd<'_>,
    name: &CStr,
    top: BorrowedFd<'_>,
    depth: usize,
    moved: &mut u64,
) -> Result<(), Errno> {
    if depth >= DEPTH_MAX {
        *moved += 1;
        let unique =
            CString::new(format!(".deep-{}-{moved}", std::process::id())).map_err(|_| Errno::INVAL)?;
        return rustix::fs::renameat_with(directory, name, top, &unique, RenameFlags::NOREPLACE);
    }
    let below = open_below(directory, name)?;
    empty(below.as_fd(), top, depth + 1, moved)?;
    drop(below);
    match rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        // A directory below was moved up to the top, which may be this one.
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deep_wide_and_linked() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("stays"), "").unwrap();
        let tree = dir.path().join("tree");
        std::fs::create_dir(&tree).unwrap();
        std::os::unix::fs::symlink(&outside, tree.join("link")).unwrap();
        for number in 0..300 {
            std::fs::write(tree.join(format!("file{number}")), "x").unwrap();
        }
        let mut at = open_directory(rustix::fs::CWD, &tree).unwrap();
        for _ in 0..1000 {
            rustix::fs::mkdirat(&at, c"deep", Mode::from_raw_mode(0o700)).unwrap();
            rustix::fs::mkdirat(&at, c"beside", Mode::from_raw_mode(0o700)).unwrap();
            at = open_below(at.as_fd(), c"deep").unwrap();
        }
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
        assert!(outside.join("stays").exists());
        remove_tree(&tree).unwrap();
        remove_tree(&dir.path().join("no/such")).unwrap();
    }
}
