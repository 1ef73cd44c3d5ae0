//! Pulling from registries: [`Store::pull`].
//!
//! 1. Mirrors and the registry are asked in order, until one gives the manifest (through an index: the one for this machine).
//! 2. The config is fetched, unless it is here, and tells the layers' identities.
//! 3. Layers that are not here are fetched, a few at a time, each into a file that is hashed while it grows ([`partial`]),
//!    and unpacked by the same code as an imported one, which checks both digests again.
//! 4. The name is written. Before that, nothing can be seen of the image.
//!
//! **Architecture invariant:** no async. A handful of threads for as long as a pull takes, all within [`Store::pull`];
//! the process that calls it must not be one that forks containers.
//!
//! Deliberately absent: pushing, signatures, registries in plain HTTP other than on loopback (for pulls over a
//! network that anybody can change), schema 1 manifests, and "foreign" layers that are elsewhere.

mod challenge;
mod client;
mod credentials;
mod decision;
mod fetch;
mod helper;
mod partial;
mod progress;
mod registries;
mod registry_error;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::import::{self, MAX_INDEXES, check_blob};
use crate::inspect::{Blob, Origin, OriginLayer};
use crate::oci::{self, Descriptor, Index, Manifest};
use crate::reference::Reference;
use crate::store::{Image, Store};
use crate::unpack::Limits;

pub use credentials::DockerConfig;
pub use decision::{PullDecision, PullPolicy, UnknownPolicy, message};
pub use progress::{LayerState, Progress};
pub use registries::Registries;
pub use registry_error::RegistryError;

use client::{Ask, Endpoint};
use fetch::Fetch;

/// Longer manifests and configs are refused; the distribution spec asks registries to take 4 MiB.
const MAX_DOCUMENT: u64 = 4 << 20;
const DOCUMENT_TRIES: u32 = 3;
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_CONFIG_TYPE: &str = "application/vnd.docker.container.image.v1+json";

/// How to pull.
#[derive(Debug, Clone)]
pub struct PullOptions {
    /// Mirrors and certificates.
    pub registries: Registries,
    /// Pull secrets of the Pod, which come first.
    pub secrets: Vec<DockerConfig>,
    /// The user's own credentials.
    pub config: DockerConfig,
    /// Layers that are fetched at once.
    pub jobs: usize,
    /// Before the first retry; doubles with each further one.
    pub retry_wait: Duration,
    /// A connection without a byte for so long counts as broken.
    pub stall: Duration,
    /// Bounds of each layer.
    pub limits: Limits,
}

impl Default for PullOptions {
    fn default() -> PullOptions {
        PullOptions {
            registries: Registries::default(),
            secrets: Vec::new(),
            config: DockerConfig::default(),
            // As many as docker and containerd.
            jobs: 3,
            retry_wait: Duration::from_millis(500),
            stall: Duration::from_secs(30),
            limits: Limits::default(),
        }
    }
}

/// An image that was pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The image.
    pub image: Image,
    /// Digest of what the name meant: of the index for a multi-platform image, else of the manifest.
    pub digest: Digest,
    /// Bytes that came over the network for layers.
    pub downloaded: u64,
}

impl Store {
    /// Gets an image from its registry, or from a mirror of it, and gives it its name. What is here already is not
    /// fetched again; what an interrupted pull left is made use of.
    ///
    /// `report` is called from several threads.
    ///
    /// # Errors
    /// [`Error::Pull`] around everything that can be wrong; [`Error::Reference`] for a name that is none. The store is as it was.
    pub fn pull(
        &self,
        reference: &str,
        options: &PullOptions,
        report: &(dyn Fn(Progress) + Sync),
    ) -> Result<Pulled> {
        let reference: Reference = reference.parse()?;
        self.pull_parsed(&reference, options, report)
            .map_err(|source| Error::Pull { reference: reference.to_string(), source: Box::new(source) })
    }

