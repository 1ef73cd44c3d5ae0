//! The rules, a file each, and their table.

mod daemon_elsewhere;
mod dead_fuse;
mod duplicate_stack;
mod left_by_dead_container;
mod mount_count;
mod pinned_by_private_copy;
mod root_not_shared;
mod wide_private_volume;
mod writable_below_read_only;

use super::Scene;
use crate::finding::Finding;
use crate::rule::Rule;

/// All rules.
pub(super) static TABLE: &[fn(&Scene<'_>) -> Vec<Finding>] = &[
    dead_fuse::find,
    left_by_dead_container::find,
    duplicate_stack::find,
    mount_count::find,
    daemon_elsewhere::find,
    root_not_shared::find,
    pinned_by_private_copy::find,
    wide_private_volume::find,
    writable_below_read_only::find,
];

/// The pages of the rules.
pub static RULES: &[&Rule] = &[
    dead_fuse::RULE,
    &left_by_dead_container::RULE,
    &duplicate_stack::RULE,
    &mount_count::RULE,
    &daemon_elsewhere::RULE,
    &root_not_shared::RULE,
    &pinned_by_private_copy::RULE,
    &wide_private_volume::RULE,
    &writable_below_read_only::RULE,
];
