//! The causes, a file each, and their table.

mod arrived;
mod covered;
mod dead_fuse;
mod kept_by_child;
mod mounted_before_sharing;
mod not_in_any_volume;
mod not_recursive;
mod of_a_third;
mod other_group;
mod outside_volume;
mod own_mount;
mod private_copy;
mod private_copy_stays;
mod same_namespace;
mod shareable;
mod source_not_shared;
mod target_private;
mod unbindable_left_out;
mod unmounted_since;
mod volume_is_the_mount;
mod wrong_direction;

use super::trace::Trace;
use crate::finding::Finding;
use crate::rule::Rule;

pub(crate) use dead_fuse::{RULE as DEAD_FUSE, of as dead_fuse};
pub(super) use shareable::RULE as SHAREABLE;
pub(super) use source_not_shared::RULE as SOURCE_NOT_SHARED;

/// All causes, the more special first: the first that applies is given.
pub(super) static TABLE: &[fn(&Trace<'_>) -> Option<Finding>] = &[
    dead_fuse::find,
    same_namespace::find,
    arrived::find,
    private_copy::find,
    volume_is_the_mount::find,
    of_a_third::find,
    kept_by_child::find,
    private_copy_stays::find,
    own_mount::find,
    covered::find,
    unbindable_left_out::find,
    wrong_direction::find,
    not_recursive::find_untied,
    source_not_shared::find,
    target_private::find,
    other_group::find,
    mounted_before_sharing::find,
    unmounted_since::find,
    not_recursive::find,
    outside_volume::find,
    not_in_any_volume::find,
];

/// The pages of the causes.
pub static RULES: &[&Rule] = &[
    &source_not_shared::RULE,
    &target_private::RULE,
    &wrong_direction::RULE,
    &other_group::RULE,
    &not_recursive::RULE,
    &unmounted_since::RULE,
    &mounted_before_sharing::RULE,
    &unbindable_left_out::RULE,
    &covered::RULE,
    &outside_volume::RULE,
    &not_in_any_volume::RULE,
    &volume_is_the_mount::RULE,
    &dead_fuse::RULE,
    &private_copy_stays::RULE,
    &kept_by_child::RULE,
    &own_mount::RULE,
    &of_a_third::RULE,
    &private_copy::RULE,
    &arrived::RULE,
    &same_namespace::RULE,
    &shareable::RULE,
];
