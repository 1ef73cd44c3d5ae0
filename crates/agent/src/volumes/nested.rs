//! Places below a volume of files (a configMap, a secret, …) where a container mounts another volume: made in the volume,
//! since a container that has it read-only could not have them made (`MakeNestedMountpoints` of the kubelet).

use k8s_openapi::api::core::v1::{Container, PodSpec, VolumeMount};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::io;
use std::path::{Component, Path, PathBuf};

/// The places, relative to the volume; of one below another only the upper one.
pub(super) fn nested_places(spec: &PodSpec, volume: &str) -> Vec<PathBuf> {
    let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    let mut places: Vec<PathBuf> =
        containers.flat_map(|container| places_in(spec, container, volume)).collect();
    places.sort();
    places.dedup();
    places
}

fn places_in(spec: &PodSpec, container: &Container, volume: &str) -> Vec<PathBuf> {
    let mounts = container.volume_mounts.as_deref().unwrap_or_default();
    // What is below a part of the volume is not below the volume's own directory.
    let whole = |mount: &&VolumeMount| mount.sub_path.is_none() && mount.sub_path_expr.is_none();
    let mut found: Vec<PathBuf> = Vec::new();
    for own in mounts.iter().filter(whole).filter(|mount| mount.name == volume) {
        let mut below: Vec<PathBuf> = mounts
            .iter()
            .filter(whole)
            .filter(|mount| !is_file(spec, &mount.name))
            .filter_map(|mount| Path::new(&mount.mount_path).strip_prefix(&own.mount_path).ok())
            .filter(|rest| rest.components().next().is_some())
            .filter(|rest| rest.components().all(|part| matches!(part, Component::Normal(_))))
            .map(Path::to_path_buf)
            .collect();
        below.sort();
        for place in below {
            if !found.iter().any(|upper| place.starts_with(upper)) {
                found.push(place);
            }
        }
    }
    found
}

/// Whether a volume is said to be a single file, for which no directory is made.
fn is_file(spec: &PodSpec, volume: &str) -> bool {
    let volume = spec.volumes.iter().flatten().find(|other| other.name == volume);
    let kind = volume.and_then(|volume| volume.host_path.as_ref()?.type_.as_deref());
    kind.is_some_and(|kind| !["", "Directory", "DirectoryOrCreate"].contains(&kind))
}

/// Makes a place below a volume's directory. A container may have put links there meanwhile: none is followed, and what is
/// not a directory stays what it is, which the mount will say.
pub(super) fn make_place(directory: &Path, place: &Path) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut parent = rustix::fs::open(directory, flags, Mode::empty())?;
    for name in place.components() {
        let name = Path::new(name.as_os_str());
        let open = || {
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            rustix::fs::openat2(&parent, name, flags, Mode::empty(), resolve)
        };
        parent = match open() {
            Err(Errno::NOENT) => {
                match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(errno.into()),
                }
                open()?
            }
            Err(Errno::LOOP | Errno::NOTDIR) => return Ok(()),
            other => other?,
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn places_of_other_volumes_below_a_volume() {
        let spec: PodSpec = serde_json::from_value(json!({
            "volumes": [{"name": "file", "hostPath": {"path": "/x", "type": "File"}}],
            "initContainers": [{"name": "i", "volumeMounts": [
                {"name": "map", "mountPath": "/m"}, {"name": "b", "mountPath": "/m/other/"},
            ]}],
            "containers": [{"name": "c", "volumeMounts": [
                {"name": "map", "mountPath": "/etc/app/"},
                {"name": "a", "mountPath": "/etc/app/sub"},
                {"name": "a", "mountPath": "/etc/app/sub/deeper"},
                {"name": "a", "mountPath": "/etc/application"},
                {"name": "a", "mountPath": "/etc/app/part", "subPath": "x"},
                {"name": "file", "mountPath": "/etc/app/one.conf"},
                {"name": "a", "mountPath": "/etc/app/../up"},
                {"name": "map", "mountPath": "/part", "subPath": "p"}, {"name": "a", "mountPath": "/part/below"},
            ]}],
        }))
        .unwrap();
        let places: Vec<_> =
            nested_places(&spec, "map").iter().map(|place| place.display().to_string()).collect();
        assert_eq!(places, ["other", "sub"]);
        assert!(nested_places(&spec, "none").is_empty());
    }

    #[test]
    fn no_link_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (volume, outside) = (dir.path().join("volume"), dir.path().join("outside"));
        std::fs::create_dir(&volume).unwrap();
        std::fs::create_dir(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, volume.join("link")).unwrap();
        std::fs::write(volume.join("file"), "").unwrap();
        for place in ["a/b", "a/b", "link/x", "file/x"] {
            make_place(&volume, Path::new(place)).unwrap();
        }
        assert!(volume.join("a/b").is_dir());
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    }
}
