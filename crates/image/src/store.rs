//! The store: a directory of unpacked layers, image configs, the names that they go by and who still needs them.
//!
//! ```text
//! references.json            {"version":1,"references":{"docker.io/library/nginx:latest":"sha256:…"}}
//! images/<64 digits>.json    the config document whose digest is the image's id, byte for byte
//! images/<64 digits>.origin  for what was pulled: manifests and packed layers, by their digests
//! layers/<16 digits>/fs/     one layer in overlayfs' form, named by the beginning of its diff_id
//! layers/<16 digits>/layer.json
//! pins/<owner>               the id of the image that `owner` runs from
//! blobs/<64 digits>          packed layers that are being fetched, or whose fetching broke off
//! tmp/                       what is being made or removed; emptied whenever nobody imports
//! lock, import.lock
//! ```
//!
//! `import.lock` is shared by all who make layers (imports and pulls) and held alone by whoever removes some. `lock` is
//! held for the moment in which names or pins change.
//! Readers take none: every file is replaced whole, every layer appears by one rename.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, is_lower_hex};
use crate::error::{Error, Result};
use crate::import::{self, ImportOptions, to_json};
use crate::inspect::Origin;
use crate::lock;
use crate::oci::{ConfigFile, ImageConfig};
use crate::reference::Reference;
use crate::unpack::{self, Unpacked};

const VERSION: u32 = 1;
/// Fewer digits of an id are more likely a name.
const MIN_ID_PREFIX: usize = 12;

/// An image that can be run: its config, and where its layers are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The full reference that it was asked by; the id where it was asked by id.
    pub reference: String,
    /// Digest of the config document.
    pub id: Digest,
    /// How it wants to be run.
    pub config: ImageConfig,
    /// Directories in overlayfs' form, bottom first, each once.
    pub layers: Vec<PathBuf>,
    /// Bytes of all files' contents in all layers.
    pub size: u64,
}

/// What [`Store::remove`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// The names that are gone.
    pub references: Vec<String>,
    /// The image that they meant.
    pub id: Digest,
    /// Other names that still mean it.
    pub remaining: Vec<String>,
    /// Owners of pins: its layers stay until these are gone.
    pub pinned_by: Vec<String>,
}

/// A directory of images. Cheap to open; any number of processes may use one at once.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct References {
    version: u32,
    pub(crate) references: BTreeMap<String, Digest>,
}

/// Beside a layer's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerRecord {
    diff_id: Digest,
    pub(crate) bytes: u64,
    members: u64,
}

