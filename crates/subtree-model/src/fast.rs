//! A hash map for keys made of two indices, which need no protection against chosen keys: the indices are the
//! model's own.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map from two indices in one number.
pub(crate) type FastMap<Value> = HashMap<u64, Value, BuildHasherDefault<Mix>>;

/// Multiplies and folds, so that indices which differ little land far apart.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        let wide = u128::from(self.0 ^ number ^ 0x2545_f491_4f6c_dd1d) * 0x9e37_79b9_7f4a_7c15;
        self.0 = wide as u64 ^ (wide >> 64) as u64;
    }
}
