//! Reads a tar stream member by member, with a bound on everything that the archive can make us hold.
//!
//! The `tar` crate decodes header fields; its iterator is not used, because it reads extension headers of any size into
//! memory and cuts pax records at line feeds, which `security.capability` and other binary values contain. Records
//! are taken by their length here (pax, POSIX.1-2017 `pax` "Extended Header").

use std::io::{self, Read};

use crate::digest::TooLong;
use crate::error::UnpackError;

const BLOCK: u64 = 512;
/// Path and link extension headers: no path is longer than `PATH_MAX`, with room for other systems' ones.
const MAX_LONG_NAME: u64 = 64 * 1024;
/// A pax header holds extended attributes too: each up to 64 KiB on Linux.
const MAX_PAX: u64 = 1024 * 1024;

/// What a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields say what they are")]
pub enum Kind {
    /// A file, whose contents follow.
    File { size: u64 },
    /// A directory.
    Directory,
    /// A symbolic link to any bytes.
    Symlink { target: Vec<u8> },
    /// Another name of an earlier member.
    HardLink { target: Vec<u8> },
    /// A character device.
    CharacterDevice { major: u32, minor: u32 },
    /// A block device.
    BlockDevice { major: u32, minor: u32 },
    /// A named pipe.
    Fifo,
}

/// A point in time: seconds since 1970 and nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Time {
    /// Since 1970.
    pub seconds: i64,
    /// Less than a second.
    pub nanoseconds: u32,
}

/// One member's header, extension headers applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// As it stands in the archive: any bytes, `..` too.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// The owner's id.
    pub uid: u32,
    /// The group's id.
    pub gid: u32,
    /// When it was changed.
    pub mtime: Time,
    /// Names and values from `SCHILY.xattr.` records.
    pub xattrs: Vec<(String, Vec<u8>)>,
}

impl Member {
    /// The path for messages.
    pub(crate) fn name(&self) -> String {
        lossy(&self.path)
    }
}

pub(crate) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(4096)]).into_owned()
}

/// A tar stream between two members.
#[derive(Debug)]
pub struct TarStream<R> {
    reader: R,
    offset: u64,
    /// Bytes of the current member that were not read yet, then its padding.
    remaining: u64,
    padding: u64,
    members: u64,
    max_members: u64,
    current: String,
}

#[derive(Default)]
struct Extensions {
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    pax: Vec<(String, Vec<u8>)>,
}

impl<R: Read> TarStream<R> {
    /// Of an archive of at most so many members.
    pub fn new(reader: R, max_members: u64) -> Self {
        TarStream {
            reader,
            offset: 0,
            remaining: 0,
            padding: 0,
            members: 0,
            max_members,
            current: String::new(),
        }
    }

    /// Where the current member's contents begin, in bytes from the start of the archive, when nothing of
    /// them was read yet.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The reader, for what comes after the archive's end.
    pub(crate) fn into_inner(self) -> R {
        self.reader
    }

    /// Skips what is left of the current member and reads the next one's header. `None` at the end.
    ///
    /// # Errors
    /// The archive cannot be read, is malformed or cut off, or has what is not understood.
    pub fn next_member(&mut self) -> Result<Option<Member>, UnpackError> {
        let mut extensions = Extensions::default();
        loop {
            self.skip()?;
            let Some(header) = self.read_header()? else { return Ok(None) };
            self.members += 1;
            if self.members > self.max_members {
                return Err(UnpackError::TooManyMembers { limit: self.max_members });
            }
            let size =
                or_zero(&header, 124..136, header.entry_size()).map_err(|e| self.malformed(e.to_string()))?;
            match header.entry_type().as_byte() {
                b'L' => extensions.long_name = Some(trim_nul(self.read_extension(size, MAX_LONG_NAME)?)),
                b'K' => extensions.long_link = Some(trim_nul(self.read_extension(size, MAX_LONG_NAME)?)),
                b'x' => {
                    let records = self.read_extension(size, MAX_PAX)?;
                    extensions.pax = parse_pax(&records).map_err(|reason| self.malformed(reason))?;
                }
                // Defaults for all members that follow: `git archive` writes a comment there, nobody else uses it.
                b'g' => drop(self.read_extension(size, MAX_PAX)?),
                _ => return self.member(&header, size, extensions).map(Some),
            }
        }
    }

