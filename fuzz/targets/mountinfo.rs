//! The kernel's mount table, as bytes that another machine may have sent.

use mount_table::MountTable;

/// Words of mountinfo.
pub(crate) const WORDS: &[&str] = &[
    " - ",
    "shared:",
    "master:",
    "propagate_from:",
    "unbindable",
    "\\040",
    "\\012",
    "\\134",
    "\\8",
    "\n",
    " ",
    "0:0",
    "//deleted",
    "18446744073709551616",
    "rw,relatime",
    "/",
    "1 1 ",
    "tmpfs",
];

/// What can be parsed can be asked all that a table is asked, in bounded time whatever its ids say of parents.
pub(crate) fn run(bytes: &[u8]) {
    let Ok(table) = MountTable::parse_mountinfo(bytes) else { return };
    if let Ok(world) = subtree_model::World::from_table(&table) {
        world.check_invariants().expect("a sound world from any table");
    }
    for mount in table.mounts.iter().take(64) {
        let _ = table.get(mount.parent);
        let _ = table.children(mount.id).count();
        let _ = table.topmost_at(&mount.mount_point);
        let _ = table.carrier(&mount.mount_point);
        let _ = table.below(&mount.mount_point);
        let _ = mount_table::shell_word(&mount.mount_point);
    }
}