impl Store {
    /// Opens the store in `dir` and makes it where there is none. What an interrupted import left is removed.
    ///
    /// The directory is for root only: layers hold other machines' setuid files.
    ///
    /// # Errors
    /// [`Error::Io`] where directories cannot be made, [`Error::Version`] for a newer program's store.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Store> {
        let store = Store { dir: dir.into() };
        if !store.path("tmp").is_dir() {
            for name in ["images", "layers", "pins", "tmp"] {
                let path = store.path(name);
                let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
                made.map_err(Error::io("make directory", path))?;
            }
            let private = fs::set_permissions(&store.dir, fs::Permissions::from_mode(0o700));
            private.map_err(Error::io("set the mode of", &store.dir))?;
        }
        store.read_references()?;
        store.clean()?;
        Ok(store)
    }

    /// Imports what is at `path` under a name: a root file system or OCI layout or docker archive, each as a plain,
    /// gzip or zstd packed tar archive, or an OCI layout directory. A name that is taken moves to the new image.
    ///
    /// # Errors
    /// Everything that [`Error`] can be about the source. Then the store is as it was.
    pub fn import(&self, path: &Path, reference: &str) -> Result<Image> {
        self.import_with(path, reference, &ImportOptions::default())
    }

    /// [`Store::import`] with a config for a root file system and other bounds.
    ///
    /// # Errors
    /// As [`Store::import`].
    pub fn import_with(&self, path: &Path, reference: &str, options: &ImportOptions) -> Result<Image> {
        let reference: Reference = reference.parse()?;
        let layers = self.layer_writer()?;
        let imported = import::import(path, &reference, options, &layers)?;
        self.adopt(layers, &reference, &imported.config, None)
    }

    /// For whoever is about to make layers. Until it is dropped nobody removes any.
    pub(crate) fn layer_writer(&self) -> Result<LayerWriter<'_>> {
        let importing = lock::share(&self.path("import.lock"))?;
        Ok(LayerWriter { store: self, tmp: self.path("tmp"), _importing: importing })
    }

    /// Gives the image of this config the name. All its layers are in the store, put there by `layers`.
    pub(crate) fn adopt(
        &self,
        layers: LayerWriter<'_>,
        reference: &Reference,
        config: &[u8],
        origin: Option<Origin>,
    ) -> Result<Image> {
        let id = Digest::of(config);
        {
            let _changing = lock::wait_for(&self.path("lock"))?;
            // Each of these waits for the disk; `imagePullPolicy: Always` mostly finds all as it was.
            if fs::read(self.config_path(&id)).ok().as_deref() != Some(config) {
                self.write_file(&self.config_path(&id), config)?;
            }
            if let Some(origin) = origin {
                let earlier = self.read_origin(&id)?;
                let origin = origin.after(earlier.clone());
                if earlier.as_ref() != Some(&origin) {
                    self.write_file(&self.origin_path(&id), &to_json(&origin, "origin")?)?;
                }
            }
            let mut names = self.read_references()?;
            if names.references.insert(reference.to_string(), id.clone()).as_ref() != Some(&id) {
                self.write_references(&names)?;
            }
        }
        drop(layers);
        // The name may have meant another image before.
        self.collect_unless_importing()?;
        self.load(reference.to_string(), &id)
    }

    /// The image of that name, or of that id (`sha256:…`, or its first 12 digits and more).
    ///
    /// # Errors
    /// [`Error::NotFound`] and [`Error::Reference`] mostly.
    pub fn get(&self, reference: &str) -> Result<Image> {
        let (name, id) = self.find(reference)?;
        self.load(name, &id)
    }

    /// All images, one a name, in the order of their names.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Document`] and [`Error::MissingLayer`] for a damaged store.
    pub fn list(&self) -> Result<Vec<Image>> {
        let names = self.read_references()?.references;
        names.into_iter().map(|(name, id)| self.load(name, &id)).collect()
    }

    /// Takes a name away (by id: all names of the image), and with the last one the image with the layers that no other
    /// image has, unless something runs from it: then that happens at the last [`Store::unpin`].
    ///
    /// # Errors
    /// [`Error::NotFound`] mostly.
    pub fn remove(&self, reference: &str) -> Result<Removed> {
        let removed = {
            let _changing = lock::wait_for(&self.path("lock"))?;
            let (name, id) = self.find(reference)?;
            let mut names = self.read_references()?;
            let (gone, kept): (BTreeMap<_, _>, _) = names
                .references
                .into_iter()
                .partition(|(n, i)| *n == name || (name == id.to_string() && *i == id));
            names.references = kept;
            self.write_references(&names)?;
            let remaining = names.references.into_iter().filter(|(_, i)| *i == id).map(|(n, _)| n).collect();
            let pinned_by =
                self.pins()?.into_iter().filter(|(_, i)| *i == id).map(|(owner, _)| owner).collect();
            Removed { references: gone.into_keys().collect(), id, remaining, pinned_by }
        };
        self.collect_unless_importing()?;
        Ok(removed)
    }

    /// Keeps the image and its layers, whatever happens to its names, until [`Store::unpin`] with the same owner.
    /// An owner pins one image; pinning another lets the first one go. Survives the process.
    ///
    /// # Errors
    /// [`Error::NotFound`] where the image is gone already, [`Error::Owner`] for a name that is no file name.
    pub fn pin(&self, id: &Digest, owner: &str) -> Result<()> {
        let path = self.pin_path(owner)?;
        let _changing = lock::wait_for(&self.path("lock"))?;
        if !self.config_path(id).exists() {
            return Err(Error::NotFound { reference: id.to_string() });
        }
        self.write_file(&path, id.to_string().as_bytes())
    }

    /// Lets go of what `owner` pinned, and removes the image where nothing else needs it. Nothing happens for an unknown
    /// owner.
    ///
    /// # Errors
    /// [`Error::Owner`] for a name that is no file name.
    pub fn unpin(&self, owner: &str) -> Result<()> {
        let path = self.pin_path(owner)?;
        {
            let _changing = lock::wait_for(&self.path("lock"))?;
            match fs::remove_file(&path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
                result => result.map_err(Error::io("remove", path))?,
            }
        }
        self.collect_unless_importing()
    }

    /// All owners of pins, and what they pin.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::BadDigest`] for a damaged store.
    pub fn pins(&self) -> Result<Vec<(String, Digest)>> {
        let mut pins = Vec::new();
        for owner in names_in(&self.path("pins"))? {
            let path = self.path("pins").join(&owner);
            match fs::read_to_string(&path) {
                Ok(text) => pins.push((owner, Digest::parse(text.trim())?)),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(Error::io("read", path)(e)),
            }
        }
        pins.sort();
        Ok(pins)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(crate) fn config_path(&self, id: &Digest) -> PathBuf {
        self.path("images").join(format!("{}.json", id.hex()))
    }

    fn origin_path(&self, id: &Digest) -> PathBuf {
        self.path("images").join(format!("{}.origin", id.hex()))
    }

    pub(crate) fn layer_path(&self, diff_id: &Digest) -> PathBuf {
        self.path("layers").join(diff_id.short())
    }

    fn pin_path(&self, owner: &str) -> Result<PathBuf> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if owner.is_empty() || owner.len() > 128 || owner.starts_with('.') || !owner.bytes().all(allowed) {
            return Err(Error::Owner { owner: owner.chars().take(200).collect() });
        }
        Ok(self.path("pins").join(owner))
    }

    /// Name and id. By id, the id stands for the name.
    pub(crate) fn find(&self, text: &str) -> Result<(String, Digest)> {
        let names = self.read_references()?.references;
        if !text.starts_with("sha256:") {
            let parsed = text.parse::<Reference>().map(|r| r.to_string());
            if let Some((name, id)) = parsed.as_ref().ok().and_then(|name| names.get_key_value(name)) {
                return Ok((name.clone(), id.clone()));
            }
            if text.len() < MIN_ID_PREFIX || !is_lower_hex(text) {
                return Err(Error::NotFound { reference: parsed? });
            }
        }
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        if digits.is_empty() || !is_lower_hex(digits) {
            return Err(Error::BadDigest { digest: text.chars().take(200).collect() });
        }
        let ids: BTreeSet<_> =
            self.image_ids()?.into_iter().filter(|id| id.hex().starts_with(digits)).collect();
        let mut ids = ids.into_iter();
        match (ids.next(), ids.next()) {
            (Some(id), None) => Ok((id.to_string(), id)),
            (Some(_), Some(_)) => Err(Error::AmbiguousId { prefix: text.to_owned() }),
            (None, _) => Err(Error::NotFound { reference: text.to_owned() }),
        }
    }

    fn image_ids(&self) -> Result<Vec<Digest>> {
        let names = names_in(&self.path("images"))?;
        let hex = names.iter().filter_map(|name| name.strip_suffix(".json"));
        hex.map(|hex| Digest::parse(&format!("sha256:{hex}"))).collect()
    }

    /// Where the image was pulled from; nothing for what was imported.
    pub(crate) fn read_origin(&self, id: &Digest) -> Result<Option<Origin>> {
        let path = self.origin_path(id);
        match fs::read(&path) {
            Ok(bytes) => {
                let origin = serde_json::from_slice(&bytes);
                origin.map(Some).map_err(Error::document(path.display().to_string()))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io("read", path)(e)),
        }
    }

    pub(crate) fn read_config(&self, reference: &str, id: &Digest) -> Result<ConfigFile> {
        let path = self.config_path(id);
        let bytes = match fs::read(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(Error::NotFound { reference: reference.to_owned() });
            }
            result => result.map_err(Error::io("read", &path))?,
        };
        serde_json::from_slice(&bytes).map_err(Error::document(path.display().to_string()))
    }

    pub(crate) fn load(&self, reference: String, id: &Digest) -> Result<Image> {
        let file = self.read_config(&reference, id)?;
        let mut layers = Vec::new();
        let mut size = 0;
        for diff_id in unique(layer_ids(&file)?) {
            match self.read_layer(&diff_id)? {
                Some(record) => size += record.bytes,
                None => return Err(Error::MissingLayer { reference, layer: diff_id }),
            }
            layers.push(self.layer_path(&diff_id).join("fs"));
        }
        Ok(Image { reference, id: id.clone(), config: file.config, layers, size })
    }

    pub(crate) fn read_layer(&self, diff_id: &Digest) -> Result<Option<LayerRecord>> {
        let path = self.layer_path(diff_id).join("layer.json");
        let bytes = match fs::read(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            result => result.map_err(Error::io("read", &path))?,
        };
        let record: LayerRecord =
            serde_json::from_slice(&bytes).map_err(Error::document(path.display().to_string()))?;
        if record.diff_id != *diff_id {
            return Err(Error::ShortDigestTaken { path, present: record.diff_id, new: diff_id.clone() });
        }
        Ok(Some(record))
    }

    pub(crate) fn read_references(&self) -> Result<References> {
        let path = self.path("references.json");
        let bytes = match fs::read(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Ok(References { version: VERSION, references: BTreeMap::new() });
            }
            result => result.map_err(Error::io("read", &path))?,
        };
        let names: References =
            serde_json::from_slice(&bytes).map_err(Error::document(path.display().to_string()))?;
        if names.version > VERSION {
            return Err(Error::Version { path: self.dir.clone(), found: names.version, known: VERSION });
        }
        Ok(names)
    }

    pub(crate) fn write_references(&self, names: &References) -> Result<()> {
        self.write_file(&self.path("references.json"), &to_json(names, "references.json")?)
    }

    /// Whole or not at all, also after a crash of the machine.
    fn write_file(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let tmp = self.path("tmp");
        let mut file = tempfile::NamedTempFile::new_in(&tmp).map_err(Error::io("make a file in", tmp))?;
        file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(Error::io("write", path))?;
        file.persist(path).map_err(|e| Error::io("write", path)(e.error))?;
        Ok(())
    }

    /// Empties `tmp` of what a killed process left there, unless somebody works in it.
    fn clean(&self) -> Result<()> {
        if names_in(&self.path("tmp"))?.is_empty() {
            return Ok(());
        }
        let Some(_importing) = lock::try_now(&self.path("import.lock"))? else { return Ok(()) };
        // Files are replaced by way of `tmp` under this one.
        let Some(_changing) = lock::try_now(&self.path("lock"))? else { return Ok(()) };
        for name in names_in(&self.path("tmp"))? {
            let path = self.path("tmp").join(name);
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(Error::io("remove", path))?;
        }
        Ok(())
    }

    /// The last one of those that are importing will collect at its end.
    fn collect_unless_importing(&self) -> Result<()> {
        if let Some(_importing) = lock::try_now(&self.path("import.lock"))? {
            self.collect()?;
        }
        Ok(())
    }

    /// Removes images without a name or pin, and layers without an image. The caller holds `import.lock` alone, so
    /// that no import is about to count on a layer.
    pub(crate) fn collect(&self) -> Result<Collected> {
        let mut collected = Collected::default();
        let _changing = lock::wait_for(&self.path("lock"))?;
        let mut needed: BTreeSet<Digest> = self.read_references()?.references.into_values().collect();
        needed.extend(self.pins()?.into_iter().map(|(_, id)| id));
        // All configs are read before anything goes: one that cannot be read might need any layer.
        let mut layers = BTreeSet::new();
        for id in &needed {
            let file = self.read_config(&id.to_string(), id)?;
            layers.extend(layer_ids(&file)?.iter().map(|diff_id| diff_id.short().to_owned()));
        }
        for id in self.image_ids()?.into_iter().filter(|id| !needed.contains(id)) {
            for path in [self.origin_path(&id), self.config_path(&id)] {
                match fs::remove_file(&path) {
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    removed => removed.map_err(Error::io("remove", path))?,
                }
            }
            collected.images += 1;
        }
        for name in names_in(&self.path("layers"))?.into_iter().filter(|name| !layers.contains(name)) {
            collected.bytes += self.layer_bytes(&name);
            self.discard(&name)?;
            collected.layers += 1;
        }
        Ok(collected)
    }

    /// What a layer that is about to go took; 0 where its record is damaged.
    fn layer_bytes(&self, name: &str) -> u64 {
        let record = fs::read(self.path("layers").join(name).join("layer.json")).ok();
        let record = record.and_then(|bytes| serde_json::from_slice::<LayerRecord>(&bytes).ok());
        record.map_or(0, |record| record.bytes)
    }

    /// A layer disappears whole, too: by a rename, then at leisure.
    fn discard(&self, layer: &str) -> Result<()> {
        let path = self.path("layers").join(layer);
        let tmp = self.path("tmp");
        let grave = tempfile::TempDir::new_in(&tmp).map_err(Error::io("make a directory in", tmp))?;
        fs::rename(&path, grave.path().join(layer)).map_err(Error::io("remove", &path))?;
        grave.close().map_err(Error::io("remove", path))
    }
}

