//! The keys that leave a program on a terminal without ending it, as podman and docker have them.

use std::str::FromStr;

/// A sequence of keys, such as `ctrl-p,ctrl-q`; an empty one never leaves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct DetachKeys(Vec<u8>);

impl FromStr for DetachKeys {
    type Err = String;

    fn from_str(text: &str) -> Result<DetachKeys, String> {
        if text.is_empty() {
            return Ok(DetachKeys::default());
        }
        let key = |key: &str| {
            let byte = match (key.strip_prefix("ctrl-").unwrap_or(key).as_bytes(), key.len()) {
                ([byte], 1) if byte.is_ascii_graphic() => *byte,
                // What a terminal sends for them: the five low bits.
                ([byte @ (b'a'..=b'z' | b'@'..=b'_')], _) if key.len() > 1 => *byte & 0x1f,
                _ => {
                    return Err(format!(
                        "{key:?} is not a key: a character, or ctrl- and one of a-z @ [ \\ ] ^ _"
                    ));
                }
            };
            Ok(byte)
        };
        text.split(',').map(key).collect::<Result<_, _>>().map(DetachKeys)
    }
}

/// Looks for the keys in what is typed, and holds back what may be their beginning.
#[derive(Debug, Default)]
pub(crate) struct DetachScan {
    keys: DetachKeys,
    held: Vec<u8>,
    found: bool,
}

impl DetachScan {
    /// For these keys.
    pub(crate) fn new(keys: &DetachKeys) -> DetachScan {
        DetachScan { keys: keys.clone(), ..DetachScan::default() }
    }

    /// Whether they were typed.
    pub(crate) fn found(&self) -> bool {
        self.found
    }

    /// What of these bytes, and of those before, is passed on.
    pub(crate) fn pass(&mut self, typed: &[u8]) -> Vec<u8> {
        let DetachKeys(keys) = &self.keys;
        if keys.is_empty() {
            return typed.to_vec();
        }
        let mut passed = Vec::with_capacity(typed.len());
        for byte in typed {
            if self.found {
                break;
            }
            self.held.push(*byte);
            while !keys.starts_with(&self.held) {
                passed.push(self.held.remove(0));
            }
            self.found = self.held == *keys;
        }
        passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(keys: &str, typed: &[&str]) -> (Vec<String>, bool) {
        let mut scan = DetachScan::new(&keys.parse().unwrap());
        let passed =
            typed.iter().map(|typed| String::from_utf8(scan.pass(typed.as_bytes())).unwrap()).collect();
        (passed, scan.found())
    }

    #[test]
    fn names() {
        let keys = |text: &str| text.parse::<DetachKeys>().map(|keys| keys.0);
        assert_eq!(keys("ctrl-p,ctrl-q"), Ok(vec![0x10, 0x11]));
        assert_eq!(keys("ctrl-[,a,-"), Ok(vec![0x1b, b'a', b'-']));
        assert_eq!(keys("ctrl-@"), Ok(vec![0]));
        assert_eq!(keys(""), Ok(vec![]));
        for wrong in ["ctrl-", "ab", "ctrl-P,", "ctrl-1", "é", ","] {
            assert!(keys(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_not_the_keys_is_passed_on() {
        assert_eq!(
            scan("x,y", &["ax", "b", "x", "yz"]),
            (vec!["a".into(), "xb".into(), "".into(), "".into()], true)
        );
        assert_eq!(scan("a,a,b", &["aaa", "c", "aaab"]), (vec!["a".into(), "aac".into(), "a".into()], true));
        assert_eq!(scan("", &["x", "y"]), (vec!["x".into(), "y".into()], false));
    }
}
