//! From a source to layers and a config: which image of an archive is meant, and that every byte is what the
//! image's documents promise.

use std::io::{BufReader, Read};
use std::path::Path;

use crate::digest::{Digest, HashingReader};
use crate::error::{Error, Result, UnpackError};
use crate::oci::{self, ConfigFile, Descriptor, DockerManifest, ImageConfig, Index, Manifest};
use crate::reference::Reference;
use crate::source::{Blobs, Source, decode, reopen};
use crate::store::LayerWriter;
use crate::tar_stream::{TarStream, read_error};
use crate::unpack::{self, Limits};

/// An index may name an index: as deep as anyone nests them, and no deeper.
pub(crate) const MAX_INDEXES: usize = 4;
/// overlayfs takes no more lower directories (`OVL_MAX_STACK`).
const MAX_LAYERS: usize = 500;

/// How to import.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImportOptions {
    /// For a root file system, which brings no config of its own. `PATH` is added where `env` has none.
    pub config: Option<ImageConfig>,
    /// Bounds of each layer.
    pub limits: Limits,
}

/// The config document of an image whose layers are all in the store.
pub(crate) struct Imported {
    pub(crate) config: Vec<u8>,
}

/// Reads `path` and hands every layer to `layers`.
pub(crate) fn import(
    path: &Path,
    reference: &Reference,
    options: &ImportOptions,
    layers: &LayerWriter<'_>,
) -> Result<Imported> {
    match Source::open(path, &options.limits, layers.spool())? {
        Source::RootFs(file) => {
            let file = reopen(path, &file)?;
            let layer = path.display().to_string();
            let diff_id = unpack_layer(file, path, &layer, None, &options.limits, layers)?;
            let config = root_fs_config(options.config.clone().unwrap_or_default(), &diff_id);
            Ok(Imported { config: to_json(&config, "config")? })
        }
        Source::Oci(_) | Source::Docker(_) if options.config.is_some() => {
            Err(Error::ConfigNotSettable { path: path.to_owned() })
        }
        Source::Oci(blobs) => import_oci(&blobs, reference, options, layers),
        Source::Docker(blobs) => import_docker(&blobs, reference, options, layers),
    }
}

fn root_fs_config(mut config: ImageConfig, diff_id: &Digest) -> ConfigFile {
    if !config.env.iter().any(|line| line.starts_with("PATH=")) {
        config.env.insert(0, oci::DEFAULT_PATH.to_owned());
    }
    ConfigFile {
        created: None,
        architecture: oci::architecture().to_owned(),
        os: "linux".to_owned(),
        variant: None,
        config,
        rootfs: oci::RootFs { kind: "layers".to_owned(), diff_ids: vec![diff_id.to_string()] },
    }
}

fn import_oci(
    blobs: &Blobs,
    reference: &Reference,
    options: &ImportOptions,
    layers: &LayerWriter<'_>,
) -> Result<Imported> {
    let index = blobs.read_document("index.json")?;
    let index: Index = serde_json::from_slice(&index).map_err(Error::document("index.json"))?;
    let manifest = choose_manifest(blobs, &index, reference)?;
    let manifest: Manifest = read_blob(blobs, &manifest, "manifest")?;
    let config = read_blob_bytes(blobs, &manifest.config)?;
    let diff_ids = diff_ids(&config)?;
    if diff_ids.len() != manifest.layers.len() {
        return Err(Error::LayerCount { manifest: manifest.layers.len(), config: diff_ids.len() });
    }
    for (diff_id, blob) in diff_ids.iter().zip(&manifest.layers) {
        if layers.has(diff_id)? {
            continue;
        }
        let name = blob_name(blob)?;
        let expected = Expected { diff_id, blob: Some(blob) };
        unpack_layer(
            blobs.open(&name)?,
            blobs.path(),
            &blob.digest,
            Some(expected),
            &options.limits,
            layers,
        )?;
    }
    Ok(Imported { config })
}