    fn pull_parsed(
        &self,
        reference: &Reference,
        options: &PullOptions,
        report: &(dyn Fn(Progress) + Sync),
    ) -> Result<Pulled> {
        let addresses = options.registries.addresses(reference.registry())?;
        let mut failures = Vec::new();
        let last = addresses.len() - 1;
        for (at, address) in addresses.iter().enumerate() {
            report(Progress::Resolving { registry: address.registry.clone() });
            let source = Source { store: self, reference, options, report, endpoints: &addresses[at..] };
            match source.pull() {
                Ok(pulled) => return Ok(pulled),
                // A mirror that fails is as good as none. What is wrong here is not mended by asking elsewhere.
                Err(error) if at < last && error.is_theirs() => {
                    let text =
                        format!("mirror {} is passed over: {}", address.registry, message::cause(&error));
                    report(Progress::Warning { text });
                    failures.push(error);
                }
                Err(error) => return Err(error),
            }
        }
        // Not reached: the last one returns.
        Err(failures.pop().unwrap_or(Error::NotFound { reference: reference.to_string() }))
    }
}

/// A pull from one endpoint.
struct Source<'a> {
    store: &'a Store,
    reference: &'a Reference,
    options: &'a PullOptions,
    report: &'a (dyn Fn(Progress) + Sync),
    endpoints: &'a [registries::Address],
}

/// A manifest, and what it was called by.
struct Resolved {
    /// Of what the name meant.
    digest: Digest,
    /// Of the manifest itself.
    manifest_digest: Digest,
    manifest: Manifest,
}

