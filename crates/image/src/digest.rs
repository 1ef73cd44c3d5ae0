//! Content digests, and a reader that computes one of what passes through it.

use std::fmt;
use std::io::{self, Read};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::Error;

/// `sha256:` and 64 lower-case hexadecimal digits. Safe as a file name once the prefix is off.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest {
    hex: String,
}

impl Digest {
    /// Checks the form.
    ///
    /// # Errors
    /// [`Error::BadDigest`] for another algorithm or another form.
    pub fn parse(text: &str) -> Result<Digest, Error> {
        match text.strip_prefix("sha256:") {
            Some(hex) if hex.len() == 64 && is_lower_hex(hex) => Ok(Digest { hex: hex.to_owned() }),
            _ => Err(Error::BadDigest { digest: text.chars().take(200).collect() }),
        }
    }

    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Digest {
        let mut hasher = Sha256::new();
        hasher.update(bytes);
        Digest::finish(hasher)
    }

    /// The 64 digits without the algorithm.
    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// The first 16 digits: names of layer directories, kept short because overlayfs bounds the length of
    /// its options (256 bytes a string with `fsconfig(2)`, one page for all with `mount(2)`).
    pub fn short(&self) -> &str {
        &self.hex[..16]
    }

    pub(crate) fn finish(hasher: Sha256) -> Digest {
        let mut hex = String::with_capacity(64);
        for byte in hasher.finalize() {
            hex.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
            hex.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
        }
        Digest { hex }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex)
    }
}

impl TryFrom<String> for Digest {
    type Error = Error;

    fn try_from(text: String) -> Result<Digest, Error> {
        Digest::parse(&text)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

pub(crate) fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The stream is longer than was allowed. Travels inside an `io::Error` through the decoders.
#[derive(Debug, thiserror::Error)]
#[error("more than {limit} bytes")]
pub(crate) struct TooLong {
    pub(crate) limit: u64,
}

/// Hashes and counts what is read through it, and fails past `limit` bytes.
pub(crate) struct HashingReader<R> {
    inner: R,
    hasher: Sha256,
    count: u64,
    limit: u64,
}

impl<R: Read> HashingReader<R> {
    pub(crate) fn new(inner: R, limit: u64) -> Self {
        HashingReader { inner, hasher: Sha256::new(), count: 0, limit }
    }

    /// Reads what is left, so that the digest is that of the whole stream.
    pub(crate) fn drain(&mut self) -> io::Result<()> {
        let mut buffer = [0_u8; 64 * 1024];
        while self.read(&mut buffer)? != 0 {}
        Ok(())
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn into_digest(self) -> Digest {
        Digest::finish(self.hasher)
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        self.count += read as u64;
        if self.count > self.limit {
            return Err(io::Error::other(TooLong { limit: self.limit }));
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_what_sha256sum_says() {
        // `printf abc | sha256sum`
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let mut reader = HashingReader::new(&b"abc"[..], 10);
        reader.drain().unwrap();
        assert_eq!(reader.count(), 3);
        assert_eq!(reader.into_digest().hex(), expected);
        assert_eq!(Digest::of(b"abc").short(), &expected[..16]);
    }

    #[test]
    fn only_well_formed_digests_parse() {
        let good = Digest::of(b"").to_string();
        assert_eq!(Digest::parse(&good).unwrap().to_string(), good);
        for bad in ["", "sha256:", &good[7..], &good.to_uppercase(), "sha256:../../x", "sha512:00"] {
            assert!(Digest::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_reader_stops_at_its_bound() {
        let mut reader = HashingReader::new(io::repeat(0), 100);
        assert!(reader.drain().is_err());
    }
}