    /// Reads contents of the current member; 0 at its end.
    ///
    /// # Errors
    /// The archive cannot be read, is malformed or cut off, or has what is not understood.
    pub fn read_contents(&mut self, buffer: &mut [u8]) -> Result<usize, UnpackError> {
        let wanted = buffer.len().min(usize::try_from(self.remaining).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        let read = self.read_some(&mut buffer[..wanted])?;
        self.remaining -= read as u64;
        Ok(read)
    }

    fn skip(&mut self) -> Result<(), UnpackError> {
        let mut left = self.remaining.saturating_add(self.padding);
        let mut buffer = [0_u8; 32 * 1024];
        while left > 0 {
            let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            left -= self.read_some(&mut buffer[..wanted])? as u64;
        }
        (self.remaining, self.padding) = (0, 0);
        Ok(())
    }

    /// At least one byte, or an error.
    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, UnpackError> {
        match self.read_raw(buffer)? {
            0 => Err(UnpackError::Truncated { offset: self.offset, member: self.current.clone() }),
            read => Ok(read),
        }
    }

    fn read_raw(&mut self, buffer: &mut [u8]) -> Result<usize, UnpackError> {
        loop {
            match self.reader.read(buffer) {
                Ok(read) => {
                    self.offset += read as u64;
                    return Ok(read);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(read_error(self.offset, source)),
            }
        }
    }

    /// `None` at the end: a block of zeros, or no more bytes.
    fn read_header(&mut self) -> Result<Option<tar::Header>, UnpackError> {
        let mut header = tar::Header::new_old();
        let block = header.as_mut_bytes();
        let mut filled = 0;
        while filled < block.len() {
            match self.read_raw(&mut block[filled..])? {
                0 if filled == 0 => return Ok(None),
                0 => return Err(self.malformed("the archive ends within a header".into())),
                read => filled += read,
            }
        }
        if block.iter().all(|b| *b == 0) {
            return Ok(None);
        }
        let sum: u32 = 8 * 32 + block[..148].iter().chain(&block[156..]).map(|b| u32::from(*b)).sum::<u32>();
        match header.cksum() {
            Ok(expected) if expected == sum => Ok(Some(header)),
            _ => Err(self.malformed("a header's checksum is wrong".into())),
        }
    }

    fn read_extension(&mut self, size: u64, limit: u64) -> Result<Vec<u8>, UnpackError> {
        if size > limit {
            return Err(self.malformed(format!("an extension header of {size} bytes, more than {limit}")));
        }
        self.begin_contents(size);
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        let mut filled = 0;
        while filled < bytes.len() {
            filled += self.read_contents(&mut bytes[filled..])?;
        }
        Ok(bytes)
    }

    fn begin_contents(&mut self, size: u64) {
        self.remaining = size;
        self.padding = (BLOCK - size % BLOCK) % BLOCK;
    }

    fn member(
        &mut self,
        header: &tar::Header,
        size: u64,
        extensions: Extensions,
    ) -> Result<Member, UnpackError> {
        let pax = |key: &str| extensions.pax.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v.as_slice());
        let path = extensions
            .long_name
            .as_deref()
            .or(pax("path"))
            .map_or_else(|| header.path_bytes().into_owned(), <[u8]>::to_vec);
        self.current = lossy(&path);
        let target = || {
            let long = extensions.long_link.as_deref().or(pax("linkpath"));
            long.map(<[u8]>::to_vec)
                .unwrap_or_else(|| header.link_name_bytes().map(|l| l.into_owned()).unwrap_or_default())
        };
        let number = |field, key: &str, fallback: io::Result<u64>| -> Result<u64, UnpackError> {
            let invalid = || UnpackError::Field { member: lossy(&path), field };
            match pax(key) {
                Some(value) => {
                    std::str::from_utf8(value).ok().and_then(|v| v.parse().ok()).ok_or_else(invalid)
                }
                None => fallback.map_err(|_| invalid()),
            }
        };
        let size = number("size", "size", Ok(size))?;
        let uid = number("owner", "uid", or_zero(header, 108..116, header.uid()))?;
        let gid = number("group", "gid", or_zero(header, 116..124, header.gid()))?;
        let kind = self.kind(header, size, &path, target, &extensions.pax)?;
        // Only files have contents, whatever another member's size says (as Go's archive/tar reads it).
        self.begin_contents(if let Kind::File { size } = kind { size } else { 0 });
        let invalid = |field| UnpackError::Field { member: lossy(&path), field };
        Ok(Member {
            mode: or_zero(header, 100..108, header.mode()).map_err(|_| invalid("mode"))? & 0o7777,
            // The largest id is chown's "leave as it is".
            uid: u32::try_from(uid).ok().filter(|id| *id != u32::MAX).ok_or_else(|| invalid("owner"))?,
            gid: u32::try_from(gid).ok().filter(|id| *id != u32::MAX).ok_or_else(|| invalid("group"))?,
            mtime: match pax("mtime") {
                Some(value) => parse_time(value).ok_or_else(|| invalid("modification time"))?,
                None => header_time(header),
            },
            xattrs: xattrs(&extensions.pax),
            kind,
            path,
        })
    }

    fn kind(
        &self,
        header: &tar::Header,
        size: u64,
        path: &[u8],
        target: impl FnOnce() -> Vec<u8>,
        pax: &[(String, Vec<u8>)],
    ) -> Result<Kind, UnpackError> {
        let unsupported =
            |kind: &str| UnpackError::Unsupported { member: lossy(path), kind: kind.to_owned() };
        let device = || -> Result<(u32, u32), UnpackError> {
            let field = |n: io::Result<Option<u32>>| {
                n.ok().flatten().ok_or(UnpackError::Field { member: lossy(path), field: "device number" })
            };
            Ok((field(header.device_major())?, field(header.device_minor())?))
        };
        Ok(match header.entry_type().as_byte() {
            b'0' | 0 | b'7' if pax.iter().any(|(key, _)| key.starts_with("GNU.sparse.")) => {
                return Err(unsupported("a sparse file"));
            }
            // Before POSIX a directory was a file with a slash at the end of its name.
            0 | b'0' if path.ends_with(b"/") => Kind::Directory,
            b'0' | 0 | b'7' => Kind::File { size },
            b'1' => Kind::HardLink { target: target() },
            b'2' => Kind::Symlink { target: target() },
            b'3' => device().map(|(major, minor)| Kind::CharacterDevice { major, minor })?,
            b'4' => device().map(|(major, minor)| Kind::BlockDevice { major, minor })?,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            b'S' => return Err(unsupported("a sparse file")),
            other => return Err(unsupported(&format!("of type {:?}", char::from(other)))),
        })
    }

    fn malformed(&self, reason: String) -> UnpackError {
        UnpackError::Malformed { offset: self.offset, reason }
    }
}

pub(crate) fn read_error(offset: u64, source: io::Error) -> UnpackError {
    match source.get_ref().and_then(|e| e.downcast_ref::<TooLong>()) {
        Some(TooLong { limit }) => UnpackError::TooLarge { limit: *limit },
        None if source.kind() == io::ErrorKind::UnexpectedEof => {
            UnpackError::Truncated { offset, member: "the compressed stream".into() }
        }
        None => UnpackError::Read { offset, source },
    }
}

/// A field that was never filled in is zero, not an error: some writers leave out what they do not care for.
fn or_zero<T: Default>(
    header: &tar::Header,
    field: std::ops::Range<usize>,
    value: io::Result<T>,
) -> io::Result<T> {
    let blank = header.as_bytes()[field].iter().all(|b| matches!(b, 0 | b' '));
    if blank { Ok(T::default()) } else { value }
}

fn trim_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    bytes
}