impl Source<'_> {
    fn pull(&self) -> Result<Pulled> {
        let endpoint = self.endpoint()?;
        if let Some(pulled) = self.unchanged(&endpoint)? {
            return Ok(pulled);
        }
        let resolved = self.resolve(&endpoint)?;
        let config = self.config(&endpoint, &resolved.manifest.config)?;
        let diff_ids = import::diff_ids(&config)?;
        let blobs = &resolved.manifest.layers;
        if diff_ids.len() != blobs.len() {
            return Err(Error::LayerCount { manifest: blobs.len(), config: diff_ids.len() });
        }
        let mut layers: Vec<OriginLayer> = Vec::new();
        for (diff_id, blob) in diff_ids.into_iter().zip(blobs) {
            let blob = layer_blob(blob, &self.options.limits)?;
            if !layers.iter().any(|layer| layer.diff_id == diff_id) {
                layers.push(OriginLayer { diff_id, blob });
            }
        }
        (self.report)(Progress::Resolved {
            manifest: resolved.manifest_digest.clone(),
            layers: layers.iter().map(|layer| (layer.blob.digest.clone(), layer.blob.size)).collect(),
        });
        let writer = self.store.layer_writer()?;
        let fetch = Fetch::new(self.store, &writer, &endpoint, self.options, self.report)?;
        let downloaded = fetch.all(&layers)?;
        let repository = self.repository();
        let mut repo_digests = vec![format!("{repository}@{}", resolved.digest)];
        if resolved.manifest_digest != resolved.digest {
            repo_digests.push(format!("{repository}@{}", resolved.manifest_digest));
        }
        let origin = Origin { repo_digests, layers };
        let image = self.store.adopt(writer, self.reference, &config, Some(origin))?;
        Ok(Pulled { image, digest: resolved.digest, downloaded })
    }

    /// The image that is here under this name, if the registry means the same by it. Only asks for a head, which
    /// registries that limit pulls do not count.
    fn unchanged(&self, endpoint: &Endpoint) -> Result<Option<Pulled>> {
        let name = self.reference.to_string();
        let Some(id) = self.store.read_references()?.references.remove(&name) else { return Ok(None) };
        let Some(origin) = self.store.read_origin(&id)? else { return Ok(None) };
        let what = format!("manifests/{}", self.manifest_name());
        // Whatever is wrong is said by the request that follows.
        let Ok(response) = endpoint.ask(&what, Ask::Digest { accept: ACCEPT }) else { return Ok(None) };
        let digest = response.headers().get("docker-content-digest").and_then(|v| v.to_str().ok());
        let Some(digest) = digest.and_then(|text| Digest::parse(text).ok()) else { return Ok(None) };
        if !origin.repo_digests.contains(&format!("{}@{digest}", self.repository())) {
            return Ok(None);
        }
        // Not where a layer is missing.
        let Ok(image) = self.store.load(name, &id) else { return Ok(None) };
        Ok(Some(Pulled { image, digest, downloaded: 0 }))
    }

    /// With the registry before it.
    fn repository(&self) -> String {
        format!("{}/{}", self.reference.registry(), self.reference.repository())
    }

    /// What the registry knows the image by: its digest where one is given.
    fn manifest_name(&self) -> String {
        let tag = self.reference.tag().unwrap_or_default();
        self.reference.digest().map_or_else(|| tag.to_owned(), Digest::to_string)
    }

    fn endpoint(&self) -> Result<Endpoint> {
        let Some(address) = self.endpoints.first() else {
            return Err(Error::NotFound { reference: self.reference.to_string() });
        };
        let PullOptions { registries, secrets, config, .. } = self.options;
        let repository = format!("{}{}", address.prefix, self.reference.repository());
        let (credentials, problems) = credentials::all(secrets, config, &address.registry, &repository);
        for problem in problems {
            (self.report)(Progress::Warning { text: problem.to_string() });
        }
        let ca = registries.ca(&address.registry);
        let agent = client::agent(address, ca, self.options.stall)?;
        Ok(Endpoint::new(address.clone(), self.reference.repository(), agent, credentials))
    }

    /// From the name to the manifest for this machine, through indexes within each other.
    fn resolve(&self, endpoint: &Endpoint) -> Result<Resolved> {
        let mut document = self.manifest(endpoint, &self.manifest_name(), self.reference.digest(), None)?;
        let digest = document.digest.clone();
        for _ in 0..=MAX_INDEXES {
            match document.kind()? {
                Kind::Manifest(manifest) => {
                    return Ok(Resolved { digest, manifest_digest: document.digest, manifest });
                }
                Kind::Index(index) => {
                    let chosen = choose(&index)?;
                    let wanted = Digest::parse(&chosen.digest)?;
                    document = self.manifest(endpoint, &chosen.digest, Some(&wanted), Some(chosen))?;
                }
            }
        }
        let reason = format!("more than {MAX_INDEXES} indexes within each other");
        Err(RegistryError::NotAnImage { reason }.into())
    }

    fn manifest(
        &self,
        endpoint: &Endpoint,
        name: &str,
        digest: Option<&Digest>,
        descriptor: Option<&Descriptor>,
    ) -> Result<Document> {
        let what = format!("manifests/{name}");
        let (bytes, media_type, promised) =
            self.document(endpoint, &what, Some(ACCEPT)).map_err(|e| match e {
                Error::Registry(RegistryError::Status { status: 404, .. }) => {
                    RegistryError::NotFound { reference: self.reference.to_string() }.into()
                }
                other => other,
            })?;
        let actual = Digest::of(&bytes);
        // What the registry itself promises counts where nobody else does.
        let promised = promised.as_deref().and_then(|text| Digest::parse(text).ok());
        if let Some(expected) = digest.or(promised.as_ref())
            && *expected != actual
        {
            let (what, expected) = (format!("manifest {}", self.reference), expected.clone());
            return Err(Error::DigestMismatch { what, expected, actual });
        }
        if let Some(descriptor) = descriptor {
            check_blob(descriptor, bytes.len() as u64, actual.clone())?;
        }
        Ok(Document { digest: actual, bytes, media_type })
    }

    /// The config document: from the store, where it is known, else from the registry.
    fn config(&self, endpoint: &Endpoint, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let media_type = descriptor.media_type.as_str();
        if !matches!(media_type, oci::CONFIG_TYPE | DOCKER_CONFIG_TYPE | "application/octet-stream" | "") {
            let reason = format!("its config is of type {media_type}");
            return Err(RegistryError::NotAnImage { reason }.into());
        }
        let digest = Digest::parse(&descriptor.digest)?;
        if let Ok(bytes) = std::fs::read(self.store.config_path(&digest))
            && Digest::of(&bytes) == digest
        {
            return Ok(bytes);
        }
        let (bytes, ..) = self.document(endpoint, &format!("blobs/{digest}"), None)?;
        check_blob(descriptor, bytes.len() as u64, Digest::of(&bytes))?;
        Ok(bytes)
    }

    /// A document with its type and the digest that the registry names, in a few tries.
    fn document(
        &self,
        endpoint: &Endpoint,
        what: &str,
        accept: Option<&str>,
    ) -> Result<(Vec<u8>, String, Option<String>)> {
        let mut attempt = 1;
        loop {
            match read_document(endpoint, what, accept) {
                Err(Error::Registry(e))
                    if e.is_transient() && !e.is_refused() && attempt < DOCUMENT_TRIES =>
                {
                    let wait = fetch::wait(self.options.retry_wait, attempt, &e);
                    (self.report)(Progress::Warning {
                        text: format!("{}; asking again", message::cause(&Error::Registry(e))),
                    });
                    std::thread::sleep(wait);
                    attempt += 1;
                }
                done => return done,
            }
        }
    }
}

