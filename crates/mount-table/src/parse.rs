//! `/proc/PID/mountinfo` from bytes, proc_pid_mountinfo(5) and `fs/proc_namespace.c show_mountinfo()`.

use crate::text::{readable, unescape};
use crate::{Device, Mount, MountId, MountTable, PeerGroup, Propagation};
use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// The most rows that a table may have. `fs.mount-max` is 100,000 by default and can be raised; a table beyond
/// this is refused rather than held in memory.
pub const MAX_ROWS: usize = 1 << 20;

/// The most optional fields (`shared:N`, …) of one row; the kernel knows four.
pub const MAX_OPTIONAL_FIELDS: usize = 64;

/// Why some bytes are no mountinfo.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("mountinfo line {line}, {field}: {kind}")]
pub struct ParseError {
    /// The line, counted from 1.
    pub line: usize,
    /// The field of that line.
    pub field: Field,
    /// What is wrong with it.
    pub kind: ParseErrorKind,
}

/// What is wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseErrorKind {
    /// The line ends before it.
    #[error("missing")]
    Missing,
    /// A decimal number is expected.
    #[error("not a number")]
    NotANumber,
    /// `major:minor` is expected.
    #[error("not a device number (major:minor)")]
    NotADevice,
    /// More of it than is taken.
    #[error("too many")]
    TooMany,
}

/// A field of a mountinfo row, in the order of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The row itself.
    Row,
    /// Mount id.
    Id,
    /// The parent's mount id.
    Parent,
    /// `major:minor`.
    Device,
    /// The root inside the file system.
    Root,
    /// The mount point.
    MountPoint,
    /// Per-mount options.
    Options,
    /// Optional fields up to the separator `-`.
    Optional,
    /// File system type.
    FsType,
    /// Source.
    Source,
    /// Per-superblock options.
    SuperOptions,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Field::Row => "row",
            Field::Id => "mount id",
            Field::Parent => "parent id",
            Field::Device => "device",
            Field::Root => "root",
            Field::MountPoint => "mount point",
            Field::Options => "options",
            Field::Optional => "optional fields",
            Field::FsType => "file system type",
            Field::Source => "source",
            Field::SuperOptions => "super options",
        })
    }
}

impl MountTable {
    /// Parses a whole mountinfo. Empty lines are passed over; a last line without newline is taken as a row
    /// (whoever reads the file sees to it that it is whole: one read(2) gives about a page, not the file).
    ///
    /// # Errors
    /// The first row that has not the documented shape; nothing is returned then.
    pub fn parse_mountinfo(bytes: &[u8]) -> Result<MountTable, ParseError> {
        let mut mounts = Vec::with_capacity((bytes.len() / 80).min(MAX_ROWS));
        for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            if line.is_empty() {
                continue;
            }
            let at = |(field, kind)| ParseError { line: index + 1, field, kind };
            if mounts.len() == MAX_ROWS {
                return Err(at((Field::Row, ParseErrorKind::TooMany)));
            }
            mounts.push(parse_row(line).map_err(at)?);
        }
        Ok(MountTable { mounts })
    }
}

type FieldError = (Field, ParseErrorKind);

/// One line. Fields are separated by exactly one space: an empty source (`mount -t tmpfs '' …`) is an empty
/// field, not a missing one.
fn parse_row(line: &[u8]) -> Result<Mount, FieldError> {
    let mut rest = Fields { rest: Some(line) };
    let id = MountId(rest.number(Field::Id)?);
    let parent = MountId(rest.number(Field::Parent)?);
    let device = parse_device(rest.next(Field::Device)?)?;
    let (root, deleted) = parse_root(rest.next(Field::Root)?);
    let mount_point = path(unescape(rest.next(Field::MountPoint)?).into_owned());
    let options = readable(rest.next(Field::Options)?);
    let propagation = parse_optional(&mut rest)?;
    let fs_type = readable(&unescape(rest.next(Field::FsType)?));
    let source = readable(&unescape(rest.next(Field::Source)?));
    // A file system may print a space inside its options unescaped: the rest of the line is theirs.
    let super_options = readable(rest.rest.ok_or((Field::SuperOptions, ParseErrorKind::Missing))?);
    Ok(Mount {
        id,
        parent,
        device,
        root,
        deleted,
        mount_point,
        options,
        propagation,
        fs_type,
        source,
        super_options,
    })
}

/// The fields of a line that are still to come.
struct Fields<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    fn next(&mut self, field: Field) -> Result<&'a [u8], FieldError> {
        let rest = self.rest.take().ok_or((field, ParseErrorKind::Missing))?;
        match rest.iter().position(|&byte| byte == b' ') {
            Some(at) => {
                self.rest = Some(&rest[at + 1..]);
                Ok(&rest[..at])
            }
            None => Ok(rest),
        }
    }

    fn number(&mut self, field: Field) -> Result<u64, FieldError> {
        let text = self.next(field)?;
        parse_number(text).ok_or((field, ParseErrorKind::NotANumber))
    }
}

fn parse_number(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |number, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

fn parse_device(text: &[u8]) -> Result<Device, FieldError> {
    let part = |text: &[u8]| parse_number(text).and_then(|number| u32::try_from(number).ok());
    text.iter()
        .position(|&byte| byte == b':')
        .and_then(|at| Some(Device { major: part(&text[..at])?, minor: part(&text[at + 1..])? }))
        .ok_or((Field::Device, ParseErrorKind::NotADevice))
}

fn parse_root(text: &[u8]) -> (PathBuf, bool) {
    split_deleted(unescape(text).into_owned())
}

/// A mount's root as the kernel says it, unescaped, and whether it was removed (`//deleted` behind it). No path of a file
/// system holds `//`, so the mark is unambiguous.
pub fn split_deleted(mut root: Vec<u8>) -> (PathBuf, bool) {
    let deleted = root.ends_with(b"//deleted");
    if deleted {
        root.truncate(root.len() - b"//deleted".len());
        if root.is_empty() {
            root.push(b'/');
        }
    }
    (path(root), deleted)
}

/// `tag[:value]` up to `-`, in any order; tags that are not known are passed over, as the manual asks.
fn parse_optional(rest: &mut Fields<'_>) -> Result<Propagation, FieldError> {
    let mut propagation = Propagation::default();
    let group = |text: &[u8]| {
        parse_number(text).map(|id| Some(PeerGroup(id))).ok_or((Field::Optional, ParseErrorKind::NotANumber))
    };
    for _ in 0..=MAX_OPTIONAL_FIELDS {
        let text = rest.next(Field::Optional)?;
        if text == b"-" {
            return Ok(propagation);
        } else if let Some(id) = text.strip_prefix(b"shared:") {
            propagation.shared = group(id)?;
        } else if let Some(id) = text.strip_prefix(b"master:") {
            propagation.master = group(id)?;
        } else if let Some(id) = text.strip_prefix(b"propagate_from:") {
            propagation.propagate_from = group(id)?;
        } else if text == b"unbindable" {
            propagation.unbindable = true;
        }
    }
    Err((Field::Optional, ParseErrorKind::TooMany))
}

fn path(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes))
}
