//! Path walk: from a start that is not itself left for what covers it, into each name and onto what is mounted
//! there (`fs/namei.c`).

use crate::errno::check;
use crate::files::Kind;
use crate::world::{Place, Task, World};
use crate::{Refused, RuleId};
use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The longest path, in bytes (`PATH_MAX` without the final NUL).
const PATH_MAX_BYTES: usize = 4095;
/// The most symbolic links in one walk (`MAXSYMLINKS`).
const LINKS_MAX: u32 = 40;

/// How symbolic links are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    /// All are followed.
    Follow,
    /// None may be met (`RESOLVE_NO_SYMLINKS`).
    Refuse,
}

/// Where a walk begins and what `/` and `..` lead to and cannot leave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start {
    pub(crate) root: Place,
    pub(crate) directory: Place,
}

impl Start {
    pub(crate) fn below(place: Place) -> Start {
        Start { root: place, directory: place }
    }

    pub(crate) fn of(task: &Task) -> Start {
        Start { root: task.root, directory: task.directory }
    }
}

impl World {
    /// Where a path leads.
    pub(crate) fn walk(&mut self, start: Start, path: &Path, links: Links) -> Result<Place, Refused> {
        let bytes = path.as_os_str().as_bytes();
        check(!bytes.is_empty(), RuleId::PathEmpty)?;
        self.walk_bytes(start, bytes, links)
    }

    fn walk_bytes(&mut self, start: Start, path: &[u8], links: Links) -> Result<Place, Refused> {
        check(path.len() <= PATH_MAX_BYTES, RuleId::PathTooLong)?;
        let mut at = if path.starts_with(b"/") { start.root } else { start.directory };
        let walked = self.walk_from(&mut at, start, path, links);
        if walked.is_err() {
            self.note_use(at);
        }
        walked.map(|()| at)
    }

    /// A walk that looked something up in a mount has used it: MNT_EXPIRE begins anew.
    pub(crate) fn note_use(&mut self, at: Place) {
        self.mounts[at.mount].expiry_mark = false;
    }

    /// Walks on; `end` is where it ended, also if it failed.
    fn walk_from(&mut self, end: &mut Place, start: Start, path: &[u8], links: Links) -> Result<(), Refused> {
        let mut path = Cow::Borrowed(path);
        let mut at = *end;
        let (mut from, mut links_met) = (0, 0);
        // A slash at the end has an empty name behind it, for which this must be a directory.
        while from <= path.len() {
            let to = path[from..].iter().position(|&byte| byte == b'/').map_or(path.len(), |len| from + len);
            let name = &path[from..to];
            from = to + 1;
            match name {
                b"" | b"." => self.check_directory(at)?,
                b".." => {
                    self.check_directory(at)?;
                    at = self.onto_mounts(self.parent_of(at, start.root));
                }
                name => {
                    let dentry = self.files.look_up(at.dentry, name)?;
                    if let Kind::Link(target) = &self.files[dentry].kind {
                        links_met += 1;
                        check(links == Links::Follow && links_met <= LINKS_MAX, RuleId::PathLinkLoop)?;
                        let mut joined = target.to_vec();
                        if let Some(rest) = path.get(to..) {
                            joined.extend_from_slice(rest);
                        }
                        check(joined.len() <= PATH_MAX_BYTES, RuleId::PathTooLong)?;
                        if joined.starts_with(b"/") {
                            at = start.root;
                        }
                        (path, from) = (Cow::Owned(joined), 0);
                        continue;
                    }
                    at = self.onto_mounts(Place { mount: at.mount, dentry });
                }
            }
            *end = at;
        }
        Ok(())
    }

    fn check_directory(&self, at: Place) -> Result<(), Refused> {
        check(matches!(self.files[at.dentry].kind, Kind::Directory | Kind::Assumed), RuleId::PathNotDirectory)
    }

    /// The topmost mount at a place.
    pub(crate) fn onto_mounts(&self, mut at: Place) -> Place {
        while let Some(child) = self.child_at(at.mount, at.dentry) {
            at = Place { mount: child, dentry: self.mounts[child].root };
        }
        at
    }

    fn parent_of(&self, mut at: Place, root: Place) -> Place {
        loop {
            if at == root {
                return at;
            }
            let mount = &self.mounts[at.mount];
            if at.dentry != mount.root {
                let parent = self.files[at.dentry].parent;
                let dentry = if parent.is_some() { parent } else { at.dentry };
                return Place { mount: at.mount, dentry };
            }
            match mount.parent.get() {
                Some(parent) => at = Place { mount: parent, dentry: mount.point },
                None => return at,
            }
        }
    }

    /// The directory that a path's last name is in, and that name; which may be none (of the root) or dots.
    pub(crate) fn walk_to_parent<'path>(
        &mut self,
        start: Start,
        path: &'path Path,
        links: Links,
    ) -> Result<(Place, &'path [u8]), Refused> {
        let bytes = path.as_os_str().as_bytes();
        check(!bytes.is_empty(), RuleId::PathEmpty)?;
        check(bytes.len() <= PATH_MAX_BYTES, RuleId::PathTooLong)?;
        let end = bytes.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1);
        let from = bytes[..end].iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        let name = &bytes[from..end];
        let directory =
            if from == 0 { start.directory } else { self.walk_bytes(start, &bytes[..from], links)? };
        self.note_use(directory);
        self.check_directory(directory)?;
        Ok((directory, name))
    }
}
