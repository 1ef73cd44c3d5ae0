//! The one place where this room reads clocks.

use crate::lifecycle::{Now, Uptime};
use rustix::time::{ClockId, clock_gettime};

/// Now, on both clocks.
pub(crate) fn read_now() -> Now {
    let boot = clock_gettime(ClockId::Boottime);
    let ms = u64::try_from(boot.tv_sec).unwrap_or(0).saturating_mul(1000)
        + u64::try_from(boot.tv_nsec).unwrap_or(0) / 1_000_000;
    Now { wall: jiff::Timestamp::now(), uptime: Uptime(ms) }
}
