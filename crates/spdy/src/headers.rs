//! Header blocks: names and values, compressed with zlib. All blocks of one direction are one stream of zlib, so that
//! each must be decompressed, also those of streams that are refused.

use crate::dictionary;
use crate::error::ConnectionError;
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_IGNORE_ADLER32};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

/// The most that one header block may be, decompressed. Kubernetes' clients need some hundred bytes.
pub const MAX_HEADER_BYTES: usize = 32 << 10;
/// The most names in one header block.
const MOST_HEADERS: usize = 256;
/// What deflate looks back at most (RFC 1951, section 2).
const WINDOW_BYTES: usize = 32 << 10;
/// The first two bytes of zlib: deflate with a window of 32 KiB, and a dictionary.
const ZLIB_HEAD: [u8; 2] = [0x78, 0xbb];
/// Bit 5 of zlib's second byte (`FDICT`).
const HAS_DICTIONARY: u8 = 1 << 5;

/// The headers of a stream, in their order; names are in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Headers {
    list: Vec<(String, String)>,
}

impl Headers {
    /// Of a list; names are made lower case.
    pub fn new(list: &[(&str, &str)]) -> Headers {
        let owned = list.iter().map(|(name, value)| (name.to_ascii_lowercase(), (*value).to_owned()));
        Headers { list: owned.collect() }
    }

    /// The first value of a name; empty if it has none.
    pub fn get(&self, name: &str) -> &str {
        let found = self.list.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value.split('\0').next().unwrap_or_default())
    }

    /// All of them; several values of one name have a NUL between them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.list.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// A number of pairs, then the length and the bytes of each name and value, all lengths as four bytes.
    fn parse(block: &[u8]) -> Result<Headers, ConnectionError> {
        let mut rest = block;
        let count = take_length(&mut rest)?;
        if count > MOST_HEADERS {
            return Err(ConnectionError::Headers("there are too many"));
        }
        let mut list = Vec::with_capacity(count);
        for _ in 0..count {
            let (name, value) = (take_text(&mut rest)?, take_text(&mut rest)?);
            if name.is_empty() || list.iter().any(|(known, _)| *known == name) {
                return Err(ConnectionError::Headers("a name is empty or there twice"));
            }
            list.push((name, value));
        }
        match rest {
            [] => Ok(Headers { list }),
            _ => Err(ConnectionError::Headers("there is more behind them")),
        }
    }

    fn to_block(&self) -> Vec<u8> {
        let mut block = (self.list.len() as u32).to_be_bytes().to_vec();
        for text in self.list.iter().flat_map(|(name, value)| [name, value]) {
            block.extend_from_slice(&(text.len() as u32).to_be_bytes());
            block.extend_from_slice(text.as_bytes());
        }
        block
    }
}

fn take_length(rest: &mut &[u8]) -> Result<usize, ConnectionError> {
    let (length, after) = rest.split_first_chunk().ok_or(ConnectionError::Headers("they are cut off"))?;
    *rest = after;
    Ok(u32::from_be_bytes(*length) as usize)
}

fn take_text(rest: &mut &[u8]) -> Result<String, ConnectionError> {
    let length = take_length(rest)?;
    let (text, after) = rest.split_at_checked(length).ok_or(ConnectionError::Headers("they are cut off"))?;
    *rest = after;
    String::from_utf8(text.to_vec()).map_err(|_| ConnectionError::Headers("they are no text"))
}

/// What decompresses all header blocks of a peer.
pub(crate) struct Decompressor {
    state: Box<DecompressorOxide>,
    /// The last 32 KiB, as a ring: what deflate looks back at.
    window: Box<[u8]>,
    at: usize,
    begun: bool,
}

impl std::fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decompressor").field("begun", &self.begun).finish_non_exhaustive()
    }
}

impl Decompressor {
    pub(crate) fn new() -> Decompressor {
        let mut window = vec![0; WINDOW_BYTES].into_boxed_slice();
        let dictionary = dictionary::bytes();
        window[..dictionary.len()].copy_from_slice(&dictionary);
        Decompressor { state: Box::default(), window, at: dictionary.len(), begun: false }
    }

    /// The headers of the next block.
    pub(crate) fn next(&mut self, block: &[u8]) -> Result<Headers, ConnectionError> {
        Headers::parse(&self.inflate(block)?)
    }

    fn inflate(&mut self, block: &[u8]) -> Result<Vec<u8>, ConnectionError> {
        let mut input = block;
        if !self.begun {
            input = without_head(block)?;
            self.begun = true;
        }
        let mut out = Vec::new();
        loop {
            let flags = TINFL_FLAG_HAS_MORE_INPUT | TINFL_FLAG_IGNORE_ADLER32;
            let (status, read, written) =
                decompress(&mut self.state, input, &mut self.window, self.at, flags);
            out.extend_from_slice(&self.window[self.at..self.at + written]);
            input = &input[read..];
            self.at = (self.at + written) % WINDOW_BYTES;
            if out.len() > MAX_HEADER_BYTES {
                return Err(ConnectionError::HeadersTooLong);
            }
            match status {
                TINFLStatus::HasMoreOutput => {}
                TINFLStatus::NeedsMoreInput if input.is_empty() => return Ok(out),
                // Nothing was read and nothing written: it would go on for ever.
                TINFLStatus::NeedsMoreInput if read > 0 || written > 0 => {}
                _ => return Err(ConnectionError::Headers("they cannot be decompressed")),
            }
        }
    }
}