fn import_docker(
    blobs: &Blobs,
    reference: &Reference,
    options: &ImportOptions,
    layers: &LayerWriter<'_>,
) -> Result<Imported> {
    let manifests = blobs.read_document("manifest.json")?;
    let manifests: Vec<DockerManifest> =
        serde_json::from_slice(&manifests).map_err(Error::document("manifest.json"))?;
    let manifest = match manifests.as_slice() {
        [one] => one,
        several => {
            let named = |m: &&DockerManifest| m.repo_tags.iter().any(|tag| is_named(tag, reference));
            let names = several.iter().flat_map(|m| m.repo_tags.iter().map(String::as_str));
            several.iter().find(named).ok_or_else(|| several_images(blobs, names, reference))?
        }
    };
    let config = blobs.read_document(&manifest.config)?;
    let diff_ids = diff_ids(&config)?;
    if diff_ids.len() != manifest.layers.len() {
        return Err(Error::LayerCount { manifest: manifest.layers.len(), config: diff_ids.len() });
    }
    for (diff_id, name) in diff_ids.iter().zip(&manifest.layers) {
        if layers.has(diff_id)? {
            continue;
        }
        let expected = Expected { diff_id, blob: None };
        unpack_layer(blobs.open(name)?, blobs.path(), name, Some(expected), &options.limits, layers)?;
    }
    Ok(Imported { config })
}

/// What a layer must turn out to be.
pub(crate) struct Expected<'a> {
    pub(crate) diff_id: &'a Digest,
    pub(crate) blob: Option<&'a Descriptor>,
}

/// Decompresses, unpacks, checks both digests, and only then puts the layer in its place.
pub(crate) fn unpack_layer(
    reader: impl Read,
    path: &Path,
    layer: &str,
    expected: Option<Expected<'_>>,
    limits: &Limits,
    layers: &LayerWriter<'_>,
) -> Result<Digest> {
    let failed = |source: UnpackError| Error::Layer { layer: layer.to_owned(), source: Box::new(source) };
    let blob = expected.as_ref().and_then(|e| e.blob);
    let mut packed = HashingReader::new(reader, blob.map_or(u64::MAX, |b| b.size));
    let draft = layers.draft()?;
    let decoded = decode(BufReader::with_capacity(256 * 1024, &mut packed), path)?;
    let mut stream = TarStream::new(HashingReader::new(decoded, limits.bytes), limits.members);
    let unpacked = unpack::unpack(&mut stream, draft.root()).map_err(failed)?;
    let offset = stream.offset();
    let mut plain = stream.into_inner();
    plain.drain().map_err(|e| failed(read_error(offset, e)))?;
    let diff_id = plain.into_digest();
    packed.drain().map_err(|e| failed(read_error(offset, e)))?;
    if let Some(blob) = blob {
        check_blob(blob, packed.count(), packed.into_digest())?;
    }
    if let Some(expected) = expected.map(|e| e.diff_id)
        && *expected != diff_id
    {
        let what = format!("the uncompressed layer {layer}");
        return Err(Error::DigestMismatch { what, expected: expected.clone(), actual: diff_id });
    }
    layers.keep(draft, &diff_id, unpacked)?;
    Ok(diff_id)
}

pub(crate) fn check_blob(blob: &Descriptor, size: u64, actual: Digest) -> Result<()> {
    let expected = Digest::parse(&blob.digest)?;
    if size != blob.size {
        return Err(Error::SizeMismatch {
            what: format!("blob {expected}"),
            expected: blob.size,
            actual: size,
        });
    }
    if actual != expected {
        return Err(Error::DigestMismatch { what: format!("blob {expected}"), expected, actual });
    }
    Ok(())
}

pub(crate) fn diff_ids(config: &[u8]) -> Result<Vec<Digest>> {
    let config: ConfigFile = serde_json::from_slice(config).map_err(Error::document("image config"))?;
    let wanted = format!("linux/{}", oci::architecture());
    let available = format!("{}/{}", config.os, config.architecture);
    // Hand-made configs leave these out.
    if !config.os.is_empty() && !config.architecture.is_empty() && available != wanted {
        return Err(Error::Platform { available, wanted });
    }
    if config.rootfs.diff_ids.len() > MAX_LAYERS {
        let document =
            format!("image config: {} layers, more than {MAX_LAYERS}", config.rootfs.diff_ids.len());
        let source = serde::de::Error::custom("too many layers for overlayfs");
        return Err(Error::Document { document, source });
    }
    config.rootfs.diff_ids.iter().map(|id| Digest::parse(id)).collect()
}