/// `LENGTH KEY=VALUE\n`, where the length counts the whole record.
fn parse_pax(mut rest: &[u8]) -> Result<Vec<(String, Vec<u8>)>, String> {
    let mut records = Vec::new();
    while !rest.is_empty() {
        let malformed = || "a pax record is malformed".to_owned();
        let space = rest.iter().take(20).position(|b| *b == b' ').ok_or_else(malformed)?;
        let length: usize =
            std::str::from_utf8(&rest[..space]).ok().and_then(|n| n.parse().ok()).ok_or_else(malformed)?;
        if length <= space + 1 || length > rest.len() || rest[length - 1] != b'\n' {
            return Err(malformed());
        }
        let record = &rest[space + 1..length - 1];
        let equals = record.iter().position(|b| *b == b'=').ok_or_else(malformed)?;
        let key = String::from_utf8(record[..equals].to_vec()).map_err(|_| malformed())?;
        records.push((key, record[equals + 1..].to_vec()));
        rest = &rest[length..];
    }
    Ok(records)
}

fn xattrs(pax: &[(String, Vec<u8>)]) -> Vec<(String, Vec<u8>)> {
    pax.iter()
        .filter_map(|(key, value)| Some((key.strip_prefix("SCHILY.xattr.")?.to_owned(), value.clone())))
        .collect()
}

