//! The facts of [`Machine`], read from /proc, /sys and the kernel.

use crate::{Result, read_mounts_of, read_own_mounts};
use mount_table::machine::{
    Capabilities, Cgroups, Feature, FirstProcess, Folder, Hierarchy, Machine, Support,
};
use mount_table::{Mount, MountTable};
use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// A folder to be looked at: see [`Folder`].
#[derive(Debug, Clone)]
pub struct StateFolder {
    /// What is kept there, in words.
    pub purpose: &'static str,
    /// Where.
    pub path: PathBuf,
    /// Whether upper layers of overlays are to live in it.
    pub upper_layers: bool,
}

/// Reads what there is to know. What cannot be read is absent.
///
/// # Errors
/// The own mounts cannot be read (no /proc).
pub fn read_machine(folders: &[StateFolder]) -> Result<Machine> {
    let mounts = read_own_mounts()?;
    let folder = |wanted: &StateFolder| {
        Some(Folder {
            purpose: wanted.purpose.to_owned(),
            path: wanted.path.clone(),
            mount: mounts.carrier(&existing_part(&wanted.path))?.clone(),
            upper_layers: wanted.upper_layers,
        })
    };
    Ok(Machine {
        kernel_release: rustix::system::uname().release().to_string_lossy().into_owned(),
        features: features(),
        effective_user: rustix::process::geteuid().as_raw(),
        capabilities: capabilities(),
        root_mount: mounts.carrier(Path::new("/")).cloned(),
        folders: folders.iter().filter_map(folder).collect(),
        cgroups: cgroups(&mounts),
        mounts: Some(mounts.mounts.len() as u64),
        mount_max: read_number("/proc/sys/fs/mount-max"),
        user_namespaces_max: read_number("/proc/sys/user/max_user_namespaces"),
        apparmor: apparmor(),
        selinux_enforcing: read_number("/sys/fs/selinux/enforce").map(|number| number != 0),
        first_process: first_process(&mounts),
        file_systems: file_systems(),
        fuse_device: std::fs::metadata("/dev/fuse").is_ok_and(|meta| meta.file_type().is_char_device()),
        seccomp: Some(read_text("/proc/sys/kernel/seccomp/actions_avail").is_some()),
    })
}

fn features() -> BTreeMap<Feature, Support> {
    let kernel = sys::features::Features::ask();
    let both = |a: sys::features::Support, b: sys::features::Support| if a == b { a } else { worse(a, b) };
    [
        (Feature::Openat2, kernel.openat2),
        (Feature::MountApi, kernel.fsopen),
        (Feature::MountSetattr, kernel.mount_setattr),
        (Feature::SetGroup, kernel.set_group),
        (Feature::Clone3, kernel.clone3),
        (Feature::PidFd, kernel.pidfd),
        (Feature::Overlay, kernel.overlay),
        (Feature::OverlayLowerdirAppend, kernel.overlay_lowerdir_append),
        (Feature::MoveBeneath, kernel.move_beneath),
        (Feature::ListMount, both(kernel.statmount, kernel.listmount)),
        (Feature::FanotifyMounts, kernel.fanotify_mounts),
    ]
    .map(|(feature, support)| (feature, value(support)))
    .into()
}

fn worse(a: sys::features::Support, b: sys::features::Support) -> sys::features::Support {
    use sys::features::Support::{No, Unknown, Yes};
    match (a, b) {
        (No, _) | (_, No) => No,
        (Unknown, _) | (_, Unknown) => Unknown,
        (Yes, Yes) => Yes,
    }
}

fn value(support: sys::features::Support) -> Support {
    match support {
        sys::features::Support::Yes => Support::Yes,
        sys::features::Support::No => Support::No,
        sys::features::Support::Unknown => Support::Unknown,
    }
}

/// `CapEff` and `CapBnd` of proc_pid_status(5). None at all if they cannot be read.
fn capabilities() -> Capabilities {
    let status = read_text("/proc/self/status").unwrap_or_default();
    let set = |name| {
        let hex = status.lines().find_map(|line| line.strip_prefix(name))?.trim();
        u64::from_str_radix(hex, 16).ok()
    };
    Capabilities {
        effective: set("CapEff:").unwrap_or_default(),
        bounding: set("CapBnd:").unwrap_or_default(),
    }
}

/// Hierarchies that are mounted and visible, as the mount table shows them.
fn cgroups(mounts: &MountTable) -> Cgroups {
    let mut cgroups = Cgroups::default();
    for mount in &mounts.mounts {
        let version = match mount.fs_type.as_str() {
            "cgroup" => 1,
            "cgroup2" => 2,
            _ => continue,
        };
        // Hidden below another mount, or the tree of somebody else's container bound somewhere.
        if mounts.carrier(&mount.mount_point).is_none_or(|top| top.id != mount.id) {
            continue;
        }
        if version == 2 {
            cgroups.v2.get_or_insert_with(|| hierarchy(mount, controllers_v2(&mount.mount_point)));
        } else if !cgroups.v1.iter().any(|known| known.controllers == controllers_v1(mount)) {
            cgroups.v1.push(hierarchy(mount, controllers_v1(mount)));
        }
    }
    cgroups
}

