//! Where an import reads from: what kind of thing a path is, and the blobs in a layout directory or an archive.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::digest::is_lower_hex;
use crate::error::{Error, Result, UnpackError};
use crate::tar_stream::{Kind, TarStream, lossy};
use crate::unpack::Limits;
use crate::zstd::Frames;

const MAX_DOCUMENT: u64 = 4 << 20;
const MAX_LINKS: usize = 8;
/// A layout has a handful of members a layer.
const MAX_ARCHIVE_MEMBERS: u64 = 100_000;

/// What there is to import.
pub(crate) enum Source {
    /// A root file system as one (compressed) archive.
    RootFs(File),
    /// An OCI layout, as a directory or an archive.
    Oci(Blobs),
    /// What `docker save` writes (and wrote before it wrote OCI layouts).
    Docker(Blobs),
}

/// Named contents.
pub(crate) enum Blobs {
    Directory(PathBuf),
    Archive { path: PathBuf, file: File, members: HashMap<String, Place> },
}

/// Where a member of an uncompressed archive is.
pub(crate) enum Place {
    Contents {
        offset: u64,
        size: u64,
    },
    /// Old `docker save` has links between equal layers.
    Link(String),
}

impl Source {
    /// Finds out what `path` is by its contents, never by its name. `spool` makes an unnamed file for what has to be
    /// decompressed or is no regular file.
    pub(crate) fn open(path: &Path, limits: &Limits, spool: &Path) -> Result<Source> {
        let metadata = std::fs::metadata(path).map_err(Error::io("open", path))?;
        if metadata.is_dir() {
            return Source::open_directory(path);
        }
        let mut file = File::open(path).map_err(Error::io("open", path))?;
        if !metadata.is_file() {
            // A pipe can be read only once.
            file = spooled(path, file, limits, spool)?;
        }
        match first_kind(path, &file)? {
            First::RootFs => Ok(Source::RootFs(file)),
            First::Image => {
                if decoder_of(path, &file)? != Compression::None {
                    let decoded = decode(BufReader::new(reopen(path, &file)?), path)?;
                    file = spooled(path, decoded, limits, spool)?;
                }
                Source::open_archive(path, file)
            }
        }
    }

    fn open_directory(path: &Path) -> Result<Source> {
        let blobs = Blobs::Directory(path.to_owned());
        if path.join("index.json").is_file() {
            Ok(Source::Oci(blobs))
        } else if path.join("manifest.json").is_file() {
            Ok(Source::Docker(blobs))
        } else {
            let reason = "the directory has no index.json (OCI layout); pack a root file system as a tar archive first";
            Err(Error::NotAnImage { path: path.to_owned(), reason: reason.into() })
        }
    }

    fn open_archive(path: &Path, file: File) -> Result<Source> {
        let members = index_archive(path, &file)?;
        let (oci, docker) = (members.contains_key("index.json"), members.contains_key("manifest.json"));
        let blobs = Blobs::Archive { path: path.to_owned(), file, members };
        match (oci, docker) {
            (true, _) => Ok(Source::Oci(blobs)),
            (false, true) => Ok(Source::Docker(blobs)),
            (false, false) => Err(Error::NotAnImage {
                path: path.to_owned(),
                reason: "the archive has blobs, but neither index.json nor manifest.json".into(),
            }),
        }
    }
}

impl Blobs {
    pub(crate) fn path(&self) -> &Path {
        match self {
            Blobs::Directory(path) | Blobs::Archive { path, .. } => path,
        }
    }

    /// The contents of `name` (a path within the layout, never with `..`).
    pub(crate) fn open(&self, name: &str) -> Result<Box<dyn Read + '_>> {
        let missing = || Error::MissingBlob { path: self.path().to_owned(), blob: name.to_owned() };
        if name.is_empty() || name.starts_with('/') || name.split('/').any(|part| part == "..") {
            return Err(missing());
        }
        match self {
            Blobs::Directory(path) => {
                let path = path.join(name);
                match File::open(&path) {
                    Ok(file) => Ok(Box::new(file)),
                    Err(e) if e.kind() == io::ErrorKind::NotFound => Err(missing()),
                    Err(e) => Err(Error::io("open", path)(e)),
                }
            }
            Blobs::Archive { file, members, .. } => {
                let mut name = name.to_owned();
                for _ in 0..MAX_LINKS {
                    match members.get(&name) {
                        Some(Place::Contents { offset, size }) => {
                            return Ok(Box::new(Section { file, offset: *offset, left: *size }));
                        }
                        Some(Place::Link(target)) => name.clone_from(target),
                        None => break,
                    }
                }
                Err(missing())
            }
        }
    }

    /// A whole JSON document, bounded.
    pub(crate) fn read_document(&self, name: &str) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut reader = self.open(name)?.take(MAX_DOCUMENT + 1);
        reader.read_to_end(&mut bytes).map_err(Error::io("read", self.path().join(name)))?;
        if bytes.len() as u64 > MAX_DOCUMENT {
            return Err(Error::DocumentTooLong { document: name.to_owned(), limit: MAX_DOCUMENT });
        }
        Ok(bytes)
    }
}

/// A part of a file, read at its own position so that several can be open at once.
struct Section<'a> {
    file: &'a File,
    offset: u64,
    left: u64,
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = self.file.read_at(&mut buffer[..wanted], self.offset)?;
        self.offset += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}

enum First {
    RootFs,
    Image,
}

