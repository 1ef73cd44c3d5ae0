//! What a table alone can answer: which mount carries a path, what is visible, who is mounted on whom.
//!
//! *Visible* means: a path walk from the root of the table can end in it. Path walk as the kernel does it: going
//! down the path, at every place where something is mounted on the present mount, step onto that, again and again
//! (`fs/namei.c`). So a mount is hidden when another covers its root, when another of the same parent lies at a
//! place above its own, or when its parent is hidden.
//!
//! One simplification at the very top: a task whose own root directory was mounted over goes on seeing what is
//! below; here the topmost mount at the root is taken, as a task does that enters the namespace anew (setns(2)).

use crate::{Mount, MountId, MountTable};
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

impl Mount {
    /// Where in its file system a path (absolute, canonical) at or below its mount point is. None for any other path.
    pub fn inner(&self, path: &Path) -> Option<PathBuf> {
        Some(join(&self.root, path.strip_prefix(&self.mount_point).ok()?))
    }

    /// Whether it is read-only itself, whatever its file system is.
    pub fn is_read_only(&self) -> bool {
        self.options.split(',').any(|option| option == "ro")
    }
}

/// `Path::join` that adds no slash for an empty rest.
pub fn join(path: &Path, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() { path.to_owned() } else { path.join(rest) }
}

impl MountTable {
    /// The row with this id. (Ids in mountinfo are unique at one moment.)
    pub fn get(&self, id: MountId) -> Option<&Mount> {
        self.mounts.iter().find(|mount| mount.id == id)
    }

    /// The mounts whose parent is `id`, in order of creation, hidden ones too.
    pub fn children(&self, id: MountId) -> impl Iterator<Item = &Mount> {
        self.mounts.iter().filter(move |mount| mount.parent == id && mount.id != id)
    }

    /// The visible mount that carries `path` (absolute, canonical, from the table's root): where a path walk
    /// along it ends. That is the longest mount point that `path` is at or below, of a stack the topmost — but
    /// never one that something mounted later over a directory above it hides. `None` if no row reaches it, as
    /// in the table of a task whose root directory is not itself a mount.
    ///
    /// ```
    /// # use mount_table::MountTable;
    /// # use std::path::Path;
    /// let table = MountTable::parse_mountinfo(
    ///     b"1 0 8:1 / / rw - ext4 /dev/sda1 rw\n\
    ///       2 1 0:20 / /mnt/a rw - tmpfs none rw\n\
    ///       3 1 0:21 / /mnt rw - tmpfs none rw\n",
    /// )?;
    /// // What was mounted on /mnt later hides what was below it.
    /// assert_eq!(table.carrier(Path::new("/mnt/a/file")).map(|mount| mount.id.0), Some(3));
    /// assert_eq!(table.visible(), [true, false, true]);
    /// # Ok::<(), mount_table::ParseError>(())
    /// ```
    pub fn carrier(&self, path: &Path) -> Option<&Mount> {
        // Every mount on the way has a mount point on the way, so these rows are all that matter; sorted
        // stably, so that of two at one place (kernels before 6.17 can have that) the last stays last.
        let mut on_the_way: Vec<&Mount> =
            self.mounts.iter().filter(|mount| is_at_or_below(path, &mount.mount_point)).collect();
        on_the_way.sort_by_key(|mount| trimmed(&mount.mount_point).len());
        let known: HashSet<MountId> = on_the_way.iter().map(|mount| mount.id).collect();
        let is_top = |mount: &Mount| mount.parent == mount.id || !known.contains(&mount.parent);
        let mut at = first_met(on_the_way.iter().copied().filter(|mount| is_top(mount)))?;
        // Each mount is stepped on at most once, whatever the parent ids say.
        for _ in 0..on_the_way.len() {
            let children = on_the_way.iter().copied().filter(|mount| mount.parent == at.id && !is_top(mount));
            match first_met(children) {
                Some(child) => at = child,
                None => break,
            }
        }
        Some(at)
    }

