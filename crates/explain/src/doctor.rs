//! What of a machine would stop pods or mount propagation: a rule a function, each with one finding, also
//! when all is fine.
//!
//! Architecture invariant: a rule looks at facts ([`Machine`]) only and never compares kernel versions; the
//! versions in the texts tell the reader where to find a feature.

use crate::finding::{Finding, Severity};
use manifest::cri::CAPABILITY_NAMES;
use mount_table::machine::{Feature, Folder, Hierarchy, Machine, Support};

/// Judges a machine. Problems first, then limits, then what is fine, each in the order of the rules.
pub fn doctor(machine: &Machine) -> Vec<Finding> {
    const RULES: &[fn(&Machine) -> Finding] = &[
        root_user,
        root_mount,
        first_process,
        kernel,
        overlay,
        capabilities,
        cgroups,
        mount_limit,
        user_namespaces,
        security_modules,
        seccomp,
        fuse,
    ];
    let mut findings: Vec<Finding> = RULES.iter().map(|rule| rule(machine)).collect();
    findings.extend(machine.folders.iter().map(state_folder));
    findings.sort_by_key(|finding| finding.severity);
    findings
}

/// Nearly all that a container is made of needs root.
fn root_user(machine: &Machine) -> Finding {
    match machine.effective_user {
        0 => Finding::fine("root-user", "runs as root"),
        user => Finding::problem(
            "root-user",
            "not run as root",
            "namespaces, mounts and cgroups of pods are made by root; some questions below have no answer either",
        )
        .seen(format!("effective user id {user}"))
        .mend("sudo rhizome doctor", "the same for run, exec and the others"),
    }
}

/// A hostPath volume gets and gives mounts through the peer group of the mount that carries it.
fn root_mount(machine: &Machine) -> Finding {
    const ID: &str = "root-mount";
    let Some(mount) = &machine.root_mount else {
        return Finding::limit(
            ID,
            "/ is not a mount point",
            "this is a chroot: whether hostPath volumes can propagate depends on the mount that carries them",
        );
    };
    let words = mount.propagation.in_words();
    let seen = mount.to_string();
    if mount.propagation.is_shared() && !mount.propagation.is_slave() {
        return Finding::fine(ID, "/ is shared: hostPath volumes below it can propagate both ways")
            .seen(seen);
    }
    if mount.propagation.is_slave() {
        return Finding::limit(
            ID,
            format!("/ is {words}: mounts come in from its master, none go back"),
            "mounts made in Bidirectional volumes stay in this namespace and its peers; this looks like the \
             inside of a container or of a service with MountFlags=slave",
        )
        .seen(seen)
        .mend(
            "nsenter --target 1 --mount rhizome run …",
            "runs in the mount namespace of process 1, if that is the one you mean",
        );
    }
    Finding::problem(
        ID,
        format!("/ is {words}: hostPath volumes below it cannot have mountPropagation"),
        "HostToContainer and Bidirectional need a source on a shared mount; such pods are refused. \
         (systemd makes / shared at boot; other init systems and most sandboxes leave it private)",
    )
    .seen(seen)
    .mend(
        "mount --make-rshared /",
        "until the next boot, mounts made on this machine also appear in mount namespaces that are copied from \
         it later, unless those are made private (unshare, systemd and container runtimes do so by default). \
         Without touching the machine: `rhizome run --isolated`, or the pod annotation \
         rhizome.dev/make-shared: \"true\", which shares only the path that is asked for",
    )
}

