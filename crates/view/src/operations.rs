//! A container's mount operations, for reading: a line an operation in the manner of strace(1), with names for
//! descriptors, under what they are for.

use crate::table::table;
use crate::text::{Paint, printable};
use explain::build::Build;
use manifest::cri::{Mount, MountPropagation};
use std::fmt::Write as _;
use std::path::Path;
use subtree_model::{Attributes, Handle, Missing, Node, Op, PropagationType};

/// What would be mounted in a container.
#[derive(Debug, Clone)]
pub struct ContainerPlan {
    /// The container's name.
    pub container: String,
    /// The pod's volumes and the node's files, as asked for.
    pub mounts: Vec<Mount>,
    /// How they and all others are made.
    pub build: Build,
}

/// The plan of a container: what comes where, and every operation in order.
pub fn operations(pod: &str, plan: &ContainerPlan, paint: Paint) -> String {
    let title = format!("pod {}, container {}", printable(pod), printable(&plan.container));
    format!("{}\n{}\n{}", paint.strong(&title), mounts(&plan.mounts), calls(&plan.build, paint))
}

/// Volumes first, then the node's own files.
fn mounts(mounts: &[Mount]) -> String {
    let row = |mount: &Mount| {
        let propagation = match mount.propagation {
            MountPropagation::Private => "None",
            MountPropagation::HostToContainer => "HostToContainer",
            MountPropagation::Bidirectional => "Bidirectional",
        };
        let access = match (mount.readonly, mount.recursive_read_only) {
            (_, true) => "read-only, recursively",
            (true, false) => "read-only",
            (false, false) => "writable",
        };
        let volume = mount.volume.as_deref().unwrap_or("<node>");
        [
            mount.container_path.display().to_string(),
            volume.to_owned(),
            propagation.to_owned(),
            access.to_owned(),
            mount.host_path.display().to_string(),
        ]
    };
    let (volumes, node): (Vec<&Mount>, Vec<&Mount>) = mounts.iter().partition(|mount| mount.volume.is_some());
    let rows: Vec<_> = volumes.into_iter().chain(node).map(row).collect();
    let table = table(Some(["MOUNT PATH", "VOLUME", "PROPAGATION", "ACCESS", "SOURCE"]), &rows);
    table.lines().map(|line| format!("  {line}\n")).collect()
}

fn calls(build: &Build, paint: Paint) -> String {
    let mut text = format!("  {} operations:\n", build.ops.len());
    let digits = build.ops.len().to_string().len();
    for (index, op) in build.ops.iter().enumerate() {
        for section in build.sections.iter().filter(|section| section.first == index) {
            let _ = writeln!(text, "  {}", paint.label(&format!("# {}", printable(&section.title))));
        }
        // A descriptor that is let go of changes no mount.
        if matches!(op, Op::Close { .. }) {
            continue;
        }
        let number = paint.dim(&format!("{:>digits$}", index + 1));
        let _ = writeln!(text, "  {number}  {}", printable(&call(op)));
    }
    for leak in &build.leaks {
        let place = leak.display().to_string();
        let _ = writeln!(
            text,
            "  {} {} will also appear on the host: this kernel has no MOVE_MOUNT_SET_GROUP (Linux 5.15)",
            paint.warn("warning:"),
            printable(&place)
        );
    }
    text
}

