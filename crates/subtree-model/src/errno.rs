//! Errors of the kernel, by name, and an operation refused.

use crate::RuleId;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The errors that mount operations give, errno(3).
#[allow(missing_docs)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Errno {
    EPERM,
    ENOENT,
    ESRCH,
    EBADF,
    EAGAIN,
    ENOMEM,
    EBUSY,
    EEXIST,
    EXDEV,
    ENOTDIR,
    EISDIR,
    EINVAL,
    ENOSPC,
    EROFS,
    ENAMETOOLONG,
    ENOTEMPTY,
    ELOOP,
}

impl Errno {
    /// Linux' number for it (the generic ones, which x86-64 and arm64 use).
    pub fn number(self) -> i32 {
        match self {
            Errno::EPERM => 1,
            Errno::ENOENT => 2,
            Errno::ESRCH => 3,
            Errno::EBADF => 9,
            Errno::EAGAIN => 11,
            Errno::ENOMEM => 12,
            Errno::EBUSY => 16,
            Errno::EEXIST => 17,
            Errno::EXDEV => 18,
            Errno::ENOTDIR => 20,
            Errno::EISDIR => 21,
            Errno::EINVAL => 22,
            Errno::ENOSPC => 28,
            Errno::EROFS => 30,
            Errno::ENAMETOOLONG => 36,
            Errno::ENOTEMPTY => 39,
            Errno::ELOOP => 40,
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// The kernel would refuse the operation: nothing changed.
///
/// ```
/// use subtree_model::{Errno, Op, RuleId, World};
///
/// let mut world = World::new();
/// let refused = world.apply(World::FIRST_TASK, &Op::Move { source: "/".into(), target: "/x".into() }).unwrap_err();
/// assert_eq!((refused.errno, refused.rule), (Errno::ENOENT, RuleId::PathMissing));
/// assert_eq!(refused.to_string(), "ENOENT: no such file or directory");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{errno}: {}", rule.meaning())]
pub struct Refused {
    /// The error.
    pub errno: Errno,
    /// The first check that fails, in the kernel's order.
    pub rule: RuleId,
}

impl From<RuleId> for Refused {
    fn from(rule: RuleId) -> Refused {
        // Every rule that is used as a check has its error in the table (a test sees to that).
        Refused { errno: rule.errno().unwrap_or(Errno::EINVAL), rule }
    }
}

/// A check: refused by `rule` unless `holds`.
pub(crate) fn check(holds: bool, rule: RuleId) -> Result<(), Refused> {
    if holds { Ok(()) } else { Err(rule.into()) }
}