/// The mount namespace that everybody else on the machine is in.
fn first_process(machine: &Machine) -> Finding {
    const ID: &str = "mount-namespace";
    let first = machine.first_process;
    match (first.same_mount_namespace, first.root_is_peer) {
        _ if first.isolated => Finding::fine(ID, "in this root's own mount namespace (--isolated)"),
        (Some(true), _) => Finding::fine(ID, "in the mount namespace of process 1"),
        (Some(false), Some(true)) => Finding::limit(
            ID,
            "not in the mount namespace of process 1, but / is a peer of its /",
            "mounts go both ways below /, not below mounts that only one of the two has",
        )
        .mend("nsenter --target 1 --mount rhizome …", "commands and pods then see the mounts of process 1"),
        (Some(false), _) => Finding::problem(
            ID,
            "not in the mount namespace of process 1",
            "what pods mount in Bidirectional volumes never reaches the host, and what the host mounts never \
             reaches them",
        )
        .mend(
            "nsenter --target 1 --mount rhizome …",
            "in a systemd service, remove MountFlags=, PrivateMounts=, PrivateTmp=, ProtectSystem= and the \
             like instead",
        ),
        (None, _) => Finding::limit(
            ID,
            "whether this is the mount namespace of process 1 could not be read",
            "if it is not, mounts of Bidirectional volumes do not reach the host",
        ),
    }
}

/// A kernel feature in words: its name, the first mainline release with it, what it is for, and whether pods
/// need it.
fn about(feature: Feature) -> (&'static str, &'static str, &'static str, bool) {
    match feature {
        Feature::Openat2 => ("openat2", "5.6", "paths that cannot lead out of images and volumes", true),
        Feature::MountApi => ("fsopen, open_tree, move_mount", "5.2", "mounting by descriptor", true),
        Feature::MountSetattr => ("mount_setattr", "5.12", "recursive read-only, id-mapped mounts", true),
        Feature::SetGroup => {
            ("MOVE_MOUNT_SET_GROUP", "5.15", "Bidirectional volumes that leak no mounts to the host", false)
        }
        Feature::Clone3 => ("clone3", "5.3", "starting containers", true),
        Feature::PidFd => ("pidfd", "5.3", "signalling the right process", true),
        Feature::Overlay => ("overlay", "4.0", "images of several layers, writable containers", true),
        Feature::OverlayLowerdirAppend => ("overlay lowerdir+", "6.7", "layers that mountinfo names", false),
        Feature::MoveBeneath => ("MOVE_MOUNT_BENEATH", "6.5", "replacing a mount without a gap", false),
        Feature::ListMount => ("statmount, listmount", "6.8", "mount ids that are never used again", false),
        Feature::FanotifyMounts => ("fanotify of mounts", "6.15", "live events of mounts", false),
    }
}

/// Calls that the kernel must have, and calls that it is better with.
fn kernel(machine: &Machine) -> Finding {
    const ID: &str = "kernel";
    let with = |wanted: Support| machine.features.iter().filter(move |(_, support)| **support == wanted);
    let missing: Vec<Feature> = with(Support::No).map(|(feature, _)| *feature).collect();
    let names = |needed: bool| {
        let of_kind = missing.iter().map(|feature| about(*feature)).filter(|(.., need)| *need == needed);
        of_kind.map(|(name, ..)| name).collect::<Vec<_>>().join(", ")
    };
    let release = &machine.kernel_release;
    let finding = match (names(true), names(false)) {
        (needed, _) if !needed.is_empty() => Finding::problem(
            ID,
            format!("Linux {release} lacks {needed}"),
            "pods cannot be built without; Linux 5.12 or newer is needed (5.15 for Bidirectional without leaks)",
        )
        .mend("uname -r", "install a newer kernel with the system's package manager and boot it"),
        (_, wished) if !wished.is_empty() => Finding::limit(
            ID,
            format!("Linux {release} lacks {wished}"),
            "everything else works; what each is for is listed below",
        ),
        _ if with(Support::Unknown).next().is_some() => {
            Finding::fine(ID, format!("Linux {release}; some features only tell root whether they are there"))
        }
        _ => Finding::fine(ID, format!("Linux {release} has all that is used")),
    };
    machine.features.iter().fold(finding, |finding, (feature, support)| {
        let (name, since, purpose, _) = about(*feature);
        let answer = match support {
            Support::Yes => "yes",
            Support::No => "NO",
            Support::Unknown => "not told",
        };
        finding.seen(format!("{answer}: {name} (Linux {since}), for {purpose}"))
    })
}

