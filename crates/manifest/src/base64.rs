//! Base64 with Go's rules (`encoding/base64` StdEncoding): line breaks are passed over, padding is needed.

/// Decodes; a fault is the byte at which Go's decoder says that it is.
///
/// # Errors
/// The byte of the fault.
pub(crate) fn decode(text: &str) -> Result<Vec<u8>, usize> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let mut group = [0_u8; 4];
    let mut filled = 0;
    let mut padding = 0;
    for (at, byte) in text.bytes().enumerate() {
        let digit = match byte {
            b'\n' | b'\r' => continue,
            b'=' if filled >= 2 && padding < 2 => {
                padding += 1;
                0
            }
            // Go names the first `=` where the second is missing, and else what follows the padding.
            _ if padding == 1 && filled == 3 => return Err(at - 1),
            _ if padding > 0 => return Err(at),
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return Err(at),
        };
        if filled == 4 {
            return Err(at);
        }
        group[filled] = digit;
        filled += 1;
        if filled == 4 {
            let bytes =
                [group[0] << 2 | group[1] >> 4, group[1] << 4 | group[2] >> 2, group[2] << 6 | group[3]];
            out.extend_from_slice(&bytes[..3 - padding]);
            if padding == 0 {
                filled = 0;
            }
        }
    }
    match filled {
        0 => Ok(out),
        4 if padding > 0 => Ok(out),
        3 if padding > 0 => Err(text.len()),
        left => Err(text.len().saturating_sub(left)),
    }
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn decodes_what_go_decodes() {
        assert_eq!(decode("aGVsbG8="), Ok(b"hello".to_vec()));
        assert_eq!(decode("aGVs\nbG8h"), Ok(b"hello!".to_vec()));
        assert_eq!(decode("YQ=="), Ok(b"a".to_vec()));
        assert_eq!(decode(""), Ok(Vec::new()));
        assert_eq!(decode("hello world"), Err(5));
        assert_eq!(decode("YQ="), Err(3));
        assert_eq!(decode("YQ=a"), Err(2));
        assert_eq!(decode("YQ"), Err(0));
        for wrong in ["hello world", "YQ", "YQ=", "YQ==YQ==", "====", "a", "YWI=c"] {
            assert!(decode(wrong).is_err(), "{wrong}");
        }
    }
}