fn read_document(
    endpoint: &Endpoint,
    what: &str,
    accept: Option<&str>,
) -> Result<(Vec<u8>, String, Option<String>)> {
    let mut response = endpoint.ask(what, Ask::Document { accept })?;
    let header = |name: &str| response.headers().get(name)?.to_str().ok().map(str::to_owned);
    let media_type = header("content-type").unwrap_or_default();
    let digest = header("docker-content-digest");
    let mut bytes = Vec::new();
    let read = response.body_mut().as_reader().take(MAX_DOCUMENT + 1).read_to_end(&mut bytes);
    read.map_err(|e| client::request_error(&endpoint.url(what), ureq::Error::Io(e)))?;
    if bytes.len() as u64 > MAX_DOCUMENT {
        return Err(Error::DocumentTooLong { document: endpoint.url(what), limit: MAX_DOCUMENT });
    }
    let media_type = media_type.split(';').next().unwrap_or_default().trim().to_owned();
    Ok((bytes, media_type, digest))
}

/// What a registry gives under `manifests/`.
struct Document {
    digest: Digest,
    bytes: Vec<u8>,
    media_type: String,
}

enum Kind {
    Manifest(Manifest),
    Index(Index),
}

/// What every manifest has, to know which kind it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    #[serde(default)]
    schema_version: u32,
    #[serde(default)]
    media_type: String,
    #[serde(default)]
    manifests: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    config: Option<serde::de::IgnoredAny>,
}

impl Document {
    fn kind(&self) -> Result<Kind> {
        let what = || format!("manifest {}", self.digest);
        let probe: Probe = serde_json::from_slice(&self.bytes).map_err(Error::document(what()))?;
        if probe.schema_version == 1 {
            let reason =
                "it is a schema 1 manifest, which registries gave up years ago: push it again".to_owned();
            return Err(RegistryError::NotAnImage { reason }.into());
        }
        // Two readings of one document would be two images under one digest (OCI image spec 1.1, security note).
        if probe.manifests.is_some() && probe.config.is_some() {
            let reason = "its manifest is an index, too".to_owned();
            return Err(RegistryError::NotAnImage { reason }.into());
        }
        let declared = if probe.media_type.is_empty() { &self.media_type } else { &probe.media_type };
        let is_index = matches!(declared.as_str(), oci::INDEX_TYPE | oci::DOCKER_LIST_TYPE);
        if is_index || probe.manifests.is_some() {
            serde_json::from_slice(&self.bytes).map(Kind::Index).map_err(Error::document(what()))
        } else {
            serde_json::from_slice(&self.bytes).map(Kind::Manifest).map_err(Error::document(what()))
        }
    }
}

/// The entry that fits this machine best; of several equal ones the first.
fn choose(index: &Index) -> Result<&Descriptor> {
    let rank = |d: &&Descriptor| d.platform.as_ref().map_or(Some(usize::MAX), oci::Platform::rank);
    let fitting = index.manifests.iter().filter_map(|d| Some((rank(&d)?, d)));
    let best = fitting.min_by_key(|(rank, _)| *rank);
    best.map(|(_, descriptor)| descriptor).ok_or_else(|| oci::no_platform(&index.manifests))
}

/// What can be unpacked, told by its type; how it is packed is told by its first bytes.
fn layer_blob(descriptor: &Descriptor, limits: &Limits) -> Result<Blob> {
    let media_type = descriptor.media_type.as_str();
    let digest = Digest::parse(&descriptor.digest)?;
    let known = media_type.starts_with(oci::LAYER_TYPE)
        || media_type.starts_with("application/vnd.docker.image.rootfs.diff.tar");
    if !known || media_type.contains("+encrypted") {
        let reason = format!("layer {digest} is of type {media_type:?}, which cannot be unpacked here");
        return Err(RegistryError::NotAnImage { reason }.into());
    }
    if descriptor.size > limits.bytes {
        let what = format!("layer {digest}");
        return Err(Error::SizeMismatch { what, expected: limits.bytes, actual: descriptor.size });
    }
    Ok(Blob { digest, size: descriptor.size, media_type: media_type.to_owned() })
}

/// A small file of the administrator's or the user's; nothing where there is none.
fn read_bounded(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        opened => opened.map_err(Error::io("open", path))?,
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    if bytes.len() as u64 > limit {
        return Err(Error::DocumentTooLong { document: path.display().to_string(), limit });
    }
    Ok(Some(bytes))
}