/// The root file systems of containers are overlays.
fn overlay(machine: &Machine) -> Finding {
    const ID: &str = "overlay";
    let listed = machine.file_systems.iter().any(|name| name == "overlay");
    match machine.support(Feature::Overlay) {
        Support::Yes => Finding::fine(ID, "the overlay file system is there"),
        Support::Unknown if listed => Finding::fine(ID, "the overlay file system is there"),
        _ => Finding::problem(
            ID,
            "the kernel has no overlay file system",
            "every container's root file system is one",
        )
        .mend("modprobe overlay", "for every boot: echo overlay > /etc/modules-load.d/overlay.conf"),
    }
}

/// What the builder of containers itself cannot do without.
const NEEDED: [&str; 10] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "KILL",
    "MKNOD",
    "NET_ADMIN",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_ADMIN",
];

/// Capabilities that the caller has not, or can never get.
fn capabilities(machine: &Machine) -> Finding {
    const ID: &str = "capabilities";
    let missing = |set: u64| {
        let unset = |(number, name): (usize, &&'static str)| (set & (1 << number) == 0).then_some(*name);
        CAPABILITY_NAMES.iter().enumerate().filter_map(unset).collect::<Vec<_>>()
    };
    let unusable = missing(machine.capabilities.effective);
    let lost = missing(machine.capabilities.bounding);
    if unusable.is_empty() && lost.is_empty() {
        return Finding::fine(ID, "all capabilities");
    }
    if machine.effective_user != 0 {
        return Finding::limit(ID, "no capabilities, as not root", "see root-user");
    }
    let needed: Vec<&str> = NEEDED.into_iter().filter(|name| unusable.contains(name)).collect();
    let finding = if needed.is_empty() {
        Finding::limit(
            ID,
            format!("{} missing from the bounding set", listed(&lost)),
            lost.iter().map(|name| what_without(name)).collect::<Vec<_>>().join("; "),
        )
    } else {
        Finding::problem(ID, format!("{} missing", listed(&needed)), "pods cannot be built without")
    };
    finding.seen(named("effective", &unusable)).seen(named("bounding", &lost)).mend(
        "systemd-run --pty bash",
        "a shell that does not descend from whatever took them away. Inside a container or sandbox they have \
         to be given from outside (docker run --privileged)",
    )
}

/// What works less well without a capability that only containers would use.
fn what_without(name: &str) -> String {
    match name {
        "SYS_RESOURCE" => {
            "without CAP_SYS_RESOURCE oom_score_adj cannot be lowered nor resource limits raised: \
                           both are clamped, with a warning"
                .to_owned()
        }
        "SYS_PTRACE" => {
            "without CAP_SYS_PTRACE namespaces of other users' processes cannot be looked at".to_owned()
        }
        "BPF" => "without CAP_BPF devices cannot be restricted on cgroup v2".to_owned(),
        name => format!("privileged containers run without CAP_{name}"),
    }
}

fn listed(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("CAP_{name}")).collect();
    match names.as_slice() {
        [first, second, third, _, rest @ ..] => {
            format!("{first}, {second}, {third} and {} more", rest.len() + 1)
        }
        few => few.join(", "),
    }
}

fn named(set: &str, missing: &[&str]) -> String {
    match missing.is_empty() {
        true => format!("{set} set: all"),
        false => format!("{set} set: all but {}", missing.join(" ")),
    }
}