/// An operation as the system call that it is.
fn call(op: &Op) -> String {
    match op {
        Op::Open { root, path, follow, missing, out } => {
            let links = if *follow { "" } else { ", RESOLVE_NO_SYMLINKS" };
            let made = match missing {
                None => "",
                Some(Missing::Directory) => ", made as a directory if missing",
                Some(Missing::File) => ", made as a file if missing",
            };
            format!("openat2({}, {}{links}{made}) = {}", handle(*root), quoted(path), handle(*out))
        }
        Op::CloneTree { from, recursive, out } => {
            let recursive = if *recursive { "|AT_RECURSIVE" } else { "" };
            format!("open_tree({}, OPEN_TREE_CLONE{recursive}) = {}", handle(*from), handle(*out))
        }
        Op::NewFileSystem { fs_type, source, options, attributes, out } => {
            let options: Vec<String> = options
                .iter()
                .map(|(key, value)| {
                    value.as_ref().map_or_else(|| key.clone(), |value| format!("{key}={value}"))
                })
                .collect();
            let options = [source.clone()].into_iter().chain(options).collect::<Vec<_>>().join(", ");
            let attributes = match attribute_names(*attributes).as_str() {
                "" => String::new(),
                names => format!(", {names}"),
            };
            format!("fsmount({fs_type}: {options}{attributes}) = {}", handle(*out))
        }
        Op::Make { root, path, node } => {
            let place = format!("{}, {}", handle(*root), quoted(path));
            match node {
                Node::Directory { mode } => format!("mkdirat({place}, {mode:04o})"),
                Node::File { mode } => format!("mknodat({place}, file {mode:04o})"),
                Node::Symlink { target } => format!("symlinkat({}, {place})", quoted(target)),
                Node::CharDevice { mode, major, minor } => {
                    format!("mknodat({place}, char {major}:{minor} {mode:04o})")
                }
                Node::BlockDevice { mode, major, minor } => {
                    format!("mknodat({place}, block {major}:{minor} {mode:04o})")
                }
            }
        }
        Op::SetAttributes { mount, recursive, set, clear, propagation } => {
            let mut changes = Vec::new();
            changes.extend(propagation.map(|kind| propagation_name(kind).to_owned()));
            changes.extend(Some(attribute_names(*set)).filter(|names| !names.is_empty()));
            let cleared = attribute_names(*clear);
            changes.extend((!cleared.is_empty()).then(|| format!("without {cleared}")));
            let recursive = if *recursive { "AT_RECURSIVE, " } else { "" };
            format!("mount_setattr({}, {recursive}{})", handle(*mount), changes.join("|"))
        }
        Op::MapIds { mount, recursive } => {
            let recursive = if *recursive { "AT_RECURSIVE, " } else { "" };
            format!("mount_setattr({}, {recursive}IDMAP)", handle(*mount))
        }
        Op::UnshareUserAndMounts => "setns(CLONE_NEWUSER), unshare(CLONE_NEWNS)".to_owned(),
        Op::MoveMount { from, to } => format!("move_mount({}, {})", handle(*from), handle(*to)),
        Op::SetGroup { from, to } => {
            format!("move_mount({}, {}, MOVE_MOUNT_SET_GROUP)", handle(*from), handle(*to))
        }
        Op::Unmount { at, detach } => {
            format!("umount2({}{})", handle(*at), if *detach { ", MNT_DETACH" } else { "" })
        }
        Op::UnshareMounts => "unshare(CLONE_NEWNS)".to_owned(),
        Op::PivotRoot { new_root } => format!("pivot_root({})", handle(*new_root)),
        Op::Close { handle: closed } => format!("close({})", handle(*closed)),
        // Operations may be added; then this is at least all of it.
        other => format!("{other:?}"),
    }
}

fn handle(handle: Handle) -> String {
    if handle == Handle::HOST { "/".to_owned() } else { format!("fd{}", handle.0) }
}

fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display())
}

fn propagation_name(kind: PropagationType) -> &'static str {
    match kind {
        PropagationType::Shared => "MS_SHARED",
        PropagationType::Slave => "MS_SLAVE",
        PropagationType::Private => "MS_PRIVATE",
        PropagationType::Unbindable => "MS_UNBINDABLE",
    }
}