/// What is behind zlib's head (RFC 1950, section 2.2), which only the first block has.
fn without_head(block: &[u8]) -> Result<&[u8], ConnectionError> {
    let wrong = ConnectionError::Headers("they are not compressed with zlib");
    let Some(([method, flags], rest)) = block.split_first_chunk() else { return Err(wrong) };
    let sound = (u16::from(*method) << 8 | u16::from(*flags)) % 31 == 0;
    if method & 0x0f != 8 || method >> 4 > 7 || !sound {
        return Err(wrong);
    }
    if flags & HAS_DICTIONARY == 0 {
        return Ok(rest);
    }
    match rest.split_first_chunk() {
        Some((id, rest)) if u32::from_be_bytes(*id) == dictionary::ID => Ok(rest),
        _ => Err(ConnectionError::Headers("they are compressed with another dictionary")),
    }
}

/// Makes header blocks of ours: as zlib that stores what it is given (RFC 1951, section 3.2.4), since ours are all but
/// empty and no peer needs them shorter.
#[derive(Debug, Default)]
pub(crate) struct Compressor {
    begun: bool,
}

impl Compressor {
    pub(crate) fn next(&mut self, headers: &Headers) -> Vec<u8> {
        let mut out = Vec::new();
        if !self.begun {
            self.begun = true;
            out.extend_from_slice(&ZLIB_HEAD);
            out.extend_from_slice(&dictionary::ID.to_be_bytes());
        }
        let block = headers.to_block();
        // The empty one behind them says that all is to be given on now.
        for piece in block.chunks(usize::from(u16::MAX)).chain([&[][..]]) {
            let length = piece.len() as u16;
            out.push(0);
            out.extend_from_slice(&length.to_le_bytes());
            out.extend_from_slice(&(!length).to_le_bytes());
            out.extend_from_slice(piece);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_compress_we_can_decompress() {
        let (mut to, mut from) = (Compressor::default(), Decompressor::new());
        for headers in [
            Headers::default(),
            Headers::new(&[("streamType", "data"), ("port", "80"), ("requestID", "0")]),
            Headers::new(&[("long", &"x".repeat(20_000))]),
            Headers::new(&[("streamType", "error")]),
            Headers::new(&[("long", &"y".repeat(20_000))]),
            Headers::new(&[("long", &"z".repeat(20_000))]),
        ] {
            let read = from.next(&to.next(&headers)).unwrap();
            assert_eq!(read, headers);
        }
        assert_eq!(Headers::new(&[("StreamType", "stdin")]).get("streamType"), "stdin");
    }

    /// The first header blocks of a `kubectl port-forward` (1.29, with Go's zlib).
    #[test]
    fn what_go_compresses_with_the_dictionary_is_read() {
        let blocks: [&[u8]; 2] =
            [include_bytes!("../tests/go-first.block"), include_bytes!("../tests/go-second.block")];
        let mut from = Decompressor::new();
        let kinds: Vec<String> =
            blocks.iter().map(|block| from.next(block).unwrap().get("streamType").to_owned()).collect();
        assert_eq!(kinds, ["error", "data"]);
    }

    #[test]
    fn what_is_no_header_block_is_refused() {
        let fresh = |block: &[u8]| Decompressor::new().next(block);
        let good = Compressor::default().next(&Headers::new(&[("a", "b")]));
        assert!(fresh(&good).is_ok());
        for cut in 0..good.len() - 5 {
            assert!(fresh(&good[..cut]).is_err(), "{cut}");
        }
        let mut other = good.clone();
        other[5] ^= 1;
        assert_eq!(
            fresh(&other).unwrap_err(),
            ConnectionError::Headers("they are compressed with another dictionary")
        );
        for block in [
            &b""[..],
            b"\0\0\0\x02\0\0\0\x01a\0\0\0\x01b\0\0\0\x01a\0\0\0\x01c",
            b"\0\0\0\x01\0\0\0\0\0\0\0\0",
            b"\0\0\0\x01\xff\xff\xff\xff\0",
            b"\0\0\0\0more",
            b"\xff\xff\xff\xff",
            b"\0\0\0\x01\0\0\0\x01\xff\0\0\0\0",
        ] {
            assert!(Headers::parse(block).is_err(), "{block:?}");
        }
    }

    /// 100 KB that become 100 MB: it ends at the bound, and takes no more memory than that.
    #[test]
    fn a_bomb_is_not_blown_up() {
        let zeros = miniz_oxide::deflate::compress_to_vec(&vec![0; 1 << 20], 9);
        let mut block = vec![0x78, 0x01];
        block.extend_from_slice(&zeros);
        assert!(block.len() < 4096, "{}", block.len());
        assert_eq!(Decompressor::new().next(&block).unwrap_err(), ConnectionError::HeadersTooLong);
    }
}
