//! The rules, a file each, and their table.

mod bidirectional_nested_volume;
mod bidirectional_not_privileged;
mod bidirectional_on_root;
mod bidirectional_read_only;
mod emptydir_bidirectional_teardown;
mod fuse_root_as_volume;
mod ignored_on_windows;
mod misspelt_field;
mod nested_under_private;
mod no_object;
mod not_yaml;
mod old_api_version;
mod overlapping_volumes;
mod propagation_on_file;
mod read_only_not_recursive;
mod recursive_read_only_with_propagation;
mod refused;
mod repeated_key;
mod repeated_object;
mod runtime_dependent_none;
mod subpath_with_propagation;
mod unknown_kind;
mod unknown_mode;
mod unknown_suppression;
mod wide_host_path_without_propagation;

use super::rule::Rule;

/// All rules: what is about mounts first, of problems of reading the more special first.
pub static RULES: &[&Rule] = &[
    &unknown_mode::RULE,
    &bidirectional_not_privileged::RULE,
    &recursive_read_only_with_propagation::RULE,
    &misspelt_field::RULE,
    &bidirectional_nested_volume::RULE,
    &bidirectional_on_root::RULE,
    &bidirectional_read_only::RULE,
    &emptydir_bidirectional_teardown::RULE,
    &fuse_root_as_volume::RULE,
    &ignored_on_windows::RULE,
    &nested_under_private::RULE,
    &overlapping_volumes::RULE,
    &propagation_on_file::RULE,
    &subpath_with_propagation::RULE,
    &wide_host_path_without_propagation::RULE,
    &read_only_not_recursive::RULE,
    &runtime_dependent_none::RULE,
    &not_yaml::RULE,
    &no_object::RULE,
    &unknown_kind::RULE,
    &old_api_version::RULE,
    &refused::RULE,
    &repeated_key::RULE,
    &repeated_object::RULE,
    &unknown_suppression::RULE,
];
