//! Mounts that a pod's containers left on the host below a hostPath with Bidirectional propagation. Kubernetes lets
//! them stay (a CSI driver's upgrade depends on it); here they are at least named. Pure: tables in, mounts out.
//!
//! What counts is what is there and was not before the pod began. A mount that somebody else made there meanwhile
//! counts too: mountinfo does not say who made a mount.

use crate::status_file::LeftMount;
use mount_table::{Mount, MountTable};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What was mounted at and below a volume's source before the pod began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Before {
    /// The volume's name.
    pub volume: String,
    /// Its source, links resolved.
    pub path: PathBuf,
    /// Mount ids and places.
    pub mounts: Vec<(u64, PathBuf)>,
}

impl Before {
    /// Notes what is there now.
    pub fn note(volume: &str, path: &Path, table: &MountTable) -> Before {
        let mounts = below(table, path).map(|m| (m.id.0, m.mount_point.clone())).collect();
        Before { volume: volume.to_owned(), path: path.to_owned(), mounts }
    }
}

fn below<'a>(table: &'a MountTable, path: &'a Path) -> impl Iterator<Item = &'a Mount> {
    table.mounts.iter().filter(move |mount| mount.mount_point.starts_with(path))
}

/// The mounts that are new, each once, what is mounted on another before that: in the order in which they can be
/// detached. `own` are our own folders, where others are at work.
pub fn left_mounts(before: &[Before], own: &[&Path], table: &MountTable) -> Vec<LeftMount> {
    let known = |mount: &Mount| {
        let is = |(id, place): &(u64, PathBuf)| *id == mount.id.0 && *place == mount.mount_point;
        before.iter().flat_map(|b| &b.mounts).any(is)
    };
    let left = |mount: &Mount| {
        let volume = before.iter().find(|b| mount.mount_point.starts_with(&b.path))?;
        let ours = own.iter().any(|folder| mount.mount_point.starts_with(folder));
        (!ours && !known(mount)).then(|| LeftMount {
            mount_point: mount.mount_point.clone(),
            volume: volume.volume.clone(),
            fs_type: mount.fs_type.clone(),
            source: mount.source.clone(),
        })
    };
    let mut found: Vec<LeftMount> = table.mounts.iter().filter_map(left).collect();
    // A path comes after the paths above it, and what was mounted there later is on top.
    found.sort_by(|a, b| a.mount_point.cmp(&b.mount_point));
    found.reverse();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[(u64, &str)]) -> MountTable {
        let row =
            |(id, at): &(u64, &str)| format!("{id} 1 0:{id} / {at} rw shared:1 - tmpfs source-{id} rw\n");
        MountTable::parse_mountinfo(rows.iter().map(row).collect::<String>().as_bytes()).unwrap()
    }

    #[test]
    fn only_what_is_new_below_the_sources_is_left() {
        let before = table(&[(1, "/"), (2, "/mnt/a"), (3, "/mnt/a/old"), (4, "/srv")]);
        let notes = [
            Before::note("a", Path::new("/mnt/a"), &before),
            Before::note("sub", Path::new("/mnt/a/sub"), &before),
        ];
        let now = table(&[
            (1, "/"),
            (2, "/mnt/a"),
            (3, "/mnt/a/old"),
            (5, "/mnt/a/old"),
            (6, "/mnt/a/sub/x"),
            (7, "/mnt/ab"),
            (8, "/srv/new"),
            (9, "/mnt/a/state/ours"),
        ]);
        let left = left_mounts(&notes, &[Path::new("/mnt/a/state")], &now);
        let seen: Vec<_> =
            left.iter().map(|l| (l.volume.as_str(), l.mount_point.to_str().unwrap())).collect();
        assert_eq!(seen, [("a", "/mnt/a/sub/x"), ("a", "/mnt/a/old")]);
        assert_eq!(left[1].source, "source-5");
    }

    #[test]
    fn what_is_mounted_on_another_is_named_before_it() {
        let notes = [Before::note("a", Path::new("/mnt"), &table(&[(1, "/")]))];
        let now = table(&[
            (1, "/"),
            (2, "/mnt/m"),
            (3, "/mnt/m/n"),
            (4, "/mnt/m-o"),
            (5, "/mnt/m"),
            (6, "/mnt/m/n"),
        ]);
        let ids: Vec<_> = left_mounts(&notes, &[], &now).into_iter().map(|l| l.source).collect();
        assert_eq!(ids, ["source-4", "source-6", "source-3", "source-5", "source-2"]);
    }
}