/// Limits, and all processes of a pod together, need cgroups.
fn cgroups(machine: &Machine) -> Finding {
    const ID: &str = "cgroups";
    let cgroups = &machine.cgroups;
    let all = || cgroups.v1.iter().chain(&cgroups.v2);
    let kind = match (cgroups.v1.is_empty(), &cgroups.v2) {
        (true, None) => {
            return Finding::problem(
                ID,
                "no cgroup hierarchy is mounted",
                "processes of a pod could be neither limited nor found",
            )
            .mend("mount -t cgroup2 cgroup2 /sys/fs/cgroup", "until the next boot");
        }
        (true, Some(_)) => "v2",
        (false, None) => "v1",
        (false, Some(_)) => "hybrid: v1 and v2",
    };
    let finding = if let Some(read_only) = all().find(|hierarchy| hierarchy.read_only) {
        let path = read_only.mount_point.display();
        Finding::problem(ID, format!("cgroups ({kind}) are read-only"), "pods get cgroups of their own").mend(
            format!("mount -o remount,rw {path}"),
            "inside a container: start that one with --privileged",
        )
    } else {
        let lacks =
            |wanted: &&str| !all().any(|hierarchy| hierarchy.controllers.iter().any(|name| name == wanted));
        match ["memory", "cpu", "pids"].into_iter().filter(lacks).collect::<Vec<_>>().as_slice() {
            [] => Finding::fine(ID, format!("cgroups ({kind}) with memory, cpu and pids")),
            lacking => Finding::limit(
                ID,
                format!("cgroups ({kind}) lack {}", lacking.join(", ")),
                "limits of these are not enforced",
            )
            .mend(
                "cat /proc/cgroups /proc/cmdline",
                "shows whether the kernel has them and whether its command line turns them off \
                 (cgroup_disable=); some distributions need cgroup_enable=memory there",
            ),
        }
    };
    all().fold(finding, |finding, hierarchy| finding.seen(in_words(hierarchy)))
}

fn in_words(hierarchy: &Hierarchy) -> String {
    let controllers = match hierarchy.controllers.as_slice() {
        [] => "no controllers".to_owned(),
        some => some.join(" "),
    };
    format!("{}: {controllers}", hierarchy.mount_point.display())
}

/// Every container has a mount namespace, which starts as a copy; one that is full refuses any mount.
fn mount_limit(machine: &Machine) -> Finding {
    const ID: &str = "mount-limit";
    let (Some(mounts), Some(max)) = (machine.mounts, machine.mount_max) else {
        return Finding::limit(
            ID,
            "fs.mount-max could not be read",
            "a full mount namespace refuses any mount",
        );
    };
    let mend = |finding: Finding| {
        finding.mend(
            format!("sysctl -w fs.mount-max={}", max.saturating_mul(2)),
            "until the next boot. Thousands of mounts are mostly copies that multiply: see who makes them with \
             findmnt -o TARGET,PROPAGATION | sort | uniq -c | sort -n",
        )
    };
    let title = format!("{mounts} of at most {max} mounts (fs.mount-max)");
    // A container needs a few dozen.
    if mounts.saturating_add(100) > max {
        mend(Finding::problem(ID, title, "no room for the mounts of a container: ENOSPC"))
    } else if mounts > max / 2 {
        mend(Finding::limit(ID, title, "every container's mount namespace starts as a copy of these"))
    } else {
        Finding::fine(ID, title)
    }
}

/// `hostUsers: false` and `rhizome unshare --user`.
fn user_namespaces(machine: &Machine) -> Finding {
    const ID: &str = "user-namespaces";
    match machine.user_namespaces_max {
        Some(0) => Finding::limit(
            ID,
            "user namespaces are turned off",
            "`rhizome unshare --user` and pods with hostUsers: false need them",
        )
        .seen("user.max_user_namespaces = 0")
        .mend("sysctl -w user.max_user_namespaces=15000", "until the next boot; lets every user make them"),
        Some(max) => Finding::fine(ID, format!("user namespaces are allowed (up to {max})")),
        None => Finding::limit(
            ID,
            "the kernel has no user namespaces",
            "`rhizome unshare --user` and pods with hostUsers: false need them",
        ),
    }
}

