//! A whole zstd stream: several frames after one another, and frames to be skipped (RFC 8878 §3), as parallel packers and
//! lazily pulled layers have them. The `ruzstd` crate decodes one.

use std::io::{self, BufRead, Read};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// Decompresses to the end of `source`.
pub(crate) struct Frames<R> {
    source: R,
    decoder: FrameDecoder,
    within_frame: bool,
}

impl<R: BufRead> Frames<R> {
    pub(crate) fn new(source: R) -> Self {
        Frames { source, decoder: FrameDecoder::new(), within_frame: false }
    }

    /// Reads the next frame's header; false at the end of the stream.
    fn begin_frame(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.source) {
                Ok(()) => {
                    self.within_frame = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let skipped = io::copy(&mut (&mut self.source).take(length.into()), &mut io::sink())?;
                    if skipped < u64::from(length) {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(e) => return Err(io::Error::other(e)),
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.within_frame && !self.begin_frame()? {
                return Ok(0);
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.source, one).map_err(io::Error::other)?;
            }
            match self.decoder.read(buffer)? {
                0 if !buffer.is_empty() => self.within_frame = false,
                read => return Ok(read),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two frames (one raw block each, single segment) with a frame to be skipped between them.
    fn stream() -> Vec<u8> {
        let frame = |text: &[u8]| {
            let size = u8::try_from(text.len()).unwrap();
            let block = (u32::from(size) << 3 | 1).to_le_bytes();
            [&[0x28, 0xb5, 0x2f, 0xfd, 0x20, size], &block[..3], text].concat()
        };
        let skip = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0], &b"???"[..]].concat();
        [frame(b"two "), skip, frame(b"frames")].concat()
    }

    #[test]
    fn all_frames_are_read() {
        let mut text = String::new();
        Frames::new(&stream()[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text, "two frames");
    }

    #[test]
    fn what_is_cut_short_is_an_error() {
        let whole = stream();
        for length in [3, 8, whole.len() - 1, whole.len() - 13] {
            let mut bytes = Vec::new();
            assert!(Frames::new(&whole[..length]).read_to_end(&mut bytes).is_err(), "{length}");
        }
    }
}