/// What [`Store::collect`] removed.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    pub(crate) images: usize,
    pub(crate) layers: usize,
    /// Of the layers' files.
    pub(crate) bytes: u64,
}

/// Makes layers, several at a time if need be, and holds the import lock for that.
pub(crate) struct LayerWriter<'a> {
    store: &'a Store,
    tmp: PathBuf,
    _importing: lock::Lock,
}

/// A layer in the making; gone when dropped.
pub(crate) struct Draft {
    dir: tempfile::TempDir,
    root: OwnedFd,
}

impl Draft {
    /// Where its files go.
    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

impl LayerWriter<'_> {
    /// Where temporary files may be made: with room for what is to become layers.
    pub(crate) fn spool(&self) -> &Path {
        &self.tmp
    }

    /// Whether the layer is in the store already.
    pub(crate) fn has(&self, diff_id: &Digest) -> Result<bool> {
        Ok(self.store.read_layer(diff_id)?.is_some())
    }

    pub(crate) fn draft(&self) -> Result<Draft> {
        let dir =
            tempfile::TempDir::new_in(&self.tmp).map_err(Error::io("make a directory in", &self.tmp))?;
        let fs_path = dir.path().join("fs");
        let made = fs::DirBuilder::new().mode(0o755).create(&fs_path);
        made.map_err(Error::io("make directory", &fs_path))?;
        // Whatever the umask is: a root that only root can enter makes every other user fail.
        fs::set_permissions(&fs_path, fs::Permissions::from_mode(0o755))
            .map_err(Error::io("set the mode of", &fs_path))?;
        let root = unpack::open_root(&fs_path).map_err(Error::io("open", fs_path))?;
        Ok(Draft { dir, root })
    }

