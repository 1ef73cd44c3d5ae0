//! Bytes and text: mountinfo's octal escapes, and a row printed back.

use crate::{Mount, MountTable};
use std::borrow::Cow;
use std::fmt::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Undoes `\ooo`. The kernel escapes space, tab, newline, backslash and (since 5.17) `#`; as the backslash itself
/// is always escaped, every octal escape is unambiguous and all are taken. A lone backslash stays.
pub(crate) fn unescape(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'\\') {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        match (byte, tail) {
            (b'\\', &[a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ref after @ ..]) => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    Cow::Owned(out)
}

/// A path as a word that a shell reads back, for commands that people paste: bare if nothing in it means anything to a
/// shell, else in quotes (`$'…'` with octal escapes, which bash, zsh and busybox know, if it is not UTF-8).
pub fn shell_word(path: &Path) -> String {
    let bytes = path.as_os_str().as_bytes();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+:@%=,".contains(byte);
    match std::str::from_utf8(bytes) {
        Ok(text) if !bytes.is_empty() && bytes.iter().all(plain) => text.to_owned(),
        Ok(text) => format!("'{}'", text.replace('\'', r"'\''")),
        Err(_) => {
            let mut word = String::from("$'");
            for byte in bytes {
                if plain(byte) { word.push(char::from(*byte)) } else { push_octal(&mut word, *byte) }
            }
            word + "'"
        }
    }
}

/// Bytes as text, each byte that is not part of UTF-8 as `\ooo`: what mountinfo's sources and options become, and what
/// names of processes should. Not printable yet: it may hold control characters.
pub fn readable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => {
            let mut out = String::with_capacity(bytes.len() + 8);
            for chunk in bytes.utf8_chunks() {
                out.push_str(chunk.valid());
                chunk.invalid().iter().for_each(|byte| push_octal(&mut out, *byte));
            }
            out
        }
    }
}

fn push_octal(out: &mut String, byte: u8) {
    out.push('\\');
    for shift in [6, 3, 0] {
        out.push(char::from(b'0' + (byte >> shift & 7)));
    }
}

/// Text with special ASCII bytes and bytes that are not UTF-8 as `\ooo`.
fn escape(bytes: &[u8], is_special: fn(u8) -> bool) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match u8::try_from(character) {
                Ok(byte) if byte.is_ascii() && is_special(byte) => push_octal(&mut out, byte),
                _ => out.push(character),
            }
        }
        chunk.invalid().iter().for_each(|byte| push_octal(&mut out, *byte));
    }
    out
}

/// What the kernel escapes in a row, and the control characters that it does not.
fn is_special_in_a_row(byte: u8) -> bool {
    byte.is_ascii_control() || matches!(byte, b' ' | b'\\' | b'#')
}

impl fmt::Display for Mount {
    /// The row as mountinfo prints it, without a newline. Control characters, which would steer a terminal, and bytes
    /// that are not UTF-8, both of which the kernel prints as they are, stand as octal escapes; the text parses to the
    /// same row.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = |path: &Path| escape(path.as_os_str().as_bytes(), is_special_in_a_row);
        let deleted = match (self.deleted, self.root.as_os_str().as_bytes()) {
            (false, _) => "",
            (true, b"/") => "/deleted",
            (true, _) => "//deleted",
        };
        write!(f, "{} {} {} ", self.id.0, self.parent.0, self.device)?;
        write!(f, "{}{deleted} {} {} ", path(&self.root), path(&self.mount_point), self.options)?;
        for (tag, group) in [
            ("shared", self.propagation.shared),
            ("master", self.propagation.master),
            ("propagate_from", self.propagation.propagate_from),
        ] {
            if let Some(group) = group {
                write!(f, "{tag}:{} ", group.0)?;
            }
        }
        if self.propagation.unbindable {
            f.write_str("unbindable ")?;
        }
        let word = |text: &str| escape(text.as_bytes(), is_special_in_a_row);
        write!(f, "- {} {} {}", word(&self.fs_type), word(&self.source), self.super_options)
    }
}

impl fmt::Display for crate::Device {
    /// `major:minor`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

impl fmt::Display for MountTable {
    /// A row a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.mounts.iter().try_for_each(|mount| {
            mount.fmt(f)?;
            f.write_char('\n')
        })
    }
}

/// A path as [`path_as_text`] writes it.
pub fn text_of_path(path: &Path) -> String {
    escape(path.as_os_str().as_bytes(), |byte| byte == b'\\')
}

/// Paths in JSON, for `#[serde(with = "mount_table::path_as_text")]`: as they are, but a backslash as `\134` and a byte
/// that is not UTF-8 as `\ooo`. (serde's own form of a path fails on the latter, and any container may make one.)
pub mod path_as_text {
    use super::unescape;
    use serde::{Deserialize, Deserializer, Serializer};
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;
    use std::path::{Path, PathBuf};

    /// Writes a path.
    ///
    /// # Errors
    /// Only the serializer's own.
    pub fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::text_of_path(path))
    }

    /// Reads a path.
    ///
    /// # Errors
    /// Where there is no text.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(PathBuf::from(OsString::from_vec(unescape(text.as_bytes()).into_owned())))
    }
}
