//! A row of mountinfo made of what statmount(2) says: the same value, whichever way it was read.

use mount_table::{Device, Mount, MountId, PeerGroup, Propagation, readable, split_deleted};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use sys::listing::{Detail, MountStat, stat_mount};

/// One mount by its unique id, and its parent's. None if it is not in that namespace (any more).
pub(crate) fn stat_row(namespace: u64, id: u64) -> Option<(Mount, u64)> {
    let stat = stat_mount(namespace, id, Detail::Row, &mut Vec::new()).ok()?;
    let parent = stat.parent;
    Some((row(stat), parent))
}

/// The row, but for `propagate_from`, which statmount(2) is not asked for (see [`super::propagate`]).
pub(super) fn row(stat: MountStat) -> Mount {
    let (root, deleted) = split_deleted(stat.root.unwrap_or_default());
    let mut fs_type = readable(&stat.fs_type.unwrap_or_default());
    if let Some(subtype) = stat.fs_subtype.filter(|subtype| !subtype.is_empty()) {
        fs_type = format!("{fs_type}.{}", readable(&subtype));
    }
    let group = |id: u64| (id != 0).then_some(PeerGroup(id));
    Mount {
        id: MountId(u64::from(stat.old_id)),
        parent: MountId(u64::from(stat.old_parent)),
        device: Device { major: stat.device.0, minor: stat.device.1 },
        root,
        deleted,
        mount_point: OsString::from_vec(stat.mount_point.unwrap_or_default()).into(),
        options: options(stat.attributes),
        propagation: Propagation {
            shared: group(stat.peer_group).filter(|_| stat.propagation & MS_SHARED != 0),
            master: group(stat.master).filter(|_| stat.propagation & MS_SLAVE != 0),
            propagate_from: None,
            unbindable: stat.propagation & MS_UNBINDABLE != 0,
        },
        fs_type,
        // An empty one is not given at all; without any, the kernel calls it "none" itself.
        source: stat.source.map_or(String::new(), |source| readable(&source)),
        super_options: super_options(stat.file_system_flags, stat.options.as_deref()),
    }
}

const MS_UNBINDABLE: u64 = 1 << 17;
const MS_SLAVE: u64 = 1 << 19;
const MS_SHARED: u64 = 1 << 20;

/// `MOUNT_ATTR_*` in the words and the order of `show_mnt_opts()`, fs/proc_namespace.c.
fn options(attributes: u64) -> String {
    const NOATIME: u64 = 0x10;
    const STRICTATIME: u64 = 0x20;
    let mut text = if attributes & 0x1 != 0 { "ro" } else { "rw" }.to_owned();
    let relatime = attributes & (NOATIME | STRICTATIME) == 0;
    for (is_set, word) in [
        (attributes & 0x2 != 0, ",nosuid"),
        (attributes & 0x4 != 0, ",nodev"),
        (attributes & 0x8 != 0, ",noexec"),
        (attributes & NOATIME != 0, ",noatime"),
        (attributes & 0x80 != 0, ",nodiratime"),
        (relatime, ",relatime"),
        (attributes & 0x20_0000 != 0, ",nosymfollow"),
        (attributes & 0x10_0000 != 0, ",idmapped"),
    ] {
        text.push_str(if is_set { word } else { "" });
    }
    text
}

/// The flags of a superblock in the words and the order of `show_sb_opts()`, then its own options.
fn super_options(flags: u32, own: Option<&[u8]>) -> String {
    let mut text = if flags & 0x1 != 0 { "ro" } else { "rw" }.to_owned();
    for (bit, word) in [(1 << 4, ",sync"), (1 << 7, ",dirsync"), (1 << 25, ",lazytime")] {
        text.push_str(if flags & bit != 0 { word } else { "" });
    }
    if let Some(own) = own.filter(|own| !own.is_empty()) {
        text.push(',');
        text.push_str(&readable(own));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_as_mountinfo_has_them() {
        assert_eq!(options(0), "rw,relatime");
        assert_eq!(options(0x1 | 0x2 | 0x4 | 0x8 | 0x20), "ro,nosuid,nodev,noexec");
        assert_eq!(options(0x10 | 0x80 | 0x30_0000), "rw,noatime,nodiratime,nosymfollow,idmapped");
        assert_eq!(super_options(0x1 | 1 << 25, Some(b"size=4k,x=\xff")), "ro,lazytime,size=4k,x=\\377");
        assert_eq!(super_options(0, None), "rw");
    }
}