    /// The visible mount whose mount point is `path`: the topmost of a stack. `None` where nothing is mounted
    /// or what is mounted is hidden.
    pub fn topmost_at(&self, path: &Path) -> Option<&Mount> {
        self.carrier(path).filter(|mount| trimmed(&mount.mount_point) == trimmed(path))
    }

    /// The visible mounts with a mount point at or below `path` (absolute, canonical), in order of creation. Of a
    /// stack only the topmost is there; what lies under an overmount is not. The mount that merely *carries*
    /// `path` is not there either, see [`MountTable::carrier`].
    pub fn below(&self, path: &Path) -> Vec<&Mount> {
        let visible = self.visible();
        self.mounts
            .iter()
            .zip(visible)
            .filter(|(mount, visible)| *visible && is_at_or_below(&mount.mount_point, path))
            .map(|(mount, _)| mount)
            .collect()
    }

    /// For every row, whether it is visible. One pass with an index, O(n log n).
    pub fn visible(&self) -> Vec<bool> {
        let known: HashSet<MountId> = self.mounts.iter().map(|mount| mount.id).collect();
        let mut children: HashMap<MountId, Vec<usize>> = HashMap::new();
        let mut tops = Vec::new();
        for (index, mount) in self.mounts.iter().enumerate() {
            if mount.parent == mount.id || !known.contains(&mount.parent) {
                tops.push(index);
            } else {
                children.entry(mount.parent).or_default().push(index);
            }
        }
        let mut visible = vec![false; self.mounts.len()];
        let mut stack = self.uncovered(tops);
        while let Some(index) = stack.pop() {
            let mount = &self.mounts[index];
            let uncovered = self.uncovered(children.remove(&mount.id).unwrap_or_default());
            let is_cover =
                |child: &usize| trimmed(&self.mounts[*child].mount_point) == trimmed(&mount.mount_point);
            visible[index] = !uncovered.iter().any(is_cover);
            stack.extend(uncovered);
        }
        visible
    }

    /// Of mounts on one parent, those with no other at a place above, and of several at one place the last. (If
    /// one lies at the parent's own place, it alone is left.)
    fn uncovered(&self, mut siblings: Vec<usize>) -> Vec<usize> {
        let point = |index: usize| self.mounts[index].mount_point.as_path();
        siblings.sort_by(|&a, &b| in_walk_order(point(a), point(b)).then(b.cmp(&a)));
        let mut uncovered: Vec<usize> = Vec::with_capacity(siblings.len());
        for index in siblings {
            // Everything at or below a place follows it directly in this order.
            if uncovered.last().is_none_or(|&last| !is_at_or_below(point(index), point(last))) {
                uncovered.push(index);
            }
        }
        uncovered
    }
}

/// What a walk meets first among mounts sorted by length of mount point: the shortest, of one length the last.
fn first_met<'a>(mounts: impl Iterator<Item = &'a Mount>) -> Option<&'a Mount> {
    mounts.reduce(|first, mount| {
        if trimmed(&mount.mount_point).len() == trimmed(&first.mount_point).len() { mount } else { first }
    })
}

/// A path's bytes without slashes at the end, so that the root is empty.
fn trimmed(path: &Path) -> &[u8] {
    let mut bytes = path.as_os_str().as_bytes();
    while let Some(shorter) = bytes.strip_suffix(b"/") {
        bytes = shorter;
    }
    bytes
}

fn is_at_or_below(path: &Path, above: &Path) -> bool {
    match trimmed(path).strip_prefix(trimmed(above)) {
        Some(rest) => rest.first().is_none_or(|&byte| byte == b'/'),
        None => false,
    }
}

/// Orders paths so that everything below a path follows it directly: `/a`, `/a/b`, `/a-b`.
fn in_walk_order(a: &Path, b: &Path) -> Ordering {
    let key = |&byte: &u8| if byte == b'/' { 0 } else { u16::from(byte) + 1 };
    trimmed(a).iter().map(key).cmp(trimmed(b).iter().map(key))
}