fn attribute_names(attributes: Attributes) -> String {
    let named = [
        (attributes.read_only, "RDONLY"),
        (attributes.no_suid, "NOSUID"),
        (attributes.no_dev, "NODEV"),
        (attributes.no_exec, "NOEXEC"),
    ];
    named.into_iter().filter(|(set, _)| *set).map(|(_, name)| name).collect::<Vec<_>>().join("|")
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use explain::build::{
        Bind, ContainerMounts, Facts, FileSystem, Placed, ReadOnly, RootFileSystem, What, build,
    };
    use mount_table::MountTable;

    #[test]
    fn a_bidirectional_volume_with_another_mount_below() {
        let host = MountTable::parse_mountinfo(b"21 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n").unwrap();
        let root = RootFileSystem {
            lower: vec!["/l/1".into()],
            upper: "/u".into(),
            work: "/w".into(),
            staging: "/run/s".into(),
            read_only: false,
        };
        let volume = What::Bind(Bind {
            source: "/mnt".into(),
            directory: true,
            read_only: ReadOnly::No,
            propagation: MountPropagation::Bidirectional,
            volume: Some("testmount".into()),
            map_ids: true,
            layers: Vec::new(),
        });
        let tmpfs = FileSystem {
            fs_type: "tmpfs".into(),
            options: vec![("size".into(), Some("1m".into()))],
            attributes: Attributes { no_suid: true, no_dev: true, ..Attributes::default() },
            ..FileSystem::default()
        };
        let placed = vec![
            Placed { target: "/home".into(), what: volume },
            Placed { target: "/home/tmp\x1b".into(), what: What::FileSystem(tmpfs) },
        ];
        let build = build(
            &ContainerMounts { root, placed, user_namespace: false },
            Facts { host: &host, set_group: true },
        )
        .unwrap();
        let mounts = vec![
            Mount { container_path: "/etc/hosts".into(), host_path: "/h".into(), ..Mount::default() },
            Mount {
                container_path: "/home".into(),
                host_path: "/mnt".into(),
                propagation: MountPropagation::Bidirectional,
                volume: Some("testmount".into()),
                ..Mount::default()
            },
        ];
        let text =
            operations("mount-a", &ContainerPlan { container: "main".into(), mounts, build }, Paint::NONE);
        assert!(!text.contains('\x1b'));
        expect![[r#"
            pod mount-a, container main
              MOUNT PATH   VOLUME      PROPAGATION     ACCESS     SOURCE
              /home        testmount   Bidirectional   writable   /mnt
              /etc/hosts   <node>      None            writable   /h

              26 operations:
              # source /mnt of volume testmount
               1  openat2(/, "/mnt", RESOLVE_NO_SYMLINKS) = fd1
               2  open_tree(fd1, OPEN_TREE_CLONE|AT_RECURSIVE) = fd2
              # a mount namespace of its own, private
               4  unshare(CLONE_NEWNS)
               5  mount_setattr(/, AT_RECURSIVE, MS_PRIVATE)
              # root file system
               6  fsmount(overlay: overlay, lowerdir+=/l/1, upperdir=/u, workdir=/w) = fd3
               7  openat2(/, "/run/s", RESOLVE_NO_SYMLINKS) = fd4
               8  move_mount(fd3, fd4)
              # /mnt at /home
              10  openat2(fd3, "/home", RESOLVE_NO_SYMLINKS, made as a directory if missing) = fd5
              11  move_mount(fd2, fd5)
              # /home carries a mount of ours: private until that is in place
              14  openat2(fd3, "/home", RESOLVE_NO_SYMLINKS) = fd6
              15  open_tree(fd6, OPEN_TREE_CLONE) = fd7
              16  mount_setattr(fd6, MS_PRIVATE)
              # tmpfs at /home/tmp\x1b
              17  fsmount(tmpfs: tmpfs, size=1m, NOSUID|NODEV) = fd8
              18  openat2(fd3, "/home/tmp\x1b", RESOLVE_NO_SYMLINKS, made as a directory if missing) = fd9
              19  move_mount(fd8, fd9)
              # /home joins its peer group again
              22  move_mount(fd7, fd6, MOVE_MOUNT_SET_GROUP)
              # the new root
              25  pivot_root(fd3)
        "#]]
        .assert_eq(&text);
    }
}
