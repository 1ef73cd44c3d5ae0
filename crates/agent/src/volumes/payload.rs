//! Files from a ConfigMap or Secret, laid out as the kubelet does (`pkg/volume/util/atomic_writer.go`): the files
//! lie in a directory whose name begins with two dots, `..data` links to it, and every file that a container sees
//! is a link through `..data`; so that a later content takes the place of all files at once.

use jiff::Timestamp;
use manifest::volume_files::VolumeFile;
use std::collections::BTreeSet;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

const DATA: &str = "..data";
const NEW_DATA: &str = "..data_tmp";

/// Makes the files in `target`, an existing directory; what an earlier call made there goes. The paths of the files
/// are relative and without `..`, which [`manifest::volume_files`] makes sure of.
///
/// Steps: 1. the files in a new directory; 2. `..data` exchanged by rename(2); 3. links for what is new; 4. links
/// for what is no more, and the old directory, removed.
///
/// # Errors
/// With the path that could not be made.
pub fn write(target: &Path, files: &[VolumeFile], now: Timestamp) -> Result<(), (PathBuf, io::Error)> {
    let old = fs::read_link(target.join(DATA)).ok();
    let name = new_name(target, now);
    let directory = target.join(&name);
    write_files(&directory, files)?;
    let new_link = target.join(NEW_DATA);
    remove_if_there(&new_link)?;
    symlink(&name, &new_link).map_err(|e| (new_link.clone(), e))?;
    fs::rename(&new_link, target.join(DATA)).map_err(|e| (target.join(DATA), e))?;
    let tops: BTreeSet<PathBuf> =
        files.iter().filter_map(|f| f.path.iter().next().map(PathBuf::from)).collect();
    for top in &tops {
        let link = target.join(top);
        if link.symlink_metadata().is_err() {
            symlink(Path::new(DATA).join(top), &link).map_err(|e| (link.clone(), e))?;
        }
    }
    remove_old(target, &tops, old.filter(|old| *old != Path::new(&name)))
}

/// A name that is not there yet; two dots and the time, as the kubelet's.
fn new_name(target: &Path, now: Timestamp) -> String {
    let text = now.strftime("..%Y_%m_%d_%H_%M_%S").to_string();
    let nanoseconds = now.subsec_nanosecond().unsigned_abs();
    (0_u32..)
        .map(|n| format!("{text}.{nanoseconds:09}{}", if n == 0 { String::new() } else { format!("_{n}") }))
        .find(|name| target.join(name).symlink_metadata().is_err())
        .unwrap_or(text)
}

fn write_files(directory: &Path, files: &[VolumeFile]) -> Result<(), (PathBuf, io::Error)> {
    let make = |path: &Path| {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(|e| (path.to_owned(), e))
    };
    make(directory)?;
    for file in files {
        let path = directory.join(&file.path);
        if let Some(parent) = path.parent() {
            make(parent)?;
        }
        write_file(&path, file).map_err(|e| (path.clone(), e))?;
    }
    Ok(())
}

fn write_file(path: &Path, file: &VolumeFile) -> io::Result<()> {
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    out.write_all(&file.bytes)?;
    // Not through open(2)'s mode: the umask is none of the user's business.
    out.set_permissions(Permissions::from_mode(file.mode))
}

fn remove_if_there(path: &Path) -> Result<(), (PathBuf, io::Error)> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err((path.to_owned(), e)),
        _ => Ok(()),
    }
}

fn remove_old(
    target: &Path,
    tops: &BTreeSet<PathBuf>,
    old: Option<PathBuf>,
) -> Result<(), (PathBuf, io::Error)> {
    let entries = fs::read_dir(target).map_err(|e| (target.to_owned(), e))?;
    for entry in entries {
        let entry = entry.map_err(|e| (target.to_owned(), e))?;
        let ours = entry.file_name().as_encoded_bytes().starts_with(b"..");
        let is_link = entry.file_type().is_ok_and(|t| t.is_symlink());
        if is_link && !ours && !tops.contains(Path::new(&entry.file_name())) {
            remove_if_there(&entry.path())?;
        }
    }
    match old.map(|old| target.join(old)) {
        Some(old) => crate::removal::remove_tree(&old).map_err(crate::removal::RemovalError::into_parts),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, &str, u32)]) -> Vec<VolumeFile> {
        let file = |(path, text, mode): &(&str, &str, u32)| VolumeFile {
            path: path.into(),
            bytes: text.as_bytes().to_vec(),
            mode: *mode,
        };
        list.iter().map(file).collect()
    }

    #[test]
    fn the_layout_is_the_kubelets() {
        let dir = tempfile::tempdir().unwrap();
        let made = files(&[("a", "1", 0o644), ("sub/dir/b", "2", 0o400)]);
        write(dir.path(), &made, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(
            fs::read_link(dir.path().join("..data")).unwrap(),
            Path::new("..1970_01_01_00_00_00.000000000")
        );
        assert_eq!(fs::read_link(dir.path().join("a")).unwrap(), Path::new("..data/a"));
        assert_eq!(fs::read_link(dir.path().join("sub")).unwrap(), Path::new("..data/sub"));
        assert_eq!(fs::read_to_string(dir.path().join("sub/dir/b")).unwrap(), "2");
        let mode = |name: &str| dir.path().join(name).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("a"), mode("sub/dir/b")), (0o644, 0o400));
    }

    #[test]
    fn a_second_content_takes_the_place_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let first = files(&[("a", "1", 0o644), ("b", "1", 0o644)]);
        let second = files(&[("b", "2", 0o644), ("c", "2", 0o644)]);
        for made in [&first, &second, &second] {
            write(dir.path(), made, Timestamp::UNIX_EPOCH).unwrap();
        }
        assert_eq!(fs::read_to_string(dir.path().join("b")).unwrap(), "2");
        let mut names: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names.len(), 4, "{names:?}");
        assert_eq!(names[2..], ["b", "c"]);
    }
}
