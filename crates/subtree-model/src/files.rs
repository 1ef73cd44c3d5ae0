//! Names in file systems: dentries, which mounts hang on. Only names that someone used exist here. What a file
//! system holds beside is either known (file systems made in the model begin empty) or assumed: a live node's
//! file systems are not read, so that every path in them is taken to exist.

use crate::errno::check;
use crate::fast::FastMap;
use crate::mounts::{DentryIx, MountIx, SuperIx};
use crate::{Refused, RuleId};
use mount_table::Device;
use std::collections::HashMap;
use std::ops::{Index, IndexMut};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    File,
    Link(Box<[u8]>),
    /// Taken to be whatever is needed.
    Assumed,
}

#[derive(Debug, Clone)]
pub(crate) struct Dentry {
    pub(crate) file_system: SuperIx,
    pub(crate) parent: DentryIx,
    name: u32,
    pub(crate) kind: Kind,
    pub(crate) removed: bool,
    /// Names below it that exist.
    pub(crate) entries: u32,
    /// The mounts on it, latest first.
    pub(crate) first_mount: MountIx,
}

#[derive(Debug, Clone)]
pub(crate) struct Super {
    pub(crate) device: Device,
    pub(crate) root: DentryIx,
    /// Whether a name that is not here does not exist.
    pub(crate) known: bool,
    /// Whether nothing in it can be changed, whatever its mounts say.
    read_only: bool,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Files {
    dentries: Vec<Dentry>,
    supers: Vec<Super>,
    names: Vec<Box<[u8]>>,
    name_numbers: HashMap<Box<[u8]>, u32>,
    entries: FastMap<DentryIx>,
}

impl Index<DentryIx> for Files {
    type Output = Dentry;

    fn index(&self, at: DentryIx) -> &Dentry {
        &self.dentries[at.0 as usize]
    }
}

impl IndexMut<DentryIx> for Files {
    fn index_mut(&mut self, at: DentryIx) -> &mut Dentry {
        &mut self.dentries[at.0 as usize]
    }
}

impl Index<SuperIx> for Files {
    type Output = Super;

    fn index(&self, at: SuperIx) -> &Super {
        &self.supers[at.0 as usize]
    }
}

/// The longest name, in bytes (`NAME_MAX`).
pub(crate) const NAME_MAX_BYTES: usize = 255;

impl Files {
    pub(crate) fn add_super(&mut self, device: Device, root_kind: Kind, known: bool) -> SuperIx {
        let at = SuperIx(self.supers.len() as u32);
        let name = self.name_number(b"");
        let root = self.push(at, DentryIx::NONE, name, root_kind);
        self.supers.push(Super { device, root, known, read_only: false });
        at
    }

    pub(crate) fn root_of(&self, at: DentryIx) -> DentryIx {
        self[self[at].file_system].root
    }

    pub(crate) fn device_of(&self, at: DentryIx) -> Device {
        self[self[at].file_system].device
    }

    /// Whether nothing can be changed in the file system that has this dentry.
    pub(crate) fn is_read_only(&self, at: DentryIx) -> bool {
        self[self[at].file_system].read_only
    }

    /// Makes the file system of this dentry read-only or writable; whether that is a change.
    pub(crate) fn set_read_only(&mut self, at: DentryIx, read_only: bool) -> bool {
        let file_system = self[at].file_system;
        let entry = &mut self.supers[file_system.0 as usize];
        std::mem::replace(&mut entry.read_only, read_only) != read_only
    }

    fn push(&mut self, file_system: SuperIx, parent: DentryIx, name: u32, kind: Kind) -> DentryIx {
        let at = DentryIx(self.dentries.len() as u32);
        let first_mount = MountIx::NONE;
        self.dentries.push(Dentry {
            file_system,
            parent,
            name,
            kind,
            removed: false,
            entries: 0,
            first_mount,
        });
        at
    }

    fn name_number(&mut self, name: &[u8]) -> u32 {
        if let Some(&number) = self.name_numbers.get(name) {
            return number;
        }
        let number = self.names.len() as u32;
        self.names.push(name.into());
        self.name_numbers.insert(name.into(), number);
        number
    }

    fn key(directory: DentryIx, name: u32) -> u64 {
        u64::from(directory.0) << 32 | u64::from(name)
    }

    /// Whether numbers are left for more names.
    pub(crate) fn has_room(&self) -> bool {
        self.dentries.len() < u32::MAX as usize / 2 && self.supers.len() < u32::MAX as usize / 2
    }

