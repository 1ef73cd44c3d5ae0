//! What is kept for mounts that a container left on the host: if one shows something of the container's own root file
//! system (its overlay), the container's writable layer and its image's layers must stay until the mount is gone.

use crate::record::PodUid;
use crate::removal;
use crate::root::{Root, make_private_directory};
use crate::status_file::LeftMount;
use std::io;
use std::path::{Path, PathBuf};

/// Who pins an image for a container of a pod.
pub(crate) fn owner(uid: &PodUid, container: &str) -> String {
    format!("{uid}.{container}")
}

/// Who pins an image for a volume of a pod: no container's name has a point in it.
pub(crate) fn owner_of_volume(uid: &PodUid, volume: &str) -> String {
    owner(uid, &format!("volume.{volume}"))
}

fn kept_owner(id: &str) -> String {
    format!("kept.{id}")
}

/// Why something could not be kept or let go.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// The mount table.
    #[error(transparent)]
    Table(#[from] observe::Error),
    /// The container's record.
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    /// The image's pin.
    #[error(transparent)]
    Image(#[from] image::Error),
    /// A folder.
    #[error("cannot {action} {path}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PinError + use<> {
    let path = path.to_owned();
    move |source| PinError::Io { action, path, source }
}

fn kept(root: &Root) -> PathBuf {
    root.lib.join("kept")
}

/// Whether a mount of our namespace is of a container's overlay: its options name the writable layer, whose folder has
/// the container's id, also after that was moved.
fn is_mounted(id: &str) -> Result<bool, observe::Error> {
    let table = observe::read_own_mounts()?;
    Ok(table.mounts.iter().any(|m| m.fs_type == "overlay" && m.super_options.contains(id)))
}

/// Before an ended container is removed: moves its writable layer aside where a mount still shows it, and pins its
/// image for as long.
///
/// # Errors
/// The layer cannot be moved: then the container must not be removed.
pub(crate) fn keep_if_pinned(root: &Root, id: &str, left: &[LeftMount]) -> Result<(), PinError> {
    // Only a mount that was left can pin; to look at the whole table after every exit would cost with every mount.
    if left.is_empty() || !is_mounted(id)? {
        return Ok(());
    }
    let layer = root.runtime_dirs().data.join(id);
    let aside = kept(root).join(id);
    // `stop` has kept it already, and the container is gone.
    if aside.exists() && !layer.exists() {
        return Ok(());
    }
    make_private_directory(&kept(root)).map_err(failed("make", &kept(root)))?;
    let record = runtime::status(&root.runtime_dirs(), id)?;
    let store = image::Store::open(root.images())?;
    match store.get(&record.config.image) {
        Ok(image) => store.pin(&image.id, &kept_owner(id))?,
        // Renamed meanwhile: the pod's own pin holds until `rm`; more cannot be known.
        Err(error) => tracing::warn!(%error, id, "the image of a kept layer"),
    }
    match std::fs::rename(&layer, &aside) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(failed("move aside", &layer)),
    }
}

/// Lets go of what no mount needs any more; cheap where nothing is kept. Gives what still is.
///
/// # Errors
/// A folder cannot be read or removed.
pub fn release(root: &Root) -> Result<Vec<PathBuf>, PinError> {
    let folder = kept(root);
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(failed("read", &folder)(e)),
    };
    let mut still = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed("read", &folder))?;
        let id = entry.file_name().to_string_lossy().into_owned();
        if is_mounted(&id)? {
            still.push(entry.path());
            continue;
        }
        removal::remove_tree(&entry.path()).map_err(|e| {
            let (path, source) = e.into_parts();
            PinError::Io { action: "remove", path, source }
        })?;
        image::Store::open(root.images())?.unpin(&kept_owner(&id))?;
    }
    Ok(still)
}