/// Looks at the members until one tells: a root file system has names at its top that no image archive has.
fn first_kind(path: &Path, file: &File) -> Result<First> {
    let reader = decode(BufReader::new(reopen(path, file)?), path)?;
    let mut stream = TarStream::new(reader, MAX_ARCHIVE_MEMBERS);
    let mut seen = 0;
    loop {
        match stream.next_member() {
            Ok(Some(member)) => {
                let name = member.name();
                let name = name.trim_start_matches("./").trim_matches('/');
                seen += 1;
                match name {
                    "" | "blobs" | "blobs/sha256" => {}
                    "oci-layout" | "index.json" | "manifest.json" | "repositories" => {
                        return Ok(First::Image);
                    }
                    name if name.starts_with("blobs/sha256/") || is_docker_member(name) => {
                        return Ok(First::Image);
                    }
                    _ => return Ok(First::RootFs),
                }
            }
            Ok(None) if seen > 0 => return Ok(First::RootFs),
            Ok(None) => return Err(not_an_image(path, "the archive is empty".into())),
            // Past the first members the damage is told with its place when the archive is unpacked.
            Err(_) if seen > 0 => return Ok(First::RootFs),
            Err(error) => {
                let cause = std::error::Error::source(&error).map(|e| format!(": {e}")).unwrap_or_default();
                return Err(not_an_image(path, format!("{error}{cause}")));
            }
        }
    }
}

/// `<64 digits>.json`, `<64 digits>.tar` and `<64 digits>/…`.
fn is_docker_member(name: &str) -> bool {
    let first = name.split('/').next().unwrap_or(name);
    let stem = first.strip_suffix(".json").or(first.strip_suffix(".tar")).unwrap_or(first);
    stem.len() == 64 && is_lower_hex(stem)
}

fn not_an_image(path: &Path, reason: String) -> Error {
    Error::NotAnImage { path: path.to_owned(), reason }
}

fn index_archive(path: &Path, file: &File) -> Result<HashMap<String, Place>> {
    let damaged =
        |source: UnpackError| Error::Layer { layer: path.display().to_string(), source: Box::new(source) };
    let mut stream = TarStream::new(Section { file, offset: 0, left: u64::MAX }, MAX_ARCHIVE_MEMBERS);
    let mut members = HashMap::new();
    while let Some(member) = stream.next_member().map_err(damaged)? {
        let name = normal(&member.name());
        let place = match member.kind {
            Kind::File { size } => Place::Contents { offset: stream.offset(), size },
            Kind::HardLink { target } => Place::Link(normal(&lossy(&target))),
            Kind::Symlink { target } => {
                let parent = name.rsplit_once('/').map_or("", |(parent, _)| parent);
                Place::Link(normal(&format!("{parent}/{}", lossy(&target))))
            }
            _ => continue,
        };
        members.insert(name, place);
    }
    Ok(members)
}

/// Without `.`, doubled slashes and `..`.
fn normal(name: &str) -> String {
    let mut parts = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// How a stream is packed, told by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

fn compression(first: &[u8], path: &Path) -> Result<Compression> {
    let unsupported = |name: &str, tool: &str| {
        Err(not_an_image(path, format!("it is packed with {name}; unpack it first with `{tool}`")))
    };
    match first {
        [0x1f, 0x8b, ..] => Ok(Compression::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Ok(Compression::Zstd),
        [0xfd, b'7', b'z', b'X', ..] => unsupported("xz", "unxz"),
        [b'B', b'Z', b'h', ..] => unsupported("bzip2", "bunzip2"),
        _ => Ok(Compression::None),
    }
}

fn decoder_of(path: &Path, file: &File) -> Result<Compression> {
    let mut first = [0_u8; 6];
    let read = file.read_at(&mut first, 0).map_err(Error::io("read", path))?;
    compression(&first[..read], path)
}

/// The stream without its compression. `path` is for messages.
pub(crate) fn decode<'a, R: BufRead + 'a>(mut reader: R, path: &Path) -> Result<Box<dyn Read + 'a>> {
    let first = reader.fill_buf().map_err(Error::io("read", path))?;
    match compression(first, path)? {
        Compression::None => Ok(Box::new(reader)),
        Compression::Gzip => Ok(Box::new(flate2::bufread::MultiGzDecoder::new(reader))),
        Compression::Zstd => Ok(Box::new(Frames::new(reader))),
    }
}

/// From the start again.
pub(crate) fn reopen(path: &Path, file: &File) -> Result<File> {
    let mut file = file.try_clone().map_err(Error::io("open", path))?;
    file.seek(SeekFrom::Start(0)).map_err(Error::io("read", path))?;
    Ok(file)
}

/// Everything that `reader` gives, in an unnamed file that goes away with its descriptor.
fn spooled(path: &Path, reader: impl Read, limits: &Limits, spool: &Path) -> Result<File> {
    let mut file = tempfile::tempfile_in(spool).map_err(Error::io("make a temporary file in", spool))?;
    let copied = io::copy(&mut reader.take(limits.bytes + 1), &mut file).map_err(Error::io("read", path))?;
    if copied > limits.bytes {
        let source = Box::new(UnpackError::TooLarge { limit: limits.bytes });
        return Err(Error::Layer { layer: path.display().to_string(), source });
    }
    file.seek(SeekFrom::Start(0)).map_err(Error::io("read", path))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_within_an_archive_are_made_normal() {
        assert_eq!(normal("./blobs//sha256/x"), "blobs/sha256/x");
        assert_eq!(normal("a/../b/layer.tar"), "b/layer.tar");
        assert_eq!(normal("../../x"), "x");
    }

    #[test]
    fn docker_members_are_known_by_their_name() {
        let id = "0".repeat(64);
        assert!(is_docker_member(&format!("{id}.json")));
        assert!(is_docker_member(&format!("{id}/layer.tar")));
        assert!(!is_docker_member("etc/passwd"));
        assert!(!is_docker_member(&format!("{id}.txt")));
    }
}