    /// Puts a complete layer in its place, on the disk before it is seen.
    pub(crate) fn keep(&self, draft: Draft, diff_id: &Digest, unpacked: Unpacked) -> Result<()> {
        if self.has(diff_id)? {
            return Ok(());
        }
        let record =
            LayerRecord { diff_id: diff_id.clone(), bytes: unpacked.bytes, members: unpacked.members };
        let path = draft.dir.path().join("layer.json");
        fs::write(&path, to_json(&record, "layer.json")?).map_err(Error::io("write", path))?;
        // One call for thousands of files.
        rustix::fs::syncfs(&draft.root)
            .map_err(|errno| Error::io("write back", draft.dir.path())(errno.into()))?;
        let place = self.store.layer_path(diff_id);
        match fs::rename(draft.dir.path(), &place) {
            // Another process was faster; this draft goes away.
            Err(_) if self.has(diff_id)? => return Ok(()),
            renamed => renamed.map_err(Error::io("make", &place))?,
        }
        // Renamed away: nothing is left for the guard to remove.
        let _ = draft.dir.keep();
        Ok(())
    }
}

pub(crate) fn layer_ids(file: &ConfigFile) -> Result<Vec<Digest>> {
    file.rootfs.diff_ids.iter().map(|id| Digest::parse(id)).collect()
}

/// Overlayfs refuses a lower directory that is given twice (old docker images repeat their empty layer). Only the
/// topmost counts: it brings back or hides again all that the lower one did.
pub(crate) fn unique(layers: Vec<Digest>) -> Vec<Digest> {
    let mut seen = BTreeSet::new();
    let mut kept: Vec<_> = layers.into_iter().rev().filter(|layer| seen.insert(layer.clone())).collect();
    kept.reverse();
    kept
}

pub(crate) fn names_in(path: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(path).map_err(Error::io("read directory", path))?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    names.collect::<io::Result<Vec<_>>>().map_err(Error::io("read directory", path))
}