/// AppArmor and SELinux.
fn security_modules(machine: &Machine) -> Finding {
    const ID: &str = "security-modules";
    if let Some(profile) = machine.apparmor.as_deref().filter(|profile| !profile.starts_with("unconfined")) {
        return Finding::problem(
            ID,
            format!("AppArmor confines this process to {profile}"),
            "such profiles mostly forbid mounting",
        )
        .mend("aa-exec -p unconfined -- rhizome …", "runs that command without a profile");
    }
    if machine.selinux_enforcing == Some(true) {
        return Finding::limit(
            ID,
            "SELinux is enforcing",
            "containers are not labelled: they run in the caller's domain, and hostPath volumes are not \
             relabelled",
        )
        .mend("ausearch -m avc -ts recent", "shows what it refused");
    }
    Finding::fine(ID, "no security module stands in the way")
}

/// The default filter of containers.
fn seccomp(machine: &Machine) -> Finding {
    const ID: &str = "seccomp";
    match machine.seccomp {
        Some(true) => Finding::fine(ID, "seccomp filters are there"),
        _ => Finding::limit(
            ID,
            "the kernel does not show seccomp filters",
            "containers without `seccompProfile: {type: Unconfined}` need them",
        )
        .seen("/proc/sys/kernel/seccomp/actions_avail cannot be read"),
    }
}

/// FUSE is what Bidirectional volumes are mostly used for.
fn fuse(machine: &Machine) -> Finding {
    const ID: &str = "fuse";
    if machine.fuse_device {
        return Finding::fine(ID, "/dev/fuse is there");
    }
    Finding::limit(ID, "/dev/fuse is missing", "FUSE file systems cannot be mounted in containers")
        .mend("modprobe fuse", "for every boot: echo fuse > /etc/modules-load.d/fuse.conf")
}

/// Where containers' writable layers live must be able to hold them.
fn state_folder(folder: &Folder) -> Finding {
    const ID: &str = "state-folder";
    let (path, purpose, fs_type) = (folder.path.display(), &folder.purpose, &folder.mount.fs_type);
    let carried = format!("carried by: {}", folder.mount);
    let elsewhere = |finding: Finding| {
        finding.seen(carried.clone()).mend(
            format!("mkdir -p {path} && mount -t tmpfs -o mode=0700 rhizome {path}"),
            "keeps it in memory until the next boot; or give --root DIR (RHIZOME_ROOT) on ext4, xfs or btrfs",
        )
    };
    if has_option(&folder.mount.options, "ro") || has_option(&folder.mount.super_options, "ro") {
        return elsewhere(Finding::problem(
            ID,
            format!("{path} is on a read-only mount"),
            format!("{purpose} live there"),
        ));
    }
    if folder.upper_layers && !can_hold_upper_layers(fs_type) {
        let title = format!("{path} is on {fs_type}, which cannot hold writable layers of overlays");
        return elsewhere(Finding::problem(
            ID,
            title,
            "containers could not write to their root file system",
        ));
    }
    if folder.upper_layers && has_option(&folder.mount.options, "noexec") {
        let title = format!("{path} is mounted noexec");
        let why = "programs in emptyDir volumes cannot be run";
        let mount_point = folder.mount.mount_point.display();
        return Finding::limit(ID, title, why).seen(carried).mend(
            format!("mount -o remount,exec {mount_point}"),
            "until the next boot, for all that is there",
        );
    }
    Finding::fine(ID, format!("{path} ({purpose}) is on {fs_type}")).seen(carried)
}

fn has_option(options: &str, wanted: &str) -> bool {
    options.split(',').any(|option| option == wanted)
}

/// File systems that overlayfs refuses above: overlays themselves, and those that revalidate names (network
/// and FUSE file systems, FAT), fs/overlayfs/super.c and params.c.
fn can_hold_upper_layers(fs_type: &str) -> bool {
    const CANNOT: [&str; 14] = [
        "overlay", "nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "vfat", "msdos", "exfat", "ecryptfs", "afs",
        "aufs", "fuse",
    ];
    !CANNOT.contains(&fs_type) && !fs_type.starts_with("fuse.")
}

