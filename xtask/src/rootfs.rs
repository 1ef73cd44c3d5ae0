//! A root file system in the making: files from packages and files of our own, then one archive.

use std::collections::BTreeMap;
use std::io::{Cursor, Read, Write};

use anyhow::{Context, Result, bail};

/// What nobody reads in a container.
const LEFT_OUT: &[&str] = &[
    "usr/share/doc/",
    "usr/share/man/",
    "usr/share/info/",
    "usr/share/locale/",
    "usr/share/lintian/",
    "usr/share/bash-completion/",
    "usr/share/bug/",
    "usr/share/gdb/",
];

/// Directories that are links into `/usr` on Debian. Packages still ship files below their old names.
const MERGED: &[&str] = &["bin", "lib", "lib32", "lib64", "libx32", "sbin"];

/// Paths without a leading slash, in order, so that directories come before what is in them.
#[derive(Default)]
pub(crate) struct RootFs {
    entries: BTreeMap<String, Entry>,
}

#[derive(Clone)]
struct Entry {
    kind: Kind,
    mode: u32,
    uid: u64,
    gid: u64,
    mtime: u64,
}

#[derive(Clone)]
enum Kind {
    Directory,
    File(Vec<u8>),
    Symlink(String),
    HardLink(String),
}

impl RootFs {
    /// The directories that every root file system has, and Debian's links into `/usr`.
    pub(crate) fn new(merged_usr: bool) -> RootFs {
        let mut root = RootFs::default();
        for path in ["dev", "etc", "home", "mnt", "opt", "proc", "run", "sys", "usr", "var"] {
            root.directory(path, 0o755);
        }
        root.directory("root", 0o700);
        root.directory("tmp", 0o1777);
        if merged_usr {
            for name in MERGED {
                root.directory(&format!("usr/{name}"), 0o755);
                root.symlink(name, &format!("usr/{name}"));
            }
        }
        root
    }

    /// A directory of root's.
    pub(crate) fn directory(&mut self, path: &str, mode: u32) {
        self.add(path, Kind::Directory, mode);
    }

    /// A file of root's.
    pub(crate) fn file(&mut self, path: &str, mode: u32, contents: impl Into<Vec<u8>>) {
        self.add(path, Kind::File(contents.into()), mode);
    }

    /// A symbolic link.
    pub(crate) fn symlink(&mut self, path: &str, target: &str) {
        self.add(path, Kind::Symlink(target.to_owned()), 0o777);
    }

    /// Another name of a file.
    pub(crate) fn hard_link(&mut self, path: &str, target: &str) {
        self.add(path, Kind::HardLink(target.to_owned()), 0o755);
    }

    fn add(&mut self, path: &str, kind: Kind, mode: u32) {
        self.entries.insert(path.to_owned(), Entry { kind, mode, uid: 0, gid: 0, mtime: 0 });
    }

    /// Contents of a file that was added.
    pub(crate) fn contents(&self, path: &str) -> Option<&[u8]> {
        match &self.entries.get(path)?.kind {
            Kind::File(contents) => Some(contents),
            _ => None,
        }
    }

    /// All files of a package, at their places below `/usr`.
    pub(crate) fn add_package(&mut self, archive: &[u8]) -> Result<()> {
        let mut archive = tar::Archive::new(archive);
        for entry in archive.entries()? {
            let mut entry = entry?;
            let path = merged(&String::from_utf8_lossy(&entry.path_bytes()));
            let beneath = format!("{path}/");
            if path.is_empty()
                || LEFT_OUT.iter().any(|out| beneath.starts_with(out))
                || beneath.contains("/gconv/")
            {
                continue;
            }
            let link = entry.link_name_bytes().map(|name| String::from_utf8_lossy(&name).into_owned());
            let kind = match (entry.header().entry_type(), link) {
                (tar::EntryType::Directory, _) => Kind::Directory,
                (tar::EntryType::Symlink, Some(target)) => Kind::Symlink(target),
                (tar::EntryType::Link, Some(target)) => Kind::HardLink(merged(&target)),
                (tar::EntryType::Regular, _) => {
                    let mut contents = Vec::new();
                    entry.read_to_end(&mut contents)?;
                    Kind::File(contents)
                }
                (other, _) => bail!("{path} is of the unexpected type {other:?}"),
            };
            let header = entry.header();
            let new = Entry {
                kind,
                mode: header.mode()?,
                uid: header.uid()?,
                gid: header.gid()?,
                mtime: header.mtime()?,
            };
            // A directory that is there already may be one of ours, with a mode on purpose, or a link into /usr.
            let is_directory = matches!(new.kind, Kind::Directory);
            if !is_directory || !self.entries.contains_key(&path) {
                self.entries.insert(path, new);
            }
        }
        Ok(())
    }

    /// The whole as an uncompressed archive. Equal contents give equal bytes.
    pub(crate) fn into_archive(mut self) -> Result<Cursor<Vec<u8>>> {
        self.add_parents();
        let mut tar = tar::Builder::new(Vec::new());
        // A hard link comes after its target.
        let is_link = |entry: &Entry| matches!(entry.kind, Kind::HardLink(_));
        let (links, others): (Vec<_>, Vec<_>) = self.entries.iter().partition(|(_, entry)| is_link(entry));
        for (path, entry) in others.into_iter().chain(links) {
            append(&mut tar, path, entry).with_context(|| format!("cannot pack {path}"))?;
        }
        Ok(Cursor::new(tar.into_inner()?))
    }

    fn add_parents(&mut self) {
        let paths: Vec<_> = self.entries.keys().cloned().collect();
        for path in paths {
            for (end, _) in path.match_indices('/') {
                let parent = &path[..end];
                if !self.entries.contains_key(parent) {
                    self.directory(parent, 0o755);
                }
            }
        }
    }
}

fn append(tar: &mut tar::Builder<impl Write>, path: &str, entry: &Entry) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(entry.mode);
    header.set_uid(entry.uid);
    header.set_gid(entry.gid);
    header.set_mtime(entry.mtime);
    header.set_size(0);
    match &entry.kind {
        Kind::Directory => {
            header.set_entry_type(tar::EntryType::Directory);
            tar.append_data(&mut header, format!("{path}/"), std::io::empty())?;
        }
        Kind::File(contents) => {
            header.set_entry_type(tar::EntryType::Regular);
            header.set_size(contents.len() as u64);
            tar.append_data(&mut header, path, contents.as_slice())?;
        }
        Kind::Symlink(target) => {
            header.set_entry_type(tar::EntryType::Symlink);
            tar.append_link(&mut header, path, target)?;
        }
        Kind::HardLink(target) => {
            header.set_entry_type(tar::EntryType::Link);
            tar.append_link(&mut header, path, target)?;
        }
    }
    Ok(())
}

/// `./lib/x` → `usr/lib/x`.
fn merged(path: &str) -> String {
    let path = path.trim_start_matches("./").trim_matches('/');
    let first = path.split('/').next().unwrap_or_default();
    if MERGED.contains(&first) { format!("usr/{path}") } else { path.to_owned() }
}
