//! Archives for tests, hostile ones among them: headers are written as bytes, past every library's checks.
#![allow(dead_code)]

#[path = "../../../../xtask/src/oci_archive.rs"]
mod oci_archive;
pub(crate) mod registry;

use std::io::Write;
use std::path::{Path, PathBuf};

/// A tar archive in the making.
#[derive(Default, Clone)]
pub(crate) struct Tar {
    bytes: Vec<u8>,
}

/// What a test wants to say about a member, beside its name and type.
#[derive(Clone)]
pub(crate) struct Meta {
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    pub(crate) mtime: u64,
    pub(crate) device: (u32, u32),
}

impl Default for Meta {
    fn default() -> Self {
        Meta { mode: 0o644, uid: 0, gid: 0, mtime: 1_000_000_000, device: (0, 0) }
    }
}

impl Tar {
    pub(crate) fn new() -> Tar {
        Tar::default()
    }

    /// A header with any type, size and names, then `contents`, padded.
    pub(crate) fn raw(
        mut self,
        kind: u8,
        name: &[u8],
        link: &[u8],
        meta: &Meta,
        size: u64,
        contents: &[u8],
    ) -> Tar {
        let mut header = tar::Header::new_gnu();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link);
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_mode(meta.mode);
        header.set_uid(meta.uid);
        header.set_gid(meta.gid);
        header.set_mtime(meta.mtime);
        header.set_device_major(meta.device.0).unwrap();
        header.set_device_minor(meta.device.1).unwrap();
        header.set_size(size);
        header.set_cksum();
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(contents);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(self, name: &str, contents: &[u8]) -> Tar {
        self.file_with(name, contents, &Meta::default())
    }

    pub(crate) fn file_with(self, name: &str, contents: &[u8], meta: &Meta) -> Tar {
        self.raw(b'0', name.as_bytes(), b"", meta, contents.len() as u64, contents)
    }

    pub(crate) fn dir(self, name: &str) -> Tar {
        self.raw(b'5', name.as_bytes(), b"", &Meta { mode: 0o755, ..Meta::default() }, 0, b"")
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Tar {
        self.raw(b'2', name.as_bytes(), target.as_bytes(), &Meta::default(), 0, b"")
    }

    pub(crate) fn hard_link(self, name: &str, target: &str) -> Tar {
        self.raw(b'1', name.as_bytes(), target.as_bytes(), &Meta::default(), 0, b"")
    }

    /// Records for the member that follows.
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Tar {
        let mut bytes = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while length != rest + length.to_string().len() {
                length = rest + length.to_string().len();
            }
            write!(bytes, "{length} {key}=").unwrap();
            bytes.extend_from_slice(value);
            bytes.push(b'\n');
        }
        self.raw(b'x', b"pax", b"", &Meta::default(), bytes.len() as u64, &bytes)
    }

    /// The archive with its end.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(&[0; 1024]);
        self.bytes
    }
}

/// A temporary directory with a store in it and room beside it.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) store: image::Store,
}

impl World {
    pub(crate) fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let store = image::Store::open(dir.path().join("store")).unwrap();
        World { dir, store }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// An OCI archive of these layers, written by what assembles the images of demo and end-to-end tests.
    pub(crate) fn oci_archive(&self, name: &str, layers: &[Vec<u8>], config: &image::ImageConfig) -> PathBuf {
        let path = self.path(name);
        let mut archive = oci_archive::OciArchive::new(std::fs::File::create(&path).unwrap()).unwrap();
        for layer in layers {
            archive.layer(std::io::Cursor::new(layer)).unwrap();
        }
        archive.finish("localhost/test:1", &serde_json::to_string(config).unwrap()).unwrap();
        path
    }

    /// Names below a directory of the store, whether it is there or not.
    pub(crate) fn in_store(&self, name: &str) -> Vec<String> {
        let path = self.path("store").join(name);
        if path.exists() { names(&path) } else { Vec::new() }
    }
}

pub(crate) fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The whole chain of an error, as the command would print it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// Whether owners, devices and whiteouts can be made; says so where not, in the form that the test runner counts.
pub(crate) fn is_root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skip(test, "needs root for owners, devices and whiteouts");
    }
    root
}

/// Says that a test could not run, in the form that the test runner counts.
pub(crate) fn skip(test: &str, reason: &str) {
    // Not `println!`: libtest keeps that to itself when the test passes.
    let _ = writeln!(std::io::stdout(), "SKIPPED: {test}: {reason}");
}

/// This machine's architecture in the words of image documents.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
