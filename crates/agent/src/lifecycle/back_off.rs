//! Delays before the next try.

use super::Uptime;
use serde::{Deserialize, Serialize};

/// The delay before the next try, doubling from 10 s to 5 min.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackOff {
    /// Milliseconds before the next try; 0 before the first.
    pub delay_ms: u64,
    /// When the last try is or was due.
    pub tried_at: Uptime,
}

impl BackOff {
    const FIRST_MS: u64 = 10_000;
    const LONGEST_MS: u64 = 300_000;
    /// Twice the longest delay: a run that lasts longer starts the count again.
    const FORGOTTEN_AFTER_MS: u64 = 600_000;

    /// The delay after a run that ended at `ended`, in milliseconds.
    pub(super) fn delay_after(&mut self, ended: Uptime) -> u64 {
        if ended.0.saturating_sub(self.tried_at.0) > Self::FORGOTTEN_AFTER_MS {
            *self = BackOff::default();
        }
        self.delay_ms
    }

    /// Counts a try.
    pub(super) fn tried(&mut self, at: Uptime) {
        self.delay_ms = (self.delay_ms * 2).clamp(Self::FIRST_MS, Self::LONGEST_MS);
        self.tried_at = at;
    }
}

/// Seconds as Go prints a `time.Duration`: `10s`, `1m20s`, `5m0s`.
pub(super) fn go_duration(seconds: u64) -> String {
    match (seconds / 60, seconds % 60) {
        (0, s) => format!("{s}s"),
        (m, s) => format!("{m}m{s}s"),
    }
}
