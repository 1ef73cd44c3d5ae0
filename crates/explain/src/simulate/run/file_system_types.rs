//! Types of file systems as the tools know them, and tmpfs' options.

use mount_table::Mount;

/// Options of tmpfs(5).
pub(super) fn is_tmpfs_option(option: &str) -> bool {
    const WITH_VALUE: [&str; 12] = [
        "size",
        "nr_blocks",
        "nr_inodes",
        "mode",
        "uid",
        "gid",
        "huge",
        "mpol",
        "usrquota_block_hardlimit",
        "usrquota_inode_hardlimit",
        "grpquota_block_hardlimit",
        "grpquota_inode_hardlimit",
    ];
    match option.split_once('=') {
        Some((name, _)) => WITH_VALUE.contains(&name),
        None => matches!(option, "inode32" | "inode64" | "noswap" | "quota" | "usrquota" | "grpquota"),
    }
}

/// File system types of Linux that need no block device (`nodev` in /proc/filesystems).
pub(super) const NO_DEVICE_TYPES: &[&str] = &[
    "tmpfs",
    "ramfs",
    "proc",
    "sysfs",
    "devtmpfs",
    "devpts",
    "mqueue",
    "hugetlbfs",
    "cgroup",
    "cgroup2",
    "debugfs",
    "tracefs",
    "securityfs",
    "configfs",
    "bpf",
    "pstore",
    "efivarfs",
    "binfmt_misc",
    "fusectl",
    "overlay",
    "autofs",
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "9p",
    "virtiofs",
    "ceph",
    "fuse",
    "rpc_pipefs",
    "nfsd",
    "selinuxfs",
];

/// Those that are on one.
pub(super) const DEVICE_TYPES: &[&str] = &[
    "ext2", "ext3", "ext4", "xfs", "btrfs", "vfat", "msdos", "exfat", "ntfs3", "iso9660", "udf", "squashfs",
    "erofs", "f2fs", "fuseblk", "hfs", "hfsplus", "minix", "romfs", "cramfs",
];

/// Whether libmount takes what a mount shows for something that is on a device: only that does `umount -r` try to make
/// read-only (`mnt_fstype_is_pseudofs`, util-linux 2.38; of its types those that are met).
pub(super) fn is_of_a_device(row: &Mount) -> bool {
    const PSEUDO: [&str; 22] = [
        "autofs",
        "binfmt_misc",
        "bpf",
        "cgroup",
        "cgroup2",
        "configfs",
        "debugfs",
        "devpts",
        "devtmpfs",
        "efivarfs",
        "fusectl",
        "hugetlbfs",
        "mqueue",
        "none",
        "nsfs",
        "overlay",
        "proc",
        "pstore",
        "ramfs",
        "sysfs",
        "tmpfs",
        "tracefs",
    ];
    !PSEUDO.contains(&row.fs_type.as_str())
}
