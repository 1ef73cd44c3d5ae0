//! What mkdir(1), touch(1), rmdir(1) and mv(1) do.

use super::super::outcome::{Fault, refused_by_tool};
use super::{Run, There, absolute};
use std::path::{Component, Path, PathBuf};
use subtree_model::{Missing, Op, Refused, RuleId};

impl Run<'_> {
    pub(super) fn create(&mut self, path: &Path, kind: Missing) -> Result<(), Fault> {
        self.call(&Op::Create { path: path.to_path_buf(), kind })
    }

    /// `mkdir -p`
    pub(super) fn make_parents(&mut self, path: &Path) -> Result<(), Fault> {
        let components: Vec<Component<'_>> = path.components().collect();
        let mut prefix = PathBuf::new();
        for (index, component) in components.iter().enumerate() {
            prefix.push(component);
            if !matches!(component, Component::Normal(_)) && index + 1 < components.len() {
                continue;
            }
            match self.there(&prefix) {
                Ok(There::Directory) => {}
                Ok(There::NoDirectory) if index + 1 == components.len() => {
                    return self.create(&prefix, Missing::Directory);
                }
                Ok(There::NoDirectory) => return Err(Refused::from(RuleId::PathNotDirectory).into()),
                Err(_) => self.create(&prefix, Missing::Directory)?,
            }
        }
        if components.is_empty() { Err(Refused::from(RuleId::PathMissing).into()) } else { Ok(()) }
    }

    pub(super) fn touch(&mut self, path: &Path, create: bool) -> Result<(), Fault> {
        match self.there(path) {
            Ok(there) => {
                // Whether it could be changed: what removing it, or something in it, would be told.
                let within = there == There::Directory;
                let path = if within { path.join("name that nobody has") } else { path.to_path_buf() };
                match self.simulation.world.clone().apply(self.task, &Op::Unlink { path }) {
                    Err(refused) if refused.rule == RuleId::PathReadOnly => Err(refused.into()),
                    _ => Ok(()),
                }
            }
            Err(refused) if !create && refused.rule == RuleId::PathMissing => Ok(()),
            Err(_) => self.create(path, Missing::File),
        }
    }

    pub(super) fn remove_directories(&mut self, path: &Path, parents: bool) -> Result<(), Fault> {
        self.call(&Op::RemoveDirectory { path: path.to_path_buf() })?;
        let above = path.ancestors().skip(1).filter(|above| parents && !above.as_os_str().is_empty());
        for path in above {
            self.call(&Op::RemoveDirectory { path: path.to_path_buf() })?;
        }
        Ok(())
    }

    /// `mv`: into a directory that exists; across mounts it is made anew, and the old removed.
    pub(super) fn rename(&mut self, from: &Path, to: &Path, into: bool) -> Result<(), Fault> {
        let found = self.there(from)?;
        let mut to = to.to_path_buf();
        if into && self.there(&to) == Ok(There::Directory) {
            match from.components().next_back() {
                Some(Component::Normal(name)) => to.push(name),
                _ => return Err(Refused::from(RuleId::PathNoName).into()),
            }
        }
        // Where it is not known what there is, looking would make it: the names have to do.
        let same = match self.simulation.known {
            true => self.simulation.world.is_same_file(self.task, from, &to),
            false => absolute(from) == absolute(&to),
        };
        if same {
            return Err(refused_by_tool("they are the same"));
        }
        let renamed = self.call(&Op::Rename { from: from.to_path_buf(), to: to.clone() });
        let crosses = |fault: &Fault| fault.rule == Some(RuleId::PathAcrossMounts);
        if !renamed.as_ref().is_err_and(crosses) {
            return renamed;
        }
        let path = from.to_path_buf();
        let remove = match found {
            There::Directory => Op::RemoveDirectory { path },
            There::NoDirectory => Op::Unlink { path },
        };
        // A tree of which nobody knows what is in it cannot be copied: what the kernel said stands.
        if found == There::Directory && !matches!(self.simulation.world.names(self.task, from), Ok(Some(_))) {
            return renamed;
        }
        match self.simulation.world.clone().apply(self.task, &remove) {
            Err(refused) if refused.rule == RuleId::DirectoryNotEmpty => {}
            Err(refused) if refused.rule == RuleId::MountPointInUse => {}
            Err(refused) => return Err(refused.into()),
            Ok(_) => {}
        }
        self.copy_tree(from, &to, found)?;
        self.remove_tree(from, found)
    }

    /// As `mv` copies what it cannot rename: name by name, also what is mounted in it.
    fn copy_tree(&mut self, from: &Path, to: &Path, what: There) -> Result<(), Fault> {
        if what == There::NoDirectory {
            return self.create(to, Missing::File);
        }
        // Looked at before anything is made: the copy may lie in what is copied.
        let names = self.names(from);
        self.create(to, Missing::Directory)?;
        self.each(&names, |run, (name, what)| run.copy_tree(&from.join(name), &to.join(name), *what))
    }

    /// As `rm -r`: a directory that something is mounted on stays, without what was in it.
    fn remove_tree(&mut self, path: &Path, what: There) -> Result<(), Fault> {
        if what == There::NoDirectory {
            return self.call(&Op::Unlink { path: path.to_path_buf() });
        }
        let names = self.names(path);
        let inside = self.each(&names, |run, (name, what)| run.remove_tree(&path.join(name), *what));
        inside?;
        self.call(&Op::RemoveDirectory { path: path.to_path_buf() })
    }

    fn names(&mut self, path: &Path) -> Vec<(std::ffi::OsString, There)> {
        let names = self.simulation.world.names(self.task, path).ok().flatten().unwrap_or_default();
        let kind = |directory| if directory { There::Directory } else { There::NoDirectory };
        names.into_iter().map(|(name, directory)| (name, kind(directory))).collect()
    }
}