fn hierarchy(mount: &Mount, controllers: Vec<String>) -> Hierarchy {
    Hierarchy { mount_point: mount.mount_point.clone(), controllers, read_only: is_read_only(mount) }
}

fn is_read_only(mount: &Mount) -> bool {
    let has_ro = |options: &str| options.split(',').any(|option| option == "ro");
    has_ro(&mount.options) || has_ro(&mount.super_options)
}

/// Version 1 names the controllers among the options of the file system; a hierarchy without any has a name.
fn controllers_v1(mount: &Mount) -> Vec<String> {
    const OTHERS: [&str; 5] = ["rw", "ro", "xattr", "clone_children", "noprefix"];
    let is_controller = |option: &&str| !OTHERS.contains(option) && !option.starts_with("release_agent=");
    mount.super_options.split(',').filter(is_controller).map(str::to_owned).collect()
}

fn controllers_v2(mount_point: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(mount_point.join("cgroup.controllers")).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

fn first_process(own: &MountTable) -> FirstProcess {
    let first = read_mounts_of(1).ok();
    let root =
        |table: &MountTable| table.carrier(Path::new("/")).map(|mount| (mount.id, mount.propagation.shared));
    let roots = || Some((root(first.as_ref()?)?, root(own)?));
    let namespace = |path| std::fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
    let same = match (namespace("/proc/1/ns/mnt"), namespace("/proc/self/ns/mnt")) {
        (Some(first), Some(own)) => Some(first == own),
        // Whoever lacks a capability that process 1 has may not ask for its namespace, but may read its mounts,
        // and no two mounts of a machine have the same id.
        _ => roots().map(|((first, _), (own, _))| first == own),
    };
    let root_is_peer = roots().map(|((_, first), (_, own))| first.is_some() && first == own);
    FirstProcess { same_mount_namespace: same, root_is_peer, isolated: false }
}

/// The profile, where AppArmor is on.
fn apparmor() -> Option<String> {
    let enabled = read_text("/sys/module/apparmor/parameters/enabled")?;
    let profile =
        || read_text("/proc/self/attr/apparmor/current").or_else(|| read_text("/proc/self/attr/current"));
    (enabled == "Y").then(|| profile().unwrap_or_else(|| "unconfined".to_owned()))
}

fn file_systems() -> Vec<String> {
    let text = read_text("/proc/filesystems").unwrap_or_default();
    text.lines().filter_map(|line| line.split_whitespace().last()).map(str::to_owned).collect()
}

fn read_number(path: &str) -> Option<u64> {
    read_text(path)?.parse().ok()
}

/// The file's text without the white space at its ends.
fn read_text(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// The longest part of the path that is there, without symbolic links.
fn existing_part(path: &Path) -> PathBuf {
    path.ancestors().find_map(|part| part.canonicalize().ok()).unwrap_or_else(|| PathBuf::from("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(fs_type: &str, super_options: &str) -> Mount {
        let row = format!("31 23 0:28 / /sys/fs/cgroup/x rw,relatime - {fs_type} none {super_options}\n");
        MountTable::parse_mountinfo(row.as_bytes()).unwrap().mounts.remove(0)
    }

    #[test]
    fn version_1_controllers_are_among_the_options() {
        assert_eq!(controllers_v1(&mount("cgroup", "rw,cpu,cpuacct")), ["cpu", "cpuacct"]);
        assert_eq!(
            controllers_v1(&mount("cgroup", "rw,xattr,release_agent=/a/b,name=systemd")),
            ["name=systemd"]
        );
    }

    #[test]
    fn read_only_is_of_the_mount_or_of_the_file_system() {
        assert!(!is_read_only(&mount("cgroup", "rw,errors=remount-ro")));
        assert!(is_read_only(&mount("cgroup", "ro,cpu")));
    }

    #[test]
    fn a_folder_that_is_not_there_has_the_mount_that_would_carry_it() {
        let folder = StateFolder { purpose: "x", path: "/proc/not/there".into(), upper_layers: false };
        let machine = read_machine(&[folder]).unwrap();
        assert_eq!(machine.folders[0].mount.fs_type, "proc");
        assert_eq!(machine.folders[0].path, Path::new("/proc/not/there"));
    }

    #[test]
    fn this_machine_has_a_kernel_and_a_root() {
        let machine = read_machine(&[]).unwrap();
        assert!(machine.kernel_release.starts_with(|first: char| first.is_ascii_digit()));
        assert!(machine.root_mount.is_some());
        assert!(machine.mounts.unwrap() > 0);
        assert!(machine.file_systems.iter().any(|name| name == "tmpfs"));
        assert_eq!(machine.features.len(), 11);
    }
}
