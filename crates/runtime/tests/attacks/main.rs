//! Attacks on the runtime by what runs in its containers, each tried in a loop. Where an attack has a public
//! identifier the case has its name. What each is about, and why it fails here, is in docs/security.md.
//!
//! Every case runs in a process of its own with a mount namespace, a tmpfs and cgroups of its own.

#[path = "../support/mod.rs"]
mod support;

mod descriptors;
mod executable;
mod masks;
mod resources;
mod rival;
mod targets;
mod unmounting;

use support::Case;

fn main() {
    if std::env::args().nth(1).as_deref() == Some(executable::OVERWRITER) {
        executable::overwriter();
    }
    // As supervisors and commands do before they go near a container.
    sys::process::ensure_read_only_exe().expect("a read-only path to this program");
    support::run("attacks", CASES)
}

const CASES: &[Case] = &[
    ("cve_2021_30465_a_directory_exchanged_for_a_link", targets::exchanged_directory),
    ("cve_2024_45310_directories_made_outside", targets::directories_made_outside),
    ("cve_2019_16884_an_image_whose_proc_is_a_link", targets::links_at_kernel_directories),
    ("cve_2023_27561_a_volume_in_the_place_of_proc", targets::volume_in_the_place_of_proc),
    ("cve_2024_21626_a_working_directory_by_descriptor", descriptors::working_directory),
    ("cve_2024_21626_a_working_directory_exchanged_before_exec", descriptors::working_directory_of_exec),
    ("cve_2019_5736_our_binary_as_the_program", executable::as_the_program),
    ("cve_2019_5736_our_binary_through_another_process", executable::through_another_process),
    ("cve_2025_31133_a_null_device_that_is_a_link", masks::null_device),
    ("cve_2025_52565_a_console_that_is_a_link", masks::console),
    ("proc_and_sys_are_not_to_be_written", masks::proc_and_sys),
    ("devices_of_the_machine_stay_shut", masks::devices),
    ("a_container_that_unmounts_everything", unmounting::everything),
    ("a_container_that_unmounts_a_bidirectional_volume", unmounting::bidirectional),
    ("a_container_that_mounts_over_our_files", unmounting::over_our_files),
    ("a_container_that_forks_without_end", resources::forks),
    ("a_container_that_ignores_every_signal", resources::ignores_signals),
];