/// Seconds in octal, or in base 256 (GNU) which may be negative.
fn header_time(header: &tar::Header) -> Time {
    Time { seconds: header.mtime().map_or(0, |seconds| seconds.cast_signed()), nanoseconds: 0 }
}

/// `-1.5` is half a second before the last second before 1970.
fn parse_time(value: &[u8]) -> Option<Time> {
    let text = std::str::from_utf8(value).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    let nanoseconds: u32 = digits.parse().ok()?;
    if whole.starts_with('-') && nanoseconds > 0 {
        return Some(Time { seconds: seconds.checked_sub(1)?, nanoseconds: 1_000_000_000 - nanoseconds });
    }
    Some(Time { seconds, nanoseconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pax_records_may_hold_line_feeds_and_equals_signs() {
        let records = b"12 a=b\nc=d\n\n9 path=x\n";
        let parsed = parse_pax(records).unwrap();
        assert_eq!(parsed, [("a".into(), b"b\nc=d\n".to_vec()), ("path".into(), b"x".to_vec())]);
    }

    #[test]
    fn malformed_pax_records_are_refused() {
        for bad in [
            &b"x"[..],
            b"5 a=b",
            b"99 a=b\n",
            b"0 a=b\n",
            b"6 a=bc\n",
            b"5 ab\n",
            b"18446744073709551616 a=b\n",
        ] {
            assert!(parse_pax(bad).is_err(), "{:?}", lossy(bad));
        }
    }

    #[test]
    fn times_with_fractions() {
        let time = |seconds, nanoseconds| Some(Time { seconds, nanoseconds });
        assert_eq!(parse_time(b"12"), time(12, 0));
        assert_eq!(parse_time(b"12.5"), time(12, 500_000_000));
        assert_eq!(parse_time(b"12.1234567891"), time(12, 123_456_789));
        assert_eq!(parse_time(b"-1.5"), time(-2, 500_000_000));
        assert_eq!(parse_time(b"-0.25"), time(-1, 750_000_000));
        assert_eq!(parse_time(b"1.x"), None);
        assert_eq!(parse_time(b""), None);
    }
}