/// Whether anything found would stop pods or propagation.
pub fn stops_something(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.severity == Severity::Problem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mount_table::machine::{Capabilities, Cgroups, FirstProcess};
    use mount_table::{Mount, MountTable};

    fn mount(row: &str) -> Mount {
        MountTable::parse_mountinfo(row.as_bytes()).unwrap().mounts.remove(0)
    }

    /// A machine with which nothing is wrong.
    fn machine() -> Machine {
        let features = [
            Feature::Openat2,
            Feature::MountApi,
            Feature::MountSetattr,
            Feature::SetGroup,
            Feature::Clone3,
            Feature::PidFd,
            Feature::Overlay,
            Feature::OverlayLowerdirAppend,
            Feature::MoveBeneath,
            Feature::ListMount,
            Feature::FanotifyMounts,
        ];
        Machine {
            kernel_release: "6.18.1".into(),
            features: features.map(|feature| (feature, Support::Yes)).into(),
            effective_user: 0,
            capabilities: Capabilities { effective: (1 << 41) - 1, bounding: (1 << 41) - 1 },
            root_mount: Some(mount("21 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n")),
            folders: vec![Folder {
                purpose: "images".into(),
                path: "/var/lib/rhizome".into(),
                mount: mount("21 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n"),
                upper_layers: true,
            }],
            cgroups: Cgroups {
                v1: vec![],
                v2: Some(Hierarchy {
                    mount_point: "/sys/fs/cgroup".into(),
                    controllers: ["cpu", "memory", "pids"].map(String::from).to_vec(),
                    read_only: false,
                }),
            },
            mounts: Some(30),
            mount_max: Some(100_000),
            user_namespaces_max: Some(15_000),
            apparmor: Some("unconfined".into()),
            selinux_enforcing: None,
            first_process: FirstProcess {
                same_mount_namespace: Some(true),
                root_is_peer: Some(true),
                isolated: false,
            },
            file_systems: vec!["overlay".into()],
            fuse_device: true,
            seccomp: Some(true),
        }
    }

    /// The findings that are not fine, as `severity id`, after a change to the good machine.
    fn found(change: impl FnOnce(&mut Machine)) -> Vec<String> {
        let mut machine = machine();
        change(&mut machine);
        let findings = doctor(&machine);
        assert!(findings.is_sorted_by_key(|finding| finding.severity));
        let bad = findings.iter().filter(|finding| finding.severity != Severity::Fine);
        bad.inspect(|finding| assert!(!finding.why.is_empty(), "{finding:?}"))
            .map(|finding| format!("{:?} {}", finding.severity, finding.id))
            .collect()
    }

    #[test]
    fn nothing_is_wrong_with_a_good_machine() {
        assert_eq!(found(|_| {}), [""; 0]);
        assert!(!stops_something(&doctor(&machine())));
    }

    #[test]
    fn a_private_root_stops_propagation_and_is_mended() {
        let private = |machine: &mut Machine| {
            machine.root_mount = Some(mount("21 1 8:1 / / rw - ext4 /dev/sda1 rw\n"));
        };
        assert_eq!(found(private), ["Problem root-mount"]);
        let mut machine = machine();
        private(&mut machine);
        let findings = doctor(&machine);
        assert!(stops_something(&findings));
        assert_eq!(findings[0].mends[0].command, "mount --make-rshared /");
        assert_eq!(findings[0].evidence, ["21 1 8:1 / / rw - ext4 /dev/sda1 rw"]);
    }

    #[test]
    fn a_slave_root_goes_one_way() {
        let slave = |row: &'static str| move |machine: &mut Machine| machine.root_mount = Some(mount(row));
        assert_eq!(found(slave("21 1 8:1 / / rw master:1 - ext4 a rw\n")), ["Limit root-mount"]);
        assert_eq!(found(slave("21 1 8:1 / / rw shared:2 master:1 - ext4 a rw\n")), ["Limit root-mount"]);
        assert_eq!(found(slave("21 1 8:1 / / rw unbindable - ext4 a rw\n")), ["Problem root-mount"]);
        assert_eq!(found(|machine| machine.root_mount = None), ["Limit root-mount"]);
    }

    #[test]
    fn kernels_without_a_call() {
        let without = |feature: Feature| {
            move |machine: &mut Machine| {
                machine.features.insert(feature, Support::No);
            }
        };
        assert_eq!(found(without(Feature::SetGroup)), ["Limit kernel"]);
        assert_eq!(found(without(Feature::MountSetattr)), ["Problem kernel"]);
        assert_eq!(found(without(Feature::Overlay)), ["Problem kernel", "Problem overlay"]);
    }

    #[test]
    fn capabilities_taken_away() {
        let without = |number: u32| {
            move |machine: &mut Machine| {
                machine.capabilities.effective &= !(1 << number);
                machine.capabilities.bounding &= !(1 << number);
            }
        };
        assert_eq!(found(without(24)), ["Limit capabilities"]);
        assert_eq!(found(without(21)), ["Problem capabilities"]);
        let mut machine = machine();
        without(24)(&mut machine);
        let finding = capabilities(&machine);
        assert_eq!(finding.title, "CAP_SYS_RESOURCE missing from the bounding set");
        assert!(finding.why.contains("oom_score_adj"));
        assert_eq!(listed(&["A", "B", "C", "D", "E"]), "CAP_A, CAP_B, CAP_C and 2 more");
    }

    #[test]
    fn state_folders() {
        let on = |row: &'static str| move |machine: &mut Machine| machine.folders[0].mount = mount(row);
        assert_eq!(found(on("21 1 8:1 / / ro - ext4 a rw\n")), ["Problem state-folder"]);
        assert_eq!(found(on("21 1 8:1 / / rw - iso9660 a ro\n")), ["Problem state-folder"]);
        assert_eq!(found(on("21 1 8:1 / / rw - overlay a rw\n")), ["Problem state-folder"]);
        assert_eq!(found(on("21 1 8:1 / / rw - fuse.sshfs a rw\n")), ["Problem state-folder"]);
        assert_eq!(found(on("21 1 8:1 / / rw,noexec - tmpfs a rw\n")), ["Limit state-folder"]);
        assert_eq!(found(on("21 1 8:1 / / rw,relatime - xfs a rw,norecovery\n")), [""; 0]);
    }

    #[test]
    fn cgroups_missing_or_read_only() {
        assert_eq!(found(|machine| machine.cgroups.v2 = None), ["Problem cgroups"]);
        assert_eq!(
            found(|machine| machine.cgroups.v2.as_mut().unwrap().read_only = true),
            ["Problem cgroups"]
        );
        assert_eq!(
            found(|machine| machine.cgroups.v2.as_mut().unwrap().controllers.clear()),
            ["Limit cgroups"]
        );
    }

    #[test]
    fn everything_else() {
        assert_eq!(found(|machine| machine.effective_user = 1000), ["Problem root-user"]);
        assert_eq!(found(|machine| machine.mounts = Some(99_950)), ["Problem mount-limit"]);
        assert_eq!(found(|machine| machine.mounts = Some(60_000)), ["Limit mount-limit"]);
        assert_eq!(found(|machine| machine.user_namespaces_max = Some(0)), ["Limit user-namespaces"]);
        assert_eq!(
            found(|machine| machine.apparmor = Some("docker-default (enforce)".into())),
            ["Problem security-modules"]
        );
        assert_eq!(found(|machine| machine.selinux_enforcing = Some(true)), ["Limit security-modules"]);
        assert_eq!(found(|machine| machine.fuse_device = false), ["Limit fuse"]);
        assert_eq!(found(|machine| machine.seccomp = None), ["Limit seccomp"]);
        let away = |peer, isolated| {
            move |machine: &mut Machine| {
                machine.first_process =
                    FirstProcess { same_mount_namespace: Some(false), root_is_peer: Some(peer), isolated };
            }
        };
        assert_eq!(found(away(true, false)), ["Limit mount-namespace"]);
        assert_eq!(found(away(false, false)), ["Problem mount-namespace"]);
        assert_eq!(found(away(false, true)), [""; 0]);
    }
}