/// The manifest for this machine of the image that `reference` names, through nested indexes.
fn choose_manifest(blobs: &Blobs, index: &Index, reference: &Reference) -> Result<Descriptor> {
    let mut chosen = choose(blobs, index, reference)?;
    for _ in 0..MAX_INDEXES {
        if !is_index(&chosen) {
            return Ok(chosen);
        }
        let index: Index = read_blob(blobs, &chosen, "image index")?;
        chosen = choose(blobs, &index, reference)?;
    }
    let reason = format!("more than {MAX_INDEXES} indexes within each other");
    Err(Error::NotAnImage { path: blobs.path().to_owned(), reason })
}

pub(crate) fn is_index(descriptor: &Descriptor) -> bool {
    matches!(descriptor.media_type.as_str(), oci::INDEX_TYPE | oci::DOCKER_LIST_TYPE)
}

fn choose(blobs: &Blobs, index: &Index, reference: &Reference) -> Result<Descriptor> {
    let fits = |d: &&Descriptor| d.platform.as_ref().is_none_or(|p| p.rank().is_some());
    let (fitting, other): (Vec<_>, Vec<_>) = index.manifests.iter().partition(fits);
    let digests: std::collections::BTreeSet<_> = fitting.iter().map(|d| &d.digest).collect();
    match fitting.as_slice() {
        [] if other.is_empty() => Err(Error::NotAnImage {
            path: blobs.path().to_owned(),
            reason: "its index names no manifest".to_owned(),
        }),
        [] => Err(oci::no_platform(other)),
        [first, ..] if digests.len() == 1 => Ok((*first).clone()),
        several => {
            let names = |d: &&Descriptor| {
                let names = [oci::CONTAINERD_NAME, oci::REF_NAME].map(|key| d.annotations.get(key).cloned());
                names.into_iter().flatten().collect::<Vec<_>>()
            };
            let named = several.iter().find(|d| names(d).iter().any(|name| is_named(name, reference)));
            let all: Vec<_> = several.iter().flat_map(names).collect();
            named
                .map(|d| (*d).clone())
                .ok_or_else(|| several_images(blobs, all.iter().map(String::as_str), reference))
        }
    }
}

/// Writers put a full reference or only a tag into `org.opencontainers.image.ref.name`.
fn is_named(name: &str, reference: &Reference) -> bool {
    reference.tag() == Some(name) || name.parse::<Reference>().is_ok_and(|parsed| parsed == *reference)
}

fn several_images<'a>(blobs: &Blobs, names: impl Iterator<Item = &'a str>, reference: &Reference) -> Error {
    let names: Vec<_> = names.take(20).collect();
    Error::SeveralImages {
        path: blobs.path().to_owned(),
        names: if names.is_empty() { "unnamed".to_owned() } else { names.join(", ") },
        reference: reference.to_string(),
    }
}

fn blob_name(descriptor: &Descriptor) -> Result<String> {
    Ok(format!("blobs/sha256/{}", Digest::parse(&descriptor.digest)?.hex()))
}

fn read_blob_bytes(blobs: &Blobs, descriptor: &Descriptor) -> Result<Vec<u8>> {
    let bytes = blobs.read_document(&blob_name(descriptor)?)?;
    check_blob(descriptor, bytes.len() as u64, Digest::of(&bytes))?;
    Ok(bytes)
}

fn read_blob<T: serde::de::DeserializeOwned>(
    blobs: &Blobs,
    descriptor: &Descriptor,
    what: &str,
) -> Result<T> {
    let bytes = read_blob_bytes(blobs, descriptor)?;
    serde_json::from_slice(&bytes).map_err(Error::document(format!("{what} {}", descriptor.digest)))
}

pub(crate) fn to_json(value: &impl serde::Serialize, what: &str) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(Error::document(what))
}