    pub(crate) fn existing(&self, directory: DentryIx, name: &[u8]) -> Option<DentryIx> {
        let number = *self.name_numbers.get(name)?;
        self.entries.get(&Files::key(directory, number)).copied()
    }

    /// A name in a directory, which comes into being if the file system's contents are assumed.
    pub(crate) fn look_up(&mut self, directory: DentryIx, name: &[u8]) -> Result<DentryIx, Refused> {
        check(matches!(self[directory].kind, Kind::Directory | Kind::Assumed), RuleId::PathNotDirectory)?;
        check(name.len() <= NAME_MAX_BYTES, RuleId::PathTooLong)?;
        match self.existing(directory, name) {
            Some(found) => Ok(found),
            None if self[self[directory].file_system].known || self[directory].removed => {
                Err(RuleId::PathMissing.into())
            }
            None => self.create(directory, name, Kind::Assumed),
        }
    }

    /// A new name in a directory that has none such.
    pub(crate) fn create(
        &mut self,
        directory: DentryIx,
        name: &[u8],
        kind: Kind,
    ) -> Result<DentryIx, Refused> {
        check(name.len() <= NAME_MAX_BYTES, RuleId::PathTooLong)?;
        check(!self[directory].removed, RuleId::PathMissing)?;
        check(self.has_room(), RuleId::TooLarge)?;
        let number = self.name_number(name);
        let at = self.push(self[directory].file_system, directory, number, kind);
        self.entries.insert(Files::key(directory, number), at);
        self[directory].entries += 1;
        Ok(at)
    }

    /// A directory of this name that was removed; nothing of the name need exist.
    pub(crate) fn create_removed(&mut self, directory: DentryIx, name: &[u8]) -> Result<DentryIx, Refused> {
        check(self.has_room(), RuleId::TooLarge)?;
        let number = self.name_number(name);
        let at = self.push(self[directory].file_system, directory, number, Kind::Assumed);
        self[at].removed = true;
        Ok(at)
    }

    /// Takes a name away; the dentry stays for whoever holds it.
    pub(crate) fn remove(&mut self, at: DentryIx) {
        self.unlink(at);
        self[at].removed = true;
    }

    fn unlink(&mut self, at: DentryIx) {
        let Dentry { parent, name, .. } = self[at];
        self.entries.remove(&Files::key(parent, name));
        self[parent].entries -= 1;
    }

    /// Moves a name, with all below it, to a place that is free.
    pub(crate) fn rename(&mut self, at: DentryIx, directory: DentryIx, name: &[u8]) {
        self.unlink(at);
        let number = self.name_number(name);
        self.entries.insert(Files::key(directory, number), at);
        self[directory].entries += 1;
        self[at].parent = directory;
        self[at].name = number;
    }

    /// The names in a directory, in the order in which they were made.
    pub(crate) fn names_in(&self, directory: DentryIx) -> impl Iterator<Item = (&[u8], &Kind)> {
        let here = move |dentry: &&Dentry| dentry.parent == directory && !dentry.removed;
        self.dentries
            .iter()
            .filter(here)
            .map(|dentry| (self.names[dentry.name as usize].as_ref(), &dentry.kind))
    }

    /// Whether `at` is `above` or below it.
    pub(crate) fn is_below(&self, mut at: DentryIx, above: DentryIx) -> bool {
        if self[at].file_system != self[above].file_system {
            return false;
        }
        if self[above].parent.is_none() {
            return true;
        }
        while at != above {
            at = self[at].parent;
            if at.is_none() {
                return false;
            }
        }
        true
    }

    /// Whether one is surely a directory and the other surely not.
    pub(crate) fn differ_in_type(&self, a: DentryIx, b: DentryIx) -> bool {
        let directory = |at: DentryIx| match self[at].kind {
            Kind::Directory => Some(true),
            Kind::Assumed => None,
            Kind::File | Kind::Link(_) => Some(false),
        };
        matches!((directory(a), directory(b)), (Some(a), Some(b)) if a != b)
    }

    /// Appends the path from `above` (not in it) down to `at`, each name after a slash.
    pub(crate) fn push_path(&self, at: DentryIx, above: DentryIx, out: &mut Vec<u8>) {
        let mut names = Vec::new();
        let mut dentry = at;
        while dentry != above && self[dentry].parent.is_some() {
            names.push(self[dentry].name);
            dentry = self[dentry].parent;
        }
        for &name in names.iter().rev() {
            out.push(b'/');
            out.extend_from_slice(&self.names[name as usize]);
        }
    }
}
