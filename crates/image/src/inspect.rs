//! What the store knows about one image, and making room: [`Store::inspect`], [`Store::prune`].

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::lock;
use crate::store::{Image, Store, layer_ids, names_in, unique};

/// Manifests that one config is known by; more are old tags of the same contents.
const MAX_MANIFESTS: usize = 64;

/// Everything about an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// As it is run.
    pub image: Image,
    /// All its names.
    pub references: Vec<String>,
    /// `repository@digest` of the manifests that it was pulled by, the latest first. What Kubernetes shows as `imageID`.
    pub repo_digests: Vec<String>,
    /// When it was built, as its config says.
    pub created: Option<String>,
    /// `os/architecture` or `os/architecture/variant`, as its config says; empty where that says nothing.
    pub platform: String,
    /// Bottom first, each once.
    pub layers: Vec<LayerInfo>,
    /// Who runs from it.
    pub pinned_by: Vec<String>,
}

/// A layer of an [`Inspection`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerInfo {
    /// Digest of the uncompressed archive.
    pub diff_id: Digest,
    /// Its directory in overlayfs' form.
    pub path: PathBuf,
    /// Bytes of its files' contents.
    pub size: u64,
    /// As it was pulled; nothing for what was imported.
    pub blob: Option<Blob>,
}

/// A packed layer in a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Blob {
    /// Digest of the packed bytes.
    pub digest: Digest,
    /// How many they are.
    pub size: u64,
    /// Archive and compression.
    pub media_type: String,
}

/// What [`Store::prune`] removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pruned {
    /// Names of images that nothing runs from; only where they were to go.
    pub references: Vec<String>,
    /// Images without a name or pin.
    pub images: usize,
    /// Layers without an image.
    pub layers: usize,
    /// Packed layers that were kept so that a broken pull can go on.
    pub blobs: usize,
    /// Bytes of all that.
    pub bytes: u64,
}

/// Where an image was pulled from. In the store beside its config.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Origin {
    pub(crate) repo_digests: Vec<String>,
    pub(crate) layers: Vec<OriginLayer>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OriginLayer {
    pub(crate) diff_id: Digest,
    pub(crate) blob: Blob,
}

impl Origin {
    /// With the names of what was known before.
    pub(crate) fn after(mut self, earlier: Option<Origin>) -> Origin {
        for name in earlier.unwrap_or_default().repo_digests {
            if !self.repo_digests.contains(&name) {
                self.repo_digests.push(name);
            }
        }
        self.repo_digests.truncate(MAX_MANIFESTS);
        self
    }
}

impl Store {
    /// All that is known about the image of that name or id.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub fn inspect(&self, reference: &str) -> Result<Inspection> {
        let (name, id) = self.find(reference)?;
        let image = self.load(name.clone(), &id)?;
        let file = self.read_config(&name, &id)?;
        let origin = self.read_origin(&id)?.unwrap_or_default();
        let mut layers = Vec::new();
        for diff_id in unique(layer_ids(&file)?) {
            let size = self.read_layer(&diff_id)?.map_or(0, |record| record.bytes);
            let blob = origin.layers.iter().find(|l| l.diff_id == diff_id).map(|l| l.blob.clone());
            layers.push(LayerInfo { path: self.layer_path(&diff_id).join("fs"), diff_id, size, blob });
        }
        let names = self.read_references()?.references;
        let pins = self.pins()?;
        Ok(Inspection {
            image,
            references: names.into_iter().filter(|(_, i)| *i == id).map(|(name, _)| name).collect(),
            repo_digests: origin.repo_digests,
            created: file.created,
            platform: [Some(file.os), Some(file.architecture), file.variant]
                .into_iter()
                .flatten()
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .join("/"),
            layers,
            pinned_by: pins.into_iter().filter(|(_, i)| *i == id).map(|(owner, _)| owner).collect(),
        })
    }

    /// `repository@digest` of the manifest by which the image was last pulled, which Kubernetes calls `imageID`; nothing
    /// for what was imported.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Document`] for a damaged store.
    pub fn repo_digest(&self, id: &Digest) -> Result<Option<String>> {
        Ok(self.read_origin(id)?.and_then(|origin| origin.repo_digests.into_iter().next()))
    }

    /// Removes what nothing refers to: images without a name, layers without an image, what broken pulls left. With
    /// `unused`, first the names of all images that nothing runs from. What is pinned stays, always.
    ///
    /// # Errors
    /// [`Error::Busy`] while something is pulled or imported.
    pub fn prune(&self, unused: bool) -> Result<Pruned> {
        let path = self.path("import.lock");
        let Some(_importing) = lock::try_for_a_moment(&path)? else { return Err(Error::Busy { path }) };
        let references = if unused { self.forget_unused()? } else { Vec::new() };
        let collected = self.collect()?;
        let mut pruned = Pruned {
            references,
            images: collected.images,
            layers: collected.layers,
            blobs: 0,
            bytes: collected.bytes,
        };
        let blobs = self.path("blobs");
        if !blobs.is_dir() {
            return Ok(pruned);
        }
        for name in names_in(&blobs)? {
            let path = blobs.join(name);
            pruned.bytes += fs::metadata(&path).map_or(0, |metadata| metadata.len());
            fs::remove_file(&path).map_err(Error::io("remove", path))?;
            pruned.blobs += 1;
        }
        Ok(pruned)
    }

    fn forget_unused(&self) -> Result<Vec<String>> {
        let _changing = lock::wait_for(&self.path("lock"))?;
        let used: Vec<Digest> = self.pins()?.into_iter().map(|(_, id)| id).collect();
        let mut names = self.read_references()?;
        let mut gone = Vec::new();
        names.references.retain(|name, id| {
            let keep = used.contains(id);
            if !keep {
                gone.push(name.clone());
            }
            keep
        });
        self.write_references(&names)?;
        Ok(gone)
    }
}
